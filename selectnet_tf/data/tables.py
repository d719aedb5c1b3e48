"""Tables' files -> a Task: labeled rows, a pool, and test rows or a part held out."""

import os
from collections.abc import Sequence

import numpy as np
import pandas as pd

from selectnet_tf.data import columns, frames, sides, splits, verdicts
from selectnet_tf.data.encoder import Encoder
from selectnet_tf.data.tasks import Task
from selectnet_tf.files import several
from selectnet_tf.images import Subset
from selectnet_tf.recipes import Recipe

SLOW = 50_000_000  # bytes of a file from which on it is said what takes so long


def make(recipe: Recipe) -> Task:
    """labeled_csv, unlabeled_csv with the same columns, test_csv or a part held out; each may be several files, A,B."""
    tables = _read(recipe, recipe.labeled_csv or "")
    table, rejected = _labeled(recipe, tables)
    pool = frames.join(_read(recipe, recipe.unlabeled_csv, labeled=False)) if recipe.unlabeled_csv else None
    tests = _read(recipe, recipe.test_csv) if recipe.test_csv else []
    if any(each.labels is None for each in tests):
        raise ValueError(f"{recipe.test_csv} holds a run's picks, which are no test: give them to --labeled_csv")
    test = frames.join(tests) if tests else None
    _check_columns(recipe, table, pool)
    names = tuple(sorted(set(table.labels)))
    if len(names) < 2:
        raise ValueError(f"{recipe.labeled_csv} has one class, {names[0]}: at least two are needed")
    y = np.searchsorted(names, table.labels).astype(np.int32)
    encode = Encoder([table, pool] if pool else [table], **_reading(recipe))
    x = encode(table)
    inputs = [x, *(encode(other) if other else x[:0] for other in (pool, test, rejected))]
    looked = np.arange(len(y)) >= sum(len(found.frame) for found in tables if found.labels is not None)
    kept, left, x_test, y_test, says = sides.sort_out(inputs, y, names, test, looked, recipe.seed)
    x_pool = inputs[1]
    minor = _minor(recipe.minor, names, np.bincount(y[kept], minlength=len(names)))
    untested = [names[c] for c in minor if not (y_test == c).any()]
    if untested:
        raise ValueError(f"{recipe.test_csv} has no row of {', '.join(untested)}, a minor class: its accuracy could not be told; give some")
    index = np.concatenate([kept, len(y) + left])
    truth = np.concatenate([y[kept], np.full(len(left), -1)]).astype(np.int32)
    held_out = "" if test else f", {len(y_test):,} of them held out for the test"
    head = [f"{len(y):,} labeled rows of {len(names)} classes{held_out}; {len(left):,} unlabeled ones; {encode.width} inputs"]
    head += columns.lines(encode, table, y) + [line for other in (test, rejected) if other for line in _indented(encode.doubts(other))]
    head.append("  minor classes: " + ", ".join(f"{names[c]} ({(y[kept] == c).sum():,} labeled)" for c in minor))
    says = [*head, *columns.near_classes(names), *_indented([*table.says, *(pool.says if pool else []), *says])]
    files = [row for found in (table, pool) if found for row in found.rows()]
    pool = encode.named(pool) if pool else None

    def cells_of(places: np.ndarray) -> pd.DataFrame:
        assert pool is not None
        found = pool.shown(places - len(y), [str(c) for c in pool.frame], recipe.decimal).set_axis(places)
        return (
            found if pool.ids is None else pd.concat([pd.Series(pool.ids[places - len(y)], places, name=recipe.id_column), found], axis=1)
        )

    return Task(
        Subset(x, kept), y[kept], Subset(x_pool, left), x_test, y_test, names, minor, truth, index, says, files, encode,
        columns=cells_of if pool else None,
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


def _read(recipe: Recipe, paths: str, labeled: bool = True) -> list[frames.Table]:
    found = several(paths)
    for path in filter(os.path.isfile, found):
        if os.path.getsize(path) > SLOW:
            print(f"reading {path}, {os.path.getsize(path) / 1e6:,.0f} MB", flush=True)
    return [_one(recipe, path, labeled) for path in found]


def _one(recipe: Recipe, path: str, labeled: bool) -> frames.Table:
    """A file's rows; those of a run's selected.csv have no labels."""
    reading = _reading(recipe)
    if not labeled:
        return frames.read(path, recipe.label_column, labeled=False, **reading)
    if recipe.label_column in verdicts.OWN and (picks := verdicts.table(path, reading)):
        return picks
    try:
        return frames.read(path, recipe.label_column, **reading)
    except frames.NoLabels:
        if picks := verdicts.table(path, reading):
            return picks
        raise


def _labeled(recipe: Recipe, tables: Sequence[frames.Table]) -> tuple[frames.Table, frames.Table | None]:
    """(the labeled rows, those of former picks that people rejected)."""
    plain = [table for table in tables if table.labels is not None]
    if not plain:
        raise ValueError(f"{recipe.labeled_csv} has no column {recipe.label_column!r}: give the labeled rows beside the picks, A,B")
    names = {name for table in plain for name in table.labels}
    looked = [verdicts.read(table, names, list(map(str, plain[0].frame))) for table in tables if table.labels is None]
    right, wrong = ([pair[i] for pair in looked if len(pair[i].frame)] for i in (0, 1))
    return frames.join([*plain, *right]), frames.join(wrong) if wrong else None


def _check_columns(recipe: Recipe, table: frames.Table, pool: frames.Table | None) -> None:
    """Raises ValueError where a named column is not there."""
    there = [*map(str, table.frame), *table.left_out]
    for flag in ("ignore_columns", "text_columns"):
        unknown = [c for c in _words(getattr(recipe, flag)) if c not in there]
        if unknown:
            raise ValueError(f"{table.name} has no column {unknown[0]!r}, only {', '.join(there)}: correct --{flag}")
    if recipe.id_column and pool and pool.ids is None:
        raise ValueError(f"{pool.name} has no column {recipe.id_column!r}, only {', '.join(map(str, pool.frame))}: correct --id_column")


def _minor(wanted: tuple, names: tuple[str, ...], counts: np.ndarray) -> tuple[int, ...]:
    """Minor classes as numbers, from names; of two classes, "auto" is the smaller."""
    if tuple(wanted) == (splits.AUTO,):
        if len(names) == 2 and counts[0] != counts[1]:
            return (int(counts.argmin()),)
        return splits.minor_classes(wanted, names, counts)
    unknown = [str(word) for word in wanted if str(word) not in names]
    if unknown:
        raise ValueError(f"minor class {unknown[0]!r} is none of {', '.join(names)}")
    return splits.minor_classes(wanted, names, counts)
