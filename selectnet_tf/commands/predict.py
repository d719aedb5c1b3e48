"""Classifies pictures with a run's model: python -m selectnet_tf.predict RUN/model.keras FILES... >
found.csv

FILES: pictures or folders of them. Prints file, class, probability as CSV; what can't be read is
named on standard error.
--class=lynx --top=50 prints the fifty that are most likely lynxes, the likeliest first;
--class=lynx --precision=0.9 those from the probability on that reached a precision of 90% on the
run's test set.
"""

import concurrent.futures
import os
import pathlib
import sys
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

import numpy as np
from absl import flags

from selectnet_tf import _csv_files
from selectnet_tf._console import describe_error, end_output, fail, importing_tensorflow
from selectnet_tf._csv_files import as_cell
from selectnet_tf._files import printable
from selectnet_tf.data.folders import decoding, listing
from selectnet_tf.models import safe_load
from selectnet_tf.runs import evaluation

if TYPE_CHECKING:
    import keras

FLAGS = flags.FLAGS
BATCH = 256
Found = tuple[str, np.ndarray | None]  # a file, its probabilities [m] if it could be read


class Wanted(NamedTuple):
    """What is printed, and with what.

    all: every class's probability. of: a class, whose probability then counts; without it the
    predicted one's.
    threshold: only from this probability on. precision: only from that on which reached it for `of`
    on the run's test set.
    top: only so many, the likeliest. Under `of` and `top` the likeliest come first.
    """

    all: bool = False
    of: str | None = None
    threshold: float = 0.0
    precision: float | None = None
    top: int | None = None


def predict(
    path: str | os.PathLike[str],
    files: list[str],
    out: TextIO,
    errors: TextIO,
    wanted: Wanted | None = None,
) -> int:
    """Writes CSV lines for `files` to out.

    Returns how many files could not be read; each is named in errors.
    """
    with importing_tensorflow():
        model = safe_load.load(path)
    wanted = wanted or Wanted()
    names = decoding.names_of(path, model.output_shape[-1])
    wanted = _checked(pathlib.Path(path), names, wanted, errors)
    return _write(out, names, _pictures(path, model, files, errors), wanted)


def _checked(path: pathlib.Path, names: list[str], wanted: Wanted, errors: TextIO) -> Wanted:
    """With the threshold that `precision` means.

    Raises ValueError where something is wanted that there is not.
    """
    if wanted.of is not None and wanted.of not in names:
        raise ValueError(
            f"--class is {wanted.of!r}, but the model's classes are {', '.join(names)}"
        )
    if wanted.precision is None:
        return wanted
    if wanted.of is None or wanted.threshold:
        raise ValueError(
            "--precision is a class's, and stands for a threshold: give --class with it, and no"
            " --threshold"
        )
    threshold, line = evaluation.find_threshold(path.parent, wanted.of, wanted.precision)
    print(printable(line), file=errors)
    return wanted._replace(threshold=threshold)


def _write(out: TextIO, names: list[str], found: Iterator[Found], wanted: Wanted) -> int:
    """Writes the CSV; returns how many files could not be read."""
    writer = _csv_files.Writer(out)
    writer.writerow(
        [
            "file",
            "class",
            "probability",
            *(f"p({name})" for name in names if wanted.all or name == wanted.of),
        ]
    )
    kept, broken = [], 0
    for file, probs in found:
        if probs is None:
            broken += 1
            continue
        score = probs[names.index(wanted.of)] if wanted.of is not None else probs.max()
        if score < wanted.threshold:
            continue
        shares = [
            f"{p:.4f}"
            for name, p in zip(names, probs, strict=True)
            if wanted.all or name == wanted.of
        ]
        line = (as_cell(file), names[probs.argmax()], f"{probs.max():.4f}", *shares)
        if wanted.of is None and wanted.top is None:
            writer.writerow(line)
        else:
            kept.append((score, line))
    kept.sort(key=lambda pair: -pair[0])
    writer.writerows(line for _, line in kept[: wanted.top])
    return broken


def _pictures(
    path: str | os.PathLike[str], model: "keras.Model", files: list[str], errors: TextIO
) -> Iterator[Found]:
    shape = list(model.input_shape[1:])
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise ValueError(f"{path} takes inputs of {shape}, not square pictures")
    side, channels, fit = shape[0], shape[2], decoding.fit_of(path)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for start in range(0, len(files), BATCH):
            some = files[start : start + BATCH]
            read = list(
                zip(
                    some,
                    pool.map(lambda file: _attempt(file, side, channels, fit), some),
                    strict=True,
                )
            )
            for file, found in read:
                if isinstance(found, str):
                    print(f"skipped {printable(file)}: {found}", file=errors)
                    yield file, None
            good = [(file, found) for file, found in read if not isinstance(found, str)]
            if good:
                probs = evaluation.to_probabilities(
                    model.predict(np.stack([pixels for _, pixels in good]), verbose=0)
                )
                yield from ((file, row) for (file, _), row in zip(good, probs, strict=True))


def _attempt(file: str, side: int, channels: int, fit: str) -> np.ndarray | str:
    """The pixels, or why there are none."""
    try:
        pixels = decoding.decode(file, side, fit)
    except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    return pixels if channels == 3 else pixels.mean(-1, keepdims=True).astype(pixels.dtype)


def expand(arguments: list[str], errors: TextIO) -> list[str]:
    """Files as they are named, folders as the pictures below them; what else lies there is named in
    errors.

    Raises:
        ValueError: a folder without any.
    """
    found: list[str] = []
    for argument in map(pathlib.Path, arguments):
        if not argument.is_dir():
            found.append(str(argument))
            continue
        images = listing.list_images(argument)
        for file, why in images.aside:
            print(f"skipped {printable(argument / file)}: {why}", file=errors)
        if not images.files:
            some = ", ".join(listing.SUFFIXES)
            raise ValueError(
                f"{argument} holds no picture that can be read: give a folder with some ({some})"
            )
        found += [str(argument / file) for file in images.files]
    return found


def define_flags() -> None:
    flags.DEFINE_bool("all", False, "print every class's probability")
    flags.DEFINE_string("class", None, "print this class's probability, the likeliest files first")
    flags.DEFINE_float(
        "threshold",
        0.0,
        "print only files from this probability on: of --class, or of the predicted class",
        0,
        1,
    )
    flags.DEFINE_float(
        "precision",
        None,
        "print only what is of --class with this precision, by the thresholds.csv beside the model",
        0,
        1,
    )
    flags.DEFINE_integer("top", None, "print only so many files, the likeliest", 1)


def main(argv: list[str]) -> int:
    out: Any = sys.stdout  # has what TextIO lacks
    out.reconfigure(errors="surrogateescape")  # a file may have any name
    if len(argv) < 3:
        return fail("what to classify with what? python -m selectnet_tf.predict MODEL FILES...", 2)
    try:
        path = pathlib.Path(argv[1])
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is no .keras file: give the model of a run")
        files = expand(argv[2:], sys.stderr)
        asked = (FLAGS.all, FLAGS["class"].value, FLAGS.threshold, FLAGS.precision, FLAGS.top)
        broken = predict(path, files, out, sys.stderr, Wanted(*asked))
        out.flush()
    except BrokenPipeError:  # of `| head`: who reads has enough
        end_output()
        return 0
    except (ValueError, OSError) as error:
        return fail(describe_error(error), 1)
    return int(broken == len(files))
