"""Runs kept at an address: two nodes without a common results folder, of which the second goes on where the first was stopped."""

import os
import pathlib
import signal

import fsspec
import numpy as np
import pytest

from selectnet_tf import recipes
from selectnet_tf.checkpoint import Checkpoint, Stopped
from selectnet_tf.experiment import record, runs, train
from selectnet_tf.scale import storage

SMALL = {"minor": (2, 3), "minor_ratio": 0.1, "major_ratio": 0.75, "batch_size": 16, "epochs": 4, "every": 2, "arch": "simple"}
RECIPE = recipes.make(**SMALL, threshold=1.2, beta=0.5, lr=0.05, method="context")


@pytest.fixture(params=["file://", "memory://"])
def address(request, tmp_path):
    """Stands for a bucket."""
    if request.param == "memory://":
        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").store.clear()
    else:
        yield f"file://{tmp_path / 'bucket'}"


@pytest.fixture
def bucket(tmp_path):
    return storage.Storage(str(tmp_path / "bucket"))


def run(results, keeper=None, **options):
    return train.train(RECIPE, results_dir=results, verbose=0, keeper=keeper, **options)


def folder_of(results):
    return results / "runs" / RECIPE.name


def there(keeper):
    return set(keeper._names(RECIPE.name))


def folder(place, name="a", state=None, **files):
    """A run's folder with these files; state: its position."""
    made = place / "runs" / name
    made.mkdir(parents=True, exist_ok=True)
    if state:
        np.savez(made / "state.npz", position=np.array(state))
    for file, content in files.items():
        (made / file.replace("_", ".")).write_text(content)
    return made


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_cifar")
def test_a_run_that_is_stopped_goes_on_on_another_node(address, tmp_path, monkeypatch):
    """SIGTERM in the second round's first epoch: what is saved then is put there too."""
    plain = run(tmp_path / "plain")
    real = Checkpoint.on_train_batch_end

    def stops(self, batch, logs=None):
        if self._epoch == 2 and batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, batch, logs)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(Checkpoint, "on_train_batch_end", stops)
        run(tmp_path / "first", storage.Storage(address))
    assert "state.npz" in there(storage.Storage(address)) and "row.json" not in there(storage.Storage(address))
    assert not (tmp_path / "second").exists()
    row = run(tmp_path / "second", storage.Storage(address))
    assert {k: v for k, v in row.items() if "seconds" not in k} == {k: v for k, v in plain.items() if "seconds" not in k}
    for file in ("epochs.csv", "selection.csv", "classes.csv"):
        assert (folder_of(tmp_path / "second") / file).read_bytes() == (folder_of(tmp_path / "plain") / file).read_bytes()
    left = there(storage.Storage(address))
    assert {"row.json", "epochs.csv", "model.keras"} <= left and "state.npz" not in left and not any(n.startswith(".") for n in left)
    monkeypatch.setattr(train, "_run", None)  # nothing is trained where it is finished elsewhere
    assert run(tmp_path / "third", storage.Storage(address))["accuracy"] == str(plain["accuracy"])
    assert (folder_of(tmp_path / "third") / "model.keras").exists() and runs.names(tmp_path / "third") == {RECIPE.name}


@pytest.mark.slow
@pytest.mark.usefixtures("tiny_cifar")
def test_the_state_is_put_there_after_each_round_and_a_storage_that_fails_stops_nothing(bucket, tmp_path, monkeypatch, capsys):
    found = []
    real = record.Log.on_epoch_begin

    def look(self, epoch, logs=None):
        state = tmp_path / "bucket" / "runs" / RECIPE.name / "state.npz"
        found.append(runs.position(state))
        if epoch == 2:  # the second round's files can't be put
            state.parent.rename(tmp_path / "away")
            state.parent.write_text("in the way")
        real(self, epoch, logs)

    monkeypatch.setattr(record.Log, "on_epoch_begin", look)
    with pytest.raises(OSError, match=r"^--storage=.*bucket: "):
        run(tmp_path / "here", bucket)
    assert found == [None, None, (2, 0), None]
    assert "warning: --storage=" in (said := capsys.readouterr().out) and "tried again after the next round" in said
    assert runs.names(tmp_path / "here") == {RECIPE.name}  # the results stand here
    (tmp_path / "bucket" / "runs" / RECIPE.name).unlink()
    run(tmp_path / "here", bucket)  # and the same command puts them there
    assert "row.json" in there(bucket)


def test_the_further_state_is_taken(bucket, tmp_path):
    bucket.put(folder(tmp_path / "1", state=(4, 0), epochs_csv="of 1", log_txt="its own"))
    behind = folder(tmp_path / "2", state=(3, 9), epochs_csv="of 2", log_txt="mine")
    bucket.get(behind)
    assert runs.position(behind / "state.npz") == (4, 0) and (behind / "epochs.csv").read_text() == "of 1"
    assert (behind / "log.txt").read_text() == "mine" and {p.name for p in behind.iterdir()} == {"state.npz", "epochs.csv", "log.txt"}
    ahead = folder(tmp_path / "3", state=(4, 1), epochs_csv="of 3")
    bucket.get(ahead)
    assert runs.position(ahead / "state.npz") == (4, 1) and (ahead / "epochs.csv").read_text() == "of 3"
    fresh = tmp_path / "4" / "runs" / "a"
    bucket.get(fresh)
    assert runs.position(fresh / "state.npz") == (4, 0)
    bucket.get(tmp_path / "4" / "runs" / "nothing of this")
    assert not (tmp_path / "4" / "runs" / "nothing of this").exists()


def test_a_file_is_there_whole_or_not(bucket, tmp_path, monkeypatch):
    run = folder(tmp_path / "1", state=(2, 0), epochs_csv="old")
    bucket.put(run)

    def half(source, target, **options):
        pathlib.Path(target).write_text("ol")
        raise OSError("the line is cut\nand more")

    monkeypatch.setattr(bucket._files, "put_file", half)
    (run / "epochs.csv").write_text("newer")
    with pytest.raises(OSError, match=r"^--storage=.*: the line is cut$"):
        bucket.put(run)
    monkeypatch.undo()
    assert (tmp_path / "bucket" / "runs" / "a" / "epochs.csv").read_text() == "old" and set(bucket._names("a")) == {
        "epochs.csv",
        "state.npz",
    }
    (tmp_path / "bucket" / "runs" / "a" / ".state.npz.0123abcd").write_text("of a process that was killed")
    bucket.get(run)
    assert {p.name for p in run.iterdir()} == {"epochs.csv", "state.npz"}
    (run / "state.npz").unlink()
    (run / "row.json").write_text("{}")
    bucket.put(run)
    assert set(bucket._names("a")) == {"epochs.csv", "row.json"}


def test_only_what_changed_is_put_again(bucket, tmp_path, monkeypatch):
    run = folder(tmp_path / "1", state=(2, 0), epochs_csv="1", split_npz="same")
    bucket.put(run)
    (run / "epochs.csv").write_text("1 and 2")
    put, real = [], bucket._files.put_file
    monkeypatch.setattr(bucket._files, "put_file", lambda source, target: (put.append(pathlib.Path(source).name), real(source, target)))
    bucket.put(run)
    assert put == ["epochs.csv"]


def test_force_begins_again_there_too(bucket, tmp_path):
    bucket.put(folder(tmp_path / "1", row_json="{}", epochs_csv="old"))
    bucket.put(folder(tmp_path / "2", state=(2, 0), epochs_csv="new"))
    assert set(bucket._names("a")) == {"epochs.csv", "state.npz"}


def test_force_that_was_killed_before_it_was_put_there_is_gone_on_with(bucket, tmp_path):
    bucket.put(folder(tmp_path / "1", row_json="{}", epochs_csv="old"))
    here = folder(tmp_path / "1", state=(1, 0), epochs_csv="new")
    (here / "old").mkdir()
    (here / "row.json").rename(here / "old" / "row.json")
    bucket.get(here)
    assert not (here / "row.json").exists() and runs.position(here / "state.npz") == (1, 0)


def test_a_sweep_collects_rows_and_small_files(bucket, tmp_path):
    row = '{"name": "a", "accuracy": 0.5}'
    bucket.put(folder(tmp_path / "1", "a", row_json=row, epochs_csv="epoch\n1", model_keras="large", log_txt="said"))
    bucket.put(folder(tmp_path / "1", "b", state=(2, 0), epochs_csv="epoch\n1\n2", log_txt="says", recipe_json="{}"))
    bucket.collect(tmp_path / "here", ["a", "b", "c"])
    found = {p.relative_to(tmp_path / "here" / "runs").as_posix() for p in (tmp_path / "here" / "runs").rglob("*.*")}
    assert found == {"a/row.json", "a/epochs.csv", "a/log.txt", "b/epochs.csv", "b/log.txt"}
    assert runs.names(tmp_path / "here") == {"a"} and (tmp_path / "here" / "runs.csv").read_text() == "name,accuracy\na,0.5\n"


@pytest.mark.parametrize(
    ("address", "words"),
    [("nope://bucket", "Protocol not known: nope: give s3://, gs:// or a folder"), ("s3://bucket/here", "Install s3fs to access S3")],
)
def test_what_is_no_storage_is_one_line(address, words, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(ValueError) as error:
        storage.Storage(address)
    assert str(error.value) == f"--storage={address}: {words}"


def test_an_address_that_cannot_be_reached_is_one_line(monkeypatch):
    def refused(address):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(fsspec.core, "url_to_fs", refused)
    with pytest.raises(OSError, match=r"^--storage=ftp://host/x: \[Errno 111\] Connection refused$"):
        storage.Storage("ftp://host/x")


def test_without_fsspec_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(ValueError, match=r"^--storage needs fsspec: python -m pip install -e '.\[scale\]'$"):
        storage.Storage("s3://bucket")
