"""Untrained features beside the embedding: fitted without labels, blind to what is absent."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim, export

from crossl.contenders.statistics import statistics
from crossl.data.batch import Batch, collate
from crossl.data.recording import Modality
from crossl.data.source import ArraySource
from crossl.nn import window_statistics as window_statistics_module
from crossl.nn.features import ModalityFeatures, WindowFeatures
from crossl.nn.model import CrossModalModel
from crossl.nn.standardise import Standardiser
from crossl.nn.window_statistics import SILENT, count_statistics, window_statistics

from .conftest import AGGREGATORS, ENCODERS, MODALITIES, make_batch, make_model

WIDTH = 5
SUBSETS = torch.tensor([[True, True, True], [True, False, True], [False, False, True]])


def make_source(windows: int = 60, *, seed: int = 0) -> ArraySource:
    rng = np.random.default_rng(seed)
    signals = {
        m.name: rng.normal(3, 2, (windows, round(2 * m.rate_hz), len(m.channels)))
        for m in MODALITIES
    }
    signals["ecg"][::7] = np.nan
    return ArraySource(signals, modalities=MODALITIES, window_s=2.0)


def make_beside(source: ArraySource, rows: np.ndarray) -> CrossModalModel:
    model = make_model()
    model.features = ModalityFeatures(MODALITIES, window_s=2.0, kernels=1, width=WIDTH)
    model.fit(source, rows)
    return model.eval()


@pytest.fixture(scope="module")
def source() -> ArraySource:
    return make_source()


@pytest.fixture(scope="module")
def model(source: ArraySource) -> CrossModalModel:
    return make_beside(source, np.arange(40))


def test_they_stand_at_the_end_of_the_embedding_and_leave_the_rest_as_it_was(
    source: ArraySource, model: CrossModalModel
) -> None:
    batch = collate(source, np.arange(60))
    with torch.inference_mode():
        whole, bare = model(batch), model.with_features(None)(batch)
    assert (model.embedding_dim, model.stack_dim) == (bare.shape[1], 8 + WIDTH)
    assert whole.shape[1] == bare.shape[1] + 3 * WIDTH
    torch.testing.assert_close(whole[:, : bare.shape[1]], bare, rtol=0, atol=0)
    columns = model.untrained_columns(aggregated=True)
    assert columns is not None
    assert columns.tolist() == [False] * bare.shape[1] + [True] * 3 * WIDTH
    assert model.with_features(None).untrained_columns(aggregated=True) is None


def test_a_model_without_them_has_the_weights_that_it_had() -> None:
    names = set(make_model().state_dict())
    assert not [name for name in names if name.startswith("features")]


def test_on_training_windows_they_are_centred_and_vary_by_one_on_average(
    source: ArraySource, model: CrossModalModel
) -> None:
    batch = collate(source, np.arange(40))
    features = model.features
    assert features is not None
    found = features(model.standardise(batch), batch.present)
    total = 0.0
    for column in range(3):
        own = found[batch.present[:, column], column]
        torch.testing.assert_close(own.mean(dim=0), torch.zeros(WIDTH), rtol=0, atol=1e-4)
        variance = own.var(dim=0, correction=0)
        total += float(variance.mean())
        assert (variance.diff() <= 1e-4).all(), "the largest component comes first"
    assert total / 3 == pytest.approx(1, rel=1e-3)


def test_a_modality_counts_by_as_many_components_as_it_has() -> None:
    rng = np.random.default_rng(0)
    rich, poor = (Modality(n, c, "V", 20.0) for n, c in (("rich", ("x", "y", "z")), ("poor", "v")))
    source = ArraySource(
        {m.name: rng.normal(size=(99, 40, len(m.channels))) for m in (rich, poor)},
        modalities=[rich, poor], window_s=2.0,
    )  # fmt: skip
    features, standardiser = (
        ModalityFeatures([rich, poor], window_s=2.0),
        Standardiser([rich, poor]),
    )
    standardiser.fit(source, np.arange(99))
    features.fit(source, np.arange(99), standardiser)
    batch = collate(source, np.arange(99))
    found = features(standardiser(batch.signals), batch.present)
    of_rich, of_poor = found.var(dim=0, correction=0).sum(dim=1).tolist()
    assert of_rich + of_poor == pytest.approx(2 * 64, rel=1e-3)
    assert of_rich / of_poor == pytest.approx(64 / count_statistics(1), rel=1e-2)


def test_only_training_windows_fit_them(source: ArraySource, model: CrossModalModel) -> None:
    changed = make_source()
    for name in changed._signals:
        changed._signals[name][40:] = 7.0
    other = make_beside(changed, np.arange(40))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], value, rtol=0, atol=0)


@pytest.mark.parametrize("absent", [float("nan"), 1e30])
def test_what_an_absent_modality_holds_changes_nothing(
    model: CrossModalModel, absent: float
) -> None:
    batch = make_batch(SUBSETS.tolist())
    spoilt = {
        m.name: torch.where(batch.present[:, i, None, None], batch.signals[m.name], absent)
        for i, m in enumerate(MODALITIES)
    }
    with torch.inference_mode():
        wanted, got = model(batch), model(Batch(spoilt, batch.present))
    torch.testing.assert_close(got, wanted, rtol=0, atol=0)
    beside = wanted[:, model.embedding_dim :].unflatten(1, (3, WIDTH))
    assert (beside[~batch.present] == 0).all()
    assert (beside[batch.present] != 0).any()


def test_those_of_a_window_do_not_depend_on_the_others(model: CrossModalModel) -> None:
    batch = make_batch([[True, True, True]] * 9)
    alone = Batch({k: v[:1] for k, v in batch.signals.items()}, batch.present[:1])
    with torch.inference_mode():
        torch.testing.assert_close(model(alone), model(batch)[:1], rtol=1e-4, atol=1e-5)


def test_all_subsets_are_read_in_one_pass_as_one_by_one(
    source: ArraySource, model: CrossModalModel
) -> None:
    batch = collate(source, np.arange(20))
    rng = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        latent, width = model.latent(batch), model(batch).shape[1]
        weight, bias = torch.randn(4, width, generator=rng), torch.randn(4, generator=rng)
        read = model.read_subsets(latent, batch.present, SUBSETS, weight, bias)
        for place, subset in enumerate(SUBSETS):
            wanted = model.aggregate(latent, batch.present & subset) @ weight.T + bias
            torch.testing.assert_close(read[:, place], wanted, rtol=1e-4, atol=1e-4)


def test_one_modality_alone_has_the_columns_of_the_batch(
    source: ArraySource, model: CrossModalModel
) -> None:
    batch = collate(source, np.array([1, 2, 3]))
    with torch.inference_mode():
        wanted = model.latent(batch)[:, 1]
        got = model.latent_of("ecg", batch.signals["ecg"])
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


class Plain(nn.Module):
    """The model with plain arguments, as exporters want them."""

    def __init__(self, model: CrossModalModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, signals: dict[str, torch.Tensor], present: torch.Tensor) -> torch.Tensor:
        return self.model(Batch(signals, present))


def test_they_are_exported_for_a_batch_of_any_size(model: CrossModalModel) -> None:
    one = make_batch(SUBSETS.tolist())
    size = Dim("size", min=1)
    shapes = ({name: {0: size} for name in one.signals}, {0: size})
    run = export(Plain(model), (one.signals, one.present), dynamic_shapes=shapes).module()
    for windows in (1, 7):
        batch = make_batch([[True, False, True]] * windows, seed=windows)
        with torch.inference_mode():
            wanted, got = model(batch), run(batch.signals, batch.present)
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


def test_a_channel_that_never_changes_and_few_windows_are_borne() -> None:
    x = torch.zeros(3, 30, 2)
    x[:, :, 0] = torch.randn(3, 30, generator=torch.Generator().manual_seed(0))
    features = WindowFeatures(2, 30, kernels=1, width=WIDTH)
    features.fit(x)
    found = features(10 * torch.ones(2, 30, 2))
    assert found.shape == (2, WIDTH)
    assert torch.isfinite(found).all()
    assert all(torch.isfinite(value).all() for value in features.state_dict().values())


@pytest.mark.parametrize(("channels", "samples"), [(1, 40), (2, 7), (3, 96), (4, 1)])
def test_statistics_are_those_of_the_contenders(channels: int, samples: int) -> None:
    x = np.random.default_rng(0).normal(size=(5, samples, channels)).astype(np.float32)
    wanted = statistics(x, rate_hz=1.0)
    wanted = np.where(wanted < np.log(SILENT), np.log(SILENT), wanted)  # a band without frequencies
    got = window_statistics(torch.from_numpy(x)).numpy()
    assert got.shape == (5, count_statistics(channels))
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=2e-4)


def test_statistics_of_a_channel_that_does_not_move_are_finite_and_gradients_too() -> None:
    x = torch.zeros(2, 30, 3, requires_grad=True)
    window_statistics(x).sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert not torch.isinf(window_statistics(x)).any()


def test_kernels_and_statistics_have_the_same_variance_in_all() -> None:
    x = torch.randn(200, 60, 3, generator=torch.Generator().manual_seed(0))
    features = WindowFeatures(3, 60, kernels=2, width=8)
    features.fit(x)
    weight = features._weight(torch.ones(features.found, dtype=torch.bool)).square()
    both = weight[: features.statistics].sum(), weight[features.statistics :].sum()
    assert [float(one) for one in both] == pytest.approx([1, 1])
    assert features.found == count_statistics(3) + 168


def test_windows_shorter_than_a_kernel_have_them() -> None:
    x = torch.randn(12, 4, 1, generator=torch.Generator().manual_seed(0))
    features = WindowFeatures(1, 4, kernels=1, width=2)
    features.fit(x)
    assert torch.isfinite(features(x)).all()


def test_the_seed_decides_what_is_drawn() -> None:
    one = Modality("acc", ("x", "y", "z"), "m/s^2", 25.0)
    three = [ModalityFeatures([one], window_s=2.0, kernels=1, seed=s) for s in (0, 0, 1)]
    weights = [f.of("acc").get_buffer("weight_0") for f in three]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_every_encoder_and_aggregator_has_them_beside(source: ArraySource) -> None:
    model = CrossModalModel(
        MODALITIES, window_s=2.0, encoder=ENCODERS["tcn"], aggregator=AGGREGATORS["mlp"](),
        latent_dim=8, features=ModalityFeatures(MODALITIES, window_s=2.0, kernels=1, width=WIDTH),
    )  # fmt: skip
    model.fit(source, np.arange(40))
    assert model(collate(source, np.arange(2))).shape == (2, 16 + 3 * WIDTH)


@pytest.mark.parametrize("time", [1, 2, 7, 100, 128, 3840])
def test_the_spectrum_that_is_exported_is_that_of_the_fast_transform(time: int) -> None:
    x = torch.randn(3, time, 2, generator=torch.Generator().manual_seed(time))
    right = window_statistics_module._power(x.double())
    found = window_statistics_module._power_by_products(x)
    torch.testing.assert_close(found.double(), right, rtol=0, atol=1e-6 * float(right.max()))
