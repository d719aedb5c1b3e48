import dataclasses

import pytest

from selectnet_tf import recipes, rules


def test_presets_hold_the_design_s_table():
    paper, released = recipes.make().flat(), recipes.make(preset="released").flat()
    values = {  # (paper, released)
        "selector_inputs": ("probs+loss", "probs"), "labeled_loss": ("predicted", "two_hot"), "init": ("balanced", "copies"),
        "oversample": ("replacement", "copies"), "selector_fit": ("minor", "all"), "selector_init": ("glorot", "normal"),
        "selector_lr": (1e-2, 1e-3), "selector_epochs": (20, 5), "split": ("random", "first"),
    }  # fmt: skip
    assert {f: (paper[f], released[f]) for f in values} == values
    both = {
        "threshold": 0.6, "beta": None, "lr": 0.01, "momentum": 0.9, "decay": 1e-6, "batch_size": 32,
        "epochs": 200, "every": 10, "shift": 0.2, "augment": "shift_flip", "init_copies": 20,
    }  # fmt: skip
    assert both.items() <= paper.items() and both.items() <= released.items()
    assert paper["threshold"] == rules.THRESHOLD


def test_preset_robust_has_its_loss_where_something_is_selected_and_nothing_else_does():
    parts = ("prior_loss", "align", "cap", "max_per_class")
    found = {
        (p, m): [recipes.make(preset=p, method=m).flat()[part] for part in parts]
        for p in recipes.PRESETS
        for m in recipes.METHODS
    }
    assert found["robust", "selectnet"] == found["robust", "context"] == [1.0, 0, 0, 0]
    own = recipes.make(dataset="folder", labeled_dir="a", unlabeled_dir="b")
    assert own.preset == "robust" and [own.flat()[part] for part in parts] == [1.0, 0.0, 0.0, 0]
    assert own.selection.method == recipes.make(preset="robust").selection.method == "candidates"
    assert (
        found["paper", "logit_adjusted"] == found["robust", "logit_adjusted"] == [1.0, 0.0, 0.0, 0]
    )
    others = {
        key: values
        for key, values in found.items()
        if key[1] != "logit_adjusted" and (key[0] != "robust" or key[1] not in recipes.SELECTING)
    }
    assert len(others) == 24 and all(values == [0, 0, 0, 0] for values in others.values())


def test_a_frozen_network_on_folders_trains_slowly_with_weight_decay():
    own = {"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b"}
    frozen = {"freeze": True, "weights": "a.keras"}

    def found(recipe):
        return recipe.training.lr, recipe.training.weight_decay

    run = recipes.make(**own, **frozen)
    assert found(run) == found(recipes.with_method(run, "random")) == (0.001, 0.1)
    assert found(recipes.make(**own, **frozen, lr=0.01, training="adam")) == (0.01, 0.1)
    others = ({**own}, {**own, **frozen, "preset": "paper"}, {**frozen, "preset": "robust"})
    assert [found(recipes.make(**each)) for each in others] == [(0.01, 0.0)] * 3


def test_datasets_have_section_4_1_s_minors():
    assert recipes.make().data.minor == (0, 2, 6, 7)
    assert recipes.make(dataset="cifar100-4minor").data.minor == (10, 20, 60, 70)
    many = recipes.make(dataset="cifar100-10minor").data.minor
    assert many == (5, 10, 11, 18, 30, 45, 55, 79, 86, 98)
    assert recipes.make(dataset="cifar100-lt").data.minor == tuple(range(50, 100))
    assert recipes.make(dataset="cifar100-4minor").data.minor_ratio == 0.05


def test_class_balanced_is_trained_by_cui_s_recipe():
    recipe = recipes.make(method="class_balanced", dataset="cifar100-lt", arch="resnet32")
    found = recipe.training
    assert (found.training, found.lr, found.batch_size) == ("cui", 0.1, 128)
    assert (found.augment, found.cb_beta) == ("crop_flip", 0.9)
    assert recipes.make(method="class_balanced").training.cb_beta == 0.9999


def test_name_is_plain_for_a_preset_and_has_a_hash_for_a_change():
    assert (
        recipes.make(method="context", arch="resnet56").name
        == "cifar10-4minor_resnet56_context_paper_s0"
    )
    changed = recipes.make(epochs=20).name
    assert changed.startswith("cifar10-4minor_simple_selectnet_paper_s0_")
    assert changed != recipes.make(epochs=21).name
    assert recipes.make(training="cui").name != recipes.make().name
    assert (
        recipes.make(method="class_balanced").name
        == "cifar10-4minor_simple_class_balanced_paper_s0"
    )


def test_a_path_spelled_otherwise_is_the_same_run():
    """After Tab completion the same command began a second run."""
    for labeled, pool in (("a/", "./b"), ("./a", "b//"), ("a", "b")):
        recipe = recipes.make(dataset="folder", labeled_dir=labeled, unlabeled_dir=f"{pool},c/d/")
        assert (recipe.data.labeled_dir, recipe.data.unlabeled_dir) == ("a", "b,c/d")
        assert (
            recipe.name
            == recipes.make(dataset="folder", labeled_dir="a", unlabeled_dir="b,c/d").name
        )
    assert (
        recipes.make(
            dataset="folder", labeled_dir="../a/../b", unlabeled_dir="~/c"
        ).data.labeled_dir
        == "../a/../b"
    )


def test_every_field_changes_the_name():
    other = {
        "dataset": "cifar10-lt",
        "arch": "resnet20",
        "method": "context",
        "preset": "released",
        "minor": (1,),
        "beta": 0.5,
        "epochs": 20,
        "prior_loss": 1.0,
        "align": 0.5,
        "cap": 0.5,
    }
    under = {"init_copies": {"init": "copies"}, "oversample": {"method": "oversampling"}}
    under |= {key: {"method": "class_balanced"} for key in ("cb_beta", "focal_gamma")}
    folder = {field.name for field in dataclasses.fields(recipes.FolderData)}
    elsewhere = folder - vars(recipes.make().data).keys() | {
        "imb_factor",
        "weights",
        "freeze",
        "weight_decay",
    }
    for field in recipes.FIELDS.values():
        if field.name in elsewhere:
            continue  # has no meaning here; see test_bad_values
        value = recipes.make().flat()[field.name]
        choices = [c for c in field.metadata["choices"] or () if c != value]
        if field.name in other or choices:
            new = other.get(field.name, choices[0] if choices else None)
        elif field.name == "lambda_schedule":
            new = "0.4:0.6"
        else:
            new = value + 1 if isinstance(value, int) else value * 0.9
        where = under.get(field.name, {})
        assert recipes.make(**where | {field.name: new}).name != recipes.make(**where).name, (
            field.name
        )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"method": "oversampling", "oversample": "copies", "init_copies": 3}, "init_copies"),
        ({"method": "oversampling", "preset": "released", "init_copies": 3}, "init_copies"),
        ({"init_copies": 3}, "init_copies"),
        ({"method": "imbalanced", "threshold": 0.5}, "threshold"),
        ({"threshold": 0.5, "lambda_schedule": "0.4:0.6"}, "threshold"),
        ({"method": "context", "beta": 0.5}, "beta"),
        ({"method": "context", "selector_lr": 0.1}, "selector_lr"),
        ({"method": "oracle", "cap": 0.5}, "cap"),
        ({"oversample": "copies"}, "oversample"),
        ({"init": "none", "balance": "minor"}, "balance"),
        ({"focal_gamma": 2.0}, "focal_gamma"),
        ({"augment": "none", "shift": 0.1}, "shift"),
        ({"training": "keras_cnn", "momentum": 0.5}, "momentum"),
        ({"training": "keras", "decay": 0.1}, "decay"),
        ({"lr_schedule": "cosine", "decay": 0.1}, "decay"),
        ({"training": "keras", "lr_schedule": "cosine"}, "lr_schedule"),
        ({"weight_decay": 0.1}, "weight_decay"),
    ],
)
def test_a_field_that_would_change_nothing_but_the_name_is_refused(changes, field):
    with pytest.raises(
        ValueError, match=f"^{field} has no effect here, it needs .*: leave it out$"
    ):
        recipes.make(**changes)


def test_a_preset_s_own_values_are_never_refused():
    for preset in recipes.PRESETS:
        for method in recipes.METHODS:
            values = recipes.make(preset=preset, method=method).flat()
            assert recipes.make(**values).name == f"cifar10-4minor_simple_{method}_{preset}_s0"


def test_lambdas():
    assert recipes.make().selection.lambdas() == (0.6, 0.6)
    assert recipes.make(lambda_schedule="0.4:0.6").selection.lambdas() == (0.4, 0.6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "bagging"}, "self_paced, context, selectnet"),
        ({"dataset": "mnist"}, "cifar10-4minor"),
        ({"lamda": 1}, "unknown recipe field 'lamda'"),
        ({"treshold": 0.5}, "did you mean 'threshold'"),
        ({"minor": (3, 12)}, "classes 0 to 9"),
        ({"minor": ()}, "no minor class"),
        ({"minor": tuple(range(10))}, "at least one has to be major"),
        ({"imb_factor": 0.1}, "no meaning"),
        ({"dataset": "cifar10-lt", "minor_ratio": 0.1}, "no meaning"),
        ({"lambda_schedule": "linear"}, "0.4:0.6"),
        ({"lambda_schedule": "0:0"}, "above 0"),
        ({"lambda_schedule": "0:0.6"}, "above 0"),
        ({"lambda_schedule": "0.6:0.0"}, "above 0"),
        ({"epochs": "10"}, "epochs is '10', but has to be a whole number"),
        ({"epochs": 2.5}, "a whole number"),
        ({"lr": "0.1"}, "lr is '0.1', but has to be a number"),
        ({"beta": "0.1"}, "a number"),
        ({"epochs": 0}, "at least 1"),
        ({"lr": float("nan")}, "finite"),
        ({"lr": -1.0}, "above 0"),
        ({"minor_ratio": 1.5}, "at most 1"),
        ({"seed": -1}, "from 0"),
        ({"shift": 1.0}, "below 1"),
        ({"beta": 1.0}, "below 1"),
        ({"threshold": 1.2}, "give --beta"),
        ({"method": "class_balanced", "training": "keras"}, "--training=cui"),
        ({"minor": ("cat",)}, "class numbers such as 0,2,6,7"),
        ({"labeled_dir": "a"}, "use --dataset=folder"),
        ({"image_size": 32}, "use --dataset=folder"),
        ({"dataset": "folder"}, "needs --labeled_dir"),
        ({"dataset": "folder", "labeled_dir": "a"}, "method candidates needs --unlabeled_dir"),
        ({"dataset": "folder", "labeled_dir": "a", "method": "oracle"}, "no oracle for folder"),
        ({"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b", "minor_ratio": 0.1}, "no meaning for folder"),
        ({"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b", "split": "first"}, "split has no meaning for folder"),
        ({"dataset": "csv"}, "cifar10-4minor"),
        ({"arch": "forest"}, "has to be simple"),
        ({"arch": "resnet٢٠"}, "has to be simple"),
        ({"threshold": 0.0}, "above 0"),
        ({"arch": "mobilenetv2"}, "did you mean MobileNetV2?"),
        ({"weights": "a.h5"}, "not for simple: leave them out"),
        ({"freeze": True}, "freeze needs --weights"),
        ({"freeze": True, "arch": "resnet20", "weights": "a.h5"}, "weights are for networks of keras.applications, not for resnet20"),
        ({"method": "logit_adjusted", "prior_loss": 0.0}, "logit_adjusted has the prior-aware loss of its own"),
        ({"method": "class_balanced", "prior_loss": 1.0}, "class_balanced has a loss of its own: leave prior_loss out"),
        ({"prior_loss": -1.0}, "at least 0"),
        ({"align": 1.5}, "from 0 to 1"),
        ({"cap": -0.1}, "from 0 to 1"),
        ({"max_per_class": -1}, "at least 0"),
        ({"validation": -1}, "at least 0"),
        ({"ask": 5}, "use --dataset=folder"),
        ({"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b", "ask": -1}, "ask is -1, but has to be at least 0"),
        ({"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b", "validation": 5}, "validation has no meaning for folder"),
        ({"method": "balanced", "threshold": 1.2}, "give --beta"),
        ({"method": "candidates", "threshold": 0.5}, "it needs a method with a threshold"),
    ],
)  # fmt: skip
def test_bad_values_are_refused_in_one_line(changes, words):
    with pytest.raises(ValueError, match=".") as error:
        recipes.make(**changes)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_flat_fields_make_the_same_recipe():
    own = {"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b"}
    for changes in ({}, {"method": "context", "seed": 2}, own, own | {"preset": "released"}):
        recipe = recipes.make(**changes)
        assert list(recipe.flat()) == list(recipes.FIELDS)
        assert recipes.make(**recipe.flat()) == recipe


def test_names_of_runs_stay():
    """Folders of results and half-trained runs are found by them."""
    own = {"dataset": "folder", "labeled_dir": "a", "unlabeled_dir": "b,c"}
    frozen = {"freeze": True, "weights": "imagenet", "arch": "MobileNetV2"}
    readings = {"lambda_schedule": "0.4:0.6", "every": 5, "accumulate": True}
    names = (
        (own, "folder_simple_candidates_robust_s0_09a321af20c8"),
        (own | frozen | {"lr": 0.01}, "folder_MobileNetV2_candidates_robust_s0_6c8a7f95f081"),
        ({"training": "cui"}, "cifar10-4minor_simple_selectnet_paper_s0_2f0fad163b0a"),
        (
            readings | {"loss_norm": "separate"},
            "cifar10-4minor_simple_selectnet_paper_s0_3ed784d59c4c",
        ),
        (
            {"dataset": "cifar10-lt", "balance": "all", "imb_factor": 0.02, "minor": (9, 8)},
            "cifar10-lt_simple_selectnet_paper_s0_b147e4b2a0e8",
        ),
        (
            {"preset": "robust", "method": "selectnet", "cap": 0.1, "context": "wrong"},
            "cifar10-4minor_simple_selectnet_robust_s0_3f6f925adb50",
        ),
    )
    for changes, name in names:
        assert recipes.make(**changes).name == name


def test_readings_of_the_paper_are_fields_and_leave_the_names():
    plain = recipes.make().selection
    assert (plain.balance, plain.context, plain.loss_norm) == ("all", "all", "union")
    for dataset in ("cifar10-lt", "cifar100-lt"):  # Section 4.2
        assert recipes.make(dataset=dataset).selection.balance == "minor"
    plain = recipes.make(dataset="cifar10-lt", arch="resnet32")
    assert plain.name == "cifar10-lt_resnet32_selectnet_paper_s0"
