"""What every command here shares: flags read, one line for an error, a TensorFlow that is fast and does not greet."""

import contextlib
import logging
import os
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from absl import app, flags

from selectnet_tf.files import FULL, shown


@contextlib.contextmanager
def importing_tensorflow(verbose: bool = False) -> Iterator[None]:
    """TensorFlow is imported in here, with oneDNN and without its greeting.

    By itself it takes oneDNN's convolutions only where the CPU multiplies bytes for neural networks (AVX512_VNNI and the
    like), but with AVX2 they are up to twice as fast too. It greets in C++, on the process's standard error.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def cause(error: Exception) -> object:
    """What to say of an error: of a full disk, also where TensorFlow met it, that it is full."""
    full = getattr(error, "errno", None) in FULL or "No space left on device" in str(error)
    return "the disk is full: free some space and run the same command again" if full else error


def fail(error: object, code: int) -> int:
    print(f"error: {shown(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__}", file=sys.stderr)
    return code


class _Output:
    """A stream that never ends its program: what its encoding lacks is written as escapes, what nobody reads goes nowhere."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        stream.reconfigure(errors="backslashreplace")  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        return int(self._attempt(lambda: self._stream.write(text), len(text)))

    def flush(self) -> None:
        self._attempt(self._stream.flush, None)

    def _attempt(self, work: Callable[[], Any], otherwise: Any) -> Any:
        """work(), or otherwise where its pipe is closed or its disk is full; from then on the stream leads nowhere."""
        try:
            return work()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
            return otherwise


def steady_output() -> None:
    """Nothing that happens to standard output or error ends what the program does. Before other files are opened."""
    for number, name in ((0, "stdin"), (1, "stdout"), (2, "stderr")):
        try:
            os.fstat(number)
        except OSError:  # closed: the next file that is opened would get its number, and what is printed
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    sys.stdout, sys.stderr = (s if isinstance(s, _Output) else _Output(s) for s in (sys.stdout, sys.stderr))  # type: ignore[assignment]


def data_output() -> TextIO:
    """Standard output for what was asked for, not for what is said about it: what can't be written there is an error."""
    return sys.stdout._stream if isinstance(sys.stdout, _Output) else sys.stdout


def parse(argv: list[str]) -> list[str]:
    """argv without its flags, which are read into flags.FLAGS. --help prints the command's docstring and its flags."""
    steady_output()
    app.define_help_flags()
    try:
        return list(flags.FLAGS(argv))
    except (flags.Error, ValueError) as error:
        sys.exit(fail(error, 2))
    except SystemExit:  # --help and its like
        sys.exit(0)


def path_of(text: str) -> pathlib.Path:
    """The path that a flag gives: a shell leaves the ~ of --results_dir=~/here alone."""
    return pathlib.Path(text).expanduser()


def aligned(lines: Sequence[Sequence[Any]]) -> str:
    """Lines of values as columns for the screen."""
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(str(v).ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in lines)
