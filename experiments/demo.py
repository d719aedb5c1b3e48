"""Trains all five methods on scikit-learn's digits, in under two minutes on two cores.

    make demo        or        python experiments/demo.py [--results_dir=results/demo]

Four of the ten digits have 6 or 7 labeled images, the others about 130; the pool holds the rest.
Expected: the imbalanced set alone finds the four digits less often than the others; oversampling
and the pool close the gap. The order of the last three methods means nothing: one seed of a small
set. Each run is a row of results/demo/runs.csv; results/demo/figure2.png shows the picks.
"""

import sys
import time

from absl import flags

from selectnet_tf import recipes
from selectnet_tf._console import expand_path, fail, importing_tensorflow, parse

METHODS = ("imbalanced", "oversampling", "self_paced", "context", "selectnet")
SETTINGS = {"dataset": "digits-4minor", "epochs": 16, "every": 4, "lr": 0.03}


def main(results):
    start = time.time()
    with importing_tensorflow():
        import tensorflow  # noqa: F401
    from selectnet_tf.report import figures
    from selectnet_tf.runs import outputs, train

    rows = []
    for method in METHODS:
        rows.append(
            train.train(
                recipes.make(method=method, **SETTINGS), results_dir=results, force=True, verbose=0
            )
        )
    figure = figures.draw_figure2(results, [row["name"] for row in rows], results / "figure2.png")
    print(
        f"\nAll five methods after {SETTINGS['epochs']} epochs, {time.time() - start:.0f}"
        f" s:\n{outputs.format_results(rows)}"
    )
    print(f"\nfiles: {results / 'runs.csv'}, {results / 'runs'}/, {figure}")


if __name__ == "__main__":
    flags.DEFINE_string("results_dir", "results/demo", "where the rows, the runs and the figure go")
    parse(sys.argv)
    try:
        main(expand_path(flags.FLAGS.results_dir))
    except (ValueError, OSError) as error:
        sys.exit(fail(error, 1))
    except KeyboardInterrupt:
        sys.exit(fail("interrupted", 130))
