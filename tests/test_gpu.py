"""What only a GPU can show: make gpu. Skipped where TensorFlow finds none.

One step of each network is the CPU's; the fused normalization is Keras's; the same bits twice; resume; two replicas; mixed precision;
XLA. Runs are processes of their own.
"""

import json
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import selectnet
from keras import layers

from selectnet_tf.models import networks
from selectnet_tf.models.layers import BatchNormalization

GPUS = len(tf.config.list_physical_devices("GPU"))
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not GPUS, reason="TensorFlow finds no GPU here")]
GPU = "GPU:0"
QUICK = ["--dataset=digits-4minor", "--method=context", "--arch=resnet8", "--epochs=4", "--every=2"]


@pytest.fixture(autouse=True)
def float32_is_float32():
    """Without TensorFloat-32, which rounds to 10 bits."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


def one_step(arch, device):
    """(loss, all variables) after a step on a device."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (16, 32, 32, 3), np.uint8), np.arange(16) % 10
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    with tf.device(device):
        model = networks.build(arch, (32, 32, 3), 10)
        for layer in model.layers:
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0  # a GPU draws other masks
        model.compile(
            keras.optimizers.SGD(0.01, 0.9), "sparse_categorical_crossentropy", jit_compile=False
        )
        loss = float(model.train_on_batch(x, y))
        return loss, [
            np.asarray(v)
            for v in model.trainable_variables + model.non_trainable_variables
            if v.dtype == "float32"
        ]


@pytest.mark.parametrize("arch", ["simple", "resnet20", "resnet20v2", "resnet56", "MobileNetV2"])
def test_one_step_is_the_cpu_s(arch):
    loss, variables = one_step(arch, GPU)
    expected, others = one_step(arch, "CPU:0")
    assert abs(loss - expected) < 1e-4 * max(1, abs(expected))
    assert all(
        np.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in zip(variables, others, strict=True)
    )


@pytest.mark.parametrize("axis", [-1, 1])
def test_the_fused_normalization_is_keras_s(axis):
    x = np.random.default_rng(0).normal(2, 3, (8, 6, 6, 6)).astype(np.float32)
    found = []
    with tf.device(GPU):
        for kind in (BatchNormalization, layers.BatchNormalization):
            layer, given = kind(axis=axis), tf.Variable(x)
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(given, training=True) ** 3)
            found.append(
                [
                    layer(given, training=False),
                    *tape.gradient(loss, [given, *(v.value for v in layer.trainable_variables)]),
                ]
            )
            found[-1] += [layer.moving_mean, layer.moving_variance]
    assert all(np.allclose(a, b, rtol=1e-3, atol=1e-3) for a, b in zip(*found, strict=True))


def train(results, *flags, stop=False):
    """A run in a process of its own, or its beginning: stopped by SIGTERM once it has a state. Returns its exit code."""
    words = [sys.executable, "-m", "selectnet_tf.run", *QUICK, f"--results_dir={results}", *flags]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if stop:
        while next(results.glob("runs/*/state.npz"), None) is None and process.poll() is None:
            time.sleep(0.05)
        process.terminate()
    said, errors = process.communicate(timeout=600)
    assert process.returncode in (0, 143), said[-2000:] + errors[-2000:]
    return process.returncode


def bits(results):
    """The run's weights and epochs."""
    (folder,) = (results / "runs").iterdir()
    model = keras.saving.load_model(folder / "model.keras", compile=False)
    return [v.tobytes() for v in model.get_weights()] + [(folder / "epochs.csv").read_bytes()]


def test_a_run_gives_the_same_bits_twice_and_resumed(tmp_path):
    assert train(tmp_path / "one") == train(tmp_path / "two") == 0
    assert bits(tmp_path / "one") == bits(tmp_path / "two")
    assert train(tmp_path / "three", stop=True) in (0, 143)
    train(tmp_path / "three")
    assert bits(tmp_path / "one") == bits(tmp_path / "three")
    (folder,) = (tmp_path / "one" / "runs").iterdir()
    assert "CPU" not in json.loads((folder / "recipe.json").read_text())["device"]


@pytest.mark.parametrize(
    "flags",
    [
        ["--precision=mixed_bfloat16"],
        ["--precision=mixed_float16"],
        ["--jit"],
        ["--nodeterministic"],
    ],
    ids=str,
)
def test_what_makes_it_faster_trains(flags, tmp_path):
    assert train(tmp_path, *flags, "--replicas=1") == 0


@pytest.mark.skipif(GPUS < 2, reason="TensorFlow finds fewer than two GPUs here")
def test_two_replicas(tmp_path):
    assert train(tmp_path / "one", "--replicas=2") == train(tmp_path / "two", "--replicas=2") == 0
    assert bits(tmp_path / "one") == bits(tmp_path / "two")


def test_the_doctor_is_content(tmp_path):
    found = selectnet("doctor", f"--results_dir={tmp_path}")
    step = next(line for line in found.stdout.splitlines() if "one step" in line)
    assert "GPU:0" in step and found.returncode == 0, found.stdout
