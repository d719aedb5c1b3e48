import pathlib

import pytest
from conftest import write_run

from selectnet_tf._csv_files import read_csv
from selectnet_tf.report import paper, tables
from selectnet_tf.runs import store

HOME = pathlib.Path(__file__).parent.parent.parent


@pytest.fixture
def results(tmp_path):
    """Three full seeds of context, one of selectnet, a short one, one with changed settings, the oracle."""
    made = [(0.73 + 0.01 * seed, {"method": "context", "seed": seed}) for seed in range(3)]
    made += [(0.75, {}), (0.8, {"method": "oracle"}), (0.55, {"epochs": 20})]
    made += [(0.5, {"method": "context", "epochs": 20}), (0.6, {"augment": "none"})]
    extra = {"minor_accuracy": 0.5, "major_accuracy": 0.75, "macro_f1": 0.625}
    extra |= {"best_accuracy": 0.76, "seconds": 1800.0, "selection_seconds": 90.0}
    for accuracy, changes in made:
        write_run(tmp_path, accuracy, extra, **changes)
    return tmp_path


def test_runs_of_other_lengths_and_settings_stand_apart(results):
    tables.write(results, store.read_runs(results)[0])
    sections = (results / "table1.md").read_text().split("\n## ")
    assert [s.splitlines()[0] for s in sections[1:]] == [
        "Preset paper, 200 epochs", "Preset released, 200 epochs", "Preset paper, 200 epochs, augment=none", "Preset paper, 20 epochs",
    ]  # fmt: skip
    full, released, other, short = sections[1:]
    assert (
        "| `context` | 0.7400 ± 0.0100 (3 runs)<br>paper 0.7403, -0.0003 | not run<br>paper 0.7881 |"
        in full
    )
    assert "| `selectnet` | 0.7500 (one run)<br>paper 0.7424, +0.0076 |" in full
    assert "| `oracle` | 0.8000 (one run) |" in full
    assert "0.7400" not in released and released.count("not run") == 30
    assert "| `selectnet` | 0.6000 (one run) |" in other
    assert "paper 0" not in other + short
    assert "| `context` | 0.5000 (one run) |" in short


def test_preset_robust_stands_beside_the_paper_s_numbers_and_never_among_them(results):
    write_run(results, 0.7, {"minor_accuracy": 0.6, "major_accuracy": 0.75}, preset="robust")
    found = store.read_runs(results)[0]
    tables.write(results, found)
    robust = next(
        s
        for s in (results / "table1.md").read_text().split("\n## ")
        if s.startswith("Preset robust, 200 epochs\n")
    )
    assert "| `candidates` | 0.7000 (one run) |" in robust
    assert "paper 0" not in robust
    assert "not run" not in robust
    assert {
        c.values
        for c in paper.full(results, found, "paper")
        if c.method == "selectnet" and c.table == "table1"
    } == {(), (0.75,)}


def test_the_csv_says_the_same_in_long_form(results):
    tables.write(results, store.read_runs(results)[0])
    rows = read_csv(results / "table1.csv")
    found = [
        r
        for r in rows
        if (r["preset"], r["epochs"], r["changes"], r["arch"], r["method"])
        == ("paper", "200", "", "simple", "context")
    ]
    assert [(r["paper"], r["mean"], r["std"], r["n"], r["delta"]) for r in found] == [
        ("0.7403", "0.7400", "0.0100", "3", "-0.0003")
    ]
    assert {(r["epochs"], r["changes"]) for r in rows if r["n"] == "1"} == {
        ("200", ""),
        ("20", ""),
        ("200", "augment=none"),
    }


def test_a_lambda_schedule_is_a_cell_of_table_4(results):
    write_run(results, 0.7, lambda_schedule="0.4:0.6")
    tables.write(results, store.read_runs(results)[0])
    assert (
        "| `selectnet` | 0.7500 (one run)<br>paper 0.7424, +0.0076 | 0.7000 (one run)<br>paper 0.7328, -0.0328 | not run<br>paper 0.7109 |"
        in ((results / "table4.md").read_text())
    )


def test_a_lambda_schedule_is_no_repeat_of_the_constant_one(results):
    """Its run was averaged into the figures, and drawn as another seed."""
    write_run(results, 0.7, lambda_schedule="0.4:0.6")
    found = paper.comparisons(store.read_runs(results)[0])
    schedules = [
        {dict(run.changes).get("lambda_schedule") for run in members} for *_, members in found
    ]
    assert all(len(one) == 1 for one in schedules)
    assert {"0.4:0.6"} in schedules
    assert found[0][0].title == "preset paper, 200 epochs"


def test_data_sets_that_the_paper_does_not_have_are_columns_of_table_1(results):
    write_run(results, 0.9, method="context", dataset="digits-4minor")
    tables.write(results, store.read_runs(results)[0])
    head = (
        (results / "table1.md").read_text().split("## Preset paper, 200 epochs\n\n")[1].splitlines()
    )
    assert head[0].endswith("| digits-4minor simple |")
    assert any(line.startswith("| `context`") and "| 0.9000 (one run) |" in line for line in head)
    assert "digits" not in (results / "table2.md").read_text() + (results / "table3.md").read_text()


def test_groups_put_full_and_plain_runs_first(results):
    found = list(paper.groups(store.read_runs(results)[0]))
    assert [(g.epochs, g.changes) for g in found] == [
        (200, ()),
        (200, (("augment", "none"),)),
        (20, ()),
    ]
    assert found[1].slug == "paper_200_augment-none"


@pytest.mark.parametrize("table", ["table1", "table3", "table4"])
def test_the_repository_s_tables_are_generated_from_its_runs_csv(table, tmp_path):
    tables.write(tmp_path, store.read_runs(HOME / "results")[0])
    for suffix in (".csv", ".md"):
        assert (tmp_path / f"{table}{suffix}").read_text() == (
            HOME / "results" / f"{table}{suffix}"
        ).read_text()
