"""Measures methods and rounds on three pools of one's own images, on images no choice has seen.

    python experiments/pools.py FOLDER --weights=efficientnet_lite0.keras [--image_size=96]
        [--seeds=0,1,2] [--data_dir=CIFAR] [--results_dir=results]

FOLDER is that of experiments/folders.py, whose images and truth.csv it uses: "plenty" is its own
pool, 40% of it birds and frogs; "small" has 80 labeled images of each class (20 birds, 20 frogs)
and a pool of 1,000, half of it birds and frogs; "scarce" has the labels of "plenty", and a pool of
which 6% are birds and frogs and 43% belong to no class. Writes pools.csv in --results_dir: accuracy
on the 7,000 images of CIFAR-10's test set that FOLDER does not hold, and on FOLDER's 3,000.
"""

import io
import itertools
import os
import pathlib

import folders
import numpy as np
from absl import flags
from PIL import Image

from selectnet_tf import recipes
from selectnet_tf._console import expand_path
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.data import cifar
from selectnet_tf.data.folders import decoding
from selectnet_tf.models import safe_load
from selectnet_tf.runs import frozen, train

EPOCHS = {"plenty": 30, "small": 200, "scarce": 30}  # as the command suggests
POOLS = {"small": (500, 400, 100), "scarce": (300, 2400, 2000)}  # minor, major, foreign images
SETTINGS = (
    ("candidates", 10),
    ("candidates", 5),
    ("selectnet", 10),
    ("selectnet", 5),
    ("random", 10),
)
NAMES = sorted(cifar.CIFAR10)  # classes are numbered by their folders
MINOR = [NAMES.index(cifar.CIFAR10[c]) for c in folders.MINOR]
KEY = ("pool", "seed", "method", "every")
HEADER = (*KEY, "accuracy", "minor_accuracy", "test_accuracy", "test_minor_accuracy")
HEADER += ("added", "right")


def lay_out(top: pathlib.Path, pool: str, seed: int) -> pathlib.Path:
    """Returns a folder with labeled, pool and test: links to images of folders.lay_out."""
    whole, here = top / f"seed{seed}", top / f"{pool}{seed}"
    if pool == "plenty":
        return whole
    if here.exists():
        return here
    rng, links = np.random.default_rng(seed), []
    for folder in sorted((whole / "labeled").iterdir()):
        files = sorted(folder.iterdir())
        kept = rng.permutation(len(files))[:80] if pool == "small" else range(len(files))
        links += [(files[i], here / "labeled" / folder.name) for i in kept]
    truth, minor = folders.read_truth(whole), {cifar.CIFAR10[c] for c in folders.MINOR}
    kinds: tuple[list[pathlib.Path], ...] = ([], [], [])
    for file in sorted((whole / "pool").rglob("*.png")):
        true = truth[file.stem]
        kinds[(0 if true in minor else 1) if true else 2].append(file)
    for files, count in zip(kinds, POOLS[pool], strict=True):
        links += [(files[i], here / "pool") for i in rng.permutation(len(files))[:count]]
    links += [(f, here / "test" / f.parent.name) for f in (whole / "test").rglob("*.png")]
    for file, folder in links:
        folder.mkdir(parents=True, exist_ok=True)
        os.link(file, folder / file.name)
    os.link(whole / folders.ANSWERS, here / folders.ANSWERS)
    return here


def embed_test_set(x: np.ndarray) -> np.ndarray:
    """Returns the features [n, d] of CIFAR's images [n, 32, 32, 3], decoded as the command does."""
    size = flags.FLAGS.image_size
    training = recipes.TrainingRecipe(weights=flags.FLAGS.weights)
    network = frozen.backbone(training, (size, size, 3))
    images = np.empty((len(x), size, size, 3), np.uint8)
    for image, pixels in zip(images, x, strict=True):
        Image.fromarray(pixels).save(file := io.BytesIO(), "PNG")
        image[:] = decoding.decode(file.getvalue(), size)
    return np.asarray(network.predict(images, batch_size=frozen.BATCH, verbose=0))


def score(model: pathlib.Path, features: np.ndarray, labels: np.ndarray) -> list[float]:
    """Returns the accuracy of a run's last layer on all images and on the minor ones."""
    layers = {layer.name: layer for layer in safe_load.load(model).layers}
    predicted = np.asarray(layers["classes"](layers["standardized"](features))).argmax(1)
    right = predicted == labels
    return [right.mean(), right[np.isin(labels, MINOR)].mean()]


def main() -> None:
    top = folders.read_folder()
    table = expand_path(flags.FLAGS.results_dir) / "pools.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    own, results = cifar.load("cifar10-4minor", flags.FLAGS.data_dir), top / "results"
    labels = np.array([NAMES.index(cifar.CIFAR10[c]) for c in own.y_test])
    features = embed_test_set(own.x_test)
    lines = {tuple(row[k] for k in KEY): row for row in read_csv(table)}
    for pool, seed in itertools.product(EPOCHS, flags.FLAGS.seeds):
        folder = lay_out(top, pool, int(seed))
        held = np.ones(len(labels), bool)
        held[[int(file.stem) for file in (folder / "test").rglob("*.png")]] = False
        for method, every in SETTINGS:
            changes = {"seed": int(seed), "method": method, "every": every}
            recipe = folders.make_recipe(folder, EPOCHS[pool], **changes)
            row = train.train(recipe, results_dir=results, cache_dir=top / "cache", verbose=0)
            run = results / "runs" / row["name"]
            counts = folders.count_kinds(folder, run)
            values = [*score(run / "model.keras", features[held], labels[held])]
            values += [float(row[column]) for column in ("accuracy", "minor_accuracy")]
            cells = [f"{value:.4f}" for value in values]
            cells += [str(counts.total()), f"{counts['right'] / max(counts.total(), 1):.4f}"]
            key = (pool, seed, method, str(every))
            lines[key] = dict(zip(HEADER, (*key, *cells), strict=True))
            write_csv(table, [HEADER, *([*line.values()] for line in lines.values())])


if __name__ == "__main__":
    main()
