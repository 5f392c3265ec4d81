"""The model: absent modalities and batch mates change nothing; the contract is kept."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.data.source import ArraySource
from crossl.errors import ContractError
from crossl.nn.aggregators import PredictiveAggregator
from crossl.nn.attachment import plain_ways
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.model import CrossModalModel, check_contract, encode_rows

PRESENT = [
    [1, 1, 1], [1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 0, 0], [1, 1, 0],
]  # fmt: skip
GARBAGE = {
    "ones": torch.ones_like,
    "huge": lambda x: torch.full_like(x, 1e30),
    "nan": lambda x: torch.full_like(x, torch.nan),
    "inf": lambda x: torch.full_like(x, -torch.inf),
}


def spoilt(batch: Batch, garbage) -> Batch:
    """Put something else where a modality is absent."""
    signals = {
        name: torch.where(batch.present[:, i, None, None], x, garbage(x))
        for i, (name, x) in enumerate(batch.signals.items())
    }
    return dataclasses.replace(batch, signals=signals)


def embed_and_differentiate(model, batch):
    """Return the embedding and every parameter's gradient, dropout drawn from one seed."""
    model.zero_grad()
    torch.manual_seed(3)
    embedding = model(batch)
    weights = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(4))
    (embedding * weights).sum().backward()
    gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    return embedding.detach(), gradients


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=list(GARBAGE))
def test_embedding_and_gradient_ignore_what_an_absent_modality_holds(
    any_model, made, garbage, training
):
    any_model.train(training)
    any_model.standardiser.get_buffer("mean_acc").fill_(2.0)
    batch = made.batch(PRESENT)
    clean, clean_gradients = embed_and_differentiate(any_model, batch)
    other, other_gradients = embed_and_differentiate(any_model, spoilt(batch, garbage))
    assert torch.isfinite(clean).all()
    torch.testing.assert_close(other, clean, rtol=0, atol=0)
    torch.testing.assert_close(other_gradients, clean_gradients, rtol=0, atol=0)


def test_an_encoder_whose_modality_nobody_has_gets_no_gradient(any_model, made):
    _, gradients = embed_and_differentiate(any_model, made.batch([[1, 0, 1]] * 4))
    for name, gradient in gradients.items():
        if name.startswith("encoders.encode_ecg"):
            torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=0)
    moved = [
        n for n, g in gradients.items() if n.startswith("encoders.encode_acc") and g.abs().sum() > 0
    ]
    assert moved


def test_what_a_present_modality_holds_matters(any_model, made):
    any_model.eval()
    one, two = (any_model(made.batch(PRESENT, seed=seed)) for seed in (0, 1))
    assert ((one - two).abs().amax(dim=1) > 1e-6).all()


def test_a_modality_going_absent_changes_the_embedding(any_model, made):
    any_model.eval()
    batch = made.batch([[1, 1, 1]] * 4)
    without = Batch(batch.signals, torch.tensor([[True, False, True]] * 4))
    assert ((any_model(batch) - any_model(without)).abs().amax(dim=1) > 1e-5).all()


def test_a_window_without_any_modality_has_a_finite_embedding(any_model, made):
    embedding, gradients = embed_and_differentiate(any_model, made.batch([[0, 0, 0], [1, 1, 1]]))
    assert torch.isfinite(embedding).all()
    assert all(torch.isfinite(gradient).all() for gradient in gradients.values())


def rows_of(batch, rows):
    return Batch({name: x[rows] for name, x in batch.signals.items()}, batch.present[rows])


def test_an_embedding_does_not_depend_on_its_batch_mates(any_model, made):
    any_model.eval()
    batch, others = made.batch(PRESENT), made.batch(PRESENT, seed=9)
    together = any_model(batch)
    for row in range(len(batch)):
        alone = any_model(rows_of(batch, [row]))
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)
        mixed = Batch(
            {n: torch.cat([1e3 * others.signals[n], x[[row]]]) for n, x in batch.signals.items()},
            torch.cat([others.present, batch.present[[row]]]),
        )
        torch.testing.assert_close(any_model(mixed)[-1], together[row], rtol=1e-4, atol=1e-5)


def test_embeddings_follow_their_rows(any_model, made):
    any_model.eval()
    batch, order = made.batch(PRESENT), [3, 5, 0, 1, 4, 2]
    torch.testing.assert_close(
        any_model(rows_of(batch, order)), any_model(batch)[order], rtol=1e-4, atol=1e-5
    )


def test_latents_of_absent_modalities_are_zeros(any_model, made):
    latent = any_model.latent(made.batch(PRESENT))
    assert latent.shape == (6, 3, 8)
    absent = ~torch.tensor(PRESENT, dtype=torch.bool)
    torch.testing.assert_close(latent[absent], torch.zeros(int(absent.sum()), 8), rtol=0, atol=0)


def test_forward_is_aggregate_of_latent(any_model, made):
    any_model.eval()
    batch = made.batch(PRESENT)
    wanted = any_model.aggregate(any_model.latent(batch), batch.present)
    torch.testing.assert_close(any_model(batch), wanted, rtol=0, atol=0)
    assert wanted.shape == (6, any_model.aggregator.dim)


# --- encode_rows


def source_of(made, n=7, **other):
    batch = made.batch([[1, 1, 1], [1, 0, 1]] * n)
    signals = {name: x.numpy() for name, x in batch.signals.items()}
    signals["ecg"][1::2] = np.nan
    asked = {"modalities": made.modalities, "window_s": 2.0} | other
    return ArraySource(signals, **asked), batch


def test_rows_are_encoded_in_order_without_dropout_or_gradient(any_model, made):
    source, batch = source_of(made)
    rows = np.array([5, 0, 3, 9, 1])
    latent = encode_rows(any_model.train(), source, rows, size=2)
    assert any_model.training
    assert not latent.requires_grad
    wanted = any_model.eval().latent(batch)[rows].detach()
    torch.testing.assert_close(latent, wanted, rtol=1e-4, atol=1e-5)
    assert not any_model.eval().training
    encode_rows(any_model, source, rows)
    assert not any_model.training


def test_encoding_changes_no_parameter_and_no_buffer(any_model, made):
    before = {name: value.clone() for name, value in any_model.state_dict().items()}
    encode_rows(any_model, source_of(made)[0], np.arange(4))
    torch.testing.assert_close(dict(any_model.state_dict()), before, rtol=0, atol=0)


def test_encoded_rows_can_be_trained_on(made):
    latent = encode_rows(made.model(), source_of(made)[0], np.arange(4))
    weight = torch.ones(8, requires_grad=True)
    (latent @ weight).sum().backward()
    torch.testing.assert_close(weight.grad, latent.sum(dim=(0, 1)))


def test_no_rows_give_no_latents(made):
    rows = np.array([], dtype=np.int64)
    assert encode_rows(made.model(), source_of(made)[0], rows).shape == (0, 3, 8)


def test_a_model_that_failed_while_encoding_is_in_train_mode_again(made, monkeypatch):
    model = made.model().train()
    monkeypatch.setattr(model, "latent", lambda batch: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        encode_rows(model, source_of(made)[0], np.arange(4))
    assert model.training


# --- check_contract


def change(index, **fields):
    def changed(modalities):
        out = list(modalities)
        out[index] = dataclasses.replace(out[index], **fields)
        return out

    return changed


@pytest.mark.parametrize(("changed", "message"), [
    (lambda m: m[:2], r"model: needs modality 'skin', got \['acc', 'ecg'\]; give it, as absent"),
    (change(1, name="ekg"), "model: needs modality 'ecg'"),
    (change(0, channels=("x", "z", "y")), r"'acc': has channels \('x', 'z', 'y'\); the model was"),
    (change(0, channels=("x",)), r"'acc': has channels \('x',\); the model was made for"),
    (change(0, rate_hz=26.0), "'acc': has 26 Hz; the model was made for 25 Hz, resample it"),
    (change(0, unit="g"), r"'acc': is in 'g'; the model was made for 'm/s\^2', convert it"),
    (lambda m: [*m, dataclasses.replace(m[0], name="new")], "'new': the model never saw it"),
    (lambda m: [m[1], m[0], m[2]], r"modalities: come as \['ecg', 'acc', 'skin'\]; the model's"),
])  # fmt: skip
def test_windows_that_the_model_was_not_made_for_are_refused(made, changed, message):
    modalities = changed(made.modalities)
    arrays = {
        m.name: np.zeros((2, round(2 * m.rate_hz), len(m.channels)), np.float32) for m in modalities
    }
    source = ArraySource(arrays, modalities=modalities, window_s=2.0)
    with pytest.raises(ContractError, match=message):
        check_contract(made.model(), source)
    with pytest.raises(ContractError, match=message):
        encode_rows(made.model(), source, np.arange(2))


def test_another_window_is_refused(made):
    arrays = {"acc": np.zeros((2, 75, 3))}
    source = ArraySource(arrays, modalities=made.modalities, window_s=3.0)
    with pytest.raises(ContractError, match="windows: last 3 s; the model was made for 2 s"):
        check_contract(made.model(), source)


def test_the_same_sensor_on_another_device_is_accepted(made):
    moved = change(0, device="ankle")(made.modalities)
    check_contract(made.model(), source_of(made, modalities=moved)[0])


def model_of(modalities, encoder, *, seed=0):
    torch.manual_seed(seed)
    aggregator = PredictiveAggregator(len(modalities), latent_dim=8, shared_dim=6)
    model = CrossModalModel(
        modalities, window_s=2.0, encoder=encoder, aggregator=aggregator, latent_dim=8
    ).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def strided(modality, samples):
    return StridedEncoder(len(modality.channels), dim=8, width=6)


def test_stacked_encoders_give_the_same_numbers_until_training_goes_on():
    modalities = [Modality(f"m{i}", ("x", "y"), "m/s^2", 30.0) for i in range(4)]
    model = model_of(modalities, strided)
    present = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]]).bool()
    batch = Batch({m.name: torch.randn(3, 60, 2) for m in modalities}, present)
    with torch.inference_mode():
        apart = model(batch)
        assert model.prepare_for_few_windows()
        torch.testing.assert_close(model(batch), apart, rtol=1e-4, atol=1e-5)
    assert model(batch).requires_grad
    with torch.no_grad():
        model.encoders["encode_m1"].norm.bias.add_(1)  # as training does
        model.aggregator.project[0][0].weight.mul_(2)
        changed = model(batch)
        with plain_ways():
            torch.testing.assert_close(changed, model(batch), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(changed, apart, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("encoder", [strided, lambda m, _: TcnEncoder(len(m.channels), dim=8)],
                         ids=["strided", "tcn"])  # fmt: skip
def test_encoders_of_several_shapes_or_of_another_kind_cannot_be_stacked(encoder):
    rates = (30.0, 60.0) if encoder is strided else (30.0, 30.0)
    modalities = [Modality(f"m{i}", ("x",), "V", r) for i, r in enumerate(rates)]
    assert not model_of(modalities, encoder).prepare_for_few_windows()
