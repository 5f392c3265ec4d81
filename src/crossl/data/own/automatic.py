"""Recordings in one format, without a mapping: what the files themselves say, and little else.

A recording per file; the subject is the name of the file, or of the first folder where there are
several. Channels that belong together by name are a modality, at the rate and in the unit of the
file. What was assumed is said in the card.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crossl.data.boundary import reading
from crossl.data.formats import FileContent, Stream, format_of, open_file
from crossl.data.own.folder import mapped_dataset, plan_part
from crossl.data.own.mapping import (
    FileEntry,
    ModalityEntry,
    RecordingPlan,
    SignalEntry,
    Source,
    find_mapping,
    load_mapping,
)
from crossl.data.own.mapping.endings import unread
from crossl.data.own.mapping.guess import clean, group_columns
from crossl.data.own.mapping.labels import check_overlap
from crossl.data.own.mapping.nosensor import no_sensor, sift
from crossl.data.own.mapping.plan import find_sources, natural
from crossl.data.own.mapping.quantity import check_quantity, read_unit, spelt
from crossl.data.own.mapping.signals import Rules
from crossl.data.own.mapping.sources import named_by_header
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset
from crossl.data.recording import Modality
from crossl.data.timing import RATE_TOLERANCE
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, PackageError, counted

NAMED_STREAMS = ("e4", "xdf")
"""Formats whose streams have names that say what they are; those of others are rates."""


@dataclass
class _Assumed:
    """What is not in the files, or was left out of them."""

    units: set[str] = field(default_factory=set)
    spelt: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)
    labels: bool = False

    def sentences(self) -> list[str]:
        """Return what the card says of it."""
        out = []
        if self.units:
            out.append(
                f"Units that crossl does not know count as numbers without one: "
                f"{', '.join(sorted(self.units))}."
            )
        if self.spelt:
            out.append(f"Units by what is measured: {', '.join(sorted(self.spelt))}.")
        if self.left_out:
            some = "; ".join(self.left_out[:5])
            out.append(f"Left out: {some}{' and others' if len(self.left_out) > 5 else ''}.")
        if self.labels:
            out.append("Annotations in the files are the labels.")
        return out


@dataclass(frozen=True)
class _Found:
    """One file and what it holds."""

    path: Path
    entry: FileEntry
    modalities: dict[str, ModalityEntry]
    labels: tuple[str, ...]


def format_card(format_name: str, title: str, description: str, url: str) -> Card:
    """Describe a reader of one format."""
    return Card(
        name=format_name,
        title=title,
        description=(
            f"{description} With recordings.yaml in the folder it counts; without, each file is a "
            "recording of the subject that the file, or the first folder, is named after."
        ),
        licence="yours",
        citation="yours",
        url=url,
        modalities=(),
        classes=(),
        spec=WindowSpec(window_s=2.0, stride_s=1.0),
        traps=(
            "Two files of one person count as two subjects unless folders or a mapping say "
            "otherwise; an experiment would then test on people that it was trained on.",
        ),
    )


def holds_format(root: Path, format_name: str) -> bool:
    """Tell whether a folder holds, or is, a recording in a format."""
    return root.exists() and bool(_find(root, format_name))


@contextmanager
def open_automatic(root: Path | None, card: Card, *, mapping: str = "") -> Iterator[Dataset]:
    """Find recordings in one format, by a mapping if there is one.

    Args:
        root: their folder, or one file.
        card: of the reader, named after the format.
        mapping: file to go by instead of `recordings.yaml` or `recordings.csv`.

    Raises:
        DataError: none is there, or they do not fit together.
    """
    if root is None or not root.exists():
        raise DataError(f"{root or 'root'}: does not exist; name the folder of your recordings")
    path = find_mapping(root, mapping)
    yield mapped_dataset(load_mapping(path, root)) if path else _dataset(root, card)


def _find(root: Path, format_name: str) -> list[Path]:
    if root.is_file() or format_of(root) == format_name:
        paths = [root]
    else:
        paths = [root / name for name in find_sources(root)]
    found = [p for p in paths if format_of(p) == format_name and _is_session(p)]
    if format_name == "wfdb":  # a segment is part of the record that lists it
        segments = {p.parent / name for p in found for name in named_by_header(p)}
        found = [p for p in found if p not in segments]
    return found


def _is_session(path: Path) -> bool:
    """Tell an Empatica zip from another one."""
    if path.suffix.lower() != ".zip":
        return True
    try:
        with reading(path), zipfile.ZipFile(path) as archive:
            return any(name.rsplit("/", 1)[-1] == "ACC.csv" for name in archive.namelist())
    except DataError:
        return True  # to be refused when it is opened, with its name


def _dataset(root: Path, card: Card) -> Dataset:
    paths = _find(root, card.name)
    if not paths:
        raise DataError(f"{root}: holds no recording in the format {card.name}")
    assumed = _Assumed()
    found, faults = _examine_all(paths, card.name, assumed)
    declared = _union(found)
    classes = tuple(sorted({label for one in found for label in one.labels}, key=natural))
    keys = _subjects(root, [*(one.path for one in found), *faults])
    plans: list[tuple[RecordingPlan, Rules]] = []
    for one, key in zip(found, keys, strict=False):
        entries = {name: entry.model_copy(update={"rate_hz": declared[name].rate_hz})
                   for name, entry in one.modalities.items()}  # fmt: skip
        plan = RecordingPlan(*key, (Source(one.path, one.entry),))
        plans.append((plan, Rules(entries, tuple(declared.values()), classes)))
    for (path, why), key in zip(faults.items(), keys[len(found) :], strict=True):
        entry = FileEntry(name="file", format=card.name, annotations=True)
        plan = RecordingPlan(*key, (Source(path, entry),), refusal=why)
        plans.append((plan, Rules({}, tuple(declared.values()), classes)))
    plans.sort(key=lambda pair: [natural(pair[0].subject), natural(pair[0].session)])
    notes = (
        *(f"left out: {one}" for one in assumed.left_out),
        *(f"not read: {one}" for one in unread(root)),
    )
    return Dataset(
        _card(card, root, declared, classes, keys[: len(found)], assumed),
        tuple(plan_part(plan, rules) for plan, rules in plans),
        notes,
    )


def _examine_all(
    paths: Sequence[Path], format_name: str, assumed: _Assumed
) -> tuple[list[_Found], dict[Path, str]]:
    """Return what the files hold, and why of those that cannot be opened, though others can."""
    found: list[_Found] = []
    faults: dict[Path, DataError] = {}
    for path in paths:
        try:
            one = _examine(path, format_name, assumed)
        except PackageError:
            raise
        except DataError as error:
            faults[path] = error
            continue
        if one is not None:
            found.append(one)
    if not found and faults:
        raise next(iter(faults.values()))
    if not found:
        told = f" that can be read without a mapping ({'; '.join(assumed.left_out[:3])})"
        raise DataError(
            f"{paths[0] if len(paths) == 1 else paths[0].parent}: none of {len(paths)} files of "
            f"format {format_name} has signals{told if assumed.left_out else ''}"
        )
    return found, {path: str(error) for path, error in faults.items()}


def _card(
    card: Card,
    root: Path,
    declared: dict[str, Modality],
    classes: tuple[str, ...],
    keys: Sequence[tuple[str, str]],
    assumed: _Assumed,
) -> Card:
    subjects = sorted({subject for subject, _ in keys}, key=natural)
    sentences = [
        f"{counted(len(keys), 'recording')} in the format {card.name}, read without a mapping.",
        f"Assumed: {counted(len(subjects), 'person', 'people')}, named after "
        f"{'folders' if _by_folder(root, keys) else 'files'}; modalities by the names of channels.",
        *assumed.sentences(),
    ]
    name = root.resolve().name if root.is_dir() else root.stem
    return Card(
        name=clean(name),
        title=name,
        description=" ".join(sentences),
        licence="not stated",
        citation="not stated",
        url="",
        modalities=tuple(declared.values()),
        classes=classes,
        spec=card.spec,
        traps=(*card.traps, *_alike(subjects)),
        subjects=len(subjects),
    )


def _by_folder(root: Path, keys: Sequence[tuple[str, str]]) -> bool:
    return all((root / subject).is_dir() for subject, _ in keys)


def _alike(subjects: Sequence[str]) -> list[str]:
    """Warn of names that differ behind the last underscore or hyphen only."""
    stems: dict[str, str] = {}
    for subject in subjects:
        stem = max(subject.rpartition("_")[0], subject.rpartition("-")[0], key=len)
        if stem and stem in stems:
            return [
                f"{stems[stem]} and {subject} count as two people; if they are one, say so in a "
                "mapping, such as pattern: '{subject}_{session}" + "...'."
            ]
        stems[stem] = subject
    return []


def _subjects(root: Path, paths: Sequence[Path]) -> list[tuple[str, str]]:
    """Name subject and session of each file: by folders where there are several, else by files."""
    inside = [path.relative_to(root) if path != root else Path(path.name) for path in paths]
    firsts = {path.parts[0] for path in inside if len(path.parts) > 1}
    keys = []
    for path in inside:
        if len(firsts) > 1 and len(path.parts) > 1:
            rest = [*path.parts[1:-1], _stem(root, path)]
            keys.append((path.parts[0], "_".join(rest)))
        else:
            keys.append((_stem(root, path), "1"))
    for number, key in enumerate(keys):
        if key in keys[:number]:
            raise DataError(
                f"{paths[keys.index(key)]} and {paths[number]} both are of subject {key[0]}, "
                f"session {key[1]}; write a mapping that tells them apart"
            )
    return keys


def _stem(root: Path, path: Path) -> str:
    return path.name if (root / path).is_dir() else path.name.split(".")[0] or path.name


def _examine(path: Path, format_name: str, assumed: _Assumed) -> _Found | None:
    content = open_file(path, format_name)
    signals: dict[str, SignalEntry] = {}
    modalities: dict[str, ModalityEntry] = {}
    assumed.left_out += [f"{path.name}: {one}, {why}" for one, why in content.left_out.items()]
    for stream in [one for one in content.streams if not one.aside]:
        rate_hz = stream.rate_hz
        if rate_hz is None or stream.length < 2:
            assumed.left_out.append(f"{path.name}: stream {stream.name}, of no regular rate")
            continue
        for name, columns, unit in _groups(path, stream, format_name, assumed):
            free = name
            while free in signals:
                free += f"_{clean(stream.name)}"
            signals[free] = SignalEntry(stream=stream.name, columns=tuple(columns.values()))
            modalities[free] = ModalityEntry(
                channels=tuple(columns), unit=unit, rate_hz=rate_hz, device=format_name
            )
    if not signals:
        assumed.left_out.append(f"{path.name}, which has no signals")
        return None
    labels = _labels(content, assumed) if format_name != "e4" else ()
    entry = FileEntry(
        name="file", format=format_name, signals=signals, annotations=bool(labels)
    )  # of E4 the presses of the button are not labels
    return _Found(path, entry, modalities, labels)


def _labels(content: FileContent, assumed: _Assumed) -> tuple[str, ...]:
    if fault := content.about.get("label_fault"):
        assumed.left_out.append(f"annotations of {content.path.name}, {fault}")
    try:
        check_overlap(str(content.path), content.labels)
    except DataError:
        assumed.left_out.append(f"annotations of {content.path.name}, which overlap")
        return ()
    assumed.labels |= bool(content.labels)
    return tuple({label.label: None for label in content.labels})


def _groups(
    path: Path, stream: Stream, format_name: str, assumed: _Assumed
) -> Iterator[tuple[str, dict[str, str], str]]:
    """Yield name, channels and unit of each modality in a stream; one unit each."""
    columns = _sensors(path, stream, format_name, assumed)
    told = dict(zip(stream.columns, stream.units or [""] * len(stream.columns), strict=True))
    units = {column: _unit(column, told[column], assumed) for column in columns}
    groups = group_columns(columns)
    if format_name in NAMED_STREAMS:  # not taken apart: the recorder knew what belongs together
        channels = {clean(column): column for column in columns}
        groups = {clean(stream.name): channels if len(channels) == len(columns)
                  else {str(n): column for n, column in enumerate(columns)}}  # fmt: skip
    for name, members in groups.items():
        by_unit: dict[str, dict[str, str]] = {}
        for channel, column in members.items():
            by_unit.setdefault(units[column], {})[channel] = column
        for unit, alike in by_unit.items():
            for column in alike.values():
                check_quantity(f"{path}", unit, (column, name))
            yield name if len(by_unit) == 1 else f"{name}_{clean(unit)}", alike, unit


def _sensors(path: Path, stream: Stream, format_name: str, assumed: _Assumed) -> list[str]:
    """Return the columns that may be sensors by their names; say which are none."""
    none = {} if format_name == "e4" else sift(stream.columns)
    if format_name in NAMED_STREAMS and (kind := no_sensor(stream.name)):
        none = dict.fromkeys(stream.columns, kind)
    for column, kind in none.items():
        assumed.left_out.append(f"{column} of {path.name}, by its name a {kind}")
    return [column for column in stream.columns if column not in none]


def _unit(column: str, told: str, assumed: _Assumed) -> str:
    """Return the unit of a column as crossl spells it; 1 where nobody knows it."""
    unit = spelt(told, column)
    if unit != told:
        assumed.spelt.add(f"{told} of {column} is {unit}")
    try:
        read_unit(unit, column)
    except DataError:
        assumed.units.add(f"{told} ({column})")
        return "1"
    return unit


def _union(found: Sequence[_Found]) -> dict[str, Modality]:
    """Return every modality that some file has; files must agree on what it is."""
    declared: dict[str, Modality] = {}
    first: dict[str, Path] = {}
    for one in found:
        for name, entry in one.modalities.items():
            mine = entry.declared(name)
            known = declared.setdefault(name, mine)
            before = first.setdefault(name, one.path)
            where = f"{one.path}: '{name}'"
            if abs(mine.rate_hz - known.rate_hz) > RATE_TOLERANCE * known.rate_hz:
                raise DataError(
                    f"{where} has {mine.rate_hz:g} Hz, in {before.name} {known.rate_hz:g} Hz; "
                    "write a mapping with `resample: true`, or prepare them one at a time"
                )
            for what in ("channels", "unit"):
                if getattr(mine, what) != getattr(known, what):
                    got, other = (_text(getattr(m, what)) for m in (mine, known))
                    raise DataError(
                        f"{where} has {what} {got}, in {before.name} {other}; write a mapping "
                        "that names what both have"
                    )
    return declared


def _text(value: str | tuple[str, ...]) -> str:
    text = value if isinstance(value, str) else ", ".join(value)
    return text if len(text) <= 80 else text[:77] + "..."
