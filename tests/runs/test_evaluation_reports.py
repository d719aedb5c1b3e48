from types import SimpleNamespace

import numpy as np
import pytest

from selectnet_tf._csv_files import read_csv
from selectnet_tf.runs import evaluation

TRUTH = np.array([0, 0, 1, 1, 1])
PROBS = np.array([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95], [0.45, 0.55], [0.7, 0.3]])


def test_accuracies_come_with_n_and_an_interval():
    assert evaluation.describe_accuracy(TRUTH, PROBS, (0,)) == [
        "all      0.600  3 of 5 correct, 95% interval 0.23 to 0.88",
        "minor    0.500  1 of 2 correct, 95% interval 0.09 to 0.91",
        "major    0.667  2 of 3 correct, 95% interval 0.21 to 0.94",
    ]
    assert evaluation.describe_accuracy(TRUTH[2:], PROBS[2:], (0,))[1] == "minor    no test images"


def test_the_files(tmp_path):
    listing = [
        ("file", "digest", "part", "class", "why"),
        *((f"{i}.png", "", "test" if i % 2 else "labeled", "", "") for i in range(10)),
    ]
    evaluation.write_test_reports(
        tmp_path, SimpleNamespace(names=("cat", "dog"), y_test=TRUTH, listing=listing), PROBS
    )
    lines = read_csv(tmp_path / "test_predictions.csv")
    assert (
        lines[1]
        == {"file": "3.png", "truth": "cat", "predicted": "dog", "p(cat)": "0.4", "p(dog)": "0.6"}
        and len(lines) == 5
    )
    assert read_csv(tmp_path / "confusion.csv") == [
        {"truth": "cat", "cat": "1", "dog": "1"}, {"truth": "dog", "cat": "1", "dog": "2"},
    ]  # fmt: skip
    table = {
        (line["class"], line["threshold"]): line for line in read_csv(tmp_path / "thresholds.csv")
    }
    assert table["cat", "0.5"] == {
        "class": "cat",
        "threshold": "0.5",
        "taken": "2",
        "right": "1",
        "precision": "0.5",
        "recall": "0.5",
    }
    assert table["cat", "0.99"]["precision"] == "" and table["dog", "0.1"]["recall"] == "1.0"
    assert read_csv(tmp_path / "calibration.csv")[0] == {
        "class": "cat", "share": "0.4", "mean_probability": "0.5", "brier": "0.213", "calibration_error": "0.2",
    }  # fmt: skip


def test_a_precision_is_a_threshold_that_reached_it_on_the_test_set(tmp_path):
    evaluation.write_test_reports(
        tmp_path, SimpleNamespace(names=("cat", "dog"), y_test=TRUTH, listing=None), PROBS
    )
    assert evaluation.find_threshold(tmp_path, "dog", 0.6) == (
        0.02, "dog from probability 0.02: on the test set, 3 of 5 are correct, recall 100%",
    )  # fmt: skip
    assert evaluation.find_threshold(tmp_path, "cat", 0.9) == (
        0.75, "cat from probability 0.75: on the test set, 1 of 1 are correct, recall 50%",
    )  # fmt: skip
    evaluation.write_test_reports(
        tmp_path, SimpleNamespace(names=("cat", "dog"), y_test=TRUTH, listing=None), PROBS[:, ::-1]
    )
    with pytest.raises(
        ValueError,
        match=r"no threshold reached precision 0.9 for cat on .* \(at most 0.50, from 0.6\): pass a lower",
    ):
        evaluation.find_threshold(tmp_path, "cat", 0.9)
    with pytest.raises(
        ValueError,
        match=r"needs the run's thresholds.csv beside its model, but .* has none: pass --threshold",
    ):
        evaluation.find_threshold(tmp_path / "elsewhere", "cat", 0.9)
