"""scikit-learn's classifiers, imbalanced-learn's conventions."""

import copy
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pandas
import pytest
from imblearn.pipeline import Pipeline
from scipy import sparse
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_digits, make_classification
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

import selectnet_tf as sn

DIGITS, CLASSES = load_digits(return_X_y=True)


def semi_supervised(seed=0):
    """Digits with 8 labeled zeros and sixes, the others' labels -1, in a random order; (X, y, true classes)."""
    xl, yl, xu, yu = sn.make_imbalance(
        DIGITS[:1000], CLASSES[:1000], sampling_strategy={0: 8, 6: 8}, random_state=seed
    )
    order = np.random.default_rng(1).permutation(len(yl) + len(yu))
    y = np.concatenate([yl, np.full(len(yu), -1)])[order]
    return np.concatenate([xl, xu])[order], y, np.concatenate([yl, yu])[order]


def sampler(**options):
    options = {"sampling_strategy": [0, 6], "rounds": 3} | options
    return sn.SelectionSampler(
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
        sn.Context(0.6),
        **options,
    )


@pytest.mark.parametrize("frame", [False, True])
def test_it_adds_unlabeled_samples_of_the_minor_classes(frame):
    x, y, truth = semi_supervised()
    made = sampler()
    more, classes = made.fit_resample(pandas.DataFrame(x) if frame else x, y)
    index = made.sample_indices_
    assert isinstance(more, pandas.DataFrame) == frame
    assert np.array_equal(np.asarray(more), x[index])
    labeled = y[index] >= 0
    assert np.array_equal(classes[labeled], y[index][labeled])
    assert set(index[labeled]) == set(np.flatnonzero(y >= 0))  # all of D stays
    added = classes[~labeled]
    assert len(added) > 100
    assert set(added) == {0, 6}
    assert (added == truth[index][~labeled]).mean() > 0.95
    assert len(made.history_) == 3


def test_the_estimator_stays_unfitted():
    x, y, _ = semi_supervised()
    made = sampler(rounds=1).fit(x, y)
    assert not hasattr(made.estimator[-1], "coef_")


def test_minor_classes_by_imbalanced_learn_s_words():
    x, y, _ = semi_supervised()
    names = np.array([*"abcdefghij"])[y].astype(object)
    names[y < 0] = -1
    made = sampler(sampling_strategy=["g"], rounds=1)
    _, classes = made.fit_resample(x, names)
    assert set(classes[np.asarray(y)[made.sample_indices_] < 0]) == {"g"}
    made = sampler(sampling_strategy="auto", rounds=1)
    made.fit_resample(x, y)
    assert len(set(made.history_[0].target)) > 2  # all but the largest class
    with pytest.raises(ValueError, match="minor class 77 has no labeled sample"):
        sampler(sampling_strategy=[77]).fit_resample(x, y)
    with pytest.warns(UserWarning, match="no unlabeled sample"):
        assert np.array_equal(sampler().fit_resample(x[y >= 0], y[y >= 0])[0], x[y >= 0])


def two_classes():
    """(X, y, true classes): two clear classes, 8 + 80 of 400 labeled, the others -1."""
    x, truth = make_classification(400, 8, weights=[0.8], random_state=0, flip_y=0, class_sep=2)
    labeled = np.r_[np.flatnonzero(truth == 1)[:8], np.flatnonzero(truth == 0)[:80]]
    y = np.full(400, -1)
    y[labeled] = truth[labeled]
    return x, y, truth


def simple(rule=None, **options):
    return sn.SelectionSampler(LogisticRegression(), rule or sn.Context(0.6), **options)


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.astype(float),
        lambda y: np.where(y < 0, np.nan, y),
        lambda y: np.where(y < 0, None, y),
        lambda y: np.where(y < 0, "-1", y.astype(str)),
        lambda y: [None if c < 0 else int(c) for c in y],
        lambda y: pandas.Series(np.where(y < 0, np.nan, y)),
        lambda y: pandas.Series(np.where(y < 0, None, y)),
        lambda y: np.where(y < 0, None, y > 0),
        lambda y: pandas.Series(y, dtype="Int64").mask(y < 0),
        lambda y: np.array([[0, 0], [1, 0], [0, 1]])[np.where(y < 0, 0, y + 1)],
    ],
)
def test_unlabeled_is_minus_one_nan_or_none_in_any_array(change):
    x, y, _ = two_classes()
    expected = simple()
    expected.fit_resample(x, y)
    made = simple()
    _, classes = made.fit_resample(x, change(y))
    assert np.array_equal(made.sample_indices_, expected.sample_indices_)
    assert len(classes) == len(made.sample_indices_)
    if np.ndim(classes) == 1:
        # which refuses numbers that are objects
        LogisticRegression().fit(x[made.sample_indices_], classes)
        classifier = sn.SelectionClassifier(LogisticRegression()).fit(x, change(y))
        assert classifier.score(x[y >= 0], np.asarray(change(y))[y >= 0].tolist()) > 0.9


@pytest.mark.parametrize("names", [np.array([3, 7]), np.array(["ant", "bee"])])
def test_capped_s_minor_classes_are_the_classes_themselves(names):
    """They were taken for numbers from 0, so that another class was capped, or none."""
    x, y, _ = two_classes()
    labels = np.where(y < 0, None, names[np.maximum(y, 0)])
    rule = sn.Capped(sn.SelfPaced(0.6), alpha=0, most=5, minor=[names[1]])
    strategy = list(names)
    plain, capped = (
        simple(r, sampling_strategy=strategy).fit(x, labels) for r in (rule.rule, rule)
    )
    before, after = (
        [int((made.history_[0].target == name).sum()) for name in names] for made in (plain, capped)
    )
    assert min(before) > 5 and after == [before[0], 5] and rule.minor == [names[1]]
    with pytest.raises(
        ValueError, match="minor class 'cat' has no labeled sample: the classes are "
    ):
        simple(sn.Capped(sn.Context(), minor=["cat"]), sampling_strategy=strategy).fit(x, labels)


@pytest.mark.parametrize("kind", [list, np.array, pandas.Index, pandas.Series])
def test_minor_classes_come_in_any_sequence(kind):
    x, y, _ = two_classes()
    expected = simple(sampling_strategy=[0]).fit(x, y).sample_indices_
    assert np.array_equal(simple(sampling_strategy=kind([0])).fit(x, y).sample_indices_, expected)
    for one in (1, {1}, [1], np.array([1])):
        rule = sn.Capped(sn.SelfPaced(0.6), most=5).set_params(minor=one)  # as a search does
        capped = simple(rule).fit(x, y)
        assert (capped.history_[0].target == 1).sum() == 5


class Plain(BaseEstimator):
    """A classifier that has nothing but `fit` and `predict_proba`."""

    def fit(self, X, y):
        self.inner = LogisticRegression().fit(X, y)
        return self

    def predict_proba(self, X):
        return self.inner.predict_proba(X)


class Reversed(LogisticRegression):
    """A classifier whose columns are in another order, as some of other libraries."""

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y)
        self.classes_ = self.classes_[::-1]
        return self

    def predict_proba(self, X):
        self.classes_ = self.classes_[::-1]
        found = super().predict_proba(X)[:, ::-1]
        self.classes_ = self.classes_[::-1]
        return found


@pytest.mark.parametrize("estimator", [Plain(), Reversed()])
def test_a_classifier_needs_predict_proba_alone_and_names_its_columns(estimator):
    x, y, _ = two_classes()
    made, expected = (
        sn.SelectionClassifier(each, sn.Context(0.6)).fit(x, y)
        for each in (estimator, LogisticRegression())
    )
    assert np.array_equal(made.sampler_.sample_indices_, expected.sampler_.sample_indices_)
    assert expected.sampler_.history_[0].candidates > 0
    columns = np.argsort(made.classes_)
    assert np.allclose(made.predict_proba(x)[:, columns], expected.predict_proba(x))


def test_a_refitted_classifier_knows_the_columns_of_its_last_fit():
    x, y, _ = two_classes()
    made = sn.SelectionClassifier(LogisticRegression()).fit(
        pandas.DataFrame(x, columns=[*"abcdefgh"]), y
    )
    assert made.feature_names_in_.tolist() == [*"abcdefgh"]
    assert not hasattr(made.fit(x, y), "feature_names_in_")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampling_strategy": None}, "no class is minor, .* name the minor classes in sampling_strategy"),
        ({"rounds": 2.0}, "rounds is 2.0, but has to be a whole number"),
        ({"rule": "context"}, "rule is 'context', but has to be a callable"),
        ({"rule": sn.Context}, "rule is the class Context: make an instance"),
        ({"rule": sn.Capped(sn.SelectNet(inputs="penultimate"))}, "SelectNet reads a network's features, .*: give inputs='probs.loss'$"),
    ],
)  # fmt: skip
def test_what_no_sampler_can_take_is_said(options, words):
    x, y, _ = two_classes()
    with pytest.raises(ValueError, match=words):
        sn.SelectionSampler(LogisticRegression(), **options).fit(x, y)


def test_what_comes_back_is_of_the_kind_that_was_given():
    x, y, _ = two_classes()
    frame = pandas.DataFrame(x, columns=[*"abcdefgh"], index=range(1000, 1400)).assign(a="text")
    made = sn.SelectionSampler(
        make_pipeline(FunctionTransformer(lambda f: f.drop(columns="a")), LogisticRegression()),
        sn.Context(0.6),
    )
    more, classes = made.fit_resample(frame, pandas.Series(y, frame.index, name="fraud"))
    assert made.feature_names_in_.tolist() == [*"abcdefgh"]
    assert made.n_features_in_ == 8
    assert made.get_feature_names_out()[0] == "a"
    assert more.index.equals(classes.index)
    assert more.index.tolist() == (1000 + made.sample_indices_).tolist()
    assert classes.name == "fraud" and classes.dtype == y.dtype and set(more["a"]) == {"text"}
    one_hot = pandas.DataFrame(np.array([[0, 0], [1, 0], [0, 1]])[y + 1], frame.index)
    assert made.fit_resample(frame, one_hot)[1].index.equals(more.index)
    for kind in ("csr", "csc", "coo", "lil"):
        more, _ = simple().fit_resample(sparse.csr_matrix(x).asformat(kind), y)
        assert more.format == kind and more.shape[0] == len(simple().fit_resample(x, y)[1])
    more, classes = simple().fit_resample(x.tolist(), y.tolist())
    assert type(more) is type(classes) is list and type(classes[0]) is int


def test_strategies_name_the_minor_classes_or_how_many_of_them():
    x, y, _ = two_classes()
    count = lambda strategy: (simple(sampling_strategy=strategy).fit_resample(x, y)[1] == 1).sum()  # noqa: E731
    free = count("auto")
    assert free == count("minority") == count([1]) == count((1,)) == count("not majority") > 60
    assert count({1: 30}) == count(lambda y: {1: 30}) == 30
    assert count(0.5) == 40
    assert count({1: 5000}) == free
    with pytest.raises(ValueError, match="greater or equal to the original number"):
        count({1: 3})


def test_classes_of_one_size_are_minor_together_or_not_at_all():
    x = np.random.default_rng(0).normal(size=(40, 2))
    minor = lambda sizes, word: list(  # noqa: E731
        simple(sampling_strategy=word)
        .fit(x, np.append(np.repeat([*"abc"], sizes), [None] * (40 - sum(sizes))))
        .sampling_strategy_
    )
    for word in ("auto", "not majority", "minority"):
        assert minor((9, 9, 5), word) == ["c"] and minor((9, 5, 5), word) == ["b", "c"]
    assert minor((9, 9, 5), "not minority") == ["a", "b"]
    assert minor((9, 9, 9), "all") == ["a", "b", "c"]
    for word in ("auto", "not majority", "minority", "not minority"):
        with pytest.raises(
            ValueError,
            match="no class is minor, as where all have equally many labeled samples: name the minor",
        ):
            minor((9, 9, 9), word)
    with pytest.raises(ValueError, match="sampling_strategy is 'majority', but has to be 'auto', "):
        minor((9, 9, 5), "majority")


def test_a_limit_keeps_the_surest():
    x, y, _ = two_classes()
    made = simple(sampling_strategy={1: 30})
    made.fit_resample(x, y)
    free = simple()
    free.fit_resample(x, y)
    unlabeled = y[free.history_[0].index] < 0
    assert sorted(made.history_[0].loss) == sorted(free.history_[0].loss[unlabeled])[:22]


def test_what_is_wrong_is_said():
    x, y, _ = two_classes()
    cases = [
        (simple(), x, y[:-50], "X has 400 samples, but y has 350 classes"),
        (
            simple(),
            x,
            np.where(y == 0, -1, y),
            "labeled samples are of 1 class.*-1 means unlabeled",
        ),
        (simple(lambda scores: np.ones(400, np.float32)), x, y, "returns weights"),
        (simple(lambda scores: np.array([1, 2])), x, y, "has to return a mask"),
        (simple(), x, np.where(y < 0, np.array("?", object), y), "y holds texts and numbers"),
    ]
    for made, rows, classes, said in cases:
        with pytest.raises(ValueError, match=said):
            made.fit_resample(rows, classes)


@pytest.mark.parametrize("estimator", [LogisticRegression(), RandomForestClassifier(20)])
def test_by_default_a_class_doubles_with_its_most_probable_samples(estimator):
    """The old default took thousands for rare by a logistic regression, and none by a forest."""
    x, y, truth = two_classes()
    made = sn.SelectionSampler(estimator).fit(x, y)
    index = made.history_[-1].index
    assert len(index) == 8 and (y[index] < 0).all() and (truth[index] == 1).mean() > 0.8
    assert made.sampling_strategy_ == {1: 16}
    small = np.concatenate([np.flatnonzero(y >= 0), np.flatnonzero(y < 0)[:30]])  # 3 expected
    assert made.fit(x[small], y[small]).sampling_strategy_ == {1: 11}
    even = np.concatenate([np.flatnonzero(y == 1), np.flatnonzero(y == 0)[:18], small[88:]])
    assert made.fit(x[even], y[even]).sampling_strategy_ == {1: 9}  # half of 18


@pytest.mark.parametrize(
    ("rule", "strategy", "words"),
    [
        (sn.Context(0), "auto", "class 1: 0 unlabeled samples were added, but 29 are expected"),
        (sn.SelfPaced(9), "auto", "class 1: 312 unlabeled samples were added, but 29 are "),
        (sn.SelfPaced(9), {1: 400}, None),
    ],
)
def test_none_added_and_far_too_many_are_warnings(rule, strategy, words):
    x, y, _ = two_classes()
    rare = DummyClassifier(strategy="constant", constant=1)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        sn.SelectionSampler(rare, rule, sampling_strategy=strategy).fit(x, y)
    told = [str(one.message) for one in said if "class 1:" in str(one.message)]
    assert bool(told) == bool(words) and all(re.match(words, one) for one in told)


def test_weights_reach_every_fit_and_the_scores_are_those_of_the_estimator():
    x, y, _ = two_classes()
    weight = np.where(y == 0, 0.0, 1.0)
    weight[np.flatnonzero(y == 0)[:40]] = 1
    seen = []

    class Weighed(LogisticRegression):
        def fit(self, X, y, sample_weight=None):
            seen.append((len(y), sample_weight.sum()))
            return super().fit(X, y, sample_weight)

    made = sn.SelectionClassifier(Weighed()).fit(x, y, sample_weight=weight)
    assert seen == [(88, 48), (96, 56)]
    assert np.allclose(np.exp(made.predict_log_proba(x)), made.predict_proba(x))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        made.fit(x, y, sample_weight=weight[:-1])


@pytest.mark.parametrize(
    "rule",
    [
        sn.SelfPaced(0.5),
        sn.Context(sn.linear(0.3, 0.6, 3)),
        sn.SelectNet(0.6, epochs=2),
        sn.Capped(sn.SelectNet(0.6, epochs=2), 0, most=9),
    ],
)
def test_after_a_fit_it_clones_copies_and_pickles_and_its_rule_is_as_it_was(rule):
    x, y, _ = two_classes()
    made, before = simple(rule, rounds=2), repr(rule)
    made.fit_resample(x, y)
    assert repr(rule) == before and getattr(rule, "output", None) is None
    for other in (clone(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(other.rule) is type(rule)
        other.fit_resample(x, y)
        assert np.array_equal(other.sample_indices_, made.sample_indices_)


def test_rules_have_parameters_and_say_them():
    assert repr(sn.Context(0.3)) == "Context(threshold=0.3)"
    assert repr(sn.SelectNet(seed=3)) == "SelectNet(seed=3)"
    made = simple().set_params(rule__threshold=0.3)
    assert made.rule.threshold == 0.3 and "rule__threshold" in made.get_params()
    made = clone(simple(sn.Capped(sn.Context())))
    made.set_params(rule__most=5, rule__rule__threshold=0.3)
    assert (made.rule.most, made.rule.rule.threshold) == (5, 0.3)
    assert repr(made.rule) == "Capped(most=5, rule=Context(threshold=0.3))"


def test_no_tensorflow_is_imported():
    code = """if True:
        import sys, numpy as np, selectnet_tf as sn
        from sklearn.linear_model import LogisticRegression
        x = np.random.default_rng(0).normal(size=(60, 2)); y = np.r_[[0] * 20, [1] * 5, [-1] * 35]
        sn.SelectionSampler(LogisticRegression(), sn.SelectNet(0.9)).fit_resample(x, y)
        sn.SelectionClassifier(LogisticRegression()).fit(x, y), sn.LabeledFolds, sn.make_imbalance
        sys.exit(sum(name in sys.modules for name in ("tensorflow", "keras")))"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_classifier_learns_from_both_and_folds_test_on_labeled_samples_alone():
    x, y, truth = two_classes()
    made = sn.SelectionClassifier(LogisticRegression(), sn.Context(0.6), rounds=2).fit(x, y)
    assert (made.predict(x) == truth).mean() > 0.9
    assert made.classes_.tolist() == [0, 1]
    assert len(made.sampler_.sample_indices_) > 100
    folds = list(sn.LabeledFolds(4).split(x, y))
    assert len(folds) == sn.LabeledFolds(4).get_n_splits() == 4
    for train, test in folds:
        assert (y[test] >= 0).all()
        assert set(np.flatnonzero(y < 0)) <= set(train)
        assert not set(train) & set(test)
        assert (y[test] == 1).sum() == 2
    assert sorted(np.concatenate([test for _, test in folds])) == np.flatnonzero(y >= 0).tolist()
    search = GridSearchCV(
        made, {"rule__threshold": [0.05, 0.6]}, scoring="average_precision", cv=sn.LabeledFolds(2)
    ).fit(x, y)
    assert search.best_score_ > 0.8


def test_no_group_is_in_both_parts_of_a_fold():
    x, y, _ = two_classes()
    groups = np.arange(400) // 4
    folds = list(sn.LabeledFolds(3, shuffle=True, random_state=0).split(x, y, groups))
    assert all(not set(groups[train]) & set(groups[test]) for train, test in folds)
    assert sorted(np.concatenate([test for _, test in folds])) == np.flatnonzero(y >= 0).tolist()
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        next(sn.LabeledFolds(3).split(x, y, groups[:-1]))
    made = sn.SelectionClassifier(LogisticRegression())
    scores = cross_val_score(made, x, y, groups=groups, cv=sn.LabeledFolds(3))
    with config_context(enable_metadata_routing=True):
        routed = cross_val_score(made, x, y, params={"groups": groups}, cv=sn.LabeledFolds(3))
    assert np.array_equal(scores, routed)


def test_under_a_limit_unlabeled_samples_come_before_copies_of_labeled_ones():
    x, y, _ = two_classes()
    known = int((y == 1).sum())
    for room in (20, 390):
        options = {"sampling_strategy": {1: known + room}}
        made = sn.SelectionSampler(LogisticRegression(), sn.Context(9.0), **options).fit(x, y)
        added = made.history_[0].index[made.history_[0].target == 1]
        pooled = (y[added] < 0).sum()
        assert pooled == len(added) == 20 if room == 20 else 20 < pooled < len(added) < room


@pytest.mark.parametrize("missing", [np.nan, None])
def test_missing_groups_are_one_group(missing):
    x, y, _ = two_classes()
    groups = (np.arange(400) // 4).astype(object if missing is None else float)
    groups[::7] = missing
    folds = list(sn.LabeledFolds(3).split(x, y, groups))
    for train, test in folds:
        parts = [pandas.isna(groups[part]) for part in (train, test)]
        assert not (parts[0].any() and parts[1].any())
        assert not set(groups[train][~parts[0]]) & set(groups[test][~parts[1]])
    assert sorted(np.concatenate([test for _, test in folds])) == np.flatnonzero(y >= 0).tolist()
    for named in (groups.tolist(), pandas.Series(groups)):
        again = sn.LabeledFolds(3).split(x, y, named)
        assert all(map(np.array_equal, (test for _, test in folds), (test for _, test in again)))


def test_it_is_calibrated_by_folds_and_stacked_prefit():
    """StackingClassifier replaces -1 by class 0, and set a random_state that no fold took."""
    x, y, truth = two_classes()
    model = sn.SelectionClassifier(LogisticRegression())
    made = CalibratedClassifierCV(model, cv=sn.LabeledFolds(2)).fit(x, y)
    assert made.classes_.tolist() == [-1, 0, 1] and (made.predict_proba(x)[:, 0] == 0).all()
    assert (made.predict(x) == truth).mean() > 0.8
    stack = StackingClassifier([("s", model)], cv=sn.LabeledFolds(2))
    with pytest.warns(UserWarning, match='give it cv="prefit"'):
        stack.fit(x, y)
    labeled, model = y >= 0, model.fit(x, y)
    stack = StackingClassifier([("s", model)], cv="prefit").fit(x[labeled], y[labeled])
    assert (stack.predict(x) == truth).mean() > 0.8


def test_it_works_within_imbalanced_learn_s_ensembles_and_pipelines():
    x, y, truth = two_classes()
    made = Pipeline([("s", simple()), ("c", LogisticRegression())]).fit(x, y)
    assert (made.predict(x) == truth).mean() > 0.9


def test_make_imbalance_keeps_what_it_is_told_and_pools_the_rest():
    y = np.repeat([0, 1, 2], 10)
    x = np.arange(30)[:, None]
    xl, yl, xu, yu = sn.make_imbalance(x, y, sampling_strategy={1: 3}, random_state=2)
    assert np.bincount(yl).tolist() == [10, 3, 10] and yu.tolist() == [1] * 7
    assert sorted([*xl[:, 0], *xu[:, 0]]) == list(range(30)) and np.array_equal(y[xl[:, 0]], yl)
    again = sn.make_imbalance(x, y, sampling_strategy=lambda y: {1: 3}, random_state=2)
    other = sn.make_imbalance(x, y, sampling_strategy={1: 3}, random_state=3)
    assert np.array_equal(again[0], xl) and not np.array_equal(other[0], xl)
    numpy_s = sn.make_imbalance(x, y, sampling_strategy={1: 3}, random_state=np.int64(2))
    assert np.array_equal(numpy_s[0], xl)
    for wrong in ({1: 11}, {5: 1}, {0: 0}, {1: 0.1}, {1: 8.0}):
        with pytest.raises(
            ValueError, match="sampling_strategy(: expected a whole number| asks for)"
        ):
            sn.make_imbalance(x, y, sampling_strategy=wrong)
    with pytest.raises(ValueError, match="sampling_strategy: expected .*received 'minority'"):
        sn.make_imbalance(x, y, sampling_strategy="minority")


def test_make_imbalance_takes_frames_strings_sparse_matrices_and_classes_of_any_size():
    y = np.repeat([0, 1, 10**9], 10)
    x = np.arange(30)[:, None]
    xl, yl, xu, _ = sn.make_imbalance(x, y, sampling_strategy={10**9: 3}, random_state=2)
    assert (yl == 10**9).sum() == 3 and len(xl) == 23 and len(xu) == 7
    names = np.array(["a", "b", "c"])[np.repeat([0, 1, 2], 10)]
    frame = pandas.DataFrame({"u": range(30), "t": "x"})
    fl, nl, fu, nu = sn.make_imbalance(
        frame, pandas.Series(names, name="kind"), sampling_strategy={"c": 3}, random_state=2
    )
    assert fl["u"].tolist() == xl[:, 0].tolist()
    assert nl.tolist() == names[fl["u"]].tolist()
    assert (nl.name, len(fu), len(nu)) == ("kind", 7, 7)
    sl, _, su, _ = sn.make_imbalance(
        sparse.csr_matrix(x), names.tolist(), sampling_strategy={"c": 3}, random_state=2
    )
    assert np.array_equal(sl.toarray(), xl) and su.shape == (7, 1)
    many = sn.make_imbalance(
        x, y, sampling_strategy=lambda y, k: {0: k}, random_state=np.random.RandomState(0), k=2
    )
    assert (many[1] == 0).sum() == 2
    assert len(sn.make_imbalance(x, y, sampling_strategy={0: 2})[0]) == 22
