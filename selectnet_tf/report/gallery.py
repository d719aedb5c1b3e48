"""Gallery of a run's picks by round, as HTML that holds its images. No TensorFlow."""

import html
from typing import TYPE_CHECKING

import numpy as np

from selectnet_tf.report.document import encode
from selectnet_tf.runs.store import EXCERPT

if TYPE_CHECKING:
    from selectnet_tf.data.folders.duplicates import Indexed

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
        content = _round(by_label, names, images)
        blocks.append(
            f'<div class="round" id="{key}-{i}"{"" if last else " hidden"}>{content}</div>'
        )
    return (
        '<div class="rounds" role="group" aria-label="rounds">after epoch'
        f" {''.join(buttons)}</div>{''.join(blocks)}"
    )


def _round(
    by_label: dict[int, list[dict[str, str]]], names: tuple[str, ...], images: "Indexed | None"
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
    for label, rows in shown.items():
        share = f", {int(rows[0]['wrong']):,} wrong" if known else ""
        parts.append(f"<h5>as {html.escape(names[label])}: {int(rows[0]['picked']):,}{share}</h5>")
        worst = [row for row in rows if _is_wrong(row)][:EXCERPT]
        for name, some in (("most confident", rows[:EXCERPT]), ("most wrong", worst)):
            tiles = "".join(_tile(row, names, images) for row in some)
            parts += [f'<div class="picks"><span>{name}</span>{tiles}</div>'] if some else []
    if len(by_label) > len(shown):
        parts.append(f"<p>and {len(by_label) - len(shown)} more classes</p>")
    return "".join(parts)


def _is_wrong(row: dict[str, str]) -> bool:
    return row["truth"] not in ("", row["label"])


def _tile(row: dict[str, str], names: tuple[str, ...], images: "Indexed | None") -> str:
    """Returns one pick as HTML: its image, its score, and its true class where it is wrong."""
    index, score, wrong = int(row["index"]), float(row["score"]), _is_wrong(row)
    truth = f"<br>is {html.escape(names[int(row['truth'])])}" if wrong else ""
    image = f"<i>{index}</i>"
    if images is not None:
        image = f'<img src="{encode(images[np.array([index])][0])}" alt="">'
    title = html.escape(f"image {index}, added as {names[int(row['label'])]}, score {score:.4f}")
    return (
        f'<figure class="{"pick wrong" if wrong else "pick"}" title="{title}">'
        f"{image}<figcaption>{score:.3f}{truth}</figcaption></figure>"
    )
