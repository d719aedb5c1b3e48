"""Page to review a run's pseudo-labels and doubtful labels, review.html; it saves decisions.csv."""

import concurrent.futures
import json
import os
import pathlib
import urllib.parse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from selectnet_tf._csv_files import as_cell, read_csv
from selectnet_tf._files import printable, replacing
from selectnet_tf.data.folders import decoding, duplicates
from selectnet_tf.report.document import document, encode

if TYPE_CHECKING:
    from selectnet_tf.data.task import Task

MOST = 2000  # picks on the page, the most doubtful: about 25 MB of thumbnails
THUMBNAIL, SMALL = 200, 80  # longer sides of images and of examples
EXAMPLES = 6  # labeled images shown of a class

BODY = """<main class="review"><h1>Right or wrong?</h1>
<div class="rounds" id="kinds" role="group" aria-label="images shown"></div><p id="about"></p>
<p id="legend"><kbd>&larr;</kbd> <kbd>&rarr;</kbd> move, <kbd>R</kbd> right, <kbd>S</kbd> the second class, <kbd>W</kbd> wrong, <kbd>O</kbd> another class,
<kbd>U</kbd> undecided, <kbd>A</kbd> all right on this page, <kbd>N</kbd> <kbd>P</kbd> next and previous page, <kbd>Enter</kbd> larger; </p>
<div class="rounds"><label>show <select id="label"></select></label>
<label>order <select id="order"><option value="least">most doubtful first</option><option value="most">most certain first</option></select></label>
<label>earlier decisions.csv <input type="file" id="load" accept=".csv,text/csv"></label></div>
<div class="tools"><section id="examples" aria-label="labeled examples"></section><span id="count" role="status"></span>
<button type="button" id="all"></button><button type="button" id="save">Save decisions.csv</button></div>
<p id="notice" role="alert"></p>
<div id="grid"></div>
<nav class="pages" aria-label="pages"><button type="button" id="back">&larr; before</button><span id="page"></span>
<button type="button" id="next">next &rarr;</button></nav>
<p>The next run takes the saved file as <code>--decisions=decisions.csv</code>; your images stay as they are.</p>
<datalist id="classes"></datalist>
<dialog id="large"><img alt=""><p></p><form method="dialog"><button>close</button></form></dialog></main>"""  # noqa: E501


def write(folder: pathlib.Path, task: "Task") -> None:
    """Writes review.html, of the images in a run's selected.csv, ask.csv and suspects.csv.

    Of the picks, the page has the MOST most doubtful.
    """
    if not task.listing or not task.files:
        return
    items, omitted = _items(folder)
    if not items:
        return
    contents = {"omitted": omitted} | _data(items, task)
    data = json.dumps(contents).replace("<", "\\u003c")  # ASCII: any file name
    body = f'{BODY}<script type="application/json" id="data">{data}</script>'
    with replacing(folder / "review.html") as beside:
        beside.write_text(document(f"Review of {folder.name}", body, "review"), encoding="utf-8")


def _items(folder: pathlib.Path) -> tuple[list[dict[str, Any]], int]:
    """Returns the page's images, and the number of picks that it omits.

    An image is its kind, file, label (the predicted class, or that of a labeled image), second
    (another class), score (a small one is doubtful) and caption.
    """
    items = []
    picked, asked, suspects = (
        read_csv(folder / f"{n}.csv") for n in ("selected", "ask", "suspects")
    )
    for row in picked:
        label, likely = row["pseudo_label"], row["p_right"]
        says = f"{label} {float(likely):.2f}" if likely else label
        items.append(_item("picked", row, label, float(likely or 0), says))
    items = sorted(items, key=lambda item: item["score"])[:MOST]
    for row in asked:
        first, second = float(row["p_likeliest"]), float(row["p_second"])
        says = f"{row['likeliest']} {first:.2f} or {row['second']} {second:.2f}"
        items.append(_item("asked", row, row["likeliest"], first - second, says))
    for row in suspects:
        first, second = float(row["p_right"]), float(row["p_second"])
        says = f"labeled {row['label']} {first:.2f}, looks like {row['second']} {second:.2f}"
        items.append(_item("suspect", row, row["label"], first - second, says))
    return items, max(0, len(picked) - MOST)


def _item(kind: str, row: dict[str, str], label: str, score: float, says: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "file": row["file"],
        "label": label,
        "second": row["second"],
        "score": round(score, 4),
        "says": says,
    }


def _data(items: list[dict[str, Any]], task: "Task") -> dict[str, Any]:
    places = {as_cell(file): i for i, file in enumerate(task.files or ())}
    marks = {as_cell(line[0]): line[1] for line in (task.listing or ())[1:]}
    indices = np.array([places[item["file"]] for item in items])
    images = _thumbnails(task, indices, THUMBNAIL)
    for item, image, group in zip(items, images, _groups(task, indices), strict=True):
        file = item["file"]
        item |= {
            "file": printable(file),
            "url": _url(file),
            "digest": marks[file],
            "group": int(group),
            "image": image,
        }
    shown = sorted({item[which] for item in items for which in ("label", "second")} - {""})
    return {
        "classes": list(task.names),
        "items": items,
        "examples": {name: _examples(task, name) for name in shown},
    }


def _thumbnails(task: "Task", indices: np.ndarray, size: int) -> Iterable[str]:
    """Yields data: URLs of original images, or of the run's where these can't be read any more."""
    assert task.files
    files = task.files

    def read(index: int) -> str:
        try:
            box = task.boxes[index] if task.boxes else None
            return encode(decoding.decode_thumbnail(files[index], size, task.levels, box))
        except Exception:  # Pillow's plugins raise whatever a damaged file makes them
            return encode(task.at(np.array([index]))[np.array([0])][0])

    with concurrent.futures.ThreadPoolExecutor() as pool:
        return pool.map(read, indices)


def _groups(task: "Task", indices: np.ndarray) -> np.ndarray:
    """Returns a number for each index, equal for near duplicates: [k]."""
    import imagehash
    from PIL import Image

    n, images = len(indices), task.at(indices)
    looks = [str(imagehash.phash(Image.fromarray(images[np.array([i])][0]))) for i in range(n)]
    return duplicates.group_pairs(n, duplicates.find_near_duplicates(looks, images, n))


def _examples(task: "Task", name: str) -> list[str]:
    own = task.index[np.flatnonzero(task.y_labeled == task.names.index(name))]
    return list(_thumbnails(task, own[:: max(1, len(own) // EXAMPLES)][:EXAMPLES], SMALL))


def _url(file: str) -> str:
    return "file://" + urllib.parse.quote(os.fsencode(os.path.abspath(file)))
