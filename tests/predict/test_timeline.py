"""Timelines: what is said of windows, where there is none, and when that was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest

from crossl.api.run import Run
from crossl.data.calibration import Calibration
from crossl.data.contract import fit_store
from crossl.data.recording import Recording
from crossl.data.recording_windows import StoredWindows
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError
from crossl.predict.sight import Seen, Sight, sight_of
from crossl.predict.timeline import NOTHING, Stretch, Timeline, timeline_of, without_unsure
from crossl.predict.traces import traces_of

from .conftest import ACC, ECG, SPEC

Make = Callable[..., tuple[Seen, Timeline]]


def test_windows_of_a_recording_get_the_labels_that_the_same_windows_of_a_store_get(
    run: Run, store: Store, timeline: Make
) -> None:
    _, line = timeline(without=("ecg",), gap_s=(10.0, 14.0))
    rows = store.subject == "ann"
    assert line.label[line.window].tolist() == run.predict(store)[rows].tolist()
    np.testing.assert_allclose(
        line.outputs[line.window], run.predict_proba(store)[rows], rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(line.present[line.window], store.present[rows])
    np.testing.assert_allclose(line.outputs[line.window].sum(axis=1), 1, atol=1e-6)
    assert set(line.label[line.window]) == {"rest", "run"}


def test_a_gap_is_one_row_with_its_reason(timeline: Make) -> None:
    _, line = timeline(gap_s=(10.0, 14.0))
    (gap,) = np.flatnonzero(~line.window)
    # the last window before the gap is that of 8 s, the first behind it that of 14 s
    assert (line.start_s[gap], line.end_s[gap]) == (9.0, 15.0)
    assert line.reason[gap] == NOTHING
    assert line.label[gap] == ""
    assert np.isnan(line.outputs[gap]).all()
    assert not line.present[gap].any()
    assert (np.diff(line.start_s) >= 0).all()
    assert (line.reason[line.window] == "").all()
    assert len(line) == 34 + 1


def test_what_is_missing_at_both_ends_is_told(
    timeline: Make, recorded: Callable[..., Recording]
) -> None:
    _, line = timeline(gap_s=(0.0, 5.0))
    assert (line.start_s[0], line.end_s[0], line.reason[0]) == (0.0, 6.0, NOTHING)
    _, line = timeline(gap_s=(30.0, 40.0))
    assert (line.start_s[-1], line.end_s[-1], line.reason[-1]) == (29.0, 40.0, NOTHING)


def test_a_recording_shorter_than_a_window_is_one_row_that_says_so(timeline: Make) -> None:
    _, line = timeline(seconds=1)
    assert line.window.tolist() == [False]
    assert line.reason.tolist() == ["the recording lasts 1 s, shorter than a window of 2 s"]
    assert list(line.stretches()) == []


def test_stretches_follow_each_other_without_overlap_and_leave_out_gaps(timeline: Make) -> None:
    _, line = timeline(gap_s=(10.0, 14.0))
    truth = list(line.stretches(line.truth))
    # a window speaks for the second in its middle, and at its end a run of windows for the rest
    assert truth == [Stretch(0.0, 10.0, "rest"), Stretch(14.0, 19.5, "rest"),
                     Stretch(20.5, 40.0, "run")]  # fmt: skip
    said = list(line.stretches())
    assert all(one.end_s <= other.start_s + 1e-9 for one, other in pairwise(said))
    assert said[0].start_s == 0.0
    assert said[-1].end_s == 40.0
    assert all(one.end_s <= 10.0 or one.start_s >= 14.0 for one in said)


def test_times_are_on_the_wall_in_the_zone_of_the_recording(timeline: Make) -> None:
    _, line = timeline(start_s=1000.0)
    when = line.when(float(line.start_s[0]))
    assert when is not None
    assert when.isoformat() == "2024-06-01T12:00:00+02:00"
    _, line = timeline(dated=False)
    assert line.when(0.0) is None
    local = replace(line, origin_unix_s=0.0, zone="")
    assert local.when(1.5) == datetime(1970, 1, 1, 0, 0, 1, 500000)


def test_a_sensor_that_the_run_never_saw_is_named_and_left_out(
    sight: Sight, recorded: Callable[..., Recording], run: Run
) -> None:
    whole = recorded()
    more = replace(ECG, name="resp")
    strange = replace(
        whole, modalities={**whole.modalities, "resp": more},
        signals={**whole.signals, "resp": whole.signals["ecg"]},
    )  # fmt: skip
    seen = sight.see(strange)
    assert seen.unseen == ("resp",)
    assert [m.name for m in seen.windows.modalities] == ["acc", "ecg"]
    assert sight.see(whole).unseen == ()


def test_another_rate_is_refused_with_both_numbers_and_changed_where_that_is_said(
    sight: Sight, recorded: Callable[..., Recording]
) -> None:
    fast = recorded().resampled({"acc": 40.0})
    match = r"subject ann, session monday: modality 'acc' has 40 Hz; .* 20 Hz.*--resample acc"
    with pytest.raises(ContractError, match=match):
        sight.see(fast)
    seen = replace(sight, resample=("acc",)).see(fast)
    assert seen.windows.gather_zeroed(np.array([3]))["acc"].shape == (1, 40, 3)
    # what training changed from this very rate is changed again, unasked
    trained = {"acc": {"from_hz": 40.0, "filter": "scipy.signal.resample_poly"}}
    from crossl.data.rate_change import RATE_FILTER

    trained["acc"]["filter"] = RATE_FILTER
    again = replace(sight, resampled=trained).see(fast)
    np.testing.assert_array_equal(
        again.windows.gather_zeroed(np.array([3]))["acc"],
        seen.windows.gather_zeroed(np.array([3]))["acc"],
    )
    trained["acc"]["filter"] = "another"
    with pytest.raises(ContractError, match="was changed by 'another' before training"):
        replace(sight, resampled=trained).see(fast)


def test_another_unit_or_none_that_is_known_is_refused(
    sight: Sight, recorded: Callable[..., Recording]
) -> None:
    whole = recorded()
    other = replace(whole, modalities={**whole.modalities, "acc": replace(ACC, unit="g")})
    with pytest.raises(ContractError, match=r"'acc': is in 'g'; .* 'm/s\^2'"):
        sight.see(other)
    renamed = Recording("ann", "1", {"eda": replace(ECG, name="eda")},
                        {"eda": whole.signals["ecg"]})  # fmt: skip
    with pytest.raises(ContractError, match=r"no sensor that the run knows, got eda; .*acc, ecg"):
        sight.see(renamed)


def test_what_is_declared_and_not_recorded_is_no_sensor_of_a_recording(
    sight: Sight, recorded: Callable[..., Recording]
) -> None:
    whole = recorded()
    eda = replace(ECG, name="eda")
    held = {"eda": whole.signals["ecg"]}
    other = Recording("ann", "1", {"acc": ACC, "ecg": ECG, "eda": eda}, held)
    told = r"session 1 \(a.csv\): has no sensor that the run knows, got eda; .* acc, ecg is needed"
    with pytest.raises(ContractError, match=told):
        sight.see(other, file="a.csv")
    # at another rate, but absent: nothing to change, nothing to ask for
    fast = {"acc": replace(ACC, rate_hz=100.0, unit="g"), "ecg": ECG}
    one = replace(whole, modalities=fast, signals={"ecg": whole.signals["ecg"]})
    assert sight.see(one).windows.present[:, 1].all()


def test_a_contract_without_windows_or_an_unknown_sensor_is_refused() -> None:
    with pytest.raises(ContractError, match="does not say how its windows were cut"):
        sight_of({"window_s": 2.0}, [ACC], where="runs/x")
    assert sight_of({"window_s": 2.0}, [ACC], where="runs/x", spec=SPEC).spec == SPEC
    with pytest.raises(ContractError, match="windows of 3 s; the mapping cuts 2 s"):
        sight_of({"window_s": 3.0}, [ACC], where="runs/x", spec=SPEC)
    with pytest.raises(ConfigError, match=r"--resample: modality 'ac'; did you mean 'acc'\?"):
        sight_of({"window_s": 2.0}, [ACC], where="runs/x", spec=SPEC, resample=["ac"])


def test_chosen_classes_name_the_truth(sight: Sight, recorded: Callable[..., Recording]) -> None:
    seen = replace(sight, chosen={"run": "moves"}).see(recorded())
    assert set(seen.truth.tolist()) == {"", "moves"}


@pytest.mark.parametrize("causal", [True, False])
def test_calibrated_windows_are_those_of_a_calibrated_store(
    store: Store, sight: Sight, recorded: Callable[..., Recording], *, causal: bool
) -> None:
    how = Calibration("any", causal=causal)
    seen = replace(sight, calibration=how).see(recorded(without=("ecg",), gap_s=(10.0, 14.0)))
    rows = np.flatnonzero(store.subject == "ann")
    wanted = fit_store(store, sight.modalities, window_s=2.0, calibration=how).store
    found = seen.windows.gather_zeroed(np.arange(len(rows)))
    for name, values in wanted.gather_zeroed(rows).items():
        np.testing.assert_array_equal(found[name], values)
    assert np.abs(found["acc"]).max() < np.abs(store.gather_zeroed(rows)["acc"]).max()
    by_subject = Calibration("recording", causal=False, by="subject")
    with pytest.raises(ContractError, match=r"by all recordings of a subject, .* into a store"):
        sight_of({"window_s": 2.0}, [ACC], where="r", spec=SPEC, calibration=by_subject)


def test_traces_are_the_range_of_what_was_recorded(timeline: Make, store: Store) -> None:
    seen, _ = timeline(without=("ecg",), gap_s=(10.0, 14.0))
    (acc,) = traces_of(seen, pieces=40)
    raw = sight_values(seen)
    np.testing.assert_allclose(acc.low[3], raw[60:80].min(axis=0))
    np.testing.assert_allclose(acc.high[39], raw[780:800].max(axis=0))
    assert np.isnan(acc.low[10:14]).all()
    assert np.isfinite(acc.low[:10]).all()


def sight_values(seen: Seen) -> np.ndarray:
    """Return the samples of the accelerometer, from windows that follow each other."""
    windows = {round(t): row for row, t in enumerate(seen.windows.start_s.tolist())}
    values = np.full((800, 3), np.nan, dtype=np.float32)
    for second, row in windows.items():
        got = seen.windows.gather_zeroed(np.array([row]))["acc"][0]
        values[20 * second : 20 * second + 40] = got
    return values


def test_rows_of_a_store_are_the_windows_of_one_recording(store: Store, run: Run) -> None:
    rows = np.flatnonzero(store.subject == "cem")
    windows = StoredWindows(store, rows)
    some = np.array([0, 5])
    np.testing.assert_array_equal(
        windows.gather_zeroed(some)["acc"], store.gather_zeroed(rows[some])["acc"]
    )
    assert windows.places.step.tolist() == list(range(39))
    seen = Seen("cem", "1", windows, 0.0, 40.0, None, "", np.full(39, "", dtype="<U1"))
    assert run.classifier is not None
    line = timeline_of(run.model, run.classifier.probe, seen)
    assert line.label.tolist() == run.predict(store)[rows].tolist()


def test_a_label_of_the_path_must_be_probable_enough_itself() -> None:
    label = np.array(["rest", "run", "run", ""])
    found = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [np.nan, np.nan]], dtype=np.float32)
    kept, reason = without_unsure(label, np.array(["", "", "", "gap"]), found, ("rest", "run"), 0.8)
    assert kept.tolist() == ["rest", "", "", ""]
    assert reason.tolist() == [
        "",
        "the label of the most likely path does not reach a probability of 0.8",
        "no label reaches a probability of 0.8",
        "gap",
    ]
