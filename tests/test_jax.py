"""sn.fit where Keras runs on JAX, in a process of its own."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("jax", reason="JAX is not installed: pip install jax")

RUNS = """
import os, signal, sys
import keras, numpy as np
import selectnet_tf as sn

path, y = sys.argv[1], np.arange(240) % 4
x = np.random.default_rng(0).integers(0, 90, (240, 4, 4, 1), dtype=np.uint8)
for c in range(4):
    x[y == c, c] += 140


class Stops(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (3, 2):
            os.kill(os.getpid(), signal.SIGTERM)


def train(*callbacks, loss="sparse_categorical_crossentropy", **options):
    keras.utils.set_random_seed(0)
    layers = keras.layers.Flatten(), keras.layers.Dropout(0.2), keras.layers.Dense(4, "softmax")
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Rescaling(1 / 255), *layers])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss, metrics=["accuracy"])
    pool = sn.Pool(x[:80], y[:80], x[80:], minor=[2, 3])
    rule = sn.SelectNet(0.6, soft=True)
    selection = sn.Selection(pool, rule, every=2, adjust=sn.AlignMinors(0.5), on_round=None)
    given = {"epochs": 6, "batch_size": 16, "verbose": 0, "augment": sn.crop_flip(1)}
    sn.fit(model, selection, callbacks=callbacks, **given, **options)
    assert len(selection.history[-1].index) > 80
    return b"".join(weight.tobytes() for weight in model.get_weights())


assert keras.backend.backend() == "jax"
whole = train()
try:
    train(Stops(), checkpoint=path)
except SystemExit as stopped:
    assert stopped.code == 143
print(np.load(path)["position"], train(checkpoint=path) == whole)
try:
    train(loss=sn.PriorCrossentropy())
except ValueError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bits_and_moving_counts_are_refused(tmp_path):
    environment = {**os.environ, "KERAS_BACKEND": "jax", "CUDA_VISIBLE_DEVICES": ""}
    ran = subprocess.run(
        [sys.executable, "-c", RUNS, str(tmp_path / "state.npz")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    position, refused = ran.stdout.splitlines()
    assert position == "[3 3] True" and "KERAS_BACKEND=tensorflow" in refused
