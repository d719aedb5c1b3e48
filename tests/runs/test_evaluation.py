from types import SimpleNamespace

import numpy as np
import pytest
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import f1_score, recall_score

from selectnet_tf._csv_files import read_csv
from selectnet_tf.runs import evaluation, outputs

TRUTH = np.array([0, 0, 0, 1, 1, 2, 2, 2])
PREDICTED = np.array([0, 0, 1, 1, 0, 2, 2, 0])  # recall 2/3, 1/2, 2/3; precision 2/4, 1/2, 2/2


def test_summary():
    found = evaluation.summarize(TRUTH, PREDICTED, minor=[1], classes=3)
    f1 = [2 * 0.5 * (2 / 3) / (0.5 + 2 / 3), 0.5, 2 * 1 * (2 / 3) / (1 + 2 / 3)]
    assert found["accuracy"] == 5 / 8
    assert (found["minor_accuracy"], found["major_accuracy"]) == (0.5, 4 / 6)
    assert found["macro_f1"] == pytest.approx(np.mean(f1))
    assert found["balanced_accuracy"] == pytest.approx((2 / 3 + 1 / 2 + 2 / 3) / 3)
    assert found["g_mean"] == pytest.approx((2 / 3 * 1 / 2 * 2 / 3) ** (1 / 3))


def test_a_class_without_a_test_sample_is_in_no_mean():
    """As scikit-learn and imbalanced-learn have it."""
    for predicted in (TRUTH, PREDICTED, np.where(PREDICTED == 1, 3, PREDICTED)):
        found = evaluation.summarize(TRUTH, predicted, minor=[1], classes=5)
        assert found["macro_f1"] == pytest.approx(f1_score(TRUTH, predicted, average="macro"))
        assert found["balanced_accuracy"] == pytest.approx(
            recall_score(TRUTH, predicted, labels=[0, 1, 2], average="macro", zero_division=0)
        )
        assert found["g_mean"] == pytest.approx(
            geometric_mean_score(TRUTH, predicted, labels=[0, 1, 2])
        )
    assert (
        evaluation.summarize(TRUTH, TRUTH, [1], 5)["g_mean"]
        == evaluation.summarize(TRUTH, TRUTH, [1], 5)["macro_f1"]
        == 1
    )


def test_a_class_never_predicted_counts_as_zero():
    found = evaluation.score_by_class(np.array([0, 1]), np.array([0, 0]), 2)
    assert found["f1"].tolist() == [pytest.approx(2 / 3), 0] and found["count"].tolist() == [1, 1]
    assert evaluation.summarize(np.array([0, 1]), np.array([0, 0]), [1], 2)["g_mean"] == 0


def test_confusion_has_true_classes_in_rows(tmp_path):
    names, probs = ("a", "b", "c"), np.eye(3)[PREDICTED]
    task = SimpleNamespace(names=names, y_test=TRUTH, y_labeled=TRUTH, minor=(0,), listing=None)
    evaluation.write_test_reports(tmp_path, task, probs)
    written = read_csv(tmp_path / "confusion.csv")
    table = outputs.make_class_table(TRUTH, probs, task)[["as_0", "as_1", "as_2"]]
    for rows in ([[int(row[name]) for name in names] for row in written], table.values.tolist()):
        assert rows == [[2, 1, 0], [1, 1, 0], [1, 0, 2]]


def test_picks_by_kind():
    truth = np.array([0, 1, 5, 0, 1, 6, 0])
    predicted = np.array([0, 0, 0, 0, 0, 1, 1])
    labeled = np.array([True, True, True, False, False, False, False])
    assert evaluation.count_picks(truth, predicted, labeled, minor=[0, 1]) == {
        "labeled_right": 1, "labeled_wrong_minor": 1, "labeled_major": 1,
        "unlabeled_right": 1, "unlabeled_wrong_minor": 2, "unlabeled_major": 1, "precision": 0.25,
    }  # fmt: skip


def test_precision_of_nothing_is_nan():
    assert np.isnan(
        evaluation.count_picks(np.array([0]), np.array([0]), np.array([True]), [0])["precision"]
    )


def test_ranking_by_hand():
    """Class 0 is ranked right, wrong, then two ties: right and wrong; of class 1 there is none."""
    truth = np.array([0, 2, 0, 2])
    found = evaluation.rank_by_class(
        truth, np.array([[0.9, 0, 0.1], [0.8, 0, 0.2], [0.5, 0, 0.5], [0.5, 0, 0.5]])
    )
    assert found["average_precision"][0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    assert found["roc_auc"][0] == pytest.approx(
        (2 + 0.5) / 4
    )  # of four pairs, two are in order and one is tied
    assert found["recall_at_90"][0] == 0.5 and found["recall_at_90"][2] == 0.0
    assert all(np.isnan(column[1]) for column in found.values())


CLASSES = np.array([0, 0, 1, 1, 1])
PROBS = np.array([[0.9, 0.1], [0.4, 0.6], [0.05, 0.95], [0.45, 0.55], [0.7, 0.3]])


def test_accuracies_come_with_n_and_an_interval():
    assert evaluation.describe_accuracy(CLASSES, PROBS, (0,)) == [
        "all      0.600  3 of 5 correct, 95% interval 0.23 to 0.88",
        "minor    0.500  1 of 2 correct, 95% interval 0.09 to 0.91",
        "major    0.667  2 of 3 correct, 95% interval 0.21 to 0.94",
    ]
    assert (
        evaluation.describe_accuracy(CLASSES[2:], PROBS[2:], (0,))[1] == "minor    no test images"
    )


def test_the_files(tmp_path):
    listing = [
        ("file", "digest", "part", "class", "why"),
        *((f"{i}\udce9.png", "", "test" if i % 2 else "labeled", "", "") for i in range(10)),
    ]
    evaluation.write_test_reports(
        tmp_path, SimpleNamespace(names=("cat", "dog"), y_test=CLASSES, listing=listing), PROBS
    )
    lines = read_csv(tmp_path / "test_predictions.csv")
    assert lines[1] == {
        "file": "3\udce9.png",
        "truth": "cat",
        "predicted": "dog",
        "p(cat)": "0.4",
        "p(dog)": "0.6",
    }
    assert len(lines) == 5
    assert read_csv(tmp_path / "confusion.csv") == [
        {"truth": "cat", "cat": "1", "dog": "1"}, {"truth": "dog", "cat": "1", "dog": "2"},
    ]  # fmt: skip
    table = {
        (line["class"], line["threshold"]): line for line in read_csv(tmp_path / "thresholds.csv")
    }
    assert ",".join(table["cat", "0.5"].values()) == "cat,0.5,2,1,0.5,0.5"
    assert table["cat", "0.99"]["precision"] == "" and table["dog", "0.1"]["recall"] == "1.0"
    assert read_csv(tmp_path / "calibration.csv")[0] == {
        "class": "cat", "share": "0.4", "mean_probability": "0.5", "brier": "0.213", "calibration_error": "0.2",
    }  # fmt: skip


def test_a_precision_is_a_threshold_that_reached_it_on_the_test_set(tmp_path):
    evaluation.write_test_reports(
        tmp_path, SimpleNamespace(names=("cat", "dog"), y_test=CLASSES, listing=None), PROBS
    )
    assert evaluation.find_threshold(tmp_path, "dog", 0.6) == (
        0.02, "dog from probability 0.02: on the test set, 3 of 5 are correct, recall 100%",
    )  # fmt: skip
    assert evaluation.find_threshold(tmp_path, "cat", 0.9) == (
        0.75, "cat from probability 0.75: on the test set, 1 of 1 are correct, recall 50%",
    )  # fmt: skip
    evaluation.write_test_reports(
        tmp_path,
        SimpleNamespace(names=("cat", "dog"), y_test=CLASSES, listing=None),
        PROBS[:, ::-1],
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
