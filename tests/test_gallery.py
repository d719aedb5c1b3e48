import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from selectnet_tf import data, gallery, recipes, runs


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


def found(truth):
    x = np.zeros((8, 32, 32, 3), np.uint8)
    x[:, :, :, 0] = np.arange(8)[:, None, None] * 30
    return data.Data(x, np.array(truth), x[:1], np.array([0]), 10)


RUN = runs.Run("a", "cifar10-4minor", "simple", "selectnet", "paper", 0, 20, (), {})


def test_only_what_comes_from_the_pool_the_surest_first(folder):
    first, second = gallery.read(folder)
    assert (first.epoch, second.epoch) == (10, 20)
    assert first.index.tolist() == [5, 7, 3] and first.label.tolist() == [2, 6, 2]
    assert gallery.read(folder / "nothing") == []


def test_wrong_ones_are_marked_with_their_true_class(folder):
    page = gallery.render(RUN, gallery.read(folder), found([0, 0, 0, 2, 0, 4, 0, 6]), "g0")
    first = page.split('id="g0-0"')[1].split('id="g0-1"')[0]
    assert "3 picked from the pool, 66.7% of them" in first and "as bird: 2, 1 wrong" in first and "as frog: 1, 0 wrong" in first
    assert first.count("most wrong") == 1 and first.count("pick wrong") == 2 and "is deer" in first  # once among the surest
    assert 'title="training image 5, picked as bird, score 0.9000"' in first


def test_each_picture_is_the_picked_image(folder):
    page = gallery.render(RUN, gallery.read(folder), found([0] * 8), "g0")
    sheet = re.search(r"\.sprite-g0-0\{background-image:url\(data:image/webp;base64,([^)]+)\)", page)[1]
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet))).convert("RGB")).astype(int)
    places = re.findall(r'sprite-g0-0" style="background-position:(-?\d+)px (-?\d+)px"></i>', page)
    shown = [pixels[-int(y) // 2 + 16, -int(x) // 2 + 16, 0] for x, y in places]
    named = [int(n) for n in re.findall(r"training image (\d+)", page.split('id="g0-1"')[0])]
    assert len(shown) == len(named) and np.abs(np.array(shown) - 30 * np.array(named)).max() < 12


def test_without_the_data_set_there_are_numbers(folder):
    page = gallery.render(RUN, gallery.read(folder), None, "g0")
    assert "<i>5</i>" in page and "<style>" not in page and "wrong" not in page


def test_a_run_of_many_classes_shows_the_largest(tmp_path):
    many = np.repeat(np.arange(30), np.arange(1, 31))
    picks = gallery.Picks(10, np.zeros(len(many), int), many, np.linspace(1, 0.5, len(many)))
    page = gallery.render(RUN._replace(dataset="cifar100-lt"), [picks], None, "g0")
    assert page.count("<h5>") == gallery.MOST_CLASSES and "as 29: 30" in page and "and 20 more classes" in page


def test_names_of_classes():
    assert gallery.class_name("cifar10-4minor", 6) == "frog" and gallery.class_name("cifar100-lt", 6) == "6"
    assert recipes.make().minor == (0, 2, 6, 7)
