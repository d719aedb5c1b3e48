"""Locks among processes of one host, and of hosts whose flocks don't reach each other; the holders die, stop, or live on."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from selectnet_tf import _locks
from selectnet_tf.runs import store

HOST = """
import fcntl, pathlib, platform, sys, time
from selectnet_tf import _locks
_locks.BEAT, _locks.LIMIT, path = 0.3, 1.5, pathlib.Path(sys.argv[1])
if NAME:
    platform.node, _locks._mount, fcntl.flock = lambda: NAME, lambda path: NAME, lambda *_: None
"""
HOLD = """
with _locks.lock(path):
    print("held", flush=True)
    while True:
        time.sleep(0.01)
        path.with_name("written").write_text(str(time.time()))
"""


def start(code, path, name=""):
    """A process on this host, or on one of that name, which no flock of another reaches."""
    command = [sys.executable, "-c", HOST.replace("NAME", repr(name)) + code, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(_locks, "BEAT", 0.3)
    monkeypatch.setattr(_locks, "LIMIT", 1.5)
    _locks._lease.cache_clear()
    (tmp_path / "run").mkdir()
    yield tmp_path / "run" / ".lock"
    _locks._lease.cache_clear()


@pytest.fixture
def holder(path):
    """Starts a process that holds the lock and writes all the time."""
    started = []

    def hold(name=""):
        started.append(process := start(HOLD, path, name))
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def alone(monkeypatch):
    """This process, on a host whose flock reaches no other's."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)


def test_hosts_without_a_common_flock_never_work_at_once(path):
    code = """
for _ in range(4):
    with _locks.lock(path, wait=True):
        count = path.with_name("count")
        n = int(count.read_text())
        time.sleep(0.02)
        count.write_text(str(n + 1))
"""
    path.with_name("count").write_text("0")
    processes = [start(code, path, f"host{i}") for i in range(3)]
    assert [p.wait(60) for p in processes] == [0] * 3
    assert path.with_name("count").read_text() == "12"


def test_the_second_process_of_a_host_is_told_at_once_who_the_first_is(path, holder, capsys):
    first = holder()
    assert _locks.is_held(path)
    with (
        pytest.raises(
            BlockingIOError,
            match=rf"^process {first.pid} on \S+ is already at work in \S+run: wait",
        ),
        _locks.lock(path),
    ):
        pass
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", ["", "a-container-of-this-host"])
def test_after_kill_9_this_host_goes_on_at_once(name, path, holder, monkeypatch, capsys):
    process = holder()
    process.kill()
    process.wait()
    if name:
        monkeypatch.setattr(_locks.platform, "node", lambda: name)
    assert not _locks.is_held(path)
    with _locks.lock(path):
        assert path.read_text().startswith(f"process {os.getpid()} on {name}")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("ahead", [0, 86400])
def test_after_a_death_elsewhere_this_host_says_how_long_it_waits_and_goes_on(
    ahead, path, holder, alone, capsys
):
    process = holder("far-away")
    process.kill()
    process.wait()
    for file in path.parent.rglob("*"):
        os.utime(file, (time.time() + ahead,) * 2)
    began = time.monotonic()
    with _locks.lock(path):
        assert 1 < time.monotonic() - began < 10
    said = f"process {process.pid} on far-away is already at work in {path.parent}, or was: waiting 2 s for its heartbeat\n"
    assert capsys.readouterr().out == said


def test_a_sweep_notices_a_death_elsewhere(path, holder, alone):
    process = holder("far-away")
    assert _locks.is_held(path)
    process.kill()
    began = time.monotonic()
    while _locks.is_held(path):
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    assert time.monotonic() - began > 1


def test_a_living_holder_elsewhere_keeps_its_lock(path, holder, alone):
    first = holder("far-away")
    with (
        pytest.raises(
            BlockingIOError, match=rf"process {first.pid} on far-away is already at work in \S+run:"
        ),
        _locks.lock(path),
    ):
        pass
    assert first.poll() is None and _locks.is_held(path)


def test_who_lost_its_lock_writes_nothing_more(path, holder, alone):
    process = holder("far-away")
    process.send_signal(signal.SIGSTOP)
    with _locks.lock(path):
        written = path.with_name("written")
        written.unlink(missing_ok=True)
        process.send_signal(signal.SIGCONT)
        said = process.communicate(timeout=10)[1]
        assert process.returncode == 1
        assert said.startswith(f"error: lost {path}")
        assert said.count("\n") == 1
        lines = written.read_text() if written.exists() else ""
        time.sleep(0.1)
        assert (written.read_text() if written.exists() else "") == lines


def fail(number):
    def raising(*_, **__):
        raise OSError(number, os.strerror(number))

    return raising


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_storage_without_flock_is_enough(number, path, holder, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", fail(number))
    store.write_row(path.parent, "a", {"name": "a", "accuracy": 0.5})
    assert store.read_row(path.parent, "a")["accuracy"] == "0.5" and not _locks.is_held(path)
    holder("far-away")
    with pytest.raises(BlockingIOError), _locks.lock(path):
        pass


def test_storage_without_hard_links_is_enough_where_there_is_flock(path, holder, monkeypatch):
    first = holder()
    monkeypatch.setattr("filelock._soft._read_write._storage.link_no_follow", fail(errno.EPERM))
    assert _locks.is_held(path)
    first.kill()
    first.wait()
    with _locks.lock(path):
        pass
    monkeypatch.setattr(fcntl, "flock", fail(errno.ENOLCK))
    with pytest.raises(OSError, match="not permitted"), _locks.lock(path):
        pass


def test_a_storage_that_fails_is_no_storage_without_locks(path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", fail(errno.EIO))
    with pytest.raises(OSError, match="Input/output error"), _locks.lock(path):
        pass
