"""The numbers in README and docs are those of results/."""

import pathlib

import pandas as pd
import pytest
from conftest import load_script

HOME = pathlib.Path(__file__).parent.parent
pages = load_script("experiments/pages.py")
PAGES = [
    path
    for path in [HOME / "README.md", *sorted((HOME / "docs").rglob("*.md"))]
    if pages.BLOCK.search(path.read_text(encoding="utf-8"))
]
RESULTS = pages.Results(HOME / "results")


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(HOME).as_posix())
def test_the_blocks_are_fresh(page):
    text = page.read_text(encoding="utf-8")
    assert pages.fill(text, RESULTS) == text, "run make report"


def test_each_block_is_on_a_page():
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert [name for name in pages.BLOCKS if pages.marks(name)[0] not in text] == []


def test_a_block_is_written_and_the_text_around_it_kept(monkeypatch, tmp_path):
    monkeypatch.setitem(pages.BLOCKS, "two", lambda results: [results.folder.name, "b"])
    start, end = pages.marks("two")
    assert (
        pages.fill(f"# A\n\n{start}\nold\n{end}\n\nmore\n", pages.Results(tmp_path / "r"))
        == f"# A\n\n{start}\nr\nb\n{end}\n\nmore\n"
    )


def test_an_unknown_block_and_one_without_an_end_are_refused(tmp_path):
    with pytest.raises(ValueError, match="received nothing: rename or delete it"):
        pages.fill("\n".join(pages.marks("nothing")), pages.Results(tmp_path))
    with pytest.raises(ValueError, match="block numbers has no end: add the line <!-- end of"):
        pages.fill(pages.marks("numbers")[0], pages.Results(tmp_path))


def test_no_page_is_written_where_one_is_wrong(tmp_path):
    (tmp_path / "docs").mkdir()
    start, end = pages.marks("agreement")
    (tmp_path / "README.md").write_text(f"{start}\nold\n{end}\n")
    with pytest.raises(ValueError, match="has no block for the results"):
        pages.write(tmp_path, tmp_path)
    assert "old" in (tmp_path / "README.md").read_text()


def test_a_recipe_without_a_run_is_not_run_and_two_seeds_have_a_spread():
    assert pages._with_n([]) == "not run"
    assert pages._with_n([0.5]) == "0.5000 (one run)"
    assert pages._with_n([0.5, 0.52]) == "0.5100 ± 0.0141 (2 runs)"


def test_a_variant_without_a_seed_keeps_its_columns(tmp_path):
    table = (
        pages.Results(HOME / "results").csv("ablation").query("part == 'report' and epoch == 60")
    )
    more = table[table.variant == "paper"].assign(seed=1, last10_accuracy=0.75)
    pd.concat([table, more]).to_csv(tmp_path / "ablation.csv", index=False)
    head, _, *lines = pages._own_ablation(pages.Results(tmp_path), "ablation", "report")
    cells = {line.split(" | ")[0]: line.split(" | ") for line in [head, *lines]}
    place = cells["| accuracy, epochs 51 to 60"].index("seed 1")
    assert cells["| preset `paper`"][place] == "0.7500" and cells["| `prior_loss` 1"][place] == ""
    assert {line.count("|") for line in lines} == {head.count("|")}
