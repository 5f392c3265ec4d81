"""Encoders and their layers: sizes, lengths, padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.nn.aggregators import MlpAggregator, PredictiveAggregator
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.fast import pooling
from crossl.nn.layers import pad_same, pool_time
from crossl.nn.token_transformer import TokenTransformer


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("channels", "encoders", "aggregator"), [
    ([3] * 6, 346_176, 40_128), ([3] * 6 + [1], 402_720, 46_272),
    ([1] * 4, 226_176, 27_840), ([1] * 3, 169_632, 21_696),
], ids=["pamap2", "pamap2_hr", "sleepedf", "wesad"])  # fmt: skip
def test_the_paper_network_has_as_many_parameters_as_the_original(channels, encoders, aggregator):
    assert sum(count(TcnEncoder(c)) for c in channels) == encoders
    assert count(MlpAggregator(len(channels))) == aggregator


def test_encoders_of_one_shape_start_differently():
    one, two = TcnEncoder(3, dim=8), TcnEncoder(3, dim=8)
    assert (one.convolutions[0].weight != two.convolutions[0].weight).any()


def test_the_paper_encoder_starts_as_the_original_does():
    encoder = TcnEncoder(3)
    for convolution, norm, activation in zip(
        encoder.convolutions, encoder.norms, encoder.activations, strict=True
    ):
        assert abs(convolution.weight.std().item() - 0.05) < 0.005
        for value in (convolution.bias, norm.bias, activation.weight):
            torch.testing.assert_close(value.detach(), torch.zeros_like(value))
        assert norm.eps == 1e-3
    assert [k.shape for k in encoder.kernels()] == [(24, 3, 24), (48, 24, 16), (96, 48, 8)]


@pytest.mark.parametrize("encoder", [StridedEncoder(2, dim=8, width=4), TcnEncoder(2, dim=8)],
                         ids=["strided", "tcn"])  # fmt: skip
@pytest.mark.parametrize("length", [1, 2, 4, 7, 100, 15000])
@pytest.mark.parametrize("content", ["noise", "zeros", "constant", "huge"])
def test_windows_of_any_length_give_finite_values_and_gradients(encoder, length, content):
    noise = torch.randn(2, length, 2, generator=torch.Generator().manual_seed(0))
    scale, level = {"noise": (1, 0), "zeros": (0, 0), "constant": (0, 3), "huge": (1e6, 0)}[content]
    x = (scale * noise + level).requires_grad_()
    encoder.zero_grad()
    latent = encoder(x)
    assert latent.shape == (2, 8)
    assert torch.isfinite(latent).all()
    (latent * torch.arange(8)).sum().backward()
    assert torch.isfinite(x.grad).all()
    for parameter in encoder.parameters():
        assert torch.isfinite(parameter.grad).all()


def test_dropout_acts_in_train_mode_only():
    encoder = TcnEncoder(1, dim=8, dropout=0.5)
    x = torch.randn(4, 30, 1)
    assert (encoder.train()(x) != encoder(x)).any()
    torch.testing.assert_close(encoder.eval()(x), encoder(x), rtol=0, atol=0)


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 5, 8, 16, 24])
def test_padding_keeps_the_length_and_puts_the_odd_sample_right(kernel):
    rng = np.random.default_rng(kernel)
    x, weight = rng.normal(size=20), rng.normal(size=kernel)
    left, right = (kernel - 1) // 2, kernel - 1 - (kernel - 1) // 2
    padded = np.concatenate([np.zeros(left), x, np.zeros(right)])
    wanted = np.array([(padded[i : i + kernel] * weight).sum() for i in range(20)])
    got = torch.nn.functional.conv1d(
        pad_same(torch.from_numpy(x)[None, None], kernel), torch.from_numpy(weight)[None, None]
    )
    np.testing.assert_allclose(got[0, 0].numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("pool", [pool_time, pooling.pool_time], ids=["plain", "fast"])
def test_pooling_over_time_equals_three_reductions_and_so_does_its_gradient(pool):
    x = torch.randn(3, 9, 4, dtype=torch.float64, requires_grad=True)
    same = x.detach().clone().requires_grad_()
    got = pool(x)
    wanted = (same.mean(1), same.var(1, correction=0), same.amax(1))
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other)
    weights = [torch.randn(3, 4, dtype=torch.float64) for _ in range(3)]
    for statistics in (got, wanted):
        sum((w * s).sum() for w, s in zip(weights, statistics, strict=True)).backward()
    torch.testing.assert_close(x.grad, same.grad)
    assert torch.autograd.gradcheck(pool, (x,))


# --- aggregators


@pytest.fixture(params=["mlp", "predictive", "token_transformer"])
def aggregator(request):
    torch.manual_seed(0)
    if request.param == "mlp":
        return MlpAggregator(4, latent_dim=6, dim=16, hidden=32)
    if request.param == "token_transformer":
        return TokenTransformer(4, latent_dim=6, places=3, depth=2, heads=1)
    return PredictiveAggregator(4, latent_dim=6, shared_dim=5)


@pytest.mark.parametrize("garbage", [1.0, 1e30, torch.nan, torch.inf])
def test_an_aggregator_ignores_what_is_not_kept(aggregator, garbage):
    rng = torch.Generator().manual_seed(0)
    keep = torch.rand(7, 4, 6, generator=rng) < 0.6
    keep[0] = False
    keep[1, 2:] = False
    latent = torch.randn(7, 4, 6, generator=rng)
    results = []
    for other in (0.0, garbage):
        x = torch.where(keep, latent, other).requires_grad_()
        aggregator.zero_grad()
        out = aggregator(x, keep)
        (out * torch.arange(out.shape[1])).sum().backward()
        gradients = [p.grad.clone() for p in aggregator.parameters() if p.grad is not None]
        results.append((out.detach(), x.grad, gradients))
    torch.testing.assert_close(results[1], results[0], rtol=0, atol=0)
    ignored = results[0][1][~keep]
    torch.testing.assert_close(ignored, torch.zeros_like(ignored), rtol=0, atol=0)


def test_an_aggregator_tells_its_width(aggregator):
    latent = torch.randn(2, 4, 6)
    assert aggregator(latent, torch.ones_like(latent).bool()).shape == (2, aggregator.dim)


def test_the_predictive_aggregator_puts_predictions_where_nothing_is_kept():
    torch.manual_seed(0)
    aggregator = PredictiveAggregator(3, latent_dim=4, shared_dim=5)
    latent, keep = torch.randn(2, 3, 4), torch.ones(2, 3, 4, dtype=torch.bool)
    keep[0, 1] = False
    out = aggregator(latent, keep)
    shared = aggregator.shared(latent, keep)
    completed = out[:, 5:].reshape(2, 3, 4)
    torch.testing.assert_close(out[:, :5], shared)
    torch.testing.assert_close(completed[keep], latent[keep])
    torch.testing.assert_close(completed[0, 1], aggregator.predict(shared)[0, 1])


def test_what_is_shared_does_not_grow_with_the_number_of_modalities():
    torch.manual_seed(0)
    aggregator = PredictiveAggregator(3, latent_dim=4, shared_dim=5)
    first = aggregator.project[0].state_dict()
    for project in aggregator.project:
        project.load_state_dict(first)
    latent = torch.randn(2, 1, 4).expand(2, 3, 4)
    keep = torch.ones(2, 3, 4, dtype=torch.bool)
    fewer = keep.clone()
    fewer[:, 1:] = False
    torch.testing.assert_close(
        aggregator.shared(latent, fewer), aggregator.shared(latent, keep), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("encoder", [TcnEncoder(3), StridedEncoder(3)])
def test_no_windows_have_no_latents(encoder):
    assert encoder(torch.zeros(0, 64, 3)).shape == (0, encoder.dim)
