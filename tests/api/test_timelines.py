"""Recordings handed to a run in Python: the same windows as in a store, and a timeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import crossl
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError

from .conftest import recording


@pytest.fixture(scope="module")
def run(trained: Path) -> crossl.Run:
    return crossl.load_run(trained)


@pytest.mark.parametrize("number", [1, 5])  # the second has no ECG
def test_a_recording_is_what_its_windows_in_a_store_are(
    run: crossl.Run, store: Store, number: int
) -> None:
    rows, one = store.subject == f"S{number}", recording(number)
    assert run.predict(one).tolist() == run.predict(store)[rows].tolist()
    for read in (run.predict_proba, run.embed, run.latents):
        np.testing.assert_allclose(read(one), read(store)[rows], atol=1e-5)
    table = run.table(one)
    assert table["subject"].tolist() == [f"S{number}"] * 20
    assert table["predicted"].tolist() == run.predict(one).tolist()


def test_a_timeline_says_when_what_how_sure_and_why_not(run: crossl.Run) -> None:
    one = recording(2)
    values = one.signals["acc"].values.copy()
    values[200:300] = np.nan  # 10 to 15 s
    gap = replace(one, signals={"acc": replace(one.signals["acc"], values=values)},
                  origin_unix_s=1717236000.0, zone="Europe/Madrid")  # fmt: skip
    line = run.timeline(gap)
    assert str(line["start_time"][0]) == "2024-06-01T10:00:00.000"
    assert set(line["zone"].tolist()) == {"Europe/Madrid"}
    (without,) = np.flatnonzero(line["label"] == "")
    assert (line["start_s"][without], line["end_s"][without]) == (10.0, 16.0)
    assert line["reason"][without] == "no sensor that the run knows recorded enough of it"
    assert not line["present_ecg"].any()
    said = np.flatnonzero(line["label"] != "")
    sure = line["probability_rest"][said] + line["probability_run"][said]
    np.testing.assert_allclose(sure, 1, atol=1e-6)
    assert line["label"][said].tolist() == run.predict(gap).tolist()
    assert set(line["truth"].tolist()) == {"", "rest", "run"}
    unsure = run.timeline(gap, abstain=1.0)
    assert set(unsure["label"].tolist()) == {""}
    assert "no label reaches a probability of 1" in unsure["reason"].tolist()


def test_a_recording_that_does_not_fit_is_refused(run: crossl.Run) -> None:
    fast = recording(1).resampled({"acc": 40.0})
    with pytest.raises(ContractError, match="'acc' has 40 Hz; the run was made for 20 Hz"):
        run.predict(fast)
    assert len(run.timeline(fast, resample=["acc"])["label"]) == 20
    with pytest.raises(ConfigError, match="abstain: got 0; a probability"):
        run.timeline(recording(1), abstain=0.0)
    arrays = replace(run, contract={})
    with pytest.raises(ContractError, match="does not say how its windows were cut"):
        arrays.predict(recording(1))
