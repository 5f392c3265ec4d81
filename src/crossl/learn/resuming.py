"""A checkpoint within an epoch, in words that Lightning resumes from exactly."""

from __future__ import annotations

from typing import Any


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
