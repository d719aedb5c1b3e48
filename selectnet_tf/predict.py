"""Classifies pictures, or tables, with a run's model: python -m selectnet_tf.predict .../model.keras FILES... > found.csv

FILES: pictures or folders of them, or CSV files for a model of a table. Prints file (or file:line), class, probability as CSV;
what can't be read is named on standard error.
"""

import concurrent.futures
import csv
import json
import pathlib
import sys
import zipfile

import numpy as np

from selectnet_tf.cli import fail, importing_tensorflow, parse
from selectnet_tf.data import encoder, folders, frames
from selectnet_tf.experiment import metrics

BATCH = 256


def predict(path, files, out, errors):
    """Writes CSV lines for `files` to out. Returns how many pictures could not be read; each is named in errors."""
    with importing_tensorflow():
        import keras

        model = keras.saving.load_model(path, compile=False)
    names = class_names(path, model.output_shape[-1])
    encode = encoder.Encoder.of(path)
    if encode:
        return _predict_rows(model, encode, names, files, out, errors)
    shape = list(model.input_shape[1:])
    if len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise ValueError(f"{path} takes inputs of {shape}, not square pictures")
    side, channels = shape[1:]
    writer, broken = csv.writer(out, lineterminator="\n"), 0
    writer.writerow(("file", "class", "probability"))
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for start in range(0, len(files), BATCH):
            some = files[start : start + BATCH]
            read = list(zip(some, pool.map(lambda file: _attempt(file, side, channels), some), strict=True))
            for file, (_, why) in read:
                if why:
                    print(f"skipped {file}: {why}", file=errors)
            good = [(file, pixels) for file, (pixels, why) in read if not why]
            broken += len(read) - len(good)
            if good:
                probs = metrics.probabilities(model.predict(np.stack([pixels for _, pixels in good]), verbose=0))
                for (file, _), row in zip(good, probs, strict=True):
                    writer.writerow((file, names[row.argmax()], f"{row.max():.4f}"))
    return broken


def _predict_rows(model, encode, names, files, out, errors):
    writer, broken = csv.writer(out, lineterminator="\n"), 0
    name = encode.reading["id_column"]
    writer.writerow(("row", *([name] if name else []), "class", "probability"))
    for file in files:
        try:
            table = frames.read(file, labeled=False, **encode.reading)
            probs = metrics.probabilities(model.predict(encode(table), batch_size=BATCH, verbose=0))
        except (ValueError, OSError) as error:
            print(f"skipped {file}: {error}", file=errors)
            broken += 1
            continue
        for line in encode.doubts(table):
            print(line, file=errors)
        ids = [[] if not name else [""] if table.ids is None else [table.ids[i]] for i in range(len(probs))]
        for place, own, row in zip(table.rows(), ids, probs, strict=True):
            writer.writerow((place, *own, names[row.argmax()], f"{row.max():.4f}"))
    return broken


def class_names(path, classes):
    """The names in a model's file, or numbers where it has none."""
    with zipfile.ZipFile(path) as file:
        if "classes.json" in file.namelist():
            return json.loads(file.read("classes.json"))
    return list(map(str, range(classes)))


def _attempt(file, side, channels):
    try:
        pixels = folders.decode(file, side)
    except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
        return None, str(error).splitlines()[0] if str(error) else type(error).__name__
    return (pixels if channels == 3 else pixels.mean(-1, keepdims=True).astype(pixels.dtype)), None


def expand(arguments):
    """Files as they are named, folders as the pictures below them."""
    found = []
    for argument in map(pathlib.Path, arguments):
        found += [str(argument / file) for file in folders.list_files(argument)] if argument.is_dir() else [str(argument)]
    return found


def main(argv):
    if len(argv) < 3:
        return fail("what to classify with what? python -m selectnet_tf.predict MODEL FILES...", 2)
    path, files = pathlib.Path(argv[1]), expand(argv[2:])
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError(f"{path} is no .keras file: give the model.keras of a run")
        broken = predict(path, files, sys.stdout, sys.stderr)
    except (ValueError, OSError) as error:
        return fail(error, 1)
    return int(broken == len(files))


if __name__ == "__main__":
    sys.exit(main(parse(sys.argv)))
