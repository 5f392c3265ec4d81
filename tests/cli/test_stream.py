"""`crossl stream`: what is said of a stream is what `crossl predict` says of the recording."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pytest

from crossl.stream import standard_input

from .conftest import ACC, ECG

Crossl = Callable[..., Any]
Row = dict[str, str]


MAPPING = """
timezone: Europe/Berlin
modalities:
  acc: {channels: [x, y, z], unit: m/s^2, rate_hz: 20, device: wrist}
  ecg: {channels: [lead], unit: V, rate_hz: 32, device: chest}
windows: {window_s: 2, stride_s: 2}
files:
  - pattern: '{subject}_acc.csv'
    clock: time
    signals: {acc: [x, y, z]}
  - pattern: '{subject}_ecg.csv'
    clock: time
    signals: {ecg: [lead]}
"""
STARTED_S = 1717236000  # 2024-06-01 12:00 in Berlin


@pytest.fixture
def new(tmp_path: Path) -> Path:
    """A folder with ann, who has no strap and took her watch off for a while, and bob."""
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "recordings.yaml").write_text(MAPPING)
    rng = np.random.default_rng(0)
    for name, sensors in (("ann", (ACC,)), ("bob", (ACC, ECG))):
        for m in sensors:
            t = np.arange(round(30 * m.rate_hz)) / m.rate_hz
            t = t[(t < 12) | (t >= 18)] if name == "ann" else t
            values = np.where(t // 10 == 1, 4, 1)[:, None] * rng.normal(
                size=(len(t), len(m.channels))
            )
            np.savetxt(folder / f"{name}_{m.name}.csv", np.column_stack([STARTED_S + t, values]),
                       delimiter=",", header=",".join(["time", *m.channels]), comments="",
                       fmt="%.5f")  # fmt: skip
    return folder


def same(said: list[Row], table: list[Row]) -> None:
    assert len(said) == len(table) > 0
    for one, other in zip(said, table, strict=True):
        assert one.keys() - other.keys() <= {"unusable"}  # a table lacks it where all are usable
        assert [name for name in one if name in other] == list(other)
        for name, value in one.items():
            if name not in other:
                assert value == ""
            elif name.startswith("probability") and value:
                np.testing.assert_allclose(float(value), float(other[name]), atol=1e-5)
            else:
                assert value == other[name], name


def read(text: str) -> list[Row]:
    return list(csv.DictReader(text.splitlines()))


def test_a_replay_says_what_predict_says_and_out_is_its_table(
    crossl: Crossl,
    trained: Path,
    new: Path,
    tmp_path: Path,
) -> None:
    assert crossl("predict", trained, new, "--out", tmp_path, "--format", "csv",
                  "--context", "off").code == 0  # fmt: skip
    table = read((tmp_path / "ann.csv").read_text())
    out = tmp_path / "live/said.csv"
    asked = ("stream", trained, "--from", f"replay:{new}", "--recording", "ann", "--speed", "max",
             "--out", out, "--context", "off")  # fmt: skip
    done = crossl(*asked, "--csv")
    assert done.code == 0, done.err
    same(read(done.out), table)
    assert out.read_text() == done.out
    assert "has rows already" not in done.err
    done = crossl(*asked, "--json")  # rows are added, which is told
    assert f"note: {out}: has rows already, those of this stream are added behind" in done.err
    said = [json.loads(line) for line in done.out.splitlines()]
    assert [one["label"] for one in said] == [row["label"] for row in table]
    assert said[0]["start_time"] == "2024-06-01T12:00:00.000+02:00"
    assert said[0]["present_ecg"] is False
    assert len(read(out.read_text())) == 2 * len(table)
    assert not list(out.parent.glob(".*"))
    lines = crossl(*asked).out.splitlines()
    assert lines[0].startswith("2024-06-01 12:00:00.000  rest  ")
    assert lines[0].endswith("without ecg")
    (gap,) = [line for line in lines if "  -  until " in line]
    assert gap.endswith("12:00:18.000: no sensor that the run knows recorded enough of it")


@pytest.mark.parametrize(("text", "code"), [("what is this\n", 2), ("", 0)])
def test_no_file_is_left_where_no_row_came(
    crossl: Crossl, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    text: str, code: int,
) -> None:  # fmt: skip
    pieces = iter([text.encode(), b""])
    monkeypatch.setattr(standard_input.os, "read", lambda _fd, _count: next(pieces))
    done = crossl("stream", trained, "--from", "-", "--out", tmp_path / "out/said.csv")
    assert done.code == code, done.err
    assert not list((tmp_path / "out").iterdir())


def test_lines_on_standard_input(
    crossl: Crossl,
    trained: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    first = {"sensors": {"acc": {"rate_hz": 20, "unit": "m/s^2"}}, "origin_unix_s": 0}
    chunks = [{"sensor": "acc", "time": 0.5 * i, "values": rng.normal(size=(10, 3)).tolist()}
              for i in range(20)]  # fmt: skip
    text = "\n".join(map(json.dumps, [first, *chunks])).encode()
    pieces = iter([text, b""])
    monkeypatch.setattr(standard_input.os, "read", lambda _fd, _count: next(pieces))
    asked = ("--abstain", "1", "--zone", "Asia/Tokyo")
    done = crossl("stream", trained, "--from", "-", *asked)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 5
    assert "1970-01-01 09:00:00.000  -  until 1970-01-01 09:00:02.000: no label" in done.out


REFUSED = [
    ("--from usb:1", "crossl: --from: got 'usb:1'; 'replay:FILE', '-' (standard input), "),
    ("--from replay:", "crossl: --from: got 'replay:'; "),
    ("--from replay:nowhere.csv", "crossl: nowhere.csv: does not exist; "),
    ("--from - --speed 2", "crossl: --speed: - is live; only replay:"),
    ("--from replay:{new} --speed 0", "crossl: --speed: got '0'; a positive "),
    ("--from replay:{new} --recording x", "crossl: --recording: got 'x'; "),
    ("--from replay:{new}", "holds several recordings; name one by --recording: ann"),
    ("--from replay:{store}", "is a store, which holds windows; replay: needs recorded"),
    ("--from lsl:Polar=ekg", "'Polar=ekg' names a sensor that the run does not know; "),
    ("--from - --zone Mars", "crossl: timezone 'Mars' is unknown; "),
    ("--from - --without accc", "crossl: --without: sensor 'accc'; did you mean 'acc'"),
    ("--from - --abstain 2", "crossl: --abstain: got 2; a probability above 0"),
    ("--from - --context whole", "crossl: --context: got 'whole', which reads what a stream does "),
    ("--from - --jitter -1", "crossl: --jitter: got -1; 0 or more seconds"),
    ("--from - --delay -1", "max_delay_s is -1"),
    ("--from - --json --csv", "crossl: --json, --csv: one of them is allowed"),
    ("--from replay:{new} --recording ann --out {other}", "is there and has other columns; name"),
]


@pytest.mark.parametrize(("words", "told"), REFUSED)
def test_what_cannot_be_is_told_in_a_sentence(
    crossl: Crossl, trained: Path, stores: Callable[..., Path], new: Path, words: str, told: str
) -> None:
    other = new / "other.csv"
    other.write_text("time,label\n")
    places = {"new": new, "store": stores(), "other": other}
    done = crossl("stream", trained, *words.format(**places).split())
    assert done.code == 2
    assert told in done.err
    assert done.err.count("\n") == 1
    assert other.read_text() == "time,label\n"


@pytest.mark.parametrize(
    ("number", "code", "how"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "stopped")],
)
def test_a_signal_ends_a_stream_in_a_sentence_and_rows_are_kept(
    crossl: Crossl,
    trained: Path,
    new: Path,
    tmp_path: Path,
    number: int,
    code: int,
    how: str,
) -> None:
    out = tmp_path / "said.csv"

    def stop_once_said() -> None:
        if out.is_file() and out.read_text().count("\n") > 1:
            os.kill(os.getpid(), number)
        else:
            again()

    def again() -> None:
        timer = Timer(0.05, stop_once_said)
        timer.daemon = True
        timer.start()

    again()
    done = crossl("stream", trained, "--from", f"replay:{new}", "--recording", "bob", "--speed",
                  "2", "--out", out)  # fmt: skip
    assert done.code == code
    assert done.err.splitlines()[-1] == (
        f"crossl: {how}; work so far is kept in {out}, give the same command again"
    )
    text = out.read_text()
    assert text.endswith("\n")
    assert len(text.splitlines()) - 1 == len(done.out.splitlines()) >= 1
    assert not list(tmp_path.glob(".*.lock"))
