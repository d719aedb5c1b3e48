"""CIFAR-10, CIFAR-100 and digits as arrays, read without running code from the files."""

import gzip
import hashlib
import os
import pathlib
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from selectnet_tf._files import expand
from selectnet_tf.data import pickles

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZES = {"cifar10": (50000, 10000), "cifar100": (50000, 10000)}
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
LAYOUTS = {  # (folder, archive, files, the last of test images), in the order of the search
    "cifar10": (
        ("cifar-10-batches-py", "cifar-10-python.tar.gz", BATCHES),
        ("cifar-10-batches-bin", "cifar-10-binary.tar.gz", [f"{file}.bin" for file in BATCHES]),
    ),
    "cifar100": (
        ("cifar-100-python", "cifar-100-python.tar.gz", ["train", "test"]),
        ("cifar-100-binary", "cifar-100-binary.tar.gz", ["train.bin", "test.bin"]),
    ),
}


class Data(NamedTuple):
    """A data set in its own order.

    Attributes:
        x: [n, H, W, C] uint8.
        y: [n] int32 classes.
        x_test: [k, H, W, C] uint8.
        y_test: [k] int32.
        classes: number of classes.
        says: lines for the screen about the files.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: int
    says: tuple[str, ...] = ()


def load(name: str, data_dir: str | os.PathLike | None = None) -> Data:
    """Returns the data set of a benchmark.

    Args:
        name: such as "cifar10-4minor"; the part before the first "-" is cifar10, cifar100 or
            digits.
        data_dir: the official archive (Python or binary version), extracted or not, or the folder
            that holds it. Default: SELECTNET_DATA; without it, keras.datasets downloads.

    Raises:
        FileNotFoundError: there is no archive.
        ValueError: a file is damaged.
    """
    kind = name.split("-")[0]
    if kind == "digits":
        return digits()
    source = find_source(name, data_dir)
    if source is None:
        return _download(kind)
    place, layout = source
    files = next(files for folder, _, files in LAYOUTS[kind] if folder == layout)
    contents, says = _read_files(place, layout, files)
    parts = [_batch(content, file, kind) for file, content in contents.items()]
    x, y = (np.concatenate([part[i] for part in parts[:-1]]) for i in (0, 1))
    return _check_sizes(kind, layout, x, y, *parts[-1])._replace(says=tuple(says))


def find_source(
    name: str, data_dir: str | os.PathLike | None = None
) -> tuple[pathlib.Path, str] | None:
    """Returns the folder or archive of a data set and its layout, without reading it.

    Args:
        name: see `load`.
        data_dir: see `load`.

    Returns:
        (path, layout); None for digits, and where Keras downloads the data set.

    Raises:
        FileNotFoundError: data_dir, or SELECTNET_DATA, holds neither.
    """
    kind = name.split("-")[0]
    data_dir = data_dir or os.environ.get("SELECTNET_DATA")
    if kind == "digits" or not data_dir:
        return None
    folder = expand(data_dir)
    for layout, archive, _ in LAYOUTS[kind]:
        for place in (folder / layout, folder):
            if place.is_dir() and place.name == layout:
                return place, layout
        for place in (folder / archive, folder):
            if place.is_file() and place.name == archive:
                return place, layout
    raise FileNotFoundError(_describe_missing(kind, f"{data_dir} has neither folder nor archive"))


def class_names(name: str, classes: int) -> tuple[str, ...]:
    """Returns CIFAR-10's class names; of other data sets, numbers."""
    return (
        CIFAR10
        if name.startswith("cifar10-") and classes == 10
        else tuple(map(str, range(classes)))
    )


def digits() -> Data:
    """Returns scikit-learn's 8 x 8 digits, doubled to 16 x 16 gray images.

    Every fifth image is a test image.
    """
    from sklearn.datasets import load_digits

    found = load_digits()
    x = np.rint(found.images * (255 / 16)).astype(np.uint8).repeat(2, 1).repeat(2, 2)[..., None]
    y = found.target.astype(np.int32)
    test = np.arange(len(y)) % 5 == 0
    return Data(x[~test], y[~test], x[test], y[test], 10)


def _describe_missing(kind: str, why: str) -> str:
    folder, archive, _ = LAYOUTS[kind][0]
    origin = "www.cs.toronto.edu/~kriz/cifar.html"
    return (
        f"{kind} not found ({why}): put {folder}/ or {archive} from {origin} into a folder and"
        " pass --data_dir=FOLDER"
    )


def _download(kind: str) -> Data:
    import keras

    try:
        (x, y), (x_test, y_test) = getattr(keras.datasets, kind).load_data()
    except Exception as error:  # whatever the network or the mirror does, the cure is the same
        raise FileNotFoundError(
            _describe_missing(kind, f"the download failed: {type(error).__name__}")
        ) from None
    return _check_sizes(
        kind, "the download", x, y.ravel().astype(np.int32), x_test, y_test.ravel().astype(np.int32)
    )


def _check_sizes(
    kind: str, source: str, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray
) -> Data:
    train, test = SIZES[kind]
    if (len(x), len(x_test)) != (train, test):
        raise ValueError(
            f"expected {train} + {test} images of {kind}, {source} holds {len(x)} + {len(x_test)}:"
            " extract it again"
        )
    return Data(x, y, x_test, y_test, int(kind.removeprefix("cifar")))


def _read_files(
    place: pathlib.Path, layout: str, names: list[str]
) -> tuple[dict[str, bytes], list[str]]:
    """Returns ({"layout/file": content}, lines for the screen) of a folder or archive."""
    if place.is_dir():
        found = {f"{layout}/{name}": _read(place / name) for name in names}
        count = len(find_unofficial(found))
        line = f"  {place}: {count} of {len(names)} files differ from the official ones (MD5)"
        return found, [line] if count else []
    found = read_members(place, [f"{layout}/{name}" for name in names])
    line = f"  {place} is intact, but differs from the official archive (MD5)"
    return found, [line] if find_unofficial({place.name: place.read_bytes()}) else []


def _read(path: pathlib.Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing: extract the archive again") from None


def _batch(content: bytes, file: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns (images [n, 32, 32, 3] uint8, classes [n] int32) of a batch file's bytes."""
    planes, labels = (
        _binary(content, file, kind) if file.endswith(".bin") else _pickled(content, file, kind)
    )
    classes = int(kind.removeprefix("cifar"))
    if len(labels) and not 0 <= labels.min() <= labels.max() < classes:
        raise ValueError(
            f"{file}: expected labels from 0 to {classes - 1}, received {labels.min()} to"
            f" {labels.max()}: extract it again"
        )
    return np.ascontiguousarray(planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)), labels.astype(
        np.int32
    )


def _binary(content: bytes, file: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    head = {"cifar10": 1, "cifar100": 2}[kind]  # CIFAR-100: coarse class, fine class
    rows = np.frombuffer(content, np.uint8)
    if not len(rows) or len(rows) % (head + 3072):
        raise ValueError(f"{file} is truncated: extract the archive again")
    rows = rows.reshape(-1, head + 3072)
    return rows[:, head:], rows[:, head - 1]


def _pickled(content: bytes, file: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    try:
        found = pickles.load(content)
        planes = pickles.array(found[b"data"])
        labels = pickles.integers(found[{"cifar10": b"labels", "cifar100": b"fine_labels"}[kind]])
    except pickles.Forbidden as error:
        raise ValueError(
            f"{file} asks to run {error}, which no CIFAR file does, and was not read: download it"
            " again"
        ) from None
    except Exception as error:  # a damaged pickle can raise anything
        raise ValueError(
            f"{file} is damaged or truncated ({type(error).__name__}): extract the archive again"
        ) from None
    if planes.dtype != np.uint8 or planes.shape != (len(labels), 3072) or labels.ndim != 1:
        raise ValueError(
            f"{file} does not hold [n, 3072] bytes and n labels: extract the archive again"
        )
    return planes, labels


MOST = 400 * 2**20  # bytes of a file in an archive: CIFAR has up to 154 MB
MD5 = {  # of the official archives and of the batches pickled by Python 2
    "cifar-10-python.tar.gz": "c58f30108f718f92721af3b95e74349a",
    "cifar-100-python.tar.gz": "eb9058c3a382ffc7106e4002c42a8d85",
    "cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530",
    "cifar-100-binary.tar.gz": "03b5dce01913d631647c71ecec9e9cb8",
    "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
    "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
    "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}


def find_unofficial(contents: Mapping[str, bytes]) -> list[str]:
    """Returns the names in {name: content} with another MD5 than the published one."""
    return [
        name
        for name, content in contents.items()
        if name in MD5 and hashlib.md5(content, usedforsecurity=False).hexdigest() != MD5[name]
    ]


def read_members(archive: pathlib.Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Returns {name: content} of the files `wanted` in a .tar.gz.

    Raises:
        ValueError: the archive is damaged, or lacks a file of a plausible size.
    """
    wanted, found = set(wanted), {}
    try:
        with gzip.open(archive) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                plain = name in wanted and member.isreg() and member.size <= MOST
                if content := tar.extractfile(member) if plain else None:
                    found[name] = content.read()
            while packed.read(2**20):  # the rest, up to the checksum
                pass
    except (EOFError, OSError, tarfile.TarError, zlib.error, ValueError) as error:
        raise ValueError(
            f"{archive} is damaged ({type(error).__name__}): download it again"
        ) from None
    if lacking := sorted(wanted - found.keys()):
        raise ValueError(
            f"{archive} has no file {lacking[0]}: it is damaged or another archive; download it"
            " again"
        )
    return found
