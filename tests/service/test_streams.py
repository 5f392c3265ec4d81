"""`/ws`: chunks in, labelled windows out, one answer for each message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import crossl
from crossl.service.limits import Limits
from tests.service.conftest import recording, served


@contextmanager
def stream(address: str, **options: object) -> Iterator[ClientConnection]:
    """Open a stream."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    with connect(f"ws://{address}/ws?{query}") as link:
        yield link


def ask(link: ClientConnection, **message: object) -> dict[str, Any]:
    """Send a message, and return its answer."""
    link.send(json.dumps(message))
    return dict(json.loads(link.recv(timeout=30)))


def chunks_of(one: crossl.Recording, seconds: float) -> Iterator[dict[str, object]]:
    """Cut a recording as a device sends it."""
    for step in range(round(one.end_s / seconds)):
        out = {}
        for name, signal in one.signals.items():
            first, last = (round((step + k) * seconds * signal.rate_hz) for k in (0, 1))
            values = signal.values[first:last].tolist()
            out[name] = {"start_s": first / signal.rate_hz, "values": values}
        yield out


def all_rows(link: ClientConnection, messages: Sequence[dict[str, object]]) -> list[dict[str, Any]]:
    """Send chunks and the end; return what was said."""
    rows = []
    for chunks in messages:
        rows += ask(link, chunks=chunks)["rows"]
    return rows + list(ask(link, finish=True)["rows"])


@pytest.mark.parametrize("sensors", ["acc ecg", "acc"])
def test_a_stream_is_told_what_its_recording_would_be(
    address: str, run: crossl.Run, sensors: str
) -> None:
    one = recording(4, sensors=sensors)
    line = run.timeline(one)
    with stream(address) as link:
        rows = all_rows(link, list(chunks_of(one, 0.5)))
    assert [row["start_s"] for row in rows] == line["start_s"].tolist()
    assert [row["label"] for row in rows] == line["label"].tolist()
    assert [row["present"]["ecg"] for row in rows] == line["present_ecg"].tolist()
    said = [row["probability"]["run"] for row in rows]
    np.testing.assert_allclose(said, line["probability_run"], atol=1e-5)


def test_times_of_samples_and_dates(address: str) -> None:
    values = recording(4).signals["acc"].values
    with stream(address, origin_unix_s=1717236000, zone="Europe/Madrid", abstain=1) as link:
        rows = []
        for first in range(0, 400, 20):
            times = [i / 20 for i in range(first, first + 20)]
            part = {"timestamps_s": times, "values": values[first : first + 20].tolist()}
            rows += ask(link, chunks={"acc": part})["rows"]
        rows += ask(link, finish=True)["rows"]
    assert len(rows) == 19
    assert rows[0]["start_time"] == "2024-06-01T12:00:00.000+02:00"
    assert rows[0]["label"] is None
    assert "no label reaches" in rows[0]["reason"]


def test_a_sensor_can_be_ignored_and_time_can_go_on(address: str) -> None:
    parts = list(chunks_of(recording(4), 1.0))
    with stream(address, max_delay_s=0.5, in_order="true") as link:
        assert ask(link, ignore=["ecg"]) == {"rows": []}
        rows = [row for part in parts[:6] for row in ask(link, chunks=part)["rows"]]
        assert {row["present"]["ecg"] for row in rows} == {False}
        assert {row["present"]["acc"] for row in rows} == {True}
        ask(link, ignore=[])
        rows = [row for part in parts[6:12] for row in ask(link, chunks=part)["rows"]]
        assert {row["present"]["ecg"] for row in rows} == {True}
        assert ask(link, end="ecg") == {"rows": []}
        last = {"acc": parts[12]["acc"]}
        assert [row["present"]["ecg"] for row in ask(link, chunks=last)["rows"]] == [False]
        assert ask(link, advance_s=99.0) == {"rows": []}


def test_messages_of_crossl_stream_are_taken_too(address: str, run: crossl.Run) -> None:
    one = recording(4)
    line = run.timeline(one)
    with stream(address, in_order="true") as link:
        rows = []
        for second in range(20):
            for name, signal in one.signals.items():
                first, last = (round((second + k) * signal.rate_hz) for k in (0, 1))
                part = {"sensor": name, "values": signal.values[first:last].tolist()}
                times = [place / signal.rate_hz for place in range(first, last)]
                rows += ask(link, **part, **({"times": times} if second % 2 else {"time": second}))[
                    "rows"
                ]
        for name in one.signals:
            rows += ask(link, sensor=name, last=True)["rows"]
        assert [row["label"] for row in rows] == line["label"].tolist()
        assert "last: is a number" in ask(link, sensor="acc", last=1)["error"]
        assert "did you mean 'values'" in ask(link, sensor="acc", value=[])["error"]
        assert "acc" in ask(link, sensor="acc", time=0, values=[1])["error"]


FAULTS = [
    ("no json", "body: is not JSON"),
    ("[]", "body: is a list"),
    ("{}", "message: has 0 keys; one of chunks"),
    ('{"chunk": {}}', "key 'chunk' is unknown; did you mean 'chunks'?"),
    ('{"chunks": [1]}', "chunks: is a list"),
    ('{"chunks": {"acc": 1}}', "chunks.acc: is a number"),
    ('{"chunks": {"eeg": {"values": [1], "start_s": 0}}}', "'eeg'"),
    ('{"chunks": {"acc": {"values": [[1, 2]], "start_s": 0}}}', "acc"),
    ('{"chunks": {"acc": {"values": [[1, 2, 3]]}}}', "chunks.acc.start_s: is None"),
    ('{"chunks": {"acc": {"values": [[1, 2, 3]], "start_s": 0, "rate_hz": 50}}}', "50 Hz"),
    ('{"chunks": {"acc": {"values": [[1, 2, 1e300]], "start_s": 0}}}', "infinite values"),
    ('{"chunks": {"acc": {"values": [[1, 2, 3]], "start_s": 0, "x": 1}}}', "key 'x' is unknown"),
    ('{"ignore": "acc"}', "ignore: is not a list"),
    ('{"ignore": ["eeg"]}', "sensor 'eeg'"),
    ('{"end": 3}', "end: is a number"),
    ('{"end": "eeg"}', "'eeg'"),
    ('{"advance_s": "now"}', "advance_s: is 'now'"),
]


def test_what_cannot_be_used_is_one_sentence_and_the_stream_goes_on(address: str) -> None:
    for begin in (0, 9):
        with stream(address) as link:
            for sent, told in FAULTS[begin : begin + 9]:
                link.send(sent)
                answer = json.loads(link.recv(timeout=30))
                assert set(answer) == {"error"}, sent
                assert told in answer["error"]
            rows = all_rows(link, list(chunks_of(recording(4), 1.0)))
            assert len(rows) == 19


def test_who_sends_nothing_but_faults_is_closed(address: str) -> None:
    with stream(address) as link:
        for _ in range(20):
            assert "error" in ask(link, nothing=1)
        with pytest.raises(ConnectionClosed) as end:
            link.recv(timeout=10)
    assert end.value.rcvd is not None
    assert end.value.rcvd.code == 1008


def closed(address: str, *sent: str | bytes) -> tuple[int, str]:
    """Send messages; return with which code and words the stream is closed."""
    with stream(address) as link:
        with pytest.raises(ConnectionClosed) as end:
            _send(link, sent)
        assert end.value.rcvd is not None
        return end.value.rcvd.code, end.value.rcvd.reason


def _send(link: ClientConnection, sent: Sequence[str | bytes]) -> None:
    for one in sent:
        link.send(one)
    link.recv(timeout=10)


def test_too_large_messages_bytes_and_silence_close_a_stream(run: crossl.Run) -> None:
    with served(run, Limits(message_bytes=2000, silent_s=0.3)) as address:
        assert closed(address, "x" * 3000)[0] == 1009
        assert closed(address) == (1001, "nothing came for 0.3 s")
        assert closed(address, b"\x00\x01") == (1003, "a message is text, in JSON")


def test_chunks_that_are_never_decided_do_not_fill_the_memory(run: crossl.Run) -> None:
    with served(run, Limits(samples=3000)) as address, stream(address, max_delay_s=60) as link:
        part = {"values": [[0.0, 0.0, 0.0]] * 100}
        for step in range(60):  # none joins the one before
            start_s = 1.0 + step * 0.7 if step else 0.0
            answer = ask(link, chunks={"acc": {**part, "start_s": start_s}})
            if "error" in answer:
                break
        assert "samples wait to be decided" in answer["error"]
        with pytest.raises(ConnectionClosed):
            link.recv(timeout=10)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("max_delay_s=1e9", "max_delay_s: is 1e+09; allowed are 0 to 60 s"),
        ("max_delay_s=nan", "allowed are 0 to 60 s"),
        ("abstain=7", "abstain: got 7"),
        ("zone=Nowhere", "timezone 'Nowhere' is unknown"),
        ("in_order=1", "in_order: is '1'"),
        ("resample=eeg", "eeg"),
        ("nam=x", "did you mean 'name'?"),
        ("name=%0A", "holds U+000A"),
    ],
)
def test_options_that_cannot_be_are_refused(address: str, query: str, told: str) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(f"ws://{address}/ws?{query}"):
        pass
    assert refused.value.response.status_code == 422
    assert told in json.loads(refused.value.response.body or b"")["error"]


def test_only_so_many_streams_are_open(run: crossl.Run) -> None:
    with served(run, Limits(streams=1)) as address, stream(address) as link:
        with pytest.raises(InvalidStatus) as refused, stream(address):
            pass
        assert refused.value.response.status_code == 503
        assert ask(link, ignore=[]) == {"rows": []}
