"""No file of a user's is written to: images, tables, logs, pages."""

import io
import re

import keras
import numpy as np
import pytest
from conftest import blobs, read_files, small_model

import selectnet_tf as sn
from selectnet_tf.commands import predict
from selectnet_tf.data.folders import listing
from selectnet_tf.runs import store
from selectnet_tf.scale import picking


def test_a_run_its_review_and_predictions_leave_all_images_as_they_were(folders_run):
    tree, before, _, folder = folders_run
    files, _ = predict.list_files([tree / "pool"])
    predict.predict(folder / "model.keras", files, io.StringIO())
    after = read_files(tree)
    assert len(before) == 75 and {path: after.get(path) for path in before} == before
    made = {path.relative_to(tree).parts[0] for path in after.keys() - before.keys()}
    assert made == {"results"} and (folder / "review.html").exists()


def test_a_log_is_not_begun_anew_by_a_run_that_goes_on(tmp_path):
    (tmp_path / "log.csv").write_text("epoch,loss\n0,1.0\n")
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    x, y = blobs(40)
    selection = sn.Selection(sn.Pool(x[:20], y[:20], x[20:], [2, 3]), every=1)
    with pytest.raises(ValueError, match=r"would overwrite .*log.csv.*: give it append=True"):
        sn.fit(small_model(), selection, epochs=2, initial_epoch=1, batch_size=8, callbacks=[log])
    assert (tmp_path / "log.csv").read_text() == "epoch,loss\n0,1.0\n"


TABLE = """name,dataset,arch,method,preset,seed,epochs,last10_accuracy,accuracy
a,cifar10-4minor,simple,context,paper,0,20,0.5,0.5
"""


@pytest.mark.parametrize(
    ("damaged", "said"),
    [
        (TABLE.replace(",", ";"), "1: no column name"),
        (TABLE.encode("utf-16"), "3: 1 values for 9 columns"),
        (TABLE + "b,0.5\n", "3: 2 values for 9 columns"),
        (TABLE.replace("0.5\n", '"0.5\n'), "2: unexpected end of data"),
        (TABLE + TABLE.splitlines()[1], "3: a is the name of an earlier line, too"),
        ("\0" * 300, "1: no column name"),
    ],
)
def test_a_runs_csv_that_was_changed_is_named_and_not_overwritten(damaged, said, tmp_path):
    """Never: there is no such run, train it again."""
    path = tmp_path / "runs.csv"
    path.write_bytes(content := damaged if isinstance(damaged, bytes) else damaged.encode())
    for use in (
        store.read_names,
        store.read_runs,
        lambda results: store.write_row(results, "c", {"name": "c", "accuracy": 0.5}),
    ):
        with pytest.raises(ValueError, match=re.escape(f"{path}:{said}")) as caught:
            use(tmp_path)
        assert "restore the file" in str(caught.value) and "\n" not in str(caught.value)
    assert path.read_bytes() == content
    path.unlink()
    assert store.read_names(tmp_path) == {"c"}  # the row whose table could not be written


def test_a_linked_runs_csv_stays_a_link_and_its_mode_stays(tmp_path):
    results, elsewhere = tmp_path / "results", tmp_path / "elsewhere.csv"
    results.mkdir()
    elsewhere.write_text("name,accuracy\nb,0.5\n")
    elsewhere.chmod(0o640)
    (results / "runs.csv").symlink_to(elsewhere)
    store.write_row(results, "a", {"name": "a", "accuracy": 0.25})
    assert (results / "runs.csv").is_symlink()
    assert elsewhere.read_text() == "name,accuracy\nb,0.5\na,0.25\n"
    assert elsewhere.stat().st_mode & 0o777 == 0o640


def test_images_of_a_folder_are_copied_as_they_are(tree, tmp_path):
    before = read_files(tree)
    ids = [f for f in listing.list_images(tree / "pool").files if f != "torn.jpg"]
    picks = picking.Picks(ids, np.zeros(len(ids), int), np.zeros(len(ids), np.float32))
    picking.write(picks, tree / "pool", ["dog"], tmp_path / "picks")
    copies = sorted(p.read_bytes() for p in (tmp_path / "picks" / "dog").iterdir())
    assert copies == sorted((tree / "pool" / i).read_bytes() for i in ids)
    assert {path: read_files(tree).get(path) for path in before} == before
