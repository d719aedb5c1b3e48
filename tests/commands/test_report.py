import csv
import re
import urllib.parse

import pandas as pd
import pytest
from conftest import write_run

from selectnet_tf.commands import report
from selectnet_tf.report import paper
from selectnet_tf.runs import store


@pytest.fixture
def results(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    return results


def write_runs(results, *runs):
    """One line a run: (accuracy, changes of its recipe). Returns the file's path."""
    results.mkdir(parents=True, exist_ok=True)
    for accuracy, changes in runs:
        write_run(results, accuracy, **changes)
    return results / "runs.csv"


def verdicts(results, preset="paper"):
    report.diff(results, preset, out=results / "diff.csv")
    with open(results / "diff.csv") as file:
        return {
            (r["table"], r["dataset"], r["arch"], r["method"], r["what"]): r
            for r in csv.DictReader(file)
        }


def test_diff_gives_mean_std_n_and_delta_of_full_plain_runs(results):
    runs = [(a, {"method": "context", "seed": s}) for s, a in enumerate((0.73, 0.74, 0.75))]
    write_runs(
        results,
        *runs,
        (0.1, {"method": "context", "epochs": 20}),
        (0.1, {"method": "context", "preset": "released"}),
    )
    assert report.diff(results) == 0
    found = verdicts(results)[("table1", "cifar10-4minor", "simple", "context", "accuracy")]
    columns = ("mean", "std", "n", "delta", "verdict")
    assert [found[c] for c in columns] == ["0.7400", "0.0100", "3", "-0.0003", "reproduced"]
    assert (found["low"], found["high"]) == ("-0.0251", "+0.0245")  # 4.303 * 0.01 / sqrt(3)
    assert [r["verdict"] for r in verdicts(results).values()].count("not run") == 66


@pytest.mark.parametrize(
    ("accuracy", "options", "code"),
    [(0.70, {}, 1), (0.70, {"tolerance": 0.05}, 0), (0.74, {"strict": True}, 1)],
)
def test_exit_code(accuracy, options, code, results):
    write_runs(results, *((accuracy, {"method": "context", "seed": seed}) for seed in range(2)))
    assert report.diff(results, **options) == code


def test_diff_prints_the_cells_that_were_run_and_writes_them_only_where_it_is_told(results, capsys):
    write_runs(results, (0.7424, {}))
    before = sorted(results.rglob("*"))
    assert report.diff(results, tolerance=0.02) == 0
    said = capsys.readouterr().out.splitlines()
    assert len([line for line in said if line.startswith("table")]) == 3  # header, Tables 1 and 4
    assert "1 one run" not in said[-1] and said[-1].endswith("2 one run, 65 not run")
    assert sorted(results.rglob("*")) == before
    assert {r["tolerance"] for r in verdicts(results).values()} == {"0.03"}


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((), "not run"),
        ((0.74,), "one run"),  # whatever it is
        ((0.74, 0.7405), "reproduced"),
        ((0.70, 0.78), "undecided"),  # a wide spread around the paper's number
        ((0.63, 0.635), "off"),
        ((0.55, 0.72), "undecided"),  # a wide spread far from it
        ((0.7203, 0.7203), "reproduced"),  # 0.02 below
        ((0.7053, 0.7053), "off"),  # 0.035 below
        ((0.704, 0.712), "undecided"),  # +-0.051
    ],
)
def test_a_verdict_is_that_of_the_difference_s_interval(values, verdict):
    assert (
        paper.Cell(
            "table1", "cifar10-4minor", "simple", "context", "accuracy", 0.7403, values
        ).verdict(0.03)
        == verdict
    )


def test_the_headline_is_the_mean_of_the_last_ten_epochs(results):
    write_run(results, 0.7, {"last10_accuracy": 0.65, "best_accuracy": 0.75}, method="context")
    report.diff(results)
    found = verdicts(results)[("table1", "cifar10-4minor", "simple", "context", "accuracy")]
    assert (found["mean"], found["last"], found["best"], found["verdict"]) == (
        "0.6500",
        "0.7000",
        "0.7500",
        "one run",
    )


def test_one_mean_is_above_another_where_the_interval_of_their_difference_says_so():
    cell = lambda *values: paper.Cell("table1", "", "", "", "", None, values)  # noqa: E731
    assert cell(0.6, 0.61, 0.62).above(cell(0.5, 0.51, 0.52)) == 1  # 0.1 +- 0.023
    assert cell(0.5, 0.51, 0.52).above(cell(0.6, 0.61, 0.62)) == -1
    assert (
        cell(0.6, 0.61, 0.62).above(cell(0.59, 0.60, 0.61))
        == 0
        == cell(0.9).above(cell(0.1))
        == cell().above(cell())
    )
    assert cell(0.6, 0.6).above(cell(0.5, 0.5)) == 1 and cell(0.6, 0.6).above(cell(0.6, 0.6)) == 0


def test_released_compares_v2_networks(results):
    write_runs(
        results,
        (0.7895, {"arch": "resnet20v2", "preset": "released"}),
        (0.1, {"arch": "resnet20", "preset": "released"}),
    )
    assert report.diff(results, "released") == 0
    found = verdicts(results, "released")
    assert (
        found[("table1", "cifar10-4minor", "resnet20", "selectnet", "accuracy")]["mean"] == "0.7895"
    )


def test_table2_reads_f1_and_table4_the_schedule(results):
    both = [
        (a, {**changes, "seed": seed})
        for seed in (0, 1)
        for a, changes in ((0.7424, {}), (0.7328, {"lambda_schedule": "0.4:0.6"}))
    ]
    path = write_runs(results, *both)
    for name in pd.read_csv(path)["name"]:
        pd.DataFrame({"class": range(10), "f1": 0.74, "minor": 0, "as_0": 1}).to_csv(
            results / "runs" / name / "classes.csv", index=False
        )
    assert report.diff(results) == 1  # class 2's 0.54 is not 0.74
    found = verdicts(results)
    assert (
        found[("table2", "cifar10-4minor", "simple", "selectnet", "F1 of class 0")]["verdict"]
        == "reproduced"
    )
    assert (
        found[("table2", "cifar10-4minor", "simple", "selectnet", "F1 of class 2")]["verdict"]
        == "off"
    )
    assert (
        found[("table4", "cifar10-4minor", "simple", "selectnet", "0.4:0.6")]["verdict"]
        == "reproduced"
    )


def judged(results, change):
    """The claims' verdicts for runs that have the paper's own accuracies, but for `change` (method -> a shift)."""
    with open(paper.NUMBERS / "table1.csv") as file:
        rows = [
            (
                float(r["value"]) + change.get(r["method"], 0),
                {"seed": seed, **{k: r[k] for k in ("dataset", "arch", "method")}},
            )
            for r in csv.DictReader(file)
            for seed in range(2)
        ]
    write_runs(results, *rows)
    return [
        verdict for _, verdict in paper.claims(paper.cells(results, store.read_runs(results)[0]))
    ]


def test_claims_hold_on_the_paper_s_numbers_and_fail_on_others(results):
    assert judged(results, {}) == ["holds", "holds", "holds", "holds", "undecided", "undecided"]
    found = judged(results, {"selectnet": -0.1, "imbalanced": 0.3})
    assert [found[i] for i in (0, 1, 3)] == ["fails"] * 3


def test_one_counterexample_decides_a_claim_about_every_column(results):
    write_runs(
        results,
        *(
            (a, {"method": m, "seed": s})
            for m, a in (("context", 0.74), ("selectnet", 0.73))
            for s in range(2)
        ),
    )
    found = [
        verdict for _, verdict in paper.claims(paper.cells(results, store.read_runs(results)[0]))
    ]
    assert found == ["undecided", "fails", *["undecided"] * 4]


def test_a_row_that_can_t_be_is_reported_by_line_and_the_others_count(results, capsys):
    path = write_runs(results, *((0.74, {"method": "context", "seed": s}) for s in range(3)))
    header, line, *others = path.read_text().splitlines()
    path.write_text(
        "\n".join([header, line, line.replace("0.74", "nan").replace("s0", "s9"), *others]) + "\n"
    )
    assert report.diff(results) == 1 and "runs.csv:3: accuracy is 'nan'" in capsys.readouterr().err
    assert (
        verdicts(results)[("table1", "cifar10-4minor", "simple", "context", "accuracy")]["n"] == "3"
    )


def test_diff_says_where_the_paper_contradicts_itself(results, capsys):
    report.diff(results)
    said = [line for line in capsys.readouterr().out.splitlines() if "Table 1 says" in line]
    assert [line.split()[0] for line in said] == ["contradicts", "agrees", "agrees"]
    assert "oversampling: Table 1 says 0.5744, Table 2's F1 allow 0.29" in said[0]


def test_results_elsewhere_are_compared_with_the_package_s_paper(tmp_path):
    write_runs(tmp_path, (0.74, {"method": "context"}))
    assert report.diff(tmp_path) == 0
    assert sum(r["n"] == "1" for r in verdicts(tmp_path).values()) == 1


FILES = {
    "epochs.csv": "epoch,val_accuracy,val_minor_accuracy\n1,0.4,0.3\n2,0.6,0.5\n",
    "classes.csv": "class,name,minor,f1,as_0,as_1\n0,a,1,0.5,3,1\n1,b,0,0.7,1,5\n",
    "selection.csv": "epoch,labeled_right,labeled_wrong_minor,labeled_major,unlabeled_right,unlabeled_wrong_minor,unlabeled_major,warning\n"
    "10,1,0,2,5,1,0,none\n",
    "picks.csv": "epoch,label,picked,wrong,score,index,truth\n10,0,2,1,0.9,3,0\n10,0,2,1,0.8,7,1\n",
}


@pytest.fixture
def two_runs(tmp_path):
    """A folder of results with two runs on images whose folder's path has slashes; their files; their folders."""
    folders = []
    for method in ("context", "self_paced"):
        places = {
            "labeled_dir": "/data/A b/" + "ა" * 70 + "\udce9",
            "unlabeled_dir": "/data/" + "long/" * 60,
        }
        recipe = write_run(
            tmp_path,
            dataset="folder",
            method=method,
            epochs=20,
            **places,
            extra={"seconds": 0.0, "minor_accuracy": 0.5},
        )
        folders.append(tmp_path / "runs" / recipe.name)
        for name, text in FILES.items():
            (folders[-1] / name).write_text(text)
    return tmp_path, folders


ALL = ["tables", "figures", "html"]


def test_paths_in_recipes_and_a_run_of_no_seconds_are_reported(two_runs):
    results, _ = two_runs
    assert report.write(results, ALL) == 0
    drawn = sorted(path.name for path in results.glob("*.png"))
    assert len(drawn) == 4 and all(len(name) < 255 for name in drawn)
    page = (results / "report.html").read_text()
    shown = [urllib.parse.unquote(name) for name in re.findall(r'<img src="([^"]+)"', page)]
    assert sorted(set(shown)) == drawn and "data:image/png" not in page and "picks" in page


@pytest.mark.parametrize(
    ("file", "damaged"),
    [
        ("epochs.csv", lambda text: text[: len(text) // 2]),
        ("classes.csv", lambda text: text.replace("1", "one")),
        ("selection.csv", lambda text: text.replace("\n", '\n"', 1)),
        ("picks.csv", lambda text: text + "\udcff\0\n"),
    ],
)
def test_one_damaged_file_is_named_and_the_rest_is_drawn(file, damaged, two_runs, capsys):
    results, (folder, _) = two_runs
    (folder / file).write_text(damaged(FILES[file]), errors="surrogateescape")
    code = report.write(results, ["tables", "html"])
    said = capsys.readouterr().err
    assert code == 1 and said.startswith(f"error: {folder / file}:") and len(said.splitlines()) == 1
    assert len(list(results.glob("*.png"))) == 4 and (results / "report.html").exists()
