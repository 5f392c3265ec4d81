"""Live: chunks of samples in, labelled windows out as soon as they are decided.

The windows are those that `crossl predict` cuts from the recording that the chunks add up to, to
the bit. Each goes through the network alone, so that no bit of what is said of it depends on
chunks; `predict` computes many at a time, which differs by rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from crossl.data.batch import Batch
from crossl.data.cut_windows import Window
from crossl.data.neighbours import Places
from crossl.data.recording import Float32, Signal
from crossl.data.recording_windows import places_of
from crossl.data.windower import Windower
from crossl.data.windows import last_number, starts_of
from crossl.embedding.in_memory import embedding_of, with_neighbours
from crossl.errors import ConfigError, DataError, nearest
from crossl.evaluate.confidence import Temperatures
from crossl.evaluate.probe import Probe
from crossl.nn.finite import check_finite, check_reach
from crossl.nn.model import CrossModalModel
from crossl.predict.chunks import RateCheck, signals_of
from crossl.predict.manner import check_abstain
from crossl.predict.tables import PREFIX
from crossl.predict.timeline import (
    NOTHING,
    Timeline,
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
        embedding: (D,) of the window, NaN where there is none.
    """

    start_s: float
    end_s: float
    window: bool
    label: str
    outputs: Mapping[str, float]
    present: Mapping[str, bool]
    reason: str
    embedding: Float32 = field(repr=False, compare=False)


@dataclass(frozen=True)
class _Read:
    """A window that went through the network."""

    number: int
    start_s: float
    present: NDArray[np.bool_]
    read: Float32
    embedding: Float32
    reason: str


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
        temperatures: of the probe, which calibrate probabilities.
        abstain: a window whose most probable class has less gets no label.
        origin_unix_s: where the clock's 0 lies on the calendar; None where nothing tells.
        zone: IANA name; empty where it is not known.

    Raises:
        ConfigError: `abstain` is no probability, or the classifier has no classes.
    """

    def __init__(
        self,
        model: CrossModalModel,
        probe: Probe,
        windower: Windower,
        *,
        temperatures: Temperatures | None = None,
        abstain: float | None = None,
        origin_unix_s: float | None = None,
        zone: str = "",
    ) -> None:
        check_abstain("abstain", abstain, probe)
        self.windower, self.modalities = windower, model.modalities
        self.names = tuple(probe.task.names[i] for i in probe.classes)
        self.kind = probe.task.target.kind
        self.origin_unix_s, self.zone = origin_unix_s, zone
        self._model, self._probe, self._abstain = model, probe, abstain
        self._temperatures = temperatures
        self._embed = embedding_of(model, probe.head)
        self._weight, self._bias = probe.affine()
        self._ahead, self._behind = max(0, *probe.offsets), -min(0, *probe.offsets)
        self._rates: dict[str, RateCheck] = {}
        self._ignored: frozenset[str] = frozenset()
        self._held: list[_Read] = []
        self._done = 0
        self._next = 0
        self._end_s = -inf
        if next(model.parameters()).device.type == "cpu":
            model.prepare_for_few_windows()

    @property
    def columns(self) -> list[str]:
        """Names of what `as_dict` returns, in order; those of the tables of `crossl predict`."""
        return ["start_time", "end_time", "start_s", "end_s", "label",
                *(f"{PREFIX[self.kind]}{name}" for name in self.names),
                *(f"present_{m.name}" for m in self.modalities), "reason"]  # fmt: skip

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

    def push(self, modality: str, times: ArrayLike, values: Any) -> list[LiveRow]:
        """Take samples of one sensor, and return what is decided now.

        Args:
            modality: name of the sensor.
            times: seconds on one clock for all sensors: of the first sample, or (n,) of each.
            values: (n, channels), in the units of the run; (n,) of one channel; NaN where missing.

        Returns:
            Windows in order, each once, and stretches of time without.

        Raises:
            ContractError: another rate or number of channels than the run was made for.
            DataError: an unknown sensor, or numbers that cannot be used.
        """
        expected, where = self.windower.expected(modality), f"{WHERE}: '{modality}'"
        if expected is None:
            raise ConfigError(
                f"{where} may have any rate, which its times do not tell; give signals (feed)"
            )
        rate = self._rates.setdefault(modality, RateCheck(where, expected.rate_hz))
        rows = []
        for chunk in signals_of(where, expected, times, values, rate):
            rows += self.feed({modality: chunk})
        return rows

    def feed(self, chunks: Mapping[str, Signal]) -> list[LiveRow]:
        """Take chunks of any sensors, and return what is decided now; see `Windower.feed`.

        Raises:
            DataError: see `Windower.feed`.
        """
        windows = self.windower.feed(chunks)
        for chunk in chunks.values():
            if len(chunk.values):
                self._end_s = max(self._end_s, chunk.end_s)
        return self._decided(windows)

    def advance(self, now_s: float) -> list[LiveRow]:
        """Say that time has come to `now_s`, so that nobody waits for silent sensors.

        Raises:
            DataError: it is no number.
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
        windows = self.windower.flush(end_s=self._end_s)
        return [*self._decided(windows, over=True), *self._last_gap()]

    def as_dict(self, row: LiveRow) -> dict[str, Any]:
        """Return a row as JSON values by the columns of a timeline; null for what is not known."""
        when = self.timeline([]).when
        dates = [when(time_s) for time_s in (row.start_s, row.end_s)]
        told = [date.isoformat(timespec="milliseconds") if date else None for date in dates]
        outputs = [None if np.isnan(value) else value for value in row.outputs.values()]
        values = [*told, row.start_s, row.end_s, row.label, *outputs, *row.present.values(),
                  row.reason]  # fmt: skip
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
        )  # fmt: skip

    def _decided(self, windows: Sequence[Window], *, over: bool = False) -> list[LiveRow]:
        """Read windows, and say something of those whose neighbours are known."""
        self._held += [self._through(window) for window in windows]
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

    def _through(self, window: Window) -> _Read:
        """Take one window through the network and the affine map of the probe."""
        found = {name: x for name, x in window.signals.items() if name not in self._ignored}
        present = np.array([m.name in found for m in self.modalities])
        width = self._weight.shape
        read, embedding = np.full(width[0], np.nan, np.float32), self._nothing
        if not present.any():
            return _Read(window.number, window.start_s, present, read, embedding, NOTHING)
        signals = {}
        for m in self.modalities:
            x = np.zeros((1, self.windower.spec.samples(m), len(m.channels)), dtype=np.float32)
            x[0] = found.get(m.name, 0.0)
            signals[m.name] = torch.from_numpy(x)
        batch = Batch(signals, torch.from_numpy(present[None]))
        reason = ""
        try:
            with torch.inference_mode():
                check_reach("window", self._model.standardiser, signals)
                moved = batch.to(next(self._model.parameters()).device)
                embedded = self._embed(self._model.latent(moved), moved.present)
                check_finite("window", embedded, signals)
            embedding = embedded[0].astype(np.float32)
            read = (embedded @ self._weight.T + self._bias)[0].astype(np.float32)
        except DataError as error:  # the stream goes on
            reason = str(error)
        return _Read(window.number, window.start_s, present, read, embedding, reason)

    @cached_property
    def _nothing(self) -> Float32:
        return np.full(self._weight.shape[1], np.nan, dtype=np.float32)

    def _said(self, place: int) -> LiveRow:
        """Say what a window is, by itself and its neighbours."""
        one, probe = self._held[place], self._probe
        near = [i for i, other in enumerate(self._held)
                if -self._behind <= other.number - one.number <= self._ahead]  # fmt: skip
        some = [self._held[i] for i in near]
        start_s = np.array([other.start_s for other in some])
        places = _Some(places_of(start_s, self.windower.spec))
        read = np.stack([other.read for other in some])
        outputs = with_neighbours(probe, read, places)[near.index(place)][None]
        present = one.present[None]
        if self._temperatures is not None:
            outputs = np.divide(outputs, self._temperatures.of(present)[:, None], dtype=np.float32)
        label, found = said_of(probe, outputs)
        reason = np.array([one.reason])
        if self._abstain is not None:
            label, reason = without_unsure(label, reason, found, self._abstain)
        return self._row(one.start_s, one.start_s + self.windower.spec.window_s,
                         label=str(label[0]), outputs=found[0], present=one.present,
                         reason=str(reason[0]), read=one)  # fmt: skip

    def _row(
        self,
        start_s: float,
        end_s: float,
        *,
        label: str = "",
        outputs: Float32 | None = None,
        present: NDArray[np.bool_] | None = None,
        reason: str,
        read: _Read | None = None,
    ) -> LiveRow:
        values = [np.nan] * len(self.names) if outputs is None else outputs.tolist()
        there = [False] * len(self.modalities) if present is None else present.tolist()
        return LiveRow(
            start_s, end_s, read is not None, label,
            dict(zip(self.names, values, strict=True)),
            dict(zip((m.name for m in self.modalities), there, strict=True)),
            reason, self._nothing if read is None else read.embedding,
        )  # fmt: skip

    def _gap(self, first: int, last: int) -> LiveRow:
        origin_s, spec = self.windower.origin_s, self.windower.spec
        assert origin_s is not None  # noqa: S101 - windows were numbered
        begin_s, end_s = starts_of(np.array([first, last]), origin_s, spec).tolist()
        return self._row(begin_s, end_s + spec.window_s, reason=NOTHING)

    def _last_gap(self) -> Iterator[LiveRow]:
        """Yield the stretch behind the last window, or all of it if it was shorter than one."""
        begin_s, spec = self.windower.origin_s, self.windower.spec
        if begin_s is None or self._end_s == -inf:
            return
        last = last_number(WHERE, begin_s, self._end_s, spec)
        if last < 0:
            yield self._row(begin_s, self._end_s, reason=too_short(self._end_s - begin_s, spec))
        elif last >= self._next:
            yield self._gap(self._next, int(last))
