"""Targets from the command line: prepared, inspected, appended, refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from crossl.data.store import Store

from .conftest import Crossl

pytest.importorskip("polars", reason="the extra `io` is not installed")

MAPPING = """
modalities:
  belt: {channels: [sway], unit: m/s^2, rate_hz: 20}
  chest_heart: {channels: [rate], unit: Hz, rate_hz: 20}
files:
  - {pattern: "{subject}_belt.csv", clock: t, signals: {belt: sway, chest_heart: pulse}}
  - {pattern: "{subject}_labels.csv", intervals: {start: from, end: to, label: what}}
windows: {window_s: 2, stride_s: 1}
classes: [sit, walk]
"""
TARGETS = """
targets:
  posture: {kind: labels, of: {upright: [walk]}}
  heart_rate: {kind: numbers, from: chest_heart.rate, statistic: max}
  age: {kind: numbers, of_person: {S1: 34}, unit: year}
"""


def record(root: Path, *subjects: str) -> Path:
    root.mkdir(exist_ok=True)
    for subject in subjects:
        t = np.arange(0, 20, 1 / 20)
        np.savetxt(root / f"{subject}_belt.csv", np.c_[t, np.sin(t), 1 + t / 100], "%.3f", ",",
                   header="t,sway,pulse", comments="")  # fmt: skip
        (root / f"{subject}_labels.csv").write_text("from,to,what\n0,10,sit\n10,20,walk\n")
    (root / "recordings.yaml").write_text(MAPPING)
    return root


@pytest.fixture
def targets(tmp_path: Path) -> Path:
    (tmp_path / "targets.yaml").write_text(TARGETS)
    return tmp_path / "targets.yaml"


def test_targets_are_prepared_inspected_and_appended(
    crossl: Crossl, tmp_path: Path, targets: Path
) -> None:
    out = tmp_path / "store"
    asked = ("--out", out, "--workers", 1)
    done = crossl("prepare", "folder", "--root", record(tmp_path / "a", "S1"), *asked,
                  "--targets", targets)  # fmt: skip
    assert (done.code, done.err) == (0, "")
    told = [" ".join(line.split()) for line in crossl("inspect", out, "--verify").out.splitlines()]
    assert "posture labels upright 18 of 19 9 windows" in told
    assert "age numbers age (year) 19 of 19 34 to 34, median 34" in told
    assert any(line.startswith("heart_rate numbers heart_rate (Hz) 19 of 19 1.") for line in told)
    note = "modality 'chest_heart' is not an input: target 'heart_rate' is read from it"
    assert f"note: {note}" in told
    done = crossl("prepare", "folder", "--root", record(tmp_path / "b", "S2"), *asked, "--append")
    assert (done.code, done.err) == (0, "")
    store = Store.open(out)
    assert [m.name for m in store.modalities] == ["belt"]
    np.testing.assert_array_equal(np.isnan(store.target_values("age")[:, 0]), store.subject == "S2")
    assert np.isfinite(store.target_values("heart_rate")).all()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("walk", "wlak", "targets.posture.of.upright: my_recordings has no class 'wlak'; did you"),
        ("S1:", "S9:", "targets.age: no recording is of subject 'S9'; allowed are 'S1'"),
        ("year", "moons", "targets.age.unit: 'moons' is unknown"),
    ],
)
def test_a_wrong_targets_file_is_refused_in_one_sentence(
    crossl: Crossl, tmp_path: Path, targets: Path, old: str, new: str, told: str
) -> None:
    targets.write_text(TARGETS.replace(old, new))
    done = crossl("prepare", "folder", "--root", record(tmp_path / "a", "S1"), "--out",
                  tmp_path / "store", "--targets", targets)  # fmt: skip
    assert done.code == 2
    assert told in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_an_input_that_is_asked_for_is_not_taken_away_silently(
    crossl: Crossl, tmp_path: Path, targets: Path
) -> None:
    done = crossl("prepare", "folder", "--root", record(tmp_path / "a", "S1"), "--out",
                  tmp_path / "store", "--targets", targets, "--modality", "belt",
                  "--modality", "chest_heart")  # fmt: skip
    assert done.code == 2
    assert (
        "read from modality 'chest_heart', which would give the answer away as an input" in done.err
    )
