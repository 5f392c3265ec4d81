"""A module of one's own as the encoder of a modality."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError


def adopt_module(module: nn.Module, modality: Modality, samples: int, *, dim: int) -> nn.Module:
    """Return a copy of a module, once it is seen to encode windows of a modality.

    A copy, because several models may be made with it, and what one learns must not reach another.

    Args:
        module: from (B, T, C) to (B, K); nothing in it may be computed across a batch.
        modality: what it encodes.
        samples: T of its windows.
        dim: K of the model.

    Raises:
        ConfigError: it is not a module, fails on such windows, or gives something else.

    Examples:
        >>> ecg = Modality("ecg", ("lead",), "V", 50.0)
        >>> net = nn.Sequential(nn.Flatten(), nn.Linear(100, 8))
        >>> adopt_module(net, ecg, 100, dim=8)(torch.zeros(3, 100, 1)).shape
        torch.Size([3, 8])
        >>> adopt_module(net, ecg, 100, dim=64)
        Traceback (most recent call last):
        ...
        crossl.errors.ConfigError: encoders['ecg']: gives (2, 8) for windows (2, 100, 1); (2, 64), \
float, is needed, encoder.dim is 64
    """
    where = f"encoders['{modality.name}']"
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{where}: is a {type(module).__name__}; a torch.nn.Module is needed")
    own = copy.deepcopy(module)
    shape = (2, samples, len(modality.channels))
    try:
        given = _try(own, shape)
    except Exception as error:
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigError(
            f"{where}: fails on windows {shape} of (batch, time, channel): {told:.200}"
        ) from error
    if not (isinstance(given, Tensor) and given.shape == (2, dim) and given.is_floating_point()):
        got = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
        raise ConfigError(
            f"{where}: gives {got} for windows {shape}; (2, {dim}), float, is needed, encoder.dim "
            f"is {dim}"
        )
    return own


def check_windows_apart(module: nn.Module, modality: Modality) -> None:
    """Refuse batch normalisation in a module that is trained: it mixes the windows of a batch.

    Raises:
        ConfigError: names the layer.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            raise ConfigError(
                f"encoders['{modality.name}']: layer '{name}' is batch normalisation, which mixes "
                "the windows of a batch; freeze the encoder (frozen_encoders), or normalise "
                "otherwise, such as by torch.nn.GroupNorm"
            )


def _try(module: nn.Module, shape: tuple[int, int, int]) -> object:
    """Encode zeros, which changes neither the module nor what is drawn by chance."""
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    was_training = module.training
    module.eval()
    try:
        with torch.device(device), torch.random.fork_rng(devices=[]), torch.no_grad():
            return module(torch.zeros(shape))
    finally:
        module.train(was_training)
