"""When a step does not fit into memory: find out what would."""

from __future__ import annotations

import gc
import re
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.data.batch import collate
from crossl.errors import TrainingError
from crossl.nn.precision import computing_in
from crossl.train.processes import Processes

if TYPE_CHECKING:
    from crossl.train.training import Training

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


def refuse_batch(training: Training, processes: Processes) -> TrainingError:
    """Make the error that names the batch size that fits.

    A step of half the windows is tried on this process alone, then of a quarter, and so on: what
    is named was measured, not guessed. Of several processes each holds its share of a batch.

    Args:
        training: whose batch did not fit.
        processes: that share a batch.
    """
    device, words = training.device, training.words
    fits = share = max(2, training.plan.size // processes.world)
    while fits > 1:
        fits //= 2
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if fits > 1 and _can_step(training, training.plan.rows[:fits]):
            break
    training.forget_step()
    where = "main memory" if device.type == "cpu" else f"the memory of {device}"
    told = f"{words.what}: a step of {share} windows does not fit into {where}"
    if fits < 2:
        return TrainingError(f"{told}, nor do 2; cut shorter windows or choose a smaller encoder")
    return TrainingError(
        f"{told}, one of {fits} did when tried; use --set "
        f"{words.batch_size}={fits * processes.world} in a new folder"
    )


def _can_step(training: Training, rows: NDArray[np.int64]) -> bool:
    method, device, targets = training.method, training.device, training.targets
    try:
        training.module.to(device)
        batch = collate(training.source, rows).to(device)
        wanted = None if targets is None else torch.from_numpy(targets[rows]).to(device)
        with computing_in(training.pace.precision, device):
            generator = torch.Generator(device=device).manual_seed(0)
            terms = method.terms(batch, generator, wanted)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            return False
        raise
    return True
