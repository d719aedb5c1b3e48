"""Figure of unlabeled picks by class and round, in which a lost class falls to 0. No TensorFlow."""

import math
import pathlib
from collections.abc import Sequence

import matplotlib

from selectnet_tf import _csv_files, recipes
from selectnet_tf.report import paper
from selectnet_tf.report.figures import STYLE, grid, plain, save, whole_epochs
from selectnet_tf.runs import store

MOST_LINES = 10  # classes in a panel


def draw_by_class(
    results: pathlib.Path, found: Sequence[store.Run]
) -> dict[tuple[str, str], pathlib.Path]:
    """Draws results/byclass_*.png: the unlabeled picks of every run that selects.

    Runs that differ in the seed alone share a panel. Returns {(data set, arch): path}. Where a
    run's files are missing, an existing figure is kept, as in `figures.draw_all`.
    """
    made = {}
    selecting = [run for run in found if run.method in recipes.SELECTING]
    for dataset, arch in dict.fromkeys((run.dataset, run.arch) for run in selecting):
        groups = paper.groups(r for r in selecting if (r.dataset, r.arch) == (dataset, arch))
        kinds: dict[tuple[paper.Group, str], list[store.Run]] = {}
        for group, members in groups.items():
            for run in members:
                kinds.setdefault((group, run.method), []).append(run)
        path = results / f"byclass_{paper.slug(dataset)}_{arch}.png"
        folders = [
            (_title(runs, len(groups) > 1), [results / "runs" / run.name for run in runs])
            for runs in kinds.values()
        ]
        here = all((f / "selection.csv").exists() for _, several in folders for f in several)
        if (path.exists() and not here) or _draw(folders, path):
            made[dataset, arch] = path
    return made


def _title(runs: list[store.Run], mixed: bool) -> str:
    """Returns a panel's title, with the settings where runs of several are mixed."""
    run, seeds = runs[0], ", ".join(str(run.seed) for run in runs)
    title = f"{run.method}, seed{'s' * (len(runs) > 1)} {seeds}"
    if not mixed:
        return title
    changes = "".join(f"\n{k}={_short(v)}" for k, v in run.changes)
    return f"{title}, {run.preset}, {run.epochs} epochs{changes}"


def _short(value: str) -> str:
    """Returns a long number's first digits, or a long path's end."""
    if len(value) < 18:
        return value
    return value[:7] if _csv_files.is_number(value, math.inf) else f"...{value[-15:]}"


def _draw(kinds: list[tuple[str, list[pathlib.Path]]], file: pathlib.Path) -> bool:
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
        figure, panels = grid(
            len(tables),
            3.6,
            2.95 + 0.17 * lines,
            columns=columns,
            margin=0.3,
            top=0.35 + 0.17 * lines,
        )
        for panel, (title, folder, runs) in zip(panels, tables, strict=False):
            described = store.read_file(folder.parent.parent, folder.name, "classes.csv")
            names = {row["class"]: plain(row["name"]) for row in described if "name" in row}
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
            whole_epochs(panel)
            panel.grid(alpha=0.3)
            panel.legend(fontsize=6, ncols=2)
        for panel in panels[len(tables) :]:
            panel.set_axis_off()
        for panel in panels[len(tables) - columns : len(tables)]:  # the lowest of their columns
            panel.set_xlabel("epoch")
        for panel in panels[::columns]:
            panel.set_ylabel("added images")
        save(figure, file)
    return True
