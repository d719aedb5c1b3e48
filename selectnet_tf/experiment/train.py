"""One recipe -> one row."""

import dataclasses
import functools
import pathlib
import platform
import re
import shutil
import subprocess

import keras
import numpy as np
import tensorflow as tf

from selectnet_tf import augment, rules
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.data import tasks
from selectnet_tf.experiment import metrics, picks, record, runs
from selectnet_tf.files import lock, write_json, write_npz
from selectnet_tf.networks import models, schedules
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import SELECTING
from selectnet_tf.rounds import check_batch, fit
from selectnet_tf.selection import Selection


def train(recipe, *, data_dir=None, results_dir="results", replicas=0, force=False, verbose="auto", finish=None):
    """Trains a recipe, or goes on with it where it was stopped, or only returns its row where it is finished.

    Args:
        recipe: a Recipe from recipes.make.
        data_dir: see cifar.load.
        results_dir: holds runs.csv and runs/NAME/.
        replicas: MirroredStrategy over so many GPUs, or logical CPU devices where there is no GPU; 0: all GPUs.
        force: train again from the start what is finished or half trained.
        verbose: as in Keras's fit.
        finish: called with (folder, Task) when a run has left its files, before its row is written.

    Returns:
        The run's row of runs.csv, a dict.

    Raises:
        ValueError, OSError: bad input, one line that says what to do. BlockingIOError: another process trains this run.
    """
    results = pathlib.Path(results_dir)
    folder = results / "runs" / recipe.name
    folder.mkdir(parents=True, exist_ok=True)
    with lock(folder / ".lock"):
        if force:
            _clear(results, folder)
        done = runs.row_of(results, recipe.name)
        if done:
            (folder / "state.npz").unlink(missing_ok=True)
            print(f"{recipe.name} is finished (--force trains it again)")
            return done
        return _run(recipe, data_dir, results, folder, replicas, verbose, finish)


def _clear(results, folder):
    runs.write_row(results, folder.name)
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".lock":
            path.unlink()


def _run(recipe, data_dir, results, folder, replicas, verbose, finish):
    strategy = make_strategy(replicas)
    check_batch(recipe.batch_size, strategy.num_replicas_in_sync)
    task = tasks.make(recipe, data_dir, results / "cache")
    print("\n".join([f"{recipe.name}: {task.says[0]}", *task.says[1:]]), flush=True)
    pool = Pool(task.x_labeled, task.y_labeled, task.x_unlabeled, task.minor, seed=recipe.seed)
    model = make_model(recipe, task, strategy)
    versions = {"python": platform.python_version(), "tensorflow": tf.__version__, "keras": keras.__version__}
    origin = {"versions": versions, "device": _device(strategy), "replicas": strategy.num_replicas_in_sync, "commit": _commit()}
    write_json(folder / "recipe.json", {"recipe": dataclasses.asdict(recipe), "classes": task.names, **origin})
    write_npz(folder / "split.npz", labeled=task.index[pool.labeled], unlabeled=task.index[~pool.labeled], minor=task.minor)
    evaluate, log = _fit(recipe, task, pool, model, folder, verbose)
    row = {"name": recipe.name, **dataclasses.asdict(recipe), **_results(evaluate, log, len(task.names)), **versions}
    row |= {"device": origin["device"], "commit": origin["commit"]}
    record.write_classes(folder / "classes.csv", evaluate.truth, evaluate.probs, task)
    picks.write(folder, log.selection.history, task)
    record.write_model(folder / "model.keras", model, task)
    if finish:
        finish(folder, task)
    runs.write_row(results, recipe.name, row)
    (folder / "state.npz").unlink()
    return row


def _fit(recipe, task, pool, model, folder, verbose):
    evaluate = record.Evaluate(model, task.x_test, task.y_test, task.minor)
    selection = make_selection(recipe, pool)
    log = record.Log(folder, selection, task, recipe)
    selection.on_round = log.audit
    header = {"recipe": dataclasses.asdict(recipe), "replicas": model.distribute_strategy.num_replicas_in_sync}
    checkpoint = Checkpoint(folder / "state.npz", {"selection": selection, "log": log}, header)
    epoch, batch = checkpoint.restore(model)
    if epoch or batch:
        print(f"going on after epoch {epoch}" + (f" and {batch} batches" if batch else ""), flush=True)
    board = keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)
    order_of_calls = [evaluate, keras.callbacks.ProgbarLogger(), selection, *schedules.callbacks(recipe, pool), log, board, checkpoint]
    with checkpoint.signals():
        fit(
            model, selection, epochs=recipe.epochs, batch_size=recipe.batch_size, augment=make_augment(recipe),
            callbacks=order_of_calls, initial_epoch=epoch, initial_batch=batch, verbose=verbose,
        )  # fmt: skip
    if evaluate.probs is None:  # the last epoch was trained before this process began
        evaluate.probs, _ = evaluate()
    return evaluate, log


def _results(evaluate, log, classes):
    accuracy = [row["val_accuracy"] for row in log.rows]
    found = metrics.summary(evaluate.truth, evaluate.probs.argmax(1), evaluate.minor, classes)
    ranking = metrics.ranking(evaluate.truth, evaluate.probs)
    minor = list(evaluate.minor)
    return found | {
        "minor_average_precision": float(ranking["average_precision"][minor].mean()),
        "minor_roc_auc": float(ranking["roc_auc"][minor].mean()),
        "best_accuracy": max(accuracy),
        "last10_accuracy": float(np.mean(accuracy[-10:])),
        "seconds": round(log.seconds, 1),
        "selection_seconds": round(log.selecting, 1),
        "images": sum(row["images"] for row in log.rows),
    }


@functools.cache  # two strategies in one process would give their collective operations the same keys
def make_strategy(replicas=0):
    """MirroredStrategy over `replicas` GPUs (0: all), or logical CPU devices; the default strategy for a lone CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if replicas < 0 or (gpus and replicas > len(gpus)):
        raise ValueError(f"replicas is {replicas}, but there are {len(gpus)} GPUs: use 0 for all of them")
    if gpus:
        tf.config.experimental.enable_op_determinism()
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas or len(gpus))])
    if replicas <= 1:
        return tf.distribute.get_strategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or []) < replicas:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * replicas)
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


def make_model(recipe, task, strategy):
    keras.utils.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    pixels = {"scale": 1 / 128, "offset": -1.0} if recipe.training == "cui" else {}
    activation = "linear" if recipe.method == "class_balanced" else "softmax"
    with strategy.scope():
        model = models.build(recipe.arch, task.x_labeled.shape[1:], len(task.names), activation, weights=recipe.weights, **pixels)
        schedules.compile_model(model, recipe, task.y_labeled, len(task.names))
    return model


def make_augment(recipe):
    if recipe.augment == "none":
        return None
    return augment.crop_flip() if recipe.augment == "crop_flip" else augment.shift_flip(recipe.shift, recipe.augment == "shift_flip")


def make_selection(recipe, pool):
    """The seven methods are one path: which D the first round has, and which rule selects from then on."""
    counts = np.bincount(pool.labels[pool.labeled])
    ratio = recipe.minor_ratio or recipe.imb_factor or counts[pool.minor].mean() / counts.max()
    copies = max(1, int(1 / ratio + 1e-9))
    init = {"balanced": "balanced", "copies": recipe.init_copies, "none": "none"}[recipe.init]
    if recipe.method == "oversampling":
        init = copies if recipe.oversample == "copies" else "balanced"
    elif recipe.method not in SELECTING:
        init = "none"
    return Selection(
        pool, make_rule(recipe, len(counts)), every=recipe.every, init=init, labeled_loss=recipe.labeled_loss, accumulate=recipe.accumulate
    )


def make_rule(recipe, classes=10):
    first, last = recipe.lambdas(classes)
    threshold = first if first == last else rules.linear(first, last, recipe.epochs // recipe.every)
    if recipe.method == "selectnet":
        return rules.SelectNet(
            threshold, recipe.beta, inputs=recipe.selector_inputs, fit_on=recipe.selector_fit, init=recipe.selector_init,
            learning_rate=recipe.selector_lr, epochs=recipe.selector_epochs, batch_size=recipe.selector_batch, seed=recipe.seed,
        )  # fmt: skip
    return {"self_paced": rules.SelfPaced, "context": rules.Context}.get(recipe.method, lambda _: None)(threshold)


def _cpu():
    """Its model where Linux tells it: a run's time, and its last bits, depend on it."""
    info = pathlib.Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return found[1] if found else platform.processor() or platform.machine()


def _device(strategy):
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return f"CPU {_cpu()}"
    name = tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")
    return f"{strategy.num_replicas_in_sync} x {name}"


def _commit():
    here = pathlib.Path(__file__).parent
    found = subprocess.run(["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"
