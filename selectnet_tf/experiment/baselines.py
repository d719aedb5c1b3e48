"""What stands beside a table's run: what people would use instead, and what the selection is worth."""

import dataclasses
import pathlib
import time

import numpy as np
import pandas as pd

from selectnet_tf import estimators, presets, recipes
from selectnet_tf.archs import FITTED
from selectnet_tf.data.tasks import Task
from selectnet_tf.experiment import metrics
from selectnet_tf.experiment.csvs import write_frame

FILE = "baselines.csv"
TREES = 400  # as many as a forest of four rounds has in all


def beside(recipe: recipes.Recipe) -> list[recipes.Recipe]:
    """The recipes of the same classifier without a pool, and with as many rows picked at random."""
    without = "imbalanced" if recipe.arch in FITTED else "oversampling"  # the classifiers of scikit-learn weigh the classes evenly
    methods = [method for method in (without, "random") if method != recipe.method]
    if recipe.threshold == presets.AUTO:
        recipe = dataclasses.replace(recipe, threshold=presets.FITTED["threshold"])
    return [dataclasses.replace(recipe, method=method) for method in methods] if recipe.method in recipes.SELECTING else []


def write(folder: pathlib.Path, task: Task) -> None:
    """Fits balanced classifiers of scikit-learn on the labeled rows alone; baselines.csv says how they do on the test rows."""
    models = {
        "balanced forest": estimators.make("forest", 0).set_params(n_estimators=TREES),
        "balanced logistic": estimators.make("logistic", 0),
    }
    lines = []
    for name, model in models.items():
        start = time.perf_counter()
        estimators.fit(model, task.x_labeled[np.arange(len(task.y_labeled))], task.y_labeled)
        probs = model.predict_proba(task.x_test)
        found, minor = metrics.ranking(task.y_test, probs), list(task.minor)
        lines.append(
            {
                "method": name,
                "minor_average_precision": np.nanmean(found["average_precision"][minor]),
                "recall_at_90": np.nanmean(found["recall_at_90"][minor]),
                "accuracy": (probs.argmax(1) == task.y_test).mean(),
                "seconds": round(time.perf_counter() - start, 2),
            }
        )
    write_frame(folder / FILE, pd.DataFrame(lines).round(4))


def lines(folder: pathlib.Path) -> list[str]:
    """baselines.csv for the screen."""
    if not (folder / FILE).exists():
        return []
    found = pd.read_csv(folder / FILE)
    return [
        f"{row.method} of the labeled rows alone: minor average precision {row.minor_average_precision:.4f} ({row.seconds:.1f} s)"
        for row in found.itertuples()
    ]
