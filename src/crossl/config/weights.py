"""Whether weights are those of the network of a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from crossl.config.build import build_model
from crossl.config.encoders import Modules
from crossl.config.schema import RunConfig
from crossl.data.recording import Modality
from crossl.errors import ContractError, FormatError


@dataclass(frozen=True)
class Shape:
    """What a network is made for."""

    modalities: Sequence[Modality]
    window_s: float


def check_weights(
    weights: Mapping[str, torch.Tensor],
    config: RunConfig,
    shape: Shape,
    encoders: Modules,
    out: Path,
) -> None:
    """Refuse weights that the network of a config cannot have, before any memory is taken for it.

    Args:
        weights: by name.
        config: of a run.
        shape: of what the network is made for.
        encoders: modules that were handed over.
        out: the run folder, for messages.

    Raises:
        ContractError: a tensor has another shape or type than the network needs.
        FormatError: no such network can be built, or a number is not finite.
    """
    path = out / "weights.safetensors"
    try:
        with torch.device("meta"):
            network = build_model(
                config, shape.modalities, window_s=shape.window_s, seed=0, encoders=encoders
            )
    except (RuntimeError, MemoryError, ArithmeticError, TypeError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise FormatError(
            f"{out / 'config.yaml'}: no network can be built of it ({why:.150}); train again"
        ) from error
    wanted = {name: (tuple(t.shape), t.dtype) for name, t in network.state_dict().items()}
    for name in sorted(set(wanted) | set(weights)):
        got = (tuple(weights[name].shape), weights[name].dtype) if name in weights else (None, None)
        needs = wanted.get(name, (None, None))
        if got != needs:
            what, place = ("shape", 0) if got[0] != needs[0] else ("type", 1)
            raise ContractError(
                f"{path}: tensor '{name}' has {what} {got[place]}; the network of config.yaml "
                f"needs {needs[place]}"
            )
        if not torch.isfinite(weights[name]).all():
            raise FormatError(f"{path}: tensor '{name}' is not finite; train again")
        if name.startswith("standardiser.std_") and not (weights[name] > 0).all():
            raise FormatError(f"{path}: tensor '{name}' is not positive; train again")
