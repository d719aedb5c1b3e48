import pytest
from conftest import write_run

from selectnet_tf.experiment import runs

ROW = {"name": "a", "dataset": "cifar10-4minor", "arch": "simple", "method": "context", "preset": "paper", "seed": 0, "epochs": 20}


def test_rows_are_replaced_by_name_and_others_kept_to_the_letter(tmp_path):
    runs.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.1 + 0.2, "beta": None, "minor": (0, 2)})
    runs.write_row(tmp_path, "b", {"name": "b", "accuracy": 0.5, "extra": 1})
    runs.write_row(tmp_path, "a", {"name": "a", "accuracy": 1 / 3, "beta": 0.5})
    assert runs.row_of(tmp_path, "b") == {"name": "b", "accuracy": "0.5", "beta": "", "minor": "", "extra": "1"}
    assert float(runs.row_of(tmp_path, "a")["accuracy"]) == 1 / 3 and runs.names(tmp_path) == {"a", "b"}
    runs.write_row(tmp_path, "b")
    assert runs.names(tmp_path) == {"a"} and runs.row_of(tmp_path, "b") is None


def test_floats_and_tuples_are_written_whole(tmp_path):
    runs.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.1 + 0.2, "minor": (0, 2)})
    assert (tmp_path / "runs.csv").read_text() == "name,accuracy,minor\na,0.30000000000000004,0 2\n"


def test_taking_out_of_nothing_makes_no_file(tmp_path):
    runs.write_row(tmp_path, "a")
    assert not (tmp_path / "runs.csv").exists() and runs.read(tmp_path) == ([], [])


def test_a_new_row_leaves_damaged_lines_as_they_are(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("name,accuracy\na,0.5\nb,0.\nc\n")
    runs.write_row(tmp_path, "d", {"name": "d", "accuracy": 0.25, "seed": 1})
    assert path.read_text() == "name,accuracy,seed\na,0.5,\nb,0.,\nc\nd,0.25,1\n"


def test_changes_are_what_differs_from_the_preset(tmp_path):
    for seed, changes in enumerate(({}, {"augment": "none"}, {"minor": (0, 2)}, {"preset": "released"})):
        write_run(tmp_path, method="context", seed=seed, epochs=20, **changes)
    found, problems = runs.read(tmp_path)
    assert not problems and [run.changes for run in found] == [(), (("augment", "none"),), (("minor", "0 2"),), ()]
    assert [(run.seed, run.epochs, run.preset) for run in found][-1] == (3, 20, "released") and found[0].number("seconds") != 0


@pytest.mark.parametrize(
    ("arch", "preset", "named"),
    [("resnet20v2", "released", "resnet20"), ("resnet20", "released", "resnet20 v1"), ("resnet20v2", "paper", "resnet20v2")],
)
def test_a_run_has_the_arch_that_the_tables_name(arch, preset, named, tmp_path):
    runs.write_row(tmp_path, "a", {**ROW, "arch": arch, "preset": preset, "accuracy": 0.5})
    assert runs.read(tmp_path)[0][0].arch == named


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": "nan"}, "accuracy is 'nan', which is no share"),
        ({"accuracy": "55"}, "accuracy is '55', which is no share"),
        ({"seconds": "-1"}, "seconds is '-1', which is no amount"),
        ({"seed": "x"}, "seed and epochs are 'x' and '20'"),
        ({"method": "contxt"}, "method is 'contxt', but has to be one of"),
    ],
)
def test_a_row_that_can_not_be_is_named_by_its_line(change, said, tmp_path):
    runs.write_row(tmp_path, "a", {**ROW, "accuracy": 0.5, "seconds": 1.0})
    runs.write_row(tmp_path, "b", {**ROW, "accuracy": 0.5, "seconds": 1.0, **change, "name": "b"})
    found, (problem,) = runs.read(tmp_path)
    assert len(found) == 1 and problem.startswith(f"{tmp_path / 'runs.csv'}:3: {said}") and problem.endswith("; left out")


def test_a_foreign_column_is_named(tmp_path):
    runs.write_row(tmp_path, "a", {**ROW, "accuracy": 0.5, "mood": "good"})
    found, problems = runs.read(tmp_path)
    assert len(found) == 1 and problems == [f"{tmp_path / 'runs.csv'}:1: unknown column 'mood'"]


def test_an_empty_value_of_a_row_is_none(tmp_path):
    runs.write_row(tmp_path, "a", {**ROW, "accuracy": 0.5, "minor_roc_auc": float("nan")})
    assert runs.row_of(tmp_path, "a")["minor_roc_auc"] == "" and runs.read(tmp_path)[1] == []
