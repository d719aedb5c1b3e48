from types import SimpleNamespace

import numpy as np
import pytest

from selectnet_tf._csv_files import read_csv
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
def test_a_run_that_picks_nothing_leaves_empty_lists(history, tmp_path):
    task = SimpleNamespace(
        files=["a.png"],
        index=np.arange(1),
        y_labeled=np.zeros(1, int),
        truth=np.array([0]),
        names=("cat", "dog"),
    )
    picks.write_picks(tmp_path, history, task)
    assert (
        tmp_path / "selected.csv"
    ).read_text() == "file,pseudo_label,score,loss,first_chosen,last_chosen,rounds\n"
    assert (
        read_csv(tmp_path / "selected.csv") == []
        and len(np.load(tmp_path / "selected.npz")["index"]) == 0
    )
