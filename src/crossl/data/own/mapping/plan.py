"""Which files belong to which recording: patterns matched, names checked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from crossl.data.boundary import check_regular
from crossl.data.formats import format_of
from crossl.data.own.mapping.absent import absent_notes, refuse_nothing, refuse_required
from crossl.data.own.mapping.claims import of_others
from crossl.data.own.mapping.entries import FileEntry
from crossl.data.own.mapping.grouping import grouped
from crossl.data.own.mapping.offsets import add_offsets
from crossl.data.own.mapping.opening import open_entry
from crossl.data.own.mapping.pattern import Pattern, read_pattern
from crossl.data.own.mapping.people import people_in
from crossl.data.own.mapping.schema import Mapping
from crossl.data.own.mapping.sources import Key, RecordingPlan, Source, beside, natural
from crossl.errors import DataError, PackageError

__all__ = [
    "RecordingPlan", "Source", "beside", "find_sources", "natural", "plan_recordings", "sources_of",
]  # fmt: skip


OWN_FILES = ("recordings.yaml", "recordings.yml", "recordings.csv")
"""Mappings beside the recordings; no pattern finds them."""


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


def _is_one(path: Path, tables: Sequence[Path]) -> bool:
    return any(path.name == one.name and path.resolve() == one.resolve() for one in tables)


def plan_recordings(
    mapping: Mapping,
    root: Path,
    *,
    where: str,
    tables: Sequence[Path] = (),
    only: Sequence[str] | None = None,
) -> tuple[tuple[RecordingPlan, ...], tuple[str, ...]]:
    """Match every pattern, and group the files by subject and session.

    A pattern that finds no file means a device that nobody here carried: what it would hold is
    absent, and a note says so.

    Tables for several people are opened, to find whose rows they hold.

    Args:
        mapping: what to look for.
        root: folder that patterns and paths start from.
        where: names the mapping in messages.
        tables: of people, which no pattern finds.
        only: paths below the folder that count, as if there were no others; None for all.

    Returns:
        The recordings by subject and session; what cannot be read, though others can, is a plan
        with a refusal. And notes: what the mapping names and no file holds.

    Raises:
        DataError: nothing is found, or nothing by a pattern that is `required`; two files claim
            one place, or nothing can be read.
    """
    found: list[tuple[Key, Source]] = []
    refused: list[RecordingPlan] = []
    held = find_sources(root) if only is None else only
    names = [name for name in held if not _is_one(root / name, tables)]
    empty = []
    patterns = {
        number: _pattern(entry, f"{where}: files.{number}")
        for number, entry in enumerate(mapping.files)
        if entry.pattern is not None
    }
    others = of_others(patterns, mapping.files, [name for name in names if name not in OWN_FILES])
    for number, entry in enumerate(mapping.files):
        if entry.pattern is not None:
            here, before = f"{where}: files.{number}", (len(found), len(refused))
            rest = [name for name in names if name not in others[number]]
            found += _matches((entry, patterns[number]), root, rest, here, refused)
            if before == (len(found), len(refused)):
                refuse_required(here, entry, root, names)
                empty.append(entry)
    found += _listed(mapping, root, where)
    _check_claims(where, found)
    plans = [*grouped(found, where), *refused]
    if not plans:
        refuse_nothing(where, empty, root, names)
    plans = add_offsets(mapping, plans, where)
    if all(plan.refusal for plan in plans):
        raise DataError(plans[0].refusal)
    plans.sort(key=lambda plan: (natural(plan.subject), natural(plan.session)))
    return tuple(plans), absent_notes(mapping, plans, empty, root, names)


def _check_claims(where: str, found: Iterable[tuple[Key, Source]]) -> None:
    """Refuse a file that two patterns call different recordings."""
    claims: dict[Path, tuple[str, str]] = {}
    for (subject, session), source in found:
        if session is None or source.subject or source.session:
            continue
        key = (subject, session)
        for path in source.paths:
            other = claims.setdefault(path, key)
            if other != key:
                raise DataError(
                    f"{where}: {path} is of subject {other[0]}, session {other[1]} by one "
                    f"pattern and of subject {key[0]}, session {key[1]} by another; make them "
                    "exclude each other"
                )


def _pattern(entry: FileEntry, where: str) -> Pattern:
    try:
        return read_pattern(entry.pattern or "")
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _matches(
    how: tuple[FileEntry, Pattern],
    root: Path,
    names: Iterable[str],
    where: str,
    refused: list[RecordingPlan],
) -> Iterator[tuple[Key, Source]]:
    entry, pattern = how
    if "subject" not in pattern.fields and entry.subject is None and not entry.subject_column:
        raise DataError(
            f"{where}: pattern '{entry.pattern}' has no {{subject}}; put it where the path names "
            "the person, or give `subject:` or `subject_column:`"
        )
    _check_below(f"{where}: pattern", entry.pattern or "", root)
    found: dict[Key, str] = {}
    groups = _in_parts(pattern, entry, root, names, where)
    for told, paths in groups:
        try:
            held = list(sources_of(entry, told, [root / path for path in paths]))
        except PackageError:
            raise
        except DataError as error:  # only tables for several people are opened here
            path = root / paths[0]
            refused.append(RecordingPlan(path.name, "", (Source(path, entry),), (), str(error)))
            continue
        for key, source in held:
            if key in found:
                raise DataError(_twice(where, (found[key], paths[0]), key))
            found[key] = paths[0]
            yield key, source


def _twice(where: str, names: tuple[str, str], key: Key) -> str:
    return (
        f"{where}: {names[0]} and {names[1]} both are of subject {key[0]}, session {key[1]}; tell "
        "them apart by {session} in the pattern, or by {part} if they follow each other"
    )


Told: TypeAlias = tuple[str | None, str | None, str | None]
"""Subject, session and label as a path tells them."""


def _in_parts(
    pattern: Pattern, entry: FileEntry, root: Path, names: Iterable[str], where: str
) -> list[tuple[Told, list[str]]]:
    """Group the paths that a pattern finds: parts of one recording, in natural order.

    Tables for several people stand apart, it is their columns that tell what belongs together.
    """
    columns = entry.subject_column is not None or entry.session_column is not None
    groups: dict[tuple[Told, str], dict[str, str]] = {}
    for name in names:
        fields = pattern.match(name) if name not in OWN_FILES else None
        if fields is None or not _may_be(entry, root / name):
            continue
        told = (fields.get("subject"), fields.get("session"), fields.get("label"))
        part = fields.get("part")
        parts = groups.setdefault((told, name if columns and part is None else ""), {})
        if (part or "") in parts:
            key = (told[0] or entry.subject or "", told[1] or entry.session or told[2] or "1")
            raise DataError(_twice(where, (parts[part or ""], name), key))
        parts[part or ""] = name
    return [
        (told, [parts[one] for one in sorted(parts, key=natural)])
        for (told, _), parts in groups.items()
    ]


def _may_be(entry: FileEntry, path: Path) -> bool:
    """Tell whether a path may be of a kind: of Empatica, a session or a zip, no file beside it."""
    return entry.format != "e4" or format_of(path) == "e4"


def sources_of(entry: FileEntry, told: Told, paths: Sequence[Path]) -> Iterator[tuple[Key, Source]]:
    """Yield the recordings of a file, or of its parts: one, or those that columns tell apart.

    Args:
        entry: what the file holds.
        told: subject, session and label as its path tells them.
        paths: the file, and the parts that follow it.

    Raises:
        DataError: it cannot be opened, which only tables for several people are.
    """
    subject, session, label = told[0] or entry.subject, told[1] or entry.session, told[2]
    first, more = paths[0], tuple(paths[1:])
    source = Source(first, entry, label, entry.offset_s, more)
    # a table of intervals that tells no session is of all of them
    default = None if entry.intervals else label or "1"
    if entry.subject_column is None and entry.session_column is None:
        yield (subject or "", session or default), source
        return
    opened = (people_in(open_entry(path, entry), entry) for path in paths)
    for who, which in dict.fromkeys(pair for pairs in opened for pair in pairs):
        key = (who or subject or "", which or session or default)
        yield key, replace(source, subject=who, session=which)


def _check_below(where: str, name: str, root: Path) -> None:
    """Refuse a path that may leave the folder."""
    if Path(name).anchor or ".." in Path(name).parts:
        raise DataError(f"{where}: '{name}' leads out of {root}; paths start there, without '..'")


def _listed(mapping: Mapping, root: Path, where: str) -> Iterator[tuple[Key, Source]]:
    kinds = {entry.name: entry for entry in mapping.files if entry.name}
    for number, recording in enumerate(mapping.recordings):
        for kind, name in recording.files.items():
            if name is None:
                continue
            _check_below(f"{where}: recordings.{number}.files.{kind}", name, root)
            path = root / name
            if not path.exists():
                raise DataError(f"{where}: recordings.{number}: {path} does not exist")
            if not path.is_dir():
                check_regular(path)
            offset = kinds[kind].offset_s + recording.offset_s.get(kind, 0.0)
            key = (recording.subject, recording.session)
            source = Source(path, kinds[kind], None, offset)
            yield (
                key,
                replace(
                    source,
                    subject=recording.subject if kinds[kind].subject_column else None,
                    session=recording.session if kinds[kind].session_column else None,
                ),
            )
