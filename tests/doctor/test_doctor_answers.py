"""Inputs that tell a number target are found; what differs between people alone is not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossl.data.recording import Signal
from crossl.data.target_rules import NumberKnown, NumberOfSignal, Numbers
from crossl.data.targets import Target
from crossl.data.write import write_store
from crossl.doctor import examine_store


@pytest.fixture
def findings(clinic, tmp_path):
    """Examine a store that tells heart rate and age; return what gives them away."""
    heart = next(m for m in clinic.modalities if m.name == "heart_rate")
    rules = [
        Numbers(Target("rate", "numbers", ("rate",), ("Hz",)), (NumberOfSignal(heart, 0, "mean"),)),
        Numbers(Target("age", "numbers", ("age",), ("year",)), (NumberKnown("age"),)),
    ]

    def examine(*recordings, keep=False, rules=rules):
        kept = [m for m in clinic.modalities if keep or m.name != "heart_rate"]
        store = write_store(recordings, tmp_path / "store", modalities=kept, targets=rules,
                            classes=clinic.classes, spec=clinic.spec, about={})  # fmt: skip
        return [f for f in examine_store(store).findings if f.check == "giveaway"]

    return examine


def people(clinic):
    return [replace(clinic.sound(f"S{n}", seed=n), person={"age": 20.0 + 9 * n}) for n in (1, 2)]


def test_inputs_that_do_not_tell_are_not_named(clinic, findings):
    assert findings(*people(clinic)) == []


def test_a_modality_that_was_kept_though_it_tells_the_answer_is_an_error(clinic, findings):
    (found,) = findings(*people(clinic), keep=True)
    assert (found.severity, found.where) == ("error", "heart_rate")
    assert found.what.startswith("channel 'hr' gives target 'rate' away by its value alone")


def test_a_copy_in_another_modality_and_unit_is_an_error(clinic, findings):
    copied = []
    for one in people(clinic):
        rate = one.signals["heart_rate"].values
        spo2 = Signal((300 - 60 * rate).astype(np.float32) / 1000, 1.0)
        copied.append(replace(one, signals={**one.signals, "spo2": spo2}))
    (found,) = findings(*copied)
    assert found.where == "spo2"
    assert found.severity == "error"
    assert found.amount[0] == pytest.approx(1)


def test_a_number_that_is_the_same_throughout_a_person_is_told_by_nothing(clinic, findings):
    one, other = people(clinic)
    shifted = Signal(other.signals["skin_temp"].values + np.float32(5), 4.0)
    other = replace(other, signals={**other.signals, "skin_temp": shifted})
    assert findings(one, other) == []
