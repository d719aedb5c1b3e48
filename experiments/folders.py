"""Measures what a pool of one's own images, selecting from it and a person's decisions add.

    python experiments/folders.py FOLDER --weights=efficientnet_lite0.keras [--image_size=96]
        [--seeds=0,1,2] [--epochs=30] [--data_dir=CIFAR] [--results_dir=results]

Lays out CIFAR-10 as folders once a seed: FOLDER/seedN/labeled has 2,000 images of each class, but
only 20 birds and 20 frogs; pool has 1,500 more of each of these two, 300 of each other class, and
2,000 of CIFAR-100 (out-of-distribution, "foreign"); test has 3,000 test images. Trains one layer on
the features of --weights (of experiments/efficientnet_lite.py) as `selectnet train` does: the
default and its baselines; then both again after one and two rounds of 200 decisions by the true
classes, about the 150 most doubtful picks, as the review page orders them, and the images of
ask.csv. Writes folders.csv in --results_dir: the rows of each run's baselines.csv, and its picks by
kind. With --review, writes review.csv instead: what the page's order is worth on the default's
picks and, with 5% of the labels exchanged, on labels.
"""

import collections
import csv
import pathlib
import sys
from collections.abc import Iterator

import numpy as np
from absl import flags
from PIL import Image
from sklearn.metrics import roc_auc_score

from selectnet_tf import recipes
from selectnet_tf._console import expand_path, fail, parse
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.data import cifar, load
from selectnet_tf.report import compare, review_page
from selectnet_tf.runs import baselines, frozen, picks, train

PICKED, ROUNDS = 150, 2  # decisions about picks, beside those of ask.csv; rounds of decisions
MINOR = {2, 6}  # bird, frog
KINDS = ("right", "wrong_minor", "major", "foreign")  # of picks
ANSWERS = "truth.csv"
SHOWN = [column for column in compare.COLUMNS if column not in ("model", "why")]
HEADER = ("seed", "epochs", "decided", *SHOWN, *(f"picked_{k}" for k in KINDS))
KEY = ("seed", "epochs", "decided", "name")

REVIEW = (
    *("seed", "picks", "right", "p_right", "brier", "auc_score", "auc_p_right"),
    *("wrong_by_score", "wrong_by_p_right"),  # among the PICKED most doubtful
    *("exchanged", "found", "cleanlab_found"),  # labels; those among the first picks.SUSPECTS
)


def lay_out(folder: pathlib.Path, data_dir: str | None, seed: int) -> None:
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


def read_folder() -> pathlib.Path:
    """Returns FOLDER of the command line, after the flags; or ends the process."""
    flags.DEFINE_string("data_dir", None, "folder with the extracted CIFAR archives")
    flags.DEFINE_string("weights", None, "a model.keras, whose last layer is replaced")
    flags.DEFINE_integer("image_size", 96, "the model's")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "of the images and the runs")
    flags.DEFINE_string("results_dir", "results", "where the table goes")
    words = parse(sys.argv)[1:]
    if len(words) != 1:
        sys.exit(fail(f"expected one FOLDER, received {' '.join(words) or 'none'}", 2))
    return expand_path(words[0])


def save(path: pathlib.Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def read_truth(folder: pathlib.Path) -> dict[str, str]:
    """Returns {number of an image of the pool: its class, "" for a foreign one}."""
    with open(folder / ANSWERS, newline="") as file:
        return {
            number: cifar.CIFAR10[int(c)] if kind == "own" else ""
            for number, kind, c, _ in csv.reader(file)
        }


def count_kinds(folder: pathlib.Path, run: pathlib.Path) -> collections.Counter:
    """Returns counts of what a run's last round added of the pool, by KINDS; empty without any."""
    counts: collections.Counter = collections.Counter()
    if not (run / "selected.npz").exists():
        return counts
    with np.load(run / "selected.npz") as file:
        last = file["epoch"] == file["epoch"].max(initial=0)
        added = zip(file["index"][last], file["label"][last], strict=True)
    truth, names = read_truth(folder), sorted(cifar.CIFAR10)
    minor, files = {cifar.CIFAR10[c] for c in MINOR}, read_csv(run / "files.csv")
    for index, label in added:
        if files[index]["part"] == "unlabeled":
            true = truth[pathlib.Path(files[index]["file"]).stem]
            right = true == names[label]
            kind = "right" if right else "wrong_minor" if true in minor else "major"
            counts[kind if true else "foreign"] += 1
    return counts


def make_recipe(folder: pathlib.Path, epochs: int, **changes: object) -> recipes.Recipe:
    """Returns the recipe of a frozen network on the folder's images."""
    parts = (("labeled", "labeled"), ("unlabeled", "pool"), ("test", "test"))
    given = {f"{field}_dir": str(folder / part) for field, part in parts}
    given |= {"weights": flags.FLAGS.weights, "image_size": flags.FLAGS.image_size}
    return recipes.make(dataset="folder", freeze=True, epochs=epochs, **given, **changes)


def decide(folder: pathlib.Path, run: pathlib.Path, path: pathlib.Path) -> int:
    """Writes decisions by the true classes: the most doubtful picks, and the images of ask.csv.

    Returns their number.
    """
    truth = read_truth(folder)
    digests = {row["file"]: row["digest"] for row in read_csv(run / "files.csv")}
    picked = sorted(read_csv(run / "selected.csv"), key=lambda row: float(row["p_right"]))[:PICKED]
    said = {row["file"]: row["pseudo_label"] for row in picked}
    said |= {row["file"]: "" for row in read_csv(run / "ask.csv")}
    lines = []
    for file, label in said.items():
        true = truth[pathlib.Path(file).stem]
        decision = "wrong" if not true else "right" if true == label else "corrected"
        lines.append((file, digests[file], decision, true))
    write_csv(path, [("file", "digest", "decision", "label"), *lines])
    return len(lines)


def measure(
    folder: pathlib.Path, cache: pathlib.Path, seed: int, decisions: list[str]
) -> tuple[pathlib.Path, list[list]]:
    """Trains the default and its baselines. Returns (its folder, a line for each: SHOWN, picks)."""
    recipe = make_recipe(
        folder, flags.FLAGS.epochs, seed=seed, decisions=",".join(decisions) or None
    )
    results = folder / "results"
    options = {"cache_dir": cache, "verbose": 0}
    row = train.train(recipe, results_dir=results, finish=review_page.write, **options)
    found = baselines.train_all(recipe, results, **options)
    lines = []
    for line in compare.write_baselines(results, row["name"], row["method"], found):
        if not line["model"]:
            raise ValueError(f"{line['name']}: {line['why']}")
        picked = count_kinds(folder, pathlib.Path(line["model"]).parent)
        counts = [picked[kind] if picked else "" for kind in KINDS]
        lines.append([*(line[column] for column in SHOWN), *counts])
    return results / "runs" / row["name"], lines


def measure_all(folder: pathlib.Path, seed: int, cache: pathlib.Path) -> Iterator[list]:
    """Yields lines without the epochs: first without decisions, then after each round of them."""
    decided, files = 0, []
    for count in range(ROUNDS + 1):
        run, lines = measure(folder, cache, seed, files)
        yield from ([seed, decided, *line] for line in lines)
        files = [*files, str(folder / f"decisions{count + 1}.csv")]
        decided += decide(folder, run, pathlib.Path(files[-1])) if count < ROUNDS else 0


def measure_review(folder: pathlib.Path, seed: int, cache: pathlib.Path) -> tuple:
    """Returns a line of review.csv."""
    from cleanlab.filter import find_label_issues  # pip install cleanlab

    recipe = make_recipe(folder, flags.FLAGS.epochs, seed=seed)
    results = folder / "results"
    options = {"cache_dir": cache, "verbose": 0}
    train.train(recipe, results_dir=results, finish=review_page.write, **options)
    run = results / "runs" / recipe.name
    task, _ = frozen.embed(load.make_task(recipe, cache_dir=cache), recipe.training, cache)
    classes, labels = len(task.names), task.y_labeled
    chosen, truth = read_csv(run / "selected.csv"), read_truth(folder)
    place = {task.files[i]: n for n, i in enumerate(task.index)}
    found = [place[row["file"]] - len(labels) for row in chosen]
    said = np.array([task.names.index(row["pseudo_label"]) for row in chosen])
    right = np.array(
        [truth[pathlib.Path(row["file"]).stem] == row["pseudo_label"] for row in chosen]
    )
    every = np.append(labels, said)
    features = np.concatenate([task.x_labeled, task.x_unlabeled[found]])
    tested = task.x_test, task.y_test
    probs = picks.estimate_out_of_fold(features, every, classes, *tested)
    p = picks.compare_labels(every, probs).p_right.to_numpy()[len(labels) :]
    score = np.array([float(row["score"]) for row in chosen])
    wrong = [int((~right[np.argsort(by, kind="stable")[:PICKED]]).sum()) for by in (score, p)]
    rng = np.random.default_rng(seed)
    some = rng.choice(len(labels), len(labels) // 20, replace=False)
    given = labels.copy()
    given[some] = labels[rng.permutation(some)]
    probs = picks.estimate_out_of_fold(task.x_labeled, given, classes, *tested)
    likely = picks.compare_labels(given, probs)
    ours = (likely.p_right - likely.p_second).argsort(kind="stable")[: picks.SUSPECTS]
    theirs = find_label_issues(given, probs, return_indices_ranked_by="normalized_margin", n_jobs=1)
    exchanged = given != labels
    return (
        *(seed, len(p), *(f"{v:.4f}" for v in (right.mean(), p.mean(), ((p - right) ** 2).mean()))),
        *(f"{roc_auc_score(right, by):.4f}" for by in (score, p)),
        *(*wrong, exchanged.sum(), exchanged[ours].sum()),
        exchanged[theirs[: picks.SUSPECTS]].sum(),
    )


def main() -> None:
    flags.DEFINE_integer("epochs", 30, "of each run", 1)
    flags.DEFINE_bool("review", False, "write review.csv instead")
    top = read_folder()
    table, cache = expand_path(flags.FLAGS.results_dir) / "folders.csv", top / "cache"
    checks = table.with_name("review.csv")
    lines = {tuple(row[k] for k in KEY): row for row in read_csv(table)}
    table.parent.mkdir(parents=True, exist_ok=True)
    for seed in flags.FLAGS.seeds:
        folder = top / f"seed{seed}"
        if not (folder / ANSWERS).exists():
            lay_out(folder, flags.FLAGS.data_dir, int(seed))
        if flags.FLAGS.review:
            reviews = {row["seed"]: tuple(row.values()) for row in read_csv(checks)}
            reviews[seed] = measure_review(folder, int(seed), cache)
            write_csv(checks, [REVIEW, *reviews.values()])
            continue
        for _, decided, *cells in measure_all(folder, int(seed), cache):
            line = (seed, flags.FLAGS.epochs, decided, *cells)
            row = dict(zip(HEADER, map(str, line), strict=True))
            lines[tuple(row[k] for k in KEY)] = row
            write_csv(table, [HEADER, *([*line.values()] for line in lines.values())])


if __name__ == "__main__":
    main()
