import copy
import pickle

import keras
import numpy as np
import pytest
from conftest import blobs, small_model

from selectnet_tf.alignment import AlignMinors
from selectnet_tf.loop import fit
from selectnet_tf.pool import Pool
from selectnet_tf.rules import Context, SelectNet, SelfPaced
from selectnet_tf.selection import Scorer, Selection, compute_losses

PROBS = np.array([[0.7, 0.3], [0.7, 0.3], [0.2, 0.8]], np.float32)
LABELS, LABELED = np.array([0, 1, -1]), np.array([True, True, False])


@pytest.mark.parametrize(
    ("how", "expected"),
    [("predicted", [0.7, 0.7, 0.8]), ("true", [0.7, 0.3, 0.8]), ("two_hot", [0.7, 0.7 * 0.3, 0.8])],
)
def test_loss_of_labeled_right_labeled_wrong_and_unlabeled(how, expected):
    np.testing.assert_allclose(
        compute_losses(PROBS, LABELS, LABELED, how), -np.log(expected), rtol=1e-6
    )


def make(rule=None, **options):
    keras.utils.set_random_seed(0)
    x, y = blobs(60)
    pool = Pool(x[:40], y[:40], x[40:], [2, 3])
    selection = Selection(pool, rule or Context(), every=2, **options)
    selection.set_model(small_model())
    selection.reset()
    return selection, y


def test_what_is_added_and_as_what():
    selection, _ = make(lambda scores: np.ones(60, bool))
    selection.model.fit(
        selection.pool.images[:40], selection.pool.labels[:40], epochs=10, verbose=0
    )
    round = selection.select(2)
    predicted = selection.model.predict(selection.pool.images[:], verbose=0).argmax(1)
    assert round.index.tolist() == np.flatnonzero(np.isin(predicted, [2, 3])).tolist()
    labeled = round.index < 40
    assert labeled.any() and not labeled.all()
    assert np.array_equal(round.target[labeled], selection.pool.labels[:40][round.index[labeled]])
    assert np.array_equal(round.target[~labeled], predicted[round.index[~labeled]])
    assert selection.pool.index.tolist() == [*range(40), *round.index]
    assert selection.pool.targets[40:].tolist() == round.target.tolist()


def test_a_rule_sees_no_true_label_of_the_pool_and_no_one_adds_a_major():
    seen = []
    selection, _ = make(lambda scores: seen.append(scores) or np.ones(60, bool))
    round = selection.select(2)
    assert set(seen[0]._fields) == {"probs", "loss", "labeled", "candidate", "round", "features"}
    assert np.isin(round.predicted, [2, 3]).all()
    assert (selection.pool.labels[40:] == -1).all()


def test_a_swap_replaces_the_previous_selection():
    picks = iter([[41, 42], [50], []])
    selection, _ = make(lambda scores: np.isin(np.arange(60), next(picks)))
    selection.model.layers[-1].bias.assign([0, 0, 9, 0])  # everything is predicted as class 2
    for expected in ([41, 42], [50], []):
        selection.select(2)
        assert selection.pool.index[40:].tolist() == expected


def test_accumulated_picks_stay_as_what_they_were_last_picked_as():
    picks = iter([[3, 41, 42], [42, 50], [], []])
    selection, _ = make(lambda scores: np.isin(np.arange(60), next(picks)), accumulate=True)
    resumed, _ = make(selection.rule, accumulate=True)
    for everything_is, index, target in (
        (2, [3, 41, 42], [3, 2, 2]),
        (3, [41, 42, 50], [2, 3, 3]),
        (0, [41, 42, 50], [2, 3, 3]),
    ):
        selection.model.layers[-1].bias.assign(np.eye(4)[everything_is] * 99)
        round = selection.select(2)
        assert round.index.tolist() == selection.pool.index[40:].tolist() == index
        assert round.target.tolist() == selection.pool.targets[40:].tolist() == target
        unlabeled = round.index >= 40
        assert round.predicted[unlabeled].tolist() == round.target[unlabeled].tolist()
    resumed.set_state(selection.get_state())
    assert resumed.select(2).index.tolist() == [41, 42, 50]


def test_a_second_model_is_scored_as_itself():
    selection, _ = make()
    first, second = selection.model, small_model()
    before = selection.score().probs
    selection.set_model(second)
    found, wanted = selection.score().probs, second.predict(selection.pool.images[:], verbose=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert not np.allclose(found, before)
    selection.set_model(first)
    assert np.array_equal(selection.score().probs, before)
    selection.scorer = lambda: (np.full((60, 4), 0.25), None)  # what is set stays
    assert (selection.score().probs == 0.25).all()


def test_a_pool_may_be_scored_elsewhere():
    """In training: each round asks the scorer, and of the images that it scored only the picks are read."""
    x, y = blobs(60)
    read, asked = set(), []

    class Far:
        shape, dtype = (20, 4, 4, 1), np.dtype(np.uint8)

        def __len__(self):
            return 20

        def __getitem__(self, places):
            read.update(places.tolist())
            return x[40:][places]

    def scorer():
        asked.append(selection.model)
        return np.eye(4, dtype=np.float32)[[*y[:40], *[2] * 10, *[0] * 10]], None

    selection = Selection(
        Pool(x[:40], y[:40], Far(), [2, 3]), SelfPaced(0.6), every=1, on_round=None, scorer=scorer
    )
    model = small_model()
    fit(model, selection, epochs=2, batch_size=10, verbose=0)
    assert asked == [model, model]
    assert [r.index.tolist() for r in selection.history] == [list(range(40, 50))] * 2
    assert read == set(range(10))


def test_a_scorer_of_another_length_is_said():
    selection, _ = make()
    words = "scorer returned 40 rows, but the pool has 60 images: return a row for each, labeled"
    for rows, features in ((40, 40), (60, 40)):
        found = np.full((rows, 4), 0.25, np.float32), np.zeros((features, 2), np.float32)
        selection.scorer = lambda found=found: found
        with pytest.raises(ValueError, match=words):
            selection.score()


@pytest.mark.parametrize("field", ["probs", "loss", "labeled", "candidate", "features"])
def test_a_rule_cannot_change_what_it_is_given(field):
    def rule(scores):
        getattr(scores, field)[:] = 0
        return np.ones(60, bool)

    rule.features = True
    selection, _ = make(rule)
    with pytest.raises(ValueError, match="read-only"):
        selection.select(2)
    assert selection.pool.labeled.sum() == 40 and selection.pool.labeled.flags.writeable


def test_weights_are_kept_with_what_accumulates():
    weights = iter([{41: 0.5, 42: 1.0}, {42: 0.25}, {}])

    def rule(scores):
        found = np.zeros(60, np.float32)
        for place, weight in next(weights).items():
            found[place] = weight
        return found

    selection, _ = make(rule, accumulate=True)
    selection.model.layers[-1].bias.assign([0, 0, 99, 0])  # everything is predicted as class 2
    for index, weight in (([41, 42], [0.5, 1]), ([41, 42], [0.5, 0.25]), ([41, 42], [0.5, 0.25])):
        selection.history.append(selection.select(2))
        assert selection.history[-1].index.tolist() == index
        assert selection.history[-1].weight.tolist() == weight
        assert selection.pool.weights.tolist() == [1] * 40 + weight
    other, _ = make(rule, accumulate=True)
    other.set_state(selection.get_state())
    assert other.history[-1].weight.tolist() == [0.5, 0.25]
    assert other.pool.weights.tolist() == selection.pool.weights.tolist()


def test_separate_means_add_up_to_eq_3():
    """A batch's expected loss is the mean over D and the mean over D_add: (40 + 3) / 40 and (40 + 3) / 3 times a union's."""
    selection, _ = make(lambda scores: np.isin(np.arange(60), [41, 50, 51]), loss_norm="separate")
    selection.model.layers[-1].bias.assign([0, 0, 99, 0])
    selection.select(2)
    weights = selection.pool.weights
    np.testing.assert_allclose(weights, [43 / 40] * 40 + [43 / 3] * 3, rtol=1e-6)
    assert weights[:40].mean() * 40 / 43 == pytest.approx(1)
    assert weights[40:].sum() / 43 == pytest.approx(1)
    selection, _ = make(lambda scores: np.zeros(60, bool), loss_norm="separate")
    selection.select(2)
    assert selection.pool.weights.tolist() == [1] * 40


@pytest.mark.parametrize(
    ("context", "labeled"), [("all", [*range(40)]), ("wrong", [i for i in range(40) if i % 4 != 2])]
)
def test_context_is_all_that_is_taken_for_minor_or_what_is_wrongly(context, labeled):
    selection, _ = make(lambda scores: np.ones(60, bool), context=context)
    selection.model.layers[-1].bias.assign([0, 0, 99, 0])  # everything is predicted as class 2
    round = selection.select(2)
    assert round.index.tolist() == [*labeled, *range(40, 60)]
    assert round.candidates == len(labeled) + 20


def test_balanced_minor_leaves_the_majors():
    x, _ = blobs(60)
    pool = Pool(x[:40], np.array([0] * 20 + [1] * 12 + [2] * 4 + [3] * 4), x[40:], [2, 3])
    Selection(pool, init="balanced_minor").reset()
    assert np.bincount(pool.targets).tolist() == [20, 12, 20, 20]
    Selection(pool).reset()
    assert np.bincount(pool.targets).tolist() == [20, 20, 20, 20]


def test_nan_in_an_image_is_not_called_divergence():
    x, y = blobs(60)
    x = x.astype(np.float32)
    x[57, 1, 1] = np.nan
    selection = Selection(Pool(x[:40], y[:40], x[40:], [2, 3]), Context(), every=1)
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Flatten(), keras.layers.Dense(4, "softmax")]
    )
    selection.set_model(model)
    words = r"image 57 of the pool \(labeled images come first\) holds NaN"
    with pytest.raises(ValueError, match=words):
        selection.select(1)


@pytest.mark.parametrize(
    ("images", "wanted", "words"),
    [
        ("float32", "uint8", "images are float32, but the model's input is uint8 and would cut .* dtype='float32'"),
        ("float64", "int32", "input is int32"),
        ("int64", "uint8", "give it images of uint8"),
        ("uint16", "uint8", "images are uint16"),
        ("int64", "int32", ""),
        ("uint8", "float32", ""),
        ("uint8", "uint8", ""),
        ("float64", "float32", ""),
    ],
)  # fmt: skip
def test_a_model_s_input_that_would_cut_the_values_is_refused(images, wanted, words):
    model = keras.Sequential(
        [keras.Input((4, 4, 1), dtype=wanted), keras.layers.Rescaling(1.0), keras.layers.Flatten()]
    )
    x = blobs(6)[0].astype(images)
    if not words:
        assert Scorer(model, x)()[0].shape == (6, 16)
    else:
        with pytest.raises(ValueError, match=words):
            Scorer(model, x)


def test_several_outputs_are_said():
    images = keras.Input((4, 4, 1))
    flat = keras.layers.Flatten()(images)
    model = keras.Model(images, [keras.layers.Dense(4)(flat), keras.layers.Dense(2)(flat)])
    with pytest.raises(ValueError, match="the model has 2 outputs"):
        Scorer(model, blobs(6)[0])()
    more = keras.Input((4, 4, 1))
    two = keras.Model([images, more], keras.layers.Flatten()(keras.layers.Add()([images, more])))
    words = "the model's inputs are .* a tuple of arrays in their order"
    with pytest.raises(ValueError, match=words):
        Scorer(two, blobs(6)[0])


def test_a_class_where_an_instance_belongs_is_said():
    x, y = blobs(8)
    pool = Pool(x[:6], y[:6], x[6:], [0])
    for arguments, words in (
        ((pool, Context), r"rule is the class Context: make an instance, as in Context\(\)"),
        ((pool, 0.6), r"rule is 0.6, but has to be a callable, such as sn.Context\(\)"),
        ((Pool, Context()), "has to be a Pool, as in sn.Pool"),
    ):
        with pytest.raises(ValueError, match=words):
            Selection(*arguments)
    with pytest.raises(ValueError, match="adjust is the class AlignMinors: make an instance"):
        Selection(pool, adjust=AlignMinors)


def test_an_empty_d_prime_leaves_d_and_is_said():
    selection, _ = make()
    selection.model.layers[-1].bias.assign([9, 0, 0, 0])
    round = selection.select(2)
    assert round.candidates == 0
    assert np.isnan(round.median)
    assert selection.pool.index.tolist() == list(range(40))
    assert "no image is predicted as a minor class" in str(round)


def test_a_collapsed_selector_is_a_warning_but_an_even_classifier_is_not():
    for rule, collapsed in ((SelectNet(), True), (Context(), False)):
        selection, _ = make(rule)
        selection.model.layers[-1].kernel.assign(np.zeros((8, 4)))  # all samples are alike
        selection.model.layers[-1].bias.assign([0, 0, 9, 0])
        assert ("collapsed" in selection.select(2).warning) == collapsed


def test_a_minor_class_that_nothing_of_the_pool_is_picked_as_is_a_warning():
    picks = iter([[3, 41, 42], [3]])
    selection, _ = make(lambda scores: np.isin(np.arange(60), next(picks)))
    # everything is predicted as class 2, more or less surely
    selection.model.layers[-1].bias.assign([0, 0, 3, 0])
    first, second = selection.select(2), selection.select(4)
    assert first.unpicked.tolist() == [3] and first.warning == "no pseudo-labels for 3"
    assert second.warning == "no pseudo-labels for 2, 3"  # a labeled pick brings no pseudo-label
    assert "for 0, 1, 2, 3, 4, 95 more" in first._replace(unpicked=range(100)).warning


@pytest.mark.parametrize("n", [1, 10, 23])
@pytest.mark.parametrize("replicas", [1, 2])
def test_scoring_is_in_order_and_complete_for_every_n(n, replicas, two_replicas):
    keras.utils.set_random_seed(0)
    if replicas == 2:
        with two_replicas.scope():
            model = small_model(norm=True)
    else:
        model = small_model(norm=True)
    x = blobs(n)[0]
    scorer = Scorer(model, x, batch_size=5, features=True)
    output, features = scorer()
    rows = [model(x[i : i + 1]).numpy()[0] for i in range(n)]
    np.testing.assert_allclose(output, rows, rtol=1e-5)
    assert features.shape == (n, 8)
    again, _ = scorer()
    assert np.array_equal(output, again)


@pytest.mark.parametrize(
    ("batch", "score", "most"), [(4, None, 32), (4, 100, 100), (64, None, 240)]
)
def test_as_many_are_scored_at_once_as_the_batch_allows(batch, score, most):
    sizes = []

    class Watched(keras.Model):
        def call(self, inputs, training=False):
            sizes.append(inputs.shape[0])
            return self.inner(inputs)

    model = Watched()
    model.inner = small_model()
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    x, y = blobs(240)
    pool = Pool(x[:80], y[:80], x[80:], [2, 3])
    selection = Selection(pool, Context(9.0), every=1, on_round=None, score_batch=score)
    fit(model, selection, epochs=1, batch_size=batch, verbose=0)
    assert max(sizes) == most


def test_features_are_the_input_of_the_last_layer():
    model = small_model()
    output, features = Scorer(model, blobs(6)[0], features=True)()
    logits = features @ model.layers[-1].kernel.numpy() + model.layers[-1].bias.numpy()
    np.testing.assert_allclose(output, keras.ops.softmax(logits), rtol=1e-5)


def test_features_of_a_model_that_is_a_layer_are_those_of_its_last_layer():
    """As where a whole model stands behind an augmentation. A head after other weights is a layer, whose input they are."""
    x, dense, sequence = (
        blobs(6)[0].reshape(6, 16) / np.float32(255),
        keras.layers.Dense,
        keras.Sequential,
    )
    hidden, rows, head_of = dense(8, activation="relu"), keras.Input((16,)), keras.Input((8,))
    scaled = keras.layers.Rescaling(1.0)
    whole = lambda: keras.Model(rows, dense(4)(hidden(rows)))  # noqa: E731
    for model in (
        sequence([rows, scaled, whole()]),
        sequence([rows, scaled, sequence([keras.Input((16,)), hidden, dense(4)])]),
        keras.Model(rows, whole()(scaled(rows))),
        sequence([rows, sequence([keras.Input((16,)), whole(), keras.layers.Softmax()])]),
        sequence([rows, hidden, sequence([head_of, dense(5), dense(4)])]),
        sequence([rows, hidden, keras.Model(head_of, dense(4)(dense(5)(head_of)))]),
    ):
        output, features = Scorer(model, x, features=True)()
        np.testing.assert_allclose(features, hidden(x), rtol=1e-5)
        np.testing.assert_allclose(output, model(x), rtol=1e-5)


def test_features_that_are_no_rows_or_of_another_model_are_refused_before_the_first_epoch():
    x, y = blobs(60)
    convolved = keras.layers.GlobalAveragePooling2D()(
        keras.layers.Conv2D(4, 3)(images := keras.Input((4, 4, 1)))
    )
    model = keras.Model(images, keras.layers.Softmax()(convolved))
    model.compile("sgd", "sparse_categorical_crossentropy", jit_compile=False)
    pool = Pool(x[:40], y[:40], x[40:], [2, 3])
    seen = []
    spy = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    selection = Selection(pool, SelectNet(inputs="penultimate+loss"), every=3, on_round=None)
    words = r"last layer with weights takes \[4, 4, 1\], but features have to be \[d\]: end the model in a Dense"
    with pytest.raises(ValueError, match=words):
        fit(model, selection, epochs=4, batch_size=8, callbacks=[spy], verbose=0)
    assert seen == []
    first = small_model()
    again = keras.Input((4, 4, 1), dtype="uint8")
    with pytest.raises(ValueError, match="layers that were called in another model first"):
        Scorer(
            keras.Model(
                again, first.layers[-1](keras.layers.Dense(8)(keras.layers.Flatten()(again)))
            ),
            x,
            features=True,
        )


@pytest.mark.parametrize(("init", "size"), [("balanced", 40), ("none", 40), (3, 100)])
def test_first_round(init, size):
    selection, _ = make(init=init)
    assert len(selection.pool.index) == size


def test_diverged_scores_are_refused():
    selection, _ = make()
    selection.model.layers[-1].bias.assign([np.nan] * 4)
    with pytest.raises(ValueError, match="diverged"):
        selection.select(2)


def test_state_round_trip():
    selection, _ = make()
    selection.history.append(selection.select(2))
    other, _ = make()
    other.set_state(selection.get_state())
    assert np.array_equal(other.pool.index, selection.pool.index)
    for mine, its in zip(selection.history[0], other.history[0], strict=True):
        assert np.array_equal(mine, its) and type(mine) is type(its)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "whole number from 1"),
        ({"every": 2.5}, "every is 2.5, but has to be a whole number"),
        ({"score_batch": 0}, "score_batch is 0, but has to be a whole number from 1"),
        ({"on_round": True}, "on_round is True, but has to be a callable, such as print"),
        ({"init": "some"}, "number of copies"),
        ({"init": -1}, "number of copies"),
        ({"context": "no"}, "all or wrong"),
        ({"loss_norm": "no"}, "union or separate"),
        ({"labeled_loss": "both"}, "two_hot"),
    ],
)
def test_bad_options_are_refused(options, words):
    x, y = blobs(8)
    with pytest.raises(ValueError, match=words):
        Selection(Pool(x[:6], y[:6], x[6:], [0]), Context(), **options)


def test_a_selection_that_was_trained_with_can_be_copied_and_pickled():
    selection = make(on_round=None)[0]
    fit(small_model(), selection, epochs=2, batch_size=8, verbose=0)
    for again in (pickle.loads(pickle.dumps(selection)), copy.deepcopy(selection)):
        assert again.history[0].index.tolist() == selection.history[0].index.tolist()
        assert again.pool.index.tolist() == selection.pool.index.tolist()
        fit(small_model(), again, epochs=2, batch_size=8, verbose=0)
    assert selection.model is not None
    with pytest.raises(ValueError, match="the selection has no model yet: call sn.fit"):
        copy.deepcopy(selection).score()


def test_selecting_from_an_empty_pool_is_refused():
    x, y = blobs(8)
    with pytest.raises(ValueError, match="no unlabeled image"):
        Selection(Pool(x, y, [], [0]), Context())
