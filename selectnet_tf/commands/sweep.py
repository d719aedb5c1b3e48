"""Trains a paper table's missing runs: selectnet sweep table1 --seeds=0 --archs=simple

Then writes the tables and figures. Run it again to resume where it stopped. --dry prints the plan,
--print the commands; neither trains.
"""

import os
import shlex

from absl import flags

from selectnet_tf import _devices, recipes
from selectnet_tf._console import expand_path, fail
from selectnet_tf.commands import report
from selectnet_tf.runs import plan, sweep
from selectnet_tf.scale import jobs


def define_flags() -> None:
    define_shared_flags()
    flags.DEFINE_list("datasets", None, "data sets; default: the table's")
    flags.DEFINE_list("archs", None, "networks, by the table's names; default: the table's")
    flags.DEFINE_list(
        "methods", None, "methods, e.g. context,selectnet,oracle; default: the table's"
    )
    flags.DEFINE_enum("preset", "paper", recipes.PRESETS, "preset of each run")
    flags.DEFINE_string(
        "ray",
        None,
        "Ray cluster: auto, or its dashboard, http://HOST:8265; all its nodes must see"
        " --results_dir",
    )
    flags.DEFINE_bool(
        "print",
        False,
        "print a command per missing run, for Slurm, GNU parallel or Kubernetes; train nothing",
    )


def define_shared_flags(epochs: int = 200, seeds: str = "one run per cell and seed") -> None:
    """Defines the flags of every sweep. epochs: their default; seeds: the help of --seeds."""
    flags.DEFINE_list("seeds", ["0", "1", "2"], seeds)
    flags.DEFINE_integer("epochs", epochs, "epochs of each run", 1)
    flags.DEFINE_integer(
        "jobs",
        0,
        "runs trained at once, each with its share of cores or GPUs; 0: one per GPU, two without"
        " GPUs",
        0,
    )
    flags.DEFINE_enum("device", "auto", _devices.CHOICES, "auto: all GPUs, if any; cpu: no GPU")
    flags.DEFINE_bool(
        "dry", False, "print the plan (cells, done, missing, estimated hours); train nothing"
    )
    flags.DEFINE_string("results_dir", "results", "folder of runs.csv and runs/")
    flags.DEFINE_string(
        "data_dir",
        None,
        "folder of the CIFAR archive, extracted or not; default: SELECTNET_DATA, else a download",
    )


def parse_seeds(flag: str) -> list[int]:
    """Returns the seeds in a flag. Raises ValueError."""
    words = flags.FLAGS[flag].value
    if not words or not all(word.isdecimal() for word in words):
        raise ValueError(
            f"--{flag}: expected numbers such as 0,1,2, received {','.join(words) or 'none'}"
        )
    return [int(word) for word in words]


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    try:
        if len(argv) < 2 or argv[1] not in plan.TABLES:
            raise ValueError(
                f"expected a table of {', '.join(plan.TABLES)}, received"
                f" {argv[1] if argv[1:] else 'none'}: selectnet sweep table1"
            )
        if recipes.FolderData.dataset in (values.datasets or ()):
            cure = "for images of your own, selectnet train"
            raise ValueError(f"--datasets: expected benchmarks, received folder: {cure}")
        cells = plan.make_grid(
            argv[1],
            parse_seeds("seeds"),
            values.preset,
            values.datasets,
            values.archs,
            values.methods,
            values.epochs,
        )
    except ValueError as error:
        return fail(error, 2)
    far = values["print"].value or values.ray  # a shell in another folder and environment
    results, data = expand_path(values.results_dir), values.data_dir
    if far:
        results, data = results.absolute(), data or os.environ.get("SELECTNET_DATA")
    place = expand_path(data) if data else None
    data_dir = str(place.absolute() if far else place) if place else None
    _devices.hide_gpus_for_cpu(values.device)
    if values.ray and not (values.dry or values["print"].value):
        work: sweep.Sweep = jobs.JobSweep(
            jobs.connect(values.ray), cells, results, data_dir, values.jobs, values.device
        )
    else:
        work = sweep.Sweep(
            cells, results, data_dir, values.jobs or _devices.default_jobs(), values.device
        )
    if values.dry:
        print(work.plan())
        return 0
    if values["print"].value:
        for words in work.list_commands():
            print(shlex.join(words), flush=True)
        return 0
    code = work.run()
    return code if code > 1 else max(code, report.write(results, ["tables", "figures"]))
