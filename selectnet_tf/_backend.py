"""Keras's backend: TensorFlow with its strategies, or JAX without them."""

import contextlib
from typing import Any

import keras


def check_backend() -> None:
    """Raises ImportError where Keras runs on neither TensorFlow nor JAX."""
    if keras.config.backend() not in ("tensorflow", "jax"):
        raise ImportError(
            "selectnet_tf needs Keras on TensorFlow or JAX, but this one runs on"
            f" {keras.config.backend()}: set KERAS_BACKEND=tensorflow"
        )


def count_replicas(model: keras.Model) -> int:
    """Returns the number of replicas of a model's strategy; 1 on JAX."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.num_replicas_in_sync if strategy else 1


def build(model: keras.Model, images: Any) -> None:
    """Creates the weights of a model that was never called, by the first of some images."""
    if not model.built:
        with scope(model):
            model(images[:1])


def scope(model: keras.Model) -> contextlib.AbstractContextManager[Any]:
    """Returns the context in which a model's new variables are made."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy else contextlib.nullcontext()
