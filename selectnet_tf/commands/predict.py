"""Classifies images with a trained model: selectnet predict RUN/model.keras FILES... > found.csv

FILES are images or folders of images. Prints file, class and probability as CSV, and the names of
unreadable files on standard error.
--class=lynx --top=50 prints the 50 images with the highest probability of lynx.
--class=lynx --precision=0.9 prints the images above the threshold that reached a precision of 90%
on the run's test set.
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
from selectnet_tf._console import fail, importing_tensorflow
from selectnet_tf._csv_files import as_cell
from selectnet_tf._files import printable
from selectnet_tf.data.folders import decoding, listing
from selectnet_tf.data.folders.boxes import Box, find_boxes
from selectnet_tf.models import safe_load

if TYPE_CHECKING:
    import keras

FLAGS = flags.FLAGS
BATCH = 256
Found = tuple[str, np.ndarray | None]  # (file, probabilities [m]); None if unreadable


class Wanted(NamedTuple):
    """Selection and columns of the output.

    Attributes:
        all: print every class's probability.
        of: class to rank and select by; None: the predicted class.
        threshold: least probability.
        precision: least precision of `of` on the run's test set, instead of a threshold.
        top: number of images with the highest probability. `of` and `top` sort by it.
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
    wanted: Wanted | None = None,
    boxes: str | None = None,
    folders: dict[pathlib.Path, list[str]] | None = None,
) -> int:
    """Writes a CSV line for each file to out. Returns the number of unreadable files.

    Names these on standard error.

    Args:
        path: a run's model.keras.
        files: paths of images.
        out: gets the CSV.
        wanted: what to print; default: the predicted class of every file.
        boxes: MegaDetector's output, A or A,B, for a model that was trained with --boxes.
        folders: {folder: paths of the files below it}, by which boxes are found.

    Raises:
        ValueError: an unknown class, a model of other inputs, boxes that are missing or none of
            these files', or no threshold for the precision.
    """
    found = _find_boxes(path, folders or {}, boxes)
    with importing_tensorflow():
        model = safe_load.load(path)
    names = decoding.read_class_names(path, model.output_shape[-1])
    wanted = _find_threshold(pathlib.Path(path), names, wanted or Wanted())
    return _write(out, names, _classify(path, model, files, found), wanted)


def _find_boxes(
    path: str | os.PathLike[str], folders: dict[pathlib.Path, list[str]], text: str | None
) -> dict[pathlib.Path, Box]:
    """Returns {image: its box}. Raises ValueError where the model was trained otherwise."""
    if decoding.read_settings(path)[-1] != bool(text):
        cure = "leave --boxes out" if text else "give --boxes=MegaDetector's output for these files"
        raise ValueError(f"{path} was trained on {'whole images' if text else 'crops'}: {cure}")
    if not text:
        return {}
    found, says = find_boxes(text, folders)
    print(*map(printable, says), sep="\n", file=sys.stderr)
    return found


def _find_threshold(path: pathlib.Path, names: list[str], wanted: Wanted) -> Wanted:
    """Returns `wanted` with the threshold for its precision.

    Raises ValueError for an unknown class or precision.
    """
    if wanted.of is not None and wanted.of not in names:
        raise ValueError(f"--class: expected one of {', '.join(names)}, received {wanted.of!r}")
    if wanted.precision is None:
        return wanted
    if wanted.of is None or wanted.threshold:
        raise ValueError(
            "--precision gives a class's threshold: add --class, and leave out --threshold"
        )
    from selectnet_tf.runs import evaluation  # takes seconds: not where a flag is wrong

    threshold, line = evaluation.find_threshold(path.parent, wanted.of, wanted.precision)
    print(printable(line), file=sys.stderr)
    return wanted._replace(threshold=threshold)


def _write(out: TextIO, names: list[str], found: Iterator[Found], wanted: Wanted) -> int:
    """Writes the CSV. Returns the number of unreadable files."""
    writer = _csv_files.Writer(out)
    shown = [name for name in names if wanted.all or name == wanted.of]
    writer.writerow(["file", "class", "probability", *(f"p({name})" for name in shown)])
    kept, broken = [], 0
    for file, probs in found:
        if probs is None:
            broken += 1
            continue
        score = probs[names.index(wanted.of)] if wanted.of is not None else probs.max()
        if score < wanted.threshold:
            continue
        cells = [f"{probs[names.index(name)]:.4f}" for name in shown]
        line = (as_cell(file), names[probs.argmax()], f"{probs.max():.4f}", *cells)
        if wanted.of is None and wanted.top is None:
            writer.writerow(line)
        else:
            kept.append((score, line))
    kept.sort(key=lambda pair: -pair[0])
    writer.writerows(line for _, line in kept[: wanted.top])
    return broken


def _classify(
    path: str | os.PathLike[str],
    model: "keras.Model",
    files: list[str],
    boxes: dict[pathlib.Path, Box],
) -> Iterator[Found]:
    from selectnet_tf.runs import evaluation

    shape, (fit, levels, _) = tuple(model.input_shape[1:]), decoding.read_settings(path)
    decoding.check_square(shape, path)

    def read_one(file: str) -> np.ndarray | str:
        return decoding.try_decode(file, shape, fit, levels, boxes.get(pathlib.Path(file)))

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for start in range(0, len(files), BATCH):
            some = files[start : start + BATCH]
            read = list(zip(some, pool.map(read_one, some), strict=True))
            for file, found in read:
                if isinstance(found, str):
                    print(f"skipped {printable(file)}: {found}", file=sys.stderr)
                    yield file, None
            good = [(file, found) for file, found in read if not isinstance(found, str)]
            if good:
                probs = evaluation.to_probabilities(
                    model.predict(np.stack([pixels for _, pixels in good]), verbose=0)
                )
                yield from ((file, row) for (file, _), row in zip(good, probs, strict=True))


def list_files(arguments: list[str]) -> tuple[list[str], dict[pathlib.Path, list[str]]]:
    """Returns the files given and the images below the folders given, and {folder: their paths}.

    A file's folder is its parent. Names other files in the folders on standard error. Raises
    ValueError for a folder without images.
    """
    found: list[str] = []
    folders: dict[pathlib.Path, list[str]] = {}
    for argument in map(pathlib.Path, arguments):
        root, files = argument.parent, [argument.name]
        if argument.is_dir():
            images = listing.list_images(argument)
            root, files = argument, images.files
            for file, why in images.aside:
                print(f"skipped {printable(argument / file)}: {why}", file=sys.stderr)
        if not files:
            some = ", ".join(listing.SUFFIXES)
            raise ValueError(
                f"expected a folder of images, {argument} holds none: give one with files of {some}"
            )
        found += [str(root / file) for file in files]
        folders.setdefault(root, []).extend(files)
    return found, {root: list(dict.fromkeys(files)) for root, files in folders.items()}


def define_flags() -> None:
    flags.DEFINE_bool("all", False, "print every class's probability")
    flags.DEFINE_string("class", None, "print this class's probability, and sort by it")
    flags.DEFINE_float(
        "threshold", 0.0, "least probability of --class, or of the predicted class", 0, 1
    )
    flags.DEFINE_float(
        "precision",
        None,
        "least precision of --class, by the thresholds.csv beside the model",
        0,
        1,
    )
    flags.DEFINE_string(
        "boxes", None, "MegaDetector's output for the files, where the run had --boxes"
    )
    flags.DEFINE_integer("top", None, "print only this many files, of the highest probability", 1)


def main(argv: list[str]) -> int:
    out: Any = sys.stdout  # TextIO lacks reconfigure
    out.reconfigure(errors="surrogateescape")  # a file may have any name
    if len(argv) < 3:
        return fail("expected a model and files: selectnet predict RUN/model.keras FILES...", 2)
    path = pathlib.Path(argv[1])
    if not zipfile.is_zipfile(path):
        return fail(f"expected the model.keras of a run, received {path}", 1)
    files, folders = list_files(argv[2:])
    if not any(map(os.path.exists, files)):
        return fail(f"expected images or folders of images, there is no {files[0]}", 1)
    asked = (FLAGS.all, FLAGS["class"].value, FLAGS.threshold, FLAGS.precision, FLAGS.top)
    broken = predict(path, files, out, Wanted(*asked), FLAGS.boxes, folders)
    return int(broken == len(files))
