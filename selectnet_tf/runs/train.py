"""One recipe -> one row."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from selectnet_tf._csv_files import write_frame
from selectnet_tf._files import FULL, printable, remove_leftovers
from selectnet_tf._locks import lock
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.data import load
from selectnet_tf.data.task import Task
from selectnet_tf.loop import check_batch, fit
from selectnet_tf.models import networks, optimizers
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import evaluation, frozen, log, methods, outputs, picks, resume, store
from selectnet_tf.runs.resume import Fingerprint
from selectnet_tf.scoring import Scorer
from selectnet_tf.selection import Selection

Path = str | os.PathLike[str]


def train(
    recipe: Recipe,
    *,
    data_dir: Path | None = None,
    results_dir: Path = "results",
    replicas: int = 0,
    force: bool = False,
    verbose: int | str = "auto",
    finish: Callable[[pathlib.Path, Task], None] | None = None,
    cache_dir: Path | None = None,
) -> dict[str, Any]:
    """Trains a recipe, or goes on with it where it was stopped, or only returns its row where it is
    finished.

    Args:
        recipe: a Recipe from recipes.make.
        data_dir: see cifar.load.
        results_dir: holds runs.csv and runs/NAME/.
        replicas: MirroredStrategy over so many GPUs, or logical CPU devices where there is no
            GPU; 0: all GPUs.
        force: train again from the start what is finished or half trained; what is finished
            stands until the new run is.
        verbose: as in Keras's fit.
        finish: called with (folder, Task) when a run has left its files; where it fails, that
            is said.
        cache_dir: where decoded pictures are kept; results_dir/cache where not given.

    Returns:
        The run's row of runs.csv, a dict.

    Raises:
        ValueError, OSError: bad input, one line that says what to do. BlockingIOError: another
            process trains this run.
    """
    results = pathlib.Path(results_dir)
    name = store.find_name(results, recipe)
    folder = results / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    cache = pathlib.Path(cache_dir or results / "cache")
    with lock(folder / ".lock"):
        remove_leftovers(folder)
        resume.undo_set_aside(folder)
        row = None
        if not force:
            resume.check_same_recipe(recipe, results, folder)
            row = resume.find_finished_row(recipe, results, folder)
        return row or _run(
            recipe, data_dir, results, folder, replicas, verbose, finish, force, cache
        )


def _run(
    recipe: Recipe,
    data_dir: Path | None,
    results: pathlib.Path,
    folder: pathlib.Path,
    replicas: int,
    verbose: int | str,
    finish: Callable[[pathlib.Path, Task], None] | None,
    force: bool,
    cache_dir: pathlib.Path,
) -> dict[str, Any]:
    strategy = _strategy_of(recipe, replicas)
    task = load.make_task(recipe, data_dir, cache_dir, lambda lines: print(lines, flush=True))
    print("\n".join([f"{folder.name}: {task.says[0]}", *map(printable, task.says[1:])]), flush=True)
    if recipe.batch_size > (most := len(task.y_labeled)):
        raise ValueError(
            f"{most} labeled samples don't fill one batch of {recipe.batch_size}: use"
            f" --batch_size={most} or less"
        )
    seen, backbone = frozen.embed(task, recipe, cache_dir) if recipe.freeze else (task, None)
    pool = Pool(seen.x_labeled, seen.y_labeled, seen.x_unlabeled, seen.minor, seed=recipe.seed)
    model = make_model(recipe, seen, strategy)
    fingerprint = Fingerprint(task, strategy.num_replicas_in_sync)
    if force:
        resume.set_aside(folder)
    resume.check_same_images(folder, task)
    selection = methods.make_selection(recipe, pool)
    evaluate, probs, logger = _fit(recipe, seen, selection, model, folder, verbose, fingerprint)
    outputs.write_predictions(folder, evaluate)
    outputs.write_model(
        folder / "model.keras",
        frozen.join(backbone, model, recipe.arch) if backbone else model,
        task,
    )
    classes = outputs.make_class_table(evaluate.truth, probs, task)
    row = {
        "name": folder.name,
        **dataclasses.asdict(recipe),
        **_results(evaluate, probs, logger, classes),
        **fingerprint.row(),
    }
    write_frame(folder / "classes.csv", classes)
    print(
        "\n".join(
            [
                "accuracy on the test set",
                *evaluation.describe_accuracy(evaluate.truth, probs, task.minor),
            ]
        ),
        flush=True,
    )
    try:  # what is for people to read: the model and the row stand whatever becomes of it
        evaluation.write_test_reports(folder, task, probs)
        picks.write_picks(folder, logger.selection.history, task)
        picks.write_uncertain(folder, model, logger.selection, seen, recipe)
        if finish:
            finish(folder, task)
    except Exception as error:
        if getattr(error, "errno", None) in FULL:  # with more space, the same command writes them
            raise
        print(
            f"warning: not all lists could be written ({type(error).__name__}: {error}); the model"
            " and the row are there"
        )
    store.write_row(results, folder.name, row)
    (folder / "state.npz").unlink()
    shutil.rmtree(folder / store.OLD, ignore_errors=True)
    return row


def _fit(
    recipe: Recipe,
    task: Task,
    selection: Selection,
    model: keras.Model,
    folder: pathlib.Path,
    verbose: int | str,
    fingerprint: Fingerprint,
) -> tuple[log.Evaluate, np.ndarray, log.Log]:
    evaluate = log.Evaluate(Scorer(model, task.x_test), task.y_test, task.minor)
    logger = log.Log(folder, selection, task, recipe)
    selection.on_round = logger.audit
    header = {
        "recipe": dataclasses.asdict(recipe),
        "replicas": (replicas := model.distribute_strategy.num_replicas_in_sync),
    }
    parts = {"origin": fingerprint, "selection": selection, "log": logger, "evaluate": evaluate}
    checkpoint = Checkpoint(folder / "state.npz", parts, header)
    checkpoint.file.or_else = " or pass --force"
    epoch, batch = checkpoint.restore(model)
    outputs.write_recipe(folder, recipe, task, selection.pool, fingerprint, replicas)
    if epoch or batch:
        print(
            "\n".join(
                [
                    f"going on after epoch {epoch}" + (f" and {batch} batches" if batch else ""),
                    *fingerprint.notices,
                ]
            ),
            flush=True,
        )
    board = keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)
    order = [
        evaluate,
        keras.callbacks.ProgbarLogger(),
        selection,
        *optimizers.callbacks(recipe, selection.pool),
        logger,
        board,
        checkpoint,
    ]
    with checkpoint.signals():
        fit(
            model,
            selection,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            augment=methods.make_augment(recipe),
            callbacks=order,
            initial_epoch=epoch,
            initial_batch=batch,
            verbose=verbose,
        )
    probs = (
        evaluate()[0] if evaluate.probs is None else evaluate.probs
    )  # None: the last epoch was trained before this process began
    return evaluate, probs, logger


def _results(
    evaluate: log.Evaluate, probs: np.ndarray, logger: log.Log, classes: pd.DataFrame
) -> dict[str, Any]:
    accuracy = [row["val_accuracy"] for row in logger.rows]
    found = evaluation.summarize(evaluate.truth, probs.argmax(1), evaluate.minor, len(classes))
    minor = list(evaluate.minor)
    return found | {
        "minor_average_precision": float(classes.average_precision.to_numpy()[minor].mean()),
        "minor_roc_auc": float(classes.roc_auc.to_numpy()[minor].mean()),
        "best_accuracy": max(accuracy),
        "last10_accuracy": float(np.mean(accuracy[-10:])),
        "seconds": round(logger.seconds, 1),
        "selection_seconds": round(logger.selecting, 1),
        "images": sum(row["images"] for row in logger.rows),
    }


def _strategy_of(recipe: Recipe, replicas: int) -> tf.distribute.Strategy:
    """Raises ValueError where the recipe can't be trained on so many replicas."""
    strategy = make_strategy(replicas, recipe.deterministic)
    if recipe.jit and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"XLA compiles for one device, not for {strategy.num_replicas_in_sync} replicas: pass"
            " --replicas=1, or leave jit out"
        )
    check_batch(recipe.batch_size, strategy.num_replicas_in_sync)
    return strategy


def make_strategy(replicas: int = 0, deterministic: bool = True) -> tf.distribute.Strategy:
    """MirroredStrategy over `replicas` GPUs (0: all), or logical CPU devices; the default strategy
    for a lone CPU.

    deterministic: on GPUs, operations that give the same bits each time.
    """
    if deterministic and tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()
    return _strategy(replicas)


# two strategies in one process would give their collective operations the same keys
@functools.cache
def _strategy(replicas: int) -> tf.distribute.Strategy:
    gpus = tf.config.list_physical_devices("GPU")
    if replicas < 0 or (gpus and replicas > len(gpus)):
        raise ValueError(
            f"replicas is {replicas}, but there are {len(gpus)} GPUs: use 0 for all of them"
        )
    if gpus:
        return tf.distribute.MirroredStrategy([f"GPU:{i}" for i in range(replicas or len(gpus))])
    if replicas <= 1:
        return tf.distribute.get_strategy()
    cpu = tf.config.list_physical_devices("CPU")[0]
    if len(tf.config.get_logical_device_configuration(cpu) or []) < replicas:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * replicas
        )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])


def make_model(recipe: Recipe, task: Task, strategy: tf.distribute.Strategy) -> keras.Model:
    keras.utils.clear_session()
    keras.utils.set_random_seed(recipe.seed)
    pixels: dict[str, Any] = {"scale": 1 / 128, "offset": -1.0} if recipe.training == "cui" else {}
    activation = "linear" if recipe.method == "class_balanced" else "softmax"
    with strategy.scope(), _precision(recipe.precision):
        if recipe.freeze:
            model = frozen.head(np.asarray(task.x_labeled), len(task.names), activation)
        else:
            model = networks.build(
                recipe.arch,
                task.x_labeled.shape[1:],
                len(task.names),
                activation,
                weights=recipe.weights,
                **pixels,
            )
        optimizers.compile_model(model, recipe, task.y_labeled, len(task.names))
    return model


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Layers and optimizers that are made inside compute by this policy

    The selector's, made elsewhere, stay float32.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
