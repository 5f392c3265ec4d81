"""Labels that may be one: in what was read, in the doctor, in what prepare says."""

from __future__ import annotations

import numpy as np
import pytest
from typer.testing import CliRunner

from crossl.cli.main import app
from crossl.data.own.init import init_mapping
from crossl.data.readers import open_dataset
from crossl.data.spellings import alike, spelling_notes
from crossl.doctor import examine_recordings

MAPPING = """
modalities:
  acc: {channels: [x, y], unit: g, rate_hz: 50}
files:
  - pattern: "{subject}.csv"
    clock: t
    signals: {acc: [x, y]}
    label: what
"""


@pytest.mark.parametrize(("counts", "found"), [
    ({"walk": 9, "Walk": 2, "WALK": 1, "rest": 9},
     {("Walk", "walk", True), ("WALK", "walk", True), ("WALK", "Walk", True)}),
    ({"sit down": 9, "sit-down": 1}, {("sit-down", "sit down", True)}),
    ({"rest": 4, "res": 1, "walk": 3}, {("res", "rest", False)}),
    ({"rest": 1, "res": 1}, {("res", "rest", False)}),
    ({"stress": 9, "stresd": 1}, {("stresd", "stress", False)}),
    ({"baseline": 5, "basline": 1, "baselien": 1},
     {("basline", "baseline", False), ("baselien", "baseline", False)}),
    ({"rest": 5, "test": 5, "N1": 1, "N2": 5, "walk": 1, "stand": 4}, set()),
    ({"1": 1, "11": 4, "W": 1, "walk": 5}, set()),
    ({"walk": 1, "walking upstairs": 1, "run": 1, "rung": 2}, {("run", "rung", False)}),
    ({"up": 1, "down": 1, "sit": 1, "stand": 1}, set()),
])  # fmt: skip
def test_labels_that_may_be_one_are_found(counts, found):
    assert {(a.name, a.other, a.spelled) for a in alike(counts)} == found


def test_a_recording_is_told_of_its_own_labels_only():
    assert spelling_notes(["walk", "rest"], ["walk", "Walk", "rest"]) == [
        "label 'walk' differs from 'Walk' only by case, blanks or signs; if they are one, say so "
        "by `label_names`"]  # fmt: skip
    assert spelling_notes(["run", "rest"], ["walk", "Walk", "run", "rest"]) == []


def study(root, labels):
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for subject, names in labels.items():
        rows = [
            f"{n / 50:.2f},{rng.normal():.3f},{rng.normal():.3f},{name}"
            for n, name in enumerate(names)
        ]
        (root / f"{subject}.csv").write_text("t,x,y,what\n" + "\n".join(rows) + "\n")
    (root / "recordings.yaml").write_text(MAPPING)
    return root


def test_a_label_cut_off_and_a_subject_without_windows_are_told(tmp_path):
    labels = {
        "anna": ["rest"] * 300 + ["walk"] * 300,
        "ben": ["walk"] * 300 + ["rest"] * 300,
        "cleo": ["rest"] * 60 + ["res"],
    }
    root = study(tmp_path, labels)
    with open_dataset("folder", root) as dataset:
        diagnosis = examine_recordings(dataset)
    told = {(f.where, f.sentence) for f in diagnosis.findings if f.severity == "warning"}
    assert ("res", "occurs only once and is the beginning of 'rest'") in told
    assert ("", "yields no window: what was recorded is shorter than one") in told
    done = CliRunner().invoke(
        app, ["prepare", "folder", "--root", str(root), "--out", str(tmp_path / "s")]
    )
    assert done.exit_code == 0, done.output
    assert "label 'res' occurs only once and is the beginning of 'rest'" in done.output
    assert "no window is of subject cleo, though recorded" in done.output


def test_labels_that_differ_by_case_are_noted(tmp_path):
    labels = {"anna": ["walk"] * 300 + ["Rest"] * 300, "ben": ["Walk "] * 300 + ["rest"] * 300}
    root = study(tmp_path, labels)
    with open_dataset("folder", root) as dataset:
        diagnosis = examine_recordings(dataset)
    assert {"Walk", "walk"} & {f.where for f in diagnosis.findings if "only by case" in f.sentence}
    done = CliRunner().invoke(
        app, ["prepare", "folder", "--root", str(root), "--out", str(tmp_path / "s")]
    )
    assert "differs from 'Walk' only by case" in done.output


def test_init_tells_of_labels_that_may_be_one(tmp_path):
    root = study(tmp_path / "s", {"anna": ["walk"] * 300 + ["Walk"] * 200 + ["wlak"]})
    (root / "recordings.yaml").unlink()
    written = init_mapping(root).read_text()
    assert (
        "# label 'Walk' differs from 'walk' only by case, blanks or signs; if they are one:"
        in written
    )
    assert 'label_names: {"Walk": "walk"}' in written
    assert "# label 'wlak' occurs only once and is one letter from 'walk'" in written
