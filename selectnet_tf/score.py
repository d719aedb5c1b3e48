"""Scores a pool of any size: python -m selectnet_tf.score --model=.../model.keras --images=POOL --out=SCORES

POOL: a folder of pictures, a Parquet file or a folder of them, with a column image (a picture's bytes, or raw pixels) and, where
there is one, id. SCORES: part-000000.parquet and so on, with id, predicted, class, probability, loss and, where it could not be
read, problem. Run it again to score what is missing; run it on several machines at once to share the work.
"""

import functools
import importlib
import pathlib
import sys
import zipfile
from typing import TYPE_CHECKING

from absl import flags

from selectnet_tf import devices
from selectnet_tf.cli import fail, importing_tensorflow, parse, path_of

if TYPE_CHECKING:
    from selectnet_tf.scale import scoring


def define_flags() -> None:
    flags.DEFINE_string("model", None, "a run's model.keras")
    flags.DEFINE_string("images", None, "a folder of pictures, a Parquet file, or a folder of Parquet files")
    flags.DEFINE_string("out", None, "folder for the scores")
    flags.DEFINE_bool("features", False, "also write the last layer's inputs, as float16")
    flags.DEFINE_integer("shard", 65536, "images in a file of SCORES", 1)
    flags.DEFINE_integer("batch", 256, "images that the model sees at once", 1)
    flags.DEFINE_string("ray", None, "score on a Ray cluster: auto, or its address; all its nodes see the model, the images and the scores")
    flags.DEFINE_integer("actors", 0, "with --ray: how many score at once; 0: one for each GPU, or each core if there are none", 0)
    flags.DEFINE_enum("device", "auto", devices.CHOICES, "auto: the GPUs, where there are any; cpu: leaves them alone")


def _places() -> list[pathlib.Path]:
    """The model's file, the images and the scores' folder."""
    return [path_of(flags.FLAGS[name].value) for name in ("model", "images", "out")]


def _here() -> "scoring.Scored":
    from selectnet_tf import predict
    from selectnet_tf.scale import scoring

    if problem := devices.problem():
        raise OSError(problem)
    values, (path, images, out) = flags.FLAGS, _places()
    model = scoring.Model(path, lambda classes: predict.class_names(path, classes), values.batch, values.features)
    return scoring.score(model, images, out, values.shard, _say)


def _on_cluster() -> "scoring.Scored":
    from selectnet_tf import predict
    from selectnet_tf.scale import actors, cluster

    values, (path, images, out) = flags.FLAGS, (place.absolute() for place in _places())
    cluster.connect(values.ray)
    job = actors.Job(path, functools.partial(predict.class_names, path), values.batch, values.features, images, out, values.shard)
    return actors.score(job, values.actors, values.device == "cpu", _say)


def _missing(with_ray: bool) -> str:
    """What has to be installed first, with the cure; empty where nothing has."""
    needed = [("pyarrow", "the scores are Parquet files, which need pyarrow", "scale"), ("ray", "scoring on a cluster needs Ray", "scale")]
    for module, why, extra in needed[: 1 + with_ray]:
        try:
            importlib.import_module(module)
        except ImportError:
            return f"{why}: python -m pip install -e '.[{extra}]'"
    return ""


def _say(line: str) -> None:
    print(line, flush=True)


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    if len(argv) > 1:
        return fail(f"unexpected {argv[1]!r}: flags are written --name=value", 2)
    if not (values.model and values.images and values.out):
        return fail("what to score with what, and where to? Give --model, --images and --out", 2)
    path = path_of(values.model)
    if not zipfile.is_zipfile(path):
        return fail(f"{path} is no .keras file: give the model.keras of a run", 1)
    if problem := _missing(bool(values.ray)):
        return fail(problem, 1)
    devices.choose(values.device)
    with importing_tensorflow():
        import tensorflow  # noqa: F401
    try:
        done = _on_cluster() if values.ray else _here()
    except (ValueError, OSError) as error:
        return fail(error, 1)
    except KeyboardInterrupt:
        return fail("interrupted; the same command goes on with the shards that are missing", 130)
    rate = f", {done.images / done.seconds:,.0f} a second" if done.images else ""
    images = f"{done.images:,} images scored, {done.unreadable:,} unreadable"
    print(f"{done.shards} shards in {_places()[2]}: {done.done} were done; {images}{rate}")
    return 0


if __name__ == "__main__":
    define_flags()
    sys.exit(main(parse(sys.argv)))
