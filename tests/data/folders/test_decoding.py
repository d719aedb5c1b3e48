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
    ("levels", "dtype", "expected"),
    [
        ([0, 32768, 65535], np.uint16, [0, 128, 255]),  # 16 bits
        ([0, 2048, 4095], np.uint16, [0, 128, 255]),  # 12 bits in 16
        ([0, 100, 255], np.int32, [0, 100, 255]),
        ([-5, 32768, 65535], np.int32, [0, 128, 255]),
        ([0, 0.5, 1], np.float32, [0, 128, 255]),
        ([0, 100, 255], np.float32, [0, 100, 255]),
        ([0, np.nan, 510000], np.float32, [0, 0, 255]),
    ],
)
def test_deep_grays_keep_their_range(levels, dtype, expected, tmp_path):
    gray = np.array(levels, dtype)[None].repeat(3, 0)
    Image.fromarray(gray).save(tmp_path / "a.tif")
    assert decoding.decode(tmp_path / "a.tif", 3)[1, :, 0].tolist() == expected


def test_a_16_bit_png_is_not_white(tmp_path):
    Image.fromarray(np.full((8, 8), 20000, np.uint16)).save(tmp_path / "a.png")
    assert np.unique(decoding.decode(tmp_path / "a.png", 8)).tolist() == [78]


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


def test_a_model_s_file_says_its_fit(tmp_path):
    for name, content in (("old", {}), ("new", {"pictures.json": '{"fit": "crop"}'})):
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "w") as file:
            file.writestr("config.json", "{}")
            for place, text in content.items():
                file.writestr(place, text)
    assert [decoding.read_fit(tmp_path / f"{name}.keras") for name in ("old", "new")] == [
        "stretch",
        "crop",
    ]


def test_an_rgb_image_is_never_copied_whole(tmp_path, monkeypatch):
    """At 178 megapixels, as many as Pillow thinks safe, each copy takes 700 MB."""
    Image.new("RGB", (40, 30), (200, 30, 30)).save(tmp_path / "red.png")
    monkeypatch.setattr(Image.Image, "copy", lambda self: pytest.fail("copied"))
    assert (
        decoding.decode(tmp_path / "red.png", 16).reshape(-1, 3).tolist() == [[200, 30, 30]] * 256
    )
