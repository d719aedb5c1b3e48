import json
import math
import pathlib
import re
import shutil
import types
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import Killed, blobs, dies, small_recipe, train_small

from selectnet_tf import recipes, rules
from selectnet_tf._csv_files import read_lines
from selectnet_tf.checkpoint import Checkpoint
from selectnet_tf.data import cifar
from selectnet_tf.pool import Pool
from selectnet_tf.runs import methods, resume, store, train

pytestmark = pytest.mark.usefixtures("tiny_cifar")
COLUMNS = (
    "epoch,candidates,labeled_right,labeled_wrong_minor,labeled_major,unlabeled_right,unlabeled_wrong_minor,unlabeled_major,"
    "precision,score_min,score_median,score_max"
)


FAST = ("imbalanced", "selectnet", "class_balanced", "oracle")


@pytest.mark.parametrize(
    "method", [m if m in FAST else pytest.param(m, marks=pytest.mark.slow) for m in recipes.METHODS]
)
def test_each_method_from_images_to_row(method, finished):
    sgd = {"training": "sgd", "augment": "none"} if method == "class_balanced" else {}
    results = finished(method=method, **sgd)
    (row,) = pd.read_csv(results / "runs.csv", float_precision="round_trip").to_dict("records")
    folder = results / "runs" / row["name"]
    assert row["method"] == method and set(recipes.FIELDS) <= set(row)
    epochs = pd.read_csv(folder / "epochs.csv", float_precision="round_trip")
    assert list(epochs["epoch"]) == [1, 2, 3, 4]
    assert epochs["val_accuracy"].iloc[-1] == row["accuracy"]
    left = {"recipe.json", "epochs.csv", "selected.npz", "classes.csv", "split.npz", "model.keras"}
    left |= {"tensorboard", ".lock", ".lock.rw", "row.json", "confusion.csv", "thresholds.csv"}
    left |= {"calibration.csv", "predictions.npz"}
    selects = method in recipes.SELECTING
    left |= {"selection.csv", "picks.csv"} if selects else set()
    assert {p.name for p in folder.iterdir()} == left
    assert left - {".lock", ".lock.rw"} <= {*store.WRITTEN}
    labeled = {"imbalanced": 68, "logit_adjusted": 68, "class_balanced": 68, "oracle": 160}
    first = labeled.get(method, 120) // 16 * 16
    assert epochs["images"].iloc[0] == first and row["images"] == epochs["images"].sum()
    later = {"oracle": 160, "oversampling": 112}.get(method, 64)
    assert epochs["images"].iloc[2] == later if not selects else epochs["images"].iloc[2] >= 64
    with zipfile.ZipFile(
        folder / "model.keras"
    ) as file:  # others need not have this package's losses
        assert "selectnet_tf.models.losses" not in file.read("config.json").decode()


def test_the_selection_has_the_recipe_s_parts():
    x, y = blobs(40)
    pool = Pool(x[:20], y[:20], x[20:], [2, 3])

    def made(**changes):
        recipe = recipes.make(**changes)
        return methods.make_selection(recipe.selection, recipe.data, pool, rounds=20, seed=0)

    plain = made(method="context")
    assert isinstance(plain.rule, rules.Context) and plain.adjust is None and not pool.even
    assert made(method="candidates").rule.threshold == math.inf
    parts = made(align=0.5, cap=1 / 3, max_per_class=7)
    assert isinstance(parts.rule.rule, rules.SelectNet) and parts.adjust.root == 0.5
    assert (parts.rule.alpha, parts.rule.most, list(parts.rule.minor)) == (1 / 3, 7, [2, 3])
    limited = made(method="random", max_per_class=7)
    assert isinstance(limited.rule.rule, rules.Random)
    assert (limited.rule.alpha, limited.rule.most) == (0, 7)
    released = made(preset="released")
    assert released.labeled_loss == "two_hot" and made().labeled_loss == "predicted"
    assert released.rule.get_params() == {
        **{"threshold": 0.6, "beta": None, "inputs": "probs", "fit_on": "all", "init": "normal"},
        **{"learning_rate": 0.001, "epochs": 5, "batch_size": 32, "seed": 0, "soft": False},
    }
    moving = made(lambda_schedule="0.4:0.6", beta=0.5).rule
    assert (moving.threshold(0), moving.threshold(19), moving.beta) == (0.4, 0.6, 0.5)
    read = made(context="wrong", loss_norm="separate", accumulate=True)
    assert (read.context, read.loss_norm, read.accumulate) == ("wrong", "separate", True)
    balanced = made(method="balanced")
    assert isinstance(balanced.rule, rules.SelectNet) and pool.even
    assert made(method="logit_adjusted").rule is None


def test_what_was_picked_is_recorded_with_its_truth(finished):
    results = finished(method="context", epochs=6, augment="none")
    (folder,) = (results / "runs").iterdir()
    table = pd.read_csv(folder / "selection.csv")
    assert (
        ",".join(table.columns)
        == COLUMNS + ",warning,as_2,as_3,below_lambda,loss_max,unlabeled_so_far"
    )
    assert list(table["epoch"]) == [2, 4, 6]
    truth = cifar.load("cifar10").y
    with np.load(folder / "selected.npz") as picks, np.load(folder / "split.npz") as split:
        last = picks["epoch"] == 6
        unlabeled = last & np.isin(picks["index"], split["unlabeled"])
        right = truth[picks["index"]] == picks["predicted"]
        assert last.sum() > 0 and table["unlabeled_right"].iloc[-1] == (unlabeled & right).sum()
        assert table["precision"].iloc[-1] == pytest.approx(right[unlabeled].mean())
        for c in (2, 3):
            assert table[f"as_{c}"].iloc[-1] == (picks["predicted"][unlabeled] == c).sum()
        assert table["below_lambda"].iloc[-1] == last.sum()
        assert table["loss_max"].iloc[-1] == pytest.approx(picks["loss"][last].max())
        so_far = [
            np.intersect1d(picks["index"][picks["epoch"] <= epoch], split["unlabeled"])
            for epoch in (2, 4, 6)
        ]
        assert list(table["unlabeled_so_far"]) == [len(images) for images in so_far]
        labeled = np.isin(picks["index"], split["labeled"])
        assert np.array_equal(picks["label"][labeled], truth[picks["index"]][labeled])
        assert np.array_equal(picks["label"][~labeled], picks["predicted"][~labeled])
        shown = pd.read_csv(folder / "picks.csv")
        assert set(shown["epoch"]) == set(picks["epoch"][~labeled])
        assert (shown["truth"] == truth[shown["index"]]).all()
        assert shown["index"].isin(split["unlabeled"]).all()
        of_last = shown[shown["epoch"] == 6].drop_duplicates("label")
        assert of_last["picked"].sum() == unlabeled.sum()
        assert of_last["wrong"].sum() == (unlabeled & ~right).sum()


def test_a_finished_run_is_not_trained_again_but_by_force(finished, tmp_path, monkeypatch, capsys):
    shutil.copytree(finished(method="imbalanced"), tmp_path, dirs_exist_ok=True)
    (first,) = pd.read_csv(tmp_path / "runs.csv", dtype=str).to_dict("records")
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "load", lambda *_: pytest.fail("trained again"))
        again = train_small(tmp_path, method="imbalanced")
    assert again["accuracy"] == first["accuracy"] and "is finished" in capsys.readouterr().out
    train_small(tmp_path, method="imbalanced", force=True)
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 1
    for path in (tmp_path / "runs" / first["name"]).glob("[!.]*.*"):
        path.unlink()
    train_small(tmp_path, method="imbalanced")
    assert (
        "is finished, but its files are missing (--force trains it again)"
        in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "in training", "after the row"])
def test_force_leaves_the_old_result_until_the_new_one_stands(when, tmp_path, monkeypatch, capsys):
    options = {"method": "context", "epochs": 2}
    first = train_small(tmp_path, **options)
    folder = tmp_path / "runs" / first["name"]
    old = {
        path.name: path.read_bytes()
        for path in folder.glob("*.*")
        if path.is_file() and path.name != ".lock"
    }
    with monkeypatch.context() as patch:
        if when == "before":
            patch.setattr(cifar, "load", lambda *_: (_ for _ in ()).throw(Killed()))
        elif when == "in training":
            dies(patch, Checkpoint, "save", 1)
        else:
            work = store.write_row
            patch.setattr(
                store, "write_row", lambda *given: (work(*given), (_ for _ in ()).throw(Killed()))
            )
        with pytest.raises(Killed):
            train_small(tmp_path, force=True, **options)
    assert float(store.read_row(tmp_path, first["name"])["accuracy"]) == first["accuracy"]
    capsys.readouterr()
    if when == "in training":
        assert {name: (folder / "old" / name).read_bytes() for name in old} == old
        assert store.read_file(tmp_path, first["name"], "classes.csv")
        assert not (folder / "classes.csv").exists()
        again = train_small(tmp_path, **options)
        assert "resuming after epoch 1" in capsys.readouterr().out
        assert again["accuracy"] == first["accuracy"]
    else:
        train_small(tmp_path, **options)
        assert "is finished" in capsys.readouterr().out
        assert (
            when == "after the row" or {name: (folder / name).read_bytes() for name in old} == old
        )
    assert not (folder / "old").exists()
    assert not (folder / ".old").exists()
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 1


def leave_run(tmp_path):
    """A folder as a finished run leaves it, and its content."""
    folder = tmp_path / "runs" / "a"
    store.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.5})
    for name in ("epochs.csv", "model.keras", "tensorboard/log"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    return folder, {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_what_force_puts_aside_counts_until_the_new_row_is_there(tmp_path):
    folder, files = leave_run(tmp_path)
    resume.set_aside(folder)
    assert {
        path.relative_to(folder / "old"): path.read_bytes()
        for path in (folder / "old").rglob("*")
        if path.is_file()
    } == files
    (tmp_path / "runs.csv").unlink()
    assert store.read_row(tmp_path, "a")["accuracy"] == "0.5"
    assert store.read_names(tmp_path) == {"a"}
    assert (
        resume.find_finished_row(recipes.make(), tmp_path, folder) is None
    )  # a plain run goes on with the new training
    (folder / "state.npz").touch()
    resume.set_aside(
        folder
    )  # --force once more: what was half trained goes, the finished run stays
    assert not (folder / "state.npz").exists() and (folder / "old" / "model.keras").exists()
    (folder / "epochs.csv").write_text(
        "of the first epoch, whose state the full disk had no room for"
    )
    resume.set_aside(folder)
    assert not (folder / "epochs.csv").exists()
    assert (folder / "old" / "epochs.csv").read_text() == "epochs.csv"
    store.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.75})
    assert resume.find_finished_row(recipes.make(), tmp_path, folder)["accuracy"] == "0.75"
    assert not (folder / "old").exists()


@pytest.mark.parametrize("after", range(5))
def test_putting_aside_that_was_killed_is_undone(after, tmp_path, monkeypatch):
    folder, files = leave_run(tmp_path)
    done, rename = [], pathlib.Path.rename
    with monkeypatch.context() as patch:
        patch.setattr(
            pathlib.Path,
            "rename",
            lambda path, to: (
                (done.append(0), rename(path, to))
                if len(done) < after
                else (_ for _ in ()).throw(Killed())
            ),
        )
        with pytest.raises(Killed):
            resume.set_aside(folder)
    resume.undo_set_aside(folder)
    assert {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    } == files


@pytest.mark.parametrize("half", [False, True])
def test_force_leaves_files_that_no_run_writes(half, tmp_path):
    folder, _ = leave_run(tmp_path)
    for name in ("decisions.csv", ".notes", "mine/a.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    if half:
        (folder / "row.json").rename(folder / "state.npz")
    resume.set_aside(folder)
    left = {"decisions.csv", ".notes", "mine"}
    assert {path.name for path in folder.iterdir()} == (left if half else left | {"old"})
    assert (folder / "mine" / "a.txt").read_text() == "mine/a.txt"


def test_force_keeps_the_lock(tmp_path):
    with train.lock(tmp_path / ".lock"):
        (tmp_path / "tensorboard").mkdir()
        (tmp_path / "epochs.csv").touch()
        resume.set_aside(tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".lock.rw", "old"]
        assert sorted(p.name for p in (tmp_path / "old").iterdir()) == ["epochs.csv", "tensorboard"]


@pytest.mark.parametrize(
    "changes",
    [{}, {"epochs": 1, "every": 1, "batch_size": 68}],  # in the one and last step
)
def test_divergence_is_one_line_and_keeps_the_last_state(changes, tmp_path):
    with pytest.raises(ValueError, match="diverged, use a smaller --lr"):
        train_small(tmp_path, method="imbalanced", lr=1e30, **changes)
    assert not (tmp_path / "runs.csv").exists()


@pytest.mark.slow
def test_recipe_json_tells_method_replicas_and_device(tmp_path):
    row = train_small(tmp_path, method="context", replicas=2)
    recipe = json.loads((tmp_path / "runs" / row["name"] / "recipe.json").read_text())
    assert recipe["replicas"] == 2 and recipe["recipe"]["method"] == "context"
    assert re.fullmatch(r"CPU \S.*", recipe["device"]) and row["device"] == recipe["device"]


def test_replicas_must_divide_the_batch_and_stay_the_same(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="use 14 or 16"):
        train_small(tmp_path, method="context", batch_size=15, replicas=2)
    killed(tmp_path, monkeypatch, method="context")
    with pytest.raises(
        ValueError,
        match=r"its replicas is 1, this run's is 2\): use the same, or delete .*state.npz or pass --force to start this run again$",
    ):
        train_small(tmp_path, method="context", replicas=2)


def test_mixed_precision_is_the_classifier_s_alone_and_a_run_of_its_own():
    recipe = small_recipe(precision="mixed_float16")
    x, y = np.zeros((8, 16, 16, 3), np.uint8), np.zeros(8, np.int32)
    task = types.SimpleNamespace(x_labeled=x, y_labeled=y, names=("a", "b"), fit=None)
    model = train.make_model(recipe.training, task, train.make_strategy(), 0)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert model.output.dtype == "float32"
    assert model.layers[2].compute_dtype == "float16"
    assert "LossScale" in type(model.optimizer).__name__
    assert keras.config.dtype_policy().name == "float32"
    assert recipe.name != small_recipe().name


def test_xla_is_for_one_device(tmp_path):
    with pytest.raises(
        ValueError, match="replicas is 2, but XLA compiles for one device: pass --replicas=1"
    ):
        train_small(tmp_path, jit=True, replicas=2)


@pytest.mark.slow
def test_xla_trains(tmp_path):
    row = train_small(tmp_path, jit=True, method="imbalanced", epochs=2, every=1)
    assert row["jit"] is True and row["accuracy"] > 0.2


def test_the_saved_model_predicts_what_the_row_says(finished):
    (row,) = pd.read_csv(finished(method="oracle") / "runs.csv").to_dict("records")
    folder = finished(method="oracle") / "runs" / row["name"]
    model = keras.models.load_model(folder / "model.keras")
    found = cifar.load("cifar10")
    assert (
        model.predict(found.x_test, verbose=0).argmax(1) == found.y_test
    ).mean() == pytest.approx(row["accuracy"])
    classes = pd.read_csv(folder / "classes.csv")
    assert classes["f1"].mean() == pytest.approx(row["macro_f1"]) and classes["count"].sum() == 37
    assert (
        classes[["as_0", "as_1", "as_2", "as_3"]].sum(axis=1).tolist() == classes["count"].tolist()
    )


@pytest.mark.parametrize(
    ("changes", "init"),
    [
        ({}, "balanced"), ({"balance": "minor"}, "balanced_minor"), ({"method": "oversampling", "balance": "minor"}, "balanced_minor"),
        ({"dataset": "cifar10-lt"}, "balanced_minor"), ({"preset": "released"}, 20), ({"method": "imbalanced"}, "none"),
    ],
)  # fmt: skip
def test_the_first_round_is_that_of_the_recipe(changes, init):
    x, y = blobs(60)
    pool = Pool(x[:40], y[:40], x[40:], [2, 3])
    recipe = recipes.make(**changes)
    assert methods.make_selection(recipe.selection, recipe.data, pool, 20, 0).init == init


def killed(tmp_path, monkeypatch, **options):
    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 1)
        with pytest.raises(Killed):
            train_small(tmp_path, **options)


def test_a_run_does_not_go_on_on_other_data(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")
    killed(tmp_path, monkeypatch, method="context")
    found = cifar.load("cifar10")
    with monkeypatch.context() as patch:
        patch.setattr(cifar, "load", lambda *_: found._replace(x_test=found.x_test[::-1]))
        with pytest.raises(
            ValueError,
            match="changed since this run started: test data; restore the former data to resume, or pass --force",
        ):
            train_small(tmp_path, method="context")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    (folder,) = (tmp_path / "runs").iterdir()
    for left in (folder / ".state.npz", folder / ".epochs.csv", tmp_path / ".runs.csv"):
        left.with_stem(f"{left.stem}.1-0123abcd").write_bytes(b"half")
    row = train_small(tmp_path, method="context")  # the data are back, and there are more threads
    assert (
        "resuming in another environment (threads 1 > 2): the last bits may differ"
        in capsys.readouterr().out
    )
    assert (row["threads"], row["changed"]) == ("2", "threads 1 > 2")
    kept = json.loads((folder / "recipe.json").read_text())
    assert (kept["first"]["threads"], kept["threads"]) == ("1", "2")
    assert [path.name for path in [*sorted(folder.glob(".*")), *sorted(tmp_path.glob(".*"))]] == [
        ".lock",
        ".lock.rw",
        ".runs.lock",
        ".runs.lock.rw",
    ]


def test_a_folder_with_another_recipe_s_run_is_refused(tmp_path):
    recipe = small_recipe()
    kept = recipe.flat() | {"lr": 0.06}
    store.write_row(tmp_path, recipe.name, {"name": recipe.name, **kept, "accuracy": 0.5})
    with pytest.raises(
        ValueError,
        match=r"a run of another recipe \(its lr is 0.06, not 0.05\): use another --results_dir, or pass --force",
    ):
        train_small(tmp_path)


def test_a_list_that_can_t_be_written_costs_no_other_one(tree, monkeypatch, capsys):
    (tree / "labeled" / "cat").rename(tree / "labeled" / "truth")
    recipe = recipes.make(
        dataset="folder", labeled_dir=str(tree / "labeled"), unlabeled_dir=str(tree / "pool"),
        image_size=16, method="context", epochs=1, every=1, batch_size=8, augment="none",
    )  # fmt: skip

    def build(arch, shape, classes, activation, **_):
        layers = [keras.layers.Flatten(), keras.layers.Dense(classes, activation)]
        return keras.Sequential([keras.Input(shape), keras.layers.Rescaling(1 / 255), *layers])

    def fail(*_):
        raise TypeError("no")

    monkeypatch.setattr(train.networks, "build", build)
    monkeypatch.setattr(train.picks, "write_selected", fail)
    monkeypatch.setattr(train.evaluation, "calibrate_by_class", fail)
    places = {"results_dir": tree / "results", "verbose": 0}
    row = train.train(recipe, finish=lambda folder, _: (folder / "page").touch(), **places)
    folder = tree / "results" / "runs" / row["name"]
    assert read_lines(folder / "confusion.csv")[0] == ["truth", "dog", "emu", "truth"]
    left = ("thresholds.csv", "selected.npz", "picks.csv", "ask.csv", "page")
    assert all((folder / name).exists() for name in left)
    assert capsys.readouterr().out.count("could not be written (TypeError: no)") == 2


def test_a_batch_that_d_does_not_fill_is_known_before_the_first_round(tmp_path):
    with pytest.raises(
        ValueError,
        match="batch_size is 80, but there are 68 labeled images: use --batch_size=68 or less",
    ):
        train_small(tmp_path, method="context", batch_size=80)
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and ".lock" not in str(p)]
