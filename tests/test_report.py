import pathlib

import pandas as pd
from matplotlib.image import imread

from selectnet_tf import report

COUNTS = {f"{s}_{k}": [3, 40] for s in ("labeled", "unlabeled") for k in ("right", "wrong_minor", "major")}


def test_figure2_draws_each_selecting_run(tmp_path):
    for method in ("context", "self_paced"):
        folder = tmp_path / "runs" / f"digits-4minor_simple_{method}_paper_s0"
        folder.mkdir(parents=True)
        pd.DataFrame({"epoch": [10, 20], **COUNTS}).to_csv(folder / "selection.csv", index=False)
    names = [f"digits-4minor_simple_{m}_paper_s0" for m in ("imbalanced", "context", "self_paced")]
    path = report.figure2(tmp_path, names, tmp_path / "figure2.png")
    two = imread(path)
    one = imread(report.figure2(tmp_path, names[:2], tmp_path / "one.png"))
    assert two.shape[1] > 1.3 * one.shape[1] and two.std() > 0.05


def test_the_readme_s_results_are_those_of_runs_csv():
    home = pathlib.Path(__file__).parent.parent
    rows = pd.read_csv(home / "results" / "runs.csv").query("preset == 'released' and epochs == 20 and arch == 'simple'")
    table = (home / "README.md").read_text().split("## Results so far")[1]
    assert len(rows) == 5
    for row in rows.to_dict("records"):
        cells = [f"{row[k]:.4f}" for k in ("accuracy", "minor_accuracy", "major_accuracy", "macro_f1")]
        share = row["selection_seconds"] / row["seconds"]
        assert f"| `{row['method']}` | {' | '.join(cells)} | {row['seconds']:.0f} s | {share:.1%} |" in table
