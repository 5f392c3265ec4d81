"""Files of people for whom a mapping was not written, read as it says.

What a file lacks is absent, and nobody needs to say so. A file that no pattern finds is known by
what it holds: it is of the one kind whose columns it has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from crossl.data.formats import format_of
from crossl.data.own.folder import mapped_dataset
from crossl.data.own.init.find import candidates
from crossl.data.own.mapping.columns import lacking
from crossl.data.own.mapping.endings import cure_of
from crossl.data.own.mapping.entries import FileEntry
from crossl.data.own.mapping.grouping import grouped
from crossl.data.own.mapping.load import Mapped
from crossl.data.own.mapping.opening import open_rows
from crossl.data.own.mapping.pattern import read_pattern
from crossl.data.own.mapping.plan import (
    OWN_FILES,
    RecordingPlan,
    Source,
    find_sources,
    plan_recordings,
    sources_of,
)
from crossl.data.own.mapping.schema import Mapping
from crossl.data.own.mapping.sources import Key
from crossl.data.readers.dataset import Dataset
from crossl.errors import DataError, PackageError

MOST_COLUMNS = 6
"""Columns that a sentence names."""


@dataclass(frozen=True)
class Wanted:
    """How files are to be read.

    Attributes:
        mapping: what they hold.
        path: of the file that the mapping stands in.
        where: names it in messages.
        classes: labels to keep, where files have some.
    """

    mapping: Mapping
    path: Path
    where: str
    classes: tuple[str, ...]


def for_any_file(mapping: Mapping, *, resample: Iterable[str] = ()) -> Mapping:
    """Let a mapping take files that lack what it names.

    Args:
        mapping: written for other files.
        resample: modalities that files may hold at another rate.
    """
    told = {
        name: one.model_copy(
            update={"optional": True, "resample": one.resample or name in resample}
        )
        for name, one in mapping.modalities.items()
    }
    files = tuple(one.model_copy(update={"required": False}) for one in mapping.files)
    return mapping.model_copy(update={"modalities": told, "files": files})


def folder_dataset(wanted: Wanted, root: Path) -> Dataset:
    """Find the recordings of a folder: by the patterns of a mapping, or by what files hold.

    Args:
        wanted: how they are read; files that it lists one by one are looked for below the folder.
        root: the folder.

    Raises:
        DataError: no file is of a kind that the mapping knows.
    """
    names, mapping = find_sources(root), wanted.mapping
    patterns = [read_pattern(one.pattern) for one in mapping.files if one.pattern is not None]
    found = any(
        pattern.match(name) is not None
        for name in names if name not in OWN_FILES for pattern in patterns
    )  # fmt: skip
    if found or mapping.recordings:
        plans, notes = plan_recordings(mapping, root, where=wanted.where)
        return _dataset(wanted, plans, notes, root)
    paths = [root / name for name in candidates(root)]
    if not paths:
        raise DataError(f"{root}: holds no file of a known format; name files or another folder")
    return files_dataset(wanted, paths, skip=True)


def files_dataset(wanted: Wanted, paths: Sequence[Path], *, skip: bool = False) -> Dataset:
    """Find the recordings of files that are named one by one.

    A pattern finds a file by the end of its path: `{subject}/a.csv` also finds `/new/ann/a.csv`.

    Args:
        wanted: how they are read.
        paths: of files, and of folders that are an Empatica session.
        skip: a file that is of no known kind is left out with a note, if others are of one.

    Raises:
        DataError: a file is of no kind that the mapping knows, or of several.
    """
    mapping = wanted.mapping.model_copy(update={"recordings": (), "offsets": ()})
    by_root: dict[Path, list[str]] = {}
    rest: list[Path] = []
    for path in dict.fromkeys(map(_header_of, paths)):
        place = _by_pattern(mapping, path)
        if place is None:
            rest.append(path)
        else:
            by_root.setdefault(place[0], []).append(place[1])
    plans: list[RecordingPlan] = []
    notes: list[str] = []
    for root, names in by_root.items():
        found, told = plan_recordings(mapping, root, where=wanted.where, only=names)
        plans += found
        notes += [one for one in told if not one.startswith(("pattern ", "modality "))]
    more, told_of = _by_content(wanted, mapping, rest, skip=skip)
    return _dataset(wanted, (*plans, *more), (*notes, *told_of), paths[0])


def _dataset(
    wanted: Wanted, plans: Sequence[RecordingPlan], notes: Sequence[str], root: Path
) -> Dataset:
    mapped = Mapped(wanted.path, wanted.mapping, tuple(plans), wanted.classes, tuple(notes), root,
                    for_others=True)  # fmt: skip
    return mapped_dataset(mapped)


def _header_of(path: Path) -> Path:
    """Return the header of samples that are beside it; any other path as it is."""
    header = path.with_suffix(".hea")
    beside = path.suffix.lower() in (".dat", ".atr") and header.is_file()
    return header if beside else path


def _by_pattern(mapping: Mapping, path: Path) -> tuple[Path, str] | None:
    """Return the folder and the rest of a path that a pattern finds; the longest rest counts."""
    parts = path.absolute().parts
    depths = {one.pattern.count("/") + 1: None for one in mapping.files if one.pattern is not None}
    for depth in sorted(depths, reverse=True):
        name = "/".join(parts[-depth:])
        for entry in mapping.files:
            pattern = entry.pattern or ""
            fits = pattern.count("/") + 1 == depth and depth < len(parts)
            if fits and pattern and read_pattern(pattern).match(name) is not None:
                return Path(*parts[:-depth]), name
    return None


def _by_content(
    wanted: Wanted, mapping: Mapping, paths: Sequence[Path], *, skip: bool
) -> tuple[list[RecordingPlan], list[str]]:
    """Plan recordings of files that are named in another way than those of the mapping."""
    found: list[tuple[Key, Source]] = []
    refused: list[RecordingPlan] = []
    strange: list[str] = []
    names = _subjects(paths)
    for path, name in zip(paths, names, strict=True):
        try:
            if cure := cure_of(path):
                raise DataError(f"{path}: {cure}")
            entry = _kind_of(wanted, mapping, path)
            if entry is not None:
                bare = entry.model_copy(update={"subject": None, "session": None})
                found += sources_of(bare, (name, None, None), [path])
                continue
        except PackageError:
            raise
        except DataError as error:
            refused.append(
                RecordingPlan(name, "", (Source(path, mapping.files[0]),), (), str(error))
            )
            continue
        strange.append(_no_kind(wanted, mapping, path))
    if strange and (not skip or not (found or refused)):
        raise DataError(strange[0])
    plans = [*grouped(found, wanted.where), *refused]
    if refused and not found:
        raise DataError(refused[0].refusal)
    return plans, [f"not read: {why}" for why in strange]


def _subjects(paths: Sequence[Path]) -> list[str]:
    """Name people after files; after their folder too, where two files have one name."""
    stems = [path.name if path.is_dir() else path.name.split(".")[0] or path.name for path in paths]
    counts = Counter(stems)
    return [
        stem if counts[stem] == 1 else f"{path.absolute().parent.name}_{stem}"
        for path, stem in zip(paths, stems, strict=True)
    ]


def _kind_of(wanted: Wanted, mapping: Mapping, path: Path) -> FileEntry | None:
    """Return what a file holds: the kind of which it has most; None where it has of none.

    Raises:
        DataError: it cannot be opened, or is of several kinds.
    """
    held: list[tuple[int, FileEntry]] = []
    faults: list[DataError] = []
    for entry in mapping.files:
        if not entry.signals or not _may_be(entry, path):
            continue
        try:
            count = _held(mapping, entry, path)
        except PackageError:
            raise
        except DataError as error:
            faults.append(error)
            continue
        held += [(count, entry)] if count else []
    if not held and faults:
        raise faults[0]
    most = [entry for count, entry in held if count == max(held, key=_first)[0]]
    if len(most) > 1:
        kinds = " and ".join(_told(entry) for entry in most[:3])
        raise DataError(
            f"{path}: holds what several kinds of files of {wanted.where} hold, {kinds}; name it "
            "as one of them, or describe it in a mapping of its own (--mapping)"
        )
    return most[0] if most else None


def _first(pair: tuple[int, FileEntry]) -> int:
    return pair[0]


def _may_be(entry: FileEntry, path: Path) -> bool:
    """Tell whether a file may be of a kind, by its ending."""
    kind = entry.format or format_of(Path(entry.pattern or ""))
    return kind is None or format_of(path) in (None, kind)


def _held(mapping: Mapping, entry: FileEntry, path: Path) -> int:
    """Count the modalities of a kind of file that a file has whole."""
    content = open_rows(path, entry, None, None)
    return sum(
        not lacking(content, signal, mapping.modalities[name].channels)
        for name, signal in entry.signals.items()
    )


def _told(entry: FileEntry) -> str:
    return f"'{entry.pattern or entry.name}'"


def _no_kind(wanted: Wanted, mapping: Mapping, path: Path) -> str:
    """Say that nothing of a mapping is in a file, and what would be."""
    kinds = [entry for entry in mapping.files if entry.signals]
    columns = [c for entry in kinds for one in entry.signals.values() for c in one.columns]
    needed = ", ".join(dict.fromkeys(columns[:MOST_COLUMNS]))
    more = ", ..." if len(columns) > MOST_COLUMNS else ""
    named = " or ".join(_told(entry) for entry in kinds[:3])
    holds = f", which hold {needed}{more}" if needed else ""
    return (
        f"{path}: is of no kind that {wanted.where} reads; those are {named}{holds}; "
        "describe it in a mapping and give that (--mapping)"
    )
