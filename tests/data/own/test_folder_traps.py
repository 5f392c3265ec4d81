"""One's own recordings, what goes wrong quietly: slow clocks, spellings, zones, paths."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.own.mapping.plan import beside
from crossl.data.recording import Recording
from crossl.errors import DataError


def read(root, files, *, rates=(50,), resample=False, **more) -> Recording:
    """Write a mapping of `a`, `b` and so on, and read its first recording."""
    modalities = {
        name: {"channels": ["x"], "unit": "1", "rate_hz": rate, "resample": resample}
        for name, rate in zip("abc", rates, strict=False)
    }
    mapping = {"modalities": modalities, "files": files, **more}
    (root / "recordings.yaml").write_text(json.dumps(mapping))
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[0], mapped.rules)


def write(path, times, labels=None):
    rows = [f"{t:.6f},{n % 7}.5" for n, t in enumerate(times)]
    if labels is not None:
        rows = [f"{row},{label}" for row, label in zip(rows, labels, strict=True)]
    path.write_text("t,x" + (",what" if labels is not None else "") + "\n" + "\n".join(rows) + "\n")


CLOCKED = {"pattern": "{subject}.csv", "clock": "t", "signals": {"a": "x"}}
INTERVALS = {"pattern": "{subject}.tsv", "intervals": {"start": "b", "end": "e", "label": "l"}}


def intervals(root, *rows):
    lines = ["b\te\tl", *("\t".join(row) for row in rows)]
    (root / "S1.tsv").write_text("\n".join(lines) + "\n")
    write(root / "S1.csv", np.arange(1000) / 50)


def test_a_slow_clock_that_jitters_has_no_gaps_at_a_higher_rate(tmp_path):
    jitter = np.random.default_rng(0).uniform(-0.01, 0.01, 200)
    write(tmp_path / "S1.csv", np.arange(200) + jitter)
    values = read(tmp_path, [CLOCKED], rates=(4,), resample=True).signals["a"].values
    assert np.isfinite(values).mean() > 0.98


@pytest.mark.parametrize("more", [{"classes": ["None", "walk"]}, {"label_names": {"None": "rest"}}])
def test_a_listed_label_may_be_spelled_as_none(tmp_path, more):
    write(tmp_path / "S1.csv", np.arange(100) / 50, ["None"] * 50 + ["walk"] * 50)
    labels = read(tmp_path, [CLOCKED | {"label": "what"}], **more).labels
    assert [x.label for x in labels] == [
        {**more.get("label_names", {})}.get("None", "None"),
        "walk",
    ]
    assert [x.label for x in read(tmp_path, [CLOCKED | {"label": "what"}]).labels] == ["walk"]


def test_two_files_of_one_label_give_one_interval(tmp_path):
    write(tmp_path / "acc_walk.csv", np.arange(500) / 50)
    write(tmp_path / "gyr_walk.csv", np.arange(500) / 50 + 0.003)
    files = [
        CLOCKED | {"pattern": f"{kind}_{{label}}.csv", "subject": "S1", "signals": {name: "x"}}
        for kind, name in (("acc", "a"), ("gyr", "b"))
    ]
    (label,) = read(tmp_path, files, rates=(50, 50)).labels
    assert (label.label, label.start_s, label.end_s) == ("walk", 0, pytest.approx(10.003))


def test_labels_that_are_not_kept_may_overlap(tmp_path):
    intervals(tmp_path, ("1", "9", "walk"), ("3", "4", "note"), ("5", "5", "note"))
    recording = read(tmp_path, [CLOCKED, INTERVALS], classes=["walk"])
    assert [(x.start_s, x.end_s, x.label) for x in recording.labels] == [(1, 9, "walk")]
    assert any("not among the classes" in note and "note" in note for note in recording.notes)


@pytest.mark.parametrize("unit", ["s", "datetime"])
def test_a_row_without_label_and_end_is_left_out(tmp_path, unit):
    date = "1970-01-01T00:00:0{}".format if unit == "datetime" else str
    intervals(tmp_path, (date(1), date(9), "walk"), (date(9), "", ""))
    entry = INTERVALS | {"intervals": INTERVALS["intervals"] | {"unit": unit}}
    assert [x.end_s for x in read(tmp_path, [CLOCKED, entry]).labels] == [9]


def test_signals_that_share_no_time_are_noted(tmp_path):
    for name, start in (("a", 1.7e9), ("b", 1.7e9 + 7200)):
        write(tmp_path / f"S1_{name}.csv", np.arange(1000) / 50 + start)
    files = [CLOCKED | {"pattern": f"{{subject}}_{n}.csv", "signals": {n: "x"}} for n in "ab"]
    notes = read(tmp_path, files, rates=(50, 50)).notes
    assert notes[-1] == (
        "a and b share no time: 0 to 20 s and 7200 to 7220 s; check time zones or `offset_s`"
    )


def test_the_files_of_a_header_are_those_it_names(tmp_path):
    text = "# made\nS1 2 50 100\nother.dat 16 200 16 0 0 0 0 x\nother.dat 16\ngone.dat 16\n"
    (tmp_path / "S1.hea").write_text(text)
    for name in ("other.dat", "S1.atr", "S1.dat"):
        (tmp_path / name).write_bytes(b"")
    assert [p.name for p in beside(tmp_path / "S1.hea")] == ["S1.hea", "other.dat", "S1.atr"]


@pytest.mark.parametrize("name", ["../outside.csv", "{root}/outside.csv", "a/../../outside.csv"])
def test_a_path_out_of_the_folder_is_refused(tmp_path, name):
    root = tmp_path / "study"
    (root / "a").mkdir(parents=True)
    write(tmp_path / "outside.csv", np.arange(100) / 50)
    name = name.replace("{root}", str(tmp_path))
    entry = {k: v for k, v in CLOCKED.items() if k != "pattern"} | {"name": "watch"}
    recordings = [{"subject": "S1", "files": {"watch": name}}]
    with pytest.raises(DataError, match=r"recordings.0.files.watch: '.*' leads out of .*study; "):
        read(root, [entry], recordings=recordings)
    with pytest.raises(DataError, match=r"files.0: pattern: '.*' leads out of .*study; paths"):
        read(root, [CLOCKED | {"pattern": name, "subject": "S1"}])
