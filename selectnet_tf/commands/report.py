"""Compares runs with the paper and with each other; writes tables, figures and a page.

selectnet report diff [--results_dir=results] [--preset=paper] [--tolerance=0.03] [--strict]
                      [--out=diff.csv]
selectnet report tables figures html [--results_dir=results] [--data_dir=FOLDER]
selectnet report compare A B [--results_dir=results]

diff prints the cells of Tables 1 to 4 that were run (the paper's number, ours as mean, std and n,
the difference with its 95% interval, a verdict), the paper's claims, and whether its Tables 1 and 2
agree; --out writes all cells to a file. It exits with 1 where a cell that was run is off (with
--strict, also where one was not run) or a row of runs.csv is damaged.

tables writes table1.csv, table1.md and so on; figures the *.png; html report.html.

compare prints the difference between two runs, or two groups of runs paired by seed, on the same
test images. A and B are names, or quoted patterns such as '*_random_paper_s?_*'.
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

REPORTS = ("diff", "tables", "figures", "html")


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("results_dir", "results", "folder with runs.csv and runs/")
    flags.DEFINE_string(
        "data_dir", None, "CIFAR's folder, for the page's images of picks; else SELECTNET_DATA"
    )
    flags.DEFINE_enum(
        "preset", "paper", recipes.REPRODUCING, "preset whose runs diff compares with the paper"
    )
    flags.DEFINE_float(
        "tolerance",
        0.03,
        "a cell is reproduced if the difference's 95% interval over seeds lies within this, and off"
        " if it lies beyond half of it",
        0,
    )
    flags.DEFINE_bool("strict", False, "diff fails where a cell was not run")
    flags.DEFINE_string("out", None, "CSV file for all cells of diff, including those not run")


def main(argv: list[str]) -> int:
    """Runs the reports named in argv[1:]. Returns the exit code."""
    wanted, values = argv[1:], flags.FLAGS
    comparing = wanted[:1] == ["compare"]
    if comparing and len(wanted) != 3:
        return fail(
            "compare needs two names or quoted patterns of runs, A and B; received"
            f" {len(wanted) - 1}",
            2,
        )
    unknown = [] if comparing else [word for word in wanted if word not in REPORTS]
    if unknown or not wanted:
        return fail(
            f"expected compare A B, or some of {', '.join(REPORTS)}; received"
            f" {' '.join(unknown) or 'nothing'}",
            2,
        )
    for name in ("data_dir", "preset", "tolerance", "strict", "out"):
        reader = "html" if name == "data_dir" else "diff"
        if values[name].present and reader not in wanted:
            return fail(f"--{name} is for report {reader}: leave it out", 2)
    results = expand_path(values.results_dir)
    if not results.is_dir():
        return fail(f"there is no folder {results}: train a run first, or give --results_dir", 1)
    if comparing:
        print("\n".join(compare.lines(compare.pair(results, *wanted[1:]))))
        return 0
    code = write(results, wanted, values.data_dir) if set(wanted) - {"diff"} else 0
    if "diff" in wanted:
        out = expand_path(values.out) if values.out else None
        code = max(code, diff(results, values.preset, values.tolerance, values.strict, out))
    return code


def diff(
    results: pathlib.Path,
    preset: str = "paper",
    tolerance: float = 0.03,
    strict: bool = False,
    out: pathlib.Path | None = None,
) -> int:
    """Prints the comparison of a plain preset's full-length runs with the paper.

    Returns the exit code. out: a CSV file for all cells, those not run too.
    """
    found, problems = store.read_runs(results)
    problems += store.find_damaged(results, found)
    cells = paper.full(results, found, preset)
    if out:
        write_csv(out, tables.diff_lines(cells, tolerance))
    if done := [c for c in cells if c.values]:
        lines = tables.diff_lines(done, tolerance)
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
    written = f"; written to {out}" if out else ""
    print(f"\npreset {preset}, runs of {paper.FULL} epochs only: {counts}{written}")
    return int(_print_problems(problems) or "off" in verdicts or (strict and "not run" in verdicts))


def write(results: pathlib.Path, reports: Collection[str], data_dir: str | None = None) -> int:
    """Writes those of tables, figures and html that are in `reports`.

    Returns the exit code.
    """
    found, problems = store.read_runs(results)
    problems += store.find_damaged(results, found)
    paths, drawn = [], None
    if "tables" in reports:
        paths += tables.write(results, found)
    if "figures" in reports:
        from selectnet_tf.report import figures

        drawn = figures.draw_all(results, found)
        paths += [path for *_, made in drawn for path in made.values()]
        paths += figures.draw_by_class(results, found).values()
    if "html" in reports:
        from selectnet_tf.report import page

        paths.append(page.write(results, found, data_dir, drawn))
    written = [str(path) for path in paths if path.suffix != ".png"]
    if count := len(paths) - len(written):  # may be hundreds
        written.append(f"{results}/*.png ({count})")
    print(f"{len(found)} run{'s' * (len(found) != 1)}; written: {', '.join(written)}")
    return int(_print_problems(problems))


def _print_problems(problems: list[str]) -> bool:
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return bool(problems)
