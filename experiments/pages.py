"""Measured numbers in README.md and docs/: a Markdown table between the marks of each block.

    make report        or        python experiments/pages.py

Writes each block anew from results/*.csv and results/runs, in seconds.
"""

import functools
import itertools
import math
import pathlib
import re
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pandas as pd

from selectnet_tf import recipes
from selectnet_tf._console import fail
from selectnet_tf._files import replacing
from selectnet_tf.report import compare, paper, tables
from selectnet_tf.runs import store

HOME = pathlib.Path(__file__).parent.parent
BLOCK = re.compile(
    r"^<!-- (\S+): written by make report -->\n.*?^<!-- end of \1 -->$", re.DOTALL | re.MULTILINE
)
COLUMN = ("cifar10-4minor", "simple")  # the column of Table 1 that most pages are about
METHODS = ("imbalanced", "oversampling", "self_paced", "context", "selectnet")
BIRD = 2
NAMES = {0: "airplane", BIRD: "bird", 6: "frog", 7: "horse"}
TOGETHER = {"align": "0.5", "cap": "0.3333333333333333"}
FROZEN = {"weights": "backbone.keras", "freeze": "True"}
PLAIN = {"augment": "none"}
VARIANTS = {  # (tau, align, cap) of experiments/crosscheck
    (0, 0, 0): "preset `paper`",
    (0.5, 0, 0): "`prior_loss` 0.5",
    (1, 0, 0): "`prior_loss` 1",
    (0, 0.5, 0): "`align` 0.5",
    (0, 0, 0.333333): "`cap` 1/3",
    (1, 0.5, 0.333333): "together",
}
OWN_VARIANTS = {  # of experiments/ablation.py
    title.replace("preset ", "").replace("`", ""): title for title in VARIANTS.values()
}


def marks(name: str) -> tuple[str, str]:
    """Returns the lines around a block."""
    return f"<!-- {name}: written by make report -->", f"<!-- end of {name} -->"


def fill(text: str, results: "Results") -> str:
    """Returns a page's text with each of its blocks written from the CSVs in results/.

    Raises:
        ValueError: a block has an unknown name, or no end.
    """

    def write_block(match: re.Match[str]) -> str:
        name = match[1]
        if name not in BLOCKS:
            raise ValueError(
                f"expected a block of {', '.join(BLOCKS)}, received {name}: rename or delete it"
            )
        start, end = marks(name)
        return "\n".join([start, *BLOCKS[name](results), end])

    started = re.findall(r"^<!-- (\S+): written by make report -->$", text, re.MULTILINE)
    whole = [match[1] for match in BLOCK.finditer(text)]
    for name in started:
        if name not in whole:
            raise ValueError(f"block {name} has no end: add the line {marks(name)[1]}")
    return BLOCK.sub(write_block, text)


def write(home: pathlib.Path, results: pathlib.Path) -> list[pathlib.Path]:
    """Writes the blocks of README.md and docs/ in a folder. Returns the pages with blocks.

    Raises:
        ValueError: README.md has no block `results`, or a page has a wrong block.
    """
    texts, numbers = {}, Results(results)
    for path in [home / "README.md", *sorted((home / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        try:
            if BLOCK.search(text) or path.name == "README.md":
                texts[path] = fill(text, numbers)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
    start, end = marks("results")
    if start not in texts[home / "README.md"]:
        raise ValueError(
            f"{home / 'README.md'} has no block for the results: add {start} and {end}"
        )
    for path, text in texts.items():
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
    return list(texts)


class Results:
    """The numbers in a results folder; each file is read once."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder, self._read = folder, functools.cache(pd.read_csv)

    @functools.cached_property
    def runs(self) -> list[store.Run]:
        return store.read_runs(self.folder)[0]

    @functools.cached_property
    def told(self) -> dict[tuple[str, str], float]:
        """{(arch, method): the paper's accuracy} on CIFAR-10 with 4 minor classes."""
        return {
            (line["arch"], line["method"]): float(line["value"])
            for line in paper.numbers("table1")
            if line["dataset"] == COLUMN[0]
        }

    @functools.cached_property
    def crosscheck(self) -> pd.DataFrame:
        """The other implementation's tested epochs."""
        first = self.csv("crosscheck")
        first = first.assign(preset="paper", align=0.0, cap=0.0, validation=0)
        return _named(pd.concat([first, self.csv("crosscheck_selectnet")]))

    @functools.cached_property
    def picks(self) -> pd.DataFrame:
        """The picks by class and round of the other implementation's later runs."""
        return _named(self.csv("crosscheck_selectnet_picks"))

    def csv(self, stem: str) -> pd.DataFrame:
        return self._read(self.folder / f"{stem}.csv")

    def of_run(self, name: str, stem: str) -> pd.DataFrame:
        return self._read(store.find_folder(self.folder, name) / f"{stem}.csv")

    def full(
        self, method: str, preset: str = "paper", epochs: int = paper.FULL, /, **changes: str
    ) -> list[store.Run]:
        """Returns the runs of a recipe, of full length by default, one a seed."""
        wanted = (*COLUMN, method, preset, epochs, changes)
        return [
            run
            for run in self.runs
            if (run.dataset, run.arch, run.method, run.preset, run.epochs, dict(run.changes))
            == wanted
        ]

    def rounds(self, name: str) -> pd.DataFrame:
        """Returns a run's selection.csv by epoch.

        Beside its columns stand Figure 2's series, and accuracies as means of the last ten epochs.
        """
        rows = self.of_run(name, "selection").set_index("epoch")
        epochs = self.of_run(name, "epochs").set_index("epoch")
        sums = {series: rows[[*columns]].sum(axis=1) for series, columns in paper.PICKS.items()}
        columns = ("val_accuracy", "val_minor_accuracy")
        return rows.assign(**sums, **{c: epochs[c].rolling(10).mean() for c in columns})


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    keys = zip(rows["tau"], rows["align"], rows["cap"], strict=True)
    return rows.assign(variant=[VARIANTS[key] for key in keys])


# What the blocks are made of


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(line)} |" for line in [head, *rows]]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def _with_n(values: Iterable[float]) -> str:
    """Returns "mean ± standard deviation (3 runs)"."""
    found = list(values)
    return f"{tables.spread(found)} ({tables.counted(len(found))})" if found else "not run"


def _gap(mean: float, low: float, high: float) -> str:
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def _gap_by_seed(values: Iterable[float]) -> str:
    """Returns the mean of differences by seed, and its 95% interval."""
    cell = paper.Cell("", *COLUMN, "", "", 0.0, tuple(values))
    return _gap(cell.mean, *cell.interval)


def _mean(values: Iterable[float], form: str = ".4f") -> str:
    found = list(values)
    return f"{statistics.fmean(found):{form}}" if found else "not run"


def _or_dash(value: float, form: str = ".4f") -> str:
    return "–" if math.isnan(value) else f"{value:{form}}"


def _told(results: Results, method: str) -> float:
    return results.told.get((COLUMN[1], method), math.nan)


def _values(runs: Iterable[store.Run], column: str) -> list[float]:
    return [run.number(column) for run in runs]


def _ten(runs: Iterable[store.Run]) -> list[float]:
    return _values(runs, "last10_accuracy")


def _gain(results: Results, method: str, runs: list[store.Run]) -> str:
    """Returns the runs' gain over oversampling, and the paper's."""
    base = _ten(results.full("oversampling"))
    own = statistics.fmean(_ten(runs)) - statistics.fmean(base) if runs and base else math.nan
    told = _told(results, method) - _told(results, "oversampling")
    return f"{_or_dash(own, '+.3f')} (paper {told:+.3f})"


def _last(results: Results, runs: list[store.Run], column: str, form: str = ",.0f") -> str:
    return _mean([results.rounds(run.name)[column].iloc[-1] for run in runs], form)


def _of_birds(results: Results, runs: list[store.Run], column: str, form: str) -> str:
    tables = [results.of_run(run.name, "classes").set_index("class") for run in runs]
    return _mean([float(table[column][BIRD]) for table in tables], form)


def _worst(results: Results, runs: list[store.Run]) -> str:
    tables = [results.of_run(run.name, "classes") for run in runs]
    return _mean([float(table.f1[table.minor == 1].min()) for table in tables])


def _late(results: Results, runs: list[store.Run], first: int, last: int, column: str) -> str:
    found = [results.of_run(run.name, "epochs") for run in runs]
    return _mean([rows[rows.epoch.between(first, last)][column].mean() for rows in found])


def _range(results: Results, runs: list[store.Run]) -> str:
    """Returns the least and the greatest accuracy of the last ten epochs."""
    found = [results.of_run(run.name, "epochs").val_accuracy[-10:] for run in runs]
    if not found:
        return "not run"
    return f"{min(rows.min() for rows in found):.4f} to {max(rows.max() for rows in found):.4f}"


def _average(column: str) -> Callable[[Results, str, list[store.Run]], str]:
    return lambda _, method, runs: _mean(_values(runs, column))


CELLS: dict[str, Callable[[Results, str, list[store.Run]], str]] = {
    "paper": lambda r, method, _: _or_dash(_told(r, method)),
    "last ten epochs": lambda r, _, runs: _with_n(_ten(runs)),
    "difference from the paper": lambda r, method, runs: _or_dash(
        statistics.fmean(_ten(runs) or [math.nan]) - _told(r, method), "+.3f"
    ),
    "gain over `oversampling`": _gain,
    "least to most": lambda r, _, runs: _range(r, runs),
    "epochs 101 to 200": lambda r, _, runs: _late(r, runs, 101, 200, "val_accuracy"),
    "training accuracy": lambda r, _, runs: _late(r, runs, paper.FULL, paper.FULL, "accuracy"),
    "best epoch on the test set": _average("best_accuracy"),
    "epoch 200": _average("accuracy"),
    "minor classes": _average("minor_accuracy"),
    "major classes": _average("major_accuracy"),
    "macro F1": _average("macro_f1"),
    "F1 of the worst minor class": lambda r, _, runs: _worst(r, runs),
    "F1 of birds": lambda r, _, runs: _of_birds(r, runs, "f1", ".4f"),
    "test birds called birds": lambda r, _, runs: _of_birds(r, runs, f"as_{BIRD}", ",.0f"),
    "called frogs": lambda r, _, runs: _of_birds(r, runs, "as_6", ",.0f"),
    "pseudo-labels right": lambda r, _, runs: _last(r, runs, "precision", ".0%"),
    "birds picked": lambda r, _, runs: _last(r, runs, f"as_{BIRD}"),
}
SHARES = ("epoch 200", "minor classes", "major classes", "macro F1")
ROBUST = ("last ten epochs", *SHARES, "F1 of the worst minor class", "pseudo-labels right")


def _runs_table(
    head: str, rows: dict[str, tuple[str, str, dict[str, str]]], *columns: str
) -> Callable[[Results], list[str]]:
    """Returns a block: a table of full-length runs.

    Args:
        head: of the first column.
        rows: {title: (method, preset, changed fields)}.
        columns: of CELLS.
    """

    def block(results: Results) -> list[str]:
        lines = []
        for title, (method, preset, changes) in rows.items():
            runs = results.full(method, preset, **changes)
            lines.append([title, *(CELLS[column](results, method, runs) for column in columns)])
        return _table([head, *columns], lines)

    return block


def _series(
    head: str, at: Sequence[int], rows: Iterable[tuple[str, pd.DataFrame, str, str]]
) -> list[str]:
    """Returns a table of columns by epoch. rows: (title, rows by epoch, column, format)."""
    lines = []
    for title, found, column, form in rows:
        points = (f"{found[column][epoch]:{form}}" if epoch in found.index else "" for epoch in at)
        lines.append([title, *points])
    return _table([head, *map(str, at)], lines)


def _by_seed(rows: pd.DataFrame, first: int, last: int, column: str = "accuracy") -> pd.Series:
    """Returns each seed's mean of a column over the epochs first to last."""
    return rows[rows.epoch.between(first, last)].groupby("seed")[column].mean()


def _each(by_seed: pd.Series, seeds: Sequence[int]) -> list[str]:
    """Returns a cell for each seed, empty where a variant lacks it."""
    return [f"{by_seed[seed]:.4f}" if seed in by_seed.index else "" for seed in seeds]


def _right(picks: pd.DataFrame) -> str:
    """Returns the share of right picks, the mean over the seeds."""
    sums = picks.groupby("seed")[["picked", "right"]].sum()
    return f"{(sums.right / sums.picked).mean():.0%}"


def _birds(picks: pd.DataFrame) -> str:
    return f"{picks[picks['class'] == BIRD].picked.mean():,.0f}"


# Tables of methods

SINGLE = {  # columns of runs.csv about one epoch: titles
    "accuracy": "last epoch",
    "best_accuracy": "best epoch",
    "minor_accuracy": "minor, last epoch",
    "major_accuracy": "major, last epoch",
}


def _readme(results: Results) -> list[str]:
    """Returns README.md's results: coverage, and the column with the most methods."""
    full = [
        compared
        for compared in paper.comparisons(results.runs)
        if compared[0] == paper.Group("paper", paper.FULL, ())
    ]
    group, dataset, arch, members = max(full, key=lambda c: len({run.method for run in c[-1]}))
    known = {
        c.method: math.nan if c.paper is None else c.paper
        for c in paper.cells(results.folder, [])
        if c.table in ("table1", "table3") and (c.dataset, c.arch) == (dataset, arch)
    }
    rows = []
    for method, chosen in _by_method(members):
        told = _or_dash(known.get(method, math.nan))
        single = (_mean(_values(chosen, column)) for column in SINGLE)
        rows.append([f"`{method}`", *_spread_and_n(chosen), told, *single])
    return [
        _coverage(results),
        "",
        f"Test accuracy, {dataset}, network {arch}, {group.title}; ours is the mean of the last ten"
        " epochs:",
        "",
        *_table(["method", "ours", "n", "paper", *SINGLE.values()], rows),
    ]


def _every_run(results: Results) -> list[str]:
    """Returns docs/results/numbers.md: each group's methods, and the speed."""
    texts = [
        _coverage(results),
        "",
        "Accuracy is the mean of the last ten epochs, ± its standard deviation over seeds; what is"
        " of a single epoch says so.",
    ]
    left = len(results.runs)
    for group, dataset, arch, members in paper.comparisons(results.runs):
        left -= len(members)
        texts += ["", f"**{group.title}** · {dataset}, {arch}:", "", *_comparison(members)]
    if left:
        more = f"{left} more run{'s' * (left > 1)}"
        texts += ["", f"[results/runs.csv](../../results/runs.csv) has {more}."]
    return [*texts, *_speed(results)]


def _coverage(results: Results) -> str:
    """Returns a sentence that counts the cells of Tables 1 and 3 with full-length runs."""
    texts = []
    for preset in recipes.REPRODUCING:
        cells = paper.full(results.folder, results.runs, preset)
        cells = [c for c in cells if c.table in ("table1", "table3")]
        done = sum(bool(c.values) for c in cells)
        texts.append(f"{done or 'none'} with preset `{preset}`")
    return (
        f"Of the {len(cells)} cells of Tables 1 and 3, runs of {paper.FULL} epochs cover"
        f" {' and '.join(texts)}."
    )


def _comparison(found: list[store.Run]) -> list[str]:
    """Returns a table of methods: means over their runs."""
    single = SINGLE | {"macro_f1": "macro F1, last epoch"}
    rows = []
    for method, chosen in _by_method(found):
        values = (_mean(_values(chosen, column)) for column in single)
        seconds, selecting = (
            statistics.fmean(_values(chosen, c)) for c in ("seconds", "selection_seconds")
        )
        times = [f"{seconds / 60:.0f} min", f"{selecting / seconds:.1%}" if seconds else "–"]
        rows.append([f"`{method}`", *_spread_and_n(chosen), *values, *times])
    head = ["method", "accuracy", "n", *single.values(), "wall time", "of it selecting"]
    return _table(head, rows)


def _by_method(found: list[store.Run]) -> Iterable[tuple[str, list[store.Run]]]:
    chosen = (
        (method, [run for run in found if run.method == method]) for method in recipes.METHODS
    )
    return ((method, runs) for method, runs in chosen if runs)


def _spread_and_n(runs: list[store.Run]) -> tuple[str, str]:
    return tables.spread(_ten(runs)), tables.counted(len(runs))


def _speed(results: Results) -> list[str]:
    """Returns medians of benchmark.csv: training beside other libraries, a round beside a pass."""
    rows = results.csv("benchmark").fillna({"network": "", "batch": 0}).itertuples()
    found = {(r.section, r.what, r.network, int(r.batch)): r.median for r in rows}
    others = ("stock", "stock, whole epoch", "torch")
    lines = []
    for (section, what, network, batch), images in found.items():
        if (section, what) == ("training", "ours"):
            ratios = [found.get((section, f"ours / {o}", network, batch), math.nan) for o in others]
            cells = (_or_dash(ratio, ".2f") for ratio in ratios)
            lines.append([network, str(batch), f"{images:.0f}", *cells])
    rounds = [
        f"{network}: {ratio:.2f} times,"
        f" {found['selection', 'round / 10 epochs', network, 0]:.1%} of ten epochs"
        for (_, what, network, _), ratio in found.items()
        if what == "round / forward"
    ]
    head = ["network", "batch", "images/s", "times stock Keras", "over whole epochs"]
    return [
        "",
        "**Training speed** on two CPU cores (`make bench`,"
        " [results/benchmark.csv](../../results/benchmark.csv)):",
        "",
        *_table([*head, "times PyTorch eager"], lines),
        "",
        f"A round costs, beside the fastest pure forward pass over the pool, {'; '.join(rounds)}.",
    ]


# The pages' blocks


def _headline(results: Results) -> list[str]:
    others = results.crosscheck.query("validation == 0 and recipe == 'sgd'")

    def theirs(method: str, preset: str = "paper", variant: str = VARIANTS[0, 0, 0]) -> pd.Series:
        keys = others[["method", "preset", "variant"]]
        return _by_seed(others[(keys == [method, preset, variant]).all(axis=1)], 191, 200)

    rows = []
    for method in (*METHODS, "oracle"):
        ours, told = _ten(results.full(method)), _or_dash(_told(results, method))
        rows.append([f"`{method}`", _with_n(ours), _with_n(theirs(method)), told])
    for name, preset, changes, other in (
        ("preset `released`", "released", {}, theirs("selectnet", "released")),
        ("`prior_loss` 1", "robust", {}, theirs("selectnet", variant=VARIANTS[1, 0, 0])),
        (
            "`prior_loss` 1, alignment and cap",
            "robust",
            TOGETHER,
            theirs("selectnet", variant=VARIANTS[1, 0.5, 0.333333]),
        ),
    ):
        ours = _ten(results.full("selectnet", preset, **changes))
        rows.append([f"`selectnet`, {name}", _with_n(ours), _with_n(other), "–"])
    gaps = (theirs("selectnet") - theirs("context")).dropna()  # by seed, and so by split
    head = ["last ten of 200 epochs", "this package", "another implementation", "paper"]
    return [
        *_table(head, rows),
        "",
        "`selectnet` minus `context` in the other implementation, by seed, with its 95% interval:"
        f" {_gap_by_seed(gaps)} ({tables.counted(len(gaps))} each).",
    ]


def _cross_cells(results: Results, method: str, one: pd.DataFrame) -> list[str]:
    """Returns n, the paper's number, and accuracies of another implementation's runs."""
    ten = _by_seed(one, 191, 200)
    ends = [_mean(_by_seed(one, 200, 200, column)) for column in ("accuracy", "minor_accuracy")]
    return [tables.counted(len(ten)), _or_dash(_told(results, method)), tables.spread(ten), *ends]


CROSS = ("n", "paper", "last ten epochs", "epoch 200", "minor classes, epoch 200")


def _example_recipe(results: Results) -> list[str]:
    rows = []
    found = results.crosscheck.query(
        "preset == 'paper' and validation == 0 and cap == 0 and recipe != 'plain'"
    )
    groups = dict(list(found.groupby(["method", "recipe", "tau"])))
    methods = (*METHODS, "oracle")
    for method, recipe, tau in itertools.product(methods, ("sgd", "keras_cnn"), (0, 0.5, 1)):
        one = groups.get((method, recipe, tau))
        if one is None or one.epoch.max() < paper.FULL:
            continue
        name = f"`{method}`, tau {tau:g}" if tau else f"`{method}`"
        cells = [tables.spread(_by_seed(one, 50, 100)), _mean(one.groupby("seed").accuracy.max())]
        rows.append([name, f"`{recipe}`", *_cross_cells(results, method, one), *cells])
    return _table(["method", "recipe", *CROSS, "epochs 50 to 100", "best tested epoch"], rows)


def _augmentation_picks(results: Results) -> list[str]:
    base = "cifar10-4minor_simple_selectnet_paper_s0"
    runs = {
        "no augmentation": f"{base}_eb5a37",
        "no augmentation, other CPU": f"{base}_eb5a37_other-cpu",
        "no augmentation, `--accumulate`": f"{base}_c506d4",
        "shifts and flips": base,
    }
    titles = {
        "labeled_minor": ("labeled minor", ",.0f"),
        "labeled_confused": ("labeled confused", ",.0f"),
        "unlabeled_minor": ("unlabeled minor", ",.0f"),
        "unlabeled_confused": ("unlabeled confused", ",.0f"),
        f"as_{BIRD}": ("picked as birds", ",.0f"),
        "precision": ("pseudo-labels right", ".0%"),
        "val_accuracy": ("accuracy", ".3f"),
        "val_minor_accuracy": ("minor classes", ".3f"),
    }
    rows = []
    for column, (title, form) in titles.items():
        lines = [line for line in paper.numbers("figure2") if line["series"] == column]
        told = pd.Series({int(line["epoch"]): float(line["value"]) for line in lines})
        if lines:
            rows.append((f"{title}: paper", pd.DataFrame({column: told}), column, form))
        rows += [
            (f"{title}: {name}", results.rounds(run), column, form) for name, run in runs.items()
        ]
    return _series(
        "after epoch; accuracies are means of ten epochs",
        (10, 20, 30, 40, 60, 80, 100, 150, 200),
        rows,
    )


def _released(results: Results) -> list[str]:
    others = results.crosscheck.query("preset == 'released'")
    picks = results.picks.query(f"preset == 'released' and epoch == {paper.FULL}")
    rows = []
    order = sorted(others.groupby(["method", "recipe"]), key=lambda g: METHODS.index(g[0][0]))
    for (method, recipe), one in order:
        name = f"`{method}`" + (", no augmentation" if recipe == "plain" else "")
        taken = picks[(picks.method == method) & (picks.recipe == recipe)]
        ends = [_right(taken), _birds(taken)] if len(taken) else ["–", "–"]
        rows.append(
            [name, "another implementation", *_cross_cells(results, str(method), one), *ends]
        )
    runs = results.full("selectnet", "released")
    own = [tables.counted(len(runs)), _or_dash(_told(results, "selectnet"))]
    own += [tables.spread(_ten(runs)) if runs else "not run"]
    columns = ("epoch 200", "minor classes", "pseudo-labels right", "birds picked")
    own += [CELLS[column](results, "selectnet", runs) for column in columns]
    rows.append(["`selectnet`", "this package", *own])
    head = ["preset `released`, 200 epochs", "trained by", *CROSS, *columns[2:]]
    return _table(head, rows)


def _lost_class_picks(results: Results) -> list[str]:
    base = "cifar10-4minor_simple"
    runs = {f"`{m}`": f"{base}_{m}_paper_s0" for m in ("self_paced", "context", "selectnet")}
    runs["`selectnet`, no augmentation"] = f"{base}_selectnet_paper_s0_eb5a37"
    rows = []
    for name, run in runs.items():
        rounds = results.rounds(run)
        rows += [(f"{name}: {title}", rounds, f"as_{c}", ",.0f") for c, title in NAMES.items()]
        rows.append((f"{name}: right", rounds, "precision", ".0%"))
    at = (10, 20, 30, 40, 50, 60, 70, 100, 150, 200)
    return _series("picked as, after epoch", at, rows)


REPORTED = "validation == 0 and recipe == 'sgd' and method == 'selectnet' and preset == 'paper'"


def _ablation(results: Results, where: str, last: int, by_seed: bool = True) -> list[str]:
    """Returns a table of the other implementation's variants that trained for `last` epochs."""
    epochs, picks = results.crosscheck.query(where), results.picks.query(where)
    picks = picks[picks.epoch == last]
    seeds = sorted(epochs[epochs.epoch == last].seed.unique()) if by_seed else []
    rows = []
    for variant in VARIANTS.values():
        one, taken = epochs[epochs.variant == variant], picks[picks.variant == variant]
        if last in one.epoch.values:
            ten = _by_seed(one, last - 9, last)
            columns = ("accuracy", "minor_accuracy", "worst_minor_f1")
            ends = [_mean(_by_seed(one, last, last, column)) for column in columns]
            cells = [*_each(ten, seeds), tables.spread(ten), tables.counted(len(ten))]
            cells += [*ends, _right(taken)]
            rows.append([variant, *cells, _birds(taken)])
    head = [f"accuracy, epochs {last - 9} to {last}", *(f"seed {seed}" for seed in seeds)]
    head += ["mean", "n", f"epoch {last}", "minor classes", "F1 of the worst minor class"]
    return _table([*head, "pseudo-labels right", "birds picked"], rows)


def _own_ablation(results: Results, stem: str, part: str) -> list[str]:
    """Returns a table of this package's variants after 60 epochs. part: choose or report."""
    lines = results.csv(stem)
    lines = lines[(lines.part == part) & (lines.epoch == 60)].sort_values("seed")
    rows, seeds = [], sorted(lines.seed.unique())
    for variant, title in OWN_VARIANTS.items():
        one = lines[lines.variant == variant]
        if ten := one.last10_accuracy.tolist():
            columns = ("accuracy", "minor_accuracy", "macro_f1", "worst_minor_f1")
            cells = [*_each(one.set_index("seed").last10_accuracy, seeds), tables.spread(ten)]
            cells += [tables.counted(len(ten)), *(_mean(one[column]) for column in columns)]
            cells += [f"{one.precision.mean():.0%}", f"{one[f'as_{BIRD}'].mean():,.0f}"]
            rows.append([title, *cells])
    head = ["accuracy, epochs 51 to 60", *(f"seed {seed}" for seed in seeds)]
    head += ["mean", "n", "epoch 60", "minor classes"]
    head += ["macro F1", "F1 of the worst minor class", "pseudo-labels right", "birds picked"]
    return _table(head, rows)


def _agreement(results: Results) -> list[str]:
    rows = [
        [f"`{method}`", f"{accuracy:.4f}", f"{low:.4f} to {high:.4f}"]
        for method, accuracy, (low, high) in paper.agreements(paper.cells(results.folder, []))
    ]
    return _table(["method", "Table 1", "what Table 2's F1 allow"], rows)


def _full_runs(results: Results) -> list[str]:
    rows = []
    for run in results.runs:
        if run.epochs == paper.FULL:
            parts = [f"--dataset={run.dataset}"] if run.dataset != COLUMN[0] else []
            parts += [f"--arch={run.arch}"] if run.arch != COLUMN[1] else []
            parts += [f"--preset={run.preset}"] if run.preset != "paper" else []
            parts += [f"--method={run.method}"]
            parts += [f"--{k}" if v == "True" else f"--{k}={v}" for k, v in run.changes]
            parts += [f"--seed={run.seed}"] if run.seed else []
            times = [_time(run.number(c)) for c in ("seconds", "selection_seconds")]
            times[1] = times[1] if run.method in recipes.SELECTING else "–"
            rows.append([f"`{' '.join(parts)}`", run.row.get("commit", ""), *times])
    return _table(["`selectnet train` and", "commit", "time", "of it rounds"], rows)


def _time(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes > 1 else f"{seconds:.0f} s"


def _resnet20(results: Results) -> list[str]:
    deep, shallow = (f"cifar10-4minor_{arch}" for arch in ("resnet20", "simple"))
    runs = {
        ("`imbalanced`", "resnet20"): f"{deep}_imbalanced_paper_s0_747450a89c22",
        ("`imbalanced`, no augmentation", "resnet20"): f"{deep}_imbalanced_paper_s0_844522909b66",
        ("`selectnet`", "resnet20"): f"{deep}_selectnet_paper_s0_747450a89c22",
        ("`selectnet`, simple net", "simple"): f"{shallow}_selectnet_paper_s0",
    }
    rows: list[tuple[str, pd.DataFrame, str, str]] = []
    for (title, arch), name in runs.items():
        epochs = results.of_run(name, "epochs").set_index("epoch").rolling(10).mean()
        told = results.told[arch, title.split("`")[1]]
        rows.append((f"{title}: all (paper: {told:.4f})", epochs, "val_accuracy", ".4f"))
        rows.append((f"{title}: minor classes", epochs, "val_minor_accuracy", ".4f"))
    rounds = results.rounds(runs["`selectnet`", "resnet20"])
    rows.append(("`selectnet`: picked as birds", rounds, f"as_{BIRD}", ",.0f"))
    rows.append(("`selectnet`: pseudo-labels right", rounds, "precision", ".0%"))
    head = "one run each; accuracies are means of the ten epochs up to epoch"
    return _series(head, (10, 20, 30, 40), rows)


def _selecting(results: Results) -> list[str]:
    """Returns the 60-epoch runs of methods that select beside their controls."""
    rows = []
    for kind, title in itertools.product(CHOOSING, CONTROLLED):
        found = _controlled(results, kind, title)
        epochs = [results.of_run(run.name, "epochs").tail(10) for run in found]
        ends = [
            results.of_run(run.name, "selection")
            for run in found
            if run.method in recipes.SELECTING
        ]
        right = ["–", "–"]
        if ends:
            right = [f"{statistics.fmean(e.precision.iloc[i] for e in ends):.0%}" for i in (0, -1)]
        if found:
            accuracy = tables.spread([float(e.val_accuracy.mean()) for e in epochs])
            minor = tables.spread([float(e.val_minor_accuracy.mean()) for e in epochs])
            rows.append([f"{title}, {kind}", tables.counted(len(found)), accuracy, minor, *right])
    head = ["60 epochs", "n", "epochs 51 to 60", "minor classes", "right after epoch 10"]
    return _table([*head, "after 60"], rows)


def _choosing(results: Results) -> list[str]:
    """Returns the paired differences between the methods of `_selecting`."""
    rows = []
    for kind, titles in itertools.product(CHOOSING, CHOICES):
        left, right = (_controlled(results, kind, title) for title in titles)
        cells = _paired_gaps(results, left, right)
        rows += [[f"{' minus '.join(titles)}, {kind}", *cells]] if cells else []
    return _table(["epochs 51 to 60", "n", "accuracy", "minor classes"], rows)


def _readings(results: Results) -> list[str]:
    """Returns the paired differences between each reading of the paper and preset paper's."""
    rows = []
    for (method, preset), readings in READINGS.items():
        usual = results.full(method, "paper", 60, **CHOOSING["frozen"])
        for reading in readings:
            changes = dict([reading.split("=")]) if reading else {}
            other = results.full(method, preset, 60, **CHOOSING["frozen"], **changes)
            cells = _paired_gaps(results, other, usual)
            title = f"`{reading}`" if reading else f"preset `{preset}`"
            rows += [[title, f"`{method}`", *cells]] if cells else []
    return _table(["minus preset `paper`", "method", "n", "accuracy", "minor classes"], rows)


def _paired_gaps(results: Results, left: list[store.Run], right: list[store.Run]) -> list[str]:
    """Returns [n, difference in accuracy, on the minor classes] of runs paired by seed.

    It is empty with fewer than two pairs.
    """
    mine, other = ({run.seed: run.name for run in runs} for runs in (left, right))
    pairs = [
        compare.pair(results.folder, mine[seed], other[seed])[0]
        for seed in sorted(mine.keys() & other.keys())
    ]
    if len(pairs) < 2:
        return []
    found = compare.differences(pairs)
    gaps = [_gap(a - b, *ends) for a, b, *ends in (found["all"], found["minor"])]
    return [tables.counted(len(pairs)), *gaps]


def _controlled(results: Results, kind: str, title: str) -> list[store.Run]:
    method, preset, changes = CONTROLLED[title]
    return results.full(method, preset, 60, **CHOOSING[kind], **changes)


def _relabel(results: Results, held_out: bool) -> list[str]:
    """Returns `context` by ten epochs, on held-out images or the test set, beside preset paper."""
    base = {"validation": "500"} if held_out else {}
    every_two, all_candidates = {"every": "2"}, {"threshold": "3.0"}
    kinds: dict[str, tuple[str, int, dict[str, str]]] = {
        "preset `paper`": ("paper", 60, {}),
        "loss under 0.6, every 10 epochs": ("robust", 40, {}),
        "loss under 0.6, every 2": ("robust", 40, every_two),
        "all candidates, every 10": ("robust", 40, all_candidates),
        "all candidates, every 2": ("robust", 40, every_two | all_candidates),
    }
    precisions = {"": {"precision": "mixed_bfloat16"}, ", float32": {}}
    rows = []
    for (title, (preset, length, changes)), precision in itertools.product(
        kinds.items(), precisions
    ):
        changed = base | changes | precisions[precision]
        for run in results.full("context", preset, length, **changed):
            rounds = results.rounds(run.name)
            means = rounds.loc[[20, 30, 40], ["val_accuracy", "val_minor_accuracy"]]
            cells = [f"{all_:.4f} ({minor:.4f})" for all_, minor in means.values]
            last = rounds.loc[40]
            right, birds = f"{last.precision:.0%}", f"{last[f'as_{BIRD}']:,.0f}"
            rows.append([title, f"{run.seed}{precision}", *cells, right, birds])
    head = ["added", "seed", "epochs 11 to 20", "21 to 30", "31 to 40"]
    return _table([*head, "pseudo-labels right", "birds picked"], rows)


def _own_images(results: Results) -> list[str]:
    """Returns the means over the seeds of results/folders.csv."""
    rows = []
    for (decided, name), lines in results.csv("folders").groupby(["decided", "name"], sort=False):
        cells = []
        for part in ("all", "minor"):
            cells.append(tables.spread(lines[f"{part}_accuracy"].tolist()))
            gap = lines[f"{part}_difference"].mean()
            cells.append("" if math.isnan(gap) else f"{gap:+.3f}")
        verdicts = lines.verdict.value_counts()
        judged = ", ".join(f"{verdict} {n}" for verdict, n in verdicts.items())
        added = lines.filter(like="picked_")
        counts = [""] * 2
        if added.notna().all(axis=None) and (total := added.sum(axis=1).mean()):
            counts = [f"{total:,.0f}", f"{added.picked_right.mean() / total:.0%}"]
        label = str(name).removeprefix("this run: ")
        rows.append([str(decided), label, tables.counted(len(lines)), *cells, judged, *counts])
    head = ["decisions", "model", "n", "accuracy", "difference", "birds and frogs", "difference"]
    return _table([*head, "seeds", "added", "right"], rows)


def _pools(results: Results) -> list[str]:
    """Returns the means over the seeds of results/pools.csv."""
    rows, keys = [], ["pool", "method", "every"]
    for (pool, method, every), lines in results.csv("pools").groupby(keys, sort=False):
        columns = [c for c in lines if str(c).endswith("accuracy")]
        cells = [tables.spread(lines[column].tolist()) for column in columns]
        right = (lines.right * lines.added).sum() / lines.added.sum()
        counts = [f"{lines.added.mean():,.0f}", f"{right:.0%}"]
        n = tables.counted(len(lines))
        rows.append([pool, f"`{method}`", str(every), n, *cells, *counts])
    head = ["pool", "method", "`--every`", "n", "accuracy", "birds and frogs"]
    return _table([*head, "test set", "birds and frogs", "added", "right"], rows)


def _pool_gaps(results: Results) -> list[str]:
    """Returns the differences by seed between the methods of results/pools.csv."""
    rows, keys = [], ["pool", "seed", "method", "every"]
    lines = results.csv("pools").set_index(keys)[["accuracy", "minor_accuracy"]]
    for pool in lines.index.unique("pool"):
        for a, b in (
            ("selectnet", "random"),
            ("selectnet", "candidates"),
            ("candidates", "random"),
        ):
            ours, other = (lines.loc[pool].xs((m, 10), level=("method", "every")) for m in (a, b))
            gaps = (ours - other).dropna()
            cells = [_gap_by_seed(gaps[column]) for column in gaps]
            rows.append([f"`{a}` minus `{b}`, {pool}", tables.counted(len(gaps)), *cells])
    return _table(["`--every=10`", "n", "accuracy", "birds and frogs"], rows)


def _doubts(results: Results) -> list[str]:
    """Returns results/review.csv with a line for each seed."""
    seeds: Iterable[Any] = results.csv("review").itertuples()
    rows = []
    for row in seeds:
        shares = [f"{row.right:.0%} of {row.picks:,}", f"{row.p_right:.0%}"]
        shares += [f"{area:.2f}" for area in (row.auc_score, row.auc_p_right)]
        counts = [str(row.wrong_by_score), str(row.wrong_by_p_right)]
        rows.append([str(row.seed), *shares, *counts, f"{row.found} of {row.exchanged}"])
    head = ["seed", "images ever picked that are right", "mean `p_right`", "AUC of the score"]
    head += ["of `p_right`", "wrong among the 150 least by score", "by `p_right`"]
    return _table([*head, "exchanged labels among the first 100"], rows)


CONTROLLED: dict[str, tuple[str, str, dict[str, str]]] = {
    **{f"`{m}`": (m, "paper", {}) for m in ("oversampling", "random", "context", "selectnet")},
    "`random`, threshold 0.1": ("random", "paper", {"threshold": "0.1"}),
    "`context`, threshold 0.1": ("context", "paper", {"threshold": "0.1"}),
    "`balanced`": ("balanced", "paper", {}),
    **{
        f"`{m}`, `prior_loss` 1": (m, "robust", {})
        for m in ("candidates", "random", "context", "selectnet")
    },
    **{
        f"`{m}`, threshold 0.1, `prior_loss` 1": (m, "robust", {"threshold": "0.1"})
        for m in ("random", "context")
    },
}
CHOICES = (
    ("`context`", "`random`"),
    ("`selectnet`", "`random`"),
    ("`selectnet`", "`context`"),
    ("`context`, threshold 0.1", "`random`, threshold 0.1"),
    ("`balanced`", "`selectnet`"),
    ("`selectnet`, `prior_loss` 1", "`balanced`"),
    ("`context`, `prior_loss` 1", "`random`, `prior_loss` 1"),
    ("`selectnet`, `prior_loss` 1", "`random`, `prior_loss` 1"),
    ("`selectnet`, `prior_loss` 1", "`candidates`, `prior_loss` 1"),
    ("`context`, threshold 0.1, `prior_loss` 1", "`random`, threshold 0.1, `prior_loss` 1"),
)
CHOOSING = {  # kinds of the 60-epoch runs of CONTROLLED
    "whole network": {"precision": "mixed_bfloat16"},
    "frozen": {"weights": "efficientnet_lite0.keras", "freeze": "True"},
}
READINGS = {  # by (method, preset)
    ("context", "paper"): (
        *("labeled_loss=true", "context=wrong", "balance=minor", "init=none", "loss_norm=separate"),
        *("lr=0.02", "accumulate=True", "lambda_schedule=0.2:0.6", "lr_schedule=cosine"),
    ),
    ("selectnet", "paper"): (
        *("selector_inputs=probs", "selector_inputs=penultimate"),
        *("selector_inputs=penultimate+loss", "selector_fit=all"),
    ),
    ("selectnet", "released"): ("",),
}
PAPER_RUNS: dict[str, tuple[str, str, dict[str, str]]] = {
    f"`{m}`": (m, "paper", {}) for m in (*METHODS, "oracle")
}
AUGMENTED: dict[str, dict[str, str]] = {"shifts and flips": {}, "none": PLAIN}
BLOCKS: dict[str, Callable[[Results], list[str]]] = {
    "results": _readme,
    "numbers": _every_run,
    "headline": _headline,
    "distances": _runs_table(
        "this package",
        PAPER_RUNS
        | {
            f"`{m}`, `--training=keras_cnn`": (
                m,
                "paper",
                {"training": "keras_cnn", "lr": "0.0001", "shift": "0.1"},
            )
            for m in ("imbalanced", "oversampling")
        },
        *("paper", "last ten epochs", "difference from the paper", "epoch 200"),
        "best epoch on the test set",
    ),
    "example-recipe": _example_recipe,
    "augmentation": _runs_table(
        "200 epochs",
        {
            f"`{m}`, augmentation: {name}": (m, "paper", changes)
            for m in ("imbalanced", "oversampling", "selectnet")
            for name, changes in AUGMENTED.items()
        },
        *("last ten epochs", "paper", "epoch 200", "best epoch on the test set"),
        *("minor classes", "major classes", "training accuracy"),
    ),
    "augmentation-picks": _augmentation_picks,
    "released": _released,
    "upper-bound": _runs_table(
        "200 epochs",
        {name: run for name, run in PAPER_RUNS.items() if name != "`imbalanced`"},
        *("paper", "last ten epochs", "least to most", "epochs 101 to 200", *SHARES[1:]),
        "F1 of birds",
    ),
    "lost-class": _runs_table(
        "200 epochs, preset `paper`",
        {f"`{m}`": PAPER_RUNS[f"`{m}`"] for m in ("self_paced", "context", "selectnet")}
        | {"`selectnet`, no augmentation": ("selectnet", "paper", PLAIN)},
        *("last ten epochs", "least to most", "gain over `oversampling`", *SHARES[1:]),
        *("test birds called birds", "called frogs"),
    ),
    "lost-class-picks": _lost_class_picks,
    "ablation-held-out": lambda r: _ablation(r, "validation == 500", 60),
    "ablation-test": lambda r: _ablation(r, REPORTED, 60, by_seed=False),
    "ablation-200": lambda r: _ablation(r, REPORTED, 200),
    "own-held-out": lambda r: _own_ablation(r, "ablation", "choose"),
    "own-test": lambda r: _own_ablation(r, "ablation", "report"),
    "robust-200": _runs_table(
        "200 epochs, this package",
        {
            "preset `paper`": PAPER_RUNS["`selectnet`"],
            "together": ("selectnet", "robust", TOGETHER),
        },
        *ROBUST,
        "birds picked",
    ),
    "frozen-held-out": lambda r: _own_ablation(r, "ablation_frozen", "choose"),
    "frozen-test": lambda r: _own_ablation(r, "ablation_frozen", "report"),
    "frozen-200": _runs_table(
        "frozen, 200 epochs",
        {
            "preset `paper`": ("selectnet", "paper", FROZEN),
            "`prior_loss` 1": ("selectnet", "robust", FROZEN),
            "together": ("selectnet", "robust", TOGETHER | FROZEN),
        },
        *ROBUST,
        "birds picked",
    ),
    "agreement": _agreement,
    "selecting": _selecting,
    "choosing": _choosing,
    "readings": _readings,
    "relabel-held-out": lambda r: _relabel(r, held_out=True),
    "relabel-test": lambda r: _relabel(r, held_out=False),
    "own-images": _own_images,
    "pools": _pools,
    "pool-gaps": _pool_gaps,
    "full-runs": _full_runs,
    "resnet20": _resnet20,
    "doubts": _doubts,
}


def main() -> int:
    """Writes the pages of this repository. Returns the exit code."""
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    try:
        written = write(HOME, HOME / "results")
    except ValueError as error:
        return fail(error, 1)
    print(f"written: {', '.join(path.relative_to(HOME).as_posix() for path in written)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
