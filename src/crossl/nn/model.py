"""The model: one encoder per modality, their latents stacked, one aggregator.

Batch -> latent (B, M, K) -> embedding (B, D). An absent modality is zeros with `present` False,
and what those zeros hold changes neither an embedding nor a gradient. With untrained features,
`latent` has P more columns and the embedding M * P more: they stand beside what is trained.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
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
from crossl.nn.features import ModalityFeatures
from crossl.nn.modality_encoders import ModalityEncoders
from crossl.nn.standardise import Standardiser
from crossl.nn.subsets import read_side_by_side, read_subsets

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
        features: untrained, to stand beside the embedding; None for none.

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
        features: ModalityFeatures | None = None,
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
        self.features: ModalityFeatures | None = features

    @property
    def embedding_dim(self) -> int:
        """D, the width of the aggregator's output, without untrained features."""
        one = next(self.parameters())
        latent = torch.zeros(1, len(self.modalities), self.latent_dim, device=one.device)
        with torch.inference_mode():
            return self.aggregate(latent, torch.ones_like(latent[:, :, 0]).bool()).shape[1]

    @property
    def whole_dim(self) -> int:
        """The width of what `forward` gives: D, and M * P of untrained features."""
        return self.embedding_dim + len(self.modalities) * (self.stack_dim - self.latent_dim)

    @property
    def stack_dim(self) -> int:
        """Columns of `latent`: K, and P of untrained features."""
        return self.latent_dim + (0 if self.features is None else self.features.width)

    def fit(self, source: WindowSource, rows: NDArray[np.int64]) -> None:
        """Fit on windows without labels what no gradient trains: standardisation, features.

        Args:
            source: a store or arrays.
            rows: windows of training subjects, and of no others.

        Raises:
            DataError: a modality is present in none of them.
        """
        self.standardiser.fit(source, rows)
        if self.features is not None:
            self.features.fit(source, rows, self.standardiser)

    def with_features(self, features: ModalityFeatures | None) -> CrossModalModel:
        """Return a model that shares all weights with this one, but has other untrained features.

        Args:
            features: fitted; None for none.
        """
        if features is self.features:
            return self
        other = copy(self)
        other._modules = dict(self._modules)
        other.features = features
        return other

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
        """Compute the columns of `latent` of one modality alone, present in all windows."""
        standard = self.standardiser({name: x})[name]
        found: Tensor = self.encoders.of(name)(standard)
        if self.features is None:
            return found
        return torch.cat([found, self.features.of(name)(standard)], dim=1)

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
        """Standardise and encode a batch, with untrained features beside, if the model has them."""
        signals = self.standardise(batch)
        latent = self.encode(signals, batch.present)
        if self.features is None:
            return latent
        return torch.cat([latent, self.features(signals, batch.present)], dim=2)

    def aggregate(self, latent: Latent, present: Present) -> Float[Tensor, "batch embedding"]:
        """Join the latents of present modalities.

        Args:
            latent: (B, M, K) of `encode`, or of `latent` with the columns of untrained features,
                which then stand at the embedding's end.
            present: (B, M) bool.
        """
        own, beside = latent.split([self.latent_dim, latent.shape[2] - self.latent_dim], dim=2)
        embedding = self.aggregator(own, present[:, :, None].expand_as(own))
        if not beside.shape[2]:
            return embedding
        return torch.cat([embedding, torch.where(present[:, :, None], beside, 0.0).flatten(1)], 1)

    def read_subsets(
        self, latent: Latent, present: Present, choices: Tensor, weight: Tensor, bias: Tensor
    ) -> Float[Tensor, "batch subset output"]:
        """Read `aggregate` under each subset; see `crossl.nn.subsets.read_subsets`."""
        own, beside = latent.split([self.latent_dim, latent.shape[2] - self.latent_dim], dim=2)
        if not beside.shape[2]:
            return read_subsets(self.aggregator, latent, present, choices, weight, bias)
        last = beside.shape[1] * beside.shape[2]
        of_own, of_beside = weight.split([weight.shape[1] - last, last], dim=1)
        read = read_subsets(self.aggregator, own, present, choices, of_own, bias)
        shown = torch.where(present[:, :, None], beside, 0.0)
        keep = present[:, None] & choices
        return read + read_side_by_side(shown, keep, of_beside, torch.zeros_like(bias))

    def untrained_columns(self, *, aggregated: bool) -> NDArray[np.bool_] | None:
        """Tell which columns of what a classifier reads are untrained features; None for none.

        Args:
            aggregated: of the embedding; else of latents side by side.
        """
        if self.features is None:
            return None
        modalities, beside = len(self.modalities), self.features.width
        if aggregated:
            return np.repeat([False, True], [self.embedding_dim, modalities * beside])
        return np.tile(np.repeat([False, True], [self.latent_dim, beside]), modalities)

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
        return torch.zeros(0, len(model.modalities), model.stack_dim)
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
