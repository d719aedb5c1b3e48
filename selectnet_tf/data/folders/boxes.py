"""Boxes of animals as MegaDetector writes them, to which --boxes crops images."""

import json
import os
import pathlib

from selectnet_tf._files import printable, split_paths

LEAST = 0.2  # confidence of a box that counts
MARGIN = 0.1  # around a box, as a share of its longer side
ANIMAL = "1"  # the category, where the file names none

Box = tuple[float, float, float, float]  # left, top, right, bottom: shares of the upright image


def find_boxes(
    text: str | None, folders: dict[pathlib.Path, list[str]]
) -> tuple[dict[pathlib.Path, Box], list[str]]:
    """Returns ({image: box of its most confident animal}, lines for the screen).

    A file in MegaDetector's output is an image of the same path below one of the folders, or below
    a folder above it.

    Args:
        text: MegaDetector's outputs, A or A,B; None: there are none.
        folders: {folder: paths of its images below it}.

    Raises:
        ValueError, OSError: in one line: a missing file or another format, no image of the folders,
            or a file that fits two images.
    """
    if not text:
        return {}, []
    known: dict[str, Box | None] = {}
    for path in split_paths(text):
        known |= _read(pathlib.Path(path))
    images: dict[str, pathlib.Path] = {}
    for root, files in folders.items():
        parts = pathlib.Path(os.path.abspath(root)).parts
        above = ["/".join((*parts[i:], "")).replace("//", "/") for i in range(len(parts) + 1)]
        for file in files:
            name = next((place + file for place in above if place + file in known), None)
            if name and images.setdefault(name, root / file) != root / file:
                raise ValueError(
                    f"--boxes: {printable(name)} in {text} fits {printable(images[name])} and"
                    f" {printable(root / file)}: run MegaDetector on a folder that holds both"
                )
    if not images:
        some = ", ".join(map(printable, [*known][:2]))
        raise ValueError(
            f"--boxes: none of the {len(known):,} files in {text} ({some}) is one of these images:"
            " run MegaDetector on their folder, or on one above it"
        )
    found = {path: box for name, path in images.items() if (box := known[name])}
    whole, lacking = len(images) - len(found), sum(map(len, folders.values())) - len(images)
    says = [
        f"  boxes: {len(found):,} images are cropped to an animal; whole: {whole:,} without an"
        f" animal of confidence {LEAST}, {lacking:,} that are not in {text}"
    ]
    strange = [name for name in known if name not in images]
    if strange:
        says.append(
            f"  boxes: {len(strange):,} files in {text} are none of these images, such as"
            f" {strange[0]}"
        )
    return found, says


def _read(path: pathlib.Path) -> dict[str, Box | None]:
    """Returns {file: the box of its most confident animal, or None} in MegaDetector's output."""
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        names = content.get("detection_categories", {ANIMAL: "animal"})
        animals = {key for key, name in names.items() if name == "animal"}
        return {
            str(pathlib.PurePosixPath(image["file"].replace("\\", "/"))): _best(
                [found for found in image.get("detections") or () if found["category"] in animals]
            )
            for image in content["images"]
        }
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            "--boxes: expected MegaDetector's output, JSON with images of file and detections of"
            f" category, conf and bbox, received {path} ({type(error).__name__}: {error})"
        ) from None


def _best(animals: list[dict]) -> Box | None:
    conf, box = max(((each["conf"], each["bbox"]) for each in animals), default=(0.0, None))
    if box is None or conf < LEAST:
        return None
    left, top, width, height = map(float, box)
    corner = -0.01 <= min(left, top) <= max(left, top) < 1
    if not (corner and 0 < width <= 1.01 and 0 < height <= 1.01):
        raise ValueError(f"bbox {box} is not x, y, width and height as shares of the image")
    return max(left, 0.0), max(top, 0.0), min(left + width, 1.0), min(top + height, 1.0)


def as_text(box: Box | None) -> str:
    """Returns a box as four numbers, and none as ""."""
    return " ".join(f"{share:.4f}" for share in box or ())


def from_text(text: str) -> Box | None:
    """Returns the box of `as_text`."""
    shares = [float(share) for share in text.split()]
    return (shares[0], shares[1], shares[2], shares[3]) if shares else None


def make_square(shape: tuple[int, int], box: Box) -> tuple[int, int, int, int]:
    """Returns (left, top, right, bottom) in pixels of a box with its margin.

    It is a square, as far as the image allows.

    Args:
        shape: (width, height) of the image.
        box: of the image.
    """
    sides = [(box[2 + axis] - box[axis]) * shape[axis] for axis in (0, 1)]
    side = max(1, round(max(sides) * (1 + 2 * MARGIN)))
    starts = []
    for axis, length in enumerate(shape):
        center = (box[axis] + box[2 + axis]) / 2 * length
        starts.append(min(max(round(center - side / 2), 0), max(length - side, 0)))
    left, top = starts
    return left, top, min(left + side, shape[0]), min(top + side, shape[1])
