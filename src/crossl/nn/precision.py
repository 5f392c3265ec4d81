"""In which type networks compute."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

import torch
from torch import Tensor

logger = logging.getLogger(__name__)


def computing_in(
    precision: str, device: torch.device, *, cache: bool = True
) -> AbstractContextManager[None]:
    """Compute in `float32`, or in `bfloat16` where autocast holds that safe.

    Args:
        precision: one of the two.
        device: of what is computed.
        cache: keep weights that were converted for the next use.
    """
    return torch.autocast(
        device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=cache
    )


def at_least_float32(x: Tensor) -> Tensor:
    """Widen what was computed in a short type; statistics and losses need the digits."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def warn_if_slow(precision: str, device: torch.device) -> None:
    """Say that a processor multiplies bfloat16 by emulation, if it does."""
    if precision == "bfloat16" and device.type == "cpu" and not cpu_multiplies_bfloat16():
        logger.warning(
            "schedule.precision: this processor does not multiply bfloat16 itself, which makes "
            "training slower, not faster; float32 is advised"
        )


def cpu_multiplies_bfloat16() -> bool:
    """Tell whether the processor has instructions for it, as far as torch knows."""
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return any(bool(getattr(torch.cpu, name)()) for name in names if hasattr(torch.cpu, name))
