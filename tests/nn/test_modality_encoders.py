"""Encoders of several modalities: shared, frozen, handed over; tokens in time."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.aggregators import PredictiveAggregator
from crossl.nn.attachment import plain_ways
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.model import CrossModalModel
from crossl.nn.own_module import adopt_module, check_windows_apart

LEFT, RIGHT = (Modality(name, ("x", "y"), "m/s^2", 30.0) for name in ("left", "right"))
ECG = Modality("ecg", ("lead",), "V", 64.0)
ALL = (LEFT, RIGHT, ECG)
KINDS = {
    "strided": lambda m, _: StridedEncoder(len(m.channels), dim=8, width=6),
    "tcn": lambda m, _: TcnEncoder(len(m.channels), dim=8, dropout=0.3),
}


def model_of(kind="strided", modalities=ALL, **options):
    torch.manual_seed(0)
    aggregator = PredictiveAggregator(len(modalities), latent_dim=8, shared_dim=6)
    return CrossModalModel(
        modalities, window_s=2.0, encoder=KINDS[kind], aggregator=aggregator, latent_dim=8,
        **options,
    )  # fmt: skip


def batch_of(windows=5, modalities=ALL):
    generator = torch.Generator().manual_seed(1)
    signals = {
        m.name: torch.randn(windows, round(2 * m.rate_hz), len(m.channels), generator=generator)
        for m in modalities
    }
    present = torch.rand(windows, len(modalities), generator=generator) < 0.7
    present[:, 0] = True
    return Batch(signals, present)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frozen_encoder_has_no_gradient_and_stays_as_in_evaluation(kind):
    model = model_of(kind, frozen_encoders=["right"]).train()
    assert not model.encoders.of("right").training
    assert model.encoders.of("left").training
    model.requires_grad_(requires_grad=False)
    model.requires_grad_(requires_grad=True)
    model(batch_of()).sum().backward()
    for name in ("left", "right", "ecg"):
        gradients = [p.grad is not None for p in model.encoders.of(name).parameters()]
        assert all(gradients) if name != "right" else not any(gradients)
    own = copy.deepcopy(model).train().encoders.of("right")
    assert not own.training
    assert not any(p.requires_grad for p in own.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_shared_encoder_is_one_and_learns_from_all_that_share_it(kind):
    shared, apart = model_of(kind, shared_encoders=[("left", "right")]).eval(), model_of(kind)
    assert len(shared.encoders) == 2
    assert not [name for name in shared.state_dict() if "encode_right" in name]
    apart.eval().load_state_dict(
        {**shared.state_dict(), **{name.replace("encode_left", "encode_right"): value
         for name, value in shared.state_dict().items() if "encode_left" in name}}
    )  # fmt: skip
    for model in (shared, apart):
        model(batch_of()).square().sum().backward()
    torch.testing.assert_close(shared(batch_of()), apart(batch_of()), rtol=0, atol=0)
    one = dict(shared.encoders.of("left").named_parameters())
    both = [dict(apart.encoders.of(name).named_parameters()) for name in ("left", "right")]
    for name, parameter in one.items():
        wanted = both[0][name].grad + both[1][name].grad
        torch.testing.assert_close(parameter.grad, wanted, rtol=1e-4, atol=1e-5)


def test_a_shared_encoder_is_frozen_under_any_of_its_names():
    model = model_of(shared_encoders=[("left", "right")], frozen_encoders=["right"])
    assert not any(p.requires_grad for p in model.encoders.of("left").parameters())


def test_shared_and_frozen_encoders_can_be_stacked_for_few_windows():
    two = (LEFT, RIGHT)
    model = model_of(modalities=two, shared_encoders=[("left", "right")]).eval()
    batch = batch_of(3, two)
    with torch.inference_mode():
        before = model(batch)
        assert model.prepare_for_few_windows()
        torch.testing.assert_close(model(batch), before, rtol=1e-4, atol=1e-5)


def test_encoders_of_several_widths_cannot_be_stacked():
    widths = iter((6, 7))
    torch.manual_seed(0)
    model = CrossModalModel(
        (LEFT, RIGHT), window_s=2.0, latent_dim=8,
        encoder=lambda m, _: StridedEncoder(len(m.channels), dim=8, width=next(widths)),
        aggregator=PredictiveAggregator(2, latent_dim=8, shared_dim=6),
    )  # fmt: skip
    assert not model.prepare_for_few_windows()


@pytest.mark.parametrize(("options", "message"), [
    ({"shared_encoders": [("left", "ecg")]},
     "'left' has 2 channels in m/s\\^2 at 30 Hz and 'ecg' 1 channel in V at 64 Hz; "
     "one encoder is shared by modalities of as many channels, one unit and one rate"),
    ({"shared_encoders": [("left", "rigth")]},
     "shared_encoders: no modality is called 'rigth'; did you mean 'right'?"),
    ({"shared_encoders": [("left", "left")]}, "a group is \\['left', 'left'\\]; at least two"),
    ({"shared_encoders": [("left", "right"), ("right", "left")]},
     "shared_encoders: 'right' is named twice"),
    ({"frozen_encoders": ["eeg"]}, "frozen_encoders: no modality is called 'eeg'; .*'ecg'"),
])  # fmt: skip
def test_what_cannot_be_shared_or_frozen_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        model_of(**options)


# --- tokens in time


def test_tokens_of_the_published_encoder_have_the_latent_as_their_mean():
    encoder, x = TcnEncoder(2, dim=8).double().eval(), torch.randn(3, 40, 2, dtype=torch.float64)
    tokens = encoder.tokens(x)
    assert tokens.shape == (3, 40, 8)
    torch.testing.assert_close(tokens.mean(dim=1), encoder(x))


@pytest.mark.parametrize("time", [1, 2, 50, 129, 400])
def test_a_single_token_of_the_default_encoder_is_the_latent(time):
    encoder = StridedEncoder(2, dim=8, width=6).double()
    x = 3 + torch.randn(3, time, 2, dtype=torch.float64)
    latent = encoder(x)
    torch.testing.assert_close(encoder.tokens(x, count=1)[:, 0], latent, rtol=1e-6, atol=1e-6)
    assert torch.isfinite(encoder.tokens(x)).all()


def test_tokens_of_the_default_encoder_tell_when_something_was():
    encoder = StridedEncoder(1, dim=8, width=6)
    x = torch.randn(2, 320, 1)
    later = x.clone()
    later[:, 200:] *= 5
    tokens, other = encoder.tokens(x), encoder.tokens(later)
    assert tokens.shape == (2, 21, 8)
    torch.testing.assert_close(tokens[:, :9], other[:, :9], rtol=0, atol=1e-5)
    assert ((tokens - other)[:, 14:].abs().amax(dim=2) > 0.01).all()


@pytest.mark.parametrize("absent", [torch.nan, 1e30])
def test_tokens_of_all_modalities_are_filled_up_and_absent_ones_are_zeros(absent):
    model, batch = model_of("tcn").eval(), batch_of()
    spoilt = Batch(
        {m.name: torch.where(batch.present[:, i, None, None], batch.signals[m.name], absent)
         for i, m in enumerate(ALL)}, batch.present,
    )  # fmt: skip
    tokens, present = model.encode_tokens(model.standardise(spoilt), batch.present)
    assert tokens.shape == (5, 3, 128, 8)
    counts = torch.tensor([60, 60, 128]) * batch.present
    assert torch.equal(present.sum(dim=2), counts)
    assert not tokens[~present].any()
    wanted = model.latent(batch)
    mean = tokens.sum(dim=2) / counts.clamp(min=1)[..., None]
    torch.testing.assert_close(mean, wanted, rtol=1e-4, atol=1e-5)


def test_an_encoder_without_tokens_is_named():
    model = CrossModalModel(
        (ECG,), window_s=2.0, latent_dim=8, encoder=lambda _, samples: flat_net(samples),
        aggregator=PredictiveAggregator(1, latent_dim=8),
    )  # fmt: skip
    batch = batch_of(modalities=(ECG,))
    with pytest.raises(ConfigError, match="encoder of 'ecg': Sequential gives no tokens in time"):
        model.encode_tokens(batch.signals, batch.present)


# --- modules that are handed over


def flat_net(samples=128):
    return nn.Sequential(nn.Flatten(), nn.Linear(samples, 8))


def test_a_module_is_copied_and_left_as_it_was():
    net = flat_net().train()
    drawn = torch.get_rng_state()
    own = adopt_module(net, ECG, 128, dim=8)
    assert own is not net
    assert own.training
    assert torch.equal(own[1].weight, net[1].weight)
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(("module", "message"), [
    (flat_net(100), r"encoders\['ecg'\]: fails on windows \(2, 128, 1\) of \(batch, time, "),
    (nn.Flatten(), r"gives \(2, 128\) for windows \(2, 128, 1\); \(2, 8\), float, is needed"),
    (nn.LSTM(1, 8, batch_first=True), "gives tuple for windows"),
    ("resnet", "is a str; a torch.nn.Module is needed"),
])  # fmt: skip
def test_a_module_that_does_not_fit_is_refused_in_a_sentence(module, message):
    with pytest.raises(ConfigError, match=message) as caught:
        adopt_module(module, ECG, 128, dim=8)
    assert "\n" not in str(caught.value)


def test_batch_normalisation_is_refused_where_it_is_trained():
    net = nn.Sequential(nn.Flatten(), nn.Linear(128, 8), nn.BatchNorm1d(8))
    with pytest.raises(ConfigError, match=r"encoders\['ecg'\]: layer '2' is batch normalisation"):
        check_windows_apart(net, ECG)


def test_gradients_of_shared_and_frozen_encoders_are_those_of_plain_modules():
    model = model_of(shared_encoders=[("left", "right")], frozen_encoders=["ecg"]).double()
    batch = batch_of()
    batch = Batch({n: x.double() for n, x in batch.signals.items()}, batch.present)
    found = []
    for way in (plain_ways, torch.enable_grad):
        model.zero_grad()
        with way():
            model(batch).square().sum().backward()
        found.append({n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-9)
