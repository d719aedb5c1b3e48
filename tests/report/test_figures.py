import csv
import shutil

import numpy as np
import pytest
from conftest import write_run
from matplotlib.image import imread

from selectnet_tf.report import figures
from selectnet_tf.runs import store

METHODS = ("imbalanced", "self_paced", "selectnet")
COUNTS = {
    f"{s}_{k}": 3 for s in ("labeled", "unlabeled") for k in ("right", "wrong_minor", "major")
}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def results(tmp_path):
    """Three finished runs of 20 epochs with their files, of numbers that are made up."""
    for method in METHODS:
        folder = tmp_path / "runs" / write_run(tmp_path, method=method, epochs=20).name
        write(
            folder / "epochs.csv",
            [
                {"epoch": e, "val_accuracy": e / 30, "val_minor_accuracy": e / 60}
                for e in range(1, 21)
            ],
        )
        taken = [
            {
                "class": c,
                "minor": int(c in (0, 2, 6, 7)),
                "f1": c / 10,
                **{f"as_{k}": 10 + c * k for k in range(10)},
            }
            for c in range(10)
        ]
        write(folder / "classes.csv", taken)
        if method != "imbalanced":
            by_class = [
                {"as_0": 700, "as_2": 300, "as_6": 2000},
                {"as_0": 800, "as_2": 0, "as_6": 3000},
            ]
            rows = [{"epoch": 10, **COUNTS}, {"epoch": 20, **dict.fromkeys(COUNTS, 400)}]
            write(
                folder / "selection.csv",
                [{**row, **taken} for row, taken in zip(rows, by_class, strict=True)],
            )
    return tmp_path


def test_every_comparison_gets_its_figures(results):
    drawn = figures.draw_all(results, store.read_runs(results)[0])
    ((group, *place, paths),) = drawn
    assert (group.title, *place) == ("preset paper, 20 epochs", "cifar10-4minor", "simple")
    assert list(paths) == ["figure2", "curves", "f1", "confusion"]
    for kind, path in paths.items():
        assert path.name == f"{kind}_cifar10-4minor_simple_paper_20.png"
        assert imread(path).std() > 0.05


def test_a_single_run_gets_figures_only_at_full_length(results):
    (run, *_), _ = store.read_runs(results)
    assert figures.draw_all(results, [run]) == []
    ((*_, paths),) = figures.draw_all(results, [run._replace(epochs=200)])
    assert list(paths) == ["curves", "f1", "confusion"]


def test_figure2_has_a_panel_for_each_selecting_run_and_the_paper_s_points(results, monkeypatch):
    found = store.read_runs(results)[0]
    two = imread(figures.draw_figure2(results, found, results / "two.png", "a title"))
    one = imread(figures.draw_figure2(results, found[:2], results / "one.png", "a title"))
    assert two.shape[1] > 1.3 * one.shape[1]
    monkeypatch.setattr(figures.paper, "numbers", lambda *_: [])
    without = imread(figures.draw_figure2(results, found, results / "without.png", "a title"))
    assert (
        two.shape != without.shape or np.abs(two - without).max() > 0.3
    )  # the points and their legend


def test_a_figure_of_runs_that_were_trained_elsewhere_is_kept(results):
    found = store.read_runs(results)[0]
    figures.draw_all(results, found)
    curves = results / "curves_cifar10-4minor_simple_paper_20.png"
    whole = curves.read_bytes()
    (results / "runs" / found[1].name / "epochs.csv").unlink()
    ((*_, paths),) = figures.draw_all(results, found)
    assert paths["curves"] == curves and curves.read_bytes() == whole
    curves.unlink()
    figures.draw_all(results, found)
    assert curves.read_bytes() != whole  # without it, the rest is better than nothing


def test_runs_that_left_no_files_are_left_out(results):
    shutil.rmtree(results / "runs")
    assert figures.draw_all(results, store.read_runs(results)[0]) == []


def test_every_selecting_run_has_a_panel_of_its_picks_by_class(results, monkeypatch):
    titles = []
    draw = figures._draw_panels
    monkeypatch.setattr(
        figures,
        "_draw_panels",
        lambda results, titled, path: (
            titles.extend(title for title, _ in titled) or draw(results, titled, path)
        ),
    )
    write_run(results, method="context", preset="robust", cap=0.25, seed=1)  # left no files
    write_run(results, method="selectnet", epochs=20, lambda_schedule="0.4:0.6", seed=1)
    made = figures.draw_by_class(results, store.read_runs(results)[0])
    assert made == {("cifar10-4minor", "simple"): results / "byclass_cifar10-4minor_simple.png"}
    names = ["self_paced, seed 0, paper, 20 epochs", "selectnet, seed 0, paper, 20 epochs"]
    other = "selectnet, seed 1, paper, 20 epochs\nlambda_schedule=0.4:0.6"
    assert titles == ["context, seed 1, robust, 200 epochs\ncap=0.25", *names, other]
    assert imread(made["cifar10-4minor", "simple"]).std() > 0.05


def test_of_many_settings_those_are_drawn_in_which_a_class_collapses(results, monkeypatch):
    runs = {run.method: run.name for run in store.read_runs(results)[0]}
    kept = results / "runs" / runs["self_paced"] / "selection.csv"
    kept.write_text(kept.read_text().replace("800,0,3000", "800,1,3000"))
    panels, titles, grid, save = [], [], figures._grid, figures._save
    monkeypatch.setattr(
        figures, "_grid", lambda n, *rest, **options: panels.append(n) or grid(n, *rest, **options)
    )
    monkeypatch.setattr(
        figures,
        "_save",
        lambda figure, *rest: (
            titles.append((figure.axes[0].get_title(), rest[2])) or save(figure, *rest)
        ),
    )
    monkeypatch.setattr(figures, "MOST_PANELS", 1)
    figures.draw_by_class(results, store.read_runs(results)[0])
    assert panels == [1]
    assert titles == [
        ("selectnet, seed 0", "the 1 of 2 settings in which a class ends with the fewest")
    ]


def test_runs_of_one_title_have_a_panel_each(results, monkeypatch):
    panels, grid = [], figures._grid
    monkeypatch.setattr(
        figures, "_grid", lambda n, *rest, **options: panels.append(n) or grid(n, *rest, **options)
    )
    monkeypatch.setattr(
        figures, "_title_panel", lambda *_: "long settings look alike when they are cut"
    )
    assert figures.draw_by_class(results, store.read_runs(results)[0]) and panels == [2]


def test_f1_names_the_classes_of_one_s_own_data_and_marks_the_minor_ones(tmp_path, monkeypatch):
    own = {"dataset": "folder", "labeled_dir": "a", "minor": ("auto",)}
    for method in ("imbalanced", "oversampling"):
        folder = tmp_path / "runs" / write_run(tmp_path, **own, method=method).name
        write(
            folder / "classes.csv",
            [
                {"class": c, "name": name, "minor": int(c == 0), "f1": 0.5, "as_0": 1}
                for c, name in enumerate(("1", "$2$"))
            ],
        )
    ticks, save = [], figures._save
    monkeypatch.setattr(
        figures,
        "_save",
        lambda figure, *rest: (
            ticks.extend(t.get_text() for t in figure.axes[0].get_xticklabels())
            or save(figure, *rest)
        ),
    )
    assert figures.draw_f1(tmp_path, store.read_runs(tmp_path)[0], tmp_path / "f1.png", "two runs")
    assert ticks == ["1\nminor", r"\$2\$"]


def test_picks_by_class_of_a_run_elsewhere_are_kept_and_none_are_nothing(results):
    found = store.read_runs(results)[0]
    (path,) = figures.draw_by_class(results, found).values()
    whole = path.read_bytes()
    shutil.rmtree(results / "runs" / found[1].name)
    assert figures.draw_by_class(results, found) and path.read_bytes() == whole
    path.unlink()
    shutil.rmtree(results / "runs")
    assert figures.draw_by_class(results, found) == {} and not path.exists()
