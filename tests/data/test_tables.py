"""Tables' files -> a Task, and a run on them from end to end."""

import csv
import io
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer

from selectnet_tf import predict, recipes
from selectnet_tf.data import sides, tables, tasks, verdicts
from selectnet_tf.experiment import picks, runs, train


def write(path, frame):
    frame.to_csv(path, index=False)
    return str(path)


@pytest.fixture
def cancer(tmp_path):
    """scikit-learn's breast cancer table: 10 malignant and 150 benign rows labeled, 250 unlabeled, the rest for the test."""
    found = load_breast_cancer(as_frame=True)
    frame = found.data.assign(kind=np.where(found.target == 0, "malignant", "benign"), side=np.where(np.arange(569) % 2, "left", "right"))
    frame = frame.assign(patient=[f"p{i:03}" for i in range(569)]).sample(frac=1, random_state=0)
    labeled = pd.concat([frame[frame["kind"] == "malignant"][:10], frame[frame["kind"] == "benign"][:150]])
    rest = frame.drop(labeled.index)
    return {
        "labeled_csv": write(tmp_path / "labeled.csv", labeled), "unlabeled_csv": write(tmp_path / "pool.csv", rest[:250].drop(columns="kind")),
        "test_csv": write(tmp_path / "test.csv", rest[250:]), "id_column": "patient",
    }  # fmt: skip


def small(tmp_path, n=60, rare=12, **changes):
    """A Task of random numbers, `rare` of n rows of class b, and a pool of as many."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(2 * n, 3)), columns=list("uvw")).assign(kind=["b" if i % n < rare else "a" for i in range(2 * n)])
    given = {
        "labeled_csv": write(tmp_path / "a.csv", frame[:n]),
        "unlabeled_csv": write(tmp_path / "b.csv", frame[n:].drop(columns="kind")),
    }
    return tasks.make(recipes.make(**{"dataset": "csv", "label_column": "kind", "method": "context", **given, **changes}))


def test_a_table_from_end_to_end(cancer, tmp_path):
    recipe = recipes.make(dataset="csv", label_column="kind", arch="mlp", method="context", epochs=20, **cancer)
    row = train.train(recipe, results_dir=tmp_path / "results", verbose=0)
    assert row["accuracy"] > 0.85 and row["minor_roc_auc"] > 0.95 and row["minor_average_precision"] > 0.9
    folder = tmp_path / "results" / "runs" / row["name"]
    chosen = runs.read_csv(folder / "selected.csv")
    assert chosen[0]["file"].startswith(cancer["unlabeled_csv"] + ":") and {p["pseudo_label"] for p in chosen} == {"malignant"}
    pool = pd.read_csv(cancer["unlabeled_csv"])
    assert all(p["patient"] == pool["patient"][int(p["file"].rpartition(":")[2]) - 2] for p in chosen)
    classes = runs.read_csv(folder / "classes.csv")
    assert [c["name"] for c in classes] == ["benign", "malignant"] and float(classes[1]["recall_at_90"]) > 0.5
    assert not (folder / "picks.html").exists()
    out, errors = io.StringIO(), io.StringIO()
    assert predict.predict(folder / "model.keras", [cancer["test_csv"], "nothing.csv"], out, errors) == 1
    lines = out.getvalue().splitlines()
    truth = pd.read_csv(cancer["test_csv"])
    assert lines[0] == "row,patient,class,probability" and len(lines) == 1 + len(truth) and "nothing.csv is no file" in errors.getvalue()
    assert [line.split(",")[1] for line in lines[1:]] == truth["patient"].tolist()
    assert np.mean([line.split(",")[2] == kind for line, kind in zip(lines[1:], truth["kind"], strict=True)]) == pytest.approx(
        row["accuracy"]
    )
    found, problems = runs.read(tmp_path / "results")
    assert not problems and found[0].changes == ()


def test_predict_says_what_it_could_not_read(cancer, tmp_path):
    recipe = recipes.make(dataset="csv", label_column="kind", arch="mlp", method="imbalanced", epochs=1, **cancer)
    row = train.train(recipe, results_dir=tmp_path / "results", verbose=0)
    table = pd.read_csv(cancer["test_csv"])[:40].drop(columns=["kind", "patient"]).astype({"mean area": object})
    table.loc[3, "mean area"], table.loc[4, "side"] = "$12", "middle"
    out, errors = io.StringIO(), io.StringIO()
    new = write(tmp_path / "new.csv", table)
    assert predict.predict(tmp_path / "results" / "runs" / row["name"] / "model.keras", [new], out, errors) == 0
    assert errors.getvalue().splitlines() == [
        f"{new}: 1 cells of 'mean area' are no number, such as '$12': missing",
        f"{new}: 1 cells of 'side' are new, such as 'middle'",
    ]
    assert len(out.getvalue().splitlines()) == 41 and out.getvalue().startswith("row,patient,class,probability\n" + f"{new}:2,,")


def test_a_part_is_held_out_and_wrong_tables_are_said(cancer, tmp_path):
    def make(**changes):
        given = {"dataset": "csv", "label_column": "kind", "method": "context", **cancer, **changes}
        return tasks.make(recipes.make(**given))

    task = make(test_csv=None)
    assert np.bincount(task.y_test).tolist() == [30, 2] and len(task.y_labeled) == 128 and task.minor == (1,)
    (tmp_path / "other.csv").write_text("a,patient\n1,2\n")
    with pytest.raises(ValueError, match=r"other\.csv has no column 'mean radius'"):
        make(unlabeled_csv=str(tmp_path / "other.csv"))
    (tmp_path / "test2.csv").write_text(pd.read_csv(cancer["test_csv"]).replace("benign", "odd").to_csv(index=False))
    with pytest.raises(ValueError, match=r"odd are no classes of the labeled rows \(benign, malignant\)"):
        make(test_csv=str(tmp_path / "test2.csv"))
    for flag in ("ignore_columns", "text_columns"):
        with pytest.raises(ValueError, match=rf"has no column 'sid', only mean radius.*correct --{flag}"):
            make(**{flag: "side,sid"})
    with pytest.raises(ValueError, match=r"pool\.csv has no column 'kind', only .*correct --id_column"):
        make(id_column="kind", label_column="side")


@pytest.mark.parametrize("method", ["imbalanced", "oversampling"])
def test_methods_that_do_not_select_need_no_pool(method, tmp_path):
    task = small(tmp_path, method=method, unlabeled_csv=None)
    assert len(task.x_unlabeled) == 0 and len(task.y_labeled) == 48
    row = train.train(
        recipes.make(dataset="csv", label_column="kind", method=method, labeled_csv=str(tmp_path / "a.csv"), epochs=1),
        results_dir=tmp_path / "results", verbose=0,
    )  # fmt: skip
    assert 0 <= row["accuracy"] <= 1


def test_equal_rows_never_stand_in_pool_and_test_or_on_two_sides(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 4, (200, 2)), columns=["u", "v"]).assign(kind=["b" if i < 40 else "a" for i in range(200)])
    labeled = write(tmp_path / "a.csv", frame)
    pool = write(tmp_path / "b.csv", pd.concat([frame[:20], pd.DataFrame({"u": [7, 8], "v": [7, 8]})]).drop(columns="kind"))
    given = {
        "dataset": "csv",
        "label_column": "kind",
        "labeled_csv": labeled,
        "unlabeled_csv": pool,
        "method": "context",
        "text_columns": "u",
    }
    task = tasks.make(recipes.make(**given))
    rows = [{row.tobytes() for row in np.asarray(part[np.arange(len(part))])} for part in (task.x_labeled, task.x_test, task.x_unlabeled)]
    assert not rows[0] & rows[1] and not rows[1] & rows[2] and len(task.x_unlabeled) == 2
    assert "  20 unlabeled rows equal labeled or test rows: left out" in task.says and set(task.y_test) == {0, 1}
    assert [task.files[i] for i in task.index[-2:]] == [f"{pool}:22", f"{pool}:23"]
    test = write(tmp_path / "t.csv", pd.concat([frame[39:41], pd.DataFrame({"u": [7, 9], "v": [9, 9], "kind": ["a", "b"]})]))
    task = tasks.make(recipes.make(**given, test_csv=test))
    assert len(task.y_labeled) == 200 and task.y_test.tolist() == [0, 1] and "  2 test rows equal labeled ones: left out" in task.says
    with pytest.raises(ValueError, match=r"all rows of class a equal labeled rows"):
        tasks.make(recipes.make(**given, test_csv=write(tmp_path / "u.csv", frame[:41])))
    with pytest.raises(ValueError, match="each unlabeled row equals a labeled, a test or a rejected one"):
        tasks.make(recipes.make(**given | {"unlabeled_csv": labeled}))


def test_hold_out_takes_a_fifth_of_each_class_and_groups_whole():
    y, same = np.array([0] * 20 + [1] * 10), np.array([*range(10), *range(10), *range(10, 20)])
    kept, held = sides.hold_out(y, same, "ab", 0)
    assert np.bincount(y[held]).tolist() == [4, 2] and not set(same[kept]) & set(same[held])
    with pytest.raises(ValueError, match="class b has no two different rows: give it two or more"):
        sides.hold_out(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 2]), "ab", 0)
    with pytest.raises(ValueError, match="class b has one row"):
        sides.hold_out(np.array([0, 0, 1]), np.array([0, 1, 2]), "ab", 0)


def test_of_two_classes_the_smaller_is_minor_and_names_are_names(tmp_path):
    assert small(tmp_path, rare=25).minor == (1,) and small(tmp_path, rare=40).minor == (0,)
    with pytest.raises(ValueError, match="minor class '1' is none of a, b"):
        small(tmp_path, minor=(1,))


def test_verdicts_on_picks_become_labels_and_what_was_rejected_is_not_picked_again(tmp_path):
    before = small(tmp_path)
    pool = pd.read_csv(tmp_path / "b.csv")
    looked = pool[:5].assign(file=[f"b.csv:{i}" for i in range(2, 7)], pseudo_label="b", score=0.9, right=["yes", "no", "", "a", "1"])
    given = f"{tmp_path / 'a.csv'},{write(tmp_path / 'picks.csv', looked)}"
    after = small(tmp_path, labeled_csv=given)
    assert len(after.y_labeled) == len(before.y_labeled) + 3 and after.y_labeled[-3:].tolist() == [1, 0, 1]
    assert [after.files[i].rpartition("/")[2] for i in after.index[-59:-56]] == ["picks.csv:2", "picks.csv:5", "picks.csv:6"]
    assert len(before.x_unlabeled) == 60 and len(after.x_unlabeled) == 56
    assert "  4 unlabeled rows equal labeled or test or rejected rows: left out" in after.says
    assert [before.files[i] for i in before.index[:48]] == [after.files[i] for i in after.index[:48]]  # the same rows are held out
    with pytest.raises(ValueError, match=r"picks\.csv:3: right is 'perhaps', but has to be yes, no, empty or a class: a, b"):
        small(
            tmp_path, labeled_csv=f"{tmp_path / 'a.csv'},{write(tmp_path / 'picks.csv', looked.assign(right=['', 'perhaps', '', '', '']))}"
        )
    with pytest.raises(ValueError, match="give the labeled rows beside the picks"):
        small(tmp_path, labeled_csv=str(tmp_path / "picks.csv"))


def test_a_run_s_list_of_picks_goes_back_in(cancer, tmp_path):
    recipe = recipes.make(dataset="csv", label_column="kind", method="context", epochs=1, **cancer)
    row = train.train(recipe, results_dir=tmp_path / "results", verbose=0)
    chosen = pd.read_csv(tmp_path / "results" / "runs" / row["name"] / "selected.csv").assign(right="yes")
    given = {**cancer, "labeled_csv": f"{cancer['labeled_csv']},{write(tmp_path / 'picks.csv', chosen)}"}
    task = tasks.make(recipes.make(dataset="csv", label_column="kind", method="context", **given))
    assert len(task.y_labeled) == 160 + len(chosen) and len(task.x_unlabeled) == 250 - len(chosen) > 0


FEATURES = ("amount", "score", "zip", "day", "file", "score of the row", "label", "right")


def european(path, n, seed, labeled):
    """n rows as a German spreadsheet writes them, under names that a run's list of picks has too; zip is A1 to A3 or 001 to 009."""
    rng = np.random.default_rng(seed)

    def number(value):
        return f"{value:,.2f}".translate(str.maketrans(",.", ".,"))

    lines = [";".join([*FEATURES, *(["pseudo_label", "kind"] if labeled else ["pseudo_label"])])]
    for i in range(n):
        town = f"A{rng.integers(1, 4)}" if labeled and i % 2 else f"00{rng.integers(1, 10)}"
        loose = "?" if not labeled and i == 0 else number(rng.normal(-2, 0.5))
        row = [number(rng.normal(3000, 500)), number(rng.random()), town, f"2021-04-{1 + i % 28:02}", loose, number(i * 1000.5)]
        lines.append(";".join([*row, f"{i:03}", number(rng.random()), f"0{i % 3}", *(["b" if i < n // 4 else "a"] if labeled else [])]))
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def picked(folder, task, places):
    """The lines of selected.csv after a round that picked these places of the pool as class 0."""
    index = len(task.y_labeled) + np.asarray(places)
    zeros = np.zeros(len(index), int)
    picks.write(folder, [SimpleNamespace(epoch=1, index=index, target=zeros, predicted=zeros, score=zeros + 0.75, loss=zeros + 0.25)], task)
    with open(folder / "selected.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", ["csv", "parquet", "two files"])
def test_picks_come_back_as_the_rows_that_they_were(kind, tmp_path):
    """With decimal commas, leading zeros, dates, and columns that are called as the run's own."""
    pool = european(tmp_path / "pool.csv", 40, 1, labeled=False)
    if kind == "parquet":
        frame = pd.read_csv(pool, sep=";", decimal=",", thousands=".", dtype=dict.fromkeys(("zip", "label", "pseudo_label"), str))
        frame.assign(day=pd.to_datetime(frame["day"])).to_parquet(tmp_path / "pool.parquet")
        pool = str(tmp_path / "pool.parquet")
    if kind == "two files":
        pool += "," + european(tmp_path / "more.csv", 20, 2, labeled=False)
    given = {
        "dataset": "csv", "label_column": "kind", "method": "context", "decimal": ",", "thousands": ".", "unlabeled_csv": pool,
        "labeled_csv": european(tmp_path / "labeled.csv", 48, 0, labeled=True), "text_columns": "label,pseudo_label",
    }  # fmt: skip
    before = tasks.make(recipes.make(**given))
    rows = picked(tmp_path, before, range(0, len(before.x_unlabeled), 2))
    own = ["file", "pseudo_label", "score", "loss", "first_chosen", "last_chosen", "rounds", "right"]
    renamed = {"score of the row": "score of the row of the row"} | {
        c: f"{c} of the row" for c in ("score", "file", "right", "pseudo_label")
    }
    assert list(rows[0]) == [*own, *(renamed.get(c, c) for c in (*FEATURES, "pseudo_label"))]
    assert all(re.fullmatch("00[1-9]", row["zip"]) and row["score"] == "0.75" for row in rows)
    runs.write_csv(tmp_path / "looked.csv", [[*rows[0]], *([*(row | {"right": "yes"}).values()] for row in rows)])
    recipe = recipes.make(**given | {"labeled_csv": f"{given['labeled_csv']},{tmp_path / 'looked.csv'}"})
    table, _ = tables._labeled(recipe, tables._read(recipe, recipe.labeled_csv))
    was = {before.files[i]: before.by_index[np.array([i])] for i in before.index}
    assert np.array_equal(before.encode(table)[-len(rows) :], np.concatenate([was[row["file"]] for row in rows]))
    after = tasks.make(recipe)
    assert len(after.y_labeled) == len(before.y_labeled) + len(rows) and len(after.x_unlabeled) == len(before.x_unlabeled) - len(rows)


@pytest.mark.parametrize("right", ["yes", "no"])
def test_verdicts_whose_cells_a_spreadsheet_has_changed_are_said(right, tmp_path):
    """They matched nothing in the pool, and what was rejected was picked again without a word."""
    pool = european(tmp_path / "pool.csv", 40, 1, labeled=False)
    given = {
        "dataset": "csv", "label_column": "kind", "method": "context", "decimal": ",", "thousands": ".", "unlabeled_csv": pool,
        "labeled_csv": european(tmp_path / "labeled.csv", 48, 0, labeled=True), "text_columns": "label,pseudo_label",
    }  # fmt: skip
    rows = picked(tmp_path, tasks.make(recipes.make(**given)), range(5))
    for change in (False, True):
        new = {"right": right} | ({"day": "09.08.2020"} if change else {})
        runs.write_csv(tmp_path / "looked.csv", [[*rows[0]], *([*(row | new).values()] for row in rows)])
        task = tasks.make(recipes.make(**given | {"labeled_csv": f"{given['labeled_csv']},{tmp_path / 'looked.csv'}"}))
        assert len(task.x_unlabeled) == (40 if change else 35)
        said = "\n".join(task.says)
        assert ("warning: 5 of 5 rows with a verdict equal no row of the pool: if they are still in it" in said) == change
        assert ("are no date, such as '09.08.2020'" in said) == change


def test_labels_may_stand_in_a_column_called_right(tmp_path):
    frames = [pd.read_csv(tmp_path / name) for name in ("a.csv", "b.csv") if small(tmp_path)]
    given = {"labeled_csv": write(tmp_path / "c.csv", frames[0].rename(columns={"kind": "right"})), "label_column": "right"}
    rows = picked(tmp_path, small(tmp_path, **given), [0, 1])
    looked = write(tmp_path / "looked.csv", pd.DataFrame(rows).assign(right=["yes", ""]))
    task = small(tmp_path, **given | {"labeled_csv": f"{given['labeled_csv']},{looked}"})
    assert len(task.y_labeled) == 49 and task.names == ("a", "b") and len(task.x_unlabeled) == 59


def test_a_verdict_that_is_a_class_s_name_too_has_to_be_clear(tmp_path):
    (tmp_path / "s.csv").write_text("pseudo_label,right,u\nYes,Yes,1\nNo,right,2\nNo,wrong,3\nNo,class Yes,4\nYes,yes,5\nYes,,6\n")
    reading = {"text": (), "decimal": ".", "thousands": None}
    right, wrong = verdicts.read(verdicts.table(str(tmp_path / "s.csv"), reading), {"Yes", "No"}, ["u"])
    assert (
        right.labels.tolist() == ["Yes", "No", "Yes", "Yes"]
        and right.frame["u"].tolist() == [1, 2, 4, 5]
        and wrong.frame["u"].tolist() == [3]
    )
    for verdict in ("Yes,no", "Yes,No", "No,yes", "No,Yes", "No,No"):
        (tmp_path / "s.csv").write_text(f"pseudo_label,right,u\n{verdict},1\n")
        word = verdict.partition(",")[2]
        with pytest.raises(
            ValueError, match=rf"s\.csv:2: right is '{word}', .*two things here: write right or wrong or class {word.title()}$"
        ):
            verdicts.read(verdicts.table(str(tmp_path / "s.csv"), reading), {"Yes", "No"}, ["u"])
    (tmp_path / "s.csv").write_text("pseudo_label,right,u\nleft,right,1\n")
    with pytest.raises(ValueError, match=r"right is 'right', which can mean two things here: write x or wrong or class right$"):
        verdicts.read(verdicts.table(str(tmp_path / "s.csv"), reading), {"left", "right"}, ["u"])
    (tmp_path / "s.csv").write_text("pseudo_label,right,u\n,yes,1\n")
    with pytest.raises(ValueError, match=r"right is 'yes', but has to be no, empty or a class: No, Yes$"):
        verdicts.read(verdicts.table(str(tmp_path / "s.csv"), reading), {"Yes", "No"}, ["u"])
    (tmp_path / "s.csv").write_text("pseudo_label,right,u\n1,1,1\n1,2,2\n1,no,3\n")
    right, wrong = verdicts.read(verdicts.table(str(tmp_path / "s.csv"), reading), {"1", "2"}, ["u"])
    assert right.labels.tolist() == ["1", "2"] and wrong.frame["u"].tolist() == [3]


def test_a_verdict_may_be_a_class_called_none(tmp_path):
    (tmp_path / "s.csv").write_text("pseudo_label,right,u\nfraud,None,1\nfraud,,2\nNA,yes,3\n")
    reading = {"text": (), "decimal": ".", "thousands": None}
    right, wrong = verdicts.read(verdicts.table(str(tmp_path / "s.csv"), reading), {"None", "NA", "fraud"}, ["u"])
    assert right.labels.tolist() == ["None", "NA"] and right.frame["u"].tolist() == [1, 3] and not len(wrong.frame)


def test_a_test_without_a_minor_class_or_of_picks_is_refused(tmp_path):
    small(tmp_path)
    rows = pd.read_csv(tmp_path / "a.csv").query("kind == 'a'").assign(u=lambda frame: frame["u"] + 1)
    with pytest.raises(ValueError, match=r"t\.csv has no row of b, a minor class: its accuracy could not be told; give some"):
        small(tmp_path, test_csv=write(tmp_path / "t.csv", rows))
    looked = write(tmp_path / "s.csv", rows.rename(columns={"kind": "pseudo_label"}).assign(right="yes"))
    with pytest.raises(ValueError, match=r"s\.csv holds a run's picks, which are no test: give them to --labeled_csv"):
        small(tmp_path, test_csv=looked)
