"""Windows by the mean and deviation of their own recording: by hand, by stretch, by chunk."""

from __future__ import annotations

import pickle
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from crossl.data import recording_statistics
from crossl.data.calibrated import calibrated
from crossl.data.calibration import Calibration, Moments
from crossl.data.contract import fit_store
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.standardisation import (
    CalibrationStandardisation,
    RecordingStandardisation,
    RunningStandardisation,
    TrainingStandardisation,
)
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

ACC = Modality("acc", ("x", "y"), "m/s^2", 10.0)
HEAT = Modality("heat", ("t",), "K", 2.0)
WHOLE = RecordingStandardisation(floor=0.001).build()
RUNNING = RunningStandardisation(floor=0.001).build()


def recording(subject, values, heat=None, *, session="a", start_s=0.0):
    """Make a recording of given samples."""
    signals = {"acc": Signal(np.asarray(values, dtype=np.float32), 10.0)}
    if heat is not None:
        signals["heat"] = Signal(np.asarray(heat, dtype=np.float32), 2.0, start_s)
    return Recording(subject, session, {"acc": ACC, "heat": HEAT}, signals)


def noise(seconds, *, seed=0, mean=5.0, scale=(1.0, 30.0)):
    """Make samples whose channels have other sizes."""
    rng = np.random.default_rng(seed)
    return rng.normal(mean, scale, size=(round(10 * seconds), 2)).astype(np.float32)


def write(out, recordings, *, stride_s=1.0, **other) -> Store:
    """Write a store of windows of two seconds."""
    return write_store(recordings, out, modalities=(ACC, HEAT), classes=(), about={},
                       spec=WindowSpec(2.0, stride_s), **other)  # fmt: skip


def read(store, rows=None, name="acc"):
    """Read windows as training does."""
    return store.gather_zeroed(np.arange(len(store)) if rows is None else np.asarray(rows))[name]


def by_hand(values, counted):
    """Standardise values by those that count."""
    wide = counted.astype(np.float64)
    return (values - wide.mean(axis=0)) / wide.std(axis=0)


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-5)


@pytest.fixture
def two(tmp_path):
    """Two recordings of 9 and 7 seconds, the first with heat from second 3 on."""
    first, second = noise(9), noise(7, seed=1, mean=-40, scale=(5.0, 0.1))
    heat = 290 + np.arange(12)[:, None] * 0.5
    return (
        first,
        second,
        write(
            tmp_path / "store",
            [recording("ann", first, heat, start_s=3.0), recording("bob", second)],
        ),
    )


def test_each_recording_has_its_own_mean_and_deviation(two):
    first, second, store = two
    seen = calibrated(store, WHOLE)
    windows = read(seen)
    assert len(store) == 8 + 6
    for row in range(8):
        close(windows[row], by_hand(first[10 * row : 10 * row + 20], first))
    for row in range(6):
        close(windows[8 + row], by_hand(second[10 * row : 10 * row + 20], second))
    assert seen.hash == store.hash


def test_a_modality_that_is_absent_stays_zeros_and_counts_for_nothing(two):
    _, _, store = two
    seen, present = calibrated(store, WHOLE), store.present[:, 1]
    heat = read(seen, name="heat")
    assert present.tolist() == [False] * 3 + [True] * 5 + [False] * 6
    assert not heat[~present].any()
    values = 290 + np.arange(12)[:, None] * 0.5
    close(heat[3], by_hand(values[:4], values))
    np.testing.assert_array_equal(seen.present, store.present)


def test_a_window_sees_what_was_recorded_up_to_its_end(two):
    first, _, store = two
    windows = read(calibrated(store, RUNNING))
    for row in range(8):
        end = 10 * row + 20
        close(windows[row], by_hand(first[end - 20 : end], first[:end]))


def test_a_stretch_counts_from_a_sensors_own_beginning(two):
    first, _, store = two
    stretch = CalibrationStandardisation(minutes=3.5 / 60, floor=0.001).build()
    seen = calibrated(store, stretch)
    windows = read(seen)
    close(windows[0], by_hand(first[:20], first[:20]))
    close(windows[1], by_hand(first[10:30], first[:30]))
    for row in range(2, 8):
        close(windows[row], by_hand(first[10 * row : 10 * row + 20], first[:35]))
    heat = 290 + np.arange(12)[:, None] * 0.5  # from second 3 on
    close(read(seen, name="heat")[5], by_hand(heat[4:8], heat[:7]))


def test_what_lies_in_no_window_does_not_count(tmp_path):
    values = noise(12)
    values[45:75] = np.nan  # too long to be filled
    store = write(tmp_path / "store", [recording("ann", values)])
    counted = np.concatenate([values[:40], values[80:]])
    windows = read(calibrated(store, WHOLE))
    starts = np.round(store.start_s * 10).astype(int).tolist()
    assert starts == [0, 10, 20, 80, 90, 100]
    close(windows[4], by_hand(values[90:110], counted))
    close(read(calibrated(store, RUNNING))[3], by_hand(values[80:100], np.delete(
        values[:100], np.s_[40:80], axis=0)))  # fmt: skip


def test_windows_that_do_not_touch_leave_out_what_is_between(tmp_path):
    values = noise(12)
    store = write(tmp_path / "store", [recording("ann", values)], stride_s=5.0)
    counted = np.concatenate([values[:20], values[50:70], values[100:120]])
    close(read(calibrated(store, WHOLE))[1], by_hand(values[50:70], counted))


def test_recordings_of_a_subject_count_together_where_that_is_asked_for(tmp_path):
    parts = [noise(6, seed=s, mean=m) for s, m in enumerate((0.0, 9.0, -2.0))]
    people = ("ann", "bob", "ann")
    store = write(tmp_path / "store", [
        recording(who, one, session=str(n))
        for n, (who, one) in enumerate(zip(people, parts, strict=True))
    ])  # fmt: skip
    windows = read(calibrated(store, RecordingStandardisation(by="subject", floor=0.001).build()))
    both = np.concatenate([parts[0], parts[2]])
    close(windows[0], by_hand(parts[0][:20], both))
    close(windows[10], by_hand(parts[2][:20], both))
    close(windows[5], by_hand(parts[1][:20], parts[1]))


def as_is(recordings):
    """Yield recordings; at module level, where workers find it."""
    yield from recordings


def test_recordings_of_appended_segments_are_recordings_of_their_own(tmp_path):
    parts = [noise(6, seed=s, mean=m) for s, m in enumerate((0.0, 9.0, -2.0))]
    card = Card("made", "Made", "Numbers.", "none", "none", "none", (ACC, HEAT), (),
                WindowSpec(2.0, 1.0))  # fmt: skip
    for number, names in enumerate((("ann",), ("bob", "ann"))):
        told = [recording(n, parts[number + i], session=str(number)) for i, n in enumerate(names)]
        dataset = Dataset(card, (Part(str(number), partial(as_is, told)),))
        store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "made"),
                              append=number > 0)  # fmt: skip
    assert len(store.segments) == 2
    windows = read(calibrated(store, RUNNING))
    for place, one in enumerate(parts):
        close(windows[5 * place + 2], by_hand(one[20:40], one[:40]))
    both = np.concatenate([parts[0], parts[2]])
    of_people = read(calibrated(store, RecordingStandardisation(by="subject", floor=0.001).build()))
    close(of_people[11], by_hand(parts[2][10:30], both))


def test_a_constant_channel_is_not_blown_up(tmp_path):
    dead, nearly = noise(6), noise(6, seed=1)
    dead[:, 0] = 1000.1
    nearly[:, 0] = 0.01 * nearly[:, 0]
    usual = [noise(6, seed=s) for s in (2, 3, 4)]
    people = {"dead": dead, "nearly": nearly, "a": usual[0], "b": usual[1], "c": usual[2]}
    store = write(tmp_path / "store", [recording(name, one) for name, one in people.items()])
    alone = read(calibrated(store, RecordingStandardisation().build()))
    assert not alone[:5, :, 0].any()
    train = np.flatnonzero(np.isin(store.subject, ["a", "b", "c"]))
    seen = calibrated(store, RecordingStandardisation(floor=0.2).build(), train)
    windows = read(seen)
    assert not windows[:5, :, 0].any()
    least = 0.2 * np.median([one[:, 0].astype(float).std() for one in usual])
    close(windows[5:10, :, 0].std(), read(store)[5:10, :, 0].std() / least)
    close(seen.calibration.typical["acc"],
          np.median([one.astype(float).std(axis=0) for one in usual], axis=0))  # fmt: skip


def test_a_deviation_that_is_rounding_is_none(tmp_path):
    values = noise(6)
    values[:, 0] = 3e5 + 0.03 * (np.arange(60) % 2)
    store = write(tmp_path / "store", [recording("ann", values)])
    assert np.abs(read(calibrated(store, RecordingStandardisation().build()))[..., 0]).max() < 0.04


def test_a_signal_far_from_zero_keeps_its_precision(tmp_path):
    values = noise(9, mean=1e4, scale=(0.02, 0.02))
    store = write(tmp_path / "store", [recording("ann", values)])
    wanted = by_hand(values[:20].astype(np.float64), values)
    np.testing.assert_allclose(read(calibrated(store, WHOLE))[0], wanted, atol=0.05)


def test_what_others_recorded_changes_nothing(tmp_path):
    """Neither is another recording seen, such as a tested one, nor is it part of what is usual."""
    mine = [noise(8, seed=s) for s in (0, 1)]
    spoilt = {"a": noise(8, seed=7, mean=0), "b": noise(8, seed=8, mean=900, scale=(70, 4000.0))}
    stores = [write(tmp_path / name, [recording("ann", mine[0]), recording("cem", other),
                                      recording("bob", mine[1])])
              for name, other in spoilt.items()]  # fmt: skip
    rows = np.flatnonzero(stores[0].subject != "cem")
    kinds = [
        RecordingStandardisation(),
        RecordingStandardisation(by="subject"),
        CalibrationStandardisation(minutes=0.05),
        RunningStandardisation(),
    ]
    for settings in kinds:
        seen = [calibrated(store, settings.build(), rows) for store in stores]
        assert seen[0].calibration == seen[1].calibration
        np.testing.assert_array_equal(read(seen[0], rows), read(seen[1], rows))
        others = np.setdiff1d(np.arange(len(stores[0])), rows)
        assert not np.array_equal(read(seen[0], others), read(seen[1], others))


def test_without_the_option_a_store_is_itself(two):
    assert TrainingStandardisation().build() is None
    assert calibrated(two[2], None) is two[2]
    assert calibrated(calibrated(two[2], WHOLE), None) is two[2]


def test_a_view_of_other_modalities_is_calibrated_in_any_process(two):
    _, _, store = two
    gyro = replace(ACC, name="gyro")
    view = fit_store(store, [gyro, HEAT, ACC], window_s=2.0, calibration=WHOLE).store
    again = pickle.loads(pickle.dumps(view))  # noqa: S301 - our own
    for seen in (view, again):
        windows = seen.gather_zeroed(np.array([4, 0]))
        assert not windows["gyro"].any()
        np.testing.assert_array_equal(windows["acc"], read(calibrated(store, WHOLE), [4, 0]))
    arrays = view.arrays([0, 5])
    assert np.isnan(arrays["heat"][0]).all()
    assert not np.isnan(arrays["heat"][1]).any()
    assert arrays.calibrated
    assert arrays[:1].calibrated
    assert not store.arrays().calibrated


@pytest.mark.parametrize("calibration", [WHOLE, RUNNING, replace(RUNNING, minutes=0.07)])
def test_block_and_memory_of_reading_change_no_bit(two, calibration, monkeypatch):
    usual = read(calibrated(two[2], calibration))
    monkeypatch.setattr(recording_statistics, "BLOCK_NUMBERS", 14)
    monkeypatch.setattr(recording_statistics, "IN_MEMORY_BYTES", 0)
    np.testing.assert_array_equal(read(calibrated(two[2], calibration)), usual)


def test_memory_does_not_grow_with_the_length_of_recordings(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_statistics, "BLOCK_NUMBERS", 1 << 12)
    store = write_store([recording("ann", noise(60_000))], tmp_path / "store", modalities=(ACC,),
                        classes=(), about={}, spec=WindowSpec(60.0, 30.0))  # fmt: skip
    for calibration in (WHOLE, RUNNING):
        seen = calibrated(store, calibration)
        tracemalloc.start()
        seen.gather_zeroed(np.arange(2))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1e6 < 600_000 * 2 * 4 / 4


def test_samples_in_16_bits_are_calibrated_as_they_are_read(tmp_path):
    values = noise(9)
    store = write(tmp_path / "store", [recording("ann", values)], dtype="int16")
    np.testing.assert_allclose(
        read(calibrated(store, WHOLE))[0], by_hand(values[:20], values), atol=2e-4
    )


def test_sums_do_not_depend_on_how_samples_come():
    values = noise(30)
    at_once, bit_by_bit = Moments(2), Moments(2)
    whole = at_once.add(values)
    pieces = [bit_by_bit.add(part) for part in np.split(values, [1, 2, 40, 40, 299])]
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("calibration", [
    WHOLE, RUNNING.fitted({"acc": [1.0, 2.5]}), Calibration("calibration", causal=True, minutes=5)
])  # fmt: skip
def test_what_a_contract_keeps_gives_it_back(calibration):
    kept = calibration.as_dict()
    assert Calibration.from_dict(kept) == calibration
    assert ("transductive" in kept["mean_and_deviation_of"]) is not calibration.causal
