import os
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags

from selectnet_tf import _console
from selectnet_tf._console import importing_tensorflow

FULL = "the disk is full: free some space and run the same command again"


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("0", "0")])
def test_commands_switch_onednn_on_unless_the_user_has_decided(given, used, monkeypatch):
    monkeypatch.setenv(
        "TF_ENABLE_ONEDNN_OPTS", given or ""
    )  # even if it is deleted, the test's end restores it
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    with importing_tensorflow():
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == used


@pytest.mark.parametrize(
    ("code", "end", "expected"),
    [
        ("print('\\u2212 \\udcff')", "", (0, "\\u2212 \\udcff\n", "")),
        ("print('x'); sys.exit(_console.fail('torn', 1))", "> /dev/full", (1, "", "error: torn\n")),
        ("sys.exit(open('log', 'w').fileno())", ">&- 2>&- <&-", (3, "", "")),
    ],
)
def test_streams_that_lack_letters_or_room_or_are_closed(code, end, expected, tmp_path):
    words = [
        sys.executable,
        "-c",
        f"import os, sys; from selectnet_tf import _console; _console.parse(['x']); {code}",
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUNBUFFERED": ""}
    command = ["bash", "-c", f"{shlex.join(words)} {end}"]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == expected


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--folders=a", "--folders=b"], "--folders is given 2 times: give it as --folders=a,b"),
        (["--steps=3", "--steps", "3"], "--steps is given 2 times: give it once"),
        (["--quick", "--noquick", "--quick"], "--quick is given 3 times: give it once"),
        (["--share=nan"], "--share is nan, but has to be a number"),
        (["--share=inf", "--folders=a,b", "--steps=3", "--quick", "--each=a", "--each=b"], ""),
    ],
)  # fmt: skip
def test_a_flag_given_twice_or_nan_is_refused(words, error, capsys, monkeypatch):
    own = flags.FlagValues()
    monkeypatch.setattr(_console.flags, "FLAGS", own)
    monkeypatch.setattr(_console.app, "define_help_flags", lambda: None)
    flags.DEFINE_list("folders", None, "", flag_values=own)
    flags.DEFINE_integer("steps", None, "", flag_values=own)
    flags.DEFINE_bool("quick", None, "", flag_values=own)
    flags.DEFINE_multi_string("each", None, "", flag_values=own)
    flags.DEFINE_float("share", 0.5, "", 0, flag_values=own)
    if not error:
        assert _console.parse(["x", *words, "word"]) == ["x", "word"]
        return
    with pytest.raises(SystemExit) as ended:
        _console.parse(["x", *words])
    assert ended.value.code == 2 and capsys.readouterr().err == f"error: {error}\n"


SMALLER = "out of memory: give a smaller --batch_size or --image_size"
GRAPH = """Graph execution error:

Detected at node a/Reshape defined at (most recent call last):
  File "train.py", line 13, in <module>

  File "layer.py", line 8, in call

{}
\t [[{{{{node a/Reshape}}}}]] [Op:__inference_multi_step_on_iterator_230]"""


def of_graph(kind, *causes):
    return getattr(tf.errors, kind)(None, None, GRAPH.format("\n".join(causes)))


@pytest.mark.parametrize(
    ("error", "given", "said"),
    [
        (OSError(28, "No space left", "a"), [], FULL),
        (OSError(28, "No space left", "a"), ["force"], f"{FULL}, without --force if an epoch was saved"),
        (OSError(13, "Permission denied", "a"), [], "a: Permission denied"),
        (MemoryError("Unable to allocate 3 GiB"), [], "out of memory"),
        (MemoryError(), ["batch_size"], SMALLER),
        (of_graph("ResourceExhaustedError", "OOM when allocating tensor", "Hint: none"), ["batch_size"], SMALLER),
        (tf.errors.ResourceExhaustedError(None, None, "Out of memory while trying to allocate 9 bytes"), ["batch_size"], SMALLER),
        (tf.errors.ResourceExhaustedError(None, None, "a; No space left on device"), ["batch_size"], FULL),
        (of_graph("InvalidArgumentError", "A tensor of 32 values", "more"), [], "A tensor of 32 values"),
        (of_graph("InternalError", "2 root error(s) found.", "  (0) INTERNAL: torn"), [], "(0) INTERNAL: torn"),
        (ValueError("Out of memory lane, no such folder"), [], "Out of memory lane, no such folder"),
    ],
)  # fmt: skip
def test_errors_name_their_cause_and_cure(error, given, said, monkeypatch, capsys):
    own = flags.FlagValues()
    monkeypatch.setattr(_console.flags, "FLAGS", own)
    for name in given:
        flags.DEFINE_bool(name, True, "", flag_values=own)
    _console.fail(_console.describe_error(error), 1)
    assert capsys.readouterr().err == f"error: {said}\n"


def test_a_graph_of_tensorflow_words_its_errors_like_that():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, jit_compile=False)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        model.fit(np.zeros((8, 4)), np.full(8, 5), verbose=0)
    said = _console.describe_error(caught.value)
    assert said.startswith("Received a label value of 5 which is outside the valid range of [0, 2)")
