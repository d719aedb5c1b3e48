"""sn.fit on models of several inputs: tokens with their mask, and an image with metadata.

Prints the recall of the rare class on held-out samples, with the pool and without it.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

import selectnet_tf as sn

RARE, CLASSES = 2, 3
LABELED = {0: 60, 1: 60, RARE: 6}


def read_texts(rng):
    """Returns ({token_ids [n, 16], padding_mask [n, 16]}, classes [n]), as a KerasHub tokenizer."""
    y = rng.integers(0, CLASSES, 900)
    tokens = rng.integers(30, 200, (900, 16))
    topic = rng.integers(0, 10, (900, 3)) + 10 * y[:, None]  # three words of each text
    tokens[:, :3] = topic
    mask = np.arange(16) < rng.integers(4, 17, 900)[:, None]
    return {"token_ids": np.where(mask, tokens, 0).astype("int32"), "padding_mask": mask}, y


def text_model():
    tokens = keras.Input((16,), dtype="int32", name="token_ids")
    mask = keras.Input((16,), dtype="bool", name="padding_mask")
    weights = keras.ops.cast(mask, "float32")[..., None]
    words = keras.layers.Embedding(200, 16)(tokens) * weights
    mean = keras.ops.sum(words, 1) / keras.ops.sum(weights, 1)
    inputs = {"token_ids": tokens, "padding_mask": mask}
    backbone = keras.Model(inputs, keras.layers.Dense(16, activation="relu")(mean))
    output = keras.layers.Dense(CLASSES, activation="softmax")(backbone(inputs))
    return keras.Model(inputs, output)


def read_images(rng):
    """Returns ({image [n, 8, 8, 1], metadata [n, 2]}, classes [n]) of the digits 1, 7 and 8."""
    x, digits = load_digits(return_X_y=True)
    kept = rng.permutation(np.flatnonzero(np.isin(digits, [1, 7, 8])))
    image, y = x[kept].reshape(-1, 8, 8, 1), np.searchsorted([1, 7, 8], digits[kept])
    metadata = np.stack([image.mean((1, 2, 3)) / 16, rng.normal(size=len(y))], 1)
    return {"image": image.astype("uint8"), "metadata": metadata.astype("float32")}, y


def image_model():
    image = keras.Input((8, 8, 1), name="image")
    metadata = keras.Input((2,), name="metadata")
    seen = keras.layers.Flatten()(keras.layers.Rescaling(1 / 16)(image))
    joined = keras.layers.Concatenate()([seen, metadata])
    hidden = keras.layers.Dense(32, activation="relu")(joined)
    output = keras.layers.Dense(CLASSES, activation="softmax")(hidden)
    return keras.Model({"image": image, "metadata": metadata}, output)


def take(x, places):
    return {name: array[places] for name, array in x.items()}


def recall(read, build, augment, rule, epochs):
    """Returns (recall of the rare class, images added in the last round)."""
    rng = np.random.default_rng(0)
    x, y = read(rng)
    labeled = np.concatenate([np.flatnonzero(y == c)[:n] for c, n in LABELED.items()])
    others = np.setdiff1d(np.arange(len(y)), labeled)
    unlabeled, test = others[::2], others[1::2]
    keras.utils.set_random_seed(0)
    model = build()
    model.compile(keras.optimizers.Adam(0.01), sn.PriorCrossentropy(), metrics=["accuracy"])
    pool = sn.Pool(take(x, labeled), y[labeled], take(x, unlabeled), minor=[RARE])
    selection = sn.Selection(pool, rule, every=5, init="none", on_round=None)
    sn.fit(model, selection, epochs=epochs, batch_size=16, augment=augment, verbose=0)
    found = model.predict(take(x, test), verbose=0).argmax(1)
    added = len(selection.history[-1].index) if rule else 0
    return float((found[y[test] == RARE] == RARE).mean()), added


def main(epochs=30):
    shift = {"image": sn.shift_flip(0.1, flip=False)}
    for name, read, build, augment in (
        ("tokens and mask", read_texts, text_model, None),
        ("image and metadata", read_images, image_model, shift),
    ):
        rule = sn.SelectNet(0.6, inputs="penultimate+loss")
        (alone, _), (pooled, added) = (
            recall(read, build, augment, one, epochs) for one in (None, rule)
        )
        print(f"{name}: recall {alone:.3f} without the pool, {pooled:.3f} with {added} added")


if __name__ == "__main__":
    main()
