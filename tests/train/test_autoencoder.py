"""The plain autoencoder: what it rebuilds, and that absent windows count for nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from crossl.config import RunConfig, load_config
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import AutoencoderMethod, Method
from crossl.methods.autoencoder import WindowDecoder

from .test_rival_methods import learn

MethodOf = Callable[..., Method]


@pytest.fixture
def method(method_of: MethodOf, small: Callable[..., RunConfig]) -> AutoencoderMethod:
    found = method_of(
        small("crossl", "method.kind=autoencoder", "method.width=8", "aggregator.kind=concat")
    )
    assert isinstance(found, AutoencoderMethod)
    return found


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    whole = collate(store, fold.train[:24])
    present = whole.present.clone()
    present[:5, 0] = present[3:7, 1] = False
    return Batch(whole.signals, present)


@pytest.mark.parametrize("samples", [1, 15, 16, 17, 100, 3840])
def test_a_decoder_gives_windows_of_any_length(samples: int) -> None:
    decoder = WindowDecoder(8, samples=samples, channels=3, width=4)
    assert decoder(torch.zeros(2, 8)).shape == (2, samples, 3)


def test_the_loss_is_the_error_of_present_windows(method: AutoencoderMethod, batch: Batch) -> None:
    """Decoders that say 1 of every sample, against windows counted by hand."""
    for decoder in method.decoders:
        last = decoder.up[-1]  # type: ignore[union-attr, index]
        nn.init.zeros_(last.weight)
        nn.init.ones_(last.bias)
    signals = method.views(batch, seed=0)
    errors = [
        float((signals[m.name][row] - 1).square().mean())
        for column, m in enumerate(method.model.modalities)
        for row in range(len(batch.present))
        if batch.present[row, column]
    ]
    terms = method.terms(batch, torch.Generator())
    assert set(terms) == {"reconstruction"}
    np.testing.assert_allclose(terms["reconstruction"].item(), np.mean(errors), rtol=1e-5)


@pytest.mark.parametrize("absent", [5.0, torch.nan])
def test_what_an_absent_modality_holds_changes_nothing(
    method: AutoencoderMethod, batch: Batch, absent: float
) -> None:
    results = []
    for filling in (0.0, absent):
        signals = {
            m.name: torch.where(batch.present[:, i, None, None], batch.signals[m.name], filling)
            for i, m in enumerate(method.model.modalities)
        }
        method.zero_grad()
        loss = method.terms(Batch(signals, batch.present), torch.Generator())["reconstruction"]
        loss.backward()
        results.append([loss.detach(), *[p.grad for p in method.parameters()]])
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)


def test_a_modality_is_rebuilt_from_its_own_latent(method: AutoencoderMethod, batch: Batch) -> None:
    signals = dict(method.views(batch, seed=0))
    before = method.encode(signals, batch.present)["errors"]
    signals["wrist_acc"] = signals["wrist_acc"] + 1
    after = method.encode(signals, batch.present)["errors"]
    torch.testing.assert_close(after[:, 1:], before[:, 1:], rtol=0, atol=0)
    assert (after[5:, 0] != before[5:, 0]).all()


def test_it_learns_to_rebuild(method: AutoencoderMethod, batch: Batch) -> None:
    first, last = learn(method, batch)
    assert last["reconstruction"] < 0.8 * first["reconstruction"]


def test_an_aggregator_that_would_stay_random_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"'autoencoder' needs aggregator\.kind 'concat'"):
        load_config(overrides=["method.kind=autoencoder"])
