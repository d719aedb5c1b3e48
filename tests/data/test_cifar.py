import hashlib
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
    return RNG.integers(0, 256, (n, 3072)).astype(np.uint8), [
        int(c) for c in RNG.integers(0, classes, n)
    ]


def dump(planes, labels, key=b"labels", protocol=2):
    return pickle.dumps(
        {b"data": planes, key: labels, b"batch_label": b"batch", b"filenames": [b"a.png"]}, protocol
    )


def cifar10(folder, protocol=2):
    """The official Python layout, two images a batch. Returns the images' rows and labels."""
    base = folder / "cifar-10-batches-py"
    base.mkdir()
    parts = [rows(2) for _ in range(6)]
    for name, part in zip(
        [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], parts, strict=True
    ):
        (base / name).write_bytes(dump(*part, protocol=protocol))
    return np.concatenate([p for p, _ in parts]), np.concatenate([y for _, y in parts])


def image(row):
    return np.stack([row[:1024], row[1024:2048], row[2048:]], -1).reshape(32, 32, 3)


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_python_version(protocol, tmp_path):
    planes, labels = cifar10(tmp_path, protocol)
    for place in (tmp_path, tmp_path / "cifar-10-batches-py"):
        found = cifar.load("cifar10-4minor", place)
        assert found.x.shape == (10, 32, 32, 3)
        assert found.x.dtype == np.uint8
        assert found.classes == 10
        assert np.array_equal(found.x[7], image(planes[7]))
        assert np.array_equal(found.x_test[1], image(planes[11]))
        assert found.y.tolist() == labels[:10].tolist()
        assert found.y_test.tolist() == labels[10:].tolist()


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
            content = np.column_stack(
                [labels[2 * i : 2 * i + 2].astype(np.uint8), planes[2 * i : 2 * i + 2]]
            ).tobytes()
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    found = cifar.load("cifar10", tmp_path / "binary")
    assert np.array_equal(found.x[3], image(planes[3])) and found.y.tolist() == labels[:10].tolist()


def packed(folder, *changes):
    """cifar10's archive. changes: (member, TarInfo type or None to leave it out). Returns its path."""
    cifar10(folder)
    path = folder / "packed" / "cifar-10-python.tar.gz"
    path.parent.mkdir()
    changes = dict(changes)
    with tarfile.open(path, "w:gz") as tar:
        for file in sorted((folder / "cifar-10-batches-py").iterdir()):
            info = tarfile.TarInfo(f"cifar-10-batches-py/{file.name}")
            if file.name not in changes:
                info.size = file.stat().st_size
                tar.addfile(info, io.BytesIO(file.read_bytes()))
            elif changes[file.name]:
                info.type, info.linkname = changes[file.name], "/etc/passwd"
                tar.addfile(info)
    return path


@pytest.mark.parametrize("part", [0.3, 0.6, 0.9, 1.0])
def test_one_changed_bit_of_an_archive_is_found_by_its_checksum(part, tmp_path):
    path = packed(tmp_path)
    content = bytearray(path.read_bytes())
    content[int(part * (len(content) - 9)) + (part == 1.0)] ^= (
        1  # the last one is of the checksum itself
    )
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged|damaged or truncated"):
        cifar.load("cifar10", path)


def test_an_archive_that_is_cut_or_followed_by_other_bytes_is_damaged(tmp_path):
    path = packed(tmp_path)
    whole = path.read_bytes()
    for content in (whole[:-4], whole + b"more"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged"):
            cifar.load("cifar10", path)


@pytest.mark.parametrize(
    "kind", [tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE]
)
def test_a_member_that_is_no_plain_file_is_refused(kind, tmp_path):
    with pytest.raises(ValueError, match="has no file cifar-10-batches-py/data_batch_3|is damaged"):
        cifar.load("cifar10", packed(tmp_path, ("data_batch_3", kind)))


def test_an_archive_without_a_batch_says_so(tmp_path):
    with pytest.raises(
        ValueError, match="has no file cifar-10-batches-py/data_batch_3: .*download it again"
    ):
        cifar.load("cifar10", packed(tmp_path, ("data_batch_3", None)))


def test_a_member_that_unpacks_to_far_more_than_cifar_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "MOST", 3_000)
    with pytest.raises(ValueError, match="has no file cifar-10-batches-py/"):
        cifar.load("cifar10", packed(tmp_path))


def test_files_that_are_not_the_official_ones_are_said_and_loaded(tmp_path, monkeypatch):
    path = packed(tmp_path)
    assert cifar.load("cifar10", path).says == (
        f"  {path} is intact, but differs from the official archive (MD5)",
    )
    folder = tmp_path / "cifar-10-batches-py"
    assert cifar.load("cifar10", tmp_path).says == (
        f"  {folder}: 6 of 6 files differ from the official ones (MD5)",
    )
    md5 = {
        f"cifar-10-batches-py/{f.name}": hashlib.md5(f.read_bytes()).hexdigest()
        for f in folder.iterdir()
    }
    monkeypatch.setattr(cifar, "MD5", md5)
    assert cifar.load("cifar10", tmp_path).says == ()
    batch = folder / "data_batch_3"
    whole = batch.read_bytes()
    for place in range(0, len(whole), 5):
        content = bytearray(whole)
        content[place] ^= 1 << place % 8
        batch.write_bytes(content)
        try:
            said = cifar.load("cifar10", tmp_path).says
        except ValueError as error:
            said = str(error)
            assert batch.name in said and "\n" not in said
        assert said, place


def test_cifar100_uses_fine_labels(tmp_path):
    for layout, suffix in (("cifar-100-python", ""), ("cifar-100-binary", ".bin")):
        base = tmp_path / layout[-6:] / layout
        base.mkdir(parents=True)
        for name, n in (("train", 4), ("test", 2)):
            planes, fine = rows(n, 100)
            coarse = np.full(n, 3, np.uint8)
            content = (
                np.column_stack([coarse, np.array(fine, np.uint8), planes]).tobytes()
                if suffix
                else dump(planes, fine, b"fine_labels")
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
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(
        pickle.dumps({b"data": Bomb()}, protocol)
    )
    with pytest.raises(ValueError, match=r"data_batch_3 asks to run (posix|nt|os)\.system"):
        cifar.load("cifar10", tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("cut", [0, 5, 200, 3000])
def test_a_truncated_batch_is_named(cut, tmp_path):
    cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        ValueError, match=r"data_batch_2 is damaged or truncated .*extract the archive again"
    ):
        cifar.load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            dump(np.zeros((2, 3072), np.uint8), [1, 10]),
            "expected labels from 0 to 9, received 1 to 10",
        ),
        (dump(np.zeros((2, 3072), np.uint8), [-1, 1]), "received -1 to"),
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
    with pytest.raises(
        FileNotFoundError,
        match=r"put cifar-10-batches-py/ or cifar-10-python.tar.gz .*--data_dir=FOLDER",
    ):
        cifar.load("cifar10", tmp_path)
    cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_4").unlink()
    with pytest.raises(FileNotFoundError, match="data_batch_4 is missing"):
        cifar.load("cifar10", tmp_path)
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "cifar-10-python.tar.gz").write_bytes(b"\x1f\x8b\x08 not really")
    with pytest.raises(ValueError, match="is damaged .*download it again"):
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
    with pytest.raises(
        ValueError, match=r"expected 50000 \+ 10000 images of cifar10, .* holds 10 \+ 2"
    ):
        cifar.load("cifar10", tmp_path)


def test_digits_need_no_file():
    found = cifar.load("digits-4minor")
    assert found.x.shape == (1437, 16, 16, 1) and len(found.x_test) == 360 and found.x.max() == 255
    assert set(found.y) == set(found.y_test) == set(range(10))
