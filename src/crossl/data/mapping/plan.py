"""Which files belong to which recording: patterns matched, names checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossl.data.formats import format_of
from crossl.data.mapping.entries import FileEntry
from crossl.data.mapping.schema import Mapping
from crossl.errors import DataError, nearest

FIELDS = ("subject", "session", "label")


@dataclass(frozen=True)
class Source:
    """One file of one recording.

    Attributes:
        path: the file, or the folder of an Empatica session.
        entry: what it holds.
        label: of the whole file, where its path tells one.
        offset_s: is added to its times.
    """

    path: Path
    entry: FileEntry
    label: str | None = None
    offset_s: float = 0.0


@dataclass(frozen=True)
class RecordingPlan:
    """One recording, not yet read.

    Attributes:
        subject: who.
        session: which recording of this subject.
        sources: its files.
    """

    subject: str
    session: str
    sources: tuple[Source, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Everything that is read, samples beside a header included."""
        return tuple(dict.fromkeys(file for s in self.sources for file in beside(s.path)))


def beside(path: Path) -> Iterator[Path]:
    """Yield the files that opening a path reads."""
    if path.is_dir():
        yield from sorted(p for p in path.iterdir() if p.is_file())
        return
    yield path
    if path.suffix == ".hea":
        for name in dict.fromkeys((*_named_by_header(path), path.with_suffix(".atr").name)):
            if len(name) < 256 and "\0" not in name and (path.parent / name).is_file():
                yield path.parent / name


def _named_by_header(path: Path) -> Iterator[str]:
    """Yield the files of samples that a WFDB header names: first on each line after the first."""
    lines = [line.split() for line in path.read_text("utf-8", "replace").splitlines()]
    for words in [words for words in lines if words and not words[0].startswith("#")][1:]:
        yield words[0]


def find_sources(root: Path) -> list[str]:
    """List files below a folder, and folders that are Empatica sessions; none that are hidden."""
    found = []
    for path in sorted(root.rglob("*")):
        relative = path.relative_to(root)
        if any(part.startswith((".", "__MACOSX")) for part in relative.parts):
            continue
        if path.is_file() or format_of(path) is not None:
            found.append(relative.as_posix())
    return found


def pattern_to_regex(pattern: str) -> re.Pattern[str]:
    r"""Compile a pattern of paths.

    Raises:
        DataError: it has a field that does not exist.

    Examples:
        >>> bool(pattern_to_regex("{subject}/{subject}_*.csv").fullmatch("S1/S1_watch.csv"))
        True
    """
    out, seen = "", set()
    for piece in re.split(r"(\{[^{}]*\}|\*)", pattern.removeprefix("./")):
        if piece == "*":
            out += "[^/]*"
        elif piece.startswith("{"):
            field = piece[1:-1]
            if field not in FIELDS:
                raise DataError(f"pattern '{pattern}': field {piece}; {nearest(field, FIELDS)}")
            # the same field twice must say the same
            out += f"(?P={field})" if field in seen else f"(?P<{field}>[^/]+?)"
            seen.add(field)
        else:
            out += re.escape(piece)
    return re.compile(out)


def natural(text: str) -> list[tuple[bool, int, str]]:
    """Sort key by which S2 comes before S10."""
    pieces = [piece for piece in re.split(r"([0-9]+)", text) if piece]
    return [
        (False, int(piece), "") if piece[0] in "0123456789" else (True, 0, piece)
        for piece in pieces
    ]


def plan_recordings(mapping: Mapping, root: Path, *, where: str) -> tuple[RecordingPlan, ...]:
    """Match every pattern, and group the files by subject and session.

    Args:
        mapping: what to look for.
        root: folder that patterns and paths start from.
        where: names the mapping in messages.

    Raises:
        DataError: a pattern finds nothing, two files claim one place, or a recording has labels
            but no signals.
    """
    groups: dict[tuple[str, str], list[Source]] = {}
    names = find_sources(root)
    for number, entry in enumerate(mapping.files):
        if entry.pattern is not None:
            for key, source in _matches(entry, root, names, f"{where}: files.{number}"):
                groups.setdefault(key, []).append(source)
    for key, source in _listed(mapping, root, where):
        groups.setdefault(key, []).append(source)
    _check_claims(where, groups)
    for (subject, session), sources in groups.items():
        _check_group(f"{where}: subject {subject}, session {session}", sources)
    plans = [RecordingPlan(*key, tuple(sources)) for key, sources in groups.items()]
    if not plans:
        raise DataError(f"{where}: names no recording; give `files` patterns or list `recordings`")
    return tuple(sorted(plans, key=lambda plan: (natural(plan.subject), natural(plan.session))))


def _check_claims(where: str, groups: dict[tuple[str, str], list[Source]]) -> None:
    """Refuse a file that two patterns call different recordings."""
    claims: dict[Path, tuple[str, str]] = {}
    for key, sources in groups.items():
        for source in sources:
            other = claims.setdefault(source.path, key)
            if other != key:
                raise DataError(
                    f"{where}: {source.path} is of subject {other[0]}, session {other[1]} by one "
                    f"pattern and of subject {key[0]}, session {key[1]} by another; make them "
                    "exclude each other"
                )


def _matches(
    entry: FileEntry, root: Path, names: Iterable[str], where: str
) -> Iterator[tuple[tuple[str, str], Source]]:
    try:
        regex = pattern_to_regex(entry.pattern or "")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if "subject" not in regex.groupindex and entry.subject is None:
        raise DataError(
            f"{where}: pattern '{entry.pattern}' has no {{subject}}; put it where the path names "
            "the person, or give `subject:`"
        )
    _check_below(f"{where}: pattern", entry.pattern or "", root)
    found: dict[tuple[str, str], str] = {}
    for name in names:
        match = regex.fullmatch(name)
        if match is None:
            continue
        fields = match.groupdict()
        label = fields.get("label")
        subject = fields.get("subject") or entry.subject or ""
        session = fields.get("session") or entry.session or label or "1"
        key = (subject, session)
        if key in found:
            raise DataError(
                f"{where}: {found[key]} and {name} both are of subject {subject}, session "
                f"{session}; tell them apart by {{session}} in the pattern"
            )
        found[key] = name
        yield key, Source(root / name, entry, label, entry.offset_s)
    if not found:
        some = ", ".join([name for name in names if not name.endswith((".yaml", ".yml"))][:3])
        raise DataError(
            f"{where}: pattern '{entry.pattern}' finds no file; {root} holds {some or 'no files'}"
        )


def _check_below(where: str, name: str, root: Path) -> None:
    """Refuse a path that may leave the folder."""
    if Path(name).anchor or ".." in Path(name).parts:
        raise DataError(f"{where}: '{name}' leads out of {root}; paths start there, without '..'")


def _listed(mapping: Mapping, root: Path, where: str) -> Iterator[tuple[tuple[str, str], Source]]:
    kinds = {entry.name: entry for entry in mapping.files if entry.name}
    for number, recording in enumerate(mapping.recordings):
        for kind, name in recording.files.items():
            _check_below(f"{where}: recordings.{number}.files.{kind}", name, root)
            path = root / name
            if not path.exists():
                raise DataError(f"{where}: recordings.{number}: {path} does not exist")
            offset = kinds[kind].offset_s + recording.offset_s.get(kind, 0.0)
            key = (recording.subject, recording.session)
            yield key, Source(path, kinds[kind], None, offset)


def _check_group(where: str, sources: Iterable[Source]) -> None:
    by_name: dict[str, Path] = {}
    labels = []
    for source in sources:
        for name in source.entry.signals:
            if name in by_name:
                raise DataError(
                    f"{where}: '{name}' is in {by_name[name].name} and in {source.path.name}; one "
                    "file may hold it, or tell the recordings apart by {session}"
                )
            by_name[name] = source.path
        if not source.entry.signals:
            labels.append(source.path.name)
    if not by_name:
        raise DataError(
            f"{where}: has labels ({', '.join(labels)}) but no file with signals; do all patterns "
            "spell subject and session alike?"
        )
