import io
import os

import pytest

from selectnet_tf import cli
from selectnet_tf.cli import importing_tensorflow


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("0", "0")])
def test_commands_switch_onednn_on_unless_the_user_has_decided(given, used, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given or "")  # even if it is deleted, the test's end restores it
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    with importing_tensorflow():
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == used


def test_output_that_nobody_reads_ends_nothing():
    there, here = os.pipe()
    os.close(there)
    with os.fdopen(here, "w", encoding="ascii") as pipe:
        stream = cli._Output(pipe)
        print("D' · pseudo-labels", file=stream)
        stream.flush()
        print("more", file=stream, flush=True)


def test_what_a_terminal_lacks_is_written_as_an_escape():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii", write_through=True)
    print("round 1/4 · 97.7% \udcff", file=cli._Output(stream))
    assert raw.getvalue() == b"round 1/4 \\xb7 97.7% \\udcff\n"
