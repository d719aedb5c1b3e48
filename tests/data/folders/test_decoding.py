import struct
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from selectnet_tf.data.folders import decoding


def test_transparency_rotation_and_frames(tmp_path):
    Image.new("RGBA", (10, 10), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    wide = Image.new("RGB", (10, 10), "black")
    wide.paste((255, 255, 255), (0, 0, 10, 5))  # upper half white
    exif = Image.Exif()
    exif[0x0112] = 3  # to be turned by 180 degrees
    wide.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    Image.new("P", (10, 10)).save(
        tmp_path / "two.gif", save_all=True, append_images=[Image.new("P", (10, 10), 3)]
    )
    assert decoding.decode(tmp_path / "clear.png", 4).min() == 255
    turned = decoding.decode((tmp_path / "turned.jpg").read_bytes(), 10)
    assert turned[1].max() < 30 and turned[8].min() > 220
    assert decoding.decode(tmp_path / "two.gif", 4).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("values", "dtype", "levels", "expected"),
    [
        ([0, 32768, 65535], np.uint16, (0, 65535), [0, 128, 255]),
        ([0, 2048, 4000], np.uint16, (0, 4095), [0, 128, 249]),
        ([0, 100, 255], np.int32, (0, 255), [0, 100, 255]),
        ([-20, 0, 12], np.int32, (-32, 16), [64, 170, 234]),
        ([0, 0.5, 1.05], np.float32, (0, 1), [0, 128, 255]),
        ([np.nan, 0, 1.9], np.float32, (0, 2), [0, 0, 242]),
        ([-5, 0.25, 510000], np.float32, (-8, 524287), [0, 0, 248]),
    ],
)
def test_deep_grays_share_the_range_of_a_sample(values, dtype, levels, expected, tmp_path):
    gray = np.array(values, dtype)[None].repeat(3, 0)
    Image.fromarray(gray).save(tmp_path / "a.tif")
    headers = decoding.read_headers([tmp_path / "a.tif"])
    assert headers.deep == [tmp_path / "a.tif"] and headers.sides == [(3, 3)]
    assert decoding.find_levels(headers.deep) == levels
    found = decoding.decode(tmp_path / "a.tif", 3, levels=levels)
    assert found[1, :, 0].tolist() == expected


def test_a_deep_image_under_another_name_is_refused_without_a_range(tmp_path):
    path = tmp_path / "a.jpg"
    Image.fromarray(np.full((3, 3), 200, np.uint16)).save(path, "PNG")
    assert decoding.read_headers([path]) == ([(3, 3)], [], [])
    with pytest.raises(ValueError, match=r"^a PNG of more than 8 bits: rename it to a\.png$"):
        decoding.decode(path, 3)
    assert decoding.decode(path, 3, levels=(0, 255))[1, 1, 0] == 200  # by a range that is known


def test_one_bright_pixel_changes_no_other(tmp_path):
    for name, brightest in (("a", 250), ("b", 65000)):
        gray = np.full((64, 64), 200, np.uint16)
        gray[0, 0] = brightest
        Image.fromarray(gray).save(tmp_path / f"{name}.png")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    levels = decoding.find_levels(decoding.read_headers(paths).deep)
    seen = [decoding.decode(path, 64, levels=levels)[32, 32, 0] for path in paths]
    assert levels == (0, 255) and seen == [200, 200]


def test_tags_give_the_range_and_say_what_is_white(tmp_path):
    gray = Image.fromarray(np.full((8, 8), 300, np.uint16))
    gray.save(tmp_path / "a.tif", tiffinfo={281: 1500})
    assert decoding.find_levels([tmp_path / "a.tif"]) == (0, 1500)
    gray.save(tmp_path / "b.tif", tiffinfo={262: 0})
    assert decoding.decode(tmp_path / "b.tif", 8, levels=(0, 1500)).flat[0] == 255 - 51


def test_pages_and_bands_are_named(tmp_path):
    page = Image.new("L", (4, 4))
    page.save(tmp_path / "stack.tif", save_all=True, append_images=[page])
    page.save(tmp_path / "one.tif")
    paths = [tmp_path / "stack.tif", tmp_path / "one.tif"]
    assert decoding.read_headers(paths).pages == [tmp_path / "stack.tif"]
    tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, 8), (277, 5), (279, 80)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    bands = b"II*\0" + struct.pack("<I", 88) + bytes(80) + struct.pack("<H", 8) + entries
    (tmp_path / "bands.tif").write_bytes(bands + bytes(4))
    with pytest.raises(OSError, match="a TIFF of 5 bands of 8 bits: convert it"):
        decoding.decode(tmp_path / "bands.tif", 4)


@pytest.mark.parametrize(
    ("fit", "columns"),
    [("stretch", [33, 33, 33, 33]), ("pad", [0, 33, 33, 0]), ("crop", [9, 9, 9, 9])],
)
def test_fits(fit, columns):
    import io

    tall = np.full((40, 20, 3), 9, np.uint8)
    tall[:10] = tall[30:] = 200
    file = io.BytesIO()
    Image.fromarray(tall).save(file, "PNG")
    found = decoding.decode(file.getvalue(), 4, fit)
    assert found.shape == (4, 4, 3) and found[1, :, 0].tolist() == columns
    assert (found[0].max() > 100) == (fit != "crop")


def test_an_image_of_another_format_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(OSError, match="no image of a supported format"):
        decoding.decode(tmp_path / "a.jpg", 4)


def test_similar_images_have_similar_hashes(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (12, 12, 3), np.uint8)
    image = Image.fromarray(x).resize((120, 90), Image.Resampling.BICUBIC)
    image.save(tmp_path / "a.png")
    image.resize((200, 150)).save(tmp_path / "b.jpg", quality=70)
    Image.fromarray(x[::-1]).save(tmp_path / "c.png")
    (a, _), (b, _), (c, _) = (
        (int(decoding.decode_and_look(tmp_path / n, 32)[1], 16), n)
        for n in ("a.png", "b.jpg", "c.png")
    )
    assert (a ^ b).bit_count() <= 4 < 10 < (a ^ c).bit_count()


def test_a_thumbnail_is_upright_and_keeps_its_shape(tmp_path):
    image = Image.new("RGB", (400, 100), "black")
    image.paste("red", (0, 0, 200, 100))
    exif = image.getexif()
    exif[0x0112] = 6  # shown turned by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    found = decoding.decode_thumbnail(tmp_path / "a.jpg", 50)
    assert found.shape == (50, 12, 3)
    assert found[10, 6, 0] > 200 and found[40, 6, 0] < 50
    Image.new("RGB", (7, 3)).save(tmp_path / "small.png")
    assert decoding.decode_thumbnail(tmp_path / "small.png", 50).shape == (3, 7, 3)


def test_a_budget_keeps_the_sum_below_the_whole():
    budget, held, most = decoding.Budget(10), [0], []
    lock = threading.Lock()

    def take(amount):
        with budget.taking(amount):
            with lock:
                held[0] += min(amount, 10)
                most.append(held[0])
            threading.Event().wait(0.002)
            with lock:
                held[0] -= min(amount, 10)

    threads = [
        threading.Thread(target=take, args=(amount,)) for amount in (4, 4, 4, 99, 3, 7, 10, 1)
    ]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert max(most) <= 10 and budget.free == 10


def test_a_model_s_file_says_how_its_images_were_decoded(tmp_path):
    contents = {
        "old": {},
        "new": {
            "pictures.json": '{"fit": "crop", "levels": [0, 4095]}',
            "classes.json": '["a", "b"]',
        },
    }
    for name, content in contents.items():
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "w") as file:
            file.writestr("config.json", "{}")
            for place, text in content.items():
                file.writestr(place, text)
    assert decoding.read_settings(tmp_path / "old.keras") == ("stretch", None, False)
    assert decoding.read_settings(tmp_path / "new.keras") == ("crop", (0, 4095), False)
    assert decoding.read_class_names(tmp_path / "new.keras", 2) == ["a", "b"]
    with pytest.raises(ValueError, match="expected 3 names in its classes.json, received 2: a, b"):
        decoding.read_class_names(tmp_path / "new.keras", 3)
    with pytest.raises(ValueError, match="expected an output for each class, received one in all"):
        decoding.read_class_names(tmp_path / "old.keras", 1)


@pytest.mark.parametrize(
    "text", ["{", "[1]", "3", '{"levels": [1]}', '{"levels": "a, b"}', b"\xff"]
)
def test_a_model_s_file_with_damaged_settings_is_named(text, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("pictures.json", text)
        file.writestr("classes.json", "{" if text == "{" else "3")
    with pytest.raises(
        ValueError, match=r"model.keras is damaged \(.*: give the model.keras that a"
    ):
        decoding.read_settings(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="model.keras is damaged"):
        decoding.read_class_names(tmp_path / "model.keras", 2)


def test_an_rgb_image_is_never_copied_whole(tmp_path, monkeypatch):
    """At 178 megapixels, as many as Pillow thinks safe, each copy takes 700 MB."""
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "red.png")
    monkeypatch.setattr(Image.Image, "copy", lambda self: pytest.fail("copied"))
    assert (
        decoding.decode(tmp_path / "red.png", 16).reshape(-1, 3).tolist() == [[200, 30, 30]] * 256
    )
