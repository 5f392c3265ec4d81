"""Which files are of one recording; labels of many people given to those who were recorded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from crossl.data.own.mapping.sources import Key, RecordingPlan, Source
from crossl.errors import DataError

Group = tuple[str, str]


def grouped(found: Sequence[tuple[Key, Source]], where: str) -> list[RecordingPlan]:
    """Group files by recording; labels of no session are those of every session of a subject.

    Args:
        found: what patterns and lists found, with subject and session.
        where: names the mapping in messages.

    Returns:
        A plan for each recording; one that has labels and no signals has a refusal. People of a
        table of labels who were not recorded are named in a note.

    Raises:
        DataError: two files claim one modality of a recording.
    """
    groups: dict[Group, list[Source]] = {}
    sessions: dict[str, dict[str, None]] = {}
    for (subject, session), source in found:
        if session is not None:
            groups.setdefault((subject, session), []).append(source)
            if source.entry.signals:
                sessions.setdefault(subject, {})[session] = None
    for (subject, session), source in found:
        if session is None:
            several = sessions.get(subject, {"1": None})
            for one in several:
                shared = replace(source, shared=len(several) > 1)
                groups.setdefault((subject, one), []).append(shared)
    notes = _label_tables(groups)
    return [_plan(key, sources, notes.get(key, []), where) for key, sources in groups.items()]


def _label_tables(groups: dict[Group, list[Source]]) -> dict[Group, list[str]]:
    """Take out people of label tables who were not recorded; return notes by recording."""
    tables: dict[Path, list[Group]] = {}
    for key, sources in groups.items():
        for source in sources:
            if source.entry.intervals and source.entry.subject_column:
                tables.setdefault(source.path, []).append(key)
    recorded = [key for key, sources in groups.items() if any(s.entry.signals for s in sources)]
    notes: dict[Group, list[str]] = {}
    for path, keys in tables.items():
        others = [key for key in keys if key not in recorded]
        if len(others) == len(keys):  # nobody: names are spelled in two ways
            continue
        _take_out(groups, path, others)
        if others:
            some = ", ".join("/".join(key) for key in others[:3]) + (", ..." if others[3:] else "")
            told = f"{path.name} has labels of {len(others)} recordings without signals ({some})"
            notes.setdefault(recorded[0], []).append(told)
        for key in set(recorded) - set(keys):
            notes.setdefault(key, []).append(f"{path.name} has no label of this recording")
    return notes


def _take_out(groups: dict[Group, list[Source]], path: Path, keys: Iterable[Group]) -> None:
    """Forget what one file says of some recordings."""
    for key in keys:
        groups[key] = [source for source in groups[key] if source.path != path]
        if not groups[key]:
            del groups[key]


def _plan(key: Group, sources: Sequence[Source], notes: Sequence[str], where: str) -> RecordingPlan:
    """Plan one recording; one with labels and no signals is refused."""
    name = f"{where}: subject {key[0]}, session {key[1]}"
    _check_group(name, sources)
    refusal = ""
    if not any(source.entry.signals for source in sources):
        labels = ", ".join(source.path.name for source in sources)
        refusal = (
            f"{name}: has labels ({labels}) but no file with signals; do all patterns spell "
            "subject and session alike?"
        )
    return RecordingPlan(*key, tuple(sources), tuple(notes), refusal)


def _check_group(where: str, sources: Iterable[Source]) -> None:
    """Refuse two files for one modality of a recording."""
    by_name: dict[str, Path] = {}
    for source in sources:
        for name in source.entry.signals:
            if name in by_name:
                raise DataError(
                    f"{where}: '{name}' is in {by_name[name].name} and in {source.path.name}; one "
                    "file may hold it, or tell the recordings apart by {session}"
                )
            by_name[name] = source.path
