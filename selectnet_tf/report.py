"""CSVs -> figures. Never imports TensorFlow."""

import matplotlib
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt

CURVES = {  # Figure 2's names: "minor" is any minor class, "confused" a major one
    "unlabeled minor": ("tab:blue", "-", ("unlabeled_right", "unlabeled_wrong_minor")),
    "unlabeled confused": ("tab:orange", "-", ("unlabeled_major",)),
    "labeled minor": ("tab:blue", "--", ("labeled_right", "labeled_wrong_minor")),
    "labeled confused": ("tab:orange", "--", ("labeled_major",)),
}


def figure2(results, names, path):
    """Draws what was picked, round by round, one panel for each of the runs `names` that selects. Returns path."""
    found = [(name, results / "runs" / name / "selection.csv") for name in names]
    tables = [(name, pd.read_csv(file)) for name, file in found if file.exists()]
    figure, panels = plt.subplots(1, max(len(tables), 1), figsize=(1 + 3.6 * max(len(tables), 1), 3.6), sharey=True, squeeze=False)
    for panel, (name, rounds) in zip(panels[0], tables, strict=False):
        for label, (color, style, columns) in CURVES.items():
            panel.plot(rounds["epoch"], rounds[list(columns)].sum(axis=1), style, color=color, marker=".", label=label)
        panel.set(title=name.split("_")[2] if "self_paced" not in name else "self_paced", xlabel="epoch")
        panel.set_yscale("symlog", linthresh=1)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("images picked")
    panels[0][-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5), frameon=False)
    figure.savefig(path, dpi=150, bbox_inches="tight")
    plt.close(figure)
    return path
