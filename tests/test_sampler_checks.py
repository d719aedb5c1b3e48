"""The checks of imbalanced-learn and scikit-learn for samplers and classifiers."""

import pytest
import sklearn.utils.estimator_checks
from imblearn.utils.estimator_checks import parametrize_with_checks
from sklearn.linear_model import LogisticRegression

import selectnet_tf as sn

pytestmark = pytest.mark.slow


@pytest.mark.filterwarnings("ignore:y has no unlabeled sample")
@parametrize_with_checks([sn.SelectionSampler(LogisticRegression(), sn.Context(0.6))])
def test_the_sampler_is_one_by_imbalanced_learn_s_checks(estimator, check):
    check(estimator)


@pytest.mark.filterwarnings("ignore:y has no unlabeled sample")
@sklearn.utils.estimator_checks.parametrize_with_checks(
    [sn.SelectionClassifier(LogisticRegression())],
    expected_failed_checks=lambda _: {
        "check_classifiers_classes": "it has a class -1, which means unlabeled here"
    },
)
def test_the_classifier_is_one_by_scikit_learn_s_checks(estimator, check):
    check(estimator)
