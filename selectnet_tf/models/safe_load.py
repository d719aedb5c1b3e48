"""Checks and loads model files of this package: Keras builds, and so runs, whatever a file names.

Keras 3.0 to 3.13 ran code from crafted files (CVE-2025-1550, -8747, -9905, -9906, CVE-2026-1462).
Keras never gets a file that names a class outside KNOWN or unpacks to far more than its size.
"""

import io
import json
import os
import pathlib
import zipfile
from typing import Any

import h5py  # type: ignore[import-untyped]

LAYERS = [
    "Activation", "Add", "Average", "AveragePooling2D", "BatchNormalization", "Concatenate",
    "Conv2D", "Cropping2D", "Dense", "DepthwiseConv2D", "Dropout", "Flatten",
    "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer", "LayerNormalization",
    "MaxPooling2D", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape", "Resizing",
    "SeparableConv2D", "Softmax", "ZeroPadding2D",
]  # fmt: skip
# module -> its classes that a file may name; None: all of them
KNOWN: dict[Any, list[str] | None] = {
    None: ["__ellipsis__", "__keras_tensor__", "__slice__"],
    "keras": ["DTypePolicy", "Functional", "Sequential"],
    "keras.constraints": None,
    "keras.initializers": None,
    "keras.layers": LAYERS,
    "keras.regularizers": None,
    "keras.src.applications.convnext": ["LayerScale"],
    "keras.src.models.functional": ["Functional"],
    "keras.src.ops.numpy": ["Add", "Concatenate", "GetItem", "Multiply"],
}
CURE = "give the model.keras that a run left"
MOST = 100  # a file over 100 MB unpacked may unpack to this many times its size


class _Refused(Exception):
    pass


def load(path: str | os.PathLike[str]) -> Any:
    """Returns the uncompiled keras.Model of a .keras file that this package wrote.

    Raises:
        ValueError: another kind of file, damage, or a class that this package doesn't write, in
            one line.
    """
    import keras

    path = pathlib.Path(path)
    check(path)
    try:
        return keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # an incomplete file makes Keras raise anything
        raise ValueError(
            f"{path} can't be loaded by Keras {keras.__version__} ({type(error).__name__}): {CURE}"
        ) from None


def check(path: pathlib.Path) -> None:
    """Raises ValueError: Keras must not get this file."""
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .keras file: {CURE}")
    try:
        with zipfile.ZipFile(path) as file:
            unpacked = sum(entry.file_size for entry in file.infolist())
            if unpacked > max(MOST * path.stat().st_size, 10**8):
                raise _Refused(f"unpacks to {unpacked:,} bytes")
            if damaged := file.testzip():
                raise _Refused(f"is damaged at {damaged!r}")
            _check_classes(json.loads(file.read("config.json")))
            weights = file.read("model.weights.h5")
        with h5py.File(io.BytesIO(weights), "r") as h5:
            _check_weights(h5, len(weights))
    except _Refused as error:
        raise ValueError(f"{path} {error}, and was not loaded: {CURE}") from None
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"{path} is damaged ({type(error).__name__}): {CURE}") from None


def _check_classes(found: Any) -> None:
    """Raises _Refused: an object at any depth is outside KNOWN.

    Keras does not read compile_config with compile=False.
    """
    if isinstance(found, dict):
        if "class_name" in found or "module" in found:
            module, name = found.get("module"), found.get("class_name")
            classes = KNOWN.get(module, []) if isinstance(module, str | None) else []
            if (classes is not None and name not in classes) or found.get(
                "registered_name"
            ) not in (None, name):
                raise _Refused(f"names {module}.{name}, which no model of this package has")
        found = [value for key, value in found.items() if key != "compile_config"]
    for value in found if isinstance(found, list) else ():
        _check_classes(value)


def _check_weights(group: Any, size: int) -> None:
    """Raises _Refused: a weight is no plain array inside the file."""
    for name in group:
        item = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if isinstance(item, h5py.Group):
            _check_weights(item, size)
        elif item is None or item.external or item.is_virtual or item.nbytes > size:
            raise _Refused(f"has weights {name!r} outside the file")
