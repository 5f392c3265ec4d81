"""The windower: whatever the chunks, the windows are those of the whole recording."""

from __future__ import annotations

import math
from dataclasses import replace
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from crossl.data.calibrated import calibrated
from crossl.data.calibration import Calibration
from crossl.data.cutting import cut_recording
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.standardisation import RecordingStandardisation
from crossl.data.windower import Windower
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import ContractError, DataError

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0)
TEMP = Modality("temp", ("t",), "K", 4.0)


# --- random recordings, and chunks of them in some order


@st.composite
def signals(draw, modality):
    rate_hz = modality.rate_hz * draw(st.sampled_from([1.0, 1.0, 1.005, 0.995]))
    length = draw(st.integers(1, math.ceil(14 * rate_hz)))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    values = rng.normal(size=(length, len(modality.channels))).astype(np.float32)
    for _ in range(draw(st.integers(0, 4))):
        begin = draw(st.integers(0, length - 1))
        end = begin + draw(st.integers(1, max(1, round(3 * rate_hz))))
        values[begin:end, draw(st.sampled_from([slice(None), slice(None), 0]))] = np.nan
    if np.isnan(values).any(axis=1).all():
        values[draw(st.integers(0, length - 1))] = 1.0
    start_s = draw(st.sampled_from([0.0, 0.0, 0.3, -1.7, 2.123, 11.0, 700.0]))
    return Signal(values, rate_hz, start_s)


@st.composite
def recorded(draw):
    rates = st.sampled_from([1.0, 2.0, 4.0, 7.5, 10.0, 12.8, 25.0])
    modalities = [
        Modality(f"m{i}", tuple("xyz"[: draw(st.integers(1, 3))]), "V", draw(rates))
        for i in range(draw(st.integers(1, 3)))
    ]
    chosen = [m for m in modalities if draw(st.integers(0, 4))] or modalities[:1]
    found = {m.name: draw(signals(m)) for m in chosen}
    return Recording("S", "", {m.name: m for m in modalities}, found), modalities


specs = st.builds(
    WindowSpec,
    window_s=st.sampled_from([1.0, 2.0, 2.56, 3.3]),
    stride_s=st.sampled_from([0.17, 0.5, 1.0, 1.28, 4.7]),
    min_coverage=st.sampled_from([0.2, 0.5, 0.8, 1.0]),
    max_gap_s=st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.5]),
)


@st.composite
def arrivals_of(draw, recording, *, in_order=False):
    """Cut every signal into chunks; some that hold nothing never come, some come twice."""
    lag_s = draw(st.sampled_from([0.0, 0.2, 3.0]))
    longest_s = draw(st.sampled_from([0.05, 0.7, 5.0, 1e9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    events = []
    for name, signal in recording.signals.items():
        begin, length, came = 0, len(signal.values), -math.inf
        longest = min(length, max(1, round(longest_s * signal.rate_hz)))
        while begin < length:
            end = min(length, begin + int(rng.integers(1, longest + 1)))
            values = signal.values[begin:end]
            start_s = signal.start_s + begin / signal.rate_hz
            inside = begin > 0 and end < length
            if not (inside and np.isnan(values).all() and rng.random() < 0.7):
                chunk = Signal(values, signal.rate_hz, start_s)
                for _ in range(1 + (rng.random() < 0.1)):
                    comes = start_s + len(values) / signal.rate_hz + rng.random() * lag_s
                    came = max(came, comes) if in_order else comes
                    events.append((came, name, chunk))
            begin = end
    events.sort(key=lambda event: event[0])
    return [(name, chunk) for _, name, chunk in events], rng


def needed_delay(events):
    """Return how far behind the newest sample a chunk begins, at most."""
    newest_s, delay_s = -math.inf, 0.0
    for _, chunk in events:
        delay_s = max(delay_s, newest_s - chunk.start_s)
        newest_s = max(newest_s, chunk.start_s + (len(chunk.values) - 1) / chunk.rate_hz)
    return delay_s + 1e-6


def play(windower, events, absent=(), rng=None):
    """Feed chunks one by one, or some at once, and say when each modality has ended."""
    windows = [window for name in absent for window in windower.end(name)]
    left = [name for name, _ in events]
    at_once = {}
    for number, (name, chunk) in enumerate(events):
        if name in at_once:
            windows += windower.feed(at_once)
            at_once = {}
        at_once[name] = chunk
        last = name not in left[number + 1 :]
        if last or rng is None or rng.random() < 0.7:
            windows += windower.feed(at_once)
            at_once = {}
        if last:
            windows += windower.end(name)
    return windows + windower.flush()


def expected(recording, modalities, spec):
    """Return (start, {modality: values}) of every window of the whole recording."""
    cut = cut_recording(recording, modalities, (), spec)
    for row, start_s in enumerate(cut.start_s):
        held = {}
        for column, modality in enumerate(modalities):
            first = cut.offsets[row, column]
            if first >= 0:
                held[modality.name] = cut.signals[modality.name][
                    first : first + spec.samples(modality)
                ]
        yield start_s, held


def assert_same(windows, whole):
    whole = list(whole)
    np.testing.assert_array_equal([w.start_s for w in windows], [start for start, _ in whole])
    for window, (_, held) in zip(windows, whole, strict=True):
        assert window.signals.keys() == held.keys()
        for name, values in held.items():
            np.testing.assert_array_equal(window.signals[name], values)
            assert window.signals[name].dtype == np.float32


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_windows_of_chunks_are_those_of_the_whole_recording(data):
    recording, modalities = data.draw(recorded())
    spec = data.draw(specs)
    in_order = data.draw(st.booleans())
    events, rng = data.draw(arrivals_of(recording, in_order=in_order))
    delay_s = data.draw(st.sampled_from([needed_delay(events), math.inf]))
    windower = Windower(modalities, spec, max_delay_s=delay_s, in_order=in_order)
    absent = [m.name for m in modalities if m.name not in recording.signals]
    absent = absent if data.draw(st.booleans()) else []
    windows = play(windower, events, absent, rng)
    assert_same(windows, expected(recording, modalities, spec))


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_what_is_decided_does_not_depend_on_when_the_sensor_that_fell_silent_ended(data):
    """Nobody says that a sensor ends: silence counts as a gap, whatever the chunks."""
    recording, modalities = data.draw(recorded())
    spec = data.draw(specs)
    told = []
    for _ in range(2):
        events, _ = data.draw(arrivals_of(recording))
        windower = Windower(modalities, spec, max_delay_s=20.0)
        windows = [w for name, chunk in events for w in windower.feed({name: chunk})]
        assert needed_delay(events) < 20.0
        told.append(windows + windower.flush())
    assert [w.start_s for w in told[0]] == [w.start_s for w in told[1]]
    for one, other in zip(*told, strict=True):
        assert one.signals.keys() == other.signals.keys()


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_windows_that_are_calibrated_as_they_come_are_those_of_a_store(data):
    recording, modalities = data.draw(recorded())
    spec = data.draw(specs)
    cut = cut_recording(recording, modalities, (), spec)
    assume(len(cut.start_s))
    minutes = data.draw(st.sampled_from([0.02, 0.1, math.inf]))
    usual = {m.name: [1.0] * len(m.channels) for m in modalities[:1]}
    calibration = Calibration("calibration", causal=True, minutes=minutes).fitted(usual)
    with TemporaryDirectory() as folder:
        store = calibrated(write_store([recording], f"{folder}/store", modalities=modalities,
                                       classes=(), spec=spec, about={}), calibration)  # fmt: skip
        signals = store.gather_zeroed(np.arange(len(store)))
    events, rng = data.draw(arrivals_of(recording))
    windower = Windower(modalities, spec, max_delay_s=math.inf, calibration=calibration)
    windows = play(windower, events, [m.name for m in modalities if m.name not in cut.signals], rng)
    names = [m.name for m in modalities]
    assert_same(windows, [
        (start_s, {names[column]: signals[names[column]][row] for column in np.flatnonzero(held)})
        for row, (start_s, held) in enumerate(zip(cut.start_s, cut.present, strict=True))
    ])  # fmt: skip
    assert windower.arrays(windows).calibrated
    assert all(not held.flags.writeable for w in windows for held in w.signals.values())


def test_a_stream_is_not_calibrated_by_a_recording_that_is_not_over():
    with pytest.raises(
        ContractError,
        match=r"^windower: the model calibrates each window by the whole of its recording "
        r"\(transductive: .*\), which a stream does not know; allowed in streams are "
        r"standardisation.kind 'training', 'calibration' and 'running'",
    ):
        Windower([ACC], WindowSpec(2.0, 1.0), calibration=RecordingStandardisation().build())


# --- the rules, one by one


def steady(modality, begin_s, end_s, value=0.0):
    """Return a chunk from one time to another, all of one value."""
    shape = (round((end_s - begin_s) * modality.rate_hz), len(modality.channels))
    return Signal(np.full(shape, value, np.float32), modality.rate_hz, begin_s)


def feed_seconds(windower, modality, begin_s, end_s):
    """Feed a modality second by second and list the windows as (start, what is present)."""
    out = []
    for t in range(begin_s, end_s):
        out += windower.feed({modality.name: steady(modality, t, t + 1)})
    return [(w.start_s, sorted(w.signals)) for w in out]


def test_a_window_comes_with_the_chunk_that_completes_it():
    windower = Windower([ACC], WindowSpec(2.0, 1.0), max_delay_s=1.0, start_s=0.0)
    assert feed_seconds(windower, ACC, 0, 2) == [(0.0, ["acc"])]
    assert feed_seconds(windower, ACC, 2, 3) == [(1.0, ["acc"])]


def test_a_sensor_that_never_comes_is_waited_for_only_so_long_or_not_at_all():
    windower = Windower([ACC, TEMP], WindowSpec(2.0, 2.0), max_delay_s=3.0, start_s=0.0)
    assert feed_seconds(windower, ACC, 0, 3) == []
    # what begins 2.98 s after the start at the earliest is in neither of the first two windows
    assert feed_seconds(windower, ACC, 3, 6) == [(0.0, ["acc"]), (2.0, ["acc"])]
    assert [w.start_s for w in windower.end("temp")] == [4.0]


def test_a_sensor_that_is_lost_and_found_is_absent_in_between():
    windower = Windower([ACC, TEMP], WindowSpec(2.0, 2.0), max_delay_s=1.0, start_s=0.0)
    found = []
    for t in range(20):
        chunks = {"acc": steady(ACC, t, t + 1)}
        if not 5 <= t < 11:
            chunks["temp"] = steady(TEMP, t, t + 1)
        found += windower.feed(chunks)
    found += windower.flush()
    with_temp = [w.start_s for w in found if "temp" in w.signals]
    assert [w.start_s for w in found] == list(range(0, 20, 2))
    assert with_temp == [0.0, 2.0, 12.0, 14.0, 16.0, 18.0]


def test_missing_samples_and_the_silence_behind_them_are_one_gap():
    windower = Windower([ACC], WindowSpec(1.0, 1.0), max_delay_s=0.5, start_s=0.0)
    chunk = steady(ACC, 0, 1)
    chunk.values[-3:] = np.nan  # 0.06 s, which alone would be filled
    windows = windower.feed({"acc": chunk})
    windows += windower.advance(3.0)
    windows += windower.feed({"acc": steady(ACC, 5, 6)})
    windows += windower.flush()
    assert [w.start_s for w in windows] == [5.0]


def test_no_window_that_a_returning_sensor_could_still_fill_is_decided():
    """The grid is open from the first sample that is not settled on, and not before."""
    spec = WindowSpec(1.0, 0.25, max_gap_s=0.0)
    for back_s in (2.0, 2.25, 2.5):
        windower = Windower([TEMP], spec, max_delay_s=0.5, start_s=0.0)
        windows = windower.feed({"temp": steady(TEMP, 0, 1)})
        windows += windower.advance(back_s + 0.5)
        windows += windower.feed({"temp": steady(TEMP, back_s, back_s + 2)})
        windows += windower.flush()
        expected = [0.0, *(back_s + 0.25 * k for k in range(5))]
        assert [w.start_s for w in windows] == expected


def test_a_sensor_that_begins_while_nothing_is_settled_yet_is_in_the_window():
    spec = WindowSpec(1.0, 1.0, min_coverage=0.5, max_gap_s=0.5)
    windower = Windower([ACC, TEMP], spec, max_delay_s=0.5, start_s=0.0)
    windows = windower.feed({"acc": steady(ACC, 0, 1)})
    windows += windower.feed({"temp": steady(TEMP, 0.5, 1.5), "acc": steady(ACC, 1, 1.5)})
    windows += windower.flush()
    assert [sorted(w.signals) for w in windows] == [["acc", "temp"]]
    assert len(windows[0].signals["temp"]) == 4


def test_late_chunks_are_dropped_and_counted_and_earlier_ones_put_in_order():
    windower = Windower([TEMP], WindowSpec(1.0, 1.0), max_delay_s=2.0, start_s=0.0)
    windows = windower.feed({"temp": steady(TEMP, 0, 1, 1.0)})
    windows += windower.feed({"temp": steady(TEMP, 2, 3, 3.0)})
    windows += windower.feed({"temp": steady(TEMP, 1, 2, 2.0)})
    windows += windower.feed({"temp": steady(TEMP, 6, 7, 7.0)})
    windows += windower.feed({"temp": steady(TEMP, 3, 4, 4.0)})  # 3.75 s behind
    windows += windower.flush()
    values = [(w.start_s, float(w.signals["temp"].mean())) for w in windows]
    assert values == [(0.0, 1.0), (1.0, 2.0), (2.0, 3.0), (6.0, 7.0)]
    assert windower.dropped == {"temp": 4}


def test_chunks_in_order_leave_no_hole_open():
    """A clock that runs a little slow leaves out a sample now and then; nobody waits for it."""
    waited = []
    for in_order in (True, False):
        windower = Windower([ACC], WindowSpec(2.0, 2.0), max_delay_s=5.0, in_order=in_order)
        times = [0.0, 1.0, 2.02, 3.02]
        chunks = [replace(steady(ACC, 0, 1), start_s=t) for t in times]
        waited.append([len(windower.feed({"acc": chunk})) for chunk in chunks])
    assert waited == [[0, 1, 0, 1], [0, 0, 0, 0]]


def test_where_chunks_come_in_order_one_that_does_not_is_dropped():
    windower = Windower([TEMP], WindowSpec(1.0, 1.0), max_delay_s=5.0, in_order=True)
    windows = windower.feed({"temp": steady(TEMP, 0, 1)})
    windows += windower.feed({"temp": steady(TEMP, 2, 3)})
    windows += windower.feed({"temp": steady(TEMP, 1, 2)})
    windows += windower.flush()
    assert [w.start_s for w in windows] == [0.0, 2.0]
    assert windower.dropped == {"temp": 4}


def test_of_a_first_chunk_that_is_partly_late_the_rest_counts():
    windower = Windower([ACC, TEMP], WindowSpec(1.0, 1.0), max_delay_s=1.0, start_s=0.0)
    windower.feed({"acc": steady(ACC, 0, 4)})
    windows = windower.feed({"temp": steady(TEMP, 1, 5)})
    windows += windower.flush()
    assert windower.dropped == {"acc": 0, "temp": 8}
    assert [w.start_s for w in windows if "temp" in w.signals] == [3.0, 4.0]


def test_what_comes_twice_counts_once():
    windower = Windower([TEMP], WindowSpec(1.0, 1.0), max_delay_s=0.0, start_s=0.0)
    windows = windower.feed({"temp": steady(TEMP, 0, 2, 1.0)})
    windows += windower.feed({"temp": steady(TEMP, 0, 2, 5.0)})
    windows += windower.feed({"temp": steady(TEMP, 1.5, 3, 2.0)})
    windows += windower.flush()
    assert [float(w.signals["temp"].max()) for w in windows] == [1.0, 1.0, 2.0]
    assert windower.dropped == {"temp": 8 + 2}


def test_memory_is_bounded_however_long_the_stream():
    windower = Windower([ACC, TEMP], WindowSpec(10.0, 5.0), max_delay_s=2.0)
    held = []
    for t in range(2000):
        chunks = {"acc": steady(ACC, t, t + 1)}
        if t % 300 < 200:
            chunks["temp"] = steady(TEMP, t, t + 1)
        windower.feed(chunks)
        held.append(windower.held)
    assert max(held[1000:]) <= max(held[:1000])
    assert max(held) <= (10 + 5 + 2 + 2) * (50 + 4)


def test_years_of_silence_cost_nothing():
    windower = Windower([ACC], WindowSpec(2.0, 1.0), max_delay_s=0.1, start_s=0.0)
    windows = windower.feed({"acc": steady(ACC, 0, 3)})
    windows += windower.feed({"acc": steady(ACC, 1e8, 1e8 + 3)})
    assert windower.held <= 6 * 50
    windows += windower.flush()
    assert [w.start_s for w in windows] == [0.0, 1.0, 1e8, 1e8 + 1]
    assert [w.number for w in windows] == [0, 1, 100_000_000, 100_000_001]


def test_the_memory_of_a_chunk_may_be_used_again():
    windower = Windower([ACC], WindowSpec(1.0, 1.0), start_s=0.0)
    chunk = steady(ACC, 0, 1, 1.0)
    windower.feed({"acc": chunk})
    chunk.values[:] = 9.0
    (window,) = windower.flush()
    assert (window.signals["acc"] == 1.0).all()
    assert not window.signals["acc"].flags.writeable


def test_windows_stack_to_what_a_model_takes():
    windower = Windower([ACC, TEMP], WindowSpec(2.0, 2.0))
    windows = windower.feed({"acc": steady(ACC, 0, 4, 1.0), "temp": steady(TEMP, 0, 2, 3.0)})
    windows += windower.flush()
    arrays = windower.arrays(windows)
    assert arrays["acc"].shape == (2, 100, 3)
    np.testing.assert_array_equal(arrays["temp"][0], np.full((8, 1), 3.0))
    assert np.isnan(arrays["temp"][1]).all()


def test_a_sensor_that_windows_do_not_hold_tells_where_the_recording_begins_and_ends():
    signals = {"acc": steady(ACC, 0.3, 4.9, 1.0), "temp": steady(TEMP, 0, 6)}
    recording = Recording("S", "", {"acc": ACC, "temp": TEMP}, signals)
    spec = WindowSpec(1.0, 1.0)
    windower = Windower([ACC], spec, start_s=recording.start_s)
    windows = windower.feed({"acc": signals["acc"]})
    windows += windower.flush(end_s=recording.end_s)
    assert_same(windows, expected(recording, [ACC], spec))
    assert windows[-1].start_s == 4.0  # it lacks 0.1 s, which is a short gap


# --- refusals


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"rate_hz": 60.0}, r"has 60 Hz but its modality declares 50 Hz"),
        ({"rate_hz": 50.2}, r"a chunk has 50.2 Hz, those before had 50 Hz; one signal has one"),
        ({"start_s": math.nan}, r"a chunk of 'acc' starts at nan s; a number is needed"),
        ({"values": np.zeros((5, 2), np.float32)}, r"has shape \(5, 2\) but declares 3 channels"),
        ({"values": np.zeros((5, 3))}, r"has dtype float64; signals are float32"),
        ({"values": np.full((5, 3), np.inf, np.float32)}, r"holds infinite values; use NaN"),
    ],
)
def test_a_chunk_that_the_modality_cannot_have_is_refused(change, match):
    windower = Windower([ACC], WindowSpec(1.0, 1.0))
    windower.feed({"acc": steady(ACC, 0, 1)})
    with pytest.raises(DataError, match=match):
        windower.feed({"acc": replace(steady(ACC, 1, 2), **change)})


def test_unknown_ended_and_flushed_are_refused():
    windower = Windower([ACC, TEMP], WindowSpec(1.0, 1.0))
    with pytest.raises(DataError, match=r"modality 'ac'; did you mean 'acc'"):
        windower.feed({"ac": steady(ACC, 0, 1)})
    with pytest.raises(DataError, match=r"time is nan; a number is needed"):
        windower.advance(math.nan)
    windower.end("temp")
    with pytest.raises(DataError, match=r"'temp' has ended; no more of it can come"):
        windower.feed({"temp": steady(TEMP, 0, 1)})
    windower.flush()
    with pytest.raises(DataError, match=r"was flushed; make a new one for another recording"):
        windower.feed({"acc": steady(ACC, 0, 1)})


def test_impossible_settings_are_refused():
    with pytest.raises(DataError, match=r"max_delay_s is -1; allowed is 0 or more"):
        Windower([ACC], WindowSpec(1.0, 1.0), max_delay_s=-1)
    with pytest.raises(DataError, match=r"a modality occurs twice"):
        Windower([ACC, ACC], WindowSpec(1.0, 1.0))
    with pytest.raises(DataError, match=r"window_s 0.1 holds no sample of 'temp'"):
        Windower([TEMP], WindowSpec(0.1, 0.1))
    windower = Windower([TEMP], WindowSpec(1.0, 1e-4), start_s=0.0)
    with pytest.raises(DataError, match=r"make `stride_s` longer"):
        windower.feed({"temp": steady(TEMP, 0, 40)})
