"""`crossl predict`: files to timelines, as the run's own recordings were read."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.api.run import load_run
from crossl.commands.predict import predict_files
from crossl.data.formats import open_file
from crossl.data.manifest import read_manifest
from crossl.data.own.mapping.schema import validate
from crossl.data.store import Store
from crossl.errors import DataError
from crossl.evaluate.confidence import Temperatures
from crossl.files import json_sha256
from crossl.predict.inputs import How
from crossl.report.confidence import load_reliability

from .conftest import SETTINGS

Crossl = Callable[..., Any]

MAPPING = """
timezone: Europe/Berlin
modalities:
  acc: {channels: [x, y, z], unit: g, rate_hz: 20, device: wrist}
  gyr: {channels: [x, y, z], unit: rad/s, rate_hz: 20, device: wrist}
windows: {window_s: 2, stride_s: 1}
files:
  - pattern: '{subject}.csv'
    clock: time
    label: activity
    signals: {acc: [ax, ay, az], gyr: [gx, gy, gz]}
"""
TWO_DEVICES = """
modalities:
  acc: {channels: [x, y, z], unit: g, rate_hz: 20, device: wrist}
  gyr: {channels: [x, y, z], unit: rad/s, rate_hz: 20, device: chest}
windows: {window_s: 2, stride_s: 1}
files:
  - {pattern: '{subject}_acc.csv', clock: time, label: activity, signals: {acc: [x, y, z]}}
  - {pattern: '{subject}_gyr.csv', clock: time, label: activity, signals: {gyr: [x, y, z]}}
"""
STARTED_S = 1717236000.0
"""2024-06-01 12:00 in Berlin."""


def write_csv(
    path: Path,
    seed: int,
    *,
    labelled: bool = False,
    gyr: bool = True,
    hz: int = 20,
    gap_s: tuple[float, float] = (0.0, 0.0),
    more: str = "",
) -> Path:
    """Write 40 s of noise that is louder while running."""
    rng = np.random.default_rng(seed)
    t = np.arange(40 * hz) / hz
    runs = (t // 10) % 2 == 1
    columns = {"time": STARTED_S + t}
    columns |= {f"a{axis}": np.where(runs, 4, 1) * rng.normal(size=len(t)) for axis in "xyz"}
    if gyr:
        columns |= {f"g{axis}": np.where(runs, 4, 1) * rng.normal(size=len(t)) for axis in "xyz"}
    columns |= {more: t} if more else {}
    rows = np.flatnonzero((t < gap_s[0]) | (t >= gap_s[1]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*columns, *(["activity"] if labelled else [])])
        for row in rows.tolist():
            cells = [f"{values[row]:.4f}" for values in columns.values()]
            writer.writerow([*cells, *(["run" if runs[row] else "rest"] if labelled else [])])
    return path


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of people with labels, its store, and a run that learned from it."""
    from crossl.cli.data import make_store
    from crossl.commands.pretrain import pretrain_run
    from crossl.commands.probe import probe_run
    from crossl.config import load_config

    home = tmp_path_factory.mktemp("study")
    for number in range(6):
        write_csv(home / "files" / f"S{number}.csv", number, labelled=True)
    (home / "files/recordings.yaml").write_text(MAPPING)
    make_store("folder", home / "files", home / "store")
    pretrain_run(home / "store", load_config(overrides=SETTINGS[1::2]), home / "run")
    probe_run(home / "run", home / "store", label_fraction=1.0)
    shutil.rmtree(home / "files")
    return home


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_run_keeps_how_files_are_read_without_what_is_of_single_people(study: Path) -> None:
    reading = json.loads((study / "run/model.json").read_text())["reading"]
    assert reading["reader"] == "folder"
    assert reading["mapping"] == read_manifest(study / "store")["mapping"]
    assert set(reading["mapping"]) == {"timezone", "modalities", "files"}
    again = validate(reading["mapping"], where="run")
    assert again.modalities["acc"].unit == "g"
    assert again.for_others() == reading["mapping"]
    bare = validate({**reading["mapping"], "recordings": [], "targets": {"t": {}}}, where="run")
    assert "targets" not in bare.for_others()


def test_a_folder_without_sensor_label_and_mapping_becomes_dated_timelines(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new/ann.csv", 11, gyr=False, gap_s=(12.0, 18.0))
    write_csv(tmp_path / "new/bob.csv", 12)
    done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "ann" in done.out
    assert "2 timelines" in done.out
    rows = table(tmp_path / "out/ann.csv")
    assert rows[0]["start_time"] == "2024-06-01T12:00:00.000+02:00"
    assert {row["present_gyr"] for row in rows} == {"false"}
    (gap,) = [row for row in rows if not row["label"]]
    assert (gap["start_s"], gap["end_s"]) == ("11", "19")
    assert gap["reason"] == "no sensor that the run knows recorded enough of it"
    assert {row["label"] for row in rows} == {"rest", "run", ""}
    assert "truth" not in rows[0]
    labels = open_file(tmp_path / "out/ann.edf").labels
    assert labels[0].start_s == 0.0
    assert (tmp_path / "out/ann.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out/index.html").read_text()
    assert 'src="ann.png"' in page
    assert "absent: gyr" in page


def test_context_and_sets_are_asked_for_on_the_command_line(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new/ann.csv", 11)
    said = {}
    for context in ("off", "causal", "whole", "path"):
        done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / context,
                      "--format", "csv", "--context", context, "--sets", "0.9")  # fmt: skip
        assert done.code == 0, done.err
        assert "sets: thresholds are of 1 validation subject, which promises 0.9" in done.err
        rows = table(tmp_path / context / "ann.csv")
        assert all(row["label"] in row["set"].split(" | ") for row in rows)
        said[context] = [row["probability_run"] for row in rows]
        kept = json.loads((tmp_path / context / "ann.json").read_text())
        assert (kept["context"], kept["sets"], kept["keep_unusable"]) == (context, 0.9, False)
    assert said["off"] != said["causal"] != said["whole"] == said["path"]
    for words, told in ((("--context", "hole"), "--context: got 'hole'"),
                        (("--sets", "0.2"), "--sets: got 0.2; a share of windows")):  # fmt: skip
        done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "x", *words)
        assert done.code == 2
        assert told in done.err
    assert not (tmp_path / "x").exists()


def test_a_sensor_that_holds_nothing_is_told_on_the_command_line(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    path = write_csv(tmp_path / "new/ann.csv", 11)
    rows = path.read_text().splitlines()
    cells = [row.split(",") for row in rows[1:]]
    for cell in cells[200:400]:
        cell[1:4] = ["99"] * 3  # g
    path.write_text("\n".join([rows[0], *(",".join(cell) for cell in cells)]))
    done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "out",
                  "--format", "csv")  # fmt: skip
    assert done.code == 0, done.err
    assert "windows: acc: values that cannot be" in done.out
    told = [row for row in table(tmp_path / "out/ann.csv") if row["unusable"]]
    assert {row["present_acc"] for row in told} == {"false"}
    assert {row["present_gyr"] for row in told} == {"true"}
    assert all(row["label"] for row in told)
    done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "kept",
                  "--format", "csv", "--keep-unusable")  # fmt: skip
    assert done.code == 0, done.err
    assert "unusable" not in table(tmp_path / "kept/ann.csv")[0]


def test_the_timeline_says_what_the_run_says_of_the_store(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    done = crossl("predict", study / "run", study / "store", "--out", tmp_path, "--format", "csv")
    assert done.code == 0, done.err
    run, store = load_run(study / "run"), Store.open(study / "store")
    assert run.classifier is not None
    temperature = Temperatures.from_dict(run.classifier.about["temperatures"]).of(store.present)
    said = run.predict(store)
    scaled = run.predict_proba(store).astype(float) ** (1 / temperature[:, None])
    sure = scaled / scaled.sum(axis=1, keepdims=True)
    for subject in np.unique(store.subject):
        rows, mine = table(tmp_path / f"{subject}.csv"), store.subject == subject
        assert [row["label"] for row in rows] == said[mine].tolist()
        found = [float(row["probability_run"]) for row in rows]
        np.testing.assert_allclose(found, sure[mine, 1], atol=1e-5)
        truth = np.array(["rest", "run", ""])[store.label[mine]]
        assert [row["truth"] for row in rows] == truth.tolist()
    assert not list(tmp_path.glob("*.png"))


def test_who_is_not_sure_enough_gets_no_label(crossl: Crossl, study: Path, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "new/ann.csv", 11)
    words = ("predict", study / "run", file, "--format", "csv", "--out", tmp_path / "out")
    assert crossl(*words).code == 0
    every = table(tmp_path / "out/ann.csv")
    sure = [max(float(row["probability_rest"]), float(row["probability_run"])) for row in every]
    limit = sorted(sure)[len(sure) // 2]
    done = crossl(*words, "--abstain", f"{limit:.6f}")
    assert done.code == 0, done.err
    for row, before, most in zip(table(tmp_path / "out/ann.csv"), every, sure, strict=True):
        if abs(most - limit) > 1e-5:
            assert row["label"] == (before["label"] if most > limit else "")
            assert ("no label reaches" in row["reason"]) == (most < limit)
        assert row["probability_run"] == before["probability_run"]
    done = crossl(*words, "--abstain", 1.5)
    assert (done.code, "--abstain: got 1.5; a probability above 0" in done.err) == (2, True)


def test_a_probe_keeps_its_temperatures_and_what_they_are_worth(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    run = shutil.copytree(study / "run", tmp_path / "run")
    told = json.loads((run / "probe.json").read_text())["temperatures"]
    assert told["modalities"] == ["acc", "gyr"]
    assert set(told["subset"]) == {"acc,gyr", "acc", "gyr"}
    found = load_reliability(run)
    assert found is not None
    assert [one["present"] for one in found["sets"]] == [["acc", "gyr"], ["acc"], ["gyr"]]
    assert all(0 <= one["calibrated"]["ece"] <= 1 for one in found["sets"])
    probe = json.loads((run / "probe.json").read_text())
    del probe["temperatures"]
    probe["sha256"] = json_sha256(probe)
    (run / "probe.json").write_text(json.dumps(probe))
    file = write_csv(tmp_path / "ann.csv", 11)
    done = crossl("predict", run, file, "--format", "csv", "--out", tmp_path / "old")
    assert "its probabilities are not calibrated; run `crossl probe` again" in done.err
    crossl("predict", study / "run", file, "--format", "csv", "--out", tmp_path / "new")
    before, now = table(tmp_path / "old/ann.csv"), table(tmp_path / "new/ann.csv")
    assert [row["label"] for row in before] == [row["label"] for row in now]


def test_raw_files_and_their_store_give_the_same_bytes(study: Path, tmp_path: Path) -> None:
    for number in range(2):
        write_csv(tmp_path / "new" / f"S{number}.csv", number, labelled=True)
    predict_files(study / "run", [tmp_path / "new"], tmp_path / "files", formats=["csv"])
    predict_files(study / "run", [study / "store"], tmp_path / "store", formats=["csv"])
    assert (tmp_path / "files/S1.csv").read_bytes() == (tmp_path / "store/S1.csv").read_bytes()


def test_another_rate_is_refused_and_changed_where_that_is_asked_for(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new/fast.csv", 3, hz=50)
    words = ("predict", study / "run", tmp_path / "new/fast.csv", "--out", tmp_path / "out",
             "--format", "csv")  # fmt: skip
    done = crossl(*words)
    assert done.code == 2
    assert "declares 20 Hz but its timestamps give 50 Hz" in done.err
    assert not (tmp_path / "out").exists()
    done = crossl(*words, "--resample", "acc", "--resample", "gyr")
    assert done.code == 0, done.err
    assert len(table(tmp_path / "out/fast.csv")) == 39


def test_a_mapping_of_other_files_counts_instead(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new/p7.csv", 4)
    other = MAPPING.replace("unit: g,", "unit: m/s^2,").replace("Berlin", "Lisbon")
    (tmp_path / "other.yaml").write_text(other)
    words = ("predict", study / "run", tmp_path / "new/p7.csv", "--format", "csv")
    assert crossl(*words, "--out", tmp_path / "a").code == 0
    done = crossl(*words, "--out", tmp_path / "b", "--mapping", tmp_path / "other.yaml")
    assert done.code == 0, done.err
    mine, theirs = table(tmp_path / "a/p7.csv"), table(tmp_path / "b/p7.csv")
    assert theirs[0]["start_time"] == "2024-06-01T11:00:00.000+01:00"
    assert mine[0]["probability_run"] != theirs[0]["probability_run"]
    # a mapping that lies with the files counts for them
    shutil.copy(tmp_path / "other.yaml", tmp_path / "new/recordings.yaml")
    done = crossl("predict", study / "run", tmp_path / "new", "--format", "csv",
                  "--out", tmp_path / "c")  # fmt: skip
    assert table(tmp_path / "c/p7.csv") == theirs


def test_sensors_that_the_run_never_saw_are_named(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new/p7.csv", 4, more="temp")
    more = MAPPING.replace("windows:", "  temp: {channels: [t], unit: K, rate_hz: 20}\nwindows:")
    more = more.replace("gyr: [gx, gy, gz]}", "gyr: [gx, gy, gz], temp: [temp]}")
    (tmp_path / "new/recordings.yaml").write_text(more)
    done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "o",
                  "--format", "csv")  # fmt: skip
    assert done.code == 0
    assert "sensor temp was not in training and is left out" in done.err
    assert not any("temp" in name for name in table(tmp_path / "o/p7.csv")[0])


@pytest.fixture
def made(study: Path, tmp_path: Path) -> Path:
    """Two timelines."""
    write_csv(tmp_path / "new/ann.csv", 11)
    write_csv(tmp_path / "new/bob.csv", 12)
    predict_files(study / "run", [tmp_path / "new"], tmp_path / "out", formats=["csv", "edf"])
    return tmp_path / "out"


def test_what_is_done_is_not_done_again_until_its_files_change(
    study: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crossl.commands import predict

    seen: list[str] = []
    whole = predict.timeline_of

    def noted(*words: Any, **options: Any) -> Any:
        seen.append(words[2].subject)
        return whole(*words, **options)

    monkeypatch.setattr(predict, "timeline_of", noted)
    new, before = made.parent / "new", (made / "bob.csv").read_bytes()
    again = predict_files(study / "run", [new], made, formats=["csv", "edf"])
    assert (seen, list(again.records)) == ([], ["ann", "bob"])
    (made / "bob.json").unlink()  # as if it was killed before the record
    (made / "bob.csv").write_bytes(b"half")
    predict_files(study / "run", [new], made, formats=["csv", "edf"])
    assert seen == ["bob"]
    assert (made / "bob.csv").read_bytes() == before
    write_csv(new / "ann.csv", 13, gyr=False)
    predict_files(study / "run", [new], made, formats=["csv", "edf"])
    assert seen == ["bob", "ann"]
    predict_files(study / "run", [new], made, formats=["csv"])
    assert seen == ["bob", "ann", "ann", "bob"]
    assert not (made / "bob.edf").exists()


def test_a_stopped_command_leaves_whole_timelines_and_says_so(study: Path, tmp_path: Path) -> None:
    write_csv(tmp_path / "new/ann.csv", 11)
    write_csv(tmp_path / "new/bob.csv", 12)

    def stop(what: str, share: float) -> None:
        if share > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as stopped:
        predict_files(study / "run", [tmp_path / "new"], tmp_path / "out", formats=["csv"],
                      progress=stop)  # fmt: skip
    assert any("work so far is kept" in note for note in stopped.value.__notes__)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"ann.csv", "ann.json"}


def test_timelines_of_something_else_are_not_overwritten(
    crossl: Crossl, study: Path, made: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(study / "run", tmp_path / "other")
    probe = json.loads((other / "probe.json").read_text())
    weights = bytearray((other / "probe.safetensors").read_bytes())
    weights[-1] ^= 1
    (other / "probe.safetensors").write_bytes(weights)
    import hashlib

    probe["arrays"] = hashlib.sha256(weights).hexdigest()
    probe["sha256"] = json_sha256(probe)
    (other / "probe.json").write_text(json.dumps(probe))
    done = crossl("predict", other, tmp_path / "new", "--out", made)
    assert done.code == 2
    assert "holds timelines of another run or classifier" in done.err
    write_csv(tmp_path / "later/ann.csv", 20)
    done = crossl("predict", study / "run", tmp_path / "later", "--out", made)
    assert done.code == 2
    assert "has a timeline ann of" in done.err


def test_what_cannot_be_read_is_left_out_and_named(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    write_csv(tmp_path / "new/ann.csv", 11)
    (tmp_path / "new/bad.csv").write_text("time,ax,ay,az\n1,2,3,4\n1,2,3,4\n")
    done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "out",
                  "--format", "csv")  # fmt: skip
    assert done.code == 3
    assert "1 recording left out:" in done.err
    assert "bad/1:" in done.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"ann.csv", "ann.json", "index.html"}


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("other.csv", "a,b\n1,2\n3,4\n", "none of its files has a sample"),
        ("sheet.xlsx", "x", "sheet.xlsx: nothing reads the ending .xlsx; save it as CSV"),
        ("night.edf", "0", "night.edf"),
        ("p1.csv", "", "p1.csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_sentence(
    crossl: Crossl, study: Path, tmp_path: Path, name: str, content: str, match: str
) -> None:
    (tmp_path / name).write_text(content)
    done = crossl("predict", study / "run", tmp_path / name, "--out", tmp_path / "out")
    assert done.code == 2
    assert match in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_words_that_mean_nothing_are_refused(
    crossl: Crossl, study: Path, tmp_path: Path, trained: Path
) -> None:
    file = write_csv(tmp_path / "p1.csv", 1)
    run = study / "run"
    for words, match in (
        ((run, tmp_path / "no.csv"), "no.csv: does not exist; name files, a folder or a store"),
        ((run, file, "--resample", "ac"), "--resample: modality 'ac'; did you mean 'acc'?"),
        ((run, file, "--format", "cvs"), "--format: got 'cvs'; did you mean 'csv'?"),
        ((run, study / "store", "--resample", "acc"), "is a store, in which recordings are read"),
        ((run, file, "--mapping", "no.yaml"), "no.yaml: does not exist"),
        ((run, file, "--reader", "eeg"), "reader 'eeg': unknown"),
        ((trained, file), "nothing says what it holds"),
    ):
        done = crossl("predict", *words, "--out", tmp_path / "out")
        assert (done.code, match in done.err) == (2, True), done.err
    bare = shutil.copytree(run, tmp_path / "bare")
    (bare / "probe.json").unlink()
    done = crossl("predict", bare, file, "--out", tmp_path / "out")
    assert (done.code, "run `crossl probe`" in done.err) == (2, True)


def test_a_run_of_before_reads_files_by_a_mapping_that_is_given(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(study / "run", tmp_path / "old")
    contract = json.loads((old / "model.json").read_text())
    for key in ("reading", "window", "resampled", "dtype"):
        del contract[key]
    contract["sha256"] = json_sha256(contract)
    (old / "model.json").write_text(json.dumps(contract))
    file = write_csv(tmp_path / "p1.csv", 1)
    (tmp_path / "m.yaml").write_text(MAPPING)
    done = crossl("predict", old, file, "--out", tmp_path / "out")
    assert "does not keep how its recordings were read" in done.err
    done = crossl("predict", old, file, "--out", tmp_path / "out", "--mapping",
                  tmp_path / "m.yaml", "--format", "csv")  # fmt: skip
    assert done.code == 0, done.err
    predict_files(study / "run", [file], tmp_path / "now", formats=["csv"])
    assert (tmp_path / "out/p1.csv").read_bytes() == (tmp_path / "now/p1.csv").read_bytes()


def test_a_run_of_before_is_of_a_published_set_by_its_sensors_not_by_its_name_alone(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    old = shutil.copytree(study / "run", tmp_path / "old")
    contract = json.loads((old / "model.json").read_text())
    del contract["reading"]
    contract["dataset"] = "uci_har"
    contract["sha256"] = json_sha256(contract)
    (old / "model.json").write_text(json.dumps(contract))
    file = write_csv(tmp_path / "p1.csv", 1)
    done = crossl("predict", old, file, "--out", tmp_path / "out")
    assert done.code == 2
    assert "p1.csv: nothing says what it holds" in done.err
    assert "uci_har" not in done.err


def test_a_file_without_any_sensor_of_the_run_is_refused_and_others_go_on(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    mapping = MAPPING.replace(
        "windows:", "  eda: {channels: [us], unit: uS, rate_hz: 20}\nwindows:"
    )
    (tmp_path / "m.yaml").write_text(mapping.replace("gz]}", "gz], eda: [eda]}"))
    file = write_csv(tmp_path / "new/bob.csv", 12)
    lines = ["time,eda", *(f"{STARTED_S + n / 20:.2f},{n % 7 + 1}" for n in range(800))]
    (tmp_path / "new/ann.csv").write_text("\n".join([*lines, ""]))
    how = ("--out", tmp_path / "out", "--format", "csv", "--mapping", tmp_path / "m.yaml")
    done = crossl("predict", study / "run", file.parent, *how)
    assert done.code == 3, done.err
    told = "has no sensor that the run knows, got eda; at least one of acc, gyr is needed"
    assert told in done.err
    assert "(ann.csv)" in done.err
    assert {one.name for one in (tmp_path / "out").glob("*.csv")} == {"bob.csv"}
    done = crossl("predict", study / "run", tmp_path / "new/ann.csv", *how)
    assert (done.code, told in done.err) == (2, True), done.err


def test_labels_of_two_devices_that_disagree_are_left_out_where_nobody_needs_them(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    (tmp_path / "m.yaml").write_text(TWO_DEVICES)
    for device, shift_s in (("acc", 0.0), ("gyr", 0.4)):
        said = ["rest" if n / 20 + shift_s < 20 else "run" for n in range(800)]
        rows = [f"{n / 20:.2f},{n % 5},{n % 7},{n % 11},{said[n]}" for n in range(800)]
        (tmp_path / "new").mkdir(exist_ok=True)
        (tmp_path / f"new/ann_{device}.csv").write_text(
            "\n".join(["time,x,y,z,activity", *rows, ""])
        )
    how = ("--mapping", tmp_path / "m.yaml", "--format", "csv", "--out")
    done = crossl("predict", study / "run", tmp_path / "new", *how, tmp_path / "out")
    assert done.code == 0, done.err
    assert "warning: labels of the recording are left out: subject ann" in done.err
    assert "two labels for one time, 'rest' until 20 s and 'run' from 19.6 s" in done.err
    rows = table(tmp_path / "out/ann.csv")
    assert {(one["present_acc"], one["present_gyr"]) for one in rows} == {("true", "true")}
    assert "truth" not in rows[0]
    # where labels count they are refused; those that agree are one
    (tmp_path / "new/recordings.yaml").write_text(TWO_DEVICES)
    words = ("prepare", "folder", "--root", tmp_path / "new", "--out", tmp_path / "store")
    done = crossl(*words)
    assert (done.code, "leave out `label:` of the others" in done.err) == (2, True), done.err
    alike = (tmp_path / "new/ann_acc.csv").read_text()
    (tmp_path / "new/ann_gyr.csv").write_text(alike)
    assert crossl(*words).code == 0
    done = crossl("predict", study / "run", tmp_path / "new", *how, tmp_path / "again")
    assert (done.code, "labels of the recording" in done.err) == (0, False), done.err
    assert {row["truth"] for row in table(tmp_path / "again/ann.csv")} >= {"rest", "run"}


def test_a_row_that_the_end_of_a_file_cuts_off_is_told_by_every_command(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    for number in range(2):
        file = write_csv(tmp_path / f"new/p{number}.csv", number, labelled=True)
    whole = file.read_bytes().rstrip()
    file.write_bytes(whole[:-30])
    told = "warning: p1.csv: line 801 is cut off (it has 4 of 8 cells)"
    run, out = study / "run", tmp_path / "out"
    for words in (
        ("predict", run, file, "--out", out, "--format", "csv"),
        ("predict", run, file, "--out", out, "--format", "csv"),  # kept: told again
        ("adapt", run, file, "--store", study / "store", "--out", tmp_path / "two", "--same-names"),
        ("stream", run, "--from", f"replay:{file}", "--speed", "max"),
    ):
        done = crossl(*words)
        assert (done.code, done.err.count(told)) == (0, 1), done.err
    assert (out / "p1.csv").stat().st_size > 0
    (tmp_path / "new/recordings.yaml").write_text(MAPPING)
    done = crossl("prepare", "folder", "--root", tmp_path / "new", "--out", tmp_path / "store")
    assert done.code == 0, done.err
    assert "warning, in 1 of 2 recordings: p1.csv: line 801 is cut off" in done.out
    done = crossl("data", "doctor", tmp_path / "new")
    assert "p1.csv: line 801 is cut off" in done.out, done.out


def test_a_unit_that_values_speak_against_is_told_by_prepare_and_predict(
    crossl: Crossl, study: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name in ("ann", "bob"):
        values = np.array([0, 0, 9.8, 0, 0, 0]) + 0.1 * rng.normal(size=(800, 6))
        rows = [f"{n / 20:.2f},{','.join(f'{v:.4f}' for v in row)}"
                for n, row in enumerate(values.tolist())]  # fmt: skip
        (tmp_path / "new").mkdir(exist_ok=True)
        text = "\n".join(["time,ax,ay,az,gx,gy,gz", *rows, ""])
        (tmp_path / f"new/{name}.csv").write_text(text)
    told = "acc: its values look like m/s^2, where g is declared, which its declared unit"
    done = crossl("predict", study / "run", tmp_path / "new", "--out", tmp_path / "out",
                  "--format", "csv")  # fmt: skip
    assert (done.code, done.err.count(f"warning: {told}")) == (0, 1), done.err
    (tmp_path / "new/recordings.yaml").write_text(MAPPING.replace("    label: activity\n", ""))
    words = ("prepare", "folder", "--root", tmp_path / "new", "--out")
    done = crossl(*words, tmp_path / "store")
    assert f"warning, in 2 of 2 recordings: {told}" in done.out, done.out + done.err
    right = MAPPING.replace("    label: activity\n", "").replace("unit: g,", "unit: m/s2,")
    (tmp_path / "new/recordings.yaml").write_text(right)
    done = crossl(*words, tmp_path / "right")
    assert (done.code, "warning" in done.out + done.err) == (0, False), done.out + done.err


@pytest.mark.parametrize("reader", ["uci_har", "seglearn_watch", "edf"])
def test_a_run_of_a_published_set_says_that_other_files_need_a_mapping(
    crossl: Crossl, study: Path, tmp_path: Path, reader: str
) -> None:
    run = shutil.copytree(study / "run", tmp_path / "published")
    contract = json.loads((run / "model.json").read_text())
    contract["reading"] = {"reader": reader, "options": {}}
    contract["sha256"] = json_sha256(contract)
    (run / "model.json").write_text(json.dumps(contract))
    file = write_csv(tmp_path / "new/ann.csv", 11)
    told = f"is not what the reader {reader} reads, by which the recordings of"
    for words in (
        ("predict", run, file, "--out", tmp_path / "out"),
        ("predict", run, file.parent, "--out", tmp_path / "out"),
        ("stream", run, "--from", f"replay:{file}"),
        ("adapt", run, file, "--store", study / "store", "--out", tmp_path / "adapted"),
    ):
        done = crossl(*words)
        assert (done.code, done.err.count("\n")) == (2, 1), done.err
        assert told in done.err
        assert "(--mapping FILE)" in done.err
        assert "`crossl data init FOLDER`" in done.err
        assert "acc (x, y, z), gyr (x, y, z)" in done.err
    (tmp_path / "m.yaml").write_text(MAPPING)
    done = crossl("predict", run, file, "--out", tmp_path / "out", "--mapping",
                  tmp_path / "m.yaml", "--format", "csv")  # fmt: skip
    assert done.code == 0, done.err


def test_real_recordings_are_read_as_the_run_read_its_own(
    crossl: Crossl, real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    import crossl as package

    root = real_data("eegmat")
    done = crossl("prepare", "eegmat", "--root", root, "--out", tmp_path / "store",
                  "--window-s", 4, "--stride-s", 4)  # fmt: skip
    assert done.code == 0, done.err
    store = Store.open(tmp_path / "store")
    people = np.unique(store.subject).tolist()
    settings = {"encoder.width": 8, "encoder.dim": 8, "schedule.steps": 1,
                "schedule.batch_size": 8}  # fmt: skip
    run = package.build_model(store, settings=settings)
    run = package.pretrain(run, store, train=people[:1], validation=people[1:2])
    run = package.fit_probe(run, store, train=people[:1], validation=people[1:2])
    run.save(tmp_path / "run")
    done = crossl("predict", tmp_path / "run", root, "--out", tmp_path / "out",
                  "--format", "csv", "--format", "edf")  # fmt: skip
    assert done.code == 0, done.err
    said = run.predict(store)
    sessions = np.unique(store.session[store.subject == people[2]]).tolist()
    for session in sessions:
        mine = (store.subject == people[2]) & (store.session == session)
        name = people[2] if session in ("", "1") else f"{people[2]}_{session}"
        rows = [one for one in table(tmp_path / "out" / f"{name}.csv") if not one["reason"]]
        assert [one["label"] for one in rows] == said[mine].tolist()
        labels = open_file(tmp_path / "out" / f"{name}.edf").labels
        assert labels[0].label == rows[0]["label"]


def test_reading_by_another_reader_or_option_is_a_choice(tmp_path: Path, study: Path) -> None:
    file = write_csv(tmp_path / "p1.csv", 1)
    with pytest.raises(DataError, match="holds no recording in the format edf"):
        predict_files(study / "run", [file], tmp_path / "o", how=How(reader="edf"))
