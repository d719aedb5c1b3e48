import io
import pickle
import tarfile

import numpy as np
import pytest

from selectnet_tf.data import cifar

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(cifar, "SIZES", {"cifar10": (10, 2), "cifar100": (4, 2)})
    monkeypatch.delenv("SELECTNET_DATA", raising=False)


def rows(n, classes=10):
    return RNG.integers(0, 256, (n, 3072)).astype(np.uint8), [int(c) for c in RNG.integers(0, classes, n)]


def dump(planes, labels, key=b"labels", protocol=2):
    return pickle.dumps({b"data": planes, key: labels, b"batch_label": b"batch", b"filenames": [b"a.png"]}, protocol)


def cifar10(folder, protocol=2):
    """The official Python layout, two images a batch. Returns the images' rows and labels."""
    base = folder / "cifar-10-batches-py"
    base.mkdir()
    parts = [rows(2) for _ in range(6)]
    for name, part in zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], parts, strict=True):
        (base / name).write_bytes(dump(*part, protocol=protocol))
    return np.concatenate([p for p, _ in parts]), np.concatenate([y for _, y in parts])


def image(row):
    return np.stack([row[:1024], row[1024:2048], row[2048:]], -1).reshape(32, 32, 3)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_python_version(protocol, tmp_path):
    planes, labels = cifar10(tmp_path, protocol)
    for place in (tmp_path, tmp_path / "cifar-10-batches-py"):
        found = cifar.load("cifar10-4minor", place)
        assert found.x.shape == (10, 32, 32, 3) and found.x.dtype == np.uint8 and found.classes == 10
        assert np.array_equal(found.x[7], image(planes[7])) and np.array_equal(found.x_test[1], image(planes[11]))
        assert found.y.tolist() == labels[:10].tolist() and found.y_test.tolist() == labels[10:].tolist()


def test_a_file_pickled_by_python_2_is_read():
    """The opcodes of the official archive: byte strings by SHORT_BINSTRING, as Python 2 and NumPy 1 wrote them."""
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt R".replace(b"t R", b"tR")
    state = b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    content = b"\x80\x02}(U\x04data" + reconstruct + state + b"T\x00\x0c\x00\x00" + bytes(range(256)) * 12 + b"tbU\x06labels](K\x05eu."
    planes, labels = cifar._pickled(content, "data_batch_1", "cifar10")
    assert planes.shape == (1, 3072) and planes[0, 255] == 255 and labels.tolist() == [5]


def test_archive_of_either_version(tmp_path):
    planes, labels = cifar10(tmp_path)
    (tmp_path / "packed").mkdir()
    with tarfile.open(tmp_path / "packed" / "cifar-10-python.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    for place in (tmp_path / "packed", tmp_path / "packed" / "cifar-10-python.tar.gz"):
        assert np.array_equal(cifar.load("cifar10", place).x[3], image(planes[3]))
    (tmp_path / "binary").mkdir()
    with tarfile.open(tmp_path / "binary" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for i, name in enumerate([*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]):
            content = np.column_stack([labels[2 * i : 2 * i + 2].astype(np.uint8), planes[2 * i : 2 * i + 2]]).tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    found = cifar.load("cifar10", tmp_path / "binary")
    assert np.array_equal(found.x[3], image(planes[3])) and found.y.tolist() == labels[:10].tolist()


def test_cifar100_uses_fine_labels(tmp_path):
    for layout, suffix in (("cifar-100-python", ""), ("cifar-100-binary", ".bin")):
        base = tmp_path / layout[-6:] / layout
        base.mkdir(parents=True)
        for name, n in (("train", 4), ("test", 2)):
            planes, fine = rows(n, 100)
            coarse = np.full(n, 3, np.uint8)
            content = (
                np.column_stack([coarse, np.array(fine, np.uint8), planes]).tobytes() if suffix else dump(planes, fine, b"fine_labels")
            )
            (base / f"{name}{suffix}").write_bytes(content)
        found = cifar.load("cifar100-10minor", base.parent)
        assert found.y_test.tolist() == fine and found.classes == 100


def test_environment_variable_names_the_folder(tmp_path, monkeypatch):
    cifar10(tmp_path)
    monkeypatch.setenv("SELECTNET_DATA", str(tmp_path))
    assert len(cifar.load("cifar10").x) == 10


class Bomb:
    def __reduce__(self):
        import os

        return os.system, ("touch exploded",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_cannot_run_code(protocol, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps({b"data": Bomb()}, protocol))
    with pytest.raises(ValueError, match=r"data_batch_3 asks to run (posix|nt|os)\.system"):
        cifar.load("cifar10", tmp_path)
    assert not (tmp_path / "exploded").exists()


def test_a_small_file_cannot_claim_a_huge_array():
    class Huge:
        def __reduce__(self):
            return np.zeros(0).__reduce__()[0], (np.ndarray, (10**13,), b"b")

    with pytest.raises(ValueError, match="an array of an unknown kind"):
        cifar._pickled(pickle.dumps({b"data": Huge()}), "data_batch_1", "cifar10")


@pytest.mark.parametrize("cut", [0, 5, 200, 3000])
def test_a_truncated_batch_is_named(cut, tmp_path):
    cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"data_batch_2 is damaged or truncated .*extract the archive again"):
        cifar.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (dump(np.zeros((2, 3072), np.uint8), [1, 10]), "labels from 1 to 10, cifar10 has 0 to 9"),
        (dump(np.zeros((2, 3072), np.uint8), [-1, 1]), "labels from -1"),
        (dump(np.zeros((2, 3072), np.uint8), [1]), "n labels"),
        (dump(np.zeros((2, 3000), np.uint8), [1, 2]), "3072"),
        (dump(np.zeros((2, 3072), np.float32), [1, 2]), "3072"),
        (pickle.dumps([1, 2]), "damaged"),
        (pickle.dumps({b"labels": [1]}), "damaged"),
    ],
)
def test_wrong_contents_are_named(content, words, tmp_path):
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_5").write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        cifar.load("cifar10", tmp_path)
    assert "data_batch_5" in str(error.value)


def test_missing_pieces_say_what_to_put_where(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"put cifar-10-batches-py/ or cifar-10-python.tar.gz .*--data_dir=FOLDER"):
        cifar.load("cifar10", tmp_path)
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_4 is missing"):
        cifar.load("cifar10", tmp_path)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b\x08 not really")
    with pytest.raises(ValueError, match="is damaged at"):
        cifar.load("cifar10", tmp_path / "torn")


def test_a_failed_download_says_what_to_put_where(monkeypatch):
    import keras

    def offline():
        raise Exception("URL fetch failure on https://example.invalid")

    monkeypatch.setattr(keras.datasets.cifar100, "load_data", offline)
    with pytest.raises(FileNotFoundError, match=r"download failed.*cifar-100-python.tar.gz"):
        cifar.load("cifar100-lt")


def test_too_few_images_are_refused(tmp_path, monkeypatch):
    cifar10(tmp_path)
    monkeypatch.setattr(cifar, "SIZES", {"cifar10": (50000, 10000)})
    with pytest.raises(ValueError, match=r"10 \+ 2 images, cifar10 has 50000 \+ 10000"):
        cifar.load("cifar10", tmp_path)


def test_digits_need_no_file():
    found = cifar.load("digits-4minor")
    assert found.x.shape == (1437, 16, 16, 1) and len(found.x_test) == 360 and found.x.max() == 255
    assert set(found.y) == set(found.y_test) == set(range(10))
