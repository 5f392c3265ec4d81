"""Rows in fewer columns: the same ridge regression, and why it may be so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.preprocessing import StandardScaler

from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import fit_strengths
from crossl.evaluate.probe_rows import ProbeRows, training_rows
from crossl.evaluate.rotated import Parts, rotated


def parts_of(windows: int, width: int, seed: int = 0) -> Parts:
    rng = np.random.default_rng(seed)
    latent = torch.from_numpy(rng.normal(3, 2, (windows, 3, width)).astype(np.float32))
    latent[:, 1, 0] = 5  # does not vary, but for being absent
    latent[:, 2, 2:] = 0  # a modality with fewer features
    window = np.repeat(np.arange(windows), 4)
    shown = rng.random((len(window), 3)) < 0.6
    shown[:, 0] |= ~shown.any(axis=1)
    return Parts(latent, window, shown)


def laid_out(parts: Parts) -> np.ndarray:
    latent = parts.latent[torch.from_numpy(parts.window)]
    return np.asarray(torch.where(torch.from_numpy(parts.shown)[:, :, None], latent, 0).flatten(1))


@pytest.mark.parametrize("windows", [5, 40])
def test_products_of_rows_are_those_of_standardised_rows(windows: int) -> None:
    parts = parts_of(windows, 16)
    found, scaler = rotated(parts), StandardScaler()
    wanted = scaler.fit_transform(laid_out(parts).astype(np.float64))
    np.testing.assert_allclose(found.x @ found.x.T, wanted @ wanted.T, atol=1e-9)
    np.testing.assert_allclose(found.mean, scaler.mean_, atol=1e-12)
    np.testing.assert_allclose(found.scale, scaler.scale_, rtol=1e-12)
    assert found.x.shape[1] == (3 * 6 if windows == 5 else 3 * 16)
    weight = np.random.default_rng(1).normal(size=(2, found.x.shape[1]))
    np.testing.assert_allclose(wanted @ found.turned_back(weight).T, found.x @ weight.T, atol=1e-9)


@pytest.mark.parametrize("windows", [9, 60])
def test_ridge_finds_the_same(windows: int) -> None:
    parts = parts_of(windows, 24)
    rng = np.random.default_rng(2)
    label, weight = rng.integers(0, 3, len(parts.window)), rng.uniform(0.5, 2, len(parts.window))
    plain = ProbeRows(laid_out(parts), label, weight)
    strengths = [1e-3, 1.0, 10.0]
    for one, other in zip(
        *(fit_strengths(rows, "encoders", strengths, fit=lambda task: task.fit_ridge)
          for rows in (plain, replace(plain, parts=parts))),
        strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(one.weight, other.weight, atol=2e-5)
        np.testing.assert_allclose(one.scores(plain.embedding), other.scores(plain.embedding),
                                   atol=1e-5)  # fmt: skip


def test_what_lies_in_an_absent_modality_does_not_matter() -> None:
    parts = parts_of(6, 8)
    parts = replace(parts, shown=np.where(parts.window[:, None] == 2, [True, False, True],
                                          parts.shown))  # fmt: skip
    spoilt = parts.latent.clone()
    spoilt[2, 1] = torch.nan
    one, other = rotated(parts), rotated(replace(parts, latent=spoilt))
    np.testing.assert_array_equal(one.x, other.x)


def test_rows_of_a_table_say_what_they_are_made_of() -> None:
    parts = parts_of(12, 8)
    present = torch.ones(12, 3, dtype=torch.bool)
    present[3, 1] = False
    table = LatentTable(None, parts.latent, present, np.arange(12) % 2, np.array(["a"] * 12))  # type: ignore[arg-type]
    rows = training_rows(table.take(np.array([1, 3, 5, 7])), "encoders", max_rows=20)
    assert rows.parts is not None
    np.testing.assert_array_equal(laid_out(rows.parts), rows.embedding)
    assert len(rows.parts.latent) == 4
