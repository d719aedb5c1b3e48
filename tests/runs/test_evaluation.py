import numpy as np
import pytest
from imblearn.metrics import geometric_mean_score
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    precision_recall_curve,
    recall_score,
    roc_auc_score,
)

from selectnet_tf.runs import evaluation

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


def test_confusion_has_true_classes_in_rows():
    assert evaluation.count_confusion(TRUTH, PREDICTED, 3).tolist() == [
        [2, 1, 0],
        [1, 1, 0],
        [1, 0, 2],
    ]


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


@pytest.mark.parametrize(("n", "classes", "decimals"), [(500, 4, 7), (500, 4, 1), (12, 3, 0)])
def test_ranking_is_scikit_learn_s_to_the_last_bit(n, classes, decimals):
    rng = np.random.default_rng(n)
    truth = np.arange(n) % classes
    probs = rng.dirichlet(np.ones(classes), n)
    probs[np.arange(n), truth] += rng.random(n) * 0.4
    probs = probs.round(decimals).astype(np.float32)
    found = evaluation.rank_by_class(truth, probs)
    for c in range(classes):
        precisions, recalls, _ = precision_recall_curve(truth == c, probs[:, c])
        assert found["average_precision"][c] == average_precision_score(truth == c, probs[:, c])
        assert found["roc_auc"][c] == roc_auc_score(truth == c, probs[:, c])
        assert found["recall_at_90"][c] == recalls[:-1][precisions[:-1] >= 0.9].max(initial=0.0)
