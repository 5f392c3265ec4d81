"""XDF: streams on one clock, markers as labels; what pyxdf only warns of is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from crossl.data.formats import open_file
from crossl.data.recording import LabelInterval
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
        if isinstance(row, str):
            out += b"\x04" + struct.pack("<I", len(row)) + row.encode()
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
    with pytest.raises(DataError, match="stream 'EEG' holds 200 samples; its end mark tells 210"):
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
    with pytest.raises(DataError, match=r"a.xdf: (is damaged or cut off|holds no stream)"):
        open_file(tmp_path / "a.xdf")
