import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from selectnet_tf import gallery


@pytest.fixture
def folder(tmp_path):
    """Two rounds: after epoch 10 three unlabeled picks and a labeled one, after epoch 20 one."""
    np.savez(
        tmp_path / "selected.npz",
        epoch=[10, 10, 10, 10, 20],
        index=[3, 5, 0, 7, 3],
        label=[2, 2, 2, 6, 2],
        score=[0.7, 0.9, 0.99, 0.8, 0.6],
    )
    np.savez(tmp_path / "split.npz", labeled=[0, 1, 2], unlabeled=[3, 4, 5, 6, 7])
    return tmp_path


NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
X = np.zeros((8, 32, 32, 3), np.uint8)
X[:, :, :, 0] = np.arange(8)[:, None, None] * 30


def test_only_what_comes_from_the_pool_the_surest_first(folder):
    first, second = gallery.read(folder)
    assert (first.epoch, second.epoch) == (10, 20)
    assert first.index.tolist() == [5, 7, 3] and first.label.tolist() == [2, 6, 2]
    assert gallery.read(folder / "nothing") == []


def test_wrong_ones_are_marked_with_their_true_class(folder):
    page = gallery.render(gallery.read(folder), NAMES, X, np.array([0, 0, 0, 2, 0, 4, 0, 6]))
    first = page.split('id="g0-0"')[1].split('id="g0-1"')[0]
    assert "3 picked from the pool, 66.7% of them" in first and "as bird: 2, 1 wrong" in first and "as frog: 1, 0 wrong" in first
    assert first.count("most wrong") == 1 and first.count("pick wrong") == 2 and "is deer" in first  # once among the surest
    assert 'title="training image 5, picked as bird, score 0.9000"' in first


def test_each_picture_is_the_picked_image(folder):
    page = gallery.render(gallery.read(folder), NAMES, X, np.zeros(8, int))
    sheet = re.search(r"\.sprite-g0-0\{background-image:url\(data:image/webp;base64,([^)]+)\)", page)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB")).astype(int)
    places = re.findall(r'sprite-g0-0" style="background-position:(-?\d+)px (-?\d+)px"></i>', page)
    shown = [pixels[-int(y) // 2 + 16, -int(x) // 2 + 16, 0] for x, y in places]
    named = [int(n) for n in re.findall(r"training image (\d+)", page.split('id="g0-1"')[0])]
    assert len(shown) == len(named) and np.abs(np.array(shown) - 30 * np.array(named)).max() < 12


def test_without_the_data_set_there_are_numbers(folder):
    page = gallery.render(gallery.read(folder), NAMES)
    assert "<i>5</i>" in page and "<style>" not in page and "wrong" not in page


def test_a_run_of_many_classes_shows_the_largest(tmp_path):
    many = np.repeat(np.arange(30), np.arange(1, 31))
    picks = gallery.Picks(10, np.zeros(len(many), int), many, np.linspace(1, 0.5, len(many)))
    page = gallery.render([picks], [str(c) for c in range(30)])
    assert page.count("<h5>") == gallery.MOST_CLASSES and "as 29: 30" in page and "and 20 more classes" in page


def test_a_name_can_not_break_the_page():
    picks = gallery.Picks(10, np.array([0]), np.array([0]), np.array([0.5]))
    page = gallery.document("<b>", gallery.render([picks], ["<script>", "b"], X, np.array([1])))
    assert "<script>:" not in page and "as &lt;script&gt;: 1" in page and "<title>&lt;b&gt;</title>" in page
