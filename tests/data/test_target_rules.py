"""Target rules: what follows from labels, signals and people for the windows of a recording."""

from __future__ import annotations

import numpy as np
import pytest

from crossl.data import target_rules
from crossl.data.classes import with_classes
from crossl.data.cutting import cut_recording
from crossl.data.recording import LabelInterval, Signal
from crossl.data.target_rules import (
    LabelsOfClasses,
    MergedClasses,
    NumberKnown,
    NumberOfPerson,
    NumberOfSignal,
    Numbers,
    cut_with_targets,
)
from crossl.data.targets import Target
from crossl.data.windows import WindowSpec

SPEC = WindowSpec(window_s=2.0, stride_s=1.0)
CLASSES = ("rest", "walk", "run")
LABELS = (LabelInterval(0, 4, "rest"), LabelInterval(4, 5, "walk"), LabelInterval(5, 8, "run"))


def cut(made, recording, *rules, modalities=None, spec=SPEC):
    modalities = modalities or (made.acc, made.heart)
    return cut_with_targets(recording, recording, modalities, CLASSES, spec, rules)


def test_labels_are_those_of_the_class_of_a_window(made):
    target = Target("posture", "labels", ("upright", "moving"))
    rule = LabelsOfClasses(target, CLASSES, (("walk", "run"), ("run",)))
    recording = made.recording(labels=LABELS)
    found, values = cut(made, recording, rule)
    told = {0: [0, 0], 1: [1, 0], 2: [1, 1], -1: [-1, -1]}
    # from 3 to 5 s it is half rest, half walk; from 4 to 6 s half walk, half run; from 8 s nothing
    assert found.label.tolist() == [0, 0, 0, -1, -1, 2, 2, -1, -1]
    np.testing.assert_array_equal(values["posture"], [told[c] for c in found.label.tolist()])


def test_merged_classes_are_what_a_store_of_these_classes_has_as_label(made):
    of = {"rest": "still", "walk": "gait", "run": "gait"}
    rule = MergedClasses(Target("gait", "classes", ("still", "gait")), of)
    recording = made.recording(labels=LABELS)
    _, values = cut(made, recording, rule)
    merged = with_classes(recording, of)
    wanted = cut_recording(merged, (made.acc, made.heart), ("still", "gait"), SPEC).label
    np.testing.assert_array_equal(values["gait"], wanted)
    assert values["gait"][4] == 1  # half walk, half run is gait throughout


@pytest.mark.parametrize("statistic", ["mean", "median", "max", "min"])
@pytest.mark.parametrize("at_once", [1, 1 << 22])
def test_a_number_of_a_signal_is_the_statistic_of_the_samples_in_each_window(
    made, statistic, at_once, monkeypatch
):
    monkeypatch.setattr(target_rules, "SAMPLES_AT_ONCE", at_once)
    rule = Numbers(Target("y", "numbers", ("y",), ("m/s^2",)),
                   (NumberOfSignal(made.acc, 1, statistic),))  # fmt: skip
    recording = made.recording()
    _, values = cut(made, recording, rule)
    y = recording.signals["acc"].values[:, 1].astype(np.float64)
    wanted = [getattr(np, statistic)(y[s * 20 : s * 20 + 40]) for s in range(9)]
    np.testing.assert_allclose(values["y"][:, 0], wanted, rtol=1e-6)
    assert values["y"].dtype == np.float32


def test_a_number_is_unknown_where_the_window_lacks_the_modality(made):
    heart = np.ones((40, 1), dtype=np.float32)
    heart[8:12] = np.nan  # from 2 to 3 s
    recording = made.recording()
    recording.signals["heart"] = Signal(heart, 4.0)
    rule = Numbers(Target("h", "numbers", ("h",), ("Hz",)),
                   (NumberOfSignal(made.heart, 0, "mean"),))  # fmt: skip
    found, values = cut(made, recording, rule)
    np.testing.assert_array_equal(np.isnan(values["h"][:, 0]), ~found.present[:, 1])
    assert (~found.present[:, 1]).sum() == 2


def test_a_modality_that_only_a_target_reads_is_not_in_what_is_cut(made):
    rule = Numbers(Target("h", "numbers", ("h",), ("Hz",)),
                   (NumberOfSignal(made.heart, 0, "max"),))  # fmt: skip
    recording = made.recording()
    found, values = cut(made, recording, rule, modalities=(made.acc,))
    plain = cut_recording(recording, (made.acc,), CLASSES, SPEC)
    assert list(found.signals) == list(plain.signals) == ["acc"]
    assert found.interpolated == plain.interpolated
    for name in ("offsets", "present", "start_s", "label"):
        np.testing.assert_array_equal(getattr(found, name), getattr(plain, name))
    heart = recording.signals["heart"].values[:, 0]
    np.testing.assert_allclose(values["h"][0, 0], heart[:8].max())


def test_windows_in_which_only_that_modality_was_recorded_are_dropped(made):
    acc = np.ones((200, 3), dtype=np.float32)
    acc[:80] = np.nan
    recording = made.recording()
    recording.signals["acc"] = Signal(acc, 20.0)
    rule = Numbers(Target("h", "numbers", ("h",), ("Hz",)),
                   (NumberOfSignal(made.heart, 0, "mean"),))  # fmt: skip
    found, values = cut(made, recording, rule, modalities=(made.acc,))
    assert found.start_s.tolist() == [4.0, 5.0, 6.0, 7.0, 8.0]
    heart = recording.signals["heart"].values[:, 0]
    wanted = [heart[4 * s : 4 * s + 8].mean() for s in range(4, 9)]
    np.testing.assert_allclose(values["h"][:, 0], wanted, rtol=1e-5)


def test_a_signal_that_was_never_recorded_leaves_the_number_unknown(made):
    recording = made.recording()
    del recording.signals["heart"]
    rule = Numbers(Target("h", "numbers", ("h",), ("Hz",)),
                   (NumberOfSignal(made.heart, 0, "mean"),))  # fmt: skip
    _, values = cut(made, recording, rule, modalities=(made.acc,))
    assert np.isnan(values["h"]).all()
    assert values["h"].shape == (9, 1)


def test_numbers_of_people_are_the_same_in_all_windows_of_a_person(made):
    target = Target("body", "numbers", ("age", "height"), ("year", "m"))
    rule = Numbers(target, (NumberOfPerson({"S1": 34.0}, complete=True, where=""),
                            NumberKnown("height")))  # fmt: skip
    one = made.recording("S1", person={"height": 1.75})
    _, values = cut(made, one, rule)
    np.testing.assert_allclose(values["body"], np.tile([34.0, 1.75], (9, 1)))
    _, values = cut(made, made.recording("S2"), rule)
    assert np.isnan(values["body"]).all()


def test_a_stored_modality_is_read_at_the_rate_that_it_is_stored_at(made):
    recording = made.recording().resampled({"acc": 10.0})
    rule = Numbers(Target("y", "numbers", ("y",), ("m/s^2",)),
                   (NumberOfSignal(made.acc, 1, "mean"),))  # fmt: skip
    slow = recording.modalities["acc"]
    _, values = cut(made, recording, rule, modalities=(slow, made.heart))
    y = recording.signals["acc"].values[:, 1]
    np.testing.assert_allclose(values["y"][3, 0], y[30:50].mean(), rtol=1e-5)
