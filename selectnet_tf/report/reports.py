"""What the report command makes: the comparison with the paper, and the files that people read. No TensorFlow."""

import pathlib
import sys
from collections.abc import Collection

from selectnet_tf.cli import aligned
from selectnet_tf.experiment import runs
from selectnet_tf.report import paper, tables


def diff(results: pathlib.Path, preset: str = "paper", tolerance: float = 0.03, strict: bool = False) -> int:
    """Prints and writes the comparison of full-length runs of a plain preset. Returns the exit code."""
    found, problems = runs.read(results)
    problems += runs.damaged(results, found)
    cells = paper.full(results, found, preset)
    lines = tables.diff_lines(cells, tolerance)
    path = results / ("diff.csv" if preset == "paper" else f"diff_{preset}.csv")
    runs.write_csv(path, lines)
    print(aligned([line[:-1] for line in lines]), end="\n\n")
    for name, judged in paper.claims(cells):
        print(f"{judged:<10} {name}")
    print()
    for method, accuracy, (low, high) in paper.agreements(cells):
        judged = "agrees" if low <= accuracy <= high else "contradicts"
        print(f"{judged:<11} the paper's {method}: Table 1 says {accuracy:.4f}, Table 2's F1 allow {low:.4f} to {high:.4f}")
    verdicts = [c.verdict(tolerance) for c in cells]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("reproduced", "off", "undecided", "one run", "not run"))
    print(f"\npreset {preset}, runs of {paper.FULL} epochs only: {counts}; written to {path}")
    return int(_complain(problems) or "off" in verdicts or (strict and "not run" in verdicts))


def write(results: pathlib.Path, what: Collection[str], data_dir: str | None = None) -> int:
    """Writes tables, figures, html, readme: those of them in `what`. Returns the exit code."""
    found, problems = runs.read(results)
    problems += runs.damaged(results, found)
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
