"""Live: chunks of samples in, labelled windows out as soon as they are decided.

The windows are those that `crossl predict` cuts from the recording that the chunks add up to, to
the bit. Each goes through the network alone, so that no bit of what is said of it depends on
chunks; `predict` computes many at a time, which differs by rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossl.data.cut_windows import Window
from crossl.data.neighbours import Places
from crossl.data.rate_change import ratio_of_rates
from crossl.data.recording import Float32, Modality, Signal
from crossl.data.recording_windows import places_of
from crossl.data.timing import RATE_TOLERANCE
from crossl.data.windower import Windower
from crossl.data.windows import last_number, starts_of
from crossl.doctor.units import UnitWatch
from crossl.embedding.in_memory import with_neighbours
from crossl.errors import ContractError, DataError, nearest
from crossl.evaluate.probe import Probe
from crossl.nn.model import CrossModalModel
from crossl.predict.chunks import RateCheck, signals_of
from crossl.predict.manner import Manner
from crossl.predict.one_window import ReadWindow, WindowReader
from crossl.predict.tables import columns_of
from crossl.predict.timeline import (
    NOTHING,
    Timeline,
    labels_of,
    said_of,
    too_short,
    without_unsure,
)

WHERE = "live"


@dataclass(frozen=True)
class LiveRow:
    """What is said of a window, or of a stretch of time without one, as in a timeline.

    Attributes:
        start_s: seconds on the clock of the chunks.
        end_s: seconds.
        window: it is a window; else a stretch without.
        label: what is said; empty where nothing is.
        outputs: by class or label a calibrated probability, or numbers; NaN where nothing is said.
        present: by sensor.
        reason: why nothing is said; empty where something is.
        unusable: which sensors were recorded and are not read, and why; empty where all are.
        set: labels of which one is true with the probability that was asked for.
        embedding: (D,) of the window, NaN where there is none.
    """

    start_s: float
    end_s: float
    window: bool
    label: str
    outputs: Mapping[str, float]
    present: Mapping[str, bool]
    reason: str
    unusable: str
    set: str
    embedding: Float32 = field(repr=False, compare=False)


@dataclass(frozen=True)
class _Some:
    """A few windows, of which it is known which are neighbours."""

    places: Places

    def __len__(self) -> int:
        return len(self.places.step)


class LiveClassifier:
    """Classifies windows of a stream; `Run.live` makes one.

    Args:
        model: in evaluation mode.
        probe: fitted on its embeddings.
        windower: cuts as the run's windows were cut.
        manner: how what the probe says is read, in a causal context or in none.
        origin_unix_s: where the clock's 0 lies on the calendar; None where nothing tells.
        zone: IANA name; empty where it is not known.

    Attributes:
        notes: what a person should know of the samples, a sentence each; see `crossl.doctor.units`.
    """

    def __init__(
        self,
        model: CrossModalModel,
        probe: Probe,
        windower: Windower,
        manner: Manner | None = None,
        *,
        origin_unix_s: float | None = None,
        zone: str = "",
    ) -> None:
        self.windower, self.modalities = windower, model.modalities
        self.names = tuple(probe.task.names[i] for i in probe.classes)
        self.kind = probe.task.target.kind
        self.origin_unix_s, self.zone = origin_unix_s, zone
        self.manner = Manner() if manner is None else manner
        self.notes: list[str] = []
        self._units = UnitWatch(model.modalities)
        self._probe = probe
        self._reader = WindowReader(model, probe, windower.spec, self.manner.usable)
        decoder = self.manner.decoder
        self._follower = None if decoder is None else decoder.follower()
        self._ahead, self._behind = max(0, *probe.offsets), -min(0, *probe.offsets)
        self._rates: dict[str, RateCheck] = {}
        self._ignored: frozenset[str] = frozenset()
        self._held: list[ReadWindow] = []
        self._done = 0
        self._next = 0
        self._end_s = -inf

    @property
    def columns(self) -> list[str]:
        """Names of what `as_dict` returns, in order; those of the tables of `crossl predict`.

        Where unusable sensors are reported, `unusable` is always among them.
        """
        return columns_of(self.timeline([]))

    @property
    def delay_s(self) -> float:
        """Seconds from the last sample of a window until it is said, at least; 0 for most tasks.

        A task that reads the windows behind a window waits for them.
        """
        return self._ahead * self.windower.spec.stride_s

    def ignore(self, sensors: Collection[str]) -> None:
        """Treat sensors as absent from now on, whatever comes of them.

        Args:
            sensors: names; none to use all again.

        Raises:
            DataError: an unknown sensor.
        """
        known = [m.name for m in self.modalities]
        for name in sensors:
            if name not in known:
                raise DataError(f"{WHERE}: sensor '{name}'; {nearest(name, known)}")
        self._ignored = frozenset(sensors)

    def push(
        self, modality: str, times: ArrayLike, values: Any, *, rate_hz: float | None = None
    ) -> list[LiveRow]:
        """Take samples of one sensor, and return what is decided now.

        Args:
            modality: name of the sensor.
            times: seconds on one clock for all sensors: of the first sample, or (n,) of each.
            values: (n, channels), in the units of the run; (n,) of one channel; NaN where missing.
            rate_hz: of a sensor whose rate is changed; None for what the run was made for.

        Returns:
            Windows in order, each once, and stretches of time without.

        Raises:
            ContractError: another rate or number of channels than the run was made for.
            DataError: an unknown sensor, or numbers that cannot be used.
        """
        expected, where = self.expected(modality, rate_hz), f"{WHERE}: '{modality}'"
        rate = self._rates.setdefault(modality, RateCheck(where, expected.rate_hz))
        rows = []
        for chunk in signals_of(where, expected, times, values, rate):
            rows += self.feed({modality: chunk})
        return rows

    def expected(self, modality: str, rate_hz: float | None = None) -> Modality:
        """Return a sensor as its chunks must be.

        Args:
            modality: name of the sensor.
            rate_hz: of its chunks, where the run, or `resample`, lets it be another.

        Raises:
            ContractError: the rate may not be another.
            DataError: an unknown sensor, or rates that are out of reach of each other.
        """
        known = self.windower.expected(modality)
        if known is None:
            (wanted,) = [m for m in self.modalities if m.name == modality]
            if rate_hz is not None:
                ratio_of_rates(rate_hz, wanted.rate_hz)
            return replace(wanted, rate_hz=rate_hz or wanted.rate_hz)
        if (
            rate_hz is not None
            and not abs(rate_hz - known.rate_hz) <= RATE_TOLERANCE * known.rate_hz
        ):
            raise ContractError(
                f"{WHERE}: '{modality}' has {rate_hz:g} Hz; the run was made for {known.rate_hz:g} "
                f"Hz, to change the rate say --resample {modality}"
            )
        return known

    def feed(self, chunks: Mapping[str, Signal]) -> list[LiveRow]:
        """Take chunks of any sensors, and return what is decided now; see `Windower.feed`.

        Raises:
            DataError: see `Windower.feed`.
        """
        windows = self.windower.feed(chunks)
        self.notes += self._units.take(chunks)
        for chunk in chunks.values():
            if len(chunk.values):
                self._end_s = max(self._end_s, chunk.end_s)
        return self._decided(windows)

    def advance(self, now_s: float) -> list[LiveRow]:
        """Say that time has come to `now_s`, so that nobody waits for silent sensors.

        Raises:
            DataError: it is not a number.
        """
        return self._decided(self.windower.advance(now_s))

    def end(self, modality: str) -> list[LiveRow]:
        """Say that no more of a sensor comes.

        Raises:
            DataError: an unknown sensor.
        """
        return self._decided(self.windower.end(modality))

    def finish(self, *, end_s: float | None = None) -> list[LiveRow]:
        """Say that nothing comes any more, and return what is left.

        Args:
            end_s: when the recording ended, where that was after the last sample.
        """
        self._end_s = max(self._end_s, -inf if end_s is None else end_s)
        self.notes += self._units.rest()
        windows = self.windower.flush(end_s=self._end_s)
        return [*self._decided(windows, over=True), *self._last_gap()]

    def as_dict(self, row: LiveRow) -> dict[str, Any]:
        """Return a row as JSON values by the columns of a timeline; null for what is not known."""
        when = self.timeline([]).when
        dates = [when(time_s) for time_s in (row.start_s, row.end_s)]
        told = [date.isoformat(timespec="milliseconds") if date else None for date in dates]
        outputs = [None if np.isnan(value) else value for value in row.outputs.values()]
        sets = [] if self.manner.sets is None else [row.set]
        unusable = [] if self.manner.usable is None else [row.unusable]
        values = [*told, row.start_s, row.end_s, row.label, *sets, *outputs,
                  *row.present.values(), *unusable, row.reason]  # fmt: skip
        return dict(zip(self.columns, values, strict=True))

    def timeline(self, rows: Sequence[LiveRow], *, subject: str = "") -> Timeline:
        """Return rows as a timeline, such as `crossl predict` makes.

        Args:
            rows: of this classifier.
            subject: who.
        """
        outputs = [[*row.outputs.values()] for row in rows]
        present = [[*row.present.values()] for row in rows]
        return Timeline(
            subject, "", self.origin_unix_s, self.zone, self.windower.spec, self.names, self.kind,
            tuple(m.name for m in self.modalities),
            np.array([row.start_s for row in rows], dtype=np.float64),
            np.array([row.end_s for row in rows], dtype=np.float64),
            np.array([row.window for row in rows], dtype=np.bool_),
            np.array([row.label for row in rows], dtype=np.str_),
            np.array([row.reason for row in rows], dtype=np.str_),
            np.array([""] * len(rows), dtype=np.str_),
            np.array(outputs, dtype=np.float32).reshape(len(rows), len(self.names)),
            np.array(present, dtype=np.bool_).reshape(len(rows), len(self.modalities)),
            self._texts(rows, "unusable") if self.manner.usable is not None else None,
            self._texts(rows, "set") if self.manner.sets is not None else None,
        )  # fmt: skip

    @staticmethod
    def _texts(rows: Sequence[LiveRow], name: str) -> NDArray[np.str_]:
        return np.array([getattr(row, name) for row in rows], dtype=np.str_)

    def _decided(self, windows: Sequence[Window], *, over: bool = False) -> list[LiveRow]:
        """Read windows, and say something of those whose neighbours are known."""
        self._held += [self._reader.read(window, self._ignored) for window in windows]
        upto = inf if over else self.windower.decided - self._ahead
        rows: list[LiveRow] = []
        while self._done < len(self._held) and self._held[self._done].number < upto:
            one = self._held[self._done]
            if one.number > self._next:
                rows.append(self._gap(self._next, one.number - 1))
            rows.append(self._said(self._done))
            self._next = one.number + 1
            self._done += 1
        needed = self._next - self._behind
        first = next((i for i, one in enumerate(self._held[: self._done])
                      if one.number >= needed), self._done)  # fmt: skip
        self._held, self._done = self._held[first:], self._done - first
        return rows

    def _said(self, place: int) -> LiveRow:
        """Say what a window is, by itself, its neighbours, and what came before."""
        one, manner = self._held[place], self.manner
        near = [i for i, other in enumerate(self._held)
                if -self._behind <= other.number - one.number <= self._ahead]  # fmt: skip
        some = [self._held[i] for i in near]
        places = places_of(np.array([other.start_s for other in some]), self.windower.spec)
        read = np.stack([other.read for other in some])
        outputs = with_neighbours(self._probe, read, _Some(places))[near.index(place)][None]
        present = one.present[None]
        label, found = said_of(self._probe, manner.calibrated(outputs, present))
        if self._follower is not None:
            found = self._follower.next(found[0], one.start_s)[None].astype(np.float32)
            label = labels_of(self.names, found)
        reason, sets = np.array([one.reason]), manner.set_of(self.names, found, present)
        if manner.abstain is not None:
            label, reason = without_unsure(label, reason, found, self.names, manner.abstain)
        return LiveRow(
            one.start_s, one.start_s + self.windower.spec.window_s, True, str(label[0]),
            self._by_name(found[0].tolist()), self._by_sensor(one.present.tolist()),
            str(reason[0]), one.unusable, "" if sets is None else str(sets[0]), one.embedding,
        )  # fmt: skip

    def _without(self, start_s: float, end_s: float, reason: str) -> LiveRow:
        outputs = self._by_name([np.nan] * len(self.names))
        present = self._by_sensor([False] * len(self.modalities))
        return LiveRow(start_s, end_s, False, "", outputs, present, reason, "", "",
                       self._reader.nothing)  # fmt: skip

    def _by_name(self, values: Sequence[float]) -> dict[str, float]:
        return dict(zip(self.names, values, strict=True))

    def _by_sensor(self, values: Sequence[bool]) -> dict[str, bool]:
        return dict(zip((m.name for m in self.modalities), values, strict=True))

    def _gap(self, first: int, last: int) -> LiveRow:
        origin_s, spec = self.windower.origin_s, self.windower.spec
        assert origin_s is not None  # noqa: S101 - windows were numbered
        begin_s, end_s = starts_of(np.array([first, last]), origin_s, spec).tolist()
        return self._without(begin_s, end_s + spec.window_s, NOTHING)

    def _last_gap(self) -> Iterator[LiveRow]:
        """Yield the stretch behind the last window, or all of it if it was shorter than one."""
        begin_s, spec = self.windower.origin_s, self.windower.spec
        if begin_s is None or self._end_s == -inf:
            return
        last = last_number(WHERE, begin_s, self._end_s, spec)
        if last < 0:
            yield self._without(begin_s, self._end_s, too_short(self._end_s - begin_s, spec))
        elif last >= self._next:
            yield self._gap(self._next, int(last))
