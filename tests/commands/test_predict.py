"""A run on folders from end to end: training, review page, predictions."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile

import keras
import pytest
from conftest import COLOURS, Killed, dies, picture
from PIL import Image

from selectnet_tf import _csv_files, recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf._files import printable
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.commands import predict
from selectnet_tf.data.folders import decisions
from selectnet_tf.report import review_page
from selectnet_tf.runs import store, train


def test_a_run_on_folders_leaves_lists_and_a_page_to_review_them(folders_run):
    tree, _, row, folder = folders_run
    assert {path.name for path in folder.glob("[!.]*")} <= {*store.WRITTEN}
    rows = read_csv(folder / "selected.csv")
    assert list(rows[0]) == [
        *("file", "pseudo_label", "score", "loss", "first_chosen", "last_chosen", "rounds"),
        *("p_right", "second", "p_second"),
    ]
    assert all(p["second"] not in ("", p["pseudo_label"]) for p in rows)
    assert {p["pseudo_label"] for p in rows} <= set(COLOURS)
    assert all(str(tree / "pool") in p["file"] for p in rows)
    assert len({p["file"] for p in rows}) == len(rows) > 0
    assert {p["rounds"] for p in rows} <= {"1", "2"}
    page = (folder / "review.html").read_text(encoding="utf-8")
    assert all(json.dumps(p["file"]) in page for p in rows) and "data:image/webp" in page
    assert [r["name"] for r in read_csv(folder / "classes.csv")] == ["cat", "dog", "emu"]
    audit = read_csv(folder / "selection.csv")
    assert audit[0]["unlabeled_right"] == audit[0]["precision"] == ""
    assert int(audit[0]["labeled_right"]) >= 0
    assert store.read_runs(tree / "results")[1] == [] and row["accuracy"] > 0.5
    tested = read_csv(folder / "test_predictions.csv")
    assert ",".join(tested[0]) == "file,truth,predicted,p(cat),p(dog),p(emu)" and len(tested) == 9
    assert all(f"/{line['truth']}/" in line["file"] for line in tested)
    right = sum(line["truth"] == line["predicted"] for line in tested)
    assert right / 9 == pytest.approx(row["accuracy"])
    confusion = read_csv(folder / "confusion.csv")
    assert [line["truth"] for line in confusion] == list(COLOURS)
    assert right == sum(int(line[line["truth"]]) for line in confusion)
    settings = json.loads((folder / "recipe.json").read_text())  # by which a report shows images
    assert settings["levels"] is None and settings["recipe"]["fit"] == "stretch"


@pytest.mark.slow
def test_a_file_and_a_class_may_have_any_name(tree, monkeypatch, capsys):
    rare, files = (
        "=emu\r\n",
        ["=3+3\rlast.png", "\ttab.png", "two\nlines,.png", "'=q\".png", "-\x1b[2J.png"],
    )
    (tree / "labeled" / "emu").rename(tree / "labeled" / rare)
    for i, file in enumerate(files):
        picture(tree / "plain.png", COLOURS["emu"], 700 + i)
        (tree / "plain.png").rename(tree / "pool" / file)
    monkeypatch.chdir(tree / "pool")
    recipe = recipes.make(
        dataset="folder", labeled_dir="../labeled", unlabeled_dir=".", image_size=16, method="context", arch="simple",
        epochs=2, every=1, batch_size=8, augment="none", threshold=3.0, lr=0.03,
    )  # fmt: skip
    (tree / "pool" / "0").rename(tree / "0")
    results = tree / "results"
    with monkeypatch.context() as patch, pytest.raises(Killed):
        dies(patch, Checkpoint, "save", 1)
        train.train(recipe, results_dir=results, verbose=0)
    row = train.train(recipe, results_dir=results, verbose=0, finish=review_page.write)
    said, folder = capsys.readouterr().out, results / "runs" / row["name"]
    assert "resuming after epoch 1" in said
    assert "warning: not all" not in said
    assert f"{printable(rare)} (" in said
    assert not set(said) & {"\r", "\x1b"}

    listed = {line["file"]: line for line in read_csv(folder / "files.csv")}
    known = [_csv_files.as_cell(file) for file in files]
    assert set(known) <= set(listed)
    assert {line["class"] for line in listed.values()} == {"", "cat", "dog", rare}
    assert [line["name"] for line in read_csv(folder / "classes.csv")] == [rare, "cat", "dog"]
    offered = {
        line["file"] for name in ("selected", "ask") for line in read_csv(folder / f"{name}.csv")
    }
    assert set(known) <= offered and (folder / "review.html").exists()
    assert {line["predicted"] for line in read_csv(folder / "test_predictions.csv")} <= {
        "cat",
        "dog",
        rare,
    }

    mark = listed[known[0]]["digest"]
    _csv_files.write_csv(
        tree / "d.csv", [("file", *decisions.COLUMNS), (files[0], mark, "right", rare)]
    )
    assert decisions.read_decisions(tree / "d.csv", ("cat", rare)).accepted == {mark: rare}
    train.train(
        recipes.make(**recipe.flat() | {"decisions": str(tree / "d.csv")}),
        results_dir=results,
        verbose=0,
    )

    out = io.StringIO()
    assert predict.predict(folder / "model.keras", files, out, predict.Wanted(of=rare)) == 0
    (tree / "found.csv").write_text(out.getvalue(), newline="")
    found = _csv_files.read_csv(tree / "found.csv")
    assert sorted(line["file"] for line in found) == sorted(known)
    assert all(line["class"] in ("cat", "dog", rare) and f"p({rare})" in line for line in found)


def test_images_are_classified_by_name(folders_run, tmp_path, capsys):
    *_, folder = folders_run
    for name in COLOURS:
        picture(tmp_path / f"{name}.png", COLOURS[name], 900)
    (tmp_path / "torn.png").write_bytes(b"no picture")
    out = io.StringIO()
    files, _ = predict.list_files([tmp_path])
    assert predict.predict(folder / "model.keras", files, out) == 1
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert [r["file"] for r in rows] == [str(tmp_path / f"{n}.png") for n in COLOURS]
    assert sum(r["class"] in r["file"] for r in rows) >= 2
    assert all(0.33 < float(r["probability"]) <= 1 for r in rows)
    assert capsys.readouterr().err.startswith(f"skipped {tmp_path / 'torn.png'}: ")
    with zipfile.ZipFile(folder / "model.keras") as file:
        assert json.loads(file.read("classes.json")) == list(COLOURS)
    assert keras.saving.load_model(folder / "model.keras").output_shape == (None, 3)


class Fixed:
    """Stands for a model of three classes: the probabilities follow from an image's colour."""

    input_shape, output_shape = (None, 8, 8, 3), (None, 3)

    def predict(self, images, verbose):
        means = images.mean((1, 2)) + 1
        return means / means.sum(1, keepdims=True)


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A function that classifies four images, one of which has a name that is no UTF-8: {file: line}."""
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("classes.json", json.dumps(list(COLOURS)))
    monkeypatch.setattr(predict.safe_load, "load", lambda path: Fixed())
    shades = {
        "=a.png": (250, 0, 0),
        "b.png": (200, 100, 0),
        "c.png": (0, 200, 0),
        os.fsdecode(b"d\xe9.png"): (90, 90, 120),
    }
    for name, colour in shades.items():
        Image.new("RGB", (9, 9), colour).save(tmp_path / "plain.png")
        os.rename(tmp_path / "plain.png", tmp_path / name)
    monkeypatch.chdir(tmp_path)

    def ask(**wanted):
        out = io.StringIO()
        model, asked = tmp_path / "model.keras", predict.Wanted(**wanted)
        assert predict.predict(model, list(shades), out, asked) == 0
        return {
            row["file"].removeprefix("./")[0]: row
            for row in csv.DictReader(io.StringIO(out.getvalue()))
        }

    return ask


def test_every_class_s_probability(asked):
    rows = asked(all=True)
    assert list(rows) == ["=", "b", "c", "d"]
    assert rows["="]["file"] == "./=a.png"  # no cell begins like a formula
    assert list(rows["b"]) == ["file", "class", "probability", "p(cat)", "p(dog)", "p(emu)"]
    assert [rows["b"][f"p({name})"] for name in COLOURS] == ["0.6634", "0.3333", "0.0033"]
    assert rows["d"]["file"] == os.fsdecode(b"d\xe9.png")
    assert list(asked()["c"]) == ["file", "class", "probability"]


def test_the_likeliest_of_a_class(asked):
    rows = asked(of="dog")
    assert list(rows) == ["c", "b", "d", "="]
    assert [row["p(dog)"] for row in rows.values()] == ["0.9901", "0.3333", "0.3003", "0.0040"]
    assert list(asked(of="dog", top=2)) == ["c", "b"]
    assert list(asked(of="dog", threshold=0.3, top=9)) == ["c", "b", "d"]
    assert list(asked(threshold=0.6)) == ["=", "b", "c"] and list(asked(top=1)) == ["="]
    with pytest.raises(ValueError, match="--class: expected one of cat, dog, emu, received 'lynx'"):
        asked(of="lynx")


FAKE = """
import sys
from selectnet_tf.__main__ import run
from selectnet_tf.commands import predict
def fake(path, files, out, wanted, boxes, folders):
    for i in range(100_000):
        print("line", i, file=out)
    print("all were scored", file=sys.stderr)
    return 0
predict.predict = fake
sys.exit(run("predict", [sys.argv[1], sys.argv[1]]))
"""


@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("> /dev/full", 1, "error: the disk is full: free some space and run the same command again\n"),
        ("| head -1 > /dev/null; exit ${PIPESTATUS[0]}", 141, ""),
    ],
)  # fmt: skip
def test_a_full_disk_is_said_and_a_closed_pipe_ends_it(where, code, said, tmp_path):
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as file:
        file.writestr("classes.json", "[]")
    (tmp_path / "fake.py").write_text(FAKE)
    found = subprocess.run(
        [
            "bash",
            "-c",
            f"{sys.executable} {tmp_path / 'fake.py'} {tmp_path / 'model.keras'} {where}",
        ],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (code, said)


def test_a_folder_s_other_files_are_named_and_an_empty_one_is_refused(tmp_path, capsys):
    picture(tmp_path / "in" / "a.png", COLOURS["cat"], 1)
    for name in ("b.heic", "c.csv", "d.csv.gz", "e.xlsx"):
        (tmp_path / "in" / name).write_bytes(b"")
    (tmp_path / "in" / "f.jpg").symlink_to("nothing")
    found, _ = predict.list_files([tmp_path / "in", "x"])
    assert found == [str(tmp_path / "in" / "a.png"), "x"]
    said = capsys.readouterr().err
    unsupported = ".heic is not supported: convert it to JPEG or PNG\n"
    assert f"skipped {tmp_path / 'in' / 'b.heic'}: {unsupported}" in said
    assert f"skipped {tmp_path / 'in' / 'f.jpg'}: a link to nothing\n" in said
    assert "e.xlsx: .xlsx is no image format" in said
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="expected a folder of images, .*empty holds none"):
        predict.list_files([tmp_path / "empty"])


def test_a_model_of_other_inputs_is_refused(tmp_path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match=r"takes inputs of \[4\]"):
        predict.predict(tmp_path / "model.keras", [], io.StringIO())


def test_a_missing_folder_is_named_before_the_model_is_loaded(tmp_path, capsys):
    model = tmp_path / "model.keras"
    zipfile.ZipFile(model, "w").close()
    assert predict.main(["predict", str(model), "nowhere"]) == 1
    assert capsys.readouterr().err.endswith("or folders of images, there is no nowhere\n")
