import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest

from selectnet_tf.data import pickles

ROWS = np.arange(2 * 6, dtype=np.uint8).reshape(2, 6)


def read(content):
    found = pickles.load(content)
    return pickles.array(found[b"data"]), pickles.integers(found[b"labels"])


def test_a_file_pickled_by_python_2_is_read():
    """The opcodes of the official archive: byte strings by SHORT_BINSTRING, as Python 2 and NumPy 1 wrote them."""
    reconstruct = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt R".replace(
            b"t R", b"tR"
        )
    )
    state = b"(K\x01K\x01M\x00\x0c\x86cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    content = (
        b"\x80\x02}(U\x04data"
        + reconstruct
        + state
        + b"T\x00\x0c\x00\x00"
        + bytes(range(256)) * 12
        + b"tbU\x06labels](K\x05eu."
    )
    planes, labels = read(content)
    assert planes.shape == (1, 3072) and planes[0, 255] == 255 and labels.tolist() == [5]


@pytest.mark.parametrize("protocol", range(5))
@pytest.mark.parametrize(
    "labels",
    [[7, 300], np.array([7, 300]), np.array([7, 300], ">i2"), np.array([7, 300], np.uint16)],
)
def test_what_python_3_pickles_is_read(labels, protocol):
    planes, found = read(
        pickle.dumps({b"data": np.asfortranarray(ROWS), b"labels": labels}, protocol)
    )
    assert planes.tolist() == ROWS.tolist()
    assert planes.dtype == np.uint8
    assert found.tolist() == [7, 300]


def crash():
    """170 bytes whose state for dtype.__setstate__ turns eight bytes of the file into an object's address."""

    def text(s):
        return b"X" + struct.pack("<I", len(s)) + s.encode()

    def number(n):
        return b"\x8a\x09" + n.to_bytes(9, "little")

    def together(*parts):
        return b"(" + b"".join(parts) + b"t"

    dtype, eight = b"cnumpy\ndtype\n", b"C\x08AAAAAAAA"
    void = dtype + together(b"](" + together(text("a"), text("V8")) + b"e") + b"R"
    object_ = dtype + together(text("O8")) + b"R"
    fields = b"}(" + text("a") + together(object_, number(0)) + b"u"
    state = together(
        number(3), text("|"), b"N", together(text("a")), fields, number(8), number(1), number(63)
    )
    array = b"cnumpy\nndarray\n" + together(together(number(0)), b"h\x00") + b"R"
    array += together(number(1), together(number(1)), b"h\x00", b"\x89", eight) + b"b"
    content = (
        b"\x80\x04" + void + b"\x94" + b"0" + array + b"\x94" + b"0" + b"h\x00" + state + b"b0"
    )
    return content + b"}(" + b"C\x04data" + b"h\x01" + b"C\x06labels" + b"h\x01u."


def test_a_file_cannot_make_numpy_read_memory():
    with pytest.raises((TypeError, ValueError)):
        read(crash())


@pytest.mark.parametrize("arguments", [(np.ndarray, (10**13,), b"b"), (np.ndarray, (0,), b"b", 1)])
def test_a_small_file_cannot_claim_a_huge_array(arguments):
    class Huge:
        def __reduce__(self):
            return np.zeros(0).__reduce__()[0], arguments

    with pytest.raises((TypeError, ValueError)):
        read(pickle.dumps({b"data": Huge(), b"labels": []}, 2))


def test_shapes_and_lengths_are_checked():
    whole = pickle.dumps({b"data": ROWS, b"labels": [1, 2]}, 2)
    for wrong in (b"K\x02K\x07\x86", b"K\x03K\x06\x86", b"J\xff\xff\xff\xffK\x06\x86"):
        assert b"K\x02K\x06\x86" in whole
        with pytest.raises(ValueError):
            read(whole.replace(b"K\x02K\x06\x86", wrong))


FUZZ = """
import random, resource, sys
from selectnet_tf.data import pickles
resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31))
seeds, g = [bytes.fromhex(line) for line in sys.stdin.read().split()], random.Random(0)
for i in range(int(sys.argv[1])):
    content = bytearray(g.choice(seeds))
    for _ in range(g.choice((1, 1, 2, 8))):
        at = g.randrange(len(content))
        how = g.randrange(4)
        if how == 0:
            content[at] = g.randrange(256)
        elif how == 1:
            del content[at : at + g.randrange(1, 9)]
        elif how == 2:
            content[at:at] = g.choice(seeds)[at : at + g.randrange(1, 40)]
        else:
            content[at:at] = bytes([g.choice(b"ctRbNh()2d]}au0.\\x85\\x86\\x93\\x94")])
        content = content or bytearray(b".")
    try:
        found = pickles.load(bytes(content))
        pickles.array(found[b"data"]), pickles.integers(found[b"labels"])
    except Exception:
        pass
print("survived")
"""


@pytest.mark.slow
def test_no_damaged_file_crashes_the_reader_or_takes_all_memory():
    seeds = [
        pickle.dumps({b"data": ROWS, b"labels": [1, 2]}, protocol) for protocol in range(5)
    ] + [crash()]
    given = "\n".join(seed.hex() for seed in seeds)
    found = subprocess.run(
        [sys.executable, "-c", FUZZ, "100000"],
        input=given,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (found.returncode, found.stdout) == (0, "survived\n"), found.stderr[-400:]
