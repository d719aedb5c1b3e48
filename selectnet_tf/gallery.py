"""What a run picked from the pool, round by round, as HTML with its pictures in it. No TensorFlow."""

import base64
import html
import importlib.resources
import io
from typing import NamedTuple

import numpy as np

EACH = 8  # pictures of a class: so many of the surest, and so many of the most wrong
MOST_CLASSES = 10
ACROSS = 16  # pictures in a row of a sprite


class Picks(NamedTuple):
    """Unlabeled picks of one round, the surest first: index into the original training set, label, score, all [k]."""

    epoch: int
    index: np.ndarray
    label: np.ndarray
    score: np.ndarray


def read(folder):
    """[Picks] of a run's selected.npz and split.npz, one a round; empty where there is none, or nothing was picked."""
    if not (folder / "selected.npz").exists() or not (folder / "split.npz").exists():
        return []
    with np.load(folder / "selected.npz") as file:
        epoch, index, label, score = (file[k] for k in ("epoch", "index", "label", "score"))
    with np.load(folder / "split.npz") as file:
        from_pool = np.isin(index, file["unlabeled"])
    rounds = []
    for number in np.unique(epoch):
        here = np.flatnonzero((epoch == number) & from_pool)
        here = here[np.argsort(-score[here], kind="stable")].astype(int)
        rounds.append(Picks(int(number), index[here].astype(int), label[here].astype(int), score[here]))
    return rounds


NOTE = (
    f"<p>Unlabeled images that a run took into its training set, by pseudo-label: the {EACH} surest and, where the truth is known, the "
    f"{EACH} surest of the wrong ones (red, with the class that they truly are; training never sees it). Below each picture its score: the "
    "selector's output, or the predicted class's probability under a rule without one.</p>"
)


def document(title, body):
    """A page that needs no network: the style and the buttons' script are in it."""
    style, script = (importlib.resources.files("selectnet_tf").joinpath(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    return (
        f'<!doctype html><html lang="en"><head>{head}<title>{html.escape(title)}</title><style>{style}</style></head>'
        f"<body>{body}<script>{script}</script></body></html>\n"
    )


def render(rounds, names, images=None, truth=None, key="g0"):
    """A run's gallery as HTML, one block a round.

    Args:
        rounds: [Picks]. names: of the classes. key: unique in the page.
        images: [n, H, W, C] uint8, what Picks.index points into; None: places instead of pictures.
        truth: [n] true classes; None where nobody knows.
    """
    buttons, blocks = [], []
    for i, picks in enumerate(rounds):
        last = i == len(rounds) - 1
        pressed = "true" if last else "false"
        buttons.append(f'<button type="button" data-round="{key}-{i}" aria-pressed="{pressed}">{picks.epoch}</button>')
        content = _round(picks, names, images, truth, f"{key}-{i}")
        blocks.append(f'<div class="round" id="{key}-{i}"{"" if last else " hidden"}>{content}</div>')
    return f'<div class="rounds" role="group" aria-label="rounds">after epoch {"".join(buttons)}</div>{"".join(blocks)}'


def _round(picks, names, images, truth, key):
    truth = None if truth is None else truth[picks.index]
    right = "" if truth is None or not len(truth) else f", {(truth == picks.label).mean():.1%} of them with their true class"
    parts = [f"<p>{len(picks.index):,} picked from the pool{right}</p>"]
    labels, counts = np.unique(picks.label, return_counts=True)
    chosen = sorted(labels[np.argsort(-counts, kind="stable")][:MOST_CLASSES])
    tiles = _Tiles(picks, names, images, truth, key)
    for label in chosen:
        of_label = np.flatnonzero(picks.label == label)
        wrong = of_label[:0] if truth is None else of_label[truth[of_label] != label]
        share = "" if truth is None else f", {len(wrong):,} wrong"
        parts.append(f"<h5>as {html.escape(names[label])}: {len(of_label):,}{share}</h5>")
        parts.append(_row("surest", [tiles.add(i) for i in of_label[:EACH]]))
        if len(wrong):
            parts.append(_row("most wrong", [tiles.add(i) for i in wrong[:EACH]]))
    if len(labels) > len(chosen):
        parts.append(f"<p>and {len(labels) - len(chosen)} more classes</p>")
    return tiles.style() + "".join(parts)


def _row(name, tiles):
    return f'<div class="picks"><span>{name}</span>{"".join(tiles)}</div>'


class _Tiles:
    """The pictures of one round in one image, so that each is in the page once."""

    def __init__(self, picks, names, images, truth, key):
        self.picks, self.names, self.images, self.truth, self.key = picks, names, images, truth, key
        self.indices = []

    def add(self, i):
        """One pick as HTML: its picture, score, and true class where that is another."""
        label, score, index = (int(self.picks.label[i]), self.picks.score[i], int(self.picks.index[i]))
        place = len(self.indices)
        self.indices.append(index)
        wrong = self.truth is not None and self.truth[i] != label
        caption = f"{score:.3f}" + (f"<br>is {html.escape(self.names[int(self.truth[i])])}" if wrong else "")
        x, y = place % ACROSS, place // ACROSS
        picture = f'<i class="sprite-{self.key}" style="background-position:{-64 * x}px {-64 * y}px"></i>'
        if self.images is None:
            picture = f"<i>{index}</i>"
        title = html.escape(f"training image {index}, picked as {self.names[label]}, score {score:.4f}")
        return f'<figure class="{"pick wrong" if wrong else "pick"}" title="{title}">{picture}<figcaption>{caption}</figcaption></figure>'

    def style(self):
        """The picture of all pictures, as a style sheet."""
        if self.images is None or not self.indices:
            return ""
        images = self.images[np.array(self.indices)]
        h, w, c = images.shape[1:]
        rows = -(-len(images) // ACROSS)
        sheet = np.zeros((rows, ACROSS, h, w, c), np.uint8)
        sheet.reshape(-1, h, w, c)[: len(images)] = images
        sheet = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * h, ACROSS * w, c)
        size = f"background-size:{64 * ACROSS}px {64 * rows}px"
        return f"<style>.sprite-{self.key}{{background-image:url({encode(sheet)});{size}}}</style>"


def encode(image):
    """[H, W, 1 or 3] uint8 -> a data: URL (WebP)."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(buffer, "WEBP", quality=82, method=0)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
