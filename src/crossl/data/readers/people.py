"""People: numbers that published data sets hold about their subjects, such as age."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from crossl.data.units import parse_unit

Facts = Mapping[str, tuple[str, str]]
"""Name of a number, and what it is called in the files and its unit there."""

BODY: Facts = {"age": ("age", "year"), "height": ("height", "cm"), "weight": ("weight", "kg")}


def units_of(facts: Facts) -> dict[str, str]:
    """Return the SI unit of each number, for a card.

    Examples:
        >>> units_of(BODY)
        {'age': 'year', 'height': 'm', 'weight': 'kg'}
    """
    return {name: parse_unit(unit).si for name, (_, unit) in facts.items()}


def person_of(told: Mapping[str, str], facts: Facts) -> dict[str, float]:
    """Return the numbers of one person; what is not stated, or is not a number, is left out.

    Args:
        told: text by what it is called.
        facts: what is looked for.

    Examples:
        >>> person_of({"age": "34", "height": "?"}, BODY)
        {'age': 34.0}
    """
    found = {}
    for name, (called, unit) in facts.items():
        try:
            number = float(told[called])
        except (KeyError, ValueError):
            continue
        if np.isfinite(number):
            found[name] = float(parse_unit(unit).to_si(np.array(number)))
    return found


def read_people(path: Path, subject: str, facts: Facts) -> dict[str, dict[str, float]]:
    """Read a published table of people, if it is there.

    Recordings are whole without it: what cannot be read of it is not known.

    Args:
        path: CSV with a line of names.
        subject: column of subjects.
        facts: columns that are looked for.

    Returns:
        Numbers in SI by subject.
    """
    try:
        text = path.read_text(encoding="utf-8-sig").splitlines()
        rows = list(csv.DictReader(text))
    except (OSError, UnicodeDecodeError, csv.Error):
        return {}
    return {row[subject]: person_of(row, facts) for row in rows if row.get(subject)}


def read_comments(comments: Iterable[str]) -> dict[str, str]:
    """Split comments of the kind `name: value`.

    Examples:
        >>> read_comments(["age: 30", "height/cm: 177", "recorded at home"])
        {'age': '30', 'height/cm': '177'}
    """
    pairs = (line.partition(":") for line in comments)
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
