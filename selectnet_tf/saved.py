"""Model files of this package: looked through before Keras reads them, because Keras builds, and so runs, what a file names.

Versions of Keras from 3.0 to 3.13 ran code from crafted files (CVE-2025-1550, -8747, -9905, -9906, CVE-2026-1462). Whatever
the version, a file that holds more than our networks are made of isn't handed to it.
"""

import io
import json
import os
import pathlib
import zipfile
from typing import Any

import h5py  # type: ignore[import-untyped]

LAYERS: tuple[str, ...] = (
    "Activation",
    "Add",
    "Average",
    "AveragePooling2D",
    "BatchNormalization",
    "Concatenate",
    "Conv2D",
    "Cropping2D",
    "Dense",
)
LAYERS += ("DepthwiseConv2D", "Dropout", "Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "InputLayer", "LayerNormalization")
LAYERS += ("MaxPooling2D", "Multiply", "Normalization", "ReLU", "Rescaling", "Reshape", "SeparableConv2D", "Softmax", "ZeroPadding2D")
KNOWN: dict[str | None, tuple[str, ...] | None] = {  # module -> classes of it that a file may name; None: all of them
    None: ("__ellipsis__", "__keras_tensor__", "__slice__"),
    "keras": ("DTypePolicy", "Functional", "Sequential"),
    "keras.constraints": None,
    "keras.initializers": None,
    "keras.layers": LAYERS,
    "keras.regularizers": None,
    "keras.src.applications.convnext": ("LayerScale",),
    "keras.src.models.functional": ("Functional",),
    "keras.src.ops.numpy": ("Add", "Concatenate", "GetItem", "Multiply"),
}
CURE = "take the model.keras that a run left"
MOST = 100  # times its own size that a file may unpack to, where that is more than 100 MB


def load(path: str | os.PathLike[str]) -> Any:
    """The keras.Model of a .keras file that this package wrote, not compiled.

    Raises:
        ValueError: it is no such file, is damaged, or holds something that this package doesn't write; one line.
    """
    import keras

    path = pathlib.Path(path)
    check(path)
    try:
        return keras.saving.load_model(path, compile=False)
    except Exception as error:  # what a file lacks makes Keras raise anything
        raise ValueError(f"{path} can't be loaded by Keras {keras.__version__} ({type(error).__name__}): {CURE}") from None


def check(path: pathlib.Path) -> None:
    """Raises ValueError where `load` must not hand the file to Keras."""
    if path.suffix != ".keras" or not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is no .keras file: {CURE}")
    try:
        with zipfile.ZipFile(path) as file:
            size = path.stat().st_size
            unpacked = sum(entry.file_size for entry in file.infolist())
            if unpacked > max(MOST * size, 10**8):
                raise ValueError(f"{path} unpacks to {unpacked:,} bytes: {CURE}")
            odd: list[str | None] = [
                name for name in file.namelist() if name.startswith(("/", "\\")) or ".." in pathlib.PurePath(name).parts
            ]
            damaged = file.testzip()
            config = json.loads(file.read("config.json"))
            weights = file.read("model.weights.h5") if "model.weights.h5" in file.namelist() else b""
        if odd or damaged:
            raise ValueError(f"{path} is damaged at {(odd[0] if odd else damaged)!r}: {CURE}")
        _check_config(config)
        if weights:
            with h5py.File(io.BytesIO(weights), "r") as h5:
                _check_weights(h5, len(weights))
    except _Foreign as error:
        raise ValueError(f"{path} holds {error}, which no model of this package has, and was not loaded: {CURE}") from None
    except ValueError as error:
        raise error if str(error).startswith(str(path)) else ValueError(f"{path} is damaged ({type(error).__name__}): {CURE}") from None
    except Exception as error:  # a damaged archive can raise anything
        raise ValueError(f"{path} is damaged ({type(error).__name__}): {CURE}") from None


class _Foreign(Exception):
    pass


def _check_config(config: Any) -> None:
    """Every object that the file names, however deep, is one of KNOWN; not what compile=False leaves alone."""
    waiting = [config]
    while waiting:
        found = waiting.pop()
        if isinstance(found, list):
            waiting += found
        elif isinstance(found, dict):
            if "class_name" in found or "module" in found:
                module, name = found.get("module"), found.get("class_name")
                classes = KNOWN.get(module, ()) if module is None or isinstance(module, str) else ()
                if (classes is not None and name not in classes) or found.get("registered_name") not in (None, name):
                    raise _Foreign(f"{module}.{name}")
            waiting += [value for key, value in found.items() if key != "compile_config"]


def _check_weights(group: Any, size: int) -> None:
    """Plain arrays in this file, none larger than it."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise _Foreign(f"a link {name!r} out of its weights")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_weights(item, size)
        elif item.external or item.is_virtual or item.nbytes > size:
            raise _Foreign(f"weights {name!r} that lie elsewhere")
