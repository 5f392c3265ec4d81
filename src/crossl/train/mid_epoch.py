"""A checkpoint within an epoch, written so that Lightning resumes from it exactly.

And what bits depend on beside seed and data: whoever resumes otherwise is warned.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch

from crossl.nn.attachment import kernels_in_use

logger = logging.getLogger(__name__)


def computed_by() -> dict[str, str]:
    """Name what sums are rounded by: threads, compiled kernels or plain torch, its version."""
    return {
        "threads": str(torch.get_num_threads()),
        "kernels": kernels_in_use(),
        "torch": str(torch.__version__),  # of a class of its own, which no checkpoint may name
    }


def warn_of_other_bits(before: Mapping[str, str]) -> None:
    """Warn where training is resumed with other threads, kernels or torch than it began with.

    Args:
        before: what `computed_by` said when the checkpoint was written.
    """
    now = computed_by()
    changed = [f"{name} {before.get(name)} before, {now[name]} now" for name in now
               if before.get(name) != now[name]]  # fmt: skip
    if changed:
        logger.warning(
            "pretraining is resumed by other means (%s): sums are rounded differently, so the "
            "weights will not be equal to the byte to those of an uninterrupted run",
            "; ".join(changed),
        )


def as_at_epoch_start(loops: dict[str, Any], *, epoch: int) -> None:
    """Let Lightning's progress tell that an epoch is about to begin, in place.

    Lightning 2.6 resumes within an epoch only from a loader that can be moved, and then counts
    batches, validation and metrics in ways of its own. An epoch that begins is what it resumes
    well: so the rest of an epoch is given to it as an epoch that happens to be shorter, and what
    the first part was (batches done, sums of metrics) is kept beside. The count of optimiser
    steps stays.

    Args:
        loops: the checkpoint's `loops`.
        epoch: number of the epoch within which it is written.
    """
    fit = loops["fit_loop"]
    for counts in ("total", "current"):
        for key in fit["epoch_progress"][counts]:
            fit["epoch_progress"][counts][key] = epoch
    batches = fit["epoch_loop.batch_progress"]
    for key in batches["current"]:
        batches["current"][key] = 0
    # of the batch in whose end this is written, `completed` was not counted yet
    batches["total"]["completed"] = batches["total"]["processed"]
    batches["is_last_batch"] = False
