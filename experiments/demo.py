"""Compares SelectNet with its controls on scikit-learn's digits, three seeds, in 90 seconds.

    make demo        or        python experiments/demo.py [--results_dir=results/demo]

Four of the ten digits have one labeled image each, the others 128; the pool holds the rest.
`imbalanced` trains on the labeled images as they are, `oversampling` repeats those of the minor
classes, `selectnet` adds images of the pool, and `random` as many as Context would, drawn at random
from the same candidates. The last lines say what the differences between them bear. Each run is a
row of results/demo/runs.csv; results/demo/report.html shows them.
"""

import contextlib
import io
import pathlib
import sys
import time

from absl import flags

from selectnet_tf import recipes
from selectnet_tf._console import align_columns, expand_path, fail, importing_tensorflow, parse
from selectnet_tf.report import paper, tables

METHODS = ("imbalanced", "oversampling", "random", "selectnet")
SEEDS = (0, 1, 2)
SETTINGS = {
    "dataset": "digits-4minor",
    "minor_ratio": 0.01,
    "training": "adam",  # SGD does not converge in so few epochs
    "lr": 0.003,
    "lr_schedule": "cosine",
    "batch_size": 64,
    "epochs": 8,
    "every": 2,
}


def main(results: pathlib.Path) -> None:
    start = time.time()
    count, epochs = len(SEEDS) * len(METHODS), SETTINGS["epochs"]
    print(f"{count} runs of {epochs} epochs on digits: about 90 s on two cores", flush=True)
    with importing_tensorflow():
        import tensorflow  # noqa: F401
    from selectnet_tf.report import page
    from selectnet_tf.runs import store, train

    rows = {method: [] for method in METHODS}
    for seed in SEEDS:
        for method in METHODS:
            recipe = recipes.make(method=method, seed=seed, **SETTINGS)
            with contextlib.redirect_stdout(io.StringIO()):
                row = train.train(recipe, results_dir=results, force=True, verbose=0)
            rows[method].append(row)
            print(f"seed {seed}  {method:<12}  {row['accuracy']:.3f}", flush=True)
    table = [("method", "test accuracy, all epochs", "last epoch", "minor classes, last epoch")]
    columns = ("last10_accuracy", "accuracy", "minor_accuracy")  # of fewer than ten epochs, all
    for method, found in rows.items():
        table.append((method, *(tables.spread([row[c] for row in found]) for c in columns)))
    print(f"\n{align_columns(table)}\n")
    for other in ("oversampling", "random"):
        pairs = zip(rows["selectnet"], rows[other], strict=True)  # of one seed: of one split
        gaps = tuple(a["last10_accuracy"] - b["last10_accuracy"] for a, b in pairs)
        print(describe(other, paper.Cell("", "", "", "", "", 0.0, gaps)))
    print("This is one small, easy data set: it does not rank the methods on others.")
    runs = [run for run in store.read_runs(results)[0] if run.row["dataset"] == "digits-4minor"]
    path = page.write(results, runs)
    print(f"\n{time.time() - start:.0f} s; open {path.absolute()} in a browser")


def describe(other: str, gaps: paper.Cell) -> str:
    """Returns a sentence on SelectNet's gains over another method, one a seed."""
    low, high = gaps.interval
    verdict = "these seeds do not tell them apart"
    if low > 0 or high < 0:
        verdict = f"selectnet is {'better' if low > 0 else 'worse'} here"
    return (
        f"selectnet - {other}, all epochs: {gaps.mean:+.3f}, 95% interval over"
        f" {len(gaps.values)} seeds {low:+.3f} to {high:+.3f}: {verdict}"
    )


if __name__ == "__main__":
    flags.DEFINE_string("results_dir", "results/demo", "where the rows, the runs and the page go")
    parse(sys.argv)
    try:
        main(expand_path(flags.FLAGS.results_dir))
    except (ValueError, OSError) as error:
        sys.exit(fail(error, 1))
    except KeyboardInterrupt:
        sys.exit(fail("interrupted", 130))
