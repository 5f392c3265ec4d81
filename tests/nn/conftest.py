"""Small models of every encoder with every aggregator, and batches with holes."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import pytest
import torch

from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.nn.aggregators import MlpAggregator, PredictiveAggregator
from crossl.nn.attention import AttentionAggregator, GatedAggregator, TransformerAggregator
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.model import CrossModalModel
from crossl.nn.patch_transformer import PatchTransformerEncoder
from crossl.nn.token_transformer import TokenTransformer

MODALITIES = (
    Modality("acc", ("x", "y", "z"), "m/s^2", 25.0, "wrist"),
    Modality("ecg", ("lead",), "V", 50.0, "chest"),
    Modality("skin", ("conductance", "temperature"), "S", 4.0, "wrist"),
)
ENCODERS = {
    "tcn": lambda m, samples: TcnEncoder(len(m.channels), dim=8, dropout=0.3),
    "strided": lambda m, samples: StridedEncoder(len(m.channels), dim=8, width=6),
    "patch_transformer": lambda m, samples: PatchTransformerEncoder(
        len(m.channels), samples, dim=8, places=4, depth=1, heads=2
    ),
    "patch_tokens": lambda m, samples: PatchTransformerEncoder(
        len(m.channels), samples, dim=8, places=4, depth=0, read="tokens"
    ),
}
PATCH_TOKENS = ("patch_tokens", "token_transformer")
AGGREGATORS = {
    "mlp": partial(MlpAggregator, 3, latent_dim=8, dim=16, hidden=32),
    "predictive": partial(PredictiveAggregator, 3, latent_dim=8, shared_dim=6),
    "gated": partial(GatedAggregator, 3, latent_dim=8, shared_dim=6, hidden=4),
    "attention": partial(AttentionAggregator, 3, latent_dim=8, shared_dim=6, heads=2),
    "transformer": partial(TransformerAggregator, 3, latent_dim=8, shared_dim=6, heads=2),
    "token_transformer": partial(
        TokenTransformer, 3, latent_dim=8, places=4, depth=2, heads=1, read="modalities"
    ),
}


def make_model(encoder="strided", aggregator="predictive", *, window_s=2.0, seed=0):
    torch.manual_seed(seed)
    return CrossModalModel(
        MODALITIES,
        window_s=window_s,
        encoder=ENCODERS[encoder],
        aggregator=AGGREGATORS[aggregator](),
        latent_dim=8,
    )


def make_batch(present, *, seed=0):
    """Make windows that hold noise where present and zeros elsewhere."""
    present = torch.as_tensor(present, dtype=torch.bool)
    rng = torch.Generator().manual_seed(seed)
    signals = {}
    for column, modality in enumerate(MODALITIES):
        shape = (len(present), round(2.0 * modality.rate_hz), len(modality.channels))
        noise = torch.randn(shape, generator=rng)
        signals[modality.name] = torch.where(present[:, column, None, None], noise, 0.0)
    return Batch(signals, present)


@pytest.fixture(scope="session")
def made():
    return SimpleNamespace(model=make_model, batch=make_batch, modalities=MODALITIES)


COMMON = [(e, a) for e in ENCODERS for a in AGGREGATORS if not {e, a} & set(PATCH_TOKENS)]


@pytest.fixture(params=[*COMMON, PATCH_TOKENS], ids="-".join)
def any_model(request):
    return make_model(*request.param)
