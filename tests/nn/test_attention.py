"""Aggregators of modality tokens: against torch's own attention, and deaf to what is not kept."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from crossl.nn.attachment import plain_ways
from crossl.nn.attention import (
    AttentionAggregator,
    GatedAggregator,
    SubsetBlock,
    TransformerAggregator,
    weights_of,
)

M, K, S = 4, 6, 8
KINDS = {
    "gated": lambda **more: GatedAggregator(M, latent_dim=K, shared_dim=S, hidden=5, **more),
    "attention": lambda **more: AttentionAggregator(M, latent_dim=K, shared_dim=S, heads=2, **more),
    "transformer": lambda **more: TransformerAggregator(
        M, latent_dim=K, shared_dim=S, heads=2, **more
    ),
}
kinds = pytest.mark.parametrize("kind", KINDS)


def made(kind, **more):
    torch.manual_seed(0)
    aggregator = KINDS[kind](**more).double()
    for parameter in aggregator.parameters():
        nn.init.normal_(parameter, std=0.4)
    return aggregator


def given(rows=9, seed=1):
    """Latents, and entries of which some are kept; of one window none, of one a single modality."""
    rng = torch.Generator().manual_seed(seed)
    latent = torch.randn(rows, M, K, generator=rng, dtype=torch.float64)
    keep = torch.rand(rows, M, K, generator=rng) < 0.4
    keep[0], keep[1], keep[1, 2] = False, False, True
    return latent, keep


def test_weights_are_a_softmax_over_what_is_there():
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    there = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]]).bool()
    weights = weights_of(scores, there)
    torch.testing.assert_close(weights[0, there[0]], scores[0, there[0]].softmax(0))
    torch.testing.assert_close(weights[1], there[1].float())
    assert torch.equal(weights[2], torch.zeros(5))
    assert torch.equal(weights[~there], torch.zeros(int((~there).sum())))


def test_gated_weighs_tokens_as_published():
    aggregator = made("gated")
    tokens = torch.randn(3, M, S, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    there = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 0]]).bool()
    wanted = []
    for row, shown in zip(tokens, there, strict=True):
        content = torch.tanh(row @ aggregator.content.weight.T + aggregator.content.bias)
        gate = torch.sigmoid(row @ aggregator.gate.weight.T + aggregator.gate.bias)
        scores = ((content * gate) @ aggregator.score.weight[0])[shown].exp()
        mean = (scores[:, None] * row[shown]).sum(0) / scores.sum()
        wanted.append(aggregator.mix(mean))
    got = aggregator.join(tokens, there[:, None])[:, 0]
    torch.testing.assert_close(got, torch.stack(wanted), rtol=1e-10, atol=1e-10)


def test_a_learned_query_reads_what_torch_reads():
    aggregator = made("attention")
    oracle = nn.MultiheadAttention(S, 2, batch_first=True).double()
    with torch.no_grad():
        eye = torch.eye(S, dtype=torch.float64)
        parts = (eye, aggregator.key.weight, aggregator.value.weight)
        oracle.in_proj_weight.copy_(torch.cat(parts))
        oracle.in_proj_bias.zero_()[2 * S :] = aggregator.value.bias
        oracle.out_proj.weight.copy_(eye)
        oracle.out_proj.bias.zero_()
    tokens = torch.randn(5, M, S, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    there = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 1], [1, 1, 0, 0]])
    query = aggregator.query.flatten().expand(5, 1, S)
    read, _ = oracle(query, tokens, tokens, key_padding_mask=~there.bool())
    got = aggregator.join(tokens, there.bool()[:, None])
    torch.testing.assert_close(got, aggregator.mix(read), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("asking", [None, 1, 3])
def test_a_block_computes_what_a_layer_of_torch_does(asking):
    torch.manual_seed(0)
    block = SubsetBlock(S, 2).double()
    layer = nn.TransformerEncoderLayer(
        S, 2, 2 * S, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    with torch.no_grad():
        layer.self_attn.in_proj_weight.copy_(
            torch.cat([block.query.weight, block.key.weight, block.value.weight])
        )
        biases = (block.query.bias, torch.zeros(S), block.value.bias)
        layer.self_attn.in_proj_bias.copy_(torch.cat(biases))
        pairs = ((layer.self_attn.out_proj, block.out), (layer.linear1, block.first),
                 (layer.linear2, block.last))  # fmt: skip
        for one, other in pairs:
            one.weight.copy_(other.weight)
            one.bias.copy_(other.bias)
    x = torch.randn(5, 4, S, dtype=torch.float64)
    there = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 1]])
    wanted = layer(x, src_key_padding_mask=~there.bool())[:, :asking]
    got = block(x[:, None], there.bool()[:, None], asking=asking)[:, 0]
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


@kinds
@pytest.mark.parametrize("completed", [True, False])
@pytest.mark.parametrize("value", [float("nan"), 1e30, -float("inf")])
def test_what_is_not_kept_changes_no_bit_of_embedding_or_gradient(kind, completed, value):
    aggregator = made(kind, completed=completed)
    latent, keep = given()

    def learn(z):
        aggregator.zero_grad()
        embedding = aggregator(z, keep)
        (embedding * torch.arange(embedding.shape[1])).sum().backward()
        return embedding.detach(), [p.grad.clone() for p in aggregator.parameters()]

    embedding, gradients = learn(latent)
    other, other_gradients = learn(torch.where(keep, latent, value))
    assert embedding.shape == (9, S + completed * M * K)
    assert torch.isfinite(embedding).all()
    assert torch.equal(other, embedding)
    assert all(torch.equal(a, b) for a, b in zip(other_gradients, gradients, strict=True))


@kinds
def test_an_entry_that_is_kept_counts_and_stays_in_its_place(kind):
    aggregator = made(kind)
    latent, keep = given()
    embedding = aggregator(latent, keep)
    completed = embedding[:, S:].view_as(latent)
    assert torch.equal(completed[keep], latent[keep])
    row, column, entry = keep.nonzero()[-1].tolist()
    moved = latent.clone()
    moved[row, column, entry] += 1
    changed = (aggregator(moved, keep) != embedding).any(dim=1)
    assert changed.nonzero().flatten().tolist() == [row]


@kinds
def test_an_aggregator_that_does_not_complete_gives_what_is_shared(kind):
    aggregator, plain = made(kind), made(kind, completed=False)
    plain.load_state_dict(
        {n: x for n, x in aggregator.state_dict().items() if not n.startswith("predictors")}
    )
    latent, keep = given()
    shared = aggregator.shared(latent, keep)
    torch.testing.assert_close(plain(latent, keep), shared, rtol=0, atol=0)
    torch.testing.assert_close(aggregator(latent, keep)[:, :S], shared, rtol=0, atol=0)


@kinds
def test_an_exported_aggregator_joins_batches_of_any_size(kind):
    aggregator = made(kind).float()
    latent, keep = (x.float() if x.is_floating_point() else x for x in given(5))
    batch = Dim("batch", min=1)
    shapes = ({0: batch}, {0: batch})
    run = export(aggregator, (latent, keep), dynamic_shapes=shapes).module()
    for rows in (1, 7, 64):
        latent, keep = (x.float() if x.is_floating_point() else x for x in given(max(rows, 2)))
        latent, keep = latent[:rows], keep[:rows]
        with torch.inference_mode():
            got = run(latent, keep)
            torch.testing.assert_close(got, aggregator(latent, keep), rtol=1e-5, atol=1e-5)
            for value in (float("nan"), 1e30):
                assert torch.equal(run(torch.where(keep, latent, value), keep), got)


@kinds
def test_networks_side_by_side_give_the_numbers_of_each(kind):
    aggregator = made(kind)
    latent, keep = given()
    with torch.inference_mode():
        fast = aggregator(latent, keep)
        with plain_ways():
            torch.testing.assert_close(fast, aggregator(latent, keep), rtol=1e-10, atol=1e-10)
