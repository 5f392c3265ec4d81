"""An exported model is used with numpy and onnxruntime alone; one of version 1 is still read."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crossl.data.arrays import Windows
from crossl.data.recording import Signal
from crossl.errors import ContractError, DataError, FormatError, PackageError
from crossl.runtime import Runtime
from crossl.runtime import runtime as module

pytest.importorskip("onnxruntime")
MODEL = Path(__file__).with_name("version1.onnx")
"""Two sensors, windows of 2 s, rest and run; made by `crossl export` of crossl 0.1.0."""
FOREIGN = ("torch", "pydantic", "polars", "sklearn", "scipy", "yaml", "matplotlib", "onnx")


@pytest.fixture(scope="module")
def runtime():
    return Runtime(MODEL)


def noise(windows=3, loud=1.0):
    rng = np.random.default_rng(windows)
    return {"acc": (3 + loud * rng.normal(size=(windows, 40, 3))).astype(np.float32),
            "ecg": (3 + loud * rng.normal(size=(windows, 64, 1))).astype(np.float32)}  # fmt: skip


def test_it_imports_nothing_but_numpy_and_is_quick():
    code = (
        "import sys, time, numpy, builtins\n"
        "class Absent:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {FOREIGN}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
        "began = time.process_time()\n"
        "from crossl.runtime import Runtime\n"
        "took = time.process_time() - began\n"
        f"runtime = Runtime({str(MODEL)!r})\n"
        "said = runtime({'acc': numpy.ones((2, 40, 3))})\n"
        "list(runtime.windower().feed({}))\n"
        f"print(took, len(said), [name for name in {FOREIGN} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, count, foreign = done.stdout.split(maxsplit=2)
    assert float(took) < 0.2
    assert (count, foreign.strip()) == ("2", "[]")


def test_sensors_may_be_missing_in_every_way_that_a_run_knows(runtime):
    whole = noise()
    only = runtime({"acc": whole["acc"]})
    assert only.present.tolist() == [[True, False]] * 3
    # arrays that need a look at each number, and those that need none, say the same
    slowly = runtime({"acc": whole["acc"].astype(np.float64)})
    assert np.array_equal(slowly.embedding, only.embedding)
    assert np.array_equal(slowly.present, only.present)
    empty = np.full_like(whole["ecg"], np.nan)
    for same in ({"acc": whole["acc"], "ecg": None}, {"ecg": empty, "acc": whole["acc"]}):
        assert np.array_equal(runtime(same).embedding, only.embedding)
    partly = {"acc": whole["acc"], "ecg": np.concatenate([whole["ecg"][:1], empty[1:]])}
    said = runtime(partly)
    assert said.present.tolist() == [[True, True], [True, False], [True, False]]
    # a window does not depend on its neighbours
    np.testing.assert_allclose(said.embedding[1:], only.embedding[1:], atol=1e-5)
    assert not np.array_equal(said.embedding[0], only.embedding[0])


def test_one_window_is_a_batch_of_one(runtime):
    whole = noise(1)
    one = runtime({name: x[0] for name, x in whole.items()})
    assert np.array_equal(one.embedding, runtime(whole).embedding)
    assert len(one) == 1


def test_where_nothing_was_recorded_nothing_is_said(runtime):
    whole = noise(2)
    whole["acc"][1], whole["ecg"][1] = np.nan, np.nan
    said = runtime(whole)
    assert said.label[0] in runtime.names
    assert said.label[1] == ""
    assert np.isnan(said.embedding[1]).all()
    assert np.isnan(said.probabilities[1]).all()
    np.testing.assert_allclose(said.probabilities[0].sum(), 1, rtol=1e-6)


def test_probabilities_are_those_of_the_temperatures_in_the_contract(runtime):
    from crossl.evaluate.confidence import Temperatures

    whole = noise(4, loud=4.0)
    temperatures = Temperatures.from_dict(runtime.contract["temperatures"])
    for windows in (whole, {"acc": whole["acc"]}, {"ecg": whole["ecg"]}):
        said = runtime(windows)
        scaled = said.logits / temperatures.of(said.present)[:, None]
        wanted = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        wanted /= wanted.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(said.probabilities, wanted, rtol=1e-4, atol=1e-6)
        assert (said.label == np.array(runtime.names)[said.logits.argmax(axis=1)]).all()


def test_a_stream_is_cut_by_the_one_windower(runtime):
    rng = np.random.default_rng(0)
    acc = rng.normal(size=(200, 3)).astype(np.float32)
    windower, found = runtime.windower(max_delay_s=1.0), []
    for second in range(10):
        found += windower.feed({"acc": Signal(acc[20 * second :][:20], 20.0, float(second))})
    found += windower.flush()
    assert [one.start_s for one in found] == list(range(9))
    said = runtime(windower.arrays(found))
    whole = runtime({"acc": np.stack([acc[20 * n : 20 * n + 40] for n in range(9)])})
    assert np.array_equal(said.embedding, whole.embedding)


@pytest.mark.parametrize(
    ("windows", "told"),
    [
        ({"acc": np.zeros((1, 41, 3))}, r"array has shape \(1, 41, 3\); allowed is \(n, 40, 3\)"),
        ({"exg": np.zeros((1, 64, 1))}, "modality 'exg' is unknown; did you mean 'ecg'"),
        ({}, "no modality is given"),
        ([1.0], "is not a dict of arrays by modality"),
        ({"acc": np.full((1, 40, 3), np.inf)}, "holds infinite values"),
        ({"acc": np.zeros((2, 40, 3)), "ecg": np.zeros((1, 64, 1))}, "differ in number"),
    ],
)
def test_wrong_windows_are_refused_in_a_sentence(runtime, windows, told):
    with pytest.raises(DataError, match=told):
        runtime(windows)


def test_other_files_are_refused_in_a_sentence(tmp_path, monkeypatch):
    with pytest.raises(FormatError, match="does not exist; make it by `crossl export`"):
        Runtime(tmp_path / "no.onnx")
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(MODEL.read_bytes()[:3000])
    with pytest.raises(FormatError, match="onnxruntime cannot read it"):
        Runtime(broken)
    with pytest.raises(DataError, match="threads: got 0"):
        Runtime(MODEL, threads=0)
    later = MODEL.read_bytes().replace(b'"format": "crossl-export"', b'"format": "crossl-exporT"')
    broken.write_bytes(later)
    with pytest.raises(FormatError, match="is not a model that crossl exported"):
        Runtime(broken)
    monkeypatch.setattr(module, "VERSION", 2)
    with pytest.raises(FormatError, match="is of version 1 of exported models; this crossl reads"):
        Runtime(MODEL)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PackageError, match=r'pip install "crossl\[runtime\]"'):
        Runtime(MODEL)


def test_a_model_of_calibrated_windows_takes_no_others(monkeypatch):
    runtime = Runtime(MODEL)
    with pytest.raises(ContractError, match="the model takes them as recorded"):
        runtime(Windows(noise(), calibrated=True))
    runtime.contract["standardisation"] = {
        "kind": "running", "causal": True, "minutes": None, "by": "recording", "floor": 0.1,
        "typical_deviation": {"acc": [1.0] * 3, "ecg": [1.0]},
        "mean_and_deviation_of": "what its recording holds up to the window's end (causal)",
    }  # fmt: skip
    with pytest.raises(ContractError, match="calibrated by what its recording holds up to"):
        runtime(noise())
    windower = runtime.windower(in_order=True)
    found = windower.feed({"acc": Signal(np.ones((200, 3), np.float32), 20.0)}) + windower.flush()
    assert len(runtime(windower.arrays(found))) == len(found) > 0


def test_a_window_takes_little_time(runtime):
    one = {name: x[:1] for name, x in noise().items()}
    for _ in range(20):
        runtime(one)
    began = time.process_time()
    for _ in range(100):
        runtime(one)
    assert (time.process_time() - began) / 100 < 0.005


CONTEXT = {
    "initial": [0.5, 0.5], "transition": [[0.9, 0.1], [0.2, 0.8]], "prior": [0.6, 0.4],
    "stride_s": 1.0, "restart_s": 300.0, "weight": {"causal": 0.5, "whole": 0.4},
    "forget": {"causal": 0.0, "whole": 0.1}, "helps": {"causal": True, "whole": True},
}  # fmt: skip


def test_windows_are_read_in_context_where_that_was_learned():
    runtime = Runtime(MODEL)
    alone, start_s = runtime(noise(6)), np.arange(6.0)
    with pytest.raises(FormatError, match="model: keeps no transitions between classes"):
        runtime.in_context(alone, start_s)
    runtime.contract["context"] = CONTEXT
    said = runtime.in_context(alone, start_s)
    assert np.array_equal(said.embedding, alone.embedding)
    assert not np.allclose(said.probabilities[1:], alone.probabilities[1:])
    follower = runtime.follower()
    for one, start, wanted in zip(alone.probabilities, start_s, said.probabilities, strict=True):
        assert np.array_equal(follower.next(one, start).astype(np.float32), wanted)
    whole = runtime.in_context(alone, start_s, "whole")
    assert np.allclose(whole.probabilities.sum(axis=1), 1)
    assert set(whole.label) <= set(runtime.names)
