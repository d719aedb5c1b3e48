"""Trains a recipe and writes its row of results."""

import contextlib
import functools
import pathlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pandas as pd
import tensorflow as tf

from selectnet_tf._backend import count_replicas
from selectnet_tf._csv_files import write_frame
from selectnet_tf._files import Path, is_full, printable, remove_leftovers
from selectnet_tf._locks import lock
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.data import load
from selectnet_tf.data.folders.survey import Survey
from selectnet_tf.data.task import Task
from selectnet_tf.loop import check_batch, fit
from selectnet_tf.models import networks, optimizers
from selectnet_tf.pool import Pool
from selectnet_tf.recipes import FolderData, Recipe, TrainingRecipe
from selectnet_tf.runs import evaluation, frozen, log, methods, outputs, picks, resume, store
from selectnet_tf.runs.resume import Fingerprint
from selectnet_tf.scoring import Scorer
from selectnet_tf.selection import Selection


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
    survey: Survey | None = None,
) -> dict[str, Any]:
    """Returns a recipe's row of runs.csv; trains or resumes it, unless it is finished.

    Args:
        recipe: from recipes.make.
        data_dir: see cifar.load.
        results_dir: holds runs.csv and runs/NAME/.
        replicas: number of GPUs of a MirroredStrategy, or of logical CPU devices without a GPU;
            0: all GPUs.
        force: train again from the start; a finished run's files stay until the new run is
            finished.
        verbose: as in Keras's fit.
        finish: writes the review page of images in folders, called with (folder, Task) after the
            lists that it shows; its failure is a warning. None: neither page nor lists.
        cache_dir: folder of decoded images; default: results_dir/cache.
        survey: of the recipe's folders; None: they are surveyed.

    Raises:
        ValueError, OSError: bad input, in one line that says what to do.
        BlockingIOError: another process trains this run.
    """
    results = pathlib.Path(results_dir)
    folder = results / "runs" / store.find_name(results, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    cache_dir = pathlib.Path(cache_dir or results / "cache")
    with lock(folder / ".lock"):
        remove_leftovers(folder)
        resume.undo_set_aside(folder)
        if not force:
            resume.check_same_recipe(recipe, results, folder)
            if row := resume.find_finished_row(recipe, results, folder):
                return row
        training, seed = recipe.training, recipe.seed
        strategy = _strategy_of(training, replicas)
        network = None
        if isinstance(recipe.data, FolderData) and training.weights:  # finds wrong ones at once
            size = recipe.data.image_size
            network = frozen.backbone(training, (size, size, 3))
        task = load.make_task(recipe, data_dir, cache_dir, survey)
        first, *others = task.says
        print(f"{folder.name}: {first}", *map(printable, others), sep="\n", flush=True)
        labeled = len(task.y_labeled)
        if training.batch_size > labeled:
            raise ValueError(
                f"batch_size is {training.batch_size}, but there are {labeled} labeled images: use"
                f" --batch_size={labeled} or less"
            )
        seen, backbone = task, None
        if training.freeze:
            seen, backbone = frozen.embed(task, training, cache_dir, network)
        pool = Pool(seen.x_labeled, seen.y_labeled, seen.x_unlabeled, seen.minor, seed=seed)
        class_balanced = recipe.selection.method == "class_balanced"
        model = make_model(training, seen, strategy, seed, class_balanced)
        fingerprint = Fingerprint(task, strategy.num_replicas_in_sync)
        if force:
            resume.set_aside(folder)
        resume.check_same_images(folder, task)
        rounds = training.epochs // recipe.selection.every
        selection = methods.make_selection(recipe.selection, recipe.data, pool, rounds, seed)
        evaluate, probs, logger = _fit(recipe, seen, selection, model, folder, verbose, fingerprint)
        outputs.write_predictions(folder, evaluate.truth, evaluate.predicted)
        outputs.write_model(
            folder / "model.keras",
            frozen.join(backbone, model, training.arch) if backbone else model,
            task,
        )
        classes = outputs.make_class_table(evaluate.truth, probs, task)
        row = {
            "name": folder.name,
            **recipe.flat(),
            **_results(evaluate, probs, logger, classes),
            **fingerprint.row(),
        }
        write_frame(folder / "classes.csv", classes)
        lines = evaluation.describe_accuracy(evaluate.truth, probs, task.minor)
        print("accuracy on the test set", *lines, sep="\n", flush=True)
        picks.write_picks(folder, selection.history, task)
        with _warning():
            evaluation.write_test_reports(folder, task, probs)
        if finish and isinstance(recipe.data, FolderData):
            with _warning():
                picks.write_selected(folder, model, selection.history, seen)
            with _warning():
                picks.write_uncertain(folder, model, selection, seen, recipe.data.ask, recipe.seed)
            with _warning():
                finish(folder, task)
        store.write_row(results, folder.name, row)
        (folder / "state.npz").unlink(missing_ok=True)  # of weights that never were finite
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
    logger = log.Log(folder, selection, task, recipe.training)
    selection.on_round = logger.audit
    replicas = count_replicas(model)
    header = {"recipe": recipe.flat(), "replicas": replicas}
    parts = {"origin": fingerprint, "selection": selection, "log": logger, "evaluate": evaluate}
    checkpoint = Checkpoint(folder / "state.npz", parts, header)
    checkpoint.or_else = " or pass --force"
    epoch, batch = checkpoint.restore(model)
    outputs.write_recipe(folder, recipe, task, selection.pool, fingerprint, replicas)
    if epoch or batch:
        place = f"epoch {epoch}" + f" and {batch} batches" * bool(batch)
        print(f"resuming after {place}", *fingerprint.notices, sep="\n", flush=True)
    board = keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False)
    order = [
        evaluate,
        keras.callbacks.ProgbarLogger(),
        selection,
        *optimizers.callbacks(recipe.training, selection.pool),
        logger,
        board,
        checkpoint,
    ]
    with checkpoint.signals():
        fit(
            model,
            selection,
            epochs=recipe.training.epochs,
            batch_size=recipe.training.batch_size,
            augment=methods.make_augment(recipe.training),
            callbacks=order,
            initial_epoch=epoch,
            initial_batch=batch,
            verbose=verbose,
        )
    # None: the last epoch was trained before this process began
    probs = evaluate()[0] if evaluate.probs is None else evaluate.probs
    return evaluate, probs, logger


@contextlib.contextmanager
def _warning() -> Iterator[None]:
    """Makes an error a warning: without a list for people, the model and the row are still good."""
    try:
        yield
    except Exception as error:
        if is_full(error):  # with more space, the same command writes it
            raise
        said = f"{type(error).__name__}: {error}"
        print(f"warning: a list could not be written ({said}); the model and the row were")


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


def _strategy_of(training: TrainingRecipe, replicas: int) -> tf.distribute.Strategy:
    """Raises ValueError if the recipe can't be trained on this number of replicas."""
    strategy = make_strategy(replicas, training.deterministic)
    if training.jit and strategy.num_replicas_in_sync > 1:
        raise ValueError(
            f"replicas is {strategy.num_replicas_in_sync}, but XLA compiles for one device: pass"
            " --replicas=1, or leave jit out"
        )
    check_batch(training.batch_size, strategy.num_replicas_in_sync)
    return strategy


def make_strategy(replicas: int = 0, deterministic: bool = True) -> tf.distribute.Strategy:
    """Returns a MirroredStrategy, or for a lone CPU the default strategy.

    Args:
        replicas: number of GPUs (0: all), or of logical CPU devices without a GPU.
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
            f"replicas is {replicas}, but there are {len(gpus)} GPUs: use --replicas=0 for all"
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


def make_model(
    training: TrainingRecipe,
    task: Task,
    strategy: tf.distribute.Strategy,
    seed: int,
    class_balanced: bool = False,
) -> keras.Model:
    """Returns a compiled classifier, or with --freeze its head.

    Args:
        training: architecture, loss and optimizer.
        task: gives the input's shape, the classes and the labels of D; with --freeze the features.
        strategy: owns the variables.
        seed: of the weights and of dropout.
        class_balanced: use the class-balanced loss, on logits.
    """
    keras.utils.clear_session()
    keras.utils.set_random_seed(seed)
    pixels: dict[str, Any] = (
        {"scale": 1 / 128, "offset": -1.0} if training.training == "cui" else {}
    )
    activation = "linear" if class_balanced else "softmax"
    with strategy.scope(), _precision(training.precision):
        if training.freeze:
            model = frozen.head(np.asarray(task.x_labeled), len(task.names), activation)
        else:
            model = networks.build(
                training.arch,
                task.x_labeled.shape[1:],
                len(task.names),
                activation,
                weights=training.weights,
                momentum=None if task.fit is None else _momentum(training, task),
                **pixels,
            )
        optimizers.compile_model(model, training, task.y_labeled, len(task.names), class_balanced)
    return model


def _momentum(training: TrainingRecipe, task: Task) -> float:
    """Returns the momentum of batch normalization by which its statistics follow within an epoch.

    Keras's 0.99, which the benchmarks keep, needs hundreds of steps.
    """
    return float(np.clip(1 - 3 * training.batch_size / len(task.y_labeled), 0.8, 0.99))


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Sets the precision of layers and optimizers made inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
