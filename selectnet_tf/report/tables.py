"""Tables 1 to 4 as CSV and Markdown, and diff.csv. No TensorFlow."""

import math
import pathlib
import statistics
from collections.abc import Iterable, Sequence

from selectnet_tf import recipes
from selectnet_tf._csv_files import write_csv
from selectnet_tf._files import replacing
from selectnet_tf.report import paper
from selectnet_tf.runs import store

COLUMNS = (
    *("dataset", "arch", "method", "what", "paper"),
    *("mean", "std", "n", "delta", "low", "high", "last", "best"),
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
    " and the difference. An accuracy is a run's mean over its last ten epochs; the CSV has the"
    f" last and the best epoch's beside. Runs of other than {paper.FULL} epochs, or with changed"
    " settings, stand in tables of their own."
)


def diff_lines(cells: Iterable[paper.Cell], tolerance: float) -> list[tuple]:
    """Returns the lines of diff.csv, its header first."""
    return [DIFF, *((c.table, *_row(c), c.verdict(tolerance), tolerance) for c in cells)]


def _row(cell: paper.Cell) -> tuple[str, ...]:
    """Returns a cell by COLUMNS. NaN becomes an empty cell."""

    def text(value: float, sign: str = "") -> str:
        return "" if math.isnan(value) else f"{value:{sign}.4f}"

    others = (text(statistics.fmean(values)) if values else "" for values in (cell.last, cell.best))
    differences = (text(value, "+") for value in (cell.delta, *cell.interval))
    known = "" if cell.paper is None else f"{cell.paper:.4f}"
    ours = (text(cell.mean), text(cell.std), str(len(cell.values)))
    return (*cell[1:5], known, *ours, *differences, *others)


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
            lines += [(group.preset, group.epochs, changes, *_row(c)) for c in cells]
        write_csv(results / f"{table}.csv", lines)
        with replacing(results / f"{table}.md") as beside:
            beside.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
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
