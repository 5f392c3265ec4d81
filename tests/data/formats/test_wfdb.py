"""WFDB: frames of several rates, invalid samples, checksums, annotations."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.data.formats import open_file
from crossl.data.recording import LabelInterval
from crossl.errors import DataError


def write(folder, frames, *, header=None):
    """Two rates: 'a' has 2 samples a frame, 'b' one; `frames` is (frame, 3) int16."""
    frames = np.asarray(frames, dtype="<i2")
    sums = [int(frames[:, :2].sum()) % 65536, int(frames[:, 2].sum()) % 65536]
    (folder / "r.dat").write_bytes(frames.tobytes())
    (folder / "r.hea").write_text(header or (
        f"r 2 10 {len(frames)}\n"
        f"r.dat 16x2 100/mV 16 0 {frames[0, 0]} {sums[0]} 0 a\n"
        f"r.dat 16 2(10)/bpm 16 0 {frames[0, 2]} {sums[1]} 0 b\n"))  # fmt: skip
    return folder / "r.hea"


FRAMES = np.arange(30).reshape(10, 3) * 100


@pytest.fixture
def written(tmp_path):
    return write(tmp_path, FRAMES)


def copy(real_data, tmp_path, name, folder="drivedb"):
    for path in real_data(folder).glob(f"{name}.*"):
        shutil.copyfile(path, tmp_path / path.name)
    return tmp_path / f"{name}.hea"


def test_signals_of_one_rate_form_a_stream_in_the_units_of_the_header(written):
    fast, slow = open_file(written).streams
    assert (fast.name, fast.rate_hz, fast.columns, fast.units, fast.length) == (
        "20 Hz", 20.0, ("a",), ("mV",), 20)  # fmt: skip
    assert (slow.name, slow.rate_hz, slow.columns, slow.units, slow.length) == (
        "10 Hz", 10.0, ("b",), ("bpm",), 10)  # fmt: skip
    np.testing.assert_allclose(fast.load(["a"])[:, 0], FRAMES[:, :2].ravel() / 100)
    np.testing.assert_allclose(slow.load(["b"])[:, 0], (FRAMES[:, 2] - 10) / 2)


def test_invalid_samples_are_missing(tmp_path):
    frames = FRAMES.copy()
    frames[3, 1] = -32768
    values = open_file(write(tmp_path, frames)).stream("20 Hz").load(["a"])[:, 0]
    assert np.flatnonzero(np.isnan(values)).tolist() == [7]


@pytest.mark.parametrize(("record", "ecg_hz", "gsr_hz", "frames"), [
    ("drive17a", 480.0, 30.0, 26132), ("drive17b", 496.0, 31.0, 23655)])  # fmt: skip
def test_a_real_drive_has_three_rates(real_data, record, ecg_hz, gsr_hz, frames):
    path = real_data("drivedb") / f"{record}.hea"
    content = open_file(path)
    assert content.labels == ()
    by_column = {column: s for s in content.streams for column in s.columns}
    assert by_column["ECG"].rate_hz == ecg_hz
    assert by_column["ECG"].length == 32 * frames
    assert by_column["foot GSR"].rate_hz == by_column["RESP"].rate_hz == gsr_hz
    assert by_column["HR"].units == ("mV", "bpm", "mV")
    raw = np.fromfile(path.with_suffix(".dat"), "<i2").reshape(frames, 41)
    wanted = {
        "ECG": raw[:, :32].ravel() / 1e3,
        "hand GSR": raw[:, 35:37].ravel() / 1e3,
        "HR": raw[:, 37],
    }
    for column, values in wanted.items():
        np.testing.assert_allclose(by_column[column].load([column])[:, 0], values)
    pair = by_column["RESP"].load(["RESP", "foot GSR"])
    np.testing.assert_allclose(
        pair, np.c_[raw[:, 39:41].ravel() / 100, raw[:, 33:35].ravel() / 1e3]
    )


def test_annotations_with_text_become_labels_until_the_next(real_data):
    content = open_file(real_data("noneeg") / "Subject1_AccTempEDA.hea")
    assert len(content.labels) == 8
    assert content.labels[1] == LabelInterval(2401 / 8, 5026 / 8, "PhysicalStress")
    assert content.labels[-1] == LabelInterval(15943 / 8, 18343 / 8, "Relax")
    assert "age: 30" in content.about["comments"]


def test_annotations_that_count_at_another_rate_are_left_out_and_told(real_data):
    content = open_file(real_data("noneeg") / "Subject1_SpO2HR.hea")
    assert content.labels == ()
    assert "lies behind the end of the record at 2299 s" in content.about["labels"]


def mark(step, code, text=""):
    """One annotation of the MIT format, `step` samples behind the one before."""
    out = struct.pack("<H", code << 10 | step)
    if text:
        out += struct.pack("<H", 63 << 10 | len(text)) + text.encode() + b"\0" * (len(text) % 2)
    return out


def test_annotations_without_text_are_no_labels(written):
    normal, ventricular, rhythm = 1, 5, 28
    path = written.with_suffix(".atr")
    path.write_bytes(mark(1, normal) + mark(3, normal) + mark(3, ventricular) + bytes(2))
    content = open_file(written)
    assert content.labels == ()
    assert content.about["annotations"] == 3
    path.write_bytes(mark(1, rhythm, "(N") + mark(3, normal) + mark(3, rhythm, "(AFIB") + bytes(2))
    assert open_file(written).labels == (
        LabelInterval(0.1, 0.7, "(N"), LabelInterval(0.7, 1.0, "(AFIB"))  # fmt: skip


def test_damaged_annotations_are_refused(written):
    written.with_suffix(".atr").write_bytes(b"\x01\xfc\xff")
    with pytest.raises(DataError, match=f"^{written.with_suffix('.atr')}: is damaged or cut off"):
        open_file(written)


def test_a_corrupted_file_fails_its_checksum(real_data, tmp_path):
    path = copy(real_data, tmp_path, "drive17a")
    data = bytearray(path.with_suffix(".dat").read_bytes())
    data[80 * 1000] ^= 0x10  # one bit of the ECG
    path.with_suffix(".dat").write_bytes(data)
    content = open_file(path)
    with pytest.raises(DataError, match=r"drive17a.dat: the checksum of 'ECG' is \d+; the header"):
        content.stream("480 Hz").load(["ECG"])
    assert np.isfinite(content.stream("30 Hz").load(["RESP"])).all()


@pytest.mark.parametrize("keep", [0, 1, 37, 1_000_001])
def test_a_truncated_file_is_refused_in_one_sentence(real_data, tmp_path, keep):
    path = copy(real_data, tmp_path, "drive17b")
    path.with_suffix(".dat").write_bytes(path.with_suffix(".dat").read_bytes()[:keep])
    for stream in open_file(path).streams:
        with pytest.raises(DataError, match=r"drive17b") as caught:
            stream.load(stream.columns)
        assert "\n" not in str(caught.value)


def test_a_header_without_its_samples_is_refused(written):
    written.with_suffix(".dat").unlink()
    with pytest.raises(DataError, match=r"r.hea: its samples are in r.dat, which is not beside it"):
        open_file(written)


def test_a_record_of_several_segments_is_refused(written):
    written.write_text("r/2 2 10 20\nr1 10\nr2 10\n")
    with pytest.raises(DataError, match=f"^{written}: is made of several segments"):
        open_file(written)


@pytest.mark.parametrize(("header", "message"), [
    ("", "r.hea: is damaged or cut off"),
    ("r 2\n", "r.hea: "),
    ("r 1 10\nr.dat 16 1/mV 16 0 0 0 0 a\n", "tells None samples"),
    ("r 2 10 10\n" + 2 * "r.dat 16 1 16 0 0 0 0 a\n", "each needs a name of its own"),
    ("r 1 0 10\nr.dat 16 1 16 0 0 0 0 a\n", "10 samples at 0"),
])  # fmt: skip
def test_a_header_that_says_too_little_is_refused(tmp_path, header, message):
    path = write(tmp_path, FRAMES)
    path.write_text(header)
    with pytest.raises(DataError, match=message):
        open_file(path)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 90), text=st.text("0123456789 /x.()ab\n#-", min_size=1, max_size=6))
def test_whatever_stands_in_a_header_the_answer_is_values_or_one_sentence(tmp_path, at, text):
    path = write(tmp_path, FRAMES)
    good = path.read_text()
    path.write_text(good[:at] + text + good[at + len(text) :])
    sentence = ""
    try:
        for stream in open_file(path).streams:
            assert stream.load(stream.columns).shape == (stream.length, len(stream.columns))
    except DataError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 500
