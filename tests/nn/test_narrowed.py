"""A model of fewer sensors begins with the weights of one that has more."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from crossl.config import build_model, load_config
from crossl.data.recording import Modality
from crossl.nn.model import CrossModalModel
from crossl.nn.narrowed import begin_as

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
GYR = Modality("gyr", ("x", "y", "z"), "rad/s", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")
TINY = ("encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=16")


def model_of(*modalities: Modality, seed: int, settings: tuple[str, ...] = ()) -> CrossModalModel:
    config = load_config(overrides=[*TINY, *settings])
    return build_model(config, modalities, window_s=2.0, seed=seed).eval()


def test_it_says_what_the_other_says_when_only_its_sensors_are_there() -> None:
    whole, own = model_of(ACC, ECG, GYR, seed=0), model_of(GYR, ACC, seed=1)
    assert begin_as(own, whole) == ("gyr", "acc")
    signals = {m.name: torch.randn(5, 40, 3, generator=torch.Generator().manual_seed(2))
               for m in (ACC, GYR)}  # fmt: skip
    every = {**signals, "ecg": torch.zeros(5, 64, 1)}
    present = torch.tensor([[True, False, True]] * 4 + [[True, False, False]])
    with torch.inference_mode():
        latent = own.encode(signals, present[:, [2, 0]])
        given = whole.encode(every, present)
        assert_close(latent, given[:, [2, 0]])
        shared = own.aggregate(latent, present[:, [2, 0]])[:, :16]
        assert_close(shared, whole.aggregate(given, present)[:, :16])


def test_a_narrower_encoder_stays_as_it_was_and_nothing_is_shared() -> None:
    whole = model_of(ACC, ECG, seed=0)
    own = model_of(ACC, seed=1, settings=("encoder.width=4",))
    before = {name: x.clone() for name, x in own.encoders.state_dict().items()}
    assert begin_as(own, whole) == ()
    assert_close(dict(own.encoders.state_dict()), before, rtol=0, atol=0)
    assert_close(
        dict(own.aggregator.mix.state_dict()),  # type: ignore[attr-defined]
        dict(whole.aggregator.mix.state_dict()),  # type: ignore[attr-defined]
    )
    with torch.no_grad():
        for parameter in own.parameters():
            parameter.add_(1)
    assert_close(dict(whole.state_dict()), dict(model_of(ACC, ECG, seed=0).state_dict()))


@pytest.mark.parametrize("kind", ["attention", "transformer", "gated"])
def test_other_aggregators_begin_so_too(kind: str) -> None:
    settings = (f"aggregator={{kind: {kind}, shared_dim: 16}}",)
    whole = model_of(ACC, ECG, seed=0, settings=settings)
    own = model_of(ECG, seed=1, settings=settings)
    assert begin_as(own, whole) == ("ecg",)
