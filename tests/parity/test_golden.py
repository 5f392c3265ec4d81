"""The `paper` recipe against numbers that the authors' own code gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.nn.aggregators import MlpAggregator
from crossl.nn.encoders import TcnEncoder
from crossl.objectives import cocoa, dcl, hard_dcl, info_nce, vicreg
from crossl.train.adam import KerasAdam
from tests.parity.keras_weights import (
    aggregator_parameters,
    encoder_parameters,
    load_keras_aggregator,
    load_keras_encoder,
)

# float32 sums in another order than the original's: relative to the largest entry of an array
FORWARD, GRADIENT = 1e-5, 1e-4


def assert_near(actual: torch.Tensor, expected: np.ndarray, tolerance: float) -> None:
    """Compare relative to the largest entry."""
    scale = float(np.abs(expected).max()) or 1.0
    torch.testing.assert_close(
        actual.detach(), torch.from_numpy(np.array(expected)), rtol=0, atol=tolerance * scale
    )


def with_prefix(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def assert_gradients(parameters, arrays, skip=()):
    for name, (parameter, turn) in parameters.items():
        if name in skip:
            continue
        gradient = parameter.grad
        gradient = gradient.permute(2, 1, 0) if turn and gradient.ndim == 3 else gradient
        gradient = gradient.T if turn and gradient.ndim == 2 else gradient
        assert_near(gradient.reshape(arrays[name].shape), arrays[name], GRADIENT)


@pytest.mark.parametrize("name", ["encoder_512x3_c96", "encoder_37x2_c16"])
def test_encoder_equals_the_original(golden, name):
    arrays = golden(name)
    encoder = TcnEncoder(arrays["x"].shape[2], dim=arrays["y"].shape[1]).eval()
    load_keras_encoder(encoder, with_prefix(arrays, "w_"))
    y = encoder(torch.from_numpy(arrays["x"]))
    assert_near(y, arrays["y"], FORWARD)
    (y * torch.from_numpy(arrays["cotangent"])).sum().backward()
    assert_gradients(encoder_parameters(encoder), with_prefix(arrays, "grad_"))
    penalty = 1e-4 * sum(kernel.square().sum() for kernel in encoder.kernels())
    assert_near(penalty, arrays["l2_term"], FORWARD)


@pytest.mark.parametrize("name", ["projector_m3_c16_p8", "projector_m6_c96_p32"])
def test_aggregator_equals_the_original(golden, name):
    arrays = golden(name)
    x = torch.from_numpy(arrays["x"]).requires_grad_()
    _, modalities, latent_dim = x.shape
    aggregator = MlpAggregator(modalities, latent_dim=latent_dim, dim=arrays["y"].shape[1])
    load_keras_aggregator(aggregator, with_prefix(arrays, "w_"))
    y = aggregator(x, torch.ones_like(x, dtype=torch.bool))
    assert_near(y, arrays["y"], FORWARD)
    (y * torch.from_numpy(arrays["cotangent"])).sum().backward()
    assert_near(x.grad, arrays["grad_x"], GRADIENT)
    assert_gradients(aggregator_parameters(aggregator), with_prefix(arrays, "grad_"))


COEFFICIENTS = {
    "c10_10_100": (10.0, 10.0, 100.0),
    "c25_25_1": (25.0, 25.0, 1.0),
    "sim": (1.0, 0.0, 0.0),
    "std": (0.0, 1.0, 0.0),
    "cov": (0.0, 0.0, 1.0),
}


def test_vicreg_equals_the_original(golden):
    arrays = golden("vicreg")
    pairs = sorted({key.split("__")[0] for key in arrays})
    assert len(pairs) >= 8
    for pair in pairs:
        for name, weights in COEFFICIENTS.items():
            if f"{pair}__{name}__mean" not in arrays:
                continue
            a, b = (torch.from_numpy(arrays[f"{pair}__z{v}"]).requires_grad_() for v in "ab")
            terms = vicreg(a, b, invariance=weights[0], variance=weights[1], covariance=weights[2])
            loss = sum(terms.values())
            expected = torch.from_numpy(arrays[f"{pair}__{name}__mean"])
            torch.testing.assert_close(loss.detach(), expected, rtol=1e-5, atol=1e-6)
            if f"{pair}__{name}__grad_za" in arrays:
                loss.backward()
                for view, z in (("a", a), ("b", b)):
                    wanted = arrays[f"{pair}__{name}__grad_z{view}"]
                    # where the exact gradient is zero only rounding noise is stored
                    if np.abs(wanted).max() > 1e-6:
                        assert_near(z.grad, wanted, GRADIENT)


@pytest.mark.parametrize("temperature", [0.2, 0.5])
@pytest.mark.parametrize(("key", "loss"), [("nce", info_nce), ("dcl", dcl), ("harddcl", hard_dcl)])
def test_contrastive_losses_equal_the_original(golden, key, loss, temperature):
    arrays = golden("contrastive")
    for case in ("b8", "b32", "b16d96", "orth"):
        stem = f"{case}__{key}_T{temperature}"
        a, b = (torch.from_numpy(arrays[f"{case}__r{v}"]).requires_grad_() for v in "12")
        value = loss(a, b, temperature=temperature)["contrast"]
        expected = torch.from_numpy(arrays[stem])
        torch.testing.assert_close(value.detach(), expected, rtol=1e-5, atol=1e-6)
        if f"{stem}__grad_r1" in arrays:
            value.backward()
            assert_near(a.grad, arrays[f"{stem}__grad_r1"], GRADIENT)
            assert_near(b.grad, arrays[f"{stem}__grad_r2"], GRADIENT)


def test_cocoa_equals_the_original(golden):
    arrays = golden("contrastive")
    cases = [key for key in arrays if key.startswith("cocoa_") and arrays[key].ndim == 0]
    assert cases
    for key in cases:
        stem, temperature = key.rsplit("_T", 1)
        z = torch.from_numpy(arrays[f"{stem}__z"]).requires_grad_()
        value = sum(cocoa(z, temperature=float(temperature)).values())
        torch.testing.assert_close(
            value.detach(), torch.from_numpy(arrays[key]), rtol=1e-5, atol=1e-6
        )
        value.backward()
        assert_near(z.grad, arrays[f"{key}__grad"], GRADIENT)


def build_step_network(arrays):
    encoders = torch.nn.ModuleList(
        TcnEncoder(arrays[f"s0_x{i}"].shape[2], dim=arrays["s0_emb"].shape[2]).eval()
        for i in range(arrays["s0_emb"].shape[1])
    )
    aggregator = MlpAggregator(
        len(encoders), latent_dim=arrays["s0_emb"].shape[2], dim=arrays["s0_rep_a"].shape[1]
    )
    for i, encoder in enumerate(encoders):
        load_keras_encoder(encoder, with_prefix(arrays, f"w0_enc{i}_"))
    load_keras_aggregator(aggregator, with_prefix(arrays, "w0_proj_"))
    return encoders, aggregator


def named_parameters(encoders, aggregator):
    out = {f"proj_{k}": v for k, v in aggregator_parameters(aggregator).items()}
    for i, encoder in enumerate(encoders):
        out |= {f"enc{i}_{k}": v for k, v in encoder_parameters(encoder).items()}
    return out


@pytest.mark.parametrize(("name", "loss"), [
    ("trainstep_small_vicreg", lambda a, b: vicreg(a, b, invariance=10, variance=10,
                                                   covariance=100)),
    ("trainstep_small_dcl", dcl),
])  # fmt: skip
def test_training_steps_equal_the_original(golden, name, loss):
    arrays = golden(name)
    encoders, aggregator = build_step_network(arrays)
    optimizer = KerasAdam([*encoders.parameters(), *aggregator.parameters()], lr=1e-4)
    # the loss is shift invariant: this gradient is rounding noise, which Adam makes lr-sized
    noise = {"proj_ln_beta"} if "vicreg" in name else set()
    steps = len([key for key in arrays if key.endswith("_total")])
    for step in range(steps):
        s = with_prefix(arrays, f"s{step}_")
        latent = torch.stack(
            [encoder(torch.from_numpy(s[f"x{i}"])) for i, encoder in enumerate(encoders)], dim=1
        )
        assert_near(latent, s["emb"], FORWARD)
        views = []
        for view in "ab":
            keep = torch.from_numpy(s[f"mask_{view}"]).bool().expand_as(latent)
            views.append(aggregator(latent, keep))
            # from the second step on the noise in proj_ln_beta shifts whole columns
            shift = bool(noise) and step > 0
            centre = [v - v.mean(axis=0) * shift for v in (views[-1], s[f"rep_{view}"])]
            assert_near(centre[0], centre[1], FORWARD)
        reported = sum(loss(*views).values())
        torch.testing.assert_close(
            reported.detach(), torch.from_numpy(s["loss_reported"]), rtol=1e-5, atol=0
        )
        penalty = 1e-4 * sum(k.square().sum() for e in encoders for k in e.kernels())
        total = reported + penalty
        torch.testing.assert_close(total.detach(), torch.from_numpy(s["total"]), rtol=1e-5, atol=0)
        optimizer.zero_grad()
        total.backward()
        parameters = named_parameters(encoders, aggregator)
        if step == 0:
            assert_gradients(parameters, with_prefix(arrays, "g0_"), skip=noise)
        optimizer.step()
        if step == 0:
            assert_weights(parameters, with_prefix(arrays, "w1_"), skip=noise)
    assert_weights(parameters, with_prefix(arrays, f"w{steps}_"), skip=noise)


def assert_weights(parameters, arrays, skip):
    for name, (parameter, turn) in parameters.items():
        if name in skip:
            continue
        value = parameter.detach()
        value = value.permute(*reversed(range(value.ndim))) if turn else value
        expected = torch.from_numpy(arrays[name])
        torch.testing.assert_close(value.reshape(expected.shape), expected, rtol=1e-5, atol=2e-6)
