"""The review in a real browser, from a file: decide by click and key, save, and hand the file to the next run."""

import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from selectnet_tf._csv_files import write_csv
from selectnet_tf.data.folders import decisions
from selectnet_tf.report import review_page

NAMES = ("cat", "dog", "emu")


@pytest.fixture
def page(tmp_path):
    """review.html of 30 picks as emus, the most confident first, of which the last two are the same image; and its first file."""
    x = np.random.default_rng(0).integers(0, 256, (36, 6, 6, 3), np.uint8)
    x[35] = x[34]
    x = np.stack(
        [
            np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC))
            for image in x
        ]
    )
    files = [str(tmp_path / "pool" / f"<script> ü, {i}.png") for i in range(35)] + [
        str(tmp_path / "pool" / os.fsdecode(b"caf\xe9.png"))
    ]
    (tmp_path / "pool").mkdir()
    for file, image in zip(files, x, strict=True):
        Image.fromarray(image).save(tmp_path / "plain.png")
        os.rename(tmp_path / "plain.png", file)
    lines = [(file, "emu", f"{1 - i / 100:.4f}", 0.1) for i, file in enumerate(files[6:])]
    run = tmp_path / "run"
    run.mkdir()
    write_csv(run / "selected.csv", [("file", "pseudo_label", "score", "loss"), *lines])
    listing = [
        ("file", "digest", "part", "class", "why"),
        *((file, f"{i:032x}", "unlabeled", "", "") for i, file in enumerate(files)),
    ]
    y = np.array([0, 0, 1, 1, 2, 2])
    asked = [(files[0], "dog", 0.5, "cat", 0.4), (files[1], "cat", 0.45, "emu", 0.4)]
    write_csv(run / "ask.csv", [("file", "likeliest", "p_likeliest", "second", "p_second"), *asked])
    task = SimpleNamespace(
        files=files, listing=listing, by_index=x, names=NAMES, x_labeled=x, y_labeled=y
    )
    review_page.write(run, task)
    return run / "review.html", files


def wait_for(path):
    for _ in range(100):
        if path.exists():
            return path
        time.sleep(0.05)
    raise AssertionError(f"{path} was not saved")


def test_a_person_decides_and_saves(page, browser, tmp_path):
    path, files = page
    browser.get(f"file://{path}")
    cards = browser.find_elements("css selector", ".card")
    assert (
        not browser.get_log("browser")
        and len(cards) == 24
        and browser.find_element("id", "page").text == "page 1 of 2"
    )
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen and len(browser.find_elements("css selector", "#examples img")) == 2
    assert (
        "café" not in browser.page_source
        and "caf\\xe9.png" in cards[0].text
        and "1 of 2 near duplicates" in cards[0].text
    )
    assert (
        "1 of 2 near duplicates" in cards[1].text and "as emu, 0.730" in cards[2].text
    )  # the least confident first, duplicates together

    cards[0].find_element("css selector", "button[value=wrong]").click()
    Select(cards[1].find_element("css selector", "select")).select_by_visible_text("dog")
    browser.execute_script("arguments[0].focus()", cards[2])
    cards[2].send_keys("r")
    assert browser.switch_to.active_element == cards[3]
    cards[3].send_keys("w")
    cards[4].send_keys("1")
    cards[5].send_keys("w")
    cards[5].send_keys(Keys.NULL)
    browser.execute_script("arguments[0].focus()", cards[5])
    cards[5].send_keys("u")
    assert browser.find_element("id", "count").text == "5 of 32 decided"
    assert [c.get_attribute("class") for c in cards[:6]] == [
        "card wrong",
        "card corrected",
        "card right",
        "card wrong",
        "card corrected",
        "card ",
    ]

    for _ in range(
        20
    ):  # a reload loses nothing; a busy browser passes on what was stored a moment later
        browser.get(f"file://{path}")
        if browser.find_element("id", "count").text != "0 of 32 decided":
            break
        time.sleep(0.2)
    assert browser.find_element("id", "count").text == "5 of 32 decided"
    browser.find_element("id", "save").click()
    found = decisions.read_decisions(wait_for(tmp_path / "saved" / "decisions.csv"), NAMES)
    assert found.rejected == {f"{35:032x}", f"{32:032x}"}
    assert found.accepted == {f"{34:032x}": "dog", f"{33:032x}": "emu", f"{31:032x}": "cat"}


def test_keys_lead_through_all_pages_and_unsaved_decisions_are_asked_about(page, browser):
    browser.get(f"file://{page[0]}")
    browser.execute_script("document.querySelector('.card').focus()")
    for _ in range(30):
        browser.switch_to.active_element.send_keys("r")
    assert browser.find_element("id", "page").text == "page 2 of 2"
    assert browser.find_element("id", "count").text == "30 of 32 decided"
    asks = (
        "const e = new Event('beforeunload', {cancelable: true}); window.dispatchEvent(e);"
        " return e.defaultPrevented"
    )
    assert browser.execute_script(asks)
    browser.find_element("id", "save").click()
    assert not browser.execute_script(asks)


def test_an_earlier_file_is_loaded_and_saved_with_what_it_says_of_other_pages(
    page, browser, tmp_path
):
    lines = [("a.png", f"{35:032x}", "wrong", ""), ("=b,.png", f"{99:032x}", "right", "cat")]
    write_csv(tmp_path / "mine.csv", [("file", "digest", "decision", "label"), *lines])
    browser.get(f"file://{page[0]}")
    browser.find_element("id", "load").send_keys(str(tmp_path / "mine.csv"))
    for _ in range(100):
        if browser.find_element("id", "count").text != "0 of 32 decided":
            break
        time.sleep(0.05)
    assert browser.find_element("id", "count").text == "1 of 32 decided"
    browser.find_element("id", "save").click()
    found = decisions.read_decisions(wait_for(tmp_path / "saved" / "decisions.csv"), NAMES)
    assert found.rejected == {f"{35:032x}"} and found.accepted == {f"{99:032x}": "cat"}


def test_pages_order_and_the_original_in_full(page, browser):
    path, files = page
    browser.get(f"file://{path}")
    Select(browser.find_element("id", "order")).select_by_visible_text("most confident first")
    first = browser.find_elements("css selector", ".card")[0]
    assert (
        "as emu, 1.000" in first.text
        and first.find_element("css selector", "a").text == "<script> ü, 6.png"
    )
    link = first.find_element("css selector", "a").get_attribute("href")
    assert link.startswith("file://") and link.endswith("%3Cscript%3E%20%C3%BC%2C%206.png")
    first.find_element("css selector", "img").click()
    large = browser.find_element("css selector", "#large img")
    for _ in range(100):
        if browser.execute_script("return arguments[0].naturalWidth", large):
            break
        time.sleep(0.02)
    assert (
        large.is_displayed()
        and large.get_attribute("src") == link
        and browser.execute_script("return arguments[0].naturalWidth", large) == 32
    )
    browser.find_element("css selector", "#large button").click()
    next_page = browser.find_element("id", "next")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", next_page
    )
    next_page.click()
    assert (
        len(browser.find_elements("css selector", ".card")) == 6
        and browser.find_element("id", "page").text == "page 2 of 2"
    )


def test_uncertain_images_have_a_view_of_their_own(page, browser, tmp_path):
    browser.get(f"file://{page[0]}")
    buttons = browser.find_elements("css selector", "#kinds button")
    assert [b.text for b in buttons] == ["picked (30)", "to label (2)"]
    assert [b.get_attribute("aria-pressed") for b in buttons] == ["true", "false"]

    buttons[1].click()
    cards = browser.find_elements("css selector", ".card")
    assert len(cards) == 2
    assert "cat 0.45 or emu 0.40" in cards[0].text and "dog 0.50 or cat 0.40" in cards[1].text
    browser.execute_script("arguments[0].focus()", cards[0])
    cards[0].send_keys("r")
    cards[1].send_keys("3")

    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen and not browser.get_log("browser")

    browser.find_element("id", "save").click()
    found = decisions.read_decisions(wait_for(tmp_path / "saved" / "decisions.csv"), NAMES)
    assert found.accepted == {f"{1:032x}": "cat", f"{0:032x}": "emu"} and not found.rejected


def test_a_run_s_name_is_escaped_once(page, tmp_path):
    path, files = page
    (path.parent / "ask.csv").unlink()
    path.parent.rename(tmp_path / "a&b")
    x = np.zeros((36, 6, 6, 3), np.uint8)
    listing = [
        ("file", "digest", "part", "class", "why"),
        *((file, "0", "unlabeled", "", "") for file in files),
    ]
    y = np.array([0, 0, 1, 1, 2, 2])
    task = SimpleNamespace(
        files=files, listing=listing, by_index=x, names=NAMES, x_labeled=x, y_labeled=y
    )
    review_page.write(tmp_path / "a&b", task)
    assert "<title>Review of a&amp;b</title>" in (tmp_path / "a&b" / "review.html").read_text()


def test_nothing_picked_no_page(tmp_path):
    review_page.write(tmp_path, SimpleNamespace(listing=[()], files=["a.png"]))
    assert not (tmp_path / "review.html").exists()
