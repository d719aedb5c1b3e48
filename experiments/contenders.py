"""The processes that `make bench` times: python experiments/contenders.py KIND ARCH BATCH IMAGES

Each does one pass for every line on its standard input, and answers with a line of JSON. KIND is
ours          our training
bfloat16      ours with --precision=mixed_bfloat16
stock         the same network as Keras ships it: its BatchNormalization, its random layers in the
              tf.data pipeline, arrays that are shuffled and batched
torch         PyTorch eager, channels_last, with the same network and augmentation
head          one Dense layer on 64 features: our fit, model.fit, both with 32 steps an execution,
              model.fit on one batch again and again (Keras's own ceiling), and NumPy by hand,
              a round of ten epochs each
ceiling       a large matrix product, and the fastest of some convolutions
selection     one round beside one pure forward pass
memory        peak resident memory of an epoch and a scoring
memory_stock  that of stock `fit` and `predict` on the same arrays
rounds        resident memory after 10 and after 60 rounds
growth        a round over a memory-mapped pool of IMAGES images
"""

import itertools
import json
import os
import resource
import sys
import tempfile
import time
import timeit

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault(
    "TF_ENABLE_ONEDNN_OPTS", "1"
)  # as the commands do; section onednn measures without

EPOCHS = 10  # of the contenders of "head": a round of selection


def data(n):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8), (np.arange(n) % 10).astype(
        np.int32
    )


def network(arch, labels, stock=False, precision="float32"):
    """Returns our network, compiled as the released code trains it.

    stock: with Keras's own BatchNormalization.
    """
    import keras

    from selectnet_tf import recipes
    from selectnet_tf.models import networks, optimizers

    if stock:
        networks.BatchNormalization = keras.layers.BatchNormalization
    keras.config.set_dtype_policy(precision)
    model = networks.build(arch, (32, 32, 3), 10, momentum=None)
    optimizers.compile_model(
        model, recipes.make(method="imbalanced", arch=arch).training, labels, 10
    )
    return model


def ours(arch, batch, n, precision="float32"):
    from selectnet_tf.augment import shift_flip
    from selectnet_tf.pool import Pool

    x, y = data(n)
    pool, model = Pool(x, y, x[:0], [0]), network(arch, y, precision=precision)

    def once():
        pool.begin_epoch(0)
        return epoch_of(model, pool.dataset(batch, shift_flip(0.2)), batch)

    return once


def bfloat16(arch, batch, n):
    return ours(arch, batch, n, "mixed_bfloat16")


def stock(arch, batch, n):
    import keras
    import tensorflow as tf

    x, y = data(n)
    model = network(arch, y, stock=True)
    shift = keras.layers.RandomTranslation(0.2, 0.2, fill_mode="nearest")
    flip = keras.layers.RandomFlip("horizontal")
    batches = (
        tf.data.Dataset.from_tensor_slices((x, y)).shuffle(n).batch(batch, drop_remainder=True)
    )
    change = lambda images, labels: (flip(shift(images, training=True), training=True), labels)  # noqa: E731
    batches = batches.map(change, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return lambda: epoch_of(model, batches, batch)


def pytorch(arch, batch, n):
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    x, y = data(n)
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    y = torch.from_numpy(y).long()
    model = torch_network(nn, arch).to(memory_format=torch.channels_last)
    kernels = [p for p in model.parameters() if p.ndim == 4 and arch != "simple"]
    others = [p for p in model.parameters() if not any(p is k for k in kernels)]
    optimizer = torch.optim.SGD(
        [{"params": kernels, "weight_decay": 2e-4}, {"params": others}], 0.01, momentum=0.9
    )

    def augment(images):
        b = len(images)
        theta = torch.zeros(b, 2, 3)
        theta[:, 0, 0] = torch.where(torch.rand(b) < 0.5, -1.0, 1.0)
        theta[:, 1, 1] = 1
        theta[:, :, 2] = (torch.rand(b, 2) - 0.5) * 0.8  # 0.2 of a side in coordinates from -1 to 1
        grid = functional.affine_grid(theta, images.shape, align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)

    def epoch():
        model.train()
        order = torch.randperm(n)
        for step in range(n // batch):
            places = order[step * batch : (step + 1) * batch]
            images = augment(x[places].float() / 255).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(model(images), y[places]).backward()
            optimizer.step()

    return lambda: rate(n // batch * batch, epoch)


def head(arch, batch, n):
    import keras
    import tensorflow as tf

    from selectnet_tf.loop import fit
    from selectnet_tf.pool import Pool
    from selectnet_tf.selection import Selection

    x = np.random.default_rng(0).normal(size=(n, 64)).astype(np.float32)
    y = (np.arange(n) % 10).astype(np.int32)
    chosen = Selection(Pool(x, y, x[:0], [0]), init="none")

    def made(steps):
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10, activation="softmax")])
        model.compile(
            keras.optimizers.SGD(0.1, 0.9),
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            steps_per_execution=steps,
            jit_compile=False,
        )
        return model

    def by_hand():
        kernel, bias = np.zeros((64, 10), np.float32), np.zeros(10, np.float32)
        speeds = [np.zeros_like(kernel), np.zeros_like(bias)]
        rng = np.random.default_rng(0)
        orders = (rng.permutation(n)[: n // batch * batch] for _ in range(EPOCHS))
        for rows in itertools.chain.from_iterable(o.reshape(-1, batch) for o in orders):
            logits = x[rows] @ kernel + bias
            slope = np.exp(logits - logits.max(1, keepdims=True))
            slope /= slope.sum(1, keepdims=True)
            slope[np.arange(batch), y[rows]] -= 1
            slope /= batch
            for variable, speed, gradient in zip(
                (kernel, bias), speeds, (x[rows].T @ slope, slope.sum(0)), strict=True
            ):
                speed *= 0.9
                speed -= 0.1 * gradient
                variable += speed

    ceiling, steps = made(32), n // batch
    one = tf.data.Dataset.from_tensors((x[:batch], y[:batch])).repeat(steps)
    one = one.apply(tf.data.experimental.assert_cardinality(steps)).prefetch(2)
    calls = {
        "NumPy": by_hand,
        "model.fit on one batch, 32 a call": lambda: ceiling.fit(
            one, epochs=EPOCHS, verbose=0, shuffle=False
        ),
    }
    for steps in (1, 32):
        ours, stock = made(steps), made(steps)
        calls[f"ours, {steps} a call"] = lambda model=ours: fit(
            model, chosen, epochs=EPOCHS, batch_size=batch, verbose=0
        )
        calls[f"model.fit, {steps} a call"] = lambda model=stock: model.fit(
            x, y, batch, epochs=EPOCHS, verbose=0
        )
    samples = EPOCHS * n // batch * batch
    return lambda: {what: rate(samples, call)["images_per_second"] for what, call in calls.items()}


def torch_network(nn, arch):
    if arch == "simple":
        layers = []
        for width_in, width in ((3, 32), (32, 64)):
            layers += [
                nn.Conv2d(width_in, width, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(width, width, 3),
                nn.ReLU(),
            ]
            layers += [nn.MaxPool2d(2), nn.Dropout(0.25)]
        return nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Linear(2304, 512),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(512, 10),
        )

    class Block(nn.Module):
        def __init__(self, width_in, width, stride):
            super().__init__()
            self.a = nn.Conv2d(width_in, width, 3, stride, 1)
            self.b = nn.Conv2d(width, width, 3, 1, 1)
            self.norm_a, self.norm_b = (nn.BatchNorm2d(width, 1e-3, 0.01) for _ in range(2))
            self.short = nn.Conv2d(width_in, width, 1, stride) if stride == 2 else nn.Identity()

        def forward(self, x):
            y = self.norm_b(self.b(self.norm_a(self.a(x)).relu()))
            return (self.short(x) + y).relu()

    layers, before = [nn.Conv2d(3, 16, 3, 1, 1), nn.BatchNorm2d(16, 1e-3, 0.01), nn.ReLU()], 16
    for width in (16, 32, 64):
        for block in range((int(arch.removeprefix("resnet")) - 2) // 6):
            layers.append(Block(before, width, 2 if width > 16 and not block else 1))
            before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def ceiling(*_):
    """Measures operations a second of a large matrix product and of the best convolution."""
    import tensorflow as tf

    a = tf.random.normal([2048, 2048])
    convolutions = []
    for side, width, kernel in ((32, 64, 3), (16, 128, 3), (32, 128, 1), (16, 256, 3)):
        x, w = (
            tf.random.normal([32, side, side, width]),
            tf.random.normal([kernel, kernel, width, width]),
        )
        call = tf.function(lambda x=x, w=w: tf.nn.conv2d(x, w, 1, "SAME"))
        convolutions.append((2 * 32 * side * side * width * width * kernel * kernel, call))
    product = tf.function(lambda: a @ a)

    def once():
        found = {"matmul": fastest(2 * 2048**3, product)}
        return found | {"convolution": max(fastest(work, call) for work, call in convolutions)}

    return once


def selection(arch, batch, n):
    """Measures seconds of a forward pass by the best batch size, of a round and of training."""
    import tensorflow as tf

    from selectnet_tf.augment import shift_flip
    from selectnet_tf.pool import Pool
    from selectnet_tf.rules import SelectNet
    from selectnet_tf.selection import Selection

    x, y = data(n)
    labeled = n // 2
    pool, model = Pool(x[:labeled], y[:labeled], x[labeled:], [0, 2, 6, 7]), network(arch, y)
    # a loose rule, of an untrained network
    made = Selection(pool, SelectNet(3.0, 0.1), every=10, on_round=None)
    made.set_model(model)
    made.reset()
    images = tf.constant(x)
    forward = tf.function(lambda batch: model(batch, training=False), reduce_retracing=True)

    def train():
        pool.begin_epoch(0)
        model.fit(pool.dataset(batch, shift_flip(0.2)), verbose=0)

    def swap():
        pool.train_on_labeled([labeled], [0])
        pool.begin_epoch(1)
        pool.dataset(batch)

    def traces():
        return getattr(model.train_function, "experimental_get_tracing_count", lambda: 0)()

    def once():
        passes = {}
        for size in (125, 250, 500, 1000):
            passes[size] = clock(
                lambda size=size: [forward(images[i : i + size]) for i in range(0, n, size)]
            )
        pool.train_on_labeled()
        found = {
            "forward": min(passes.values()),
            "forward_batch": min(passes, key=passes.get),
            "score": clock(made.score),
        }
        before = traces()
        found["round"] = clock(lambda: made.select(10))
        found["swap"] = clock(swap)
        pool.train_on_labeled()
        found["train"] = clock(train) * n / (len(pool.index) // batch * batch)
        return found | {"retraces": traces() - before}

    train()
    return once


def memory(arch, batch, n):
    from selectnet_tf.loop import fit
    from selectnet_tf.pool import Pool
    from selectnet_tf.rules import Context
    from selectnet_tf.selection import Selection

    (x, y), labeled = data(n), n // 2
    pool, model = Pool(x[:labeled], y[:labeled], x[labeled:], [0, 2, 6, 7]), network(arch, y)
    chosen = Selection(pool, Context(3.0), every=1, init="none", on_round=None)
    return lambda: peak(lambda: fit(model, chosen, epochs=1, batch_size=batch, verbose=0))


def memory_stock(arch, batch, n):
    (x, y), labeled = data(n), n // 2
    model = network(arch, y, stock=True)
    return lambda: peak(
        lambda: (
            model.fit(x[:labeled], y[:labeled], batch, verbose=0),
            model.predict(x, 250, verbose=0),
        )
    )


def small(x, rule):
    """Returns a tiny network, and a Selection on a pool of images x, a tenth of them labeled."""
    import keras

    from selectnet_tf.pool import Pool
    from selectnet_tf.selection import Selection

    n = len(x)
    y = (np.arange(n) % 10).astype(np.int32)
    pool = Pool(x[: n // 10], y[: n // 10], x[n // 10 :], [0, 2, 6, 7])
    layers = [
        keras.Input((32, 32, 3), dtype="uint8"),
        keras.layers.Rescaling(1 / 255),
        keras.layers.MaxPooling2D(8),
        keras.layers.Flatten(),
    ]
    model = keras.Sequential([*layers, keras.layers.Dense(10, activation="softmax")])
    model.compile(keras.optimizers.SGD(0.01), "sparse_categorical_crossentropy", jit_compile=False)
    return model, Selection(pool, rule, every=1, init="none", on_round=None)


def rounds(arch, batch, n):
    from selectnet_tf.loop import fit
    from selectnet_tf.rules import SelectNet

    model, chosen = small(data(n)[0], SelectNet(3.0, 0.1))

    def once():
        fit(model, chosen, epochs=10, batch_size=batch, verbose=0)
        early = resident()
        fit(model, chosen, epochs=60, initial_epoch=10, batch_size=batch, verbose=0)
        return {"after_10_rounds": early, "after_60_rounds": resident()}

    return once


def growth(arch, batch, n):
    from selectnet_tf.rules import Context  # SelectNet's time depends on D', not on the pool

    folder = tempfile.TemporaryDirectory()
    x = np.memmap(f"{folder.name}/pool", np.uint8, "w+", shape=(n, 32, 32, 3))
    for start in range(0, n, 10_000):
        x[start : start + 10_000] = data(min(10_000, n - start))[0]
    x.flush()
    x = np.memmap(x.filename, np.uint8, "r", shape=x.shape)
    model, chosen = small(x, Context(3.0))
    chosen.set_model(model)
    chosen.reset()

    def once():
        return {"seconds": clock(lambda: chosen.select(1)), "resident": resident()}

    once.folder = folder  # keeps the file, which the pool opens again by its name
    return once


def resident():
    """Returns the resident memory of this process in megabytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def peak(call):
    call()
    return {"megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}


def fastest(work, call):
    call()
    return work / min(timeit.repeat(call, number=1, repeat=8))


def epoch_of(model, batches, batch):
    """Measures images a second of an epoch of Keras's fit: between its steps, and in all."""
    import keras

    ends = []
    note = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda step, logs: ends.append(time.perf_counter())
    )
    whole = clock(lambda: model.fit(batches, verbose=0, callbacks=[note]))
    return {
        "images_per_second": batch * (len(ends) - 1) / (ends[-1] - ends[0]),
        "with_ends": batch * len(ends) / whole,
    }


def clock(call):
    return timeit.timeit(call, number=1)


def rate(images, call):
    return {"images_per_second": images / clock(call)}


KINDS = {
    f.__name__: f
    for f in (ours, bfloat16, stock, head, ceiling, selection, memory, memory_stock, rounds, growth)
} | {"torch": pytorch}

if __name__ == "__main__":
    once = KINDS[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    once()
    print(json.dumps("ready"), flush=True)
    for _ in sys.stdin:
        print(json.dumps(once()), flush=True)
