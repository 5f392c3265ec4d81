"""What the live page gets: signals thinned out, windows, their place on a map, and switches."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import crossl
from crossl.service.app import State, _watch
from crossl.service.demo import kept_run, recordings_to_show, store_of
from crossl.service.engine import Engine
from crossl.service.hub import MOST_BYTES, MOST_QUEUED, Hub
from crossl.service.limits import Limits
from crossl.service.live_page import live_page
from crossl.service.sources import Came, channel_source, replay
from crossl.service.traces import Trace
from crossl.service.training_map import plane_of, training_map
from crossl.service.watch import Watcher
from tests.service.conftest import recording, served


def chunk(values: Any, start_s: float, rate_hz: float = 100.0) -> crossl.Signal:
    return crossl.Signal(np.asarray(values, np.float32)[:, None], rate_hz, start_s)


def test_a_trace_keeps_the_lowest_and_the_highest_of_each_stretch() -> None:
    trace = Trace(crossl.Modality("ecg", ("lead",), "V", 100.0))
    assert trace.step_hz == 25.0
    beat = np.zeros(100)
    beat[50], beat[53] = 9.0, -2.0
    for first in (0, 7, 40, 51, 90):  # chunks of any length
        last = {0: 7, 7: 40, 40: 51, 51: 90, 90: 100}[first]
        trace.take(chunk(beat[first:last], first / 100))
    found = trace.taken()
    assert [number for number, _ in found] == list(range(25))
    assert found[12][1] == [[0.0, 9.0]]
    assert found[13][1] == [[-2.0, 0.0]]
    assert trace.taken() == []


def test_a_trace_has_gaps_where_nothing_was_recorded() -> None:
    trace = Trace(crossl.Modality("ecg", ("lead",), "V", 100.0))
    trace.take(chunk([1.0] * 8, 0.0))
    trace.take(chunk([np.nan] * 4 + [3.0] * 4, 0.08))
    trace.take(chunk([5.0] * 9, 1.03))  # begins within a stretch
    trace.take(chunk([7.0] * 9, 0.5))  # late: drawn already
    assert trace.taken() == [(0, [[1.0, 1.0]]), (1, [[1.0, 1.0]]), (2, [[None, None]]),
                             (3, [[3.0, 3.0]]), (26, [[5.0, 5.0]]), (27, [[5.0, 5.0]])]  # fmt: skip


def test_a_trace_of_a_page_that_takes_nothing_stays_small() -> None:
    trace = Trace(crossl.Modality("eeg", tuple("abcdefghij"), "V", 250.0))
    for second in range(100):
        trace.take(crossl.Signal(np.zeros((250, 10), np.float32), 250.0, float(second)))
    assert len(trace.taken()) == 500
    assert trace.channels == 6


def test_nothing_is_lost_that_comes_while_a_trace_is_taken() -> None:
    trace = Trace(crossl.Modality("acc", ("x",), "V", 25.0))

    class Late(deque[tuple[int, Any]]):
        """As if the other thread came while what was there is read."""

        late: ClassVar = [(1, [[1.0, 1.0]])]

        def _comes(self) -> None:
            if self.late:
                self.append(self.late.pop())

        def __iter__(self) -> Iterator[tuple[int, Any]]:
            found = list(super().__iter__())
            self._comes()
            return iter(found)

        def popleft(self) -> tuple[int, Any]:
            self._comes()
            return super().popleft()

    trace._found = Late([(0, [[0.0, 0.0]])])
    assert [number for number, _ in trace.taken() + trace.taken()] == [0, 1]


def test_who_watches_a_stream_that_ended_just_now_is_told() -> None:
    async def found() -> list[Came]:
        hub = Hub()
        channel = hub.open("a")
        source = channel_source(channel)  # watches from its first step on
        hub.close(channel)
        async with asyncio.timeout(5):
            return [came async for came in source]

    assert asyncio.run(found()) == []


def test_a_plane_holds_most_of_the_variance() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(300, 8)) * np.array([9, 4, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3])
    plane = plane_of(wide.astype(np.float32), np.array(["a"] * 300))
    assert plane.share > 0.999
    assert np.quantile(np.abs(plane.points), 0.995) == pytest.approx(1.0)
    place = plane.place(wide[7].astype(np.float32))
    np.testing.assert_allclose(place, plane.points[7], atol=1e-3)
    assert plane.place(np.full(8, np.nan, np.float32)) is None


def test_the_map_is_of_training_people(folder: Path, run: crossl.Run) -> None:
    plane = training_map(run, folder / "store")
    assert len(plane.points) == 3 * 19
    assert set(plane.label) <= {"rest", "run", ""}
    other = replace(run, contract={**run.contract, "store_sha256": "0" * 64})
    with pytest.raises(crossl.CrosslError, match="is not the store that the run learned from"):
        training_map(other, folder / "store")


def test_a_watcher_sees_windows_with_their_truth_and_place(folder: Path, run: crossl.Run) -> None:
    watcher = Watcher(run.live(in_order=True), training_map(run, folder / "store"))
    one = recording(4)
    frames = []
    for step in range(200):
        chunks = {}
        for name, signal in one.signals.items():
            first, last = (round((step + k) * 0.1 * signal.rate_hz) for k in (0, 1))
            chunks[name] = crossl.Signal(
                signal.values[first:last], signal.rate_hz, first / signal.rate_hz
            )
        label = "rest" if step < 100 else "run"
        watcher.take(Came(chunks, crossl.LabelInterval(step / 10, step / 10 + 0.1, label)))
        if step == 60:
            watcher.switch('{"off": ["ecg"]}')
        if step == 150:
            watcher.switch('{"off": ["ecg", "acc"]}')
        frame = watcher.frame()
        assert frame is not None
        assert watcher.frame() is None  # nothing is new
        frames.append(frame)
    rows = [row for frame in frames for row in frame["rows"]]
    assert [row["truth"] for row in rows[:8]] == ["rest"] * 8
    assert rows[12]["truth"] == "run"
    assert [row["present"]["ecg"] for row in rows[:8]] == [True] * 5 + [False] * 3
    assert len(rows[0]["place"]) == 2
    assert rows[-1]["label"] is None
    assert rows[-1]["place"] is None
    assert frames[61]["off"] == ["ecg"]
    assert json.loads(json.dumps(watcher.hello({"run": "x"}), allow_nan=False))["map"]["points"]
    for wrong in ("{}", "[]", '{"off": 1}', '{"off": ["eeg"]}', '{"off": ["acc"], "x": 1}'):
        with pytest.raises(crossl.CrosslError):
            watcher.switch(wrong)


def test_a_replay_goes_on_without_a_hole() -> None:
    one, two = recording(1, seconds=4), recording(2, seconds=4, sensors="acc")

    async def some() -> list[Came]:
        out = []
        async for came in replay([one, two], stretch_s=1.5, speed=1e6):
            out.append(came)
            if len(out) == 60:  # four stretches
                return out
        return out

    found = asyncio.run(some())
    acc = [came.chunks["acc"] for came in found]
    for before, after in pairwise(acc):
        assert after.start_s == pytest.approx(before.end_s)
    assert sum(len(signal.values) for signal in acc) == 120
    assert ["ecg" in came.chunks for came in found] == ([True] * 15 + [False] * 15) * 2
    np.testing.assert_array_equal(acc[0].values, one.signals["acc"].values[25:27])
    assert found[0].truth is not None
    assert {came.truth.label for came in found if came.truth} == {"rest", "run"}


def test_who_is_too_far_behind_is_let_go() -> None:
    async def told() -> list[Any]:
        hub = Hub()
        waiting = asyncio.create_task(hub.newest())
        await asyncio.sleep(0)
        channel = hub.open("ann")
        assert await waiting is channel
        slow, quick = channel.watch(), channel.watch()
        for _ in range(MOST_QUEUED + 1):
            channel.put({})
            await quick.get()
        assert quick.empty()
        hub.close(channel)
        assert await quick.get() is None
        assert not hub.channels
        return [slow.get_nowait(), slow.empty()]

    assert asyncio.run(told()) == [None, True]


def test_who_is_behind_by_many_bytes_is_let_go_though_the_chunks_are_few() -> None:
    signal = crossl.Signal(np.zeros((MOST_BYTES // 16, 3), np.float32), 100.0)  # 12 of 16 parts

    async def told() -> list[Any]:
        channel = Hub().open("ann")
        slow, quick = channel.watch(), channel.watch()
        for _ in range(2):
            channel.put({"acc": signal})
            assert quick.bytes == signal.values.nbytes
            await quick.get()
        assert quick.bytes == slow.bytes == 0
        assert quick in channel.watchers
        return [slow.get_nowait(), slow.empty(), slow in channel.watchers]

    assert asyncio.run(told()) == [None, True, False]


def test_a_page_is_told_what_of_its_source_cannot_be_used(run: crossl.Run) -> None:
    async def demo() -> AsyncIterator[Came]:
        for step in range(3):  # two channels of three
            yield Came({"acc": crossl.Signal(np.zeros((20, 2), np.float32), 20.0, float(step))})
        yield Came({"acc": crossl.Signal(np.zeros((20, 3), np.float32), 20.0, 3.0)})
        await asyncio.sleep(30)

    with served(run, demo=demo) as address, connect(f"ws://{address}/watch") as page:
        assert told(page)["hello"]
        assert "acc" in told(page)["error"]
        assert told(page)["frame"]["now_s"] == 4.0  # the error is told once, and the page goes on


def test_a_page_that_is_closed_when_its_source_ends_is_no_error(run: crossl.Run) -> None:
    class Closed:
        """A connection that a service which ends has closed, as uvicorn answers for it."""

        sent: ClassVar[list[str]] = []

        async def send_text(self, text: str) -> None:
            if "end" in json.loads(text):
                raise RuntimeError("Unexpected ASGI message 'websocket.send'")
            self.sent.append(text)

        async def receive_text(self) -> str:
            await asyncio.sleep(60)
            return ""

    async def ended() -> AsyncIterator[Came]:
        return
        yield

    async def watched() -> None:
        state = State(Engine(run, Limits()), "run", demo=ended)
        await _watch(Closed(), state, {})  # type: ignore[arg-type]

    asyncio.run(watched())
    assert "hello" in json.loads(Closed.sent[0])


def test_a_page_and_a_sender_are_told_once_of_values_in_another_unit(run: crossl.Run) -> None:
    rest = np.random.default_rng(0).normal([0, 0, 1], 0.01, size=(20, 3)).tolist()  # in g
    with served(run) as address, connect(f"ws://{address}/watch") as page:
        assert told(page)["waiting"]
        with connect(f"ws://{address}/ws") as sender:
            assert told(page)["hello"]
            notes: list[str] = []
            for step in range(40):
                sender.send(json.dumps({"chunks": {"acc": {"start_s": step, "values": rest}}}))
                notes += told(sender).get("notes", [])
            assert len(notes) == 1
            assert notes[0].startswith("warning: acc: its values look like g, which its declared")
            while "error" not in (message := told(page)):
                pass
            assert message == {"error": notes[0]}


def told(link: ClientConnection) -> dict[str, Any]:
    return dict(json.loads(link.recv(timeout=30)))


def test_a_page_waits_for_a_stream_watches_it_and_disturbs_nobody(address: str) -> None:
    with connect(f"ws://{address}/watch") as page:
        assert told(page) == {"waiting": "waiting for a stream: send chunks of samples to /ws"}
        with connect(f"ws://{address}/ws?name=ann") as sender:
            hello = told(page)["hello"]
            assert (hello["source"], hello["map"]) == ("ann", None)
            assert [one["name"] for one in hello["streams"]] == ["ann"]
            with connect(f"ws://{address}/ws?name=ben"):
                assert [one["name"] for one in told(page)["streams"]] == ["ann", "ben"]
            assert [one["name"] for one in told(page)["streams"]] == ["ann"]
            assert hello["map_reason"].startswith("no map")
            page.send('{"off": ["acc"]}')
            page.send('{"off": ["nose"]}')
            told(page)  # both are answered before samples come
            one, rows = recording(4), []
            for step in range(20):
                part = one.signals["acc"].values[step * 20 : step * 20 + 20].tolist()
                sender.send(json.dumps({"chunks": {"acc": {"start_s": step, "values": part}}}))
                rows += told(sender)["rows"]
            seen: list[dict[str, Any]] = []
            while len(seen) < 10:
                message = told(page)
                seen += message.get("frame", {}).get("rows", [])
            assert all(row["present"]["acc"] for row in rows)
            assert all(row["label"] for row in rows)
        while "end" not in (message := told(page)):
            pass
        assert message == {"end": "ann: has ended"}


def test_a_page_reads_a_stream_as_its_sender_asked(address: str) -> None:
    with (
        connect(f"ws://{address}/watch") as page,
        connect(f"ws://{address}/ws?name=ann&resample=acc") as sender,
    ):
        part = recording(4).signals["acc"]
        values = np.repeat(part.values[:200], 2, axis=0).tolist()
        sender.send(json.dumps({"chunks": {
            "acc": {"start_s": 0, "values": values, "rate_hz": 2 * part.rate_hz}
        }}))  # fmt: skip
        assert told(sender)["rows"]
        seen: list[dict[str, Any]] = []
        while not seen:
            seen += told(page).get("frame", {}).get("rows", [])
        assert seen[0]["present"]["acc"]


def test_only_so_many_pages_watch_and_none_floods(run: crossl.Run) -> None:
    demo = lambda: replay([recording(4)])  # noqa: E731
    with (
        served(run, Limits(watchers=1), demo=demo) as address,
        connect(f"ws://{address}/watch") as page,
    ):
        assert told(page)["hello"]["demo"] is True
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://{address}/watch"):
            pass
        assert refused.value.response.status_code == 503
        for _ in range(40):
            page.send('{"off": []}')
        with pytest.raises(ConnectionClosed, match="too many messages"):
            listen_on(page)


def listen_on(link: ClientConnection) -> None:
    while True:
        link.recv(timeout=10)


def test_the_page_is_whole_and_its_policy_names_what_is_in_it() -> None:
    page, policy = live_page()
    assert page.count(b"<script>") == page.count(b"</script>") == 1
    assert b"src=" not in page.replace(b"script-src", b"")
    assert policy.count("'sha256-") == 2


def test_the_demo_shows_people_whom_its_run_does_not_know(
    run: crossl.Run, folder: Path, tmp_path: Path
) -> None:
    assert kept_run(tmp_path) is None
    with pytest.raises(crossl.CrosslError, match="learned from other recordings"):
        recordings_to_show(run)
    read = {"reader": "seglearn_watch"}
    demo = replace(run, contract={**run.contract, "reading": read, "subjects": {"test": ["S05"]}})
    pytest.importorskip("seglearn", reason="the package with the recordings is not installed")
    shown = recordings_to_show(demo)
    assert {one.subject for one in shown} == {"S05"}
    (tmp_path / "live").symlink_to(folder / "run")
    (tmp_path / "store").symlink_to(folder / "store")
    assert kept_run(tmp_path) == tmp_path / "live"
    assert store_of(tmp_path, tmp_path / "live") == tmp_path / "store"
