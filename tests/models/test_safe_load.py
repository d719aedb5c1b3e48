import io
import json
import random
import zipfile

import h5py
import keras
import numpy as np
import pytest

from selectnet_tf.models import networks, safe_load
from selectnet_tf.recipes.architectures import APPLICATIONS


@pytest.fixture
def file(tmp_path):
    rows = keras.Input((4,))
    hidden = keras.layers.Dense(64, activation="relu", kernel_initializer="he_normal")(rows)
    keras.Model(rows, keras.layers.Dense(3, activation="softmax", name="classes")(hidden)).save(
        tmp_path / "model.keras"
    )
    return tmp_path / "model.keras"


def rewritten(path, change=None, weights=None):
    """The file with a change to its config, or with other weights."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    config = json.loads(content["config.json"])
    if change:
        change(config["config"]["layers"])
    content |= {
        "config.json": json.dumps(config).encode(),
        **({"model.weights.h5": weights} if weights else {}),
    }
    with zipfile.ZipFile(path, "w") as new:
        for name, value in content.items():
            new.writestr(name, value)
    return path


@pytest.mark.parametrize(
    ("arch", "shape"),
    [("simple", (32, 32, 3)), ("resnet8", (16, 16, 1)), ("resnet11v2", (16, 16, 3))],
)
def test_a_model_of_ours_is_read(arch, shape, tmp_path):
    model = networks.build(arch, shape, 3)
    model.save(tmp_path / "model.keras")
    x = np.random.default_rng(0).integers(0, 9, (2, *shape)).astype(model.input.dtype)
    np.testing.assert_allclose(
        safe_load.load(tmp_path / "model.keras").predict(x, verbose=0),
        model.predict(x, verbose=0),
        atol=1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize("arch", APPLICATIONS)
def test_every_network_of_keras_applications_is_read(arch, tmp_path):
    networks.build(arch, (96, 96, 3), 3).save(tmp_path / "model.keras")
    assert safe_load.load(tmp_path / "model.keras").output_shape == (None, 3)


def names(**changes):
    return lambda layers: layers.append(
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {},
            "registered_name": None,
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (names(class_name="Lambda"), "keras.layers.Lambda"),
        (names(class_name="TFSMLayer"), "keras.layers.TFSMLayer"),
        (names(module="os", class_name="system"), "os.system"),
        (names(module="builtins", class_name="function"), "builtins.function"),
        (names(module="keras.config", class_name="enable_unsafe_deserialization"), "keras.config.enable_unsafe_deserialization"),
        (names(module="keras.utils", class_name="get_file"), "keras.utils.get_file"),
        (names(module=None, class_name="__lambda__"), "None.__lambda__"),
        (names(module=["keras"]), r"\['keras'\].Dense"),
        (names(registered_name="mine>Dense"), "keras.layers.Dense"),
        (lambda layers: layers[-1]["config"].update(activation={"module": "builtins", "class_name": "eval"}), "builtins.eval"),
    ],
)  # fmt: skip
def test_a_file_that_names_anything_else_is_not_handed_to_keras(change, said, file, monkeypatch):
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("handed to Keras"))
    with pytest.raises(
        ValueError,
        match=f"names {said}, which no model of this package has, and was not loaded: give the model.keras",
    ):
        safe_load.load(rewritten(file, change))


def linked(h5):
    h5["a"] = h5py.ExternalLink("/etc/passwd", "/")


def huge(h5):
    h5.create_dataset("a", (10**9, 100), np.float32)


@pytest.mark.parametrize("write", [linked, huge])
def test_weights_lie_in_the_file_itself(write, file):
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as h5:
        write(h5)
    with pytest.raises(ValueError, match="has weights 'a' outside the file"):
        safe_load.load(rewritten(file, weights=buffer.getvalue()))


def test_other_files_are_refused(file, tmp_path):
    (tmp_path / "model.h5").write_bytes(
        file.read_bytes()
    )  # Keras would read the HDF5 in front of the archive
    (tmp_path / "torn.keras").write_bytes(file.read_bytes()[:-40])
    for name in ("model.h5", "torn.keras", "none.keras"):
        with pytest.raises(
            ValueError, match="is no .keras file: give the model.keras that a run left"
        ):
            safe_load.load(tmp_path / name)


def test_an_archive_that_unpacks_to_far_more_is_refused(file):
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(10**8))
    with pytest.raises(ValueError, match="unpacks to 100,0.* bytes"):
        safe_load.load(file)


def test_a_damaged_byte_is_one_line_or_without_effect(file):
    whole, x = file.read_bytes(), np.ones((1, 4), np.float32)
    right, g = safe_load.load(file).predict(x, verbose=0), random.Random(0)
    for _ in range(60):
        content = bytearray(whole)
        content[g.randrange(len(content))] ^= 1 << g.randrange(8)
        file.write_bytes(content)
        try:
            safe_load.check(file)
        except ValueError as error:
            assert str(error).startswith(str(file)) and "\n" not in str(error)
        else:
            assert np.array_equal(safe_load.load(file).predict(x, verbose=0), right)
