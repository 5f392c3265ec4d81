"""WFDB: frames of several rates, invalid samples, checksums, annotations."""

from __future__ import annotations

import shutil
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.data.formats import open_file
from crossl.data.formats.wfdb import samples
from crossl.data.formats.wfdb.annotations import read_marks
from crossl.data.formats.wfdb.samples import BLOCKS, bytes_of, decode, read_frames, samples_in
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


def test_damaged_annotations_are_refused_and_leave_the_signals(written):
    written.with_suffix(".atr").write_bytes(b"\x01\xfc\xff")
    content = open_file(written)
    assert content.streams[0].load(["a"]).shape == (20, 1)
    why = "is cut off: an annotation extends to byte 6 and the file has 3"
    with pytest.raises(DataError, match=rf"cannot be read: {written.parent}/r.atr: {why}"):
        content.check_labels()


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


def segment(folder, name, values, signals=("a", "b"), *, rate_hz=10, gain=1):
    """A segment of one rate; `values` is (frame, signal)."""
    raw = np.asarray(values, dtype="<i2")
    (folder / f"{name}.dat").write_bytes(raw.tobytes())
    lines = [
        f"{name}.dat 16 {gain}/mV 16 0 {raw[0, n]} {int(raw[:, n].sum()) % 65536} 0 {signal}\n"
        for n, signal in enumerate(signals)
    ]
    text = f"{name} {len(signals)} {rate_hz} {len(raw)}\n" + "".join(lines)
    (folder / f"{name}.hea").write_text(text)


A, B = np.arange(1, 11).reshape(5, 2), np.arange(21, 27).reshape(3, 2)


def test_segments_of_a_fixed_layout_follow_one_another(tmp_path):
    segment(tmp_path, "r1", A)
    segment(tmp_path, "r2", B, gain=2)
    (tmp_path / "r.hea").write_text("r/3 2 10 10 10:00:00 01/02/2020\nr1 5\n~ 2\nr2 3\n# age: 30\n")
    content = open_file(tmp_path / "r.hea")
    (stream,) = content.streams
    assert (stream.rate_hz, stream.length, stream.columns) == (10, 10, ("a", "b"))
    wanted = np.r_[A, np.full((2, 2), np.nan), B / 2]
    np.testing.assert_array_equal(stream.load(["a", "b"]), wanted)
    np.testing.assert_array_equal(stream.load(["b"])[:, 0], wanted[:, 1])
    assert content.about["start"] == "2020-02-01T10:00:00"
    assert content.about["comments"] == ["age: 30"]


def test_segments_of_a_variable_layout_have_some_of_the_signals(tmp_path):
    segment(tmp_path, "r1", A)
    segment(tmp_path, "r2", B, signals=("b", "c"))
    layout = "".join(f"~ 0 1/mV 16 0 0 0 0 {name}\n" for name in "abc")
    (tmp_path / "r_layout.hea").write_text(f"r_layout 3 10 0\n{layout}")
    (tmp_path / "r.hea").write_text("r/3 3 10 8\nr_layout 0\nr1 5\nr2 3\n")
    (stream,) = open_file(tmp_path / "r.hea").streams
    lost = np.nan
    np.testing.assert_array_equal(
        stream.load(["a", "b", "c"]),
        np.r_[np.c_[A, [lost] * 5], np.c_[[lost] * 3, B]],
    )


@pytest.mark.parametrize(("master", "message"), [
    ("r/2 2 10 20\nr1 5\nr9 10\n", "its segment r9.hea is not beside it"),
    ("r/2 2 10 20\nr1 5\n", "states 2 segments and lists 1"),
    ("r/1 2 10 20\nr1 x\n", "line 2 is 'r1 x'; a segment has a name and a length"),
    ("r/1 2 10 20\n../r1 5\n", "line 2 is '../r1 5'; a segment has a name"),
    ("r/1 2 10 6\nr1 6\n", "r1.hea: has 5 frames; r.hea states 6 for this segment"),
    ("r/1 2 20 5\nr1 5\n", "r1.hea: has 10 frames a second and r.hea 20"),
    ("r/2 2 10\nr1 5\n~ 99999999\n", "holds 5 frames within 100000004; at most 100 times"),
    ("r/1 2 10 5\n~ 5\n", "none of its segments holds samples"),
    ("r/1 2 10 5\nr 5\n", "r.hea: is a segment made of segments"),
])  # fmt: skip
def test_segments_that_do_not_fit_are_refused(tmp_path, master, message):
    segment(tmp_path, "r1", A)
    (tmp_path / "r.hea").write_text(master)
    with pytest.raises(DataError, match=message):
        open_file(tmp_path / "r.hea")


def test_a_segment_that_is_listed_again_and_again_costs_no_memory(tmp_path):
    segment(tmp_path, "r1", A)
    (tmp_path / "r.hea").write_text("r/1000 2 10\n" + "r1 5\n" * 1000)
    with pytest.raises(DataError, match="holds 5 frames within 5000; at most 100 times"):
        open_file(tmp_path / "r.hea")


@pytest.mark.parametrize(("header", "message"), [
    ("", "r.hea: holds no line that describes a record"),
    ("r 2\n", "r.hea: states 2 signals and describes 0; each needs a line"),
    ("r 1 0 10\nr.dat 16 1 16 0 0 0 0 a\n", "gives a rate of '0'; a positive number of Hz"),
    ("r 1 10 x\nr.dat 16 1 16 0 0 0 0 a\n", "states 'x' samples; a whole number is needed"),
    ("r 1 10 10\nr.dat sixteen\n", "r.hea: line 2 is 'r.dat sixteen'; a signal has a file"),
    ("r 1 10 10\nr.dat 516 1 16\n", r"r.dat are compressed \(format 516, FLAC\)"),
    ("r 1 10 10\nr.dat 17 1 16\n", "r.dat is of format 17; crossl reads 8, 16, 24"),
    ("r 1 10 10\n../r.dat 16 1 16\n", "its samples are in ../r.dat, which is not beside it"),
    ("r 1 10 10\nr.dat 16 1e999 16\n", "line 2 has a gain of '1e999'; a number is needed"),
    ("r 99999999 10 10\n", "states 99999999 signals; at most 10000 are read"),
])  # fmt: skip
def test_a_header_that_says_too_little_is_refused(tmp_path, header, message):
    path = write(tmp_path, FRAMES)
    path.write_text(header)
    with pytest.raises(DataError, match=message) as caught:
        open_file(path)
    assert "fetch it again" not in str(caught.value)


def read(folder, header, frames=FRAMES):
    """Write a record with this header, and return what it holds."""
    content = open_file(write(folder, frames, header=header))
    return content, {c: s.load([c])[:, 0] for s in content.streams for c in s.columns}


def test_a_header_without_length_or_rate_has_those_of_its_file_and_of_the_format(tmp_path):
    content, values = read(tmp_path, "r 1\nr.dat 16 100/mV 16 0 0 0 0 a\n")
    assert (content.streams[0].rate_hz, content.streams[0].length) == (250.0, 30)
    np.testing.assert_allclose(values["a"], FRAMES.ravel() / 100)
    notes = "; ".join(content.about["notes"])
    assert "r.hea gives no rate; 250 Hz count, as the format says" in notes
    assert "r.hea gives no length; its files hold 30 frames" in notes


@pytest.mark.parametrize(("names", "called"), [
    ((" ECG", " ECG"), ["ECG", "ECG (2)"]), (("", ""), ["signal 1", "signal 2"])])  # fmt: skip
def test_signals_without_names_of_their_own_are_given_some(tmp_path, names, called):
    lines = "".join(f"r.dat 16 100/mV 16 0 0 0 0{name}\n" for name in names)
    content, values = read(tmp_path, f"r 2 10 15\n{lines}")
    assert list(values) == called
    np.testing.assert_allclose(values[called[1]], FRAMES.ravel()[1::2] / 100)
    assert f"'{called[1]}'" in content.about["notes"][0]


def test_an_uncalibrated_signal_is_told(tmp_path):
    content, values = read(tmp_path, "r 1 10 30\nr.dat 16\n")
    np.testing.assert_allclose(values["signal 1"], FRAMES.ravel() / 200)
    assert any("does not give the gain of every signal; 200" in n for n in content.about["notes"])


def test_one_signal_that_cannot_be_read_leaves_the_others(tmp_path):
    header = "r 2 10 30\nr.dat 16 1/mV 16 0 0 0 0 a\nr.flac 516 1/mV 16 0 0 0 0 b\n"
    content, values = read(tmp_path, header)
    assert list(values) == ["a"]
    assert content.left_out["b"].startswith("its samples are in r.flac, which is not beside it")


def test_a_header_tells_date_and_time_in_either_order(tmp_path):
    for words in ("11:39:16 05/02/2020", "05-Feb-2020 11:39:16"):
        content, _ = read(tmp_path, f"r 1 10 30 {words}\nr.dat 16 1/mV\n")
        assert content.about["start"] == "2020-02-05T11:39:16"


def test_samples_may_begin_behind_others_in_a_matlab_file(tmp_path):
    raw = FRAMES.ravel().astype("<i2").tobytes()
    header = "r 1 10 29\nr.dat 16+2 1/mV 16 0 100 0 0 I\n"
    path = write(tmp_path, FRAMES, header=header)
    path.with_suffix(".dat").write_bytes(raw)
    (stream,) = open_file(path).streams
    with pytest.raises(DataError, match=r"checksum of 'I' is 43500; the header says 0"):
        stream.load(["I"])
    path.write_text(header.replace(" 100 0 0 I", " 100 43500 0 I"))
    assert open_file(path).streams[0].load(["I"])[:3, 0].tolist() == [100, 200, 300]


def test_a_skewed_signal_is_moved_back(tmp_path):
    header = "r 2 10 15\nr.dat 16:2 1/mV 16 0 0 0 0 a\nr.dat 16 1/mV 16 0 100 0 0 b\n"
    header = header.replace("100 0 0 b", f"100 {int(FRAMES.ravel()[1::2].sum())} 0 b")
    _, values = read(tmp_path, header.replace("0 0 0 a", f"0 {FRAMES.ravel()[::2].sum()} 0 a"))
    assert values["a"][:3].tolist() == [400, 600, 800]
    assert np.isnan(values["a"][-2:]).all()
    assert values["b"][:3].tolist() == [100, 300, 500]


BYTES = bytes((37 * i + 11) % 256 & (63 if i % 4 == 3 else 255) for i in range(48))


@pytest.mark.parametrize(("code", "first", "last", "total"), [
    (8, [14, 62, 147, 205], [133, 155], 9328),
    (16, [12299, 14933, -15201, 3817], [-29593, 5809], 54224),
    (24, [5582859, -3891398, 3346153, 2260312], [6750749, 1487244], -2191816),
    (32, [978661387, 250201247, 578639923, 907144391], [35518675, 380734567], 6009023916),
    (61, [2864, 21818, -24636, -5874], [26508, -20202], -10296),
    (80, [-117, -80, -43, -70], [49, -106], -1128),
    (160, [-20469, -17835, 17567, -28951], [3175, -26959], -273456),
    (212, [11, 853, -198, -1596], [396, -1258], 1552),
    (310, [5, 298, 230, -433], [-168, 81], -154),
    (311, [11, 332, -91, 159], [99, 363], 1699),
])  # fmt: skip
def test_every_format_has_the_samples_that_wfdb_4_3_1_reads(tmp_path, code, first, last, total):
    (tmp_path / "r.dat").write_bytes(BYTES)
    (tmp_path / "r.hea").write_text(f"r 1 250\nr.dat {code} 1(0)/V 16 0 3\n")
    (stream,) = open_file(tmp_path / "r.hea").streams
    values = stream.load(stream.columns)[:, 0]
    assert values[:4].tolist() == first
    assert values[-2:].tolist() == last
    assert values.sum() == total


@pytest.mark.parametrize("code", sorted(BLOCKS))
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7])
def test_a_last_block_in_part_holds_what_it_can(code, count):
    size = bytes_of(code, count)
    assert samples_in(code, size) >= count
    assert samples_in(code, size - 1) < count
    data = np.frombuffer(BYTES[:size], np.uint8)
    whole = decode(code, np.frombuffer(BYTES, np.uint8), samples_in(code, 48))
    assert decode(code, data, count).tolist() == whole[:count].tolist()


@pytest.mark.parametrize("code", sorted(BLOCKS))
def test_a_long_file_is_decoded_in_parts_to_the_same_samples(tmp_path, monkeypatch, code):
    path = tmp_path / "r.dat"
    path.write_bytes(b"xyz" + BYTES * 50)
    frames = samples_in(code, len(BYTES) * 50) // 3
    how = {"offset": 3, "frames": frames, "widths": [2, 1], "wanted": [0, 1]}
    whole = read_frames(path, code, **how)
    monkeypatch.setattr(samples, "PART_SAMPLES", 40)
    parts = read_frames(path, code, **how)
    assert len(parts[0]) == 2 * frames
    for number in (0, 1):
        np.testing.assert_array_equal(parts[number], whole[number])


ATR = bytes.fromhex(
    "005817fc23232074696d65207265736f6c7574696f6e3a203336300000ecffffffff0100037002fc284eb90603f4"
    "01f800ec1e00c481007002f005fc284146494200055800f802fc54530000"
)
"""Written by wfdb 4.3.1: rhythms at 3 and 2,000,000, a beat at 700, a comment at 2,000,005."""


def test_annotations_are_what_wfdb_wrote(tmp_path):
    (tmp_path / "r.atr").write_bytes(ATR)
    found = read_marks(tmp_path / "r.atr")
    assert (found.rate_hz, found.ended) == (360.0, True)
    assert [(m.sample, m.code, m.note) for m in found.marks] == [
        (3, 28, "(N"), (700, 1, ""), (2_000_000, 28, "(AFIB"), (2_000_005, 22, "TS")]  # fmt: skip


def test_comments_and_beats_with_notes_end_no_rhythm(written):
    beat, comment, rhythm = 1, 22, 28
    path = written.with_suffix(".atr")
    path.write_bytes(mark(1, rhythm, "(N") + mark(2, comment, "MISSB") + mark(1, beat, "odd")
                     + mark(2, rhythm, "(AFIB") + bytes(2))  # fmt: skip
    content = open_file(written)
    assert content.labels == (LabelInterval(0.1, 0.6, "(N"), LabelInterval(0.6, 1.0, "(AFIB"))
    assert content.about["label_notes"] == [
        "2 annotations of r.atr with text: points in time, no labels, and they end none: MISSB, odd"
    ]
    path.write_bytes(mark(1, comment, "rest") + mark(2, beat, "odd") + mark(3, comment, "walk")
                     + bytes(2))  # fmt: skip
    assert [one.label for one in open_file(written).labels] == ["rest", "walk"]


@pytest.mark.parametrize("notes", [
    ("## ",), ("## x", "y"), ("## annotation type definitions", "42 q a word"),
    ("## time resolution: 0", "## "), ("## end of definitions",),
])  # fmt: skip
def test_notes_that_describe_the_file_are_no_labels_and_never_hang(written, notes):
    data = b"".join(mark(0, 22, note) for note in notes) + mark(3, 22, "rest") + bytes(2)
    written.with_suffix(".atr").write_bytes(data)
    labels = open_file(written).labels
    assert LabelInterval(0.3, 1.0, "rest") in labels
    assert not any(one.label.startswith("##") for one in labels)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.binary(max_size=60))
def test_whatever_bytes_an_annotation_file_holds_reading_ends(tmp_path, data):
    path = tmp_path / "r.atr"
    path.write_bytes(data)
    sentence = ""
    try:
        assert len(read_marks(path).marks) <= len(data) // 2
    except DataError as error:
        sentence = str(error)
    assert sentence == "" or sentence.startswith(f"{path}: is cut off: ")


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
