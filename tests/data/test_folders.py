import numpy as np
import pytest
from PIL import Image

from selectnet_tf.data import folders


@pytest.fixture
def tree(tmp_path):
    """Pictures of one colour each in all formats, in sub-folders, beside files that are none."""
    root = tmp_path / "pictures"
    colours = {"a/red.png": "red", "a/deep/blue.bmp": "blue", "lime.gif": "lime", "b/gray.webp": "gray", "b/White.JPG": "white"}
    for name, colour in colours.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 20), colour).save(root / name)
    (root / "notes.txt").write_text("no picture")
    (root / "b" / "torn.png").write_bytes((root / "a" / "red.png").read_bytes()[:60])
    (root / "b" / "none.jpg").write_text("no picture")
    (root / ".hidden.png").write_bytes((root / "a" / "red.png").read_bytes())
    return root


def test_every_format_is_read_in_order_and_what_is_broken_is_named(tree, tmp_path):
    found = folders.read(tree, 8, tmp_path / "cache")
    assert found.files == ["a/deep/blue.bmp", "a/red.png", "b/White.JPG", "b/gray.webp", "lime.gif"]
    assert found.images.shape == (5, 8, 8, 3) and found.images.dtype == np.uint8
    colours = [(0, 0, 255), (255, 0, 0), (255, 255, 255), (128, 128, 128), (0, 255, 0)]
    assert np.abs(found.images[:, 4, 4].astype(int) - colours).max() <= 3
    assert [file for file, _ in found.skipped] == ["b/none.jpg", "b/torn.png"] and all(why for _, why in found.skipped)


def test_a_tree_that_has_not_changed_is_not_decoded_again(tree, tmp_path, monkeypatch):
    first = folders.read(tree, 8, tmp_path / "cache")
    monkeypatch.setattr(folders, "decode", lambda *_: pytest.fail("decoded again"))
    again = folders.read(tree, 8, tmp_path / "cache")
    assert np.array_equal(first.images, again.images) and again.files == first.files and again.skipped == first.skipped
    monkeypatch.undo()
    Image.new("RGB", (8, 8), "black").save(tree / "new.png")
    assert len(folders.read(tree, 8, tmp_path / "cache").files) == 6 and len(folders.read(tree, 4, tmp_path / "cache").images[0]) == 4


def test_equal_pixels_have_equal_digests(tree, tmp_path):
    with Image.open(tree / "a" / "red.png") as picture:
        picture.save(tree / "again.bmp")  # other bytes, same picture
    found = folders.read(tree, 8, tmp_path / "cache")
    digests = dict(zip(found.files, found.digests, strict=True))
    assert digests["again.bmp"] == digests["a/red.png"] and len(set(digests.values())) == 5


def test_a_huge_picture_is_skipped(tree, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    Image.new("RGB", (40, 30), "red").save(tree / "huge.png")
    found = folders.read(tree, 8, tmp_path / "cache")
    assert [file for file, _ in found.skipped] == ["b/none.jpg", "b/torn.png", "huge.png"]


def test_an_interrupted_decoding_leaves_no_half_cache(tree, tmp_path, monkeypatch):
    class Interrupted(BaseException):
        pass

    def stop(path, size):
        raise Interrupted

    monkeypatch.setattr(folders, "decode", stop)
    with pytest.raises(Interrupted):
        folders.read(tree, 8, tmp_path / "cache")
    monkeypatch.undo()
    assert not list((tmp_path / "cache").glob("*.json")) and len(folders.read(tree, 8, tmp_path / "cache").files) == 5


def test_transparency_rotation_and_frames(tmp_path):
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    wide = Image.new("RGB", (10, 10), "black")
    wide.paste((255, 255, 255), (0, 0, 10, 5))  # upper half white
    exif = Image.Exif()
    exif[0x0112] = 3  # to be turned by 180 degrees
    wide.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.new("P", (10, 10)).save(tmp_path / "two.gif", save_all=True, append_images=[Image.new("P", (10, 10), 3)])
    assert folders.decode(tmp_path / "clear.png", 4).min() == 255
    turned = folders.decode(tmp_path / "turned.jpg", 10)
    assert turned[1].max() < 30 and turned[8].min() > 220
    assert folders.decode(tmp_path / "two.gif", 4).shape == (4, 4, 3)


def test_no_folder_and_no_picture_are_one_line(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing is no folder: give one that holds pictures"):
        folders.read(tmp_path / "nothing", 8, tmp_path / "cache")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no readable picture, only 0 files"):
        folders.read(tmp_path / "empty", 8, tmp_path / "cache")
    (tmp_path / "empty" / "a.png").write_text("no")
    with pytest.raises(ValueError, match=r"only 1 files of .*, e.g. a.png \("):
        folders.read(tmp_path / "empty", 8, tmp_path / "cache")
