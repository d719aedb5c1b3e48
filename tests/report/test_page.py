"""The page in a real browser: Chromium and its driver, where the machine has them."""

import json
import re
import shutil

import numpy as np
import pytest
from conftest import write_run
from PIL import Image
from test_figures import results  # noqa: F401

from selectnet_tf._csv_files import write_csv
from selectnet_tf.data import cifar
from selectnet_tf.report import compare, page
from selectnet_tf.runs import store
from selectnet_tf.runs.picks import COLUMNS, excerpt

AS = ("as_0", "as_1", "as_2")


@pytest.fixture
def report(results, monkeypatch):  # noqa: F811
    """A page of three made-up runs, two of which picked images in two rounds. Returns its path."""
    x = np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), np.uint8)
    monkeypatch.setattr(
        cifar, "load", lambda *_: cifar.Data(x, np.arange(300) % 10, x[:1], np.zeros(1, int), 10)
    )
    for run in store.read_runs(results)[0]:
        folder = results / "runs" / run.name
        if run.method != "imbalanced":
            index, score = np.arange(100, 300), np.linspace(1, 0.6, 200)
            rounds = [
                excerpt(epoch, index, np.array([0, 2, 6, 7])[index % 4], score, index % 10)
                for epoch in (10, 20)
            ]
            write_csv(folder / "picks.csv", [COLUMNS, *rounds[0], *rounds[1]])
    return page.write(results, store.read_runs(results)[0], "anywhere")


@pytest.mark.slow
def test_a_reader_finds_everything(report, browser):
    browser.get(f"file://{report}")
    assert "selectnet_tf" in browser.title and not browser.get_log("browser")
    wide = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]  # only tables scroll sideways, in frames of their own
    for link in browser.find_elements("css selector", "nav a"):
        section = browser.find_element(
            "css selector", link.get_attribute("hash") if link.get_attribute("hash") else "#none"
        )
        assert section.find_element("css selector", "h2").text == link.text
    broken = "return [...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.execute_script(broken) == 0
    assert len(browser.find_elements("css selector", ".plot img")) == 5
    assert browser.find_element("css selector", "h2").text == "Runs"


@pytest.mark.slow
def test_a_round_is_shown_when_its_button_is_pressed(report, browser):
    browser.get(f"file://{report}")
    first, last = browser.find_elements("css selector", "details[open] .round")
    assert last.is_displayed()
    assert not first.is_displayed()
    assert "200 added from the pool" in last.text
    buttons = browser.find_elements("css selector", "details[open] button")
    assert [b.text for b in buttons] == ["10", "20"]
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", buttons[0]
    )
    buttons[0].click()
    assert first.is_displayed() and not last.is_displayed()
    assert [b.get_attribute("aria-pressed") for b in buttons] == ["true", "false"]
    tile = first.find_element("css selector", ".pick img")
    assert tile.size == {"width": 64, "height": 64}
    assert tile.get_attribute("src").startswith("data:image/") and tile.get_property("naturalWidth")
    assert (
        first.find_element("css selector", ".pick.wrong figcaption")
        .text.splitlines()[-1]
        .startswith("is ")
    )


def test_the_page_asks_the_network_for_nothing(report):
    text = report.read_text(encoding="utf-8")
    assert not re.findall(
        r"""(?:src|href)=["'](?!#|data:|[^/:"']+\.png["'])|url\((?!data:)|@import|fetch\(""", text
    )


def test_without_their_files_runs_still_have_their_table(results):  # noqa: F811
    for run in store.read_runs(results)[0]:
        shutil.rmtree(results / "runs" / run.name)
    text = page.write(results, store.read_runs(results)[0]).read_text(encoding="utf-8")
    assert text.count("<td>0.5000</td><td>1</td>") == 3 and page.GONE in text


def test_the_paper_s_tables_have_the_cells_that_were_run_and_a_count_of_the_others(tmp_path):
    for seed in range(2):
        write_run(tmp_path, 0.74, method="context", seed=seed)
    write_run(tmp_path, 0.9, dataset="digits-4minor")
    text = page.write(tmp_path, store.read_runs(tmp_path)[0]).read_text(encoding="utf-8")
    assert text.count("<small>paper ") == 1 and "Not run: 66 of the paper's 67 numbers" in text
    assert 'undecided"' not in text and "Open: 6 of its 6 claims" in text


def test_runs_on_folders_show_minor_classes_and_images_and_nothing_of_the_paper(tree):
    place = {"labeled_dir": str(tree / "labeled"), "unlabeled_dir": str(tree / "pool")}
    recipe = write_run(tree, 0.8125, dataset="folder", arch="resnet8", epochs=20, **place)
    folder = tree / "runs" / recipe.name
    rows = [("cat", 0, 9, 1, 0), ("dog", 0, 0, 8, 2), ("emu", 1, 1, 0, 3)]
    lines = [(c, name, minor, 0.5, *taken) for c, (name, minor, *taken) in enumerate(rows)]
    write_csv(folder / "classes.csv", [("class", "name", "minor", "f1", *AS), *lines])
    write_csv(folder / "picks.csv", [COLUMNS, (10, 2, 1, "", 0.9, 0, "")])
    write_csv(folder / "files.csv", [("file",), (str(tree / "pool" / "0" / "00.png"),)])
    (folder / "recipe.json").write_text(json.dumps({"recipe": recipe.flat()}))
    line = dict.fromkeys(compare.COLUMNS, "") | {"why": "--labeled_dir=caf\udce9"}
    write_csv(folder / compare.TABLE, [compare.COLUMNS, *[[*line.values()]] * 2])
    text = page.write(tree, store.read_runs(tree)[0]).read_text(encoding="utf-8")
    assert "24 test images" in text and "<th>emu</th>" in text and "<td>0.7500</td>" in text
    assert "0.8125" in text and "data:image/webp" in text and "added as emu" in text
    assert "<code>--labeled_dir=caf\\udce9</code>" in text
    body = text.partition("<main>")[2]
    assert "paper" not in re.sub("<details>.*?</details>", "", body, flags=re.DOTALL)


def test_images_that_are_not_there_are_a_line_and_no_black_tiles(tmp_path, capsys):
    place = {"labeled_dir": "labeled", "unlabeled_dir": "pool"}
    recipe = write_run(tmp_path, dataset="folder", epochs=20, **place)
    folder = tmp_path / "runs" / recipe.name
    write_csv(folder / "picks.csv", [COLUMNS, (10, 2, 1, "", 0.9, 0, "")])
    write_csv(folder / "files.csv", [("file",), ("pool/0.png",)])  # relative to another folder
    (folder / "recipe.json").write_text(json.dumps({"recipe": recipe.flat()}))
    text = page.write(tmp_path, store.read_runs(tmp_path)[0]).read_text(encoding="utf-8")
    said = capsys.readouterr().err
    assert "data:image" not in text and f"has no images of {recipe.name}" in said


def test_images_of_folders_are_shown_as_the_run_saw_them(tmp_path):
    gray = np.zeros((8, 8), np.uint16)
    gray[:, 4:] = 4095  # of twelve bits: near black, unless the run's range is known
    Image.fromarray(gray).save(tmp_path / "gray.png")
    rows = [
        ("file", "box"),
        *((str(tmp_path / "gray.png"), box) for box in ("", "0.75 0.4 1 0.65")),
    ]
    write_csv(tmp_path / "files.csv", rows)
    settings = {"recipe": {"fit": "crop"}, "levels": [0, 4095]}
    (tmp_path / "recipe.json").write_text(json.dumps(settings))
    (tmp_path / "model.keras").write_text("damaged: nothing here is read from it")
    whole, cropped = page._Files(tmp_path)[np.arange(2)]
    assert whole.min() == 0 and whole.max() == 255 and abs(whole.mean() - 127.5) < 2
    assert cropped.min() == 255
