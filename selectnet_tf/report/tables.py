"""Tables 1 to 4 as CSV and Markdown, diff.csv, and the results of README.md. No TensorFlow."""

import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence

from selectnet_tf import _csv_files, recipes
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf._files import replacing
from selectnet_tf.report import paper
from selectnet_tf.runs import store

COLUMNS = (
    "dataset",
    "arch",
    "method",
    "what",
    "paper",
    "mean",
    "std",
    "n",
    "delta",
    "low",
    "high",
    "last",
    "best",
)
DIFF = ("table", *COLUMNS, "verdict", "tolerance")
TITLES = {
    "table1": "Table 1: test accuracy",
    "table2": "Table 2: F1 of each class after the last epoch (CIFAR-10, 4 minors, simple net)",
    "table3": "Table 3: test accuracy on long-tailed CIFAR (ResNet-32)",
    "table4": (
        "Table 4 of the PMLR version: test accuracy by schedule of lambda (CIFAR-10, 4 minors,"
        " simple net)"
    ),
}
HEAD = (
    "Each cell: ours (mean ± standard deviation over seeds, number of runs), below it the paper's"
    " and the difference."
)
HEAD += (
    " An accuracy is a run's mean over its last ten epochs; the CSV has the last and the best"
    " epoch's beside."
)
HEAD += (
    f" Runs of other than {paper.FULL} epochs, or with changed settings, stand in tables of their"
    " own."
)


def diff_lines(cells: Iterable[paper.Cell], tolerance: float) -> list[tuple]:
    """Returns the lines of diff.csv, its header first."""
    lines: list[tuple] = [DIFF]
    for c in cells:
        lines.append(
            (
                c.table,
                c.dataset,
                c.arch,
                c.method,
                c.detail,
                f"{c.paper:.4f}",
                *_numbers(c),
                c.verdict(tolerance),
                tolerance,
            )
        )
    return lines


def _numbers(cell: paper.Cell) -> tuple[str, ...]:
    """Returns mean, std, n, delta, its interval's ends, last, best. NaN becomes an empty cell."""

    def text(value: float, sign: str = "") -> str:
        return "" if math.isnan(value) else f"{value:{sign}.4f}"

    others = (text(statistics.fmean(values)) if values else "" for values in (cell.last, cell.best))
    differences = (text(value, "+") for value in (cell.delta, *cell.interval))
    return text(cell.mean), text(cell.std), str(len(cell.values)), *differences, *others


def write(results: pathlib.Path, found: Sequence[store.Run]) -> list[pathlib.Path]:
    """Writes results/table1.csv, table1.md and so on from all Runs. Returns the paths."""
    groups = paper.groups(found)
    full = [paper.Group(preset, paper.FULL, ()) for preset in recipes.REPRODUCING]
    made = {
        group: paper.cells(results, groups.get(group, []), extra=True) for group in [*full, *groups]
    }
    paths = []
    for table in paper.TABLES:
        lines: list[tuple] = [("preset", "epochs", "changes", *COLUMNS)]
        texts = [f"# {TITLES[table]}\n\n{HEAD}"]
        for group, cells in made.items():
            cells = [c for c in cells if c.table == table]
            if group not in full:
                cells = [c._replace(paper=None) for c in cells if c.values]
            if cells:
                texts.append(f"## {group.title[0].upper()}{group.title[1:]}\n\n{markdown(cells)}")
            changes = " ".join(f"{k}={v}" for k, v in group.changes)
            for c in cells:
                known = "" if c.paper is None else f"{c.paper:.4f}"
                lines.append(
                    (
                        group.preset,
                        group.epochs,
                        changes,
                        c.dataset,
                        c.arch,
                        c.method,
                        c.detail,
                        known,
                        *_numbers(c),
                    )
                )
        write_csv(results / f"{table}.csv", lines)
        with replacing(results / f"{table}.md") as beside:
            beside.write_text("\n\n".join(texts) + "\n")
        paths += [results / f"{table}.csv", results / f"{table}.md"]
    return paths


def markdown(cells: Iterable[paper.Cell]) -> str:
    """Returns one table's cells in Markdown: methods down, the table's columns across."""
    columns, rows = layout(cells)
    lines = [f"| method | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for method, row in rows.items():
        lines.append(f"| `{method}` | {' | '.join(_markdown_cell(row.get(c)) for c in columns)} |")
    return "\n".join(lines)


def layout(cells: Iterable[paper.Cell]) -> tuple[list[str], dict[str, dict[str, paper.Cell]]]:
    """Returns one table's (column titles, {method: {column title: Cell}})."""
    rows: dict[str, dict[str, paper.Cell]] = {}
    for c in cells:
        column = {"table2": c.detail.split()[-1], "table4": c.detail}.get(
            c.table, f"{c.dataset} {c.arch}"
        )
        rows.setdefault(c.method, {})[column] = c
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    return columns, {m: rows[m] for m in recipes.METHODS if m in rows}


def _markdown_cell(cell: paper.Cell | None) -> str:
    if cell is None:
        return ""
    known = "" if cell.paper is None else f"paper {cell.paper:.4f}"
    if not cell.values:
        return f"not run<br>{known}" if known else "not run"
    return ours(cell) + (f"<br>{known}, {cell.delta:+.4f}" if known else "")


def ours(cell: paper.Cell) -> str:
    """Returns a cell as "mean ± std (3 runs)"."""
    return f"{spread(cell.values)} ({counted(len(cell.values))})"


def spread(values: Sequence[float]) -> str:
    """Returns "mean ± standard deviation", or the value where there is one."""
    std = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.4f}{std}"


def counted(n: int) -> str:
    """Returns "3 runs", "one run" or "not run"."""
    return {0: "not run", 1: "one run"}.get(n, f"{n} runs")


def readme(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns README.md's results: coverage, and a table of the column with the most methods."""
    full = [c for c in paper.comparisons(found) if c[0] == paper.Group("paper", paper.FULL, ())]
    if not full:
        return _coverage(results, found)
    group, dataset, arch, members = max(full, key=lambda c: len({run.method for run in c[-1]}))
    known = {
        c.method: c.paper
        for c in paper.cells(results, [])
        if c.table in ("table1", "table3") and (c.dataset, c.arch) == (dataset, arch)
    }
    text = (
        f"Test accuracy, {dataset}, network {arch}, {group.title}; ours is the mean of the last ten"
        " epochs:"
    )
    return f"{_coverage(results, found)}\n\n{text}\n\n{_beside_the_paper(members, known)}"


def every_run(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns the tables of docs/results/numbers.md: each group's methods, and the speed."""
    about = (
        "Accuracy is the mean of the last ten epochs, ± its standard deviation over seeds; what is"
        " of a single epoch says so."
    )
    texts = [_coverage(results, found), about]
    left = len(found)
    for group, dataset, arch, members in paper.comparisons(found):
        left -= len(members)
        texts.append(f"**{group.title}** · {dataset}, {arch}:\n\n{_comparison(members)}")
    if left:
        texts.append(
            f"[results/runs.csv](../../results/runs.csv) has {left} more run{'s' * (left > 1)}."
        )
    return "\n\n".join(
        [
            *texts,
            *speed([] if benchmark_problem(results) else read_csv(results / "benchmark.csv")),
        ]
    )


def _coverage(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns a sentence that counts the cells of Tables 1 and 3 with full-length runs."""
    texts = []
    for preset in ("paper", "released"):  # those that reproduce
        cells = [c for c in paper.full(results, found, preset) if c.table in ("table1", "table3")]
        done = sum(bool(c.values) for c in cells)
        texts.append(f"{done or 'none'} with preset `{preset}`")
    return (
        f"Of the {len(cells)} cells of Tables 1 and 3, runs of {paper.FULL} epochs cover"
        f" {' and '.join(texts)}."
    )


SINGLE = {  # columns of runs.csv about one epoch: titles
    "accuracy": "last epoch",
    "best_accuracy": "best epoch",
    "minor_accuracy": "minor, last epoch",
    "major_accuracy": "major, last epoch",
}


def _beside_the_paper(found: list[store.Run], known: dict[str, float | None]) -> str:
    """Returns a table of methods: mean ± std over runs, the paper's number, single epochs."""
    head = ["method", "ours", "n", "paper", *SINGLE.values()]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for method in recipes.METHODS:
        chosen = [run for run in found if run.method == method]
        if chosen:
            number = known.get(method)
            theirs = "–" if number is None else f"{number:.4f}"
            single = " | ".join(f"{_mean(chosen, c):.4f}" for c in SINGLE)
            ours = spread([run.number("last10_accuracy") for run in chosen])
            lines.append(f"| `{method}` | {ours} | {counted(len(chosen))} | {theirs} | {single} |")
    return "\n".join(lines)


def _mean(found: list[store.Run], column: str) -> float:
    return statistics.fmean(run.number(column) for run in found)


def benchmark_problem(results: pathlib.Path) -> str | None:
    """Returns the first fault of results/benchmark.csv; None where it is whole or missing."""
    needed = ("section", "what", "network", "batch", "median")
    return _csv_files.find_problem(results / "benchmark.csv", needed, (*needed[:4], "unit"))


def speed(rows: list[dict[str, str]]) -> list[str]:
    """Returns paragraphs about the medians in results/benchmark.csv; [] without rows.

    The first compares training with other libraries, the second a round with a forward pass.
    """
    found = {(r["section"], r["what"], r["network"], r["batch"]): float(r["median"]) for r in rows}
    head = ["network", "batch", "images/s", "times stock Keras", "over whole epochs"]
    head.append("times PyTorch eager")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for section, what, network, batch in found:
        if (section, what) == ("training", "ours"):
            others = ("stock", "stock, whole epoch", "torch")
            ratios = [found.get((section, f"ours / {other}", network, batch)) for other in others]
            cells = ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
            images = f"{found[section, what, network, batch]:.0f}"
            lines.append(f"| {' | '.join([network, batch, images, *cells])} |")
    rounds = []
    for _, what, network, _ in found:
        if what == "round / forward":
            ratio = found["selection", what, network, ""]
            share = found["selection", "round / 10 epochs", network, ""]
            rounds.append(f"{network}: {ratio:.2f} times, {share:.1%} of ten epochs")
    if not lines[2:] and not rounds:
        return []
    title = (
        "**Training speed** on two CPU cores (`make bench`,"
        " [results/benchmark.csv](../../results/benchmark.csv)):"
    )
    texts = [f"{title}\n\n" + "\n".join(lines)]
    if rounds:
        beside = "A round costs, beside the fastest pure forward pass over the pool"
        texts.append(f"{beside}, {'; '.join(rounds)}.")
    return texts


def _comparison(found: list[store.Run]) -> str:
    """Returns a table of methods: means over their runs."""
    single = SINGLE | {"macro_f1": "macro F1, last epoch"}
    head = ["method", "accuracy", "n", *single.values(), "wall time", "of it selecting"]
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for method in recipes.METHODS:
        chosen = [run for run in found if run.method == method]
        if chosen:
            ours = spread([run.number("last10_accuracy") for run in chosen])
            values = " | ".join(f"{_mean(chosen, c):.4f}" for c in single)
            seconds, selecting = (_mean(chosen, c) for c in ("seconds", "selection_seconds"))
            time = f"{seconds / 60:.0f} min | {f'{selecting / seconds:.1%}' if seconds else '–'}"
            lines.append(f"| `{method}` | {ours} | {counted(len(chosen))} | {values} | {time} |")
    return "\n".join(lines)
