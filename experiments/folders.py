"""Measures what a pool of one's own images, selecting from it and a person's decisions add.

    python experiments/folders.py FOLDER --weights=efficientnet_lite0.keras [--image_size=96]
        [--seeds=0,1,2] [--epochs=20] [--data_dir=CIFAR] [--results_dir=results]

Lays out CIFAR-10 as folders once a seed, as experiments/images.py does, and trains one layer on the
features of --weights (of experiments/efficientnet_lite.py): a balanced logistic regression without
a pool, three controls and the default; then the default again after one and two rounds of 200
decisions, those that the review page asks for, made by the true classes. Writes folders.csv in
--results_dir, a line for each run and seed.
"""

import pathlib
import sys
from collections.abc import Iterator

import images
import numpy as np
from absl import flags
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from selectnet_tf import recipes
from selectnet_tf._console import expand_path, parse
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.data import cifar, load
from selectnet_tf.runs import frozen, train

METHODS = ("oversampling", "logit_adjusted", "random", "selectnet")  # the last is the default
PICKED, ROUNDS = 150, 2  # decisions about picks, beside those of ask.csv; rounds of decisions
SHARES = ("accuracy", "minor_accuracy", "major_accuracy")
HEADER = ("run", "seed", "epochs", "decided", *SHARES, *(f"picked_{k}" for k in images.KINDS[:-1]))


def make_recipe(folder: pathlib.Path, **changes: object) -> recipes.Recipe:
    """Returns the recipe of a frozen network on the folder's images."""
    given = images.places(folder) | {
        "weights": flags.FLAGS.weights,
        "image_size": flags.FLAGS.image_size,
    }
    return recipes.make(
        dataset="folder", freeze=True, epochs=flags.FLAGS.epochs, **given, **changes
    )


def fit_logistic(folder: pathlib.Path, cache: pathlib.Path) -> tuple[float, ...]:
    """Returns SHARES of a balanced logistic regression on the features, without a pool."""
    recipe = make_recipe(folder, method="imbalanced")
    task, _ = frozen.embed(load.make_task(recipe, cache_dir=cache), recipe.training, cache)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight="balanced", C=0.01, max_iter=300)
    )
    model.fit(np.asarray(task.x_labeled), task.y_labeled)
    right = model.predict(np.asarray(task.x_test)) == task.y_test
    minor = np.isin(task.y_test, task.minor)
    return tuple(float(right[part].mean()) for part in (slice(None), minor, ~minor))


def decide(folder: pathlib.Path, run: pathlib.Path, path: pathlib.Path) -> int:
    """Writes decisions by the true classes: the least confident picks, and the images of ask.csv.

    Returns their number.
    """
    answers = images.truth(folder)
    digests = {row["file"]: row["digest"] for row in read_csv(run / "files.csv")}
    picked = sorted(read_csv(run / "selected.csv"), key=lambda row: float(row["score"]))[:PICKED]
    said = {row["file"]: row["pseudo_label"] for row in picked}
    said |= {row["file"]: "" for row in read_csv(run / "ask.csv")}
    lines = []
    for file, label in said.items():
        _, kind, c, _ = answers[pathlib.Path(file).stem]
        true = cifar.CIFAR10[int(c)] if kind == "own" else ""
        decision = "wrong" if not true else "right" if true == label else "corrected"
        lines.append((file, digests[file], decision, true))
    write_csv(path, [("file", "digest", "decision", "label"), *lines])
    return len(lines)


def train_one(
    folder: pathlib.Path, cache: pathlib.Path, **changes: object
) -> tuple[pathlib.Path, list, list]:
    """Trains. Returns (the run's folder, SHARES, counts of its picks by KINDS)."""
    recipe = make_recipe(folder, **changes)
    row = train.train(recipe, results_dir=folder / "results", verbose=0, cache_dir=cache)
    run = folder / "results" / "runs" / recipe.name
    chosen = run / "selected.csv"
    picked = images.kinds(folder, chosen) if chosen.exists() else {}
    counts = [picked.get(kind, 0) for kind in images.KINDS[:-1]]
    return run, [row[share] for share in SHARES], counts


def measure_all(folder: pathlib.Path, seed: int, cache: pathlib.Path) -> Iterator[tuple]:
    """Yields (run, number of decisions, SHARES, counts of picks), one after another."""
    yield "logistic regression, balanced", 0, fit_logistic(folder, cache), [""] * 4
    for method in METHODS:
        run, *found = train_one(folder, cache, seed=seed, method=method)
        yield method, 0, *found
    decided, files = 0, []
    for count in range(1, ROUNDS + 1):
        files.append(str(folder / f"decisions{count}.csv"))
        decided += decide(folder, run, pathlib.Path(files[-1]))
        run, *found = train_one(folder, cache, seed=seed, decisions=",".join(files))
        yield f"selectnet, decisions {count}", decided, *found


def main() -> None:
    flags.DEFINE_string("data_dir", None, "folder with the extracted CIFAR archives")
    flags.DEFINE_string("weights", None, "a model.keras, whose last layer is replaced")
    flags.DEFINE_integer("image_size", 96, "the model's")
    flags.DEFINE_integer("epochs", 20, "of each run", 1)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "of the images and the runs")
    flags.DEFINE_string("results_dir", "results", "where folders.csv goes")
    top = expand_path(parse(sys.argv)[1])
    table, cache = expand_path(flags.FLAGS.results_dir) / "folders.csv", top / "cache"
    known = {(row["run"], row["seed"]): tuple(row.values()) for row in read_csv(table)}
    for seed in flags.FLAGS.seeds:
        folder = top / f"seed{seed}"
        if not (folder / images.ANSWERS).exists():
            images.lay_out(folder, flags.FLAGS.data_dir, int(seed))

        for run, decided, shares, picked in measure_all(folder, int(seed), cache):
            cells = (f"{float(share):.4f}" for share in shares)
            known[run, seed] = (run, seed, flags.FLAGS.epochs, decided, *cells, *picked)
            write_csv(table, [HEADER, *known.values()])


if __name__ == "__main__":
    main()
