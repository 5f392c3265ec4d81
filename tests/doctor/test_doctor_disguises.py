"""Channels that are not sensors, and channels that give the label away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import open_dataset
from crossl.data.recording import Modality, Signal
from crossl.doctor import examine_store
from crossl.doctor.disguises import check_disguises
from crossl.doctor.giveaways import Giveaways

RATE_HZ, COUNT = 50.0, 6000


def with_channel(clinic, values, subject="S1", *, name="aux", unit="1", seed=0):
    """A sound recording with one more sensor of one channel."""
    recording = clinic.sound(subject, seed=seed)
    modality = Modality(name, (name,), unit, RATE_HZ)
    values = np.asarray(values, dtype=np.float32)[:, None]
    return replace(
        recording,
        modalities={**recording.modalities, name: modality},
        signals={**recording.signals, name: Signal(values, RATE_HZ)},
    )


def found(diagnosis, check):
    return [f for f in diagnosis.findings if f.check == check]


@pytest.mark.parametrize(("values", "what"), [
    (np.arange(COUNT), "rises in equal steps"),
    (np.arange(COUNT) % 201, "rises in equal steps"),
    (1.7e9 + np.arange(COUNT) * 0.5, "rises in equal steps"),
    (np.repeat([0, 1, 2, 1], COUNT // 4), "takes a few whole numbers"),
    (np.where(np.arange(COUNT) % 500 == 0, 7, 0), "takes a few whole numbers"),
])  # fmt: skip
def test_counters_clocks_codes_and_pulses_are_named(clinic, values, what):
    diagnosis = clinic.examine(with_channel(clinic, values))
    (finding,) = found(diagnosis, "sensors")
    assert (finding.where, finding.severity) == ("aux", "warning")
    assert finding.sentence.startswith("channel 'aux' " + what)


def test_a_counter_that_lost_packets_still_counts(clinic):
    lost = np.delete(np.arange(COUNT + 60), np.arange(0, 6000, 100))
    (finding,) = found(clinic.examine(with_channel(clinic, lost)), "sensors")
    assert "equal steps" in finding.sentence


@pytest.mark.parametrize("name", ["Sample Index", "STI 014", "Status", "index_level_0", "marker"])
def test_what_is_no_sensor_by_its_name_is_named(clinic, name):
    noise = np.random.default_rng(0).normal(size=COUNT)
    (finding,) = found(clinic.examine(with_channel(clinic, noise, name=name)), "sensors")
    assert f"channel '{name}' is a " in finding.sentence


def test_a_sound_recording_has_no_channel_in_disguise(clinic):
    diagnosis = clinic.examine(*(clinic.sound(f"S{i}", seed=i) for i in range(4)))
    assert not found(diagnosis, "sensors")
    assert not found(diagnosis, "giveaway")


def test_a_quantity_in_a_unit_of_another_is_an_error(clinic):
    recording = clinic.redeclare(clinic.sound(), "wrist_acc", unit="T")
    (finding,) = [f for f in found(clinic.examine(recording), "unit") if "by its name" in f.what]
    assert finding.severity == "error"
    assert finding.sentence == "it is an acceleration by its name, and its unit is T"


def leaking(clinic, how):
    """Four people, two stretches of each class each; one channel made of the labels."""
    out = []
    for number in range(4):
        rng = np.random.default_rng(number)
        code = np.repeat([0.0, 1.0], COUNT // 2)
        out.append(with_channel(clinic, how(code, rng), f"S{number}", seed=number))
    return out


@pytest.mark.parametrize(("how", "severity"), [
    (lambda code, rng: 3 * code - 1, "error"),
    (lambda code, rng: 9.81 * code + rng.normal(0, 0.1, COUNT), "error"),
    (lambda code, rng: code + rng.normal(0, 1, COUNT), "warning"),
    (lambda code, rng: code + rng.normal(0, 2, COUNT), "warning"),
    (lambda code, rng: -code + 0.05 * np.sin(np.arange(COUNT)), "error"),
])  # fmt: skip
def test_a_channel_that_encodes_the_label_is_named(clinic, how, severity):
    diagnosis = clinic.examine(*leaking(clinic, how))
    (finding,) = found(diagnosis, "giveaway")
    assert finding.where == "aux"
    assert finding.severity == severity
    assert "channel 'aux' gives the label away by its value alone" in finding.sentence


def test_a_posture_that_people_take_each_in_their_way_is_no_copy_of_the_labels(clinic):
    recordings = []
    for number in range(6):
        rng = np.random.default_rng(number)
        lying = 9.0 + rng.normal(0, 0.4)
        upright = rng.normal(0, 1.2)
        values = np.repeat([upright, lying], COUNT // 2) + rng.normal(0, 0.1, COUNT)
        recordings.append(with_channel(clinic, values, f"S{number}", seed=number))
    assert not found(clinic.examine(*recordings), "giveaway")


@pytest.mark.parametrize(("reader", "name"), [
    ("noneeg", "noneeg"), ("wesad", "wesad_wrist"), ("eegmat", "eegmat"),
    ("uci_har", "fixtures/UCI HAR Dataset"), ("sp_sw_har", "fixtures/sp_sw_har"),
])  # fmt: skip
def test_nothing_ordinary_is_named_in_real_recordings(real_data, reader, name):
    first, _, rest = name.partition("/")
    told, giveaways = [], Giveaways()
    with open_dataset(reader, real_data(first) / rest) as dataset:
        for part in tuple(dataset.parts)[:3]:
            for recording in part.read():
                giveaways.add_recording(recording)
                for key, signal in recording.signals.items():
                    told += check_disguises(recording.modalities[key], signal.values)
    assert [*told, *giveaways.findings()] == []


def test_a_store_is_examined_for_both(clinic, tmp_path):
    dataset = clinic.dataset(*leaking(clinic, lambda code, rng: code + rng.normal(0, 0.01, COUNT)),
                             *[with_channel(clinic, np.arange(COUNT), "S9", seed=9)])  # fmt: skip
    store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "folder"))
    diagnosis = examine_store(store)
    assert [f.where for f in found(diagnosis, "giveaway")] in ([], ["aux"])
    assert [f.where for f in found(diagnosis, "sensors")] == ["aux"]
