"""Measures three parts against class collapse, alone and together.

    make ablation [SEEDS=0,1,2] [EPOCHS=60] [PRECISION=mixed_bfloat16] [OUT=NAME] [JOBS=N] [DRY=1]
    python experiments/ablation.py --dataset=digits-4minor --epochs=4 --every=2 --validation=20
        --seeds=0 --results_dir=check                                # a minute: does it run?
    python experiments/ablation.py --freeze --weights=backbone.keras --choice_seeds=10,11,12
        --every_seed --out=ablation_frozen

1. Choose: six variants on the splits of other seeds (--choice_seeds), tested on images held out of
   training (--validation=500 of each class), never on the test set. The best has the highest mean
   accuracy over its last ten epochs, the mean recall of held-out classes of one size.
2. Report: the six variants on the first of --seeds, or with --every_seed on each, on the test set.
3. Report the best and `paper` on the other seeds.

16 runs of 60 epochs by default, 14 if `paper` is the best: about 45 minutes each on two CPU cores,
12 hours in all. The third command trains only the last layer of a pretrained network: 36 runs of
about 3 minutes. A run with a row is not trained again.
Expected: docs/results/ablation.md. Writes results/ablation.csv (--out), a line for each run and
round, and ablation.png. A table with lines of runs that are not there is not overwritten.
"""

import math
import pathlib
import sys
from typing import Any

import matplotlib
from absl import flags
from matplotlib.figure import Figure

from selectnet_tf import _devices, recipes
from selectnet_tf._console import expand_path, fail, parse
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf.commands.sweep import define_shared_flags, parse_seeds
from selectnet_tf.recipes import Recipe
from selectnet_tf.runs import store, sweep

VARIANTS: dict[str, dict[str, float]] = {
    "paper": {},
    "prior_loss 0.5": {"prior_loss": 0.5},
    "prior_loss 1": {"prior_loss": 1.0},
    "align 0.5": {"align": 0.5},
    "cap 1/3": {"cap": 1 / 3},
    "together": {"prior_loss": 1.0, "align": 0.5, "cap": 1 / 3},
}
FIELDS = ("prior_loss", "align", "cap", "seed", "validation")
FINAL = ("last10_accuracy", "macro_f1", "worst_minor_f1")  # stand in the last round's line only


class Plan:
    """The ablation's runs.

    Args:
        results: holds runs.csv and runs/.
        seeds: the seeds to report.
        choice_seeds: the seeds to choose on.
        validation: held-out images of each class, to choose on.
        every_seed: report all variants on every seed.
        options: fields of all recipes: dataset, arch, epochs, every.
    """

    def __init__(
        self,
        results: pathlib.Path,
        seeds: list[int],
        choice_seeds: list[int],
        validation: int,
        every_seed: bool = False,
        **options: Any,
    ) -> None:
        both = sorted({*choice_seeds} & {*seeds})
        if both:
            raise ValueError(
                f"the settings can't be chosen on seed {both[0]}, which is reported: use other"
                " --choice_seeds"
            )
        self.results, self.seeds, self.choice_seeds = results, seeds, choice_seeds
        self.validation, self.every_seed, self.options = validation, every_seed, options

    def recipe(self, variant: str, seed: int, validation: int = 0) -> Recipe:
        return recipes.make(seed=seed, validation=validation, **VARIANTS[variant], **self.options)

    def choosing(self) -> list[tuple[str, Recipe]]:
        return [
            (variant, self.recipe(variant, seed, self.validation))
            for seed in self.choice_seeds
            for variant in VARIANTS
        ]

    def reported(self) -> list[tuple[str, Recipe]]:
        """Returns (variant, recipe): all variants on the first seed, the best and paper on others.

        With every_seed, all variants on each seed. Until the best is known, paper alone.
        """
        some = dict.fromkeys(("paper", self.best() or "paper"))
        whole = self.seeds if self.every_seed else self.seeds[:1]
        return [
            (variant, self.recipe(variant, seed))
            for seed in self.seeds
            for variant in (VARIANTS if seed in whole else some)
        ]

    def best(self) -> str | None:
        """Returns the variant with the highest held-out accuracy, None until all are trained."""
        found = dict.fromkeys(VARIANTS, 0.0)
        for variant, recipe in self.choosing():
            row = store.read_row(self.results, recipe.name)
            if not row:
                return None
            found[variant] += float(row["last10_accuracy"])
        return max(VARIANTS, key=found.__getitem__)

    def lines(self) -> list[dict[str, str | float]]:
        """Returns the rows of ablation.csv, one for each finished run and round."""
        cells = [("choose", variant, recipe) for variant, recipe in self.choosing()]
        cells += [("report", variant, recipe) for variant, recipe in self.reported()]
        found = []
        for part, variant, recipe in cells:
            if row := store.read_row(self.results, recipe.name):
                head = {"part": part, "variant": variant}
                head |= {field: recipe.flat()[field] for field in FIELDS}
                found += [head | line for line in self._rounds(recipe.name, row)]
        return found

    def _rounds(self, name: str, row: dict[str, str]) -> list[dict[str, str | float]]:
        folder = self.results / "runs" / name
        epochs = {line["epoch"]: line for line in read_csv(folder / "epochs.csv")}
        minors = [line for line in read_csv(folder / "classes.csv") if line["minor"] == "1"]
        worst = min((float(line["f1"]) for line in minors), default=math.nan)
        found: list[dict[str, str | float]] = []
        for line in read_csv(folder / "selection.csv"):
            trained = epochs[line["epoch"]]
            found.append(
                {
                    "epoch": line["epoch"],
                    "accuracy": trained["val_accuracy"],
                    "minor_accuracy": trained["val_minor_accuracy"],
                    **dict.fromkeys(FINAL, ""),
                    "precision": line["precision"],
                    **{column: n for column, n in line.items() if column.startswith("as_")},
                }
            )
        if found:
            values = (row["last10_accuracy"], row["macro_f1"], worst)
            found[-1] |= zip(FINAL, values, strict=True)
        return found


def check_table(plan: Plan, stem: str) -> None:
    """Raises ValueError where <stem>.csv holds lines that the plan's finished runs don't give."""
    known = [{k: str(v) for k, v in line.items() if v != ""} for line in plan.lines()]
    lines = read_csv(plan.results / f"{stem}.csv")
    if lost := sum({k: v for k, v in line.items() if v != ""} not in known for line in lines):
        raise ValueError(
            f"{plan.results / f'{stem}.csv'} has {lost} lines of other runs: give another --out"
        )


def write(plan: Plan, stem: str = "ablation") -> None:
    """Writes <stem>.csv and <stem>.png of the finished runs, and prints the best variant."""
    lines = plan.lines()
    columns = list(dict.fromkeys(column for line in lines for column in line))
    table, image = plan.results / f"{stem}.csv", plan.results / f"{stem}.png"
    write_csv(table, [columns, *([line.get(column, "") for column in columns] for line in lines)])
    first = ("report", plan.seeds[0])
    draw([line for line in lines if (line["part"], line["seed"]) == first], image)
    best = plan.best()
    if best:
        seeds = f"seed{'s' * (len(plan.choice_seeds) > 1)} {', '.join(map(str, plan.choice_seeds))}"
        print(f"best on images held out of {seeds}: {best}")
    print(f"written: {table}, {image}")


def draw(lines: list[dict[str, str | float]], path: pathlib.Path) -> None:
    """Draws picks by class and test accuracies, round by round: a colour for each variant."""
    classes = [column for column in (lines[0] if lines else {}) if column.startswith("as_")]
    panels = [*classes, "minor_accuracy", "accuracy"]
    wide = math.ceil(len(panels) / 2)
    picked = [float(line[column]) for line in lines for column in classes]
    lost = bool(picked) and min(picked) < max(picked) / 50  # then a linear axis would hide how
    with matplotlib.rc_context(
        {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    ):
        figure = Figure(figsize=(3.6 * wide, 6), layout="constrained")
        axes = figure.subplots(2, wide, squeeze=False).ravel()
        for axis in axes[len(panels) :]:
            axis.remove()
        for axis, column in zip(axes, panels, strict=False):
            for i, variant in enumerate(VARIANTS):
                chosen = [line for line in lines if line["variant"] == variant]
                if chosen:  # each keeps its colour while others are not finished
                    epochs = [int(line["epoch"]) for line in chosen]
                    values = [float(line[column]) for line in chosen]
                    axis.plot(epochs, values, f"C{i}.-", label=variant)
            axis.set(title=f"test: {column.replace('_', ' ')}", xlabel="epoch")
            if column in classes:
                axis.set_title(f"unlabeled picks as class {column[3:]}")
                if lost:
                    axis.set_yscale("symlog", linthresh=1)
                axis.set_ylim(-0.2 if lost else 0, 1.1 * max(10.0, *picked))
            axis.grid(alpha=0.3)
        figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=len(VARIANTS),
            frameon=False,
        )
        figure.savefig(path, dpi=110, metadata={"Software": None})


def define_flags() -> None:
    define_shared_flags(60, "reported: all variants on the first, the best and paper on the others")
    flags.DEFINE_list("choice_seeds", ["10"], "the seeds on whose splits the best is chosen")
    flags.DEFINE_bool("every_seed", False, "report all variants on every seed")
    flags.DEFINE_integer(
        "validation", 500, "images of each class that are held out of its training set for that", 1
    )
    flags.DEFINE_integer("every", 10, "epochs between two selections", 1)
    flags.DEFINE_string("dataset", "cifar10-4minor", "the data set")
    flags.DEFINE_string("arch", "simple", "the network")
    flags.DEFINE_string("weights", None, "as in selectnet_tf.run, as are the next two")
    flags.DEFINE_bool("freeze", False, "train the last layer alone")
    flags.DEFINE_string("precision", "float32", "of the arithmetic")
    flags.DEFINE_string(
        "out", "ablation", "the name of the table and the figure, without an ending"
    )


def main(argv: list[str]) -> int:
    values = flags.FLAGS
    try:
        options = {
            name: getattr(values, name)
            for name in ("dataset", "arch", "epochs", "every", "weights", "freeze", "precision")
        }
        plan = Plan(
            expand_path(values.results_dir),
            parse_seeds("seeds"),
            parse_seeds("choice_seeds"),
            values.validation,
            values.every_seed,
            **options,
        )
        _devices.hide_gpus_for_cpu(values.device)
        places = plan.results, values.data_dir, values.jobs or _devices.default_jobs()

        def work(cells: list[tuple[str, Recipe]]) -> sweep.Sweep:
            return sweep.Sweep([recipe for _, recipe in cells], *places, values.device)

        if values.dry:
            print(work(plan.choosing() + plan.reported()).plan())
            return 0
        check_table(plan, values.out)
        code = work(plan.choosing() + plan.reported()).run() or work(plan.reported()).run()
        write(plan, values.out)
        return code
    except ValueError as error:
        return fail(error, 2)
    except OSError as error:
        return fail(error, 1)


if __name__ == "__main__":
    define_flags()
    sys.exit(main(parse(sys.argv, 0)))
