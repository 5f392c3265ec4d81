"""Recordings keep where they lie on the calendar, from the files to an embedding."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import open_dataset
from crossl.data.store import Store
from crossl.files import json_sha256
from tests.data.own.study import MAPPING, START, make_study

ACC = {"channels": ["x"], "unit": "g", "rate_hz": 10}


def one(root, mapping):
    (root / "recordings.yaml").write_text(json.dumps(mapping))
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[0], mapped.rules)


def dated(root, ending, *, zone=None, hour=10):
    """Write 5 s at 10 Hz that begin on 2024-05-31."""
    begin = datetime(2024, 5, 31, hour, tzinfo=UTC)
    lines = [f"{(begin + timedelta(seconds=i / 10)).isoformat()[:-6]}{ending},{i % 3}"
             for i in range(50)]  # fmt: skip
    (root / "a.csv").write_text("t,x\n" + "\n".join(lines).replace(".000000", "") + "\n")
    entry = {"pattern": "{subject}.csv", "clock": "t", "clock_unit": "datetime",
             "signals": {"acc": ["x"]}}  # fmt: skip
    if zone is not None:
        entry["timezone"] = zone
    return one(root, {"modalities": {"acc": ACC}, "files": [entry]})


TEN = datetime(2024, 5, 31, 10, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(("ending", "zone", "hour", "wanted"), [
    ("+02:00", None, 12, (TEN, "UTC")),
    ("", "Europe/Berlin", 12, (TEN, "Europe/Berlin")),
    ("", None, 10, (TEN, "")),
])  # fmt: skip
def test_a_recording_knows_when_it_began(tmp_path, ending, zone, hour, wanted):
    recording = dated(tmp_path, ending, zone=zone, hour=hour)
    assert (recording.origin_unix_s, recording.zone) == wanted
    assert recording.start_s == 0


def test_times_that_count_from_0_tell_no_date(tmp_path):
    (tmp_path / "a.csv").write_text("t,x\n" + "\n".join(f"{i / 10},{i}" for i in range(50)) + "\n")
    entry = {"pattern": "{subject}.csv", "clock": "t", "signals": {"acc": ["x"]}}
    recording = one(tmp_path, {"modalities": {"acc": ACC}, "files": [entry]})
    assert (recording.origin_unix_s, recording.zone) == (None, "")


def test_a_store_dates_its_windows_and_one_of_before_does_not(tmp_path):
    root = make_study(tmp_path / "study")
    (root / "recordings.yaml").write_text(MAPPING)
    with open_dataset("folder", root) as dataset:
        store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "folder"))
    first = np.flatnonzero(store.subject == "cleo")[3]
    assert store.start_unix_s[first] == pytest.approx(START + 2000 + store.start_s[first])
    assert store.zone[first] == "UTC"
    manifest = json.loads((store.path / "manifest.json").read_text())
    for recording in manifest["recordings"]:
        del recording["origin_unix_s"], recording["zone"]
    manifest["sha256"] = json_sha256(manifest)
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    older = Store.open(store.path)
    assert np.isnan(older.start_unix_s).all()
    assert set(older.zone) == {""}


def test_the_start_in_the_header_of_a_file_is_kept(tmp_path, real_data):
    path = sorted(real_data("eegmat").rglob("*.edf"))[0]
    (tmp_path / "a.edf").symlink_to(path)
    entry = {"pattern": "{subject}.edf", "signals": {"eeg": ["EEG Fp1"]}}
    eeg = {"channels": ["eeg"], "unit": "uV", "rate_hz": 500}
    mapping = {"modalities": {"eeg": eeg}, "files": [entry]}
    told = one(tmp_path, mapping)
    berlin = one(tmp_path, {**mapping, "timezone": "Europe/Berlin"})
    assert told.zone == ""
    assert berlin.zone == "Europe/Berlin"
    assert told.origin_unix_s - berlin.origin_unix_s in (3600, 7200)
    assert told.start_s == berlin.start_s == 0
