"""What a run says while it trains."""

import json
from types import SimpleNamespace

import numpy as np

from selectnet_tf.runs import log as log_module
from selectnet_tf.runs.log import Log
from selectnet_tf.selection import Round

TASK = SimpleNamespace(truth=None, names=[])


def test_the_time_left_is_by_the_pace_of_this_process(tmp_path, capsys):
    pool = SimpleNamespace(index=np.arange(32))
    selection = SimpleNamespace(pool=pool, rule=None, every=2)
    log = Log(tmp_path, selection, TASK, SimpleNamespace(epochs=4, batch_size=32))
    before = {"rows": [{"epoch": 1, "images": 32}], "audits": [], "selecting": 0.0}
    log.set_state({"json": np.array(json.dumps(before | {"seconds": 1e6}))})  # a suspended laptop
    log.on_epoch_begin(1)
    log.on_epoch_end(1, {"loss": 1.0, "val_loss": 1.0})
    assert capsys.readouterr().out == "epoch 2/4: 0 s left\n"
    assert log.seconds > 1e6


def test_the_time_of_an_epoch_that_was_stopped_half_way_counts(tmp_path, monkeypatch):
    selection = SimpleNamespace(pool=SimpleNamespace(index=np.arange(32)), rule=None, every=9)
    logs, clock = {"loss": 1.0, "val_loss": 1.0}, iter([10.0, 15.0, 20.0, 23.0, 100.0, 102.0])
    monkeypatch.setattr(log_module.time, "perf_counter", lambda: next(clock))

    def begin(epoch, state=None):
        log = Log(tmp_path, selection, TASK, SimpleNamespace(epochs=4, batch_size=32))
        if state:
            log.set_state(state)
        log.on_epoch_begin(epoch)
        return log

    first = begin(0)
    first.on_epoch_end(0, dict(logs))
    assert first.seconds == 5 == json.loads(str(first.get_state()["json"]))["seconds"]
    first.on_epoch_begin(1)
    second = begin(1, first.get_state())  # as the state of a signal within the epoch
    second.on_epoch_end(1, dict(logs))
    assert second.seconds == 5 + 3 + 2


def test_epochs_after_the_last_whole_round_are_none(tmp_path):
    pool = SimpleNamespace(index=np.arange(32), labeled=np.ones(32, bool))
    selection = SimpleNamespace(pool=pool, rule=None, every=10)
    log = Log(tmp_path, selection, TASK, SimpleNamespace(epochs=25, batch_size=32))
    log.audits, log.rows, log.seconds = [{}, {}], [{"images": 32}] * 20, 1.0
    none = np.zeros(0, np.int32)
    last = Round(20, 5, none, none, none, none, none, 0.0, 0.0, 0.0, 1.0)
    assert log._describe_round(last, np.nan, {}).startswith("round 2/2: 5 candidates, 0 added")
