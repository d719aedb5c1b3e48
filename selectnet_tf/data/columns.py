"""What a table's columns hold, for the screen, and which of them gives the classes away."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from selectnet_tf.data.encoder import Encoder, Seen
from selectnet_tf.data.frames import Table

LEAK = 0.99  # area under the ROC curve from which one column alone is suspect
MOST_COLUMNS = 40
MOST_ROWS = 100_000  # that leaks are looked for in
MOST_CLASSES = 20


def lines(encoder: Encoder, table: Table, y: np.ndarray) -> list[str]:
    """One line a column: kind, different values, cells without one, cells that are no number; and what to look at.

    Of many columns, only those that there is something to say about. table, y: the labeled rows and their classes.
    """
    leaks = {seen.column.name: leak(encoder, seen, table, y) for seen in encoder.seen}
    said = [(seen, _remarks(seen, leaks[seen.column.name])) for seen in encoder.seen]
    shown = [(seen, words) for seen, words in said if words or len(said) <= MOST_COLUMNS][: 2 * MOST_COLUMNS]
    width = max([len("column"), *(len(seen.column.name) for seen, _ in shown)])
    found = [f"  {'column':<{width}}  {'kind':<8}{'distinct':>9}{'missing':>9}"]
    for seen, words in shown:
        start = f"  {seen.column.name:<{width}}  {seen.column.kind:<8}{seen.distinct:>9,}{seen.missing:>9,}"
        found.append(f"{start}  {'; '.join(words)}".rstrip())
    left = len(said) - len(shown)
    return [*found, f"  and {left:,} columns more, with nothing to say about them"] if left else found


def _remarks(seen: Seen, area: float) -> list[str]:
    words = []
    if seen.coerced:
        cell = "cell is" if seen.coerced == 1 else "cells are"
        words.append(f"{seen.coerced:,} {cell} no {seen.column.kind}, such as {seen.example!r}: missing")
    if not seen.column.inputs:
        words.append("left out")
    if area > LEAK:
        words.append(f"warning: alone it ranks the classes (AUC {area:.3f}): does it tell the answer? --ignore_columns={seen.column.name}")
    return words


def leak(encoder: Encoder, seen: Seen, table: Table, y: np.ndarray) -> float:
    """How well a column alone ranks the worst-ranked class against the others: the area under the ROC curve, at least 0.5."""
    if not seen.column.inputs:
        return 0.5
    rows = np.arange(len(y)) if len(y) <= MOST_ROWS else np.random.default_rng(0).choice(len(y), MOST_ROWS, replace=False)
    y = y[rows]
    classes = np.unique(y)
    if len(classes) < 2 or len(classes) > MOST_CLASSES:
        return 0.5
    column = table.frame[seen.column.name].iloc[rows]
    if seen.column.kind == "text":
        codes = pd.factorize(table.texts(seen.column.name).iloc[rows])[0]
        return max(area(_rates(codes, y == c), y == c) for c in classes)
    values = encoder._numbers(seen.column.kind, column)
    values = np.where(np.isnan(values), seen.column.fill, values)
    return max(max(a, 1 - a) for a in (area(values, y == c) for c in classes))


def area(values: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve of values [n] for positive [n] bool, which holds both."""
    ranks, n = rankdata(values), int(positive.sum())
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (len(values) - n)))


def _rates(codes: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """[n] the share of positives among the other half's rows of the same code: a text that comes once says nothing."""
    half = np.arange(len(codes)) % 2
    found = np.full(len(codes), positive.mean())
    for side in (0, 1):
        other, here = half != side, half == side
        counts = np.bincount(codes[other] + 1, minlength=codes.max() + 2)
        share = np.bincount(codes[other] + 1, positive[other], codes.max() + 2) / np.maximum(counts, 1)
        found[here] = np.where(counts[codes[here] + 1] > 0, share[codes[here] + 1], found[here])
    return found


def near_classes(names: Sequence[str]) -> list[str]:
    """A line for each two classes that differ in case, spaces or punctuation only."""
    by_core: dict[str, list[str]] = {}
    for name in names:
        core = "".join(filter(str.isalnum, name.casefold())) or name
        by_core.setdefault(core, []).append(name)
    return [f"  warning: are {' and '.join(map(repr, same))} one class?" for same in by_core.values() if len(same) > 1]


def equal_rows(*parts: np.ndarray) -> list[np.ndarray]:
    """For each part [n_i, d] of inputs, [n_i] int: the same number for the same row, over all parts."""
    codes = pd.factorize(np.concatenate([_hashes(part) for part in parts]))[0]
    return np.split(codes, np.cumsum([len(part) for part in parts])[:-1])


def _hashes(x: np.ndarray) -> np.ndarray:
    if not len(x):
        return np.zeros(0, np.uint64)
    return pd.util.hash_pandas_object(pd.DataFrame(x + np.float32(0)), index=False).to_numpy()  # + 0: -0 is 0
