"""A run's files, kept somewhere besides its folder while it trains. Where that is, scale.storage knows."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

from selectnet_tf.checkpoint import Checkpoint, Stopped

OR_FORCE = " or pass --force"  # the commands' own way to start a run again


class Keeper(Protocol):
    """What takes the files of a run's folder, and gives them back where the folder lacks them. Raises OSError."""

    def put(self, folder: pathlib.Path, /) -> None: ...

    def get(self, folder: pathlib.Path, /) -> None: ...


class Nowhere:
    """The folder is all there is."""

    def put(self, folder: pathlib.Path) -> None:
        pass

    def get(self, folder: pathlib.Path) -> None:
        pass


class Kept(Checkpoint):
    """A Checkpoint whose folder is kept elsewhere too: after each round, and where a signal ends the run."""

    def __init__(self, path: pathlib.Path, parts: dict[str, Any], header: dict[str, Any], keeper: Keeper, every: int) -> None:
        super().__init__(path, parts, header)
        self.file.or_else = OR_FORCE
        self.folder, self.keeper, self.every = path.parent, keeper, every

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        super().on_epoch_end(epoch, logs)
        if (epoch + 1) % self.every == 0:
            try:
                self.keeper.put(self.folder)
            except OSError as error:
                print(f"warning: {error}; tried again after the next round", flush=True)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        with super().signals():
            try:
                yield
                self.heed_signal()
            except Stopped:
                self.keeper.put(self.folder)
                raise
