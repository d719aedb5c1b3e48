import numpy as np
import pytest
from conftest import write_run
from scipy.stats import ttest_1samp

from selectnet_tf.report import compare
from selectnet_tf.runs.baselines import Baseline

TRUTH = np.array([0] * 4 + [1] * 4)
CLASSES = "class,name,minor,f1,as_0,as_1\n0,bird,1,0.5,3,1\n1,cat,0,0.7,1,3\n"


def keep(results, predicted, truth=TRUTH, **changes):
    """Writes a finished run of two classes, bird (minor) and cat. predicted: [k, n] codes. Returns its name."""
    name = write_run(results, dataset="digits-4minor", **changes).name
    (results / "runs" / name / "classes.csv").write_text(CLASSES)
    np.savez(
        results / "runs" / name / "predictions.npz",
        truth=truth,
        predicted=np.array(predicted, np.uint8),
    )
    return name


def made(*rights, truth=TRUTH):
    """Pairs of one epoch, a seed each. rights: (right of A, right of B) [n] bool."""
    minor = np.array([True, False])
    return [
        compare.Pair(i, ("a", "b"), truth, np.array(both, bool)[:, None], minor, ["bird", "cat"])
        for i, both in enumerate(rights)
    ]


def test_mcnemar_counts_what_one_alone_has_right():
    a, b = np.array([1, 1, 1, 1, 1, 1, 0, 0], bool), np.array([0, 0, 0, 0, 0, 1, 1, 0], bool)
    assert compare.mcnemar(a, b) == (5, 1, pytest.approx(14 / 64))  # 2 (1 + 6) / 2^6
    assert compare.mcnemar(a, a) == (0, 0, 1.0)


def test_the_worst_class_is_each_run_s_own():
    found = compare.differences(made(([1] * 4 + [0] * 4, [0] * 4 + [1] * 3 + [0])))
    assert {name: values[:2] for name, values in found.items()} == {
        "all": (0.5, 0.375),
        "minor": (1, 0),
        "worst": (0, 0),
    }


def test_one_seed_s_interval_is_that_of_images_drawn_within_their_classes():
    truth = np.repeat([0, 1], 400)
    a = np.tile(
        [1, 1, 1, 0], 200
    )  # right in 3 of 4 images of each class, B in 2 of 4: 1 in 4 differs
    b = np.tile([1, 1, 0, 0], 200)
    _, _, low, high = compare.differences(made((a, b), truth=truth))["all"]
    error = 1.96 * np.sqrt(0.25 * 0.75 / 800)
    assert (low, high) == (
        pytest.approx(0.25 - error, abs=0.004),
        pytest.approx(0.25 + error, abs=0.004),
    )


def test_seeds_that_disagree_widen_the_interval():
    """All images alike, so that drawing them changes nothing: the interval is Student's t."""
    ones, zeros = np.ones(8), np.zeros(8)
    a = np.ones((20, 8), bool)  # 20 epochs
    gaps = np.array([0.1, 0.2, 0.4])
    pairs = made(*[(ones, zeros)] * 3)
    for i, gap in enumerate(gaps):
        right = np.stack([a, a & (np.arange(20) >= 20 * gap)[:, None]])
        pairs[i] = pairs[i]._replace(right=right)
    half = ttest_1samp(gaps, 0).confidence_interval().high - gaps.mean()
    expected = pytest.approx((1, 1 - gaps.mean(), gaps.mean() - half, gaps.mean() + half))
    assert compare.differences(pairs)["all"] == expected
    assert compare.differences(made((ones, zeros), (ones, ones)))["all"] == (1, 0.5, -1, 1)
    assert compare.differences(made((ones, zeros), (ones, zeros)))["all"] == (1, 0, 1, 1)


def test_runs_are_paired_by_seed_over_the_epochs_that_both_kept(tmp_path):
    for seed in (0, 1):
        keep(tmp_path, [1 - TRUTH, TRUTH], method="random", seed=seed)
        keep(tmp_path, [1 - TRUTH, TRUTH, TRUTH * 0], method="context", seed=seed)
    pairs = compare.pair(tmp_path, "*_random_*", "*_context_*")
    assert [p.seed for p in pairs] == [0, 1]
    assert pairs[1].names[1] == "digits-4minor_simple_context_paper_s1"
    said = "\n".join(compare.lines(pairs)).splitlines()
    start = next(i for i, line in enumerate(said) if "mean of the last 2 epochs, 2 seeds" in line)
    assert [line.split()[:7] for line in said[start + 2 : start + 5]] == [
        ["all", "0.5000", "0.7500", "-0.2500", "-0.2500", "to", "-0.2500"],
        ["minor", "0.5000", "1.0000", "-0.5000", "-0.5000", "to", "-0.5000"],
        ["worst", "0.5000", "0.5000", "+0.0000", "+0.0000", "to", "+0.0000"],
    ]
    assert said[-1].split()[:2] == ["1", "cat"] and said[-1].split()[-3:] == ["4", "0", "0.12"]


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("nobody", "*_random_*", "no run in"),
        ("*_oracle_*", "*_context_paper_s0", "has no predictions.npz"),
        ("*_random_*", "*_context_paper_s0", "A has the seeds 0, 1 and B has 0, expected the same"),
        ("*_s0", "*_context_paper_s0", "expected one run of seed 0"),
        ("*_context_paper_s0", "*_context_paper_s0_*", "have different test sets"),
        ("*_context_paper_s0", "*_balanced_*", "have different test sets"),
        ("*_context_paper_s0", "*_imbalanced_*", "is damaged: train the run again"),
    ],
)
def test_what_can_not_be_paired_is_refused_in_one_line(a, b, words, tmp_path):
    keep(tmp_path, [TRUTH], method="random")
    keep(tmp_path, [TRUTH], method="random", seed=1)
    keep(tmp_path, [TRUTH], method="context")
    keep(tmp_path, [TRUTH], method="context", validation=5)
    keep(tmp_path, [TRUTH], TRUTH[::-1], method="balanced")
    write_run(tmp_path, dataset="digits-4minor", method="oracle")
    name = keep(tmp_path, [TRUTH], method="imbalanced")
    path = tmp_path / "runs" / name / "predictions.npz"
    path.write_bytes(path.read_bytes()[:99])
    with pytest.raises(ValueError, match=".") as error:
        compare.pair(tmp_path, a, b)
    assert words in str(error.value) and "\n" not in str(error.value)


def test_runs_on_as_many_other_test_images_are_not_paired(tmp_path):
    names = [keep(tmp_path, [TRUTH], method=method) for method in ("random", "context")]
    for name, digests in zip(names, ("abcdefgh", "abcdefgx"), strict=True):
        lines = [f"{i}.png,{digest},test" for i, digest in enumerate(digests)]
        lines += [f"{name}.png,{name},labeled"]  # they may differ in these
        (tmp_path / "runs" / name / "files.csv").write_text("\n".join(["file,digest,part", *lines]))
    with pytest.raises(ValueError, match="have different test sets: compare runs of one data set"):
        compare.pair(tmp_path, *names)
    path = tmp_path / "runs" / names[1] / "files.csv"
    path.write_text(path.read_text().replace(",x,", ",h,"))
    assert len(compare.pair(tmp_path, *names)) == 1


@pytest.mark.parametrize(
    ("run", "baseline", "verdict"),
    [  # right predictions of birds (minor) and of cats, of 4 or 40 each
        ((0, 4), (4, 4), "level"),  # p = 0.12, though drawing images can't show it
        ((0, 40), (40, 40), "better"),
        ((40, 40), (0, 40), "worse"),
        ((0, 40), (20, 0), "mixed"),
        ((20, 20), (20, 20), "level"),
    ],
)
def test_a_baseline_wins_where_interval_and_exact_test_agree(run, baseline, verdict, tmp_path):
    size = 4 if max(run) == 4 else 40
    truth = np.repeat([0, 1], size)

    def predicted(right):
        wrong = np.concatenate([np.arange(size) >= count for count in right])
        return [np.where(wrong, 1 - truth, truth)]

    name = keep(tmp_path, predicted(run), truth, method="context")
    other = tmp_path / "runs" / keep(tmp_path, predicted(baseline), truth, method="random")
    found = [Baseline("random", other), Baseline("logistic", None, "train it")]
    rows = compare.write_baselines(tmp_path, name, "context", found)
    assert [row["verdict"] for row in rows] == ["", verdict, "not run"]
    said = compare.describe_baselines(rows)
    uses = [line for line in said if line.startswith("use random: ")]
    assert bool(uses) == (verdict == "better") and all(str(other) in line for line in uses)
    assert said[-1] == "logistic: train it"
    assert compare.read_baselines(tmp_path / "runs" / name) == rows
    path = tmp_path / "runs" / name / compare.TABLE
    path.write_text(path.read_text().replace(f"{size},", "many,"))
    assert compare.read_baselines(path.parent) == []
