"""Decodes image files within a memory budget.

Images are turned upright. Animations and files of several pages give their first, transparency
becomes white, and all grayscale images of more than 8 bits share one range.
"""

import contextlib
import io
import json
import math
import os
import pathlib
import re
import stat
import threading
import warnings
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from selectnet_tf._files import printable
from selectnet_tf.data.folders.boxes import Box, make_square

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

# without PostScript: a .jpg of it would start Ghostscript
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
HEADERS = (".png", ".tif", ".tiff")  # files that may have more than 8 bits, or several pages
SAMPLE = 64  # images whose values give the range of all
VALUES = 10_000  # of an image among them
LOOK = 64  # side in pixels of the image behind a perceptual hash
# pixels decoded at a time: about 1 GB, and 2 GB for images that aren't plain RGB
PIXELS_IN_FLIGHT = 200_000_000


class Budget:
    """Lets threads take amounts whose sum stays within `whole`.

    A larger amount waits until no other is taken.
    """

    def __init__(self, whole: int) -> None:
        self.whole, self.free = whole, whole
        self.condition = threading.Condition()

    @contextlib.contextmanager
    def taking(self, amount: int) -> Iterator[None]:
        amount = min(amount, self.whole)
        with self.condition:
            self.condition.wait_for(lambda: self.free >= amount)
            self.free -= amount
        try:
            yield
        finally:
            with self.condition:
                self.free += amount
                self.condition.notify_all()


IN_FLIGHT = Budget(PIXELS_IN_FLIGHT)


Levels = tuple[float, float]  # values of a deep grayscale image that become black and white


class Headers(NamedTuple):
    """Facts of image files.

    Attributes:
        sides: (width, height) of each readable image.
        deep: grayscale images of more than 8 bits that are `may_be_deep`.
        pages: TIFFs of several pages.
    """

    sides: list[tuple[int, int]]
    deep: list[pathlib.Path]
    pages: list[pathlib.Path]


def may_be_deep(path: pathlib.Path) -> bool:
    """Returns whether a file's name is that of images with more than 8 bits or several pages."""
    return path.suffix.lower() in HEADERS


def read_headers(paths: list[pathlib.Path]) -> Headers:
    """Returns facts of the images that can be opened, without reading their pixels."""
    from PIL import Image

    found = Headers([], [], [])
    for path in paths:
        try:
            with Image.open(path, formats=formats()) as image:
                found.sides.append(image.size)
                if _is_deep(image) and may_be_deep(path):
                    found.deep.append(path)
                if getattr(getattr(image, "tag_v2", None), "next", 0):
                    found.pages.append(path)
        except Exception:  # decoding reports it
            continue
    return found


def find_levels(deep: list[pathlib.Path]) -> Levels | None:
    """Returns the range of deep grayscale images; None without a readable one.

    The tags' where a sample of the images has them. Else from 0, or the lowest values if these are
    negative, to a power of two, below which 99.9% of the sample's values are.
    """
    from PIL import Image

    lows, highs, values = [], [], []
    for path in deep[:: max(1, len(deep) // SAMPLE)]:
        try:
            with Image.open(path, formats=formats()) as image:
                tags = getattr(image, "tag_v2", {})
                gray = np.asarray(image).ravel()
        except Exception:  # decoding reports it
            continue
        some = gray[:: max(1, gray.size // VALUES)].astype(np.float64)
        values.append(some[np.isfinite(some)])
        lows.append(tags.get(340, tags.get(280)))  # (S)MinSampleValue
        highs.append(tags.get(341, tags.get(281)))  # (S)MaxSampleValue
    try:
        if highs and None not in highs:
            black, white = min(0.0, *map(_number, lows)), max(map(_number, highs))
            if black < white:
                return black, white
    except (TypeError, ValueError):  # some have no minimum, or none that is a number
        pass
    every = np.concatenate(values) if values else np.zeros(0)
    if not every.size:
        return None
    low, high = np.percentile(every, [0.1, 99.9])
    black, white = -_level(-low) or 0.0, _level(high)
    return (black, white) if black < white else (black, black + 1)


def _number(tag: object) -> float:
    return float(np.max(np.asarray(tag, np.float64))) if tag is not None else 0.0


def _level(value: float) -> float:
    """Returns the power of two that is about `value` or more, less 1 from 255 on; 0 below 0."""
    if value <= 0:
        return 0.0
    level = 2.0 ** math.ceil(math.log2(value / 1.1))
    return level - 1 if level >= 256 else level


def read_settings(path: str | os.PathLike[str]) -> tuple[str, Levels | None, bool]:
    """Returns how a .keras file's run decoded images.

    These are (--fit, range of deep grayscale images, whether it had --boxes). Raises ValueError for
    a damaged file.
    """
    with _open_model(path) as file:
        known = "pictures.json" in file.namelist()
        found = json.loads(file.read("pictures.json")) if known else {}
        levels = found.get("levels") and (float(found["levels"][0]), float(found["levels"][1]))
        return str(found.get("fit", "stretch")), levels, bool(found.get("boxes"))


def read_class_names(path: str | os.PathLike[str], classes: int) -> list[str]:
    """Returns the class names in a .keras file, or numbers if it has none.

    Raises ValueError if it has another number of names than the model has classes, or is damaged,
    or if the model has one output.
    """
    if classes < 2:  # its softmax would be 1 for every image
        raise ValueError(
            f"{path}: expected an output for each class, received one in all: end the model in"
            " Dense(2, activation='softmax')"
        )
    with _open_model(path) as file:
        if "classes.json" not in file.namelist():
            return list(map(str, range(classes)))
        names = [str(name) for name in json.loads(file.read("classes.json"))]
    if len(names) != classes:
        raise ValueError(
            f"{path}: expected {classes} names in its classes.json, received {len(names)}:"
            f" {', '.join(names[:10])}"
        )
    return names


@contextlib.contextmanager
def _open_model(path: str | os.PathLike[str]) -> Iterator[zipfile.ZipFile]:
    """Opens a .keras file. Raises ValueError if what is read of it inside is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            yield file
    except OSError:
        raise
    except Exception as error:  # JSON of any content
        cure = "give the model.keras that a run left"
        raise ValueError(f"{path} is damaged ({type(error).__name__}): {cure}") from None


def decode(
    source: str | os.PathLike | bytes,
    size: int,
    fit: str = "stretch",
    levels: Levels | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """Returns an image as [size, size, 3] uint8.

    Args:
        source: path, or the file's bytes.
        size: side in pixels.
        fit: "stretch" to the square, as Keras's image_dataset_from_directory does; "pad" with
            black; "crop" to the middle.
        levels: the values that become black and white in grayscale of more than 8 bits; None: 0
            and 65,535, of fractions 0 and 1.
        box: the part to decode, see boxes.make_square; None: the whole image.

    Raises:
        OSError, ValueError, SyntaxError: no image, a truncated one, or one above Pillow's limit
            of 179 megapixels.
    """
    return decode_and_look(source, size, fit, levels, box)[0]


def decode_and_look(
    source: str | os.PathLike | bytes,
    size: int,
    fit: str = "stretch",
    levels: Levels | None = None,
    box: Box | None = None,
) -> tuple[np.ndarray, str]:
    """Returns `decode`'s pixels and the perceptual hash, 16 hexadecimal digits."""
    import imagehash
    from PIL import Image

    with _open_upright(source, max(size, LOOK), fit, levels, box) as image:
        look = imagehash.phash(image.resize((LOOK, LOOK), Image.Resampling.BILINEAR))
        return np.asarray(_fit_square(image, size, fit), np.uint8), str(look)


def try_decode(
    source: str | os.PathLike | bytes,
    shape: tuple[int, ...],
    fit: str,
    levels: Levels | None,
    box: Box | None = None,
) -> np.ndarray | str:
    """Returns an image as a model of inputs `shape`, [H, W, C], takes it, or why there is none."""
    try:
        image = decode(source, shape[0], fit, levels, box)
    except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
        return describe_failure(error)
    return image if shape[2] == 3 else image.mean(-1, keepdims=True).astype(np.uint8)


def describe_failure(error: Exception) -> str:
    """Returns the first line of an error, without the names of objects in memory."""
    text = re.sub(r" ?<_io\.\w+ object at \w+>", "", str(error).partition("\n")[0])
    return text or type(error).__name__


def check_square(shape: tuple[int, ...], path: str | os.PathLike) -> None:
    """Raises ValueError where a model's inputs [H, W, C] are no square images."""
    if len(shape) != 3 or not shape[0] or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise ValueError(f"expected a model of square images, {path} takes inputs of {list(shape)}")


def decode_thumbnail(
    source: str | os.PathLike | bytes,
    size: int,
    levels: Levels | None = None,
    box: Box | None = None,
) -> np.ndarray:
    """Returns an image in its own shape, at most size x size, as [H, W, 3] uint8; see `decode`."""
    with _open_upright(source, size, "pad", levels, box) as image:
        image.thumbnail((size, size))
        return np.asarray(image, np.uint8)


@contextlib.contextmanager
def _open_upright(
    source: str | os.PathLike | bytes, size: int, fit: str, levels: Levels | None, box: Box | None
) -> Iterator["PillowImage"]:
    """Opens an image turned upright, as RGB, and no larger than needed for `size`."""
    from PIL import ImageOps

    if not isinstance(source, bytes) and not stat.S_ISREG(os.stat(source).st_mode):
        raise ValueError("not a file")  # a pipe would be waited for
    with _open(source) as image:
        if levels is None and _is_deep(image) and not isinstance(source, bytes):
            _check_name(pathlib.Path(source), image)
        if box:
            size = math.ceil(size / min(box[2] - box[0], box[3] - box[1]))
        # decodes a JPEG no larger than needed
        image.draft("RGB", _scaled_shape(image.size, size, fit))
        with IN_FLIGHT.taking(image.width * image.height):
            ImageOps.exif_transpose(image, in_place=True)  # a copy may take 700 MB
            image = _to_rgb(image, levels)
            yield image.crop(make_square(image.size, box)) if box else image


def _check_name(path: pathlib.Path, image: "PillowImage") -> None:
    """Raises ValueError for a deep image whose name kept it out of the search for the range."""
    if not may_be_deep(path):
        name = path.with_suffix(f".{str(image.format).lower()}").name
        raise ValueError(f"a {image.format} of more than 8 bits: rename it to {printable(name)}")


def _open(source: str | os.PathLike | bytes) -> "PillowImage":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats()
        )
    except UnidentifiedImageError:  # its message names an object in memory
        raise OSError(_describe_unknown(source)) from None


def _describe_unknown(source: str | os.PathLike | bytes) -> str:
    """Returns the reason why Pillow can't read a file, by its tags if it is a TIFF."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    try:
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            tags = ImageFileDirectory_v2(file.read(8))
            file.seek(tags.next)
            tags.load(file)
        bands, bits = tags.get(277, 1), tags.get(258, (1,))
        return f"a TIFF of {bands} bands of {bits[0]} bits: convert it to RGB or grayscale"
    except Exception:  # no TIFF
        return "no image of a supported format"


def formats() -> list[str]:
    """Returns the formats among FORMATS that this Pillow reads."""
    from PIL import Image

    Image.init()
    ignored = ("ignore", None, Image.DecompressionBombWarning, None, 0)
    if ignored not in warnings.filters:  # twice the limit is an error
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return [name for name in FORMATS if name in Image.OPEN]


def _scaled_shape(shape: tuple[int, int], size: int, fit: str) -> tuple[int, int]:
    """Returns the smallest (width, height) that an image may be decoded to."""
    if fit == "stretch":
        return size, size
    scale = size / min(shape)
    return max(size, int(shape[0] * scale)), max(size, int(shape[1] * scale))


def _is_deep(image: "PillowImage") -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _to_rgb(image: "PillowImage", levels: Levels | None) -> "PillowImage":
    from PIL import Image

    if _is_deep(image):
        gray = _to_bytes(np.asarray(image), levels)
        inverted = getattr(image, "tag_v2", {}).get(262) == 0  # WhiteIsZero
        return Image.fromarray(255 - gray if inverted else gray).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_bytes(gray: np.ndarray, levels: Levels | None) -> np.ndarray:
    """Returns grayscale [H, W] of more than 8 bits as uint8."""
    black, white = levels or (0.0, 1.0 if gray.dtype.kind == "f" else 65535.0)
    values = np.nan_to_num(gray.astype(np.float32), nan=black, posinf=white, neginf=black)
    return np.rint(np.clip((values - black) / (white - black), 0, 1) * 255).astype(np.uint8)


def _fit_square(image: "PillowImage", size: int, fit: str) -> "PillowImage":
    from PIL import Image, ImageOps

    if fit == "pad":
        return ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR)
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return image.resize((size, size), Image.Resampling.BILINEAR)
