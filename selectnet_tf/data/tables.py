"""Tables' files -> a Task: labeled rows, a pool, and test rows or a part held out."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from selectnet_tf.data import frames, splits, survey
from selectnet_tf.data.encoder import Encoder
from selectnet_tf.data.tasks import Task, digest
from selectnet_tf.images import Subset
from selectnet_tf.recipes import Recipe

SLOW = 50_000_000  # bytes of a file from which on it is said what takes so long


def make(recipe: Recipe) -> Task:
    """labeled_csv, unlabeled_csv with the same columns, test_csv or a part held out; each may be several files, A,B."""
    table = _read(recipe, recipe.labeled_csv)
    pool = _read(recipe, recipe.unlabeled_csv, labeled=False) if recipe.unlabeled_csv else None
    test = _read(recipe, recipe.test_csv) if recipe.test_csv else None
    _check_columns(recipe, table, pool)
    names = tuple(sorted(set(table.labels)))
    if len(names) < 2:
        raise ValueError(f"{recipe.labeled_csv} has one class, {names[0]}: at least two are needed")
    y = np.searchsorted(names, table.labels).astype(np.int32)
    encode = Encoder([table, pool] if pool else [table], **_reading(recipe))
    x = encode(table)
    x_pool, x_test = (encode(other) if other else x[:0] for other in (pool, test))
    kept, left, x_test, y_test, says = _parts(recipe, names, (x, x_pool, x_test), y, test)
    minor = _minor(recipe.minor, names, np.bincount(y[kept], minlength=len(names)))
    index = np.concatenate([kept, len(y) + left])
    truth = np.concatenate([y[kept], np.full(len(left), -1)]).astype(np.int32)
    held_out = "" if test else f", {len(y_test):,} of them held out for the test"
    head = [f"{len(y):,} labeled rows of {len(names)} classes{held_out}; {len(left):,} unlabeled ones; {encode.width} inputs"]
    head += survey.lines(encode, table, y) + [line for other in (test,) if other for line in _indented(encode.doubts(other))]
    head.append("  minor classes: " + ", ".join(f"{names[c]} ({(y[kept] == c).sum():,} labeled)" for c in minor))
    says = [*head, *survey.near_classes(names), *_indented([*table.says, *(pool.says if pool else []), *says])]
    files = [row for found in (table, pool) if found for row in found.rows()]
    made_from = digest(x, y, x_pool, x_test, y_test, list(names))

    def columns(places: np.ndarray) -> pd.DataFrame:
        return pool.people_s(places - len(y), recipe.id_column).set_axis(places)

    return Task(
        Subset(x, kept), y[kept], Subset(x_pool, left), x_test, y_test, names, minor, truth, index, says, files, encode, made_from,
        columns if pool else None,
    )  # fmt: skip


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _words(value: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (value or "").split(",") if word.strip())


def _reading(recipe: Recipe) -> dict:
    return {
        "decimal": recipe.decimal, "thousands": recipe.thousands, "text": _words(recipe.text_columns),
        "ignore": _words(recipe.ignore_columns), "id_column": recipe.id_column,
    }  # fmt: skip


def _read(recipe: Recipe, paths: str, labeled: bool = True) -> frames.Table:
    found = [paths] if pathlib.Path(paths).is_file() else list(_words(paths))
    for path in filter(os.path.isfile, found):
        if os.path.getsize(path) > SLOW:
            print(f"reading {path}, {os.path.getsize(path) / 1e6:,.0f} MB", flush=True)
    return frames.join([frames.read(path, recipe.label_column, labeled=labeled, **_reading(recipe)) for path in found])


def _check_columns(recipe: Recipe, table: frames.Table, pool: frames.Table | None) -> None:
    """Raises ValueError where a named column is not there."""
    there = [*table.frame, *table.left_out]
    for flag in ("ignore_columns", "text_columns"):
        unknown = [c for c in _words(getattr(recipe, flag)) if c not in there]
        if unknown:
            raise ValueError(f"{table.name} has no column {unknown[0]!r}, only {', '.join(there)}: correct --{flag}")
    if recipe.id_column and pool and pool.ids is None:
        raise ValueError(f"{pool.name} has no column {recipe.id_column!r}, only {', '.join(pool.frame)}: correct --id_column")


def _parts(
    recipe: Recipe, names: Sequence[str], inputs: Sequence[np.ndarray], y: np.ndarray, test: frames.Table | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """(places of the labeled rows and of the pool's that are used, test inputs, their classes, what to say).

    Equal rows never stand on two sides: a row of the pool that is a labeled or a test one too is left out, and so is a row
    of a test file that is a labeled one; where a part is held out, equal rows go together.
    """
    x, x_pool, x_test = inputs
    same, same_pool, same_test = survey.equal_rows(x, x_pool, x_test)
    left, says = np.flatnonzero(~np.isin(same_pool, [*same, *same_test])), []
    if len(x_pool) and not len(left):
        raise ValueError(f"each row of {recipe.unlabeled_csv} equals a labeled or a test row: give other rows to select from")
    if len(left) < len(x_pool):
        says.append(f"{len(x_pool) - len(left):,} unlabeled rows equal labeled or test rows: left out")
    if test is None:
        kept, tested = hold_out(y, same, names, recipe.seed)
        return kept, left, x[tested], y[tested], says
    unknown = sorted(set(test.labels) - set(names))
    if unknown:
        raise ValueError(f"{test.name}: {', '.join(unknown)} are no classes of the labeled rows ({', '.join(names)})")
    tested = np.flatnonzero(~np.isin(same_test, same))
    y_test = np.searchsorted(names, test.labels).astype(np.int32)[tested]
    if len(tested) < len(x_test):
        says.append(f"{len(x_test) - len(tested):,} test rows equal labeled ones: left out")
    gone = [name for c, name in enumerate(names) if name in test.labels and not (y_test == c).any()]
    if gone:
        raise ValueError(f"{test.name}: all rows of class {gone[0]} equal labeled rows: test on others")
    return np.arange(len(y)), left, x_test[tested], y_test, says


def hold_out(y: np.ndarray, same: np.ndarray, names: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held) places: about a fifth of each class, at least one row of each on both sides; equal rows stay together.

    y: [n] classes. same: [n], the same number for equal rows.
    """
    rng = np.random.default_rng([seed, 3])
    counts = np.bincount(y, minlength=len(names))
    rarest_first = np.argsort(counts, kind="stable")
    rank = np.argsort(rarest_first)
    owner = rarest_first[pd.Series(rank[y]).groupby(same).min().to_numpy()]  # equal rows of several classes go with the rarest
    tested = np.zeros(len(owner), bool)  # by number in `same`
    for c in rarest_first:
        here = np.bincount(same[y == c], minlength=len(owner))
        wanted = max(1, round(counts[c] * splits.TEST_SHARE)) - here[tested].sum()
        own = rng.permutation(np.flatnonzero(owner == c))
        fit = own[here[own] <= max(wanted, here[own].min())] if len(own) else own
        tested[fit[: max(int(np.searchsorted(here[fit].cumsum(), wanted, "right")), int(not here[tested].sum()))]] = True
        if here[tested].sum() in (0, counts[c]):
            count = "one row" if counts[c] == 1 else "no two different rows"
            raise ValueError(f"class {names[c]} has {count}: give it two or more, so that one can be held out, or a --test_csv")
    return np.flatnonzero(~tested[same]), np.flatnonzero(tested[same])


def _minor(wanted: Sequence[str], names: Sequence[str], counts: np.ndarray) -> tuple[int, ...]:
    """Minor classes as numbers, from names; of two classes, "auto" is the smaller."""
    if tuple(wanted) == (splits.AUTO,):
        if len(names) == 2 and counts[0] != counts[1]:
            return (int(counts.argmin()),)
        return splits.minor_classes(wanted, names, counts)
    unknown = [str(word) for word in wanted if str(word) not in names]
    if unknown:
        raise ValueError(f"minor class {unknown[0]!r} is none of {', '.join(names)}")
    return splits.minor_classes(wanted, names, counts)
