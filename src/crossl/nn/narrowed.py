"""A model begun with another's weights, modality by modality, where networks are the same."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from crossl.nn.model import CrossModalModel


def begin_as(
    model: CrossModalModel, other: CrossModalModel, origins: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Copy weights of another model into one of fewer modalities, or of others.

    An encoder is copied as a whole or not at all, and so is each network of the aggregator, if all
    its weights have the same shapes. Networks of single modalities in a list are matched by name of
    the modality.

    Args:
        model: gets weights.
        other: gives weights.
        origins: which of its modalities each of the model's begins as; one that is not named keeps
            its weights. None where the other has at least the model's modalities.

    Returns:
        Names of modalities whose encoder was copied.
    """
    names = [m.name for m in model.modalities]
    given = [m.name for m in other.modalities]
    origins = {name: name for name in names} if origins is None else origins
    places = [given.index(origins[name]) if name in origins else None for name in names]
    copied = [name for name in names if name in origins
              and _copy(model.encoders.of(name), other.encoders.of(origins[name]))]  # fmt: skip
    for key, part in _parts(model.aggregator):
        source = dict(_parts(other.aggregator)).get(key)
        if source is None:
            continue
        if isinstance(part, nn.ModuleList) and len(part) == len(names):
            if isinstance(source, nn.ModuleList) and len(source) == len(given):
                for own, place in zip(part, places, strict=True):
                    if place is not None:
                        _copy(own, source[place])
        else:
            _copy(part, source)
    return tuple(copied)


def _parts(module: object) -> list[tuple[str, nn.Module]]:
    assert isinstance(module, nn.Module)  # noqa: S101 - an aggregator is one
    return list(module.named_children())


def _copy(target: nn.Module, source: nn.Module) -> bool:
    """Copy all weights, if names and shapes are the same."""
    own, given = target.state_dict(), source.state_dict()
    if own.keys() != given.keys() or any(x.shape != given[n].shape for n, x in own.items()):
        return False
    with torch.no_grad():
        target.load_state_dict({name: _whole(x) for name, x in given.items()})
    return True


def _whole(x: Tensor) -> Tensor:
    return x.detach().clone()
