"""What every command here shares: flags read, one line for an error, a TensorFlow that does not greet."""

import contextlib
import logging
import os
import sys

from absl import app, flags


@contextlib.contextmanager
def quiet_tensorflow(verbose=False):
    """TensorFlow greets in C++, on the process's standard error, while it is imported: nobody needs that."""
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nothing:
        os.dup2(nothing.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def fail(error, code):
    print(f"error: {str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__}", file=sys.stderr)
    return code


def parse(argv):
    """argv without its flags, which are read into flags.FLAGS. --help prints the command's docstring and its flags."""
    app.define_help_flags()
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(fail(error, 2))
