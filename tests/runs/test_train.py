import dataclasses
import json
import os
import pathlib
import re
import types
import zipfile

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
from conftest import Killed, blobs, dies

from selectnet_tf import recipes, rules
from selectnet_tf.checkpoint import Checkpoint, Stopped
from selectnet_tf.data import cifar, splits
from selectnet_tf.pool import Pool
from selectnet_tf.runs import log, methods, resume, store, train
from selectnet_tf.selection import Selection

pytestmark = pytest.mark.usefixtures("tiny_cifar")
SMALL = {
    "minor": (2, 3),
    "minor_ratio": 0.1,
    "major_ratio": 0.75,
    "batch_size": 16,
    "epochs": 4,
    "every": 2,
    "arch": "simple",
    "threshold": 1.2,
    "beta": 0.5,
    "lr": 0.05,
}
COLUMNS = (
    "epoch,candidates,labeled_right,labeled_wrong_minor,labeled_major,unlabeled_right,unlabeled_wrong_minor,unlabeled_major,"
    "precision,score_min,score_median,score_max"
)


def small(**options):
    """A recipe of SMALL's fields, without those that its method does not read."""
    given = {**SMALL, **options}
    method = given.get("method", "selectnet")
    if method not in recipes.SELECTING or "lambda_schedule" in given:
        del given["threshold"]
    if method not in ("selectnet", "balanced"):
        del given["beta"]
    return recipes.make(**given)


def run(results, **options):
    places = {k: options.pop(k) for k in ("replicas", "force") if k in options}
    return train.train(small(**options), results_dir=results, verbose=0, **places)


def weights(folder):
    with (
        zipfile.ZipFile(folder / "model.keras") as file,
        h5py.File(file.open("model.weights.h5")) as h5,
    ):
        found = {}
        h5.visititems(
            lambda name, item: (
                found.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None
            )
        )
        return found


def files(results):
    """All that a run leaves but clocks: texts as they are, arrays, the row."""
    (folder,) = (results / "runs").iterdir()
    found = {
        name: (folder / name).read_bytes() for name in ("epochs.csv", "classes.csv", "recipe.json")
    }
    if (folder / "selection.csv").exists():
        found["selection.csv"] = (folder / "selection.csv").read_bytes()
    for name in ("selected.npz", "split.npz"):
        with np.load(folder / name) as arrays:
            found |= {f"{name}/{k}": arrays[k].tobytes() for k in arrays.files}
    found |= {k: v.tobytes() for k, v in weights(folder).items()}
    rows = pd.read_csv(results / "runs.csv", dtype=str).drop(
        columns=["seconds", "selection_seconds"]
    )
    return found | {"row": rows.to_csv()}


SLOW = ("context", "balanced", "random", "logit_adjusted")  # other tests train by them too


@pytest.mark.parametrize(
    "method", [pytest.param(m, marks=pytest.mark.slow) if m in SLOW else m for m in recipes.METHODS]
)
def test_each_method_from_images_to_row(method, tmp_path):
    options = (
        {"training": "sgd", "augment": "none"}
        if method == "class_balanced"
        else {"augment": "shift"}
    )
    row = run(tmp_path, method=method, **options)
    folder = tmp_path / "runs" / row["name"]
    table = pd.read_csv(tmp_path / "runs.csv", float_precision="round_trip")
    assert list(table["method"]) == [method] and table["accuracy"][0] == row["accuracy"]
    assert set(recipes.FIELDS) <= set(table.columns)
    epochs = pd.read_csv(folder / "epochs.csv", float_precision="round_trip")
    assert (
        list(epochs["epoch"]) == [1, 2, 3, 4] and epochs["val_accuracy"].iloc[-1] == row["accuracy"]
    )
    left = {
        "recipe.json",
        "epochs.csv",
        "selected.npz",
        "classes.csv",
        "split.npz",
        "model.keras",
        "tensorboard",
        ".lock",
        ".lock.rw",
        "row.json",
    }
    left |= {"confusion.csv", "thresholds.csv", "calibration.csv", "predictions.npz"}
    selects = method in recipes.SELECTING
    assert {p.name for p in folder.iterdir()} == left | (
        {"selection.csv", "picks.csv"} if selects else set()
    )
    first = (
        {"imbalanced": 68, "logit_adjusted": 68, "class_balanced": 68, "oracle": 160}.get(
            method, 120
        )
        // 16
        * 16
    )
    assert epochs["images"].iloc[0] == first and row["images"] == epochs["images"].sum()
    later = {"oracle": 160, "oversampling": 112}.get(method, 64)
    assert epochs["images"].iloc[2] == later if not selects else epochs["images"].iloc[2] >= 64
    with zipfile.ZipFile(
        folder / "model.keras"
    ) as file:  # whoever loads it need not have this package's losses
        assert "selectnet_tf.models.losses" not in file.read("config.json").decode()


def test_the_selection_has_the_recipe_s_parts():
    x, y = blobs(40)
    pool = Pool(x[:20], y[:20], x[20:], [2, 3])

    def made(**changes):
        recipe = recipes.make(**changes)
        return methods.make_selection(recipe.selection, recipe.data, pool, rounds=20, seed=0)

    plain = made(method="context")
    assert isinstance(plain.rule, rules.Context) and plain.adjust is None and not pool.even
    parts = made(align=0.5, cap=1 / 3, max_per_class=7)
    assert isinstance(parts.rule.rule, rules.SelectNet) and parts.adjust.root == 0.5
    assert (parts.rule.alpha, parts.rule.most, list(parts.rule.minor)) == (1 / 3, 7, [2, 3])
    limited = made(method="random", max_per_class=7)
    assert isinstance(limited.rule.rule, rules.Random) and (
        limited.rule.alpha,
        limited.rule.most,
    ) == (0, 7)
    balanced = made(method="balanced")
    assert isinstance(balanced.rule, rules.SelectNet) and pool.even
    assert made(method="logit_adjusted").rule is None


@pytest.mark.slow
def test_a_resumed_robust_run_is_bit_identical(tmp_path, monkeypatch):
    options = {
        "preset": "robust",
        "align": 0.5,
        "cap": 1 / 3,
        "method": "context",
        "augment": "none",
        "max_per_class": 20,
    }
    run(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 3)
        with pytest.raises(Killed):
            run(tmp_path / "killed", **options)
    run(tmp_path / "killed", **options)
    whole = files(tmp_path / "whole")
    assert whole == files(tmp_path / "killed") and len(whole["selected.npz/index"]) > 0


def test_what_was_picked_is_recorded_with_its_truth(tmp_path):
    row = run(tmp_path, method="context", epochs=6, augment="none")
    folder = tmp_path / "runs" / row["name"]
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
        assert table["below_lambda"].iloc[-1] == last.sum() and table["loss_max"].iloc[
            -1
        ] == pytest.approx(picks["loss"][last].max())
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
        assert (shown["truth"] == truth[shown["index"]]).all() and shown["index"].isin(
            split["unlabeled"]
        ).all()
        of_last = shown[shown["epoch"] == 6].drop_duplicates("label")
        assert (
            of_last["picked"].sum() == unlabeled.sum()
            and of_last["wrong"].sum() == (unlabeled & ~right).sum()
        )


@pytest.mark.parametrize("accumulate", [False, True])
def test_accumulate_keeps_all_that_was_ever_picked(accumulate, tmp_path):
    row = run(
        tmp_path,
        method="context",
        epochs=6,
        augment="none",
        lambda_schedule="1.2:0.001",
        accumulate=accumulate,
    )
    table = pd.read_csv(tmp_path / "runs" / row["name"] / "selection.csv")
    picked = table[["unlabeled_right", "unlabeled_wrong_minor", "unlabeled_major"]].sum(axis=1)
    assert picked.iloc[0] > 0 and (list(picked) == list(table["unlabeled_so_far"])) == accumulate


def test_hidden_labels_never_reach_training(tmp_path, monkeypatch):
    """Scramble the pool's true labels: weights, picks and test results stay the same bits; only the audit differs."""
    honest = run(tmp_path / "a", method="selectnet")
    found = cifar.load("cifar10")
    split = splits.make_split(small().data, found.y, small().seed)
    y = found.y.copy()
    y[split.unlabeled] = np.random.default_rng(0).permutation(y[split.unlabeled])
    monkeypatch.setattr(cifar, "load", lambda *_: found._replace(y=y))
    monkeypatch.setattr(splits, "make_split", lambda *_: split)
    scrambled = run(tmp_path / "b", method="selectnet")
    a, b = files(tmp_path / "a"), files(tmp_path / "b")
    assert len(a["selected.npz/index"]) > 100
    assert {k for k in a if a[k] != b[k]} <= {"selection.csv"} and a["selection.csv"] != b[
        "selection.csv"
    ]
    assert honest["accuracy"] == scrambled["accuracy"]


@pytest.mark.parametrize(
    ("owner", "name", "when"),
    [
        (Selection, "on_epoch_begin", 2),
        (Selection, "select", 2),
        pytest.param(log.Log, "on_epoch_end", 1, marks=pytest.mark.slow),
        pytest.param(Checkpoint, "save", 4, marks=pytest.mark.slow),
    ],
    ids=["in an epoch", "in the selection", "between selection and state", "after the last epoch"],
)
def test_resumed_files_and_row_are_bit_identical(owner, name, when, tmp_path, monkeypatch):
    options = {"method": "selectnet"}
    run(tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        dies(patch, owner, name, when)
        with pytest.raises(Killed):
            run(tmp_path / "killed", **options)
    assert not (tmp_path / "killed" / "runs.csv").exists()
    run(tmp_path / "killed", **options)
    assert files(tmp_path / "whole") == files(tmp_path / "killed")


def test_killed_between_model_and_row(tmp_path, monkeypatch):
    whole = run(tmp_path / "whole", method="context")
    with monkeypatch.context() as patch:
        patch.setattr(store, "write_row", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            run(tmp_path / "killed", method="context")
    again = run(tmp_path / "killed", method="context")
    assert again["accuracy"] == whole["accuracy"] and files(tmp_path / "whole") == files(
        tmp_path / "killed"
    )


def test_a_finished_run_is_not_trained_again_but_by_force(tmp_path, monkeypatch, capsys):
    first = run(tmp_path, method="imbalanced")
    with monkeypatch.context() as patch:
        patch.setattr(train, "_run", lambda *_: pytest.fail("trained again"))
        again = run(tmp_path, method="imbalanced")
    assert again["accuracy"] == str(first["accuracy"]) and "is finished" in capsys.readouterr().out
    run(tmp_path, method="imbalanced", force=True)
    assert len(pd.read_csv(tmp_path / "runs.csv")) == 1
    for path in (tmp_path / "runs" / first["name"]).glob("[!.]*.*"):
        path.unlink()
    run(tmp_path, method="imbalanced")
    assert (
        "is finished, but its files are missing (--force trains it again)"
        in capsys.readouterr().out
    )


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "in training", "after the row"])
def test_force_leaves_the_old_result_until_the_new_one_stands(when, tmp_path, monkeypatch, capsys):
    options = {"method": "context", "epochs": 2}
    first = run(tmp_path, **options)
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
            run(tmp_path, force=True, **options)
    assert float(store.read_row(tmp_path, first["name"])["accuracy"]) == first["accuracy"]
    capsys.readouterr()
    if when == "in training":
        assert {name: (folder / "old" / name).read_bytes() for name in old} == old
        assert (
            store.read_file(tmp_path, first["name"], "classes.csv")
            and not (folder / "classes.csv").exists()
        )
        again = run(tmp_path, **options)
        assert (
            "resuming after epoch 1" in capsys.readouterr().out
            and again["accuracy"] == first["accuracy"]
        )
    else:
        run(tmp_path, **options)
        assert "is finished" in capsys.readouterr().out
        assert (
            when == "after the row" or {name: (folder / name).read_bytes() for name in old} == old
        )
    assert (
        not (folder / "old").exists()
        and not (folder / ".old").exists()
        and len(pd.read_csv(tmp_path / "runs.csv")) == 1
    )


def finished(tmp_path):
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
    folder, files = finished(tmp_path)
    resume.set_aside(folder)
    assert {
        path.relative_to(folder / "old"): path.read_bytes()
        for path in (folder / "old").rglob("*")
        if path.is_file()
    } == files
    (tmp_path / "runs.csv").unlink()
    assert store.read_row(tmp_path, "a")["accuracy"] == "0.5" and store.read_names(tmp_path) == {
        "a"
    }
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
    assert (
        not (folder / "epochs.csv").exists()
        and (folder / "old" / "epochs.csv").read_text() == "epochs.csv"
    )
    store.write_row(tmp_path, "a", {"name": "a", "accuracy": 0.75})
    assert (
        resume.find_finished_row(recipes.make(), tmp_path, folder)["accuracy"] == "0.75"
        and not (folder / "old").exists()
    )


@pytest.mark.parametrize("after", range(5))
def test_putting_aside_that_was_killed_is_undone(after, tmp_path, monkeypatch):
    folder, files = finished(tmp_path)
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


def test_force_keeps_the_lock(tmp_path):
    with train.lock(tmp_path / ".lock"):
        (tmp_path / "tensorboard").mkdir()
        (tmp_path / "epochs.csv").touch()
        resume.set_aside(tmp_path)
        assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", ".lock.rw", "old"]
        assert sorted(p.name for p in (tmp_path / "old").iterdir()) == ["epochs.csv", "tensorboard"]


def test_rows_of_several_runs_stay(tmp_path):
    for seed in (0, 1):
        run(tmp_path, method="imbalanced", seed=seed, epochs=1)
    table = pd.read_csv(tmp_path / "runs.csv")
    assert list(table["seed"]) == [0, 1] and len(list((tmp_path / "runs").iterdir())) == 2


def test_a_signal_ends_with_130_and_the_run_goes_on(tmp_path, monkeypatch):
    work = log.Log.on_epoch_begin
    monkeypatch.setattr(
        log.Log,
        "on_epoch_begin",
        lambda self, epoch, logs=None: (work(self, epoch), epoch == 1 and os.kill(os.getpid(), 2)),
    )
    with pytest.raises(Stopped) as stopped:
        run(tmp_path, method="context")
    assert stopped.value.code == 130
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "state.npz").exists() and len(pd.read_csv(folder / "epochs.csv")) == 1


def test_divergence_is_one_line_and_keeps_the_last_state(tmp_path):
    with pytest.raises(ValueError, match="diverged, use a smaller --lr"):
        run(tmp_path, method="imbalanced", lr=1e30)
    assert not (tmp_path / "runs.csv").exists()


@pytest.mark.slow
def test_two_replicas_train_the_same(tmp_path):
    one = run(tmp_path / "one", method="context", arch="resnet8", lr=0.01, augment="none")
    two = run(
        tmp_path / "two", method="context", arch="resnet8", lr=0.01, augment="none", replicas=2
    )
    a, b = (pd.read_csv(tmp_path / n / "runs" / one["name"] / "epochs.csv") for n in ("one", "two"))
    np.testing.assert_allclose(a["loss"][:2], b["loss"][:2], rtol=1e-2)
    recipe = json.loads((tmp_path / "two" / "runs" / two["name"] / "recipe.json").read_text())
    assert recipe["replicas"] == 2 and recipe["recipe"]["method"] == "context"
    assert re.fullmatch(r"CPU \S.*", recipe["device"]) and two["device"] == recipe["device"]


def test_replicas_must_divide_the_batch_and_stay_the_same(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="use 14 or 16"):
        run(tmp_path, method="context", batch_size=15, replicas=2)
    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 1)
        with pytest.raises(Killed):
            run(tmp_path, method="context")
    with pytest.raises(
        ValueError,
        match=r"its replicas is 1, this run's is 2\): use the same, or delete .*state.npz or pass --force to start this run again$",
    ):
        run(tmp_path, method="context", replicas=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "precision"), [("simple", "mixed_float16"), ("resnet8", "mixed_bfloat16")]
)
def test_mixed_precision_trains_and_resumes(arch, precision, tmp_path, monkeypatch):
    row = run(tmp_path / "whole", arch=arch, precision=precision, method="context")
    assert row["precision"] == precision and row["accuracy"] > 0
    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 3)
        with pytest.raises(Killed):
            run(tmp_path / "killed", arch=arch, precision=precision, method="context")
    run(tmp_path / "killed", arch=arch, precision=precision, method="context")
    assert files(tmp_path / "whole") == files(tmp_path / "killed")
    model = keras.saving.load_model(
        tmp_path / "whole" / "runs" / row["name"] / "model.keras", compile=False
    )
    assert (
        model.layers[2].compute_dtype == precision.removeprefix("mixed_")
        and model.output.dtype == "float32"
    )


@pytest.mark.parametrize("arch", ["simple", "resnet8"])
def test_mixed_precision_is_the_classifier_s_alone_and_a_run_of_its_own(arch):
    recipe = small(arch=arch, precision="mixed_float16")
    x, y = np.zeros((8, 16, 16, 3), np.uint8), np.zeros(8, np.int32)
    task = types.SimpleNamespace(x_labeled=x, y_labeled=y, names=("a", "b"), fit=None)
    model = train.make_model(recipe.training, task, train.make_strategy(), 0)
    assert {v.dtype for v in model.trainable_variables} == {
        "float32"
    } and model.output.dtype == "float32"
    assert (
        model.layers[2].compute_dtype == "float16" and "LossScale" in type(model.optimizer).__name__
    )
    assert keras.config.dtype_policy().name == "float32"
    assert recipe.name != small(arch=arch).name


def test_xla_is_for_one_device(tmp_path):
    with pytest.raises(
        ValueError,
        match="replicas is 2, but XLA compiles for one device: pass --replicas=1",
    ):
        run(tmp_path, jit=True, replicas=2)


@pytest.mark.slow
def test_xla_trains(tmp_path):
    row = run(tmp_path, jit=True, method="imbalanced", epochs=2, every=1)
    assert row["jit"] is True and row["accuracy"] > 0.2


def test_the_saved_model_predicts_what_the_row_says(tmp_path, capsys):
    import keras

    row = run(tmp_path, method="oracle", augment="none")
    assert "the oracle trains on all 160 images with their true classes" in capsys.readouterr().out
    model = keras.models.load_model(tmp_path / "runs" / row["name"] / "model.keras")
    found = cifar.load("cifar10")
    assert (
        model.predict(found.x_test, verbose=0).argmax(1) == found.y_test
    ).mean() == pytest.approx(row["accuracy"])
    classes = pd.read_csv(tmp_path / "runs" / row["name"] / "classes.csv")
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
def test_fields_reach_the_selection(changes, init):
    x, y = blobs(60)
    pool = Pool(x[:40], y[:40], x[40:], [2, 3])
    recipe = recipes.make(**changes)
    part = dataclasses.replace(recipe.selection, context="wrong", loss_norm="separate")
    selection = methods.make_selection(part, recipe.data, pool, rounds=20, seed=0)
    assert (selection.init, selection.context, selection.loss_norm) == (init, "wrong", "separate")


def killed(tmp_path, monkeypatch, **options):
    with monkeypatch.context() as patch:
        dies(patch, Checkpoint, "save", 1)
        with pytest.raises(Killed):
            run(tmp_path, **options)


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
            run(tmp_path, method="context")
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "2")
    (folder,) = (tmp_path / "runs").iterdir()
    for left in (folder / ".state.1.npz", folder / ".epochs.1.csv", tmp_path / ".runs.1.csv"):
        left.write_bytes(b"half")
    row = run(tmp_path, method="context")  # the data are back, and there are more threads
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
    recipe = small()
    kept = recipe.flat() | {"lr": 0.06}
    store.write_row(tmp_path, recipe.name, {"name": recipe.name, **kept, "accuracy": 0.5})
    with pytest.raises(
        ValueError,
        match=r"a run of another recipe \(its lr is 0.06, not 0.05\): use another --results_dir, or pass --force",
    ):
        run(tmp_path)


def test_a_batch_that_d_does_not_fill_is_known_before_the_first_round(tmp_path):
    with pytest.raises(
        ValueError,
        match="batch_size is 80, but there are 68 labeled images: use --batch_size=68 or less",
    ):
        run(tmp_path, method="context", batch_size=80)
    assert not list(tmp_path.glob("runs/*/*.csv"))
