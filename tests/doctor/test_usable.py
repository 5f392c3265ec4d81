"""Which sensors of a window are read: sound ones always, and of the others none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.recording import Modality
from crossl.data.recording_windows import CutWindows, SomePresent
from crossl.doctor.usable import REASONS, Usable, usable_facts
from crossl.errors import FormatError

from .conftest import MODALITIES, SPEC, sound

G = 9.80665


def window_of(name: str, values: np.ndarray) -> tuple[Usable, dict, np.ndarray]:
    """One window of one sensor of the sound recording."""
    modality = next(m for m in MODALITIES if m.name == name)
    return Usable((modality,)), {name: values[None].astype(np.float32)}, np.ones((1, 1), bool)


def reason(name: str, values: np.ndarray) -> str:
    usable, signals, present = window_of(name, values)
    return str(usable.reasons(signals, present)[0, 0])


def test_a_sound_recording_keeps_all_its_windows() -> None:
    cut = cut_recording(sound(), MODALITIES, ("rest", "walk"), SPEC)
    windows = CutWindows(cut, MODALITIES, SPEC)
    assert set(Usable(MODALITIES).check(windows).ravel().tolist()) == {""}
    assert usable_facts(MODALITIES, windows, np.arange(len(windows))) == {"usable": {"off": {}}}


RNG = np.random.default_rng(0)
MOTION = RNG.normal(size=(250, 3))


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("wrist_acc", np.ones((250, 3)), "flat"),
        ("wrist_acc", np.where([True, False, True], MOTION, 1.0), ""),  # one axis may rest
        ("eda", np.full((20, 1), 2e-6), ""),  # skin conductance may stand still
        ("wrist_acc", np.clip(30 * MOTION, -2 * G, 2 * G), "saturated"),
        ("wrist_acc", np.clip(30 * MOTION, -1.2 * G, 1.2 * G), ""),  # an arm that rests
        ("wrist_acc", np.clip(10 * MOTION, -2 * G, 2 * G), ""),  # seldom at the limit
        ("wrist_gyro", np.clip(20 * MOTION, -4, 4), "saturated"),
        ("ecg", np.minimum(RNG.normal(size=(500, 1)), -0.2), "saturated"),
        ("heart_rate", np.zeros((5, 1)), "range"),
        ("wrist_acc", 1e30 * MOTION, "range"),
        ("ecg", 1e30 * RNG.normal(size=(500, 1)), ""),
        ("spo2", np.zeros((5, 1)), "range"),
        ("spo2", np.array([[0.97], [0.0], [0.97], [0.97], [0.97]]), ""),
        ("eda", np.full((20, 1), 5e-9), "contact"),
        ("skin_temp", np.full((20, 1), 293.0), ""),  # alone it tells nothing of wear
    ],
)
def test_each_rule_finds_its_fault_and_no_other(name: str, values: np.ndarray, why: str) -> None:
    assert reason(name, values) == REASONS.get(why, "")


def test_a_device_that_lies_still_in_a_cool_room_is_not_worn() -> None:
    acc, temp, ecg = (next(m for m in MODALITIES if m.name == name)
                      for name in ("wrist_acc", "skin_temp", "ecg"))  # fmt: skip
    usable = Usable((acc, temp, ecg))
    still, moving = 0.02 * MOTION, MOTION
    signals = {
        "wrist_acc": np.stack([still, moving, still, still]).astype(np.float32),
        "skin_temp": np.repeat([[[293.0]], [[293.0]], [[305.0]], [[293.0]]], 20, axis=1),
        "ecg": RNG.normal(size=(4, 500, 1)).astype(np.float32),
    }  # fmt: skip
    signals["skin_temp"] = signals["skin_temp"].astype(np.float32)
    present = np.ones((4, 3), dtype=bool)
    present[3, 1] = False  # nothing tells how warm it is
    found = usable.reasons(signals, present)
    assert found[0].tolist() == [REASONS["unworn"], REASONS["unworn"], ""]  # the chest is worn
    assert (found[1:] == "").all()
    other = Usable((acc, replace(temp, device=""), ecg))
    assert (other.reasons(signals, present) == "").all()


def test_a_rule_that_finds_ordinary_windows_is_not_used() -> None:
    modality = Modality("eda", ("eda",), "S", 4.0, "wrist")

    class Windows:
        present = np.ones((50, 1), dtype=bool)

        def gather_zeroed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
            return {"eda": np.where(rows % 10, 1e-6, 1e-9).astype(np.float32)[:, None, None]}

    learned = Usable.learned((modality,), Windows(), np.arange(50))
    assert learned.off == {"eda": ("contact",)}
    assert (learned.check(Windows()) == "").all()
    again = Usable.from_dict((modality,), learned.as_dict())
    assert again == learned
    assert (Usable((modality,)).check(Windows()) != "").sum() == 5
    with pytest.raises(FormatError, match="its rules of usable windows cannot be used"):
        Usable.from_dict((modality,), {"off": 3})


def test_what_is_not_read_is_zeros_and_absent() -> None:
    cut = cut_recording(sound(), MODALITIES, ("rest", "walk"), SPEC)
    windows = CutWindows(cut, MODALITIES, SPEC)
    present = windows.present.copy()
    present[1, 0] = False
    shown = SomePresent(windows, present)
    rows = np.array([0, 1])
    whole, part = windows.gather_zeroed(rows), shown.gather_zeroed(rows)
    assert not part["wrist_acc"][1].any()
    np.testing.assert_array_equal(part["wrist_acc"][0], whole["wrist_acc"][0])
    np.testing.assert_array_equal(part["ecg"], whole["ecg"])
    assert len(shown) == len(windows)
