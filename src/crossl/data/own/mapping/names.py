"""Guess patterns from the names of files of one kind: which part is the person, the session."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crossl.data.own.mapping.guess import PLACES, clean

DEVICES = re.compile(
    PLACES + r"|acc|accel.*|gyr|gyro.*|mag|magn.*|imu|ecg|eeg|emg|eda|gsr|ppg|bvp|temp.*|hr|"
    r"resp.*|polar|empatica|e4|shimmer|labels?|events?|intervals?|annotations?"
)
LABELS = re.compile(
    r"walk.*|sit.*|stand.*|run.*|jog.*|rest.*|stress.*|baseline|task|relax.*|lying.*|stairs?.*|"
    r"up(stairs)?|down(stairs)?|cycl.*|sleep.*|wake|amusement|meditation"
)
UNIX = re.compile(r"1\d{9}")
DATE = ("20[0-9]{2}", "-", "[01][0-9]", "-", "[0-3][0-9]")
IN_PARTS = (".avro",)
"""Endings of files of a band that writes one every half hour, with its start in the name."""
DULL = re.compile(r"data|psg|raw|csv|recording|record|export|signals?|sensors?|file|bio|\d+hz|\d*")


@dataclass(frozen=True)
class Kind:
    """Files that are alike, and the pattern that finds them.

    Attributes:
        pattern: with `{subject}`, `{session}`, `{label}`, `{part}`.
        paths: of the files, below the folder.
        device: what the name says that they are of; empty where it says nothing.
        subject: of all, where the names tell none apart.
    """

    pattern: str
    paths: tuple[str, ...]
    device: str = ""
    subject: str = ""


def guess_kinds(paths: Sequence[str]) -> list[Kind]:
    """Sort files of equal columns into kinds.

    Examples:
        >>> [k.pattern for k in guess_kinds(["S1/a_watch.csv", "S2/a_watch.csv"])]
        ['{subject}/a_watch.csv']
        >>> [k.pattern for k in guess_kinds(["S1_hip.csv", "S2_hip.csv", "S1_ear.csv"])]
        ['{subject}_hip.csv', '{subject}_ear.csv']
    """
    shapes: dict[str, list[list[str]]] = {}
    for path in paths:
        stem, ending = _split(path)
        tokens = _tokens(stem)
        shape = "".join("w" if token[0].isalnum() else token for token in tokens) + ending
        shapes.setdefault(shape, []).append([*tokens, ending])
    return [kind for rows in shapes.values() for kind in _kinds(rows)]


def _tokens(stem: str) -> list[str]:
    """Split into words and what stands between; the name of a folder may be several words.

    Examples:
        >>> _tokens("Anna B/watch left_1")
        ['Anna B', '/', 'watch', ' ', 'left', '_', '1']
    """
    folders, slash, name = stem.rpartition("/")
    words = re.findall(r"[^\W_]+(?: [^\W_]+)*|[\W_]", folders + slash)
    return words + re.findall(r"[^\W_]+|[\W_]", name)


def _split(path: str) -> tuple[str, str]:
    """Split off the ending, which may have several dots behind a name without any."""
    match = re.fullmatch(r"(.*?)((\.[A-Za-z][A-Za-z0-9]{0,7}){1,2})", path, re.DOTALL)
    return (match[1], match[2]) if match else (path, "")


def _kinds(rows: list[list[str]]) -> list[Kind]:
    """Make a kind of each device that names tell apart; other parts mean the same in all."""
    varying = _varying(rows)
    devices = [at for at in varying if all(DEVICES.fullmatch(row[at].lower()) for row in rows)]
    told = _starts(rows)
    fields = told | _fields(rows, [at for at in varying if at not in (*devices, *told)], told)
    parts: dict[tuple[str, ...], list[list[str]]] = {}
    for row in rows:
        parts.setdefault(tuple(row[at] for at in devices), []).append(row)
    return [_kind(part, fields) for part in parts.values()]


def _varying(rows: list[list[str]]) -> list[int]:
    return [at for at in range(len(rows[0])) if len({row[at] for row in rows}) > 1]


def _starts(rows: list[list[str]]) -> dict[int, str]:
    """Find the Unix time in the names of files that follow each other, and the day in a folder's.

    Examples:
        >>> guess_kinds(["2024-05-30/A_1717060000.avro", "2024-05-31/B_1717142400.avro"])[0].pattern
        '{session}/{subject}_{part}.avro'
    """
    if rows[0][-1] not in IN_PARTS or not all(UNIX.fullmatch(row[-2]) for row in rows):
        return {}
    days = [
        at + step for at in range(len(rows[0]) - len(DATE)) for step in range(len(DATE))
        if all(re.fullmatch("".join(DATE), "".join(row[at : at + len(DATE)])) for row in rows)
    ]  # fmt: skip
    return {at: "more" if number else "session" for number, at in enumerate(days)} | {
        len(rows[0]) - 2: "part"
    }


def _fields(rows: list[list[str]], varying: list[int], told: Mapping[int, str]) -> dict[int, str]:
    """Say what each varying token is, beside those known; `*` where another says as much."""
    fields: dict[int, str] = {}
    for at in varying:
        words = {row[at].lower() for row in rows}
        if "label" not in fields.values() and all(LABELS.fullmatch(word) for word in words):
            fields[at] = "label"
    left = [at for at in varying if at not in fields]
    if left:
        fields[left[0]] = "subject"
    tokens = [tuple(row[at] for row in rows) for at in left]
    for number, at in enumerate(left[1:], start=1):
        if tokens[number] in tokens[:number]:  # the same again, such as S1/S1_watch.csv
            fields[at] = fields.get(left[tokens.index(tokens[number])], "*")
        elif "session" not in (*fields.values(), *told.values()):
            fields[at] = "session"
        else:
            fields[at] = "more"
    return fields


def _kind(rows: list[list[str]], fields: Mapping[int, str]) -> Kind:
    row = rows[0]
    sessions = [at for at, name in fields.items() if name in ("session", "more")]
    out, at = "", 0
    while at < len(row):
        if at in sessions:
            # up to the last of them, as long as no folder ends in between
            last = max(s for s in sessions if "/" not in row[at:s])
            out += "{session}" if "{session}" not in out else "*"
            at = last
        elif at in fields:
            out += "*" if fields[at] == "*" else "{" + fields[at] + "}"
        else:
            out += row[at]
        at += 1
    start = max((i for i, word in enumerate(row) if word == "/"), default=-1)
    words = [row[i] for i in range(start + 1, len(row) - 1) if i not in fields and row[i].isalnum()]
    words = [word for word in words if not DULL.fullmatch(word.lower())]
    subject = "" if "subject" in fields.values() else _of_name(rows[0][:-1], start, fields)
    # without folders or several files nothing but the name is left to go by
    device = words[-1].lower() if words and not subject else ""
    return Kind(out, tuple("".join(row) for row in rows), device, subject)


def _of_name(row: Sequence[str], start: int, fields: Mapping[int, str]) -> str:
    """Name the person after the file, without what tells its parts apart."""
    return clean("".join(row[i] for i in range(start + 1, len(row)) if fields.get(i) != "part"))
