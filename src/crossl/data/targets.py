"""Target: what is to be predicted for a window, such as its class, several labels, or numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from crossl.errors import DataError, nearest
from crossl.names import check_name

Kind: TypeAlias = Literal["classes", "labels", "numbers"]
KINDS: tuple[Kind, ...] = ("classes", "labels", "numbers")

LABEL = "label"
"""Name of the target that every store with labels has: the class of each window."""

UNKNOWN = -1
"""Of classes and labels; of numbers it is NaN."""

STORED_AS: dict[Kind, np.dtype[Any]] = {
    "classes": np.dtype("<i2"),
    "labels": np.dtype("i1"),
    "numbers": np.dtype("<f4"),
}
"""Types on disk."""

GIVEN_AS: dict[Kind, np.dtype[Any]] = {
    "classes": np.dtype(np.int64),
    "labels": np.dtype(np.int8),
    "numbers": np.dtype(np.float32),
}
"""Types that a program gets."""


@dataclass(frozen=True)
class Target:
    """What is to be predicted for each window.

    Attributes:
        name: of the target; `label` is the class that recordings name.
        kind: `classes`, one of several; `labels`, each of several there or not; `numbers`, one or
            several.
        names: of the classes, the labels, or the numbers.
        units: of the numbers, one each, SI; empty for classes and labels.

    Raises:
        DataError: a name is duplicate or no name, the kind is unknown, or units do not fit.

    Examples:
        >>> Target("posture", "labels", ("upright", "moving")).shape(5)
        (5, 2)
    """

    name: str
    kind: Kind
    names: tuple[str, ...]
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be stored or is ambiguous."""
        check_name("target", self.name)
        where = f"target '{self.name}'"
        if set(self.name) & set("./\\"):
            raise DataError(f"{where}: its name is used for a file; allowed is one without . / \\")
        if self.kind not in KINDS:
            raise DataError(f"{where}: kind '{self.kind}' is unknown; {nearest(self.kind, KINDS)}")
        if not self.names:
            raise DataError(f"{where}: has no {self.kind}; at least one is needed")
        for name in self.names:
            check_name(f"{where}: one of its {self.kind}", name)
        if len(set(self.names)) < len(self.names):
            raise DataError(f"{where}: names must be unique, got {', '.join(self.names)}")
        if len(self.names) > np.iinfo(np.int16).max:
            raise DataError(f"{where}: has {len(self.names)} {self.kind}; allowed are 32767")
        if len(self.units) != (len(self.names) if self.kind == "numbers" else 0):
            raise DataError(
                f"{where}: has {len(self.units)} units; numbers have one each, classes and labels "
                "have none"
            )
        for unit in self.units:
            check_name(f"{where}: unit", unit)

    def shape(self, windows: int) -> tuple[int, ...]:
        """Shape of its values: (W,) of classes, (W, L) of labels, (W, Q) of numbers."""
        return (windows,) if self.kind == "classes" else (windows, len(self.names))

    def unknown(self, windows: int) -> NDArray[Any]:
        """Values of windows of which nothing is known."""
        nothing = np.nan if self.kind == "numbers" else UNKNOWN
        return np.full(self.shape(windows), nothing, dtype=GIVEN_AS[self.kind])

    def flaw(self, values: NDArray[Any]) -> str:
        """Say what is wrong with values of this target, or nothing."""
        if self.kind == "numbers":
            return "holds an infinite number" if bool(np.isinf(values).any()) else ""
        highest = len(self.names) - 1 if self.kind == "classes" else 1
        if bool(((values < UNKNOWN) | (values > highest)).any()):
            return f"holds other values than {UNKNOWN} to {highest}"
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"name": self.name, "kind": self.kind, "names": list(self.names),
                **({"units": list(self.units)} if self.units else {})}  # fmt: skip

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """Build from what `as_dict` returned."""
        named = {key: tuple(values.get(key, ())) for key in ("names", "units")}
        return cls(values["name"], cast("Kind", values["kind"]), **named)


class TargetSource(Protocol):
    """What has targets; a store on disk and arrays in memory look the same."""

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is to be predicted for each window; `label` first, where there is one."""

    def target_values(self, name: str) -> NDArray[Any]:
        """Values of one target, in the order of the windows.

        Returns:
            Of classes (W,) int64 and of labels (W, L) int8, -1 where unknown; of numbers (W, Q)
            float32, NaN where unknown.
        """


def find_target(targets: tuple[Target, ...], name: str, *, where: str) -> Target:
    """Return the target of a name.

    Args:
        targets: those there are.
        name: of the one that is asked for.
        where: names what has them in a message.

    Raises:
        DataError: there is none of that name.
    """
    for target in targets:
        if target.name == name:
            return target
    known = [target.name for target in targets]
    cure = nearest(name, known) if known else "it has none"
    raise DataError(f"{where}: target '{name}' is unknown; {cure}")


def check_values(target: Target, given: Any, windows: int) -> NDArray[Any]:
    """Take what is given as the values of a target.

    Args:
        target: what they are values of.
        given: an array or lists, of the shape and range of the target.
        windows: how many there are.

    Returns:
        (W,) int64 of classes, (W, L) int8 of labels, (W, Q) float32 of numbers.

    Raises:
        DataError: another shape, values out of range, or no numbers.

    Examples:
        >>> check_values(Target("age", "numbers", ("age",), ("year",)), [[34], [float("nan")]], 2)
        array([[34.],
               [nan]], dtype=float32)
    """
    where = f"target '{target.name}'"
    array = np.asarray(given)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where}: holds {array.dtype} values; numbers are needed")
    if array.shape != target.shape(windows):
        raise DataError(
            f"{where}: values have shape {array.shape}; {target.kind} of {windows} windows have "
            f"shape {target.shape(windows)}"
        )
    if target.kind != "numbers" and array.dtype.kind == "f" and not (array == array.round()).all():
        raise DataError(f"{where}: holds numbers that are not whole; {target.kind} need such")
    with np.errstate(over="ignore"):  # reported below
        kept = array.astype(np.float32) if target.kind == "numbers" else array
    flaw = target.flaw(kept)
    if flaw:
        raise DataError(f"{where}: {flaw}")
    return kept.astype(GIVEN_AS[target.kind])
