"""Estimate of a run's time before it is trained."""

import re

import pytest

from selectnet_tf import recipes
from selectnet_tf.data.folders import listing, survey
from selectnet_tf.data.folders.decisions import Decisions
from selectnet_tf.runs import baselines, dry_run


def made_listing(**counts):
    return listing.Listing(
        [f"{name}/{i}.png" for name, count in counts.items() for i in range(count)],
        [],
        list(counts),
    )


def found(test=None):
    pool = listing.Listing([f"{i}.png" for i in range(300)], [], [])
    labeled, tested = {"a": made_listing(cat=100, lynx=10)}, {"t": test} if test else {}
    decided = Decisions({"0a": "lynx"}, {"1b"})
    return survey.Survey(("cat", "lynx"), (1,), labeled, tested, {"b": pool}, decided, {}, [])


FIELDS = {"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b", "epochs": 20, "every": 10}


@pytest.mark.parametrize(
    ("changes", "test", "images", "scored", "embedded"),
    [
        (
            {},
            None,
            161,
            20 * 22 + 2 * (88 + 300) + 300,
            410,
        ),  # a fifth is held out; balanced, both classes have 80, and one is accepted
        ({}, made_listing(cat=30, lynx=20), 201, 20 * 50 + 2 * (110 + 300) + 300, 460),
        ({"method": "imbalanced"}, None, 89, 20 * 22 + 300, 410),
        ({"method": "oversampling", "ask": 0}, None, 161, 20 * 22, 410),
    ],
)
def test_what_is_counted(changes, test, images, scored, embedded):
    recipe = recipes.make(**{**FIELDS, **changes})

    def seconds(*pace):
        asks = recipe.data.ask > 0
        return dry_run.seconds(
            found(test), recipe.selection, recipe.training, asks, dry_run.Pace(*pace)
        )

    assert seconds(1.0, 0.0, 0.0) == (20 * images, images)
    assert seconds(0.0, 1.0, 0.0)[0] == pytest.approx(scored)
    assert seconds(0.0, 0.0, 1.0)[0] == embedded


def test_a_few_steps_are_timed(monkeypatch):
    monkeypatch.setattr(dry_run, "LEAST", 0.01)
    recipe = recipes.make(**FIELDS, image_size=12, batch_size=4)
    said = dry_run.line(found(), recipe)
    assert re.search(r"(about \d+ (min|s)|under a minute) .*: 20 epochs of up to 161 images", said)
    assert "baseline" not in said
    others = baselines.list_methods(recipe)
    assert dry_run.line(found(), recipe, others).endswith(
        "; each baseline takes up to about as long: logit_adjusted, random, selectnet"
    )


def test_weights_are_not_downloaded_for_it(monkeypatch):
    monkeypatch.setattr(dry_run, "LEAST", 0.01)
    monkeypatch.setattr(
        "selectnet_tf.models.networks._application",
        lambda images, arch, weights: pytest.fail(weights) if weights else images[:, 0, 0],
    )
    network = {"arch": "MobileNetV2", "weights": "imagenet", "freeze": True}
    recipe = recipes.make(**FIELDS, image_size=32, batch_size=4, **network)
    assert dry_run.measure(recipe.training, 32, 2).embed > 0
