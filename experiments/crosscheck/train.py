"""Trains Table 1's simple net without TensorFlow: many members (runs) at once on one GPU.

Written from the paper and from Keras 2.2.4's cifar10_cnn, apart from selectnet_tf, to check its
rows, to try the example's own RMSprop recipe, and to ask of whole networks what keeps a class from
being lost. It needs PyTorch, Triton, Numba and a CUDA GPU; TRITON_INTERPRET=1 runs it on a CPU, far
too slowly for more than a few steps.

    python train.py cifar-10-batches-py --out out --members recipe=keras_cnn,method=imbalanced
    method=context,tau=1,seed=2

A member is given by Member's fields, separated by commas. An H100 takes 95 to 100 microseconds for
a member's step with a dozen members side by side. A run repeats up to float32 atomics' order.
"""

import argparse
import csv
import dataclasses
import pickle
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import torch
from net import RECIPES, Network

MINOR, MAJOR = np.array([0, 2, 6, 7]), np.array([1, 3, 4, 5, 8, 9])
MEASURES = [
    "accuracy",
    "minor_accuracy",
    "major_accuracy",
    "worst_minor_f1",
    *(f"recall_{c}" for c in range(10)),
]
PICKS = ["class", "picked", "right", "major", "labeled", "labeled_right"]
ORIGIN = [
    "commit",
    "versions",
    "device",
    "seconds",
]  # seconds: since the command began, which all its members share


@numba.njit(nogil=True)
def fit_selector(theta, mean, square, steps, z, weight, orders, rate):
    """Eq. (5) by Adam, batches of 32: z [n, k], weight [n] = L - lambda, orders [epochs, n].
    Returns the steps so far.

    theta and Adam's two moments hold, in a row: kernel [k, 8], bias, kernel [8, 4], bias, kernel
    [4], bias. They are changed in place.
    """
    k, n = z.shape[1], len(z)
    b1, w2, b2, w3, b3 = 8 * k, 8 * k + 8, 8 * k + 40, 8 * k + 44, 8 * k + 48
    h, g, grad = np.empty(8, np.float32), np.empty(4, np.float32), np.empty_like(theta)
    for epoch in range(len(orders)):
        for start in range(0, n, 32):
            batch = min(32, n - start)
            grad[:] = 0
            for at in range(start, start + batch):
                i = orders[epoch, at]
                out = forward(theta, z[i], h, g)
                d = weight[i] * out * (1 - out) / batch
                grad[b3] += d
                back = np.zeros(8, np.float32)
                for v in range(4):
                    grad[w3 + v] += d * g[v]
                    if g[v] > 0:
                        dv = d * theta[w3 + v]
                        grad[b2 + v] += dv
                        for u in range(8):
                            grad[w2 + 4 * u + v] += dv * h[u]
                            back[u] += dv * theta[w2 + 4 * u + v]
                for u in range(8):
                    if h[u] > 0:
                        grad[b1 + u] += back[u]
                        for j in range(k):
                            grad[8 * j + u] += back[u] * z[i, j]
            steps += 1
            scale = rate * np.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
            for j in range(len(theta)):
                mean[j] += 0.1 * (grad[j] - mean[j])
                square[j] += 0.001 * (grad[j] * grad[j] - square[j])
                theta[j] -= scale * mean[j] / (np.sqrt(square[j]) + 1e-7)
    return steps


@numba.njit(nogil=True)
def forward(theta, x, h, g):
    """f_s of one sample x [k]; h [8] and g [4] take what the hidden layers say."""
    k = len(x)
    for u in range(8):
        total = theta[8 * k + u]
        for j in range(k):
            total += x[j] * theta[8 * j + u]
        h[u] = max(total, 0)
    out = theta[8 * k + 48]
    for v in range(4):
        total = theta[8 * k + 40 + v]
        for u in range(8):
            total += h[u] * theta[8 * k + 8 + 4 * u + v]
        g[v] = max(total, 0)
        out += g[v] * theta[8 * k + 44 + v]
    return 1 / (1 + np.exp(-out))


@numba.njit(nogil=True)
def trusted(theta, z):
    """f_s of all z [n, k]: [n]."""
    out, h, g = np.empty(len(z), np.float32), np.empty(8, np.float32), np.empty(4, np.float32)
    for i in range(len(z)):
        out[i] = forward(theta, z[i], h, g)
    return out


class Selector:
    """The 8-4-1 network, kept from round to round.

    The paper's text, or what is known of the released code, decides how it is trained.
    """

    def __init__(self, inputs, released, seed):
        self.rate, self.epochs = (1e-3, 5) if released else (1e-2, 20)
        self.rng, parts = np.random.default_rng([seed, 6]), []
        for rows, columns in ((inputs, 8), (8, 4), (4, 1)):
            reach = np.sqrt(6 / (rows + columns))
            kernel = (
                self.rng.normal(0, 0.05, (rows, columns))
                if released
                else self.rng.uniform(-reach, reach, (rows, columns))
            )
            parts += [kernel.ravel(), np.zeros(columns)]
        self.theta = np.concatenate(parts).astype(np.float32)
        self.mean, self.square, self.steps = np.zeros_like(self.theta), np.zeros_like(self.theta), 0

    def fit(self, z, weight):
        orders = np.stack([self.rng.permutation(len(z)) for _ in range(self.epochs)])
        self.steps = fit_selector(
            self.theta,
            self.mean,
            self.square,
            self.steps,
            z,
            weight.astype(np.float32),
            orders,
            self.rate,
        )


@dataclasses.dataclass
class Member:
    """One run: how it is trained, what it trains on, and what it picks."""

    recipe: str = "sgd"
    lr_schedule: str = "constant"  # or cosine, to 0 over all epochs, by the epoch
    method: str = "selectnet"  # or imbalanced, oversampling, self_paced, context, random, oracle
    preset: str = "paper"  # or released
    copies: int = 0  # of the minor classes beside D in the first round; 0: as the preset has it
    every: int = 10  # epochs between two selections
    threshold: float = 0.6  # lambda
    tau: float = 0.0  # strength of the prior-aware loss
    align: float = 0.0  # root of the alignment of the minor classes
    cap: float = 0.0  # alpha of the cap on the picks of a class
    validation: int = (
        0  # images of a class held out of the training set, and tested on instead of the test set
    )
    seed: int = 0

    @classmethod
    def of(cls, spec):
        given = dict(part.split("=") for part in spec.split(","))
        types = {field.name: field.type for field in dataclasses.fields(cls)}
        return cls(**{name: types[name](value) for name, value in given.items()})

    def prepare(self, labels):
        """labels:

        [60000] true classes, the test images' last; only the labeled ones reach the training, but
        for oracle.
        """
        self.labels, self.truth, self.released = labels, labels[:50000], self.preset == "released"
        rng, places = np.random.default_rng([self.seed, 5]), np.arange(50000)
        held = np.concatenate(
            [rng.permutation(np.flatnonzero(self.truth == c))[: self.validation] for c in range(10)]
        )
        self.tested = np.sort(held) if self.validation else np.arange(50000, 60000)
        self.known = ~np.isin(places, held)  # D and U
        rng, kept = np.random.default_rng([self.seed, 0]), []
        for c in range(10):
            own = np.flatnonzero(self.known & (self.truth == c))
            kept.append(
                (own if self.released else rng.permutation(own))[
                    : len(own) // 100 if c in MINOR else len(own) * 9 // 10
                ]
            )
        self.labeled = np.isin(places, np.concatenate(kept))
        self.own = np.flatnonzero(self.known if self.method == "oracle" else self.labeled)
        self.selects = self.method in ("self_paced", "context", "selectnet", "random")
        extra = np.zeros(0, int)
        if self.copies:
            extra = np.tile(np.concatenate([kept[c] for c in MINOR]), self.copies)
        elif self.released and (self.method == "oversampling" or self.selects):
            extra = np.tile(np.concatenate([kept[c] for c in MINOR]), 20 if self.selects else 100)
        elif self.method == "oversampling" or self.selects:
            rng, most = np.random.default_rng([self.seed, 1]), max(map(len, kept))
            extra = np.concatenate([rng.choice(np.sort(own), most - len(own)) for own in kept])
        self.index = np.append(self.own, extra)
        self.targets = labels[self.index]
        self.selector = Selector(10 if self.released else 11, self.released, self.seed)
        self.usual = None  # what the pool's minors are predicted as, a moving mean

    def optimizer(self):
        """One of RECIPES; a cosine takes the place of the decay."""
        kind, rate, decay, shift = RECIPES[self.recipe]
        return kind, rate, decay if self.lr_schedule == "constant" else 0.0, shift

    def rate_at(self, epoch, epochs):
        """The learning rate in an epoch (from 0) of a run of `epochs`."""
        share = (1 + np.cos(np.pi * epoch / epochs)) / 2 if self.lr_schedule == "cosine" else 1.0
        return RECIPES[self.recipe][1] * share

    def samples(self, epoch):
        order = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.index))
        return self.index[order], self.targets[order]

    def prior(self):
        """[16] what the loss adds to the logits:

        Tau times the log share of each class in what is trained on now.
        """
        counts = np.maximum(np.bincount(self.targets, minlength=10), 1)
        return np.append(self.tau * np.log(counts / counts.sum()), np.zeros(6))

    def aligned(self, probs):
        """Each minor's column times (mean of the minors' means over the pool / its own) ** align

        The means are moving.
        """
        found = probs[self.known & ~self.labeled][:, MINOR].mean(0)
        self.usual = found if self.usual is None else (self.usual + found) / 2
        probs = probs.copy()
        probs[:, MINOR] *= np.clip((self.usual.mean() / self.usual) ** self.align, 0.1, 10)
        return probs / probs.sum(1, keepdims=True)

    def capped(self, new, predicted, sure):
        """Of each class's n unlabeled picks the surest n (fewest / n) ** cap."""
        counts = [(new & (predicted == c)).sum() for c in MINOR]
        fewest = max(10, min(counts))
        for c, n in zip(MINOR, counts, strict=True):
            if n > fewest:
                places = np.flatnonzero(new & (predicted == c))
                new[
                    places[np.argsort(-sure[places], kind="stable")][
                        int(n * (fewest / n) ** self.cap) :
                    ]
                ] = False
        return new

    def select(self, probs):
        """D, and behind it the picks.

        Probs: [50000, 10]. Returns a row of PICKS for each minor class.
        """
        probs = self.aligned(probs) if self.align else probs
        predicted, sure = probs.argmax(1), probs.max(1)
        loss = -np.log(np.clip(sure, 1e-7, 1))  # eq. (3)'s y-hat, also for labeled images
        candidate = self.known & np.isin(predicted, MINOR)
        if self.released:
            wrong = self.labeled & (predicted != self.truth)
            true = -np.log(np.clip(probs[np.arange(len(probs)), self.truth], 1e-7, 1))
            loss = np.where(wrong, loss + true, loss)
        if self.method == "selectnet" and candidate.any():
            z = np.ascontiguousarray(
                probs if self.released else np.column_stack([probs, loss]), np.float32
            )
            fitted = self.known if self.released else candidate
            self.selector.fit(z[fitted], loss[fitted] - self.threshold)
            picked = candidate & (trusted(self.selector.theta, z) > self.threshold)
        else:
            picked = candidate & (loss < self.threshold)
        if self.method == "random":  # as many as context picks
            rng = np.random.default_rng([self.seed, 7, len(self.index)])
            chosen = rng.choice(np.flatnonzero(candidate), np.count_nonzero(picked), replace=False)
            picked = np.isin(np.arange(len(picked)), chosen)
        new = picked & ~self.labeled
        again = np.zeros_like(new) if self.method == "self_paced" else picked & self.labeled
        new = self.capped(new, predicted, sure) if self.cap else new
        added = np.flatnonzero(new | again)
        self.index = np.append(self.own, added)
        self.targets = np.append(
            self.truth[self.own], np.where(self.labeled, self.truth, predicted)[added]
        )
        right, major = predicted == self.truth, np.isin(self.truth, MAJOR)
        kinds = (new, new & right, new & major, again, again & right)
        return [(c, *(np.count_nonzero(kind & (predicted == c)) for kind in kinds)) for c in MINOR]

    def scores(self, probs):
        """MEASURES of probs [60000, 10], on the test images or on those held out."""
        truth, predicted, matrix = (
            self.labels[self.tested],
            probs[self.tested].argmax(1),
            np.zeros((10, 10)),
        )
        np.add.at(matrix, (truth, predicted), 1)
        right, true, said = np.diag(matrix), matrix.sum(1), matrix.sum(0)
        accuracy = [right[c].sum() / true[c].sum() for c in (slice(None), MINOR, MAJOR)]
        return [*accuracy, (2 * right / (true + said))[MINOR].min(), *(right / true)]


def read(folder):
    """([60000, 32, 32, 3] uint8, [60000] classes), the test images last."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    parts = [pickle.loads((Path(folder) / name).read_bytes(), encoding="bytes") for name in names]
    images = (
        np.concatenate([p[b"data"] for p in parts]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    )
    return np.ascontiguousarray(images), np.concatenate([p[b"labels"] for p in parts]).astype(
        np.int64
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", help="folder of CIFAR-10's python batches")
    parser.add_argument(
        "--members",
        nargs="+",
        required=True,
        help=f"{','.join(f.name for f in dataclasses.fields(Member))} as name=value",
    )
    parser.add_argument(
        "--out", default="out", help="folder of epochs.csv and picks.csv, which are appended to"
    )
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument(
        "--test_every",
        type=int,
        default=1,
        help="epochs between two tests; the last ten are all tested",
    )
    parser.add_argument(
        "--deadline", type=float, default=1e9, help="seconds after which no epoch begins"
    )
    args = parser.parse_args()
    start = time.perf_counter()
    images, labels = read(args.data)
    members = [Member.of(spec) for spec in args.members]
    for m in members:
        m.prepare(labels)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made = origin(
        torch.cuda.get_device_name()
        if device == "cuda"
        else platform.processor() or platform.machine()
    )
    torch.backends.cuda.matmul.allow_tf32 = True
    network = Network(
        torch.from_numpy(images).to(device), [(m.optimizer(), m.seed) for m in members]
    )
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    epochs = Table(out / "epochs.csv", ["epoch", *MEASURES, "loss", "images"], made, start)
    picks = Table(out / "picks.csv", ["epoch", *PICKS], made, start)
    everywhere = any(m.validation for m in members)
    with ThreadPoolExecutor() as threads:
        for epoch in range(1, args.epochs + 1):
            if time.perf_counter() - start > args.deadline:
                break
            rates = [m.rate_at(epoch - 1, args.epochs) for m in members]
            network.rate.copy_(torch.tensor(rates, dtype=torch.float32))
            network.prior.copy_(torch.from_numpy(np.stack([m.prior() for m in members])))
            losses = network.epoch([m.samples(epoch - 1) for m in members])
            tested = epoch % args.test_every == 0 or epoch > args.epochs - 10
            swapped = [m.selects and epoch % m.every == 0 for m in members]
            if not (tested or any(swapped)):
                continue
            probs = np.zeros((len(members), 60000, 10), np.float32)
            first = 0 if everywhere or any(swapped) else 50000
            probs[:, first:] = network.predict(first, 60000).cpu().numpy()
            if tested:
                for m, p, loss in zip(members, probs, losses, strict=True):
                    epochs.add(m, epoch, *m.scores(p), loss, len(m.index))
            if any(swapped):
                found = threads.map(
                    lambda m, p, now: m.select(p[:50000]) if now else [], members, probs, swapped
                )
                for m, rows in zip(members, found, strict=True):
                    for row in rows:
                        picks.add(m, epoch, *row)
                print(
                    f"epoch {epoch}, {time.perf_counter() - start:.0f} s, loss {losses.round(3)}",
                    flush=True,
                )


def origin(device):
    """Returns commit, versions and device as rows have them."""
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(
            words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        ).stdout.strip()
    except OSError:  # no git
        commit = ""
    packages = [
        f"{name} {sys.modules[name].__version__}" for name in ("torch", "triton", "numba", "numpy")
    ]
    return [
        commit or "unknown",
        ", ".join([f"python {platform.python_version()}", *packages]),
        device,
    ]


class Table:
    """A CSV file that rows are appended to, each at once on the disk.

    Start: time.perf_counter() when the command began.
    """

    def __init__(self, path, names, origin, start):
        self.path, self.origin, self.start = path, origin, start
        header = [*(field.name for field in dataclasses.fields(Member)), *names, *ORIGIN]
        if not path.exists():
            self._write(header)
        elif path.read_text().partition("\n")[0].split(",") != header:
            sys.exit(f"error: {path} has other columns: give another --out")

    def add(self, member, *values):
        values = [f"{v:.6g}" if isinstance(v, float | np.floating) else int(v) for v in values]
        settings = [getattr(member, field.name) for field in dataclasses.fields(Member)]
        self._write([*settings, *values, *self.origin, f"{time.perf_counter() - self.start:.1f}"])

    def _write(self, row):
        with open(self.path, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerow(row)


if __name__ == "__main__":
    main()
