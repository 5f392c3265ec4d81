"""Windower: chunks of any size of any modality in, windows out as soon as they are decided.

The one place where windows are cut, from streams as from whole recordings: what it yields of
chunks is what it yields of the recording that they make up, bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.arrays import Windows
from crossl.data.calibration import Calibration, streams
from crossl.data.cut_windows import CutSignals, Window
from crossl.data.recording import Float32, Modality, Signal, check_samples
from crossl.data.stream_rules import stream_rules
from crossl.data.track import Track
from crossl.data.windows import (
    Placed,
    Ranges,
    WindowSpec,
    check_count,
    last_number,
    listed,
    numbers_touched,
    starts_of,
)
from crossl.errors import DataError, nearest

WHERE = "windower"


class Windower:
    """Cuts windows from chunks; see `feed`.

    A window is decided once every modality has passed it, has ended, or has been silent for so long
    that nothing of it can come any more; then the same rules hold as for whole recordings. Windows
    come in order, and those in which nothing is present do not come at all. Memory holds what
    undecided windows need, however long the stream.

    - **Silence, and chunks that come late**: what came later than `max_delay_s` behind the newest
      sample of any modality is dropped and counted in `dropped`; what never came is a gap. Chunks
      of one modality may come out of order within that time.
    - **Twice**: a sample that is there already is dropped and counted.
    - **Gaps**: as everywhere, one of up to `max_gap_s` is interpolated, in a longer one the
      modality is absent. To know it, a window waits up to `max_gap_s` more.
    - **The first sample** is known to be the first `max_delay_s` later: so long the first windows
      wait; where chunks come in order, until every modality has begun.
    - **A sensor that begins late** is absent before. One that `end` closes may lack up to
      `max_gap_s` in its last window; one that falls silent without is taken to have a gap there.

    Args:
        modalities: what windows hold, in order.
        spec: how they are cut.
        max_delay_s: how far behind the newest sample a chunk may begin, seconds: at least the
            length of a chunk and what its transport takes. Infinite to wait for everything.
        start_s: start of the first window; None for the earliest sample.
        recorded_hz: rate of chunks, by name of the modalities whose rate is to be changed to that
            of windows, through an anti-alias filter; None for whatever rate they have. See
            `RateChange` for how close that is to the rate change of a whole recording. Such a
            modality comes 10 samples of the slower rate later.
        in_order: chunks of one modality never change places, as over TCP, Bluetooth and LSL. Then a
            hole between two chunks is a gap at once, and nobody waits for what could fill it.
        calibration: by which statistics of the stream windows are standardised as they come; None
            for none. To the bit as windows of a store, see `Calibration`.

    Raises:
        ContractError: the calibration needs the whole recording.
        DataError: a window holds no sample of a modality, a name is duplicate or unknown, rates are
            out of reach of each other, or `max_delay_s` is negative.

    Examples:
        >>> acc = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)
        >>> windower = Windower([acc], WindowSpec(window_s=2, stride_s=1))
        >>> second = np.zeros((50, 3), dtype=np.float32)
        >>> for t in range(4):
        ...     windows = windower.feed({"acc": Signal(second, 50.0, start_s=t)})
        ...     print([window.start_s for window in windows])
        []
        []
        [0.0, 1.0]
        [2.0]
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        spec: WindowSpec,
        *,
        max_delay_s: float = 2.0,
        start_s: float | None = None,
        recorded_hz: Mapping[str, float | None] | None = None,
        in_order: bool = False,
        calibration: Calibration | None = None,
    ) -> None:
        if not max_delay_s >= 0:
            raise DataError(f"{WHERE}: max_delay_s is {max_delay_s}; allowed is 0 or more")
        self.modalities = tuple(modalities)
        self.spec = spec
        self.max_delay_s = max_delay_s
        self._tracks = {m.name: Track(m, spec, in_order=in_order) for m in modalities}
        if len(self._tracks) < len(self.modalities):
            raise DataError(f"{WHERE}: a modality occurs twice; each may occur once")
        for name, rate_hz in (recorded_hz or {}).items():
            self._track(name).let_change(rate_hz)
        self._streams = streams(WHERE, self.modalities, calibration)
        self._origin_s = start_s
        self._newest_s = -inf
        self._told_s = -inf
        self._next = 0.0
        self._over = False

    @classmethod
    def from_contract(
        cls,
        contract: Mapping[str, Any],
        *,
        max_delay_s: float = 2.0,
        start_s: float | None = None,
        in_order: bool = False,
        resample: Sequence[str] = (),
    ) -> Windower:
        """Make the windower that cuts as the windows of a run, or of a store, were cut.

        Args:
            contract: of a loaded run (`load_run(path).contract`), or a store's manifest.
            max_delay_s: see `Windower`.
            start_s: see `Windower`.
            in_order: see `Windower`.
            resample: modalities whose chunks may have any rate, beside those that the contract
                names.

        Returns:
            A windower. Of a run that calibrates windows by their recording, it does so.

        Raises:
            ContractError: the contract does not say how windows are cut, as those of older runs
                and of models fitted on arrays; this version cannot change rates as it says; or the
                run calibrates windows by their whole recording.
            DataError: a modality that may have any rate is unknown.
        """
        rules = stream_rules(contract, where=WHERE, resample=resample)
        return cls(
            rules.modalities,
            rules.spec,
            max_delay_s=max_delay_s,
            start_s=start_s,
            in_order=in_order,
            calibration=rules.calibration,
            recorded_hz=rules.recorded_hz,
        )

    def arrays(self, windows: Sequence[Window]) -> Windows:
        """Stack windows of this windower, as `CroSSL` and a loaded run take them.

        Args:
            windows: at least one.

        Returns:
            {modality: (n, time, channel) float32}, NaN where a modality was not present.
        """
        arrays: dict[str, Float32] = {}
        for name, track in self._tracks.items():
            shape = (len(windows), track.samples, len(track.modality.channels))
            arrays[name] = np.full(shape, np.nan, dtype=np.float32)
            for row, window in enumerate(windows):
                if name in window.signals:
                    arrays[name][row] = window.signals[name]
        return Windows(arrays, calibrated=self._streams is not None)

    @property
    def origin_s(self) -> float | None:
        """Start of window 0, seconds on the clock of the chunks; None while it is not settled."""
        return self._origin_s

    @property
    def decided(self) -> int:
        """The number of the first window that is not decided yet."""
        return int(self._next)

    def expected(self, modality: str) -> Modality | None:
        """Return a modality as its chunks must be; None where they may have any rate.

        Raises:
            DataError: an unknown modality.
        """
        return self._track(modality).comes_as

    @property
    def dropped(self) -> dict[str, int]:
        """Samples by modality that came twice, or after their time was settled."""
        return {name: track.arrivals.dropped for name, track in self._tracks.items()}

    @property
    def held(self) -> int:
        """How many samples are held, of all modalities, in order and waiting."""
        return sum(track.held for track in self._tracks.values())

    def feed(self, chunks: Mapping[str, Signal]) -> list[Window]:
        """Take chunks and return the windows that are decided now.

        Args:
            chunks: consecutive samples by modality, NaN where missing; of any length, and of any
                modalities. Those of one call count as having come at once.

        Returns:
            Windows in order, each once.

        Raises:
            DataError: an unknown modality, or one that has ended; another number of channels, rate
                or type; infinite values; or windows start far more often than samples come.
        """
        self._check_open()
        for name, chunk in chunks.items():
            track = self._track(name)
            check_samples(f"{WHERE}: a chunk of '{name}'", track.expected(chunk.rate_hz), chunk)
            if track.ended:
                raise DataError(f"{WHERE}: '{name}' has ended; no more of it can come")
        # whoever records may use their memory again
        self._take({n: replace(c, values=c.values.copy()) for n, c in chunks.items()})
        return self._windows()

    def advance(self, now_s: float) -> list[Window]:
        """Say that time has come to `now_s`, so that nobody waits for a silent sensor.

        Args:
            now_s: seconds on the clock of the chunks.

        Raises:
            DataError: it is not a number.
        """
        self._check_open()
        if not isfinite(now_s):
            raise DataError(f"{WHERE}: time is {now_s}; a number is needed")
        self._newest_s = max(self._newest_s, now_s)
        return self._windows()

    def end(self, modality: str) -> list[Window]:
        """Say that no more of a modality comes: nothing waits for it any more.

        Raises:
            DataError: an unknown modality.
        """
        self._check_open()
        self._track(modality).ended = True
        return self._windows()

    def flush(self, *, end_s: float = -inf) -> list[Window]:
        """Say that nothing comes any more, and return the last windows.

        Args:
            end_s: end of the recording, where a sensor that windows do not hold ran on longer.
        """
        self._check_open()
        self._told_s = end_s
        self._end_all()
        return self._windows()

    def cut_whole(self, signals: Mapping[str, Signal], *, end_s: float) -> CutSignals:
        """Cut whole signals at once, keeping every sample of them as recorded, as a store does.

        Args:
            signals: by modality.
            end_s: end of the recording, of whatever sensor.

        Raises:
            DataError: as `feed`, of signals that `Recording` has checked.
        """
        self._take(signals)
        self._told_s = end_s
        self._end_all()
        self._release()
        origin_s = self._settled_origin()
        if origin_s is None:
            return self._placed(np.zeros(0, dtype=np.int64), 0.0, whole=True)
        return self._placed(listed(self._decided(origin_s)), origin_s, whole=True)

    def _check_open(self) -> None:
        if self._over:
            raise DataError(f"{WHERE}: was flushed; make a new one for another recording")

    def _track(self, name: str) -> Track:
        if name not in self._tracks:
            raise DataError(f"{WHERE}: modality '{name}'; {nearest(name, self._tracks)}")
        return self._tracks[name]

    def _take(self, chunks: Mapping[str, Signal]) -> None:
        settled_s = self._settled_s
        for name, chunk in chunks.items():
            self._track(name).arrivals.add(chunk, settled_s)
            if len(chunk.values):
                newest_s = chunk.start_s + (len(chunk.values) - 1) / chunk.rate_hz
                self._newest_s = max(self._newest_s, newest_s)

    def _end_all(self) -> None:
        self._over = True
        for track in self._tracks.values():
            track.ended = True

    @property
    def _settled_s(self) -> float:
        return self._newest_s - self.max_delay_s

    def _release(self) -> None:
        for track in self._tracks.values():
            track.release(self._settled_s)

    def _settled_origin(self) -> float | None:
        """Return when window 0 starts, once nothing earlier can come."""
        if self._origin_s is None:
            earliest_s = min(track.arrivals.earliest_s for track in self._tracks.values())
            begun = all(t.ended or t.start_s is not None for t in self._tracks.values())
            if earliest_s < inf and (begun or earliest_s <= self._settled_s):
                self._origin_s = earliest_s
        return self._origin_s

    def _decided(self, origin_s: float) -> Ranges:
        """Return the numbers of windows that are decided now and were not before."""
        tracks = self._tracks.values()
        until_s = max(self._told_s, *(track.end_s for track in tracks))
        if until_s == -inf:
            return []
        last = last_number(WHERE, origin_s, until_s, self.spec)
        for track in tracks:
            last = min(last, track.last_decided(origin_s, self._settled_s, self.spec))
        if last < self._next:
            return []
        spans_s = [span for track in tracks for span in track.spans_s()]
        ranges = numbers_touched(spans_s, origin_s, (self._next, last), self.spec)
        held = [track.buffer.held for track in tracks if track.buffer is not None]
        check_count(WHERE, ranges, max(held, default=0), self.spec)
        self._next = last + 1
        return ranges

    def _windows(self) -> list[Window]:
        self._release()
        origin_s = self._settled_origin()
        if origin_s is None:
            return []
        windows: list[Window] = []
        for one in self._decided(origin_s):
            windows += self._listed(self._placed(listed([one]), origin_s))
        self._forget(origin_s)
        return windows

    def _placed(
        self, number: NDArray[np.int64], origin_s: float, *, whole: bool = False
    ) -> CutSignals:
        """Place decided windows; those in which nothing is present are left out."""
        start_s = starts_of(number, origin_s, self.spec)
        offsets = np.full((len(number), len(self._tracks)), -1, dtype=np.int64)
        placed: dict[str, Placed] = {}
        for column, (name, track) in enumerate(self._tracks.items()):
            if track.buffer is None or not (len(number) or whole):
                continue
            first = track.first(start_s)
            place = track.buffer.place_in_all if whole else track.buffer.place
            placed[name] = place(first)
            offsets[:, column] = placed[name].first
        some = (offsets >= 0).any(axis=1)
        return CutSignals(
            {name: one.values for name, one in placed.items()},
            number[some],
            start_s[some],
            offsets[some],
            {name: one.interpolated for name, one in placed.items()},
        )

    def _listed(self, cut: CutSignals) -> list[Window]:
        windows = []
        for row, number in enumerate(cut.number.tolist()):
            signals, recorded = {}, {}
            for column, (name, track) in enumerate(self._tracks.items()):
                first = int(cut.offsets[row, column])
                if first >= 0:
                    view = cut.signals[name][first : first + track.samples]
                    view.flags.writeable = False
                    recorded[name] = view
                    if self._streams is not None:
                        begin = track.first(cut.start_s[row : row + 1])
                        view = self._streams[name].next(int(begin[0]), view)
                    view.flags.writeable = False
                    signals[name] = view
            windows.append(Window(number, float(cut.start_s[row]), signals, recorded))
        return windows

    def _forget(self, origin_s: float) -> None:
        start_s = starts_of(np.array([self._next]), origin_s, self.spec)
        for track in self._tracks.values():
            if track.buffer is not None and isfinite(float(start_s[0])):
                track.buffer.forget(int(track.first(start_s)[0]))
