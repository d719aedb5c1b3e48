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

    Returns {(data set, arch): path}. Where a run's files are missing, an existing figure is kept,
    as in `figures.draw_all`.
    """
    made = {}
    order = {
        run.name: i
        for i, run in enumerate(run for members in paper.groups(found).values() for run in members)
    }
    selecting = sorted(
        (run for run in found if run.method in recipes.SELECTING), key=lambda run: order[run.name]
    )
    for dataset, arch in dict.fromkeys((run.dataset, run.arch) for run in selecting):
        chosen = [run for run in selecting if (run.dataset, run.arch) == (dataset, arch)]
        mixed = len(paper.groups(chosen)) > 1
        folders = [(_title(run, mixed), results / "runs" / run.name) for run in chosen]
        path = results / f"byclass_{paper.slug(dataset)}_{arch}.png"
        here = all((folder / "selection.csv").exists() for _, folder in folders)
        if (path.exists() and not here) or _draw(folders, path):
            made[dataset, arch] = path
    return made


def _title(run: store.Run, mixed: bool) -> str:
    """Returns a panel's title, with the settings where runs of several are mixed."""
    if not mixed:
        return f"{run.method}, seed {run.seed}"
    changes = "".join(f"\n{k}={_short(v)}" for k, v in run.changes)
    return f"{run.method}, seed {run.seed}, {run.preset}, {run.epochs} epochs{changes}"


def _short(value: str) -> str:
    """Returns a long number's first digits, or a long path's end."""
    if len(value) < 18:
        return value
    return value[:7] if _csv_files.is_number(value, math.inf) else f"...{value[-15:]}"


def _draw(folders: list[tuple[str, pathlib.Path]], file: pathlib.Path) -> bool:
    """Draws one panel for each (title, folder) that holds picks by class.

    A panel has the MOST_LINES classes with the fewest picks. Returns False where no folder has any.
    """
    tables = [
        (title, folder, store.read_file(folder.parent.parent, folder.name, "selection.csv"))
        for title, folder in folders
    ]
    tables = [
        (title, folder, rows)
        for title, folder, rows in tables
        if rows and any(c.startswith("as_") for c in rows[0])
    ]
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
        for panel, (title, folder, rows) in zip(panels, tables, strict=False):
            described = store.read_file(folder.parent.parent, folder.name, "classes.csv")
            names = {row["class"]: plain(row["name"]) for row in described if "name" in row}
            classes = sorted(
                (c for c in rows[0] if c.startswith("as_")), key=lambda c: float(rows[-1][c] or 0)
            )[:MOST_LINES]
            for c in sorted(classes, key=list(rows[0]).index):
                values = [float(row[c] or "nan") for row in rows]
                panel.plot(
                    [int(row["epoch"]) for row in rows],
                    values,
                    ".-",
                    lw=1.2,
                    label=names.get(c[3:], c[3:]),
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
