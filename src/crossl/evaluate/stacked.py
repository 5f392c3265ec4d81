"""Many small arrays as a few large ones: a file of thousands is read many times as fast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = list[dict[str, list[int]]]
"""Where each array of each group is: the number of a stack, and the row there."""


def stack(groups: Sequence[Mapping[str, NDArray[Any]]]) -> tuple[Places, dict[str, NDArray[Any]]]:
    """Stack arrays of the same shape and type.

    Args:
        groups: arrays by name.

    Returns:
        Where each array is, and the stacks by name.

    Examples:
        >>> places, stacks = stack([{"a": np.zeros(2)}, {"a": np.ones(2), "b": np.ones(3)}])
        >>> places, {name: part.shape for name, part in stacks.items()}
        ([{'a': [0, 0]}, {'a': [0, 1], 'b': [1, 0]}], {'stack0': (2, 2), 'stack1': (1, 3)})
    """
    alike: dict[tuple[tuple[int, ...], str], tuple[int, list[NDArray[Any]]]] = {}
    places: Places = []
    for group in groups:
        places.append({})
        for name, array in group.items():
            number, rows = alike.setdefault((array.shape, array.dtype.str), (len(alike), []))
            places[-1][name] = [number, len(rows)]
            rows.append(array)
    return places, {f"stack{number}": np.stack(rows) for number, rows in alike.values()}


def unstack(places: Places, archive: Mapping[str, NDArray[Any]]) -> list[dict[str, NDArray[Any]]]:
    """Return what was stacked; each stack is read once."""
    numbers = {number for place in places for number, _ in place.values()}
    stacks = {number: archive[f"stack{number}"] for number in numbers}
    return [{name: stacks[number][row] for name, (number, row) in place.items()}
            for place in places]  # fmt: skip


def read_apart(archive: Mapping[str, NDArray[Any]], count: int) -> list[dict[str, NDArray[Any]]]:
    """Read scores of files whose arrays were not stacked; the oldest have confusions alone."""
    names = [{"all": f"{i}", "whole": f"{i}/whole", "complete": f"{i}/complete"}
             for i in range(count)]  # fmt: skip
    return [{part: archive[name] for part, name in one.items() if name in archive}
            for one in names]  # fmt: skip
