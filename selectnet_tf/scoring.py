"""Scores of images: one forward pass of a classifier, as probabilities and losses."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from selectnet_tf._backend import build, count_replicas, scope
from selectnet_tf.images import Images, map_steps, open_images

Found = tuple[np.ndarray, np.ndarray | None]
Scoring = Callable[[], Found]
NOT_FINITE = (
    "image {} of the pool (labeled images come first) holds NaN or infinity: leave it out or fill"
    " it in"
)
DOUBLE = (
    "the model already returns probabilities: leave out from_logits=True, in the loss and in"
    " Selection"
)


class Scorer:
    """Runs a model over images in order, once an image, on any number of replicas.

    The last batch is padded with the last image, so that no replica is ever empty, and the padding
    is cut off again. The dataset and the compiled function serve every pass.

    Args:
        model: a keras.Model with one output.
        images: [n, ...] array, a dict or tuple of arrays, or Images.
        batch_size: images at once over all replicas; rounded to a multiple of them.
        features: also return the input of the last layer with weights, inside a nested model that
            holds all weights.
    """

    def __init__(
        self, model: keras.Model, images: Any, batch_size: int = 250, features: bool = False
    ) -> None:
        images = images if isinstance(images, Images) else open_images(images)
        check_input(model, images)
        self.n, self.batch_size = len(images), batch_size
        replicas = count_replicas(model)
        batch = max(1, min(batch_size, self.n) // replicas) * replicas
        self.model = self.classifier = model
        self.features = features
        if features:
            build(model, images)  # a Sequential without an Input has a graph from then on
            if not getattr(model, "inputs", None):
                raise ValueError(
                    "features need a functional or sequential model, not a subclass: give"
                    " SelectNet inputs='probs+loss'"
                )
            with scope(model):
                self.model = add_features(model)

        def load(step: tf.Tensor) -> tuple[Any]:
            places = tf.cast(step, tf.int32) * batch + tf.range(batch)
            # in a tuple, since Keras takes a lone pair as images and labels
            return (images.gather(tf.minimum(places, self.n - 1)),)

        self.dataset = map_steps(load, 0, -(-self.n // batch))

    def __call__(self) -> Found:
        """Returns (output [n, m], features [n, d] or None) as float32 arrays."""
        return self._predict(self.dataset)

    def first(self) -> Found:
        """Returns the same for the first batch alone."""
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
        output = outputs[0][: self.n].astype(np.float32)
        return output, None if features is None else features[: self.n].astype(np.float32)


def to_probabilities(output: np.ndarray, from_logits: bool, last: int) -> np.ndarray:
    """Returns a model's output as probabilities [n, m].

    Args:
        output: [n, m], or [n, 1], the second class's, of a model with one sigmoid unit.
        from_logits: whether the output is logits.
        last: the largest labeled class.
    """
    if output.ndim == 2 and output.shape[1] == 1 and last == 1:
        if not from_logits and (output.min() < 0 or output.max() > 1):
            raise ValueError(
                f"the model's output is from {output.min():.3g} to {output.max():.3g}, no"
                " probability: end it in a sigmoid, or pass Selection(from_logits=True)"
            )
        second = np.exp(-np.logaddexp(0, -output)) if from_logits else output
        return np.concatenate([1 - second, second], axis=1)
    if output.ndim != 2 or output.shape[1] <= last:
        raise ValueError(
            f"the model's output is {list(output.shape[1:])}, but has to be [m] for classes 0 to m"
            f" - 1, and there is a class {last}: end it in Dense({last + 1}, activation='softmax')"
        )
    sums = output.sum(1)
    if from_logits:
        # a second softmax would leave no class above e / (e + m - 1)
        if output.min() >= 0 and abs(sums - 1).max() <= 0.02:
            raise ValueError(DOUBLE)
        return np.asarray(softmax(output, axis=1))
    if output.min() < 0 or abs(sums - 1).max() > 0.02:
        raise ValueError(
            f"the model's outputs are no probabilities (sums from {sums.min():.3g} to"
            f" {sums.max():.3g}): end it in a softmax, or pass Selection(from_logits=True) for"
            " logits"
        )
    return output


def ends_in_sigmoid(model: keras.Model) -> bool:
    """Returns whether the last layer is known to return sigmoids: False of a subclass."""
    last: Any = model
    while isinstance(last, keras.Model) and getattr(last, "outputs", None):
        last = getattr(last, "operations", last.layers)[-1]
    return getattr(last, "activation", None) is keras.activations.sigmoid


def find_not_finite(images: Images) -> int | None:
    """Returns the position of the first image with NaN or infinity, or None."""
    for leaf in images.leaves.values():
        for start in range(0, len(leaf), 1000) if leaf.dtype.kind == "f" else ():
            some = leaf[start : start + 1000]
            wrong = ~np.isfinite(some).reshape(len(some), -1).all(1)
            if wrong.any():
                return start + int(wrong.argmax())
    return None


def check_finite(output: np.ndarray, images: Images, trained: bool = True) -> None:
    """Raises ValueError where a model's output is NaN or infinite.

    Args:
        output: [n, m].
        images: the images, one of which may be the cause.
        trained: whether the model was trained before.
    """
    if np.isfinite(output).all():
        return
    place = find_not_finite(images)
    if place is not None:
        raise ValueError(NOT_FINITE.format(place))
    if not trained:
        raise ValueError(
            "the classifier's output is not finite before training: scale its inputs, or load other"
            " weights"
        )
    raise ValueError(
        "the classifier's output is not finite, for training has diverged: use a smaller learning"
        " rate"
    )


def check_input(model: keras.Model, images: Images) -> None:
    """Raises ValueError where a model takes other inputs, or would truncate the images' values."""
    tensors, leaves = getattr(model, "inputs", None) or [], images.leaves
    if not tensors:
        return  # of a subclass, known once it is called
    struct = model.input if len(tensors) > 1 else None
    given = struct if isinstance(struct, dict) else dict(enumerate(tensors))
    if len(tensors) == len(leaves) == 1:
        given = dict.fromkeys(leaves, tensors[0])
    elif not isinstance(struct, dict) and not leaves.keys() <= given.keys():
        given = {t.name: t for t in tensors}
    if given.keys() != leaves.keys():
        cure = "" if isinstance(struct, dict) else ", or a tuple of arrays in their order"
        raise ValueError(
            f"the model's inputs are {list(map(str, given))}, and the images are"
            f" {list(map(str, leaves)) if len(leaves) > 1 else 'one array'}: give the Pool a"
            f" dict of arrays by the inputs' names{cure}"
        )
    for key, leaf in leaves.items():
        if given[key].dtype in ("string", "bfloat16"):
            continue
        wanted, dtype = np.dtype(given[key].dtype), leaf.dtype
        narrow = wanted.itemsize < 4 and not np.can_cast(dtype, wanted, "safe")
        if wanted.kind in "iu" and (dtype.kind == "f" or narrow):
            raise ValueError(
                f"the images are {dtype}, but the model's input is {wanted} and would cut their"
                f" values: build it with dtype={str(dtype)!r} (sn.build, keras.Input), or give it"
                f" images of {wanted}"
            )


def compute_losses(
    probs: np.ndarray, labels: np.ndarray, labeled: np.ndarray, labeled_loss: str
) -> np.ndarray:
    """Returns L_c of every sample: [n] float32, nats.

    Args:
        probs: [n, m].
        labels: [n] classes, ignored where unlabeled.
        labeled: [n] bool.
        labeled_loss: "predicted", "true" or "two_hot"; see Selection.
    """
    rows = np.arange(len(probs))
    predicted = probs.argmax(1)

    def nll(classes: np.ndarray) -> np.ndarray:
        return np.asarray(-np.log(np.clip(probs[rows, classes], 1e-7, 1)), np.float32)

    loss = nll(predicted)
    if labeled_loss != "predicted":
        true = nll(np.where(labeled, labels, predicted))
        wrong = labeled & (labels != predicted)
        loss = np.where(wrong, true + loss if labeled_loss == "two_hot" else true, loss)
    return loss


@contextlib.contextmanager
def preserving_seeds(model: keras.Model) -> Iterator[None]:
    """Restores the model's random state on exit: some layers are random in prediction, too."""
    weights = {id(variable) for variable in model.weights}
    seeds = [(v, keras.ops.convert_to_numpy(v)) for v in model.variables if id(v) not in weights]
    yield
    with scope(model):
        for variable, value in seeds:
            variable.assign(value)


def add_features(model: keras.Model) -> keras.Model:
    """Returns a model with outputs (output [B, m], features [B, d]).

    Raises:
        ValueError: the features are not rows, or part of another model's graph.
    """
    features = _features(model)
    shapes = [list(tensor.shape[1:]) for tensor in keras.tree.flatten(features)]
    if [len(shape) for shape in shapes] != [1]:
        raise ValueError(
            f"the last layer with weights takes {' and '.join(map(str, shapes))}, but features have"
            " to be [d]: end the model in a Dense layer, or use a rule without features, such as"
            " SelectNet(inputs='probs+loss')"
        )
    try:
        return keras.Model(_inputs(model), [model.outputs[0], features])
    except ValueError:
        raise ValueError(
            "features can't be read from layers that were called in another model first: build the"
            " model of new layers"
        ) from None


def _features(model: keras.Model) -> keras.KerasTensor:
    """Returns the input of the last layer with weights, in the model's own graph."""
    weighted = [layer for layer in model.layers if layer.weights]
    last = weighted[-1]
    given = keras.Operation.input.fget(last)  # a model's own `input` is that of its own graph
    nested = isinstance(last, keras.Model) and getattr(last, "inputs", None)
    if len(weighted) == 1 and nested:
        inputs = _inputs(last)
        given = keras.tree.pack_sequence_as(inputs, keras.tree.flatten(given))
        return keras.Model(inputs, _features(last))(given)
    return given


def _inputs(model: keras.Model) -> Any:
    """Returns the inputs of a functional or sequential model, in their structure."""
    return model.inputs[0] if len(model.inputs) == 1 else model.input
