"""Trains one run: selectnet train --labeled_dir=LABELED --unlabeled_dir=POOL

LABELED holds a folder of images for each class, and their sizes and number give the flags that you
leave out. Without folders, --dataset, --method and --preset give them; [...] is the value on
cifar10-4minor. Run it again to resume where it stopped.
"""

import pathlib
import re
import signal
import sys
import textwrap
from typing import TYPE_CHECKING, Any

from absl import flags

from selectnet_tf import _devices, recipes
from selectnet_tf._console import expand_path, fail, importing_tensorflow
from selectnet_tf._files import printable

if TYPE_CHECKING:
    from selectnet_tf.data.folders.survey import Survey

FLAGS = flags.FLAGS
DRY_SECONDS = 60.0  # of decoding, for --dry_run to make the split
GROUPS = {  # of --help: the flags that people need first, then those of --helpfull
    "data": (
        "dataset labeled_dir unlabeled_dir test_dir minor image_size data_dir dry_run",
        "fit white copies boxes group decisions ask cache_dir minor_ratio major_ratio imb_factor"
        " split validation",
    ),
    "selection": (
        "method threshold every",
        "lambda_schedule beta accumulate align cap max_per_class",
    ),
    "training": (
        "arch epochs batch_size lr seed weights freeze",
        "training momentum decay weight_decay lr_schedule augment shift prior_loss cb_beta"
        " focal_gamma",
    ),
    "readings of the paper": (
        "preset",
        "init init_copies oversample balance context labeled_loss loss_norm selector_inputs"
        " selector_fit selector_init selector_lr selector_epochs selector_batch",
    ),
    "hardware": ("device", "replicas precision jit deterministic"),
    "output": ("results_dir force baselines", "verbose"),
}


def define_flags() -> None:
    """Defines a flag for each field of Recipe, without a default: the preset has it."""
    for field in recipes.FIELDS.values():
        help, choices = field.metadata["help"], field.metadata["choices"]
        help += "" if field.default in (None, ()) else f" [{field.default}]"
        kind = str(field.type)
        if choices:
            flags.DEFINE_enum(field.name, None, choices, help)
        elif "tuple" in kind:
            flags.DEFINE_list(field.name, None, help)
        elif "bool" in kind:
            flags.DEFINE_bool(field.name, None, help)
        elif "int" in kind:
            flags.DEFINE_integer(field.name, None, help)
        elif "float" in kind:
            flags.DEFINE_float(field.name, None, help)
        else:
            flags.DEFINE_string(field.name, None, help)
    flags.DEFINE_string(
        "data_dir",
        None,
        "folder of the CIFAR archive, extracted or not; default: SELECTNET_DATA, else a download",
    )
    flags.DEFINE_string("results_dir", "results", "folder for runs.csv and runs/NAME/")
    flags.DEFINE_integer("replicas", 0, "replicas of MirroredStrategy; 0: one per GPU")
    flags.DEFINE_enum("device", "auto", _devices.CHOICES, "auto: all GPUs, if any; cpu: no GPU")
    flags.DEFINE_bool("force", False, "train again from the start, even a finished run")
    flags.DEFINE_bool(
        "baselines",
        None,
        "dataset=folder: also train logit_adjusted, random and selectnet, and compare this run with"
        " them and with logistic regressions; default: with --freeze, else those that are there",
    )
    flags.DEFINE_bool(
        "dry_run",
        False,
        "dataset=folder: count and check the files and estimate the time, without training",
    )
    flags.DEFINE_string(
        "cache_dir",
        None,
        "folder for decoded images and those that --freeze embeds; default: results_dir/cache",
    )
    flags.DEFINE_bool("verbose", False, "show TensorFlow's log and the traceback of errors")


def describe_flags(full: bool) -> str:
    """Returns the text of --help, or of --helpfull: the flags by group."""
    lines = [(__doc__ or "").strip()]
    for heading, (first, further) in GROUPS.items():
        lines += ["", f"{heading}:"]
        for name in f"{first} {further if full else ''}".split():
            flag = FLAGS[name]
            text = f"--{'[no]' * flag.boolean}{name}: {flag.help.replace('|', ' | ')}"
            lines += textwrap.wrap(
                text, 90, initial_indent="  ", subsequent_indent=" " * 6, break_on_hyphens=False
            )
    if not full:
        lines += ["", "All flags: selectnet train --helpfull"]
    return "\n".join(lines)


def recipe_from_flags(**suggested: Any) -> recipes.Recipe:
    """Returns the flags' Recipe. suggested: values of fields whose flags are not given."""
    given = {name: FLAGS[name].value for name in recipes.FIELDS if FLAGS[name].value is not None}
    if {"labeled_dir", "unlabeled_dir"} & given.keys():
        given.setdefault("dataset", recipes.FolderData.dataset)
    if "minor" in given:
        words = [word.strip() for word in given["minor"] or ()]
        numbers = given.get("dataset") != recipes.FolderData.dataset
        given["minor"] = tuple(
            int(w) if numbers and re.fullmatch("0|[1-9][0-9]*", w) else w for w in words
        )  # 007 is a name
    return recipes.make(**suggested | given)


def _look_at_data(
    recipe: recipes.Recipe, results: pathlib.Path
) -> tuple[recipes.Recipe, "Survey | None"]:
    """Returns the recipe, complete, and the Survey of its folders.

    Raises ValueError, OSError for missing folders and files, before TensorFlow is imported. A
    finished run needs none of them.
    """
    from selectnet_tf.data import cifar
    from selectnet_tf.data.folders import survey
    from selectnet_tf.runs import store

    row = results / "runs" / store.find_name(results, recipe) / "row.json"
    finished = row.exists() and not (FLAGS.force or FLAGS.dry_run)
    if not isinstance(recipe.data, recipes.FolderData):
        if not finished:
            cifar.find_source(recipe.data.dataset, FLAGS.data_dir)
        return recipe, None
    left_out = [name for name in survey.SUGGESTED if FLAGS[name].value is None]
    if finished and not left_out:
        return recipe, None
    found = survey.survey_folders(recipe.data, recipe.training)
    print("\n".join(map(printable, found.says)), flush=True)
    values = survey.suggest(found, recipe.training) if left_out else {}
    chosen = {name: values[name] for name in left_out if name in values}
    if chosen:
        words = (f"--{name}={value}" for name, value in chosen.items())
        print(f"  chosen from these folders: {' '.join(words)}", flush=True)
    return recipe_from_flags(**chosen), found


def _dry_run(recipe: recipes.Recipe, found: "Survey | None", cache_dir: pathlib.Path) -> int:
    from selectnet_tf.data.folders import survey

    assert found and isinstance(recipe.data, recipes.FolderData)
    lines, known, seconds = survey.describe_files(found, recipe.data, cache_dir)
    print("\n".join(map(printable, lines)), flush=True)
    _devices.hide_gpus_for_cpu(FLAGS.device)
    with importing_tensorflow(FLAGS.verbose):
        from selectnet_tf.runs import baselines, dry_run

        if seconds <= DRY_SECONDS:
            print(dry_run.split(found, recipe))
        else:
            left = "  duplicates are not counted, since that decodes all images: see --copies"
            print("\n".join(map(printable, [*known, left])))
        others = baselines.list_methods(recipe) if _trains_baselines(recipe) else []
        print(dry_run.line(found, recipe, others))
    return 0


def _trains_baselines(recipe: recipes.Recipe) -> bool:
    return bool(recipe.training.freeze if FLAGS.baselines is None else FLAGS.baselines)


def main(argv: list[str]) -> int:
    try:
        recipe = recipe_from_flags()
    except ValueError as error:
        return fail(error, 2)
    results = expand_path(FLAGS.results_dir)
    cache_dir = expand_path(FLAGS.cache_dir) if FLAGS.cache_dir else results / "cache"
    own = isinstance(recipe.data, recipes.FolderData)
    for name, used, where in (
        ("dry_run", own, "--dataset=folder"),
        ("baselines", own, "--dataset=folder"),
        ("cache_dir", own or recipe.training.freeze, "--dataset=folder or --freeze"),
        ("data_dir", not own, "benchmarks"),
    ):
        if FLAGS[name].value and not used:
            return fail(f"--{name} is for {where}: leave it out", 2)
    for name, place in (("results_dir", results), ("cache_dir", cache_dir)):
        if place.exists() and not place.is_dir():
            return fail(f"--{name}: expected a folder, received {place}", 1)
    signal.signal(signal.SIGTERM, _terminated)
    row = None
    try:
        recipe, survey = _look_at_data(recipe, results)
        if FLAGS.dry_run:
            return _dry_run(recipe, survey, cache_dir)
        _devices.hide_gpus_for_cpu(FLAGS.device)
        with importing_tensorflow(FLAGS.verbose):
            import tensorflow  # noqa: F401
        if problem := _devices.find_problem():
            return fail(problem, 1)
        from selectnet_tf.report import compare, review_page
        from selectnet_tf.runs import baselines, outputs, train

        options: dict[str, Any] = {
            "replicas": FLAGS.replicas,
            "force": FLAGS.force,
            "verbose": 1 if sys.stdout.isatty() else 2,
            "cache_dir": cache_dir,
            "survey": survey,
        }
        row = train.train(
            recipe,
            data_dir=FLAGS.data_dir,
            results_dir=results,
            finish=review_page.write,
            **options,
        )
        compared = []
        if own and FLAGS.baselines is not False:
            others = _trains_baselines(recipe)
            found = baselines.train_all(recipe, results, others=others, **options)
            try:
                rows = compare.write_baselines(results, row["name"], row["method"], found)
                compared = ["", *compare.describe_baselines(rows)]
            # a finished run of an older version, a damaged file, or another process
            except (ValueError, BlockingIOError) as error:
                compared = ["", f"warning: no comparison with baselines: {error}"]
        print(
            f"\n{outputs.format_results(row)}\n\nfiles: {results / 'runs' / row['name']}/, row in"
            f" {results / 'runs.csv'}",
            *compared,
            sep="\n",
        )
    except (SystemExit, KeyboardInterrupt) as stop:  # also checkpoint.Stopped, and _terminated
        if FLAGS.dry_run:
            raise
        code = getattr(stop, "code", 130)
        says = _describe_progress(recipe, results, trained=row is not None)
        return fail(says, code if isinstance(code, int) else 1)
    return 0


def _terminated(number: int, frame: Any) -> None:
    """Ends the process on SIGTERM outside the epochs; within them, Checkpoint does."""
    raise SystemExit(128 + number)


def _describe_progress(recipe: recipes.Recipe, results: pathlib.Path, trained: bool) -> str:
    """Returns a line on the progress that a stopped run has saved. trained: by this process."""
    from selectnet_tf.runs import store

    folder, epochs = results / "runs" / store.find_name(results, recipe), recipe.training.epochs
    again = f"run the same command{', without --force,' * FLAGS.force}"
    if (folder / "row.json").exists() and (trained or not FLAGS.force):
        return f"stopped after training: {again} to write the remaining files"
    found = store.read_progress(folder / "state.npz")
    if not found:
        return "stopped before the first epoch was saved: run the same command to start again"
    epoch, batch = found
    if epoch >= epochs:
        return f"stopped while writing the results: all epochs are saved; {again} to finish"
    batches = f" and {batch} batches" * bool(batch)
    return f"stopped: epoch {epoch} of {epochs}{batches} saved; {again} to resume"
