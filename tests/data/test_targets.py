"""Targets: targets of windows beside their label, in stores and in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pytest

from crossl.data.contract import fit_store
from crossl.data.source import ArraySource
from crossl.data.store import Store
from crossl.data.targets import Target, check_values
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import DataError, FormatError
from crossl.files import file_sha256, json_sha256

STAGE = Target("stage", "classes", ("light", "deep", "dream"))
POSTURE = Target("posture", "labels", ("upright", "moving"))
BODY = Target("body", "numbers", ("age", "height"), ("year", "m"))


@dataclass(frozen=True)
class Given:
    """Tells of each window what follows from its number."""

    target: Target
    signals: tuple = ()

    def values(self, windows):
        number = np.arange(len(windows.start_s))
        if self.target.kind == "classes":
            return number % 4 - 1
        if self.target.kind == "labels":
            return np.stack([number % 2, number % 3 - 1], axis=1)
        age = np.where(number == 0, np.nan, 30.0 + number)
        return np.stack([age, 1.0 * number], axis=1)


def write(out, made, targets=(STAGE, POSTURE, BODY), recordings=None):
    return write_store(
        recordings or [made.recording("S1"), made.recording("S2", seed=1)],
        out,
        modalities=[made.acc, made.heart],
        classes=("rest", "walk"),
        spec=WindowSpec(window_s=2.0, stride_s=1.0),
        about={"dataset": "made up", "reader": "none"},
        targets=[Given(target) for target in targets],
    )


@pytest.fixture
def store(tmp_path, made):
    return write(tmp_path / "store", made)


def test_targets_of_every_kind_are_read_back_in_the_order_of_the_rows(store):
    again = Store.open(store.path, verify=True)
    assert [target.name for target in again.targets] == ["label", "stage", "posture", "body"]
    assert again.targets[0] == Target("label", "classes", ("rest", "walk"))
    assert again.targets[1:] == (STAGE, POSTURE, BODY)
    number = np.tile(np.arange(9), 2)
    stage, posture, body = (again.target_values(t.name) for t in again.targets[1:])
    assert (stage.dtype, posture.dtype, body.dtype) == (np.int64, np.int8, np.float32)
    np.testing.assert_array_equal(stage, number % 4 - 1)
    np.testing.assert_array_equal(posture, np.stack([number % 2, number % 3 - 1], axis=1))
    np.testing.assert_array_equal(np.isnan(body), np.stack([number == 0, number < 0], axis=1))
    np.testing.assert_array_equal(body[1:9], [[30 + n, n] for n in range(1, 9)])
    np.testing.assert_array_equal(again.target_values("label"), again.label)


def test_a_stretch_of_values_is_read_alone(store, made):
    view = fit_store(store, [made.acc], window_s=2.0, calibration=None).store
    for one in (store, view):
        for target in store.targets:
            whole = store.target_values(target.name)
            for begin, end in ((0, 0), (3, 11), (9, None), (0, 40), (18, 20)):
                found = one.target_values(target.name, begin, end)
                np.testing.assert_array_equal(found, whole[begin:end])


def test_values_can_be_changed_without_changing_the_store(store):
    store.target_values("body")[:] = 0
    assert store.target_values("body")[1].tolist() == [31.0, 1.0]


def test_a_store_with_labels_alone_is_written_as_before(tmp_path, made):
    plain, none = made.write(tmp_path / "plain"), write(tmp_path / "none", made, targets=())
    assert plain.hash == none.hash
    manifest = json.loads((none.path / "manifest.json").read_text())
    assert manifest["version"] == 2
    assert "targets" not in manifest
    assert [target.name for target in none.targets] == ["label"]


def test_a_store_without_classes_has_no_label_as_target(tmp_path, made):
    one = made.recording(labels=())
    store = write_store([one], tmp_path / "s", modalities=[made.acc], classes=(), about={},
                        spec=WindowSpec(window_s=2.0, stride_s=1.0))  # fmt: skip
    assert store.targets == ()


def test_targets_are_hashed_in_the_manifest_and_altered_ones_refused(store):
    manifest = json.loads((store.path / "manifest.json").read_text())
    assert manifest["version"] == 3
    for target in (STAGE, POSTURE, BODY):
        name = f"segments/00000/targets/{target.name}.npy"
        assert manifest["files"][name]["sha256"] == file_sha256(store.path / name)
    data = bytearray((store.path / name).read_bytes())
    data[-1] ^= 1
    (store.path / name).write_bytes(data)
    with pytest.raises(FormatError, match=r"body.npy: was altered, its hash does not match"):
        Store.open(store.path, verify=True)


@pytest.mark.parametrize(
    ("target", "value", "why"),
    [(STAGE, 3, "holds other values than -1 to 2"), (POSTURE, 2, "holds other values than -1 to 1"),
     (BODY, np.inf, "holds an infinite number")],
)  # fmt: skip
def test_values_out_of_range_are_refused_whoever_vouches_for_them(store, target, value, why):
    name = f"segments/00000/targets/{target.name}.npy"
    values = np.load(store.path / name)
    values.flat[5] = value
    np.save(store.path / name, values)
    manifest = json.loads((store.path / "manifest.json").read_text())
    size = (store.path / name).stat().st_size
    manifest["files"][name] = {"bytes": size, "sha256": file_sha256(store.path / name)}
    manifest["sha256"] = json_sha256(manifest)
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match=f"{name}: {why}"):
        Store.open(store.path)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "label"}, "'label' names the classes of the store"),
        ({"name": "../x"}, "should match pattern"),
        ({"kind": "text"}, "Input should be 'classes', 'labels' or 'numbers'"),
        ({"names": ["a", "a", "b"]}, "names hold a name twice"),
        ({"units": ["m"]}, "classes 'stage' have 1 units"),
        ({"names": []}, "at least 1 item"),
    ],
)
def test_a_manifest_with_impossible_targets_is_refused(store, changes, why):
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest["targets"][0] |= changes
    manifest["sha256"] = json_sha256(manifest)
    (store.path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(FormatError, match=why):
        Store.open(store.path)


def test_an_unknown_target_is_refused_with_those_that_exist(store):
    with pytest.raises(DataError, match=r"target 'stge' is unknown; did you mean 'stage'"):
        store.target_values("stge")


def test_targets_are_unknown_where_a_model_sees_nothing(tmp_path, made):
    both, heart = made.recording("S1"), made.recording("S2", seed=1)
    heart = made.recording("S2", signals={"heart": heart.signals["heart"]})
    store = write(tmp_path / "store", made, recordings=[both, heart])
    view = fit_store(store, [made.acc], window_s=2.0, calibration=None).store
    assert view.targets == store.targets
    for target in store.targets:
        seen, base = view.target_values(target.name), store.target_values(target.name)
        np.testing.assert_array_equal(seen[:9], base[:9])
        np.testing.assert_array_equal(seen[9:], target.unknown(9))
    assert store.target_values("stage")[9:].max() == 2


def test_arrays_carry_targets_like_a_store():
    from crossl.data.recording import Modality

    acc = Modality("acc", ("x",), "m/s^2", 4.0)
    values = {STAGE: [0, -1, 2], BODY: [[30, 1.7], [float("nan"), 1.8], [40, 2]]}
    source = ArraySource({"acc": np.zeros((3, 4, 1))}, modalities=[acc], window_s=1.0,
                         targets=values)  # fmt: skip
    assert source.targets == (STAGE, BODY)
    assert source.target_values("stage").tolist() == [0, -1, 2]
    assert source.target_values("body").dtype == np.float32
    assert np.isnan(source.target_values("body")[1, 0])
    with pytest.raises(DataError, match="arrays: target 'sage' is unknown; did you mean"):
        source.target_values("sage")
    with pytest.raises(DataError, match=r"target 'stage': values have shape \(2,\); classes of 3"):
        ArraySource({"acc": np.zeros((3, 4, 1))}, modalities=[acc], window_s=1.0,
                    targets={STAGE: [0, 1]})  # fmt: skip


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"name": ""}, "target: is empty"),
        ({"name": "a/b"}, "its name is used for a file"),
        ({"kind": "text"}, "kind 'text' is unknown; allowed are 'classes'"),
        ({"names": ()}, "has no numbers; at least one is needed"),
        ({"names": ("a", "a"), "units": ("m", "m")}, "names must be unique, got a, a"),
        ({"units": ()}, "has 0 units; numbers have one each"),
        ({"kind": "labels"}, "has 1 units; numbers have one each, classes and labels have none"),
    ],
)
def test_an_impossible_target_is_refused(given, why):
    values = {"name": "age", "kind": "numbers", "names": ("age",), "units": ("year",)} | given
    with pytest.raises(DataError, match=why):
        Target(**values)


@pytest.mark.parametrize("target", [STAGE, POSTURE, BODY])
def test_a_target_is_built_from_what_it_says_of_itself(target):
    assert Target.from_dict(json.loads(json.dumps(target.as_dict()))) == target


@pytest.mark.parametrize(
    ("target", "values", "why"),
    [
        (STAGE, ["a", "b"], "holds <U1 values; numbers are needed"),
        (STAGE, [0.5, 1], "holds numbers that are not whole"),
        (STAGE, [float("nan"), 1], "holds numbers that are not whole"),
        (STAGE, [3, 1], "holds other values than -1 to 2"),
        (POSTURE, [[0, 1], [2, 0]], "holds other values than -1 to 1"),
        (BODY, [[1e300, 1], [2, 0]], "holds an infinite number"),
        (BODY, [1, 2], r"have shape \(2,\); numbers of 2 windows have shape \(2, 2\)"),
    ],
)
def test_values_that_do_not_fit_are_refused(target, values, why):
    with pytest.raises(DataError, match=why):
        check_values(target, values, 2)
