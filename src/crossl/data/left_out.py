"""What could not be read: one bad file is named and left out, the others become a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from crossl.data.readers.dataset import Part
from crossl.errors import DataError, PackageError

Described: TypeAlias = list[dict[str, Any]]
"""What the manifest says of each recording of a part."""


@dataclass(frozen=True)
class LeftOut:
    """A part that could not be read.

    Attributes:
        part: its name.
        why: in a sentence.
    """

    part: str
    why: str


Bear: TypeAlias = Callable[[Part, Callable[[], Described]], Described | LeftOut]
"""Cuts a part, and answers for what cannot be read."""


def strictly(_part: Part, cut: Callable[[], Described]) -> Described:
    """Cut a part; what cannot be read ends everything."""
    return cut()


def or_left_out(part: Part, cut: Callable[[], Described]) -> Described | LeftOut:
    """Cut a part, or say why it cannot be read.

    Args:
        part: which.
        cut: does it.

    Raises:
        PackageError: what lacks is a package, for which no file is to blame.
    """
    try:
        return cut()
    except PackageError:
        raise
    except DataError as error:
        return LeftOut(part.name, str(error))


def refuse_all(left_out: Sequence[LeftOut], parts: Sequence[Part]) -> None:
    """Refuse where nothing can be read.

    Raises:
        DataError: every part was left out; says why the first was.
    """
    if left_out and len(left_out) == len(parts):
        others = f" (and {len(parts) - 1} others, none can be read)" if len(parts) > 1 else ""
        raise DataError(f"{left_out[0].why}{others}")


def parts_to_read(parts: Sequence[Part], before: Mapping[str, Any] | None) -> Sequence[Part]:
    """Choose what to read when a store is added to.

    Where something was left out of the store before, what it has is not read again.

    Args:
        parts: of the data set.
        before: manifest of the store; None for a new one.
    """
    read = (before or {}).get("parts_read", ())
    return [part for part in parts if part.name not in read] or parts


def told(
    before: Mapping[str, Any] | None, parts: Sequence[Part], left_out: Sequence[LeftOut]
) -> dict[str, Any]:
    """Return what a manifest says of parts that were left out; nothing where none is.

    Args:
        before: manifest of the store that is added to, if any.
        parts: of the data set.
        left_out: those of them that could not be read now.
    """
    older: Mapping[str, Any] = before or {}
    read, names = list(older.get("parts_read", ())), [part.name for part in parts]
    # of the same files nothing is left out but what they tell now
    others = not set(read) & set(names)
    every = [one for one in older.get("left_out", ()) if others and one["part"] not in names]
    every += [{"part": one.part, "why": one.why} for one in left_out]
    if not every:
        return {}
    bad = {one.part for one in left_out}
    read += [name for name in names if name not in bad and name not in read]
    return {"left_out": every, "parts_read": read}
