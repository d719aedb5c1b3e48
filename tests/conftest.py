"""One process for all tests: two logical CPU devices stand for two GPUs."""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from selectnet_tf._console import importing_tensorflow

os.environ.setdefault(
    "TF_FORCE_GPU_ALLOW_GROWTH", "true"
)  # some tests start processes that need the GPU too
with importing_tensorflow():  # as the commands do
    import keras
    import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


CHROMIUM, DRIVER = (
    shutil.which("chromium") or shutil.which("chromium-browser"),
    shutil.which("chromedriver"),
)
COLOURS = {"cat": (200, 30, 30), "dog": (30, 200, 30), "emu": (30, 30, 200)}


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs but what an exception can't avoid; only the state file counts."""


def dies(monkeypatch, owner, name, when):
    """Replaces a method so that it does its work and is then killed, at the epoch `when`."""
    work = getattr(owner, name)

    def dying(self, epoch, *rest, **options):
        found = work(self, epoch, *rest, **options)
        if epoch == when:
            raise Killed
        return found

    monkeypatch.setattr(owner, name, dying)


def blobs(n, classes=4, seed=0):
    """n gray 4 x 4 images, each class a bright quarter or so: learnable in a few steps. (uint8 [n, 4, 4, 1], int32 [n])"""
    rng = np.random.default_rng(seed)
    y = np.arange(n, dtype=np.int32) % classes
    x = rng.integers(0, 90, (n, 16), dtype=np.uint8)
    for c in range(classes):
        x[y == c, 4 * c : 4 * c + 4] += 140
    return x.reshape(n, 4, 4, 1), y


def small_model(classes=4, dropout=0.0, norm=False, lr=0.1):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 1), dtype="uint8"),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
        ]
    )
    model.add(keras.layers.Dense(8, activation="relu"))
    if norm:
        model.add(keras.layers.BatchNormalization(momentum=0.5))
    if dropout:
        model.add(keras.layers.Dropout(dropout))
    model.add(keras.layers.Dense(classes, activation="softmax"))
    model.compile(
        keras.optimizers.SGD(lr, 0.9),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    return model


def selectnet(*words, **options):
    """Runs `selectnet WORDS` in a process of its own."""
    command = [sys.executable, "-m", "selectnet_tf", *words]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture
def run_here(monkeypatch):
    """Runs `selectnet WORDS` in this process: a function that returns its exit code."""
    from absl import app, flags

    from selectnet_tf import __main__

    app.define_help_flags()
    known = set(flags.FLAGS)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["selectnet", *words])
        monkeypatch.setattr(sys.modules["__main__"], "__doc__", "")
        before = signal.getsignal(signal.SIGTERM)
        try:
            return __main__.main()
        except SystemExit as ended:
            return ended.code
        finally:
            signal.signal(signal.SIGTERM, before)
            for name in set(flags.FLAGS) - known:
                delattr(flags.FLAGS, name)

    return run


QUICK = ("--dataset=digits-4minor", "--method=context", "--epochs=16", "--every=4", "--lr=0.03")


@pytest.fixture(scope="session")
def quick_bits(tmp_path_factory):
    """The bits that `selectnet train QUICK` leaves when nothing disturbs it."""
    results = tmp_path_factory.mktemp("quick")
    found = selectnet("train", *QUICK, f"--results_dir={results}")
    assert found.returncode == 0 and found.stderr == ""
    assert "Epoch 16/16" in found.stdout and "round 4/4" in found.stdout
    return read_bits(results)


# stands for selectnet_tf.run, below SECONDS, FAILS = seconds an epoch, a method that fails
RUN = """
import pathlib, sys, time
from selectnet_tf import recipes
from selectnet_tf._files import write_npz
from selectnet_tf.runs import store
from selectnet_tf._locks import lock
given = dict(a[2:].split("=", 1) for a in sys.argv[1:])
results = pathlib.Path(given.pop("results_dir"))
recipe = recipes.make(**{k: int(v) if k in ("seed", "epochs", "every") else v for k, v in given.items()})
folder = results / "runs" / recipe.name
with lock(folder / ".lock"):
    if store.read_row(results, recipe.name):
        sys.exit(0)
    if recipe.selection.method == FAILS:
        sys.exit("error: the loss is nan")
    before = store.read_progress(folder / "state.npz") or (0, 0)
    for epoch in range(before[0] + 1, recipe.training.epochs + 1):
        time.sleep(SECONDS)
        write_npz(folder / "state.npz", position=[epoch, 0])
        with open(results / "trained.txt", "a") as file:
            file.write(f"{recipe.name} {epoch}\\n")
    store.write_row(results, recipe.name, {"name": recipe.name, "accuracy": 0.5, "seconds": 60.0})
    (folder / "state.npz").unlink()
"""


def write_run(results, accuracy=0.5, extra=None, **changes):
    """Puts a row of made-up results into results/runs.csv, of the recipe with these changes. Returns the recipe."""
    from selectnet_tf import recipes
    from selectnet_tf.runs import store

    recipe = recipes.make(**changes)
    row = {
        "name": recipe.name,
        **recipe.flat(),
        "accuracy": accuracy,
        "last10_accuracy": accuracy,
        **(extra or {}),
    }
    store.write_row(results, recipe.name, row)
    return recipe


def load_script(path):
    """A script as a module, by its path in the repository."""
    path = pathlib.Path(__file__).parent.parent / path
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class At(keras.callbacks.Callback):
    """Acts after a batch of an epoch."""

    def __init__(self, epoch, batch, act):
        super().__init__()
        self.place, self.act, self.epoch = (epoch, batch), act, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            self.act()


class Traced(keras.Model):
    """Counts how often train_step is traced. Set `traces` to 0 first."""

    traces = 0

    def train_step(self, *args, **kwargs):
        Traced.traces += 1
        return super().train_step(*args, **kwargs)


@pytest.fixture
def two_replicas():
    from selectnet_tf.runs.train import make_strategy

    return make_strategy(2)


def load_blobs(*_):
    """Stands for CIFAR-10: 4 classes of blobs on 16 x 16, 160 for training and 37 for the test."""
    from selectnet_tf.data import cifar

    x, y = blobs(197)
    x = x.repeat(4, 1).repeat(4, 2)
    return cifar.Data(x[:160], y[:160], x[160:], y[160:], 4)


@pytest.fixture
def tiny_cifar(monkeypatch):
    from selectnet_tf.data import cifar

    monkeypatch.setattr(cifar, "load", load_blobs)


def small_recipe(**options):
    """A recipe for `tiny_cifar`, without fields that its method does not read."""
    from selectnet_tf import recipes

    ratios = {"minor": (2, 3), "minor_ratio": 0.1, "major_ratio": 0.75}
    given = {"method": "selectnet", "epochs": 4, "every": 2, "batch_size": 16, "lr": 0.05}
    given |= ratios | options
    method = given["method"]
    if method in recipes.WITH_THRESHOLD and "lambda_schedule" not in given:
        given = {"threshold": 1.2} | given
    if method in ("selectnet", "balanced"):
        given = {"beta": 0.5} | given
    return recipes.make(arch=given.pop("arch", "simple"), **given)


def train_small(results, replicas=0, force=False, **options):
    """Trains such a recipe, or resumes it. Returns its row."""
    from selectnet_tf.runs import train

    places = {"results_dir": results, "replicas": replicas, "force": force}
    return train.train(small_recipe(**options), verbose=0, **places)


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Trains such a recipe once for all tests: a function of its changes that returns the folder of results, to read or copy."""
    from selectnet_tf.data import cifar

    made = {}

    def finish(**options):
        key = tuple(sorted(options.items()))
        if key not in made:
            made[key] = tmp_path_factory.mktemp("finished")
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(cifar, "load", load_blobs)
                train_small(made[key], **options)
        return made[key]

    return finish


def read_bits(results):
    """All that a run leaves but clocks: texts as they are, arrays, weights, the row."""
    import h5py
    import pandas as pd

    (folder,) = (results / "runs").iterdir()
    found = {}
    for name in ("epochs.csv", "classes.csv", "recipe.json", "selection.csv"):
        if (folder / name).exists():
            found[name] = (folder / name).read_bytes()
    for name in ("selected.npz", "split.npz"):
        with np.load(folder / name) as arrays:
            found |= {f"{name}/{k}": arrays[k].tobytes() for k in arrays.files}
    with (
        zipfile.ZipFile(folder / "model.keras") as file,
        h5py.File(file.open("model.weights.h5")) as weights,
    ):
        items = []
        weights.visititems(lambda name, item: items.append((name, item)))
        found |= {k: v[()].tobytes() for k, v in items if isinstance(v, h5py.Dataset)}
    row = pd.read_csv(results / "runs.csv", dtype=str)
    return found | {"row": row.drop(columns=["seconds", "selection_seconds"]).to_csv()}


def picture(path, colour, seed):
    """A noisy picture of one colour; the same seed and colour give the same pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-25, 25, (16, 16, 3))
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)


def make_tree(tmp_path):
    """20 cats, 20 dogs, 4 emus; 30 unlabeled pictures of all three, three of which are labeled ones; one broken."""
    for name, n in (("cat", 20), ("dog", 20), ("emu", 4)):
        for i in range(n):
            picture(tmp_path / "labeled" / name / f"{i:02}.png", COLOURS[name], i)
    for i in range(30):
        name = list(COLOURS)[i % 3]
        picture(
            tmp_path / "pool" / f"{i % 4}" / f"{i:02}.png", COLOURS[name], 100 + i if i >= 3 else i
        )
    (tmp_path / "pool" / "torn.jpg").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def tree(tmp_path):
    return make_tree(tmp_path)


def read_files(folder):
    """{path: (content, time of the last change)} of all files in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="session")
def folders_run(tmp_path_factory):
    """A finished context run on a tree, to read: (tree, its files before the run, the row, the run's folder)."""
    from selectnet_tf import recipes
    from selectnet_tf.report import review_page
    from selectnet_tf.runs import train

    tree = make_tree(tmp_path_factory.mktemp("tree"))
    before = read_files(tree)
    recipe = recipes.make(
        dataset="folder", labeled_dir=str(tree / "labeled"), unlabeled_dir=str(tree / "pool"), image_size=16, method="context",
        arch="resnet8", epochs=12, every=6, batch_size=8, augment="none", threshold=0.9,
    )  # fmt: skip
    row = train.train(recipe, results_dir=tree / "results", verbose=0, finish=review_page.write)
    return tree, before, row, tree / "results" / "runs" / row["name"]


@pytest.fixture(
    params=[
        pytest.param((1280, 900), id="laptop"),
        pytest.param((390, 844), id="phone", marks=pytest.mark.slow),
    ]
)
def browser(request, tmp_path):
    """Chromium, as wide as a laptop and as a phone. What it saves goes to tmp_path / "saved"."""
    if not CHROMIUM or not DRIVER:
        pytest.skip(
            "no Chromium with its driver: install Debian's packages chromium and chromium-driver"
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    quiet = (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-sync",
    )
    for argument in (
        *quiet,
        "--disable-component-update",
        "--disable-quic",
        f"--user-data-dir={tmp_path / 'profile'}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option(
        "prefs", {"download.default_directory": str(tmp_path / "saved")}
    )
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    width, height = request.param
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    yield driver
    driver.quit()
