"""Gallery of a run's picks by round, as HTML that holds its images. No TensorFlow."""

import html
from typing import TYPE_CHECKING

import numpy as np

from selectnet_tf.report.document import encode
from selectnet_tf.runs.store import EXCERPT

if TYPE_CHECKING:
    from selectnet_tf.data.folders.duplicates import Indexed

ACROSS = 16  # images in a row of a sprite

NOTE = (
    f"<p>Unlabeled images that a run added to its training set, by pseudo-label: the {EXCERPT} most"
    f" confident and, where the truth is known, the {EXCERPT} most confident errors (red, with the"
    " true class, which training never sees). Below each image its score: the selector's"
    " output, or the predicted class's probability under a rule without one.</p>"
)


def render(
    rows: list[dict[str, str]],
    names: tuple[str, ...],
    images: "Indexed | None" = None,
    key: str = "g0",
) -> str:
    """Returns a run's gallery as HTML, one block a round.

    Args:
        rows: of picks.csv, {column: text}.
        names: of the classes.
        images: [n, H, W, C] uint8, in the order of the column `index`; None: indices are shown.
        key: unique in the page.
    """
    rounds: dict[str, dict[int, list[dict[str, str]]]] = {}
    for row in rows:
        rounds.setdefault(row["epoch"], {}).setdefault(int(row["label"]), []).append(row)
    buttons, blocks = [], []
    for i, (epoch, by_label) in enumerate(rounds.items()):
        last = i == len(rounds) - 1
        pressed = "true" if last else "false"
        buttons.append(
            f'<button type="button" data-round="{key}-{i}"'
            f' aria-pressed="{pressed}">{epoch}</button>'
        )
        content = _round(by_label, names, images, f"{key}-{i}")
        blocks.append(
            f'<div class="round" id="{key}-{i}"{"" if last else " hidden"}>{content}</div>'
        )
    return (
        '<div class="rounds" role="group" aria-label="rounds">after epoch'
        f" {''.join(buttons)}</div>{''.join(blocks)}"
    )


def _round(
    by_label: dict[int, list[dict[str, str]]],
    names: tuple[str, ...],
    images: "Indexed | None",
    key: str,
) -> str:
    """Returns one round as HTML. by_label: {pseudo-label: its rows}."""
    picked, wrong = (
        sum(int(rows[0][column] or 0) for rows in by_label.values())
        for column in ("picked", "wrong")
    )
    known = all(rows[0]["wrong"] for rows in by_label.values())
    right = f", {1 - wrong / picked:.1%} of them right" if known else ""
    parts = [f"<p>{picked:,} added from the pool{right}</p>"]
    shown = {label: rows for label, rows in by_label.items() if rows[0]["index"]}
    tiles = _Tiles(names, images, key)
    for label, rows in shown.items():
        share = f", {int(rows[0]['wrong']):,} wrong" if known else ""
        parts.append(f"<h5>as {html.escape(names[label])}: {int(rows[0]['picked']):,}{share}</h5>")
        parts.append(_row("most confident", [tiles.add(row) for row in rows[:EXCERPT]]))
        worst = [tiles.add(row) for row in [row for row in rows if _is_wrong(row)][:EXCERPT]]
        parts += [_row("most wrong", worst)] if worst else []
    if len(by_label) > len(shown):
        parts.append(f"<p>and {len(by_label) - len(shown)} more classes</p>")
    return tiles.style() + "".join(parts)


def _is_wrong(row: dict[str, str]) -> bool:
    return row["truth"] not in ("", row["label"])


def _row(name: str, tiles: list[str]) -> str:
    return f'<div class="picks"><span>{name}</span>{"".join(tiles)}</div>'


class _Tiles:
    """The images of one round as one sprite, so that each is in the page once."""

    def __init__(self, names: tuple[str, ...], images: "Indexed | None", key: str) -> None:
        self.names, self.images, self.key = names, images, key
        self.indices: list[int] = []

    def add(self, row: dict[str, str]) -> str:
        """Returns one pick as HTML: its image, its score, and its true class where it is wrong."""
        place, index, score, wrong = (
            len(self.indices),
            int(row["index"]),
            float(row["score"]),
            _is_wrong(row),
        )
        self.indices.append(index)
        caption = f"{score:.3f}" + (
            f"<br>is {html.escape(self.names[int(row['truth'])])}" if wrong else ""
        )
        x, y = place % ACROSS, place // ACROSS
        image = (
            f'<i class="sprite-{self.key}" style="background-position:{-64 * x}px {-64 * y}px"></i>'
        )
        if self.images is None:
            image = f"<i>{index}</i>"
        title = html.escape(
            f"image {index}, added as {self.names[int(row['label'])]}, score {score:.4f}"
        )
        return (
            f'<figure class="{"pick wrong" if wrong else "pick"}"'
            f' title="{title}">{image}<figcaption>{caption}</figcaption></figure>'
        )

    def style(self) -> str:
        """Returns the sprite as a style sheet."""
        if self.images is None or not self.indices:
            return ""
        images = self.images[np.array(self.indices)]
        h, w, c = images.shape[1:]
        rows = -(-len(images) // ACROSS)
        sheet = np.zeros((rows, ACROSS, h, w, c), np.uint8)
        sheet.reshape(-1, h, w, c)[: len(images)] = images
        sprite = sheet.transpose(0, 2, 1, 3, 4).reshape(rows * h, ACROSS * w, c)
        size = f"background-size:{64 * ACROSS}px {64 * rows}px"
        return f"<style>.sprite-{self.key}{{background-image:url({encode(sprite)});{size}}}</style>"
