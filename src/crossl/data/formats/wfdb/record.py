"""One record of WFDB: its signals found in files, and read from them as physical values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import unique_names
from crossl.data.formats.wfdb.header import DEFAULT_GAIN, Header, SignalLine
from crossl.data.formats.wfdb.samples import BLOCKS, COMPRESSED, INVALID, read_frames, samples_in
from crossl.errors import DataError


@dataclass(frozen=True)
class Group:
    """The signals of one file of samples.

    Attributes:
        path: the file.
        members: numbers of its signals in the header, in order.
        lines: what the header says of each.
    """

    path: Path
    members: tuple[int, ...]
    lines: tuple[SignalLine, ...]

    @property
    def code(self) -> int:
        """Format of its samples."""
        return self.lines[0].code

    @property
    def offset(self) -> int:
        """Bytes before its first frame."""
        return self.lines[0].offset

    @property
    def width(self) -> int:
        """Samples in a frame."""
        return sum(line.per_frame for line in self.lines)

    def fault(self) -> str:
        """Tell why it cannot be read; empty where it can."""
        name, codes = self.lines[0].file, {line.code for line in self.lines}
        if Path(name).name != name or not self.path.is_file():
            return f"its samples are in {name[:80]}, which is not beside it"
        if len(codes) > 1:
            told = ", ".join(map(str, sorted(codes)))
            return f"{name} has several formats ({told}); the samples of a file have one"
        if self.code in COMPRESSED:
            return (
                f"the samples in {name} are compressed (format {self.code}, FLAC), which crossl "
                "does not read; convert the record to format 16, for example with `xform`"
            )
        if self.code not in BLOCKS:
            known = ", ".join(map(str, BLOCKS))
            return f"{name} is of format {self.code}; crossl reads {known}"
        return ""

    def frames(self) -> int:
        """Count the whole frames that the file holds."""
        return samples_in(self.code, max(0, self.path.stat().st_size - self.offset)) // self.width


@dataclass(frozen=True)
class Place:
    """Where a column is.

    Attributes:
        group: the file of its samples.
        at: its number among the signals there.
    """

    group: Group
    at: int

    @property
    def line(self) -> SignalLine:
        """What the header says of it."""
        return self.group.lines[self.at]


@dataclass(frozen=True)
class Record:
    """A record that is not a list of others.

    Attributes:
        path: of its header.
        header: what it says.
        places: where each signal is that can be read, by name.
        left_out: why each other one cannot.
        frames: its length.
        notes: what was assumed, a sentence each.
    """

    path: Path
    header: Header
    places: Mapping[str, Place]
    left_out: Mapping[str, str]
    frames: int
    notes: tuple[str, ...]

    def load(self, names: Sequence[str]) -> NDArray[np.float64]:
        """Read signals of one rate: (frames * samples in a frame, signals), NaN where invalid.

        Raises:
            DataError: their file is cut off, or does not have its checksum.
        """
        return _load(self.places, self.frames, names)


def find_signals(path: Path, header: Header) -> Record:
    """Find the signals of a record in its files.

    Args:
        path: of the header.
        header: of a record that is not a list of others.

    Raises:
        DataError: it has no signals, or none that can be read.
    """
    if not header.signals:
        raise DataError(f"{path}: has no signals; a record with signals is needed")
    notes = list(header.notes)
    names = _names(path, header, notes)
    places, left_out = _places(path, header, names)
    frames = _length(path, header, places, notes)
    if any(place.line.gain is None for place in places.values()):
        notes.append(
            f"{path.name} does not give the gain of every signal; {DEFAULT_GAIN:g} steps per unit "
            "count, as the format says: values are not measured ones"
        )
    return Record(path, header, places, left_out, frames, tuple(notes))


def _names(path: Path, header: Header, notes: list[str]) -> list[str]:
    told = [line.name for line in header.signals]
    names = unique_names(told)
    if names != told:
        changed = [f"'{new}'" for new, old in zip(names, told, strict=True) if new != old]
        notes.append(
            f"{path.name} gives some signals no name of their own; they are called "
            f"{', '.join(changed[:8])}{' and so on' if len(changed) > 8 else ''}"
        )
    return names


def _places(
    path: Path, header: Header, names: Sequence[str]
) -> tuple[dict[str, Place], dict[str, str]]:
    """Find each signal in its file; say why of those that cannot be read."""
    files: dict[str, list[int]] = {}
    for number, line in enumerate(header.signals):
        files.setdefault(line.file, []).append(number)
    places: dict[str, Place] = {}
    left_out: dict[str, str] = {}
    for name, members in files.items():
        lines = tuple(header.signals[n] for n in members)
        group = Group(path.parent / name if name else path, tuple(members), lines)
        fault = group.fault()
        for at, number in enumerate(members):
            if fault:
                left_out[names[number]] = fault
            else:
                places[names[number]] = Place(group, at)
    if not places:
        raise DataError(f"{path}: {next(iter(left_out.values()))}")
    # as the header has them
    return {name: places[name] for name in names if name in places}, left_out


def _length(path: Path, header: Header, places: dict[str, Place], notes: list[str]) -> int:
    """Return the frames of the record; by its files where the header does not tell."""
    frames = header.frames
    held = {place.group.path.name: place.group.frames() for place in places.values()}
    if frames is None:
        frames = min(held.values())
        if not frames:
            raise DataError(f"{path}: gives no length, and its files hold no whole frame")
        notes.append(f"{path.name} gives no length; its files hold {frames} frames")
    more = [name for name, count in held.items() if count > frames]
    if more:
        notes.append(f"{more[0]} holds {held[more[0]]} frames; the header says {frames}, read")
    return frames


def _load(columns: Mapping[str, Place], frames: int, names: Sequence[str]) -> NDArray[np.float64]:
    wanted: dict[Path, list[str]] = {}
    for name in names:
        wanted.setdefault(columns[name].group.path, []).append(name)
    values = {}
    for members in wanted.values():
        group = columns[members[0]].group
        held = group.frames()
        if held < frames:
            raise DataError(
                f"{group.path}: is cut off: it holds {held} frames and the header says {frames}; "
                "fetch it again"
            )
        widths = [line.per_frame for line in group.lines]
        numbers = sorted({columns[name].at for name in members})
        raw = read_frames(group.path, group.code, offset=group.offset, frames=frames,
                          widths=widths, wanted=numbers)  # fmt: skip
        for name in members:
            values[name] = _physical(name, columns[name], raw[columns[name].at])
    return np.stack([values[name] for name in names], axis=1)


def _physical(name: str, place: Place, raw: NDArray[np.int64]) -> NDArray[np.float64]:
    line = place.line
    if line.code == 8:  # differences, the first one to the first value
        raw = np.cumsum(raw) + (line.first or 0)
    _check_sum(name, place, raw)
    out = (raw - line.baseline) / (line.gain or DEFAULT_GAIN)
    if line.code in INVALID:
        out[raw == INVALID[line.code]] = np.nan
    if line.skew:
        late = min(line.skew * line.per_frame, len(out))
        out = np.concatenate([out[late:], np.full(late, np.nan)])
    return out


def _check_sum(name: str, place: Place, raw: NDArray[np.int64]) -> None:
    line = place.line
    if line.checksum is None or not (line.checksum or line.first):
        return  # two zeros are what writers put that do not count
    if (int(raw.sum()) - line.checksum) % 65536:
        raise DataError(
            f"{place.group.path}: the checksum of '{name}' is {int(raw.sum()) % 65536}; the "
            f"header says {line.checksum % 65536}, the file is damaged"
        )
