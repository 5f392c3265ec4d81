"""Read weights in the authors' Keras layout into the `paper` network.

Keras keeps a convolution kernel as (k, in, out) and a dense kernel as (in, out); torch has
(out, in, k) and (out, in).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossl.errors import ContractError
from crossl.nn.aggregators import MlpAggregator
from crossl.nn.encoders import TcnEncoder

Arrays = Mapping[str, NDArray[np.floating[Any]]]


def load_keras_encoder(encoder: TcnEncoder, arrays: Arrays) -> None:
    """Copy `conv1_kernel`, `conv1_bias`, `ln1_gamma`, `ln1_beta`, `prelu1_alpha`, ... 3.

    Raises:
        ContractError: an array is missing or has another shape.
    """
    for name, (parameter, turn) in encoder_parameters(encoder).items():
        _copy(name, arrays, parameter, turn=turn)


def load_keras_aggregator(aggregator: MlpAggregator, arrays: Arrays) -> None:
    """Copy `dense1_kernel`, `dense1_bias`, ... 3, `ln_gamma`, `ln_beta`.

    Raises:
        ContractError: an array is missing or has another shape.
    """
    for name, (parameter, turn) in aggregator_parameters(aggregator).items():
        _copy(name, arrays, parameter, turn=turn)


def encoder_parameters(encoder: TcnEncoder) -> dict[str, tuple[nn.Parameter, bool]]:
    """Pair Keras names with parameters, and tell whether axes are reversed."""
    out: dict[str, tuple[Any, bool]] = {}
    layers = zip(encoder.convolutions, encoder.norms, encoder.activations, strict=True)
    for i, (convolution, norm, activation) in enumerate(layers, start=1):
        out[f"conv{i}_kernel"] = (convolution.weight, True)
        out[f"conv{i}_bias"] = (convolution.bias, False)
        out[f"ln{i}_gamma"] = (norm.weight, False)
        out[f"ln{i}_beta"] = (norm.bias, False)
        out[f"prelu{i}_alpha"] = (activation.weight, False)
    return out


def aggregator_parameters(aggregator: MlpAggregator) -> dict[str, tuple[nn.Parameter, bool]]:
    """Pair Keras names with parameters, and tell whether axes are reversed."""
    out: dict[str, tuple[Any, bool]] = {}
    for i, dense in enumerate(aggregator.dense, start=1):
        out[f"dense{i}_kernel"] = (dense.weight, True)
        out[f"dense{i}_bias"] = (dense.bias, False)
    out["ln_gamma"] = (aggregator.norm.weight, False)
    out["ln_beta"] = (aggregator.norm.bias, False)
    return out


def _copy(name: str, arrays: Arrays, parameter: Tensor, *, turn: bool) -> None:
    if name not in arrays:
        raise ContractError(f"Keras weights: '{name}' is missing; the layout needs every layer")
    value = torch.from_numpy(np.array(arrays[name], dtype=np.float32))
    value = value.permute(*reversed(range(value.ndim))) if turn else value.reshape(-1)
    if value.shape != parameter.shape:
        raise ContractError(
            f"Keras weights: '{name}' has shape {tuple(arrays[name].shape)}, which gives "
            f"{tuple(value.shape)}; this network needs {tuple(parameter.shape)}"
        )
    with torch.no_grad():
        parameter.copy_(value)
