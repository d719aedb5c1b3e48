import numpy as np
import pandas
import pytest
import tensorflow as tf
from conftest import small_model

from selectnet_tf import augment
from selectnet_tf.pool import Pool
from selectnet_tf.selection import Scorer


def make(labels=(0, 0, 0, 0, 1, 2), unlabeled=4, minor=(1, 2), seed=0):
    x = np.arange(len(labels) + unlabeled, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones(
        (1, 4, 4, 1), np.uint8
    )
    return Pool(x[: len(labels)], np.array(labels), x[len(labels) :], minor, seed)


def passes(pool, epoch=0, batch=2, **options):
    pool.begin_epoch(epoch)
    return [
        (x.numpy()[:, 0, 0, 0].tolist(), y.numpy().tolist())
        for x, y in pool.dataset(batch, **options)
    ]


def test_an_epoch_is_every_training_image_once_with_its_class():
    pool = make()
    pool.train_on_labeled([7, 4], [2, 1])
    seen = [pair for x, y in passes(pool) for pair in zip(x, y, strict=True)]
    assert sorted(seen) == sorted([(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (5, 2), (7, 2), (4, 1)])


def test_data_frames_of_another_order_are_refused():
    frame = pandas.DataFrame(np.arange(18).reshape(6, 3), columns=list("abc"))
    for of in (frame, {"rows": frame}):
        other = {k: v[list("cba")] for k, v in of.items()} if of is not frame else of[list("cba")]
        with pytest.raises(ValueError, match=r"in another order: .* unlabeled\[labeled.columns\]"):
            Pool(of, [0, 0, 0, 0, 1, 1], other, [1])
        assert len(Pool(of, [0, 0, 0, 0, 1, 1], of, [1]).images) == 12
    assert len(Pool(frame, [0, 0, 0, 0, 1, 1], frame.to_numpy(), [1]).images) == 12


def test_order_follows_from_seed_and_epoch_alone():
    a, b = passes(make(), 3), passes(make(), 3)
    assert a == b != passes(make(), 4)
    assert a != passes(make(seed=1), 3)


def test_a_pass_can_be_entered_at_any_batch():
    pool = make(labels=[0] * 40 + [1, 2])
    whole = passes(pool, 1, 4, augment=augment.shift_flip())
    assert passes(pool, 1, 4, augment=augment.shift_flip(), first_batch=3) == whole[3:]


@pytest.mark.parametrize("first", [0, 3, 39])
def test_steps_read_together_are_those_read_one_by_one(first, monkeypatch):
    pool = make(labels=[0] * 40 + [1] * 38 + [2] * 3)
    options = {"augment": augment.shift_flip(), "first_batch": first}
    together = passes(pool, 1, **options)
    monkeypatch.setattr("selectnet_tf.pool.GROUP_BYTES", 0)
    assert together == passes(pool, 1, **options) and len(together) == 40 - first


def test_the_remainder_is_left_out_and_the_length_known():
    pool = make()
    assert pool.dataset(4).cardinality() == 1
    assert len({tuple(sorted(passes(pool, epoch, 4)[0][0])) for epoch in range(8)}) > 1
    assert pool.dataset(4).element_spec[0].shape == (4, 4, 4, 1)


def test_swapping_moves_indices_and_never_images():
    pool = make()
    images = pool.images
    for added in ([6, 7, 8], [], [9]):
        pool.train_on_labeled(added, [1] * len(added))
        assert pool.index.tolist() == [0, 1, 2, 3, 4, 5, *added]
        assert pool.images is images


def test_an_even_pool_draws_as_many_of_each_class_from_all_of_its_images_anew_each_epoch():
    pool = make(labels=[0] * 14 + [1] * 5 + [2] * 2)
    pool.even = True
    seen = []
    for epoch in range(3):
        pairs = [pair for x, y in passes(pool, epoch, 1) for pair in zip(x, y, strict=True)]
        assert pool.counts().tolist() == [7, 7, 7] == np.bincount([y for _, y in pairs]).tolist()
        assert all(y == pool.labels[x] for x, y in pairs)
        repeats = np.bincount([x for x, _ in pairs], minlength=21)
        assert repeats[:14].max() == 1
        assert set(repeats[14:19]) == {1, 2}
        assert sorted(repeats[19:]) == [3, 4]
        seen.append(pairs)
    assert seen[0] != seen[1]
    assert seen[1] == [pair for x, y in passes(pool, 1, 1) for pair in zip(x, y, strict=True)]


def test_counts_are_those_of_what_is_trained_on():
    pool = make()
    pool.train_on_labeled([7, 4], [2, 1])
    pool.begin_epoch(0)
    assert pool.counts().tolist() == [4, 2, 2]


def test_counts_of_weighted_images_do_not_follow_the_weights_scale():
    """PriorCrossentropy takes a class of less than one image for one: of weights that sum to 1, all would be even."""
    x = np.zeros((8, 2, 2), np.uint8)
    for scale in (1, 1e-3):
        pool = Pool(x[:4], [0, 0, 0, 1], x[4:], [1], sample_weight=scale * np.array([1, 1, 3, 3]))
        np.testing.assert_allclose(pool.counts(), [2.5, 1.5], rtol=1e-6)
    pool = Pool(x[:4], [0, 0, 0, 1], x[4:], [1], sample_weight=np.zeros(4))
    assert pool.counts().tolist() == [3, 1]


def test_balance_samples_every_class_up_to_the_largest():
    pool = make(labels=[0] * 9 + [1] * 2 + [2] * 5)
    pool.balance()
    assert np.bincount(pool.targets).tolist() == [9, 9, 9]
    assert np.array_equal(pool.labels[pool.index], pool.targets)
    assert pool.index[:16].tolist() == list(range(16))  # all of D, then the draws


def test_copies_are_of_the_minors():
    pool = make()
    pool.copy_minor(3)
    assert sorted(pool.index) == [0, 1, 2, 3] + [4] * 4 + [5] * 4


def test_state_round_trip():
    pool, other = make(), make()
    pool.train_on_labeled([8], [2])
    other.set_state(pool.get_state())
    assert passes(pool) == passes(other)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (make(unlabeled=3), r"numbers of labeled and unlabeled images: it has \[6, 4\] and this pool \[6, 3\]"),
        (make(labels=(0, 0, 0, 0, 1, 2, 0), unlabeled=3), "numbers of labeled"),
        (make(labels=(0, 0, 0, 0, 2, 1)), "other labels: they have changed"),
        (make(minor=(2,)), r"minor classes: it has \[1, 2\] and this pool \[2\]"),
        (make(seed=7), r"other seed: it has \[0\] and this pool \[7\]"),
        (Pool(make().images[:6] + 1, [0, 0, 0, 0, 1, 2], make().images[6:], (1, 2)), "other images: they have"),
        (Pool(make().images[:6], [0, 0, 0, 0, 1, 2], make().images[6:], (1, 2), sample_weight=np.ones(6)), "other labels"),
    ],
)  # fmt: skip
def test_a_state_of_other_data_is_refused(other, words):
    with pytest.raises(ValueError, match=words):
        other.set_state(make().get_state())
    assert other.index.tolist() == list(range(other.labeled.sum()))


def test_the_data_of_a_state_are_read_once(monkeypatch):
    pool, reads = make(), []
    monkeypatch.setattr("selectnet_tf.pool.digest", lambda images: reads.append(images) or "d")
    assert pool.get_state()["images"] == pool.get_state()["images"] == "d"
    assert len(reads) == 2  # the labels, the images


def test_weights_of_the_labeled_and_of_a_swap_are_multiplied():
    x = np.arange(6, dtype=np.uint8).reshape(-1, 1, 1, 1) * np.ones((1, 4, 4, 1), np.uint8)
    pool = Pool(x[:4], [0, 0, 1, 1], x[4:], [1], sample_weight=[0.5, 1, 2, 3])
    pool.train_on_labeled([5, 2], [1, 1], [1, 1, 1, 1, 0.25, 0.5])
    assert pool.weights.tolist() == [0.5, 1, 2, 3, 0.25, 1]
    pool.begin_epoch(3)
    seen = {
        (int(x[0, 0, 0]), float(w))
        for batch in pool.dataset(2)
        for x, w in zip(batch[0], batch[2], strict=True)
    }
    assert seen == {(0, 0.5), (1, 1.0), (2, 2.0), (3, 3.0), (5, 0.25), (2, 1.0)}
    other = Pool(x[:4], [0, 0, 1, 1], x[4:], [1], sample_weight=[0.5, 1, 2, 3])
    other.set_state(pool.get_state())
    assert other.weights.tolist() == pool.weights.tolist()
    pool.balance()
    assert pool.weights.tolist() == [0.5, 1, 2, 3]


def test_only_the_classes_that_are_named_are_balanced():
    pool = make(labels=[0] * 9 + [1] * 2 + [2] * 5)
    pool.balance([1])
    assert np.bincount(pool.targets).tolist() == [9, 9, 5]
    step, both = (make(labels=[0] * 9 + [1] * 2 + [2] * 9) for _ in range(2))
    step.balance()
    both.balance([1])
    assert step.index.tolist() == both.index.tolist()  # majors of one size: the same draws


def test_an_augmentation_of_another_kind_is_refused_where_the_pipeline_is_made():
    with pytest.raises(ValueError, match="both have to be the same"):
        make().dataset(2, lambda x, seed: tf.cast(x, tf.float32))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((np.zeros((3, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [0]), "one class for each"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 3, 2)), [0]), "bring them to one shape"),
        ((np.zeros((2, 2, 2)), [0, -1], np.zeros((1, 2, 2)), [0]), "give images without one in x_unlabeled"),
        ((np.zeros((2, 2, 2)), [0.5, 1.0], np.zeros((1, 2, 2)), [0]), "integer classes from 0"),
        ((np.zeros((2, 2, 2)), [[0.5, 0.5], [0, 1]], np.zeros((1, 2, 2)), [1]), "rows are not one-hot"),
        ((np.zeros((3, 2, 2)), [0, 2, 2**32 + 2], np.zeros((1, 2, 2)), [2]), "class 4294967298, beyond 32 bits: number the classes"),
        ((np.zeros((2, 2, 2)), np.array([0, 2**63], np.uint64), np.zeros((1, 2, 2)), [0]), "beyond 32 bits"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [5]), r"without a labeled image: \[5\]"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), []), "minor is empty"),
        ((np.zeros((0, 2, 2)), np.zeros(0, int), np.zeros((1, 2, 2)), [0]), "no labeled image"),
        ((np.zeros((2, 2, 2)), ["a", "b"], np.zeros((1, 2, 2)), [0]), "number its words"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), 1), r"minor is 1, .* such as \[2, 3\]"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [True, False]), "a list of integer classes"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), ["b"]), "a list of integer classes"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [1], 0, [1.0]), r"sample_weight .* has to be \[2\]"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [1], 0, [1.0, -1.0]), "finite numbers from 0"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [1], None), "seed is None, but has to be a whole number from 0"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [1], -1), "seed is -1"),
        ((np.zeros((2, 2, 2)), [0, 1], np.zeros((1, 2, 2)), [1], 1.7), "seed is 1.7"),
        ((tf.data.Dataset.range(3), [0, 1], np.zeros((1, 2, 2)), [1]), "use Pool.from_dataset"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        Pool(*arguments)


@pytest.mark.parametrize("kind", [bool, np.float32, np.float64, np.uint8, object])
@pytest.mark.parametrize("shape", [3, (3, 1)], ids=["row", "column"])
def test_classes_may_be_bools_and_whole_floats_and_stand_in_a_column(kind, shape):
    y = np.array([0, 1, 1]).astype(kind).reshape(shape)
    pool = Pool(np.zeros((3, 2)), y, np.zeros((1, 2)), [1])
    assert pool.labels.tolist() == [0, 1, 1, -1] and pool.one_hot == 0
    assert next(iter(pool.dataset(2)))[1].shape == (2,)


def test_too_large_a_batch_is_refused_with_the_largest():
    with pytest.raises(ValueError, match="batch_size=6 or less"):
        make().dataset(7)


def test_it_may_be_made_inside_a_scope(two_replicas):
    with two_replicas.scope():
        pool = make()
    assert passes(pool) == passes(make())


def test_tensorflow_finds_no_state_in_the_pipelines(tmp_path):
    """It would refuse to save their iterators. And under op determinism, so on GPUs, it would never work ahead of the training."""
    pool = make()
    pool.begin_epoch(0)
    for data in (
        pool.dataset(2, augment.shift_flip()),
        Scorer(small_model(3), pool.images).dataset,
    ):
        iterator = iter(data)
        next(iterator)
        assert tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "saved"))


def test_no_unlabeled_image_is_fine_for_a_pool():
    pool = Pool(np.zeros((2, 3, 3), np.uint8), [0, 1], [], [1])
    assert pool.images.shape == (2, 3, 3) and pool.images.dtype == tf.uint8
