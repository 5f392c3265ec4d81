"""Session: what a source yields, held against the run and labelled, whatever happens to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from math import inf
from time import monotonic
from typing import Any, TypeAlias

from crossl.data.contract import check_modality
from crossl.data.recording import Modality, Signal
from crossl.errors import ContractError, DataError, counted, nearest
from crossl.predict.chunks import RateCheck, signals_of
from crossl.predict.live import LiveClassifier, LiveRow
from crossl.stream.pace import Pace
from crossl.stream.source import Chunk, Facts, Source

RESTART_S = 30.0
"""A clock that jumps back by more was set anew: another recording begins."""
SILENT_S = 10.0
"""After so long without anything, and so often about samples that were dropped, a note is made."""

Said: TypeAlias = dict[str, Any]
"""A row: JSON values by the columns of a timeline."""
Note: TypeAlias = Callable[[str], None]
Open: TypeAlias = Callable[[Facts], LiveClassifier]


@dataclass(frozen=True)
class Wishes:
    """What the person who streams says of the source.

    Attributes:
        without: sensors that will not come, so nobody waits for them.
        jitter_s: by how much times may be off; None for what the source says.
        origin_unix_s: where the clock's 0 lies; None for what the source says.
        zone: in which time zone to tell times; empty for that of the source.
    """

    without: Sequence[str] = ()
    jitter_s: float | None = None
    origin_unix_s: float | None = None
    zone: str = ""


class Session:
    """Labels what one source yields.

    Args:
        open_live: makes a classifier for what a source says of itself.
        modalities: of the run.
        wishes: of the person who streams.
        note: called with what that person should know, a sentence each.

    Attributes:
        live: the classifier; None before the source yields something.
    """

    def __init__(
        self,
        open_live: Open,
        modalities: Sequence[Modality],
        *,
        wishes: Wishes | None = None,
        note: Note = lambda _sentence: None,
    ) -> None:
        self.live: LiveClassifier | None = None
        self._open, self._note, self._wishes = open_live, note, wishes or Wishes()
        self._known = {m.name: m for m in modalities}
        self._facts = Facts()
        self._rates: dict[str, RateCheck] = {}
        self._paces: dict[str, Pace] = {}
        self._newest_s: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._unseen: set[str] = set()
        self._dropped = 0
        self._told_at = -inf
        self._noted: set[str] = set()
        for name in self._wishes.without:
            if name not in self._known:
                raise DataError(f"--without: sensor '{name}'; {nearest(name, self._known)}")

    def take(self, item: Facts | Chunk) -> list[Said]:
        """Take what a source yields, and return the rows that are decided now.

        Raises:
            ContractError: it does not fit the run.
            DataError: it cannot be used.
        """
        if isinstance(item, Facts):
            return self._learn(item)
        said = [] if self.live is not None else self._learn(Facts())
        if not self._is_known(item.sensor):
            return said
        modality, where = self._modality(item.sensor), f"stream: '{item.sensor}'"
        if item.rate_hz is not None:
            modality = replace(modality, rate_hz=item.rate_hz)
        rate = self._rates.setdefault(item.sensor, RateCheck(where, modality.rate_hz))
        jitter_s = self._facts.jitter_s
        for chunk in signals_of(where, modality, item.times, item.values, rate, jitter_s=jitter_s):
            said += self._feed(item.sensor, chunk)
        if item.last:
            said += self._said(self._classifier.end(item.sensor))
        return said

    def silent(self) -> None:
        """Note that nothing came for a while."""
        self._note(f"nothing came for {SILENT_S:g} s; still waiting")

    def finish(self) -> list[Said]:
        """Say that nothing comes any more, and return the last rows.

        Raises:
            ContractError: all that came is of sensors that the run does not know.
        """
        if self.live is None:
            return []
        if self._unseen and not self._rates:
            raise self._strangers(self._unseen)
        said = self._said(self.live.finish(end_s=self._facts.end_s))
        self._tell_dropped(at_once=True)
        return said

    @property
    def _classifier(self) -> LiveClassifier:
        assert self.live is not None  # noqa: S101 - something was yielded
        return self.live

    def _learn(self, facts: Facts) -> list[Said]:
        """Hold what a source says of itself against the run."""
        wishes = self._wishes
        told = replace(
            facts,
            jitter_s=facts.jitter_s if wishes.jitter_s is None else wishes.jitter_s,
            zone=wishes.zone or facts.zone,
            origin_unix_s=(
                facts.origin_unix_s if wishes.origin_unix_s is None else wishes.origin_unix_s
            ),
        )
        first = self.live is None
        known = {n: m for n, m in facts.sensors.items() if self._is_known(n)}
        if facts.sensors and facts.complete and not known:
            raise self._strangers(facts.sensors)
        self._facts = told
        if first:
            self.live = self._open(told)
        for name, modality in known.items():
            wanted = self._classifier.expected(name, modality.rate_hz)
            try:
                check_modality(replace(modality, rate_hz=wanted.rate_hz), wanted)
            except ContractError as error:
                raise ContractError(f"stream: {error}") from None
        return self._end_absent() if first else []

    def _strangers(self, found: Iterable[str]) -> ContractError:
        return ContractError(
            f"stream: has no sensor that the run knows, got {', '.join(sorted(found))}; at least "
            f"one of {', '.join(self._known)} is needed"
        )

    def _end_absent(self) -> list[Said]:
        absent = set(self._wishes.without)
        if self._facts.complete:
            absent |= set(self._known) - set(self._facts.sensors)
        return [one for name in self._known if name in absent
                for one in self._said(self._classifier.end(name))]  # fmt: skip

    def _is_known(self, name: str) -> bool:
        if name in self._wishes.without:
            return False
        if name not in self._known and name not in self._unseen:
            self._unseen.add(name)
            self._note(f"sensor {name} was not in training and is left out")
        return name in self._known

    def _modality(self, name: str) -> Modality:
        declared = self._facts.sensors.get(name)
        if declared is None and self._facts.complete:
            raise DataError(
                f"stream: '{name}' is not among the sensors that the source said it has "
                f"({', '.join(self._facts.sensors)}); name it there"
            )
        return self._classifier.expected(name, None if declared is None else declared.rate_hz)

    def _feed(self, name: str, chunk: Signal) -> list[Said]:
        if self._facts.jitter_s > 0:
            pace = self._paces.setdefault(name, Pace(self._facts.jitter_s))
            chunk = pace.place(chunk)
        said: list[Said] = []
        if len(chunk.values):
            said = self._restart(name, chunk)
            last_s = self._newest_s.get(name, -inf)
            self._newest_s[name] = max(last_s, chunk.end_s)
        said += self._said(self._classifier.feed({name: chunk}))
        self._tell_dropped()
        return said

    def _restart(self, name: str, chunk: Signal) -> list[Said]:
        """Begin anew where a clock was set back, unless sensors are on different clocks."""
        newest_s = max(self._newest_s.values(), default=-inf)
        went_on = abs(chunk.start_s - self._before.get(name, -inf)) < RESTART_S
        if name not in self._newest_s and went_on and chunk.start_s > newest_s + RESTART_S:
            raise DataError(
                f"stream: '{name}' is at {chunk.start_s:.10g} s and others at {newest_s:.10g} s; "
                "all sensors must be on one clock"
            )
        if not chunk.start_s < newest_s - max(RESTART_S, self._classifier.windower.max_delay_s):
            return []
        self._note(f"the clock went back from {newest_s:.6g} s to {chunk.start_s:.6g} s; a new "
                   "recording begins")  # fmt: skip
        said = self.finish()
        self._before, self._newest_s, self._paces = self._newest_s, {}, {}
        self._dropped = 0
        self.live = self._open(replace(self._facts, start_s=None))
        return said + self._end_absent()

    def _said(self, rows: Sequence[LiveRow]) -> list[Said]:
        for sentence in self._classifier.notes:
            if sentence not in self._noted:  # of an earlier recording of this source
                self._noted.add(sentence)
                self._note(sentence)
        return [self._classifier.as_dict(row) for row in rows]

    def _tell_dropped(self, *, at_once: bool = False) -> None:
        windower = self._classifier.windower
        dropped: Mapping[str, int] = windower.dropped
        total = sum(dropped.values())
        if total > self._dropped and (at_once or monotonic() - self._told_at > SILENT_S):
            self._told_at, self._dropped = monotonic(), total
            told = ", ".join(
                f"{counted(n, 'sample')} of {name}" for name, n in dropped.items() if n
            )
            self._note(f"came twice, or more than {windower.max_delay_s:g} s behind the newest "
                       f"sample, and dropped: {told}")  # fmt: skip


async def label_stream(source: Source, session: Session) -> AsyncGenerator[Said]:
    """Label what a source yields, until there is no more.

    Args:
        source: of chunks.
        session: labels them.

    Yields:
        Rows, as soon as they are decided.

    Raises:
        ContractError: it does not fit the run.
        DataError: it cannot be used.
    """
    async with aclosing(_heard(source, session)) as items:
        async for item in items:
            for one in session.take(item):
                yield one
    for one in session.finish():
        yield one


async def _heard(source: Source, session: Session) -> AsyncGenerator[Facts | Chunk]:
    """Yield what a source yields, and note it where that is nothing for a while."""
    waiting: asyncio.Future[Facts | Chunk] | None = None
    try:
        while True:
            waiting = asyncio.ensure_future(anext(source))
            done, _ = await asyncio.wait({waiting}, timeout=SILENT_S)
            if not done:
                session.silent()
            try:
                yield await waiting
            except StopAsyncIteration:
                return
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.wait({waiting})
        close = getattr(source, "aclose", None)
        if close is not None:
            await close()
