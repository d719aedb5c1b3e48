import errno
import fcntl
import os
import sqlite3
import tracemalloc

import numpy as np
import pytest
from conftest import picture
from PIL import Image

from selectnet_tf._files import digest
from selectnet_tf.data.folders import cache


@pytest.fixture
def paths(tmp_path):
    for i in range(5):
        picture(tmp_path / f"{i}.png", (50 * i, 0, 0), i)
    return [tmp_path / f"{i}.png" for i in range(5)]


@pytest.fixture
def decoded(monkeypatch):
    """A list that grows by one with each decoded image."""
    found, decode = [], cache.decode_and_look
    monkeypatch.setattr(cache, "decode_and_look", lambda *a: found.append(a) or decode(*a))
    return found


def read(paths, folder, size=8):
    images, found, whys = cache.read_images(paths, size, "stretch", folder / "cache")
    return images[np.arange(len(images))], found, whys


def test_what_was_decoded_is_never_decoded_again(paths, decoded, tmp_path):
    first, found, whys = read(paths, tmp_path)
    assert len(decoded) == 5 and whys == [""] * 5 and len({one.pixels for one in found}) == 5
    again, _, _ = read(paths, tmp_path)
    assert len(decoded) == 5 and np.array_equal(first, again)
    picture(tmp_path / "more.png", (9, 9, 9), 9)
    os.rename(paths[0], tmp_path / "renamed.png")
    more, _, _ = read([tmp_path / "renamed.png", *paths[1:], tmp_path / "more.png"], tmp_path)
    assert len(decoded) == 6
    assert np.array_equal(more[:5], first)  # the new one alone; a renamed one is the same one
    assert read(paths[1:], tmp_path, size=4)[0].shape == (4, 4, 4, 3) and len(decoded) == 10


def test_a_changed_image_is_read_again(paths, decoded, tmp_path):
    before, _, _ = read(paths, tmp_path)
    picture(paths[2], (0, 0, 255), 2)
    after, _, _ = read(paths, tmp_path)
    assert len(decoded) == 6
    assert [i for i in range(5) if not np.array_equal(before[i], after[i])] == [2]


def test_images_that_change_places_are_read_again(paths, tmp_path):
    for i, path in enumerate(paths):
        Image.new("RGB", (9, 9), (50 * i, 0, 0)).save(path, "BMP")  # of one size
        os.utime(path, (1, 1))
    before, _, _ = read(paths, tmp_path)
    for old, new in ((0, "x"), (4, 0), ("x", 4)):
        os.rename(tmp_path / f"{old}.png", tmp_path / f"{new}.png")
    assert np.array_equal(read(paths, tmp_path)[0], before[[4, 1, 2, 3, 0]])


def test_a_file_of_any_size_takes_little_memory(tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "a.tif")
    os.truncate(tmp_path / "a.tif", 2**26)  # as of many pages
    tracemalloc.start()
    _, (found,), _ = read([tmp_path / "a.tif"], tmp_path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2**24 and found.mark == digest((tmp_path / "a.tif").read_bytes())


def test_a_stop_keeps_what_is_done_and_leaves_nothing_torn(paths, tmp_path, monkeypatch):
    whole, _, _ = read(paths, tmp_path / "whole")
    monkeypatch.setattr(cache, "CHUNK", 2)
    decode, done = cache.decode_and_look, []

    def stop(*arguments):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(arguments)
        return decode(*arguments)

    monkeypatch.setattr(cache, "decode_and_look", stop)
    with pytest.raises(KeyboardInterrupt):
        read(paths, tmp_path)
    monkeypatch.setattr(cache, "decode_and_look", lambda *a: done.append(a) or decode(*a))
    found, _, _ = read(paths, tmp_path)
    assert len(done) == 5 and np.array_equal(found, whole)
    assert sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()) == [
        ".lock",
        "index.sqlite",
        "pictures",
    ]


@pytest.mark.parametrize("harm", ["torn", "no index", "no pictures"])
def test_a_damaged_cache_begins_anew(harm, paths, tmp_path):
    before, _, _ = read(paths, tmp_path)
    (index,), (pictures,) = tmp_path.rglob("index.sqlite"), tmp_path.rglob("pictures")
    if harm == "torn":
        os.truncate(pictures, 300)
    elif harm == "no index":
        index.write_bytes(b"no database" * 100)
    else:
        pictures.unlink()
    assert np.array_equal(read(paths, tmp_path)[0], before)


@pytest.mark.parametrize(
    ("harm", "words"),
    [("full", "No space left on device"), ("read-only", "readonly .*: give --cache_dir another")],
)
def test_an_index_that_can_t_be_written_is_one_line_and_is_kept(
    harm, words, paths, tmp_path, monkeypatch
):
    before, _, _ = read(paths, tmp_path)
    connect = sqlite3.connect

    def open_harmed(path):
        if harm == "read-only":
            return connect(f"file:{path}?mode=ro", uri=True)
        index = connect(path)
        index.execute("PRAGMA max_page_count = 1")  # as many as there are
        return index

    more = tmp_path / "more"
    for i in range(300):
        picture(more / f"{i}.png", (i % 256, i // 256, 99), i)
    with monkeypatch.context() as patch:
        patch.setattr(cache.sqlite3, "connect", open_harmed)
        with pytest.raises(OSError, match=words):
            read(sorted(more.iterdir()), tmp_path)
    monkeypatch.setattr(cache, "decode_and_look", None)  # nothing is decoded again
    assert np.array_equal(read(paths, tmp_path)[0], before)


def test_copies_are_kept_once_and_broken_ones_are_named(paths, decoded, tmp_path):
    (tmp_path / "copy.png").write_bytes(paths[1].read_bytes())
    (tmp_path / "torn.png").write_bytes(paths[1].read_bytes()[:50])
    images, found, whys = read([*paths, tmp_path / "copy.png", tmp_path / "torn.png"], tmp_path)
    assert found[5] == found[1] and np.array_equal(images[5], images[1]) and len(images) == 6
    assert found[6] is None and whys[:6] == [""] * 6 and whys[6]
    assert next(tmp_path.rglob("pictures")).stat().st_size == 5 * 8 * 8 * 3


def test_storage_without_locks_is_one_line(paths, tmp_path, monkeypatch):
    monkeypatch.setattr(
        fcntl,
        "flock",
        lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")),
    )
    with pytest.raises(
        OSError,
        match="is on storage without file locks: give --cache_dir a folder on a local disk$",
    ):
        read(paths, tmp_path)
