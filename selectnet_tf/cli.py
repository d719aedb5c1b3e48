"""What every command here shares: flags read, one line for an error, a TensorFlow that is fast and does not greet."""

import contextlib
import logging
import os
import sys

from absl import app, flags

from selectnet_tf.files import shown


@contextlib.contextmanager
def importing_tensorflow(verbose=False):
    """TensorFlow is imported in here, with oneDNN and without its greeting.

    By itself it takes oneDNN's convolutions only where the CPU multiplies bytes for neural networks (AVX512_VNNI and the
    like), but with AVX2 they are up to twice as fast too. It greets in C++, on the process's standard error.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
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
    print(f"error: {shown(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__}", file=sys.stderr)
    return code


def parse(argv):
    """argv without its flags, which are read into flags.FLAGS. --help prints the command's docstring and its flags."""
    app.define_help_flags()
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(fail(error, 2))


def aligned(lines):
    """Lines of values as columns for the screen."""
    widths = [max(len(str(line[i])) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(str(v).ljust(w) for v, w in zip(line, widths, strict=True)).rstrip() for line in lines)
