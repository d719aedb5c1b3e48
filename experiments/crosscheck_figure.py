"""Draws results/crosscheck.csv and results/crosscheck_picks.csv, which experiments/crosscheck.py wrote on one H100.

    python experiments/crosscheck_figure.py        writes results/crosscheck.png, in seconds

Left and middle: test accuracy under the released code's SGD and under the recipe of Keras's cifar10_cnn, a line a method, the
mean over its seeds; right: unlabeled images picked as birds, with and without the prior-aware loss. The dots at the right edge
are the paper's numbers.
"""

import pathlib

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from selectnet_tf.report import paper
from selectnet_tf.report.figures import COLORS, STYLE

RESULTS = pathlib.Path(__file__).parent.parent / "results"
BIRD = 2


def accuracies(panel, epochs, recipe):
    """One line a method without the prior-aware loss, and the paper's number of each."""
    told = {r["method"]: float(r["value"]) for r in paper.numbers("table1") if (r["dataset"], r["arch"]) == ("cifar10-4minor", "simple")}
    chosen = epochs[(epochs.recipe == recipe) & (epochs.tau == 0) & (epochs.epoch % 5 == 0)]
    for method, rows in chosen.groupby("method"):
        mean = rows.groupby("epoch").accuracy.mean()
        panel.plot(mean.index, mean, color=COLORS[method], label=f"{method} ({rows.seed.nunique()})")
        if method in told:
            panel.plot(204, told[method], "o", mfc="none", color=COLORS[method], clip_on=False)
    panel.set(title=f"test accuracy, {recipe} (seeds; o: paper)", xlabel="epoch", ylim=(0.35, 0.8), xlim=(0, 204))
    panel.legend(fontsize=7, loc="lower right", ncol=2)
    panel.grid(alpha=0.3)


def birds(panel, picks):
    """Picked as birds after each round, for each strength of the prior-aware loss and each seed, under SGD."""
    chosen = picks[(picks.recipe == "sgd") & (picks.method == "context") & (picks["class"] == BIRD)]
    for (tau, seed), rows in chosen.groupby(["tau", "seed"]):
        style = {0.0: "tab:red", 0.5: "tab:orange", 1.0: "tab:green"}[tau]
        counts = rows.set_index("epoch").picked.reindex(range(10, 201, 10), fill_value=0)
        panel.plot(counts.index, counts, "-" if seed == 0 else "--", color=style, label=f"tau {tau:g}" if seed == 0 else None)
    panel.set(title="context under sgd: picked as birds", xlabel="epoch")
    panel.legend(fontsize=7)
    panel.grid(alpha=0.3)


def main():
    epochs, picks = (pd.read_csv(RESULTS / f"{name}.csv") for name in ("crosscheck", "crosscheck_picks"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11.5, 3.6), layout="constrained")
        panels = figure.subplots(1, 3)
        for panel, recipe in zip(panels, ("sgd", "keras_cnn"), strict=False):
            accuracies(panel, epochs, recipe)
        birds(panels[2], picks)
        figure.savefig(RESULTS / "crosscheck.png", dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
