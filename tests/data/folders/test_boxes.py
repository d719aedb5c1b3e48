"""Images are cropped to MegaDetector's most confident animal, and to nothing else."""

import io
import json
import zipfile

import keras
import numpy as np
import pytest
from conftest import read_files
from PIL import Image

from selectnet_tf import recipes
from selectnet_tf.commands import predict
from selectnet_tf.data import load
from selectnet_tf.data.folders import boxes, decoding

LEFT, RIGHT = (0.1, 0.3, 0.2, 0.4), (0.7, 0.3, 0.2, 0.4)  # x, y, width, height
CATEGORIES = {"1": "animal", "2": "person", "3": "vehicle"}


def save(path, seed=0):
    """A dark frame of 80 x 40 pixels with a bright square LEFT and a gray one RIGHT."""
    image = np.random.default_rng(seed).integers(0, 10, (40, 80, 3)).astype(np.uint8)
    image[10:30, 6:26] = 250
    image[10:30, 54:74] = 120
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def found(*detections):
    return [{"category": c, "conf": conf, "bbox": list(box)} for c, conf, box in detections]


def write(path, images):
    content = {"images": images, "detection_categories": CATEGORIES, "info": {}}
    path.write_text(json.dumps(content))
    return str(path)


def find(tmp_path, images, **folders):
    text = write(tmp_path / "md.json", images)
    return boxes.find_boxes(text, {tmp_path / name: files for name, files in folders.items()})


@pytest.mark.parametrize("place", ["", "labeled/", "./labeled/", "{}/labeled/", "labeled\\"])
def test_a_file_is_an_image_below_the_folder_or_one_above(place, tmp_path):
    file = place.format(tmp_path) + "cat/a.jpg"
    one = {"file": file, "detections": found(("1", 0.9, LEFT))}
    of = find(tmp_path, [one], labeled=["cat/a.jpg", "cat/b.jpg"], pool=["a.jpg"])[0]
    assert of == {tmp_path / "labeled" / "cat/a.jpg": pytest.approx((0.1, 0.3, 0.3, 0.7))}


def test_the_most_confident_animal_counts_and_others_stay_whole(tmp_path):
    images = [
        {"file": "a.jpg", "detections": found(("1", 0.3, LEFT), ("1", 0.8, RIGHT))},
        {"file": "b.jpg", "detections": found(("2", 0.9, LEFT), ("1", 0.19, RIGHT))},
        {"file": "c.jpg", "detections": None, "failure": "image access failure"},
        {"file": "d.jpg", "max_detection_conf": 0.0, "detections": []},
        {"file": "gone.jpg", "detections": found(("1", 0.9, LEFT))},
    ]
    of, says = find(tmp_path, images, pool=["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"])
    assert of == {tmp_path / "pool" / "a.jpg": pytest.approx((0.7, 0.3, 0.9, 0.7))}
    assert [int(n) for line in says for n in line.split() if n.isdecimal()] == [1, 3, 1, 1]
    assert "gone.jpg" in says[1]


@pytest.mark.parametrize(
    ("images", "words"),
    [
        ([{"file": "other.jpg", "detections": []}], r"none of the 1 files .*\(other.jpg\)"),
        ([], "none of the 0 files"),
        (
            [{"file": "cat/a.jpg", "detections": []}],
            "fits .*labeled/cat/a.jpg and .*test/cat/a.jpg",
        ),
        ([{"file": "cat/a.jpg", "detections": found(("1", 0.9, (30, 20, 100, 90)))}], "shares"),
        ([{"file": "cat/a.jpg", "detections": found(("1", 0.9, (0.1, 1.7, 0.2, 0.2)))}], "shares"),
        ([{"file": "cat/a.jpg", "detections": [{"conf": 0.9}]}], "MegaDetector's output"),
        ([{"img": "cat/a.jpg"}], "MegaDetector's output"),
        ("cat/a.jpg", "MegaDetector's output"),
    ],
)
def test_what_can_t_be_boxes_of_these_images_is_one_line(images, words, tmp_path):
    with pytest.raises(ValueError, match=f"^--boxes: [^\n]*{words}"):
        find(tmp_path, images, labeled=["cat/a.jpg"], test=["cat/a.jpg"])


@pytest.mark.parametrize("name", ["a.png", "large.jpg", "turned.jpg"])
def test_the_crop_is_a_square_with_a_margin_of_the_upright_image(name, tmp_path):
    """A square of a tenth of the frame's width: all that shows is it and a margin of a tenth."""
    frame = np.zeros((800, 1600, 3), np.uint8)
    frame[100:260, 1200:1360] = 255
    image, exif = Image.fromarray(frame), Image.Exif()
    if name == "turned.jpg":
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[0x0112] = 6  # turn it right
    image.save(tmp_path / name, exif=exif)
    box = (0.75, 0.125, 0.85, 0.325)
    assert boxes.make_square((1600, 800), box) == (1184, 84, 1376, 276)
    found = decoding.decode(tmp_path / name, 48, box=box)
    assert found[6:-6, 6:-6].min() > 200 and max(found[:2].max(), found[:, -2:].max()) < 60
    assert boxes.make_square((100, 50), (0.0, 0.0, 1.0, 0.5)) == (0, 0, 100, 50)


def test_a_run_sees_the_crops_and_leaves_the_files(tmp_path):
    """Cats and dogs are the same frames; the boxes alone tell them apart."""
    sides = {"labeled/cat": LEFT, "labeled/dog": RIGHT, "pool": LEFT}
    for place in sides:
        for i in range(6):
            save(tmp_path / place / f"{place[-3:]}{i}.png", seed=10 * len(place) + i)
    images = [
        {"file": path.relative_to(tmp_path).as_posix(), "detections": found(("1", 0.9, box))}
        for place, box in sides.items()
        for path in sorted((tmp_path / place).iterdir())
    ]
    before = read_files(tmp_path)
    places = {"labeled_dir": str(tmp_path / "labeled"), "unlabeled_dir": str(tmp_path / "pool")}
    recipe = recipes.make(dataset="folder", **places, image_size=12, copies="none", minor=("dog",))

    def make(images):
        text = write(tmp_path / "md.json", images) if images else None
        changed = recipes.make(**recipe.flat() | {"boxes": text})
        assert (changed.name == recipe.name) == (text is None)
        return load.make_task(changed, cache_dir=tmp_path / "cache")

    for _ in range(2):  # decoded, then cached
        task = make(images)
        values = np.stack(list(task.x_labeled[np.arange(len(task.y_labeled))]))[:, 2:-2, 2:-2]
        assert np.array_equal(
            values.mean((1, 2, 3)).round(-1), np.choose(task.y_labeled, [250, 120])
        )
    whole, other = (
        make(None),
        make([*images[:6], *({**one, "detections": []} for one in images[6:])]),
    )
    assert whole.boxes is None and len(whole.listing[0]) == 5
    assert np.array_equal(other.at(other.index[-6:])[:], whole.at(whole.index[-6:])[:])
    assert task.listing[0][-1] == "box" and task.listing[1][-1] == "0.1000 0.3000 0.3000 0.7000"
    now = read_files(tmp_path)
    assert all(now[path] == content for path, content in before.items())


def test_predict_crops_where_the_run_did_and_refuses_the_other(tmp_path):
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    )
    model.layers[-1].set_weights([np.array([[1.0, -1]] * 3), np.array([-600.0, 600])])
    model.save(tmp_path / "whole.keras")
    model.save(tmp_path / "crops.keras")
    for name, settings in (("whole", {}), ("crops", {"boxes": True})):
        with zipfile.ZipFile(tmp_path / f"{name}.keras", "a") as file:
            file.writestr("classes.json", '["bright", "dark"]')
            file.writestr("pictures.json", json.dumps(settings))
    save(tmp_path / "new" / "a.png")
    text = write(tmp_path / "md.json", [{"file": "a.png", "detections": found(("1", 0.5, LEFT))}])

    def classify(name, text):
        out = io.StringIO()
        both = [str(tmp_path / "new" / "a.png"), str(tmp_path / "new")]
        files, folders = predict.list_files(both)
        model = tmp_path / f"{name}.keras"
        predict.predict(model, files, out, boxes=text, folders=folders)
        return out.getvalue().splitlines()[1].split(",")[1]

    assert (classify("whole", None), classify("crops", text)) == ("dark", "bright")
    for name, given, words in (
        ("whole", text, "leave --boxes out"),
        ("crops", None, "give --boxes"),
    ):
        with pytest.raises(ValueError, match=words):
            classify(name, given)


def test_predict_finds_no_box_by_the_bare_name_of_a_nested_file(tmp_path):
    """Cameras repeat names: c1/a.jpg is not the a.jpg beside c1."""
    for name in ("a.jpg", "c1/a.jpg", "c1/b.jpg"):
        save(tmp_path / "new" / name)
    images = [
        {"file": name, "detections": found(("1", 0.9, LEFT))} for name in ("a.jpg", "c1/b.jpg")
    ]
    text = write(tmp_path / "md.json", images)
    _, folders = predict.list_files([str(tmp_path / "new")])
    of, _ = boxes.find_boxes(text, folders)
    assert set(of) == {tmp_path / "new" / "a.jpg", tmp_path / "new" / "c1/b.jpg"}
    _, folders = predict.list_files([str(tmp_path / "new" / "c1" / "b.jpg")])
    assert list(boxes.find_boxes(text, folders)[0]) == [tmp_path / "new" / "c1/b.jpg"]
