"""One bad file among good ones: it is named and left out, mended later, or refused on request."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from crossl.cli.main import app
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import open_dataset
from crossl.data.store import Store
from crossl.doctor import examine_recordings
from crossl.errors import DataError, PackageError
from tests.data.own.study import MAPPING, make_study
from tests.data.own.test_folder_people import everyone, write_rows

BAD = "anna/day2"


@pytest.fixture
def study(tmp_path):
    """Four recordings of two people, one of whose files is cut off."""
    root = make_study(tmp_path / "study")
    (root / "recordings.yaml").write_text(MAPPING + "classes: [rest, walk]\n")
    spoil(root / "anna/day2_watch.csv")
    return root


def spoil(path):
    path.with_suffix(".kept").write_bytes(path.read_bytes())
    path.write_bytes(path.read_bytes() + b"1\n")


def mend(path):
    path.with_suffix(".kept").replace(path)


def prepare(root, out, **options):
    with open_dataset("folder", root) as dataset:
        return prepare_store(dataset, out, plan_for(dataset, "folder"), **options)


def keys(store):
    return [f"{one['subject']}/{one['session']}" for one in store.manifest["recordings"]]


@pytest.mark.parametrize("workers", [1, 2])
def test_the_bad_one_is_left_out_and_named_the_others_are_a_store(study, tmp_path, workers):
    store = prepare(study, tmp_path / "store", strict=False, workers=workers)
    assert BAD not in keys(store)
    assert len(keys(store)) == 5
    (left_out,) = store.manifest["left_out"]
    assert left_out["part"] == BAD
    assert "day2_watch.csv: line" in left_out["why"]
    assert Store.open(tmp_path / "store", verify=True).hash == store.hash


def test_the_command_line_says_so_by_code_3_and_names_it(study, tmp_path):
    asked = ["prepare", "folder", "--root", str(study), "--out", str(tmp_path / "store")]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 3
    assert "crossl: prepared, but 1 recording was left out:\n  anna/day2: " in done.stderr
    assert "the same command with --append to add them" in done.stderr
    shown = CliRunner().invoke(app, ["inspect", str(tmp_path / "store")]).stdout
    assert "not in it: anna/day2, " in shown
    mend(study / "anna/day2_watch.csv")
    done = CliRunner().invoke(app, [*asked, "--append"])
    assert done.exit_code == 0, done.stderr
    assert len(keys(Store.open(tmp_path / "store"))) == 6


def test_who_is_strict_gets_nothing_but_the_refusal(study, tmp_path):
    asked = ["prepare", "folder", "--root", str(study), "--out", str(tmp_path / "store")]
    done = CliRunner().invoke(app, [*asked, "--strict"])
    assert isinstance(done.exception, DataError)
    assert "day2_watch.csv: line" in str(done.exception)
    assert not (tmp_path / "store").exists()


def test_a_mended_file_is_appended_and_nothing_is_read_twice(study, tmp_path):
    prepare(study, tmp_path / "store", strict=False)
    with pytest.raises(DataError, match=r"day2_watch.csv: line"):
        prepare(study, tmp_path / "store", strict=False, append=True)  # not yet mended
    assert len(keys(Store.open(tmp_path / "store"))) == 5
    mend(study / "anna/day2_watch.csv")
    store = prepare(study, tmp_path / "store", append=True)
    assert keys(store)[-1] == BAD
    assert not {"left_out", "parts_read"} & set(store.manifest)


def test_of_two_that_were_left_out_the_mended_one_is_added(study, tmp_path):
    spoil(study / "cleo/day1_labels.csv")
    (study / "cleo/day1_labels.csv").write_text("begin,end,activity\n1,x,rest\n")
    store = prepare(study, tmp_path / "store", strict=False)
    assert [one["part"] for one in store.manifest["left_out"]] == [BAD, "cleo/day1"]
    mend(study / "anna/day2_watch.csv")
    store = prepare(study, tmp_path / "store", append=True, strict=False)
    assert [one["part"] for one in store.manifest["left_out"]] == ["cleo/day1"]
    mend(study / "cleo/day1_labels.csv")
    assert len(keys(prepare(study, tmp_path / "store", append=True))) == 6


def test_where_nothing_can_be_read_nothing_is_written(study, tmp_path):
    for path in study.rglob("*_watch.csv"):
        path.write_text("t,ax\n1\n")
    with pytest.raises(DataError, match=r"and 5 others, none can be read"):
        prepare(study, tmp_path / "store", strict=False)
    assert [
        path.name for path in tmp_path.iterdir() if "store" in path.name and path.is_dir()
    ] == []


def test_killed_work_goes_on_and_remembers_what_was_left_out(study, tmp_path):
    def stop(what, share):
        if "ben" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(study, tmp_path / "store", strict=False, progress=stop)
    lines = (tmp_path / ".store.preparing/journal.jsonl").read_text().splitlines()
    assert [json.loads(line).get("left_out", "")[:0] for line in lines[1:]]
    store = prepare(study, tmp_path / "store", strict=False)
    assert [one["part"] for one in store.manifest["left_out"]] == [BAD]
    assert len(keys(store)) == 5


def test_what_was_left_out_is_read_again_by_who_is_strict(study, tmp_path):
    def stop(what, share):
        if "ben" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(study, tmp_path / "store", strict=False, progress=stop)
    with pytest.raises(DataError, match=r"day2_watch.csv: line"):
        prepare(study, tmp_path / "store")


def test_a_package_that_lacks_is_no_fault_of_a_file(study, tmp_path, monkeypatch):
    def lacks(_):
        raise PackageError("package 'polars' is not installed")

    with open_dataset("folder", study) as dataset:
        plan = plan_for(dataset, "folder")
        monkeypatch.setattr("crossl.data.formats.csv.needs", lacks)
        with pytest.raises(PackageError):
            prepare_store(dataset, tmp_path / "store", plan, strict=False)


def test_the_doctor_examines_the_others(study):
    (study / "cleo/day1_labels.csv").write_text("begin,end,activity\n1,x,rest\n")
    with open_dataset("folder", study) as dataset:
        diagnosis = examine_recordings(dataset)
    assert diagnosis.counts["recordings"] == 4
    told = [one.what for one in diagnosis.of("error") if one.check == "readable"]
    assert any("day2_watch.csv" in what for what in told)
    assert any("day1_labels.csv" in what for what in told)


@pytest.mark.parametrize("name", ["day1_labels.csv", "day1_watch.csv"])
def test_a_bad_file_does_not_spoil_the_search_for_classes(study, tmp_path, name):
    (study / "recordings.yaml").write_text(MAPPING)
    (study / "cleo" / name).write_bytes(b"\x00\x01\x02")
    store = prepare(study, tmp_path / "store", strict=False)
    assert store.manifest["classes"] == ["rest", "walk"]
    assert [one["part"] for one in store.manifest["left_out"]] == [BAD, "cleo/day1"]


def test_labels_of_somebody_without_signals_do_not_spoil_the_rest(study, tmp_path):
    mend(study / "anna/day2_watch.csv")
    (study / "cleo/day2_watch.csv").unlink()
    (study / "cleo/day2_phone.csv").unlink()
    store = prepare(study, tmp_path / "store", strict=False)
    (left_out,) = store.manifest["left_out"]
    assert left_out["part"] == "cleo/day2"
    assert "has labels (day2_labels.csv) but no file with signals" in left_out["why"]


def test_a_table_of_several_people_that_cannot_be_read_is_one_of_them(tmp_path):
    root = tmp_path / "study"
    for site in ("a", "b"):
        write_rows(root / f"{site}.csv", ["who", "t", "x"], everyone([f"{site}1", f"{site}2"]))
    spoil(root / "b.csv")
    (root / "recordings.yaml").write_text(
        "modalities: {s: {channels: [x], unit: '1', rate_hz: 32}}\n"
        "files: [{pattern: '*.csv', subject_column: who, clock: t, signals: {s: x}}]\n"
    )
    store = prepare(root, tmp_path / "store", strict=False)
    assert keys(store) == ["a1/1", "a2/1"]
    assert store.manifest["left_out"][0]["part"] == "b.csv"
    mend(root / "b.csv")
    assert keys(prepare(root, tmp_path / "store", append=True))[2:] == ["b1/1", "b2/1"]


def test_without_a_mapping_one_bad_file_is_left_out_as_well(tmp_path, real_data):
    import shutil

    source = next(real_data("drivedb").glob("*.hea"))
    root = tmp_path / "drives"
    root.mkdir()
    for path in real_data("drivedb").glob(f"{source.stem}.*"):
        shutil.copy(path, root / path.name)
    (root / "broken.hea").write_text("no header at all\n")
    with open_dataset("wfdb", root) as dataset:
        assert examine_recordings(dataset).counts["recordings"] == 1
        plan = plan_for(dataset, "wfdb")
        store = prepare_store(dataset, tmp_path / "store", plan, strict=False)
    assert [one["part"] for one in store.manifest["left_out"]] == ["broken/1"]
