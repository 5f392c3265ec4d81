"""People without a device that the run was trained with: embed, probe and evaluate take them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossl.data.batch import collate
from crossl.data.store import Store
from crossl.run_folder import load_run
from tests.cli.conftest import ACC, ECG, make_store

Crossl = Callable[..., Any]
Stores = Callable[..., Path]


def others(path: Path, **options: Any) -> Path:
    """Write a store of people of other names."""
    return make_store(path, prefix="new", **options)


def embedded(crossl: Crossl, run: Path, store: Path, out: Path) -> tuple[dict[str, Any], Any]:
    done = crossl("embed", run, "--store", store, "--out", out)
    assert done.code == 0, done.err
    with np.load(out) as z:
        return dict(z), done


def test_a_store_without_a_device_is_embedded_as_if_it_were_absent(
    crossl: Crossl, trained: Path, stores: Stores, tmp_path: Path
) -> None:
    z, done = embedded(crossl, trained, stores("without", modalities=(ACC,)), tmp_path / "z.npz")
    assert "without has no ecg: absent in every window" in done.err
    model, full = load_run(trained).model, Store.open(stores())
    batch = collate(full, np.arange(len(full)))
    batch = replace(batch, present=batch.present & torch.tensor([True, False]))
    np.testing.assert_allclose(z["embedding"], model(batch).detach().numpy(), atol=1e-5)
    assert z["modalities"].tolist() == ["acc", "ecg"]
    assert z["present"].all(axis=0).tolist() == [True, False]
    assert not z["present"][:, 1].any()


def test_labels_and_dates_stand_beside_embeddings(
    crossl: Crossl, trained: Path, stores: Stores, tmp_path: Path
) -> None:
    z, _ = embedded(crossl, trained, stores(), tmp_path / "z.npz")
    store = Store.open(stores())
    assert z["label"].tolist() == [store.classes[i] if i >= 0 else "" for i in store.label]
    assert np.isnan(z["start_unix_s"]).all()
    assert np.isnat(z["start_time"]).all()
    assert set(z["zone"]) == {""}


def test_another_order_and_more_devices_change_no_embedding(
    crossl: Crossl, trained: Path, stores: Stores, tmp_path: Path
) -> None:
    wanted, _ = embedded(crossl, trained, stores(), tmp_path / "z.npz")
    more = stores("more", modalities=(ACC, ECG, replace(ECG, name="eeg")))
    found, done = embedded(crossl, trained, more, tmp_path / "more.npz")
    assert "eeg was not in training and was left out" in done.err
    np.testing.assert_allclose(found["embedding"][:20], wanted["embedding"][:20], atol=1e-5)
    turned, done = embedded(crossl, trained, stores("turned", modalities=(ECG, ACC)),
                            tmp_path / "turned.npz")  # fmt: skip
    assert turned["modalities"].tolist() == ["acc", "ecg"]
    assert not done.err


def test_a_window_with_nothing_that_the_run_knows_has_no_embedding(
    crossl: Crossl, trained: Path, stores: Stores, tmp_path: Path
) -> None:
    eeg = replace(ECG, name="eeg")
    store = stores("mixed", modalities=(ACC, eeg), lacking="acc")
    z, done = embedded(crossl, trained, store, tmp_path / "z.npz")
    nothing = ~z["present"].any(axis=1)
    assert nothing.sum() == 20
    assert np.isnan(z["embedding"][nothing]).all()
    assert np.isnan(z["probability"][nothing]).all()
    assert set(z["predicted"][nothing]) == {""}
    assert np.isfinite(z["embedding"][~nothing]).all()
    assert "20 of 120 windows have nothing that the run knows" in done.err


def test_people_of_another_store_are_scored_with_what_they_have(
    crossl: Crossl, run: Path, tmp_path: Path
) -> None:
    done = crossl("evaluate", run, "--store", others(tmp_path / "new", modalities=(ACC,)))
    assert done.code == 0, done.err
    assert "scored on 6 people that nothing was learned from: new0, new1" in done.err
    assert "new has no ecg: absent in every window" in done.err
    lines = done.out.splitlines()
    assert lines[0].split() == ["sensors", "people", "windows", "macro-F1", "95%", "interval"]
    assert lines[2].split()[:3] == ["acc", "6", "120"]
    (folder,) = (run / "elsewhere").iterdir()
    facts = json.loads((folder / "summary.json").read_text())
    assert facts["people"] == [f"new{i}" for i in range(6)]
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert {tuple(record["present"]) for record in records} == {("acc",)}
    done = crossl("report", folder)
    assert done.code == 2
    assert "holds scores on another store, which have no page; `crossl evaluate" in done.err
    assert not (folder / "report.html").exists()


def test_scores_elsewhere_with_a_sensor_missing_are_of_who_has_it(
    crossl: Crossl, run: Path, tmp_path: Path
) -> None:
    done = crossl("evaluate", run, "--store", others(tmp_path / "new", lacking="acc"))
    assert done.code == 0, done.err
    head, _, *rows = [line.split() for line in done.out.splitlines()[:5]]
    assert head[-4:] == ["the", "same", "with", "all"]
    people = {" ".join(row[:-6]): (row[-6], row[-5]) for row in rows}
    assert people == {"acc, ecg": ("6", "120"), "acc": ("5", "100"), "ecg": ("5", "100")}
    (folder,) = (run / "elsewhere").iterdir()
    records = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    pooled = {(tuple(r["present"]), r["metric"]): r for r in records if r["fold"] is None}
    assert pooled[("ecg",), "macro_f1_with_all"]["n"] == 5
    assert [r["present"] for r in records if r["metric"] == "macro_f1_kept"] == [["acc"], ["ecg"]]


def test_who_was_learned_from_is_not_scored(crossl: Crossl, run: Path, stores: Stores) -> None:
    contract = json.loads((run / "model.json").read_text())["subjects"]
    learned = sorted([*contract["train"], *contract["validation"]])
    done = crossl("evaluate", run, "--store", stores("seven", subjects=7))
    assert done.code == 0, done.err
    assert f"{', '.join(learned)} left out: people of these names were learned from" in done.err
    new = sorted({f"S{i}" for i in range(7)} - set(learned))
    assert (
        f"scored on {len(new)} people that nothing was learned from: {', '.join(new)}" in done.err
    )
    done = crossl("evaluate", run, "--store", stores("seven"), "--same-names")
    assert "scored on 7 people" in done.err


def test_a_store_of_nobody_new_is_refused(crossl: Crossl, run: Path, tmp_path: Path) -> None:
    contract = json.loads((run / "model.json").read_text())["subjects"]
    few = make_store(tmp_path / "few", subjects=6, modalities=(ACC,), only=contract["train"])
    done = crossl("evaluate", run, "--store", few)
    assert done.code == 2
    assert "the run was trained on people of all its names" in done.err
    assert not (run / "elsewhere").exists()


def test_a_run_is_probed_elsewhere_and_evaluated_there(
    crossl: Crossl, run: Path, tmp_path: Path, stores: Stores
) -> None:
    other = others(tmp_path / "other", modalities=(ACC,))
    asked = ("--store", other, "--label-fraction", 0.5)
    done = crossl("probe", run, *asked)
    assert done.code == 2
    assert "say --pretrained-elsewhere" in done.err
    done = crossl("probe", run, *asked, "--pretrained-elsewhere", "--fold", 1)
    assert done.code == 0, done.err
    assert "other has no ecg" in done.err
    kept = json.loads((run / "probe.json").read_text())
    assert kept["store_sha256"] == Store.open(other).hash
    assert kept["fold"] == 1
    done = crossl("evaluate", run, "--store", other)
    assert f"scored on {len(kept['subjects']['test'])} people" in done.err
    done = crossl("evaluate", run, "--store", stores())
    assert done.code == 2
    assert "its classifier is of another store (tiny); evaluate it there" in done.err


def test_a_fold_that_tests_who_trained_the_run_is_refused(
    crossl: Crossl, run: Path, stores: Stores
) -> None:
    asked = ("--store", stores("acc_only", modalities=(ACC,)), "--label-fraction", 0.5,
             "--pretrained-elsewhere")  # fmt: skip
    told = [crossl("probe", run, *asked, "--fold", n) for n in range(2)]
    refused = [done for done in told if done.code == 2]
    assert refused
    assert "the run was trained on people of these names; choose another --fold" in refused[0].err
    assert crossl("probe", run, *asked, "--fold", 1, "--same-names").code == 0


@pytest.mark.parametrize(("more", "message"), [
    (("--pretrained-elsewhere",), "is the store that .* was trained on; leave out"),
    (("--fold", "1"), "a run has its fold"),
])  # fmt: skip
def test_its_own_store_is_not_elsewhere(
    more: tuple[str, ...], message: str, crossl: Crossl, run: Path, stores: Stores
) -> None:
    import re

    done = crossl("probe", run, "--store", stores(), *more)
    assert done.code == 2
    assert re.search(message, done.err)


def test_classes_that_the_classifier_does_not_know_are_told(
    crossl: Crossl, run: Path, tmp_path: Path
) -> None:
    store = others(tmp_path / "new", classes=("swim", "run"))
    done = crossl("evaluate", run, "--store", store)
    assert done.code == 0, done.err
    assert "class swim is unknown to the classifier: 60 windows left out" in done.err
