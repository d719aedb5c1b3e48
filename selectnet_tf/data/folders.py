"""Folders of pictures -> a memory-mapped array, decoded once. Neither broken nor huge files stop it, and each is named."""

import concurrent.futures
import hashlib
import json
import os
import pathlib
from typing import NamedTuple

import numpy as np

from selectnet_tf.files import lock, replacing

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
VERSION = 1  # of the cache


class Folder(NamedTuple):
    """The pictures below a folder, sorted by path.

    images: [n, size, size, 3] uint8, an np.memmap of the cache. files: n paths relative to the folder, with "/".
    digests: n strings, equal where the pictures' pixels are. skipped: [(path, why)] of what could not be read.
    """

    images: np.ndarray
    files: list
    digests: list
    skipped: list

    def paths(self, root):
        """[n] paths of the files, with the folder's own."""
        return [str(pathlib.Path(root, file)) for file in self.files]

    def classes(self, root, names=None):
        """(class names, [n] int32 class of each picture): the first folder on its way below root is its class.

        Raises:
            ValueError: a picture outside of any class's folder; a folder that is none of `names`; fewer than two classes.
        """
        for file in self.files:
            if "/" not in file:
                raise ValueError(f"{pathlib.Path(root, file)} lies in no class's folder: {root} has to hold a folder for each class")
        own = [file.split("/")[0] for file in self.files]
        unknown = sorted(set(own) - set(names)) if names else []
        if unknown:
            raise ValueError(f"{root}: {', '.join(unknown)} are no classes of the labeled pictures ({', '.join(names)})")
        names = names or tuple(sorted(set(own)))
        if len(names) < 2:
            raise ValueError(f"{root} has one folder of pictures, {names[0]}: at least two classes are needed")
        return names, np.array([names.index(name) for name in own], np.int32)


def read(root, size, cache):
    """Decodes every picture below `root` to size x size RGB (stretched, as Keras's image_dataset_from_directory does).

    Args:
        root: any tree; links to folders are followed once.
        size: side in pixels.
        cache: folder for the decoded images; a tree that has not changed is read from there the next time.

    Raises:
        FileNotFoundError: no such folder. ValueError: it holds no readable picture.
    """
    root, cache = pathlib.Path(root), pathlib.Path(cache)
    if not root.is_dir():
        raise FileNotFoundError(f"{root} is no folder: give one that holds pictures ({', '.join(SUFFIXES)})")
    files = list_files(root)
    facts = [(file, (found := (root / file).stat()).st_size, found.st_mtime_ns) for file in files]
    key = hashlib.sha256(json.dumps([VERSION, str(root.resolve()), size, facts]).encode()).hexdigest()[:24]
    cache.mkdir(parents=True, exist_ok=True)
    with lock(cache / f".{key}.lock", wait=True):
        if not (cache / f"{key}.json").exists():
            _decode_all(root, files, size, cache / f"{key}.images", cache / f"{key}.json")
    index = json.loads((cache / f"{key}.json").read_text())
    if not index["files"]:
        first = f", e.g. {index['skipped'][0][0]} ({index['skipped'][0][1]})" if files else ""
        raise ValueError(f"{root} holds no readable picture, only {len(files)} files of {', '.join(SUFFIXES)}{first}")
    images = np.memmap(cache / f"{key}.images", np.uint8, "r", shape=(len(index["files"]), size, size, 3))
    return Folder(images, index["files"], index["digests"], [tuple(pair) for pair in index["skipped"]])


def list_files(root):
    """Pictures by their suffix below root, sorted, relative, with "/"; hidden files and folders are none."""
    found, seen = [], set()
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        place = pathlib.Path(folder).relative_to(root)
        found += [(place / n).as_posix() for n in names if n.lower().endswith(SUFFIXES) and not n.startswith(".")]
    return sorted(found)


def decode(path, size):
    """One picture as [size, size, 3] uint8: upright, its first frame, transparent parts on white.

    Raises:
        OSError, ValueError, SyntaxError: not a picture, cut off, or larger than Pillow thinks safe (89 megapixels twice over).
    """
    from PIL import Image, ImageOps

    with Image.open(path) as picture:
        if picture.width * picture.height > 2 * Image.MAX_IMAGE_PIXELS:
            raise ValueError(f"{picture.width} x {picture.height} pixels are too many")
        picture.draft("RGB", (size, size))  # a JPEG is decoded no larger than needed
        picture = ImageOps.exif_transpose(picture)
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB").resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(picture, np.uint8)


def _decode_all(root, files, size, images, index):
    """Writes the decoded pictures one behind the other, and then the index, which says that they are complete."""

    def attempt(file):
        try:
            return decode(root / file, size), None
        except Exception as error:  # Pillow's plugins raise whatever a damaged file makes them
            return None, str(error).splitlines()[0] if str(error) else type(error).__name__

    kept, digests, skipped = [], [], []
    with replacing(images) as beside, open(beside, "wb") as out, concurrent.futures.ThreadPoolExecutor() as pool:
        for start in range(0, len(files), 1024):
            some = files[start : start + 1024]
            for file, (pixels, why) in zip(some, pool.map(attempt, some), strict=True):
                if pixels is None:
                    skipped.append((file, why))
                else:
                    out.write(pixels.tobytes())
                    kept.append(file)
                    digests.append(hashlib.blake2b(pixels.tobytes(), digest_size=12).hexdigest())
    with replacing(index) as beside:
        beside.write_text(json.dumps({"files": kept, "digests": digests, "skipped": skipped}))
