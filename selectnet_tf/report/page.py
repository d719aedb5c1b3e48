"""Page about the runs in a results folder, results/report.html. No TensorFlow."""

import collections
import contextlib
import html
import json
import math
import os
import pathlib
import re
import statistics
import sys
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf._files import Path, replacing
from selectnet_tf.data import cifar
from selectnet_tf.data.folders import boxes, decoding, duplicates
from selectnet_tf.report import compare, figures, gallery, paper, tables
from selectnet_tf.report.document import document
from selectnet_tf.runs import plan, store

KINDS = {
    "curves": "Learning curves",
    "f1": "F1 of each class",
    "confusion": "Confusions on the test set",
    "figure2": "Images added by round",
}
THUMBNAIL = 64  # pixels
MOST_MINORS = 6  # columns of their own
FLAG = re.compile(r"--\S+")
GONE = "<p>The runs here have left no such files.</p>"


def write(
    results: pathlib.Path,
    found: list[store.Run],
    data_dir: str | None = None,
    drawn: figures.Drawn | None = None,
) -> pathlib.Path:
    """Writes results/report.html. Returns its path.

    Args:
        results: folder of the results.
        found: all Runs.
        data_dir: CIFAR's folder, for the added images.
        drawn: the figures that `figures.draw_all` returned; None: they are drawn.
    """
    sections = {
        "runs": ("Runs", _runs(results, found)),
        "classes": ("Added images by class", _by_class(results, found)),
        "figures": ("Figures", _figures(drawn or figures.draw_all(results, found))),
        "picks": ("Added images", _galleries(results, found, data_dir)),
        "paper": ("Beside the paper", _paper(results, found)),
        "settings": ("Settings", _settings(found)),
    }
    sections = {key: section for key, section in sections.items() if section[1]}
    links = "".join(f'<a href="#{key}">{title}</a>' for key, (title, _) in sections.items())
    body = "".join(
        f'<section id="{key}"><h2>{title}</h2>{content}</section>'
        for key, (title, content) in sections.items()
    )
    count = f"{len(found)} finished run{'s' * (len(found) != 1)}"
    header = f"<header><h1>Results</h1><p>{count}</p><nav>{links}</nav></header>"
    path = results / "report.html"
    with replacing(path) as beside:
        page = document("selectnet_tf: results", f"{header}<main>{body}</main>")
        beside.write_text(page, encoding="utf-8", errors="backslashreplace")  # of any path
    return path


def _table(head: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a table as HTML, in a frame that scrolls. The first cell of a row is its head."""
    lines = "".join(
        f"<tr><th>{first}</th>{''.join(f'<td>{cell}</td>' for cell in rest)}</tr>"
        for first, *rest in rows
    )
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    return (
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>'
        "</div>"
    )


def _text(content: str) -> str:
    """Returns HTML as a cell that is wide enough to read."""
    return f'<span class="text">{content}</span>'


def _fold(title: str, content: str, open: bool = False) -> str:
    """Returns HTML that is shown where its title is pressed."""
    return f"<details{' open' * open}><summary>{title}</summary>{content}</details>"


def _runs(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns a table of methods for each data set."""
    if not found:
        return "<p>No run is finished.</p>"
    parts = [
        "<p>Test accuracy, the mean of each run's last ten epochs, ± its standard deviation over"
        " seeds; minor classes after the last epoch. One run does not rank methods:"
        " <code>selectnet report compare A B</code> tests a difference.</p>"
    ]
    for dataset, _ in collections.Counter(run.dataset for run in found).most_common():
        chosen = [run for run in found if run.dataset == dataset]
        classes = next(filter(None, (_classes(results, run) for run in chosen)), [])
        images = sum(each.images for each in classes)
        size = f": {images:,} test images" if images else ""
        parts.append(f"<h3>{html.escape(dataset)}{size}</h3>{_methods(results, chosen)}")
        parts += [_baselines(results, run) for run in chosen]
    return "".join(parts)


def _baselines(results: pathlib.Path, run: store.Run) -> str:
    """Returns a run's baselines.csv, "" where it has none."""
    rows = compare.read_baselines(store.find_folder(results, run.name))
    if not rows:
        return ""
    head, *lines = [[*map(html.escape, line)] for line in compare.layout_baselines(rows)]
    advice = ""
    for line in compare.advise(rows):
        marked = FLAG.sub(r"<code>\g<0></code>", html.escape(line))
        advice += f"<p>{marked}</p>"
    title = f"<h4>Baselines of {html.escape(run.name)}</h4>"
    return f"{title}{_table(head, lines)}{advice}"


def _methods(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns the table of one data set's runs: a row a method, network and group."""
    told = {
        (c.arch, c.method): f"{c.paper:.4f}"
        for c in paper.cells(results, [])
        if c.table in ("table1", "table3") and c.dataset == found[0].dataset
    }
    minors: list[str] = []
    if found[0].row["dataset"] == recipes.FolderData.dataset:
        minors = list(
            dict.fromkeys(c.name for run in found for c in _classes(results, run) if c.minor)
        )[:MOST_MINORS]
    rows = []
    for group, members in paper.groups(found, by_schedule=True).items():
        full = group in [paper.Group(preset, paper.FULL, ()) for preset in recipes.REPRODUCING]
        for arch in dict.fromkeys(run.arch for run in members):
            for method in recipes.METHODS:
                runs = [run for run in members if (run.arch, run.method) == (arch, method)]
                if runs:
                    accuracies = [run.number("last10_accuracy") for run in runs]
                    recalls = [{c.name: c.recall for c in _classes(results, run)} for run in runs]
                    row = [method, tables.spread(accuracies), str(len(runs))]
                    row.append(_mean(run.number("minor_accuracy") for run in runs))
                    row += [_mean(each.get(c, math.nan) for each in recalls) for c in minors]
                    seconds = statistics.fmean(run.number("seconds") for run in runs)
                    row.append(plan.format_hours(seconds))
                    row += [told.get((arch, method), "–") if full else "–"] * bool(told)
                    rows.append([*row, html.escape(arch), html.escape(group.title)])
    head = ["method", "accuracy", "n", "minor classes", *map(html.escape, minors), "time"]
    head += [*["paper"] * bool(told), "network", "settings"]
    if len({tuple(row[-2:]) for row in rows}) > 1:
        return _table(head, [[*row[:-1], _text(row[-1])] for row in rows])
    settings = f"<p>Network {', '.join(rows[0][-2:])}</p>"
    return settings + _table(head[:-2], [row[:-2] for row in rows])


class _Class(NamedTuple):
    """A line of classes.csv: name, whether it is minor, its test images, its recall."""

    name: str
    minor: bool
    images: int
    recall: float


def _classes(results: pathlib.Path, run: store.Run) -> list[_Class]:
    found = []
    for row in store.read_file(results, run.name, "classes.csv"):
        counts = {column: float(n or 0) for column, n in row.items() if column.startswith("as_")}
        images = int(sum(counts.values()))
        recall = counts.get(f"as_{row['class']}", math.nan) / images if images else math.nan
        found.append(_Class(row.get("name") or row["class"], row["minor"] == "1", images, recall))
    return found


def _mean(values: Iterable[float]) -> str:
    value = statistics.fmean(values)
    return "–" if math.isnan(value) else f"{value:.4f}"


def _by_class(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns the section that shows whether a class collapsed."""
    parts = [
        "<p>Unlabeled images that each run added, by minor class. A line that falls to 0 is a class"
        " collapse.</p>"
    ]
    for (dataset, arch), path in figures.draw_by_class(results, found).items():
        parts.append(_plot(path, f"{dataset}, {arch}", f"Added images by class: {dataset}, {arch}"))
    return "".join(parts) if parts[1:] else ""


def _plot(path: pathlib.Path, caption: str, alt: str) -> str:
    """Returns a figure beside the page as HTML. alt: its description in words."""
    image = f'<img src="{urllib.parse.quote(path.name)}" alt="{html.escape(alt)}">'
    return (
        f'<figure class="plot"><div class="wide">{image}</div>'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _figures(drawn: figures.Drawn) -> str:
    """Returns each comparison's figures: the learning curves, the others folded."""
    parts = []
    for group, dataset, arch, paths in drawn:
        title = f"{dataset}, {arch}: {group.title}"
        parts.append(f"<h3>{html.escape(title)}</h3>")
        plots = {
            kind: _plot(paths[kind], what, f"{what}: {title}")
            for kind, what in KINDS.items()
            if kind in paths
        }
        parts.append(plots.pop("curves", ""))
        if plots:
            others = ", ".join(KINDS[kind] for kind in plots)
            parts.append(_fold(others, "".join(plots.values())))
    return "".join(parts) or GONE


def _galleries(results: pathlib.Path, found: list[store.Run], data_dir: str | None) -> str:
    """Returns galleries of one run of each method and group, at three of its rounds.

    All runs and rounds would be tens of megabytes.
    """
    parts: list[str] = []
    lost: list[str] = []
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
            images: duplicates.Indexed | None
            if run.row["dataset"] == recipes.FolderData.dataset:
                files = images = _read_folder_images(results, run)
                if files and not any(os.path.exists(row["file"]) for row in files.rows):
                    lost.append(run.name)
                    images = None
            else:
                if kind not in loaded:
                    loaded[kind] = _images(run.dataset, data_dir)
                images = data.x if (data := loaded[kind]) else None
            names = _names(results, run, picks)
            title = f"{run.method} · {run.dataset}, {run.arch}, seed {run.seed}: {group.title}"
            shown = gallery.render(picks, names, images, f"g{len(parts)}")
            parts.append(_fold(html.escape(title), shown, open=not parts))
    note = gallery.NOTE
    missing = [kind for kind, data in loaded.items() if data is None]
    if missing:
        print(
            f"report.html has no images of {', '.join(missing)}: give --data_dir",
            file=sys.stderr,
        )
        note += (
            "<p>Without images: the data set was not found (<code>--data_dir</code>); numbers are"
            " indices in the training set.</p>"
        )
    if lost:
        print(
            f"report.html has no images of {', '.join(lost)}: they have moved, or their paths start"
            " from another folder; run the report in the one where the runs were trained",
            file=sys.stderr,
        )
    return note + "".join(parts) if parts else ""


def _names(results: pathlib.Path, run: store.Run, picks: list[dict[str, str]]) -> tuple[str, ...]:
    """Returns the names of a run's classes."""
    classes = _classes(results, run)
    labels = [int(row[c]) for row in picks for c in ("label", "truth") if row[c]]
    known = cifar.class_names(run.dataset, max(len(classes), max(labels, default=-1) + 1))
    return (*(c.name for c in classes), *known[len(classes) :])


def _read_folder_images(results: pathlib.Path, run: store.Run) -> "_Files | None":
    with contextlib.suppress(ValueError, KeyError, OSError):
        found = _Files(store.find_folder(results, run.name))
        return found if found.rows else None
    return None


class _Files:
    """The images of a folder run as the run saw them, read from their files when asked for."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.rows = read_csv(folder / "files.csv")
        settings = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
        self.fit, self.levels = settings["recipe"]["fit"], settings.get("levels")

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([self._read(self.rows[int(i)]) for i in indices])

    def _read(self, row: dict[str, str]) -> np.ndarray:
        try:
            box = boxes.from_text(row.get("box", ""))
            return decoding.decode(row["file"], THUMBNAIL, self.fit, self.levels, box)
        except Exception:  # moved, or damaged since; Pillow's plugins raise whatever they meet
            return np.zeros((THUMBNAIL, THUMBNAIL, 3), np.uint8)


def _images(dataset: str, data_dir: str | None) -> cifar.Data | None:
    """Returns the data set, or None where this machine has none: a report does not download."""
    keras_own = pathlib.Path.home() / ".keras" / "datasets"
    places: list[Path] = [p for p in (data_dir, os.environ.get("SELECTNET_DATA")) if p]
    for place in [*places, keras_own, *keras_own.glob("cifar-*-target")]:
        with contextlib.suppress(OSError, ValueError):
            return cifar.load(dataset, place)
    return None


def _paper(results: pathlib.Path, found: list[store.Run]) -> str:
    """Returns the paper's tables and claims, as far as full-length runs give them."""
    parts = []
    for preset in recipes.REPRODUCING:
        cells = [c for c in paper.full(results, found, preset) if c.paper is not None]
        done = [c for c in cells if c.values]
        if not done:
            continue
        parts.append(f"<h3>preset {preset}, {paper.FULL} epochs</h3>")
        for table, title in tables.TITLES.items():
            chosen = [c for c in done if c.table == table]
            if chosen:
                columns, rows = tables.layout(chosen)
                lines = [[m, *(_cell(row.get(c)) for c in columns)] for m, row in rows.items()]
                parts.append(f"<h4>{html.escape(title)}</h4>{_table(['method', *columns], lines)}")
        judged = paper.claims(cells)
        items = [
            f'<li><b class="{verdict}">{verdict}</b> {html.escape(name)}</li>'
            for name, verdict in judged
            if verdict != "undecided"
        ]
        parts.append(f"<h4>Claims</h4><ul>{''.join(items)}</ul>" if items else "")
        parts.append(
            f"<p>Not run: {len(cells) - len(done)} of the paper's {len(cells)} numbers. Open:"
            f" {len(judged) - len(items)} of its {len(judged)} claims, for want of runs or of a"
            " clear difference.</p>"
        )
    if not parts:
        return ""
    about = (
        "<p>Ours, the mean of the last ten epochs, ± standard deviation over seeds (number of"
        " runs); below it the paper's number and the difference, whose 95% interval"
        ' <b class="near">lies within 0.03</b>, or beyond 0.015: <b class="below">lower</b>,'
        ' <b class="above">higher</b>. One run decides nothing.</p>'
    )
    return about + "".join(parts)


def _cell(cell: paper.Cell | None) -> str:
    if cell is None or cell.paper is None:
        return ""
    kinds = {"reproduced": "near", "off": "below" if cell.delta < 0 else "above"}
    kind = kinds.get(cell.verdict(0.03), "")
    known = f"<small>paper {cell.paper:.4f}</small><small>{cell.delta:+.4f}</small>"
    return f'<span class="{kind}">{tables.ours(cell)}</span>{known}'


def _settings(found: list[store.Run]) -> str:
    base = {preset: recipes.make(preset=preset).flat() for preset in recipes.PRESETS}
    lines = []
    for name, field in recipes.FIELDS.items():
        if name not in store.IDENTITY[:5]:
            values = [store.format_value(base[preset][name]) or "–" for preset in recipes.PRESETS]
            shown = [
                f"<b>{html.escape(v)}</b>" if v != values[0] else html.escape(v) for v in values
            ]
            lines.append([name, *shown, _text(html.escape(field.metadata["help"]))])
    columns = "name accuracy epochs seconds selection_seconds images device tensorflow keras commit"
    rows = [[html.escape(_short(run.row.get(c, ""))) for c in columns.split()] for run in found]
    presets = _table(["field", *recipes.PRESETS, ""], lines)
    parts = {
        "Every run": _table(columns.split(), rows),
        "The presets, for CIFAR-10 with 4 minor classes": presets,
    }
    return "".join(_fold(title, table) for title, table in parts.items())


def _short(text: str) -> str:
    try:
        value = float(text)
    except ValueError:
        return text
    if math.isfinite(value) and value == int(value):
        return text
    return f"{value:.4f}" if value < 1 else f"{value:,.0f}"
