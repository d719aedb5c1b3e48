"""Page to accept, correct and reject a run's pseudo-labels, review.html; it saves decisions.csv."""

import json
import os
import pathlib
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np

from selectnet_tf._csv_files import as_cell, read_csv
from selectnet_tf._files import printable, replacing
from selectnet_tf.data.folders import duplicates
from selectnet_tf.report.document import document, encode

if TYPE_CHECKING:
    from selectnet_tf.data.task import Task

EXAMPLES = 6  # labeled images shown of a class

BODY = """<main class="review"><h1>Right or wrong?</h1>
<div class="rounds" id="kinds" role="group" aria-label="images shown"></div><p id="about"></p>
<p>Click an image, or move with the arrow keys. <kbd>R</kbd> right, <kbd>W</kbd> wrong, <kbd>1</kbd>&ndash;<kbd>9</kbd> another class,
<kbd>U</kbd> undecided, <kbd>Enter</kbd> larger. Then save: the next run takes the file as <code>--decisions=decisions.csv</code>.</p>
<div class="tools"><label>predicted as <select id="label"></select></label>
<label>order <select id="order"><option value="least">least confident first</option><option value="most">most confident first</option></select></label>
<span id="count" role="status"></span>
<label>earlier decisions.csv <input type="file" id="load" accept=".csv,text/csv"></label><button type="button" id="save">Save decisions.csv</button></div>
<p id="notice" role="alert"></p><section id="examples" aria-label="labeled examples"></section>
<div id="grid"></div>
<nav class="pages" aria-label="pages"><button type="button" id="back">&larr; before</button><span id="page"></span>
<button type="button" id="next">next &rarr;</button></nav>
<dialog id="large"><img alt=""><p></p><form method="dialog"><button>close</button></form></dialog></main>"""  # noqa: E501


def write(folder: pathlib.Path, task: "Task") -> None:
    """Writes review.html, of the images in a run's selected.csv and ask.csv, into its folder."""
    if not task.listing or not task.files or not (items := _items(folder)):
        return
    data = json.dumps(_data(items, task, task.files, task.listing))  # ASCII: any file name
    data = data.replace("<", "\\u003c")
    body = f'{BODY}<script type="application/json" id="data">{data}</script>'
    with replacing(folder / "review.html") as beside:
        beside.write_text(document(f"Review of {folder.name}", body, "review"), encoding="utf-8")


def _items(folder: pathlib.Path) -> list[dict[str, Any]]:
    """Returns the page's images: kind, file, label, score (their order) and caption.

    label: the predicted class.
    """
    picked, asked = (read_csv(folder / f"{name}.csv") for name in ("selected", "ask"))
    items = []
    for row in picked:
        label, score = row["pseudo_label"], float(row["score"])
        items.append(_item("picked", row, label, score, f"as {label}, {score:.3f}"))
    for row in asked:
        first, second = float(row["p_likeliest"]), float(row["p_second"])
        doubt = f"{row['likeliest']} {first:.2f} or {row['second']} {second:.2f}"
        items.append(_item("asked", row, row["likeliest"], first - second, doubt))
    return items


def _item(kind: str, row: dict[str, str], label: str, score: float, says: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "file": row["file"],
        "label": label,
        "score": round(score, 4),
        "says": says,
    }


def _data(
    items: list[dict[str, Any]],
    task: "Task",
    files: list[str],
    listing: list[tuple],
) -> dict[str, Any]:
    places = {as_cell(file): i for i, file in enumerate(files)}
    marks = {as_cell(line[0]): line[1] for line in listing[1:]}
    indices = np.array([places[item["file"]] for item in items])
    for item, index, group in zip(items, indices, _groups(task, indices), strict=True):
        file = item["file"]
        image = encode(task.by_index[np.array([index])][0])
        item |= {
            "file": printable(file),
            "url": _url(file),
            "digest": marks[file],
            "group": int(group),
            "image": image,
        }
    labels = sorted({item["label"] for item in items})
    return {
        "classes": list(task.names),
        "items": items,
        "examples": {name: _examples(task, name) for name in labels},
    }


def _groups(task: "Task", indices: np.ndarray) -> np.ndarray:
    """Returns a number for each index, equal for near duplicates: [k]."""
    import imagehash
    from PIL import Image

    images = task.by_index
    looks = [str(imagehash.phash(Image.fromarray(images[np.array([i])][0]))) for i in indices]
    return duplicates.group_pairs(
        len(indices), duplicates.find_near_duplicates(looks, _At(images, indices), len(indices))
    )


class _At:
    """View of images at indices, read when they are asked for."""

    def __init__(self, images: duplicates.Indexed, indices: np.ndarray) -> None:
        self.images, self.indices = images, indices

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        return self.images[self.indices[places]]


def _examples(task: "Task", name: str) -> list[str]:
    own = np.flatnonzero(task.y_labeled == task.names.index(name))
    return [
        encode(image) for image in task.x_labeled[own[:: max(1, len(own) // EXAMPLES)][:EXAMPLES]]
    ]


def _url(file: str) -> str:
    return "file://" + urllib.parse.quote(os.fsencode(os.path.abspath(file)))
