"""What every encoder besides the first two holds to: lengths, tokens, absent rows, export."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch.export import Dim, export

from crossl.config import load_config
from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.aggregators import PredictiveAggregator
from crossl.nn.deepconvlstm import DeepConvLstmEncoder
from crossl.nn.encoders import GivesTokens, signed_logarithm
from crossl.nn.model import CrossModalModel
from crossl.nn.own_module import check_windows_apart
from crossl.nn.resnet import ResidualBlock, ResnetEncoder
from crossl.nn.time_frequency import TimeFrequencyEncoder

KINDS = {
    "resnet": lambda channels, samples: ResnetEncoder(channels, dim=8, widths=(6, 8)),
    "deepconvlstm": lambda channels, samples: DeepConvLstmEncoder(
        channels, samples=samples, dim=8, filters=6, hidden=7, layers=2
    ),
    "time_frequency": lambda channels, samples: TimeFrequencyEncoder(
        channels, samples, dim=12, places=3, bands=2, depth=1, heads=2
    ),
}


@pytest.fixture(params=KINDS)
def make(request):
    torch.manual_seed(0)
    return KINDS[request.param]


@pytest.mark.parametrize("length", [1, 2, 4, 7, 100, 3000])
@pytest.mark.parametrize("content", ["noise", "zeros", "constant", "huge"])
def test_windows_of_any_length_give_finite_values_and_gradients(make, length, content):
    encoder = make(2, length)
    noise = torch.randn(2, length, 2, generator=torch.Generator().manual_seed(0))
    scale, level = {"noise": (1, 0), "zeros": (0, 0), "constant": (0, 3), "huge": (1e6, 0)}[content]
    x = (scale * noise + level).requires_grad_()
    latent = encoder(x)
    assert latent.shape == (2, encoder.dim)
    assert torch.isfinite(latent).all()
    (latent * torch.arange(encoder.dim)).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters())
    assert encoder.tokens(x).shape[::2] == (2, encoder.dim)


def test_no_windows_have_no_latents(make):
    encoder = make(2, 64)
    assert encoder(torch.zeros(0, 64, 2)).shape == (0, encoder.dim)


def test_a_window_does_not_depend_on_its_batch_mates_while_training(make):
    encoder = make(2, 60).double().train()
    check_windows_apart(encoder, Modality("acc", ("x", "y"), "m/s^2", 30.0))
    x = torch.randn(5, 60, 2, dtype=torch.float64)
    others = torch.cat([x[:1], 1e3 * torch.randn(9, 60, 2, dtype=torch.float64)])
    for encode in (encoder, encoder.tokens):
        torch.testing.assert_close(encode(others)[0], encode(x)[0])
        torch.testing.assert_close(encode(x[:1])[0], encode(x)[0])


def test_strength_and_level_of_a_signal_are_seen(make):
    encoder, x = make(1, 60), torch.randn(3, 60, 1)
    for other in (3 * x, x + 1):
        assert ((encoder(other) - encoder(x)).abs().amax(dim=1) > 1e-2).all()


@pytest.mark.parametrize("absent", [torch.nan, 1e30])
def test_tokens_of_absent_modalities_are_zeros_whatever_they_hold(make, absent):
    modalities = [Modality("acc", ("x", "y"), "m/s^2", 30.0), Modality("ecg", ("v",), "V", 64.0)]
    dim = make(1, 2).dim
    model = CrossModalModel(
        modalities, window_s=2.0, latent_dim=dim,
        encoder=lambda m, samples: make(len(m.channels), samples),
        aggregator=PredictiveAggregator(2, latent_dim=dim, shared_dim=6),
    )  # fmt: skip
    present = torch.tensor([[True, False], [True, True]])
    signals = {"acc": torch.randn(2, 60, 2), "ecg": torch.randn(2, 128, 1)}
    spoilt = {**signals, "ecg": torch.where(present[:, 1, None, None], signals["ecg"], absent)}
    zeros = {**signals, "ecg": torch.where(present[:, 1, None, None], signals["ecg"], 0.0)}
    gradients = []
    for some in (zeros, spoilt):
        model.zero_grad()
        shown = model.standardise(Batch(some, present))
        tokens, there = model.encode_tokens(shown, present)
        assert not there[0, 1].any()
        assert not tokens[~there].any()
        (tokens.square().sum() + model.encode(shown, present).sum()).backward()
        gradients.append([p.grad.clone() for p in model.encoders.parameters()])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=0)
    assert isinstance(model.encoders.of("acc"), GivesTokens)


def test_it_is_exported_for_a_batch_of_any_size_without_a_warning(make):
    encoder = make(2, 24).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        program = export(
            encoder, (torch.randn(5, 24, 2),), dynamic_shapes=({0: Dim("batch", min=1)},)
        )
    for windows in (1, 7, 33):
        x = torch.randn(windows, 24, 2)
        with torch.inference_mode():
            torch.testing.assert_close(program.module()(x), encoder(x), rtol=1e-4, atol=1e-5)
    used = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [name for name in used if not name.startswith(("aten.", "<"))]


# --- the residual network


@pytest.mark.parametrize(("samples", "places"), [(100, 7), (128, 9), (240, 16)])
def test_a_single_token_of_the_residual_network_is_the_latent(samples, places):
    encoder = ResnetEncoder(2, dim=8).double()
    x = torch.randn(3, samples, 2, dtype=torch.float64)
    assert encoder.tokens(x).shape == (3, places, 8)
    torch.testing.assert_close(encoder.tokens(x, count=1)[:, 0], encoder(x))


def test_a_block_whose_last_convolution_is_silent_passes_its_input_on():
    block, x = ResidualBlock(4, 4, kernel=3, stride=1), torch.randn(2, 9, 4)
    torch.nn.init.zeros_(block.convolutions[1].weight)
    torch.nn.init.zeros_(block.convolutions[1].bias)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_a_residual_block_is_its_formula():
    block = ResidualBlock(3, 5, kernel=3, stride=2).double()
    x = torch.randn(2, 8, 3, dtype=torch.float64)
    found = x
    for norm, convolution in zip(block.norms, block.convolutions, strict=True):
        mean, variance = found.mean(2, keepdim=True), found.var(2, correction=0, keepdim=True)
        found = torch.nn.functional.gelu((found - mean) / (variance + norm.eps).sqrt())
        padded = torch.nn.functional.pad(found, (0, 0, 1, 1))
        stride = convolution.stride[0]
        taken = padded.unfold(1, 3, stride)  # (B, T', fan_in, 3)
        found = torch.einsum("btik,oik->bto", taken, convolution.weight) + convolution.bias
    short = torch.einsum("bti,oi->bto", x[:, ::2], block.short_cut.weight[:, :, 0])
    torch.testing.assert_close(block(x), short + found)


# --- DeepConvLSTM


def test_the_recurrent_network_is_its_formula():
    encoder = DeepConvLstmEncoder(2, samples=12, dim=4, filters=3, hidden=5).double()
    x = torch.randn(3, 12, 2, dtype=torch.float64)
    y = signed_logarithm(x).transpose(1, 2)
    for convolution in encoder.convolutions:
        y = convolution(y).relu()
    one = {name: p.detach().numpy() for name, p in encoder.lstm.named_parameters()}
    said, cell = np.zeros((3, 5)), np.zeros((3, 5))
    for step in y.detach().numpy().transpose(2, 0, 1):
        gates = step @ one["weight_ih_l0"].T + one["bias_ih_l0"]
        gates = gates + said @ one["weight_hh_l0"].T + one["bias_hh_l0"]
        enter, forget, new, leave = np.split(gates, 4, axis=1)
        enter, forget, leave = (1 / (1 + np.exp(-g)) for g in (enter, forget, leave))
        cell = forget * cell + enter * np.tanh(new)
        said = leave * np.tanh(cell)
    wanted = encoder.norm(encoder.read_out(torch.from_numpy(said)))
    torch.testing.assert_close(encoder(x), wanted)


def test_deepconvlstm_begins_with_orthogonal_weights():
    encoder = DeepConvLstmEncoder(2, samples=24, dim=4, filters=6, hidden=5, layers=2)
    for convolution in encoder.convolutions:
        rows = convolution.weight.detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, 2 * torch.eye(6), rtol=1e-4, atol=1e-4)
    for gate in encoder.lstm.weight_hh_l1.detach().chunk(4):
        torch.testing.assert_close(gate @ gate.T, torch.eye(5), rtol=1e-4, atol=1e-4)
    assert not encoder.lstm.bias_ih_l0.any()


@pytest.mark.parametrize(("samples", "strides", "places"), [
    (8, [1, 1, 1, 1], 8), (24, [2, 1, 1, 1], 12), (100, [2, 2, 2, 1], 13), (3000, [2] * 4, 16),
])  # fmt: skip
def test_the_recurrent_network_takes_few_steps(samples, strides, places):
    encoder = DeepConvLstmEncoder(1, samples=samples, dim=4, filters=3, hidden=5)
    assert [c.stride[0] for c in encoder.convolutions] == strides
    tokens = encoder.tokens(torch.randn(2, samples, 1))
    assert tokens.shape == (2, places, 4)


def test_the_last_token_is_the_latent_and_tokens_know_what_came_before_only():
    encoder = DeepConvLstmEncoder(1, samples=64, dim=4, filters=3, hidden=5)
    x = torch.randn(2, 64, 1)
    tokens = encoder.tokens(x)
    torch.testing.assert_close(tokens[:, -1], encoder(x), rtol=0, atol=0)
    later = x.clone()
    later[:, 60:] += 5
    other = encoder.tokens(later)
    torch.testing.assert_close(other[:, :8], tokens[:, :8], rtol=0, atol=0)
    assert ((other - tokens)[:, -1].abs() > 1e-4).any()


# --- time and frequency


def test_patches_of_the_spectrum_are_magnitudes_and_phases():
    encoder = TimeFrequencyEncoder(2, 11, dim=12, places=2, bands=3, heads=2)
    x = torch.randn(3, 11, 2, dtype=torch.float64)
    found = encoder.patches(x)
    assert tuple(part.shape[1:] for part in found) == ((2, 12), (3, 4), (3, 8))
    torch.testing.assert_close(found.time[:, 0].view(3, 6, 2), x[:, :6])
    torch.testing.assert_close(found.time[:, 1].view(3, 6, 2), x[:, 5:])
    spectrum = np.fft.rfft(x.numpy(), axis=1) / np.sqrt(11)
    magnitude = found.magnitude.view(3, 6, 2).expm1().numpy()
    turn = found.phase.view(3, 6, 2, 2).numpy()
    np.testing.assert_allclose(magnitude * turn[..., 0], spectrum.real, atol=1e-9)
    np.testing.assert_allclose(magnitude * turn[..., 1], spectrum.imag, atol=1e-9)


def test_the_latent_is_the_mean_of_each_domain():
    encoder = TimeFrequencyEncoder(2, 20, dim=12, places=4, bands=2, heads=2).double()
    x = torch.randn(3, 20, 2, dtype=torch.float64)
    tokens = encoder.tokens(x)
    torch.testing.assert_close(tokens.mean(dim=1), encoder(x))
    every = encoder.join(encoder.embed(encoder.patches(x)) + encoder.position)
    torch.testing.assert_close(tokens[:, :, :4], every[:, :4])
    torch.testing.assert_close(tokens[:, 0, 4:8], every[:, 4:6].mean(dim=1))
    torch.testing.assert_close(tokens[:, 3, 8:], every[:, 6:].mean(dim=1))


def test_a_window_of_another_length_is_refused():
    encoder = TimeFrequencyEncoder(1, 20, dim=12, places=2, bands=2, heads=2)
    with pytest.raises(ConfigError, match="a window has 19 samples; it was made for 20"):
        encoder(torch.zeros(1, 19, 1))


def test_heads_that_do_not_divide_a_token_are_refused():
    with pytest.raises(ConfigError, match=r"encoder: heads is 3 and a token has 64 numbers"):
        load_config(overrides=["encoder={kind: time_frequency, heads: 3}"])
