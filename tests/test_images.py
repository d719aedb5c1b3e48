import os
import pathlib

import h5py
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import sparse

from selectnet_tf import images as module
from selectnet_tf.images import Images, Subset, digest
from selectnet_tf.pool import Pool
from selectnet_tf.selection import Scorer

A = np.arange(5 * 2 * 2 * 1, dtype=np.uint8).reshape(5, 2, 2, 1)


@pytest.fixture
def mapped(tmp_path):
    """A np.memmap of the same images as `A`."""
    np.save(tmp_path / "a.npy", A)
    return np.load(tmp_path / "a.npy", mmap_mode="r")


def test_parts_are_one_sequence():
    images = Images(A[:2], A[2:])
    assert images.shape == (5, 2, 2, 1) and images.dtype == np.uint8 and len(images) == 5
    places = np.array([4, 0, 2, 2, 1])
    assert np.array_equal(images[places], A[places]) and np.array_equal(images[1:4], A[1:4])
    assert images.parts[0].base is A.base or images.parts[0].base is A  # where they lay


@pytest.mark.parametrize(
    "how", ["mapped", "a part of one", "mapped beside memory", "with Fortran order"]
)
def test_memory_mapped_files_are_read_where_they_lie(how, mapped, tmp_path):
    images, expected = Images(mapped), A
    if how == "a part of one":
        images, expected = Images(mapped[2:]), A[2:]
    elif how == "mapped beside memory":
        images, expected = Images(A[:1], mapped), np.concatenate([A[:1], A])
    elif how == "with Fortran order":
        np.save(tmp_path / "f.npy", np.asfortranarray(A))
        images = Images(np.load(tmp_path / "f.npy", mmap_mode="r"))
    places = np.array([2, 0, 1])
    assert np.array_equal(images[places], expected[places])


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps"), reason="needs Linux's /proc/self/smaps")
@pytest.mark.parametrize("part", [slice(None), slice(100, None), slice(50, 900)])
def test_what_was_read_from_a_file_does_not_stay_in_memory(part, tmp_path):
    np.full((1000, 64, 64), 7, np.uint8).tofile(tmp_path / "big")
    mapped = np.memmap(tmp_path / "big", np.uint8, "r", shape=(1000, 64, 64))
    images = Images(mapped[part])
    assert images[np.arange(len(images))].min() == 7
    lines = pathlib.Path("/proc/self/smaps").read_text().splitlines()
    resident = [
        int(lines[i + 1 + k].split()[1])
        for i, line in enumerate(lines)
        if "/big" in line
        for k in range(5)
        if "Rss:" in lines[i + 1 + k]
    ]
    assert resident and sum(resident) < 200  # kB, of 4,000
    assert mapped[0, 0, 0] == 7


def test_a_relative_file_is_found_after_a_change_of_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", A)
    images = Images(np.memmap("a.npy", np.uint8, "r", os.path.getsize("a.npy") - A.size, A.shape))
    monkeypatch.chdir("/")
    assert np.array_equal(images[np.arange(5)], A)


def test_gather_in_a_pipeline(mapped):
    data = tf.data.Dataset.from_tensor_slices([[0, 1], [4, 3]]).map(Images(mapped).gather)
    assert data.element_spec.shape == (2, 2, 2, 1) and data.element_spec.dtype == tf.uint8
    found = [batch.tolist() for batch in data.as_numpy_iterator()]
    assert found == [A[[0, 1]].tolist(), A[[4, 3]].tolist()]


def test_what_does_not_fit_together_is_refused():
    words = r"several shapes or types: \[2, 2, 1\] float32, \[2, 2, 1\] uint8: bring them to one shape and type"
    with pytest.raises(ValueError, match=words):
        Images(A, A.astype(np.float32))
    words = "the images have several shapes: resize images, pad series and tokens; .* a tuple of arrays, not a list"
    for ragged in ([[1, 2], [3]], [A, A[0]], tf.ragged.constant([[1, 2], [3]])):
        with pytest.raises(ValueError, match=words):
            Images(ragged)


def test_a_mapped_pool_trains_and_scores_as_one_in_memory(mapped):
    labels = [0, 1]
    both = [Pool(A[:2], labels, rest, [1], seed=3) for rest in (A[2:], mapped[2:])]
    for pool in both:
        pool.train_on_labeled([2, 4], [1, 0])
        pool.begin_epoch(1)
    batches = [
        [(x.tolist(), y.tolist()) for x, y in pool.dataset(2).as_numpy_iterator()] for pool in both
    ]
    assert batches[0] == batches[1] and len(batches[0]) == 2
    layers = [keras.layers.Rescaling(1.0), keras.layers.Flatten()]
    model = keras.Sequential([keras.Input((2, 2, 1), dtype="uint8"), *layers])
    outputs = [Scorer(model, pool.images, 2)()[0] for pool in both]
    assert np.array_equal(*outputs) and np.array_equal(outputs[0], A.reshape(5, 4))


@pytest.mark.parametrize(
    "images", [Images(A), Images(A[:2], A[2:]), Images(Subset(A, [0, 1, -3, 3, 4]))]
)
def test_places_are_taken_as_numpy_takes_them(images):
    mask = np.array([True, False, False, True, True])
    slices = slice(-2, None), slice(None, None, -2)
    for places in (mask, [-1, -5], [], np.array([4], np.uint64), *slices, 3, -1):
        there = np.asarray(places, int) if isinstance(places, list) else places
        assert np.array_equal(images[places], A[there])


@pytest.mark.parametrize("images", [Images(A), Images(A[:2], A[2:]), Subset(A, [0, 1, 2, 3, 4])])
@pytest.mark.parametrize(
    "places",
    [
        *([5], [-6], [0, 5000], np.ones(4, bool), np.ones(6, bool)),
        *(np.array([0.0, 1.0]), np.zeros((1, 1), int)),
    ],
)
def test_places_that_there_are_not_are_an_index_error(images, places):
    with pytest.raises(IndexError):
        Images(images)[places]


def test_a_subset_of_what_is_not_there_is_an_index_error():
    with pytest.raises(IndexError, match="index 7 is out of bounds for axis 0 with size 5"):
        Subset(A, [0, 7])


@pytest.mark.parametrize("kind", [">f4", ">i2", ">u8"])
def test_a_foreign_byte_order_is_read_as_this_machine_s(kind):
    images = Images(A.astype(kind)[:2], A.astype(kind)[2:])
    assert images.dtype.isnative and images[:].dtype.isnative and np.array_equal(images[:], A)
    data = tf.data.Dataset.from_tensor_slices([[4, 0]]).map(images.gather)
    assert next(data.as_numpy_iterator()).tolist() == A[[4, 0]].tolist()


def test_what_was_changed_in_a_copy_on_write_map_is_read(tmp_path):
    np.save(tmp_path / "a.npy", A)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="c")
    mapped[:] = 255 - mapped
    assert np.array_equal(Images(mapped[:2], mapped[2:])[:], 255 - A)


def test_h5py_datasets_are_read_where_they_lie(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = A
        images = Images(file["x"], A)
        assert isinstance(images.parts[0], h5py.Dataset)
        assert np.array_equal(images[[4, 0, 4, 9, 5]], A[[4, 0, 4, 4, 0]])
        data = tf.data.Dataset.from_tensor_slices([[4, 0, 4]]).map(images.gather)
        assert next(data.as_numpy_iterator()).tolist() == A[[4, 0, 4]].tolist()


def test_a_series_is_indexed_by_position():
    assert Images(pd.Series([5, 6, 7], index=[2, 1, 0]))[[0, 2]].tolist() == [5, 7]


def test_what_tensorflow_cannot_hold_is_refused():
    with pytest.raises(ValueError, match="images of dtype object, which TensorFlow lacks"):
        Images(np.array([{}, {}]))
    with pytest.raises(ValueError, match="dtype datetime64"):
        Images(np.zeros(3, "datetime64[s]"))
    with pytest.raises(ValueError, match="images are a dict, but have to be an array"):
        Images({"a": A, "b": A})
    with pytest.raises(ValueError, match=r"images are None: give \[\] where there are none"):
        Pool(A, [0, 0, 1, 1, 1], None, [1])
    with pytest.raises(ValueError, match=r"images are sparse: give x.toarray\(\)"):
        Images(sparse.csr_matrix(A.reshape(5, 4)))
    with pytest.raises(ValueError, match=r"several shapes or types: \[\] bytes, \[\] text"):
        Images(np.array([b"a"]), np.array(["a"]))


class Endless(keras.utils.PyDataset):
    asked = 0

    def __len__(self):
        return 30

    def __getitem__(self, place):
        Endless.asked += 1
        return np.zeros((4, 8)), np.zeros(4)

    __iter__ = __next__ = __getitem__


@pytest.mark.parametrize("part", [Endless(), iter([[1, 2]]), {1, 2}])
def test_what_is_no_array_is_refused_unread(part):
    with pytest.raises(ValueError, match="images are a .*, but have to be an array"):
        Images(part)
    assert not Endless.asked


def test_texts_may_be_of_several_lengths():
    texts = Images(np.array(["a few", "words"]), np.array(["and more of them"]), np.array(["a"]))
    assert texts[[1, 2, 3, 0]].tolist() == ["words", "and more of them", "a", "a few"]
    assert texts[2] == "and more of them"
    data = tf.data.Dataset.from_tensor_slices([[2, 0]]).map(texts.gather)
    assert next(data.as_numpy_iterator()).tolist() == [b"and more of them", b"a few"]
    assert Images(np.array(["a few", "words"]))[[1]].tolist() == ["words"]


def test_texts_may_be_objects():
    texts = Images(np.array(["a", "längere"], object), np.array(["b"]))
    assert texts[[1, 2]].tolist() == ["längere", "b"]
    data = tf.data.Dataset.from_tensor_slices([[2, 1]]).map(texts.gather)
    assert next(data.as_numpy_iterator()).tolist() == [b"b", "längere".encode()]
    assert digest(texts) == digest(np.array(["a", "längere", "b"], object))
    assert digest(texts) != digest(np.array(["a", "kürzere", "b"], object))
    with pytest.raises(ValueError, match=r"text 1 is nan, no text: fill in missing ones"):
        Images(np.array(["a", np.nan], object))


def test_a_digest_tells_arrays_apart(mapped, monkeypatch):
    plain = digest(A)
    assert len(plain) == 32
    assert digest(Images(A[:2], mapped[2:])) == plain == digest(Subset(A[::-1], [4, 3, 2, 1, 0]))
    changed = A.copy()
    changed[3, 1, 1] ^= 1
    others = [changed, A[:4], A[::-1], A[[1, 0, 2, 3, 4]], A.astype(np.int8)]
    others += [A.reshape(5, 4), A.reshape(5, 4, 1, 1)]
    assert len({plain, *map(digest, others)}) == 8
    assert digest(A.astype(">i4")) == digest(A.astype("<i4")) != digest(A.astype("<i8"))
    monkeypatch.setattr(module, "CHUNK_BYTES", 8)
    assert digest(A) == plain == "592bb0e3099d87e44b6ae8e672cc2bd5"


def test_a_digest_of_more_than_it_reads_has_the_first_the_last_and_the_number(monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 12)
    plain = digest(A)  # rows 0, 2 and 4
    for row, seen in enumerate([True, False, True, False, True]):
        changed = A.copy()
        changed[row] += 1
        assert (digest(changed) != plain) == seen
    assert digest(A[[0, 2, 4]]) != plain
