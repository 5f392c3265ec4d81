"""Models that embed a window at a time: encoders of all modalities as one, weights stacked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from crossl.nn.aggregators import CompletingAggregator
from crossl.nn.encoders import StridedEncoder
from crossl.nn.fast.side_by_side import keep_stacked
from crossl.nn.fast.stacked import StackedEncoder
from crossl.nn.fast.unchanged import Unchanged
from crossl.nn.model import FEW_WINDOWS, CrossModalModel

_prepared: WeakKeyDictionary[CrossModalModel, tuple[Unchanged, StackedEncoder]] = (
    WeakKeyDictionary()
)


def prepare(model: CrossModalModel) -> bool:
    """Compute `CrossModalModel.prepare_for_few_windows`: for strided encoders of one input shape.

    Weights are copied; once they change, the copies are used no more.
    """
    if model in _prepared and _prepared[model][0].holds():
        return True
    shapes = {(len(m.channels), m.rate_hz) for m in model.modalities}
    encoders = [model.encoders.of(m.name) for m in model.modalities]
    made_as = {(type(e), getattr(e, "width", None)) for e in encoders}
    if len(shapes) > 1 or len(made_as) > 1 or type(encoders[0]) is not StridedEncoder:
        return False
    stacked = StackedEncoder(cast("list[StridedEncoder]", encoders))
    _prepared[model] = Unchanged(model.encoders), stacked
    if isinstance(model.aggregator, CompletingAggregator):
        keep_stacked(model.aggregator.project)
        keep_stacked(model.aggregator.predictors)
    return True


def is_ready(model: CrossModalModel, signals: Mapping[str, Tensor], present: Tensor) -> bool:
    """Tell whether a model was prepared for so few windows, and has not changed since."""
    del signals
    if model not in _prepared or len(present) > FEW_WINDOWS or torch.is_grad_enabled():
        return False
    if not _prepared[model][0].holds():
        _prepared.pop(model, None)
        return False
    return True


def encode(model: CrossModalModel, signals: Mapping[str, Tensor], present: Tensor) -> Tensor:
    """Compute `CrossModalModel.encode` of a few windows."""
    _, stacked = _prepared[model]
    latent = stacked(torch.stack([signals[m.name] for m in model.modalities]))
    return torch.where(present[:, :, None], latent, 0.0)
