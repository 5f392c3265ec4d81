"""Labels that may be one: spelled in two ways, mistyped, or cut off."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

LEAST_LETTERS = 3
"""Shorter names are near too many others."""


@dataclass(frozen=True)
class Alike:
    """Two labels that may be one.

    Attributes:
        name: the rarer one.
        other: that it may be.
        why: what is between them, as the end of a sentence about `name`.
        spelled: they differ by case, blanks and such signs only.
    """

    name: str
    other: str
    why: str
    spelled: bool


def alike(counts: Mapping[str, int]) -> Iterator[Alike]:
    """Find labels that differ by case or blanks, or that occur once and resemble another.

    Args:
        counts: how often each label occurs.

    Examples:
        >>> [(a.name, a.other) for a in alike({"walk": 9, "Walk": 2, "rest": 4, "res": 1})]
        [('Walk', 'walk'), ('res', 'rest')]
        >>> list(alike({"N1": 1, "N2": 5, "walk": 1, "stand": 1}))
        []
    """
    for one, two in combinations(counts, 2):
        # of two that occur equally often the shorter is the one that may be cut off
        name, other = sorted((one, two), key=lambda label: (counts[label], len(label)))
        if _plain(name) == _plain(other):
            yield Alike(name, other, f"differs from '{other}' only by case, blanks or signs", True)
        elif counts[name] == 1 and (why := _near(name, other, counts[other])):
            yield Alike(name, other, why, False)


def spelling_notes(labels: Iterable[str], classes: Iterable[str]) -> list[str]:
    """Report labels of one recording that may be another, a sentence each.

    Args:
        labels: of each stretch of the recording.
        classes: of all recordings.
    """
    counts: dict[str, int] = {}
    for label in labels:
        counts[label] = counts.get(label, 0) + 1
    elsewhere = {
        name: 1 + max(counts.values(), default=0) for name in classes if name not in counts
    }
    cure = "if they are one, say so by `label_names`"
    return [
        f"label '{a.name}' {a.why}; {cure}"
        for a in alike({**counts, **elsewhere})
        if a.name in counts and (a.spelled or a.other in counts)
    ] + [
        f"label '{a.other}' differs from '{a.name}' only by case, blanks or signs; {cure}"
        for a in alike({**counts, **elsewhere})
        if a.spelled and a.name not in counts and a.other in counts
    ]


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold()) or name


def _near(name: str, other: str, often: int) -> str:
    small, large = name.casefold(), other.casefold()
    if min(len(small), len(large)) < LEAST_LETTERS - 1:
        return ""
    if re.sub(r"\d", "", small) == re.sub(r"\d", "", large) or re.fullmatch(r"[-+\d.]+", small):
        return ""  # numbered
    if large.startswith(small) and (often > 1 or len(large) - len(small) <= 2):
        return f"occurs only once and is the beginning of '{other}'"
    if (
        often > 1
        and min(len(small), len(large)) > LEAST_LETTERS
        and _one_letter_apart(small, large)
    ):
        return f"occurs only once and is one letter from '{other}'"
    return ""


def _one_letter_apart(one: str, two: str) -> bool:
    """Tell whether a letter is missing, other, or changed places with the next.

    Examples:
        >>> _one_letter_apart("walk", "wlak"), _one_letter_apart("rest", "test")
        (True, True)
        >>> _one_letter_apart("walk", "walking")
        False
    """
    if abs(len(one) - len(two)) > 1:
        return False
    at = next((n for n, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
    if at is None:
        return len(one) != len(two)
    if len(one) != len(two):
        shorter, longer = sorted((one, two), key=len)
        return shorter[at:] == longer[at + 1 :]
    swapped = one[at : at + 2] == two[at : at + 2][::-1] and one[at + 2 :] == two[at + 2 :]
    return one[at + 1 :] == two[at + 1 :] or swapped
