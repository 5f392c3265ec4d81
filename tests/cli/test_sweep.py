"""`crossl sweep`: settings tried, judged by validation subjects alone, never tried twice."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.data.store import Store
from crossl.run_folder import load_run

Crossl = Callable[..., Any]
GRID = ("--grid", "schedule.lr=1e-3,5e-2", "--grid", "method.keep_rate=0.3,0.6")


def records(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "sweep.jsonl").read_text().splitlines()]


def test_every_point_is_tried_and_the_best_stands_first(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    out = tmp_path / "sweep"
    done = crossl("sweep", stores("quiet", louder=1.05), "--out", out, *GRID, *settings)
    assert (done.code, done.err) == (0, "")
    found = records(out)
    points = {(r["settings"]["schedule.lr"], r["settings"]["method.keep_rate"]) for r in found}
    assert points == {(lr, keep) for lr in ("1e-3", "5e-2") for keep in ("0.3", "0.6")}
    scores = [record["score"] for record in found]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores)) > 1
    best = load_run(out / found[0]["trial"])
    assert best.config.schedule.lr == float(found[0]["settings"]["schedule.lr"])
    assert best.contract["files"]["weights.safetensors"] == found[0]["weights_sha256"]
    assert found[0]["validation_subjects"] == best.contract["subjects"]["validation"]
    assert f"best: {out / found[0]['trial']}" in done.out
    assert re.search(rf"{found[0]['trial']} +{found[0]['score']:.4f}", done.out)


def test_what_was_tried_is_not_tried_again_and_more_can_be(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    out = tmp_path / "sweep"
    asked = ("sweep", stores(), "--out", out, *settings, "--grid")
    assert crossl(*asked, "schedule.lr=1e-3").code == 0
    first = records(out)
    weights = out / first[0]["trial"] / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    assert crossl(*asked, "schedule.lr=0.001,2e-3").code == 0
    assert weights.stat().st_mtime_ns == before
    assert len(records(out)) == 2
    assert first[0] in records(out)
    # a trial that was killed before it was scored is resumed
    (out / first[0]["trial"] / "trial.json").unlink()
    assert crossl(*asked, "schedule.lr=1e-3").code == 0
    assert records(out) == first
    assert weights.stat().st_mtime_ns == before


def test_test_subjects_change_neither_scores_nor_weights(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    one, other = (stores(name, louder=1.05) for name in ("quiet", "quiet-spoilt"))
    asked = ("--grid", "schedule.lr=2e-3", *settings)
    assert crossl("sweep", one, "--out", tmp_path / "one", *asked).code == 0
    found = records(tmp_path / "one")
    tested = load_run(tmp_path / "one" / found[0]["trial"]).contract["subjects"]["test"]
    store = Store.open(other)
    rows = np.flatnonzero(np.isin(store.subject, tested))
    spoil(other, rows)
    assert crossl("sweep", other, "--out", tmp_path / "other", *asked).code == 0
    spoilt = records(tmp_path / "other")
    assert spoilt[0]["store_sha256"] != found[0]["store_sha256"]
    for key in ("score", "scores", "weights_sha256"):
        assert spoilt[0][key] == found[0][key]


def spoil(path: Path, rows: np.ndarray) -> None:
    """Let windows hold other numbers and other labels, and the manifest vouch for them."""
    from crossl.data.manifest import describe_files
    from crossl.files import json_sha256

    table = np.lib.format.open_memmap(path / "segments/00000/rows.npy", mode="r+")
    table["label"][rows] = 1 - table["label"][rows]
    table.flush()
    offsets = np.load(path / "segments/00000/offsets.npy")[rows]
    for column, (name, samples) in enumerate((("acc", 40), ("ecg", 64))):
        file = path / f"segments/00000/signals/{name}.npy"
        signal = np.lib.format.open_memmap(file, mode="r+")
        for begin in offsets[:, column]:
            signal[begin : begin + samples] = 1000.0
        signal.flush()
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"] = describe_files(path, "segments/00000")
    manifest["sha256"] = json_sha256(manifest)
    (path / "manifest.json").write_text(json.dumps(manifest))


def test_a_trial_that_cannot_go_on_is_told_of_and_stands_last(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    out = tmp_path / "sweep"
    small = ("--set", "schedule.gradient_norm=null", "--set", "schedule.batch_size=8")
    grid = ("--grid", "schedule.lr=1e20,1e-3", *settings, *small)
    done = crossl("sweep", stores(), "--out", out, *grid)
    assert (done.code, done.err) == (0, "")
    good, bad = records(out)
    assert (good["settings"]["schedule.lr"], bad["settings"]["schedule.lr"]) == ("1e-3", "1e20")
    assert bad["score"] is None
    assert "is not finite" in bad["error"]
    assert bad["error"] in done.out


def test_samples_are_drawn_by_the_seed(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str]
) -> None:
    from crossl.commands.sweep import plan_trials
    from crossl.config import load_config

    def draw(seed: int) -> list[str]:
        grid = ["schedule.lr=1e-3,2e-3,3e-3", "method.keep_rate=0.1,0.2,0.3"]
        trials = plan_trials(grid, lambda o: load_config(overrides=o), samples=4, seed=seed)
        return [trial.name for trial in trials]

    assert len(set(draw(0))) == 4
    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--grid", "schedule.lr"), r"--grid: got 'schedule.lr'; allowed is key=value,value"),
        (("--grid", "schedule.lr=1,"), r"--grid: got 'schedule.lr=1,'; allowed"),
        (("--grid", "schedule.rl=1,2"), r"--grid schedule.rl=1: schedule.rl: unknown key; .*'lr'"),
        (("--grid", "evaluation.folds=3,4"), r"--grid evaluation.folds: would make scores that"),
        (("--grid", "seed=1", "--grid", "seed=2"), r"--grid: got keys \['seed', 'seed'\]"),
        (("--grid", "seed=1", "--workers", "2"), r"--workers: got it without --address"),
        (("--grid", "seed=1", "--fold", "9"), r"folds: got '9'; allowed are 0 to 4"),
    ],
)
def test_what_no_sweep_can_be_is_refused_before_anything_is_tried(
    options: Sequence[str], message: str, crossl: Crossl, stores: Callable[..., Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    done = crossl("sweep", stores(), "--out", tmp_path / "sweep", *options)
    assert done.code == 2
    assert re.search(message, done.err)
    assert not list(tmp_path.rglob("model.json"))


def test_without_ray_an_address_is_answered_by_what_to_install(
    crossl: Crossl, stores: Callable[..., Path], trained: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(sys.modules, "ray", None)
    told = (
        "crossl: --address: needs Ray, which is not installed; install it with: "
        'pip install "crossl[ray]"\n'
    )
    grid = ("--grid", "seed=1", "--address", "local")
    done = crossl("sweep", stores(), "--out", tmp_path / "sweep", *grid)
    assert (done.code, done.err) == (2, told)
    where = ("--out", tmp_path / "z.npz", "--address", "local")
    done = crossl("embed", trained, "--store", stores(), *where)
    assert (done.code, done.err) == (2, told)
    assert not (tmp_path / ".z.npz.partial").exists()
    where = ("--out", tmp_path / "results", "--address", "local")
    done = crossl("benchmark", stores(), *where)
    assert (done.code, done.err) == (2, told)
    assert not list(tmp_path.glob("results/fold-*"))
