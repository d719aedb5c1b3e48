from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from selectnet_tf.runs import picks

NOTHING = SimpleNamespace(
    epoch=10,
    index=np.zeros(0, int),
    target=np.zeros(0, int),
    predicted=np.zeros(0, int),
    score=np.zeros(0),
    loss=np.zeros(0),
)


@pytest.mark.parametrize("history", [[], [NOTHING, NOTHING]], ids=["no round", "empty rounds"])
def test_a_run_that_picks_nothing_leaves_empty_lists(history, tmp_path, monkeypatch):
    task = SimpleNamespace(
        files=["a.png"],
        index=np.arange(1),
        x_labeled=np.zeros((1, 2)),
        y_labeled=np.zeros(1, int),
        x_unlabeled=np.zeros((0, 2)),
        x_test=np.zeros((1, 2)),
        y_test=np.zeros(1, int),
        truth=np.array([0]),
        names=("cat", "dog"),
    )
    monkeypatch.setattr(picks, "Scorer", lambda _, images, features: lambda: (None, images))
    picks.write_picks(tmp_path, history, task)
    picks.write_selected(tmp_path, None, history, task)
    assert (tmp_path / "selected.csv").read_text() == (
        "file,pseudo_label,score,loss,first_chosen,last_chosen,rounds,p_right,second,p_second\n"
    )
    assert (tmp_path / "suspects.csv").read_text() == "file,label,p_right,second,p_second\n"
    assert len(np.load(tmp_path / "selected.npz")["index"]) == 0


def test_a_file_may_have_any_name(tmp_path):
    task = SimpleNamespace(files=["a.png", "caf\udce9.png"], index=np.arange(2))
    picks._write_by_file(tmp_path / "a.csv", pd.DataFrame({"score": [0.5]}, index=[1]), task)
    assert (tmp_path / "a.csv").read_bytes() == b"file,score\ncaf\xe9.png,0.5\n"


def test_exchanged_labels_are_found():
    """Three heaps of 20, with one label of the first exchanged, and a class of one image."""
    truth = np.append(np.arange(60) % 3, 3)
    features = np.random.default_rng(0).normal(size=(61, 4)) + 6 * np.eye(4)[truth]
    labels = truth.copy()
    labels[0] = 2
    probs = picks.estimate_out_of_fold(features, labels, 5, features, truth)
    found = picks.compare_labels(labels, probs)
    assert found.query("p_second > p_right").index.tolist() == [0] and found.second[0] == 0
    assert found.p_right[1:60].min() > 0.5 and found[60:].isna().all(axis=None)
    one = features[:1], labels[:1]
    assert np.isnan(picks.estimate_out_of_fold(*one, 5, *one)).all()


def test_probabilities_are_as_sure_as_the_features_are_of_new_images():
    """A network that has learned its labeled images by heart, and is right on 3 in 5 new ones."""
    rng = np.random.default_rng(0)
    y, y_test = np.arange(400) % 2, np.arange(200) % 2
    shown = np.where(rng.random(200) < 0.6, y_test, 1 - y_test)
    x, x_test = (rng.normal(size=(len(c), 4)) + 4 * np.eye(4)[c] for c in (y, shown))
    probs = picks.estimate_out_of_fold(x, y, 2, x_test, y_test)
    assert 0.5 < probs[range(400), y].mean() < 0.7


# the margins are 0.1, 0.2, 0.3, 0.4 and, of two major classes, 0
PROBS = np.array(
    [[0.5, 0.4, 0.1], [0.1, 0.4, 0.5], [0.6, 0.3, 0.1], [0.7, 0.3, 0.0], [0.0, 0.5, 0.5]]
)[[0, 1, 3, 2, 4]]


def test_the_uncertain_come_first_and_one_of_two_classes_is_minor():
    assert picks.rank_uncertain(PROBS, np.array([0])).tolist() == [
        0,
        3,
        2,
    ]  # 1 and 4 hang between the majors
    assert picks.rank_uncertain(PROBS, np.array([0, 2])).tolist() == [4, 0, 1, 3, 2]
    assert picks.rank_uncertain(PROBS[:0], np.array([0])).tolist() == []


def test_no_two_are_alike():
    """Twenty images in two heaps."""
    features = np.array([[0.0, 0], [9, 0]])[np.arange(20) % 2]
    for seed in range(5):
        first, second = picks.choose_diverse(features, 2, seed)
        assert first < second and (first + second) % 2 == 1


def test_what_was_picked_is_not_asked(tmp_path, monkeypatch):
    """Of six images of the pool two were picked, in two rounds."""
    pool = SimpleNamespace(labeled=np.arange(8) < 2, minor=np.array([0]))
    history = [SimpleNamespace(index=np.array([0, 2])), SimpleNamespace(index=np.array([3]))]
    selection = SimpleNamespace(pool=pool, history=history)
    probs = np.repeat([[0.55, 0.45]], 6, 0)
    monkeypatch.setattr(
        picks,
        "Scorer",
        lambda model, images, features=False: lambda: (probs, images[np.arange(len(images))]),
    )
    task = SimpleNamespace(
        x_unlabeled=np.arange(12).reshape(6, 2),
        files=[f"{i}.png" for i in range(8)],
        index=np.arange(8)[::-1],
        names=("cat", "dog"),
    )
    picks.write_uncertain(tmp_path, None, selection, task, 50, 0)
    lines = (tmp_path / "ask.csv").read_text().splitlines()
    assert lines[:2] == ["file,likeliest,p_likeliest,second,p_second", "3.png,cat,0.55,dog,0.45"]
    assert [line.split(",")[0] for line in lines[1:]] == ["3.png", "2.png", "1.png", "0.png"]
    picks.write_uncertain(tmp_path, None, selection, task, 2, 0)
    assert len((tmp_path / "ask.csv").read_text().splitlines()) == 3


def test_nothing_is_asked_where_there_is_nothing_to_ask_about(tmp_path):
    pool = SimpleNamespace(labeled=np.ones(3, bool))
    some = SimpleNamespace(labeled=np.arange(3) < 1)
    for files, count, rows in (([], 5, some), (["a"], 0, some), (["a"], 5, pool)):
        selection, task = SimpleNamespace(pool=rows), SimpleNamespace(files=files)
        picks.write_uncertain(tmp_path, None, selection, task, count, 0)
    assert not list(tmp_path.iterdir())
