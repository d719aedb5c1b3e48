import os

import numpy as np
import pytest
from PIL import Image, features

from selectnet_tf.data.folders import listing


@pytest.fixture
def tree(tmp_path):
    """Pictures of one colour each in all formats, in sub-folders, beside files that are none."""
    root = tmp_path / "pictures"
    colours = {
        "a/red.png": "red",
        "a/deep/blue.bmp": "blue",
        "lime.gif": "lime",
        "b/gray.webp": "gray",
        "b/White.JPG": "white",
    }
    for name, colour in colours.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), colour).save(root / name)
    (root / "notes.txt").write_text("no image")
    (root / "b" / "torn.png").write_bytes((root / "a" / "red.png").read_bytes()[:60])
    (root / "b" / "none.jpg").write_text("no image")
    (root / ".hidden.png").write_bytes((root / "a" / "red.png").read_bytes())
    return root


def test_every_format_is_read_in_order_and_what_is_broken_is_named(tree, tmp_path):
    found = listing.read_folder(tree, 8, tmp_path / "cache")
    assert found.files == ["a/deep/blue.bmp", "a/red.png", "b/White.JPG", "b/gray.webp", "lime.gif"]
    assert found.images.shape == (5, 8, 8, 3) and found.images.dtype == np.uint8
    colours = [(0, 0, 255), (255, 0, 0), (255, 255, 255), (128, 128, 128), (0, 255, 0)]
    assert np.abs(found.images[np.arange(5)][:, 4, 4].astype(int) - colours).max() <= 3
    assert [file for file, _ in found.skipped] == ["b/none.jpg", "b/torn.png"]
    assert all(why for _, why in found.skipped)


def test_equal_pixels_have_equal_digests(tree, tmp_path):
    with Image.open(tree / "a" / "red.png") as image:
        image.save(tree / "again.bmp")  # other bytes, same pixels
    found = listing.read_folder(tree, 8, tmp_path / "cache")
    digests = dict(zip(found.files, (one.pixels for one in found.cached), strict=True))
    assert digests["again.bmp"] == digests["a/red.png"] and len(set(digests.values())) == 5


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_image_is_skipped(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    Image.new("RGB", (40, 30), "red").save(tree / "huge.png")
    found = listing.read_folder(tree, 8, tmp_path / "cache")
    assert [file for file, _ in found.skipped] == ["b/none.jpg", "b/torn.png", "huge.png"]


def test_no_folder_and_no_image_are_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder of images, received .*nothing"):
        listing.read_folder(tmp_path / "nothing", 8, tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has 0 files of .* and none is readable"):
        listing.read_folder(tmp_path / "empty", 8, tmp_path / "cache")
    (tmp_path / "empty" / "a.png").write_text("no")
    with pytest.raises(ValueError, match=r"1 files of .*, e.g. a.png \("):
        listing.read_folder(tmp_path / "empty", 8, tmp_path / "cache")


def test_what_is_not_read_is_named_with_a_cure(tree):
    for name in ("a/phone.HEIC", "b/raw.nef", "b/README"):
        (tree / name).write_bytes(b"")
    for name in ("__MACOSX", "b/@eaDir", ".hidden"):
        (tree / name / "cat").mkdir(parents=True)
        (tree / name / "cat" / "x.png").write_bytes(b"")
    (tree / "b" / "gone.jpg").symlink_to("nowhere.jpg")
    (tree / "b" / "linked.jpg").symlink_to("../a/red.png")
    os.mkfifo(tree / "b" / "pipe.jpg")
    found = listing.list_images(tree)
    assert found.aside == [
        ("__MACOSX", "__MACOSX is a folder that a system makes"),
        ("a/phone.HEIC", ".heic is not supported: convert it to JPEG or PNG"),
        ("b/@eaDir", "@eaDir is a folder that a system makes"),
        ("b/README", "a file without a suffix is no image format"),
        ("b/gone.jpg", "a link to nothing"),
        ("b/pipe.jpg", "not a file"),
        ("b/raw.nef", ".nef is not supported: convert it to JPEG or PNG"),
        ("notes.txt", ".txt is no image format"),
    ]
    assert "b/linked.jpg" in found.files
    assert found.folders == ["a", "b"]
    assert found.counts() == {"a": 2, "b": 5}


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "tif", "TIFF", "avif"])
def test_rarer_suffixes_are_read(suffix, tmp_path):
    if suffix == "avif" and not features.check("avif"):
        pytest.skip("Pillow without AVIF")
    kind = {"jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF"}.get(suffix, "TIFF")
    Image.new("RGB", (20, 20), "red").save(tmp_path / f"a.{suffix}", kind)
    found = listing.read_folder(tmp_path, 8, tmp_path / "cache")
    assert found.files == [f"a.{suffix}"]
    assert np.abs(found.images[np.array([0])][0, 4, 4].astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (["cat/a.png", "dog/b.txt", "owl/"], "has no image in dog, owl: add some or remove the folder"),
        (["test/cat/a.png", "train/cat/b.png"], "holds test/, train/: give --labeled_dir=.*/train and --test_dir"),
        (["cat/a.png"], "expected the folders of two classes or more, .* holds cat: add"),
        (["notes.txt"], "expected the folders of two classes or more, .* holds none: add"),
        (["cat/a.png", "b.png"], "b.png is in no class's folder"),
        (["cat/a.png", "caf\udce9/b.png"], r"holds caf\\xe9, a name that is not UTF-8: rename the folder"),
    ],
)  # fmt: skip
def test_classes_do_not_vanish(files, said, tmp_path):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).mkdir() if file.endswith("/") else (tmp_path / file).write_bytes(b"")
    with pytest.raises(ValueError, match=said):
        listing.class_names(tmp_path, listing.list_images(tmp_path))


def test_any_file_name_is_read(tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    os.rename(tmp_path / "a.png", tmp_path / name)
    assert listing.read_folder(tmp_path, 8, tmp_path / "cache").files == [name]
    assert listing.read_folder(tmp_path, 8, tmp_path / "cache").files == [name]
