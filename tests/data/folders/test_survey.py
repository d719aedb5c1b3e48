"""Lines and errors of the survey, before an image is decoded."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from conftest import COLOURS, picture
from PIL import Image

from selectnet_tf import recipes
from selectnet_tf.data import load
from selectnet_tf.data.folders import decoding, listing, survey


def recipe_of(tree, **changes):
    places = {
        "labeled_dir": str(tree / "labeled"),
        "unlabeled_dir": str(tree / "pool"),
        "image_size": 16,
    }
    return recipes.make(dataset="folder", **{**places, **changes})


def look(tree, **changes):
    recipe = recipe_of(tree, **changes)
    return survey.survey_folders(recipe.data, recipe.training)


def test_counts_by_class_and_what_is_not_read(tree):
    (tree / "pool" / "a.heic").touch()
    (tree / "pool" / "b.heic").touch()
    found = look(tree)
    assert found.names == ("cat", "dog", "emu") and found.minor == (2,) and len(found.aside) == 2
    assert found.says == [
        "44 labeled images of 3 classes, about a fifth of them held out as test set; 31 unlabeled",
        "  by class: emu 4 (minor), cat 20, dog 20",
        "  not read: 2 files, .heic is not supported: convert it to JPEG or PNG",
        "  a class has under 100 images: also try a pretrained network, --arch=MobileNetV2 --weights=imagenet --freeze",
    ]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labeled_dir": "LABELED,LABELED/."}, "labeled is given twice"),
        ({"test_dir": "LABELED"}, "labeled is given twice"),
        ({"unlabeled_dir": "LABELED/cat"}, "labeled/cat is in .*labeled: give folders side by side"),
        ({"unlabeled_dir": "LABELED/..", "copies": "none"}, "labeled is in .*: give folders side by side"),
        ({"minor": ("lynx", "emu", "gnu")}, "--minor: expected names among cat, dog, emu, received 'gnu', 'lynx'"),
        ({"image_size": 8}, "simple needs images of at least 12 x 12: give a larger --image_size than 8"),
        ({"arch": "MobileNetV2", "image_size": 24}, "MobileNetV2 needs images of at least 32 x 32"),
        ({"arch": "MobileNetV2", "image_size": 32, "weights": "none.h5"}, "--weights: expected imagenet or a file, received none.h5"),
        ({"arch": "MobileNetV2", "image_size": 32, "weights": "~nobody's/a.h5"}, "--weights: expected imagenet or a file, received ~nobody's/a.h5"),
        ({"group": "~nobody's/a.csv"}, "--group: expected a CSV file with columns file, group, received ~nobody's/a.csv"),
        ({"decisions": "none.csv"}, "--decisions: expected a CSV file with columns digest"),
        ({"test_dir": "TEST"}, "has no image of the minor class emu: add some to --test_dir"),
    ],
)  # fmt: skip
def test_mistakes_show_before_anything_is_decoded(changes, said, tree, monkeypatch):
    monkeypatch.setattr(decoding, "decode_and_look", lambda *_: pytest.fail("decoded"))
    picture(tree / "test" / "cat" / "a.png", COLOURS["cat"], 1)
    places = {"LABELED": str(tree / "labeled"), "TEST": str(tree / "test")}
    for name, place in places.items():
        changes = {
            k: v.replace(name, place) if isinstance(v, str) else v for k, v in changes.items()
        }
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        look(tree, **changes)


def test_numbers_as_class_names_are_names(tmp_path):
    for i in range(1, 11):
        for k in range(2):
            picture(tmp_path / "labeled" / f"{i:03}" / f"{k}.png", (0, 0, 0), 10 * i + k)
    (tmp_path / "pool").mkdir()
    assert look(tmp_path, minor=("7",)).minor == look(tmp_path, minor=("007",)).minor == (6,)
    with pytest.raises(ValueError, match="received '0'"):
        look(tmp_path, minor=("0",))


def test_home_and_several_folders(tree, monkeypatch):
    monkeypatch.setenv("HOME", str(tree))
    shutil.copytree(tree / "pool", tree / "more")
    found = look(tree, labeled_dir="~/labeled", unlabeled_dir="~/pool, ~/more")
    assert list(found.labeled) == [tree / "labeled"]
    assert list(found.unlabeled) == [tree / "pool", tree / "more"]


def test_details_say_sizes_depth_space_and_what_is_broken(tree):
    Image.fromarray(np.full((30, 50), 999, np.uint16)).save(tree / "pool" / "deep.png")
    recipe = recipe_of(tree)
    found = survey.survey_folders(recipe.data, recipe.training)
    said, (gray,), _ = survey.describe_files(found, recipe.data, tree / "not" / "yet")
    assert said[0] == "  sizes: 16 x 16 to 50 x 30, median 16 x 16"
    assert gray == (
        "  1 grayscale images of more than 8 bits: 0 becomes black, 1,023 white in all; --white"
        " sets another range"
    )
    assert said[-1].startswith(f"  decoding takes 0 MB in {tree / 'not' / 'yet'} (")
    assert not (tree / "not").exists()
    assert os.listdir(tree) and all("cache" not in name for name in os.listdir(tree))


def test_a_survey_suggests_size_network_and_epochs_and_a_task_needs_no_second_listing(
    tree, tmp_path, monkeypatch
):
    recipe = recipe_of(tree)
    found = survey.survey_folders(recipe.data, recipe.training)
    few = {"image_size": 16, "arch": "resnet8", "epochs": 200}
    assert survey.suggest(found, recipe.training) == few
    cats = [f"cat/{i}.png" for i in range(4020)]
    for file in cats[:: -(-4020 // survey.LOOKED_AT)]:
        path = tmp_path / "many" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (80, 120)).save(path)
    many = found._replace(labeled={tmp_path / "many": listing.Listing(cats, [], ["cat"])})
    large = {"image_size": 64, "arch": "resnet20", "epochs": 60}
    assert survey.suggest(many, recipe.training) == large
    frozen = dataclasses.replace(recipe.training, weights="imagenet")
    assert survey.suggest(many, frozen) == {"epochs": 60}
    monkeypatch.setattr(listing, "list_images", None)
    assert len(load.make_task(recipe, cache_dir=tmp_path / "cache", survey=found).y_labeled) >= 30
