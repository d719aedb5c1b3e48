"""Measured numbers as Markdown tables between marks in README and docs. No TensorFlow."""

import itertools
import math
import pathlib
import re
import statistics
from collections.abc import Callable, Iterable, Sequence

import pandas as pd

from selectnet_tf._files import replacing
from selectnet_tf.report import paper, tables
from selectnet_tf.runs import store

BLOCK = re.compile(
    r"^<!-- (\S+): written by make report -->\n.*?^<!-- end of \1 -->$", re.DOTALL | re.MULTILINE
)
COLUMN = ("cifar10-4minor", "simple")  # the column of Table 1 that most pages are about
METHODS = ("imbalanced", "oversampling", "self_paced", "context", "selectnet")
PICKERS = ("self_paced", "context", "selectnet")
BIRD, FROG = 2, 6
NAMES = {0: "airplane", BIRD: "bird", FROG: "frog", 7: "horse"}
TOGETHER = {"align": "0.5", "cap": "0.3333333333333333"}
FROZEN = {"weights": "backbone.keras", "freeze": "True"}
VARIANTS = {  # (tau, align, cap) of experiments/crosscheck
    (0, 0, 0): "preset `paper`",
    (0.5, 0, 0): "`prior_loss` 0.5",
    (1, 0, 0): "`prior_loss` 1",
    (0, 0.5, 0): "`align` 0.5",
    (0, 0, 0.333333): "`cap` 1/3",
    (1, 0.5, 0.333333): "together",
}
OWN_VARIANTS = {  # of experiments/ablation.py
    "paper": "preset `paper`",
    "prior_loss 0.5": "`prior_loss` 0.5",
    "prior_loss 1": "`prior_loss` 1",
    "align 0.5": "`align` 0.5",
    "cap 1/3": "`cap` 1/3",
    "together": "together",
}


def marks(name: str) -> tuple[str, str]:
    """Returns the lines around a block."""
    return f"<!-- {name}: written by make report -->", f"<!-- end of {name} -->"


def fill(text: str, results: pathlib.Path) -> str:
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
    texts = {}
    for path in [home / "README.md", *sorted((home / "docs").rglob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        try:
            if BLOCK.search(text) or path.name == "README.md":
                texts[path] = fill(text, results)
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


# What the blocks are made of


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(line)} |" for line in [head, *rows]]
    return [lines[0], "|---" * len(head) + "|", *lines[1:]]


def _counts(values: Iterable[float]) -> list[str]:
    return [f"{value:,.0f}" for value in values]


def _with_n(values: Sequence[float]) -> str:
    """Returns "mean ± standard deviation (3 runs)"."""
    return f"{tables.spread(values)} ({tables.counted(len(values))})" if values else "not run"


def _mean(values: Sequence[float]) -> str:
    return f"{statistics.fmean(values):.4f}" if values else "not run"


def _told(method: str, arch: str = COLUMN[1]) -> float:
    """Returns the paper's accuracy in Table 1, NaN where it has none."""
    for line in paper.numbers("table1"):
        if (line["dataset"], line["arch"], line["method"]) == (COLUMN[0], arch, method):
            return float(line["value"])
    return math.nan


def _or_dash(value: float, form: str = ".4f") -> str:
    return "–" if math.isnan(value) else f"{value:{form}}"


def _full(
    results: pathlib.Path, method: str, preset: str = "paper", **changes: str
) -> list[store.Run]:
    """Returns the full-length runs of a recipe, one a seed."""
    wanted = (*COLUMN, method, preset, paper.FULL, changes)
    return [
        run
        for run in store.read_runs(results)[0]
        if (run.dataset, run.arch, run.method, run.preset, run.epochs, dict(run.changes)) == wanted
    ]


def _column(runs: Iterable[store.Run], column: str) -> list[float]:
    return [run.number(column) for run in runs]


def _of_run(results: pathlib.Path, name: str, file: str) -> pd.DataFrame:
    return pd.read_csv(store.find_folder(results, name) / f"{file}.csv")


def _epochs(
    results: pathlib.Path,
    runs: Iterable[store.Run],
    first: int,
    last: int,
    column: str = "val_accuracy",
) -> list[float]:
    """Returns each run's mean of a column of epochs.csv over the epochs first to last."""
    found = (_of_run(results, run.name, "epochs") for run in runs)
    return [float(rows[rows.epoch.between(first, last)][column].mean()) for rows in found]


def _range(results: pathlib.Path, runs: Iterable[store.Run]) -> str:
    """Returns the least and the greatest accuracy of the last ten epochs."""
    found = [_of_run(results, run.name, "epochs").val_accuracy[-10:] for run in runs]
    if not found:
        return "not run"
    return f"{min(rows.min() for rows in found):.4f} to {max(rows.max() for rows in found):.4f}"


def _rounds(results: pathlib.Path, name: str) -> pd.DataFrame:
    """Returns selection.csv by epoch, with the series of Figure 2 and all picks beside."""
    rows = _of_run(results, name, "selection").set_index("epoch")
    for series, columns in paper.PICKS.items():
        rows[series] = rows[list(columns)].sum(axis=1)
    return rows


def _points(rows: pd.DataFrame, column: str, at: Sequence[int], form: str = ",.0f") -> list[str]:
    return [f"{rows[column][epoch]:{form}}" if epoch in rows.index else "" for epoch in at]


def _figure2(series: str, at: Sequence[int]) -> list[str]:
    lines = [line for line in paper.numbers("figure2") if line["series"] == series]
    points = {int(line["epoch"]): float(line["value"]) for line in lines}
    return _counts(points[epoch] for epoch in at)


def _crosscheck(results: pathlib.Path) -> pd.DataFrame:
    """Returns the other implementation's tested epochs."""
    first = pd.read_csv(results / "crosscheck.csv")
    first = first.assign(preset="paper", align=0.0, cap=0.0, validation=0)
    return _named(pd.concat([first, pd.read_csv(results / "crosscheck_selectnet.csv")]))


def _crosscheck_picks(results: pathlib.Path) -> pd.DataFrame:
    """Returns the picks by class and round of the other implementation's later runs."""
    return _named(pd.read_csv(results / "crosscheck_selectnet_picks.csv"))


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    keys = zip(rows["tau"], rows["align"], rows["cap"], strict=True)
    return rows.assign(variant=[VARIANTS[key] for key in keys])


def _by_seed(rows: pd.DataFrame, first: int, last: int, column: str = "accuracy") -> list[float]:
    """Returns each seed's mean of a column over the epochs first to last."""
    return rows[rows.epoch.between(first, last)].groupby("seed")[column].mean().tolist()


def _right(picks: pd.DataFrame) -> str:
    """Returns the share of right picks, the mean over the seeds."""
    sums = picks.groupby("seed")[["picked", "right"]].sum()
    return f"{(sums.right / sums.picked).mean():.0%}"


def _birds(picks: pd.DataFrame) -> str:
    return f"{picks[picks['class'] == BIRD].picked.mean():,.0f}"


# README.md, docs/results/numbers.md and index.md


def _results(results: pathlib.Path) -> list[str]:
    return tables.readme(results, store.read_runs(results)[0]).splitlines()


def _numbers(results: pathlib.Path) -> list[str]:
    return tables.every_run(results, store.read_runs(results)[0]).splitlines()


def _headline(results: pathlib.Path) -> list[str]:
    others = _crosscheck(results).query("validation == 0 and recipe == 'sgd'")

    def theirs(method: str, preset: str = "paper", variant: str = VARIANTS[0, 0, 0]) -> list[float]:
        keys = others[["method", "preset", "variant"]]
        return _by_seed(others[(keys == [method, preset, variant]).all(axis=1)], 191, 200)

    rows = []
    for method in (*METHODS, "oracle"):
        ours = _column(_full(results, method), "last10_accuracy")
        told = _or_dash(_told(method))
        rows.append([f"`{method}`", _with_n(ours), _with_n(theirs(method)), told])
    for name, preset, variant in (
        ("preset `released`", "released", VARIANTS[0, 0, 0]),
        ("preset `robust`", "robust", VARIANTS[1, 0, 0]),
        ("`robust` with alignment and cap", "robust", VARIANTS[1, 0.5, 0.333333]),
    ):
        more = TOGETHER if "cap" in name else {}
        ours = _column(_full(results, "selectnet", preset, **more), "last10_accuracy")
        other = theirs("selectnet", "released" if preset == "released" else "paper", variant)
        rows.append([f"`selectnet`, {name}", _with_n(ours), _with_n(other), "–"])
    pairs = zip(theirs("selectnet"), theirs("context"), strict=True)  # of one seed: of one split
    gaps = [a - b for a, b in pairs]
    cell = paper.Cell("", *COLUMN, "", "", 0.0, tuple(gaps))
    low, high = cell.interval
    head = ["last ten of 200 epochs", "this package", "another implementation", "paper"]
    return [
        *_table(head, rows),
        "",
        f"`selectnet` minus `context` in the other implementation, by seed: {cell.mean:+.4f}, 95%"
        f" interval {low:+.4f} to {high:+.4f} ({tables.counted(len(gaps))} each).",
    ]


# docs/results/training.md


def _distances(results: pathlib.Path) -> list[str]:
    methods = (*METHODS, "oracle")
    runs = {method: _full(results, method) for method in methods}
    example = {"training": "keras_cnn", "lr": "0.0001", "shift": "0.1"}
    told = [_told(method) for method in methods]
    rows = [["paper", *map(_or_dash, told)]]
    ten, last, best = (
        [_column(runs[method], column) for method in methods]
        for column in ("last10_accuracy", "accuracy", "best_accuracy")
    )
    rows.append(["last ten epochs", *map(_with_n, ten)])
    gaps = [statistics.fmean(a) - b if a else math.nan for a, b in zip(ten, told, strict=True)]
    rows.append(["difference from the paper", *(_or_dash(gap, "+.3f") for gap in gaps)])
    rows.append(["epoch 200", *map(_mean, last)])
    rows.append(["best epoch on the test set", *map(_mean, best)])
    shares = []
    for a, b, paper_s in zip(last, best, told, strict=True):
        gap = paper_s - statistics.fmean(a) if a else math.nan
        shares.append((statistics.fmean(b) - statistics.fmean(a)) / gap if a else math.nan)
    rows.append(["share of epoch 200's gap that it closes", *(_or_dash(s, ".0%") for s in shares)])
    own = [_column(_full(results, m, **example), "last10_accuracy") for m in methods]
    rows.append(["`--training=keras_cnn`, last ten epochs", *map(_with_n, own)])
    return _table(["this package", *(f"`{method}`" for method in methods)], rows)


def _example_recipe(results: pathlib.Path) -> list[str]:
    rows = []
    found = _crosscheck(results).query(
        "preset == 'paper' and validation == 0 and cap == 0 and recipe != 'plain'"
    )
    groups = dict(list(found.groupby(["method", "recipe", "tau"])))
    methods = (*METHODS, "oracle")
    for method, recipe, tau in itertools.product(methods, ("sgd", "keras_cnn"), (0, 0.5, 1)):
        one = groups.get((method, recipe, tau))
        if one is None or one.epoch.max() < paper.FULL:
            continue
        ten = _by_seed(one, 191, 200)
        means = [tables.spread(_by_seed(one, 50, 100)), tables.spread(ten)]
        last = _by_seed(one, 200, 200)
        best = one.groupby("seed").accuracy.max().tolist()
        minor = _by_seed(one, 200, 200, "minor_accuracy")
        name = f"`{method}`, tau {tau:g}" if tau else f"`{method}`"
        count, told = tables.counted(len(ten)), _or_dash(_told(method))
        rows.append([name, f"`{recipe}`", count, told, *means, *map(_mean, (last, best, minor))])
    head = ["method", "recipe", "n", "paper", "epochs 50 to 100", "last ten epochs", "epoch 200"]
    return _table([*head, "best tested epoch", "minor classes, epoch 200"], rows)


AUGMENTED = {"shifts and flips": {}, "none": {"augment": "none"}}


def _augmentation(results: pathlib.Path) -> list[str]:
    rows = []
    for method in ("imbalanced", "oversampling", "selectnet"):
        told = {
            line["class"]: float(line["value"])
            for line in paper.numbers("table2")
            if line["method"] == method
        }
        for name, changes in AUGMENTED.items():
            runs = _full(results, method, **changes)
            ten = _column(runs, "last10_accuracy")
            columns = ("accuracy", "best_accuracy", "minor_accuracy", "major_accuracy")
            cells = [_mean(_column(runs, column)) for column in columns]
            trained = _mean(_epochs(results, runs, paper.FULL, paper.FULL, "accuracy"))
            off = "–"
            if told and runs:
                found = [paper.f1(results, run.name) for run in runs]
                gaps = [abs(statistics.fmean(f[c] for f in found) - told[c]) for c in told]
                off = f"{statistics.fmean(gaps):.3f}, {max(gaps):.3f}"
            n = tables.counted(len(runs))
            spread = tables.spread(ten) if ten else "not run"
            rows.append([f"`{method}`", name, spread, n, f"{_told(method):.4f}", *cells])
            rows[-1] += [trained, off]
    head = ["method", "augmentation", "accuracy", "n", "paper", "epoch 200", "best epoch"]
    head += ["minor, epoch 200", "major, epoch 200", "training accuracy, epoch 200"]
    return _table([*head, "F1 beside Table 2: mean and largest difference"], rows)


def _f1_rows(results: pathlib.Path, method: str, ours: dict[str, list[store.Run]]) -> list[str]:
    """Returns Table 2's row of a method over the F1 of ours, {name: runs}."""
    lines = [line for line in paper.numbers("table2") if line["method"] == method]
    told = {line["class"]: f"{float(line['value']):.2f}" for line in lines}
    rows = [["paper, Table 2", *told.values()]]
    for name, runs in ours.items():
        found = [paper.f1(results, run.name) for run in runs]
        values = [f"{statistics.fmean(f[c] for f in found):.2f}" for c in told] if found else []
        rows.append([f"{name} ({tables.counted(len(runs))})", *values])
    classes = [
        f"{c} {NAMES[int(c)]} (minor)" if int(c) in NAMES else c for c in told
    ]  # of CIFAR-10
    return _table([f"F1 of class, `{method}`", *classes], rows)


def _augmentation_f1(results: pathlib.Path) -> list[str]:
    ours = {name: _full(results, "oversampling", **c) for name, c in AUGMENTED.items()}
    return _f1_rows(results, "oversampling", ours)


def _augmentation_picks(results: pathlib.Path) -> list[str]:
    at = (10, 20, 30, 40, 60, 80, 100, 150, 200)
    base = "cifar10-4minor_simple_selectnet_paper_s0"
    runs = {
        "no augmentation": f"{base}_eb5a37",
        "no augmentation, other CPU": f"{base}_eb5a37_other-cpu",
        "no augmentation, `--accumulate`": f"{base}_c506d4",
        "shifts and flips": base,
    }
    rounds = {name: _rounds(results, run) for name, run in runs.items()}
    for name, run in runs.items():
        epochs = _of_run(results, run, "epochs").set_index("epoch")
        for column in ("val_accuracy", "val_minor_accuracy"):
            rounds[name][column] = epochs[column].rolling(10).mean()
    titles = {
        "labeled_minor": 'labeled, of a minor class ("labeled minor")',
        "labeled_confused": 'labeled, of a major class ("labeled confused")',
        "unlabeled_minor": 'unlabeled, of a minor class ("unlabeled minor")',
        "unlabeled_confused": 'unlabeled, of a major class ("unlabeled confused")',
        f"as_{BIRD}": "unlabeled, picked as birds",
        "precision": "pseudo-labels right",
        "val_accuracy": "test accuracy, mean of ten epochs",
        "val_minor_accuracy": "minor classes, mean of ten epochs",
    }
    forms = {"precision": ".0%", "val_accuracy": ".3f", "val_minor_accuracy": ".3f"}
    lines = []
    for column, title in titles.items():
        rows = [["paper, Figure 2", *_figure2(column, at)]] if column in paper.PICKS else []
        for name, found in rounds.items():
            rows.append([name, *_points(found, column, at, forms.get(column, ",.0f"))])
        lines += [*_table([f"{title}; after epoch", *map(str, at)], rows), ""]
    return lines[:-1]


# docs/results/released.md


def _released(results: pathlib.Path) -> list[str]:
    others = _crosscheck(results).query("preset == 'released'")
    rows = []
    order = sorted(others.groupby(["method", "recipe"]), key=lambda g: METHODS.index(g[0][0]))
    for (method, recipe), one in order:
        name = f"`{method}`" + (", no augmentation" if recipe == "plain" else "")
        last = [_by_seed(one, 200, 200, column) for column in ("accuracy", "minor_accuracy")]
        ten = _by_seed(one, 191, 200)
        rows.append([name, "another implementation", *_released_cells(str(method), ten, *last)])
    runs = _full(results, "selectnet", "released")
    columns = ("last10_accuracy", "accuracy", "minor_accuracy")
    values = [_column(runs, column) for column in columns]
    rows.append(["`selectnet`", "this package", *_released_cells("selectnet", *values)])
    head = ["preset `released`", "trained by", "paper", "last ten epochs", "n", "epoch 200"]
    return _table([*head, "minor classes, epoch 200"], rows)


def _released_cells(
    method: str, ten: list[float], last: list[float], minor: list[float]
) -> list[str]:
    spread = tables.spread(ten) if ten else "not run"
    cells = [f"{_told(method):.4f}", spread, tables.counted(len(ten))]
    return [*cells, _mean(last), _mean(minor)]


def _released_figure2(results: pathlib.Path) -> list[str]:
    at = (10, 20, 30, 40, 50, 100, 200)
    picks = _crosscheck_picks(results).query(
        "preset == 'released' and method == 'selectnet' and seed == 0"
    )
    found = {}
    for recipe, name in (("plain", "no augmentation"), ("sgd", "shifts and flips")):
        sums = picks[picks.recipe == recipe].groupby("epoch").sum(numeric_only=True)
        found[name] = pd.DataFrame(
            {
                "unlabeled_minor": sums.picked - sums.major,
                "unlabeled_confused": sums.major,
                "labeled_right": sums.labeled_right,
                "labeled_wrong": sums.labeled - sums.labeled_right,
            }
        )
    own = _rounds(results, "cifar10-4minor_simple_selectnet_released_s0")
    own["labeled_wrong"] = own.labeled_wrong_minor + own.labeled_major
    found["shifts and flips, this package"] = own
    titles = {
        "unlabeled_minor": ("unlabeled_minor", "unlabeled, of a minor class"),
        "unlabeled_confused": ("unlabeled_confused", "unlabeled, of a major class"),
        "labeled_right": ("labeled_minor", "labeled, predicted as their class"),
        "labeled_wrong": ("labeled_confused", "labeled, predicted as another class"),
    }
    rows = []
    for column, (series, title) in titles.items():
        rows.append([f"**{title}**: paper", *_figure2(series, at)])
        rows += [[name, *_points(lines, column, at)] for name, lines in found.items()]
    return _table(["picks after epoch", *map(str, at)], rows)


def _released_birds(results: pathlib.Path) -> list[str]:
    at = (10, 20, 30, 40, 60, 100, 150, 200)
    picks = _crosscheck_picks(results).query("preset == 'released' and validation == 0")
    rows = []
    for (method, recipe, seed), one in picks.groupby(["method", "recipe", "seed"]):
        birds = one[one["class"] == BIRD].set_index("epoch")
        name = f"`{method}`" + (", no augmentation" if recipe == "plain" else "")
        right = _right(one[one.epoch == paper.FULL])
        rows.append([f"{name}, seed {seed}", *_points(birds, "picked", at), right])
    for run in _full(results, "selectnet", "released"):
        rounds = _rounds(results, run.name)
        right = f"{rounds.precision[paper.FULL]:.0%}"
        name = f"`selectnet`, seed {run.seed}, this package"
        rows.append([name, *_points(rounds, f"as_{BIRD}", at), right])
    head = ["picked as birds after epoch", *map(str, at), "pseudo-labels right, epoch 200"]
    return _table(head, rows)


def _upper_bound(results: pathlib.Path) -> list[str]:
    runs = {m: _full(results, m) for m in ("oversampling", *PICKERS, "oracle")}
    ten = {m: _column(found, "last10_accuracy") for m, found in runs.items()}
    hundred = {m: _epochs(results, found, 101, 200) for m, found in runs.items()}
    rows = []
    for method, found in runs.items():
        shares = []
        for values in (ten, hundred):
            low, high, own = (
                statistics.fmean(values[m]) if values[m] else math.nan
                for m in ("oversampling", "oracle", method)
            )
            inside = method in PICKERS
            shares.append(_or_dash((own - low) / (high - low) if inside else math.nan, ".0%"))
        birds = [paper.f1(results, run.name)[str(BIRD)] for run in found]
        cells = [_mean(_column(found, c)) for c in ("macro_f1", "minor_accuracy", "major_accuracy")]
        whole = [_with_n(ten[method]), _range(results, found), _mean(hundred[method])]
        rows.append([f"`{method}`", _or_dash(_told(method)), *whole, *shares, *cells, _mean(birds)])
    head = ["method", "paper", "last ten epochs", "least to most", "epochs 101 to 200"]
    head += ["share of the gap, last ten", "share of the gap, epochs 101 to 200"]
    return _table([*head, "macro F1", "minor classes", "major classes", "F1 of birds"], rows)


# docs/results/lost-class.md


def _lost_class(results: pathlib.Path) -> list[str]:
    runs = {f"`{m}`": (m, _full(results, m)) for m in PICKERS}
    runs["`selectnet`, no augmentation"] = (
        "selectnet",
        _full(results, "selectnet", augment="none"),
    )
    base = statistics.fmean(
        _column(_full(results, "oversampling"), "last10_accuracy") or [math.nan]
    )
    rows = []
    for name, (method, found) in runs.items():
        ten, told = _column(found, "last10_accuracy"), _told(method)
        gains = [statistics.fmean(ten) - base if ten else math.nan, told - _told("oversampling")]
        cells = [_mean(_column(found, c)) for c in ("minor_accuracy", "major_accuracy", "macro_f1")]
        classes = [_of_run(results, run.name, "classes").set_index("class") for run in found]
        called = []
        for c in (BIRD, FROG):
            values = [float(table[f"as_{c}"][BIRD]) for table in classes]
            called.append(f"{statistics.fmean(values):,.0f}" if values else "not run")
        numbers = [_with_n(ten), _range(results, found), f"{told:.4f}"]
        numbers += [_or_dash(gain, "+.3f") for gain in gains]
        rows.append([name, *numbers, *cells, *called])
    head = ["200 epochs, preset `paper`", "last ten epochs", "least to most", "paper"]
    head += ["gain over `oversampling`", "the paper's gain"]
    head += ["minor classes", "major classes", "macro F1"]
    return _table([*head, "test birds called birds", "called frogs"], rows)


def _lost_class_f1(results: pathlib.Path) -> list[str]:
    lines = []
    for method in ("selectnet", "self_paced"):
        lines += [*_f1_rows(results, method, {"ours": _full(results, method)}), ""]
    return lines[:-1]


def _lost_class_picks(results: pathlib.Path) -> list[str]:
    at = (10, 20, 30, 40, 50, 60, 70, 100, 150, 200)
    base = "cifar10-4minor_simple"
    runs = {
        "`self_paced`": f"{base}_self_paced_paper_s0",
        "`context`": f"{base}_context_paper_s0",
        "`selectnet`": f"{base}_selectnet_paper_s0",
        "`selectnet`, no augmentation": f"{base}_selectnet_paper_s0_eb5a37",
    }
    rows = []
    for name, run in runs.items():
        rounds = _rounds(results, run)
        for c, title in NAMES.items():
            rows.append([f"{name}: {title}", *_points(rounds, f"as_{c}", at)])
        rows.append([f"{name}: right", *_points(rounds, "precision", at, ".0%")])
    return _table(["picked as, after epoch", *map(str, at)], rows)


# docs/results/ablation.md; docs/robust.md has one of them, too


def _ablation_held_out(results: pathlib.Path) -> list[str]:
    epochs = _crosscheck(results).query("validation == 500")
    picks = _crosscheck_picks(results).query("validation == 500 and epoch == 60")
    return _ablation(epochs, picks, 60, by_seed=True)


def _ablation_test(results: pathlib.Path) -> list[str]:
    return _ablation(*_reported(results, 60), 60)


def _ablation_200(results: pathlib.Path) -> list[str]:
    return _ablation(*_reported(results, 200), 200, by_seed=True)


REPORTED = "validation == 0 and recipe == 'sgd' and method == 'selectnet' and preset == 'paper'"


def _reported(results: pathlib.Path, last: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns (tested epochs, picks after epoch `last`) of SelectNet on the test set."""
    picks = _crosscheck_picks(results).query(REPORTED)
    return _crosscheck(results).query(REPORTED), picks[picks.epoch == last]


def _ablation(
    epochs: pd.DataFrame, picks: pd.DataFrame, last: int, by_seed: bool = False
) -> list[str]:
    """Returns a table of the variants that were trained for `last` epochs."""
    seeds = sorted(epochs[epochs.epoch == last].seed.unique())
    rows = []
    for variant in VARIANTS.values():
        one, taken = epochs[epochs.variant == variant], picks[picks.variant == variant]
        if (ten := _by_seed(one, last - 9, last)) and last in one.epoch.values:
            columns = ("accuracy", "minor_accuracy", "worst_minor_f1")
            ends = [_mean(_by_seed(one, last, last, column)) for column in columns]
            each = [f"{value:.4f}" for value in ten] if by_seed else []
            cells = [*each, tables.spread(ten), tables.counted(len(ten)), *ends]
            rows.append([variant, *cells, _right(taken), _birds(taken)])
    head = [f"accuracy, epochs {last - 9} to {last}"]
    head += [f"seed {seed}" for seed in seeds] if by_seed else []
    head += ["mean", "n", f"epoch {last}", "minor classes", "F1 of the worst minor class"]
    return _table([*head, "pseudo-labels right", "birds picked"], rows)


BIRDS_AT = (10, 20, 30, 40, 50, 60, 100, 150, 200)


def _ablation_birds(results: pathlib.Path) -> list[str]:
    picks = _crosscheck_picks(results).query(f"{REPORTED} and `class` == {BIRD}")
    rows = []
    for variant in VARIANTS.values():
        for seed, one in picks[picks.variant == variant].groupby("seed"):
            if one.epoch.max() == paper.FULL:
                points = _points(one.set_index("epoch"), "picked", BIRDS_AT)
                rows.append([f"{variant}, seed {seed}", *points])
    return _table(["picked as birds after epoch", *map(str, BIRDS_AT)], rows)


def _ablation_own(results: pathlib.Path) -> list[str]:
    lines = pd.read_csv(results / "ablation.csv")
    where = {"choose": "held out of seed", "report": "test set, seed"}
    rows = []
    for (part, seed), found in lines.groupby(["part", "seed"]):
        for variant, title in OWN_VARIANTS.items():
            one = found[found.variant == variant]
            if 60 in one.epoch.values:
                last = one[one.epoch == 60].iloc[0]
                columns = ("last10_accuracy", "accuracy", "minor_accuracy", "worst_minor_f1")
                cells = [f"{last[column]:.4f}" for column in columns]
                birds = ", ".join(_counts(one[f"as_{BIRD}"]))
                name = f"{where[str(part)]} {seed}: {title}"
                rows.append([name, "one run", *cells, f"{last.precision:.0%}", birds])
    head = ["60 epochs", "n", "epochs 51 to 60", "epoch 60", "minor classes"]
    head += ["F1 of the worst minor class", "pseudo-labels right"]
    return _table([*head, "birds picked after epoch 10, 20, ..., 60"], rows)


def _robust_200(results: pathlib.Path) -> list[str]:
    runs = {
        "preset `paper`": _full(results, "selectnet"),
        "together": _full(results, "selectnet", "robust", **TOGETHER),
    }
    rows = _full_rows(results, runs)
    head = ["200 epochs, this package", "last ten epochs", "epoch 200", "minor classes"]
    head += ["major classes", "macro F1", "F1 of the worst minor class", "pseudo-labels right"]
    birds = []
    for name, found in runs.items():
        for run in found:
            points = _points(_rounds(results, run.name), f"as_{BIRD}", BIRDS_AT)
            birds.append([f"{name}, seed {run.seed}", *points])
    return [
        *_table([*head, "birds picked, epoch 200"], rows),
        "",
        *_table(["picked as birds after epoch", *map(str, BIRDS_AT)], birds),
    ]


def _full_rows(results: pathlib.Path, runs: dict[str, list[store.Run]]) -> list[list[str]]:
    rows = []
    for name, found in runs.items():
        columns = ("accuracy", "minor_accuracy", "major_accuracy", "macro_f1")
        cells = [_mean(_column(found, column)) for column in columns]
        classes = [_of_run(results, run.name, "classes") for run in found]
        worst = _mean([float(table.f1[table.minor == 1].min()) for table in classes])
        ends = [_rounds(results, run.name).iloc[-1] for run in found]
        right = f"{statistics.fmean(end.precision for end in ends):.0%}" if ends else "not run"
        birds = f"{statistics.fmean(end[f'as_{BIRD}'] for end in ends):,.0f}" if ends else "not run"
        ten = _with_n(_column(found, "last10_accuracy"))
        rows.append([name, ten, *cells, worst, right, birds])
    return rows


def _frozen_held_out(results: pathlib.Path) -> list[str]:
    return _frozen(results, "choose")


def _frozen_test(results: pathlib.Path) -> list[str]:
    return _frozen(results, "report")


def _frozen(results: pathlib.Path, part: str) -> list[str]:
    lines = pd.read_csv(results / "ablation_frozen.csv")
    lines = lines[(lines.part == part) & (lines.epoch == 60)].sort_values("seed")
    rows = []
    for variant, title in OWN_VARIANTS.items():
        one = lines[lines.variant == variant]
        ten = one.last10_accuracy.tolist()
        columns = ("accuracy", "minor_accuracy", "macro_f1", "worst_minor_f1")
        cells = [_mean(one[column].tolist()) for column in columns]
        each = [f"{value:.4f}" for value in ten]
        ends = [f"{one.precision.mean():.0%}", f"{one[f'as_{BIRD}'].mean():,.0f}"]
        rows.append([title, *each, tables.spread(ten), tables.counted(len(ten)), *cells, *ends])
    seeds = [f"seed {seed}" for seed in sorted(lines.seed.unique())]
    head = ["accuracy, epochs 51 to 60", *seeds, "mean", "n", "epoch 60", "minor classes"]
    head += ["macro F1", "F1 of the worst minor class", "pseudo-labels right", "birds picked"]
    return _table(head, rows)


def _frozen_200(results: pathlib.Path) -> list[str]:
    runs = {
        "preset `paper`": _full(results, "selectnet", **FROZEN),
        "preset `robust`": _full(results, "selectnet", "robust", **FROZEN),
        "together": _full(results, "selectnet", "robust", **TOGETHER, **FROZEN),
    }
    head = ["frozen, 200 epochs", "last ten epochs", "epoch 200", "minor classes", "major classes"]
    head += ["macro F1", "F1 of the worst minor class", "pseudo-labels right"]
    return _table([*head, "birds picked, epoch 200"], _full_rows(results, runs))


# docs/results/contradictions.md and rows.md


def _agreement(results: pathlib.Path) -> list[str]:
    rows = [
        [f"`{method}`", f"{accuracy:.4f}", f"{low:.4f} to {high:.4f}"]
        for method, accuracy, (low, high) in paper.agreements(paper.cells(results, []))
    ]
    return _table(["method", "Table 1", "what Table 2's F1 allow"], rows)


def _full_runs(results: pathlib.Path) -> list[str]:
    rows = []
    for run in store.read_runs(results)[0]:
        if run.epochs == paper.FULL:
            parts = [f"--dataset={run.dataset}"] if run.dataset != COLUMN[0] else []
            parts += [f"--arch={run.arch}"] if run.arch != COLUMN[1] else []
            parts += [f"--preset={run.preset}"] if run.preset != "paper" else []
            parts += [f"--method={run.method}"]
            parts += [f"--{k}" if v == "True" else f"--{k}={v}" for k, v in run.changes]
            parts += [f"--seed={run.seed}"] if run.seed else []
            times = [_time(run.number(c)) for c in ("seconds", "selection_seconds")]
            selects = run.method not in ("imbalanced", "oversampling", "oracle")
            times[1] = times[1] if selects else "–"
            rows.append([f"`{' '.join(parts)}`", run.row.get("commit", ""), *times])
    return _table(["`selectnet train` and", "commit", "time", "of it rounds"], rows)


def _time(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes > 1 else f"{seconds:.0f} s"


def _resnet20(results: pathlib.Path) -> list[str]:
    base, tens = "cifar10-4minor", (1, 11, 21, 31)
    runs = {
        "`imbalanced`": f"{base}_resnet20_imbalanced_paper_s0_747450a89c22",
        "`selectnet`": f"{base}_resnet20_selectnet_paper_s0_747450a89c22",
        "`selectnet`, simple net": f"{base}_simple_selectnet_paper_s0",
    }
    columns = {"all classes": "val_accuracy", "minor classes": "val_minor_accuracy"}
    rows = []
    for title, name in runs.items():
        epochs = _of_run(results, name, "epochs")
        arch, method = name.split("_")[1:3]
        for classes, column in columns.items():
            means = [epochs[epochs.epoch.between(i, i + 9)][column].mean() for i in tens]
            best = f"{epochs[epochs.epoch <= 40][column].max():.4f}"
            told = f"{_told(method, arch):.4f}" if column == "val_accuracy" else "–"
            cells = [*(f"{mean:.4f}" for mean in means), best, told]
            rows.append([f"{title}: {classes}", *cells])
    head = ["one run each; mean of epochs", *(f"{i} to {i + 9}" for i in tens), "best of 40"]
    rounds = _rounds(results, runs["`selectnet`"])
    at = [10, 20, 30, 40]
    picks = [
        ["picked as birds", *_points(rounds, f"as_{BIRD}", at)],
        ["pseudo-labels right", *_points(rounds, "precision", at, ".0%")],
    ]
    return [
        *_table([*head, "paper, 200 epochs"], rows),
        "",
        *_table(["`selectnet`, ResNet-20, after epoch", *map(str, at)], picks),
    ]


# docs/folders.md

FOLDER_RUNS = {  # of experiments/images.py, without those that had a filter of outliers
    "imbalanced": "`imbalanced`",
    "selectnet": "`selectnet`, `--preset=paper`",
    "robust": "`selectnet`, the default (`--preset=robust`)",
    "imbalanced frozen": "`imbalanced`, frozen",
    "selectnet frozen": "`selectnet`, frozen, `--preset=paper`",
}
ADDED = ("right", "wrong_minor", "major", "foreign")


def _folders(results: pathlib.Path) -> list[str]:
    rows = {row.run: row for _, row in pd.read_csv(results / "pictures.csv").iterrows()}
    found = [[name, *_added(rows[run])] for run, name in FOLDER_RUNS.items() if run in rows]
    return _folder_table(found)


def _review(results: pathlib.Path) -> list[str]:
    rows = pd.read_csv(results / "journey.csv")
    found = [[f"{row.run}, {row.decided} decisions", *_added(row)] for _, row in rows.iterrows()]
    return _folder_table(found)


def _folder_table(rows: list[list[str]]) -> list[str]:
    head = ["run", "n", "accuracy", "birds and frogs", "the others", "added", "right"]
    return _table([*head, "wrong minor class", "major class", "out-of-distribution"], rows)


def _added(row: pd.Series) -> list[str]:
    """Returns accuracies and counts of added images, of one line of pictures.csv or journey.csv."""
    shares = [f"{row[c]:.4f}" for c in ("accuracy", "minor_accuracy", "major_accuracy")]
    counts = [int(row[f"picked_{kind}"]) for kind in ADDED]
    cells = [f"{n:,}" for n in (sum(counts), *counts)] if any(counts) else ["–"] * 5
    return ["one run", *shares, *cells]


BLOCKS: dict[str, Callable[[pathlib.Path], list[str]]] = {
    "results": _results,
    "numbers": _numbers,
    "headline": _headline,
    "distances": _distances,
    "example-recipe": _example_recipe,
    "augmentation": _augmentation,
    "augmentation-f1": _augmentation_f1,
    "augmentation-picks": _augmentation_picks,
    "released": _released,
    "released-figure2": _released_figure2,
    "released-birds": _released_birds,
    "upper-bound": _upper_bound,
    "lost-class": _lost_class,
    "lost-class-f1": _lost_class_f1,
    "lost-class-picks": _lost_class_picks,
    "ablation-held-out": _ablation_held_out,
    "ablation-test": _ablation_test,
    "ablation-200": _ablation_200,
    "ablation-birds": _ablation_birds,
    "ablation-own": _ablation_own,
    "robust-200": _robust_200,
    "frozen-held-out": _frozen_held_out,
    "frozen-test": _frozen_test,
    "frozen-200": _frozen_200,
    "agreement": _agreement,
    "full-runs": _full_runs,
    "resnet20": _resnet20,
    "folders": _folders,
    "review": _review,
}
