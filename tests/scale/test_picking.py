"""Picks by id: those of the rules, whatever the order of scores and pool, and only their images."""

import io

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from selectnet_tf import rules
from selectnet_tf._files import digest
from selectnet_tf.data.folders import decisions, listing
from selectnet_tf.rules import Capped
from selectnet_tf.scale import picking

NAMES = ["cat", "dog", "emu", "fox"]
MINOR = ["fox", "dog"]


def scores_of(probs, ids, unreadable=()):
    """The table that score writes."""
    bad = np.isin(np.arange(len(probs)), unreadable)
    loss = (-np.log(np.clip(probs.max(1), 1e-7, 1))).astype(np.float32)
    predicted = pa.array(probs.argmax(1).astype(np.int32), mask=bad)
    classes = pa.DictionaryArray.from_arrays(predicted, NAMES)
    columns = {
        "id": ids,
        "predicted": predicted,
        "class": classes,
        "loss": pa.array(loss, mask=bad),
    }
    return pa.table(columns)


def save(folder, table, parts=3):
    folder.mkdir()
    for part in range(parts):
        rows = table.take(np.arange(part, len(table), parts))
        pq.write_table(rows, folder / f"{part}.parquet", write_page_checksum=True)
    return folder


@pytest.fixture
def many(tmp_path):
    """(scores' table of 2,000 images of which many are alike, a pool with their ids, probabilities in the order of ids)."""
    rng = np.random.default_rng(0)
    probs = rng.dirichlet([0.3] * 4, 2000).astype(np.float32)
    probs[::7] = np.eye(4, dtype=np.float32)[rng.integers(0, 4, len(probs[::7]))]
    probs[1::7] = np.round(probs[1::7], 1)
    probs[:, 3] *= np.where(
        np.arange(2000) % 5, 0.3, 1
    )  # fewer foxes, so that a cap has something to do
    ids = [f"i{i:04}" for i in range(2000)]
    pool = pa.table({"id": ids, "image": pa.array([bytes(12)] * 2000, pa.binary(12))})
    return scores_of(probs, ids, unreadable=[3, 17]), save(tmp_path / "pool", pool), probs


RULES = {
    "self_paced": lambda: rules.SelfPaced(0.6),
    "context": lambda: rules.Context(0.3),
    "random": lambda: rules.Random(0.4, seed=3),
    "capped": lambda: Capped(rules.SelfPaced(0.6), 0.5, most=90, minor=range(2)),
}


@pytest.mark.parametrize("name", RULES)
def test_picks_are_the_rule_s_whatever_the_order(name, many, tmp_path):
    table, pool, probs = many
    minor = [NAMES.index(c) for c in MINOR]
    rows = np.flatnonzero(np.isin(probs.argmax(1), minor) & ~np.isin(np.arange(2000), [3, 17]))
    own = probs[rows][:, minor]  # of the candidates, the minor classes' alone
    loss = table["loss"].to_numpy()[rows]
    found = rules.Scores(own, loss, np.zeros(len(rows), bool), np.ones(len(rows), bool))
    wanted = rows[np.asarray(RULES[name]()(found))]
    assert 0 < len(wanted) < len(rows)
    shuffled = table.take(np.random.default_rng(1).permutation(2000))
    for number, some in enumerate((table, shuffled)):
        picks = picking.pick(save(tmp_path / str(number), some), pool, MINOR, RULES[name]())
        assert picks.ids == [f"i{i:04}" for i in wanted]
        assert [MINOR[c] for c in picks.label] == [NAMES[c] for c in probs.argmax(1)[wanted]]


def test_scores_that_were_saved_again_give_the_same_picks(many, tmp_path):
    table, pool, _ = many
    before = picking.pick(save(tmp_path / "scores", table), pool, MINOR, RULES["capped"]())
    frame = pd.concat(map(pd.read_parquet, sorted((tmp_path / "scores").iterdir())))
    frame = frame.sort_values("loss").astype({"class": str, "loss": float})[["loss", "class", "id"]]
    frame.to_parquet(tmp_path / "again.parquet", compression="gzip")
    after = picking.pick(tmp_path / "again.parquet", pool, MINOR, RULES["capped"]())
    assert len(before.ids) > 100
    assert after.ids == before.ids
    assert np.array_equal(after.loss, before.loss)


def test_ids_have_to_be_the_pool_s_one_by_one(many, tmp_path):
    table, pool, _ = many
    cases = {
        "twice": (
            pa.concat_tables([table, table.slice(5, 2)]),
            r"twice: 2 ids are there more than once, e.g. i000[56]: give",
        ),
        "some": (
            table.slice(10),
            r"some lacks 10 of the ids, e.g. i000\d: run python -m selectnet_tf score to its end",
        ),
    }
    for name, (some, words) in cases.items():
        with pytest.raises(ValueError, match=words):
            picking.pick(save(tmp_path / name, some), pool, MINOR, RULES["context"]())
    (pool / "1.parquet").unlink()
    with pytest.raises(
        ValueError,
        match=r"pool lacks 667 of the ids, e.g. i0001: give --images the pool that was scored",
    ):
        picking.pick(save(tmp_path / "all", table), pool, MINOR, RULES["context"]())


@pytest.mark.parametrize("change", ["cut", "no loss", "none"])
def test_scores_that_are_none_are_one_line_with_their_name(change, many, tmp_path):
    scores = save(tmp_path / "scores", many[0])
    if change == "cut":
        (scores / "1.parquet").write_bytes((scores / "1.parquet").read_bytes()[:-300])
    elif change == "no loss":
        pq.write_table(many[0].drop_columns("loss"), scores / "1.parquet")
    else:
        for path in scores.iterdir():
            path.unlink()
    with pytest.raises(ValueError, match=r"^\S*scores(/1.parquet)?:? [^\n]+$"):
        picking.pick(scores, many[1], MINOR, RULES["context"]())


@pytest.mark.parametrize(
    ("minor", "words"),
    [
        (["foxx"], "--minor=foxx is none of the 4 classes: cat, dog, emu, fox"),
        (["fox", "fox"], "--minor=fox,fox has a class twice"),
    ],
)
def test_a_minor_class_is_a_class_once(minor, words, many, tmp_path):
    scores = save(
        tmp_path / "scores", many[0].filter(pa.compute.not_equal(many[0]["predicted"], 2)), 1
    )
    with pytest.raises(ValueError, match=words):
        picking.pick(save(tmp_path / "all", many[0]), many[1], minor, RULES["context"]())
    (column,) = pq.read_table(scores)["class"].unify_dictionaries().chunks[:1]
    assert "emu" in picking._list_classes(column)  # although none is predicted as it


@pytest.mark.parametrize("name", ["../outside", "a/b", "/tmp/x", "..", ".hidden", ""])
def test_no_class_name_leads_out_of_the_picks_folder(name):
    with pytest.raises(ValueError, match="can't be a folder's name: rename the class in the model"):
        picking._check_names([name], {name})


def encoded(red, kind="PNG"):
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (red, 0, 0)).save(buffer, kind)
    return buffer.getvalue()


def found(ids):
    return picking.Picks(ids, np.zeros(len(ids), int), np.full(len(ids), 0.0619, np.float32))


def test_the_picks_images_are_found_by_id_and_decided_for_the_next_run(tmp_path):
    order = np.random.default_rng(0).permutation(60)  # of the pool; an image's red is its number
    table = pa.table(
        {
            "id": [f"a/{i}" for i in order],
            "image": pa.array([encoded(i) for i in order], pa.binary()),
        }
    )
    pq.write_table(table, tmp_path / "pool.parquet", row_group_size=7)
    ids = [f"a/{i}" for i in (12, 30, 48, 6)]
    picking.write(found(ids), tmp_path / "pool.parquet", ["fox"], tmp_path / "picks")
    files = sorted((tmp_path / "picks" / "fox").iterdir())
    assert {p.name: Image.open(p).getpixel((0, 0))[0] for p in files} == {
        f"0.9400_a_{i}.png": i for i in (12, 30, 48, 6)
    }
    decided = decisions.read_decisions(tmp_path / "picks" / "decisions.csv", ("fox",))
    assert decided == ({digest(p.read_bytes()): "fox" for p in files}, set())
    with pytest.raises(ValueError, match="is there already: give --out a new folder"):
        picking.write(found(ids), tmp_path / "pool.parquet", ["fox"], tmp_path / "picks")


def test_names_that_are_long_or_alike_keep_all_images(tmp_path):
    ids, kinds = (
        ["ねこ" * 100, "い" + "ねこ" * 100, "x/y", "x_y", "z.jpg"],
        ["PNG", "PNG", "TGA", "TGA", "JPEG"],
    )
    images = pa.array([encoded(i, kind) for i, kind in enumerate(kinds)], pa.binary())
    pq.write_table(pa.table({"id": ids, "image": images}), tmp_path / "pool.parquet")
    picking.write(found(ids), tmp_path / "pool.parquet", ["dog"], tmp_path / "picks")
    files = listing.list_images(tmp_path / "picks" / "dog").files
    assert sorted(Image.open(tmp_path / "picks" / "dog" / f).format for f in files) == sorted(kinds)


@pytest.mark.parametrize(("shape", "mode"), [((4, 4, 3), "RGB"), ((4, 4), "L")])
def test_raw_pixels_become_images(shape, mode, tmp_path):
    x = np.random.default_rng(0).integers(0, 255, (3, *shape), dtype=np.uint8)
    column = pa.array([one.tobytes() for one in x], pa.binary(x[0].size))
    pq.write_table(pa.table({"id": [0, 1, 2], "image": column}), tmp_path / "pool.parquet")
    picking.write(found(["0", "1", "2"]), tmp_path / "pool.parquet", ["dog"], tmp_path / "picks")
    files = sorted((tmp_path / "picks" / "dog").iterdir())
    assert [Image.open(p).mode for p in files] == [mode] * 3
    assert all(
        np.array_equal(np.array(Image.open(p)), one) for p, one in zip(files, x, strict=True)
    )


def test_picks_are_whole_or_not_there(tmp_path):
    images = pa.array([encoded(1), None], pa.binary())
    pq.write_table(pa.table({"id": ["a", "b"], "image": images}), tmp_path / "pool.parquet")
    with pytest.raises(ValueError, match="there is no image"):
        picking.write(found(["a", "b"]), tmp_path / "pool.parquet", ["dog"], tmp_path / "picks")
    assert [path.name for path in tmp_path.iterdir()] == ["pool.parquet"]
