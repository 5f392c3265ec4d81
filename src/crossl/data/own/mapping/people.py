"""Tables for several people: which column says whose a row is, and the rows of one of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, code_texts
from crossl.data.own.mapping.entries import FileEntry
from crossl.errors import DataError, nearest

SUBJECT_NAMES = (
    "subject", "subjects", "subj", "sub", "user", "participant", "person", "patient", "volunteer",
    "wearer", "owner", "uuid", "uid", "pid", "sid", "id", "caseid", "individual", "respondent",
    "athlete", "player", "student", "pupil", "driver", "rider", "worker", "employee", "resident",
    "client", "infant", "child", "baby", "animal", "rat", "mouse", "who",
    "proband", "probandin", "probanden", "vp", "vpn", "versuchsperson", "versuchspersonen",
    "versuchsteilnehmer", "testperson", "teilnehmer", "teilnehmerin", "studienteilnehmer",
    "patientin", "patienten", "nutzer", "nutzerin", "benutzer", "mitarbeiter", "tier", "wer",
    "sujet", "utilisateur", "sujeto", "usuario", "sujeito", "participante", "paciente", "soggetto",
    "utente", "partecipante", "paziente", "deelnemer", "proefpersoon", "gebruiker", "deltager",
    "deltagare", "forsøksperson", "forsoksperson", "uczestnik", "osoba", "pacjent", "pacient",
    "ucastnik", "испытуемыи", "участник", "пациент", "被験者", "参加者",
    "受试者", "被试", "피험자", "참가자",
)  # fmt: skip
"""Names of columns that say whose a row is; with `id`, `nr`, `name` or `code` beside as well."""

WEAK = ("id", "sid", "sub", "uuid", "uid")
"""Names that as often mean something else: they count where values stand in several rows."""

MOST_CODES = 10_000
"""Larger numbers are counters or times, where the name is weak or few rows share one."""

LEAST_ROWS = 10
"""Rows that share a large number, on average, if it is a person's."""

KEYS = ("subject", "session")

_WORDS = re.compile(r"[\W_]+|(?<=[a-z])(?=[A-Z])")
_BESIDE = (
    r"ids?|nr|no|num|number|name|code|key|index|nummer|numero|nom|nombre|d[ueo]|del|der|番号|编号"
)


def named_like_subject(name: str) -> bool:
    """Tell whether a column is named like one that says whose a row is.

    Examples:
        >>> [named_like_subject(n) for n in ("Participant ID", "userId", "VP-Nr.", "ID", "t_id")]
        [True, True, True, True, False]
    """
    letters = unicodedata.normalize("NFKD", name)
    plain = "".join(one for one in letters if not unicodedata.combining(one))
    plain = unicodedata.normalize("NFC", plain)
    words = [word.lower() for word in _WORDS.split(plain) if word]
    if "".join(words) in SUBJECT_NAMES:
        return True
    rest = [word for word in words if not re.fullmatch(_BESIDE, word)]
    return len(rest) == 1 and re.sub(rf"({_BESIDE})$", "", rest[0]) in SUBJECT_NAMES


def texts_of(stream: Stream, column: str) -> NDArray[np.str_]:
    """Read a column as names; whole numbers without a point.

    Args:
        stream: that has it.
        column: its name.

    Returns:
        (time,) text, empty where a cell is.
    """
    if stream.load_text is None:
        return code_texts(stream.load([column])[:, 0])
    found, place = np.unique(stream.load_text(column), return_inverse=True)
    cleaned = [re.sub(r"^([-+]?\d+)\.0+$", r"\1", text.strip()) for text in found.tolist()]
    return np.array(cleaned, dtype=np.str_)[place]


def subject_columns(content: FileContent) -> dict[str, tuple[str, ...]]:
    """Find columns that are named like a subject and have several values.

    Args:
        content: an opened file.

    Returns:
        The values, sorted, by the name that `subject_column` of a mapping takes: of the column, or
        of the array where it has one column only. Usually one, or none.
    """
    found = {}
    for stream in content.streams:
        for column in stream.columns:
            alone = len(stream.columns) == 1 and named_like_subject(stream.name)
            if alone or named_like_subject(column):
                name = stream.name if alone else column
                values = _several(name, stream, column)
                if values:
                    found[name] = values
    return found


def _several(name: str, stream: Stream, column: str) -> tuple[str, ...]:
    """Return a column's values if they may be people: text, or a few small whole numbers."""
    texts = texts_of(stream, column)
    values = np.unique(texts[texts != ""])
    if len(values) < 2:
        return ()
    numbers = all(re.fullmatch(r"\d+", value) for value in values.tolist())
    if not numbers and all(re.fullmatch(r"[-+.\deE]+", value) for value in values.tolist()):
        return ()
    weak = re.sub(r"[\W_]", "", name).lower() in WEAK
    if (numbers or weak) and len(values) > len(texts) / 2:
        return ()
    rare = weak or len(values) * LEAST_ROWS > len(texts)
    if numbers and rare and max(int(value) for value in values.tolist()) > MOST_CODES:
        return ()
    return tuple(values.tolist())


def refuse_several(content: FileContent, entry: FileEntry) -> None:
    """Refuse a table for several people that the mapping takes for one person's.

    Args:
        content: the file.
        entry: what the mapping says of it; columns that it names are known to be something else.

    Raises:
        DataError: names the column, and the key that is needed.
    """
    if entry.one_person or entry.subject_column is not None:
        return
    for name, values in subject_columns(content).items():
        if name in _named(entry):
            continue
        some = ", ".join(values[:3]) + (", ..." if len(values) > 3 else "")
        raise DataError(
            f"{content.path}: column '{name}' names {len(values)} people ({some}) in a file that "
            f"counts as one person's; say `subject_column: {name}`, or `one_person: true` if it "
            "does not say whose a row is"
        )


def _named(entry: FileEntry) -> set[str]:
    names = {entry.clock, entry.label, entry.session_column, entry.long and entry.long.sensor}
    names |= {column for signal in entry.signals.values() for column in signal.columns}
    if entry.intervals:
        names |= set(entry.intervals.model_dump().values())
    return {name for name in names if name}


def people_in(content: FileContent, entry: FileEntry) -> list[tuple[str | None, str | None]]:
    """List subject and session of all rows, in the order in which they come first.

    Args:
        content: the file.
        entry: with a column of subjects, of sessions, or both.

    Returns:
        Pairs; None for what no column tells.

    Raises:
        DataError: no such column, or all its cells are empty.
    """
    keys = _keys(content, entry)
    named = np.flatnonzero(_somebody(keys))
    if not len(named):
        raise DataError(f"{content.path}: no row says whose it is, column {_names(entry)} is empty")
    code = np.zeros(len(named), dtype=np.int64)
    for texts in keys.values():
        found, place = np.unique(texts[named], return_inverse=True)
        code = code * len(found) + place
    first = named[np.sort(np.unique(code, return_index=True)[1])]
    return [
        tuple(str(keys[key][row]) if key in keys else None for key in KEYS)  # type: ignore[misc]
        for row in first.tolist()
    ]


def _names(entry: FileEntry) -> str:
    return " or ".join(f"'{one}'" for one in (entry.subject_column, entry.session_column) if one)


def _keys(content: FileContent, entry: FileEntry) -> dict[str, NDArray[np.str_]]:
    """Read the columns that part the rows, by what they tell."""
    keys = {}
    for key, name in zip(KEYS, (entry.subject_column, entry.session_column), strict=True):
        if name is not None:
            keys[key] = texts_of(*_find(content, name))
    if len({len(texts) for texts in keys.values()}) > 1:
        raise DataError(
            f"{content.path}: columns {_names(entry)} have different lengths; they must be of one "
            "table"
        )
    return keys


def _somebody(keys: dict[str, NDArray[np.str_]]) -> NDArray[np.bool_]:
    return np.asarray(np.all([texts != "" for texts in keys.values()], axis=0))


def _find(content: FileContent, name: str) -> tuple[Stream, str]:
    for stream in content.streams:
        if name in stream.columns:
            return stream, name
        if stream.name == name and len(stream.columns) == 1:
            return stream, stream.columns[0]
    known = {column for stream in content.streams for column in stream.columns}
    raise DataError(f"{content.path}: has no column '{name}'; {nearest(name, known)}")


def rows_of(
    content: FileContent, entry: FileEntry, subject: str | None, session: str | None
) -> FileContent:
    """Keep the rows of one person or recording, in their order.

    Args:
        content: the file.
        entry: with a column of subjects, of sessions, or both.
        subject: whose rows, by the column of subjects.
        session: of which recording, by the column of sessions; None for all.

    Returns:
        The streams that are as long as the columns; streams of other lengths cannot be
        assigned to people and are left out. A note counts rows that name nobody. No stream
        where no row is theirs.

    Raises:
        DataError: no such column.
    """
    keys = _keys(content, entry)
    somebody = _somebody(keys)
    wanted = somebody.copy()
    for key, value in zip(KEYS, (subject, session), strict=True):
        if key in keys and value is not None:
            wanted &= keys[key] == value
    rows = np.flatnonzero(wanted)
    streams = [only_rows(s, rows) for s in content.streams if s.length == len(wanted) and len(rows)]
    about = dict(content.about)
    if not somebody.all():
        told = (
            f"{content.path.name}: {int((~somebody).sum())} rows that name no person were left out"
        )
        about["notes"] = (*about.get("notes", ()), told)
    return replace(content, streams=tuple(streams), about=about)


def only_rows(stream: Stream, rows: NDArray[np.int64]) -> Stream:
    """Keep some rows of a stream, by their numbers."""
    times, text = stream.timestamps_s, stream.load_text
    return replace(
        stream,
        length=len(rows),
        load=partial(_load_rows, stream, rows),
        load_text=None if text is None else partial(_load_text_rows, text, rows),
        timestamps_s=None if times is None else times[rows],
    )


def _load_rows(
    stream: Stream, rows: NDArray[np.int64], columns: Sequence[str]
) -> NDArray[np.float64]:
    return stream.load(columns)[rows]


def _load_text_rows(
    load_text: Callable[[str], NDArray[np.str_]], rows: NDArray[np.int64], column: str
) -> NDArray[np.str_]:
    return load_text(column)[rows]
