"""EDF and BDF: rates, units and annotations of real and written files, damaged headers."""

from __future__ import annotations

import datetime
import pickle
import re
import shutil

import edfio
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.data.formats import open_file
from crossl.data.recording import LabelInterval
from crossl.errors import DataError

RNG = np.random.default_rng(0)
EEG = RNG.normal(size=6 * 100)
TEMP = RNG.uniform(36, 37, size=6)


def signal(kind, values, rate_hz, label, unit="uV", **other):
    return kind(values, rate_hz, label=label, physical_dimension=unit, **other)


def write(path, *, annotations=None, kind="Edf"):
    one = edfio.EdfSignal if kind == "Edf" else edfio.BdfSignal
    signals = [
        signal(one, EEG, 100, "EEG Fpz-Cz"),
        signal(one, TEMP, 1, "Temp rectal", "DegC"),
        signal(one, EEG[::-1], 100, "EEG Fpz-Cz"),
    ]
    getattr(edfio, kind)(signals, annotations=annotations, data_record_duration=2).write(path)
    return path


@pytest.fixture
def written(tmp_path):
    return write(tmp_path / "night.edf")


def test_each_rate_is_a_stream_with_unique_columns(written):
    content = open_file(written)
    assert [(s.name, s.rate_hz, s.length, s.start_s) for s in content.streams] == [
        ("100 Hz", 100.0, 600, 0.0), ("1 Hz", 1.0, 6, 0.0)]  # fmt: skip
    eeg, temp = content.streams
    assert eeg.columns == ("EEG Fpz-Cz", "EEG Fpz-Cz (2)")
    assert eeg.units == ("uV", "uV")
    assert temp.units == ("DegC",)
    both = eeg.load(["EEG Fpz-Cz (2)", "EEG Fpz-Cz"])
    assert both.dtype == np.float64
    np.testing.assert_allclose(both, np.c_[EEG[::-1], EEG], atol=2e-4)
    np.testing.assert_allclose(temp.load(temp.columns)[:, 0], TEMP, atol=1e-4)


def test_bdf_keeps_its_24_bits(tmp_path):
    content = open_file(write(tmp_path / "biosemi.bdf", kind="Bdf"))
    loaded = content.stream("100 Hz").load(["EEG Fpz-Cz"])[:, 0]
    np.testing.assert_allclose(loaded, EEG, atol=1e-6)
    assert content.about["format"] == "BDF"


def test_an_annotation_without_duration_ends_where_the_next_one_starts(tmp_path):
    notes = [
        (0, None, "rest"),
        (1.5, 0.5, "blink"),
        (1.5, None, "task"),
        (4, None, "talk"),
        (5, None, ""),
    ]
    path = write(tmp_path / "a.edf", annotations=[edfio.EdfAnnotation(*note) for note in notes])
    assert open_file(path).labels == (
        LabelInterval(0.0, 1.5, "rest"),
        LabelInterval(1.5, 4.0, "task"),
        LabelInterval(1.5, 2.0, "blink"),
        LabelInterval(4.0, 6.0, "talk"),
    )  # fmt: skip


def test_real_eeg_has_the_values_that_its_bytes_tell(real_data):
    path = real_data("eegmat") / "Subject00_1.edf"
    content = open_file(path)
    (stream,) = content.streams
    assert (stream.rate_hz, stream.length, len(stream.columns)) == (500.0, 91000, 21)
    assert set(stream.units) == {"uV", "mV"}
    data, count = path.read_bytes(), 22

    def fields(offset, width):
        begin = 256 + offset * count
        return [float(data[begin + i * width : begin + (i + 1) * width]) for i in range(count)]

    low, high, digital_low, digital_high = (fields(104 + 8 * i, 8) for i in range(4))
    samples = [int(n) for n in fields(216, 8)]
    records = np.frombuffer(data[256 * (count + 1) :], "<i2").reshape(182, sum(samples))
    for index in (0, 12, 20):
        raw = records[:, sum(samples[:index]) : sum(samples[: index + 1])].ravel()
        share = (raw - digital_low[index]) / (digital_high[index] - digital_low[index])
        wanted = low[index] + share * (high[index] - low[index])
        np.testing.assert_allclose(
            stream.load([stream.columns[index]])[:, 0], wanted, atol=1e-9 * abs(high[index])
        )
    assert content.about["start"] == "2011-01-01T00:00:00"


def test_a_hypnogram_has_labels_and_no_stream(real_data):
    path = real_data("sleep_edf") / "sleep-cassette/SC4001EC-Hypnogram.edf"
    content = open_file(path)
    assert content.streams == ()
    assert len(content.labels) == 154
    assert content.labels[0] == LabelInterval(0.0, 30630.0, "Sleep stage W")


def test_an_anonymous_recording_has_no_start(tmp_path):
    path = write(tmp_path / "a.edf")
    assert open_file(path).about["start"] is None


def test_a_stream_can_be_pickled_and_read_elsewhere(written):
    load = pickle.loads(pickle.dumps(open_file(written).streams[1].load))  # noqa: S301
    assert load(["Temp rectal"]).shape == (6, 1)


@pytest.mark.parametrize("cut", [4, 200, 900, -7, -700])
def test_a_truncated_file_is_refused_in_one_sentence(written, cut):
    written.write_bytes(written.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"night.edf: (is cut off|begins with)") as caught:
        open_file(written)
    assert "\n" not in str(caught.value)


def patch(path, at, field):
    """Write into the header."""
    data = bytearray(path.read_bytes())
    data[at : at + len(field)] = field
    path.write_bytes(data)


def test_a_file_that_was_never_closed_holds_its_whole_records(written):
    whole = open_file(written).streams[0].load(["EEG Fpz-Cz"])
    patch(written, 236, b"-1      ")
    written.write_bytes(written.read_bytes()[:-7])
    content = open_file(written)
    assert content.about["notes"][0] == (
        "night.edf was not closed: its header does not say how many data records there are; it "
        "holds 2"
    )
    np.testing.assert_array_equal(content.streams[0].load(["EEG Fpz-Cz"]), whole[:400])


def test_bytes_behind_the_last_record_are_told_and_not_read(written):
    written.write_bytes(written.read_bytes() + bytes(57))
    content = open_file(written)
    assert content.streams[0].length == 600
    assert content.about["notes"] == [
        "night.edf holds 57 bytes behind the 3 data records that its header states; they are not "
        "read"
    ]


def test_a_comma_in_a_number_of_the_header_is_a_point(written):
    whole = open_file(written).streams[0].load(["EEG Fpz-Cz"])
    header = written.read_bytes()[: 256 * 4]
    written.write_bytes(
        header[:256] + header[256:].replace(b".", b",") + written.read_bytes()[256 * 4 :]
    )
    content = open_file(written)
    np.testing.assert_array_equal(content.streams[0].load(["EEG Fpz-Cz"]), whole)
    assert content.about["notes"] == [
        "night.edf writes numbers of its header with a comma; it is read as a point"
    ]


def test_without_the_length_of_a_record_the_mapping_tells_the_rate(written):
    whole = open_file(written).streams[0].load(["EEG Fpz-Cz"])
    patch(written, 244, b"0       ")
    content = open_file(written)
    assert [(s.name, s.rate_hz) for s in content.streams] == [
        ("200 a record", None), ("2 a record", None)]  # fmt: skip
    np.testing.assert_array_equal(content.streams[0].load(["EEG Fpz-Cz"]), whole)
    assert "gives no length of its data records, hence no rates" in content.about["notes"][0]


@pytest.mark.parametrize(("offset", "field", "why"), [
    (104, b"5       ", "physical minimum 5 and maximum 5"),
    (120, b"-32768  ", "digital minimum -32768 and maximum -32768"),
    (120, b"abc     ", "digital minimum nan and maximum"),
    (112, b"1e999   ", "physical minimum .* and maximum inf"),
])  # fmt: skip
def test_a_signal_without_a_scale_is_left_out_and_told(written, offset, field, why):
    patch(written, 256 + 3 * offset, field)
    if b"5 " in field or b"-32768" in field:  # the maximum stands behind all the minima
        patch(written, 256 + 3 * (offset + 8), field)
    content = open_file(written)
    assert [s.columns for s in content.streams] == [("Temp rectal",), ("EEG Fpz-Cz (2)",)]
    assert re.match(f"it has {why}", content.left_out["EEG Fpz-Cz"])
    with pytest.raises(DataError, match=r"night.edf: 'EEG Fpz-Cz' cannot be read: it has "):
        content.check_readable("EEG Fpz-Cz")


@pytest.mark.parametrize(("at", "field", "message"), [
    (252, b"0   ", "states 0 signals; 1 to 9999 are read"),
    (252, b"x   ", "gives 'x' as the number of signals; a whole number is needed"),
    (236, b"1e9     ", "is cut off: its header announces"),
    (244, b"soon    ", "gives 'soon' as the length of a data record"),
    (256 + 3 * 216, b"-3      ", "gives '-3' as the samples of signal 1; a whole number"),
])  # fmt: skip
def test_a_header_by_which_nothing_can_be_found_is_refused(written, at, field, message):
    patch(written, at, field)
    with pytest.raises(DataError, match=message):
        open_file(written)


def test_a_start_is_read_as_edf_and_edf_plus_write_it(written):
    for recording, old, start in [
        (b"Startdate 02-MAR-2051 X X X", b"02.03.yy", "2051-03-02T10:20:30"),
        (b"by the night shift", b"02.03.86", "1986-03-02T10:20:30"),
        (b"by the night shift", b"02.03.84", "2084-03-02T10:20:30"),
        (b"by the night shift", b"00.00.00", None),
    ]:
        patch(written, 88, recording.ljust(80))
        patch(written, 168, old + b"10.20.30")
        assert open_file(written).about["start"] == start


@pytest.mark.parametrize("unit", [b"\xc2\xb5V", b"\xb5V"])
def test_a_unit_may_be_in_utf_8_or_latin_1(written, unit):
    patch(written, 256 + 3 * 96, unit.ljust(8))
    assert open_file(written).streams[0].units[0] == "\u00b5V"


def annotated(tmp_path, *notes):
    notes = [edfio.EdfAnnotation(*note) for note in notes]
    return open_file(write(tmp_path / "a.edf", annotations=notes))


def test_a_blink_within_a_state_of_known_length_is_a_point(tmp_path):
    content = annotated(tmp_path, (0, 3, "rest"), (1, None, "blink"), (3, 3, "walk"))
    assert content.labels == (LabelInterval(0.0, 3.0, "rest"), LabelInterval(3.0, 6.0, "walk"))
    assert content.about["label_notes"] == [
        "1 annotation of a.edf without a duration: points in time, no labels: blink"
    ]


def test_a_duration_of_0_is_a_point_beside_others(tmp_path):
    content = annotated(tmp_path, (0, None, "rest"), (1, 0, "blink"), (3, 1, "walk"))
    assert content.labels == (LabelInterval(0.0, 3.0, "rest"), LabelInterval(3.0, 4.0, "walk"))
    content = annotated(tmp_path, (0, 0, "rest"), (3, 0, "walk"))
    assert content.labels == (LabelInterval(0.0, 3.0, "rest"), LabelInterval(3.0, 6.0, "walk"))


def test_the_last_label_of_a_file_of_annotations_has_no_end(tmp_path):
    notes = [edfio.EdfAnnotation(0, None, "rest"), edfio.EdfAnnotation(30, None, "walk")]
    edfio.Edf([], annotations=notes).write(tmp_path / "a.edf")
    assert open_file(tmp_path / "a.edf").labels == (
        LabelInterval(0.0, 30.0, "rest"), LabelInterval(30.0, np.inf, "walk"))  # fmt: skip


def test_annotations_that_follow_no_format_are_counted(tmp_path):
    path = write(tmp_path / "a.edf", annotations=[edfio.EdfAnnotation(1, 1, "walk")])
    path.write_bytes(path.read_bytes().replace(b"+1\x151\x14walk", b"*1\x151\x14walk"))
    content = open_file(path)
    assert content.labels == ()
    assert content.about["label_notes"] == ["1 annotation of a.edf outside of the format"]


def test_values_and_annotations_are_what_edfio_reads(tmp_path):
    rng = np.random.default_rng(3)
    for kind in ("Edf", "Bdf"):
        one = edfio.EdfSignal if kind == "Edf" else edfio.BdfSignal
        rates = (50, 8, 50, 1)
        signals = [
            one(rng.normal(size=12 * hz) * 10.0**place, hz, label=f"s{place}")
            for place, hz in enumerate(rates)
        ]
        notes = [
            edfio.EdfAnnotation(round(float(t), 3), 0.5, f"n{t}") for t in rng.uniform(0, 12, 20)
        ]
        path = tmp_path / "a.edf"
        getattr(edfio, kind)(
            signals, annotations=notes, starttime=datetime.time(9, 8, 7, 250_000)
        ).write(path)
        read = getattr(edfio, f"read_{kind.lower()}")(path)
        content = open_file(path)
        for place, signal in enumerate(read.signals):
            (stream,) = [s for s in content.streams if f"s{place}" in s.columns]
            np.testing.assert_allclose(
                stream.load([f"s{place}"])[:, 0], signal.data, rtol=0,
                atol=1e-9 * 10.0**place,
            )  # fmt: skip
        assert [(one.start_s, one.label) for one in content.labels] == [
            (a.onset, a.text) for a in read.annotations]  # fmt: skip


def interrupt(path, onsets, kind="EDF"):
    """Give the three data records other onsets."""
    data = path.read_bytes().replace(f"{kind}+C".encode(), f"{kind}+D".encode())
    for old, new in zip(("+0", "+2", "+4"), onsets, strict=True):
        assert len(old) == len(new)
        data = data.replace(old.encode() + b"\x14\x14", new.encode() + b"\x14\x14", 1)
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["Edf", "Bdf"])
def test_an_interrupted_recording_has_nan_where_nothing_was_recorded(tmp_path, kind):
    notes = [edfio.EdfAnnotation(0.5, None, "a long note makes room for times with digits")]
    path = write(tmp_path / "a.edf", annotations=notes, kind=kind)
    whole = {s.name: s.load(s.columns) for s in open_file(path).streams}
    interrupt(path, ("+0", "+2", "+9"), kind.upper())
    content = open_file(path)
    assert content.about["duration_s"] == 11
    assert content.labels[0].end_s == 11
    for stream in content.streams:
        rate = int(stream.rate_hz)
        assert stream.length == 11 * rate
        values = stream.load(stream.columns)
        np.testing.assert_array_equal(values[: 4 * rate], whole[stream.name][: 4 * rate])
        assert np.isnan(values[4 * rate : 9 * rate]).all()
        np.testing.assert_array_equal(values[9 * rate :], whole[stream.name][4 * rate :])


@pytest.mark.parametrize(("onsets", "message"), [
    (("+0", "+1", "+4"), "data record 2 starts 1 s after the first, before the one before it"),
    (("+9", "+2", "+4"), "data record 2 starts -7 s after the first, before the one before it"),
    (("+0", "+2", "*4"), "data record 3 has no time; EDF.D needs one in each"),
])  # fmt: skip
def test_interruptions_that_cannot_be_are_refused(tmp_path, onsets, message):
    path = write(tmp_path / "a.edf", annotations=[])
    interrupt(path, onsets)
    with pytest.raises(DataError, match=f"^{path}: {message}"):
        open_file(path)


def test_times_written_with_few_digits_are_no_interruption(tmp_path):
    notes = [edfio.EdfAnnotation(5, None, "a long note makes room for times with digits")]
    path = write(tmp_path / "a.edf", annotations=notes)
    whole = open_file(path).streams[0]
    data = path.read_bytes().replace(b"+2\x14\x14" + bytes(6), b"+1.995\x14\x14" + bytes(2))
    path.write_bytes(data)
    assert b"+1.995" in data
    stream = open_file(path).streams[0]
    np.testing.assert_array_equal(stream.load(stream.columns), whole.load(whole.columns))


def test_an_endless_interruption_is_refused(tmp_path):
    notes = [edfio.EdfAnnotation(5, None, "a long note makes room for times with digits")]
    path = write(tmp_path / "a.edf", annotations=notes)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"+4\x14\x14\x00+5\x14a lon", b"+900000\x14\x14\x00+5\x14"))
    with pytest.raises(DataError, match=f"^{path}: holds 6 s within 900000 s; at most 100 times"):
        open_file(path)


def test_a_file_of_something_else_is_refused(tmp_path):
    (tmp_path / "a.edf").write_bytes(b"time,value\n" * 100)
    with pytest.raises(DataError, match=r"a.edf: begins with b'time,val'; an EDF file begins"):
        open_file(tmp_path / "a.edf")


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(8, 256 * 5 - 1), value=st.binary(min_size=1, max_size=8))
def test_whatever_stands_in_a_header_the_answer_is_values_or_one_sentence(tmp_path, at, value):
    source, path = tmp_path / "good.edf", tmp_path / "bad.edf"
    if not source.is_file():
        write(source, annotations=[edfio.EdfAnnotation(1, None, "x")])
    shutil.copy(source, path)
    with path.open("r+b") as file:
        file.seek(at)
        file.write(value)
    sentence = ""
    try:
        for stream in open_file(path).streams:
            assert stream.load(stream.columns).shape == (stream.length, len(stream.columns))
    except DataError as error:
        sentence = str(error)
    assert "\n" not in sentence
    assert len(sentence) < 500
