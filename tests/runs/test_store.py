import json
import pathlib
import re
import shutil

import pytest
from conftest import write_run

from selectnet_tf import recipes
from selectnet_tf._csv_files import read_csv
from selectnet_tf.runs import store

ROW = {"name": "a", "dataset": "cifar10-4minor", "arch": "simple", "method": "context"}
ROW |= {"preset": "paper", "seed": 0, "epochs": 20, "last10_accuracy": 0.5}


def test_rows_are_replaced_by_name_and_new_columns_go_to_the_end(tmp_path):
    store.write_row(
        tmp_path, "a", {"name": "a", "accuracy": 0.1 + 0.2, "beta": None, "minor": (0, 2)}
    )
    store.write_row(tmp_path, "b", {"name": "b", "accuracy": 0.5, "extra": 1})
    store.write_row(tmp_path, "a", {"name": "a", "accuracy": 1 / 3, "beta": 0.5})
    assert store.read_row(tmp_path, "b") == {"name": "b", "accuracy": "0.5", "extra": "1"}
    assert (
        tmp_path / "runs.csv"
    ).read_text() == f"name,accuracy,beta,minor,extra\na,{1 / 3},0.5,,\nb,0.5,,,1\n"
    assert float(store.read_row(tmp_path, "a")["accuracy"]) == 1 / 3
    assert store.read_names(tmp_path) == {"a", "b"}


def test_changes_are_what_differs_from_the_preset(tmp_path):
    for seed, changes in enumerate(
        ({}, {"augment": "none"}, {"minor": (0, 2)}, {"preset": "released"})
    ):
        write_run(tmp_path, method="context", seed=seed, epochs=20, **changes)
    found, problems = store.read_runs(tmp_path)
    assert not problems
    assert [run.changes for run in found] == [(), (("augment", "none"),), (("minor", "0 2"),), ()]
    assert (found[3].seed, found[3].epochs, found[3].preset) == (3, 20, "released")


def test_runs_on_other_files_of_one_s_own_are_no_repeats_of_one_run(tmp_path):
    own = {"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "pool"}
    write_run(tmp_path, **own, method="self_paced")
    write_run(
        tmp_path, **{k: v for k, v in own.items() if k != "unlabeled_dir"}, method="imbalanced"
    )
    found, _ = store.read_runs(tmp_path)
    # of one data set, one with its pool and one without
    assert [run.changes for run in found] == [(), ()]
    write_run(tmp_path, **own | {"unlabeled_dir": "other", "test_dir": "test"}, method="self_paced")
    found, problems = store.read_runs(tmp_path)
    assert not problems and {run.dataset for run in found} == {"folder a"}
    changes = [dict(run.changes) for run in found]
    assert changes == [
        {"unlabeled_dir": "pool"},
        {},
        {"unlabeled_dir": "other", "test_dir": "test"},
    ]


def test_columns_and_rows_of_settings_that_left_are_kept(tmp_path):
    write_run(tmp_path, method="context", seed=0)
    store.write_row(
        tmp_path, "b", {**ROW, "name": "b", "accuracy": 0.5, "decimal": ".", "labeled_csv": None}
    )
    store.write_row(
        tmp_path,
        "c",
        {**ROW, "name": "c", "accuracy": 0.5, "dataset": "csv", "labeled_csv": "a.csv"},
    )
    found, problems = store.read_runs(tmp_path)
    assert len(found) == 2 and found[1].name == "b" and found[1].changes == ()
    (problem,) = problems
    assert "c/row.json: dataset is 'csv', but has to be one of" in problem
    assert problem.endswith("left out")
    assert {row["name"]: row["labeled_csv"] for row in read_csv(tmp_path / "runs.csv")}[
        "c"
    ] == "a.csv"


def test_what_freeze_implies_on_folders_is_no_change(tmp_path):
    own = {"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b"}
    write_run(tmp_path, **own, freeze=True, weights="w.keras")
    write_run(tmp_path, **own, freeze=True, weights="w.keras", lr=0.5)
    changed = [dict(run.changes) for run in store.read_runs(tmp_path)[0]]
    plain = {"weights": "w.keras", "freeze": "True"}
    assert changed == [plain, plain | {"lr": "0.5"}]


@pytest.mark.parametrize(
    ("arch", "preset", "named"),
    [
        ("resnet20v2", "released", "resnet20"),
        ("resnet20", "released", "resnet20 v1"),
        ("resnet20v2", "paper", "resnet20v2"),
    ],
)
def test_a_run_has_the_arch_that_the_tables_name(arch, preset, named, tmp_path):
    store.write_row(tmp_path, "a", {**ROW, "arch": arch, "preset": preset, "accuracy": 0.5})
    assert store.read_runs(tmp_path)[0][0].arch == named


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": "nan"}, "accuracy is 'nan', but has to be from 0 to 1"),
        ({"accuracy": "55"}, "accuracy is '55', but has to be from 0 to 1"),
        ({"seconds": "-1"}, "seconds is '-1', but has to be 0 or more"),
        ({"seed": "x"}, "seed is 'x', but has to be a whole number"),
        ({"method": "contxt"}, "method is 'contxt', but has to be one of"),
        ({"arch": "", "accuracy": None}, "no arch, accuracy"),
    ],
)
def test_a_row_that_can_not_be_is_named_by_its_file_or_line(change, said, tmp_path):
    store.write_row(tmp_path, "a", {**ROW, "accuracy": 0.5, "seconds": 1.0})
    store.write_row(tmp_path, "b", {**ROW, "accuracy": 0.5, "seconds": 1.0, **change, "name": "b"})
    found, (problem,) = store.read_runs(tmp_path)
    assert len(found) == 1
    assert problem.startswith(f"{tmp_path / 'runs' / 'b' / 'row.json'}: {said}")
    assert problem.endswith("; left out")
    for folder in (tmp_path / "runs").iterdir():
        (
            folder / "row.json"
        ).unlink()  # as rows of versions before 0.2, which stand in runs.csv alone
    found, (problem,) = store.read_runs(tmp_path)
    assert len(found) == 1
    assert problem.startswith(f"{tmp_path / 'runs.csv'}:3: {said}")
    assert problem.endswith("; left out")


def test_an_empty_value_of_a_row_is_none(tmp_path):
    store.write_row(tmp_path, "a", {**ROW, "accuracy": 0.5, "minor_roc_auc": float("nan")})
    assert store.read_row(tmp_path, "a")["minor_roc_auc"] == ""
    assert store.read_runs(tmp_path)[1] == []


TABLE = f"{','.join(ROW)},accuracy\n{','.join(map(str, ROW.values()))},0.5\n"


def test_a_row_that_stands_in_runs_csv_alone_counts_and_stays(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text(TABLE)
    assert store.read_names(tmp_path) == {"a"}
    assert store.read_runs(tmp_path)[0][0].number("accuracy") == 0.5
    store.write_row(tmp_path, "b", ROW | {"name": "b", "accuracy": 0.25, "threads": 2})
    first, old, new = path.read_text().splitlines()
    header, line = TABLE.splitlines()
    assert (first, old) == (f"{header},threads", f"{line},") and new.startswith("b,")


def test_the_committed_rows_survive_a_new_table(tmp_path):
    results = pathlib.Path(__file__).parents[2] / "results"
    shutil.copy(results / "runs.csv", tmp_path)
    for path in results.glob("runs/*/row.json"):
        shutil.copytree(path.parent, tmp_path / "runs" / path.parent.name)
    store.build_table(tmp_path)
    assert (tmp_path / "runs.csv").read_bytes() == (results / "runs.csv").read_bytes()


def test_a_damaged_row_json_is_named_and_the_line_of_runs_csv_counts(tmp_path):
    recipe = write_run(tmp_path, method="context", epochs=20)
    path = tmp_path / "runs" / recipe.name / "row.json"
    path.write_text(path.read_text()[:-9])
    said = f"{path} is damaged: delete it, or train the run again with --force"
    found, problems = store.read_runs(tmp_path)
    assert [run.name for run in found] == [recipe.name] and problems == [said]
    with pytest.raises(ValueError, match=re.escape(said)):
        store.read_row(tmp_path, recipe.name)


def test_a_flipped_bit_of_a_row_json_is_named_or_changes_nothing(tmp_path):
    store.write_row(
        tmp_path,
        "a",
        {"name": "a", "accuracy": 0.1 + 0.2, "minor": (0, 2), "beta": None, "arch": "simple"},
    )
    (tmp_path / "runs.csv").unlink()
    path, right = tmp_path / "runs" / "a" / "row.json", store.read_row(tmp_path, "a")
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        found, damaged = store.read_rows(tmp_path)
        assert (list(damaged) == ["a"] and not found) or found["a"][1] == right, bytes(content)


@pytest.mark.parametrize("look", ["stat", "read_text"])
def test_a_row_that_force_puts_aside_while_rows_are_read_is_no_error(look, tmp_path, monkeypatch):
    for name in ("a", "b"):
        store.write_row(tmp_path, name, {"name": name, "accuracy": 0.5})
    (tmp_path / "runs.csv").unlink()
    (tmp_path / "runs" / "notes.txt").touch()
    put_aside, of_path = tmp_path / "runs" / "a" / "row.json", getattr(pathlib.Path, look)
    exists = pathlib.Path.exists

    def look_late(path, **options):
        if path == put_aside:
            raise FileNotFoundError(path)
        return of_path(path, **options)

    monkeypatch.setattr(pathlib.Path, "exists", lambda path: path == put_aside or exists(path))
    monkeypatch.setattr(pathlib.Path, look, look_late)
    rows, damaged = store.read_rows(tmp_path)
    assert list(rows) == ["b"] and not damaged


def test_a_row_json_of_a_version_without_checksums_is_read(tmp_path):
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "row.json").write_text('{"name": "a", "accuracy": 0.25}')
    assert store.read_row(tmp_path, "a") == {"name": "a", "accuracy": "0.25"}


def test_a_run_of_an_older_version_is_found_under_its_shorter_name_by_its_recipe_alone(tmp_path):
    """Two of a grid of --lr and --threshold, whose hashes begin with the same six digits."""
    a, b = (
        recipes.make(dataset="digits-4minor", method="context", every=1, epochs=2, **c)
        for c in ({"lr": 0.003, "threshold": 0.74}, {"lr": 0.0034, "threshold": 0.58})
    )
    old = a.name[:-6]
    assert a.name != b.name and old == b.name[:-6]
    folder = tmp_path / "runs" / old
    folder.mkdir(parents=True)
    kept = {
        k: v for k, v in a.flat().items() if k != "accumulate"
    }  # as before there was this field
    (folder / "recipe.json").write_text(json.dumps({"recipe": kept}))
    assert store.find_name(tmp_path, a) == old and store.find_name(tmp_path, b) == b.name
    assert store.find_differences(b, store.read_recipe(tmp_path, old)) == ["threshold", "lr"]
    (folder / "recipe.json").unlink()
    store.write_row(tmp_path, old, {"name": old, **kept, "accuracy": 0.5})
    assert store.find_name(tmp_path, a) == old and store.find_name(tmp_path, b) == b.name


def test_the_committed_runs_are_found_as_what_they_are():
    results = pathlib.Path(__file__).parents[2] / "results"
    assert store.find_damaged(results, store.read_runs(results)[0]) == []
    for path in sorted(results.glob("runs/*/recipe.json")):
        kept = json.loads(path.read_text())["recipe"]
        fields = {k: v for k, v in kept.items() if k in recipes.FIELDS}  # some left
        recipe = recipes.make(**{**fields, "minor": tuple(kept["minor"])})
        name = path.parent.name.removesuffix("_other-cpu")
        assert store.find_name(results, recipe) == name
        assert not store.find_differences(recipe, store.read_recipe(results, name))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("classes.csv", "class,f1,minor,as_0\n0,x,1,3\n", "classes.csv:2: f1 is 'x', but has to be a number"),
        ("epochs.csv", "epoch,val_accuracy,val_minor_accuracy\n1,0.5\n", "epochs.csv:2: 2 values for 3 columns"),
        ("picks.csv", "epoch,label\n1,2\n", "picks.csv:1: no column picked, wrong, score, index, truth"),
        ("selection.csv", 'epoch,"' + "x" * 200_000, "selection.csv:1: field larger than field limit (131072)"),
    ],
)  # fmt: skip
def test_a_damaged_file_of_a_run_is_named_and_left_out(file, content, said, tmp_path):
    recipe = write_run(tmp_path, method="context", epochs=20)
    path = tmp_path / "runs" / recipe.name / file
    path.write_text(content)
    assert store.find_damaged(tmp_path, store.read_runs(tmp_path)[0]) == [str(path.parent / said)]
    assert store.read_file(tmp_path, recipe.name, file) == []
