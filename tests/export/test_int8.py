"""Integers of 8 bits, where they cost little."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from crossl.api.run import load_run as in_python
from crossl.commands.export import Wanted, export_run
from crossl.data.splits import fold_from_subjects
from crossl.errors import ConfigError, CrosslError
from crossl.export.graph import ExportedGraph
from crossl.export.int8 import Scores, calibration_feeds, check_drop, spread
from crossl.files import read_json, write_signed_json
from crossl.run_folder import load_run
from crossl.runtime import Runtime

pytest.importorskip("onnx")


def test_the_worse_of_both_scores_counts():
    scores = Scores("macro-F1", False, (0.9, 0.895), (0.8, 0.77), 100, 3)
    assert scores.drop == pytest.approx(0.03)
    check_drop(scores, 0.031)
    told = (
        r"--int8: macro-F1 of 3 validation subjects goes from 0\.800 to 0\.770, by more than 0\.01"
    )
    with pytest.raises(CrosslError, match=told):
        check_drop(scores, 0.01)
    assert Scores("MAE", True, (2.0, 2.1), (3.0, 3.0), 9, 2).drop == pytest.approx(0.05)


@pytest.mark.parametrize("pair", [(float("nan"), 0.9), (0.9, float("nan"))])
def test_a_score_that_is_no_number_opens_no_gate(pair):
    for scores in ((pair, (0.9, 0.9)), ((0.9, 0.9), pair)):
        with pytest.raises(CrosslError, match=r"--int8: macro-F1 of 3 .* cannot be computed"):
            check_drop(Scores("macro-F1", False, *scores, 100, 3), 0.01)


def test_only_windows_of_training_subjects_tell_how_large_numbers_are(published, store):
    run = load_run(published)
    graph = ExportedGraph(run.model, None, (0, 1))
    fold = fold_from_subjects(store.subject, **run.contract["subjects"])
    feeds = list(calibration_feeds(graph, store, fold))
    rows = spread(fold.train, 512)
    seen = np.concatenate([feed["acc"] for feed in feeds])
    assert np.array_equal(seen, store.gather_zeroed(rows)["acc"])
    present = np.concatenate([feed["present"] for feed in feeds])
    assert {tuple(row) for row in present.tolist()} >= {(True, True), (True, False), (False, True)}
    assert not (present & ~store.present[rows]).any()


def test_it_needs_a_classifier_and_the_own_store(published, tmp_path):
    run = shutil.copytree(published, tmp_path / "run")
    with pytest.raises(ConfigError, match="--int8: needs the store that the run was trained on"):
        export_run(run, tmp_path / "m.onnx", wanted=Wanted(int8=True))
    (run / "probe.json").unlink()
    with pytest.raises(ConfigError, match="--int8: the run has no classifier"):
        export_run(run, tmp_path / "m.onnx", wanted=Wanted(int8=True))
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


def test_one_validation_subject_decides_with_a_warning():
    alone = Scores("macro-F1", False, (0.9, 0.9), (0.8, 0.8), 34, 1)
    check_drop(alone, 0.01)
    assert alone.warning.startswith("34 windows of one validation subject decided")
    assert Scores("macro-F1", False, (0.9, 0.9), (0.8, 0.8), 34, 2).warning == ""


@pytest.mark.parametrize("part", ["train", "validation"])
def test_without_people_it_is_refused_before_anything_is_computed(published, store, tmp_path, part):
    run = shutil.copytree(published, tmp_path / "run")
    contract = read_json(run / "model.json", cure="")
    contract["subjects"][part] = []
    write_signed_json(run / "model.json", contract)
    with pytest.raises(ConfigError, match=r"the run has no \w+ subject in this store.* needed are"):
        export_run(run, tmp_path / "m.onnx", wanted=Wanted(int8=True, store=store.path))
    assert [one.name for one in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_a_small_model_of_the_default_recipe_says_nearly_the_same(
    exported_default, default_run, store
):
    found, out = exported_default, exported_default.files[0]
    assert [one.name for one in found.variants] == ["float32", "int8"]
    # what was compared is the model before that
    assert max(found.contract["parity"]["largest_difference"].values()) < 1e-4
    told = read_json(default_run / "probe.json", cure="")
    facts = found.contract["int8"]
    assert facts["validation"]["people"] == 1
    many = f"{facts['validation']['windows']} windows of"
    assert facts["warning"].startswith(f"{many} one validation subject decided")
    beside = found.files[1].read_text()
    assert f"{many} 1 validation subject went from" in beside
    assert "It may cost other people more." in beside
    assert facts["operators"] == ["Conv", "MatMul", "Gemm"]
    assert found.contract["names"] == told["classes"]
    import onnx

    model = onnx.load(out)
    used = {node.op_type for node in model.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= used
    whole = {name: np.asarray(x)[:40] for name, x in store.arrays().items()}
    small, run = Runtime(out), in_python(default_run)
    off = small(whole).embedding - run.embed(whole)
    assert np.abs(off).max() < 0.2 * np.abs(run.embed(whole)).max()
    for told in (whole, {"acc": whole["acc"]}):
        assert (small(told).label == run.predict(told)).mean() > 0.8
