"""The model: one encoder per modality, their latents stacked, one aggregator.

Batch -> latent (B, M, K) -> embedding (B, D). An absent modality is zeros with `present` False,
and what those zeros hold changes neither an embedding nor a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from crossl.data.batch import Batch, in_batches
from crossl.data.contract import check_modality, check_window
from crossl.data.recording import Modality
from crossl.data.source import WindowSource
from crossl.errors import ConfigError, ContractError
from crossl.nn.aggregators import Aggregator
from crossl.nn.attachment import replaceable
from crossl.nn.encoders import GivesTokens
from crossl.nn.modality_encoders import ModalityEncoders
from crossl.nn.standardise import Standardiser

FEW_WINDOWS = 8
"""So many windows at a time are worth `CrossModalModel.prepare_for_few_windows`; more are not."""

Latent = Float[Tensor, "batch modality dim"]
Present = Bool[Tensor, "batch modality"]


class Tokens(NamedTuple):
    """Tokens in time of all modalities, P of them: as many as the modality with most has.

    Attributes:
        values: (B, M, P, K), zeros where nothing is.
        present: (B, M, P) bool: the modality is present and has that many.
    """

    values: Float[Tensor, "batch modality place dim"]
    present: Bool[Tensor, "batch modality place"]


class CrossModalModel(nn.Module):
    """Encoders, aggregator and standardisation of one set of modalities.

    Args:
        modalities: the M streams, in order.
        window_s: length of a window, seconds.
        encoder: makes the encoder of a modality from it and the samples of its windows.
        aggregator: joins latents; knows M and K.
        latent_dim: K.
        shared_encoders: groups of modalities of a kind that have one encoder.
        frozen_encoders: modalities whose encoder is not trained.

    Raises:
        ConfigError: modalities that are not there, or cannot share; see `ModalityEncoders`.
    """

    def __init__(
        self,
        modalities: Sequence[Modality],
        *,
        window_s: float,
        encoder: Callable[[Modality, int], nn.Module],
        aggregator: nn.Module,
        latent_dim: int,
        shared_encoders: Sequence[Sequence[str]] = (),
        frozen_encoders: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.modalities = tuple(modalities)
        self.window_s = window_s
        self.latent_dim = latent_dim
        self.standardiser = Standardiser(modalities)
        self.encoders = ModalityEncoders(
            modalities, encoder, window_s=window_s, shared=shared_encoders, frozen=frozen_encoders
        )
        self.aggregator: Aggregator = aggregator  # type: ignore[assignment]  # a Module and an Aggregator

    @property
    def embedding_dim(self) -> int:
        """D, the width of the aggregator's output."""
        one = next(self.parameters())
        latent = torch.zeros(1, len(self.modalities), self.latent_dim, device=one.device)
        with torch.inference_mode():
            return self.aggregate(latent, torch.ones_like(latent[:, :, 0]).bool()).shape[1]

    def standardise(self, batch: Batch) -> dict[str, Tensor]:
        """Blank what is absent, then standardise: {modality: (B, T, C)}."""
        return dict(self.standardiser(self.blank_absent(batch)))

    @replaceable
    def blank_absent(self, batch: Batch) -> Mapping[str, Tensor]:
        """Put zeros where a modality is absent, whatever stands there."""
        return {
            m.name: torch.where(batch.present[:, i, None, None], batch.signals[m.name], 0.0)
            for i, m in enumerate(self.modalities)
        }

    @replaceable
    def encode(self, signals: Mapping[str, Tensor], present: Present) -> Latent:
        """Encode standardised signals; the rows of absent modalities are zeros."""
        encoded = [self.encoders.of(m.name)(signals[m.name]) for m in self.modalities]
        latent = torch.stack(encoded, dim=1)  # M times (B, K) -> (B, M, K)
        return torch.where(present[:, :, None], latent, 0.0)

    def latent_of(self, name: str, x: Float[Tensor, "batch time channel"]) -> Tensor:
        """Standardise and encode one modality alone, present in all windows: (B, K)."""
        found: Tensor = self.encoders.of(name)(self.standardiser({name: x})[name])
        return found

    def encode_tokens(self, signals: Mapping[str, Tensor], present: Present) -> Tokens:
        """Encode standardised signals to tokens in time, for methods that ask for them.

        Raises:
            ConfigError: an encoder gives none.
        """
        found = []
        for m in self.modalities:
            encoder = self.encoders.of(m.name)
            if not isinstance(encoder, GivesTokens):
                raise ConfigError(
                    f"encoder of '{m.name}': {type(encoder).__name__} gives no tokens in time; "
                    "choose one that has `tokens`, such as 'strided' or 'tcn'"
                )
            found.append(encoder.tokens(signals[m.name]))
        most = max(one.shape[1] for one in found)
        padded = [nn.functional.pad(one, (0, 0, 0, most - one.shape[1])) for one in found]
        places = torch.arange(most, device=present.device)
        own = torch.stack([places < one.shape[1] for one in found])  # nothing waits for a device
        there = present[:, :, None] & own  # (B, M, P)
        values = torch.stack(padded, dim=1)
        return Tokens(torch.where(there[..., None], values, 0.0), there)

    def requires_grad_(self, requires_grad: bool = True) -> CrossModalModel:  # noqa: FBT001, FBT002 - torch's own
        """Say whether it is trained; frozen encoders never are."""
        super().requires_grad_(requires_grad)
        self.encoders.keep_frozen()
        return self

    @replaceable
    def prepare_for_few_windows(self) -> bool:
        """Get ready to embed a window at a time, where a faster way to do so is attached.

        Numbers stay the same, to rounding. A second call costs next to nothing.

        Returns:
            Whether there is such a way for this model.
        """
        return False

    def latent(self, batch: Batch) -> Latent:
        """Standardise and encode a batch."""
        return self.encode(self.standardise(batch), batch.present)

    def aggregate(self, latent: Latent, present: Present) -> Float[Tensor, "batch embedding"]:
        """Join the latents of present modalities."""
        return self.aggregator(latent, present[:, :, None].expand_as(latent))

    def forward(self, batch: Batch) -> Float[Tensor, "batch embedding"]:
        """Embed a batch: everything present is kept."""
        return self.aggregate(self.latent(batch), batch.present)


def encode_rows(
    model: CrossModalModel, source: WindowSource, rows: NDArray[np.int64], *, size: int = 1024
) -> Latent:
    """Compute the latents of rows without gradient, on the model's device, result on the CPU.

    Raises:
        ContractError: the source's modalities or window are not the model's.
    """
    check_contract(model, source)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            parts = [model.latent(b.to(device)).cpu() for b in in_batches(source, rows, size=size)]
    finally:
        model.train(was_training)
    if not parts:
        return torch.zeros(0, len(model.modalities), model.latent_dim)
    return torch.cat(parts).clone()


def check_contract(model: CrossModalModel, source: WindowSource) -> None:
    """Refuse windows that the model was not made for.

    Raises:
        ContractError: another modality, channel, unit, rate or window length.
    """
    got = {m.name: m for m in source.modalities}
    for wanted in model.modalities:
        if wanted.name not in got:
            raise ContractError(
                f"model: needs modality '{wanted.name}', got {sorted(got)}; give it, as absent if "
                "it was not recorded"
            )
        check_modality(got[wanted.name], wanted)
    unseen = sorted(set(got) - {m.name for m in model.modalities})
    if unseen:
        raise ContractError(
            f"modality '{unseen[0]}': the model never saw it; it was made for "
            f"{[m.name for m in model.modalities]}"
        )
    if [m.name for m in source.modalities] != [m.name for m in model.modalities]:
        raise ContractError(
            f"modalities: come as {[m.name for m in source.modalities]}; the model's order is "
            f"{[m.name for m in model.modalities]}"
        )
    check_window(source.window_s, model.window_s)
