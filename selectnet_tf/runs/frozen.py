"""A frozen backbone (--freeze) embeds every image once; rounds train one layer on the features."""

import os
import pathlib
import sys

import keras
import numpy as np

from selectnet_tf._files import DAMAGE, digest, remove_leftovers, write_npz
from selectnet_tf._locks import lock
from selectnet_tf.data.task import Task
from selectnet_tf.images import Subset
from selectnet_tf.models import networks, safe_load
from selectnet_tf.recipes import TrainingRecipe

BATCH = 128


def backbone(training: TrainingRecipe, shape: tuple[int, ...]) -> keras.Model:
    """Returns a network up to its last layer: images [B, H, W, C] uint8 -> [B, d].

    Args:
        training: `weights` is a run's model.keras of any network; or imagenet, or a file of
            weights, for a network of keras.applications.
        shape: [H, W, C].

    Raises:
        ValueError: a model for images of another size; weights of another network.
    """
    path = os.path.expanduser(training.weights or "")
    if path.endswith(".keras"):
        model = safe_load.load(path)
        if tuple(model.input_shape[1:]) != tuple(shape):
            raise ValueError(
                f"{training.weights} takes images of {model.input_shape[1:]}, but these are"
                f" {tuple(shape)}: change --image_size"
            )
    else:
        model = networks.build(training.arch, shape, 2, weights=training.weights)
    return keras.Model(model.inputs, model.layers[-1].input, name="backbone")


def embed(
    task: Task,
    training: TrainingRecipe,
    cache_dir: pathlib.Path | None,
    network: keras.Model | None = None,
) -> tuple[Task, keras.Model]:
    """Returns (the task with features in place of its images, the backbone).

    The features are float32, [n, d]. A cache keeps them by the images' digests.

    Args:
        task: images.
        training: of the backbone.
        cache_dir: folder of the cache; None: there is none.
        network: the backbone; None: it is built.
    """
    network = network or backbone(training, task.x_labeled.shape[1:])
    place = cache_dir and cache_dir / _name_cache(network)
    known = _load(place) if place else {}
    before = len(known)
    try:
        x_labeled, x_unlabeled, x_test = (
            _embed(network, images, known)
            for images in (task.x_labeled, task.x_unlabeled, task.x_test)
        )
    finally:  # also when stopped
        if place and len(known) > before:
            place.parent.mkdir(parents=True, exist_ok=True)
            with lock(place.parent / ".embeddings.lock", wait=True):
                remove_leftovers(place.parent, "embeddings-*")
                write_npz(place, keys=np.array(list(known)), rows=np.stack(list(known.values())))
    return task._replace(x_labeled=x_labeled, x_unlabeled=x_unlabeled, x_test=x_test), network


def head(rows: np.ndarray, classes: int, activation: str) -> keras.Model:
    """Returns a model of one layer on standardized rows.

    Args:
        rows: [n, d]; their mean and deviation standardize.
        classes: number of classes.
        activation: of the output [B, classes].
    """
    inputs = keras.Input(rows.shape[1:], name="features")
    mean, variance = rows.mean(0, dtype=np.float64), rows.var(0, dtype=np.float64)
    x = keras.layers.Normalization(
        mean=mean.tolist(), variance=np.maximum(variance, 1e-6).tolist(), name="standardized"
    )(inputs)
    return keras.Model(
        inputs, keras.layers.Dense(classes, activation=activation, name="classes")(x), name="head"
    )


def join(network: keras.Model, head: keras.Model, name: str) -> keras.Model:
    """Returns backbone and head as one model of images."""
    standardized, classes = (head.get_layer(layer) for layer in ("standardized", "classes"))
    return keras.Model(network.inputs, classes(standardized(network.outputs[0])), name=name)


def _name_cache(network: keras.Model) -> str:
    weights = b"".join(np.ascontiguousarray(w).tobytes() for w in network.get_weights())
    return f"embeddings-{network.output_shape[-1]}-{digest(weights)[:16]}.npz"


def _load(place: pathlib.Path) -> dict[str, np.ndarray]:
    """Returns {digest: row} of a cache file; of a missing or damaged one, {}."""
    try:
        with np.load(place) as file:
            return dict(zip(file["keys"].tolist(), file["rows"], strict=True))
    except (OSError, *DAMAGE):
        return {}


def _embed(
    network: keras.Model, images: Subset | np.ndarray, known: dict[str, np.ndarray]
) -> np.ndarray:
    """Returns features [n, d] of images; adds them to `known`, {digest of pixels: row}."""
    from rich.progress import track

    rows = np.zeros((len(images), network.output_shape[-1]), np.float32)
    starts, hidden = range(0, len(images), BATCH), not sys.stdout.isatty()
    for start in track(starts, "embedding", transient=True, disable=hidden):
        some = images[np.arange(start, min(start + BATCH, len(images)))]
        keys = [digest(np.ascontiguousarray(image).data) for image in some]
        new = [i for i, key in enumerate(keys) if key not in known]
        if new:
            found = network.predict_on_batch(some[new]).reshape(len(new), -1)
            known |= zip([keys[i] for i in new], found, strict=True)
        rows[start : start + len(some)] = [known[key] for key in keys]
    return rows
