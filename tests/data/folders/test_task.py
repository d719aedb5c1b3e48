"""The part of each image: labeled, test, pool, or left out."""

import collections
import shutil

import numpy as np
import pytest
from conftest import COLOURS
from PIL import Image

from selectnet_tf import recipes
from selectnet_tf._csv_files import write_csv
from selectnet_tf._files import digest
from selectnet_tf.data import load


@pytest.fixture
def make(tmp_path):
    """A function that makes the task of tmp_path's folders; ten cats and ten dogs, three emus, six in the pool."""
    for name, n in (("cat", 10), ("dog", 10), ("emu", 3)):
        for i in range(n):
            seed = 100 * len(name) + i + 1000 * list(COLOURS).index(name)
            shape(tmp_path / "labeled" / name / f"{i}.png", seed)
    for i in range(6):
        shape(tmp_path / "pool" / f"{i}.png", 9000 + i)

    def make(**changes):
        places = {
            "labeled_dir": str(tmp_path / "labeled"),
            "unlabeled_dir": str(tmp_path / "pool"),
            "image_size": 32,
            "minor": ("emu",),
        }
        recipe = recipes.make(dataset="folder", **{**places, **changes})
        return load.make_task(recipe, cache_dir=tmp_path / "cache")

    return make


def shape(path, seed):
    """A smooth image of its own, 64 x 48."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    Image.fromarray(x).resize((64, 48), Image.Resampling.BICUBIC).save(path)


def decide(tmp_path, *lines):
    """Writes decisions.csv of (digest or file of the folder, decision, label). Returns its path."""
    path = tmp_path / "decisions.csv"
    marks = [
        digest(f.read_bytes()) if (f := tmp_path / line[0]).is_file() else line[0] for line in lines
    ]
    rows = [(mark, *line[1:]) for mark, line in zip(marks, lines, strict=True)]
    write_csv(path, [("digest", "decision", "label"), *rows])
    return str(path)


def parts(task):
    """{part: {file's last two parts}} and {file: why}."""
    header, *lines = task.listing
    found, why = collections.defaultdict(set), {}
    for file, _, part, _, reason in lines:
        short = "/".join(file.split("/")[-2:])
        found[part].add(short)
        why |= {short: reason} if reason else {}
    return found, why


def test_the_test_set_stays_when_images_are_added(make, tmp_path):
    before, _ = parts(make())
    assert len(before["test"]) >= 3
    assert {f.split("/")[0] for f in before["test"]} == {"cat", "dog", "emu"}
    for i in range(40):
        shape(tmp_path / "labeled" / "cat" / f"more{i}.png", 5000 + i)
    after, _ = parts(make(image_size=24))
    old = {f for f in after["test"] if "more" not in f}
    assert old == before["test"]
    assert 2 <= len(after["test"] - old) <= 16  # about a fifth of the new ones
    assert parts(make(seed=1))[0]["test"] != after["test"]


def test_copies_are_on_one_side(make, tmp_path):
    before, _ = parts(make())
    for file in (tmp_path / "labeled").rglob("*.png"):
        with Image.open(file) as original:
            original.resize((50, 40)).save(file.with_name(f"{file.stem}_small.jpg"), quality=80)
        shutil.copyfile(file, file.with_name(f"{file.stem}_again.png"))
    after, why = parts(make())
    origin = {
        part: {f.replace("_small.jpg", ".png").replace("_again", "") for f in files}
        for part, files in after.items()
    }
    assert not origin["test"] & origin["labeled"] and len(after["test"]) % 3 == 0 and why == {}
    assert len(after["labeled"]) + len(after["test"]) == 69


def test_duplicates_in_the_pool_are_left_out(make, tmp_path):
    source = tmp_path / "labeled" / "emu" / "0.png"
    shutil.copyfile(source, tmp_path / "pool" / "exact.png")
    shutil.copyfile(tmp_path / "pool" / "3.png", tmp_path / "pool" / "twice.png")
    with Image.open(source) as original:
        original.save(tmp_path / "pool" / "bytes.bmp")
        original.resize((200, 150)).save(tmp_path / "pool" / "large.jpg", quality=80)
    found, why = parts(make())
    assert why == {
        "pool/exact.png": "a duplicate of a labeled or test image",
        "pool/bytes.bmp": "a duplicate of a labeled or test image",
        "pool/large.jpg": "a near duplicate of a labeled or test image",
        "pool/twice.png": "a duplicate within the pool",
    }
    assert found["unlabeled"] == {f"pool/{i}.png" for i in range(6)}


def test_copies_leaves_out_what_it_names(make, tmp_path):
    source = tmp_path / "labeled" / "emu" / "0.png"
    shutil.copyfile(source, tmp_path / "pool" / "exact.png")
    with Image.open(source) as original:
        original.resize((200, 150)).save(tmp_path / "pool" / "large.jpg", quality=80)
    left = {copies: set(parts(make(copies=copies))[1]) for copies in ("near", "equal", "none")}
    both = {"pool/exact.png", "pool/large.jpg"}
    assert left == {"near": both, "equal": {"pool/exact.png"}, "none": set()}


def test_a_camera_s_images_are_not_bound_but_a_named_group_is(make, tmp_path):
    for i in range(8):  # two thirds of the emus: one scene
        shape(tmp_path / "labeled" / "emu" / "camera" / f"{i}.png", 99)
    for file in (tmp_path / "labeled" / "emu" / "camera").iterdir():
        with Image.open(file) as image:
            noise = np.random.default_rng(int(file.stem)).integers(-2, 3, (48, 64, 3))
            pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file)
    task = make()
    assert (task.y_test == 2).sum() in (2, 3)
    assert any("test images have near duplicates that are trained on" in line for line in task.says)
    lines = [("file", "group"), *((f"emu/camera/{i}.png", "c1") for i in range(8))]
    write_csv(tmp_path / "groups.csv", lines)
    for group in ("folder", str(tmp_path / "groups.csv")):
        found, _ = parts(task := make(group=group))
        sides = [f"camera/{i}.png" in found["test"] for i in range(8)]
        assert len(set(sides)) == 1 and any("1 groups" in line for line in task.says)
    write_csv(tmp_path / "groups.csv", [("file", "group"), ("other.png", "c1")])
    with pytest.raises(ValueError, match="names no labeled image's group"):
        make(group=str(tmp_path / "groups.csv"))
    write_csv(tmp_path / "groups.csv", [*lines, ("emu/camera/0.png", "c2")])
    with pytest.raises(ValueError, match="camera/0.png in 'c1' and in 'c2': give each file one"):
        make(group=str(tmp_path / "groups.csv"))


def test_an_image_in_two_classes_is_in_neither(make, tmp_path):
    labeled = tmp_path / "labeled"
    shutil.copyfile(labeled / "cat" / "3.png", labeled / "dog" / "cat.png")
    task = make(decisions=decide(tmp_path, ("labeled/cat/3.png", "corrected", "emu")))
    why = dict.fromkeys(("cat/3.png", "dog/cat.png"), "the same image is in two classes")
    assert parts(task)[1] == why
    assert "  left out: 2, the same image is in two classes" in task.says
    assert not any("corrected" in line for line in task.says)


def test_labeled_duplicates_of_test_images_are_left_out(make, tmp_path):
    for name in COLOURS:
        shape(tmp_path / "test" / name / "a.png", 7000 + len(name))
        shape(tmp_path / "test" / name / "b.png", 7100 + 1000 * list(COLOURS).index(name))
    shutil.copyfile(tmp_path / "labeled" / "dog" / "2.png", tmp_path / "test" / "dog" / "c.png")
    shutil.copyfile(tmp_path / "labeled" / "dog" / "2.png", tmp_path / "pool" / "c.png")
    found, why = parts(make(test_dir=str(tmp_path / "test")))
    assert why == {
        "dog/2.png": "a duplicate of a test image",
        "pool/c.png": "a duplicate of a labeled or test image",
    }
    assert len(found["labeled"]) == 22 and "dog/c.png" in found["test"]


def test_many_accepted_picks_leave_the_minor_classes_and_the_test_set_as_they_were(make, tmp_path):
    before, _ = parts(make(minor=("auto",)))
    for i in range(6, 40):
        shape(tmp_path / "pool" / f"{i}.png", 9000 + i)
    path = decide(tmp_path, *((f"pool/{i}.png", "right", "emu") for i in range(30)))
    task = make(minor=("auto",), decisions=path)
    assert task.minor == (2,) and (task.y_labeled == 2).sum() == 32
    assert parts(task)[0]["test"] == before["test"]


def test_a_pool_that_is_labeled_as_a_whole_needs_a_method_without_one(make, tmp_path):
    path = decide(tmp_path, *((f"pool/{i}.png", "right", "emu") for i in range(6)))
    with pytest.raises(ValueError, match="all are labeled by --decisions, .*--method=logit_adj"):
        make(decisions=path)
    task = make(decisions=path, method="logit_adjusted")
    assert (task.y_labeled == 2).sum() == 2 + 6 and not len(task.x_unlabeled)


def test_decisions_are_taken_over(make, tmp_path):
    before, _ = parts(make())
    lines = (("right", "emu"), ("corrected", "dog"), ("wrong", ""))
    path = decide(tmp_path, *((f"pool/{i}.png", *line) for i, line in enumerate(lines)))
    after, why = parts(task := make(decisions=path))
    assert after["test"] == before["test"]
    assert after["labeled"] == before["labeled"] | {"pool/0.png", "pool/1.png"}
    assert why == {"pool/2.png": "rejected in a review"}
    assert after["unlabeled"] == {"pool/3.png", "pool/4.png", "pool/5.png"}
    files = [task.files[i] for i in task.index]
    assert [
        int(task.y_labeled[i])
        for i in range(len(task.y_labeled))
        if files[i].endswith(("pool/0.png", "pool/1.png"))
    ] == [2, 1]
    assert np.array_equal(
        task.x_labeled[np.arange(len(task.y_labeled))],
        task.at(task.index[: len(task.y_labeled)])[:],
    )


def test_labels_are_corrected_in_the_same_split(make, tmp_path):
    task = make()
    before, _ = parts(task)
    trained = sorted(before["labeled"])
    files = [f"labeled/{file}" for file in trained]
    path = decide(tmp_path, (files[0], "corrected", "emu"), (files[1], "wrong", ""))
    after, why = parts(corrected := make(decisions=path))
    assert after["test"] == before["test"] and why == {trained[1]: "rejected in a review"}
    assert (corrected.y_labeled == 2).sum() == (task.y_labeled == 2).sum() + 1
    assert "  1 labels corrected by --decisions" in corrected.says
    alone = make(decisions=path, unlabeled_dir=None, method="imbalanced")
    assert "  1 labels corrected by --decisions" in alone.says


@pytest.mark.parametrize("copies", ["near", "equal", "none"])
@pytest.mark.parametrize(("decision", "label"), [("corrected", "emu"), ("right", "cat")])
def test_a_decision_about_a_labeled_image_labels_no_copy_of_it(
    make, tmp_path, copies, decision, label
):
    trained = sorted(f for f in parts(make())[0]["labeled"] if f.startswith("cat"))[0]
    shutil.copyfile(tmp_path / "labeled" / trained, tmp_path / "pool" / "copy.png")
    path = decide(tmp_path, ("pool/copy.png", decision, label))
    task = make(decisions=path, copies=copies)
    assert parts(task)[1] == {"pool/copy.png": "a duplicate of a labeled or test image"}
    rows = {"/".join(row[0].split("/")[-2:]): row for row in task.listing}
    assert rows[trained][2:4] == ("labeled", label)
    corrected = "  1 labels corrected by --decisions" in task.says
    assert corrected == (decision == "corrected")


def test_decisions_without_an_image_are_counted(make, tmp_path):
    strange = ("0" * 16, "right", "emu")
    path = decide(tmp_path, ("pool/0.png", "wrong", ""), strange)
    assert "  1 of 2 decisions are about none of these images" in make(decisions=path).says
    decide(tmp_path, ("1" * 16, "wrong", ""))
    assert "  1 of 1 decisions are about none of these images" in make(decisions=path).says
    decide(tmp_path)
    assert f"  {path} has no decision" in make(decisions=path).says
    decide(tmp_path, strange)
    with pytest.raises(ValueError, match="none of the 1 decisions is .* byte by byte: give --dec"):
        make(decisions=path)
    task = make(decisions=path, unlabeled_dir=None, method="imbalanced")
    assert "  1 of 1 decisions have no effect without their pool: give --unlabeled_dir" in task.says


def test_near_duplicates_of_rejected_images_are_left_out(make, tmp_path):
    path = decide(tmp_path, ("pool/2.png", "wrong", ""))
    with Image.open(tmp_path / "pool" / "2.png") as original:
        original.resize((200, 150)).save(tmp_path / "pool" / "large.jpg", quality=80)
    assert "pool/large.jpg" in parts(make())[0]["unlabeled"]
    why = {
        "pool/2.png": "rejected in a review",
        "pool/large.jpg": "a near duplicate of a rejected image",
    }
    assert parts(make(decisions=path))[1] == why


def test_one_decision_labels_one_picture(make, tmp_path):
    for name in ("0a", "0b"):
        shutil.copyfile(tmp_path / "pool" / "0.png", tmp_path / "pool" / f"{name}.png")
    found, why = parts(make(decisions=decide(tmp_path, ("pool/0.png", "right", "emu"))))
    assert "pool/0.png" in found["labeled"]
    assert why == dict.fromkeys(("pool/0a.png", "pool/0b.png"), "a duplicate within the pool")


def test_a_pool_of_copies_only_is_refused(make, tmp_path):
    shutil.rmtree(tmp_path / "pool")
    shutil.copytree(tmp_path / "labeled" / "cat", tmp_path / "pool")
    with pytest.raises(ValueError, match="can be added: all are .*, duplicates of labeled ones"):
        make()


def test_duplicates_of_one_image_can_t_be_held_out(make, tmp_path):
    emu = tmp_path / "labeled" / "emu"
    for i in (1, 2):
        shutil.copyfile(emu / "0.png", emu / f"{i}.png")
    with pytest.raises(ValueError, match="class emu, .* only duplicates of one image"):
        make()
