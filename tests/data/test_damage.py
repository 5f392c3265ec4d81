"""What damages do to windows: as said, where said, and the same however windows are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from crossl.data.calibrated import calibrated
from crossl.data.calibration import Calibration
from crossl.data.chance import keys_of, normal, uniform
from crossl.data.damage import KINDS, Damage, Kind, Spoiler, gap, suits
from crossl.data.damaged import DamagedSource, TestedDamage, TrainingDamage
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.source import ArraySource
from crossl.data.windows import WindowSpec, fill_short_gaps
from crossl.data.write import write_store

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
GYRO = Modality("gyro", ("x", "y", "z"), "rad/s", 20.0, "wrist")
HEAT = Modality("heat", ("t",), "K", 4.0, "chest")
EEG = Modality("eeg", ("fp1", "fp2", "cz"), "V", 20.0, "head")
SEVERITY: dict[Kind, float] = {"gap": 0.3, "noise": 0.5, "rotation": 70.0}


def windows(n: int = 40, time: int = 40, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).normal(5, 2, (n, time, channels)).astype(np.float32)


def spoiler(seed: int = 0) -> Spoiler:
    deviation = {"acc": np.array([1.0, 2.0, 4.0]), "gyro": np.ones(3), "heat": np.ones(1)}
    return Spoiler([ACC, GYRO, HEAT], deviation.__getitem__, seed=seed)


# --- chance


def test_a_windows_numbers_do_not_depend_on_what_is_drawn_beside_it() -> None:
    every = uniform(keys_of(np.arange(100), 3, "x"), 5)
    np.testing.assert_array_equal(uniform(keys_of(np.array([7, 3]), 3, "x"), 5), every[[7, 3]])
    np.testing.assert_array_equal(uniform(keys_of(np.arange(100), 3, "x"), 2), every[:, :2])
    assert not np.isin(uniform(keys_of(np.arange(100), 4, "x"), 5), every).any()
    assert not np.isin(uniform(keys_of(np.arange(100), 3, "y"), 5), every).any()


def test_numbers_are_spread_as_they_should_be() -> None:
    keys = keys_of(np.arange(50_000), 0)
    even, bell = uniform(keys, 2), normal(keys, 3)
    assert 0 <= even.min() < 1e-3
    assert 1 - 1e-3 < even.max() < 1
    np.testing.assert_allclose(even.mean(axis=0), 0.5, atol=0.005)
    np.testing.assert_allclose(even.std(axis=0), 12**-0.5, atol=0.005)
    np.testing.assert_allclose(bell.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(bell.std(axis=0), 1, atol=0.02)
    together = np.corrcoef(np.concatenate([even[:-1], bell[1:]], axis=1).T)
    np.testing.assert_allclose(together - np.eye(5), 0, atol=0.02)


def test_people_are_known_by_name() -> None:
    keys = keys_of(np.array(["ann", "bob", "ann"]), 0)
    assert keys[0] == keys[2] != keys[1]
    assert keys_of(np.array(["bob"]), 0)[0] == keys[1]


# --- damages


@pytest.mark.parametrize("kind", KINDS)
def test_severity_0_leaves_every_byte(kind: Kind) -> None:
    x = windows()
    x[0, :3] = -0.0
    assert spoiler().spoil("acc", x, np.arange(40), kind, 0.0).tobytes() == x.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_is_damaged_alike_however_it_is_read(kind: Kind) -> None:
    x, rows = windows(), np.arange(40) + 100
    whole = spoiler().spoil("acc", x, rows, kind, SEVERITY[kind])
    some = np.array([30, 2, 17])
    part = spoiler().spoil("acc", x[some], rows[some], kind, SEVERITY[kind])
    assert part.tobytes() == whole[some].tobytes()
    assert (whole != x).any(axis=(1, 2)).all()
    for other in (spoiler(1).spoil("acc", x, rows, kind, SEVERITY[kind]),
                  spoiler().spoil("acc", x, rows + 1, kind, SEVERITY[kind]),
                  spoiler().spoil("acc", x, rows, kind, SEVERITY[kind], 5)):  # fmt: skip
        assert (other != whole).any(axis=(1, 2)).mean() > 0.8


def test_a_gap_is_one_stretch_of_the_share_filled_as_the_library_fills_gaps() -> None:
    x = windows(200)
    found = gap(x, keys_of(np.arange(200), 0), np.full(200, 0.3))
    lost = (found != x).any(axis=2)
    assert (lost.sum(axis=1) == 12).all()
    starts = lost.argmax(axis=1)
    assert {0, 28} <= set(starts.tolist())
    for one, was, first in zip(found, x, starts, strict=True):
        holed = was.copy()
        holed[first : first + 12] = np.nan
        filled, _, usable = fill_short_gaps(holed, 12)
        assert usable.all()
        np.testing.assert_allclose(one, filled, rtol=1e-6)


def test_a_gap_leaves_at_least_one_sample() -> None:
    x = windows(5, time=3)
    found = gap(x, keys_of(np.arange(5), 0), np.full(5, 0.99))
    assert ((found == x).all(axis=2).sum(axis=1) == 1).all()
    assert (found == found[:, :1]).all()
    single = windows(5, time=1)
    np.testing.assert_array_equal(gap(single, keys_of(np.arange(5), 0), np.full(5, 0.9)), single)


def test_noise_has_the_size_that_is_asked_for_in_every_channel() -> None:
    x = windows(400)
    added = spoiler().spoil("acc", x, np.arange(400), "noise", 0.5) - x
    np.testing.assert_allclose(added.std(axis=(0, 1)), [0.5, 1, 2], rtol=0.03)
    twice = spoiler().spoil("acc", x, np.arange(400), "noise", 1.0) - x
    np.testing.assert_allclose(twice, 2 * added, atol=1e-5)


def test_a_turn_keeps_lengths_and_angles_and_turns_by_the_angle_at_most() -> None:
    x = windows(60)
    found = spoiler().spoil("acc", x, np.arange(60), "rotation", 50.0)
    np.testing.assert_allclose(
        found @ found.swapaxes(1, 2), x @ x.swapaxes(1, 2), rtol=1e-3, atol=1e-3
    )
    lengths = np.linalg.norm(x, axis=2) * np.linalg.norm(found, axis=2)
    angle = np.rad2deg(np.arccos(np.clip((x * found).sum(axis=2) / lengths, -1, 1)))
    assert angle.max() <= 50.1
    assert angle.max() > 45


def test_sensors_of_one_device_turn_together_and_each_person_in_one_way() -> None:
    x, rows = windows(), np.arange(40)
    acc, gyro = (spoiler().spoil(m, x, rows, "rotation", 90.0) for m in ("acc", "gyro"))
    np.testing.assert_array_equal(acc, gyro)
    same = np.repeat(x[:1], 40, axis=0)
    people = np.array(["ann", "bob"] * 20)
    turned = spoiler().spoil("acc", same, people, "rotation", 90.0)
    assert len(np.unique(turned.round(4), axis=0)) == 2


def test_only_x_y_and_z_can_be_turned() -> None:
    assert suits("rotation", ACC)
    assert not suits("rotation", EEG)
    assert not suits("rotation", HEAT)
    assert suits("gap", HEAT)
    asked = TestedDamage(kind="rotation", severity=(30, 90), modalities="each")
    assert list(asked.damages([HEAT, ACC, EEG])) == [
        Damage("rotation", 30.0, ("acc",)), Damage("rotation", 90.0, ("acc",)),
    ]  # fmt: skip
    assert list(asked.damages([HEAT])) == []


def test_sensors_are_damaged_each_by_device_or_all_at_once() -> None:
    def groups(modalities: str) -> list[tuple[str, ...]]:
        asked = TestedDamage.model_validate(
            {"kind": "gap", "severity": 0.1, "modalities": modalities}
        )
        return [one.modalities for one in asked.damages([ACC, HEAT, GYRO])]

    assert groups("each") == [("acc",), ("heat",), ("gyro",)]
    assert groups("devices") == [("acc", "gyro"), ("heat",)]
    assert groups("all") == [("acc", "heat", "gyro")]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kind": "gap", "severity": 1.0}, "severity of a gap is 1; allowed is less than 1"),
        ({"kind": "rotation", "severity": 200}, "rotation is 200; allowed is up to 180"),
        ({"kind": "gap", "severity": [0.1], "per": "person"}, "can be drawn for, not a gap"),
        ({"kind": "noise", "severity": []}, "severity is empty"),
    ],
)
def test_damages_that_cannot_be_are_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        TestedDamage.model_validate(given)


# --- windows that are learned from


def source() -> ArraySource:
    acc, heat = windows(300), windows(300, time=8, channels=1)
    acc[:30] = np.nan
    return ArraySource({"acc": acc, "heat": heat}, modalities=(ACC, HEAT), window_s=2.0)


def test_a_share_of_present_windows_is_damaged_and_absent_ones_stay_zeros() -> None:
    rows = np.arange(300)
    clean = source().gather_zeroed(rows)
    damaged = DamagedSource(source(), TrainingDamage(share=0.4), spoiler())
    found = damaged.gather_zeroed(rows)
    assert not found["acc"][:30].any()
    for name in clean:
        hit = (found[name] != clean[name]).any(axis=(1, 2))[30:].mean()
        assert 0.25 < hit < 0.5, name  # some gaps are shorter than a sample
    np.testing.assert_array_equal(damaged.present, source().present)
    assert (len(damaged), damaged.window_s) == (300, 2.0)
    assert [m.name for m in damaged.modalities] == ["acc", "heat"]


def test_each_step_damages_anew_and_the_same_step_alike() -> None:
    rows, every = np.arange(100, 140), TrainingDamage(share=1, noise=0.5, gap=0, rotation=0)
    damaged = DamagedSource(source(), every, spoiler())
    first, again, later = (damaged.at(step).gather_zeroed(rows)["acc"] for step in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert (first != later).any(axis=(1, 2)).all()
    part = damaged.at(3).gather_zeroed(rows[[5, 1]])["acc"]
    assert part.tobytes() == first[[5, 1]].tobytes()


def test_kinds_that_are_0_or_do_not_suit_never_happen() -> None:
    assert TrainingDamage(gap=0).kinds(ACC) == ["noise", "rotation"]
    assert TrainingDamage(gap=0).kinds(HEAT) == ["noise"]
    turned = TrainingDamage(gap=0, noise=0, rotation=90, share=1)
    found = DamagedSource(source(), turned, spoiler()).gather_zeroed(np.arange(300))
    clean = source().gather_zeroed(np.arange(300))
    np.testing.assert_array_equal(found["heat"], clean["heat"])
    lengths = [np.linalg.norm(x["acc"][30:], axis=2) for x in (found, clean)]
    np.testing.assert_allclose(*lengths, rtol=1e-4)


def test_training_damage_of_nothing_is_refused() -> None:
    with pytest.raises(ValidationError, match="nothing is damaged; give null"):
        TrainingDamage(gap=0, noise=0, rotation=0)


def test_calibrated_windows_are_damaged_as_they_were_recorded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    signal = Signal(rng.normal([9, 0, 2], [1, 3, 2], (800, 3)).astype(np.float32), rate_hz=20.0)
    person = Recording("ann", "monday", {"acc": ACC}, {"acc": signal}, [])
    store = write_store([person], tmp_path / "s", modalities=[ACC], classes=[],
                        spec=WindowSpec(2.0, 2.0), about={})  # fmt: skip
    rows = np.arange(len(store))
    seen = calibrated(store, Calibration("recording", causal=False), rows)
    turned = TrainingDamage(share=1, gap=0, noise=0, rotation=90)
    raw, found = (DamagedSource(one, turned, spoiler()).gather_zeroed(rows)["acc"]
                  for one in (store, seen))  # fmt: skip
    assert (raw != store.gather_zeroed(rows)["acc"]).all(axis=2).any(axis=1).mean() > 0.9
    wanted = (raw - signal.values.mean(axis=0)) / signal.values.std(axis=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-3)
