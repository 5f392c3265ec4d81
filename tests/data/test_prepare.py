"""Prepare: the same bytes by any number of workers, through kills, and when subjects come later."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from crossl.data.manifest import read_manifest
from crossl.data.prepare import Plan, plan_for, prepare_store
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.segment import pack
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.errors import ConfigError, DataError, FormatError

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 50.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 100.0, "chest")
CARD = Card(
    name="made", title="Made up", description="Numbers.", licence="none", citation="none",
    url="none", modalities=(ACC, ECG), classes=("rest", "run"),
    spec=WindowSpec(window_s=1.0, stride_s=0.5),
)  # fmt: skip


def read_file(path):
    """Read a recording that `make_files` wrote; module level, so that workers can."""
    time.sleep(float(os.environ.get("TEST_PREPARE_DELAY_S", "0")))
    try:
        data = np.load(path)
    except (ValueError, EOFError) as error:
        raise DataError(f"{path}: is damaged") from error
    subject, session = path.stem.split("-")
    signals = {"acc": Signal(data[::2, :3].copy(), 50.0), "ecg": Signal(data[:, 3:].copy(), 100.0)}
    if subject == "s2":
        del signals["ecg"]
    seconds = len(data) / 100
    labels = (LabelInterval(0.0, seconds / 2, "rest"), LabelInterval(seconds / 2, seconds, "run"))
    yield Recording(subject, session, {"acc": ACC, "ecg": ECG}, signals, labels)


def die(path):
    os.kill(os.getpid(), signal.SIGKILL)
    yield path


def make_files(folder, count=6, seconds=20):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        data = rng.normal(size=(seconds * 100, 4)).astype(np.float32)
        data[300:340] = np.nan
        np.save(folder / f"s{number // 2}-{number % 2}.npy", data)
    return folder


def open_files(folder):
    paths = sorted(folder.glob("*.npy"))
    return Dataset(CARD, tuple(Part(p.stem, partial(read_file, p), (p,)) for p in paths))


@pytest.fixture
def files(tmp_path):
    return make_files(tmp_path / "files")


def prepare(dataset, out, **options):
    how = {key: options.pop(key) for key in ("workers", "append") if key in options}
    return prepare_store(dataset, out, plan_for(dataset, "made", **options), **how)


def bytes_of(store):
    paths = sorted(p for p in store.path.rglob("*") if p.is_file())
    return {p.relative_to(store.path).as_posix(): p.read_bytes() for p in paths}


def test_bytes_are_the_same_whatever_the_number_of_workers(files, tmp_path):
    dataset = open_files(files)
    one, three = (prepare(dataset, tmp_path / f"w{n}", workers=n) for n in (1, 3))
    assert bytes_of(one) == bytes_of(three)
    assert sorted(bytes_of(one)) == [
        "manifest.json", "segments/00000/offsets.npy", "segments/00000/rows.npy",
        "segments/00000/signals/acc.npy", "segments/00000/signals/ecg.npy",
    ]  # fmt: skip
    assert not list(tmp_path.glob(".*"))


def test_windows_hold_what_the_files_hold(files, tmp_path):
    store = prepare(open_files(files), tmp_path / "store")
    assert sorted(set(store.subject)) == ["s0", "s1", "s2"]
    row = int(np.flatnonzero((store.subject == "s1") & (store.session == "1"))[3])
    data = np.load(files / "s1-1.npy")
    begin = round(store.start_s[row] * 100)
    windows = store.gather_zeroed(np.array([row]))
    np.testing.assert_array_equal(windows["ecg"][0], data[begin : begin + 100, 3:])
    np.testing.assert_array_equal(windows["acc"][0], data[begin : begin + 100 : 2, :3])
    assert not store.present[store.subject == "s2", 1].any()


def test_work_that_failed_goes_on_from_there(files, tmp_path):
    whole = bytes_of(prepare(open_files(files), tmp_path / "whole"))
    broken = files / "s1-1.npy"
    data = broken.read_bytes()
    broken.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"s1-1.npy: is damaged"):
        prepare(open_files(files), tmp_path / "store")
    assert not (tmp_path / "store").exists()
    broken.write_bytes(data)
    seen = []
    dataset = open_files(files)
    store = prepare_store(
        dataset, tmp_path / "store", plan_for(dataset, "made"),
        progress=lambda what, _share: seen.append(what),
    )  # fmt: skip
    assert [what.split(": ")[1] for what in seen] == ["s1-1", "s2-0", "s2-1"]
    assert bytes_of(store) == whole


def test_a_file_that_changed_since_is_read_again(files, tmp_path):
    bad = files / "s2-1.npy"
    data = bad.read_bytes()
    bad.write_bytes(b"bad")
    with pytest.raises(DataError, match="is damaged"):
        prepare(open_files(files), tmp_path / "store")
    changed = np.load(files / "s0-1.npy") + 1
    np.save(files / "s0-1.npy", changed)
    bad.write_bytes(data)
    store = prepare(open_files(files), tmp_path / "store")
    assert bytes_of(store) == bytes_of(prepare(open_files(files), tmp_path / "again"))


def test_other_settings_do_not_go_on_with_what_was_begun(files, tmp_path):
    bad = files / "s2-1.npy"
    data = bad.read_bytes()
    bad.write_bytes(b"bad")
    with pytest.raises(DataError, match="is damaged"):
        prepare(open_files(files), tmp_path / "store")
    bad.write_bytes(data)
    store = prepare(open_files(files), tmp_path / "store", only=("ecg",))
    assert bytes_of(store) == bytes_of(
        prepare(open_files(files), tmp_path / "again", only=("ecg",))
    )


PROGRAM = """
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from test_prepare import open_files, prepare
    if __name__ == "__main__":
        prepare(open_files(Path(sys.argv[1])), Path(sys.argv[2]), workers=int(sys.argv[4]))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_any_moment_it_goes_on_to_the_same_bytes(files, tmp_path, workers):
    whole = bytes_of(prepare(open_files(files), tmp_path / "whole"))
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    out = tmp_path / "store"
    command = [sys.executable, str(program), str(files), str(out), str(Path(__file__).parent)]
    slow = {**os.environ, "TEST_PREPARE_DELAY_S": "0.15"}
    rng = np.random.default_rng(workers)
    for wait_s in rng.uniform(0.3, 1.2, size=3):
        child = subprocess.Popen([*command, str(workers)], env=slow, start_new_session=True)
        work = tmp_path / ".store.preparing"
        while child.poll() is None and not work.exists():
            time.sleep(0.01)
        time.sleep(wait_s)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        assert not out.exists() or bytes_of(Store.open(out, verify=True)) == whole
    if not out.exists():
        prepare(open_files(files), out, workers=1)
    assert bytes_of(Store.open(out, verify=True)) == whole
    assert not list(tmp_path.glob(".*"))


def test_a_journal_line_that_was_cut_off_is_forgotten(files, tmp_path):
    bad = files / "s2-1.npy"
    data = bad.read_bytes()
    bad.write_bytes(b"bad")
    with pytest.raises(DataError, match="is damaged"):
        prepare(open_files(files), tmp_path / "store")
    journal = tmp_path / ".store.preparing" / "journal.jsonl"
    text = journal.read_bytes()
    assert text.count(b"\n") == 6
    journal.write_bytes(text[:-40])
    bad.write_bytes(data)
    store = prepare(open_files(files), tmp_path / "store")
    assert bytes_of(store) == bytes_of(prepare(open_files(files), tmp_path / "again"))


def test_a_worker_that_dies_is_told_of_and_loses_nothing(files, tmp_path):
    dataset = open_files(files)
    last = files / "s2-1.npy"
    deadly = replace(
        dataset, parts=(*dataset.parts[:-1], Part("s2-1", partial(die, last), (last,)))
    )
    with pytest.raises(DataError, match=r"part s2-1: a worker process died while reading"):
        prepare(deadly, tmp_path / "store", workers=2)
    seen = []
    prepare_store(dataset, tmp_path / "store", plan_for(dataset, "made"),
                  progress=lambda what, _share: seen.append(what))  # fmt: skip
    assert 1 <= len(seen) < 6
    assert bytes_of(Store.open(tmp_path / "store")) == bytes_of(
        prepare(dataset, tmp_path / "again")
    )


def test_two_processes_do_not_prepare_one_store(files, tmp_path):
    with (tmp_path / ".store.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is preparing this store"):
            prepare(open_files(files), tmp_path / "store")


def test_an_existing_store_is_refused_and_left_alone(files, tmp_path):
    store = prepare(open_files(files), tmp_path / "store")
    with pytest.raises(DataError, match="store: exists already; name a new folder"):
        prepare(open_files(files), tmp_path / "store")
    assert len(Store.open(store.path, verify=True)) == len(store)


def test_a_recording_that_stands_twice_is_refused(files, tmp_path):
    dataset = open_files(files)
    first = dataset.parts[0]
    doubled = replace(dataset, parts=(*dataset.parts, replace(first, name="again")))
    with pytest.raises(DataError, match="subject s0, session 0 would be there twice"):
        prepare(doubled, tmp_path / "store")


# --- appending


def test_subjects_that_come_later_are_appended_without_rewriting(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    whole = prepare(dataset, tmp_path / "whole")
    prepare(early, tmp_path / "store")
    before = bytes_of(Store.open(tmp_path / "store"))
    store = prepare(late, tmp_path / "store", append=True)
    after = bytes_of(store)
    assert {k: v for k, v in after.items() if "00000" in k} == {
        k: v for k, v in before.items() if "00000" in k
    }
    assert Store.open(store.path, verify=True).hash == store.hash
    rows = np.random.default_rng(0).permutation(len(whole))
    for attribute in ("subject", "session", "start_s", "label", "present", "recording"):
        np.testing.assert_array_equal(getattr(store, attribute), getattr(whole, attribute))
    for name, windows in whole.gather_zeroed(rows).items():
        np.testing.assert_array_equal(store.gather_zeroed(rows)[name], windows)
    assert not list(tmp_path.glob(".*"))


def test_a_stretch_of_the_table_is_the_same_as_its_columns_in_memory_that_is_given_back(
    files, tmp_path
):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    prepare(early, tmp_path / "store")
    store = prepare(late, tmp_path / "store", append=True)
    border = int(np.flatnonzero(store.subject == "s2")[0])
    for begin, end in ((0, len(store)), (border - 3, border + 5), (border, border + 1), (2, 2)):
        stretch = store.stretch(begin, end)
        columns = ["present", "subject", "session", "zone", "start_s", "start_unix_s", "label"]
        assert list(stretch) == columns
        for name, column in stretch.items():
            np.testing.assert_array_equal(column, getattr(store, name)[begin:end])
            assert column.dtype == getattr(store, name).dtype
        store.let_go()


def test_appending_what_is_there_already_is_refused(files, tmp_path):
    dataset = open_files(files)
    store = prepare(dataset, tmp_path / "store")
    with pytest.raises(DataError, match="subject s0, session 0 would be there twice"):
        prepare(dataset, tmp_path / "store", append=True)
    assert Store.open(store.path, verify=True).hash == store.hash


def test_appending_other_windows_or_modalities_is_refused(files, tmp_path):
    dataset = open_files(files)
    prepare(dataset, tmp_path / "store")
    for options, what in (
        ({"spec": WindowSpec(window_s=2.0, stride_s=1.0)}, "windows: window_s is 2.0 .* has 1.0"),
        ({"resample": {"acc": 25.0}}, "modality 'acc': rate_hz is 25.0 in .* the store has 50.0"),
        ({"dtype": "int16"}, "samples: dtype is 'int16' in what .* the store has 'float32'"),
    ):
        with pytest.raises(DataError, match=what):
            prepare(dataset, tmp_path / "store", append=True, **options)
    with pytest.raises(FormatError, match=r"none: is not a store"):
        prepare(dataset, tmp_path / "none", append=True)


def test_recordings_that_lack_modalities_and_classes_are_added(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    whole = prepare(dataset, tmp_path / "whole")
    prepare(early, tmp_path / "store")
    late = replace(late, card=replace(CARD, modalities=(ACC,), classes=("run",)),
                   notes=("nobody has an ecg",))  # fmt: skip
    store = prepare(late, tmp_path / "store", append=True)
    assert store.modalities == whole.modalities
    assert store.classes == ("rest", "run")
    np.testing.assert_array_equal(store.present, whole.present)
    np.testing.assert_array_equal(store.label, whole.label)
    assert store.manifest["notes"] == ["nobody has an ecg"]
    rows = np.arange(len(store))
    np.testing.assert_array_equal(
        store.gather_zeroed(rows)["acc"], whole.gather_zeroed(rows)["acc"]
    )


def test_classes_are_chosen_and_made_one_and_later_recordings_follow(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    whole = prepare(dataset, tmp_path / "whole")
    plan = plan_for(dataset, "made").choosing(["run"])
    prepare_store(early, tmp_path / "run", plan)
    run = prepare(late, tmp_path / "run", append=True)
    assert run.classes == ("run",)
    assert len(run) == len(whole)  # what is not chosen stays as unlabelled signal
    np.testing.assert_array_equal(run.label, np.where(whole.label == 1, 0, -1))
    one = prepare_store(dataset, tmp_path / "one",
                        plan_for(dataset, "made").choosing(["awake=rest+run"]))  # fmt: skip
    assert one.classes == ("awake",)
    assert (one.label == 0).all()
    again = prepare_store(dataset, tmp_path / "again",
                          plan_for(dataset, "made").choosing(["awake=rest,run"]))  # fmt: skip
    assert again.classes == ("awake",)
    np.testing.assert_array_equal(again.label, one.label)
    with pytest.raises(DataError, match=r"classes: chosen is .* in what is to be added"):
        prepare_store(late, tmp_path / "run", plan_for(dataset, "made").choosing(["rest"]),
                      append=True)  # fmt: skip


@pytest.mark.parametrize(("text", "message"), [
    ("runn", "--classes: no label 'runn'; did you mean 'run'"),
    ("run,x=rest+run", "label 'run' is given twice"),
    ("run,run=rest", "class 'run' is given twice"),
])  # fmt: skip
def test_a_choice_of_classes_that_cannot_be_is_refused(text, message):
    with pytest.raises(ConfigError, match=message):
        Plan((ACC,), ("rest", "run"), CARD.spec).choosing([text])


def test_a_modality_or_class_that_a_store_lacks_is_named(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    prepare(early, tmp_path / "store", only=("acc",))
    with pytest.raises(DataError, match=r"has no modality 'ecg', allowed are 'acc'; leave it out"):
        prepare(late, tmp_path / "store", append=True)
    late = replace(late, card=replace(CARD, classes=("rest", "swim")))
    with pytest.raises(DataError, match=r"has no class 'swim', allowed are 'rest', 'run'"):
        prepare(late, tmp_path / "store", append=True, only=("acc",))


def test_an_append_refused_for_other_windows_leaves_work_that_was_begun(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    prepare(early, tmp_path / "store")
    bad = files / "s2-1.npy"
    data = bad.read_bytes()
    bad.write_bytes(b"bad")
    with pytest.raises(DataError, match="is damaged"):
        prepare(late, tmp_path / "store", append=True)
    with pytest.raises(DataError, match=r"windows: .* in what is to be added"):
        prepare(late, tmp_path / "store", append=True, spec=WindowSpec(2.0, 1.0))
    bad.write_bytes(data)
    seen = []
    late = replace(late, parts=open_files(files).parts[4:])
    prepare_store(late, tmp_path / "store", plan_for(late, "made"), append=True,
                  progress=lambda what, _share: seen.append(what))  # fmt: skip
    assert [what.split(": ")[1] for what in seen] == ["s2-1"]


def test_an_append_killed_before_the_manifest_was_replaced_is_not_seen(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    store = prepare(early, tmp_path / "store")
    orphan = store.path / "segments" / "00001"
    orphan.mkdir()
    (orphan / "rows.npy").write_bytes(b"half")
    assert len(Store.open(store.path, verify=True)) == len(store)
    whole = prepare(late, store.path, append=True)
    assert len(Store.open(whole.path, verify=True)) == len(prepare(dataset, tmp_path / "whole"))


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[3])
    from dataclasses import replace
    from crossl.data import prepare as module
    from test_prepare import open_files, prepare
    calls = {"left": int(sys.argv[4])}
    def dying(name):
        inner = getattr(module, name)
        def run(*args, **options):
            calls["left"] -= 1
            if not calls["left"]:
                os.kill(os.getpid(), signal.SIGKILL)
            return inner(*args, **options)
        return run
    for name in ("describe_files", "_append_segment", "write_manifest"):
        setattr(module, name, dying(name))
    dataset = open_files(Path(sys.argv[1]))
    prepare(replace(dataset, parts=dataset.parts[4:]), Path(sys.argv[2]), append=True)
"""


@pytest.mark.parametrize("step", [1, 2, 3])
def test_an_append_killed_at_any_of_its_last_steps_is_done_by_the_next_call(files, tmp_path, step):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    store = prepare(early, tmp_path / "store")
    whole = prepare(dataset, tmp_path / "whole")
    command = [sys.executable, "-c", textwrap.dedent(KILLED), files, store.path,
               Path(__file__).parent, str(step)]  # fmt: skip
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert Store.open(store.path, verify=True).hash == store.hash
    again = prepare(late, store.path, append=True)
    rows = np.arange(len(whole))
    for name, windows in whole.gather_zeroed(rows).items():
        np.testing.assert_array_equal(again.gather_zeroed(rows)[name], windows)
    assert not list(tmp_path.glob(".*"))


def test_work_begun_for_an_append_is_not_gone_on_with_for_another_store(files, tmp_path):
    dataset = open_files(files)
    early, late = (replace(dataset, parts=p) for p in (dataset.parts[:4], dataset.parts[4:]))
    prepare(early, tmp_path / "store")
    bad = files / "s2-1.npy"
    data = bad.read_bytes()
    bad.write_bytes(b"bad")
    with pytest.raises(DataError, match="is damaged"):
        prepare(late, tmp_path / "store", append=True)
    bad.write_bytes(data)
    shutil.rmtree(tmp_path / "store")
    late = replace(late, parts=open_files(files).parts[4:])
    fresh = prepare(late, tmp_path / "store")
    assert bytes_of(fresh) == bytes_of(prepare(late, tmp_path / "again"))


def test_other_options_of_the_reader_are_other_work(files, tmp_path):
    bad = files / "s2-1.npy"
    data = bad.read_bytes()
    bad.write_bytes(b"bad")
    with pytest.raises(DataError, match="is damaged"):
        prepare(open_files(files), tmp_path / "store", options={"margin": "inf"})
    bad.write_bytes(data)
    seen = []
    dataset = open_files(files)
    store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "made"),
                          progress=lambda what, _share: seen.append(what))  # fmt: skip
    assert len(seen) == 6
    assert store.manifest["options"] == {}


# --- plans


def test_a_plan_keeps_the_modalities_that_are_asked_for(files):
    dataset = open_files(files)
    assert plan_for(dataset, "made", only=("ecg",)).modalities == (ECG,)
    assert plan_for(dataset, "made", without=("ecg",)).modalities == (ACC,)
    with pytest.raises(ConfigError, match=r"modality 'eeg' of made: did you mean 'ecg'"):
        plan_for(dataset, "made", only=("eeg",))
    with pytest.raises(ConfigError, match="none is left; keep at least one"):
        plan_for(dataset, "made", without=("acc", "ecg"))
    with pytest.raises(ConfigError, match="dtype 'int61': unknown; did you mean 'int16'"):
        plan_for(dataset, "made", dtype="int61")
    with pytest.raises(ConfigError, match="resample: modality 'acg' is unknown"):
        Plan((ACC, ECG), (), CARD.spec, resample={"acg": 3.0})


def test_resampled_modalities_have_their_new_rate_in_the_store(files, tmp_path):
    store = prepare(open_files(files), tmp_path / "store", resample={"ecg": 25.0})
    assert [m.rate_hz for m in store.modalities] == [50.0, 25.0]
    windows = store.gather_zeroed(np.arange(4))
    assert windows["ecg"].shape == (4, 25, 1)
    assert windows["acc"].shape == (4, 50, 3)


# --- half the disk


def test_float16_is_fine_where_the_signal_dwells():
    warm = (306 + 0.3 * np.sin(np.arange(5000) / 50)).astype(np.float32)
    spiked = (2e-5 * np.sin(np.arange(5000) / 9)).astype(np.float32)
    spiked[7] = 5.0
    values = np.stack([warm, spiked], axis=1)
    packed, (factor, offset) = pack(values, "float16")
    back = packed.astype(np.float32) * factor + offset
    assert np.abs(back - values)[:, 0].max() < 2e-4
    assert np.median(np.abs(back - values)[:, 1]) < 3e-8 * 5


def test_a_store_can_be_pickled_and_read_by_another_process(files, tmp_path):
    store = prepare(open_files(files), tmp_path / "store")
    again = pickle.loads(pickle.dumps(store))  # noqa: S301 - our own
    rows = np.array([3, 0, 7])
    for name, windows in store.gather_zeroed(rows).items():
        np.testing.assert_array_equal(again.gather_zeroed(rows)[name], windows)


def test_rows_may_be_counted_from_the_end_or_masked_but_must_exist(files, tmp_path):
    store = prepare(open_files(files), tmp_path / "store")
    last = store.gather_zeroed(np.array([-1]))["acc"]
    mask = np.zeros(len(store), dtype=np.bool_)
    mask[-1] = True
    np.testing.assert_array_equal(last, store.gather_zeroed(np.array([len(store) - 1]))["acc"])
    np.testing.assert_array_equal(last, store.gather_zeroed(mask)["acc"])
    for wrong in (len(store), -len(store) - 1):
        with pytest.raises(IndexError):
            store.gather_zeroed(np.array([wrong]))


@pytest.mark.parametrize(("dtype", "tolerance"), [("int16", 1 / 65534), ("float16", 1 / 2048)])
def test_packed_samples_come_back_within_the_stated_error(files, tmp_path, dtype, tolerance):
    exact = prepare(open_files(files), tmp_path / "exact")
    packed = prepare(open_files(files), tmp_path / "packed", dtype=dtype)
    rows = np.arange(len(exact))
    for name, windows in exact.gather_zeroed(rows).items():
        got = packed.gather_zeroed(rows)[name]
        span = np.ptp(windows) if dtype == "int16" else np.abs(windows).max()
        np.testing.assert_allclose(got, windows, atol=1.01 * tolerance * span, rtol=0)
        large, small = (
            (s.path / f"segments/00000/signals/{name}.npy").stat().st_size for s in (exact, packed)
        )
        assert small < 0.52 * large
    manifest = json.loads((packed.path / "manifest.json").read_text())
    assert manifest["dtype"] == dtype == read_manifest(packed.path)["dtype"]


def test_packing_bears_tiny_constant_and_empty_channels():
    values = np.stack([np.full(5, 7.5), np.linspace(-1e-6, 1e-6, 5), np.zeros(5)], axis=1)
    for dtype in ("int16", "float16"):
        packed, (factor, offset) = pack(values.astype(np.float32), dtype)
        np.testing.assert_allclose(packed * factor + offset, values, atol=2e-9)
        assert pack(np.zeros((0, 2), np.float32), dtype)[0].shape == (0, 2)


def test_reading_by_memory_map_where_the_system_has_no_pread_gives_the_same(
    files, tmp_path, monkeypatch
):
    store = prepare(open_files(files), tmp_path / "store")
    rows = np.random.default_rng(0).permutation(len(store))
    wanted = store.gather_zeroed(rows)
    monkeypatch.delattr(os, "preadv")
    for name, windows in Store.open(store.path).gather_zeroed(rows).items():
        np.testing.assert_array_equal(windows, wanted[name])


def test_a_file_cut_short_under_an_open_store_is_told_of(files, tmp_path):
    store = prepare(open_files(files), tmp_path / "store")
    path = store.path / "segments/00000/signals/acc.npy"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(FormatError, match=r"acc.npy: was cut short while it was read"):
        store.gather_zeroed(np.arange(len(store)))
