import base64
import io
import re

import numpy as np
from PIL import Image

from selectnet_tf.report import gallery
from selectnet_tf.report.document import document
from selectnet_tf.runs.picks import COLUMNS, MOST_CLASSES, excerpt

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
X = np.zeros((8, 32, 32, 3), np.uint8)
X[:, :, :, 0] = np.arange(8)[:, None, None] * 30


TRUTH = np.array([0, 0, 0, 2, 0, 4, 0, 6])


def rows(truth=TRUTH):
    """picks.csv of two rounds: after epoch 10 three picks, after epoch 20 one."""
    rounds = [(10, [3, 5, 7], [2, 2, 6], [0.7, 0.9, 0.8]), (20, [3], [2], [0.6])]
    lines = [
        line
        for epoch, *columns in rounds
        for line in excerpt(
            epoch, *map(np.array, columns), None if truth is None else truth[columns[0]]
        )
    ]
    return [dict(zip(COLUMNS, map(str, line), strict=True)) for line in lines]


def test_an_excerpt_has_the_most_confident_picks_and_wrong_picks_once_each():
    score = np.linspace(0.1, 1, 40)
    truth = np.where(np.arange(40) < 10, 3, 2)
    truth[39] = 3  # the most confident of all is wrong too
    lines = [
        dict(zip(COLUMNS, line, strict=True))
        for line in excerpt(10, np.arange(40), np.full(40, 2), score, truth)
    ]
    assert [line["index"] for line in lines] == [
        *range(39, 31, -1),
        *range(9, 2, -1),
    ]  # 8, and 7 more that are wrong
    assert {(line["picked"], line["wrong"]) for line in lines} == {(40, 11)}
    unknown = excerpt(10, np.arange(40), np.full(40, 2), score)
    assert len(unknown) == 8 and {(line[3], line[6]) for line in unknown} == {("", "")}


def test_wrong_ones_are_marked_with_their_true_class():
    page = gallery.render(rows(), NAMES, X)
    first = page.split('id="g0-0"')[1].split('id="g0-1"')[0]
    assert "3 added from the pool, 66.7% of them right" in first
    assert "as bird: 2, 1 wrong" in first
    assert "as frog: 1, 0 wrong" in first
    assert first.count("most wrong") == 1
    assert first.count("pick wrong") == 2
    assert "is deer" in first  # once among the most confident
    assert 'title="image 5, added as bird, score 0.9000"' in first


def test_each_tile_shows_the_picked_image():
    page = gallery.render(rows(np.zeros(8, int)), NAMES, X)
    urls = re.findall(r'<img src="data:image/webp;base64,([^"]+)"', page.split('id="g0-1"')[0])
    images = [Image.open(io.BytesIO(base64.b64decode(url))).convert("RGB") for url in urls]
    shown = [image.getpixel((16, 16))[0] for image in images]
    named = [int(n) for n in re.findall(r"image (\d+)", page.split('id="g0-1"')[0])]
    assert len(shown) == len(named) and np.abs(np.array(shown) - 30 * np.array(named)).max() < 12


def test_without_the_data_set_there_are_numbers():
    page = gallery.render(rows(None), NAMES)
    assert "<i>5</i>" in page and "<img" not in page and "wrong" not in page


def test_a_run_of_many_classes_shows_the_largest():
    many = np.repeat(np.arange(30), np.arange(1, 31))
    lines = excerpt(10, np.zeros(len(many), int), many, np.linspace(1, 0.5, len(many)))
    picks = [dict(zip(COLUMNS, map(str, line), strict=True)) for line in lines]
    page = gallery.render(picks, [str(c) for c in range(30)])
    assert "465 added from the pool</p>" in page
    assert page.count("<h5>") == MOST_CLASSES
    assert "as 29: 30" in page
    assert "and 20 more classes" in page


def test_a_name_can_not_break_the_page():
    (line,) = excerpt(10, np.array([0]), np.array([0]), np.array([0.5]), np.array([1]))
    picks = [dict(zip(COLUMNS, map(str, line), strict=True))]
    page = document("<b>", gallery.render(picks, ["<script>", "b"], X))
    assert "<script>:" not in page
    assert "as &lt;script&gt;: 1" in page
    assert "<title>&lt;b&gt;</title>" in page
