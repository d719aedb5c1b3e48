"""Folders of pictures as a user has them, made of CIFAR, with the answers kept aside: how much the one command helps.

    python experiments/pictures.py FOLDER [--data_dir=CIFAR] [--epochs=20] [--methods=imbalanced,selectnet] [--results_dir=results]

Writes PNGs: FOLDER/labeled, 2,000 of each CIFAR-10 class but only 20 birds and 20 frogs; FOLDER/pool, in a tree of its own,
1,500 more of each of these two, 300 of each other class, and 2,000 of CIFAR-100, whose classes are others (foreign);
FOLDER/test, 3,000 test images. Then trains the simple net on them with each method, as `python -m selectnet_tf.run
--dataset=folder` does, in FOLDER/results, and writes results/pictures.csv: accuracies, and of all pictures that were ever
picked how many are what they were taken for. About 15 minutes a method on two CPU cores.
"""

import collections
import csv
import pathlib
import sys
import time

import keras
import numpy as np
from absl import flags
from PIL import Image

import selectnet_tf as sn
from selectnet_tf import recipes
from selectnet_tf.cli import parse
from selectnet_tf.data import cifar
from selectnet_tf.experiment import runs, train
from selectnet_tf.networks import models

MINOR = {2, 6}  # bird, frog
KNOWN, EPOCHS = 80, 6  # classes of CIFAR-100 that the backbone learns, and for how long
ANSWERS = "truth.csv"


def lay_out(folder: pathlib.Path, data_dir: str | None) -> None:
    """Writes the pictures, and into truth.csv what each of the pool is: number, own or foreign, its class and place in its set."""
    rng = np.random.default_rng(0)
    own, other = cifar.load("cifar10-4minor", data_dir), cifar.load("cifar100-4minor", data_dir)
    pool = []
    for c in range(10):
        places = rng.permutation(np.flatnonzero(own.y == c))
        labeled, more = (20, 1500) if c in MINOR else (2000, 300)
        for i in places[:labeled]:
            save(folder / "labeled" / cifar.CIFAR10[c] / f"{i:05}.png", own.x[i])
        pool += [("own", c, i) for i in places[labeled : labeled + more]]
    pool += [("foreign", other.y[i], i) for i in rng.permutation(len(other.y))[:2000]]
    lines = []
    for n, (kind, c, i) in enumerate(rng.permutation(np.array(pool, dtype=object))):
        save(folder / "pool" / str(n % 7) / f"{n:05}.png", (own if kind == "own" else other).x[i])
        lines.append((f"{n:05}", kind, c, i))
    for i in rng.permutation(10_000)[:3000]:
        save(folder / "test" / cifar.CIFAR10[own.y_test[i]] / f"{i:05}.png", own.x_test[i])
    runs.write_csv(folder / ANSWERS, lines)


def pretrain(folder: pathlib.Path, data_dir: str | None) -> None:
    """Trains a ResNet on CIFAR-100's first 80 classes, without the pool's pictures, and saves it as backbone.keras."""
    other = cifar.load("cifar100-4minor", data_dir)
    shown = [int(row[3]) for row in truth(folder).values() if row[1] == "foreign"]
    known = np.setdiff1d(np.flatnonzero(other.y < KNOWN), shown)
    keras.utils.set_random_seed(0)
    model = models.build("resnet11v2", other.x.shape[1:], KNOWN)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * (len(known) // 128))
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    selection = sn.Selection(sn.Pool(other.x[known], other.y[known], other.x[:0], minor=[0]), init="none")
    tested = other.y_test < KNOWN
    start = time.perf_counter()
    sn.fit(model, selection, epochs=EPOCHS, batch_size=128, augment=sn.shift_flip(0.1), verbose=2)
    seconds = time.perf_counter() - start
    right = model.predict(other.x_test[tested], verbose=0).argmax(1) == other.y_test[tested]
    print(f"backbone: {right.mean():.4f} right of {KNOWN} classes, {seconds:.0f} s")
    model.save(folder / "backbone.keras")


def save(path: pathlib.Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def truth(folder: pathlib.Path) -> dict[str, list[str]]:
    """{number of a picture of the pool: its line of truth.csv}."""
    with open(folder / ANSWERS, newline="") as file:
        return {row[0]: row for row in csv.reader(file)}


def picked(folder: pathlib.Path, run: pathlib.Path) -> collections.Counter:
    """Counts of a run's selected.csv: right, wrong_minor, major, foreign."""
    with open(folder / ANSWERS, newline="") as file:
        truth = {number: (kind, int(c)) for number, kind, c in csv.reader(file)}
    counts = collections.Counter()
    for row in runs.read_csv(run / "selected.csv"):
        kind, c = truth[pathlib.Path(row["file"]).stem]
        own = "right" if cifar.CIFAR10[c] == row["pseudo_label"] else "wrong_minor" if c in MINOR else "major"
        counts["foreign" if kind == "foreign" else own] += 1
    return counts


def main() -> None:
    flags.DEFINE_string("data_dir", None, "folder with the extracted CIFAR archives; else SELECTNET_DATA, else a download")
    flags.DEFINE_integer("epochs", 20, "of each run", 1)
    flags.DEFINE_list("methods", ["imbalanced", "selectnet"], "what to compare")
    flags.DEFINE_string("results_dir", "results", "where pictures.csv goes")
    folder = pathlib.Path(parse(sys.argv)[1])
    if not (folder / ANSWERS).exists():
        lay_out(folder, flags.FLAGS.data_dir)
    places = {f"{name}_dir": str(folder / part) for name, part in (("labeled", "labeled"), ("unlabeled", "pool"), ("test", "test"))}
    kinds, measured = ("right", "wrong_minor", "major", "foreign"), ("accuracy", "minor_accuracy", "major_accuracy")
    lines = [("method", "epochs", *measured, *(f"picked_{kind}" for kind in kinds))]
    for method in flags.FLAGS.methods:
        recipe = recipes.make(dataset="folder", method=method, image_size=32, epochs=flags.FLAGS.epochs, **places)
        row = train.train(recipe, results_dir=folder / "results", verbose=2)
        counts = picked(folder, folder / "results" / "runs" / recipe.name)
        lines.append((method, recipe.epochs, *(f"{float(row[c]):.4f}" for c in measured), *(counts[kind] for kind in kinds)))
    runs.write_csv(pathlib.Path(flags.FLAGS.results_dir) / "pictures.csv", lines)


if __name__ == "__main__":
    main()
