"""XDF: streams on one clock, markers as labels; what pyxdf only warns of is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from crossl.data.formats import open_file
from crossl.data.own.mapping.labels import Names, annotated
from crossl.data.recording import LabelInterval, Signal
from crossl.errors import DataError

EEG = np.round(np.random.default_rng(0).normal(size=(200, 2)), 3)


def chunk(tag, content):
    return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content


def header(number, name, kind, count, rate, channels=()):
    described = "".join(
        f"<channel><label>{label}</label><unit>{unit}</unit></channel>" for label, unit in channels
    )
    text = (
        f"<?xml version='1.0'?><info><name>{name}</name><type>x</type><channel_count>{count}"
        f"</channel_count><nominal_srate>{rate}</nominal_srate><channel_format>{kind}"
        f"</channel_format><desc><channels>{described}</channels></desc></info>"
    )
    return chunk(2, struct.pack("<I", number) + text.encode())


def samples(number, times, rows):
    out = struct.pack("<I", number) + b"\x04" + struct.pack("<I", len(times))
    for time, row in zip(times, rows, strict=True):
        out += b"\x08" + struct.pack("<d", time)
        if isinstance(row[0], str):
            for text in [row] if isinstance(row, str) else row:
                out += b"\x04" + struct.pack("<I", len(text)) + text.encode()
        else:
            out += struct.pack(f"<{len(row)}d", *row)
    return chunk(3, out)


def footer(number, count):
    text = f"<?xml version='1.0'?><info><sample_count>{count}</sample_count></info>"
    return chunk(6, struct.pack("<I", number) + text.encode())


def write(path, *, told=200, ended=True):
    data = b"XDF:" + chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
    data += header(1, "EEG", "double64", 2, 100, [("Fp1", "microvolts"), ("Fp2", "microvolts")])
    data += header(2, "Slow", "double64", 1, 0)
    data += header(3, "Markers", "string", 1, 0) + header(4, "Never", "string", 1, 0)
    data += samples(1, 10 + np.arange(200) / 100, EEG)
    data += samples(2, [10.0, 11.5, 11.75], [[1.0], [2.0], [3.0]])
    data += samples(3, [10.5, 11.0], ["rest", "walk"])
    if ended:
        data += footer(1, told) + footer(2, 3) + footer(3, 2) + footer(4, 0)
    path.write_bytes(data)
    return path


def test_streams_have_their_rates_units_and_times(tmp_path):
    content = open_file(write(tmp_path / "a.xdf"))
    eeg, slow = content.streams
    assert (eeg.name, eeg.columns, eeg.rate_hz) == ("EEG", ("Fp1", "Fp2"), 100)
    assert eeg.units == ("microvolts", "microvolts")
    np.testing.assert_allclose(eeg.timestamps_s, 10 + np.arange(200) / 100)
    np.testing.assert_array_equal(eeg.load(["Fp2", "Fp1"]), EEG[:, ::-1])
    assert (slow.columns, slow.rate_hz, slow.length) == (("0",), None, 3)
    assert slow.timestamps_s.tolist() == [10.0, 11.5, 11.75]


def test_markers_are_labels_until_the_next(tmp_path):
    labels = open_file(write(tmp_path / "a.xdf")).labels
    assert labels == (
        LabelInterval(10.5, 11.0, "rest"),
        LabelInterval(11.0, pytest.approx(11.99), "walk"),
    )


def test_a_recording_without_its_end_says_so(tmp_path):
    content = open_file(write(tmp_path / "a.xdf", ended=False))
    assert content.about["notes"] == [
        "a.xdf: stream EEG, Slow, Markers, Never has no end mark; the recording was not closed "
        "or the file is cut off"
    ]


def test_lost_samples_are_refused(tmp_path):
    with pytest.raises(DataError, match="stream 'EEG' holds 200 samples; its end mark says 210"):
        open_file(write(tmp_path / "a.xdf", told=210))


@pytest.mark.parametrize("keep", [1000, 2000, 5, 700])
def test_a_file_that_was_cut_off_is_refused(tmp_path, keep):
    path = write(tmp_path / "a.xdf")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"a.xdf: (is damaged or cut off|holds no stream)") as told:
        open_file(path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("data", [b"", b"t,x\n1,2\n" * 50, b"XDF:"])
def test_a_file_of_something_else_is_refused(tmp_path, data):
    (tmp_path / "a.xdf").write_bytes(data)
    with pytest.raises(DataError, match=r"a.xdf: (begins with .*; an XDF|holds no stream)"):
        open_file(tmp_path / "a.xdf")


# --- the times of the file count


def record(path, streams, *more):
    """Write streams of (name, kind, declared rate, times, rows)."""
    data = b"XDF:" + chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
    for number, (name, kind, rate, times, rows) in enumerate(streams, start=1):
        width = 1 if isinstance(rows[0], str) else len(rows[0])
        data += header(number, name, kind, width, rate)
        data += samples(number, times, rows) + footer(number, len(times))
    path.write_bytes(data + b"".join(more))
    return path


def paused(rate_hz, begin, end, *, jitter_s=0.0):
    """Two minutes with a pause and a pulse in the middle of each ten seconds."""
    steps = np.arange(0, 120, 1 / rate_hz)
    steps = steps[(steps < begin) | (steps >= end)]
    moved = steps + np.random.default_rng(0).uniform(0, jitter_s, len(steps))
    return 100 + moved, (np.abs(steps % 10 - 5) < 0.6)[:, None] * 1.0


@pytest.mark.parametrize(("rate_hz", "jitter_s"), [(4, 0), (50, 0), (50, 0.1), (200, 0.1)])
def test_a_pause_stays_and_what_follows_it_keeps_its_time(tmp_path, rate_hz, jitter_s):
    times, rows = paused(rate_hz, 31.0, 38.0, jitter_s=jitter_s)
    path = record(tmp_path / "a.xdf", [("EDA", "double64", rate_hz, times, rows)])
    content = open_file(path)
    stream = content.stream("EDA")
    assert ("are before the one before" in str(content.about)) == (jitter_s > 0)
    signal = Signal.from_timestamps(stream.timestamps_s, stream.load(["0"]), rate_hz=rate_hz)
    assert signal.timing.gaps == 1
    assert signal.timing.longest_gap_s == pytest.approx(7, abs=1.01 / rate_hz + jitter_s)
    where = signal.start_s - 100 + np.arange(len(signal.values)) / rate_hz
    missing = np.isnan(signal.values[:, 0])
    np.testing.assert_allclose(missing.sum() / rate_hz, 7, atol=1 / rate_hz + jitter_s)
    assert missing[(where > 31 + jitter_s) & (where < 37.9)].all()
    for middle in (*range(5, 31, 10), *range(45, 120, 10)):
        pulse = where[(np.abs(where - middle) < 4) & (signal.values[:, 0] > 0.5)]
        assert pulse.mean() == pytest.approx(middle, abs=1 / rate_hz + jitter_s)


def test_markers_of_a_declared_rate_keep_their_times(tmp_path):
    times, rows = paused(10, 31.0, 38.0)
    marks = [100.0, 101.0, 130.0, 131.0], ["rest", "walk", "rest", "run"]
    streams = [("ACC", "double64", 10, times, rows), ("marks", "string", 1, *marks)]
    labels = open_file(record(tmp_path / "a.xdf", streams)).labels
    assert [(one.start_s, one.label) for one in labels] == list(zip(*marks, strict=True))


def test_clocks_of_several_computers_are_still_put_on_one(tmp_path):
    times, rows = paused(10, 31.0, 38.0)
    offsets = [chunk(4, struct.pack("<Idd", 1, at, 5.0)) for at in (100.0, 150.0, 200.0)]
    path = record(tmp_path / "a.xdf", [("ACC", "double64", 10, times, rows)], *offsets)
    np.testing.assert_allclose(open_file(path).streams[0].timestamps_s, times + 5.0)


def test_other_columns_of_markers_are_told_of(tmp_path):
    times, rows = paused(10, 31.0, 38.0)
    marks = [("rest", "easy", "1"), ("walk", "hard", "2")]
    streams = [("ACC", "double64", 10, times, rows), ("task", "string", 0, [100.0, 130.0], marks)]
    content = open_file(record(tmp_path / "a.xdf", streams))
    assert [one.label for one in content.labels] == ["rest", "walk"]
    assert content.about["notes"] == [
        "a.xdf: markers 'task' have 3 columns; labels are made of the first, '0', left out: "
        "1 (easy, hard); 2 (1, 2)"
    ]


def test_a_marker_that_is_no_class_ends_none_and_an_empty_one_ends_all(tmp_path):
    times, rows = paused(10, 31.0, 38.0)
    texts = [(text,) for text in ("rest", "blink", "walk", "blink", "")]
    marks = [100.0, 110.0, 120.0, 130.0, 140.0], texts
    sounds = [105.0, 115.0], ["beep", "beep"]
    streams = [("ACC", "double64", 10, times, rows), ("task", "string", 0, *marks),
               ("sounds", "string", 0, *sounds)]  # fmt: skip
    content = open_file(record(tmp_path / "a.xdf", streams))
    names = Names(["rest", "walk"])
    kept = [one for one in annotated(content, names) if names.keeps(one.label)]
    assert kept == [LabelInterval(100.0, 120.0, "rest"), LabelInterval(120.0, 140.0, "walk")]


# --- lengths and counts


@pytest.mark.parametrize("end", [6, 60, 300, 900, 2000, -1])
def test_a_file_that_ends_within_a_chunk_is_told_by_its_length(tmp_path, end):
    path = write(tmp_path / "a.xdf")
    path.write_bytes(path.read_bytes()[:end])
    with pytest.raises(DataError, match=r"a.xdf: is damaged or cut off \(.*chunk.*byte|byte \d+"):
        open_file(path)


@pytest.mark.parametrize("kind", ["double64", "string"])
def test_counts_that_a_chunk_cannot_hold_are_refused(tmp_path, kind):
    declared = struct.pack("<I", 1) + b"\x08" + struct.pack("<Q", 2**40) + bytes(90)
    data = b"XDF:" + header(1, "EEG", kind, 2, 100) + chunk(3, declared)
    (tmp_path / "a.xdf").write_bytes(data)
    with pytest.raises(DataError, match=r"a chunk of \d+ bytes declares 1099511627776 samples"):
        open_file(tmp_path / "a.xdf")
    (tmp_path / "a.xdf").write_bytes(b"XDF:" + header(1, "EEG", kind, 900_000_000, 100))
    with pytest.raises(DataError, match="has 900000000 channels; at most 100000 are read"):
        open_file(tmp_path / "a.xdf")
