"""An unpickler that knows arrays of numbers and plain containers, and nothing else.

A pickle is a program. Here it may name four things, none of which is what numpy means by them:
`ndarray` is a token without powers, `_reconstruct` makes an empty array, `dtype` one of a list of
numbers, and the state of either is checked before numpy sees it. What is made counts against the
size of the file. Of the operations only those are known that write such files, and keys are plain:
a tuple that holds another one twice, and so on, takes for ever to be hashed.
"""

from __future__ import annotations

import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar

import numpy as np

from crossl.errors import DataError

NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
"""Types of numbers: kind and bytes."""
MAX_OPERATIONS = 5_000
"""Of one pickle; one official file of WESAD has some hundreds."""
MAX_AXES = 8
OBJECT_FLAGS = 63
"""What numpy writes of arrays of objects beside their type."""
COUNTS = {
    pickletools.TAKEN_FROM_ARGUMENT1: (1, False),
    pickletools.TAKEN_FROM_ARGUMENT4: (4, True),
    pickletools.TAKEN_FROM_ARGUMENT4U: (4, False),
    pickletools.TAKEN_FROM_ARGUMENT8U: (8, False),
}
"""Bytes of the number that says how many follow, and whether it has a sign."""
KEYS = (str, bytes, int, float)
KNOWN = """
    PROTO FRAME STOP MARK POP POP_MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET NONE
    NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING BINSTRING
    SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 UNICODE BINUNICODE SHORT_BINUNICODE
    BINUNICODE8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT
    DICT SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD
"""
"""Operations that arrays, lists, dicts, texts and numbers are written by."""
KNOWN_CODES = [getattr(pickle, name)[0] for name in KNOWN.split()]
OPERATIONS = {info.code: info for info in pickletools.opcodes}
PLACES = {b"r": 4, b"\x95": 8}
"""Operations whose number makes the unpickler reserve as much: a place in its memory, a frame."""


def _refuse(why: str) -> DataError:
    return DataError(f"pickle: {why}; only numpy arrays are read")


class _Call:
    """A function that a pickle may call, and can neither change nor look into."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *given: Any) -> Any:
        return self._function(*given)

    def __setstate__(self, state: Any) -> None:
        raise _refuse("gives a function a state")


class _Type:
    """What `numpy.ndarray` and `numpy.dtype` are here: a name, or one type of numbers."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any] | None = None) -> None:
        self.dtype = dtype

    def __call__(self, *_: object) -> Any:
        raise _refuse("makes an array in an unknown way")

    def __setstate__(self, state: Any) -> None:
        """Take the byte order, and nothing that would change size or fields."""
        if (
            self.dtype is None
            or not isinstance(state, tuple)
            or state[2:] != (None, None, None, -1, -1, OBJECT_FLAGS if self.dtype.hasobject else 0)
            or state[0] != 3
            or state[1] not in ("<", ">", "|", "=")
        ):
            raise _refuse("changes what a type of numbers is")
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray[Any, Any]):
    """An array that takes its numbers once, and only what its shape and type ask for."""

    _budget: _Budget | None = None

    def __setstate__(self, state: Any) -> None:
        budget, self._budget = self._budget, None
        if budget is None or not isinstance(state, tuple) or len(state) != 5:
            raise _refuse("fills an array in an unknown way")
        _, shape, kind, columns_first, data = state
        if not isinstance(kind, _Type) or kind.dtype is None or not _is_shape(shape):
            raise _refuse("gives an array no shape or type")
        count = math.prod(shape)
        if kind.dtype.hasobject:
            if not isinstance(data, list) or len(data) != count:
                raise _refuse(f"fills {count} places of an array by something else")
            budget.take(8 * count)
        else:
            data = data.encode("latin1") if isinstance(data, str) else data
            if not isinstance(data, bytes) or len(data) != count * kind.dtype.itemsize:
                raise _refuse(f"has not the bytes of an array of shape {shape}")
            budget.take(len(data))
        super().__setstate__((1, shape, kind.dtype, bool(columns_first), data))  # type: ignore[arg-type]


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, tuple)
        and len(shape) <= MAX_AXES
        and all(type(n) is int and 0 <= n < 2**31 for n in shape)
    )


class _Budget:
    """Bytes that may still be made of a file."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size

    def take(self, count: int) -> None:
        self._left -= count
        if self._left < 0:
            raise _refuse(f"makes more than the {self._size} bytes that it has")


def _unknown(_: object) -> None:
    raise _refuse("does what files of arrays have no need of")


def _check_key(holder: Any, key: Any) -> None:
    if type(holder) is not dict or type(key) not in KEYS:
        raise _refuse(f"puts a value under a {type(key).__name__} into a {type(holder).__name__}")


class NumpyUnpickler(pickle._Unpickler):  # written in C it cannot be told what to leave
    """Reads pickled arrays of numbers and plain containers; anything else is refused.

    Args:
        file: a seekable file.
        encoding: of text that Python 2 wrote.
        trusted: the bytes are known by their hash: arrays of objects, and as many operations as
            there are.

    Raises:
        DataError: an operation asks for more bytes than the file has, or is none of such files.
    """

    stack: list[Any]
    metastack: list[list[Any]]

    def __init__(self, file: BinaryIO, *, encoding: str = "ASCII", trusted: bool = False) -> None:
        super().__init__(file, encoding=encoding)
        size = _check_operations(file, math.inf if trusted else MAX_OPERATIONS)
        texts, arrays = _Budget(size), _Budget(size)
        token, kinds = _Type(), (*NUMBERS, *(["O8"] if trusted else []))

        def reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
            if kind is not token or shape != (0,) or code not in (b"b", "b"):
                raise _refuse("makes an array in an unknown way")
            array = np.ndarray.__new__(_Array, (0,), np.int8)
            array._budget = arrays
            return array

        def dtype(name: Any, *how: Any) -> _Type:
            if not isinstance(name, str) or name not in kinds or len(how) > 2:
                told = f"'{name[:20]}'" if isinstance(name, str) else "of its own"
                raise _refuse(f"has an array of type {told}")
            return _Type(np.dtype(str(name).removesuffix("8") if name == "O8" else name))

        def encode(text: Any, encoding: Any) -> bytes:
            if encoding != "latin1" or not isinstance(text, str):
                raise _refuse("encodes text in an unknown way")
            texts.take(len(text))
            return text.encode("latin1")

        self._allowed = {
            ("numpy", "ndarray"): token,
            ("numpy", "dtype"): _Call(dtype),
            ("numpy.core.multiarray", "_reconstruct"): _Call(reconstruct),
            ("numpy._core.multiarray", "_reconstruct"): _Call(reconstruct),
            # how Python 2 compatible pickles spell bytes
            ("_codecs", "encode"): _Call(encode),
        }

    def load_setitem(self) -> None:
        """Put a value into a dict."""
        _check_key(self.stack[-3], self.stack[-2])
        super().load_setitem()  # type: ignore[misc]

    def load_setitems(self) -> None:
        """Put values into a dict."""
        for key in self.stack[::2]:
            _check_key(self.metastack[-1][-1], key)
        super().load_setitems()  # type: ignore[misc]

    def load_dict(self) -> None:
        """Make a dict of what lies there."""
        for key in self.stack[::2]:
            _check_key({}, key)
        super().load_dict()  # type: ignore[misc]

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {  # type: ignore[assignment]
        **dict.fromkeys(range(256), _unknown),
        **{code: pickle._Unpickler.dispatch[code] for code in KNOWN_CODES},
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.DICT[0]: load_dict,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for an allowed name.

        Raises:
            DataError: the pickle names anything else.
        """
        try:
            return self._allowed[module, name]
        except KeyError:
            raise _refuse(f"names {ascii(f'{module[:60]}.{name[:60]}')[1:-1]}") from None


def _check_operations(file: BinaryIO, most: float) -> int:
    """Walk over a pickle without doing what it says; return its bytes, and go back.

    Raises:
        DataError: too many operations, or one that asks for more than is there.
    """
    begin = file.tell()
    size = file.seek(0, 2) - begin
    file.seek(begin)
    done = 0
    while (code := file.read(1)) not in (b"", pickle.STOP):
        done += 1
        if done > most:
            raise _refuse(f"has more than {most} operations")
        _skip_argument(file, code, begin + size)
    if not code:
        raise EOFError("it ends before its end")
    file.seek(begin)
    return size


def _skip_argument(file: BinaryIO, code: bytes, end: int) -> None:
    info = OPERATIONS.get(code.decode("latin1"))
    if info is None or info.arg is None:
        return
    if info.arg.n in COUNTS:
        width, signed = COUNTS[info.arg.n]
        wanted = int.from_bytes(file.read(width), "little", signed=signed)
        if not 0 <= wanted <= end - file.tell():
            raise pickle.UnpicklingError(f"asks for {wanted} bytes, more than the file has")
        file.seek(wanted, 1)
    elif info.arg.n == pickletools.UP_TO_NEWLINE:
        line = last = file.readline()
        if info.arg is pickletools.stringnl_noescape_pair:
            last = file.readline()
        if not last.endswith(b"\n"):
            raise EOFError("it ends within a line")
        if code == pickle.PUT and (len(line) > 20 or not line.strip().isdigit() or int(line) > end):
            raise pickle.UnpicklingError("numbers a thing beyond the file's length")
    else:
        number = int.from_bytes(file.read(info.arg.n), "little")
        if code in PLACES and number > end:
            raise pickle.UnpicklingError("numbers a thing beyond the file's length")
