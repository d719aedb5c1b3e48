import os

import pytest

from selectnet_tf.cli import importing_tensorflow


@pytest.mark.parametrize(("given", "used"), [(None, "1"), ("0", "0")])
def test_commands_switch_onednn_on_unless_the_user_has_decided(given, used, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", given or "")  # even if it is deleted, the test's end restores it
    if given is None:
        monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    with importing_tensorflow():
        assert os.environ["TF_ENABLE_ONEDNN_OPTS"] == used
