"""Untrained features beside a pretrained network: in a run, and as a contender."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.config import RunConfig, build_model, dump_config
from crossl.contenders.networks import differs_by_features
from crossl.data.batch import collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.evaluate.latents import HEADS, Head, LatentTable
from crossl.evaluate.probe import fit_probe
from crossl.evaluate.probe_rows import training_rows
from crossl.evaluate.results import ResultBook
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.nn.model import encode_rows
from crossl.run_folder import load_run

FEATURES = "{kernels: 1, width: 4}"
SETTINGS = (
    "evaluation.folds=3", "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
    "evaluation.label_seeds=[0]", "evaluation.methods=[crossl]",
)  # fmt: skip


@pytest.fixture
def table(store: Store, fold: Fold, small: Callable[..., RunConfig]) -> LatentTable:
    """Training windows of a network with random weights and features beside."""
    config = small("crossl", f"features={FEATURES}")
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    model.fit(store, fold.train)
    rows = fold.train
    return LatentTable(
        model.eval(), encode_rows(model, store, rows), torch.from_numpy(store.present[rows]),
        store.label[rows], store.subject[rows],
    )  # fmt: skip


@pytest.mark.parametrize("head", HEADS)
def test_a_probe_weighs_them_and_the_trained_part_alike(head: Head, table: LatentTable) -> None:
    probe = fit_probe(table, table, head=head, strengths=[0.1])
    rows = training_rows(table, head)
    untrained = table.untrained(head)
    assert untrained is not None
    assert untrained.sum() == 3 * 4
    shown = (rows.embedding - probe.mean) / probe.scale
    trained = shown[:, ~untrained].var(axis=0)
    moves = rows.embedding[:, ~untrained].std(axis=0) > 0
    half = len(untrained) / 2
    np.testing.assert_allclose(trained[moves].mean() * (~untrained).sum(), half, rtol=1e-2)
    # with every modality there, the windows that features were fitted on vary by as much
    full = table.take(np.asarray(table.present.all(dim=1)))
    beside = (full.embed(head)[:, untrained] / probe.scale[untrained]).var(axis=0)
    assert beside.sum() == pytest.approx(half, rel=0.25)
    assert len(np.unique(probe.scale[untrained])) == 1


def test_a_probe_reads_all_subsets_in_one_pass_as_it_reads_their_embeddings(
    table: LatentTable,
) -> None:
    probe, choices = fit_probe(table, table, strengths=[0.1]), [(0, 1, 2), (0,), (1, 2)]
    weight, bias = probe.affine()
    read = np.concatenate(list(table.read("aggregator", choices, weight, bias)))
    for place, subset in enumerate(choices):
        wanted = table.embed("aggregator", subset) @ weight.T + bias
        np.testing.assert_allclose(read[:, place], wanted, rtol=1e-3, atol=1e-3)


def test_a_run_with_them_is_kept_and_trains_the_weights_that_it_trains_without(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    config = small("crossl", *SETTINGS, f"features={FEATURES}")
    task = FoldTask(store.path, config, runs / "beside", 0)
    trained = FoldRunner(task).pretrained()
    without = FoldTask(store.path, small("crossl", *SETTINGS), runs / "without", 0)
    bare = FoldRunner(without).pretrained()
    loaded = load_run(task.folder)
    assert loaded.config.features == config.features
    batch = collate(store, np.arange(8))
    with torch.inference_mode():
        wanted = trained(batch)
        torch.testing.assert_close(loaded.model(batch), wanted, rtol=0, atol=0)
        own = wanted[:, : trained.embedding_dim]
        torch.testing.assert_close(bare(batch), own, rtol=0, atol=0)
    assert wanted.shape[1] == trained.whole_dim == bare.embedding_dim + 3 * 4


def test_a_contender_that_differs_by_them_alone_is_not_pretrained_again(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    config = small("crossl", *SETTINGS, f"contenders.beside={{features: {FEATURES}}}")
    task = FoldTask(store.path, config, runs, 0)
    FoldRunner(task).run()
    assert not (task.home("beside") / "weights.safetensors").exists()
    whole = small("crossl", *SETTINGS, f"features={FEATURES}")
    FoldRunner(other := replace(task, config=whole, folder=runs / "whole")).run()
    found = [ResultBook.load(task.scores("beside")), ResultBook.load(other.scores("crossl"))]
    for a, b in zip(*(book.entries for book in found), strict=True):
        np.testing.assert_array_equal(a.confusion, b.confusion)


@pytest.mark.parametrize(
    ("settings", "same"),
    [
        (FEATURES, True),
        ("null", False),
        (f"{FEATURES}, seed: 7", False),
        (f"{FEATURES}, schedule: {{steps: 1}}", False),
    ],
)
def test_whether_it_differs_by_them_alone(
    settings: str, *, same: bool, small: Callable[..., RunConfig]
) -> None:
    config = small("crossl", f"contenders.one={{features: {settings}}}")
    assert differs_by_features(config.contenders["one"].within(config), config) is same


def test_a_config_without_them_is_written_as_before(small: Callable[..., RunConfig]) -> None:
    assert "features" not in dump_config(small("crossl"))
    assert "features" in dump_config(small("crossl", f"features={FEATURES}"))
