"""Scores a pool of any size: selectnet score --model=RUN/model.keras --images=POOL --out=SCORES

POOL is a folder of images, a Parquet file, or a folder of Parquet files with columns id and image
(encoded, or raw pixels).
SCORES gets Parquet files with id, predicted, class, probability, loss, and problem for unreadable
images. Run it again to score the missing images. Without --ray, Ray starts on this machine.
"""

import time
import zipfile

from absl import flags

from selectnet_tf import _devices
from selectnet_tf._console import expand_path, fail
from selectnet_tf._files import printable


def define_flags() -> None:
    flags.DEFINE_string("model", None, "a run's model.keras")
    flags.DEFINE_string(
        "images", None, "a folder of images, a Parquet file, or a folder of Parquet files"
    )
    flags.DEFINE_string("out", None, "folder for the scores")
    flags.DEFINE_integer("shard", 4096, "largest number of images in a file of SCORES", 1)
    flags.DEFINE_integer("batch", 256, "images per batch", 1)
    flags.DEFINE_string(
        "ray", None, "Ray cluster: auto, or HOST:PORT; all its nodes must see the same files"
    )
    flags.DEFINE_integer(
        "actors", 0, "number of workers; 0: one per GPU, or per core without GPUs", 0
    )
    flags.DEFINE_enum("device", "auto", _devices.CHOICES, "auto: all GPUs, if any; cpu: no GPU")


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    if not (values.model and values.images and values.out):
        return fail("give --model, --images and --out", 2)
    model, images, out = (
        expand_path(text).absolute() for text in (values.model, values.images, values.out)
    )
    if not zipfile.is_zipfile(model):
        return fail(f"--model: expected the model.keras of a run, received {model}", 1)
    if not images.exists():
        return fail(f"--images: expected a folder or Parquet file, received {images}", 1)
    try:
        from selectnet_tf.scale import pools, scoring
    except ImportError as error:
        return fail(f"score needs Ray Data ({error}): {_devices.PIP} -e '.[scale]'", 1)
    _devices.hide_gpus_for_cpu(values.device)
    if not values.ray and (problem := _devices.find_problem()):
        return fail(problem, 1)
    begun = time.perf_counter()
    try:
        folder = pools.is_folder_of_images(images)
        job = scoring.Job(model, images, folder, values.batch, values.device)
        scored, there, unreadable = scoring.score(job, out, values.shard, values.ray, values.actors)
    except KeyboardInterrupt:
        return fail("interrupted: run the same command again to score the missing images", 130)
    seconds = time.perf_counter() - begun
    print(
        f"{scored:,} images scored in {seconds:,.0f} s; {printable(out)} holds {there:,},"
        f" {unreadable:,} of them unreadable"
    )
    return 0
