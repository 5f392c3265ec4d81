"""What crossl raises when it refuses: one sentence, `where: what is wrong, got X; what is allowed`.

The command line prints the sentence and exits with code 2.
"""

from __future__ import annotations

import datetime
import difflib
import unicodedata
from collections.abc import Iterable, Mapping

HIDDEN = {"Cc", "Cs", "Zl", "Zp"}
"""Kinds of characters that would end the line, move the cursor or cannot be written."""
TURNS = {chr(code) for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))}
"""Characters that turn the direction of what follows."""


class CrosslError(Exception):
    """Anything crossl refuses. Catch this to catch them all.

    Its sentence may quote names from files, whose control characters are shown as escapes.

    Examples:
        >>> import crossl
        >>> try:
        ...     crossl.load_run("nowhere")
        ... except crossl.CrosslError as error:
        ...     print(error)
        nowhere: is not a run, it has no model.json; make one by `crossl pretrain`
    """

    def __str__(self) -> str:
        """Return the sentence, in one line that a terminal shows as it is."""
        text = super().__str__()
        return text if text.isprintable() else "".join(map(_shown, text))


class DataError(CrosslError, ValueError):
    """Recordings, windows or arrays that cannot be used as they are."""


class PackageError(DataError):
    """A package that reading needs is not installed; no file is to blame."""


class SplitError(DataError):
    """A partition of subjects or labels that would not make an honest experiment."""


class ConfigError(CrosslError, ValueError):
    """A run file, option or name that means nothing to crossl."""


class FormatError(CrosslError, ValueError):
    """A store or run folder that is missing, damaged, or of another version."""


class ContractError(CrosslError, ValueError):
    """Data that do not fit the model: other modalities, channels, rates or windows."""


class TrainingError(CrosslError, RuntimeError):
    """Training that cannot go on, such as a loss that is not finite."""


class ClusterError(CrosslError, RuntimeError):
    """A cluster that cannot be had, or whose workers die again and again."""


def _shown(sign: str) -> str:
    if sign in TURNS or unicodedata.category(sign) in HIDDEN:
        return sign.encode("unicode_escape").decode()
    return sign


MOST_NAMED = 60
"""Names that a sentence lists."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a sentence about an unknown name: a suggestion, or what exists.

    Examples:
        >>> nearest("dmi", ["dim", "kind"])
        "did you mean 'dim'?"
        >>> nearest("zebra", ["dim", "kind"])
        "allowed are 'dim', 'kind'"
    """
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1)
    if close:
        return f"did you mean '{close[0]}'?"
    more = f" and {len(options) - MOST_NAMED} others" if len(options) > MOST_NAMED else ""
    return "allowed are " + ", ".join(f"'{option}'" for option in options[:MOST_NAMED]) + more


def counted(count: int, one: str, many: str = "") -> str:
    """Say how many there are of something.

    Examples:
        >>> counted(1, "person", "people"), counted(4096, "window")
        ('1 person', '4096 windows')
    """
    return f"{count} {one if count == 1 else many or f'{one}s'}"


KINDS_OF_VALUES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (type(None), "nothing"),
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (Mapping, "keys and values"),
    (datetime.date, "a date"),
    ((bytes, bytearray), "bytes"),
)


def kind_of_value(value: object) -> str:
    """Say in words what kind of thing a file holds where another was expected.

    Examples:
        >>> kind_of_value(None), kind_of_value([1]), kind_of_value("x")
        ('nothing', 'a list', 'text')
    """
    return next((name for kinds, name in KINDS_OF_VALUES if isinstance(value, kinds)), "a value")
