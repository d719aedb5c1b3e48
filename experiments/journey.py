"""Trains, reviews in a real browser and trains again, as docs/folders.md describes.

    python experiments/journey.py FOLDER [--picked=150] [--epochs=20] [--results_dir=results]

FOLDER is that of experiments/images.py, with its images and backbone.keras. Decides in Chromium, by
clicks that follow truth.csv, about the `picked` least confident picks and all images to label; then
trains again with --decisions. Writes results/journey.csv, a line for each of the two runs, tested
on the same images. Needs chromium, chromium-driver and selenium. About five minutes on two cores.
"""

import pathlib
import sys
import time

import images
from absl import flags
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from selectnet_tf._console import expand_path, parse
from selectnet_tf._csv_files import write_csv
from selectnet_tf.data import cifar

FIRST = "robust frozen"


def chromium(saved: pathlib.Path, width: int = 1280, height: int = 900) -> webdriver.Chrome:
    """Returns a browser of that size, which saves files to `saved`."""
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(saved.absolute())})
    driver = webdriver.Chrome(options=options)
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    return driver


def decide(card: WebElement, predicted: str, answer: list[str]) -> None:
    """Clicks one decision about an image.

    Args:
        card: the image's card.
        predicted: the class that the run predicted.
        answer: the image's line of truth.csv.
    """
    _, kind, c, _ = answer
    wanted = cifar.CIFAR10[int(c)] if kind == "own" else ""
    if wanted and wanted != predicted:
        card.find_element("css selector", "input").send_keys(wanted, Keys.ENTER)
    else:
        button = card.find_element(
            "css selector", f"button[value={'right' if wanted else 'wrong'}]"
        )
        card.parent.execute_script(
            "arguments[0].scrollIntoView({block: 'center', behavior: 'instant'});"
            " arguments[0].click()",
            button,
        )


def review(folder: pathlib.Path, page: pathlib.Path, picked: int) -> tuple[pathlib.Path, int]:
    """Returns (the saved decisions.csv, the number of images decided about)."""
    answers, saved = images.truth(folder), folder / "saved"
    (saved / "decisions.csv").unlink(missing_ok=True)
    start, driver, done = time.perf_counter(), chromium(saved), 0
    driver.get(f"file://{page.absolute()}")
    labels = dict(driver.execute_script("return items.map((item) => [item.digest, item.label])"))
    for kind, most in (("picked", picked), ("asked", 10_000)):
        buttons = driver.find_elements("css selector", f"#kinds button[value={kind}]")
        for button in buttons:
            button.click()
        while buttons and most > 0:
            for card in driver.find_elements("css selector", ".card")[:most]:
                decide(
                    card,
                    labels[card.get_attribute("data-digest")],
                    answers[pathlib.Path(card.find_element("css selector", "a").text).stem],
                )
                if not done:
                    print(f"first decision after {time.perf_counter() - start:.0f} s")
                done, most = done + 1, most - 1
            onward = driver.find_element("id", "next")
            if not onward.is_enabled():
                break
            driver.execute_script("arguments[0].click()", onward)
    driver.find_element("id", "save").click()
    while not (saved / "decisions.csv").exists():
        time.sleep(0.1)
    driver.quit()
    return saved / "decisions.csv", done


def main() -> None:
    flags.DEFINE_integer("picked", 150, "least confident picks to decide about")
    flags.DEFINE_integer("epochs", 20, "of each run", 1)
    flags.DEFINE_string("results_dir", "results", "where journey.csv goes")
    folder = expand_path(parse(sys.argv)[1])
    first = images.measure(folder, FIRST, flags.FLAGS.epochs, "journey")
    run = images.recipe_of(folder, FIRST, flags.FLAGS.epochs).name
    start = time.perf_counter()
    decisions, done = review(
        folder, folder / "journey" / "runs" / run / "review.html", flags.FLAGS.picked
    )
    print(f"{done} images decided in {time.perf_counter() - start:.0f} s")
    images.RUNS["second"] = {**images.RUNS[FIRST], "decisions": str(decisions)}
    second = images.measure(folder, "second", flags.FLAGS.epochs, "journey")
    lines = [("first", 0, *first[1:]), ("second", done, *second[1:])]
    write_csv(
        expand_path(flags.FLAGS.results_dir) / "journey.csv",
        [("run", "decided", *images.HEADER[1:]), *lines],
    )


if __name__ == "__main__":
    main()
