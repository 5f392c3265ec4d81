"""Outputs: what a classifier's numbers are handed out as."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32
from crossl.evaluate.probe import Probe


def blank(latent: Float32, present: NDArray[np.bool_]) -> Float32:
    """Return latents (n, M, K) with NaN where a modality was not recorded."""
    return np.where(present[:, :, None], latent, np.float32(np.nan))


def said_by(probe: Probe, outputs: Float32) -> NDArray[Any]:
    """Return what follows from a probe's outputs; nothing from those that are NaN."""
    known, target = np.asarray(np.isfinite(outputs).all(axis=1)), probe.task.target
    said = probe.decide(np.where(known[:, None], outputs, 0))
    if target.kind == "classes":
        return np.where(known, np.array(target.names)[said], "")
    return np.where(known[:, None], said, target.unknown(1)[0])
