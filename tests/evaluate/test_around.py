"""Windows with their neighbours: one pass over windows reads what embedding side by side reads."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from crossl.data.neighbours import Places
from crossl.data.targets import Target
from crossl.errors import DataError
from crossl.evaluate.around import embed_around, with_neighbours
from crossl.evaluate.latents import LatentTable, subsets
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.probe import fit_probe
from crossl.tasks import SequenceConfig

WINDOWS, M, K = 120, 2, 3
TASK = SequenceConfig(context=1).build(Target("label", "classes", ("wake", "sleep")))


def night(recording: np.ndarray, step: np.ndarray) -> Any:
    """A store's table, as far as neighbours ask for it."""

    class Windows(SimpleNamespace):
        def __len__(self) -> int:
            return len(recording)

    return Windows(places=Places.of(recording, step.astype(float), 1.0))


def tables(seed: int) -> tuple[LatentTable, Any]:
    """Three recordings; what the class is shows in the latents of the window before only."""
    rng = np.random.default_rng(seed)
    recording = np.repeat([0, 1, 2], WINDOWS // 3)
    step = np.concatenate([np.arange(WINDOWS // 3)] * 3)
    step[50:80] += 2  # a gap in the second one
    label = rng.integers(0, 2, WINDOWS)
    latent = rng.normal(scale=0.3, size=(WINDOWS, M, K)).astype(np.float32)
    latent[:-1, :, 0] += 2.0 * label[1:, None]
    present = rng.random((WINDOWS, M)) < 0.9
    present[~present.any(axis=1)] = True
    store = night(recording, step)
    rows = np.arange(WINDOWS)
    plain = LatentTable(None, torch.from_numpy(latent), torch.from_numpy(present), label,
                        np.array(["A"] * WINDOWS), TASK)  # fmt: skip
    return with_neighbours(plain, store, rows), store


def test_neighbours_end_where_a_recording_ends_and_at_gaps() -> None:
    table, _ = tables(0)
    assert table.around is not None
    assert table.around[[0, 40, 80], 0].tolist() == [-1, -1, -1]  # nobody is before the first
    assert table.around[[39, 79, 119], 2].tolist() == [-1, -1, -1]
    assert table.around[49, 2] == -1
    assert table.around[50, 0] == -1
    assert table.around[10].tolist() == [9, 10, 11]
    np.testing.assert_array_equal(table.take(np.array([10, 5])).around, [[9, 10, 11], [4, 5, 6]])


def test_context_tells_what_the_window_itself_does_not() -> None:
    train, validation, test = (tables(seed)[0] for seed in range(3))
    probe = fit_probe(train, validation, head="encoders")
    assert probe.weight.shape == (3 * 2, M * K)
    (found,) = predict_subsets([probe], test, [(0, 1)])
    assert test.around is not None
    known = test.around[:, 0] >= 0
    assert (found[0, 1] == test.label)[known].mean() > 0.95
    alone = replace(TASK, offsets=(0,))
    without = [replace(t, task=alone, around=None, pool=None) for t in (train, validation, test)]
    (guessed,) = predict_subsets([fit_probe(*without[:2], head="encoders")], without[2], [(0, 1)])
    assert (guessed[0, 1] == test.label).mean() < 0.7


def test_one_pass_reads_what_windows_side_by_side_read_under_every_subset() -> None:
    train, validation, test = (tables(seed)[0] for seed in range(3))
    probe = fit_probe(train, validation, head="encoders", strengths=[1.0])
    choices = subsets(M)
    (found,) = predict_subsets([probe], test, choices)
    weight, bias = probe.affine()
    for choice in choices:
        allowed = torch.zeros(WINDOWS, M, dtype=torch.bool)
        allowed[:, list(choice)] = True
        beside = embed_around(test, "encoders", allowed)
        total = np.zeros((WINDOWS, 2))
        for place in range(3):
            part = slice(2 * place, 2 * place + 2)
            one = beside[:, place] @ weight[part].T + bias[part]
            total += np.nan_to_num(one)
        usable = test.usable(choice)
        np.testing.assert_array_equal(found[choice][usable], total.argmax(axis=1)[usable])


def test_some_windows_of_a_table_are_read_as_they_are_read_among_all() -> None:
    train, validation, test = (tables(seed)[0] for seed in range(3))
    probe = fit_probe(train, validation, head="encoders", strengths=[1.0])
    rows = np.array([0, 9, 10, 49, 50, 119])
    (every,), (some,) = (predict_subsets([probe], t, [(0,)]) for t in (test, test.take(rows)))
    np.testing.assert_array_equal(some[(0,)], every[(0,)][rows])


def test_past_only_reads_no_later_window() -> None:
    settings = SequenceConfig(context=2, past_only=True)
    assert settings.build(TASK.target).offsets == (-2, -1, 0)


def test_a_table_that_does_not_know_its_neighbours_is_refused() -> None:
    table = replace(tables(0)[0], around=None, pool=None)
    with pytest.raises(DataError, match="windows: do not know their neighbours"):
        fit_probe(table, table, head="encoders")
