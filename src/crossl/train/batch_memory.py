"""When a step does not fit into memory: find out what would."""

from __future__ import annotations

import gc
import re
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from crossl.data.batch import collate
from crossl.data.source import WindowSource
from crossl.errors import TrainingError
from crossl.methods import Method
from crossl.nn.precision import computing_in
from crossl.train.processes import Processes

# torch's allocator of main memory and oneDNN raise plain RuntimeErrors
_SAID = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|not enough memory|out of memory|bad_alloc"
    r"|could not create a (primitive|memory)"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on whatever device."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _SAID.search(str(error)) is not None


def refuse_batch(
    size: int, *, method: Method, source: WindowSource, rows: NDArray[np.int64],
    precision: str, device: torch.device, processes: Processes,
) -> TrainingError:  # fmt: skip
    """Make the error that names the batch size that fits.

    A step of half the windows is tried on this process alone, then of a quarter, and so on: what
    is named was measured, not guessed. Of several processes each holds its share of a batch.

    Args:
        size: windows of the whole batch that did not fit.
        method: is trained.
        source: windows.
        rows: of training.
        precision: of the schedule.
        device: of this process.
        processes: that share a batch.
    """
    module = cast("nn.Module", method)
    fits = share = max(2, size // processes.world)
    while fits > 1:
        fits //= 2
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if fits > 1 and _can_step(method, source, rows[:fits], precision, device):
            break
    for parameter in module.parameters():
        parameter.grad = None
    where = "main memory" if device.type == "cpu" else f"the memory of {device}"
    told = f"pretraining: a step of {share} windows does not fit into {where}"
    if fits < 2:
        return TrainingError(f"{told}, nor do 2; cut shorter windows or choose a smaller encoder")
    return TrainingError(
        f"{told}, one of {fits} did when tried; use --set "
        f"schedule.batch_size={fits * processes.world} in a new folder"
    )


def _can_step(
    method: Method, source: WindowSource, rows: NDArray[np.int64], precision: str,
    device: torch.device,
) -> bool:  # fmt: skip
    try:
        cast("nn.Module", method).to(device)
        batch = collate(source, rows).to(device)
        with computing_in(precision, device):
            terms = method.terms(batch, torch.Generator(device=device).manual_seed(0))
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return False
        raise
    return True
