"""--freeze:

Every picture goes through a pretrained network once, and the rounds train one layer on what comes
out.
"""

import functools
import hashlib
import os
import pathlib
import sys
import zipfile
import zlib
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf._files import digest, write_npz
from selectnet_tf.data.task import Task
from selectnet_tf.images import Subset
from selectnet_tf.models import networks, safe_load
from selectnet_tf.recipes import Recipe

BATCH = 128


def backbone(recipe: Recipe, shape: tuple[int, ...]) -> keras.Model:
    """A network with `weights` up to its last layer: images [B, H, W, C] uint8 -> [B, d].

    weights: a model.keras of a run, whatever its network is; or imagenet, or a file of weights, of
    a network of keras.applications.

    Raises:
        ValueError: a model for pictures of another size; weights that don't fit.
    """
    path = os.path.expanduser(recipe.weights or "")
    if path.endswith(".keras"):
        model = safe_load.load(path)
        if tuple(model.input_shape[1:]) != tuple(shape):
            raise ValueError(
                f"{recipe.weights} takes pictures of {model.input_shape[1:]}, and these are"
                f" {tuple(shape)}: change --image_size"
            )
    else:
        model = networks.build(recipe.arch, shape, 2, weights=recipe.weights)
    return keras.Model(model.inputs, model.layers[-1].input, name="backbone")


def embed(task: Task, recipe: Recipe, cache_dir: pathlib.Path) -> tuple[Task, keras.Model]:
    """(the task with float32 rows in place of its images, the network that made them). What was
    embedded once is kept.

    The rows are [d], or with `views` [views, d]: of labeled pictures those of each view, of others
    the picture's, repeated.
    """
    network = backbone(recipe, task.x_labeled.shape[1:])
    weights = b"".join(np.ascontiguousarray(w).tobytes() for w in network.get_weights())
    place = cache_dir / f"embeddings-{network.output_shape[-1]}-{digest(weights)[:16]}.npz"
    known = _load(place)
    before = len(known)
    pixels = round(recipe.shift * task.x_labeled.shape[1])
    try:
        rows = [
            _embed(network, images, known)
            for images in (task.x_labeled, task.x_unlabeled, task.x_test)
        ]
        more = [
            _embed(network, task.x_labeled, known, functools.partial(view, number=v, pixels=pixels))
            for v in range(1, recipe.views)
        ]
    finally:  # also where it was stopped
        if len(known) > before:
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_npz(place, keys=np.array(list(known)), rows=np.stack(list(known.values())))
    if recipe.views > 1:
        others = [
            np.broadcast_to(row[:, None], (len(row), recipe.views, row.shape[1]))
            for row in rows[1:]
        ]
        rows = [np.stack([rows[0], *more], 1), *others]
    x_labeled, x_unlabeled, x_test = rows
    return task._replace(x_labeled=x_labeled, x_unlabeled=x_unlabeled, x_test=x_test), network


def view(images: np.ndarray, number: int, pixels: int) -> np.ndarray:
    """One of four views of images [n, H, W, C]:

    As they are, mirrored, moved right and down, mirrored and moved left and up.
    """
    padded = np.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    start = pixels - (0, 0, pixels, -pixels)[number]
    moved = padded[:, start : start + images.shape[1], start : start + images.shape[2]]
    return moved[:, :, ::-1] if number % 2 else moved


def any_view(rows: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """rows [B, views, d] with one of their views, drawn for each, in the first place, where the
    head looks.
    """
    places = tf.random.stateless_uniform([tf.shape(rows)[0]], seed, 0, rows.shape[1], tf.int32)
    return tf.concat([tf.gather(rows, places, batch_dims=1)[:, None], rows[:, 1:]], 1)


def head(rows: np.ndarray, classes: int, activation: str) -> keras.Model:
    """One layer on standardized rows.

    Rows: [n, d] or [n, views, d], what the mean and the deviation are taken from.
    """
    inputs = keras.Input(rows.shape[1:], name="features")
    first = inputs if rows.ndim == 2 else inputs[:, 0]
    rows = rows.reshape(-1, rows.shape[-1])
    mean, variance = rows.mean(0, dtype=np.float64), rows.var(0, dtype=np.float64)
    x = keras.layers.Normalization(
        mean=mean.tolist(), variance=np.maximum(variance, 1e-6).tolist(), name="standardized"
    )(first)
    return keras.Model(
        inputs, keras.layers.Dense(classes, activation=activation, name="classes")(x), name="head"
    )


def join(network: keras.Model, head: keras.Model, name: str) -> keras.Model:
    """Backbone and head as one model of pictures."""
    standardized, classes = (head.get_layer(layer) for layer in ("standardized", "classes"))
    return keras.Model(network.inputs, classes(standardized(network.outputs[0])), name=name)


def _load(place: pathlib.Path) -> dict[str, np.ndarray]:
    """{digest: row} of a file of the cache; of none, or a damaged one, nothing."""
    try:
        with np.load(place) as file:
            return dict(zip(file["keys"].tolist(), file["rows"], strict=True))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return {}


def _embed(
    network: keras.Model,
    images: Subset | np.ndarray,
    known: dict[str, np.ndarray],
    change: Callable[[np.ndarray], np.ndarray] = np.asarray,
) -> np.ndarray:
    """[n, d] float32 of changed images; `known`, {digest of the pixels: row}, grows."""
    from rich.progress import Progress

    rows = np.zeros((len(images), network.output_shape[-1]), np.float32)
    with Progress(disable=not sys.stdout.isatty(), transient=True) as progress:
        bar = progress.add_task("embedding", total=len(images))
        for start in range(0, len(images), BATCH):
            some = change(images[np.arange(start, min(start + BATCH, len(images)))])
            keys = [
                hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).hexdigest()
                for image in some
            ]
            new = [i for i, key in enumerate(keys) if key not in known]
            if new:
                known.update(
                    zip(
                        [keys[i] for i in new],
                        network.predict_on_batch(some[new]).reshape(len(new), -1),
                        strict=True,
                    )
                )
            rows[start : start + len(some)] = [known[key] for key in keys]
            progress.update(bar, advance=len(some))
    return rows
