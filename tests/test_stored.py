"""Stores and runs that were edited and signed again: one sentence, or they load and work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from crossl.config import build_model, load_config
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import ContractError, CrosslError, DataError
from crossl.evaluate.probe import Probe
from crossl.files import file_sha256, write_signed_json
from crossl.names import check_name
from crossl.run_folder import load_probe, load_run, read_begun, save_probe, save_run

ACC = Modality("acc", ("x", "y"), "m/s^2", 20.0, "wrist")
SMALL = ("encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=16")
OTHERS: tuple[Any, ...] = (
    None, "", "text", "../x", "/etc/passwd", "a\nb", "\ud800", "x" * 500, -1, 0, 10**30, 1e300, 0.5,
    float("nan"), float("inf"), True, [], {}, [None], {"": 1},
)  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store and a run with a probe, as small as they can be."""
    folder = tmp_path_factory.mktemp("whole")

    def recording(subject: str) -> Recording:
        values = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
        labels = [LabelInterval(0, 5, "rest"), LabelInterval(5, 10, "run")]
        return Recording(subject, "a", {"acc": ACC}, {"acc": Signal(values, 20.0)}, labels)

    write_store(map(recording, ("s1", "s2")), folder / "store", modalities=(ACC,),
                classes=("rest", "run"), spec=WindowSpec(2.0, 1.0), dtype="int16",
                about={"dataset": "d", "reader": "r", "title": "t"})  # fmt: skip
    config = load_config(overrides=SMALL)
    model = build_model(config, (ACC,), window_s=2.0, seed=0)
    about = {"dataset": "d", "classes": ["rest", "run"], "store_sha256": "0" * 64, "fold": 0,
             "subjects": {"train": ["s1"], "validation": ["s2"], "test": ["s3"]}}  # fmt: skip
    save_run(folder / "run", model, config, about=about)
    numbers = np.ones((2, 16), dtype=np.float32)
    probe = Probe("aggregator", numbers[0], numbers[0], numbers, numbers[:, 0], np.arange(2), 1.0)
    save_probe(folder / "run", probe, classes=("rest", "run"),
               about={"label_fraction": 0.5, "seed": 0, "windows": 3})  # fmt: skip
    begun = {"sha256": "0" * 64, "command": "c", "started": "s", "began": 1.0}
    (folder / "run" / "experiment.json").write_text(json.dumps(begun))
    return folder


def places(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the way to everything in JSON values; of long lists the first entry."""
    keys = list(values) if isinstance(values, dict) else range(min(1, len(values)))
    for key in keys:
        yield (*path, key)
        if isinstance(values[key], dict | list):
            yield from places(values[key], (*path, key))


def edited(values: dict[str, Any], way: tuple[Any, ...], edit: Callable[[Any, Any], None]) -> Any:
    copy = json.loads(json.dumps(values))
    inner = copy
    for key in way[:-1]:
        inner = inner[key]
    edit(inner, way[-1])
    return copy


def delete(inner: Any, key: Any) -> None:
    del inner[key]


def replacing(other: Any) -> Callable[[Any, Any], None]:
    def replace(inner: Any, key: Any) -> None:
        inner[key] = other

    return replace


def use_store(folder: Path) -> None:
    store = Store.open(folder / "store", verify=True)
    store.gather_zeroed(np.arange(len(store)))
    assert len(store.label) == len(store.subject) == len(store.session) == len(store)


def use_probe(folder: Path) -> None:
    probe, classes = load_probe(folder / "run")
    assert probe.predict(np.zeros((1, 16), dtype=np.float32))[0] in range(len(classes))


USES: dict[str, Callable[[Path], object]] = {
    "store/manifest.json": use_store,
    "run/model.json": lambda folder: load_run(folder / "run"),
    "run/probe.json": use_probe,
    "run/experiment.json": lambda folder: read_begun(folder / "run" / "experiment.json"),
}


def refusal(use: Callable[[], object], what: str) -> str:
    """Return the sentence that something is refused with, or nothing where it works."""
    try:
        use()
    except CrosslError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        pytest.fail(f"{what}: {type(error).__name__}: {error}")
    return ""


@pytest.mark.slow
@pytest.mark.parametrize("name", USES)
def test_whatever_is_edited_and_signed_again_is_refused_in_one_sentence_or_works(
    name: str, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "edited"))
    values, refused = json.loads((folder / name).read_text()), 0
    for way in places(values):
        for edit in (delete, *map(replacing, OTHERS)):
            told = edited(values, way, edit)
            if name.endswith("experiment.json"):
                (folder / name).write_text(json.dumps(told))
            else:
                write_signed_json(folder / name, told)
            sentence = refusal(lambda: USES[name](folder), f"{way}: {told!r:.300}")
            refused += bool(sentence)
            assert "\n" not in sentence, (way, edit)
            assert len(sentence) < 1000
    assert refused > 30


def rewrite_array(folder: Path, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / "store" / "segments" / "00000" / name
    np.save(path, change(np.load(path)), allow_pickle=True)
    manifest = json.loads((folder / "store" / "manifest.json").read_text())
    entry = {"bytes": path.stat().st_size, "sha256": file_sha256(path)}
    manifest["files"][f"segments/00000/{name}"] = entry
    write_signed_json(folder / "store" / "manifest.json", manifest)


def field(name: str, value: float) -> Callable[[Any], Any]:
    def change(rows: Any) -> Any:
        rows[name][0] = value
        return rows

    return change


def first(value: float) -> Callable[[Any], Any]:
    def change(array: Any) -> Any:
        array.flat[0] = value
        return array

    return change


@pytest.mark.parametrize(("name", "change", "told"), [
    ("rows.npy", field("recording", 2), "names a recording that there is not"),
    ("rows.npy", field("recording", -1), "names a recording that there is not"),
    ("rows.npy", field("label", 7), "names a class that there is not"),
    ("rows.npy", field("start_s", np.nan), "holds a time that is not finite"),
    ("rows.npy", lambda a: a["start_s"], "holds float64 of shape"),
    ("offsets.npy", first(10**15), "places a window outside its signal"),
    ("offsets.npy", first(361), "places a window outside its signal"),
    ("offsets.npy", first(-5), "places a window outside its signal"),
    ("offsets.npy", lambda a: a[:-1], "is needed, prepare the store again"),
    ("offsets.npy", lambda a: a.astype(np.int32), "holds int32 of shape"),
    ("offsets.npy", lambda a: a.astype(object), "is not an array"),
    ("signals/acc.npy", lambda a: a[:, :1], "holds int16 of shape"),
    ("signals/acc.npy", np.asfortranarray, "is needed, prepare the store again"),
    ("signals/acc.npy", lambda a: a.astype(np.float32), "holds float32 of shape"),
    ("signals/acc.npy", lambda a: a[:10], "places a window outside its signal"),
    ("scales/acc.npy", first(np.nan), "holds a number that is not finite"),
    ("scales/acc.npy", lambda a: a[:1], "is needed, prepare the store again"),
])  # fmt: skip
def test_arrays_that_do_not_fit_are_refused(
    name: str, change: Callable[[Any], Any], told: str, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "edited"))
    rewrite_array(folder, name, change)
    with pytest.raises(CrosslError, match=told) as error:
        Store.open(folder / "store")
    assert "segments/00000" in str(error.value)


def rewrite_tensor(folder: Path, file: str, name: str, change: Callable[[Any], Any]) -> None:
    path = folder / "run" / file
    tensors = safetensors.numpy.load_file(path)
    tensors[name] = change(tensors[name])
    path.write_bytes(safetensors.numpy.save(tensors))
    signer = folder / "run" / ("model.json" if file.startswith("weights") else "probe.json")
    values = json.loads(signer.read_text())
    if file.startswith("weights"):
        values["files"][file] = file_sha256(path)
    else:
        values["arrays"] = file_sha256(path)
    write_signed_json(signer, values)


@pytest.mark.parametrize(("name", "change", "told"), [
    ("standardiser.std_acc", first(0), "'standardiser.std_acc' is not positive"),
    ("standardiser.std_acc", first(np.nan), "'standardiser.std_acc' is not finite"),
    ("standardiser.mean_acc", first(np.inf), "'standardiser.mean_acc' is not finite"),
    ("standardiser.mean_acc", lambda a: a.astype(np.float64), "has type torch.float64"),
    ("standardiser.mean_acc", lambda a: a[:1], r"has shape \(1,\); the network of config.yaml"),
])  # fmt: skip
def test_weights_that_do_not_fit_are_refused(
    name: str, change: Callable[[Any], Any], told: str, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "edited"))
    rewrite_tensor(folder, "weights.safetensors", name, change)
    with pytest.raises(CrosslError, match=told):
        load_run(folder / "run")


@pytest.mark.parametrize(("name", "change", "told"), [
    ("scale", first(0), "'scale' is not positive"),
    ("weight", first(np.nan), "'weight' holds a number that is not finite"),
    ("weight", lambda a: a[:1], "'weight' has shape"),
    ("bias", lambda a: a.astype(np.int64), "'bias' holds a number that is not finite"),
])  # fmt: skip
def test_a_probe_that_does_not_fit_is_refused(
    name: str, change: Callable[[Any], Any], told: str, whole: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "edited"))
    rewrite_tensor(folder, "probe.safetensors", name, change)
    with pytest.raises(CrosslError, match=told):
        load_probe(folder / "run")


def test_a_network_too_large_for_its_weights_takes_no_memory(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "edited"))
    path = folder / "run" / "config.yaml"
    path.write_text(path.read_text().replace("shared_dim: 16", "shared_dim: 1000000000"))
    values = json.loads((folder / "run" / "model.json").read_text())
    values["files"]["config.yaml"] = file_sha256(path)
    write_signed_json(folder / "run" / "model.json", values)
    with pytest.raises(CrosslError, match=r"needs|no network can be built"):
        load_run(folder / "run")


def test_a_model_of_other_settings_is_refused_when_it_is_saved(tmp_path: Path) -> None:
    model = build_model(load_config(overrides=SMALL), (ACC,), window_s=2.0, seed=0)
    other = load_config(overrides=("encoder.width=16", *SMALL[1:]))
    with pytest.raises(ContractError, match=r"the network of config.yaml needs"):
        save_run(tmp_path / "run", model, other, about={})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00", "\x1b[31m", "\ud800", "x" * 101, 3, None])
def test_a_name_that_nothing_could_show_is_refused_at_every_door(name: Any) -> None:
    with pytest.raises(DataError):
        check_name("class", name)
    with pytest.raises(DataError):
        Modality(name, ("x",), "K", 1.0)
    with pytest.raises(DataError):
        Modality("acc", (name,), "K", 1.0)
    with pytest.raises(DataError):
        Recording(name, "a", {}, {}, [])
