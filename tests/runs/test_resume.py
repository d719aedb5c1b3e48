import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import blobs

from selectnet_tf.runs import resume


def git(folder, *words):
    subprocess.run(
        ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c", *words],
        check=True,
        capture_output=True,
    )


def make_package(folder):
    (folder / "selectnet_tf").mkdir(parents=True)
    (folder / "selectnet_tf" / "__init__.py").touch()
    return folder / "selectnet_tf"


def test_the_commit_is_of_this_package_s_repository_alone(tmp_path):
    own = make_package(tmp_path / "own")
    git(tmp_path / "own", "init")
    assert resume.read_commit(own) == "unknown"  # nothing is committed
    git(tmp_path / "own", "add", ".")
    git(tmp_path / "own", "commit", "-m", "a")
    assert len(resume.read_commit(own)) >= 7
    installed = make_package(tmp_path / "own" / ".venv")  # in a repository of the user's
    assert (
        resume.read_commit(installed) == "unknown"
        and resume.read_commit(make_package(tmp_path / "none")) == "unknown"
    )


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert resume.read_commit() == "unknown"


def test_the_environment_names_what_the_last_bits_depend_on(monkeypatch):
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "3")
    found = resume.read_environment()
    assert (
        list(found) == ["python", "tensorflow", "keras", "threads", "onednn", "device", "commit"]
        and found["threads"] == "3"
    )


def task(**changes):
    (x, y), (x_test, y_test), (pool, _) = blobs(20), blobs(8, seed=1), blobs(12, seed=2)
    given = {
        "x_labeled": x,
        "y_labeled": y,
        "x_unlabeled": pool,
        "x_test": x_test,
        "y_test": y_test,
        "names": ("a", "b"),
        "minor": (1,),
    }
    return SimpleNamespace(**{**given, **changes})


@pytest.mark.parametrize(
    ("field", "change", "said"),
    [
        ("x_unlabeled", lambda x: x[:-1], "started: unlabeled data;"),
        ("x_unlabeled", lambda x: x[::-1], "started: unlabeled data;"),
        (
            "x_labeled",
            lambda x: x ^ np.eye(20, 1, dtype=np.uint8)[..., None, None],
            "started: labeled data;",
        ),  # one bit
        ("y_labeled", lambda y: y[::-1], "started: labeled data;"),
        ("y_test", lambda y: y[::-1], "started: test data;"),
        ("names", lambda names: names[::-1], "started: classes;"),
        ("minor", lambda minor: (0,), "started: classes;"),
    ],
)
def test_other_data_are_named(field, change, said):
    state = resume.Fingerprint(task(), 1).get_state()
    resume.Fingerprint(task(), 1).set_state(state)
    with pytest.raises(ValueError, match=said):
        resume.Fingerprint(task(**{field: change(getattr(task(), field))}), 1).set_state(state)


def test_each_change_of_the_environment_is_kept(monkeypatch):
    state = None
    for threads in ("2", "2", "1", "2"):
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", threads)
        made = resume.Fingerprint(task(), 1)
        if state:
            made.set_state(state)
        state = made.get_state()
    assert (
        made.changed == "threads 2 > 1 > 2" == made.row()["changed"]
        and made.first["threads"] == "2"
    )
    assert made.notices == [
        "  resuming in another environment (threads 1 > 2): the last bits may differ from an uninterrupted run's"
    ]


def test_a_state_of_an_older_version_goes_on_with_a_word():
    made = resume.Fingerprint(task(), 1)
    made.set_state({})
    assert made.changed == "" and "started by an older version" in made.notices[0]
