"""CSVs -> the comparison with the paper, tables, figures and a page. Never imports TensorFlow.

python -m selectnet_tf.report diff [--results_dir=results] [--preset=paper] [--tolerance=0.03] [--strict]
python -m selectnet_tf.report tables figures html readme [--results_dir=results] [--data_dir=FOLDER]
python -m selectnet_tf.report compare A B [--results_dir=results]

diff prints every cell of Tables 1 to 4 (the paper's number, ours as mean, std and n, the difference with its 95% interval, a
verdict), then the paper's claims, then whether its Tables 1 and 2 agree, and writes the cells to diff.csv (diff_released.csv
for that preset).
Exit code 1 where a cell that was run is off (with --strict, also where one was not run) or runs.csv is damaged. tables
writes table1.csv, table1.md and so on; figures the *.png; html report.html; readme the results between the two marks in
README.md beside the results folder, and in docs/results/numbers.md where that is there. compare prints the difference
between two runs, or two groups of runs paired by seed, on the same test images: A and B are names, or quoted patterns of names
such as 'cifar10-4minor_simple_random_paper_s?_*'.
"""

import sys

from absl import flags

from selectnet_tf import recipes
from selectnet_tf.cli import fail, parse, path_of
from selectnet_tf.report import compare, reports

WHAT = ("diff", "tables", "figures", "html", "readme")


def define_flags() -> None:
    flags.DEFINE_string("results_dir", "results", "holds runs.csv and runs/")
    flags.DEFINE_string("data_dir", None, "CIFAR's folder, for the page's pictures of what was picked; else SELECTNET_DATA")
    flags.DEFINE_enum("preset", "paper", recipes.REPRODUCING, "whose runs diff compares")
    tolerance = "reproduced: the difference's 95% interval over seeds lies within this; off: it lies beyond half of this"
    flags.DEFINE_float("tolerance", 0.03, tolerance, 0)
    flags.DEFINE_bool("strict", False, "diff fails where a cell was not run")


def main(argv: list[str]) -> int:
    wanted = argv[1:]
    if wanted[:1] == ["compare"] and len(wanted) != 3:
        return fail(f"compare needs two names or quoted patterns of runs, A and B; received {len(wanted) - 1}", 2)
    unknown = [] if wanted[:1] == ["compare"] else [word for word in wanted if word not in WHAT]
    if unknown or not wanted:
        return fail(f"what to report has to be compare A B, or some of {', '.join(WHAT)}; received {' '.join(unknown) or 'nothing'}", 2)
    values = flags.FLAGS
    results = path_of(values.results_dir)
    if not results.is_dir():
        return fail(f"there is no folder {results}: train a run first, or give --results_dir", 1)
    try:
        if wanted[0] == "compare":
            print("\n".join(compare.lines(compare.pair(results, *wanted[1:]))))
            return 0
        code = reports.write(results, wanted, values.data_dir) if set(wanted) - {"diff"} else 0
        return max(code, reports.diff(results, values.preset, values.tolerance, values.strict) if "diff" in wanted else 0)
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else error, 1)
    except ValueError as error:
        return fail(error, 1)


if __name__ == "__main__":
    define_flags()
    sys.exit(main(parse(sys.argv)))
