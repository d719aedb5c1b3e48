"""Decodes image files within a memory budget.

Images are turned upright. Animations give their first frame, transparency becomes white, and 16-bit
grayscale keeps its full range.
"""

import contextlib
import io
import json
import os
import stat
import threading
import warnings
import zipfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as PillowImage

FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
    "AVIF",
)  # without PostScript: a .jpg of it would start Ghostscript
LEVELS = (255, 4095, 65535)  # white in images of 8, 12 and 16 bits
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


def read_fit(path: str | os.PathLike[str]) -> str:
    """Returns --fit of the run that wrote a .keras file."""
    with zipfile.ZipFile(path) as file:
        return (
            str(json.loads(file.read("pictures.json"))["fit"])
            if "pictures.json" in file.namelist()
            else "stretch"
        )


def read_class_names(path: str | os.PathLike[str], classes: int) -> list[str]:
    """Returns the class names in a .keras file, or numbers if it has none."""
    with zipfile.ZipFile(path) as file:
        if "classes.json" in file.namelist():
            return [str(name) for name in json.loads(file.read("classes.json"))]
    return list(map(str, range(classes)))


def decode(source: str | os.PathLike | bytes, size: int, fit: str = "stretch") -> np.ndarray:
    """Returns an image as [size, size, 3] uint8.

    Args:
        source: path, or the file's bytes.
        size: side in pixels.
        fit: "stretch" to the square, as Keras's image_dataset_from_directory does; "pad" with
            black; "crop" to the middle.

    Raises:
        OSError, ValueError, SyntaxError: no image, a truncated one, or one above Pillow's limit
            of 179 megapixels.
    """
    return decode_and_look(source, size, fit)[0]


def decode_and_look(
    source: str | os.PathLike | bytes, size: int, fit: str = "stretch"
) -> tuple[np.ndarray, str]:
    """Returns `decode`'s pixels and the perceptual hash, 16 hexadecimal digits."""
    import imagehash
    from PIL import Image, ImageOps

    if not isinstance(source, bytes) and not stat.S_ISREG(os.stat(source).st_mode):
        raise ValueError("not a file")  # a pipe would be waited for
    with _open(source) as image:
        if image.width * image.height > 2 * Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        # decodes a JPEG no larger than needed
        image.draft("RGB", _scaled_shape(image.size, max(size, LOOK), fit))
        with IN_FLIGHT.taking(image.width * image.height):
            ImageOps.exif_transpose(image, in_place=True)  # a copy may take 700 MB
            upright = _to_rgb(image)
            look = imagehash.phash(upright.resize((LOOK, LOOK), Image.Resampling.BILINEAR))
            return np.asarray(_fit_square(upright, size, fit), np.uint8), str(look)


def _open(source: str | os.PathLike | bytes) -> "PillowImage":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats()
        )
    except UnidentifiedImageError:  # its message names an object in memory
        raise OSError("no image of a supported format") from None


def formats() -> list[str]:
    """Returns the formats among FORMATS that this Pillow reads."""
    from PIL import Image

    Image.init()
    ignored = ("ignore", None, Image.DecompressionBombWarning, None, 0)
    if ignored not in warnings.filters:  # `decode` refuses images that are too large
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return [name for name in FORMATS if name in Image.OPEN]


def _scaled_shape(shape: tuple[int, int], size: int, fit: str) -> tuple[int, int]:
    """Returns the smallest (width, height) that an image may be decoded to."""
    if fit == "stretch":
        return size, size
    scale = size / min(shape)
    return max(size, int(shape[0] * scale)), max(size, int(shape[1] * scale))


def _to_rgb(image: "PillowImage") -> "PillowImage":
    from PIL import Image

    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_bytes(gray: np.ndarray) -> np.ndarray:
    """Returns grayscale [H, W] of more than 8 bits as uint8.

    White is the smallest of 1 (for floats), 255, 4,095 and 65,535 that no value exceeds.
    """
    levels = (1, *LEVELS) if gray.dtype.kind == "f" else LEVELS
    values = np.clip(np.nan_to_num(gray.astype(np.float32), posinf=0), 0, None)
    largest = values.max()
    white = next((level for level in levels if largest <= level), largest)
    return np.rint(values * (255 / white)).astype(np.uint8)


def _fit_square(image: "PillowImage", size: int, fit: str) -> "PillowImage":
    from PIL import Image, ImageOps

    if fit == "pad":
        return ImageOps.pad(image, (size, size), Image.Resampling.BILINEAR)
    if fit == "crop":
        return ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    return image.resize((size, size), Image.Resampling.BILINEAR)
