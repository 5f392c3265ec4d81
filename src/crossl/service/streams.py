"""Streams: chunks of samples in over a WebSocket, labelled windows out.

Each message is JSON and gets one answer, in order: `rows`, often none, or `error`; beside rows
`notes`, where there is something that a person should know. So a sender
knows what arrived, and one that sends faster than windows are classified waits for answers.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from crossl.data.recording import Signal
from crossl.errors import CrosslError, DataError, kind_of_value, nearest
from crossl.names import check_name
from crossl.predict.chunks import RateCheck, signals_of
from crossl.predict.live import LiveClassifier, LiveRow
from crossl.service.answers import row_json
from crossl.service.bodies import as_float32, number, numbers, only, parsed
from crossl.service.engine import Engine
from crossl.service.hub import Channel

MESSAGES = ("chunks", "ignore", "advance_s", "end", "finish")
CHUNK_KEYS = ("values", "start_s", "timestamps_s", "rate_hz")
OF_A_SENSOR = ("sensor", "time", "times", "values", "last")
MOST_ERRORS = 20
MOST_DELAY_S = 60.0
ENDED, AWAY, UNREADABLE, REFUSED = 1000, 1001, 1003, 1008
"""Codes with which a WebSocket closes: as it should, as nothing came, for what it sent."""


class Stream:
    """What one sender's messages make of a live classifier.

    Args:
        live: of the run.
        most_held: samples that may wait to be decided.
    """

    def __init__(self, live: LiveClassifier, most_held: int) -> None:
        self.live = live
        self.over = False
        self._most_held = most_held
        self._rates: dict[str, RateCheck] = {}

    def take(self, text: str) -> tuple[list[LiveRow], list[Mapping[str, Signal]]]:
        """Take a message.

        Returns:
            What is decided now, and the chunks that were in it.

        Raises:
            CrosslError: it cannot be used; the stream goes on without it.
        """
        told = parsed(text)
        found = self._sensor(told) if "sensor" in told else self._message(told)
        if self.live.windower.held > self._most_held:
            raise FullError(
                f"stream: {self.live.windower.held} samples wait to be decided; send chunks in "
                "order"
            )
        return found

    def _message(self, told: Mapping[str, Any]) -> tuple[list[LiveRow], list[Mapping[str, Signal]]]:
        if len(told) != 1 or not set(told) <= set(MESSAGES):
            strange = next((key for key in told if key not in MESSAGES), "")
            raise DataError(
                f"message: has {len(told)} keys; one of {', '.join(MESSAGES)} is needed"
                if not strange
                else f"message: key '{strange:.60}' is unknown; {nearest(strange[:60], MESSAGES)}"
            )
        (kind, value), live = next(iter(told.items())), self.live
        chunks: list[Mapping[str, Signal]] = []
        if kind == "chunks":
            chunks = self._chunks(value)
            rows = [row for one in chunks for row in live.feed(one)]
        elif kind == "advance_s":
            rows = live.advance(number("advance_s", value))
        elif kind == "end":
            rows = live.end(_text("end", value))
        elif kind == "ignore":
            live.ignore(_names(value))
            rows = []
        else:
            rows, self.over = live.finish(), True
        return rows, chunks

    def _sensor(self, told: Mapping[str, Any]) -> tuple[list[LiveRow], list[Mapping[str, Signal]]]:
        """Take a message of `crossl stream`: one sensor, `time` or `times`, `values`, `last`."""
        only("message", told, OF_A_SENSOR)
        name, last = _text("sensor", told["sensor"]), told.get("last", False)
        if not isinstance(last, bool):
            raise DataError(f"last: is {kind_of_value(last)}; allowed are true and false")
        chunks: list[Mapping[str, Signal]] = []
        if "values" in told:
            names = {"time": "start_s", "times": "timestamps_s", "values": "values"}
            part = {names[key]: value for key, value in told.items() if key in names}
            chunks = self._chunks({name: part})
        rows = [row for one in chunks for row in self.live.feed(one)]
        return rows + (self.live.end(name) if last else []), chunks

    def _chunks(self, value: object) -> list[Mapping[str, Signal]]:
        """Make signals of what was sent; all of it, before anything is used."""
        if not isinstance(value, dict):
            raise DataError(
                f"chunks: is {kind_of_value(value)}; needed is such as "
                '{"acc": {"start_s": 0, "values": [[0.1, 0.2, 9.8]]}}'
            )
        made: list[dict[str, Signal]] = []
        for name, one in value.items():
            for place, signal in enumerate(self._signals(name, one)):
                if place == len(made):
                    made.append({})
                made[place][name] = signal
        return list(made)

    def _signals(self, name: str, told: object) -> list[Signal]:
        check_name("chunks: modality", name)
        where = f"chunks.{name}"
        expected = self.live.windower.expected(name)
        if not isinstance(told, dict):
            raise DataError(f"{where}: is {kind_of_value(told)}; needed are keys and values")
        only(where, told, CHUNK_KEYS)
        values = as_float32(numbers(f"{where}.values", told.get("values"), self._most_held))
        if values.ndim == 1:
            values = values[:, None]
        rate_hz = told.get("rate_hz", expected.rate_hz if expected is not None else None)
        if "timestamps_s" not in told or expected is None:
            rate = number(f"{where}.rate_hz", rate_hz)
            return [Signal(values, rate, number(f"{where}.start_s", told.get("start_s")))]
        times = numbers(f"{where}.timestamps_s", told["timestamps_s"], self._most_held)
        check = self._rates.setdefault(name, RateCheck(where, expected.rate_hz))
        return signals_of(where, expected, times, values, check)


class FullError(DataError):
    """A stream of which so much waits that it is closed."""


def _text(where: str, value: object) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: is {kind_of_value(value)}; a name is needed")
    check_name(where, value)
    return value


def _names(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise DataError("ignore: is not a list of names; needed is such as ['acc'], or [] for none")
    for name in value[:1000]:
        check_name("ignore", name)
    return value[:1000]


def rows_json(live: LiveClassifier, rows: list[LiveRow]) -> list[dict[str, Any]]:
    """Return rows as JSON values, as those of `POST /predict`."""
    line = live.timeline(rows)
    return [row_json(line, row) for row in range(len(line))]


async def serve_stream(socket: WebSocket, engine: Engine, live: LiveClassifier,
                       channel: Channel) -> None:  # fmt: skip
    """Answer the messages of a sender until it ends, says nothing, or is refused.

    Args:
        socket: accepted.
        engine: that computes.
        live: of this stream alone.
        channel: gets the chunks, for who watches.
    """
    stream, errors, noted = Stream(live, engine.limits.samples), 0, 0
    while True:
        try:
            async with asyncio.timeout(engine.limits.silent_s):
                text = await socket.receive_text()
        except TimeoutError:
            told = f"nothing came for {engine.limits.silent_s:g} s"
            await socket.close(AWAY, told)
            return
        except WebSocketDisconnect:
            return
        except KeyError:
            await socket.close(UNREADABLE, "a message is text, in JSON")
            return
        try:
            rows, chunks = await engine.stream(lambda text=text: stream.take(text))  # type: ignore[misc]
        except CrosslError as error:
            errors += 1
            await socket.send_text(json.dumps({"error": str(error)}))
            if errors >= MOST_ERRORS or isinstance(error, FullError):
                await socket.close(REFUSED, f"{errors} messages were refused")
                return
            continue
        for one in chunks:
            channel.put(one)
        answer: dict[str, Any] = {"rows": rows_json(live, rows)}
        if notes := live.notes[noted:]:
            answer["notes"], noted = notes, noted + len(notes)
        await socket.send_text(json.dumps(answer, allow_nan=False))
        if stream.over:
            await socket.close(ENDED)
            return
