"""Pickles made by hand of allowed names: what each could do elsewhere, it cannot do here."""

from __future__ import annotations

import io
import pickle
import struct

import numpy as np
import pytest

from crossl.data.readers.unpickle import MAX_OPERATIONS, NumpyUnpickler
from crossl.errors import DataError

TOKEN = b"cnumpy\nndarray\n"
RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = RECONSTRUCT + b"(" + TOKEN + b"(K\x00tU\x01btR"
PLAIN = b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"


def dtype(name=b"f8", state=PLAIN):
    return b"cnumpy\ndtype\n(U" + bytes([len(name)]) + name + b"K\x00K\x01tR" + state


def array(kind=None, shape=b"(K\x02t", data=b"U\x10" + bytes(16)):
    """Pickle an array of two float64, or of something else."""
    kind = dtype() if kind is None else kind
    return EMPTY + b"(K\x01" + shape + kind + b"\x89" + data + b"tb"


def load(operations, *, size=1000):
    """Unpickle, with as many bytes behind the end as make the file of that size."""
    data = b"\x80\x02" + operations + b"."
    return NumpyUnpickler(io.BytesIO(data.ljust(size, b" ")), encoding="latin1").load()


def test_what_these_attacks_change_is_an_array_of_numbers():
    got = load(array())
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, [0.0, 0.0])


def doubled(depth=60, pair=b"\x86"):
    """Make something that holds a thing twice, which holds a thing twice, and so on."""
    levels = (b"(h" + bytes([n]) + b"h" + bytes([n]) + pair + b"q" + bytes([n + 1]) + b"0"
              for n in range(depth))  # fmt: skip
    return b"K\x01q\x000" + b"".join(levels) + b"h" + bytes([depth])


OBJECTS_OF_TEXT = b"(" + b"K\x01\x85" + dtype(b"O8") + b"U\x08" + struct.pack("<Q", 0x10) + b"tR"

KINDS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")

ATTACKS = {
    "an address as an object": (TOKEN + OBJECTS_OF_TEXT, "type 'O8'"),
    "an array made by ndarray": (TOKEN + b"(K\x01\x85tR", "makes an array in an unknown way"),
    "a new ndarray": (TOKEN + b"(K\x01\x85t\x81", None),
    "a new dtype": (b"cnumpy\ndtype\n(U\x01Ot\x81", None),
    "objects in the state of an array": (array(dtype(b"O8")), "type 'O8'"),
    "text of another size": (array(dtype(b"V8")), "type 'V8'"),
    "fields in the state of a type": (
        dtype(state=b"(K\x03U\x01<N(U\x01atc_codecs\nencode\nJ\x08\x00\x00\x00K\x08K\x10tb"),
        "changes what a type",
    ),
    "a type of 2^30 bytes": (
        array(dtype(state=b"(K\x03U\x01<NNNJ\x00\x00\x00\x40J\xff\xff\xff\xffK\x00tb")),
        "changes what a type",
    ),
    "flags of objects": (
        dtype(state=b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x3ftb"),
        "changes what a type",
    ),
    "a state for the token": (TOKEN + PLAIN, "changes what a type"),
    "a state for a function": (b"c_codecs\nencode\n" + b"N}U\x08__name__K\x01s\x86b", "a state"),
    "fewer bytes than the shape": (array(data=b"U\x08" + bytes(8)), "has not the bytes"),
    "a list instead of bytes": (array(data=b"]"), "has not the bytes"),
    "a shape below nought": (array(shape=b"(J\xff\xff\xff\xfft"), "no shape or type"),
    "a shape of text": (array(shape=b"U\x02ab"), "no shape or type"),
    "a shape beyond all bounds": (array(shape=b"(J\x00\x00\x00\x7fJ\x00\x00\x00\x7ft"), "bytes of"),
    "an array filled twice": (
        array() + b"(K\x01(K\x02t" + dtype() + b"\x89U\x10" + bytes(16) + b"tb",
        "fills an array in an unknown way",
    ),
    "an array of another class": (RECONSTRUCT + b"(NK\x00\x85U\x01btR", "in an unknown way"),
    "an array that is made large": (
        RECONSTRUCT + b"(" + TOKEN + b"J\x00\x00\x00\x7f\x85U\x01btR", "in an unknown way",
    ),
    "one text for many arrays": (
        b"(X\x90\x01\x00\x00" + bytes(400) + b"q\x00"
        + 5 * array(shape=b"(K\x32t", data=b"h\x00") + b"t",
        "makes more than the 1[0-9]+ bytes",
    ),
    "one text in bytes many times": (
        b"(X\x90\x01\x00\x00" + b"a" * 400 + b"q\x00"
        + 5 * b"c_codecs\nencode\n(h\x00U\x06latin1tR" + b"t",
        "makes more than the 1[0-9]+ bytes",
    ),
    "a nest of tuples": (b"N" + b"\x85" * MAX_OPERATIONS, "more than 5000 operations"),
    "a place far away": (b"Nr\xff\xff\xff\x7f", "beyond the file's length"),
    "a place far away, in digits": (b"Np2000000000\n", "beyond the file's length"),
    "a text longer than the file": (b"T\xff\xff\xff\x7fabc", "asks for 2147483647 bytes"),
    "bytes longer than the file": (b"\x8e" + struct.pack("<Q", 2**40), "asks for 1099511627776"),
    "a key that takes for ever": (b"}" + doubled(pair=b"t") + b"K\x01s", "a tuple into a dict"),
    "keys that take for ever": (b"}(" + doubled(pair=b"t") + b"K\x01u", "a tuple into a dict"),
    "a dict of them": (b"(" + doubled(pair=b"t") + b"K\x01d", "a tuple into a dict"),
    "a set of them": (b"\x8f(" + doubled(pair=b"t") + b"\x90", "no need of"),
    "a frozen set of them": (b"(" + doubled(pair=b"t") + b"\x91", "no need of"),
    "a thing twice": (b"K\x012\x86", "no need of"),
    "a type that takes for ever": (
        b"cnumpy\ndtype\n(" + doubled(pair=b"t") + b"K\x00K\x01tR", "type of its own",
    ),
    "an encoding that takes for ever": (
        b"c_codecs\nencode\n(U\x01a" + doubled(pair=b"t") + b"tR", "in an unknown way",
    ),
    "places of an array that fill the memory": (
        array() + doubled(pair=b"l") + b"K\x00s", "under a list into a _Array",
    ),
    "an extension": (b"\x82\x01", "no need of"),
    "something kept elsewhere": (b"Pmine\n", "no need of"),
    "a frame longer than the file": (b"\x95" + struct.pack("<Q", 2**40) + b"N", "beyond the file"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_pickle_of_allowed_names_can_make_nothing_but_arrays(attack):
    operations, why = ATTACKS[attack]
    with pytest.raises((DataError, pickle.UnpicklingError, TypeError), match=why):
        load(operations)


@pytest.mark.parametrize(
    "kind", ["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", ">f4", ">i2"]
)
@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_numbers_of_every_kind_and_order_are_read(kind, protocol):
    value = np.asfortranarray((np.arange(12).reshape(3, 4) % 2).astype(kind))
    got = NumpyUnpickler(io.BytesIO(pickle.dumps(value, protocol=protocol))).load()
    assert (got.dtype.kind, got.dtype.itemsize) == (value.dtype.kind, value.dtype.itemsize)
    np.testing.assert_array_equal(got, value)
