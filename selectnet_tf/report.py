"""CSVs -> the comparison with the paper, tables, figures and a page. Never imports TensorFlow.

python -m selectnet_tf.report diff [--results_dir=results] [--preset=paper] [--tolerance=0.015] [--strict]
python -m selectnet_tf.report tables figures html readme [--results_dir=results] [--data_dir=FOLDER]

diff prints every cell of Tables 1 to 4 (the paper's number, ours as mean, std and n, the difference, a verdict), then the
paper's claims, then whether its Tables 1 and 2 agree, and writes the cells to diff.csv. Exit code 1 where a cell that was
run is off (with --strict, also where one was not run) or runs.csv is damaged. tables writes table1.csv, table1.md and so
on; figures the *.png; html report.html; readme the results between the two marks in README.md beside the results folder.
"""

import pathlib
import sys

from absl import flags

from selectnet_tf import paper, recipes, runs, tables
from selectnet_tf.cli import fail, parse

WHAT = ("diff", "tables", "figures", "html", "readme")


def diff(results, preset="paper", tolerance=0.015, strict=False):
    """Prints and writes the comparison of full-length runs of a plain preset. Returns the exit code."""
    found, problems = runs.read(results)
    cells = paper.full(results, found, preset)
    lines = tables.diff_lines(cells, tolerance)
    runs.write_csv(results / "diff.csv", lines)
    print(tables.aligned(lines), end="\n\n")
    for name, judged in paper.claims(cells):
        print(f"{judged:<10} {name}")
    print()
    for method, accuracy, (low, high) in paper.agreements(cells):
        judged = "agrees" if low <= accuracy <= high else "contradicts"
        print(f"{judged:<11} the paper's {method}: Table 1 says {accuracy:.4f}, Table 2's F1 allow {low:.4f} to {high:.4f}")
    verdicts = [c.verdict(tolerance) for c in cells]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("reproduced", "off", "not run"))
    print(f"\npreset {preset}, runs of {paper.FULL} epochs only: {counts}; written to {results / 'diff.csv'}")
    return int(_complain(problems) or "off" in verdicts or (strict and "not run" in verdicts))


def write(results, what, data_dir=None):
    """Writes tables, figures, html, readme: those of them in `what`. Returns the exit code."""
    found, problems = runs.read(results)
    paths, drawn = [], None
    if "tables" in what:
        paths += tables.write(results, found)
    if "figures" in what:
        from selectnet_tf import figures

        drawn = figures.draw_all(results, found)
        paths += [path for by_key in drawn.values() for made in by_key.values() for path in made]
    if "html" in what:
        from selectnet_tf import page

        paths.append(page.write(results, found, data_dir, drawn))
    if "readme" in what:
        tables.write_readme(results.parent / "README.md", results, found)
        paths.append(results.parent / "README.md")
    print(f"{len(found)} runs; written: {', '.join(path.name for path in paths)}")
    return int(_complain(problems))


def _complain(problems):
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return bool(problems)


def define_flags():
    flags.DEFINE_string("results_dir", "results", "holds runs.csv, runs/ and paper/")
    flags.DEFINE_string("data_dir", None, "CIFAR's folder, for the page's pictures of what was picked; else SELECTNET_DATA")
    flags.DEFINE_enum("preset", "paper", recipes.PRESETS, "whose runs diff compares")
    flags.DEFINE_float("tolerance", 0.015, "a difference up to this, or to two standard deviations, counts as reproduced", 0)
    flags.DEFINE_bool("strict", False, "diff fails where a cell was not run")


def main(argv):
    wanted = argv[1:]
    unknown = [word for word in wanted if word not in WHAT]
    if unknown or not wanted:
        return fail(f"what to report has to be some of {', '.join(WHAT)}, received {' '.join(unknown) or 'nothing'}", 2)
    values = flags.FLAGS
    results = pathlib.Path(values.results_dir)
    try:
        code = write(results, wanted, values.data_dir) if set(wanted) - {"diff"} else 0
        return max(code, diff(results, values.preset, values.tolerance, values.strict) if "diff" in wanted else 0)
    except OSError as error:
        return fail(f"{error.filename}: {error.strerror}" if error.filename else error, 1)
    except ValueError as error:
        return fail(error, 1)


if __name__ == "__main__":
    define_flags()
    sys.exit(main(parse(sys.argv)))
