"""examples/one_file.py, which doesn't import the library, does what the library does: given the same scores, the same picks."""

import pathlib
import types

import numpy as np
import pytest
from conftest import load_script

from selectnet_tf.pool import Pool
from selectnet_tf.rules import SelectNet
from selectnet_tf.selection import Selection, compute_losses
from selectnet_tf.selector import Selector

PATH = pathlib.Path(__file__).parent.parent / "examples" / "one_file.py"


@pytest.fixture(scope="module")
def example() -> types.ModuleType:
    return load_script(PATH)


@pytest.fixture(scope="module")
def rounds(example) -> tuple:
    """x, y and labeled of the digits, D first as in a Pool, and the probabilities after two and after four epochs."""
    x, y, labeled, *_ = example.load()
    first = np.argsort(~labeled, kind="stable")
    x, y, labeled = x[first], y[first], labeled[first]
    classifier, index = example.build_classifier(), example.oversampled(y, labeled)
    probs = []
    for _ in range(2):
        classifier.fit(x[index], y[index], 32, epochs=2, verbose=0)
        probs.append(classifier.predict(x, verbose=0))
    return x, y, labeled, probs


def library_order(n: int, round: int, epoch: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, 3, round, epoch]).permutation(n)


def test_two_rounds_pick_and_swap_as_the_library_does(example, rounds, monkeypatch):
    monkeypatch.setattr(example, "order", library_order)
    x, y, labeled, all_probs = rounds
    n, selector = labeled.sum(), example.build_selector()
    mine = Selector(11, "glorot", seed=0)
    selector.set_weights([w for layer in mine._layers(mine.weights[0]) for w in layer])
    pool = Pool(x[:n], y[:n], x[n:], example.MINOR)
    selection = Selection(pool, SelectNet(example.THRESHOLD), every=1, from_logits=False)
    for round, probs in enumerate(all_probs):
        selection.scorer = lambda probs=probs: (probs, None)
        theirs = selection.select(round + 1)
        mask = example.select(selector, probs, round)
        assert np.array_equal(np.flatnonzero(mask), theirs.index)
        assert (
            50 < (mask & ~labeled).sum() < example.score(probs)[1].sum()
        )  # some candidates are picked and some are not
        z = np.column_stack([probs, example.score(probs)[0]])
        assert np.allclose(selector.predict(z, verbose=0)[:, 0], selection.rule.output, atol=1e-3)
        index, targets = example.swap(y, labeled, probs, mask)
        assert np.array_equal(index, pool.index) and np.array_equal(targets, pool.targets)


def test_loss_and_candidates_are_the_library_s(example, rounds):
    x, y, labeled, (probs, _) = rounds
    loss, candidate = example.score(probs)
    assert np.array_equal(loss, compute_losses(probs, y, labeled, "predicted"))
    assert candidate.sum() > 100 and set(probs.argmax(1)[candidate]) <= {0, 2, 6, 7}


def test_oversampling_evens_the_classes_out_and_keeps_every_labeled_image(example, rounds):
    x, y, labeled, _ = rounds
    index = example.oversampled(y, labeled)
    counts = np.bincount(y[index])
    assert counts.min() == counts.max() == np.bincount(y[labeled]).max() and labeled[index].all()
    assert set(index) == set(np.flatnonzero(labeled))


def test_the_pool_s_true_labels_never_reach_what_is_trained_on(example, rounds):
    x, y, labeled, (probs, _) = rounds
    other = np.where(labeled, y, -1)
    mask = example.score(probs)[1]
    for seen, hidden in zip(
        example.swap(y, labeled, probs, mask),
        example.swap(other, labeled, probs, mask),
        strict=True,
    ):
        assert np.array_equal(seen, hidden)


def test_it_does_not_import_the_library():
    text = PATH.read_text()
    assert "import selectnet_tf" not in text and "from selectnet_tf" not in text
