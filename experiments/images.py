"""Measures --dataset=folder on folders made of CIFAR, whose true classes are kept aside.

    python experiments/images.py FOLDER [--data_dir=CIFAR] [--epochs=20]
        [--runs=imbalanced,selectnet,...] [--results_dir=results]

Writes PNGs: FOLDER/labeled has 2,000 images of each CIFAR-10 class, but only 20 birds and 20 frogs;
FOLDER/pool has 1,500 more of each of these two, 300 of each other class, and 2,000 of CIFAR-100
(out-of-distribution, "foreign"); FOLDER/test has 3,000 test images. Pretrains a ResNet on other
images of CIFAR-100, FOLDER/backbone.keras. Then trains each of RUNS in FOLDER/results, and writes
results/pictures.csv: accuracies, and the true kinds of all images ever picked. A run from scratch
takes about 15 minutes on two CPU cores. On busy cores the ResNet took 34 minutes and a frozen run 3
to 9; --costs measures processor times instead.
"""

import collections
import csv
import pathlib
import sys
import tempfile
import time

import keras
import numpy as np
from absl import flags
from PIL import Image

import selectnet_tf as sn
from selectnet_tf import recipes
from selectnet_tf._console import expand_path, parse
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.data import cifar, load
from selectnet_tf.models import networks
from selectnet_tf.report import review_page
from selectnet_tf.runs import frozen, methods, train

MINOR = {2, 6}  # bird, frog
KNOWN, EPOCHS = 80, 6  # classes of CIFAR-100 that the backbone learns, and for how long
RUNS = {
    "imbalanced": {"preset": "paper", "method": "imbalanced"},
    "selectnet": {"preset": "paper", "method": "selectnet"},
    "robust": {"preset": "robust", "method": "selectnet"},
    "imbalanced frozen": {"preset": "paper", "method": "imbalanced", "freeze": True},
    "selectnet frozen": {"preset": "paper", "method": "selectnet", "freeze": True},
    "robust frozen": {"preset": "robust", "method": "selectnet", "freeze": True},
    "robust frozen views": {"preset": "robust", "method": "selectnet", "freeze": True, "views": 4},
}
KINDS = ("right", "wrong_minor", "major", "foreign", "new")
HEADER = (
    "run",
    "epochs",
    "seconds",
    "accuracy",
    "minor_accuracy",
    "major_accuracy",
    *(f"picked_{kind}" for kind in KINDS),
)
ANSWERS = "truth.csv"


def lay_out(folder: pathlib.Path, data_dir: str | None, seed: int = 0) -> None:
    """Writes the images, and truth.csv: number, own or foreign, class and place in its set."""
    rng = np.random.default_rng(seed)
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
    write_csv(folder / ANSWERS, lines)


def pretrain(folder: pathlib.Path, data_dir: str | None) -> None:
    """Writes backbone.keras, trained on CIFAR-100's first 80 classes without the pool's images."""
    other = cifar.load("cifar100-4minor", data_dir)
    shown = [int(row[3]) for row in truth(folder).values() if row[1] == "foreign"]
    known = np.setdiff1d(np.flatnonzero(other.y < KNOWN), shown)
    keras.utils.set_random_seed(0)
    model = networks.build("resnet11v2", other.x.shape[1:], KNOWN, momentum=None)
    rate = keras.optimizers.schedules.CosineDecay(2e-3, EPOCHS * (len(known) // 128))
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    selection = sn.Selection(
        sn.Pool(other.x[known], other.y[known], other.x[:0], minor=[0]), init="none"
    )
    tested = other.y_test < KNOWN
    start = time.perf_counter()
    sn.fit(model, selection, epochs=EPOCHS, batch_size=128, augment=sn.shift_flip(0.1), verbose=2)
    seconds = time.perf_counter() - start
    right = model.predict(other.x_test[tested], verbose=0).argmax(1) == other.y_test[tested]
    print(f"backbone: {right.mean():.4f} correct of {KNOWN} classes, {seconds:.0f} s")
    model.save(folder / "backbone.keras")


def save(path: pathlib.Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def truth(folder: pathlib.Path) -> dict[str, list[str]]:
    """Returns {number of an image of the pool: its line of truth.csv}."""
    with open(folder / ANSWERS, newline="") as file:
        return {row[0]: row for row in csv.reader(file)}


def kinds(folder: pathlib.Path, selected: pathlib.Path) -> collections.Counter:
    """Returns counts of a run's picks by KINDS; new: foreign, of a class new to the backbone."""
    answers, counts = truth(folder), collections.Counter()
    for row in read_csv(selected):
        _, kind, c, _ = answers[pathlib.Path(row["file"]).stem]
        if kind == "foreign":
            counts["foreign"] += 1
            counts["new"] += int(c) >= KNOWN
        else:
            counts[
                "right"
                if cifar.CIFAR10[int(c)] == row["pseudo_label"]
                else "wrong_minor"
                if int(c) in MINOR
                else "major"
            ] += 1
    return counts


def places(folder: pathlib.Path) -> dict[str, str]:
    """Returns the folders' fields of a recipe."""
    parts = (("labeled", "labeled"), ("unlabeled", "pool"), ("test", "test"))
    return {f"{field}_dir": str(folder / part) for field, part in parts}


def recipe_of(folder: pathlib.Path, name: str, epochs: int) -> recipes.Recipe:
    """Returns the recipe of one of RUNS."""
    changes = RUNS[name]
    if changes.get("freeze"):
        changes = {**changes, "weights": str(folder / "backbone.keras")}
    return recipes.make(
        dataset="folder", image_size=32, **{"epochs": epochs, **changes}, **places(folder)
    )


def measure(folder: pathlib.Path, name: str, epochs: int, results: str = "results") -> tuple:
    """Trains one of RUNS without a cache. Returns its line of pictures.csv, see HEADER."""
    recipe = recipe_of(folder, name, epochs)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as cache:
        row = train.train(
            recipe,
            results_dir=folder / results,
            verbose=2,
            cache_dir=cache,
            finish=review_page.write,
        )
    seconds = time.perf_counter() - start
    run = folder / results / "runs" / recipe.name
    picked = kinds(folder, run / "selected.csv")
    shares = (f"{float(row[c]):.4f}" for c in ("accuracy", "minor_accuracy", "major_accuracy"))
    return (
        name,
        recipe.training.epochs,
        round(seconds),
        *shares,
        *(picked[kind] for kind in KINDS),
    )


def costs(folder: pathlib.Path) -> list[tuple]:
    """Returns lines of pictures_cpu.csv: processor time of embedding and of an epoch."""
    from_scratch, on_rows = (
        recipe_of(folder, name, 20) for name in ("selectnet", "selectnet frozen")
    )
    lines: list[tuple] = [("what", "pictures", "cpu_seconds")]
    with tempfile.TemporaryDirectory() as cache:
        task = load.make_task(from_scratch, cache_dir=pathlib.Path(cache))
        start = time.process_time()
        seen, _ = frozen.embed(task, on_rows.training, pathlib.Path(cache))
        count = sum(map(len, (task.x_labeled, task.x_unlabeled, task.x_test)))
        lines.append(("embedding", count, round(time.process_time() - start, 1)))
        for name, recipe, data in (
            ("epoch frozen", on_rows, seen),
            ("epoch from scratch", from_scratch, task),
        ):
            pool = sn.Pool(data.x_labeled, data.y_labeled, data.x_unlabeled, data.minor)
            pool.balance()
            pool.begin_epoch(0)
            model, batches = (
                train.make_model(recipe.training, data, train.make_strategy(1), recipe.seed),
                pool.dataset(32, methods.make_augment(recipe.training)),
            )
            model.fit(batches.take(2), shuffle=False, verbose=0)
            start = time.process_time()
            model.fit(batches, shuffle=False, verbose=0)
            lines.append((name, len(pool.index), round(time.process_time() - start, 1)))
    return lines


def main() -> None:
    flags.DEFINE_string(
        "data_dir",
        None,
        "folder with the extracted CIFAR archives; else SELECTNET_DATA, else a download",
    )
    flags.DEFINE_integer("epochs", 20, "of each run", 1)
    flags.DEFINE_list("runs", [*RUNS], "what to compare")
    flags.DEFINE_bool("costs", False, "measure processor times alone, into pictures_cpu.csv")
    flags.DEFINE_string("results_dir", "results", "where pictures.csv goes")
    folder = expand_path(parse(sys.argv)[1])
    if not (folder / ANSWERS).exists():
        lay_out(folder, flags.FLAGS.data_dir)
    if not (folder / "backbone.keras").exists():
        pretrain(folder, flags.FLAGS.data_dir)
    if flags.FLAGS.costs:
        write_csv(expand_path(flags.FLAGS.results_dir) / "pictures_cpu.csv", costs(folder))
        return
    table = expand_path(flags.FLAGS.results_dir) / "pictures.csv"
    known = {row["run"]: tuple(row.values()) for row in read_csv(table)}
    for name in flags.FLAGS.runs:
        known[name] = measure(folder, name, flags.FLAGS.epochs)
        write_csv(table, [HEADER, *known.values()])


if __name__ == "__main__":
    main()
