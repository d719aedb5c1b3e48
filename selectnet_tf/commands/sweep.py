"""Trains what one of the paper's tables lacks: selectnet sweep table1 --seeds=0 --archs=simple

Then writes the tables and figures. Run it again to go on where it was stopped; --dry only prints
the plan, --print the commands.
"""

import shlex
import sys

from absl import flags

from selectnet_tf import _devices, recipes
from selectnet_tf._console import end_output, expand_path, fail, parse
from selectnet_tf.commands import report
from selectnet_tf.runs import plan, sweep
from selectnet_tf.scale import jobs


def define_flags() -> None:
    flags.DEFINE_list("seeds", ["0", "1", "2"], "one run of each cell for each seed")
    flags.DEFINE_integer("epochs", 200, "epochs of each run", 1)
    flags.DEFINE_list("datasets", None, "only these data sets' columns, or others than the table's")
    flags.DEFINE_list(
        "archs",
        None,
        "only these networks' columns, as the table names them, or others than the table's",
    )
    flags.DEFINE_list(
        "methods", None, "these methods instead of the table's, e.g. context,selectnet,oracle"
    )
    flags.DEFINE_enum("preset", "paper", recipes.PRESETS, "whose recipes")
    flags.DEFINE_integer(
        "jobs",
        0,
        "runs trained at once, each with its share of the cores or GPUs; 0: one a GPU, two without"
        " GPUs",
        0,
    )
    flags.DEFINE_string(
        "ray",
        None,
        "train on a Ray cluster: auto, or its dashboard, http://HOST:8265; all its nodes see"
        " --results_dir",
    )
    flags.DEFINE_enum(
        "device",
        "auto",
        _devices.CHOICES,
        "auto: the GPUs, where there are any; cpu: leaves them alone",
    )
    flags.DEFINE_bool(
        "print",
        False,
        "only print the missing cells' commands, one a line, for Slurm, GNU parallel or Kubernetes",
    )
    flags.DEFINE_bool("dry", False, "only print the plan: cells, done, missing, estimated hours")
    flags.DEFINE_string("results_dir", "results", "holds runs.csv and runs/")
    flags.DEFINE_string(
        "data_dir",
        None,
        "folder with the extracted CIFAR archive; else SELECTNET_DATA, else a download",
    )


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    try:
        if len(argv) < 2 or argv[1] not in plan.TABLES:
            raise ValueError(
                f"which table? One of {', '.join(plan.TABLES)}: selectnet sweep table1"
            )
        if len(argv) > 2:
            raise ValueError(f"unexpected {argv[2]!r}: flags are written --name=value")
        if not all(seed.isdecimal() for seed in values.seeds):
            raise ValueError("seeds are numbers such as 0,1,2")
        seeds = [int(seed) for seed in values.seeds]
        cells = plan.make_grid(
            argv[1],
            seeds,
            values.preset,
            values.datasets,
            values.archs,
            values.methods,
            values.epochs,
        )
        results, data_dir = (
            expand_path(values.results_dir),
            values.data_dir and str(expand_path(values.data_dir)),
        )
        if values["print"].value or values.ray:  # for another place's shell
            results, data_dir = (
                results.absolute(),
                data_dir and str(expand_path(data_dir).absolute()),
            )
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
        if not values.ray and (problem := _devices.find_problem()):
            return fail(problem, 1)
        code = work.run()
        return code if code > 1 else max(code, report.write(results, ["tables", "figures"]))
    except ValueError as error:
        return fail(error, 2)
    except BrokenPipeError:  # of `--print | head`: who reads has enough
        end_output()
        return 0
    except OSError as error:
        return fail(error, 1)


def command(name: str) -> None:
    """What experiments/NAME.py runs: the command above for that table."""
    define_flags()
    sys.exit(main(parse([sys.argv[0], name, *sys.argv[1:]])))
