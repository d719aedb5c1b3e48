"""review.html: every picture that a run picked, for a person to say which are right; it saves decisions.csv. Needs no network."""

import html
import json
import os
import pathlib
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np

from selectnet_tf.data import copies
from selectnet_tf.experiment import runs
from selectnet_tf.files import as_cell, replacing, shown
from selectnet_tf.report.document import document, encode

if TYPE_CHECKING:
    from selectnet_tf.data.tasks import Task

EXAMPLES = 6  # labeled pictures of a class that are shown beside

BODY = """<main class="review"><h1>What was picked: right or wrong?</h1>
<p>Click a picture, or move with the arrow keys. <kbd>R</kbd> right, <kbd>W</kbd> wrong, <kbd>1</kbd>&ndash;<kbd>9</kbd> another class,
<kbd>U</kbd> undecided, <kbd>Enter</kbd> larger. Then save: the next run takes the file as <code>--decisions=decisions.csv</code>.</p>
<div class="tools"><label>picked as <select id="label"></select></label>
<label>order <select id="order"><option value="least">least sure first</option><option value="most">surest first</option></select></label>
<span id="count" role="status"></span><button type="button" id="save">Save decisions.csv</button></div>
<section id="examples" aria-label="labeled examples"></section>
<div id="grid"></div>
<nav class="pages" aria-label="pages"><button type="button" id="back">&larr; before</button><span id="page"></span>
<button type="button" id="next">next &rarr;</button></nav>
<dialog id="large"><img alt=""><p></p><form method="dialog"><button>close</button></form></dialog></main>"""


def write(folder: pathlib.Path, task: "Task") -> None:
    """Writes review.html into a run's folder, of all the pictures in its selected.csv."""
    rows = runs.read_csv(folder / "selected.csv")
    if not rows or not task.listing or not task.files:
        return
    data = json.dumps(_data(folder, rows, task, task.files, task.listing)).replace("<", "\\u003c")  # ASCII, so that any file name fits
    body = f'{BODY}<script type="application/json" id="data">{data}</script>'
    with replacing(folder / "review.html") as beside:
        beside.write_text(document(f"Review of {html.escape(folder.name)}", body, "review"), encoding="utf-8")


def _data(folder: pathlib.Path, rows: list[dict[str, str]], task: "Task", files: list[str], listing: list[tuple]) -> dict[str, Any]:
    places = {as_cell(file): i for i, file in enumerate(files)}
    marks = {as_cell(line[0]): line[1] for line in listing[1:]}
    indices = np.array([places[row["file"]] for row in rows])
    groups = _groups(task, indices)
    picks = [
        {
            "file": shown(row["file"]), "url": _url(row["file"]), "digest": marks[row["file"]], "label": row["pseudo_label"],
            "score": round(float(row["score"]), 4), "group": int(group), "image": encode(task.by_index[np.array([index])][0]),
        }
        for row, index, group in zip(rows, indices, groups, strict=True)
    ]  # fmt: skip
    labels = sorted({row["pseudo_label"] for row in rows})
    return {"run": folder.name, "classes": list(task.names), "picks": picks, "examples": {name: _examples(task, name) for name in labels}}


def _groups(task: "Task", indices: np.ndarray) -> np.ndarray:
    """[k] numbers, equal for near copies."""
    import imagehash
    from PIL import Image

    images = task.by_index
    looks = [str(imagehash.phash(Image.fromarray(images[np.array([i])][0]))) for i in indices]
    return copies.groups(len(indices), copies.near(looks, _At(images, indices), len(indices)))


class _At:
    """images[indices] without reading them all."""

    def __init__(self, images: copies.Indexed, indices: np.ndarray) -> None:
        self.images, self.indices = images, indices

    def __getitem__(self, places: np.ndarray) -> np.ndarray:
        return self.images[self.indices[places]]


def _examples(task: "Task", name: str) -> list[str]:
    own = np.flatnonzero(task.y_labeled == task.names.index(name))
    return [encode(image) for image in task.x_labeled[own[:: max(1, len(own) // EXAMPLES)][:EXAMPLES]]]


def _url(file: str) -> str:
    return "file://" + urllib.parse.quote(os.fsencode(os.path.abspath(file)))
