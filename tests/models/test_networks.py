import keras
import numpy as np
import pytest

from selectnet_tf.models import networks
from selectnet_tf.recipes.architectures import APPLICATIONS


@pytest.mark.parametrize(
    ("arch", "ten", "hundred"),
    [
        ("simple", 1250858, None), ("resnet20", 274442, 280292), ("resnet20v2", 574090, 597220),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in (
            ("resnet32", 470218, 476068), ("resnet56", 861770, 867620), ("resnet56v2", 1673738, 1696868))),
    ],
)  # fmt: skip
def test_parameters_are_the_classic_networks(arch, ten, hundred):
    assert networks.build(arch, (32, 32, 3), 10).count_params() == ten
    if hundred:
        assert networks.build(arch, (32, 32, 3), 100).count_params() == hundred


@pytest.mark.parametrize(
    ("arch", "words"),
    [("resnet57", "resnet56 and resnet62"), ("resnet21v2", "resnet20v2 and resnet29v2"), ("resnet2", "resnet8 and resnet14"),
     ("resnet0v2", "resnet11v2 and resnet20v2"), ("vgg16", "has to be simple, resnet20"), ("resnet20v3", "has to be simple")],
)  # fmt: skip
def test_a_wrong_arch_is_refused_with_the_nearest(arch, words):
    with pytest.raises(ValueError, match=words):
        networks.build(arch, (32, 32, 3), 10)


@pytest.mark.parametrize("arch", ["simple", "resnet8", "resnet11v2"])
def test_takes_bytes_and_gives_probabilities(arch):
    keras.utils.set_random_seed(0)
    model = networks.build(arch, (16, 16, 1), 3)
    found = model(np.random.default_rng(0).integers(0, 256, (5, 16, 16, 1), dtype=np.uint8)).numpy()
    assert model.input.dtype == "uint8" and found.shape == (5, 3)
    np.testing.assert_allclose(found.sum(1), 1, rtol=1e-5)


def test_pixels_are_scaled_inside():
    x = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1) * np.ones((1, 12, 12, 1), np.uint8)
    for scale, offset, ends in ((1 / 255, 0.0, (0, 1)), (1 / 128, -1.0, (-1, 255 / 128 - 1))):
        model = networks.build("resnet8", (12, 12, 1), 2, scale=scale, offset=offset)
        inside = keras.Model(model.input, model.get_layer("pixels").output)(x).numpy()
        np.testing.assert_allclose(inside[:, 0, 0, 0], ends, atol=1e-6)


def test_a_network_for_floats_sees_what_one_for_bytes_sees():
    x = np.random.default_rng(0).integers(0, 256, (4, 12, 12, 3)).astype(np.uint8)
    found = []
    for dtype, images in (("uint8", x), ("float32", (x / 255).astype(np.float32))):
        keras.utils.set_random_seed(0)
        model = networks.build("resnet8", (12, 12, 3), 4, dtype=dtype)
        assert model.input.dtype == dtype
        found.append(model(images).numpy())
    np.testing.assert_allclose(*found, rtol=1e-4)


def test_large_whole_numbers_are_scaled_before_they_are_cut_to_16_bits():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = networks.build("resnet8", (12, 12, 1), 2, dtype="uint16", scale=1 / 65535)
        inside = keras.Model(model.input, model.get_layer("pixels").output)(
            np.full((1, 12, 12, 1), 65535, np.uint16)
        )
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(inside, 1)


def test_channels_first_is_refused():
    """A ResNet trained on it without a word, its rows taken for channels."""
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(
            ValueError, match=r"takes? \[h, w, channels\]: call keras.config.set_image_data_format"
        ):
            networks.build("resnet8", (32, 32, 3), 10)
    finally:
        keras.config.set_image_data_format("channels_last")


def test_resnet_convolutions_carry_the_l2_loss():
    model = networks.build("resnet8", (16, 16, 3), 10)
    kernels = [layer.kernel for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    expected = 1e-4 * sum(float((k.numpy() ** 2).sum()) for k in kernels)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(expected, rel=1e-5)


def test_images_that_are_too_small_of_any_size_or_without_channels_are_refused():
    with pytest.raises(ValueError, match="at least 12 x 12"):
        networks.build("simple", (8, 8, 1), 10)
    with pytest.raises(ValueError, match=r"is \[28, 28\], .* as in images\[..., None\]"):
        networks.build("resnet8", (28, 28), 10)
    with pytest.raises(ValueError, match=r"is \[None, None, 3\], .*: resize images to one size"):
        networks.build("resnet8", (None, None, 3), 10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "module"),
    [("MobileNetV2", "mobilenet_v2"), ("ResNet50", "resnet50"), ("DenseNet121", "densenet")],
)
def test_networks_of_keras_applications_see_the_pixels_that_they_want(arch, module, tmp_path):
    model = networks.build(arch, (32, 32, 3), 4)
    x = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    pixels = getattr(keras.applications, module).preprocess_input(x.astype("float32"))
    base, head = model.layers[-2:]
    np.testing.assert_allclose(model(x), head(base(pixels)), rtol=1e-4, atol=1e-6)
    base.save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))
    again = networks.build(arch, (32, 32, 3), 7, weights=str(tmp_path / "a.weights.h5"))
    np.testing.assert_array_equal(again.layers[-2](pixels), base(pixels))


MODULES = {  # of keras.applications, with their preprocess_input
    **dict.fromkeys(("ResNet50V2", "ResNet101V2"), "resnet_v2"), **dict.fromkeys(("ResNet50", "ResNet101"), "resnet"),
    **dict.fromkeys(("DenseNet121", "DenseNet169", "DenseNet201"), "densenet"), "MobileNet": "mobilenet", "MobileNetV2": "mobilenet_v2",
    **dict.fromkeys(("MobileNetV3Small", "MobileNetV3Large"), "mobilenet_v3"), "Xception": "xception", "InceptionV3": "inception_v3",
    "NASNetMobile": "nasnet", "VGG16": "vgg16", "VGG19": "vgg19", "EfficientNetB0": "efficientnet", "ConvNeXtTiny": "convnext",
    **dict.fromkeys(("EfficientNetV2B0", "EfficientNetV2S"), "efficientnet_v2"),
}  # fmt: skip


@pytest.mark.parametrize("arch", APPLICATIONS)
def test_every_application_s_pixels_are_those_of_keras(arch):
    x = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")
    expected = getattr(keras.applications, MODULES[arch]).preprocess_input(x.copy())
    np.testing.assert_allclose(networks._pixels(x, arch), expected, rtol=1e-4, atol=1e-4)


class _Normalized:
    """Stands for an EfficientNet whose normalization has these statistics."""

    def __init__(self, mean, variance):
        norm = keras.layers.Normalization(axis=-1)
        norm.build((None, 4, 4, 3))
        norm.adapt_mean.assign(mean)
        norm.adapt_variance.assign(variance)
        norm.finalize_state()
        self.layers = [norm]


def test_efficientnet_s_second_rescaling_stands_before_the_normalization():
    mean, std = (
        np.array([0.485, 0.456, 0.406], "float32"),
        np.array([0.229, 0.224, 0.225], "float32"),
    )
    x, base = (
        np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32"),
        _Normalized(mean, std**2),
    )
    found = base.layers[0](networks._rescale_imagenet(x, base) / 255)
    np.testing.assert_allclose(found, (x / 255 - mean) / std / np.sqrt(std), rtol=1e-4, atol=1e-4)
    assert networks._rescale_imagenet(x, _Normalized([0, 0, 0], [1, 1, 1])) is x


@pytest.mark.slow
def test_fresh_batch_normalizations_learn_their_statistics_soon(tmp_path):
    def momenta(model):
        return {layer.momentum for layer in model.layers[-2].layers if hasattr(layer, "momentum")}

    model = networks.build("MobileNetV2", (32, 32, 3), 3)
    model.layers[-2].save_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "model.keras")
    assert momenta(model) == momenta(keras.saving.load_model(tmp_path / "model.keras")) == {0.85}
    weights = str(tmp_path / "a.weights.h5")
    for options, kept in (({}, 0.85), ({"momentum": None}, 0.999)):
        model = networks.build("MobileNetV2", (32, 32, 3), 3, weights=weights, **options)
        assert momenta(model) == {kept}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_of_another_network_are_refused(tmp_path):
    networks.build("MobileNet", (32, 32, 3), 4).layers[-2].save_weights(tmp_path / "a.weights.h5")
    for path in (tmp_path / "a.weights.h5", tmp_path / "nothing.weights.h5"):
        with pytest.raises(
            ValueError, match="does not hold weights of MobileNetV2 without its top"
        ):
            networks.build("MobileNetV2", (32, 32, 3), 4, weights=str(path))
