"""One picture -> pixels:

Upright, its first frame, transparent parts on white, deep grays in full, no larger than memory
allows.
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
    from PIL.Image import Image as Picture

FORMATS = (
    "JPEG",
    "MPO",
    "PNG",
    "WEBP",
    "BMP",
    "GIF",
    "TIFF",
    "AVIF",
)  # a .jpg that is PostScript would start Ghostscript
LEVELS = (255, 4095, 65535)  # white in pictures of 8, 12 and 16 bits
LOOK = 64  # pixels a side of what a perceptual hash is made of
# that are decoded at the same time: about a gigabyte, two where they aren't plain RGB
PIXELS_IN_FLIGHT = 200_000_000


class Budget:
    """Lets threads take amounts that together stay below `whole`

    What is larger than all of it waits to be alone.
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


def fit_of(path: str | os.PathLike[str]) -> str:
    """How the pictures of a .keras file's model became squares: --fit of its run."""
    with zipfile.ZipFile(path) as file:
        return (
            str(json.loads(file.read("pictures.json"))["fit"])
            if "pictures.json" in file.namelist()
            else "stretch"
        )


def names_of(path: str | os.PathLike[str], classes: int) -> list[str]:
    """Returns the class names in a .keras file, or numbers where it has none."""
    with zipfile.ZipFile(path) as file:
        if "classes.json" in file.namelist():
            return [str(name) for name in json.loads(file.read("classes.json"))]
    return list(map(str, range(classes)))


def decode(source: str | os.PathLike | bytes, size: int, fit: str = "stretch") -> np.ndarray:
    """One picture, a path or a file's bytes, as [size, size, 3] uint8.

    Args:
        fit: "stretch" to the square, as Keras's image_dataset_from_directory does; "pad" with
            black; "crop" to the middle.

    Raises:
        OSError, ValueError, SyntaxError: not a picture, cut off, or larger than Pillow thinks
            safe (89 megapixels twice over).
    """
    return decode_and_look(source, size, fit)[0]


def decode_and_look(
    source: str | os.PathLike | bytes, size: int, fit: str = "stretch"
) -> tuple[np.ndarray, str]:
    """What `decode` gives, and the picture's perceptual hash, 16 hexadecimal digits:

    Alike where pictures look alike.
    """
    import imagehash
    from PIL import Image, ImageOps

    if not isinstance(source, bytes) and not stat.S_ISREG(os.stat(source).st_mode):
        raise ValueError("not a file")  # a pipe would be waited for
    with _open(source) as picture:
        if picture.width * picture.height > 2 * Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        picture.draft(
            "RGB", _needed(picture.size, max(size, LOOK), fit)
        )  # a JPEG is decoded no larger than needed
        with IN_FLIGHT.taking(picture.width * picture.height):
            ImageOps.exif_transpose(
                picture, in_place=True
            )  # the largest takes 700 MB, and a copy as much again
            upright = _rgb(picture)
            look = imagehash.phash(upright.resize((LOOK, LOOK), Image.Resampling.BILINEAR))
            return np.asarray(_fitted(upright, size, fit), np.uint8), str(look)


def _open(source: str | os.PathLike | bytes) -> "Picture":
    from PIL import Image, UnidentifiedImageError

    try:
        return Image.open(
            io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats()
        )
    except UnidentifiedImageError:  # whose own words name an object in memory
        raise OSError("no picture of a kind that is read") from None


def formats() -> list[str]:
    from PIL import Image

    Image.init()
    if (
        "ignore",
        None,
        Image.DecompressionBombWarning,
        None,
        0,
    ) not in warnings.filters:  # what is too large is refused below
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    return [name for name in FORMATS if name in Image.OPEN]


def _needed(shape: tuple[int, int], size: int, fit: str) -> tuple[int, int]:
    """The width and height down to which `shape` may be decoded:

    `size`, or with its shape kept, the shorter side of `size`.
    """
    if fit == "stretch":
        return size, size
    scale = size / min(shape)
    return max(size, int(shape[0] * scale)), max(size, int(shape[1] * scale))


def _rgb(picture: "Picture") -> "Picture":
    from PIL import Image

    if picture.mode.startswith("I") or picture.mode == "F":
        return Image.fromarray(_to_bytes(np.asarray(picture))).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert(
            "RGB"
        )
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _to_bytes(gray: np.ndarray) -> np.ndarray:
    """Deep grays [H, W] as uint8:

    Black is 0, white the smallest of 1 (of fractions), 255, 4,095 and 65,535 that nothing exceeds.
    """
    fractions = gray.dtype.kind == "f"
    values = np.clip(np.nan_to_num(gray.astype(np.float32), posinf=0), 0, None)
    largest = values.max()
    white = next(
        (level for level in ((1, *LEVELS) if fractions else LEVELS) if largest <= level), largest
    )
    return np.rint(values * (255 / white)).astype(np.uint8)


def _fitted(picture: "Picture", size: int, fit: str) -> "Picture":
    from PIL import Image, ImageOps

    if fit == "pad":
        return ImageOps.pad(picture, (size, size), Image.Resampling.BILINEAR)
    if fit == "crop":
        return ImageOps.fit(picture, (size, size), Image.Resampling.BILINEAR)
    return picture.resize((size, size), Image.Resampling.BILINEAR)
