"""Page of all results, results/report.html; it shows the figures beside it. No TensorFlow."""

import contextlib
import html
import math
import os
import pathlib
import sys
import urllib.parse

from selectnet_tf import recipes
from selectnet_tf._files import replacing
from selectnet_tf.data import cifar
from selectnet_tf.report import byclass, figures, gallery, paper, tables
from selectnet_tf.report.document import document
from selectnet_tf.runs import store

KINDS = {
    "figure2": "Picks by round (Figure 2; o and □: the paper's points)",
    "curves": "Learning curves",
    "f1": "F1 of each class",
    "confusion": "Confusions on the test set",
}


def write(
    results: pathlib.Path,
    found: list[store.Run],
    data_dir: str | None = None,
    drawn: dict[paper.Group, dict[tuple[str, str], list[pathlib.Path]]] | None = None,
) -> pathlib.Path:
    """Writes results/report.html. Returns its path.

    Args:
        results: folder of the results.
        found: all Runs.
        data_dir: CIFAR's folder, for the images of picks.
        drawn: the figures that `figures.draw_all` returned; None: they are drawn.
    """
    drawn = drawn or figures.draw_all(results, found)
    sections = {
        "classes": ("Picks by class, round by round", _by_class(results, found)),
        "tables": ("Tables", _tables(results, found)),
        "claims": ("The paper's claims", _claims(results, found)),
        "figures": ("Figures", _figures(drawn)),
        "picks": ("Picks", _galleries(results, found, data_dir)),
        "settings": ("Settings", _settings(found)),
    }
    links = "".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in sections.items())
    body = "".join(
        f'<section id="{key}"><h2>{title}</h2>{content}</section>'
        for key, (title, content) in sections.items()
    )
    path = results / "report.html"
    with replacing(path) as beside:
        header = (
            "<header><h1>SelectNet,"
            f" reproduced</h1><p>{_summary(results, found)}</p><nav>{links}</nav></header>"
        )
        beside.write_text(
            document("selectnet_tf: results", f"{header}<main>{body}</main>"), encoding="utf-8"
        )
    return path


def _summary(results: pathlib.Path, found: list[store.Run]) -> str:
    parts = []
    for preset in recipes.REPRODUCING:
        cells = [c for c in paper.full(results, found, preset) if c.paper is not None]
        done = sum(bool(c.values) for c in cells)
        parts.append(
            f"preset {preset}: {done} of the paper's {len(cells)} numbers run at full length"
            if done
            else f"preset {preset}: not run"
        )
    return f"{len(found)} finished runs. Full length ({paper.FULL} epochs): {'; '.join(parts)}."


def _by_class(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns the section that shows whether a run lost a class."""
    parts = [
        "<p>Unlabeled images that each selecting run added as each of its minor classes. A line"
        " that falls to 0 is a lost class.</p>"
    ]
    for (dataset, arch), path in byclass.draw_by_class(results, found).items():
        parts.append(
            _plot(path, f"{dataset}, {arch}", f"Picks by class, round by round: {dataset}, {arch}")
        )
    return "".join(parts) if parts[1:] else "<p>No selecting run here has left its files.</p>"


def _plot(path: pathlib.Path, caption: str, alt: str) -> str:
    """Returns a figure beside the page as HTML. alt: its description in words."""
    image = f'<img src="{urllib.parse.quote(path.name)}" alt="{html.escape(alt)}">'
    return (
        '<figure class="plot"><div'
        f' class="wide">{image}</div><figcaption>{html.escape(caption)}</figcaption></figure>'
    )


def _tables(results: pathlib.Path, found: list[store.Run]) -> str:
    parts = [
        "<p>Ours, the mean of the last ten epochs, as mean ± standard deviation over seeds (number"
        " of runs); below it the paper's number and the difference, whose 95% interval <b"
        ' class="near">lies within 0.03</b>, or beyond 0.015: <b class="below">lower</b>, <b'
        ' class="above">higher</b>. Elsewhere, and by one run, nothing is decided. Runs of other'
        f" than {paper.FULL} epochs stand apart and are not compared.</p>"
    ]
    groups = paper.groups(found)
    full = [paper.Group(preset, paper.FULL, ()) for preset in recipes.REPRODUCING]
    for table, title in tables.TITLES.items():
        blocks = []
        for group in dict.fromkeys([*full, *groups]):
            cells = [
                c
                for c in paper.cells(results, groups.get(group, []), extra=True)
                if c.table == table
            ]
            if group not in full:
                cells = [c._replace(paper=None) for c in cells if c.values]
            elif not any(c.values for c in cells) and group != full[0]:
                continue
            if cells:
                blocks.append(f"<h4>{html.escape(group.title)}</h4>{_table(cells)}")
        parts.append(f"<h3>{html.escape(title)}</h3>{''.join(blocks)}")
    return "".join(parts)


def _table(cells: list[paper.Cell]) -> str:
    columns, rows = tables.layout(cells)
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    lines = [
        f"<tr><th>{m}</th>{''.join(_cell(row.get(c)) for c in columns)}</tr>"
        for m, row in rows.items()
    ]
    return (
        "<div"
        f' class="wide"><table><thead><tr><th>method</th>{head}</tr></thead><tbody>'
        f"{''.join(lines)}</tbody></table></div>"
    )


def _cell(cell: paper.Cell | None) -> str:
    if cell is None:
        return "<td></td>"
    known = "" if cell.paper is None else f"<small>paper {cell.paper:.4f}</small>"
    if not cell.values:
        return f'<td class="missing">not run{known}</td>'
    if cell.paper is None:
        return f"<td>{tables.ours(cell)}</td>"
    kinds = {"reproduced": "near", "off": "below" if cell.delta < 0 else "above"}
    kind = kinds.get(cell.verdict(0.03), "")
    return f'<td class="{kind}">{tables.ours(cell)}{known}<small>{cell.delta:+.4f}</small></td>'


def _claims(results: pathlib.Path, found: list[store.Run]) -> str:
    parts = [
        f"<p>Judged by the 95% intervals of differences over the seeds of runs of {paper.FULL}"
        " epochs; undecided by one run, or none.</p>"
    ]
    for preset in recipes.REPRODUCING:
        lines = [
            f'<li><b class="{v}">{v}</b> {html.escape(name)}</li>'
            for name, v in paper.claims(paper.full(results, found, preset))
        ]
        parts.append(f"<h4>preset {preset}</h4><ul>{''.join(lines)}</ul>")
    return "".join(parts)


def _figures(drawn: dict[paper.Group, dict[tuple[str, str], list[pathlib.Path]]]) -> str:
    parts = []
    for group, by_key in drawn.items():
        for (dataset, arch), paths in by_key.items():
            parts.append(f"<h3>{html.escape(f'{dataset}, {arch}: {group.title}')}</h3>")
            for path in paths:
                what = KINDS[path.name.split("_")[0]]
                parts.append(_plot(path, what, f"{what}: {dataset}, {arch}, {group.title}"))
    return "".join(parts) or "<p>No run here has left its files.</p>"


def _galleries(results: pathlib.Path, found: list[store.Run], data_dir: str | None) -> str:
    """Returns galleries of one run of each method and group, at three of its rounds.

    All runs and rounds would be tens of megabytes.
    """
    parts: list[str] = []
    loaded: dict[str, cifar.Data | None] = {}
    for group, members in paper.groups(found).items():
        shown_already = set()
        for run in sorted(members, key=lambda run: run.seed):
            key = run.dataset, run.arch, run.method, run.changes
            picks = [] if key in shown_already else store.read_file(results, run.name, "picks.csv")
            if not picks:
                continue
            shown_already.add(key)
            epochs = list(dict.fromkeys(row["epoch"] for row in picks))
            chosen = {epochs[0], epochs[len(epochs) // 2], epochs[-1]}
            picks = [row for row in picks if row["epoch"] in chosen]
            kind = run.dataset.split("-")[0]
            if kind not in loaded:
                own = run.row["dataset"] == recipes.FolderData.dataset
                loaded[kind] = None if own else _images(run.dataset, data_dir)
            found_here = loaded[kind]
            images = found_here.x if found_here else None
            classes = store.read_file(results, run.name, "classes.csv")
            labels = [int(row[c]) for row in picks for c in ("label", "truth") if row[c]]
            count = max(len(classes), max(labels, default=-1) + 1)
            names = list(cifar.class_names(run.dataset, count))
            names[: len(classes)] = [
                row.get("name", name) for row, name in zip(classes, names, strict=False)
            ]
            shown = gallery.render(picks, tuple(names), images, f"g{len(parts)}")
            title = html.escape(
                f"{run.method} · {run.dataset}, {run.arch}, seed {run.seed}: {group.title}"
            )
            parts.append(
                f"<details{'' if parts else ' open'}><summary>{title}</summary>{shown}</details>"
            )
    note = gallery.NOTE
    missing = [kind for kind, data in loaded.items() if data is None and kind.startswith("cifar")]
    if missing:
        print(
            f"report.html has no images of picks: {', '.join(missing)} was not found, give"
            " --data_dir",
            file=sys.stderr,
        )
    if parts and any(found is None for found in loaded.values()):
        note += (
            "<p>Without images: the data set was not found (<code>--data_dir</code>); numbers are"
            " indices in the training set.</p>"
        )
    return note + "".join(parts) if parts else "<p>No selecting run here has left its files.</p>"


def _images(dataset: str, data_dir: str | None) -> cifar.Data | None:
    """Returns the data set, or None where this machine has none: a report does not download."""
    keras_own = pathlib.Path.home() / ".keras" / "datasets"
    for place in (
        data_dir,
        os.environ.get("SELECTNET_DATA"),
        keras_own,
        *keras_own.glob("cifar-*-target"),
    ):
        if place:
            with contextlib.suppress(OSError, ValueError):
                return cifar.load(dataset, place)
    return None


def _settings(found: list[store.Run]) -> str:
    base = {preset: recipes.make(preset=preset).flat() for preset in recipes.PRESETS}
    lines = []
    for name, field in recipes.FIELDS.items():
        values = [store.format_value(base[preset][name]) or "–" for preset in recipes.PRESETS]
        if name in ("dataset", "arch", "method", "preset", "seed"):
            continue
        marked = ' class="differs"' if len(set(values)) > 1 else ""
        cells = "".join(f"<td>{html.escape(v)}</td>" for v in values)
        lines.append(
            f"<tr{marked}><th>{name}</th>{cells}<td"
            f" class=help>{html.escape(field.metadata['help'])}</td></tr>"
        )
    presets = "".join(f"<th>{preset}</th>" for preset in recipes.PRESETS)
    head = f"<tr><th>field</th>{presets}<th></th></tr>"
    presets = (
        "<div"
        f' class="wide"><table><thead>{head}</thead><tbody>{"".join(lines)}</tbody></table></div>'
    )
    columns = (
        "name",
        "accuracy",
        "epochs",
        "seconds",
        "selection_seconds",
        "images",
        "device",
        "tensorflow",
        "keras",
        "commit",
    )
    head = "".join(f"<th>{c}</th>" for c in columns)
    rows = [
        "".join(f"<td>{html.escape(_short(run.row.get(c, '')))}</td>" for c in columns)
        for run in found
    ]
    every = "".join(f"<tr>{row}</tr>" for row in rows)
    all_runs = (
        "<div"
        f' class="wide"><table><thead><tr>{head}</tr></thead><tbody>{every}</tbody></table></div>'
    )
    return f"<h3>The presets, for CIFAR-10 with 4 minors</h3>{presets}<h3>Every run</h3>{all_runs}"


def _short(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return text
    if math.isfinite(value) and value == int(value):
        return text
    return f"{value:.4f}" if value < 1 else f"{value:,.0f}"
