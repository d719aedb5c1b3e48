import dataclasses

import numpy as np
import pytest
from conftest import COLOURS, picture
from PIL import Image

from selectnet_tf import recipes
from selectnet_tf.data import cifar, load, splits
from selectnet_tf.runs.resume import Fingerprint


def make(tree, **changes):
    places = {
        "labeled_dir": str(tree / "labeled"),
        "unlabeled_dir": str(tree / "pool"),
        "image_size": 16,
    }
    return load.make_task(
        recipes.make(dataset="folder", **{**places, **changes}), cache_dir=tree / "cache"
    )


def test_folders_become_classes_and_a_pool(tree):
    task = make(tree)
    assert task.names == ("cat", "dog", "emu") and task.minor == (2,)
    assert np.bincount(task.y_labeled).tolist() == [17, 15, 3]
    assert np.bincount(task.y_test).tolist() == [3, 5, 1]
    assert len(task.x_labeled) == 35
    assert len(task.x_unlabeled) == 27
    assert task.x_test.shape == (9, 16, 16, 3)
    assert task.says[:3] == [
        "35 labeled images, 9 test images, 27 unlabeled",
        "  minor classes: emu (3 labeled, 1 test)",
        "  left out: 3, a duplicate of a labeled or test image",
    ]
    assert task.says[3].startswith(f"  skipped {tree / 'pool' / 'torn.jpg'}: ")
    assert len(task.says) == 4
    assert task.truth[:35].tolist() == task.y_labeled.tolist() and (task.truth[35:] == -1).all()


def test_every_image_is_that_of_its_file(tree):
    task = make(tree)
    images = np.concatenate([task.x_labeled[np.arange(35)], task.x_unlabeled[np.arange(27)]])
    for place in (0, 20, 34, 35, 61):
        with Image.open(task.files[task.index[place]]) as expected:
            assert np.array_equal(images[place], expected)


def test_held_out_images_are_not_trained_on_and_follow_the_seed(tree):
    a, again, b = make(tree), make(tree), make(tree, seed=1)
    assert np.array_equal(a.index, again.index) and not np.array_equal(a.index, b.index)
    trained = {a.x_labeled[np.array([i])].tobytes() for i in range(len(a.x_labeled))}
    assert not trained & {a.x_test[np.array([i])].tobytes() for i in range(len(a.x_test))}


def test_a_test_folder_of_one_s_own(tree):
    for i, name in enumerate(COLOURS):
        picture(tree / "test" / name / "a.png", COLOURS[name], 500 + i)
    picture(tree / "pool" / "again.png", COLOURS["cat"], 500)
    task = make(tree, test_dir=str(tree / "test"))
    assert len(task.y_labeled) == 44
    assert task.y_test.tolist() == [0, 1, 2]
    assert len(task.x_unlabeled) == 27


def test_several_labeled_folders_are_one(tree):
    for i in range(3):
        picture(tree / "reviewed" / "emu" / f"{i}.png", COLOURS["emu"], 700 + i)
    task = make(tree, labeled_dir=f"{tree / 'labeled'},{tree / 'reviewed'}")
    assert len(task.y_labeled) + len(task.y_test) == 47
    assert any("reviewed" in file for file in task.files)


def test_minor_classes_by_name_or_number(tree):
    assert make(tree, minor=("emu",)).minor == make(tree, minor=("2",)).minor == (2,)
    assert make(tree, minor=("emu", "cat")).minor == (0, 2)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"minor": ("cat", "dog", "emu")}, "--minor names every class"),
        ({"labeled_dir": "POOL", "unlabeled_dir": "OTHER"}, "no class is below half"),
        ({"labeled_dir": "POOL"}, "pool is given twice: give different folders to --labeled_dir, --test_dir, --unlabeled_dir"),
        ({"labeled_dir": "POOL/1"}, "is in no class's folder"),
        ({"unlabeled_dir": "nowhere"}, "--unlabeled_dir: expected a folder of images, received nowhere"),
        ({"test_dir": "POOL", "unlabeled_dir": "OTHER"}, "received 0, 1, 2, 3: rename or remove them"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(changes, said, tree):
    (tree / "pool" / "torn.jpg").unlink()
    (tree / "other").mkdir()
    changes = {
        k: v.replace("POOL", str(tree / "pool")).replace("OTHER", str(tree / "other"))
        if isinstance(v, str)
        else v
        for k, v in changes.items()
    }
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        make(tree, **changes)


def test_one_image_of_a_class_can_not_be_held_out(tree):
    picture(tree / "labeled" / "owl" / "a.png", (0, 0, 0), 1)
    with pytest.raises(ValueError, match="two images or more per class, owl has one"):
        make(tree)


def test_a_benchmark_s_images_are_not_copied(tiny_cifar):
    recipe = recipes.make(minor=(2, 3), minor_ratio=0.1, major_ratio=0.75)
    found, task = cifar.load("cifar10"), load.make_task(recipe)
    labeled, unlabeled = splits.make_split(recipe.data, found.y, recipe.seed)
    assert np.array_equal(task.index, np.concatenate([labeled, unlabeled]))
    assert np.array_equal(task.truth, found.y[task.index])
    assert np.array_equal(task.x_unlabeled[np.arange(5)], found.x[unlabeled[:5]])
    assert task.x_labeled.source is task.x_unlabeled.source


def test_a_digest_is_of_what_the_task_was_made_from(tree, tiny_cifar):
    def told(task):
        return Fingerprint(task, 1).data

    before = told(make(tree))
    assert (
        before
        == told(make(tree))
        != told(make(tree, minor=("cat",), unlabeled_dir=str(tree / "pool" / "1")))
    )
    picture(tree / "pool" / "1" / "01.png", COLOURS["cat"], 999)
    assert told(make(tree)) != before
    recipe = recipes.make(minor=(2, 3), minor_ratio=0.1, major_ratio=0.75)
    assert (
        told(load.make_task(recipe))
        == told(load.make_task(recipe))
        != told(load.make_task(dataclasses.replace(recipe, seed=1)))
    )


def test_images_that_are_held_out_of_a_benchmark_are_tested_on_and_neither_trained_on_nor_selected_from(
    tiny_cifar,
):
    recipe = recipes.make(minor=(2, 3), minor_ratio=0.1, major_ratio=0.75, validation=5)
    found, task = cifar.load("cifar10"), load.make_task(recipe)
    _, held = splits.hold_out(found.y, 5)
    assert np.array_equal(task.x_test, found.x[held])
    assert np.bincount(task.y_test).tolist() == [
        5,
        5,
        5,
        5,
    ]
    assert len(task.index) == 140 and not np.intersect1d(task.index, held).size
    assert np.array_equal(task.x_labeled[np.arange(3)], found.x[task.index[:3]])
    assert np.array_equal(task.truth, found.y[task.index])
    assert "tested on 20 images held out" in "\n".join(task.says)
    oracle = load.make_task(
        recipes.make(minor=(2, 3), minor_ratio=0.1, method="oracle", validation=5)
    )
    assert len(oracle.index) == 140 and not np.intersect1d(oracle.index, held).size
