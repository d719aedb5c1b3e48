import math

import pytest

from selectnet_tf import recipes
from selectnet_tf.models import networks
from selectnet_tf.runs import plan, store


@pytest.mark.parametrize("arch", ["simple", "resnet20", "resnet20v2"])
def test_multiply_adds_are_those_of_the_network(arch):
    counted = 0
    for layer in networks.build(arch, (32, 32, 3), 10).layers:
        if layer.__class__.__name__ in ("Conv2D", "Dense"):
            places = (
                layer.output.shape[1] * layer.output.shape[2] if len(layer.output.shape) == 4 else 1
            )
            counted += places * int(layer.kernel.shape.num_elements())
    assert plan.count_multiply_adds(arch) == pytest.approx(counted, rel=0.1)


@pytest.mark.parametrize(
    ("changes", "images"),
    [
        ({"method": "imbalanced"}, 27_200),
        ({"method": "oversampling"}, 45_000),
        ({"method": "selectnet"}, 45_000),
        ({"method": "oracle"}, 50_000),
        ({"method": "class_balanced", "dataset": "cifar10-lt"}, 12_406),
        ({"method": "imbalanced", "dataset": "cifar100-4minor"}, 43_300),
    ],
)
def test_images_of_an_epoch_are_reference_s(changes, images):
    assert plan.count_images(recipes.make(epochs=1, every=1, **changes)) == images


def test_a_slower_machine_is_seen_from_other_networks(tmp_path):
    recipe = recipes.make(method="imbalanced", epochs=1)
    row = {"dataset": "cifar10-4minor", "arch": "simple", "method": "imbalanced", "seed": 0}
    row |= {"preset": "paper", "epochs": 1, "accuracy": 0.5, "last10_accuracy": 0.5}
    row |= {"seconds": 272.0, "selection_seconds": 0.0, "images": 27200}
    store.write_row(tmp_path, "a", {"name": "a", **row})
    rates = plan.read_rates(tmp_path)
    other_work = (
        {"dataset": "digits-4minor"},
        {"dataset": "folder", "arch": "resnet8"},
        {"freeze": True},
    )
    for i, other in enumerate(other_work):
        store.write_row(tmp_path, f"b{i}", {"name": f"b{i}", **row, "seconds": 1.0, **other})
    assert rates == plan.read_rates(tmp_path) == {"simple": 100.0}
    assert plan.estimate_seconds(recipe, rates) == pytest.approx(272)
    deep = recipes.make(method="imbalanced", epochs=1, arch="resnet20")
    ratio = plan.count_multiply_adds("resnet20") / plan.count_multiply_adds("simple")
    assert plan.estimate_seconds(deep, rates) == pytest.approx(272 * ratio)
    for other in ({"arch": "MobileNetV2"}, {"freeze": True, "weights": "a.keras"}):
        assert math.isnan(plan.estimate_seconds(recipes.make(method="imbalanced", **other), rates))
    known = {"MobileNetV2": 5.0}
    assert plan.estimate_seconds(recipe, rates | known) == pytest.approx(272)
    assert plan.estimate_seconds(deep, known) == plan.estimate_seconds(deep, {})
    mobile = recipes.make(method="imbalanced", epochs=1, arch="MobileNetV2")
    assert plan.estimate_seconds(mobile, known) == 27_200 / 5
    found = [plan.format_hours(s) for s in (math.nan, 90, 150, 5400)]
    assert found == ["–", "90 s", "2 min", "1.5 h"]
