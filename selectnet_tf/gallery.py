"""What a run picked from the pool, round by round, as HTML with its pictures in it. No TensorFlow."""

import base64
import html
import io
from typing import NamedTuple

import numpy as np

EACH = 8  # pictures of a class: so many of the surest, and so many of the most wrong
MOST_CLASSES = 10
ACROSS = 16  # pictures in a row of a sprite
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


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


def class_name(dataset, number):
    return CIFAR10[number] if dataset.startswith("cifar10-") else str(number)


def render(run, rounds, data, key):
    """A run's gallery as HTML, one block a round. data: the data.Data behind it, or None; key: unique in the page."""
    buttons, blocks = [], []
    for i, picks in enumerate(rounds):
        last = i == len(rounds) - 1
        pressed = "true" if last else "false"
        buttons.append(f'<button type="button" data-round="{key}-{i}" aria-pressed="{pressed}">{picks.epoch}</button>')
        blocks.append(f'<div class="round" id="{key}-{i}"{"" if last else " hidden"}>{_round(run, picks, data, f"{key}-{i}")}</div>')
    return f'<div class="rounds" role="group" aria-label="rounds">after epoch {"".join(buttons)}</div>{"".join(blocks)}'


def _round(run, picks, data, key):
    truth = None if data is None else data.y[picks.index]
    right = "" if truth is None or not len(truth) else f", {(truth == picks.label).mean():.1%} of them with their true class"
    parts = [f"<p>{len(picks.index):,} picked from the pool{right}</p>"]
    labels, counts = np.unique(picks.label, return_counts=True)
    chosen = sorted(labels[np.argsort(-counts, kind="stable")][:MOST_CLASSES])
    tiles = _Tiles(data, key)
    for label in chosen:
        of_label = np.flatnonzero(picks.label == label)
        wrong = of_label[:0] if truth is None else of_label[truth[of_label] != label]
        name = html.escape(class_name(run.dataset, label))
        share = "" if truth is None else f", {len(wrong):,} wrong"
        parts.append(f"<h5>as {name}: {len(of_label):,}{share}</h5>")
        parts.append(_row("surest", [tiles.add(run, picks, truth, i) for i in of_label[:EACH]]))
        if len(wrong):
            parts.append(_row("most wrong", [tiles.add(run, picks, truth, i) for i in wrong[:EACH]]))
    if len(labels) > len(chosen):
        parts.append(f"<p>and {len(labels) - len(chosen)} more classes</p>")
    return tiles.style() + "".join(parts)


def _row(name, tiles):
    return f'<div class="picks"><span>{name}</span>{"".join(tiles)}</div>'


class _Tiles:
    """The pictures of one round in one image, so that each is in the page once."""

    def __init__(self, data, key):
        self.data, self.key, self.indices = data, key, []

    def add(self, run, picks, truth, i):
        """One pick as HTML: its picture, score, and true class where that is another."""
        index, place = int(picks.index[i]), len(self.indices)
        self.indices.append(index)
        wrong = truth is not None and truth[i] != picks.label[i]
        caption = f"{picks.score[i]:.3f}" + (f"<br>is {html.escape(class_name(run.dataset, int(truth[i])))}" if wrong else "")
        x, y = place % ACROSS, place // ACROSS
        picture = f'<i class="sprite-{self.key}" style="background-position:{-64 * x}px {-64 * y}px"></i>'
        if self.data is None:
            picture = f"<i>{index}</i>"
        title = f"training image {index}, picked as {class_name(run.dataset, int(picks.label[i]))}, score {picks.score[i]:.4f}"
        kind = "pick wrong" if wrong else "pick"
        return f'<figure class="{kind}" title="{html.escape(title)}">{picture}<figcaption>{caption}</figcaption></figure>'

    def style(self):
        """The picture of all pictures, as a style sheet."""
        if self.data is None or not self.indices:
            return ""
        images = self.data.x[self.indices]
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
