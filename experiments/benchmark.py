"""Measures speed and memory, as ratios taken side by side on one machine.

    make bench        or        python experiments/benchmark.py [--only=training --only=selection]
                                                                [--repeats=5]

training    images a second of simple, resnet20 and resnet56 at batch 32 and 128, with data pipeline
            and augmentation: ours; the same network as Keras ships it; the same in PyTorch (if
            installed: pip install torch). Each is a warm process of its own. They take turns, one
            epoch each, and medians of the turns are compared: between an epoch's first and last
            step and, with Keras, over the whole epoch ("whole epoch").
head        samples a second of one Dense layer on 64 features, as --freeze trains one: ours and
            model.fit, one step and 32 steps a call, model.fit on one batch again and again, and
            NumPy by hand, ten epochs each in turn; with all of TensorFlow's threads and with one.
onednn      ours with TensorFlow's oneDNN convolutions, as the commands use them, beside without.
precision   ours with --precision=mixed_bfloat16 beside float32.
ceiling     our training's share of the machine's floating-point rate (three forward passes' work).
selection   a round (score, select, swap) beside one pure forward pass by the best batch size, and
            beside 10 epochs.
memory      peak resident memory beside stock fit and predict on the same arrays; resident memory
            after 10 and 60 rounds.
growth      a round over a memory-mapped pool of 10^4, 10^5 and 10^6 images, by a tiny network.
start       seconds to --help, to `report diff` and to the first training step.
jobs        two runs at once with one thread each, beside one run with two threads: images a second.

About 30 minutes on two quiet cores. Writes results/benchmark.csv, a line for each number (median,
least and most of the repeats), and results/benchmark.png. Ratios change less between machines than
absolute numbers.
"""

import functools
import importlib.util
import json
import os
import pathlib
import statistics
import subprocess
import sys
import timeit

from absl import flags

from selectnet_tf._console import expand_path, fail, parse
from selectnet_tf._csv_files import read_csv, write_csv
from selectnet_tf._devices import limit_threads
from selectnet_tf.runs import plan

HOME = pathlib.Path(__file__).parent.parent
PASSES = {"simple": 3200, "resnet20": 1536, "resnet56": 640}  # images a turn: some seconds
HEADER = ("section", "what", "network", "batch", "median", "least", "most", "repeats", "unit")


class Worker:
    """A contender in its own process.

    `turn` lets it do one pass and returns its measurements, or None if it fails.
    """

    def __init__(self, kind, arch="simple", batch=32, images=0, environment=()):
        script, images = HOME / "experiments" / "contenders.py", images or PASSES[arch]
        command = [sys.executable, script, kind, arch, str(batch), str(images)]
        pipe = subprocess.PIPE
        environment = os.environ | dict(environment)
        self.process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment
        )
        self.ready = self._answer() == "ready"

    def _answer(self):
        for line in self.process.stdout:
            if line.startswith(("{", '"ready"')):
                return json.loads(line)
        return None

    def begin(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def turn(self):
        if not self.ready:
            return None
        self.begin()
        return self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


class Table:
    """The rows of benchmark.csv; a section that is not measured now keeps its rows."""

    def __init__(self, path, only):
        rows = (row for row in read_csv(path) if row["section"] not in only)
        self.path, self.lines = path, [tuple(row.values()) for row in rows]

    def add(self, section, what, values, unit, network="", batch=""):
        values = [v for v in values if v is not None]
        if not values:
            print(f"{section}: {what} {network} {batch}: not measured", flush=True)
            return
        numbers = [f"{v:.4g}" for v in (statistics.median(values), min(values), max(values))]
        self.lines.append((section, what, network, batch, *numbers, len(values), unit))
        write_csv(self.path, [HEADER, *self.lines])
        print(
            f"{section}: {what} {network} {batch}: {numbers[0]} {unit} ({numbers[1]} to"
            f" {numbers[2]})",
            flush=True,
        )


def training(table, repeats):
    kinds = ["ours", "stock", *(["torch"] if importlib.util.find_spec("torch") else [])]
    if "torch" not in kinds:
        print("training: PyTorch is not installed, so it is left out (pip install torch)")
    for arch in PASSES:
        for batch in (32, 128):
            workers = {kind: Worker(kind, arch, batch) for kind in kinds}
            found = [
                {kind: worker.turn() or {} for kind, worker in workers.items()}
                for _ in range(repeats)
            ]
            for kind, worker in workers.items():
                worker.__exit__()
                for measure, words in (("images_per_second", ""), ("with_ends", ", whole epoch")):
                    values = [turn[kind].get(measure) for turn in found]
                    if any(values):
                        table.add("training", kind + words, values, "images/s", arch, batch)
                    ratios = [
                        turn["ours"][measure] / turn[kind][measure]
                        for turn in found
                        if measure in turn[kind]
                    ]
                    if kind != "ours" and ratios:
                        table.add("training", f"ours / {kind}{words}", ratios, "ratio", arch, batch)


def head(table, repeats):
    one_thread = limit_threads(1)
    with (
        Worker("head", images=20_000) as many,
        Worker("head", images=20_000, environment=one_thread) as single,
    ):
        found = [(many.turn(), single.turn()) for _ in range(repeats)]
    for place, words in enumerate(("", ", one thread")):
        turns = [both[place] for both in found]
        for what in turns[0]:
            table.add("head", what + words, [turn[what] for turn in turns], "samples/s", "", 32)
            if not what.startswith("ours"):
                ratios = [turn["ours, 32 a call"] / turn[what] for turn in turns]
                label = f"ours, 32 a call / {what}{words}"
                table.add("head", label, ratios, "ratio", "", 32)


def onednn(table, repeats):
    without = ("without", "ours", {"TF_ENABLE_ONEDNN_OPTS": "0"})
    turns(table, repeats, "onednn", ("with", "ours", {}), without)


def precision(table, repeats):
    turns(table, repeats, "precision", ("mixed_bfloat16", "bfloat16", {}), ("float32", "ours", {}))


def turns(table, repeats, section, first, second):
    """Measures images a second of two contenders that take turns, and their ratio.

    first, second: (name, kind, environment).
    """
    for arch in PASSES:
        with (
            Worker(first[1], arch, environment=first[2]) as a,
            Worker(second[1], arch, environment=second[2]) as b,
        ):
            found = [
                [worker.turn()["images_per_second"] for worker in (a, b)] for _ in range(repeats)
            ]
        for (name, *_), values in zip((first, second), zip(*found, strict=True), strict=True):
            table.add(section, name, values, "images/s", arch, 32)
        ratios = [one / two for one, two in found]
        table.add(section, f"{first[0]} / {second[0]}", ratios, "ratio", arch, 32)


def ceiling(table, repeats):
    best = {}
    with Worker("ceiling") as machine:
        found = [machine.turn() for _ in range(repeats)]
        for what in ("matmul", "convolution"):
            values = [turn[what] / 1e9 for turn in found]
            table.add("ceiling", what, values, "GFLOP/s")
            best[what] = max(values)
        for arch in PASSES:
            for batch in (32, 128):
                with Worker("ours", arch, batch) as worker:
                    speeds = [worker.turn()["images_per_second"] for _ in range(repeats)]
                done = [speed * 6 * plan.count_multiply_adds(arch) / 1e9 for speed in speeds]
                table.add("ceiling", "reached in training", done, "GFLOP/s", arch, batch)
                shares = [d / best["convolution"] for d in done]
                table.add("ceiling", "share of the best convolution", shares, "share", arch, batch)


def selection(table, repeats):
    for arch, images in (("simple", 10_000), ("resnet20", 5_000), ("resnet56", 2_000)):
        with Worker("selection", arch, 32, images) as worker:
            found = [worker.turn() for _ in range(repeats)]
        measures = {
            **{what: (what, "s") for what in ("forward", "score", "round", "swap")},
            "best batch of the forward pass": ("forward_batch", "images"),
            "retraces by a round": ("retraces", "retraces"),
        }
        for what, (key, unit) in measures.items():
            table.add("selection", what, [turn[key] for turn in found], unit, arch)
        ratios = [turn["round"] / turn["forward"] for turn in found]
        table.add("selection", "round / forward", ratios, "ratio", arch)
        shares = [turn["round"] / turn["train"] / 10 for turn in found]
        table.add("selection", "round / 10 epochs", shares, "share", arch)


def memory(table, repeats):
    found = []
    for kind, what in (("memory", "peak"), ("memory_stock", "peak of stock")):
        found.append([])
        for _ in range(min(repeats, 3)):
            with Worker(kind, "simple", 32, 50_000) as worker:
                found[-1].append((worker.turn() or {}).get("megabytes"))
        table.add("memory", what, found[-1], "MB", "simple")
    ratios = [ours / stock for ours, stock in zip(*found, strict=True)]
    table.add("memory", "ours / stock", ratios, "ratio", "simple")
    with Worker("rounds", "simple", 32, 5_000) as worker:
        turn = worker.turn()
        for what in ("after_10_rounds", "after_60_rounds"):
            table.add("memory", what.replace("_", " "), [turn[what]], "MB")


def growth(table, repeats):
    for images in (10_000, 100_000, 1_000_000):
        with Worker("growth", "simple", 32, images) as worker:
            found = [worker.turn() for _ in range(repeats if images < 1_000_000 else 2)]
        each = [turn["seconds"] / images * 1e6 for turn in found]
        table.add("growth", "round, an image", each, "us", batch=images)
        table.add("growth", "resident", [turn["resident"] for turn in found], "MB", batch=images)


FIRST_STEP = """
import os, tempfile
from selectnet_tf import recipes
from selectnet_tf.runs import log, train
log.Log.on_train_batch_end = lambda *_, **__: os._exit(0)
train.train(recipes.make(dataset="digits-4minor"), results_dir=tempfile.mkdtemp(), verbose=0)
"""


def start(table, repeats):
    report = ["-m", "selectnet_tf", "report", "diff", f"--results_dir={table.path.parent}"]
    commands = {
        "run --help": ["-m", "selectnet_tf.run", "--help"],
        "report diff": report,
        "the first training step, on digits": ["-c", FIRST_STEP],
    }
    for what, command in commands.items():
        run = functools.partial(
            subprocess.run, [sys.executable, *command], capture_output=True, cwd=HOME, check=True
        )
        table.add("start", what, timeit.repeat(run, number=1, repeat=repeats), "s")


def jobs(table, repeats):
    for arch in ("simple", "resnet20"):
        with (
            Worker("ours", arch) as one,
            Worker("ours", arch, environment=limit_threads(1)) as a,
            Worker("ours", arch, environment=limit_threads(1)) as b,
        ):
            alone, together = [], []
            for _ in range(repeats):
                alone.append(one.turn()["images_per_second"])
                for worker in (a, b):
                    worker.begin()
                together.append(sum(worker._answer()["images_per_second"] for worker in (a, b)))
        table.add("jobs", "one run, all threads", alone, "images/s", arch, 32)
        table.add("jobs", "two runs, one thread each", together, "images/s", arch, 32)
        ratios = [t / o for t, o in zip(together, alone, strict=True)]
        table.add("jobs", "two runs / one", ratios, "ratio", arch, 32)


def draw(path, lines):
    """Draws benchmark.png: images a second, and a round's time and memory by the pool's size."""
    from matplotlib.figure import Figure

    rows = [dict(zip(HEADER, line, strict=True)) for line in lines]
    figure = Figure(figsize=(11, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    speeds = [
        row
        for row in rows
        if row["section"] == "training" and row["unit"] == "images/s" and "," not in row["what"]
    ]
    medians = {
        (row["what"], row["network"], str(row["batch"])): float(row["median"]) for row in speeds
    }
    settings = list(dict.fromkeys(key[1:] for key in medians))
    names = {"ours": "selectnet_tf", "stock": "Keras as it ships", "torch": "PyTorch eager"}
    for i, kind in enumerate(dict.fromkeys(kind for kind, *_ in medians)):
        found = [medians.get((kind, *setting), 0) for setting in settings]
        base = [medians["stock", *setting] for setting in settings]
        places = [x + (i - 1) * 0.27 for x in range(len(settings))]
        heights = [value / stock for value, stock in zip(found, base, strict=True)]
        bars = left.bar(places, heights, 0.25, label=names[kind])
        left.bar_label(bars, [f"{value:.0f}" for value in found], fontsize=7)
    left.set_xticks(range(len(settings)), [f"{arch}\nbatch {batch}" for arch, batch in settings])
    left.set(title="training: images a second (on the bars), relative to Keras as it ships")
    left.legend(frameon=False, fontsize=8)
    pools = [row for row in rows if row["section"] == "growth"]
    for what, color, axis in (
        ("round, an image", "tab:blue", right),
        ("resident", "tab:orange", right.twinx()),
    ):
        points = [(int(row["batch"]), float(row["median"])) for row in pools if row["what"] == what]
        axis.plot(*zip(*points, strict=True), "o-", color=color)
        axis.set_ylabel(
            {"resident": "resident memory, MB"}.get(what, "a round, us an image"), color=color
        )
        axis.set_ylim(bottom=0)
    right.set(xscale="log", xlabel="images in a memory-mapped pool", title="a round")
    figure.savefig(path, dpi=110)


SECTIONS = {
    f.__name__: f
    for f in (training, head, onednn, precision, ceiling, selection, memory, growth, start, jobs)
}

if __name__ == "__main__":
    flags.DEFINE_multi_enum(
        "only", list(SECTIONS), list(SECTIONS), "sections to measure; may be given several times"
    )
    flags.DEFINE_integer("repeats", 5, "turns of each contender", 1)
    flags.DEFINE_string("results_dir", "results", "where benchmark.csv and benchmark.png go")
    parse(sys.argv)
    results = expand_path(flags.FLAGS.results_dir)
    try:
        results.mkdir(parents=True, exist_ok=True)
        made = Table(results / "benchmark.csv", flags.FLAGS.only)
        for section in flags.FLAGS.only:
            SECTIONS[section](made, flags.FLAGS.repeats)
        if {"training", "growth"} <= {line[0] for line in made.lines}:
            draw(results / "benchmark.png", made.lines)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(fail(error, 1))
