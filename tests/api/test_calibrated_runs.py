"""A run that calibrates windows by their recording: of stores and streams, not of loose arrays."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossl
from crossl.commands.embed import embed_store
from crossl.commands.evaluate import evaluate_run
from crossl.commands.pretrain import pretrain_run
from crossl.commands.probe import probe_run
from crossl.config import load_config
from crossl.data.calibrated import CalibratedStore, calibrated
from crossl.data.store import Store
from crossl.errors import ContractError, FormatError
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.files import write_signed_json

from .conftest import SETTINGS, recording

KINDS: dict[str, dict[str, Any]] = {"recording": {}, "calibration": {"minutes": 0.2}}


@pytest.fixture(scope="module", params=KINDS)
def trained(
    request: pytest.FixtureRequest, store: Store, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of the command line with its classifier."""
    out = tmp_path_factory.mktemp("runs") / request.param
    settings = {"standardisation.kind": request.param, **SETTINGS}
    settings |= {f"standardisation.{name}": one for name, one in KINDS[request.param].items()}
    config = load_config(overrides=[f"{name}={one}" for name, one in settings.items()])
    pretrain_run(store.path, config, out)
    probe_run(out, store.path, label_fraction=1.0)
    return out


@pytest.fixture(scope="module")
def run(trained: Path) -> crossl.Run:
    return crossl.load_run(trained)


def as_the_model_sees_it(run: crossl.Run, store: Store) -> dict[str, np.ndarray]:
    return calibrated(store, run.calibration).gather_zeroed(np.arange(len(store)))


def test_the_contract_says_how_windows_are_calibrated(run: crossl.Run, store: Store) -> None:
    kept = run.contract["standardisation"]
    assert kept["kind"] == run.config.standardisation.kind
    assert ("transductive" in kept["mean_and_deviation_of"]) is (kept["kind"] == "recording")
    assert kept["minutes"] == (0.2 if kept["kind"] == "calibration" else None)
    assert [len(kept["typical_deviation"][m.name]) for m in run.modalities] == [3, 1]
    assert run.calibration is not None
    assert run.calibration.as_dict() == kept


def test_what_is_usual_is_so_among_training_subjects(run: crossl.Run, store: Store) -> None:
    train = np.isin(store.subject, run.contract["subjects"]["train"])
    seen = calibrated(store, run.config.standardisation.build(), np.flatnonzero(train))
    assert seen.calibration == run.calibration


def test_all_ways_to_read_a_store_give_the_same(
    run: crossl.Run, trained: Path, store: Store, tmp_path: Path
) -> None:
    embed_store(trained, store.path, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz") as file:
        np.testing.assert_allclose(run.embed(store), file["embedding"], atol=1e-5)
        assert run.predict(store.path).tolist() == file["predicted"].tolist()
    seen = as_the_model_sees_it(run, store)
    absent = ~store.present[:, 1]
    told = {name: np.array(one) for name, one in seen.items()}
    told["ecg"][absent] = np.nan
    again = run.embed(crossl.Windows(told, calibrated=True))
    np.testing.assert_array_equal(again, run.embed(store))
    plain = crossl.Run(run.model, load_config())
    assert not np.allclose(plain.embed(store), run.embed(store), atol=1e-3)


def test_its_own_fold_is_scored_and_python_scores_the_same(
    run: crossl.Run, trained: Path, store: Store
) -> None:
    evaluate_run(trained, store.path)
    records = [json.loads(line) for line in (trained / "results.jsonl").read_text().splitlines()]
    told = [
        r["value"]
        for r in records
        if r["metric"] == "macro_f1" and r["present"] == ["acc", "ecg"]
        if r["fold"] is r["subject"] is r["seed"] is None
    ]
    scores = crossl.evaluate_subsets(run, store)
    first = np.flatnonzero((scores["metric"] == "macro_f1") & (scores["missing"] == ""))[0]
    assert scores["value"][first] in [pytest.approx(one) for one in told]


def test_a_stream_is_embedded_as_the_store_is(run: crossl.Run, store: Store) -> None:
    one = recording(0)
    if run.config.standardisation.kind == "recording":
        with pytest.raises(ContractError, match=r"^windower: the model calibrates each window by"):
            run.windower()
        return
    windower = run.windower(max_delay_s=1.0)
    windows = []
    for second in range(40):
        windows += windower.feed({
            name: crossl.Signal(s.values[round(second * s.rate_hz) :][: round(s.rate_hz)],
                                s.rate_hz, float(second))
            for name, s in one.signals.items()
        })  # fmt: skip
    windows += windower.flush()
    rows = np.flatnonzero(store.subject == "S0")
    assert [w.start_s for w in windows] == store.start_s[rows].tolist()
    np.testing.assert_array_equal(run.embed(windower.arrays(windows)), run.embed(store)[rows])


def test_arrays_that_tell_no_recording_are_refused(run: crossl.Run, store: Store) -> None:
    x = store.arrays(np.arange(3))
    for given in (x, dict(x)):
        with pytest.raises(
            ContractError,
            match=r"^windows: the model calibrates each by .* which arrays in memory do not tell; "
            r"give a store, or windows that run.windower\(\) cut of a stream$",
        ):
            run.embed(given)


def test_windows_that_are_calibrated_are_refused_by_a_model_of_plain_signals(
    run: crossl.Run, store: Store
) -> None:
    plain = crossl.Run(run.model, load_config())
    told = calibrated(store, run.calibration).arrays(np.arange(3))
    with pytest.raises(ContractError, match="windows: are calibrated by their recording and the"):
        plain.embed(told)


def test_python_pretrains_and_saves_the_same_run(
    run: crossl.Run, trained: Path, store: Store, tmp_path: Path, settings: dict[str, Any]
) -> None:
    kind = run.config.standardisation.kind
    asked = {**settings, "standardisation": {"kind": kind, **KINDS[kind]}}
    again = crossl.pretrain(crossl.build_model(store, settings=asked), store)
    again = crossl.fit_probe(again, store)
    again.save(tmp_path / "run")
    for name in ("weights.safetensors", "config.yaml", "probe.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (trained / name).read_bytes()
    assert again.contract["standardisation"] == run.contract["standardisation"]
    named = crossl.pretrain(again, store, train=["S0", "S1"], validation=["S2"])
    assert named.contract["standardisation"] == run.contract["standardisation"]


def test_an_untrained_run_and_an_estimator_calibrate_too(
    run: crossl.Run, store: Store, tmp_path: Path, settings: dict[str, Any]
) -> None:
    kind = run.config.standardisation.kind
    asked = {**settings, "standardisation": {"kind": kind, **KINDS[kind]}}
    fresh = crossl.build_model(store, settings=asked)
    fresh.save(tmp_path / "fresh")
    loaded = crossl.load_run(tmp_path / "fresh")
    assert (
        loaded.calibration
        == load_config(
            overrides=[f"standardisation={json.dumps(asked['standardisation'])}"]
        ).standardisation.build()
    )
    fitted = crossl.CroSSL(settings=asked).fit(store)
    np.testing.assert_array_equal(fitted.transform(store), fitted.run_.embed(store))
    assert fitted.contract_["standardisation"]["typical_deviation"].keys() == {"acc", "ecg"}


def test_a_contract_that_tells_other_channels_is_refused(
    run: crossl.Run, trained: Path, tmp_path: Path
) -> None:
    run.save(tmp_path / "run")
    contract = json.loads((tmp_path / "run" / "model.json").read_text())
    del contract["sha256"]
    contract["standardisation"]["typical_deviation"]["acc"] = [1.0]
    write_signed_json(tmp_path / "run" / "model.json", contract)
    with pytest.raises(FormatError, match="standardisation has other channels of 'acc'"):
        crossl.load_run(tmp_path / "run")


def test_the_default_reads_a_store_as_it_is(
    store: Store, tmp_path: Path, settings: dict[str, Any]
) -> None:
    config = load_config(overrides=[f"{name}={one}" for name, one in settings.items()])
    task = FoldTask(store.path, config, tmp_path / "run", 0)
    assert type(FoldRunner(task).store) is Store
    pretrain_run(store.path, config, tmp_path / "run")
    assert "standardisation" not in crossl.load_run(tmp_path / "run").contract
    for kind in KINDS:
        other = load_config(overrides=[f"standardisation.kind={kind}"])
        assert isinstance(
            FoldRunner(FoldTask(store.path, other, tmp_path, 0)).store, CalibratedStore
        )
