import io

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from selectnet_tf import predict, recipes
from selectnet_tf.data import frames, tasks
from selectnet_tf.experiment import runs, train

TABLE = pd.DataFrame(
    {
        "age": [20, 30, np.nan, 50],
        "town": ["Ulm", None, "Bonn", "Ulm"],
        "member": [True, False, True, True],
        "empty": [None] * 4,
        "kind": list("abab"),
    }
)


def write(path, frame):
    frame.to_csv(path, index=False)
    return str(path)


def test_numbers_are_normalized_and_texts_become_one_hot(tmp_path):
    frame, labels = frames.read(write(tmp_path / "a.csv", TABLE), "kind")
    assert labels.tolist() == ["a", "b", "a", "b"] and "kind" not in frame
    encode = frames.Encoder([frame])
    x = encode(frame)
    assert list(encode.columns) == ["age", "town", "member"] and encode.columns["age"] == 30.0
    age = x[:, :1] if abs(x[:, 0].mean()) < 1e-5 and x[:, 0].std() > 0.99 else x[:, -1:]
    np.testing.assert_allclose(age[:, 0], (np.array([20, 30, 30, 50]) - 32.5) / np.std([20, 30, 30, 50]), rtol=1e-4)
    assert x.dtype == np.float32 and set(np.unique(np.delete(x, 0, 1))) == {0.0, 1.0}
    new = encode(pd.DataFrame({"age": ["no number"], "town": ["Rome"], "member": [False], "more": [1]}))
    assert new.shape == (1, x.shape[1]) and np.isfinite(new).all()


def test_an_encoder_travels_in_a_model_s_file(tmp_path):
    import keras

    frame, _ = frames.read(write(tmp_path / "a.csv", TABLE), "kind")
    encode = frames.Encoder([frame])
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "model.keras")
    assert frames.Encoder.of(tmp_path / "model.keras") is None
    encode.save_into(tmp_path / "model.keras")
    assert np.array_equal(frames.Encoder.of(tmp_path / "model.keras")(frame), encode(frame))
    assert keras.saving.load_model(tmp_path / "model.keras").output_shape == (None, 1)


@pytest.mark.parametrize(
    ("content", "column", "said"),
    [
        ("a,b\n1,x\n", "kind", "has no column 'kind', only a, b"),
        ("a,kind\n1,x\n2,\n", "kind", "t.csv:3: no label in column 'kind'"),
        ("a,kind\n", "kind", "has no row"),
        ("", "kind", "is no CSV table"),
        ('a,kind\n"1,x\n', "kind", "is no CSV table"),
    ],
)
def test_bad_tables_are_named(content, column, said, tmp_path):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(ValueError, match=said):
        frames.read(tmp_path / "t.csv", column)
    with pytest.raises(FileNotFoundError, match="is no file"):
        frames.read(tmp_path / "nothing.csv", column)


def test_identifiers_and_missing_columns_are_refused():
    with pytest.raises(ValueError, match="'id' has more than 1000 different texts"):
        frames.Encoder([pd.DataFrame({"id": [f"n{i}" for i in range(2000)]})])
    with pytest.raises(ValueError, match="no column 'b', which the labeled table has"):
        frames.Encoder([pd.DataFrame({"a": [1.0], "b": [2.0]})])(pd.DataFrame({"a": [1.0]}))
    with pytest.raises(ValueError, match="no column besides the label"):
        frames.Encoder([pd.DataFrame({"a": [None, None]})])


@pytest.fixture
def cancer(tmp_path):
    """scikit-learn's breast cancer table: 10 malignant and 150 benign rows labeled, 250 unlabeled, the rest for the test."""
    found = load_breast_cancer(as_frame=True)
    frame = found.data.assign(kind=np.where(found.target == 0, "malignant", "benign"), side=np.where(np.arange(569) % 2, "left", "right"))
    frame = frame.sample(frac=1, random_state=0)
    labeled = pd.concat([frame[frame["kind"] == "malignant"][:10], frame[frame["kind"] == "benign"][:150]])
    rest = frame.drop(labeled.index)
    return {
        "labeled_csv": write(tmp_path / "labeled.csv", labeled), "unlabeled_csv": write(tmp_path / "pool.csv", rest[:250].drop(columns="kind")),
        "test_csv": write(tmp_path / "test.csv", rest[250:]),
    }  # fmt: skip


def test_a_table_from_end_to_end(cancer, tmp_path):
    recipe = recipes.make(dataset="csv", label_column="kind", method="context", epochs=20, **cancer)
    row = train.train(recipe, results_dir=tmp_path / "results", verbose=0)
    assert row["accuracy"] > 0.85 and row["minor_roc_auc"] > 0.95 and row["minor_average_precision"] > 0.9
    folder = tmp_path / "results" / "runs" / row["name"]
    picks = runs.read_csv(folder / "selected.csv")
    assert picks[0]["file"].startswith(cancer["unlabeled_csv"] + ":") and {p["pseudo_label"] for p in picks} == {"malignant"}
    classes = runs.read_csv(folder / "classes.csv")
    assert [c["name"] for c in classes] == ["benign", "malignant"] and float(classes[1]["recall_at_90"]) > 0.5
    assert not (folder / "picks.html").exists()
    out, errors = io.StringIO(), io.StringIO()
    assert predict.predict(folder / "model.keras", [cancer["test_csv"], "nothing.csv"], out, errors) == 1
    lines = out.getvalue().splitlines()
    truth = pd.read_csv(cancer["test_csv"])["kind"]
    assert lines[0] == "row,class,probability" and len(lines) == 1 + len(truth) and "nothing.csv is no file" in errors.getvalue()
    assert np.mean([line.split(",")[1] == kind for line, kind in zip(lines[1:], truth, strict=True)]) == pytest.approx(row["accuracy"])
    found, problems = runs.read(tmp_path / "results")
    assert not problems and found[0].changes == ()


def test_a_part_is_held_out_and_wrong_tables_are_said(cancer, tmp_path):
    def make(**changes):
        given = {"dataset": "csv", "label_column": "kind", "method": "context", **cancer, **changes}
        return tasks.make(recipes.make(**given))

    task = make(test_csv=None)
    assert np.bincount(task.y_test).tolist() == [30, 2] and len(task.y_labeled) == 128 and task.minor == (1,)
    (tmp_path / "other.csv").write_text("a\n1\n")
    with pytest.raises(ValueError, match=r"labeled.csv, .*other.csv: no column"):
        make(unlabeled_csv=str(tmp_path / "other.csv"))
    (tmp_path / "test2.csv").write_text(pd.read_csv(cancer["test_csv"]).replace("benign", "odd").to_csv(index=False))
    with pytest.raises(ValueError, match=r"odd are no classes of the labeled rows \(benign, malignant\)"):
        make(test_csv=str(tmp_path / "test2.csv"))
