"""README and docs against the package: Python blocks run, commands, flags, names and links exist."""

import importlib
import json
import pathlib
import re
import shlex
from collections.abc import Iterator

import numpy as np
import pytest
from sklearn.datasets import load_digits

from selectnet_tf import recipes
from selectnet_tf.__main__ import COMMANDS
from selectnet_tf._csv_files import read_csv
from selectnet_tf.runs import store

HOME = pathlib.Path(__file__).parent.parent
DOCS = HOME / "docs"
PAGES = [
    *(HOME / name for name in ("README.md", "CONTRIBUTING.md", "results/README.md")),
    *sorted(DOCS.rglob("*.md")),
]


def read(path: pathlib.Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: pathlib.Path, *languages: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```", read(path), re.DOTALL | re.MULTILINE)
    return [text for kind, text in found if kind in languages]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(p, marks=pytest.mark.slow if p.name == "scikit-learn.md" else (), id=p.name)
        for p in PAGES
        if blocks(p, "python")
    ],
)
def test_python_blocks_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    x, y = load_digits(return_X_y=True)
    x = x.reshape(-1, 8, 8, 1).repeat(2, 1).repeat(2, 2).astype(np.uint8)
    tokens = x[:, 0, :, 0].astype(np.int32)
    tokens = {"token_ids": tokens, "padding_mask": tokens > 0}
    names = {"x_labeled": x[:200], "y_labeled": y[:200], "x_unlabeled": x[200:500]}
    names["tokens_labeled"] = {key: array[:200] for key, array in tokens.items()}
    names["tokens_unlabeled"] = {key: array[200:500] for key, array in tokens.items()}
    for text in blocks(page, "python"):
        exec(text.replace("epochs=200", "epochs=2").replace("every=10", "every=1"), names)
    if "sampler" in names:
        assert len(names["x_more"]) > len(names["x_labeled"]) and names["sampler"].history_
    else:
        assert names["selection"].history and names["history"].history["loss"]


def commands() -> Iterator:
    """Each `selectnet COMMAND ...` of a shell block: the command and its further words."""
    pattern = r"selectnet (\w+)|python -m selectnet_tf\.(run)"
    for page in PAGES:
        for text in blocks(page, "", "sh", "bash"):
            for line in text.replace("\\\n", " ").splitlines():
                if found := re.match(rf"(?:{pattern})(?:\s|$)", line):
                    words = shlex.split(line[found.end() :], comments=True)
                    name = found[1] or "train"
                    yield pytest.param(name, words, id=f"{page.stem}: {name} {words[-1:]}")


@pytest.mark.parametrize(("command", "words"), commands())
def test_commands_have_flags_that_exist(command, words):
    assert command in COMMANDS
    given = [word.removeprefix("--") for word in words if word.startswith("--")]
    source = read(HOME / "selectnet_tf" / "commands" / f"{command}.py")
    defined = set(re.findall(r'DEFINE_\w+\(\s*"(\w+)"|"--(\w+)"', source))
    flags = {name for pair in defined for name in pair if name} | {"help", "helpfull"}
    fields = set(recipes.FIELDS) if command == "train" else set()
    assert {word.split("=")[0] for word in given} <= flags | fields
    values = dict(word.split("=", 1) for word in given if "=" in word)
    changes = {
        name: json.loads(value) if re.fullmatch(r"\d+(\.\d+)?|true|false", value) else value
        for name, value in values.items()
        if name in fields
    }
    if "minor" in changes:
        changes["minor"] = tuple(changes["minor"].split(","))
    implied = {"dataset": "folder"} if "labeled_dir" in changes else {}
    assert recipes.make(**implied | changes).name


def test_every_page_is_in_the_navigation():
    nav = re.findall(r"[ :] ([\w/-]+\.md)$", read(HOME / "mkdocs.yml"), re.MULTILINE)
    assert sorted(nav) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def anchors(page: pathlib.Path) -> set[str]:
    """The names that a page's headings have on the site and on GitHub."""
    headings = re.findall(r"^#+ (.*)$", read(page), re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower())) for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(HOME).as_posix())
def test_every_link_has_a_target(page):
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.DOTALL | re.MULTILINE)
    for link, part in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", text):
        path = page.parent / link if link else page
        assert "://" in link or path.exists(), f"{page.name}: {link}"
        assert not part or "://" in link or part in anchors(path), f"{page.name}: {link}#{part}"


def test_every_file_of_a_run_is_explained():
    cells = re.findall(r"^\| (`.+?`) \|", read(DOCS / "runs.md").split("## selection.csv")[0], re.M)
    assert {*re.findall("`(.+?)/?`", " ".join(cells))} == {*store.WRITTEN, store.OLD}


def test_every_column_of_selection_csv_is_explained():
    run = HOME / "results" / "runs" / "cifar10-4minor_simple_context_paper_s0"
    columns = read_csv(run / "selection.csv")[0].keys()
    page = read(DOCS / "runs.md")
    missing = {c for c in columns if f"`{c}`" not in page}
    assert missing <= {"as_2", "as_6", "as_7"}  # `as_0`, ... are explained together


def test_the_settings_page_shows_the_presets_as_they_are():
    page = read(DOCS / "settings.md")
    for field, released in recipes.RELEASED.items():
        lines = [line for line in page.splitlines() if line.startswith("|")]
        cells = next(line for line in lines if f"`{field}`" in line).split("|")
        assert str(recipes.FIELDS[field].default) in cells[2], field
        assert str(released) in cells[3], field
    assert [
        name for name in (*recipes.METHODS, *recipes.TRAININGS) if f"`{name}`" not in page
    ] == []


def test_the_citation_has_the_newest_version():
    newest = re.search(r"^## \[([\d.]+)\]", read(HOME / "CHANGELOG.md"), re.MULTILINE)[1]
    assert f"\nversion: {newest}\n" in read(HOME / "CITATION.cff")


def test_the_names_on_the_api_page_exist():
    for name in re.findall(r"^::: ([\w.]+)$", read(DOCS / "api.md"), re.MULTILINE):
        module, _, thing = name.rpartition(".")
        assert getattr(importlib.import_module(module), thing).__doc__
