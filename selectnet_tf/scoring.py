"""What a classifier says of images:

One forward pass on any number of replicas, as probabilities and losses.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf.images import Images, batches


def probabilities(output: np.ndarray, from_logits: bool, last: int) -> np.ndarray:
    """The model's output as [n, m] probabilities. last: the largest class of a label."""
    if output.ndim != 2 or output.shape[1] <= last:
        raise ValueError(
            f"the model's output is {list(output.shape[1:])}, but has to be [m] for classes 0 to m"
            f" - 1, and there is a class {last}: end it in Dense({last + 1}, activation='softmax')"
        )
    sums = output.sum(1)
    if from_logits:
        if (
            output.min() >= 0 and abs(sums - 1).max() <= 0.02
        ):  # a second softmax would leave no class above e / (e + m - 1)
            raise ValueError(
                "the model already gives probabilities: leave out from_logits=True, of the loss and"
                " of the Selection"
            )
        powers = np.exp(output - output.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))
    if output.min() < 0 or abs(sums - 1).max() > 0.02:
        raise ValueError(
            f"the model's outputs are no probabilities (they sum to {sums.min():.3g} to"
            f" {sums.max():.3g}): end it in a softmax, or pass Selection(from_logits=True) where it"
            " gives logits"
        )
    return output


def describe_not_finite(images: Images) -> int | None:
    """The first image that holds NaN or infinity; None where there is none."""
    for start in range(0, len(images), 1000) if images.dtype.kind == "f" else ():
        some = images[start : start + 1000]
        wrong = ~np.isfinite(some).reshape(len(some), -1).all(1)
        if wrong.any():
            return start + int(wrong.argmax())
    return None


def check_finite(output: np.ndarray, images: Images, trained: bool = True) -> None:
    """Raises ValueError where an output [n, ...] is NaN or infinite:

    Names the image that is, or says that training has diverged.
    """
    if np.isfinite(output).all():
        return
    place = describe_not_finite(images)
    if place is not None:
        raise ValueError(
            f"image {place} of the pool, which counts D first, holds NaN or infinity: leave it out"
            " or fill it in"
        )
    if not trained:
        raise ValueError(
            "the classifier's output is not finite before any training: scale its inputs, or begin"
            " with other weights"
        )
    raise ValueError(
        "the classifier's output is not finite: training has diverged, use a smaller learning rate"
    )


def check_input(model: keras.Model, dtype: np.dtype) -> None:
    """Raises ValueError where the model has several inputs, or one that would cut the images'
    values to whole numbers or fewer bits.
    """
    tensors = getattr(model, "inputs", None) or []
    if len(tensors) > 1:
        raise ValueError(
            f"the model has {len(tensors)} inputs, but has to have one: join them along an axis,"
            " and take them apart inside it"
        )
    for wanted in {np.dtype(t.dtype) for t in tensors if t.dtype not in ("string", "bfloat16")}:
        if wanted.kind in "iu" and (
            dtype.kind == "f" or (wanted.itemsize < 4 and not np.can_cast(dtype, wanted, "safe"))
        ):
            raise ValueError(
                f"the images are {dtype}, but the model's input is {wanted} and would cut their"
                f" values: build it with dtype={str(dtype)!r} (sn.build, keras.Input), or give it"
                f" images of {wanted}"
            )


@contextlib.contextmanager
def preserving_seeds(model: keras.Model) -> Iterator[None]:
    """What is asked of a built model inside leaves no trace:

    The seeds of layers that are random, also when they predict, are put back.
    """
    weights = {id(variable) for variable in model.weights}
    seeds = [(v, keras.ops.convert_to_numpy(v)) for v in model.variables if id(v) not in weights]
    yield
    with model.distribute_strategy.scope():
        for variable, value in seeds:
            variable.assign(value)


def sample_loss(probs: np.ndarray, labels: np.ndarray, labeled: np.ndarray, how: str) -> np.ndarray:
    """L_c of every sample:

    [n] float32, nats. probs [n, m]; labels [n], ignored where not labeled [n]; see Selection.
    """
    rows = np.arange(len(probs))
    predicted = probs.argmax(1)

    def nll(classes: np.ndarray) -> np.ndarray:
        return np.asarray(-np.log(np.clip(probs[rows, classes], 1e-7, 1)), np.float32)

    loss = nll(predicted)
    if how != "predicted":
        true = nll(np.where(labeled, labels, predicted))
        wrong = labeled & (labels != predicted)
        loss = np.where(wrong, true + loss if how == "two_hot" else true, loss)
    return loss


def with_features(model: keras.Model) -> keras.Model:
    """A model of (output [B, m], features [B, d]).

    Raises ValueError where the features are no rows, or of another model's graph.
    """
    features = _features(model)
    shapes = [list(tensor.shape[1:]) for tensor in keras.tree.flatten(features)]
    if [len(shape) for shape in shapes] != [1]:
        raise ValueError(
            f"the last layer with weights takes {' and '.join(map(str, shapes))}, but features have"
            " to be [d]: end the model in a Dense layer, or take a rule that reads none, such as"
            " SelectNet(inputs='probs+loss')"
        )
    try:
        return keras.Model(model.inputs[0], [model.outputs[0], features])
    except ValueError:
        raise ValueError(
            "features can't be read from layers that were called in another model first: make the"
            " model of new ones"
        ) from None


def _features(model: keras.Model) -> keras.KerasTensor:
    """The input of the last layer that has weights, in the model's own graph."""
    weighted = [layer for layer in model.layers if layer.weights]
    given = keras.Operation.input.fget(
        weighted[-1]
    )  # of a model, `input` is its own, and not what it is given here
    if (
        len(weighted) == 1
        and isinstance(weighted[0], keras.Model)
        and getattr(weighted[0], "inputs", None)
    ):
        inner = weighted[0]
        return keras.Model(inner.inputs[0], _features(inner))(given)
    return given


Found = tuple[np.ndarray, np.ndarray | None]
Scoring = Callable[[], Found]


class Scorer:
    """Runs a model over images, in order, exactly once an image, on any number of replicas.

    The last batch is filled up with the last image, so every batch has one shape and no replica is
    ever empty; what was filled up is cut off again. The dataset and the compiled function are made
    once and used for every pass.

    Args:
        model: a keras.Model with one input and one output.
        images: [n, ...] array, or Images.
        batch_size: images at once over all replicas; rounded to a multiple of them.
        features: also return the input of the last layer that has weights; of a model that is
            one layer of a model and holds all of its weights, that of its last.
    """

    def __init__(
        self, model: keras.Model, images: Any, batch_size: int = 250, features: bool = False
    ) -> None:
        images = images if isinstance(images, Images) else Images(images)
        check_input(model, images.dtype)
        self.n = len(images)
        replicas = model.distribute_strategy.num_replicas_in_sync
        batch = max(1, min(batch_size, self.n) // replicas) * replicas
        self.model = self.classifier = model
        self.features = features
        if features:
            if not getattr(model, "inputs", None):
                raise ValueError(
                    "features are read from a functional or sequential model: use probs as the"
                    " selector's inputs"
                )
            with model.distribute_strategy.scope():
                self.model = with_features(model)

        def load(step: tf.Tensor) -> tf.Tensor:
            places = tf.cast(step, tf.int32) * batch + tf.range(batch)
            return images.gather(tf.minimum(places, self.n - 1))

        self.dataset = batches(load, 0, -(-self.n // batch))

    def __call__(self) -> Found:
        """(output [n, m], features [n, d] or None) as float32 arrays."""
        return self._predict(self.dataset)

    def first(self) -> Found:
        """As a call, but of the first batch alone."""
        return self._predict(self.dataset.take(1))

    def _predict(self, dataset: tf.data.Dataset) -> Found:
        found = self.model.predict(dataset, verbose=0)
        output, features = found if self.features else (found, None)
        outputs = keras.tree.flatten(output)  # of a dict or a list, the only one
        if len(outputs) > 1:
            cure = "train keras.Model(model.input, model.get_layer(NAME).output)"
            raise ValueError(
                f"the model has {len(outputs)} outputs, but has to have one, the classes: {cure}"
            )
        output = outputs[0]
        return output[: self.n].astype(np.float32), (
            None if features is None else features[: self.n].astype(np.float32)
        )
