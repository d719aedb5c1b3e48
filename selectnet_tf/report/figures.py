"""Figures of runs: picks (Figure 2, by class), learning curves, confusions, F1. No TensorFlow."""

import math
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from selectnet_tf import _csv_files, recipes
from selectnet_tf._files import replacing
from selectnet_tf.report import paper
from selectnet_tf.runs import store

CURVES = {  # of Figure 2's series
    "unlabeled_minor": ("tab:blue", "-"),
    "unlabeled_confused": ("tab:orange", "-"),
    "labeled_minor": ("tab:blue", "--"),
    "labeled_confused": ("tab:orange", "--"),
}
COLORS = dict(zip(recipes.METHODS, [*matplotlib.color_sequences["tab10"], "black"], strict=True))
MOST_LINES = 10  # classes in a panel of picks by class
MOST_PANELS = 18  # of such a figure
Drawn = list[tuple[paper.Group, str, str, dict[str, pathlib.Path]]]
Rows = list[dict[str, str]]
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
}


def draw_all(results: pathlib.Path, found: Sequence[store.Run]) -> Drawn:
    """Draws every figure of every comparison into results/*.png.

    Returns [(Group, data set, arch, {kind: path})]. Where the files of a comparison's run are
    missing, an existing figure is kept: drawn again, it would show less.
    """
    made: Drawn = []
    for group, dataset, arch, chosen in paper.comparisons(found):
        chosen = sorted(
            chosen, key=lambda run: (recipes.METHODS.index(run.method), run.changes, run.seed)
        )
        here = len(_read_each(results, chosen, "epochs.csv")) == len(chosen)
        paths = {}
        for kind, draw in (
            ("figure2", draw_figure2),
            ("curves", draw_curves),
            ("f1", draw_f1),
            ("confusion", draw_confusion),
        ):
            path = results / f"{kind}_{paper.slug(dataset)}_{arch}_{group.slug}.png"
            if (path.exists() and not here) or draw(results, chosen, path, group.title):
                paths[kind] = path
        if paths:
            made.append((group, dataset, arch, paths))
    return made


@matplotlib.rc_context(STYLE)
def draw_figure2(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the picks by round, one panel a run, beside the points of the paper's Figure 2.

    Returns path, or None where no run left a selection.csv, or the true classes are unknown.
    """
    tables = _read_each(results, found, "selection.csv")
    tables = [(run, rows) for run, rows in tables if rows[0]["unlabeled_right"]]
    if not tables:
        return None
    here = found[0].dataset, found[0].arch
    points = [r for r in paper.numbers("figure2") if (r["dataset"], r["arch"]) == here]
    across = min(3, len(tables))
    figure, panels = _grid(len(tables), 3.0, 3.4, columns=across, margin=2.35, sharey=True)
    for panel, (run, rows) in zip(panels, tables, strict=True):
        epochs = [int(row["epoch"]) for row in rows]
        for series, (color, style) in CURVES.items():
            label = series.replace("_", " ")
            values = [sum(float(row[c] or "nan") for c in paper.PICKS[series]) for row in rows]
            panel.plot(epochs, values, style, color=color, marker=".", label=label)
            theirs = [
                (int(r["epoch"]), float(r["value"]))
                for r in points
                if r["series"] == series and int(r["epoch"]) <= epochs[-1]
            ]
            if theirs and run.method == "selectnet":
                marker = "o" if style == "-" else "s"
                label += ", paper"
                panel.plot(
                    *zip(*theirs, strict=True), marker, color=color, mfc="none", ms=5, label=label
                )
        panel.set(title=f"{run.method}, seed {run.seed}", xlabel="epoch")
        _set_rounds(panel)
    for panel in panels[::across]:
        panel.set_ylabel("added images")
    panels[0].set_ylim(bottom=0)
    handles = {
        label: h
        for panel in panels
        for h, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="center right")
    return _save(figure, path, found[0], title)


@matplotlib.rc_context(STYLE)
def draw_curves(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the test accuracy of all classes and of the minor ones by epoch, one line a run.

    Returns path, or None where no run left an epochs.csv.
    """
    tables = _read_each(results, found, "epochs.csv")
    if not tables:
        return None
    figure, panels = _grid(2, 4.2, 3.2)
    shown = (("val_accuracy", "all classes"), ("val_minor_accuracy", "minor classes"))
    for panel, (column, what) in zip(panels, shown, strict=True):
        named: set[str] = set()
        for run, rows in tables:
            points = [[float(row[c] or "nan") for row in rows] for c in ("epoch", column)]
            panel.plot(
                *points,
                ".-" if len(rows) < 40 else "-",
                color=COLORS[run.method],
                lw=1.2,
                label=None if run.method in named else run.method,
            )
            named.add(run.method)
        panel.set(title=f"test accuracy, {what}", xlabel="epoch")
        panel.grid(alpha=0.3)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="center right")
    return _save(figure, path, found[0], title)


@matplotlib.rc_context(STYLE)
def draw_f1(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the F1 of each class, the mean over a method's runs; Table 2's as black lines.

    Returns path, or None where no run left a classes.csv.
    """
    tables = _read_each(results, found, "classes.csv")
    if not tables:
        return None
    scores = [(run.method, paper.f1(results, run.name)) for run, _ in tables]
    by_method = {m: [table for method, table in scores if method == m] for m in recipes.METHODS}
    by_method = {m: chosen for m, chosen in by_method.items() if chosen}
    rows = tables[0][1]
    classes = [row["class"] for row in rows]
    minor = {row["class"] for row in rows if row["minor"] == "1"}
    names = {}
    if found[0].row["dataset"] == recipes.FolderData.dataset:
        names = {row["class"]: _plain(row.get("name", row["class"])[:12]) for row in rows}
    if len(classes) > 20:  # too many bars: at most twenty, of minor classes
        classes = [c for c in classes if c in minor][:20] or classes[:20]
    theirs = {
        (r["method"], r["class"]): float(r["value"])
        for r in paper.numbers("table2")
        if (r["dataset"], r["arch"]) == (found[0].dataset, found[0].arch)
        and r["method"] in by_method
    }
    figure, (panel,) = _grid(1, 8.5, 3.2)
    width = 0.84 / len(by_method)
    for i, (method, chosen) in enumerate(by_method.items()):
        places = [x + (i - (len(by_method) - 1) / 2) * width for x in range(len(classes))]
        means = [sum(table.get(c, 0.0) for table in chosen) / len(chosen) for c in classes]
        panel.bar(places, means, width, color=COLORS[method], label=method)
        for x, c in zip(places, classes, strict=True):
            if (method, c) in theirs:
                ends = [x - width / 2, x + width / 2]
                panel.plot(ends, [theirs[method, c]] * 2, color="black", lw=1.5)
    if theirs:
        panel.plot([], [], color="black", lw=1.5, label="paper, Table 2")
    panel.set_xticks(
        range(len(classes)), [names.get(c, c) + "\nminor" * (c in minor) for c in classes]
    )
    panel.set(title="F1 of each class on the test set", ylim=(0, 1))
    panel.grid(alpha=0.3, axis="y")
    figure.legend(loc="center right")
    return _save(figure, path, found[0], title)


@matplotlib.rc_context(STYLE)
def draw_confusion(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the confusion matrix of the first run of each method, as shares of a row.

    Returns path, or None where no run left a classes.csv.
    """
    firsts = {run.method: run for run in reversed(found)}
    chosen = [firsts[method] for method in recipes.METHODS if method in firsts]
    tables = _read_each(results, chosen, "classes.csv")
    if not tables:
        return None
    classes = len(tables[0][1])
    columns = min(3, max(2, len(tables)))  # one panel alone is too narrow for the title
    figure, panels = _grid(len(tables), 3.1, 3.5, columns=columns, sharey=True)
    for panel, (run, rows) in zip(panels, tables, strict=True):
        counts = [[float(row.get(f"as_{c}") or 0) for c in range(classes)] for row in rows]
        shares = [[v / max(sum(row), 1) for v in row] for row in counts]
        image = panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        step = 1 if classes <= 10 else 10
        panel.set_xticks(range(0, classes, step))
        panel.set_yticks(range(0, classes, step))
        for tick, row in zip(panel.get_yticklabels(), rows[::step], strict=False):
            tick.set_fontweight("bold" if row["minor"] == "1" else "normal")
        panel.set(title=run.method, xlabel="predicted as")
    for panel in panels[::columns]:
        panel.set_ylabel("true class (bold: minor)")
    scale = figure.add_axes((1 - 0.8 / figure.get_figwidth(), 0.3, 0.015, 0.4))
    figure.colorbar(image, cax=scale, label="share of the class")
    return _save(figure, path, found[0], title)


def draw_by_class(
    results: pathlib.Path, found: Sequence[store.Run]
) -> dict[tuple[str, str], pathlib.Path]:
    """Draws results/byclass_*.png, unlabeled picks by class and round: a lost class falls to 0.

    Runs that differ in the seed alone share a panel. Returns {(data set, arch): path}. Where a
    run's files are missing, an existing figure is kept, as in `draw_all`.
    """
    made = {}
    rounds = [run for run in found if run.epochs >= 2 * run.number("every")]  # one is no line
    selecting = [run for run in rounds if run.method in recipes.SELECTING]
    for dataset, arch in dict.fromkeys((run.dataset, run.arch) for run in selecting):
        own = (r for r in selecting if (r.dataset, r.arch) == (dataset, arch))
        groups = paper.groups(own, by_schedule=True)
        kinds: dict[tuple[paper.Group, str], list[store.Run]] = {}
        for group, members in groups.items():
            for run in members:
                kinds.setdefault((group, run.method), []).append(run)
        path = results / f"byclass_{paper.slug(dataset)}_{arch}.png"
        titled = [(_title_panel(runs, len(groups) > 1), runs) for runs in kinds.values()]
        here = all(
            (results / "runs" / run.name / "selection.csv").exists()
            for _, runs in titled
            for run in runs
        )
        if (path.exists() and not here) or _draw_panels(results, titled, path):
            made[dataset, arch] = path
    return made


def _title_panel(runs: list[store.Run], mixed: bool) -> str:
    """Returns a panel's title, with the settings where runs of several are mixed."""
    run, seeds = runs[0], ", ".join(map(str, sorted(run.seed for run in runs)))
    title = f"{run.method}, seed{'s' * (len(runs) > 1)} {seeds}"
    if not mixed:
        return title
    changes = "".join(f"\n{k}={_shorten(v)}" for k, v in run.changes)
    return f"{title}, {run.preset}, {run.epochs} epochs{changes}"


def _shorten(value: str) -> str:
    """Returns a long number's first digits, or a long path's end."""
    if len(value) < 18:
        return value
    return value[:7] if _csv_files.is_number(value, math.inf) else f"...{value[-15:]}"


@matplotlib.rc_context(STYLE)
def _draw_panels(
    results: pathlib.Path, titled: list[tuple[str, list[store.Run]]], path: pathlib.Path
) -> bool:
    """Draws one panel for each (title, runs) with picks by class, a line for each run.

    A panel has the MOST_LINES classes with the fewest picks; the figure, the MOST_PANELS titles in
    which a class ends with the fewest. Returns False where no run has any.
    """
    tables: list[tuple[str, store.Run, list[Rows]]] = []
    for title, runs in titled:
        read = _read_each(results, runs, "selection.csv")
        by_class = [rows for _, rows in read if any(c.startswith("as_") for c in rows[0])]
        if by_class:
            tables.append((title, runs[0], by_class))
    if not tables:
        return False
    places = sorted(range(len(tables)), key=lambda i: _count_fewest(tables[i][2]))[:MOST_PANELS]
    said = f"the {MOST_PANELS} of {len(tables)} settings in which a class ends with the fewest"
    cut = said if len(places) < len(tables) else ""
    tables = [tables[i] for i in sorted(places)]
    lines, columns = max(title.count("\n") for title, *_ in tables), min(3, len(tables))
    height, top = 2.95 + 0.17 * lines, 0.35 + 0.17 * lines + 0.25 * bool(cut)
    figure, panels = _grid(len(tables), 3.6, height, columns=columns, margin=0.3, top=top)
    for panel, (title, run, by_class) in zip(panels, tables, strict=True):
        described = store.read_file(results, run.name, "classes.csv")
        names = {row["class"]: _plain(row["name"]) for row in described if "name" in row}
        found = [c for c in by_class[0][0] if c.startswith("as_")]
        fewest = sorted(found, key=lambda c: float(by_class[0][-1][c] or 0))[:MOST_LINES]
        for i, c in enumerate(sorted(fewest, key=found.index)):
            for rows in by_class:
                panel.plot(
                    [int(row["epoch"]) for row in rows],
                    [float(row.get(c) or "nan") for row in rows],
                    f"C{i}.-",
                    lw=1.2 if len(by_class) == 1 else 0.8,
                    label=names.get(c[3:], c[3:]) if rows is by_class[0] else None,
                )
        panel.set_title(title, fontsize=8)
        _set_rounds(panel)
        panel.set_ylim(-0.2, max(10.0, 1.5 * panel.get_ylim()[1]))  # so that a line at 0 shows
        panel.legend(fontsize=6, ncols=2)
    for panel in panels[-columns:]:  # the lowest of their columns
        panel.set_xlabel("epoch")
    for panel in panels[::columns]:
        panel.set_ylabel("added images")
    _save(figure, path, tables[0][1] if cut else None, cut)
    return True


def _count_fewest(runs: list[Rows]) -> float:
    """Returns the fewest picks of a class in the last round of any of the runs."""
    return min(float(v or 0) for rows in runs for k, v in rows[-1].items() if k.startswith("as_"))


def _read_each(
    results: pathlib.Path, found: Iterable[store.Run], file: str
) -> list[tuple[store.Run, Rows]]:
    """Returns (Run, rows) of a file, one of store.FILES, of each run that has it."""
    tables = ((run, store.read_file(results, run.name, file)) for run in found)
    return [(run, rows) for run, rows in tables if rows]


def _grid(
    n: int,
    width: float,
    height: float,
    columns: int | None = None,
    margin: float = 1.5,
    top: float = 0.6,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its n panels; the rest of its last row is empty.

    Args:
        n: panels.
        width: of a panel with its labels, in inches.
        height: of a panel with its labels, in inches.
        columns: panels in a row; all by default.
        margin: right of the panels, in inches.
        top: above each panel, for its title, in inches.
        options: of `Figure.subplots`.
    """
    columns = columns or n
    rows = -(-n // columns)
    wide, high = width * columns + margin, height * rows
    gap = 0.25 + top  # between rows, for the ticks of one and the titles of the next
    axes = (high - 0.55 - top - gap * (rows - 1)) / rows
    figure = Figure(figsize=(wide, high))
    panels = figure.subplots(rows, columns, squeeze=False, **options)
    # fixed sizes, since Matplotlib's layout engine draws everything twice
    figure.subplots_adjust(
        0.65 / wide,
        0.55 / high,
        1 - (margin + 0.1) / wide,
        1 - top / high,
        0.62 / width,
        gap / axes,
    )
    for panel in panels.flat[n:]:
        panel.set_axis_off()
    return figure, list(panels.flat[:n])


def _plain(name: str) -> str:
    """Returns a text without formulas, which Matplotlib sees between two $."""
    return name.replace("$", r"\$")


def _set_rounds(panel: Axes) -> None:
    """Puts a panel's ticks at whole epochs; its scale of counts shows 0 and thousands."""
    panel.set_yscale("symlog", linthresh=1)
    locator: Any = panel.xaxis.get_major_locator()
    locator.set_params(integer=True)
    panel.grid(alpha=0.3)


def _save(
    figure: Figure, path: pathlib.Path, run: store.Run | None = None, title: str = ""
) -> pathlib.Path:
    """Writes a figure, with a title where a run is given. Returns its path.

    The title is one line: smaller where it is long, cut where it is too long.
    """
    if run:
        text = _plain(f"{run.dataset}, {run.arch}: {title}")
        room = figure.get_figwidth() * 72 / 0.6  # characters of one point
        most = int(room / 7)
        text = text if len(text) <= most else f"{text[: most - 3]}..."
        figure.suptitle(text, fontsize=min(11, room / len(text)))
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110, metadata={"Software": None})
    return path
