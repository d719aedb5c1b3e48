"""Scores a pool of any size: python -m selectnet_tf.score --model=.../model.keras --images=POOL --out=SCORES

POOL: a folder of pictures, a Parquet file or a folder of them, with a column image (a picture's bytes, or raw pixels) and, where
there is one, id. SCORES: part-000000.parquet and so on, with id, predicted, class, probability, loss and, where it could not be
read, problem. Run it again to score what is missing; run it on several machines at once to share the work.
"""

import pathlib
import sys
import zipfile

from absl import flags

from selectnet_tf import devices
from selectnet_tf.cli import fail, importing_tensorflow, parse


def define_flags() -> None:
    flags.DEFINE_string("model", None, "a run's model.keras")
    flags.DEFINE_string("images", None, "a folder of pictures, a Parquet file, or a folder of Parquet files")
    flags.DEFINE_string("out", None, "folder for the scores")
    flags.DEFINE_bool("features", False, "also write the last layer's inputs, as float16")
    flags.DEFINE_integer("shard", 65536, "images in a file of SCORES", 1)
    flags.DEFINE_integer("batch", 256, "images that the model sees at once", 1)
    flags.DEFINE_enum("device", "auto", devices.CHOICES, "auto: the GPUs, where there are any; cpu: leaves them alone")


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    if len(argv) > 1:
        return fail(f"unexpected {argv[1]!r}: flags are written --name=value", 2)
    if not (values.model and values.images and values.out):
        return fail("what to score with what, and where to? Give --model, --images and --out", 2)
    path = pathlib.Path(values.model).expanduser()
    if not zipfile.is_zipfile(path):
        return fail(f"{path} is no .keras file: give the model.keras of a run", 1)
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        return fail("the scores are Parquet files, which need pyarrow: python -m pip install -e '.[scale]'", 1)
    devices.choose(values.device)
    with importing_tensorflow():
        import tensorflow  # noqa: F401
    if problem := devices.problem():
        return fail(problem, 1)
    from selectnet_tf import predict
    from selectnet_tf.scale import scoring

    try:
        model = scoring.Model(path, lambda classes: predict.class_names(path, classes), values.batch, values.features)
        images, out = (pathlib.Path(place).expanduser() for place in (values.images, values.out))
        done = scoring.score(model, images, out, values.shard, lambda line: print(line, flush=True))
    except (ValueError, OSError) as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on with the shards that are missing", 130)
    rate = f", {done.images / done.seconds:,.0f} a second" if done.images else ""
    print(f"{done.shards} shards in {out}: {done.done} were done; {done.images:,} images scored, {done.unreadable:,} unreadable{rate}")
    return 0


if __name__ == "__main__":
    define_flags()
    sys.exit(main(parse(sys.argv)))
