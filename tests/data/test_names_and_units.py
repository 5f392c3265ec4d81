"""What names of columns tell: who belongs together, what is measured, what is not a sensor."""

from __future__ import annotations

import pytest

from crossl.data.own.mapping.guess import group_columns, is_eeg, split_unit
from crossl.data.own.mapping.nosensor import no_sensor, sift
from crossl.data.own.mapping.quantity import misfit, quantity_of, read_unit
from crossl.data.readers import DATASETS, get_reader


@pytest.mark.parametrize("columns", [
    ["c0", "c1", "c2"], ["c0", "c1", "c2", "c3", "c4", "c5"], ["t1"], ["p1", "p2"], ["m1", "f1"],
    ["t1", "p1", "f1", "m1", "a1"], ["t1", "t2", "t3", "t4"], ["Cz"], ["a1", "a2"], ["C0", "C1"],
])  # fmt: skip
def test_a_few_letters_with_numbers_are_no_electrodes(columns):
    assert not is_eeg(columns)
    assert "eeg" not in group_columns(columns)


@pytest.mark.parametrize("columns", [
    ["Fp1", "Fp2"], ["C3", "C4"], ["O1", "O2", "A1", "A2"], ["Fz", "Cz", "Pz"],
    ["TP9", "AF7", "AF8", "TP10"], ["F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"],
])  # fmt: skip
def test_electrodes_that_fit_each_other_are_an_eeg(columns):
    assert list(group_columns(columns)) == ["eeg"]
    assert len(group_columns(columns)["eeg"]) == len(columns)


@pytest.mark.parametrize(("columns", "group", "channels"), [
    (["acc_x [g]", "acc_y [g]", "acc_z [g]"], "acc", "xyz"),
    (["x [g]", "y [g]", "z [g]"], "xyz", "xyz"),
    (["Beschl X (m/s²)", "Beschl Y (m/s²)", "Beschl Z (m/s²)"], "beschl", "xyz"),
    (["ax_mg", "ay_mg", "az_mg"], "acc", "xyz"),
    (["gyro_x_dps", "gyro_y_dps"], "gyro", "xy"),
    (["Linear Acceleration x (m/s^2)", "Linear Acceleration y (m/s^2)"], "linear_acceleration",
     "xy"),
    (["Accel_X m/(s^2)", "Accel_Y m/(s^2)"], "accel", "xy"),
    (["Accelerometer X-axis", "Accelerometer Y-axis"], "accelerometer", "xy"),
    (["X-Achse [g]", "Y-Achse [g]", "Z-Achse [g]"], "xyz", "xyz"),
    (["wx (rad/s)", "wy (rad/s)", "wz (rad/s)"], "w", "xyz"), (["Bx", "By", "Bz"], "b", "xyz"),
    (["a1", "a2", "a3"], "a", "123"), (["m1", "m2"], "m", "12"),
])  # fmt: skip
def test_a_unit_behind_a_name_does_not_part_axes(columns, group, channels):
    assert {name: "".join(found) for name, found in group_columns(columns).items()} == {
        group: channels
    }


@pytest.mark.parametrize(("name", "unit"), [
    ("ecg [uV]", "uV"), ("X [mg]", "mg"), ("Time (s)", "s"), ("Skin (µS)", "µS"), ("plain", ""),
    ("acc_x", ""), ("x_ms2", "m/s^2"), ("temp{C}", "C"),
])  # fmt: skip
def test_a_unit_is_parted_from_its_name(name, unit):
    assert split_unit(name)[1] == unit


@pytest.mark.parametrize(("unit", "name", "si"), [
    ("G", "acc_x", "m/s^2"), ("G", "mag_x", "T"), ("G", "field", "T"), ("us", "EDA", "S"),
    ("US", "gsr", "S"), ("us", "latency", "s"), ("mG", "accel", "m/s^2"), ("mg", "mag", "T"),
    ("uv", "EEG Fp1", "V"), ("UV", "EEG Fp1", "V"), ("\u00c2\u00b5V", "EEG Fp1", "V"),
])  # fmt: skip
def test_a_unit_is_read_by_what_the_name_tells(unit, name, si):
    assert read_unit(unit, name).si == si


@pytest.mark.parametrize(("si", "name"), [
    ("T", "wrist_acc"), ("m/s^2", "gyro"), ("K", "acc"), ("s", "eda"), ("m/s^2", "ecg"),
    ("T", "Beschleunigung X"), ("rad/s", "accX"), ("S", "heart_rate"),
])  # fmt: skip
def test_a_quantity_is_not_measured_in_the_unit_of_another(si, name):
    assert misfit(si, name) is not None


def test_no_modality_of_a_known_data_set_contradicts_its_unit():
    for name in DATASETS:
        for modality in get_reader(name).CARD.modalities:
            assert misfit(modality.unit, modality.name) is None, (name, modality.name)


@pytest.mark.parametrize(("name", "wrong"), [
    ("Hautleitfähigkeit", "s"), ("Fréquence cardiaque", "V/s"), ("Winkelgeschw. X", "m/s^2"),
    ("Vitesse angulaire x", "m/s^2"), ("Champ magnétique y", "rad/s"), ("Versnelling Z", "T"),
    ("rotationRate.x", "m/s^2"), ("Frecuencia cardiaca", "S"),
])  # fmt: skip
def test_quantities_are_known_in_several_languages(name, wrong):
    assert misfit(wrong, name) is not None


def test_a_name_of_two_quantities_or_none_tells_nothing():
    assert quantity_of("acc_mag") is None
    assert quantity_of("gyro_temp") is None
    assert quantity_of("sensor1") is None


@pytest.mark.parametrize(("name", "kind"), [
    ("Unnamed: 0", "row number"), ("__index_level_0__", "row number"), ("index", "row number"),
    ("Sample Index", "counter"), ("counter", "counter"), ("packet", "counter"), ("id", "counter"),
    ("PacketCounter", "counter"), ("Package Num Channel", "counter"),
    ("t", "clock"), ("SampleTimeFine", "clock"), ("time", "clock"), ("Zeitstempel", "clock"),
    ("unix_timestamp", "clock"),
    ("label", "label"), ("y", "label"), ("Aktivität", "label"), ("sleep stage", "label"),
    ("Status", "trigger"), ("TRIG", "trigger"), ("STI", "trigger"), ("STI 014", "trigger"),
    ("Marker", "trigger"), ("EDF Annotations", "trigger"), ("Event marker", "trigger"),
    ("Proband", "person"), ("user", "person"), ("participant_id", "person"),
    ("acc_x", ""), ("ECG", ""), ("heart_rate", ""), ("EEG Fp1", ""), ("temp", ""), ("SpO2", ""),
    ("year", "clock"), ("Minute", "clock"), ("Stunde", "clock"), ("dt", "clock"),
    ("temps (s)", ""), ("tiempo", "clock"), ("Zähler", "counter"), ("compteur", "counter"),
    ("Índice", "row number"), ("Observation", "row number"), ("étiquette", "label"),
    ("clase", "label"), ("Batterie", "trigger"), ("Lead_Off_Status", "trigger"),
    ("EDA", ""), ("stand", ""), ("T3", ""), ("light", ""), ("step_length", ""),
])  # fmt: skip
def test_what_is_no_sensor_is_known_by_name(name, kind):
    assert no_sensor(name) == kind


def test_an_axis_is_no_label_and_own_names_of_columns_are_no_row_numbers():
    assert sift(["x", "y", "z"]) == {}
    assert sift(["acc", "y"]) == {"y": "label"}
    assert sift(["userAcceleration.x", "userAcceleration.y", "userAcceleration.z"]) == {}
    assert sift(["rec.x", "rec.y", "gyro_z"]) == {}
    assert sift(["acc_x", "rec.y"]) == {"rec.y": "label"}
    assert sift(["c0", "c1", "c2"], named=False) == {}
    assert sift(["c0", "acc_x", "acc_y"]) == {"c0": "row number"}
