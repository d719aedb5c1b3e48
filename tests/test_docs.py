"""What README and docs tell people to type: Python blocks are run, commands have flags that there are."""

import pathlib
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from selectnet_tf import recipes
from selectnet_tf.experiment import runs

HOME = pathlib.Path(__file__).parent.parent
PAGES = [HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))]
OTHER_FLAGS = {"data_dir", "results_dir", "replicas", "force", "verbose", "review"}


def blocks(path, language):
    found = re.findall(r"^```(\w*)\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
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


def commands():
    for page in PAGES:
        for text in blocks(page, "") + blocks(page, "sh"):
            for line in text.splitlines():
                if "selectnet_tf.run" in line:
                    yield pytest.param(shlex.split(line.split("selectnet_tf.run")[1]), id=f"{page.stem}: {line[-40:]}")


@pytest.mark.parametrize("words", commands())
def test_commands_have_flags_that_there_are(words):
    given = dict(word.removeprefix("--").split("=", 1) for word in words)
    unknown = set(given) - OTHER_FLAGS - set(recipes.Recipe.__dataclass_fields__)
    changes = {k: int(v) if v.isdigit() else v for k, v in given.items() if k not in OTHER_FLAGS}
    if "minor" in changes:
        changes["minor"] = tuple(changes["minor"].split(","))
    assert not unknown and recipes.make(**changes).name


def test_every_page_and_every_link_is_there():
    nav = re.findall(r": (\w+\.md)", (HOME / "mkdocs.yml").read_text())
    assert sorted(nav) == sorted(p.name for p in (HOME / "docs").glob("*.md"))
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_api_s_names_exist():
    import importlib

    for name in re.findall(r"^::: ([\w.]+)$", (HOME / "docs" / "api.md").read_text(), re.MULTILINE):
        module, _, thing = name.rpartition(".")
        assert getattr(importlib.import_module(module), thing).__doc__


def test_the_tutorial_s_numbers_are_those_measured():
    page = (HOME / "docs" / "folders.md").read_text(encoding="utf-8")
    for row in runs.read_csv(HOME / "results" / "pictures.csv"):
        assert all(f" {row[c]} " in page for c in ("accuracy", "minor_accuracy", "major_accuracy")), row["method"]
        if row["method"] != "imbalanced":
            counts = [int(row[f"picked_{kind}"]) for kind in ("right", "wrong_minor", "major", "foreign")]
            assert f"| {sum(counts)} | {' | '.join(map(str, counts))} |" in page


def test_the_tables_page_has_the_benchmark_s_numbers():
    page = (HOME / "docs" / "tables.md").read_text(encoding="utf-8")
    rows = pd.read_csv(HOME / "results" / "tables.csv")
    by_table = rows.pivot_table(index="method", columns="table", values="average_precision")
    worst, recall = (by_table - by_table.loc["forest"]).min(axis=1), rows.groupby("method")["recall_at_90"].mean()
    lines = [line for line in page.splitlines() if line.startswith("|") and "`" in line]
    assert len(lines) == 10
    for line in lines:
        method, cells = re.findall("`(.+?)`", line)[-1], [cell.strip().replace("−", "-") for cell in line.split("|")[2:5]]
        assert float(cells[0]) == pytest.approx(by_table.loc[method].mean(), abs=6e-4) and float(cells[2]) == pytest.approx(
            recall[method], abs=6e-4
        )
        assert not cells[1] or float(cells[1]) == pytest.approx(worst[method], abs=6e-4)
