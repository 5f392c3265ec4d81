"""Reading all subsets at once equals reading one embedding after another."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from crossl.nn.aggregators import MlpAggregator, PredictiveAggregator
from crossl.nn.attention import AttentionAggregator, GatedAggregator, TransformerAggregator
from crossl.nn.subsets import ReadsSubsets, read_side_by_side, read_subsets
from crossl.nn.token_transformer import TokenTransformer

MODALITIES, LATENT = 4, 12
CHOICES = torch.tensor([[bool(n >> i & 1) for i in range(MODALITIES)] for n in range(16)])


class Loud(nn.Module):
    """An aggregator that offers no fast way."""

    dim = MODALITIES * LATENT

    def forward(self, latent, keep):
        return (torch.where(keep, latent, 0.0) * keep.sum(dim=(1, 2), keepdim=True)).flatten(1)


KINDS = {
    "mlp": lambda: MlpAggregator(MODALITIES, latent_dim=LATENT, dim=16, hidden=24),
    "predictive": lambda: PredictiveAggregator(MODALITIES, latent_dim=LATENT, shared_dim=20),
    "gated": lambda: GatedAggregator(MODALITIES, latent_dim=LATENT, shared_dim=20),
    "attention": lambda: AttentionAggregator(MODALITIES, latent_dim=LATENT, shared_dim=20),
    "transformer": lambda: TransformerAggregator(
        MODALITIES, latent_dim=LATENT, shared_dim=20, heads=2, layers=3
    ),
    "not completed": lambda: TransformerAggregator(
        MODALITIES, latent_dim=LATENT, shared_dim=20, layers=1, completed=False
    ),
    "tokens": lambda: TokenTransformer(MODALITIES, latent_dim=LATENT, places=3, heads=2),
    "tokens by modality": lambda: TokenTransformer(
        MODALITIES, latent_dim=LATENT, places=3, heads=2, read="modalities"
    ),
    "any other": Loud,
}
kinds = pytest.mark.parametrize("kind", KINDS)


def made(kind, *, seed=0, n=33, rate=0.6):
    torch.manual_seed(seed)
    aggregator = KINDS[kind]()
    for parameter in aggregator.parameters():  # also biases and slopes that begin at 0 or 1
        nn.init.normal_(parameter, std=0.3)
    present = torch.rand(n, MODALITIES) < rate
    latent = torch.randn(n, MODALITIES, LATENT) * present[:, :, None]
    return aggregator, latent, present


def one_by_one(aggregator, latent, present):
    """Embed each subset by itself: (B, S, D)."""
    keeps = [(present & chosen)[:, :, None].expand_as(latent) for chosen in CHOICES]
    return torch.stack([aggregator(latent, keep) for keep in keeps], dim=1)


@kinds
@pytest.mark.parametrize("seed", range(4))
@torch.inference_mode()
def test_embeddings_of_all_subsets_equal_those_of_each(kind, seed):
    aggregator, latent, present = made(kind, seed=seed)
    eye, zero = torch.eye(aggregator.dim), torch.zeros(aggregator.dim)
    got = read_subsets(aggregator, latent, present, CHOICES, eye, zero)
    torch.testing.assert_close(got, one_by_one(aggregator, latent, present), rtol=1e-5, atol=1e-5)


@kinds
@torch.inference_mode()
def test_readings_of_all_subsets_equal_those_of_each_in_float64(kind):
    aggregator, latent, present = made(kind)
    aggregator, latent = aggregator.double(), latent.double()
    weight, bias = torch.randn(7, aggregator.dim).double(), torch.randn(7).double()
    got = read_subsets(aggregator, latent, present, CHOICES, weight, bias)
    wanted = linear(one_by_one(aggregator, latent, present), weight, bias)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@kinds
@torch.inference_mode()
def test_what_an_absent_modality_holds_changes_no_reading(kind):
    aggregator, latent, present = made(kind)
    weight, bias = torch.randn(3, aggregator.dim), torch.randn(3)
    loud = torch.where(present[:, :, None], latent, float("nan"))
    one, two = (read_subsets(aggregator, z, present, CHOICES, weight, bias) for z in (latent, loud))
    torch.testing.assert_close(one, two, rtol=0, atol=0)


@kinds
@torch.inference_mode()
def test_a_window_is_read_the_same_whatever_stands_beside_it(kind):
    aggregator, latent, present = made(kind)
    weight, bias = torch.randn(3, aggregator.dim), torch.randn(3)
    every = read_subsets(aggregator, latent, present, CHOICES, weight, bias)
    alone = read_subsets(aggregator, latent[5:6], present[5:6], CHOICES, weight, bias)
    torch.testing.assert_close(alone[0], every[5], rtol=1e-5, atol=1e-5)


@kinds
@torch.inference_mode()
def test_no_window_gives_no_reading(kind):
    aggregator, latent, present = made(kind, n=0)
    weight, bias = torch.randn(3, aggregator.dim), torch.randn(3)
    got = read_subsets(aggregator, latent, present, CHOICES, weight, bias)
    assert got.shape == (0, len(CHOICES), 3)


def test_all_aggregators_offer_the_fast_way_and_another_need_not():
    offered = {kind: isinstance(make(), ReadsSubsets) for kind, make in KINDS.items()}
    assert offered == {kind: kind != "any other" for kind in KINDS}


@torch.inference_mode()
def test_latents_side_by_side_are_read_with_zeros_where_not_kept():
    _, latent, present = made("any other")
    weight, bias = torch.randn(5, MODALITIES * LATENT), torch.randn(5)
    keep = present[:, None] & CHOICES
    wanted = linear((latent[:, None] * keep[..., None]).flatten(2), weight, bias)
    got = read_side_by_side(latent, keep, weight, bias)
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
