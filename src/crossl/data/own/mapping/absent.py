"""What a mapping names and a folder does not hold: noted once; refused where nothing is there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from crossl.data.own.mapping.entries import FileEntry
from crossl.data.own.mapping.schema import Mapping
from crossl.data.own.mapping.sources import RecordingPlan, Source, beside
from crossl.errors import DataError

MAPPINGS = (".yaml", ".yml", "recordings.csv")
"""Ends of names that are not recordings."""

MOST_COMPARED = 1_000_000
"""People times files that no pattern takes, up to which files are looked at for people's names."""


def refuse_required(where: str, entry: FileEntry, root: Path, names: Iterable[str]) -> None:
    """Refuse a pattern that found no file, if the mapping says that there must be one.

    Raises:
        DataError: it is `required`.
    """
    if entry.required:
        raise DataError(
            f"{where}: pattern '{entry.pattern}' finds no file and is `required`; "
            f"{_holds(root, names)}"
        )


def refuse_nothing(
    where: str, empty: Sequence[FileEntry], root: Path, names: Iterable[str]
) -> None:
    """Refuse a mapping that finds no recording at all.

    Raises:
        DataError: always.
    """
    if not empty:
        raise DataError(f"{where}: names no recording; give `files` patterns or list `recordings`")
    told = " and ".join(f"pattern '{entry.pattern}'" for entry in empty[:3])
    finds = "finds" if len(empty) == 1 else "find"
    raise DataError(f"{where}: {told} {finds} no file; {_holds(root, names)}")


def _holds(root: Path, names: Iterable[str]) -> str:
    some = ", ".join([name for name in names if not name.endswith(MAPPINGS)][:3])
    return f"{root} holds {some or 'no files'}"


def absent_notes(
    mapping: Mapping,
    plans: Sequence[RecordingPlan],
    empty: Sequence[FileEntry],
    root: Path,
    names: Iterable[str],
) -> tuple[str, ...]:
    """Say what a mapping names and no file holds, each once.

    Args:
        mapping: what was looked for.
        plans: what was found.
        empty: kinds of files whose pattern found none.
        root: folder that was looked into.
        names: of everything in it.

    Returns:
        A sentence each, with a file that no pattern takes: it may be meant. Likewise for one person
        who lacks what others have, while no pattern takes a file that has the person's name.
    """
    sources = [source for plan in plans for source in plan.sources]
    held = {name for source in sources for name in source.entry.signals}
    unclaimed = _unclaimed(root, names, sources)
    left = _told(unclaimed) if empty else ""
    notes, told = [], set()
    for entry in empty:
        gone = [name for name in entry.signals if name not in held]
        what = "other files hold what it would" if entry.signals else "there are no labels from it"
        if gone:
            what = f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} absent"
        notes.append(f"pattern '{entry.pattern}' finds no file: {what}{left}")
        told.update(gone)
    rest = [name for name in mapping.modalities if name not in held | told]
    notes += _missed(plans, unclaimed)
    return (*notes, *(f"modality '{name}' is in no file: it is absent" for name in rest))


def _missed(plans: Sequence[RecordingPlan], unclaimed: Sequence[str]) -> list[str]:
    """Note files that have the name of a person for whom a pattern finds none."""
    sources = [source for plan in plans for source in plan.sources]
    endings = {s.entry.pattern: s.path.suffix.lower() for s in sources
               if s.entry.pattern is not None and "{subject}" in s.entry.pattern}  # fmt: skip
    notes = []
    for plan in plans if len(plans) * len(unclaimed) <= MOST_COMPARED else ():
        mine = {source.entry.pattern for source in plan.sources}
        lacking = [one for one in endings if one not in mine] if mine else []
        word = re.compile(rf"(?<![^\W_]){re.escape(plan.subject)}(?![^\W_])", re.IGNORECASE)
        for pattern in lacking:
            files = [one for one in unclaimed
                     if one.lower().endswith(endings[pattern]) and word.search(one)]  # fmt: skip
            if files:
                notes.append(f"{plan.name}: pattern '{pattern}' finds no file{_told(files)}")
    return list(dict.fromkeys(notes))


def _unclaimed(root: Path, names: Iterable[str], sources: Iterable[Source]) -> list[str]:
    paths = {path for source in sources for path in source.paths}
    taken = paths | {file for path in paths for file in beside(path)}
    return [
        name
        for name in names
        if not name.endswith(MAPPINGS) and not taken & {root / name, *(root / name).parents}
    ]


def _told(left: Sequence[str]) -> str:
    more = f" and {len(left) - 1} more" if len(left) > 1 else ""
    return f"; not taken by any pattern: {left[0]}{more}" if left else ""
