"""The review in a real browser, from a file: decide by click and key, save, and hand the file to the next run."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from selectnet_tf._csv_files import write_csv
from selectnet_tf.data.folders import decisions
from selectnet_tf.report import review_page

NAMES = ("cat", "dog", "emu")
LIKELY = ("p_right", "second", "p_second")


def make_task(files, listing, x):
    return SimpleNamespace(
        files=files,
        listing=listing,
        at=x.__getitem__,
        names=NAMES,
        index=np.arange(36),
        y_labeled=np.array([0, 0, 1, 1, 2, 2]),
        levels=None,
        boxes=None,
    )


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
    lines = [(file, "emu", f"{1 - i / 100:.4f}", "cat", 0.1) for i, file in enumerate(files[6:])]
    run = tmp_path / "run"
    run.mkdir()
    write_csv(run / "selected.csv", [("file", "pseudo_label", *LIKELY), *lines])
    listing = [
        ("file", "digest", "part", "class", "why"),
        *((file, f"{i:032x}", "unlabeled", "", "") for i, file in enumerate(files)),
    ]
    asked = [(files[0], "dog", 0.5, "cat", 0.4), (files[1], "cat", 0.45, "emu", 0.4)]
    write_csv(run / "ask.csv", [("file", "likeliest", "p_likeliest", "second", "p_second"), *asked])
    write_csv(
        run / "suspects.csv", [("file", "label", *LIKELY), (files[2], "dog", 0.1, "emu", 0.8)]
    )
    review_page.write(run, make_task(files, listing, x))
    return run / "review.html", files


def wait(browser, condition):
    return WebDriverWait(browser, 10, 0.05).until(condition)


def count(browser):
    return browser.find_element("id", "count").text


def save(browser, folder):
    """Saves, and returns the Decisions in the saved file."""
    browser.find_element("id", "save").click()
    wait(browser, lambda _: (folder / "saved" / "decisions.csv").exists())
    return decisions.read_decisions(folder / "saved" / "decisions.csv", NAMES)


def test_a_person_decides_and_saves(page, browser, tmp_path):
    path, files = page
    browser.get(f"file://{path}")
    cards = browser.find_elements("css selector", ".card")
    assert not browser.get_log("browser")
    assert len(cards) == 24
    assert browser.find_element("id", "page").text == "page 1 of 2"
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen and len(browser.find_elements("css selector", "#examples img")) == 4
    assert "café" not in browser.page_source
    assert "caf\\xe9.png" in cards[0].text
    assert "1 of 2 near duplicates" in cards[0].text
    assert "1 of 2 near duplicates" in cards[1].text
    assert "emu 0.73" in cards[2].text  # the least confident first, duplicates together

    cards[0].find_element("css selector", "button[value=wrong]").click()
    cards[1].find_element("css selector", "input").send_keys("d", Keys.ENTER)
    browser.execute_script("arguments[0].focus()", cards[2])
    cards[2].send_keys("r")
    assert browser.switch_to.active_element == cards[3]
    cards[3].send_keys("w")
    cards[4].send_keys("1")
    cards[5].send_keys("w")
    cards[5].send_keys(Keys.NULL)
    browser.execute_script("arguments[0].focus()", cards[5])
    cards[5].send_keys("u")
    assert count(browser) == "5 of 33 decided"
    assert [c.get_attribute("class") for c in cards[:6]] == [
        "card wrong",
        "card corrected",
        "card right",
        "card wrong",
        "card corrected",
        "card ",
    ]

    def reload(browser):  # a busy browser passes on what was stored a moment later
        browser.get(f"file://{path}")
        return count(browser) == "5 of 33 decided"

    assert wait(browser, reload)
    found = save(browser, tmp_path)
    assert found.rejected == {f"{35:032x}", f"{32:032x}"}
    assert found.accepted == {f"{34:032x}": "dog", f"{33:032x}": "emu", f"{31:032x}": "cat"}


def test_keys_lead_through_all_pages_and_unsaved_decisions_are_asked_about(page, browser):
    browser.get(f"file://{page[0]}")
    browser.execute_script("document.querySelector('.card').focus()")
    for _ in range(30):
        browser.switch_to.active_element.send_keys("r")
    assert browser.find_element("id", "page").text == "page 2 of 2"
    assert count(browser) == "30 of 33 decided"
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
    wait(browser, lambda browser: count(browser) == "1 of 33 decided")
    found = save(browser, tmp_path)
    assert found.rejected == {f"{35:032x}"} and found.accepted == {f"{99:032x}": "cat"}


def test_a_loaded_file_replaces_no_decision_made_on_the_page(page, browser, tmp_path):
    lines = [(f"{35:032x}", "wrong", ""), *[(f"{34:032x}", "right", c) for c in ("cat", "dog")]]
    write_csv(tmp_path / "mine.csv", [("digest", "decision", "label"), *lines])
    browser.get(f"file://{page[0]}")
    card = browser.find_element("css selector", f'[data-digest="{35:032x}"]')
    card.find_element("css selector", "button[value=right]").click()
    browser.find_element("id", "load").send_keys(str(tmp_path / "mine.csv"))
    said = "2 decisions loaded, 1 not, as you decided otherwise on this page."
    wait(browser, lambda browser: browser.find_element("id", "notice").text == said)
    assert save(browser, tmp_path).accepted == {f"{35:032x}": "emu", f"{34:032x}": "dog"}


def test_pages_order_and_the_original_in_full(page, browser):
    path, files = page
    browser.get(f"file://{path}")
    Select(browser.find_element("id", "order")).select_by_visible_text("most certain first")
    first = browser.find_elements("css selector", ".card")[0]
    assert "emu 1.00" in first.text
    assert first.find_element("css selector", "a").text == "<script> ü, 6.png"
    link = first.find_element("css selector", "a").get_attribute("href")
    assert link.startswith("file://") and link.endswith("%3Cscript%3E%20%C3%BC%2C%206.png")
    first.find_element("css selector", "img").click()
    large = browser.find_element("css selector", "#large img")
    wait(browser, lambda _: large.get_property("naturalWidth"))
    assert large.is_displayed()
    assert large.get_attribute("src") == link
    assert browser.execute_script("return arguments[0].naturalWidth", large) == 32
    browser.find_element("css selector", "#large button").click()
    next_page = browser.find_element("id", "next")
    browser.execute_script(
        "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", next_page
    )
    next_page.click()
    assert len(browser.find_elements("css selector", ".card")) == 6
    assert browser.find_element("id", "page").text == "page 2 of 2"


def test_uncertain_images_have_a_view_of_their_own(page, browser, tmp_path):
    browser.get(f"file://{page[0]}")
    buttons = browser.find_elements("css selector", "#kinds button")
    assert [b.text for b in buttons] == ["picked (30)", "to label (2)", "doubtful labels (1)"]
    assert [b.get_attribute("aria-pressed") for b in buttons] == ["true", "false", "false"]

    buttons[1].click()
    cards = browser.find_elements("css selector", ".card")
    assert len(cards) == 2
    assert "cat 0.45 or emu 0.40" in cards[0].text and "dog 0.50 or cat 0.40" in cards[1].text
    browser.execute_script("arguments[0].focus()", cards[0])
    cards[0].send_keys("r")
    cards[1].send_keys("3")

    buttons[2].click()
    suspect = browser.find_element("css selector", ".card")
    assert "labeled dog 0.10, looks like emu 0.80" in suspect.text
    suspect.find_element("css selector", "button[value=second]").click()
    wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= seen and not browser.get_log("browser")

    found = save(browser, tmp_path)
    assert found.accepted == {f"{1:032x}": "cat", f"{0:032x}": "emu", f"{2:032x}": "emu"}
    assert not found.rejected


def test_a_page_is_decided_at_once_and_taken_back(page, browser):
    browser.get(f"file://{page[0]}")
    body = browser.find_element("css selector", "body")
    body.send_keys("s")  # the second class of the first card
    body.send_keys("a")
    assert count(browser) == "24 of 33 decided"
    assert [o.text for o in Select(browser.find_element("id", "label")).options] == [
        *("every class: 6 left", "cat: 0 left", "dog: 0 left", "emu: 6 left"),
    ]
    body.send_keys("a")
    assert count(browser) == "1 of 33 decided"
    body.send_keys("n")
    assert browser.find_element("id", "page").text == "page 2 of 2"
    body.send_keys("p")
    assert browser.find_element("id", "page").text == "page 1 of 2"
    legend = browser.find_element("id", "legend").get_property("textContent")
    assert "1 cat 2 dog 3 emu" in legend
    first = browser.find_element("css selector", ".card")
    assert first.find_element("css selector", "[value=second]").get_attribute("aria-pressed")


def test_a_run_s_name_is_escaped_once(page, tmp_path):
    path, files = page
    (path.parent / "ask.csv").unlink()
    path.parent.rename(tmp_path / "a&b")
    x = np.zeros((36, 6, 6, 3), np.uint8)
    listing = [
        ("file", "digest", "part", "class", "why"),
        *((file, "0", "unlabeled", "", "") for file in files),
    ]
    review_page.write(tmp_path / "a&b", make_task(files, listing, x))
    assert "<title>Review of a&amp;b</title>" in (tmp_path / "a&b" / "review.html").read_text()


def test_a_page_has_the_most_doubtful_picks(page, monkeypatch):
    monkeypatch.setattr(review_page, "MOST", 2)
    scores = [i["score"] for i in review_page._items(page[0].parent)[0] if i["kind"] == "picked"]
    assert scores == [0.71, 0.72]


def test_nothing_picked_no_page(tmp_path):
    review_page.write(tmp_path, SimpleNamespace(listing=[()], files=["a.png"]))
    assert not (tmp_path / "review.html").exists()
