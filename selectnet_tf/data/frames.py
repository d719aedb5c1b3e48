"""Tables in CSV files -> float32 matrices, through Keras's FeatureSpace."""

import json
import pathlib
import tempfile
import zipfile

import numpy as np
import pandas as pd

MOST_CATEGORIES = 1000
MISSING = "(missing)"  # not "": a FeatureSpace that was saved with it is read back with one more output


def read(path, label_column=None, labeled=True):
    """A CSV file as (features, labels as strings or None where not `labeled`).

    Raises:
        ValueError, FileNotFoundError: no such file or column, an empty label, no row: one line that names the cure.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file: give a CSV file with a header line")
    try:
        frame = pd.read_csv(path, low_memory=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no CSV table: {str(error).strip().splitlines()[0]}") from None
    if not len(frame):
        raise ValueError(f"{path} has no row")
    if not labeled:
        return frame.drop(columns=[label_column], errors="ignore"), None
    if label_column not in frame:
        raise ValueError(f"{path} has no column {label_column!r}, only {', '.join(map(str, frame.columns))}: give --label_column")
    empty = np.flatnonzero(frame[label_column].isna())
    if len(empty):
        raise ValueError(f"{path}:{empty[0] + 2}: no label in column {label_column!r}: move unlabeled rows to --unlabeled_csv")
    return frame.drop(columns=[label_column]), frame[label_column].map(_label).to_numpy()


def _label(value):
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


class Encoder:
    """Rows -> [n, d] float32: numbers normalized, with the median where one is missing; texts and booleans as one-hot.

    Args:
        frames: tables of the same columns that it learns from: what is normal, and which categories there are.
    """

    def __init__(self, frames):
        together = pd.concat(frames, ignore_index=True)
        numeric = [c for c in together if pd.api.types.is_numeric_dtype(together[c]) and not pd.api.types.is_bool_dtype(together[c])]
        medians = together[numeric].replace([np.inf, -np.inf], np.nan).median()
        self.columns = {c: None for c in together if together[c].notna().any()}  # of a categorical column
        self.columns |= {c: float(medians[c]) for c in numeric if c in self.columns}
        if not self.columns:
            raise ValueError("the tables have no column besides the label")
        wide = [c for c, median in self.columns.items() if median is None and together[c].nunique() > MOST_CATEGORIES]
        if wide:
            raise ValueError(
                f"column {wide[0]!r} has more than {MOST_CATEGORIES} different texts: an identifier? Take it out of the tables"
            )
        self.space = self._adapt(together)

    def _adapt(self, frame):
        import tensorflow as tf
        from keras.utils import FeatureSpace

        kinds = {
            c: FeatureSpace.string_categorical(num_oov_indices=1) if median is None else FeatureSpace.float_normalized()
            for c, median in self.columns.items()
        }
        space = FeatureSpace(kinds, output_mode="concat")
        space.adapt(tf.data.Dataset.from_tensor_slices(self._arrays(frame)).batch(4096))
        return space

    def _arrays(self, frame):
        found = {}
        for column, median in self.columns.items():
            values = frame[column]
            if median is None:
                found[column] = values.map(lambda v: MISSING if pd.isna(v) or v == "" else str(v)).to_numpy(str)
            else:
                values = pd.to_numeric(values, errors="coerce").replace([np.inf, -np.inf], np.nan)
                found[column] = values.fillna(median).to_numpy(np.float32)
        return found

    def __call__(self, frame):
        """[n, d] float32. Raises ValueError where a column is missing."""
        missing = [c for c in self.columns if c not in frame]
        if missing:
            raise ValueError(f"no column {', '.join(map(repr, missing))}, which the labeled table has")
        parts = []
        for start in range(0, len(frame), 4096):
            parts.append(np.asarray(self.space(self._arrays(frame.iloc[start : start + 4096])), np.float32))
        return np.concatenate(parts)

    def save_into(self, path):
        """Puts it into a .keras file, so that the model can be given tables."""
        with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path, "a") as file:
            self.space.save(pathlib.Path(folder, "space.keras"))
            file.write(pathlib.Path(folder, "space.keras"), "feature_space.keras")
            file.writestr("columns.json", json.dumps(self.columns))

    @classmethod
    def of(cls, path):
        """The Encoder in a .keras file, or None."""
        import keras

        with zipfile.ZipFile(path) as file:
            if "columns.json" not in file.namelist():
                return None
            made = cls.__new__(cls)
            made.columns = json.loads(file.read("columns.json"))
            with tempfile.TemporaryDirectory() as folder:
                pathlib.Path(folder, "space.keras").write_bytes(file.read("feature_space.keras"))
                made.space = keras.saving.load_model(pathlib.Path(folder, "space.keras"))
        return made
