"""Locks: one process at a time trains a run, on all hosts together.

A flock excludes the processes of one host and ends with its process. It may not reach the hosts
that share a storage, so inside it is a lock with heartbeats, which another host may take once
nothing was heard of its holder for LIMIT seconds.
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
LIMIT = 90.0  # seconds without one after which a lock is anybody's, by the clock of who waits
NO_FLOCK = (
    errno.ENOLCK,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
)  # of a storage without flock
TAKEN = "is training this run"


@contextlib.contextmanager
def lock(path: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds `path` for this process alone, among the processes of all hosts; one that loses it ends
    at once.

    wait: for as long as another process holds it. Without it, a process of this host that holds it
    is an error at once, one of another host after LIMIT seconds in which it was heard of.

    Raises:
        BlockingIOError: another process holds it; names it.
    """
    with contextlib.ExitStack() as held:
        _acquire(path, held, *((-1, -1) if wait else (0, 1.1 * LIMIT)))
        path.write_text(f"process {os.getpid()} on {platform.node()}\n{_mount(path)}\n")
        yield


def busy(path: pathlib.Path) -> bool:
    """Whether another process holds `path`

    After a holder elsewhere died, calls over LIMIT seconds notice.
    """
    try:
        with contextlib.ExitStack() as held:
            _acquire(path, held, 0, 0)
            return False
    except BlockingIOError:
        return True


def _acquire(path: pathlib.Path, held: contextlib.ExitStack, here: float, elsewhere: float) -> None:
    """Acquires both locks.

    Here, elsewhere: seconds to wait for a holder on this host, and on others.
    """
    reached = False
    try:
        try:
            held.enter_context(filelock.FileLock(path, here, fallback_to_soft=False))
            reached = True
        except OSError as error:
            if error.errno not in NO_FLOCK:
                raise
        holder, mount = [*_lines(path), "another process", ""][:2]
        if reached and mount == _mount(
            path
        ):  # whose flock would have stopped this process, so it is gone
            _discard(path.with_name(f"{path.name}.rw"))
        try:
            held.enter_context(_lease(path).acquire_write(0))
        except filelock.Timeout:
            if elsewhere > 0:
                print(
                    f"{holder} {TAKEN}, or was: going on once nothing is heard of it for"
                    f" {LIMIT:.0f} s",
                    flush=True,
                )
            held.enter_context(_lease(path).acquire_write(elsewhere))
    except filelock.Timeout:
        holder = [*_lines(path), "another process"][0]
        raise BlockingIOError(
            f"{holder} {TAKEN} ({path.parent.name}): wait for it or stop it"
        ) from None
    except OSError:  # a storage without hard links, or a folder of another user's
        if not reached:
            raise


@functools.cache  # over its life it notices that a holder elsewhere is dead
def _lease(path: pathlib.Path) -> filelock.SoftReadWriteLock:
    return filelock.SoftReadWriteLock(
        path, heartbeat_interval=BEAT, stale_threshold=LIMIT, on_compromise=_lost
    )


def _lost(found: filelock.LeaseCompromise) -> None:
    """Ends a process that stood still, or whose storage failed, so long that another may have its
    work. It must not write any more.
    """
    print(
        f"error: lost {found.lock_file} ({found.reason}): another process may have it, so this one"
        " ends",
        file=sys.stderr,
        flush=True,
    )
    os._exit(1)


def _mount(path: pathlib.Path) -> str:
    """Returns what the processes have in common whose flock on a path excludes each other:

    The kernel, and the storage's mount.
    """
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id")
    return f"{boot.read_text().strip() if boot.exists() else platform.node()} {path.stat().st_dev}"


def _lines(path: pathlib.Path) -> list[str]:
    return path.read_text(errors="replace").splitlines() if path.exists() else []


def _discard(folder: pathlib.Path) -> None:
    aside = folder.with_name(f"{folder.name}.{os.getpid()}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)
