"""Windows through a model, batch by batch, to embeddings, latents or probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossl.data.batch import in_batches
from crossl.data.neighbours import InPlaces, neighbours
from crossl.data.recording import Float32
from crossl.data.source import WindowSource
from crossl.evaluate.latents import Head
from crossl.evaluate.probe import Probe
from crossl.nn.finite import check_finite, check_reach
from crossl.nn.model import FEW_WINDOWS, CrossModalModel

Read: TypeAlias = Callable[[Tensor, Tensor], NDArray[np.floating[Any]]]
"""From latents (B, M, K) and present (B, M) to an array with a row for each window."""


def encode_windows(
    model: CrossModalModel, source: WindowSource, *reads: Read, where: str = "windows"
) -> list[Float32]:
    """Compute the latents of all windows once, and read something of them.

    Args:
        model: in evaluation mode, on any device.
        source: windows with the model's modalities.
        reads: what is read of each batch.
        where: names the windows in messages.

    Returns:
        For each read (n, ...) float32; NaN for a window in which nothing was recorded.

    Raises:
        DataError: numbers so far from those of training that nothing finite comes out.
    """
    device = next(model.parameters()).device
    if len(source) <= FEW_WINDOWS and device.type == "cpu":
        model.prepare_for_few_windows()
    parts = [[_no_rows(model, read)] for read in reads]
    with torch.inference_mode():
        for batch in in_batches(source, np.arange(len(source))):
            check_reach(where, model.standardiser, batch.signals)
            moved = batch.to(device)
            latent = model.latent(moved)
            some = batch.present.any(dim=1).numpy()
            for part, read in zip(parts, reads, strict=True):
                rows = np.asarray(read(latent, moved.present), dtype=np.float32)
                check_finite(where, rows.reshape(len(rows), -1), batch.signals)
                part.append(np.where(some.reshape(-1, *[1] * (rows.ndim - 1)), rows, np.nan))
    return [np.concatenate(part) for part in parts]


def _no_rows(model: CrossModalModel, read: Read) -> Float32:
    """Return what is read of no window, which has a shape all the same."""
    latent = next(model.parameters()).new_zeros(1, len(model.modalities), model.stack_dim)
    with torch.inference_mode():
        read_of_one = read(latent, torch.ones_like(latent[:, :, 0], dtype=torch.bool))
    return np.asarray(read_of_one, dtype=np.float32)[:0]


def embedding_of(model: CrossModalModel, head: Head = "aggregator") -> Read:
    """Read embeddings, (B, D): the aggregator's, or latents side by side."""

    def read(latent: Tensor, present: Tensor) -> NDArray[np.floating[Any]]:
        if head == "encoders":
            return np.asarray(torch.where(present[:, :, None], latent, 0.0).flatten(1).cpu())
        return np.asarray(model.aggregate(latent, present).cpu())

    return read


def latents_of(latent: Tensor, present: Tensor) -> NDArray[np.floating[Any]]:
    """Read latents, (B, M, K), zeros where a modality is absent."""
    del present
    return np.asarray(latent.cpu())


def outputs_of(probe: Probe, embedding: Float32, store: InPlaces | None) -> Float32:
    """Return what a probe reads of embeddings; see `Probe.decide` for what follows.

    Args:
        probe: with or without neighbours.
        embedding: (n, D) of all windows, in order; NaN where nothing was recorded.
        store: that they are of; windows of no store have no neighbours.

    Returns:
        (n, R), NaN where nothing was recorded.
    """
    known = np.asarray(np.isfinite(embedding).all(axis=1))
    weight, bias = probe.affine()
    read = np.where(known[:, None], embedding, 0) @ weight.T + bias
    return with_neighbours(probe, np.where(known[:, None], read, np.nan), store)


def affine_of(model: CrossModalModel, probe: Probe) -> Read:
    """Read what the affine map of a probe makes of embeddings, (B, O * R)."""
    weight, bias = probe.affine()
    embed = embedding_of(model, probe.head)

    def read(latent: Tensor, present: Tensor) -> NDArray[np.floating[Any]]:
        return np.asarray(embed(latent, present) @ weight.T + bias)

    return read


def with_neighbours(probe: Probe, read: Float32, windows: InPlaces | None) -> Float32:
    """Return the outputs of a probe, to which the neighbours of a window may add.

    Args:
        probe: with or without neighbours.
        read: (n, O * R) of all windows, in order; NaN where nothing was recorded.
        windows: that they are of; None where nobody knows which are neighbours.

    Returns:
        (n, R), NaN where nothing was recorded.
    """
    known = np.asarray(np.isfinite(read).all(axis=1))
    width = read.shape[1] // len(probe.offsets)
    read = np.where(known[:, None], read, 0).reshape(len(read), len(probe.offsets), width)
    out = read[:, probe.offsets.index(0)]
    if windows is not None and len(probe.offsets) > 1:
        near = neighbours(windows, np.arange(len(windows)), probe.offsets)
        parts = [np.where(column[:, None] >= 0, read[column, place], 0)
                 for place, column in enumerate(near.T)]  # fmt: skip
        out = np.sum(parts, axis=0)
    return np.where(known[:, None], out, np.nan).astype(np.float32)
