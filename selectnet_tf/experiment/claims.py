"""Claims that hold across hosts: who trains a run, on storage whose flock reaches one host only, or none. Standard library only.

A claim is a folder that appears whole, by a rename that fails where there is one already, with its holder's host, process and
heartbeat in it. One whose process is gone, or whose heart has stood still for STALE seconds, is taken over, again by a rename.
"""

import contextlib
import json
import os
import pathlib
import shutil
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from typing import NamedTuple

from selectnet_tf import files

BEAT = 20.0  # seconds between two heartbeats
STALE = 300.0  # seconds without one after which a claim is anybody's
POLL = 0.2  # seconds between two looks at a claim that is waited for
UNREADABLE = "unreadable-"  # how the token of a claim begins that does not say whose it is


class Holder(NamedTuple):
    """Who has a claim. host: of the process, with its boot and its process numbers' namespace. age: seconds since it last beat."""

    token: str
    host: str
    process: int
    age: float

    def __str__(self) -> str:
        if self.token.startswith(UNREADABLE):
            return "another process"
        return f"process {self.process} on {self.host.partition(' ')[0]}"

    @property
    def alive(self) -> bool:
        return self.age < STALE and (self.host != host() or _runs(self.process))


def host() -> str:
    """This host and, on Linux, its boot and the namespace of its process numbers: two containers may have one name."""
    boot, space = pathlib.Path("/proc/sys/kernel/random/boot_id"), pathlib.Path("/proc/self/ns/pid")
    marks = [boot.read_text().strip()] if boot.exists() else []
    with contextlib.suppress(OSError):
        marks.append(os.readlink(space))
    return " ".join([os.uname().nodename, *marks])


@contextlib.contextmanager
def claim(path: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds `path` for this process alone, among the processes of all hosts; takes the place of files.lock.

    files.lock is held too, where the storage has it: among one host's processes it is the quicker, and older versions know it.

    Raises:
        BlockingIOError: another process holds it (and `wait` is false); says which.
    """
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.lock(path, wait))
        except OSError as error:
            if error.errno not in files.NO_FLOCK:
                raise
        stack.enter_context(hold(folder_of(path), wait))
        yield


def folder_of(path: pathlib.Path) -> pathlib.Path:
    """The claim's folder beside a lock's file."""
    return path.with_name(f"{path.name}.claim")


@contextlib.contextmanager
def hold(folder: pathlib.Path, wait: bool = False) -> Iterator[None]:
    """Holds a claim by its folder, and beats in the background; see `claim`."""
    token = uuid.uuid4().hex
    while not _take(folder, token):
        if not wait:
            raise BlockingIOError(f"{holder(folder) or 'another process'} {files.TAKEN} ({folder.parent.name}): wait for it or stop it")
        time.sleep(POLL)
    ended = threading.Event()
    thread = threading.Thread(target=_beat, args=(folder, token, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        _release(folder, token)


def holder(folder: pathlib.Path) -> Holder | None:
    """Who has the claim now, alive or not; None where it is free."""
    try:
        with open(folder / "holder.json") as file:  # opened first: what a network's storage keeps of it is then fresh
            said = json.load(file)
            beat = os.fstat(file.fileno()).st_mtime
        return Holder(said["token"], said["host"], said["process"], _now(folder.parent) - beat)
    except (OSError, ValueError, KeyError, TypeError):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            last = folder.stat()
            return Holder(f"{UNREADABLE}{last.st_mtime_ns}", "", 0, _now(folder.parent) - last.st_mtime)
        return None


def busy(path: pathlib.Path) -> bool:
    """Whether some process holds what `claim` would claim, without claiming it."""
    found = holder(folder_of(path))
    if found and found.alive:
        return True
    try:
        with files.lock(path):
            return False
    except BlockingIOError:
        return True
    except OSError as error:
        if error.errno not in files.NO_FLOCK:
            raise
        return False


def _take(folder: pathlib.Path, token: str) -> bool:
    found = holder(folder)
    if found and found.alive:
        return False
    if found:
        _bury(folder, found)
    mine = folder.with_name(f"{folder.name}.{token}")
    mine.mkdir(parents=True)
    (mine / "holder.json").write_text(json.dumps({"token": token, "host": host(), "process": os.getpid()}))
    try:
        os.rename(mine, folder)
    except OSError:  # somebody was quicker; or the server did it twice, and it is ours
        shutil.rmtree(mine, ignore_errors=True)
    now = holder(folder)
    return now is not None and now.token == token


def _bury(folder: pathlib.Path, dead: Holder) -> None:
    """Puts a dead claim aside under its own name: who finds it dead a moment later finds that name taken, and can't move its successor."""
    with contextlib.suppress(OSError):
        os.rename(folder, folder.with_name(f"{folder.name}.{dead.token}.dead"))


def _release(folder: pathlib.Path, token: str) -> None:
    """Gives a claim back, and clears away what dead ones left a day ago."""
    found = holder(folder)
    gone = folder.with_name(f"{folder.name}.{token}")
    if found and found.token == token:
        with contextlib.suppress(OSError):
            os.rename(folder, gone)
    shutil.rmtree(gone, ignore_errors=True)
    for left in folder.parent.glob(f"{folder.name}.*"):
        with contextlib.suppress(OSError):
            if _now(folder.parent) - left.stat().st_ctime > 86400:
                shutil.rmtree(left, ignore_errors=True)


def _beat(folder: pathlib.Path, token: str, ended: threading.Event) -> None:
    while not ended.wait(BEAT):
        try:
            found = holder(folder)
        except OSError:  # a full disk, a storage that is ill: the next beat asks again
            continue
        if found and found.token == token:
            with contextlib.suppress(OSError):
                os.utime(folder / "holder.json")
        elif not ended.is_set() and not (found and found.token.startswith(UNREADABLE)):  # the storage may be ill for a while
            _lost(found)


def _lost(found: Holder | None) -> None:
    """This process stood still so long that another has its work now. It must not write any more, not even its state."""
    print(f"error: {found or 'another process'} took this over, for nothing was heard of it for {STALE:.0f} s", file=sys.stderr, flush=True)
    os._exit(1)


def _now(folder: pathlib.Path) -> float:
    """The time by the storage's own clock: hosts' clocks differ, but it stamps heartbeats and this alike."""
    probe = folder / f".clock.{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        probe.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # it is another user's
    return True
