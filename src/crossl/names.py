"""Names of modalities, channels, classes, subjects and zones: what one may be, at every door."""

from __future__ import annotations

import unicodedata
from zoneinfo import ZoneInfo, available_timezones

from crossl.errors import DataError, nearest

MAX_LETTERS = 100

UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")
"""Control characters, halves of characters, and separators of lines and paragraphs."""


def flaw_of_name(name: object, *, empty: bool = False) -> str:
    """Return what is wrong with a name, or nothing.

    Args:
        name: of a modality, channel, class, subject, session, unit or device.
        empty: whether it may be empty.

    Examples:
        >>> flaw_of_name("wrist_acc"), flaw_of_name("a" * 101)
        ('', 'has 101 letters; allowed are at most 100')
    """
    if not isinstance(name, str):
        return f"is {type(name).__name__} {name!r:.60}; a name is text"
    if not name and not empty:
        return "is empty; a name has at least one letter"
    if len(name) > MAX_LETTERS:
        return f"has {len(name)} letters; allowed are at most {MAX_LETTERS}"
    bad = next((letter for letter in name if unicodedata.category(letter) in UNWRITABLE), None)
    if bad is not None:
        return f"holds U+{ord(bad):04X}; allowed is text without control characters"
    return ""


def check_name(what: str, name: object, *, empty: bool = False) -> None:
    """Refuse a name that no table, file or terminal could show.

    Args:
        what: it names, such as `subject`.
        name: to be checked.
        empty: whether it may be empty.

    Raises:
        DataError: it is not text, empty, too long, or holds control characters.
    """
    flaw = flaw_of_name(name, empty=empty)
    if flaw:
        shown = f"{what} {str(name)[:60]!a}" if isinstance(name, str) and name else what
        raise DataError(f"{shown}: {flaw}")


def known_zone(name: str) -> str:
    """Return the name of a zone that exists.

    Raises:
        DataError: it does not.

    Examples:
        >>> known_zone("Europe/Berlin")
        'Europe/Berlin'
    """
    if not isinstance(name, str):
        raise DataError(f"timezone: is {name!r:.60}; a name such as Europe/Berlin is needed")
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        told = nearest(name, known) if len(known) > 1 else "the system lists no zone"
        if told.startswith("allowed"):
            told = "IANA names are allowed, such as Europe/Berlin, America/New_York or UTC"
        raise DataError(f"timezone '{name:.60}' is unknown; {told}") from None
    return name
