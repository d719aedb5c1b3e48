"""
Title: SelectNet: learning rare classes from unlabeled images
Author: the selectnet_tf authors
Date created: 2026/11/26
Last modified: 2026/11/26
Description: A classifier selects images of its rare classes from an unlabeled pool, and a small
network decides which to trust.
Accelerator: None
"""

"""
## Introduction

Four of the ten digits are rare: we have 7 labeled images of each *minor* class and about 130 of each other class. Besides
this labeled set *D* we have a pool *U* of unlabeled images, most of them of the rare classes. SelectNet (Liu, Gao and Yang,
2019) lets the classifier select them from the pool:

1. Train for a few epochs. In the first round, oversample the rare classes.
2. Score every image of D and U: class probabilities and loss.
3. Keep the *candidates* D', the images predicted as a minor class.
4. Fit a small network, the *selector*, that learns which candidates to trust.
5. Until the next round, train on D and the trusted candidates. Unlabeled ones get the predicted class.

The true labels of the pool are never trained on. This file needs Keras with TensorFlow, NumPy and scikit-learn. It runs
for less than a minute on two CPU cores.
"""

import keras
import numpy as np
from sklearn.datasets import load_digits

MINOR = [0, 2, 6, 7]  # the rare classes
# lambda, the loss (nats) above which a sample isn't trusted; also beta, the selector's output
THRESHOLD = 0.6
ROUNDS, EPOCHS = 4, 4  # rounds, and epochs of each
SELECTOR_EPOCHS, BATCH = 20, 32

"""
## The data

5% of each minor class and 90% of each other class stay labeled. We hide the other labels. A fifth of all images is the
test set.
"""


def load(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns images [n, 8, 8, 1], classes [n], labeled [n] bool, and the images and classes of
    the test set.
    """
    rng = np.random.default_rng(seed)
    x, y = load_digits(return_X_y=True)
    order = rng.permutation(len(x))
    x, y = x[order].reshape(-1, 8, 8, 1).astype("float32") / 16, y[order]
    test = len(x) // 5
    x_test, y_test, x, y = x[:test], y[:test], x[test:], y[test:]
    labeled = np.zeros(len(y), bool)
    for c in range(10):
        places = np.flatnonzero(y == c)
        labeled[places[: int(len(places) * (0.05 if c in MINOR else 0.9))]] = True
    return x, y, labeled, x_test, y_test


"""
## The classifier

Any classifier that ends in a softmax works. Its optimizer keeps its state when the training set changes.
"""


def build_classifier() -> keras.Model:
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.SGD(0.03, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


"""
## The first round: oversampling

On imbalanced data the classifier rarely predicts a rare class, and without predictions there are no candidates. So the
first round draws images of each class with replacement until all classes are as large as the largest.
"""


def oversampled(y: np.ndarray, labeled: np.ndarray, seed: int = 0) -> np.ndarray:
    """Returns indices [k]: those of D, followed by those drawn."""
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(labeled & (y == c)) for c in range(10)]
    largest = max(len(here) for here in places)
    drawn = [rng.choice(here, largest - len(here)) for here in places]
    return np.concatenate([np.flatnonzero(labeled), *drawn])


"""
## Scores and candidates

The loss of a sample is the negative logarithm of the predicted class's probability. It needs no true label, so it is
defined for labeled and unlabeled images alike.
"""


def score(probs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns each sample's loss [n] and whether it is a candidate [n]. probs: [n, 10]."""
    loss = -np.log(np.clip(probs.max(1), 1e-7, 1)).astype("float32")
    return loss, np.isin(probs.argmax(1), MINOR)


"""
## The selector

The selector f maps the probabilities and the loss L of a sample to a number from 0 to 1. It minimizes the mean of
(L - lambda) f, so it learns to output 1 where the loss is below the threshold lambda, and 0 where it is above. Candidates
with an output above beta are selected. The selector keeps its weights from round to round.
"""


def build_selector(seed: int = 0) -> keras.Model:
    glorot = [keras.initializers.GlorotUniform(seed + 7919 * i) for i in range(3)]
    selector = keras.Sequential(
        [
            keras.Input((11,)),
            keras.layers.Dense(8, activation="relu", kernel_initializer=glorot[0]),
            keras.layers.Dense(4, activation="relu", kernel_initializer=glorot[1]),
            keras.layers.Dense(1, activation="sigmoid", kernel_initializer=glorot[2]),
        ]
    )
    selector.compile(keras.optimizers.Adam(1e-2), loss=lambda excess, f: keras.ops.mean(excess * f))
    return selector


def order(n: int, round: int, epoch: int, seed: int = 0) -> np.ndarray:
    """Returns the order [n] of the samples in an epoch of the selector."""
    return np.random.default_rng([seed, round, epoch]).permutation(n)


def select(selector: keras.Model, probs: np.ndarray, round: int) -> np.ndarray:
    """Fits the selector on the candidates. Returns the selected ones: [n] bool."""
    loss, candidate = score(probs)
    if not candidate.any():
        return candidate
    z = np.concatenate([probs, loss[:, None]], axis=1)
    z_fit, excess = z[candidate], (loss - np.float32(THRESHOLD))[candidate, None]
    for epoch in range(SELECTOR_EPOCHS):
        places = order(len(z_fit), round, epoch)
        for start in range(0, len(places), BATCH):
            here = places[start : start + BATCH]
            selector.train_on_batch(z_fit[here], excess[here])
    trusted = selector.predict(z, verbose=0)[:, 0] > THRESHOLD
    return candidate & trusted


"""
## The swap

The next round trains on D and the selected images. A labeled one has its true class and counts twice. An unlabeled one
has the predicted class. Each round replaces the images of the round before.
"""


def swap(
    y: np.ndarray, labeled: np.ndarray, probs: np.ndarray, picked: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the indices of the next training set [k] and their targets [k].

    Reads y of labeled samples only.
    """
    known = np.where(labeled, y, probs.argmax(1))
    index = np.concatenate([np.flatnonzero(labeled), np.flatnonzero(picked)])
    return index, known[index]


"""
## Training

We train twice for the same number of epochs: on the oversampled labeled set alone, and with the pool.
"""


def train(data: tuple[np.ndarray, ...], with_pool: bool) -> dict[str, float]:
    """Returns the test accuracy of the minor and of the other classes."""
    x, y, labeled, x_test, y_test = data
    keras.utils.set_random_seed(0)
    classifier, selector = build_classifier(), build_selector()
    index = oversampled(y, labeled)
    targets = y[index]
    for round in range(ROUNDS):
        classifier.fit(x[index], targets, BATCH, epochs=EPOCHS, verbose=0)
        if with_pool:
            probs = classifier.predict(x, verbose=0)
            picked = select(selector, probs, round)
            index, targets = swap(y, labeled, probs, picked)
            report(round, y, labeled, probs, picked)
    right = classifier.predict(x_test, verbose=0).argmax(1) == y_test
    minor = np.isin(y_test, MINOR)
    return {"minor": right[minor].mean(), "other": right[~minor].mean()}


def report(
    round: int, y: np.ndarray, labeled: np.ndarray, probs: np.ndarray, picked: np.ndarray
) -> None:
    """Prints the precision of the pseudo-labels.

    Only this function reads the pool's true labels, and nothing depends on it.
    """
    new = picked & ~labeled
    right = (probs.argmax(1) == y)[new].mean() if new.any() else np.nan
    print(
        f"round {round}: {new.sum()} of {(~labeled).sum()} unlabeled images selected,"
        f" {right:.0%} of their pseudo-labels right"
    )


"""
## Results

Expect a higher accuracy on the rare digits with the pool. One small data set and one seed show no more than that.
"""

if __name__ == "__main__":
    data = load()
    for name, with_pool in (("oversampling", False), ("SelectNet", True)):
        found = train(data, with_pool)
        print(
            f"{name}: accuracy {found['minor']:.3f} on the rare digits, {found['other']:.3f} on the"
            " others"
        )
