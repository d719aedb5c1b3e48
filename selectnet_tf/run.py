"""Trains one run: python -m selectnet_tf.run --method=context --arch=resnet56

Run it again to go on where it was stopped. Flags that are not given come from the preset.
"""

import dataclasses
import errno
import pathlib
import sys

from absl import flags

from selectnet_tf import recipes
from selectnet_tf.cli import fail, importing_tensorflow, parse

FLAGS = flags.FLAGS


def define_flags():
    """One flag a field of Recipe, unset unless given, so that the preset decides."""
    for field in dataclasses.fields(recipes.Recipe):
        help, choices = field.metadata["help"], field.metadata["choices"]
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
    flags.DEFINE_string("data_dir", None, "folder with the extracted CIFAR archive, or the archive; else SELECTNET_DATA, else a download")
    flags.DEFINE_string("results_dir", "results", "where runs.csv and runs/NAME/ go")
    flags.DEFINE_integer("replicas", 0, "replicas of MirroredStrategy; 0: every GPU there is")
    flags.DEFINE_bool("force", False, "train again what is finished or half trained")
    flags.DEFINE_string("review", None, "dataset=folder: put what was picked into this new folder, by pseudo-label, for you to weed out")
    flags.DEFINE_bool("baselines", True, "dataset=csv: also train the same classifier without a pool, and beside random picks")
    flags.DEFINE_bool("verbose", False, "let TensorFlow log, and errors show where they come from")


def recipe_from_flags():
    names = [field.name for field in dataclasses.fields(recipes.Recipe)]
    given = {name: FLAGS[name].value for name in names if FLAGS[name].value is not None}
    if "minor" in given:
        words = [word.strip() for word in given["minor"]]
        given["minor"] = tuple(int(word) if word.isdigit() and given.get("dataset") != "folder" else word for word in words)
    return recipes.make(**given)


def main(argv):
    try:
        if len(argv) > 1:
            raise ValueError(f"unexpected {argv[1]!r}: flags are written --name=value")
        recipe = recipe_from_flags()
        if FLAGS.review and recipe.dataset != "folder":
            raise ValueError("--review is for --dataset=folder: leave it out")
        if FLAGS.review and pathlib.Path(FLAGS.review).exists() and any(pathlib.Path(FLAGS.review).iterdir()):
            raise ValueError(f"{FLAGS.review} is not empty: give --review a new folder")
    except ValueError as error:
        return fail(error, 2)
    try:
        with importing_tensorflow(FLAGS.verbose):
            import tensorflow  # noqa: F401
        from selectnet_tf.experiment import baselines, picks, record, train
        from selectnet_tf.report import gallery

        row = train.train(
            recipe, data_dir=FLAGS.data_dir, results_dir=FLAGS.results_dir, replicas=FLAGS.replicas, force=FLAGS.force,
            verbose=1 if sys.stdout.isatty() else 2, finish=baselines.write if recipe.dataset == "csv" else gallery.write,
        )  # fmt: skip
        rows = [row]
        if recipe.dataset == "csv" and FLAGS.baselines:
            for other in baselines.beside(recipe):
                print(f"\nbeside it: {other.method}", flush=True)
                rows.append(train.train(other, results_dir=FLAGS.results_dir, replicas=FLAGS.replicas, force=FLAGS.force, verbose=0))
        results = pathlib.Path(FLAGS.results_dir)
        if FLAGS.review:
            count = picks.review(results / "runs" / recipe.name, FLAGS.review)
            print(f"{count:,} pictures to look through in {FLAGS.review}: delete the wrong ones, then add it to --labeled_dir")
        beside = "".join(f"\n{line}" for line in baselines.lines(results / "runs" / recipe.name))
        print(f"\n{record.table(rows)}{beside}\n\nfiles: {results / 'runs' / recipe.name}/, row in {results / 'runs.csv'}")
    except (ValueError, OSError, MemoryError) as error:
        if FLAGS.verbose:
            raise
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return fail("the disk is full: free some space and run the same command again" if full else error, 1)
    except KeyboardInterrupt:
        return fail("interrupted before training began", 130)
    return 0


if __name__ == "__main__":
    define_flags()
    sys.exit(main(parse(sys.argv)))
