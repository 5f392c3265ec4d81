"""The store: whole or absent, verified, and no larger than the signals it holds."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from crossl.data.counting import count_windows
from crossl.data.manifest import VERSION_WITH_TARGETS, read_manifest
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, FormatError
from crossl.files import file_sha256, json_sha256, whole_folder

SEGMENT = "segments/00000"
FILES = tuple(
    f"{SEGMENT}/{name}"
    for name in ("rows.npy", "offsets.npy", "signals/acc.npy", "signals/heart.npy")
)


@pytest.fixture
def store(tmp_path, made):
    return made.write(tmp_path / "store")


def forge(path: Path, **changes) -> None:
    """Change a manifest and give it the hash that fits."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest |= changes
    manifest["sha256"] = json_sha256(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_what_was_written_is_read_back(store, made):
    again = Store.open(store.path, verify=True)
    assert again.modalities == (made.acc, made.heart)
    assert again.classes == ("rest", "walk")
    assert again.spec == WindowSpec(window_s=2.0, stride_s=1.0)
    assert again.window_s == 2.0
    assert again.hash == store.hash
    assert len(again) == 18
    assert again.subject.tolist() == ["S1"] * 9 + ["S2"] * 9
    assert set(again.session.tolist()) == {"a"}
    np.testing.assert_array_equal(again.start_s, np.tile(np.arange(9.0), 2))
    # the window from 4 to 6 s is half rest, half walk: 0.5 is below min_label_share
    np.testing.assert_array_equal(again.label, [0, 0, 0, 0, -1, 1, 1, 1, 1] * 2)
    assert again.label.dtype == np.int64
    assert again.present.all()
    signal_of_s2 = made.recording("S2", seed=1).signals["acc"].values
    got = again.gather_zeroed(np.array([12]))["acc"][0]
    np.testing.assert_array_equal(got, signal_of_s2[60:100])


def test_gathered_rows_may_repeat_and_come_in_any_order(store):
    rows = np.array([5, 0, 5, 17])
    windows = store.gather_zeroed(rows)
    for place, row in enumerate(rows):
        for name, alone in store.gather_zeroed(np.array([row])).items():
            np.testing.assert_array_equal(windows[name][place], alone[0])


def test_no_rows_give_empty_arrays(store):
    windows = store.gather_zeroed(np.array([], dtype=np.int64))
    assert windows["acc"].shape == (0, 40, 3)
    assert windows["heart"].shape == (0, 8, 1)


def test_what_is_gathered_can_be_changed_without_changing_the_store(store):
    before = store.gather_zeroed(np.array([0]))["acc"].copy()
    store.gather_zeroed(np.array([0]))["acc"][:] = 7.0
    np.testing.assert_array_equal(store.gather_zeroed(np.array([0]))["acc"], before)


def test_a_modality_that_no_recording_has_is_absent_everywhere(tmp_path, made):
    one = made.recording()
    only_acc = made.recording(signals={"acc": one.signals["acc"]})
    store = made.write(tmp_path / "store", [only_acc])
    np.testing.assert_array_equal(store.present, np.tile([True, False], (9, 1)))
    np.testing.assert_array_equal(store.gather_zeroed(np.arange(9))["heart"], np.zeros((9, 8, 1)))
    assert count_windows(store)["present"] == {"acc": 1.0, "heart": 0.0}


def test_a_signal_that_the_store_does_not_keep_is_left_out(tmp_path, made):
    store = made.write(tmp_path / "store", modalities=[made.heart])
    assert list(store.gather_zeroed(np.arange(2))) == ["heart"]
    assert not (store.path / SEGMENT / "signals/acc.npy").exists()


def test_counting_tells_what_a_store_holds(store):
    assert count_windows(store) == {
        "windows": 18,
        "labelled": 16,
        "classes": {"rest": 8, "walk": 8},
        "subjects": {"S1": 9, "S2": 9},
        "present": {"acc": 1.0, "heart": 1.0},
    }


def test_the_manifest_tells_how_the_store_was_made(store):
    manifest = read_manifest(store.path)
    assert manifest["dataset"] == "made up"
    assert manifest["window"]["stride_s"] == 1.0
    assert manifest["recordings"] == [
        {"subject": subject, "session": "a", "seconds": 10.0, "timing": {}, "notes": [],
         "interpolated": {"acc": 0, "heart": 0}}
        for subject in ("S1", "S2")
    ]  # fmt: skip
    assert sorted(manifest["files"]) == sorted(FILES)
    for name, entry in manifest["files"].items():
        assert entry["bytes"] == (store.path / name).stat().st_size
        assert entry["sha256"] == file_sha256(store.path / name)


def test_the_same_recordings_give_the_same_store(tmp_path, made):
    one, two = (made.write(tmp_path / name) for name in ("one", "two"))
    assert one.hash == two.hash


def test_overlapping_windows_do_not_multiply_the_disk(tmp_path, made):
    recordings = [made.recording(seconds=200.0)]
    sizes = []
    for stride_s in (2.0, 0.1):
        out = tmp_path / f"{stride_s}"
        made.write(out, recordings, spec=WindowSpec(window_s=2.0, stride_s=stride_s))
        sizes.append(sum((out / name).stat().st_size for name in FILES if "signals" in name))
    assert sizes[0] == sizes[1]
    assert sizes[0] < 1.1 * 4 * 200 * (20 * 3 + 4)


def test_plain_numpy_reads_the_signals(store, made):
    array = np.load(store.path / f"{SEGMENT}/signals/acc.npy")
    two = [made.recording("S1"), made.recording("S2", seed=1)]
    np.testing.assert_array_equal(array, np.concatenate([r.signals["acc"].values for r in two]))


# --- refusals when writing


def test_an_existing_folder_is_refused_and_left_alone(tmp_path, made):
    out = tmp_path / "store"
    out.mkdir()
    (out / "mine").write_text("keep")
    with pytest.raises(DataError, match="store: exists already; name a new folder"):
        made.write(out)
    assert (out / "mine").read_text() == "keep"


@pytest.mark.parametrize(("recordings", "message"), [
    ([], "recordings: none was found; at least one is needed"),
    (["short"], "window_s is 2 but the longest recording lasts 1 s; make the window shorter"),
    (["holes"], r"no modality is present in any window at min_coverage 0\.8 and max_gap_s 0\.2"),
])  # fmt: skip
def test_recordings_without_a_window_are_refused(tmp_path, made, recordings, message):
    holes = np.full((200, 3), np.nan, dtype=np.float32)
    holes[::10] = 1.0
    known = {
        "short": made.recording(seconds=1.0),
        "holes": made.recording(signals={"acc": Signal(holes, 20.0)}),
    }
    with pytest.raises(DataError, match=message):
        made.write(tmp_path / "store", [known[name] for name in recordings])
    assert not list(tmp_path.iterdir())


def test_a_modality_named_twice_is_refused(tmp_path, made):
    with pytest.raises(DataError, match="modalities: a name occurs twice, got"):
        made.write(tmp_path / "store", modalities=(made.acc, made.acc))
    assert not list(tmp_path.iterdir())


def test_a_recording_of_another_declaration_is_refused(tmp_path, made):
    twice = Modality("acc", ("x", "y", "z"), "m/s^2", 40.0)
    values = made.recording().signals["acc"].values
    wrong = Recording("S3", "a", {"acc": twice}, {"acc": Signal(values, 40.0)})
    with pytest.raises(DataError, match="S3, session a: signal 'acc' declares rate_hz 40"):
        made.write(tmp_path / "store", [made.recording(), wrong])
    assert not list(tmp_path.iterdir())


# --- whole or absent


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_what_goes_wrong_while_reading_leaves_nothing_behind(tmp_path, made, error):
    def recordings():
        yield made.recording()
        raise error("stop")

    with pytest.raises(error, match="stop"):
        made.write(tmp_path / "deep" / "store", recordings())
    assert not list((tmp_path / "deep").iterdir())


def test_leftovers_of_a_killed_attempt_are_removed(tmp_path, made):
    program = """
        import signal, os, sys
        from pathlib import Path
        from crossl.files import whole_folder
        with whole_folder(Path(sys.argv[1])) as folder:
            (folder / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    out = tmp_path / "store"
    command = [sys.executable, "-c", textwrap.dedent(program), str(out)]
    done = subprocess.run(command, check=False)
    assert done.returncode == -signal.SIGKILL
    leftover = tmp_path / ".store.partial"
    assert (leftover / "half").exists()
    assert not out.exists()
    made.write(out)
    assert not leftover.exists()
    assert not (out / "half").exists()
    Store.open(out, verify=True)


def test_a_half_written_folder_cannot_be_opened(tmp_path, made):
    with whole_folder(tmp_path / "store") as folder:
        np.save(folder / "rows.npy", np.zeros(3))
        with pytest.raises(FormatError, match=r"is not a store, it has no manifest.json"):
            Store.open(folder)


@pytest.fixture
def tiny_disk(tmp_path):
    """Mount a disk of 256 KiB, or skip."""
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if not (mount and umount):
        pytest.skip("no mount command here")
    place = tmp_path / "disk"
    place.mkdir()
    command = [mount, "-t", "tmpfs", "-o", "size=256k", "none", str(place)]
    done = subprocess.run(command, check=False, capture_output=True)
    if done.returncode:
        pytest.skip("mounting a tiny disk needs root")
    yield place
    subprocess.run([umount, str(place)], check=True)


@pytest.mark.parametrize("seconds", [350.0, 650.0, 5000.0])
def test_a_full_disk_leaves_nothing_half_written(tiny_disk, made, seconds):
    # 256 bytes a second: fails at the last buffers, among the signals, and at once
    recordings = (made.recording(f"S{i}", seconds=seconds) for i in range(3))
    with pytest.raises(OSError, match="No space left on device"):
        made.write(tiny_disk / "store", recordings)
    assert not list(tiny_disk.iterdir())


LIMITED = """
    import resource, signal, sys
    import numpy as np
    from pathlib import Path
    from crossl.data.recording import Modality, Recording, Signal
    from crossl.data.write import write_store
    from crossl.data.windows import WindowSpec
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    m = Modality("acc", ("x",), "V", 100.0)
    r = Recording("S1", "a", {"acc": m}, {"acc": Signal(np.ones((50_000, 1), np.float32), 100.0)})
    try:
        write_store([r], Path(sys.argv[1]), modalities=[m], classes=[],
                    spec=WindowSpec(1.0, 1.0), about={})
    except OSError as error:
        print("refused", error.errno)
"""


def test_a_file_size_limit_leaves_nothing_half_written(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(LIMITED), str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("refused"), done.stderr
    assert not list(tmp_path.iterdir())


# --- refusals when opening


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 60, -1])
def test_one_flipped_bit_is_refused(store, name, place):
    data = bytearray((store.path / name).read_bytes())
    data[place] ^= 1
    (store.path / name).write_bytes(data)
    with pytest.raises(FormatError, match=f"{name}: was altered, its hash does not match"):
        Store.open(store.path)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("verify", [None, True, False])
def test_a_truncated_file_is_refused_even_unverified(store, name, verify):
    data = (store.path / name).read_bytes()
    (store.path / name).write_bytes(data[:-1])
    with pytest.raises(FormatError, match=f"{name}: has {len(data) - 1} bytes; the manifest says"):
        Store.open(store.path, verify=verify)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(store, name):
    (store.path / name).unlink()
    with pytest.raises(FormatError, match=f"{name}: is missing; the manifest says"):
        Store.open(store.path)


def test_a_large_store_is_hashed_on_request_only(store, monkeypatch):
    monkeypatch.setattr("crossl.data.manifest.VERIFY_AT_OPEN_BYTES", 10)
    data = bytearray((store.path / SEGMENT / "signals/acc.npy").read_bytes())
    data[-1] ^= 1
    (store.path / SEGMENT / "signals/acc.npy").write_bytes(data)
    assert len(Store.open(store.path)) == 18
    with pytest.raises(FormatError, match="was altered"):
        Store.open(store.path, verify=True)


def test_another_version_is_refused(store):
    forge(store.path, version=VERSION_WITH_TARGETS + 1)
    told = "is a store of version 4; this crossl reads versions 2 and 3"
    with pytest.raises(FormatError, match=told):
        Store.open(store.path)


@pytest.mark.parametrize("text", ["", "{", '{"format": "crossl-sto', "\x00\xff"])
def test_a_manifest_that_is_not_json_is_refused(store, text):
    (store.path / "manifest.json").write_bytes(text.encode("latin1"))
    with pytest.raises(FormatError, match=r"is damaged, not JSON .*; prepare it again"):
        Store.open(store.path)


@pytest.mark.parametrize("text", ["[]", "3", "{}", '{"format": "another"}'])
def test_json_that_is_no_manifest_is_refused(store, text):
    (store.path / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match="does not describe a store, expected format"):
        Store.open(store.path)


def test_an_altered_manifest_is_refused(store):
    file = store.path / "manifest.json"
    file.write_text(file.read_text().replace('"rate_hz": 20.0', '"rate_hz": 25.0'))
    with pytest.raises(FormatError, match=r"manifest.json: was altered, its hash does not match"):
        Store.open(store.path)


def test_a_manifest_spaced_otherwise_is_the_same_manifest(store):
    forge(store.path)
    assert Store.open(store.path).hash == store.hash


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(FormatError, match=r"is not a store, it has no manifest.json; make one by"):
        Store.open(tmp_path)
    with pytest.raises(FormatError, match="is not a store"):
        Store.open(tmp_path / "nowhere")


def lacking_heart(tmp_path, made):
    """Write a store of two people, the second without a heart rate."""
    one, two = made.recording(), made.recording("S2", seed=1)
    return made.write(
        tmp_path / "store", [one, made.recording("S2", signals={"acc": two.signals["acc"]})]
    )


def test_arrays_are_nan_where_a_modality_was_not_recorded(tmp_path, made):
    store = lacking_heart(tmp_path, made)
    rows = np.array([12, 3, 12, 17])
    windows, zeroed = store.arrays(rows), store.gather_zeroed(rows)
    assert windows.shape == (4,)
    assert list(windows) == ["acc", "heart"]
    np.testing.assert_array_equal(windows["acc"], zeroed["acc"])
    np.testing.assert_array_equal(windows["heart"][1], zeroed["heart"][1])
    assert np.isnan(windows["heart"][[0, 2, 3]]).all()
    assert not zeroed["heart"][[0, 2, 3]].any()


def test_arrays_may_be_asked_for_by_a_mask_or_all_at_once(tmp_path, made):
    store = lacking_heart(tmp_path, made)
    everything, chosen = store.arrays(), store.start_s > 5
    assert everything.shape == (18,)
    for name, x in store.arrays(chosen).items():
        np.testing.assert_array_equal(x, everything[name][chosen])
    assert np.isnan(everything["heart"]).sum() == 9 * 8
    with pytest.raises(IndexError):
        store.arrays(np.array([18]))
