"""What README and docs tell people to type: Python blocks are run, commands have flags that there are."""

import json
import pathlib
import re
import shlex
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

import selectnet_tf
from selectnet_tf import recipes
from selectnet_tf._csv import read_csv
from selectnet_tf.report import paper

HOME = pathlib.Path(__file__).parent.parent
DOCS = HOME / "docs"
PAGES = [
    *(HOME / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")),
    *sorted(DOCS.rglob("*.md")),
]
OTHER_FLAGS = {"data_dir", "device", "results_dir", "replicas", "force", "verbose"}


def blocks(path: pathlib.Path, language: str) -> list[str]:
    found = re.findall(
        r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return [text for kind, text in found if kind == language]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p, "python")], ids=lambda p: p.name)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).repeat(2, 1).repeat(2, 2).astype(np.uint8)
    given = {"x_labeled": x[:200], "y_labeled": y[:200], "x_unlabeled": x[200:500]}
    for text in blocks(page, "python"):
        exec(text.replace("epochs=200", "epochs=2").replace("every=10", "every=1"), given)
    if "sampler" in given:
        assert len(given["x_more"]) > len(given["x_labeled"]) and given["sampler"].history_
    else:
        assert given["selection"].history and given["history"].history["loss"]


def commands() -> Iterator:
    for page in PAGES:
        for text in blocks(page, "") + blocks(page, "sh"):
            for line in text.replace("\\\n", " ").splitlines():
                if "selectnet_tf.run" in line:
                    words = shlex.split(line.split("selectnet_tf.run")[1], comments=True)
                    yield pytest.param(words, id=f"{page.stem}: {' '.join(words)[-40:]}")


@pytest.mark.parametrize("words", commands())
def test_commands_have_flags_that_there_are(words):
    given = dict(word.removeprefix("--").split("=", 1) for word in words)
    unknown = set(given) - OTHER_FLAGS - set(recipes.Recipe.__dataclass_fields__)
    changes = {
        k: json.loads(v) if re.fullmatch(r"\d+(\.\d+)?", v) else v
        for k, v in given.items()
        if k not in OTHER_FLAGS
    }
    if "minor" in changes:
        changes["minor"] = tuple(changes["minor"].split(","))
    assert not unknown and recipes.make(**changes).name


def test_what_the_api_page_shows_is_a_name_of_the_package():
    names = [
        found.split(".")
        for found in re.findall(
            r"^::: (\S+)$", (DOCS / "api.md").read_text(encoding="utf-8"), re.MULTILINE
        )
    ]
    others = [".".join(found[-2:]) for found in names if not hasattr(selectnet_tf, found[-1])]
    assert others == [
        "folders.read",
        "images.Images",
        "images.digest",
        "recipes.make",
        "train.train",
    ]


def test_every_page_is_in_the_navigation():
    nav = re.findall(r": ([\w/-]+\.md)$", (HOME / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(nav) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def anchors(page: pathlib.Path) -> set[str]:
    """The names that a page's headings have on the site and on GitHub."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower())) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(HOME).as_posix())
def test_every_link_leads_somewhere(page):
    text = re.sub(
        r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    for link, part in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", text):
        path = page.parent / link if link else page
        assert "://" in link or path.exists(), f"{page.name}: {link}"
        assert not part or part in anchors(path), f"{page.name}: {link}#{part}"


def test_the_readme_is_one_page_with_one_figure_and_one_table_of_results():
    lines = (HOME / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120 and max(map(len, lines)) <= 120
    screen, results = "\n".join(lines).split("## Results")
    results = results.split("\n## ")[0]
    assert (
        screen.count("![") == results.count("](results/curves_") == 1
        and results.count("\n|---") == 1
    )


@pytest.mark.parametrize("page", sorted((DOCS / "results").glob("*.md")), ids=lambda p: p.stem)
def test_a_card_opens_with_its_answer_and_a_figure(page):
    if page.stem == "numbers":
        return
    title, answer, figure = [
        part for part in page.read_text(encoding="utf-8").split("\n\n") if part
    ][:3]
    assert title.startswith("# ") and answer.startswith("**") and figure.startswith("![")
    assert (page.parent / figure[:-1].split("](")[1]).exists()


def test_each_difference_names_its_field():
    text = (DOCS / "results" / "index.md").read_text(encoding="utf-8")
    items = re.findall(r"^\d+\. (.*?)(?=\n\d+\. |\n\n|\Z)", text, re.DOTALL | re.MULTILINE)
    fields = [re.search(r"\[([^\[\]]*)\]$", item)[1] for item in items]
    assert items
    for field in fields:
        named = {word.split("=")[0] for word in re.findall(r"`([\w=]+)`", field)} - {
            "probs",
            "all",
            "normal",
            "copies",
            "first",
            "two_hot",
        }
        assert field == "no field" or (
            named and named <= set(recipes.Recipe.__dataclass_fields__)
        ), field


def test_every_column_of_selection_csv_is_explained():
    page = (DOCS / "runs.md").read_text(encoding="utf-8")
    for row in read_csv(
        HOME / "results" / "runs" / "cifar10-4minor_simple_context_paper_s0" / "selection.csv"
    )[:1]:
        assert [c for c in row if f"`{c}`" not in page] == [
            "as_2",
            "as_6",
            "as_7",
        ]  # `as_0`, ... stands for all


def test_the_settings_page_shows_the_presets_as_they_are():
    page = (DOCS / "settings.md").read_text(encoding="utf-8")
    for field, released in recipes.RELEASED.items():
        line = next(
            line for line in page.splitlines() if line.startswith("|") and f"`{field}`" in line
        )
        default = recipes.Recipe.__dataclass_fields__[field].default
        for value, cell in ((default, line.split("|")[2]), (released, line.split("|")[3])):
            assert str(value) in cell, field
    assert all(f"`{method}`" in page for method in recipes.METHODS) and all(
        f"`{name}`" in page for name in recipes.TRAININGS
    )


def test_the_citation_names_the_newest_version_and_the_paper():
    text = (HOME / "CITATION.cff").read_text()
    newest = re.search(r"^## \[([\d.]+)\]", (HOME / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
    assert text.startswith("cff-version: 1.2.0\n") and f"\nversion: {newest}\n" in text
    assert (
        "Learning to Sample from the Wild for Imbalanced Data Training"
        in text.split("\nreferences:")[1]
    )


def test_the_api_s_names_exist():
    import importlib

    for name in re.findall(r"^::: ([\w.]+)$", (DOCS / "api.md").read_text(), re.MULTILINE):
        module, _, thing = name.rpartition(".")
        assert getattr(importlib.import_module(module), thing).__doc__


def test_the_tutorial_s_numbers_are_those_measured():
    page = (DOCS / "folders.md").read_text(encoding="utf-8")
    for row in (
        row
        for name in ("pictures", "journey")
        for row in read_csv(HOME / "results" / f"{name}.csv")
    ):
        shares = " | ".join(row[c] for c in ("accuracy", "minor_accuracy", "major_accuracy"))
        counts = [
            int(row[f"picked_{kind}"]) for kind in ("right", "wrong_minor", "major", "foreign")
        ]
        cells = " | ".join(map(str, [sum(counts), *counts])) if sum(counts) else " | ".join("–" * 5)
        assert f"| {shares} | {cells} |" in page, row["run"]


def test_the_optimizer_card_s_numbers_are_those_measured() -> None:
    page = (DOCS / "results" / "optimizer.md").read_text(encoding="utf-8")
    epochs = pd.read_csv(HOME / "results" / "crosscheck.csv")
    groups = epochs.groupby(["method", "recipe", "tau"])
    for (method, recipe, tau), rows in groups:

        def mean(first: int, last: int, column: str = "accuracy", rows: pd.DataFrame = rows) -> str:
            return (
                f"{rows[rows.epoch.between(first, last)].groupby('seed')[column].mean().mean():.3f}"
            )

        name = f"`{method}`" + (f", tau {tau:g}" if tau else "")
        numbers = [mean(50, 100), mean(200, 200), mean(191, 200), mean(200, 200, "minor_accuracy")]
        assert f"| {name} | `{recipe}` | {rows.seed.nunique()} | {' | '.join(numbers)} |" in page
    assert len(groups) == 13


def crosschecked() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tested epochs and picks of the runs that select by SelectNet, with what the cards call each variant of preset paper."""
    names = {
        (0, 0, 0): "preset `paper`",
        (0.5, 0, 0): "`prior_loss` 0.5",
        (1, 0, 0): "`prior_loss` 1",
        (1, 0.5, 0.333333): "together",
    }
    names |= {(0, 0.5, 0): "`align` 0.5", (0, 0, 0.333333): "`cap` 1/3"}
    epochs, picks = (
        pd.read_csv(HOME / "results" / f"crosscheck_selectnet{end}.csv") for end in ("", "_picks")
    )
    for table in (epochs, picks):
        table["variant"] = [
            names[key] for key in zip(table.tau, table["align"], table.cap, strict=True)
        ]
    return epochs, picks


def right(picks: pd.DataFrame) -> str:
    """The share of the picks that is right, in the mean of the seeds."""
    sums = picks.groupby("seed")[["picked", "right"]].sum()
    return f"{(sums.right / sums.picked).mean():.0%}"


def test_the_ablation_card_s_numbers_of_whole_networks_are_those_measured() -> None:
    page = (DOCS / "results" / "ablation.md").read_text(encoding="utf-8")
    other = (DOCS / "robust.md").read_text(encoding="utf-8")
    epochs, picks = crosschecked()
    chosen, final = (
        epochs[epochs.validation == 500],
        picks[(picks.validation == 500) & (picks.epoch == 60)],
    )
    for variant, rows in chosen.groupby("variant"):
        seeds = rows[rows.epoch > 50].groupby("seed").accuracy.mean()
        name = (
            "together: `prior_loss` 1, `align` 0.5, `cap` 1/3" if variant == "together" else variant
        )
        assert f"| {name} | {' | '.join(f'{v:.4f}' for v in [*seeds, seeds.mean()])} |" in page
        last, found = (
            rows[rows.epoch == 60].mean(numeric_only=True),
            final[final.variant == variant],
        )
        birds = f"{found[found['class'] == 2].picked.mean():,.0f}"
        assert (
            f"| {variant} | {last.minor_accuracy:.4f} | {last.worst_minor_f1:.4f} | {right(found)} | {birds} |"
            in page
        )
    where = "validation == 0 and recipe == 'sgd' and method == 'selectnet' and preset == 'paper'"
    reported, taken = epochs.query(where), picks.query(where)
    assert (
        sorted(chosen.variant.unique()) == sorted(reported.variant.unique())
        and len(chosen.variant.unique()) == 6
    )
    for variant, rows in reported[reported.epoch == 60].groupby("variant"):
        shares, found = (
            rows.mean(numeric_only=True),
            taken[(taken.variant == variant) & (taken.epoch == 60)],
        )
        ten = (
            reported[(reported.variant == variant) & reported.epoch.between(51, 60)]
            .groupby("seed")
            .accuracy.mean()
            .mean()
        )
        cells = [
            f"{ten:.4f}",
            *(f"{shares[c]:.4f}" for c in ("accuracy", "minor_accuracy", "worst_minor_f1")),
            right(found),
        ]
        assert (
            f"| {variant} | {' | '.join(cells)} | {found[found['class'] == 2].picked.mean():,.0f} |"
            in page
        )
    for variant in ("preset `paper`", "`prior_loss` 1", "together"):
        rows, found = reported[reported.variant == variant], taken[taken.variant == variant]
        seeds = rows[rows.epoch > 190].groupby("seed").accuracy.mean()
        last, ends = rows[rows.epoch == 200].mean(numeric_only=True), found[found.epoch == 200]
        cells = [f"{last[c]:.4f}" for c in ("accuracy", "minor_accuracy", "worst_minor_f1")] + [
            right(ends)
        ]
        assert (
            f"| {variant} | {' | '.join([*(f'{v:.4f}' for v in [*seeds, seeds.mean()]), *cells])} |"
            in page
        )
        birds = f"{ends[ends['class'] == 2].picked.mean():,.0f}"
        name = "preset `robust`: together" if variant == "together" else variant
        assert f"| {name} | {' | '.join([f'{seeds.mean():.4f}', *cells, birds])} |" in other
        for seed, line in found[found["class"] == 2].groupby("seed"):
            counts = line.set_index("epoch").picked[[10, 20, 30, 40, 50, 60, 100, 150, 200]]
            assert (
                variant == "`prior_loss` 1"
                or f"| {variant}, seed {seed} | {' | '.join(f'{n:,}' for n in counts)} |" in page
            )


def test_the_ablation_card_s_numbers_of_this_package_s_own_runs_are_those_measured() -> None:
    page = (DOCS / "results" / "ablation.md").read_text(encoding="utf-8")
    lines = pd.read_csv(HOME / "results" / "ablation.csv")
    names = {"paper": "preset `paper`", "prior_loss 1": "`prior_loss` 1", "together": "together"}
    for (part, variant), rows in lines.groupby(["part", "variant"]):
        where = (
            {"choose": "held out of seed 10: ", "report": "test set, seed 0: "}[part]
            if variant == "paper"
            else ""
        )
        last = rows[rows.epoch == 60].squeeze()
        shares = [
            f"{last[c]:.4f}"
            for c in ("last10_accuracy", "accuracy", "minor_accuracy", "worst_minor_f1")
        ]
        birds = ", ".join(f"{n:,}" for n in rows.as_2)
        assert (
            f"| {where}{names[variant]} | {' | '.join(shares)} | {last.precision:.0%} | {birds} |"
            in page
        )
    assert list(lines.epoch) == [10, 20, 30, 40, 50, 60] * 6


def test_the_full_runs_of_presets_paper_and_robust_are_told_as_they_were() -> None:
    page = (DOCS / "results" / "ablation.md").read_text(encoding="utf-8")
    rows = pd.read_csv(HOME / "results" / "runs.csv").set_index("name")
    for preset in ("paper", "robust"):
        name = f"cifar10-4minor_simple_selectnet_{preset}_s0"
        rounds, classes = (
            pd.read_csv(HOME / "results" / "runs" / name / f"{file}.csv")
            for file in ("selection", "classes")
        )
        shares = [
            *rows.loc[
                name,
                ["accuracy", "last10_accuracy", "minor_accuracy", "major_accuracy", "macro_f1"],
            ]
        ]
        cells = [f"{share:.4f}" for share in [*shares, classes.f1[classes.minor == 1].min()]] + [
            f"{rounds.precision.iloc[-1]:.0%}"
        ]
        assert f"| preset `{preset}` | {' | '.join(cells)} |" in page
        birds = rounds.set_index("epoch").as_2[[10, 20, 30, 40, 50, 60, 100, 150, 200]]
        assert f"| preset `{preset}` | {' | '.join(f'{n:,}' for n in birds)} |" in page
        told = (DOCS / "robust.md").read_text(encoding="utf-8")
        assert preset == "paper" or (cells[1] in told and cells[2] in told)


def test_the_released_card_s_numbers_are_those_measured() -> None:
    page = (DOCS / "results" / "released.md").read_text(encoding="utf-8")
    epochs, picks = (table[table.preset == "released"] for table in crosschecked())
    told = {
        r["method"]: r["value"]
        for r in paper.numbers("table1")
        if (r["dataset"], r["arch"]) == ("cifar10-4minor", "simple")
    }
    for (method, recipe), rows in epochs.groupby(["method", "recipe"]):
        last, ten = (
            rows[rows.epoch == 200],
            rows[rows.epoch > 190].groupby("seed").accuracy.mean().mean(),
        )
        cells = [
            f"{v:.4f}"
            for v in (float(told[method]), last.accuracy.mean(), ten, last.minor_accuracy.mean())
        ]
        name = f"`{method}`" + (", not augmented" if recipe == "plain" else "")
        assert f"| {name} | {' | '.join(cells)} | {rows.seed.nunique()} |" in page
    at = [10, 20, 30, 40, 50, 100, 200]
    points = {
        (r["series"], int(r["epoch"])): f"{float(r['value']):,.0f}"
        for r in paper.numbers("figure2")
    }
    series = {
        "unlabeled, of a minor class": "unlabeled_minor",
        "unlabeled, of a major class": "unlabeled_confused",
    }
    series |= {
        "labeled, rightly minor": "labeled_minor",
        "labeled, wrongly minor": "labeled_confused",
    }
    for title, name in series.items():
        assert f"| **{title}**: paper | {' | '.join(points[name, epoch] for epoch in at)} |" in page
    for recipe, name in (("plain", "not augmented"), ("sgd", "shifts and flips")):
        one = (
            picks[(picks.method == "selectnet") & (picks.recipe == recipe) & (picks.seed == 0)]
            .groupby("epoch")
            .sum(numeric_only=True)
        )
        lines = (
            one.picked - one.major,
            one.major,
            one.labeled_right,
            one.labeled - one.labeled_right,
        )
        for values in lines:
            assert f"| {name} | {' | '.join(f'{n:,}' for n in values[at])} |" in page
    run = "cifar10-4minor_simple_selectnet_released_s0"
    row = pd.read_csv(HOME / "results" / "runs.csv").set_index("name").loc[run]
    cells = [
        f"{float(v):.4f}"
        for v in (told["selectnet"], *row[["accuracy", "last10_accuracy", "minor_accuracy"]])
    ]
    assert f"| `selectnet`, by this package | {' | '.join(cells)} | 1 |" in page
    rounds = pd.read_csv(HOME / "results" / "runs" / run / "selection.csv").set_index("epoch")
    wrongly = rounds.labeled_wrong_minor + rounds.labeled_major
    for values in (
        rounds.unlabeled_right + rounds.unlabeled_wrong_minor,
        rounds.unlabeled_major,
        rounds.labeled_right,
        wrongly,
    ):
        assert (
            f"| shifts and flips, this package | {' | '.join(f'{n:,}' for n in values[at])} |"
            in page
        )
    for kind in (rounds.labeled_right + rounds.labeled_wrong_minor, rounds.labeled_major):
        assert "{} and {}".format(", ".join(map(str, kind[at[:-1]])), kind[200]) in page
    birds = rounds.as_2
    assert (
        f"picks {birds[10]} birds after epoch 10, {birds[20]} after epoch 20 and at most two"
        in page
        and birds.loc[70:].max() == 2
    )
    assert f"in this package {rounds.precision[200]:.0%}, against 74%" in page


def test_the_half_trained_runs_are_told_as_they_are() -> None:
    page, of = (DOCS / "results" / "rows.md").read_text(encoding="utf-8"), HOME / "results" / "runs"
    names = {
        f"`{method}`": f"cifar10-4minor_resnet20_{method}_paper_s0_747450a89c22"
        for method in ("imbalanced", "selectnet")
    }
    for title, name in {
        **names,
        "`selectnet`, simple net": "cifar10-4minor_simple_selectnet_paper_s0",
    }.items():
        epochs = pd.read_csv(of / name / "epochs.csv")
        for what, column in (
            ("all classes", "val_accuracy"),
            ("minor classes", "val_minor_accuracy"),
        ):
            means = [f"{epochs[column][i : i + 10].mean():.4f}" for i in range(0, 40, 10)]
            assert f"| {title}: {what} | {' | '.join(means)} |" in page
    rounds = pd.read_csv(of / names["`selectnet`"] / "selection.csv")
    assert f"picked {', '.join(f'{n:,}' for n in rounds.as_2)} birds" in page and len(rounds) == 4
    assert f"{', '.join(f'{share:.0%}' for share in rounds.precision)} of its pseudo-labels" in page
    told = {
        r["method"]: r["value"]
        for r in paper.numbers("table1")
        if (r["dataset"], r["arch"]) == ("cifar10-4minor", "resnet20")
    }
    assert f"The paper has {told['imbalanced']} and {told['selectnet']} after 200 epochs" in page


def test_the_augmentation_card_counts_picks_as_its_figure_does() -> None:
    page = (DOCS / "results" / "augmentation.md").read_text(encoding="utf-8")
    at, runs_of = [10, 20, 30, 40, 60, 80, 100, 150, 200], HOME / "results" / "runs"
    names = {
        "no augmentation": "_eb5a37",
        "no augmentation, other CPU": "_eb5a37_other-cpu",
        "no augmentation, `--accumulate`": "_c506d4",
    }
    for name, end in {**names, "shifts and flips": ""}.items():
        rounds = pd.read_csv(
            runs_of / f"cifar10-4minor_simple_selectnet_paper_s0{end}" / "selection.csv"
        ).set_index("epoch")
        for kind in ("labeled", "unlabeled"):
            minor, major = (
                rounds[f"{kind}_right"] + rounds[f"{kind}_wrong_minor"],
                rounds[f"{kind}_major"],
            )
            for what, counts in (("minor", minor), ("major", major)):
                block = page.split(f"| {kind.title()}, of a {what} class")[1].split("\n\n")[0]
                assert (
                    f"| ours, {name} | {' | '.join(f'{counts[e]:,}' if e in counts.index else '' for e in at)} |"
                    in block
                )


def test_the_ablation_card_s_numbers_of_frozen_features_are_those_measured() -> None:
    page = (DOCS / "results" / "ablation.md").read_text(encoding="utf-8")
    last = pd.read_csv(HOME / "results" / "ablation_frozen.csv").query("epoch == 60")
    names = {"paper": "preset `paper`", "together": "together"}  # of the rest: `field` value
    for variant, rows in last.groupby("variant"):
        name = names.get(variant) or "`{}` {}".format(*variant.split())
        chosen = rows[rows.part == "choose"].sort_values("seed").last10_accuracy
        held_out = (
            "together: `prior_loss` 1, `align` 0.5, `cap` 1/3" if variant == "together" else name
        )
        assert (
            f"| {held_out} | {' | '.join(f'{v:.4f}' for v in [*chosen, chosen.mean()])} |" in page
        )
        reported = rows[rows.part == "report"].mean(numeric_only=True)
        columns = ["last10_accuracy", "accuracy", "minor_accuracy", "macro_f1", "worst_minor_f1"]
        numbers = [
            *(f"{reported[c]:.4f}" for c in columns),
            f"{reported.precision:.0%}",
            f"{reported.as_2:,.0f}",
        ]
        assert f"| {name} | {' | '.join(numbers)} |" in page
    assert sorted(last.groupby("part").seed.nunique()) == [3, 3] and len(last) == 36
