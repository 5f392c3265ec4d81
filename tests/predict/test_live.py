"""The live classifier: whatever the chunks, it says what is said of the whole recording."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.api.training import fit_probe
from crossl.data.recording import Modality, Recording, Signal
from crossl.decode import Chain, Decoder
from crossl.errors import ConfigError, ContractError, DataError
from crossl.evaluate.confidence import Temperatures
from crossl.predict.live import LiveClassifier, LiveRow

from .conftest import ACC, ECG, MADRID_S, SPEC

CONTEXT = Decoder(
    Chain(np.array([0.5, 0.5]), np.array([[0.9, 0.1], [0.2, 0.8]])), np.array([0.5, 0.5]), 1.0,
    {"causal": 0.7, "whole": 0.7}, {"causal": 0.1, "whole": 0.1}, {"causal": False, "whole": True},
)  # fmt: skip
"""What a classifier knows of how classes follow each other."""


@pytest.fixture(scope="module")
def run(run):
    """Return the run, as if it was trained: it says how its windows were cut."""
    about = {**run.classifier.about, "context": CONTEXT.as_dict()}
    contract = {**run.contract, "window": SPEC.as_dict()}
    return replace(run, contract=contract, classifier=replace(run.classifier, about=about))


TOLERANCE = 1e-5
"""By how much probabilities may differ from those of many windows at a time."""


@st.composite
def recordings(draw):
    """Make a recording with gaps, whose sensors may lack, begin late or end early."""
    names = draw(st.sampled_from([("acc", "ecg"), ("acc", "ecg"), ("acc",), ("ecg",)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    signals = {}
    for m in (ACC, ECG):
        if m.name not in names:
            continue
        length = draw(st.integers(1, round(25 * m.rate_hz)))
        scale = draw(st.sampled_from([1.0, 4.0]))
        values = (scale * rng.normal(size=(length, len(m.channels)))).astype(np.float32)
        for _ in range(draw(st.integers(0, 2))):
            begin = draw(st.integers(0, length - 1))
            values[begin : begin + draw(st.integers(1, 200))] = np.nan
        values[draw(st.integers(0, length - 1))] = 1.0
        start_s = draw(st.sampled_from([0.0, 0.0, 0.31, 2.123, 40.0]))
        signals[m.name] = Signal(values, m.rate_hz, start_s)
    return Recording("ann", "", {"acc": ACC, "ecg": ECG}, signals)


def chunks_of(recording, rng, *, longest_s, lag_s):
    """Cut signals into chunks; some come late, some twice, some that hold nothing never."""
    events = []
    for name, signal in recording.signals.items():
        begin, length = 0, len(signal.values)
        while begin < length:
            end = min(length, begin + 1 + int(rng.integers(0, max(1, longest_s * signal.rate_hz))))
            chunk = Signal(signal.values[begin:end], signal.rate_hz,
                           signal.start_s + begin / signal.rate_hz)  # fmt: skip
            never = begin > 0 and end < length and np.isnan(chunk.values).all()
            for _ in range(0 if never else 1 + (rng.random() < 0.1)):
                events.append((chunk.end_s + rng.random() * lag_s, name, chunk))
            begin = end
    return [(name, chunk) for _, name, chunk in sorted(events, key=lambda event: event[0])]


def play(live: LiveClassifier, recording: Recording, events) -> list[LiveRow]:
    rows = [r for m in (ACC, ECG) if m.name not in recording.signals for r in live.end(m.name)]
    names = [name for name, _ in events]
    for number, (name, chunk) in enumerate(events):
        rows += live.feed({name: chunk})
        if name not in names[number + 1 :]:
            rows += live.end(name)
    return rows + live.finish(end_s=recording.end_s)


def assert_same(rows, line, live, *, atol=TOLERANCE):
    """Compare rows with the columns of a timeline: to the bit but for probabilities."""
    got = live.timeline(rows)
    for name in ("start_s", "end_s", "label", "reason"):
        np.testing.assert_array_equal(getattr(got, name), line[name])
    for name, values in (("unusable", got.unusable), ("set", got.sets)):
        told = [""] * len(rows) if values is None else values.tolist()
        assert told == list(line.get(name, [""] * len(rows)))
    for i, name in enumerate(("acc", "ecg")):
        np.testing.assert_array_equal(got.present[:, i], line[f"present_{name}"])
    told = np.stack([line[f"probability_{name}"] for name in got.names], axis=1)
    np.testing.assert_allclose(got.outputs, told, rtol=0, atol=atol)


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_stream_says_what_is_said_of_the_recording_whatever_the_chunks(run, data):
    recording = data.draw(recordings())
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    asked = {"context": data.draw(st.sampled_from(["off", "causal"])),
             "keep_unusable": data.draw(st.booleans())}  # fmt: skip
    line = run.timeline(recording, **asked)
    found = []
    for longest_s in (data.draw(st.sampled_from([0.05, 0.7])), 30.0):
        lag_s = data.draw(st.sampled_from([0.0, 0.5, 3.0]))
        live = run.live(max_delay_s=data.draw(st.sampled_from([100.0, math.inf])), **asked)
        rows = play(live, recording, chunks_of(recording, rng, longest_s=longest_s, lag_s=lag_s))
        assert_same(rows, line, live)
        found.append((rows, live))
    one, other = ([(*row.outputs.values(), *row.embedding) for row in rows] for rows, _ in found)
    np.testing.assert_array_equal(one, other)  # to the bit


def test_rows_are_those_of_the_table_with_dates_and_temperatures(run, recorded, tmp_path):
    whole = recorded(gap_s=(10.0, 14.0))
    temperatures = Temperatures("number", ("acc", "ecg"), 1.0, {"1": 2.0, "2": 0.5}, {})
    about = {**run.classifier.about, "temperatures": temperatures.as_dict()}
    calibrated = replace(run, classifier=replace(run.classifier, about=about))
    live = calibrated.live(origin_unix_s=MADRID_S, zone="Europe/Madrid", abstain=0.7)
    rows = [*live.feed(whole.signals), *live.finish()]
    assert_same(rows, calibrated.timeline(whole, abstain=0.7, context="off"), live)
    first = live.as_dict(rows[0])
    assert list(first) == live.columns
    assert first["start_time"] == "2024-06-01T12:00:00.000+02:00"
    assert first["present_acc"] is True
    assert first["probability_rest"] + first["probability_run"] == pytest.approx(1, abs=1e-6)
    (gap,) = [row for row in rows if not row.window]
    told = live.as_dict(gap)
    assert (told["label"], told["probability_rest"], told["start_s"]) == ("", None, 9.0)
    assert told["reason"] == "no sensor that the run knows recorded enough of it"
    assert np.isnan(gap.embedding).all()
    np.testing.assert_allclose(rows[0].embedding, run.embed(whole)[0], atol=1e-5)


def test_a_window_is_said_with_the_chunk_that_holds_its_last_sample(run, recorded):
    whole = recorded(seconds=12)
    live, when = run.live(context="off", in_order=True), {}
    for t in np.arange(0, 12, 0.25):
        chunks = {
            name: Signal(s.values[round(t * s.rate_hz) : round((t + 0.25) * s.rate_hz)],
                         s.rate_hz, float(t))
            for name, s in whole.signals.items()
        }  # fmt: skip
        when |= {row.start_s: t + 0.25 for row in live.feed(chunks)}
    assert live.delay_s == 0
    assert when == {float(n): n + 2.0 for n in range(11)}  # windows last 2 s


def test_pushed_samples_may_have_one_time_or_one_each_and_jitter(run, recorded):
    whole = recorded(seconds=10)
    line, rng = run.timeline(whole, context="off"), np.random.default_rng(0)
    ways = {
        "start": lambda t, rate_hz: t[0],
        "each": lambda t, rate_hz: t,
        "jitter": lambda t, rate_hz: t + rng.uniform(-0.2, 0.2, len(t)) / rate_hz,
    }
    for way in ways.values():
        live, rows = run.live(context="off"), []
        for begin_s in range(0, 10, 2):
            for name, s in whole.signals.items():
                some = np.arange(round(begin_s * s.rate_hz), round((begin_s + 2) * s.rate_hz))
                rows += live.push(name, way(some / s.rate_hz, s.rate_hz), s.values[some])
        rows += live.finish()
        assert [row.label for row in rows] == line["label"].tolist()
        np.testing.assert_allclose([row.start_s for row in rows], line["start_s"], atol=0.02)
    assert run.live(context="off").push("ecg", [], []) == []


def test_a_hole_within_pushed_samples_is_a_gap(run, recorded):
    whole = recorded(seconds=20, without=("ecg",))
    values = whole.signals["acc"].values.copy()
    values[200:300] = np.nan
    whole = replace(whole, signals={"acc": Signal(values, 20.0)})
    line = run.timeline(whole, context="off")
    live = run.live(context="off")
    kept = np.r_[0:200, 300:400]
    rows = [*live.end("ecg"), *live.push("acc", kept / 20.0, values[kept]), *live.finish()]
    assert_same(rows, line, live)


def test_a_sensor_that_is_ignored_is_absent_at_once(run, recorded):
    whole = recorded(seconds=20)
    live = run.live(context="off")
    rows = live.feed(whole.signals)
    live = run.live(context="off")
    live.ignore(["ecg"])
    without = [*live.feed(whole.signals), *live.finish()]
    assert all(row.present == {"acc": True, "ecg": False} for row in without)
    line = run.timeline(recorded(seconds=20, without=("ecg",)), context="off")
    assert_same(without, line, live)
    live = run.live(context="off")
    live.ignore(["acc", "ecg"])
    nothing = live.feed(whole.signals)
    assert [row.start_s for row in nothing] == [row.start_s for row in rows]
    assert {(row.label, row.reason) for row in nothing} == {
        ("", "no sensor that the run knows recorded enough of it")
    }
    live.ignore([])
    assert all(row.present["ecg"] for row in live.finish())
    with pytest.raises(DataError, match="live: sensor 'egg'; did you mean 'ecg'"):
        live.ignore(["egg"])


def test_numbers_that_mean_nothing_cost_their_windows_not_the_stream(run, recorded):
    whole = recorded(seconds=10)
    whole.signals["acc"].values[100] = 1e30  # at 5 s
    live = run.live(context="off")
    rows = [*live.feed(whole.signals), *live.finish()]
    bad = [row for row in rows if not row.label]
    assert [row.start_s for row in bad] == [4.0, 5.0]
    assert all("lie beyond 1e+15 standard deviations ('acc'" in row.reason for row in bad)


def test_a_sensor_that_is_lost_and_found(run, recorded):
    whole = recorded(seconds=30)
    live, rows = run.live(context="off", max_delay_s=1.0), []
    for t in range(30):
        for name, s in whole.signals.items():
            if name == "ecg" and 10 <= t < 20:
                continue
            n = round(s.rate_hz)
            rows += live.feed({name: Signal(s.values[t * n : (t + 1) * n], s.rate_hz, float(t))})
    rows += live.finish()
    assert [row.start_s for row in rows if not row.present["ecg"]] == list(map(float, range(9, 20)))
    assert all(row.label for row in rows)
    assert [row.start_s for row in rows] == list(map(float, range(29)))


def test_memory_stays_flat_however_long_the_stream(run, recorded):
    whole = recorded(seconds=10)
    live, held = run.live(context="off", max_delay_s=1.0), []
    for t in range(0, 200, 10):
        for name, s in whole.signals.items():
            live.feed({name: Signal(s.values, s.rate_hz, float(t))})
        held.append((live.windower.held, len(live._held)))
    assert max(held[5:]) <= max(held[:5]) < (2000, 3)


@pytest.mark.parametrize(
    ("times", "values", "error", "told"),
    [
        (0.0, np.zeros((4, 2)), ContractError, r"live: 'acc': has shape \(4, 2\); the run was made "
         r"for 3 channels \(x, y, z\)"),
        ([0.0, 0.1], np.zeros((4, 3)), DataError, "has 4 samples and times of shape"),
        (np.nan, np.zeros((4, 3)), DataError, "holds a time that is not a number"),
        (0.0, np.full((4, 3), np.inf), DataError, "holds infinite values"),
        (0.0, [["a", "b", "c"]], DataError, "values; numbers are needed"),
        (np.arange(40) / 50, np.zeros((40, 3)), ContractError, "live: 'acc': its times give 50 Hz; "
         "the run was made for 20 Hz"),
        (np.zeros(40), np.zeros((40, 3)), ContractError, "give no rate, as times do not increase"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_a_sentence(run, times, values, error, told):
    with pytest.raises(error, match=told):
        run.live(context="off").push("acc", times, values)


def test_another_rate_is_refused_or_changed(run, recorded):
    whole = recorded(seconds=10)
    fast = Signal(np.repeat(whole.signals["acc"].values, 2, axis=0), 40.0)
    with pytest.raises(DataError, match="has 40 Hz but its modality declares 20 Hz"):
        run.live(context="off").feed({"acc": fast})
    live = run.live(context="off", resample=["acc"])
    rows = [*live.feed({"acc": fast, "ecg": whole.signals["ecg"]}), *live.finish()]
    assert [row.present["acc"] for row in rows] == [True] * 9
    live = run.live(context="off", resample=["acc"], max_delay_s=100.0)
    assert live.push("acc", 0.0, fast.values, rate_hz=40.0) == []
    rows = [*live.feed({"ecg": whole.signals["ecg"]}), *live.finish()]
    assert rows[0].present == {"acc": True, "ecg": True}
    with pytest.raises(
        ContractError, match="'acc' has 40 Hz; the run was made for 20 Hz, to change"
    ):
        run.live(context="off").push("acc", 0.0, fast.values, rate_hz=40.0)
    with pytest.raises(DataError, match="modality 'accc'; did you mean 'acc'"):
        run.live(context="off", resample=["accc"])


@pytest.mark.parametrize("past_only", [False, True])
def test_a_task_that_reads_neighbours_waits_for_those_behind(run, store, recorded, past_only):
    task = {"kind": "sequence", "context": 2, "past_only": past_only}
    made = fit_probe(run, store, train=["bob", "cem"], validation=["dee"], task=task)
    made = replace(made, contract=run.contract)
    whole = recorded(gap_s=(10.0, 14.0), seconds=30)
    live = made.live(in_order=True)
    assert live.delay_s == (0 if past_only else 2)
    rows, when = [], {}
    for t in range(30):
        for name, s in whole.signals.items():
            n = round(s.rate_hz)
            chunk = Signal(s.values[t * n : (t + 1) * n], s.rate_hz, float(t))
            some = live.feed({name: chunk})
            when |= {row.start_s: t + 1 for row in some}
            rows += some
    assert when[5.0] == 7 + live.delay_s
    assert_same(rows + live.finish(), made.timeline(whole), live)


def test_a_modality_of_one_channel_takes_flat_samples(run):
    live = run.live(context="off")
    assert live.push("ecg", 0.0, np.zeros(32)) == []
    assert live.windower.held == 32
    assert isinstance(ECG, Modality)


def test_what_came_before_tells_of_a_window_and_what_comes_is_not_known(run, recorded):
    whole = recorded(gap_s=(10.0, 14.0))
    about = run.classifier.about
    live = run.live(context="causal")
    rows = [*live.feed(whole.signals), *live.finish()]
    assert_same(rows, run.timeline(whole, context="causal"), live)
    assert run.live().manner.context == "off"  # it helped nobody
    alone = run.live(context="off")
    other = [*alone.feed(whole.signals), *alone.finish()]
    assert [row.outputs for row in rows] != [row.outputs for row in other]
    helps = {**about["context"], "helps": {"causal": True, "whole": True}}
    told = replace(run, classifier=replace(run.classifier, about={**about, "context": helps}))
    assert told.live().manner.context == "causal"
    for context in ("whole", "path"):
        with pytest.raises(ConfigError, match=f"context: got '{context}', which reads what a str"):
            run.live(context=context)
    with pytest.raises(ConfigError, match="abstain: got 2"):
        run.live(abstain=2.0)


def test_sensors_that_hold_nothing_are_told_and_not_read(run, recorded):
    whole = recorded(seconds=20)
    whole.signals["acc"].values[100:300] = 500.0  # 5 to 15 s: no body moves so
    live = run.live(context="off")
    rows = [*live.feed(whole.signals), *live.finish()]
    line = run.timeline(whole, context="off")
    assert_same(rows, line, live)
    assert {"", "acc: values that cannot be"} <= {row.unusable for row in rows}
    assert live.as_dict(rows[6])["unusable"] == "acc: values that cannot be"
    alone = replace(whole, signals={"acc": whole.signals["acc"]})
    live = run.live(context="off")
    rows = [*live.end("ecg"), *live.feed(alone.signals), *live.finish()]
    assert_same(rows, run.timeline(alone, context="off"), live)
    assert rows[6].reason == "nothing usable: acc: values that cannot be"
    everything = run.live(context="off", keep_unusable=True)
    rows = everything.feed(whole.signals)
    assert "unusable" not in everything.columns
    assert all(row.present["acc"] for row in rows)
