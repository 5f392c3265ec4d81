"""A session: what a source yields is held against the run and labelled, whatever happens to it."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from crossl.data.recording import Modality, Signal
from crossl.errors import ContractError, DataError
from crossl.stream import session as session_module
from crossl.stream.pace import Pace
from crossl.stream.source import Chunk, Facts

from .conftest import ACC, ECG, assert_said, chunks_of, labelled, recorded, source_of


def test_a_source_may_say_nothing_of_itself(run, session, notes):
    whole = recorded()
    said = labelled(source_of(chunks_of(whole)), session())
    assert_said(said, run.timeline(whole))
    assert {one["start_time"] for one in said} == {None}
    assert notes == []


def test_dates_follow_from_what_the_source_or_the_person_says(session):
    items = [Facts(origin_unix_s=1717236000.0, zone="Europe/Madrid"), *chunks_of(recorded())]
    first = labelled(source_of(items), session())[0]
    assert first["start_time"] == "2024-06-01T12:00:00.000+02:00"
    first = labelled(source_of(items), session(zone="Asia/Tokyo", origin_unix_s=0.0))[0]
    assert first["start_time"] == "1970-01-01T09:00:00.000+09:00"


def test_values_that_speak_against_the_unit_are_noted_once_by_all_who_read_them(
    run, session, notes, caplog
):
    whole = recorded()
    rest = np.random.default_rng(0).normal([0, 0, 1], 0.01, size=(400, 3)).astype(np.float32)
    in_g = replace(whole, signals={**whole.signals, "acc": Signal(rest, ACC.rate_hz)})
    items = chunks_of(in_g)
    later = [replace(item, times=item.times + 1000.0) for item in items]
    labelled(source_of([*later, *items]), session())
    back, said = notes
    assert said.startswith("warning: acc: its values look like g, which its declared unit does not")
    assert "new recording begins" in back
    run.timeline(in_g)
    assert [one.getMessage() for one in caplog.records] == [said.removeprefix("warning: ")]
    live = run.live()
    live.push("acc", 0.0, rest)
    assert live.notes == []  # too few to tell
    live.push("acc", 20.0, rest)
    live.finish()
    assert live.notes == [said]


def test_nobody_waits_for_sensors_that_will_not_come(run, session):
    whole = recorded(without=("ecg",))
    line = run.timeline(whole)
    facts = Facts({"acc": ACC}, complete=True, in_order=True)
    for first, options in (([facts], {}), ([Facts(in_order=True)], {"without": ("ecg",)})):
        one = session(**options)
        early = [row for item in [*first, *chunks_of(whole)[:4]] for row in one.take(item)]
        assert [row["start_s"] for row in early] == [0.0]
        assert_said(labelled(source_of([*first, *chunks_of(whole)]), session(**options)), line)


def test_late_double_and_unknown_chunks(run, session, notes):
    whole = recorded()
    items = chunks_of(whole)
    items[8], items[12] = items[12], items[8]
    twice = [item for item in items for _ in range(2)]
    mixed = [*twice[:30], Chunk("spo2", 0.0, np.zeros((4, 1))), *twice[30:]]
    assert_said(labelled(source_of(mixed), session()), run.timeline(whole))
    first, unseen, last = notes  # what was dropped is reported at once, then every 10 s
    assert unseen == "sensor spo2 was not in training and is left out"
    assert first.startswith("came twice, or more than 2 s behind the newest sample, and dropped: ")
    assert last.endswith("dropped: 400 samples of acc, 640 samples of ecg")


def test_a_clock_that_was_set_back_begins_another_recording(run, session, notes):
    whole = recorded()
    items = chunks_of(whole)
    later = [replace(item, times=item.times + 1000.0) for item in items]
    said = labelled(source_of([*later, *items]), session())
    assert len(said) == 38
    assert [one["start_s"] for one in said[:19]] == [1000.0 + n for n in range(19)]
    assert_said(said[19:], run.timeline(whole))
    assert notes == ["the clock went back from 1020 s to 0 s; a new recording begins"]


def test_sensors_on_different_clocks_are_refused(session):
    items = [replace(item, times=item.times + (1e6 if item.sensor == "ecg" else 0))
             for item in chunks_of(recorded())]  # fmt: skip
    with pytest.raises(DataError, match=r"stream: 'ecg' is at 1000\d+\.?\d* s and others at .* s; "
                       "all sensors must be on one clock"):  # fmt: skip
        labelled(source_of(items), session())


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(ACC, rate_hz=50.0), "'acc' has 50 Hz; the run was made for 20 Hz, to change the "
         "rate say --resample acc"),
        (replace(ACC, unit="g"), "stream: modality 'acc': is in 'g'; the model was made for 'm/s"),
        (replace(ACC, channels=("x", "y")), r"has channels \('x', 'y'\); the model was made for"),
    ],
)  # fmt: skip
def test_another_rate_unit_or_channels_are_refused_with_both(session, other, told):
    with pytest.raises(ContractError, match=told):
        session().take(Facts({"acc": other}))


def test_another_rate_is_changed_where_asked(session):
    items = chunks_of(recorded())
    fast = [replace(item, values=np.repeat(item.values, 1 + (item.sensor == "acc"), axis=0))
            for item in items]  # fmt: skip
    facts = Facts({"acc": replace(ACC, rate_hz=40.0), "ecg": ECG}, complete=True)
    said = labelled(source_of([facts, *fast]), session(resample=("acc",)))
    assert [one["present_acc"] for one in said] == [True] * 19


def test_what_the_run_never_saw_is_named_and_nothing_else_is_refused(session, notes):
    seen = {"acc": ACC, "temp": Modality("temp", ("t",), "K", 1.0)}
    assert session().take(Facts(seen, complete=True)) == []
    assert notes == ["sensor temp was not in training and is left out"]
    with pytest.raises(ContractError, match="has no sensor that the run knows, got temp; at least"):
        session().take(Facts({"temp": seen["temp"]}, complete=True))
    one = session()
    one.take(Facts({"acc": ACC}, complete=True))
    with pytest.raises(DataError, match="'ecg' is not among the sensors that the source said"):
        one.take(Chunk("ecg", 0.0, np.zeros((4, 1))))
    with pytest.raises(DataError, match="--without: sensor 'accc'; did you mean 'acc'"):
        session(without=("accc",))


def test_a_stream_of_unknown_sensors_alone_is_refused_at_its_end(session):
    one = session()
    one.take(Chunk("temp", 0.0, np.zeros((4, 1))))
    with pytest.raises(ContractError, match="has no sensor that the run knows, got temp; at least"):
        one.finish()


def test_times_that_jitter_are_spaced_evenly(run, session):
    whole, rng = recorded(), np.random.default_rng(0)
    late = [replace(item, times=item.times + rng.uniform(0, 0.04)) for item in chunks_of(whole)]
    one = session(jitter_s=0.05)
    said = labelled(source_of(late), one)
    assert [row["label"] for row in said] == run.timeline(whole)["label"].tolist()
    assert one.live.windower.dropped == {"acc": 0, "ecg": 0}
    assert one.live.windower.origin_s < 0.04


def test_a_clock_that_drifts_is_followed():
    pace, rate_hz = Pace(0.03), 100.0
    true = np.arange(0, 3600, 0.1) * 1.002  # samples come 0.2% slower than said
    chunk = np.zeros((10, 1), np.float32)
    placed = [pace.place(session_module.Signal(chunk, rate_hz, t)).start_s for t in true]
    np.testing.assert_allclose(placed, true, atol=0.012)


def test_silence_is_noted_once_and_costs_nothing(run, session, notes, monkeypatch):
    monkeypatch.setattr(session_module, "SILENT_S", 0.02)
    whole = recorded()

    async def slow():
        for number, item in enumerate(chunks_of(whole)):
            if number == 20:
                await asyncio.sleep(0.08)
            yield item

    assert_said(labelled(slow(), session()), run.timeline(whole))
    assert notes == ["nothing came for 0.02 s; still waiting"]


def test_what_a_source_raises_comes_through_and_it_is_closed(session):
    closed = []

    async def broken():
        try:
            yield Chunk("acc", 0.0, np.zeros((4, 3)))
            raise DataError("strap: is broken")
        finally:
            closed.append(True)

    with pytest.raises(DataError, match="strap: is broken"):
        labelled(broken(), session())
    assert closed == [True]
    assert labelled(source_of([]), session()) == []
