"""`python -m selectnet_tf.run`, the same as `selectnet train`."""

import sys

from selectnet_tf.__main__ import run

if __name__ == "__main__":
    sys.exit(run("train", sys.argv[1:]))
