"""Runs' files at an address that all machines reach (s3://, gs://, a folder), for those that have no results folder in common.

A run is put there after each round and when it is stopped, file by file, each whole or not there; elsewhere it goes on from that.
"""

import contextlib
import os
import pathlib
import uuid
from collections.abc import Iterable, Iterator

from selectnet_tf.experiment import rows, runs
from selectnet_tf.files import replacing

STATE, ROW, LOG = "state.npz", "row.json", "log.txt"
LARGE = {STATE, "model.keras", "model.skops", "selected.npz"}  # what a sweep does not collect


class Storage:
    """Any address that fsspec knows, as runs/NAME/FILE below it.

    Raises:
        ValueError: fsspec does not know it, or lacks a package for it. OSError, from all methods: it can't be reached; one line.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        try:
            import fsspec

            with self._one_line(ImportError, ValueError):  # some connect at once
                self._files, self._root = fsspec.core.url_to_fs(address)
        except ModuleNotFoundError as error:
            raise ValueError(f"--storage needs {error.name}: python -m pip install -e '.[scale]'") from None
        except ImportError as error:  # fsspec says which package to install
            raise ValueError(f"--storage={address}: {str(error).splitlines()[0]}") from None
        except ValueError as error:
            raise ValueError(f"--storage={address}: {str(error).splitlines()[0]}: give s3://, gs:// or a folder") from None
        self._known: dict[str, tuple[int, int]] = {}  # what this process has put: remote path -> (time, size) of the file

    def put(self, folder: pathlib.Path) -> None:
        """Puts what a run's folder holds: a half-trained run's state last, a finished run's row last, and then no state stays there."""
        local = {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}
        finished = ROW in local
        with self._one_line():
            self._files.makedirs(self._path(folder.name), exist_ok=True)
            if not finished and self._files.exists(self._path(folder.name, ROW)):  # --force has begun it again
                self._files.rm_file(self._path(folder.name, ROW))
            for name in sorted(local - {STATE} if finished else local, key=(STATE, ROW).__contains__):
                self._put(folder / name)
            for name in self._names(folder.name) if finished else ():
                if name == STATE or name.startswith("."):  # or the half of a file, of a process that was killed
                    self._files.rm_file(self._path(folder.name, name))

    def put_log(self, folder: pathlib.Path) -> None:
        with self._one_line():
            self._files.makedirs(self._path(folder.name), exist_ok=True)
            self._put(folder / LOG)

    def get(self, folder: pathlib.Path) -> None:
        """Brings a run that is finished there, or further than in its folder here; all but its log."""
        with self._one_line():
            there = {name for name in self._names(folder.name) if not name.startswith(".")} - {LOG}
            if (folder / ROW).exists():
                return
            if ROW in there and not (folder / rows.OLD).is_dir():  # which is of the run that --force has begun to replace here
                self._get(folder, there - {STATE})
            elif STATE in there:
                folder.mkdir(parents=True, exist_ok=True)
                beside = folder / f".storage.{os.getpid()}.npz"
                try:
                    self._files.get_file(self._path(folder.name, STATE), str(beside))
                    if (runs.position(beside) or (0, 0)) > (runs.position(folder / STATE) or (0, 0)):
                        self._get(folder, there - {STATE})
                        os.replace(beside, folder / STATE)
                finally:
                    beside.unlink(missing_ok=True)

    def get_log(self, folder: pathlib.Path) -> None:
        with self._one_line():
            self._get(folder, {LOG} & set(self._names(folder.name)))

    def collect(self, results: pathlib.Path, names: Iterable[str]) -> None:
        """Brings rows, small files and logs of finished runs, and of half-trained ones epochs.csv and the log."""
        finished = False
        for name in names:
            folder = results / "runs" / name
            if (folder / ROW).exists() or (folder / STATE).exists():
                continue
            with self._one_line():
                there = {name for name in self._names(name) if not name.startswith(".")}
                finished |= ROW in there
                self._get(folder, there - LARGE if ROW in there else there & {"epochs.csv", LOG})
        if finished:
            rows.build(results)

    def _path(self, name: str, file: str = "") -> str:
        return "/".join([self._root.rstrip("/"), "runs", name, *([file] if file else [])])

    def _names(self, name: str) -> list[str]:
        """The files that are there of a run."""
        self._files.invalidate_cache()
        try:
            return [path.rsplit("/", 1)[-1] for path in self._files.ls(self._path(name), detail=False)]
        except FileNotFoundError:
            return []

    def _put(self, path: pathlib.Path) -> None:
        target, now = self._path(path.parent.name, path.name), path.stat()
        stamp = now.st_mtime_ns, now.st_size
        if self._known.get(target) == stamp:
            return
        beside = self._path(path.parent.name, f".{path.name}.{uuid.uuid4().hex[:8]}")
        try:
            self._files.put_file(str(path), beside)
            self._files.mv(beside, target)
        except BaseException:
            with contextlib.suppress(Exception):
                self._files.rm_file(beside)
            raise
        self._known[target] = stamp

    def _get(self, folder: pathlib.Path, names: set[str]) -> None:
        for name in sorted(names, key=(ROW,).__contains__):  # the row last
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / name) as beside:
                self._files.get_file(self._path(folder.name, name), str(beside))

    @contextlib.contextmanager
    def _one_line(self, *but: type[Exception]) -> Iterator[None]:
        """Whatever is raised but these becomes an OSError of one line."""
        try:
            yield
        except but:
            raise
        except Exception as error:  # each kind of storage has its own
            said = str(error).strip().splitlines()
            raise OSError(f"--storage={self.address}: {said[0] if said else type(error).__name__}") from error
