"""Figures of runs: picks (Figure 2, by class), learning curves, confusions, F1. No TensorFlow."""

import math
import pathlib
from collections.abc import Sequence
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
Drawn = dict[paper.Group, dict[tuple[str, str], list[pathlib.Path]]]
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
}


def draw_all(results: pathlib.Path, found: Sequence[store.Run]) -> Drawn:
    """Draws every figure of every comparison into results/*.png.

    Returns {Group: {(data set, arch): [path]}}. Where the files of a comparison's run are missing,
    an existing figure is kept: drawn again, it would show less.
    """
    made: Drawn = {}
    for group, dataset, arch, chosen in paper.comparisons(found):
        chosen = sorted(
            chosen, key=lambda run: (recipes.METHODS.index(run.method), run.changes, run.seed)
        )
        here = all(store.read_file(results, run.name, "epochs.csv") for run in chosen)
        paths = []
        for kind, draw in (
            ("figure2", draw_figure2),
            ("curves", draw_curves),
            ("f1", draw_f1),
            ("confusion", draw_confusion),
        ):
            path = results / f"{kind}_{paper.slug(dataset)}_{arch}_{group.slug}.png"
            paths.append(
                path if path.exists() and not here else draw(results, chosen, path, group.title)
            )
        if any(paths):
            made.setdefault(group, {})[dataset, arch] = [path for path in paths if path]
    return made


def draw_figure2(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the picks by round, one panel a run, beside the points of the paper's Figure 2.

    Returns path, or None where no run left a selection.csv, or the true classes are unknown.
    """
    tables = [(run, store.read_file(results, run.name, "selection.csv")) for run in found]
    tables = [(run, rows) for run, rows in tables if rows and rows[0]["unlabeled_right"]]
    if not tables:
        return None
    here = found[0].dataset, found[0].arch
    points = [r for r in paper.numbers("figure2") if (r["dataset"], r["arch"]) == here]
    across = min(3, len(tables))
    with matplotlib.rc_context(STYLE):
        figure, panels = _grid(len(tables), 3.0, 3.4, columns=across, margin=2.35, sharey=True)
        for panel, (run, rows) in zip(panels, tables, strict=False):
            for series, (color, style) in CURVES.items():
                label = series.replace("_", " ")
                columns = paper.PICKS[series]
                values = [sum(float(row[c] or "nan") for c in columns) for row in rows]
                panel.plot(
                    [int(row["epoch"]) for row in rows],
                    values,
                    style,
                    color=color,
                    marker=".",
                    label=label,
                )
                theirs = [
                    (int(r["epoch"]), float(r["value"])) for r in points if r["series"] == series
                ]
                theirs = [
                    point
                    for point in theirs
                    if run.method == "selectnet" and point[0] <= int(rows[-1]["epoch"])
                ]
                if theirs:
                    marker = "o" if style == "-" else "s"
                    panel.plot(
                        *zip(*theirs, strict=True),
                        marker,
                        color=color,
                        mfc="none",
                        ms=5,
                        label=f"{label}, paper",
                    )
            panel.set(title=f"{run.method}, seed {run.seed}", xlabel="epoch")
            panel.set_yscale("symlog", linthresh=1)
            _whole_epochs(panel)
            panel.grid(alpha=0.3)
        for panel in panels[len(tables) :]:
            panel.set_axis_off()
        for panel in panels[::across]:
            panel.set_ylabel("added images")
        panels[0].set_ylim(bottom=0)
        handles = {
            label: h
            for panel in panels
            for h, label in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        figure.legend(handles.values(), handles, loc="center right")
        _set_title(figure, found[0], title)
        return _save(figure, path)


def draw_curves(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the test accuracy of all classes and of the minor ones by epoch, one line a run.

    Returns path, or None where no run left an epochs.csv.
    """
    tables = [(run, store.read_file(results, run.name, "epochs.csv")) for run in found]
    tables = [(run, rows) for run, rows in tables if rows]
    if not tables:
        return None
    with matplotlib.rc_context(STYLE):
        figure, panels = _grid(2, 4.2, 3.2)
        for panel, (column, what) in zip(
            panels,
            (("val_accuracy", "all classes"), ("val_minor_accuracy", "minor classes")),
            strict=True,
        ):
            for run, rows in tables:
                first = run.name == next(r.name for r, _ in tables if r.method == run.method)
                points = [[float(row[c] or "nan") for row in rows] for c in ("epoch", column)]
                panel.plot(
                    *points,
                    ".-" if len(rows) < 40 else "-",
                    color=COLORS[run.method],
                    lw=1.2,
                    label=run.method if first else None,
                )
            panel.set(title=f"test accuracy, {what}", xlabel="epoch")
            panel.grid(alpha=0.3)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="center right")
        _set_title(figure, found[0], title)
        return _save(figure, path)


def draw_f1(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the F1 of each class, the mean over a method's runs; Table 2's as black lines.

    Returns path, or None where no run left a classes.csv.
    """
    tables = [(run, paper.f1(results, run.name)) for run in found]
    by_method = {m: [t for run, t in tables if run.method == m and t] for m in recipes.METHODS}
    by_method = {m: chosen for m, chosen in by_method.items() if chosen}
    if not by_method:
        return None
    rows = next(
        rows for run in found if (rows := store.read_file(results, run.name, "classes.csv"))
    )
    classes, minor = (
        [row["class"] for row in rows],
        {row["class"] for row in rows if row["minor"] == "1"},
    )
    names = {
        row["class"]: _plain(row.get("name", row["class"])[:12])
        for row in rows
        if found[0].row["dataset"] == recipes.FolderData.dataset
    }
    if len(classes) > 20:  # too many bars: at most twenty, of minor classes
        classes = [c for c in classes if c in minor][:20] or classes[:20]
    lines = [
        r
        for r in paper.numbers("table2")
        if (r["dataset"], r["arch"]) == (found[0].dataset, found[0].arch)
    ]
    theirs = {
        (r["method"], r["class"]): float(r["value"]) for r in lines if r["method"] in by_method
    }
    with matplotlib.rc_context(STYLE):
        figure, (panel,) = _grid(1, 8.5, 3.2)
        width = 0.84 / len(by_method)
        for i, (method, chosen) in enumerate(by_method.items()):
            places = [x + (i - (len(by_method) - 1) / 2) * width for x in range(len(classes))]
            means = [sum(table.get(c, 0.0) for table in chosen) / len(chosen) for c in classes]
            panel.bar(places, means, width, color=COLORS[method], label=method)
            for x, c in zip(places, classes, strict=True):
                if (method, c) in theirs:
                    panel.plot(
                        [x - width / 2, x + width / 2],
                        [theirs[method, c]] * 2,
                        color="black",
                        lw=1.5,
                    )
        if theirs:
            panel.plot([], [], color="black", lw=1.5, label="paper, Table 2")
        panel.set_xticks(
            range(len(classes)), [names.get(c, c) + "\nminor" * (c in minor) for c in classes]
        )
        panel.set(title="F1 of each class on the test set", ylim=(0, 1))
        panel.grid(alpha=0.3, axis="y")
        figure.legend(loc="center right")
        _set_title(figure, found[0], title)
        return _save(figure, path)


def draw_confusion(
    results: pathlib.Path, found: Sequence[store.Run], path: pathlib.Path, title: str
) -> pathlib.Path | None:
    """Draws the confusion matrix of the first run of each method, as shares of a row.

    Returns path, or None where no run left a classes.csv.
    """
    firsts = {run.method: run for run in reversed(found)}
    tables = {
        run.method: store.read_file(results, run.name, "classes.csv") for run in firsts.values()
    }
    tables = {m: tables[m] for m in recipes.METHODS if tables.get(m)}
    if not tables:
        return None
    classes = len(next(iter(tables.values())))
    columns = min(3, max(2, len(tables)))  # one panel alone is too narrow for the title
    with matplotlib.rc_context(STYLE):
        figure, panels = _grid(len(tables), 3.1, 3.5, columns=columns, sharey=True)
        for panel, (method, rows) in zip(panels, tables.items(), strict=False):
            counts = [[float(row.get(f"as_{c}") or 0) for c in range(classes)] for row in rows]
            image = panel.imshow(
                [[v / max(sum(row), 1) for v in row] for row in counts],
                cmap="Blues",
                vmin=0,
                vmax=1,
            )
            step = 1 if classes <= 10 else 10
            panel.set_xticks(range(0, classes, step))
            panel.set_yticks(range(0, classes, step))
            for tick, row in zip(panel.get_yticklabels(), rows[::step], strict=False):
                tick.set_fontweight("bold" if row["minor"] == "1" else "normal")
            panel.set(title=method, xlabel="predicted as")
        for panel in panels[len(tables) :]:
            panel.set_axis_off()
        for panel in panels[::columns]:
            panel.set_ylabel("true class (bold: minor)")
        figure.colorbar(
            image,
            cax=figure.add_axes((1 - 0.8 / figure.get_figwidth(), 0.3, 0.015, 0.4)),
            label="share of the class",
        )
        _set_title(figure, found[0], title)
        return _save(figure, path)


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
        groups = paper.groups(r for r in selecting if (r.dataset, r.arch) == (dataset, arch))
        kinds: dict[tuple[paper.Group, str], list[store.Run]] = {}
        for group, members in groups.items():
            for run in members:
                kinds.setdefault((group, run.method), []).append(run)
        path = results / f"byclass_{paper.slug(dataset)}_{arch}.png"
        folders = [
            (_title_panel(runs, len(groups) > 1), [results / "runs" / run.name for run in runs])
            for runs in kinds.values()
        ]
        here = all((f / "selection.csv").exists() for _, several in folders for f in several)
        if (path.exists() and not here) or _draw_panels(folders, path):
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


def _draw_panels(kinds: list[tuple[str, list[pathlib.Path]]], file: pathlib.Path) -> bool:
    """Draws one panel for each (title, folders of runs) with picks by class, a line for each run.

    A panel has the MOST_LINES classes with the fewest picks. Returns False where no folder has any.
    """
    tables = []
    for title, folders in kinds:
        read = [store.read_file(f.parent.parent, f.name, "selection.csv") for f in folders]
        runs = [rows for rows in read if rows and any(c.startswith("as_") for c in rows[0])]
        if runs:
            tables.append((title, folders[0], runs))
    if not tables:
        return False
    lines, columns = max(title.count("\n") for title, *_ in tables), min(3, len(tables))
    with matplotlib.rc_context(STYLE):
        figure, panels = _grid(
            len(tables),
            3.6,
            2.95 + 0.17 * lines,
            columns=columns,
            margin=0.3,
            top=0.35 + 0.17 * lines,
        )
        for panel, (title, folder, runs) in zip(panels, tables, strict=False):
            described = store.read_file(folder.parent.parent, folder.name, "classes.csv")
            names = {row["class"]: _plain(row["name"]) for row in described if "name" in row}
            found = [c for c in runs[0][0] if c.startswith("as_")]
            fewest = sorted(found, key=lambda c: float(runs[0][-1][c] or 0))[:MOST_LINES]
            for i, c in enumerate(sorted(fewest, key=found.index)):
                for rows in runs:
                    panel.plot(
                        [int(row["epoch"]) for row in rows],
                        [float(row.get(c) or "nan") for row in rows],
                        f"C{i}.-",
                        lw=1.2 if len(runs) == 1 else 0.8,
                        label=names.get(c[3:], c[3:]) if rows is runs[0] else None,
                    )
            panel.set_title(title, fontsize=8)
            panel.set_yscale("symlog", linthresh=1)
            panel.set_ylim(-0.2, max(10.0, 1.5 * panel.get_ylim()[1]))  # so that a line at 0 shows
            _whole_epochs(panel)
            panel.grid(alpha=0.3)
            panel.legend(fontsize=6, ncols=2)
        for panel in panels[len(tables) :]:
            panel.set_axis_off()
        for panel in panels[len(tables) - columns : len(tables)]:  # the lowest of their columns
            panel.set_xlabel("epoch")
        for panel in panels[::columns]:
            panel.set_ylabel("added images")
        _save(figure, file)
    return True


def _grid(
    n: int,
    width: float,
    height: float,
    columns: int | None = None,
    margin: float = 1.5,
    top: float = 0.6,
    **options: Any,
) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its n panels.

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
    return figure, list(panels.flat)


def _set_title(figure: Figure, run: store.Run, title: str) -> None:
    """Titles a figure in one line: smaller where it is long, cut where it is too long."""
    text = _plain(f"{run.dataset}, {run.arch}: {title}")
    room = figure.get_figwidth() * 72 / 0.6  # characters of one point
    most = int(room / 7)
    text = text if len(text) <= most else f"{text[: most - 3]}..."
    figure.suptitle(text, fontsize=min(11, room / len(text)))


def _plain(name: str) -> str:
    """Returns a text without formulas, which Matplotlib sees between two $."""
    return name.replace("$", r"\$")


def _whole_epochs(panel: Axes) -> None:
    """Puts a panel's ticks at whole epochs."""
    locator: Any = panel.xaxis.get_major_locator()
    locator.set_params(integer=True)


def _save(figure: Figure, path: pathlib.Path) -> pathlib.Path:
    """Writes a figure. Returns its path."""
    with replacing(path) as beside:
        figure.savefig(beside, dpi=110, metadata={"Software": None})
    return path
