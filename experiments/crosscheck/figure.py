"""Draws what train.py wrote on one H100, results/crosscheck*.csv.

    python experiments/crosscheck/figure.py        writes three figures, in seconds

crosscheck.png: test accuracy under the released code's SGD and under the recipe of Keras's
cifar10_cnn, a line a method, the mean over its seeds, with the paper's numbers as circles; and
unlabeled images picked as birds by `context`, with and without the prior-aware loss.
crosscheck_robust.png: `selectnet` by preset paper, with the prior-aware loss, and with alignment
and cap beside it, a line a seed. crosscheck_released.png: preset released, its accuracies and its picks
over the points of the paper's Figure 2.
"""

import pathlib
import sys

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from selectnet_tf.report import paper
from selectnet_tf.report.figures import COLORS, STYLE

RESULTS = pathlib.Path(__file__).parents[2] / "results"
BIRD = 2
VARIANTS = {  # tau, align
    "preset paper": (0.0, 0.0, "tab:red"),
    "prior-aware loss": (1.0, 0.0, "tab:green"),
    "with alignment and cap": (1.0, 0.5, "tab:blue"),
}
TOLD = {
    r["method"]: float(r["value"])
    for r in paper.numbers("table1")
    if (r["dataset"], r["arch"]) == ("cifar10-4minor", "simple")
}


def mean(panel, rows, told=None, **style):
    """One line:

    The mean accuracy over the seeds; a circle at the right edge for the paper's number.
    """
    line = rows[rows.epoch % 5 == 0].groupby("epoch").accuracy.mean()
    panel.plot(line.index, line, **style)
    if told:
        panel.plot(204, told, "o", mfc="none", color=style["color"], clip_on=False)


def accuracies(panel, epochs, what):
    """One line a method."""
    for method, rows in epochs.groupby("method"):
        mean(
            panel,
            rows,
            TOLD.get(method),
            color=COLORS[method],
            label=f"{method} ({rows.seed.nunique()})",
        )
    panel.set(title=f"test accuracy, {what} (seeds; o: paper)", ylim=(0.35, 0.8), xlim=(0, 204))


def birds(panel, picks):
    """Picked as birds after each round, for each strength of the prior-aware loss and each seed,
    under SGD.
    """
    chosen = picks[(picks.recipe == "sgd") & (picks.method == "context") & (picks["class"] == BIRD)]
    for (tau, seed), rows in chosen.groupby(["tau", "seed"]):
        style = {0.0: "tab:red", 0.5: "tab:orange", 1.0: "tab:green"}[tau]
        counts = rows.set_index("epoch").picked.reindex(range(10, 201, 10), fill_value=0)
        panel.plot(
            counts.index,
            counts,
            "-" if seed == 0 else "--",
            color=style,
            label=f"tau {tau:g}" if seed == 0 else None,
        )
    panel.set(title="context under sgd: picked as birds")
    panel.legend(fontsize=7)


def robust(panels, epochs, picks):
    """Accuracy, F1 of the worst minor class, and picks as birds:

    A line for each of preset paper's variants and each seed.
    """
    where = "recipe == 'sgd' and method == 'selectnet' and preset == 'paper' and validation == 0"
    epochs, picks = epochs.query(where), picks[picks["class"] == BIRD].query(where)
    for name, (tau, align, color) in VARIANTS.items():
        runs, found = (
            t[(t.tau == tau) & (t["align"] == align) & ((t.cap > 0) == (align > 0))]
            for t in (epochs, picks)
        )
        for seed, rows in runs.groupby("seed"):
            rows, label = rows[rows.epoch % 5 == 0], name if seed == 0 else None
            panels[0].plot(rows.epoch, rows.accuracy, color=color, lw=1, label=label)
            panels[1].plot(rows.epoch, rows.worst_minor_f1, color=color, lw=1)
            panels[2].plot("epoch", "picked", data=found[found.seed == seed], color=color, lw=1)
    for panel, title in zip(
        panels, ("test accuracy", "F1 of the worst minor class", "picked as birds"), strict=True
    ):
        panel.set(title=f"{title} ({epochs.seed.nunique()} seeds)")
    panels[0].legend(fontsize=7)


def released(panels, epochs, picks):
    """Accuracies with the paper's circles, then the picks of `selectnet` over the points of Figure
    2: with augmentation and without.
    """
    epochs, picks = (
        epochs[epochs.preset == "released"],
        picks[(picks.preset == "released") & (picks.method == "selectnet")],
    )
    accuracies(panels[0], epochs[epochs.recipe == "sgd"], "preset released")
    plain = epochs[epochs.recipe == "plain"]
    mean(
        panels[0],
        plain,
        color=COLORS["selectnet"],
        ls=":",
        label=f"selectnet, not augmented ({plain.seed.nunique()})",
    )
    panels[0].legend(fontsize=7, loc="lower right")
    points = pd.DataFrame(paper.numbers("figure2")).astype({"epoch": int, "value": float})
    for panel, (recipe, title) in zip(
        panels[1:], (("sgd", "shifts and flips"), ("plain", "not augmented")), strict=True
    ):
        one = (
            picks[(picks.recipe == recipe) & (picks.seed == 0)]
            .groupby("epoch")[["picked", "major", "labeled", "labeled_right"]]
            .sum()
        )
        curves = {
            "unlabeled_minor": ("tab:blue", one.picked - one.major),
            "unlabeled_confused": ("tab:orange", one.major),
            "labeled_minor": ("tab:green", one.labeled_right),
            "labeled_confused": ("tab:red", one.labeled - one.labeled_right),
        }
        for series, (color, values) in curves.items():
            panel.plot(values.index, values, color=color, label=series.replace("_", " "))
            told = points[points.series == series]
            panel.plot(told.epoch, told.value, "o", ms=3.5, mfc="none", color=color)
        panel.set(title=f"picks, {title} (o: paper's Figure 2)", yscale="log", ylim=(0.8, 30_000))
    panels[1].legend(fontsize=7)


def recipes(panels, epochs, picks):
    """Accuracies without the prior-aware loss, under SGD and under the example's recipe

    Picks as birds with it and without.
    """
    for panel, recipe in zip(panels, ("sgd", "keras_cnn"), strict=False):
        accuracies(panel, epochs[(epochs.recipe == recipe) & (epochs.tau == 0)], recipe)
        panel.legend(fontsize=7, loc="lower right", ncol=2)
    birds(panels[2], picks)


def draw(name, table, fill):
    """name: of the figure; table: of the CSV files that `fill` is given with the three panels."""
    epochs, picks = (pd.read_csv(RESULTS / f"{table}{end}.csv") for end in ("", "_picks"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 3.6), layout="constrained")
        panels = figure.subplots(1, 3)
        fill(panels, epochs, picks)
        for panel in panels:
            panel.set(xlabel="epoch")
            panel.grid(alpha=0.3)
        figure.savefig(RESULTS / f"{name}.png", dpi=110, metadata={"Software": None})


def main():
    if len(sys.argv) > 1:
        sys.exit(__doc__)
    draw("crosscheck", "crosscheck", recipes)
    draw("crosscheck_robust", "crosscheck_selectnet", robust)
    draw("crosscheck_released", "crosscheck_selectnet", released)


if __name__ == "__main__":
    main()
