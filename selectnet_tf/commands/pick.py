"""Selects from a scored pool: selectnet pick --scores=SCORES --images=POOL --minor=lynx --out=PICKS

The default rule selects images predicted as a minor class with a loss below --threshold. Copies
them into PICKS, one folder per class. Give the next run --unlabeled_dir=PICKS
--decisions=PICKS/decisions.csv --method=logit_adjusted.
"""

import shlex

from absl import flags

from selectnet_tf import _devices, recipes
from selectnet_tf._console import expand_path, fail
from selectnet_tf._files import printable


def define_flags() -> None:
    flags.DEFINE_string("scores", None, "folder written by selectnet score")
    flags.DEFINE_string("images", None, "the scored pool")
    flags.DEFINE_list("minor", None, "names of the minor classes")
    flags.DEFINE_string("out", None, "new folder for the selected images")
    flags.DEFINE_enum(
        "method", "self_paced", ["self_paced", "random"], "the rule; random: the control"
    )
    flags.DEFINE_float(
        "threshold",
        recipes.FIELDS["threshold"].default,
        "largest loss of a selected image, nats",
        0,
    )
    flags.DEFINE_float(
        "cap",
        0.0,
        "from 0, no cap, to 1: each class keeps as many images as the smallest one, or ten",
        0,
        1,
    )
    flags.DEFINE_integer(
        "max_per_class", None, "each class keeps at most this many images, the most confident", 1
    )


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    if not (values.scores and values.images and values.minor and values.out):
        return fail("give --scores, --images, --minor and --out", 2)
    scores, pool, out = (expand_path(text) for text in (values.scores, values.images, values.out))
    for name, place in (("scores", scores), ("images", pool)):
        if not place.exists():
            return fail(f"--{name}: expected a folder or Parquet file, received {place}", 1)
    try:
        from selectnet_tf import rules
        from selectnet_tf.scale import picking
    except ImportError as error:
        return fail(f"pick needs pyarrow ({error}): {_devices.PIP} -e '.[scale]'", 1)
    minor = [name.strip() for name in values.minor]
    kind = rules.Random if values.method == "random" else rules.SelfPaced
    rule = kind(values.threshold)
    capped = rules.Capped(rule, values.cap, most=values.max_per_class, minor=range(len(minor)))
    found = picking.pick(scores, pool, minor, capped)
    if not found.ids:
        least = f"a loss under --threshold={values.threshold}"
        raise ValueError(f"no image is predicted as a minor class with {least}: raise it")
    picking.write(found, pool, minor, out)
    counts = ", ".join(
        f"{printable(name)}: {int((found.label == i).sum()):,}" for i, name in enumerate(minor)
    )
    print(f"{len(found.ids):,} images in {printable(out)} ({counts})")
    quoted = printable(shlex.quote(str(out)))
    print(
        f"give the next run --unlabeled_dir={quoted} --decisions={quoted}/decisions.csv"
        " --method=logit_adjusted, as it labels them all"
    )
    return 0
