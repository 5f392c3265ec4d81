"""Watch: what is sent to a page, ten times a second at most, and the switches that it has.

Each page has a classifier of its own: a sensor that is switched off there is off for nobody else,
and not for who sends the samples.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias

from starlette.websockets import WebSocket, WebSocketDisconnect

from crossl.data.recording import LabelInterval
from crossl.errors import CrosslError, DataError
from crossl.names import MAX_LETTERS
from crossl.predict.live import LiveClassifier, LiveRow
from crossl.service.bodies import parsed
from crossl.service.engine import Engine
from crossl.service.sources import Came
from crossl.service.streams import rows_json
from crossl.service.traces import traces_of
from crossl.service.training_map import TrainingMap

Streams: TypeAlias = list[dict[str, Any]]
FRAME_S = 0.1
MOST_ROWS = 256
MOST_MESSAGES = 20
"""Switches that a page may turn within a second."""


class Watcher:
    """What one page sees.

    Args:
        live: of this page alone.
        plane: that embeddings are shown in; None for none.
    """

    def __init__(self, live: LiveClassifier, plane: TrainingMap | None) -> None:
        self.live = live
        self._plane = plane
        self._traces = traces_of(live.modalities)
        self._rows: deque[dict[str, Any]] = deque(maxlen=MOST_ROWS)
        self._truth: deque[LabelInterval] = deque(maxlen=4096)
        self._now_s = 0.0
        self._news = False
        self._said = ""
        self._unsaid: deque[str] = deque(maxlen=MOST_ROWS)
        self._notes = 0
        self.off: list[str] = []

    def take(self, came: Came) -> None:
        """Classify what came."""
        known = {m.name for m in self.live.modalities}
        chunks = {name: one for name, one in came.chunks.items() if name in known}
        if came.truth is not None:
            self._truth.append(came.truth)
        rows = self.live.feed(chunks)
        self._unsaid.extend(self.live.notes[self._notes :])
        self._notes = len(self.live.notes)
        for name, signal in chunks.items():
            self._traces[name].take(signal)
            self._now_s = max(self._now_s, signal.end_s)
        for row, told in zip(rows, rows_json(self.live, rows), strict=True):
            self._rows.append(told | self._beside(row))
        self._news = True

    def _beside(self, row: LiveRow) -> dict[str, Any]:
        """Return what a page shows beside the row of a window: its place on the map, its truth."""
        place = self._plane.place(row.embedding) if self._plane is not None else None
        share = self.live.windower.spec.min_label_share
        held = Counter[str]()
        for one in self._truth:
            overlap_s = min(one.end_s, row.end_s) - max(one.start_s, row.start_s)
            if overlap_s > 0:
                held[one.label] += round(overlap_s * 1000)  # type: ignore[assignment]
        label, most = next(iter(held.most_common(1)), ("", 0))
        enough = most >= 1000 * share * (row.end_s - row.start_s)
        return {"place": place, "truth": label if label and enough else None}

    def switch(self, text: str) -> None:
        """Turn sensors off and on, as a page says: `{"off": [names]}`.

        Raises:
            DataError: it says something else, or names an unknown sensor.
        """
        told = parsed(text)
        off = told.get("off")
        if set(told) != {"off"} or not isinstance(off, list) or len(off) > len(self._traces):
            raise DataError('message: needed is such as {"off": ["acc"]}')
        names = [str(name)[:MAX_LETTERS] for name in off]
        self.live.ignore(names)
        self.off = names
        self._news = True

    def refused(self, error: CrosslError) -> None:
        """Remember that chunks could not be shown; the page is told once in a row."""
        told = str(error)
        if told != self._said:
            self._said = told
            self._unsaid.append(told)

    def told(self) -> list[str]:
        """Return what a person should know that came since the last call, a sentence each."""
        return [self._unsaid.popleft() for _ in range(len(self._unsaid))]

    def frame(self) -> dict[str, Any] | None:
        """Return what is new since the last frame; None where nothing is."""
        if not self._news:
            return None
        self._news = False
        rows = [self._rows.popleft() for _ in range(len(self._rows))]  # more may come meanwhile
        traces = {name: new for name, one in self._traces.items() if (new := one.taken())}
        return {"now_s": round(self._now_s, 3), "off": self.off, "traces": traces, "rows": rows}

    def hello(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a page must know first."""
        spec, plane = self.live.windower.spec, self._plane
        shown = None if plane is None else {
            "points": [[round(x, 3), round(y, 3)] for x, y in plane.points.tolist()],
            "label": plane.label.tolist(), "share": round(plane.share, 3),
        }  # fmt: skip
        sensors = [
            {**m.as_dict(), "shown": self._traces[m.name].channels,
             "step_hz": self._traces[m.name].step_hz}
            for m in self.live.modalities
        ]  # fmt: skip
        return {**about, "sensors": sensors, "classes": list(self.live.names),
                "kind": self.live.kind, "window_s": spec.window_s, "stride_s": spec.stride_s,
                "map": shown}  # fmt: skip


async def serve_watcher(
    socket: WebSocket,
    engine: Engine,
    watcher: Watcher,
    source: AsyncIterator[Came],
    about: Mapping[str, Any],
    streams: Callable[[], Streams],
) -> bool:  # fmt: skip
    """Show a source to a page until one of both ends.

    Args:
        socket: accepted.
        engine: that computes.
        watcher: of this page.
        source: what is shown.
        about: the run, the source and what else is open, for the page.
        streams: what else is open now.

    Returns:
        Whether the page is still there: it was the source that ended.
    """
    await socket.send_text(json.dumps({"hello": watcher.hello(about)}, allow_nan=False))
    parts = (
        _take_all(engine, watcher, source),
        _send_frames(socket, watcher, streams, about["streams"]),
        _take_switches(socket, watcher),
    )
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if tasks[0] in done:
        tasks[0].result()
        return True
    return False


async def _take_all(engine: Engine, watcher: Watcher, source: AsyncIterator[Came]) -> None:
    async for came in source:
        try:
            await engine.stream(lambda came=came: watcher.take(came))  # type: ignore[misc]
        except CrosslError as error:
            watcher.refused(error)  # and the page goes on


async def _send_frames(
    socket: WebSocket, watcher: Watcher, streams: Callable[[], Streams], known: Streams
) -> None:
    while True:
        if (now := streams()) != known:
            known = now
            await socket.send_text(json.dumps({"streams": now}))
        for sentence in watcher.told():
            await socket.send_text(json.dumps({"error": sentence}))
        frame = watcher.frame()
        if frame is not None:
            await socket.send_text(json.dumps({"frame": frame}, allow_nan=False))
        await asyncio.sleep(FRAME_S)


async def _take_switches(socket: WebSocket, watcher: Watcher) -> None:
    loop = asyncio.get_running_loop()
    recent: deque[float] = deque(maxlen=MOST_MESSAGES)
    while True:
        try:
            text = await socket.receive_text()
        except (WebSocketDisconnect, KeyError, RuntimeError):
            return
        if len(recent) == MOST_MESSAGES and loop.time() - recent[0] < 1.0:
            await socket.close(1008, "too many messages")
            return
        recent.append(loop.time())
        try:
            watcher.switch(text)
        except CrosslError as error:
            await socket.send_text(json.dumps({"error": str(error)}))
