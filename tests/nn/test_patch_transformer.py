"""The patch transformer: patches, tokens, what is not there, export with any batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.export import Dim, export
from torch.nn.functional import softmax

from crossl.config import load_config
from crossl.errors import ConfigError
from crossl.nn.patch_transformer import PatchTransformerEncoder, patch_index
from crossl.nn.token_transformer import TokenTransformer
from crossl.nn.transformer import TransformerBlock


def small(samples=20, **other):
    torch.manual_seed(0)
    settings = {"dim": 8, "places": 4, "depth": 2, "heads": 2} | other
    return PatchTransformerEncoder(2, samples, **settings).double().eval()


def noise(*shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("samples", [1, 3, 4, 5, 30, 128, 241, 1000])
@pytest.mark.parametrize("places", [1, 2, 7, 8])
def test_patches_hold_every_sample_and_none_more_than_needed(samples, places):
    index = patch_index(samples, places)
    assert index.shape == (places, -(-samples // places))
    assert set(index.flatten().tolist()) == set(range(samples))
    if samples % places == 0:
        assert index.flatten().tolist() == list(range(samples))


def test_a_patch_holds_the_channels_of_its_samples():
    x = noise(3, 20, 2)
    patches = small().patches(x)
    assert patches.shape == (3, 4, 10)
    torch.testing.assert_close(patches[1, 2], x[1, 10:15].flatten())


def test_latents_are_the_mean_of_the_tokens_or_all_of_them():
    x = noise(3, 20, 2)
    mean, every = small(), small(read="tokens", dim=32)
    tokens = mean.tokens(x)
    assert tokens.shape == (3, 4, 8)
    torch.testing.assert_close(mean(x), tokens.mean(dim=1))
    assert every(x).shape == (3, 32)
    torch.testing.assert_close(every(x), tokens.flatten(1))  # of one seed: the same weights


def test_without_blocks_a_token_knows_its_own_patch_only():
    x = noise(3, 20, 2)
    later = x.clone()
    later[:, 10:15] += 1  # the third of four patches
    for depth, alone in ((0, True), (2, False)):
        encoder = small(depth=depth)
        moved = (encoder.tokens(x) - encoder.tokens(later)).abs().amax(dim=(0, 2)) > 1e-9
        assert moved.tolist() == ([False, False, True, False] if alone else [True] * 4)


def test_tokens_tell_the_order_of_their_patches():
    x = noise(3, 20, 2)
    swapped = torch.cat([x[:, 10:], x[:, :10]], dim=1)
    assert ((small()(x) - small()(swapped)).abs().amax(dim=1) > 1e-3).all()


@pytest.mark.parametrize("content", ["noise", "zeros", "huge"])
def test_latents_and_gradients_are_finite(content):
    encoder = small().float()
    x = noise(2, 20, 2).float() * {"noise": 1, "zeros": 0, "huge": 1e6}[content]
    latent = encoder(x.requires_grad_())
    (latent * torch.arange(8)).sum().backward()
    assert torch.isfinite(latent).all()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert encoder(torch.zeros(0, 20, 2)).shape == (0, 8)


@pytest.mark.parametrize("read", ["mean", "tokens"])
def test_it_is_exported_with_a_batch_of_any_size(read):
    encoder = small(read=read)
    program = export(encoder, (noise(3, 20, 2),), dynamic_shapes=({0: Dim("batch", min=1)},))
    for windows in (1, 9):
        x = noise(windows, 20, 2)
        torch.testing.assert_close(program.module()(x), encoder(x))
    used = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert all(name.startswith(("aten.", "<")) for name in used)


def test_windows_of_another_length_are_refused():
    with pytest.raises(ConfigError, match="a window has 19 samples; it was made for 20"):
        small()(noise(1, 19, 2))


@pytest.mark.parametrize(("settings", "message"), [
    ({"read": "tokens", "dim": 9}, "dim is 9 with read 'tokens'; allowed is a multiple of places"),
    ({"heads": 3}, "3 heads of 8 numbers; allowed are divisors of 8"),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        small(**settings)


@pytest.mark.parametrize(("settings", "message"), [
    ("read: tokens, dim: 60", "dim is 60 with read 'tokens'; allowed is a multiple of places, 8$"),
    ("heads: 5", "heads is 5 and a token has 64 numbers; allowed are divisors of 64$"),
])  # fmt: skip
def test_a_run_file_that_does_not_fit_is_refused_in_one_sentence(settings, message):
    with pytest.raises(ConfigError, match=f": encoder: {message}"):
        load_config(overrides=[f"encoder={{kind: patch_transformer, {settings}}}"])


# --- the block


def test_attention_is_the_formula():
    torch.manual_seed(0)
    block = TransformerBlock(4, heads=1).double()
    x = noise(1, 3, 4)
    for part in (block.dense[1], block.dense[3]):  # leaves what is dense out
        nn.init.zeros_(part.weight)
        nn.init.zeros_(part.bias)
    query, key, value = block.to_attention(block.norm(x)).chunk(3, dim=2)
    attention = softmax(query @ key.transpose(1, 2) / 2, dim=2)
    torch.testing.assert_close(block(x), x + block.from_attention(attention @ value))


@pytest.mark.parametrize("garbage", [1.0, 1e15])
def test_tokens_that_are_not_there_change_no_other(garbage):
    torch.manual_seed(0)
    block = TransformerBlock(8, heads=2)
    x, there = noise(5, 6, 8).float(), torch.rand(5, 6) < 0.5
    there[0] = False
    spoilt = torch.where(there[..., None], x, garbage).requires_grad_()
    out = block(spoilt, there)
    torch.testing.assert_close(out[there], block(x, there)[there], rtol=0, atol=0)
    out[there].sum().backward()
    assert not spoilt.grad[~there].any()
    alone = block(x[1:2, there[1]])
    torch.testing.assert_close(out[1:2, there[1]], alone)
    assert torch.isfinite(block(x, there)).all()


# --- the aggregator of tokens


@pytest.mark.parametrize("read", ["mean", "modalities"])
def test_what_joins_tokens_is_exported_with_a_batch_of_any_size(read):
    torch.manual_seed(0)
    aggregator = TokenTransformer(3, latent_dim=8, places=4, depth=1, heads=1, read=read).eval()

    def given(windows):
        keep = torch.rand(windows, 3, generator=torch.Generator().manual_seed(windows)) < 0.6
        latent = noise(windows, 3, 8).float()
        return latent, keep[:, :, None].expand(-1, -1, 8).contiguous()

    batch = {0: Dim("batch", min=1)}
    run = export(aggregator, given(3), dynamic_shapes=(batch, batch)).module()
    for windows in (1, 9):
        torch.testing.assert_close(run(*given(windows)), aggregator(*given(windows)))


def test_the_embedding_is_the_mean_of_the_tokens_that_are_there():
    torch.manual_seed(0)
    one = TokenTransformer(3, latent_dim=8, places=4, depth=1, heads=1)
    latent = noise(1, 3, 8).float()
    keep = torch.ones(1, 3, 8, dtype=torch.bool)
    keep[0, 1] = False
    tokens = one.tokens(latent).unflatten(1, (3, 4))[:, [0, 2]].flatten(1, 2)
    joined = one.join(tokens, torch.ones(1, 8, dtype=torch.bool))
    torch.testing.assert_close(one(latent, keep), joined.mean(dim=1))
    one.read = "modalities"
    wanted = torch.stack([joined[:, :4].mean(1), torch.zeros(1, 2), joined[:, 4:].mean(1)], dim=1)
    torch.testing.assert_close(one(latent, keep), wanted.flatten(1))
