"""Claims without a flock that would help: processes that stand for hosts, dead holders, late contenders, a holder that stood still."""

import contextlib
import errno
import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from selectnet_tf import files
from selectnet_tf.experiment import claims, rows

ELSEWHERE = """
import contextlib, pathlib, sys, time
from selectnet_tf import files
from selectnet_tf.experiment import claims
files.lock = lambda path, wait=False: contextlib.nullcontext()  # a storage whose flock reaches one host only
claims.host = lambda: HOST
claims.BEAT, claims.STALE, claims.POLL = 0.05, 3.0, 0.002
"""


def on_host(name, code, *words):
    """A process that believes to be on a host of that name, and to have no flock."""
    return subprocess.Popen(
        [sys.executable, "-c", ELSEWHERE.replace("HOST", repr(name)) + code, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def no_flock(monkeypatch):
    monkeypatch.setattr(files, "lock", lambda path, wait=False: contextlib.nullcontext())


def plant(folder, host="far-away", process=1, age=0.0, token="old"):
    """A claim of some other host that beat `age` seconds ago."""
    folder.mkdir()
    (folder / "holder.json").write_text(json.dumps({"token": token, "host": host, "process": process}))
    then = time.time() - age
    os.utime(folder / "holder.json", (then, then))


def test_hosts_without_a_common_flock_never_work_at_once(tmp_path):
    code = """
for _ in range(15):
    with claims.claim(pathlib.Path(sys.argv[1]) / ".lock", wait=True):
        count = pathlib.Path(sys.argv[1]) / "count"
        n = int(count.read_text())
        time.sleep(0.002)
        count.write_text(str(n + 1))
"""
    (tmp_path / "count").write_text("0")
    processes = [on_host(f"host{i}", code, tmp_path) for i in range(4)]
    assert [p.wait(60) for p in processes] == [0] * 4
    assert (tmp_path / "count").read_text() == "60"
    assert [p.name for p in tmp_path.iterdir()] == ["count"]


def test_a_beating_claim_outlasts_its_time_and_is_given_back(tmp_path, monkeypatch, no_flock):
    monkeypatch.setattr(claims, "STALE", 3.0)
    held = on_host(
        "far-away", "with claims.claim(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); sys.stdin.read()", tmp_path / ".lock"
    )
    held_in = held.stdout.readline()
    assert held_in == "held\n" and claims.busy(tmp_path / ".lock")
    with (
        pytest.raises(BlockingIOError, match=rf"process {held.pid} on far-away is training this run \({tmp_path.name}\)"),
        claims.claim(tmp_path / ".lock"),
    ):
        pass
    held.kill()
    held.wait()
    assert claims.busy(tmp_path / ".lock")  # nobody can tell yet
    with claims.claim(tmp_path / ".lock", wait=True):
        assert claims.holder(claims.folder_of(tmp_path / ".lock")).process == os.getpid()
    assert not claims.busy(tmp_path / ".lock")


@pytest.mark.parametrize(
    ("host", "process", "age", "alive"),
    [
        ("far-away", 1, 10.0, True),
        ("far-away", 1, 299.0, True),
        ("far-away", 1, 301.0, False),
        (claims.host(), os.getpid(), 10.0, True),
        (claims.host(), 2**22 + 1, 10.0, False),  # no such process: it died here, and needs no waiting for
        (claims.host(), os.getpid(), 301.0, False),  # its number is another's by now
    ],
)
def test_a_claim_is_anybody_s_once_its_holder_is_dead(host, process, age, alive, tmp_path, no_flock):
    folder = tmp_path / ".lock.claim"
    plant(folder, host, process, age)
    assert claims.busy(tmp_path / ".lock") == alive
    with contextlib.suppress(BlockingIOError), claims.claim(tmp_path / ".lock"):
        assert not alive and claims.holder(folder).process == os.getpid()
    assert claims.busy(tmp_path / ".lock") == alive


def test_who_comes_late_does_not_move_the_successor(tmp_path):
    folder = tmp_path / "claim"
    plant(folder, age=1000)
    seen_by_both = claims.holder(folder)
    with claims.hold(folder):
        token = claims.holder(folder).token
        claims._bury(folder, seen_by_both)
        assert claims.holder(folder).token == token


def test_a_claim_that_says_nothing_is_waited_for_and_then_taken(tmp_path):
    folder = tmp_path / "claim"
    for day in (1, 2):
        folder.mkdir()
        (folder / "holder.json").write_text('{"tok')
        assert claims.holder(folder).alive
        os.utime(folder, (day * 86400, day * 86400))
        with claims.hold(folder):
            assert claims.holder(folder).process == os.getpid()


def test_an_older_version_s_lock_counts(tmp_path):
    with files.lock(tmp_path / ".lock"), pytest.raises(BlockingIOError), claims.claim(tmp_path / ".lock"):
        pass
    with files.lock(tmp_path / ".lock"):
        assert claims.busy(tmp_path / ".lock")
    assert not claims.busy(tmp_path / ".lock")
    with claims.claim(tmp_path / ".lock"), pytest.raises(BlockingIOError), files.lock(tmp_path / ".lock"):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_storage_that_knows_no_flock_is_enough(number, tmp_path, monkeypatch):
    def flock(file, how):
        raise OSError(number, "not supported")

    monkeypatch.setattr(files.fcntl, "flock", flock)
    assert not claims.busy(tmp_path / ".lock")
    with claims.claim(tmp_path / ".lock"), pytest.raises(BlockingIOError), claims.claim(tmp_path / ".lock"):
        pass
    monkeypatch.setattr(files.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(OSError, match="broken"), claims.claim(tmp_path / ".lock"):
        pass


def test_rows_are_written_where_there_is_no_flock(tmp_path, monkeypatch):
    monkeypatch.setattr(files.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
    rows.write(tmp_path, "a", {"name": "a", "accuracy": 0.5})
    assert rows.row_of(tmp_path, "a")["accuracy"] == "0.5" and [path.name for path in tmp_path.glob("*.claim*")] == []


def test_the_heart_beats_on_after_a_storage_that_was_full(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "BEAT", 0.01)
    now = claims._now
    with claims.hold(tmp_path / "claim"):
        with monkeypatch.context() as patch:
            patch.setattr(claims, "_now", lambda folder: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
            time.sleep(0.1)
        assert claims._now is now
        before = (tmp_path / "claim" / "holder.json").stat().st_mtime_ns
        for _ in range(500):
            if (tmp_path / "claim" / "holder.json").stat().st_mtime_ns > before:
                return
            time.sleep(0.01)
    pytest.fail("no beat in five seconds")


def test_a_holder_that_stood_still_stops_before_it_writes(tmp_path, monkeypatch):
    lost = []
    monkeypatch.setattr(claims, "BEAT", 0.02)
    monkeypatch.setattr(claims, "_lost", lost.append)
    with claims.hold(tmp_path / "claim"):
        mine = claims.holder(tmp_path / "claim")
        (tmp_path / "claim" / "holder.json").write_text("torn")  # as storage may show it for a moment
        time.sleep(0.1)
        assert not lost
        (tmp_path / "claim").rename(tmp_path / "aside")
        plant(tmp_path / "claim", token="new")
        time.sleep(0.1)
    assert lost[0].token == "new" != mine.token and claims.holder(tmp_path / "claim").token == "new"


def test_losing_a_claim_ends_the_process_in_one_line(tmp_path):
    code = """
with claims.claim(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    try:
        time.sleep(30)
    finally:
        print("wrote its state")
"""
    process = on_host("here", code, tmp_path / ".lock")
    assert process.stdout.readline() == "held\n"
    folder = claims.folder_of(tmp_path / ".lock")
    folder.rename(tmp_path / "aside")
    plant(folder)
    assert process.wait(20) == 1 and process.stdout.read() == ""


def test_what_the_dead_leave_is_cleared_a_day_later(tmp_path, monkeypatch):
    plant(tmp_path / "claim", age=1000)
    with claims.hold(tmp_path / "claim"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["claim.old.dead"]
    now = claims._now
    monkeypatch.setattr(claims, "_now", lambda folder: now(folder) + 90000)
    with claims.hold(tmp_path / "claim"):
        pass
    assert list(pathlib.Path(tmp_path).iterdir()) == []
