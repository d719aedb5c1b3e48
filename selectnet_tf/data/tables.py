"""CSV files -> a Task: labeled rows, a pool, and test rows or a part held out."""

import numpy as np

from selectnet_tf.data import frames, splits
from selectnet_tf.data.tasks import Task, digest
from selectnet_tf.images import Subset


def make(recipe):
    """CSV files: labeled_csv, unlabeled_csv with the same columns, test_csv or a part held out."""
    frame, labels = frames.read(recipe.labeled_csv, recipe.label_column)
    names = tuple(sorted(set(labels)))
    if len(names) < 2:
        raise ValueError(f"{recipe.labeled_csv} has one class, {names[0]}: at least two are needed")
    y = np.searchsorted(names, labels).astype(np.int32)
    pool = frames.read(recipe.unlabeled_csv, recipe.label_column, labeled=False)[0] if recipe.unlabeled_csv else frame.iloc[:0]
    try:
        encode = frames.Encoder([frame, pool[[c for c in frame if c in pool]]])
        x, x_unlabeled = encode(frame), encode(pool)
    except ValueError as error:
        raise ValueError(f"{recipe.labeled_csv}, {recipe.unlabeled_csv}: {error}") from None
    if recipe.test_csv:
        test, labels = frames.read(recipe.test_csv, recipe.label_column)
        unknown = sorted(set(labels) - set(names))
        if unknown:
            raise ValueError(f"{recipe.test_csv}: {', '.join(unknown)} are no classes of the labeled rows ({', '.join(names)})")
        kept, x_test, y_test = np.arange(len(y)), encode(test), np.searchsorted(names, labels).astype(np.int32)
    else:
        kept, held = splits.hold_out(y, names, recipe.seed)
        x_test, y_test = x[held], y[held]
    minor = splits.minor_classes(recipe.minor, names, np.bincount(y[kept], minlength=len(names)))
    held_out = "" if recipe.test_csv else f", {len(y_test):,} of them held out for the test"
    says = [f"{len(y):,} labeled rows of {len(names)} classes{held_out}; {len(pool):,} unlabeled ones; {x.shape[1]} inputs"]
    says.append("  minor classes: " + ", ".join(f"{names[c]} ({(y[kept] == c).sum():,} labeled)" for c in minor))
    index = np.concatenate([kept, len(y) + np.arange(len(pool))])
    truth = np.concatenate([y[kept], np.full(len(pool), -1)]).astype(np.int32)
    lines = [f"{recipe.labeled_csv}:{i + 2}" for i in range(len(y))] + [f"{recipe.unlabeled_csv}:{i + 2}" for i in range(len(pool))]
    made_from = digest(x, y, x_unlabeled, x_test, y_test, list(names))
    return Task(Subset(x, kept), y[kept], x_unlabeled, x_test, y_test, names, minor, truth, index, says, lines, encode, made_from)
