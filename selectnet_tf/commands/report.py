"""CSVs -> the comparison with the paper, tables, figures and a page. Never imports TensorFlow.

selectnet report diff [--results_dir=results] [--preset=paper] [--tolerance=0.03] [--strict]
selectnet report tables figures html readme [--results_dir=results] [--data_dir=FOLDER]
selectnet report compare A B [--results_dir=results]

diff prints every cell of Tables 1 to 4 (the paper's number, ours as mean, std and n, the difference
with its 95% interval, a verdict), then the paper's claims, then whether its Tables 1 and 2 agree,
and writes the cells to diff.csv (diff_released.csv for that preset). Exit code 1 where a cell that
was run is off (with --strict, also where one was not run) or runs.csv is damaged. tables writes
table1.csv, table1.md and so on; figures the *.png; html report.html; readme the results between the
two marks in README.md beside the results folder, and in docs/results/numbers.md where that is
there. compare prints the difference between two runs, or two groups of runs paired by seed, on the
same test images: A and B are names, or quoted patterns of names such as
'cifar10-4minor_simple_random_paper_s?_*'.
"""

import pathlib
import sys
from collections.abc import Collection

from absl import flags

from selectnet_tf import recipes
from selectnet_tf._console import align_columns, expand_path, fail
from selectnet_tf._csv_files import write_csv
from selectnet_tf.report import compare, paper, tables
from selectnet_tf.runs import store


def diff(
    results: pathlib.Path, preset: str = "paper", tolerance: float = 0.03, strict: bool = False
) -> int:
    """Prints and writes the comparison of full-length runs of a plain preset.

    Returns the exit code.
    """
    found, problems = store.read_runs(results)
    problems += store.find_damaged(results, found)
    cells = paper.full(results, found, preset)
    lines = tables.diff_lines(cells, tolerance)
    path = results / ("diff.csv" if preset == "paper" else f"diff_{preset}.csv")
    write_csv(path, lines)
    print(align_columns([line[:-1] for line in lines]), end="\n\n")
    for name, judged in paper.claims(cells):
        print(f"{judged:<10} {name}")
    print()
    for method, accuracy, (low, high) in paper.agreements(cells):
        judged = "agrees" if low <= accuracy <= high else "contradicts"
        print(
            f"{judged:<11} the paper's {method}: Table 1 says {accuracy:.4f}, Table 2's F1 allow"
            f" {low:.4f} to {high:.4f}"
        )
    verdicts = [c.verdict(tolerance) for c in cells]
    counts = ", ".join(
        f"{verdicts.count(v)} {v}" for v in ("reproduced", "off", "undecided", "one run", "not run")
    )
    print(f"\npreset {preset}, runs of {paper.FULL} epochs only: {counts}; written to {path}")
    return int(_complain(problems) or "off" in verdicts or (strict and "not run" in verdicts))


def write(results: pathlib.Path, what: Collection[str], data_dir: str | None = None) -> int:
    """Writes tables, figures, html, readme: those of them in `what`. Returns the exit code."""
    found, problems = store.read_runs(results)
    problems += store.find_damaged(results, found)
    paths, drawn = [], None
    if "tables" in what:
        paths += tables.write(results, found)
    if "figures" in what:
        from selectnet_tf.report import byclass, figures

        drawn = figures.draw_all(results, found)
        paths += [path for by_key in drawn.values() for made in by_key.values() for path in made]
        paths += byclass.by_class(results, found).values()
    if "html" in what:
        from selectnet_tf.report import page

        paths.append(page.write(results, found, data_dir, drawn))
    if "readme" in what:
        problems += filter(None, [tables.benchmark_problem(results)])
        tables.write_readme(results.parent / "README.md", results, found)
        paths.append(results.parent / "README.md")
    print(f"{len(found)} runs; written: {', '.join(path.name for path in paths)}")
    return int(_complain(problems))


def _complain(problems: list[str]) -> bool:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return bool(problems)


WHAT = ("diff", "tables", "figures", "html", "readme")


def define_flags() -> None:
    flags.DEFINE_string("results_dir", "results", "holds runs.csv and runs/")
    flags.DEFINE_string(
        "data_dir",
        None,
        "CIFAR's folder, for the page's pictures of what was picked; else SELECTNET_DATA",
    )
    flags.DEFINE_enum("preset", "paper", recipes.REPRODUCING, "whose runs diff compares")
    tolerance = (
        "reproduced: the difference's 95% interval over seeds lies within this; off: it lies beyond"
        " half of this"
    )
    flags.DEFINE_float("tolerance", 0.03, tolerance, 0)
    flags.DEFINE_bool("strict", False, "diff fails where a cell was not run")


def main(argv: list[str]) -> int:
    wanted = argv[1:]
    if wanted[:1] == ["compare"] and len(wanted) != 3:
        return fail(
            "compare needs two names or quoted patterns of runs, A and B; received"
            f" {len(wanted) - 1}",
            2,
        )
    unknown = [] if wanted[:1] == ["compare"] else [word for word in wanted if word not in WHAT]
    if unknown or not wanted:
        return fail(
            f"what to report has to be compare A B, or some of {', '.join(WHAT)}; received"
            f" {' '.join(unknown) or 'nothing'}",
            2,
        )
    values = flags.FLAGS
    results = expand_path(values.results_dir)
    if not results.is_dir():
        return fail(f"there is no folder {results}: train a run first, or give --results_dir", 1)
    try:
        if wanted[0] == "compare":
            print("\n".join(compare.lines(compare.pair(results, *wanted[1:]))))
            return 0
        code = write(results, wanted, values.data_dir) if set(wanted) - {"diff"} else 0
        return max(
            code,
            (
                diff(results, values.preset, values.tolerance, values.strict)
                if "diff" in wanted
                else 0
            ),
        )
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else error, 1)
    except ValueError as error:
        return fail(error, 1)
