import numpy as np
import pytest

from selectnet_tf import recipes
from selectnet_tf.data import splits

CIFAR10 = np.tile(np.arange(10), 5000)
CIFAR100 = np.tile(np.arange(100), 500)
# reference.md, section 3.4: Cui et al.'s own counts
LT10 = [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]
LT100 = [500, 477, 455, 434, 415, 396, 378, 361, 344, 328, 314, 299, 286, 273, 260, 248, 237, 226, 216, 206, 197, 188, 179, 171, 163, 156, 149, 142,
         135, 129, 123, 118, 112, 107, 102, 98, 93, 89, 85, 81, 77, 74, 70, 67, 64, 61, 58, 56, 53, 51, 48, 46, 44, 42, 40, 38, 36, 35, 33, 32, 30, 29,
         27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 15, 14, 13, 13, 12, 12, 11, 11, 10, 10, 9, 9, 8, 8, 7, 7, 7, 6, 6, 6, 6, 5, 5, 5, 5]  # fmt: skip


def step(labels, minor, minor_ratio, major_ratio, how="random", seed=0):
    data = recipes.BenchmarkData("", minor, minor_ratio, major_ratio, split=how)
    return splits.make_split(data, labels, seed)


def long_tailed(labels, factor):
    return splits.make_split(recipes.BenchmarkData("", (9,), imb_factor=factor), labels, 0)[0]


@pytest.mark.parametrize(
    ("dataset", "labels", "labeled", "unlabeled", "minor_unlabeled"),
    [
        ("cifar10-4minor", CIFAR10, 27200, 22800, 19800),
        ("cifar100-4minor", CIFAR100, 43300, 6700, 1900),
        ("cifar100-10minor", CIFAR100, 40750, 9250, 4750),
    ],
)
def test_step_sizes_are_the_paper_s(dataset, labels, labeled, unlabeled, minor_unlabeled):
    data = recipes.make(dataset=dataset).data
    found = splits.make_split(data, labels, 0)
    assert [len(part) for part in found] == [labeled, unlabeled]
    assert np.isin(labels[found[1]], data.minor).sum() == minor_unlabeled


@pytest.mark.parametrize(("labels", "counts"), [(CIFAR10, LT10), (CIFAR100, LT100)])
def test_long_tailed_counts_are_cui_s(labels, counts):
    assert np.bincount(labels[long_tailed(labels, 0.01)]).tolist() == counts


@pytest.mark.parametrize(
    ("factor", "ten", "hundred"),
    [(0.005, 11203, 9502), (0.02, 13996, 12608), (0.05, 17023, 15907), (0.1, 20431, 19573)],
)
def test_long_tailed_sums_for_other_factors(factor, ten, hundred):
    assert len(long_tailed(CIFAR10, factor)) == ten
    assert len(long_tailed(CIFAR100, factor)) == hundred


@pytest.mark.parametrize("how", ["random", "first"])
def test_split_is_disjoint_complete_and_sorted(how):
    found = step(CIFAR10, (0, 2), 0.013, 0.77, how, 3)
    together = np.concatenate(found)
    assert np.array_equal(np.sort(together), np.arange(50000)) and together.dtype == np.int32
    assert all((np.diff(part) > 0).all() for part in found)


def test_first_takes_the_first_of_each_class():
    labeled, _ = step(np.array([1, 0, 0, 1, 1, 0, 0, 1]), (0,), 0.25, 0.5, "first")
    assert labeled.tolist() == [0, 1, 3]


def test_random_follows_the_seed():
    a, again, b = (step(CIFAR10, (0,), 0.01, 0.9, seed=seed)[0] for seed in (0, 0, 1))
    assert np.array_equal(a, again) and not np.array_equal(a, b)


def test_a_ratio_that_floats_miss_is_not_cut_short():
    labeled, _ = step(np.repeat([0, 1], 100), (0,), 0.29, 0.57)
    assert len(labeled) == 29 + 57  # 0.29 * 100 is 28.999999999999996


def test_a_class_without_a_labeled_image_is_refused():
    with pytest.raises(ValueError, match="class 0 keeps none of its 50"):
        step(np.repeat([0, 1], 50), (0,), 0.01, 0.9)


def test_description_has_the_real_sizes():
    said = splits.describe(np.repeat([0, 1], [5, 90]), 105, (0,))
    assert said == "95 labeled images (5 of minor classes), 105 unlabeled; class sizes 5 to 90"


def test_images_held_out_are_as_many_of_each_class_and_the_rest_is_kept():
    labels = np.arange(40) % 4
    kept, held = splits.hold_out(labels, 3, seed=1)
    assert np.bincount(labels[held]).tolist() == [3, 3, 3, 3]
    assert sorted([*kept, *held]) == list(range(40))
    assert (
        held.tolist()
        == splits.hold_out(labels, 3, seed=1)[1].tolist()
        != splits.hold_out(labels, 3, seed=2)[1].tolist()
    )
    everything, nothing = splits.hold_out(labels, 0)
    assert everything.tolist() == list(range(40))
    assert everything.dtype == np.int32
    assert not len(nothing)
    with pytest.raises(ValueError, match="the 10 images of a class: hold out fewer"):
        splits.hold_out(labels, 10)


def test_near_copies_in_two_classes_leave_none_untested():
    """A group that two classes share was held out for the one and taken back for the other."""
    groups, chances = np.array([0, 1, 0, 2]), np.array([0.5, 0.9, 0.6, 0.3])
    held = splits.hold_out_groups(
        np.array([0, 0, 1, 1]), ("a", "b"), chances, groups, np.ones(4, bool)
    )
    assert held.tolist() == [1, 3]
    chain = splits.hold_out_groups(
        np.array([0, 0, 1, 1]),
        ("a", "b"),
        np.array([0.5, 0.6, 0.6, 0.7]),
        np.array([0, 1, 1, 2]),
        np.ones(4, bool),
    )
    assert chain.tolist() == [0, 3]
    triangle = np.array(
        [0, 1, 1, 2, 2, 0]
    )  # no group can be held out without another class losing both of its own
    with pytest.raises(
        ValueError, match="no group of class . can be held out without .*: give --test_dir"
    ):
        splits.hold_out_groups(
            np.array([0, 0, 1, 1, 2, 2]),
            ("a", "b", "c"),
            np.array([0.3, 0.5, 0.5, 0.3, 0.3, 0.3]),
            triangle,
            np.ones(6, bool),
        )


def test_a_fifth_of_each_class_is_held_out_and_stays_when_images_are_added():
    for seed in range(30):
        chances = np.random.default_rng(seed).random(4012)
        y = np.repeat([0, 1], [4000, 12])
        before = splits.hold_out_groups(y, ("a", "b"), chances, np.arange(4012), y >= 0)
        counts = np.bincount(y[before])
        assert abs(counts[0] - 800) <= 80 and counts[1] in (2, 3)
        half = np.arange(4012) % 2 == 0
        after = splits.hold_out_groups(y, ("a", "b"), chances, np.arange(4012), half)
        moved = np.setxor1d(after, before[half[before]])
        assert len(moved) <= 20  # of 2,006, where a fifth drawn again would move 640


def test_a_group_lies_on_one_side():
    y, groups = np.repeat([0, 1], [80, 15]), np.repeat(np.arange(19), 5)
    for seed in range(30):
        chances = np.random.default_rng(seed).random(19)[groups]
        held = splits.hold_out_groups(y, ("a", "b"), chances, groups, y >= 0)
        assert np.bincount(groups[held]).tolist().count(5) * 5 == len(held)
        assert np.bincount(y[held]).tolist() in ([15, 5], [20, 5])
