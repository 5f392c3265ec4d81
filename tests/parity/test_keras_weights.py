"""Weights in the authors' layout: they fit exactly or are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.errors import ContractError
from crossl.nn.aggregators import MlpAggregator
from crossl.nn.encoders import TcnEncoder
from tests.parity.keras_weights import (
    aggregator_parameters,
    encoder_parameters,
    load_keras_aggregator,
    load_keras_encoder,
)


def encoder():
    return TcnEncoder(2, dim=8)


def aggregator():
    return MlpAggregator(2, latent_dim=8, dim=4, hidden=5)


KINDS = {
    "encoder": (encoder, encoder_parameters, load_keras_encoder, "conv2_kernel"),
    "aggregator": (aggregator, aggregator_parameters, load_keras_aggregator, "dense2_kernel"),
}


def keras_layout(parameters):
    """Turn parameters into what Keras would have saved."""
    return {
        name: np.transpose(p.detach().numpy()) if turn else p.detach().numpy()
        for name, (p, turn) in parameters.items()
    }


@pytest.fixture(params=list(KINDS))
def kind(request):
    return KINDS[request.param]


def test_weights_survive_the_layout(kind):
    build, parameters, load, _ = kind
    wanted, got = build(), build()
    for parameter in wanted.parameters():
        torch.nn.init.normal_(parameter)
    load(got, keras_layout(parameters(wanted)))
    torch.testing.assert_close(dict(got.state_dict()), dict(wanted.state_dict()), rtol=0, atol=0)


def test_every_parameter_has_a_keras_name(kind):
    build, parameters, _, _ = kind
    module = build()
    named = {id(parameter) for parameter, _ in parameters(module).values()}
    assert named == {id(parameter) for parameter in module.parameters()}


def test_a_missing_array_is_refused(kind):
    build, parameters, load, name = kind
    arrays = keras_layout(parameters(build()))
    del arrays[name]
    with pytest.raises(ContractError, match=f"Keras weights: '{name}' is missing; the layout"):
        load(build(), arrays)


def test_an_array_of_another_shape_is_refused(kind):
    build, parameters, load, name = kind
    arrays = keras_layout(parameters(build()))
    arrays[name] = arrays[name][:-1]
    with pytest.raises(ContractError, match=rf"'{name}' has shape \(.*this network needs \("):
        load(build(), arrays)


def test_a_kernel_that_is_not_turned_is_refused(kind):
    build, parameters, load, name = kind
    arrays = keras_layout(parameters(build()))
    arrays[name] = arrays[name].T
    with pytest.raises(ContractError, match=f"'{name}' has shape"):
        load(build(), arrays)
