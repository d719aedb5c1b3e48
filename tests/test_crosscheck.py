"""The independent implementation's files, without PyTorch, Triton and Numba: stand-ins take their places."""

import sys
import types

import numpy as np
import pandas as pd
import pytest
from conftest import load_script

MADE = ["abc1234", "torch 2, numba 1", "a card"]


@pytest.fixture
def train(monkeypatch):
    stands_in = {
        "numba": {"njit": lambda **_: lambda function: function},
        "net": {"RECIPES": {"sgd": (0, 0.01, 1e-6, 0.2)}, "Network": None},
    }
    for name in ("torch", "triton", "numba", "net"):
        monkeypatch.setitem(
            sys.modules, name, types.SimpleNamespace(__version__="1.0", **stands_in.get(name, {}))
        )
    return load_script("experiments/crosscheck/train.py")


def test_a_row_tells_its_origin_and_other_columns_are_not_mixed_in(train, tmp_path):
    path, member = tmp_path / "picks.csv", train.Member.of("method=context,tau=0.5,seed=2")
    for epoch in (10, 20):  # the second one appends
        train.Table(path, ["epoch", *train.PICKS], MADE, start=0).add(
            member, epoch, 2, 30, 20, 5, 4, 3
        )
    table = pd.read_csv(path)
    assert list(table.epoch) == [10, 20] and list(table.tau) == [0.5, 0.5]
    assert table[["commit", "versions", "device"]].values.tolist() == [MADE, MADE]
    assert (table.seconds > 0).all()
    path.write_text("recipe,method\n")
    with pytest.raises(SystemExit, match="picks.csv has other columns: give another --out"):
        train.Table(path, ["epoch", *train.PICKS], MADE, start=0)
    assert path.read_text() == "recipe,method\n"


def test_random_draws_as_many_candidates_as_context_picks(train):
    labels, probs = (
        np.tile(np.arange(10), 6000),
        np.random.default_rng(0).dirichlet([0.3] * 10, 50000),
    )
    found = {}
    for method in ("context", "random"):
        member = train.Member.of(f"method={method},threshold=0.4,seed=1")
        member.prepare(labels)
        member.select(probs)
        found[method] = member.index[len(member.own) :]
    assert len(found["random"]) == len(found["context"]) > 1000
    assert set(found["random"]) != set(found["context"])
    assert np.isin(probs[found["random"]].argmax(1), train.MINOR).all()


def test_copies_and_a_cosine_are_a_member_s(train):
    member = train.Member.of("method=imbalanced,copies=20,lr_schedule=cosine")
    member.prepare(np.tile(np.arange(10), 6000))
    counts = np.bincount(member.targets)
    assert counts.tolist() == [50 * 21 if c in train.MINOR else 4500 for c in range(10)]
    assert [member.rate_at(epoch, 40) for epoch in (0, 20)] == pytest.approx([0.01, 0.005])
    assert member.optimizer() == (0, 0.01, 0.0, 0.2)
