"""Lines of text to chunks: JSON lines, or CSV with a column for each channel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from crossl.data.recording import Modality
from crossl.errors import DataError
from crossl.stream.messages import UNSEEN, read_message
from crossl.stream.source import Chunk, Facts

MOST_BYTES = 16 * 2**20
"""Of a line."""
STEP_S = 0.25
"""Length of the chunks that rows of CSV are cut into, at most."""
TIME = ("time", "time_s")
"""Names of the column of times, seconds."""
DELIMITERS = (",", ";", "\t")

Numbered: TypeAlias = list[tuple[int, str]]
"""Lines with their numbers."""


class LineDecoder:
    """Decodes what comes of a text, in pieces of any length.

    What begins with `{` or `[` is JSON, a message a line (see `read_message`); anything else is CSV
    with a header: `time` in seconds, and a column `SENSOR_CHANNEL` for each channel (`SENSOR` is
    enough for one). A cell without a number is missing, a row without any number of a sensor holds
    no sample of it.

    Args:
        where: names the text in messages.
        wanted: the run's sensors.
    """

    def __init__(self, where: str, wanted: Mapping[str, Modality]) -> None:
        self._where, self._wanted = where, wanted
        self._rest = b""
        self._count = 0
        self._table: _Table | None = None
        self._is_json: bool | None = None

    def feed(self, data: bytes) -> list[Facts | Chunk]:
        """Take bytes, and return what the lines in them say that are whole.

        Raises:
            DataError: a line that cannot be understood; names its number.
        """
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MOST_BYTES:
            raise DataError(
                f"{self._where}: line {self._count + len(whole) + 1}: is longer than "
                f"{MOST_BYTES // 2**20} MiB; shorter ones are needed"
            )
        return self._lines(whole)

    def close(self) -> list[Facts | Chunk]:
        """Return what a last line says that no line end follows."""
        whole, self._rest = [self._rest], b""
        return self._lines(whole)

    def _lines(self, whole: Sequence[bytes]) -> list[Facts | Chunk]:
        lines: Numbered = []
        for raw in whole:
            self._count += 1
            try:
                text = raw.decode("utf-8-sig" if self._count == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise DataError(f"{self._at(self._count)}: is not UTF-8 text") from None
            if text:
                lines.append((self._count, text))
        if not lines:
            return []
        if self._is_json is None:
            self._is_json = lines[0][1][0] in "{["
        if self._is_json:
            return [item for number, text in lines
                    for item in read_message(self._at(number), text, self._wanted)]  # fmt: skip
        found: list[Facts | Chunk] = []
        if self._table is None:
            self._table = _Table(self._where, lines[0], self._wanted)
            found, lines = [self._table.facts], lines[1:]
        return [*found, *self._table.chunks(lines)]

    def _at(self, number: int) -> str:
        return f"{self._where}: line {number}"


class _Table:
    """What the header of a CSV says, and rows by it."""

    def __init__(self, where: str, header: tuple[int, str], wanted: Mapping[str, Modality]) -> None:
        self._where, text = where, header[1]
        self._delimiter = max(DELIMITERS, key=text.count)
        self._names = [name.strip().strip('"') for name in text.split(self._delimiter)]
        at = f"{where}: line {header[0]}"
        double = {name for name in self._names if self._names.count(name) > 1}
        if double:
            raise DataError(f"{at}: has the column '{min(double)}' twice; each may occur once")
        self._time = next((i for i, name in enumerate(self._names) if name in TIME), None)
        if self._time is None:
            raise DataError(
                f"{at}: has no column of times, got {', '.join(self._names)[:200]}; one named "
                "'time', in seconds, is needed, or JSON lines"
            )
        self._columns = {m.name: _columns_of(at, m, self._names) for m in wanted.values()}
        self._columns = {name: found for name, found in self._columns.items() if found}
        taken = {self._time, *(i for found in self._columns.values() for i in found)}
        others = [name for i, name in enumerate(self._names) if i not in taken]
        sensors = {name: wanted[name] for name in self._columns}
        sensors |= dict.fromkeys(others, UNSEEN)
        self.facts = Facts(sensors, complete=True)

    def chunks(self, lines: Numbered) -> Iterator[Chunk]:
        """Yield a chunk of each sensor that rows hold something of."""
        if not lines:
            return
        rows = np.array([self._row(number, text) for number, text in lines])
        # however much is read at once, no sensor gets ahead of the others
        steps = np.flatnonzero(np.diff(rows[:, self._time] // STEP_S)) + 1
        for some in np.split(rows, steps):
            for name, columns in self._columns.items():
                there = ~np.isnan(some[:, columns]).all(axis=1)
                if there.any():
                    yield Chunk(name, some[there, self._time], some[there][:, columns])

    def _row(self, number: int, text: str) -> list[float]:
        cells = text.split(self._delimiter)
        if len(cells) != len(self._names):
            raise DataError(
                f"{self._where}: line {number}: has {len(cells)} cells; the header has "
                f"{len(self._names)}"
            )
        used = {self._time, *(i for found in self._columns.values() for i in found)}
        out = [np.nan] * len(cells)
        for i in used:
            assert i is not None  # noqa: S101 - there is a column of times
            try:
                out[i] = float(cells[i]) if cells[i].strip() else np.nan
            except ValueError:
                raise DataError(
                    f"{self._where}: line {number}: '{self._names[i]}' is '{cells[i][:40]}'; a "
                    "number is needed, or nothing where it is missing"
                ) from None
        return out


def _columns_of(at: str, modality: Modality, names: Sequence[str]) -> list[int]:
    """Return the columns of a sensor, in the order of its channels; none where it has none."""
    wanted = [f"{modality.name}_{channel}" for channel in modality.channels]
    if len(wanted) == 1 and wanted[0] not in names:
        wanted = [modality.name]
    found = [names.index(name) for name in wanted if name in names]
    if found and len(found) < len(wanted):
        lacking = next(name for name in wanted if name not in names)
        raise DataError(
            f"{at}: has the column '{names[found[0]]}' and not '{lacking}'; all channels of a "
            "sensor are needed, or none"
        )
    return found
