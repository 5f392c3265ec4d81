"""`crossl benchmark` of a study file: several stores, joint tables, mean ranks, one page."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from .conftest import TINY, Crossl

SMALL = [setting for setting in TINY if "label_fractions" not in setting
         and "main_fraction" not in setting]  # fmt: skip


@pytest.fixture(scope="module")
def study(stores: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of two stores, the second calibrated by recording."""
    path = tmp_path_factory.mktemp("study") / "study.yaml"
    path.write_text(yaml.safe_dump({
        "title": "Two studies",
        "data": {
            "one": str(stores()),
            "two": {"store": str(stores("other", prefix="T", louder=3.0)), "family": "motion",
                    "settings": {"standardisation": {"kind": "recording"}}},
        },
        "folds": "0,1",
        "settings": {
            "evaluation": {"methods": ["crossl", "untrained"], "label_fractions": [0.1, 1.0],
                           "label_seeds": [0, 1], "pretraining_seeds": 2},
            "contenders": {"logistic": {"kind": "logistic"}},
        },
    }))  # fmt: skip
    return path


SET = [*SMALL, "evaluation.label_seeds=[0,1]"]


def options(out: Path) -> list[object]:
    """Options of the command that runs the study, or what is left of it."""
    return ["--out", out, "--workers", 1, *(part for one in SET for part in ("--set", one))]


@pytest.fixture(scope="module")
def done(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study, run."""
    from crossl.commands.study import run_study
    from crossl.config.study import load_study
    from crossl.report import study_notes

    out = tmp_path_factory.mktemp("studies") / "out"
    run_study(load_study(study, overrides=SET), out, workers=1, command="crossl benchmark")
    assert "mean rank" in " ".join(study_notes(out))
    return out


def read(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "results.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def test_every_set_is_scored_over_folds_draws_and_seeds(done: Path) -> None:
    for name in ("one", "two"):
        summary = json.loads((done / name / "summary.json").read_text())
        assert summary["pretraining_seeds"] == [0, 1]
        assert summary["folds_run"] == [0, 1]
        assert set(summary["costs"]) == {"crossl", "untrained", "logistic"}
        assert all(cost > 0 for cost in summary["costs"].values())
        rows = read(done / name)
        details = [r for r in rows if r["seed"] is not None and r["label_fraction"] == 0.1]
        units = {m: {(r["budget"], r["fold"], r["model_seed"], r["seed"]) for r in details
                     if r["method"] == m} for m in ("crossl", "logistic")}  # fmt: skip
        assert len(units["crossl"]) == 2 * 2 * 2 * 2
        assert len(units["logistic"]) == 2 * 2 * 2  # nothing in it but draws is random
    config = yaml.safe_load((done / "two" / "fold-1-repeat-1" / "config.yaml").read_text())
    assert config["standardisation"]["kind"] == "recording"
    assert config["seed"] == 1


def test_the_classifier_of_a_fold_is_ready_to_predict(done: Path) -> None:
    for name in ("one", "two"):
        probe = json.loads((done / name / "fold-0" / "probe.json").read_text())
        assert probe["label_fraction"] == 0.1
        assert probe["temperatures"]["modalities"]


def test_tables_say_what_the_records_say(done: Path) -> None:
    rows = read(done / "one")
    wanted = {
        (r["method"], r["budget"], r["label_fraction"]): r["value"] for r in rows
        if r["metric"] == "macro_f1" and r["fold"] is None and len(r["present"]) == 2
    }  # fmt: skip
    with (done / "tables.csv").open() as file:
        cells = [c for c in csv.DictReader(file) if c["data"] == "one" and c["sensors"] == "all"]
    assert len(cells) == len(wanted) == 3 * 2 * 2
    known = {"untrained network": "untrained"}
    for cell in cells:
        name = known.get(cell["method"], cell["method"])
        value = wanted[name, cell["budget"], float(cell["label_fraction"])]
        np.testing.assert_allclose(float(cell["value"]), value, atol=1e-6)
        shown = f"{value:.3f}"
        assert shown in (done / "tables.md").read_text()
    summary = json.loads((done / "one" / "summary.json").read_text())
    tested = {r["subject"] for r in rows if r["subject"] is not None}
    assert (
        f"{len(tested)} of {len(summary['subjects'])} people tested, folds [0, 1] of"
        in (done / "tables.md").read_text()
    )
    assert len(tested) < len(summary["subjects"])
    told = "Each window is calibrated by the whole of its recording (transductive: it must be"
    assert (done / "tables.md").read_text().count(told) == 1  # of the set `two` alone
    tex = (done / "tables.tex").read_text()
    assert tex.count("\\begin{tabular}") == 2
    assert "\\textbf{" in tex


def test_ranks_and_page_hold_both_sets(done: Path) -> None:
    ranks = json.loads((done / "study.json").read_text())["ranks"]
    assert set(ranks) == {f"{b}, {w}" for b in ("strict", "validation")
                          for w in ("all sensors", "one missing")}  # fmt: skip
    for found in ranks.values():
        assert sorted(found["methods"]) == ["crossl", "logistic", "untrained"]
        assert found["sets"] == 2
        np.testing.assert_allclose(sum(found["mean"]), 6)
    page = (done / "study.html").read_text()
    for text in ("Two studies", "critical difference", "one: how few labels", "two: how few",
                 "What a score costs"):  # fmt: skip
        assert text in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_started_again_nothing_is_computed_and_nothing_is_left_to_estimate(
    done: Path, study: Path, crossl: Crossl
) -> None:
    scores = {p: p.stat().st_mtime_ns for p in done.rglob("scores-*.npz")}
    assert crossl("benchmark", study, *options(done)).code == 0
    assert {p: p.stat().st_mtime_ns for p in done.rglob("scores-*.npz")} == scores
    answer = crossl("benchmark", study, *options(done), "--estimate")
    assert answer.code == 0
    assert answer.out == "one:\nnothing is left to compute\ntwo:\nnothing is left to compute\n"


def test_what_is_left_is_estimated_from_what_is_done(
    done: Path, study: Path, crossl: Crossl
) -> None:
    answer = crossl("benchmark", study, *options(done), "--folds", "all", "--estimate")
    assert answer.code == 0, answer.err
    line = next(line for line in answer.out.splitlines() if line.startswith("logistic"))
    assert line.split()[1] == "3"  # of 5 folds 2 are done; it has no second seed
    assert "measured on 2 of its folds" in line
    fresh = crossl("benchmark", study, *options(done.parent / "none"), "--estimate")
    crossl_line = next(li for li in fresh.out.splitlines() if li.startswith("crossl"))
    assert crossl_line.split()[1] == "4"
    assert "a few steps timed" in crossl_line
    assert float(crossl_line.split()[2]) > 0
    assert not (done.parent / "none").exists()


@pytest.mark.parametrize(("change", "told"), [
    ({"data": {}}, "data: names no data set"),
    ({"data": {"a b": "x"}}, "is not a name for a folder"),
    ({"data": {"x": "nowhere"}}, "is not a store"),
    ({"data": {"x": {"stor": "y"}}}, "unknown key 'stor'; did you mean 'store'?"),
    ({"dat": 1}, "unknown key 'dat'; did you mean 'data'?"),
    ({"settings": [1]}, "a mapping is needed"),
])  # fmt: skip
def test_a_broken_study_file_is_refused_in_one_sentence(
    change: dict[str, object], told: str, study: Path, tmp_path: Path, crossl: Crossl
) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(study.read_text()), **change}))
    answer = crossl("benchmark", path, "--out", tmp_path / "out")
    assert answer.code == 2
    assert told in answer.err
    assert not (tmp_path / "out").exists()


def test_settings_beside_a_study_file_are_refused(
    study: Path, tmp_path: Path, crossl: Crossl
) -> None:
    answer = crossl("benchmark", study, "--out", tmp_path / "out", "--recipe", "paper")
    assert answer.code == 2
    assert "write them there" in answer.err


@pytest.mark.parametrize(("change", "told"), [
    ({"data": {"tables.md": "STORE"}}, "data.tables.md: is the name of a file that the study"),
    ({"data": {"one": "STORE", "two": {"store": "STORE", "folds": "0,9"}}},
     "data.two: folds: got '0,9'"),
    ({"data": {"one": "STORE", "two": {"store": "STORE",
                                       "settings": {"evaluation": {"folds": 90}}}}}, "data.two: "),
])  # fmt: skip
def test_what_cannot_be_run_is_refused_before_anything_is_computed(
    change: dict[str, object], told: str, study: Path, stores: Callable[..., Path], tmp_path: Path,
    crossl: Crossl,
) -> None:  # fmt: skip
    path = tmp_path / "broken.yaml"
    text = yaml.safe_dump({**yaml.safe_load(study.read_text()), **change})
    path.write_text(text.replace("STORE", str(stores())))
    answer = crossl("benchmark", path, *options(tmp_path / "out"))
    assert answer.code == 2
    assert told in answer.err
    assert not (tmp_path / "out").exists()


def test_a_study_with_other_settings_in_its_last_set_computes_nothing(
    done: Path, study: Path, crossl: Crossl
) -> None:
    values = yaml.safe_load(study.read_text())
    values["data"]["two"]["settings"] = {"standardisation": {"kind": "training"}}
    values["folds"] = "all"
    path = study.with_name("other.yaml")
    path.write_text(yaml.safe_dump(values))
    answer = crossl("benchmark", path, *options(done))
    assert answer.code == 2
    assert "data.two: " in answer.err
    assert "holds another experiment" in answer.err
    assert not (done / "one" / "fold-2").exists()


def test_keys_with_nothing_behind_them_are_as_good_as_none(
    stores: Callable[..., Path], tmp_path: Path
) -> None:
    from crossl.config.study import load_study

    path = tmp_path / "bare.yaml"
    path.write_text(f"title:\nfolds:\ndata:\n  one: {{store: '{stores()}', family: , folds: }}\n")
    study = load_study(path)
    assert (study.title, study.data[0].family, study.data[0].folds) == ("bare", "", "all")


def test_what_is_kept_set_by_set_is_what_is_kept_at_once(
    done: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from kept import keep  # type: ignore[import-not-found]

    from crossl.experiment.joint import write_joint
    from crossl.report import build_study

    facts = json.loads((done / "study.json").read_text())
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    keep(done, whole, ["one", "two"])
    for name in ("two", "one"):
        alone = tmp_path / name
        shutil.copytree(done / name, alone / name)
        write_joint({name: alone / name}, alone, facts)
        build_study(alone)
        keep(alone, parts, ["one", "two"])
    assert {p.name: p.read_bytes() for p in whole.iterdir()} == {
        p.name: p.read_bytes() for p in parts.iterdir()
    }
    assert len(list(whole.glob("*.jsonl.gz"))) == 2
    assert (
        json.loads((whole / "study.json").read_text())["ranks"]["strict, all sensors"]["sets"] == 2
    )


def test_of_a_study_that_was_cut_off_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from kept import keep

    (tmp_path / "study.json").write_text('{"data": {}}')
    with pytest.raises(SystemExit, match="the study has no tables yet; run it to its end first"):
        keep(tmp_path, tmp_path / "kept")
    assert not (tmp_path / "kept").exists()
