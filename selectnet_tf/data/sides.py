"""Which of a table's rows are trained on, selected from and tested on."""

from collections.abc import Sequence

import numpy as np

from selectnet_tf.data import columns, splits
from selectnet_tf.data.frames import Table


def sort_out(
    inputs: Sequence[np.ndarray], y: np.ndarray, names: Sequence[str], test: Table | None, looked: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """(places of the labeled rows and of the pool's that are used, test inputs, their classes, what to say).

    Equal rows never stand on two sides: a row of the pool that is a labeled or a test one too is left out, and so is a row
    of a test file that is a labeled one; where a part is held out, equal rows go together. Nor is a rejected row in the pool.

    Args:
        inputs: of the labeled rows, the pool's, the test's and those that people rejected. y: classes of the labeled rows.
        looked: of the labeled rows [n] bool, whether a run picked them and people looked: those are no test.
    """
    x, x_pool, x_test, x_rejected = inputs
    same, same_pool, same_test, rejected = columns.equal_rows(x, x_pool, x_test, x_rejected)
    left, says = np.flatnonzero(~np.isin(same_pool, np.concatenate([same, same_test, rejected]))), []
    if len(x_pool) and not len(left):
        raise ValueError("each unlabeled row equals a labeled, a test or a rejected one: give other rows to select from")
    if len(left) < len(x_pool):
        gone = " or rejected" if len(rejected) else ""
        says.append(f"{len(x_pool) - len(left):,} unlabeled rows equal labeled or test{gone} rows: left out")
    decided = np.concatenate([same[looked], rejected])
    strange = int((~np.isin(decided, same_pool)).sum()) if len(x_pool) else 0
    if strange:
        cause = "if they are still in it, something has changed their cells, as spreadsheets do, and they may be picked again"
        says.append(f"warning: {strange:,} of {len(decided):,} rows with a verdict equal no row of the pool: {cause}")
    if test is None:
        kept, tested = hold_out(y, same, names, seed, ~looked)
        return kept, left, x[tested], y[tested], says
    unknown = sorted(set(test.labels) - set(names))
    if unknown:
        raise ValueError(f"{test.name}: {', '.join(unknown)} are no classes of the labeled rows ({', '.join(names)})")
    tested = np.flatnonzero(~np.isin(same_test, same))
    y_test = np.searchsorted(names, test.labels).astype(np.int32)[tested]
    if len(tested) < len(x_test):
        says.append(f"{len(x_test) - len(tested):,} test rows equal labeled ones: left out")
    lost = [name for c, name in enumerate(names) if name in test.labels and not (y_test == c).any()]
    if lost:
        raise ValueError(f"{test.name}: all rows of class {lost[0]} equal labeled rows: test on others")
    return np.arange(len(y)), left, x_test[tested], y_test, says


def hold_out(
    y: np.ndarray, same: np.ndarray, names: Sequence[str], seed: int, usable: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """(kept, held) places: about a fifth of each class, at least one row of each on both sides; equal rows stay together.

    y: [n] classes. same: [n], the same number for equal rows. usable: [n] bool, what may be held out; further rows that may not
    change nothing about what is.
    """
    rng = np.random.default_rng([seed, 3])
    usable = np.ones(len(y), bool) if usable is None else usable
    numbers, y, same = same, y[usable], same[usable]
    counts = np.bincount(y, minlength=len(names))
    rarest_first = np.argsort(counts, kind="stable")
    rank = np.argsort(rarest_first)
    owner = np.full(numbers.max() + 1, len(names))
    np.minimum.at(owner, same, rank[y])
    owner = np.append(rarest_first, -1)[owner]  # equal rows of several classes go with the rarest
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
    return np.flatnonzero(~tested[numbers]), np.flatnonzero(tested[numbers])
