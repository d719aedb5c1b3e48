"""What an earlier run left in a folder: whether it is finished, and of this recipe, and how --force puts it aside."""

import pathlib
import shutil
from typing import Any

from selectnet_tf.experiment import begun, rows, runs
from selectnet_tf.recipes import Recipe

PART = ".old"  # what becomes rows.OLD once all files are in it


def same_recipe(recipe: Recipe, results: pathlib.Path, folder: pathlib.Path) -> None:
    """Raises ValueError where the folder's run, finished or not, is of another recipe."""
    known = runs.recorded(results, folder.name)
    if known and (other := runs.differences(recipe, known)):
        theirs, ours = (runs.text(v) or "none" for v in (known.get(other[0]), getattr(recipe, other[0])))
        raise ValueError(
            f"{folder} is a run of another recipe (its {other[0]} is {theirs}, not {ours}): "
            "use another --results_dir, or pass --force to replace it"
        )


def finished(recipe: Recipe, results: pathlib.Path, folder: pathlib.Path) -> dict[str, Any] | None:
    """The row of a run that is finished, which is said; what a kill at its very end left is cleared."""
    done = None if (folder / rows.OLD).exists() and not (folder / "row.json").exists() else runs.row_of(results, folder.name)
    if not done:
        return None
    (folder / "state.npz").unlink(missing_ok=True)
    shutil.rmtree(folder / rows.OLD, ignore_errors=True)
    rows.build(results)
    try:
        new = "its files are gone" if not (folder / "epochs.csv").exists() else begun.news(folder, recipe)
    except (OSError, ValueError) as error:  # moved pictures, a lost decisions.csv
        new = f"what came since can't be told ({error})"
    print(f"{folder.name} is finished{new and f', but {new}'} (--force trains it again)")
    return done


def set_aside(folder: pathlib.Path) -> None:
    """Under --force: the finished run's files go into its folder's `old`, where they count until the new run is finished."""
    half = (folder / "state.npz").exists() or (folder / rows.OLD).exists()  # by a --force before this one, where there is an `old`
    finished = (folder / "row.json").exists() or ((folder / "epochs.csv").exists() and not half)
    left = [path for path in folder.iterdir() if path.name != rows.OLD and not path.name.startswith(".lock")]  # the lock stays
    if finished:
        (folder / PART).mkdir()
    for path in left:
        if finished:
            path.rename(folder / PART / path.name)
        else:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if finished:
        shutil.rmtree(folder / rows.OLD, ignore_errors=True)
        (folder / PART).rename(folder / rows.OLD)


def put_back(folder: pathlib.Path) -> None:
    """Undoes a `set_aside` that was killed half-way."""
    for path in (folder / PART).glob("*"):
        path.rename(folder / path.name)
    if (folder / PART).exists():
        (folder / PART).rmdir()
