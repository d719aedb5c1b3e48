import os
import shlex
import subprocess
import sys

import pytest

from selectnet_tf._console import importing_tensorflow


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
        ("print('x'); sys.exit(cli.fail('torn', 1))", "> /dev/full", (1, "", "error: torn\n")),
        ("sys.exit(open('log', 'w').fileno())", ">&- 2>&- <&-", (3, "", "")),
    ],
)
def test_streams_that_lack_letters_or_room_or_are_closed(code, end, expected, tmp_path):
    words = [
        sys.executable,
        "-c",
        f"import os, sys; from selectnet_tf import cli; cli.parse(['x']); {code}",
    ]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = ["bash", "-c", f"{shlex.join(words)} {end}"]
    found = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (found.returncode, found.stdout, found.stderr) == expected
