"""CSVs -> figures and the comparison with the paper. Never imports TensorFlow.

python -m selectnet_tf.report diff [--results_dir=results] [--preset=paper] [--tolerance=0.015] [--strict]

Prints every cell of Tables 1 to 4: the paper's number, ours as mean, std and n, the difference and a verdict; then the
paper's claims. Writes the cells to diff.csv. Exit code 1 where a cell that was run is off (with --strict, also where
one was not run) or runs.csv is damaged.
"""

import csv
import functools
import math
import pathlib
import statistics
import sys
from typing import NamedTuple

from selectnet_tf import recipes

CURVES = {  # Figure 2's names: "minor" is any minor class, "confused" a major one
    "unlabeled minor": ("tab:blue", "-", ("unlabeled_right", "unlabeled_wrong_minor")),
    "unlabeled confused": ("tab:orange", "-", ("unlabeled_major",)),
    "labeled minor": ("tab:blue", "--", ("labeled_right", "labeled_wrong_minor")),
    "labeled confused": ("tab:orange", "--", ("labeled_major",)),
}


class Cell(NamedTuple):
    """One number of the paper and what ours are. values: of the finished full-length runs, one a seed."""

    table: str
    dataset: str
    arch: str
    method: str
    detail: str
    paper: float
    values: tuple

    @property
    def mean(self):
        return statistics.fmean(self.values) if self.values else math.nan

    @property
    def std(self):
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0

    def verdict(self, tolerance):
        """reproduced where |delta| <= max(2 std, tolerance); off; not run."""
        if not self.values:
            return "not run"
        return "reproduced" if abs(self.mean - self.paper) <= max(2 * self.std, tolerance) + 1e-12 else "off"


def read_runs(path):
    """(rows as dicts of strings, problems): a torn or foreign line is left out and named with its line number."""
    if not path.exists():
        return [], []
    with open(path, newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    header, rows, problems, seen = (lines or [[]])[0], [], [], {}
    missing = [c for c in ("name", "dataset", "arch", "method", "preset", "seed", "epochs", "accuracy") if c not in header]
    if missing:
        return [], [f"{path}:1: no column {', '.join(missing)}"]
    for number, line in enumerate(lines[1:], 2):
        row = dict(zip(header, line, strict=False))
        if len(line) != len(header):
            problems.append(f"{path}:{number}: {len(line)} values for {len(header)} columns (torn or of another version); left out")
        elif row["name"] in seen:
            problems.append(f"{path}:{number}: {row['name']} stands already in line {seen[row['name']]}; left out")
        elif not _number(row["accuracy"]):
            problems.append(f"{path}:{number}: accuracy is {row['accuracy']!r}, which is no share; left out")
        else:
            rows.append(row)
            seen[row["name"]] = number
    return rows, problems


def _number(text):
    try:
        return 0 <= float(text) <= 1
    except ValueError:
        return False


def _full_runs(rows, preset):
    """Rows of plain recipes of the preset (nothing but seed and lambda_schedule changed), by the paper's column."""
    found = {}
    for row in rows:
        schedule = row.get("lambda_schedule", "constant")
        arch = row["arch"]
        try:
            plain = recipes.make(
                dataset=row["dataset"], arch=arch, method=row["method"], preset=preset, seed=int(row["seed"]), lambda_schedule=schedule
            )
        except ValueError:
            continue
        if preset == "released":  # what the tables call ResNet-20 and 56 is v2 there
            arch = {"resnet20": "", "resnet56": "", "resnet20v2": "resnet20", "resnet56v2": "resnet56"}.get(arch, arch)
        if row["preset"] == preset and row["name"] == plain.name:
            found.setdefault((row["dataset"], arch, row["method"], schedule), []).append(row)
    return found


def cells(results, rows, preset):
    """Every number of the paper's tables as a Cell."""
    runs, found = _full_runs(rows, preset), []
    f1 = functools.cache(_f1)  # ten classes of a run stand in one file
    for table in ("table1", "table2", "table3", "table4"):
        with open(results / "paper" / f"{table}.csv", newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                key = (line["dataset"], line["arch"], line["method"], line.get("lambda_schedule", "constant"))
                chosen = runs.get(key, [])
                if "class" in line:
                    values = [f1(results / "runs" / row["name"] / "classes.csv").get(line["class"]) for row in chosen]
                    detail = f"F1 of class {line['class']}"
                else:
                    values, detail = [float(row["accuracy"]) for row in chosen], key[3] if table == "table4" else "accuracy"
                values = tuple(v for v in values if v is not None)
                found.append(Cell(table, *key[:3], detail, float(line["value"]), values))
    return found


def _f1(path):
    """{class: F1} of one run's classes.csv; empty where there is none."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8") as file:
        return {row["class"]: float(row["f1"]) for row in csv.DictReader(file)}


def claims(found):
    """The paper's claims as (name, "holds" | "fails" | "undecided"), of our means."""
    one = {(c.dataset, c.arch, c.method): c.mean for c in found if c.table == "table1"}
    columns = sorted({key[:2] for key in one})
    methods = sorted({key[2] for key in one})

    def ours(method):
        return [one[(*column, method)] for column in columns]

    best = [s >= max(one[(*c, m)] for m in methods) for c, s in zip(columns, ours("selectnet"), strict=True)]
    two = {(c.method, c.detail): c.mean for c in found if c.table == "table2"}
    minors = [f"F1 of class {c}" for c in recipes.DATASETS["cifar10-4minor"]["minor"]]
    minor_f1 = [[two[(m, d)] for d in minors] for m in ("selectnet", "oversampling")]
    three = {(c.dataset, c.method): c.mean for c in found if c.table == "table3"}
    lt = [(three[(d, "selectnet")], three[(d, "class_balanced")]) for d in ("cifar10-lt", "cifar100-lt")]
    return [
        ("SelectNet is best in at least 5 of Table 1's 6 columns", _judge(list(one.values()), sum(best) >= 5)),
        ("SelectNet is at least as good as Context in every column", _all(ours("selectnet"), ours("context"))),
        ("Context is better than oversampling in every column", _all(ours("context"), ours("oversampling"))),
        ("Oversampling is better than imbalanced training in every column", _all(ours("oversampling"), ours("imbalanced"))),
        ("SelectNet's F1 of each minor class is above oversampling's", _all(*minor_f1)),
        ("SelectNet is better than class-balanced loss on both long-tailed sets", _all(*zip(*lt, strict=True))),
    ]


def _all(better, worse):
    return _judge([*better, *worse], all(a >= b for a, b in zip(better, worse, strict=True)))


def _judge(needed, holds):
    return "undecided" if any(math.isnan(v) for v in needed) else "holds" if holds else "fails"


def diff(results, preset="paper", tolerance=0.015, strict=False):
    """Prints and writes the comparison. Returns the exit code."""
    rows, problems = read_runs(results / "runs.csv")
    found = cells(results, rows, preset)
    lines = [("table", "dataset", "arch", "method", "what", "paper", "mean", "std", "n", "delta", "verdict")]
    for c in found:
        ours = (f"{c.mean:.4f}", f"{c.std:.4f}", len(c.values), f"{c.mean - c.paper:+.4f}") if c.values else ("", "", 0, "")
        lines.append((c.table, c.dataset, c.arch, c.method, c.detail, f"{c.paper:.4f}", *ours, c.verdict(tolerance)))
    beside = results / ".diff.csv"
    with open(beside, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(lines)
    beside.replace(results / "diff.csv")
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        print("  ".join(str(v).ljust(w) for v, w in zip(line, widths, strict=True)).rstrip())
    print()
    for name, judged in claims(found):
        print(f"{judged:<10} {name}")
    verdicts = [c.verdict(tolerance) for c in found]
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("reproduced", "off", "not run"))
    print(f"\npreset {preset}, runs of 200 epochs only: {counts}; written to {results / 'diff.csv'}")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return int(bool(problems) or "off" in verdicts or (strict and "not run" in verdicts))


def figure2(results, names, path):
    """Draws what was picked, round by round, one panel for each of the runs `names` that selects. Returns path."""
    import matplotlib
    import pandas as pd

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    found = [(name, results / "runs" / name / "selection.csv") for name in names]
    tables = [(name, pd.read_csv(file)) for name, file in found if file.exists()]
    figure, panels = plt.subplots(1, max(len(tables), 1), figsize=(1 + 3.6 * max(len(tables), 1), 3.6), sharey=True, squeeze=False)
    for panel, (name, rounds) in zip(panels[0], tables, strict=False):
        for label, (color, style, columns) in CURVES.items():
            panel.plot(rounds["epoch"], rounds[list(columns)].sum(axis=1), style, color=color, marker=".", label=label)
        panel.set(title=next(m for m in recipes.METHODS if f"_{m}_" in name), xlabel="epoch")
        panel.set_yscale("symlog", linthresh=1)
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("images picked")
    panels[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)
    return path


def main(argv):
    from absl import flags

    flags.DEFINE_string("results_dir", "results", "holds runs.csv and paper/")
    flags.DEFINE_enum("preset", "paper", recipes.PRESETS, "whose runs are compared")
    flags.DEFINE_float("tolerance", 0.015, "a difference up to this, or to two standard deviations, counts as reproduced", 0)
    flags.DEFINE_bool("strict", False, "fail where a cell was not run")
    try:
        rest = flags.FLAGS(argv)[1:]
        if rest != ["diff"]:
            raise ValueError(f"what to report has to be diff, received {' '.join(rest) or 'nothing'}")
    except (flags.Error, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    values = flags.FLAGS
    try:
        return diff(pathlib.Path(values.results_dir), values.preset, values.tolerance, values.strict)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
