"""The commands' console: flags, one-line errors, columns, a quiet import of TensorFlow."""

import contextlib
import logging
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from absl import app, flags

from selectnet_tf._files import is_full, printable

# TensorFlow's words, the last one where it copies to a GPU
OUT_OF_MEMORY = re.compile(r"\bOOM\b|[Oo]ut of memory|Dst tensor is not initialized")
# of an error in a graph, whose cause is below the lines that lead to it
IN_GRAPH = re.compile(
    r"Graph execution error:\n(?:(?:Detected at|Node:|\d+ root error| *File |$).*\n)*(.+)", re.M
)


@contextlib.contextmanager
def importing_tensorflow(verbose: bool = False) -> Iterator[None]:
    """Silences TensorFlow's greeting during its import, turns oneDNN on, and Keras to TensorFlow.

    By default TensorFlow uses oneDNN's convolutions only on CPUs with AVX512_VNNI and the like, but
    with AVX2 they are up to twice as fast, too. It greets in C++, on the process's standard error.

    Args:
        verbose: whether to keep the greeting.
    """
    # on which the commands run, whatever keras.json says
    os.environ["KERAS_BACKEND"] = "tensorflow"
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


def describe_error(error: Exception) -> object:
    """Returns an error's cause; the cure of a full disk or memory, also if TensorFlow raised it."""
    text = str(error)
    if is_full(error) or "No space left on device" in text:
        forced = bool(flags.FLAGS.flag_values_dict().get("force"))
        again = ", without --force if an epoch was saved" * forced
        return f"the disk is full: free some space and run the same command again{again}"
    if isinstance(error, MemoryError) or (
        _is_tensorflow_error(error) and OUT_OF_MEMORY.search(text)
    ):
        cure = ": give a smaller --batch_size or --image_size" * ("batch_size" in flags.FLAGS)
        return f"out of memory{cure}"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    found = IN_GRAPH.match(text)
    return found[1] if found else error


def fail(error: object, code: int) -> int:
    """Prints an error as one line. Returns code."""
    try:
        sys.stdout.flush()
    except OSError:  # Python would raise it on exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    text = str(error).strip().split("\n")[0]
    print(f"error: {printable(text) if text else type(error).__name__}", file=sys.stderr)
    return code


def is_expected(error: Exception) -> bool:
    """Returns whether one line says all about an error. With --verbose none is such."""
    expected = isinstance(error, (ValueError, OSError, MemoryError)) or _is_tensorflow_error(error)
    return expected and not flags.FLAGS.flag_values_dict().get("verbose")


def _is_tensorflow_error(error: Exception) -> bool:
    """Returns whether an error is TensorFlow's own, such as one of its files."""
    return any(kind.__name__ == "OpError" for kind in type(error).__mro__)


def parse(argv: list[str], most: int | None = None) -> list[str]:
    """Returns argv without its flags, which it reads into flags.FLAGS.

    Prints the command's docstring and its flags for --help. Exits with code 2 for a wrong flag, for
    one that is given twice or NaN, and for more words than `most` after the first; None: any.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed: another file would get its number, and its text
            setattr(sys, name, open(os.devnull, "r+"))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    app.define_help_flags()
    try:
        words = list(flags.FLAGS(argv))
        _check_values()
        if most is not None and len(words) > most + 1:
            raise ValueError(f"unexpected {words[most + 1]!r}: flags are written --name=value")
        return words
    except (flags.Error, ValueError) as error:
        sys.exit(fail(error, 2))
    except SystemExit:  # --help and its like
        sys.exit(0)


def _check_values() -> None:
    """Raises ValueError for NaN, and a flag given twice, whose first value absl would drop."""
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.present > 1 and not isinstance(flag, flags.MultiFlag):
            several = isinstance(flag.parser, flags.ListParser) or "several, A,B" in flag.help
            cure = f"as --{name}=a,b" if several else "once"
            raise ValueError(f"--{name} is given {flag.present} times: give it {cure}")
        if flag.value != flag.value:
            raise ValueError(f"--{name} is {flag.value}, but has to be a number")


def expand_path(text: str) -> pathlib.Path:
    """Returns a flag's path, ~ expanded: a shell leaves that of --results_dir=~/here alone.

    Raises ValueError where there is no such home: a folder "~" would be made.
    """
    path = os.path.expanduser(text)
    if path.startswith("~"):
        cure = f"write ./{text} for a folder of that name"
        raise ValueError(f"received {text}, but there is no such home: {cure}")
    return pathlib.Path(path)


def align_columns(lines: Sequence[Sequence[Any]]) -> str:
    """Returns lines of values as aligned columns."""
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(str(v).ljust(w) for v, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
