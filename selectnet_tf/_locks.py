"""Locks: one process at a time trains a run, on all hosts together.

A flock excludes the processes of one host and ends with its process. It may not reach other hosts
of a shared storage. So inside it is a lock with heartbeats, which another host may take after LIMIT
seconds without one.
"""

import contextlib
import errno
import functools
import os
import pathlib
import platform
import shutil
import sys
from collections.abc import Iterator

import filelock

BEAT = 30.0  # seconds between two heartbeats
LIMIT = 90.0  # seconds without a heartbeat, by the waiting host's clock, that free a lock
# errors of a storage without flock
NO_FLOCK = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
TAKEN = "is already at work in"


@contextlib.contextmanager
def lock(path: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds a lock, among the processes of all hosts; a process that loses it exits.

    Args:
        path: the lock's file.
        wait: whether to wait for another holder. Without it, a holder on this host is an error at
            once, one on another host after LIMIT seconds with heartbeats.

    Raises:
        BlockingIOError: another process holds it; names the process.
    """
    with contextlib.ExitStack() as held:
        _acquire(path, held, *((-1, -1) if wait else (0, 1.1 * LIMIT)))
        path.write_text(f"process {os.getpid()} on {platform.node()}\n{_mount(path)}\n")
        yield


def is_held(path: pathlib.Path) -> bool:
    """Returns whether another process holds a lock; a death elsewhere shows after LIMIT seconds."""
    try:
        with contextlib.ExitStack() as held:
            _acquire(path, held, 0, 0)
            return False
    except BlockingIOError:
        return True


def _acquire(path: pathlib.Path, held: contextlib.ExitStack, here: float, elsewhere: float) -> None:
    """Acquires both locks.

    Args:
        path: the lock's file.
        held: releases the locks.
        here: seconds to wait for a holder on this host; -1: for ever.
        elsewhere: seconds to wait for a holder on another host; -1: for ever.
    """
    reached = False
    try:
        try:
            held.enter_context(filelock.FileLock(path, here, fallback_to_soft=False))
            reached = True
        except OSError as error:
            if error.errno not in NO_FLOCK:
                raise
        holder, mount = [*_read_lines(path), "another process", ""][:2]
        if reached and mount == _mount(path):  # its flock is free, so the holder is gone
            _discard(path.with_name(f"{path.name}.rw"))
        try:
            held.enter_context(_lease(path).acquire_write(0))
        except filelock.Timeout:
            if elsewhere > 0:
                wait = f"or was: waiting {LIMIT:.0f} s for its heartbeat"
                print(f"{holder} {TAKEN} {path.parent}, {wait}", flush=True)
            held.enter_context(_lease(path).acquire_write(elsewhere))
    except filelock.Timeout:
        holder = [*_read_lines(path), "another process"][0]
        raise BlockingIOError(f"{holder} {TAKEN} {path.parent}: wait for it or stop it") from None
    except OSError:  # a storage without hard links, or another user's folder
        if not reached:
            raise


@functools.cache  # kept, for it finds a holder elsewhere dead only after LIMIT seconds
def _lease(path: pathlib.Path) -> filelock.SoftReadWriteLock:
    return filelock.SoftReadWriteLock(
        path, heartbeat_interval=BEAT, stale_threshold=LIMIT, on_compromise=_lost
    )


def _lost(found: filelock.LeaseCompromise) -> None:
    """Exits: after a long halt another process may hold the lock, so this one must not write."""
    print(
        f"error: lost {found.lock_file} ({found.reason}): another process may hold it; start this"
        " one again",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _mount(path: pathlib.Path) -> str:
    """Returns the kernel and the storage's mount: processes that share them share flocks."""
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip() if boot.exists() else platform.node()} {path.stat().st_dev}"


def _read_lines(path: pathlib.Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _discard(folder: pathlib.Path) -> None:
    """Deletes a folder, moved aside first so that no other process meets a part of it."""
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
