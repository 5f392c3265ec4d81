"""Aggregators: masked latents of all modalities to one global embedding."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import linear

from crossl.nn.layers import apply_each
from crossl.nn.subsets import (
    Bias,
    Choices,
    LatentStack,
    Present,
    Readings,
    Weight,
    read_side_by_side,
)
from crossl.registry import register
from crossl.settings import Settings

Keep = Bool[Tensor, "batch modality dim"]
Embedding = Float[Tensor, "batch embedding"]


class Aggregator(Protocol):
    """What the model asks of an aggregator."""

    def __call__(self, latent: LatentStack, keep: Keep) -> Embedding:
        """Join what is kept; what is not kept must not matter."""


class AggregatorConfig(Settings):
    """Settings of an aggregator; a subclass has a `kind`, its settings and `build`."""

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model, with random weights.

        Args:
            modalities: M.
            latent_dim: K.

        Returns:
            A module called with latent (B, M, K) and keep (B, M, K); see `Aggregator`.
        """
        raise NotImplementedError

    @property
    def completes(self) -> bool:
        """Whether what it builds is a `CompletingAggregator` that predicts; `crossl` needs that."""
        return False


class MlpAggregator(nn.Module):
    """The authors' aggregator, which is also their projection head (`src/model.py:35-48`).

    Zeros stand for what is not kept: it cannot tell a silent sensor from a missing one. Flatten
    (M, K), dense 64 ReLU, dense D ReLU, dense D, layer normalisation (epsilon 1e-3); dense
    weights Glorot uniform, as in Keras.

    Args:
        modalities: M.
        latent_dim: K.
        dim: D.
        hidden: width of the first layer.
    """

    def __init__(
        self, modalities: int, *, latent_dim: int = 96, dim: int = 32, hidden: int = 64
    ) -> None:
        super().__init__()
        self.dim = dim
        widths = (modalities * latent_dim, hidden, dim, dim)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        for dense in self.dense:
            nn.init.xavier_uniform_(dense.weight)  # type: ignore[arg-type]
            nn.init.zeros_(dense.bias)  # type: ignore[arg-type]
        self.norm = nn.LayerNorm(dim, eps=1e-3)

    def forward(self, latent: LatentStack, keep: Keep) -> Embedding:
        """Join what is kept."""
        x = torch.where(keep, latent, 0.0).flatten(1)  # (B, M, K) -> (B, M*K), modality-major
        first, second, last = self.dense
        x = second(first(x).relu()).relu()
        out: Tensor = self.norm(last(x))
        return out

    def read_subsets(
        self, latent: LatentStack, present: Present, choices: Choices, weight: Weight, bias: Bias
    ) -> Readings:
        """Read the embedding under each subset; the first layer's products are shared."""
        keep = present[:, None] & choices  # (B, S, M)
        dense: Any = self.dense
        first, second, last = dense
        x = read_side_by_side(latent, keep, first.weight, first.bias)
        return linear(self.norm(last(second(x.relu()).relu())), weight, bias)


class MlpConfig(AggregatorConfig):
    """The authors' aggregator."""

    kind: Literal["mlp"] = "mlp"
    dim: int = Field(32, gt=0)
    hidden: int = Field(64, gt=0)

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return MlpAggregator(modalities, latent_dim=latent_dim, dim=self.dim, hidden=self.hidden)


register("aggregator", MlpConfig)


class ConcatAggregator(nn.Module):
    """All latents side by side, with nothing to learn: for methods that train encoders only."""

    def forward(self, latent: LatentStack, keep: Keep) -> Embedding:
        """Join what is kept; zeros stand for what is not."""
        return torch.where(keep, latent, 0.0).flatten(1)  # (B, M, K) -> (B, M*K)

    def read_subsets(
        self, latent: LatentStack, present: Present, choices: Choices, weight: Weight, bias: Bias
    ) -> Readings:
        """Read the embedding under each subset; what subsets have in common is computed once."""
        return read_side_by_side(latent, present[:, None] & choices, weight, bias)


class ConcatConfig(AggregatorConfig):
    """All latents side by side."""

    kind: Literal["concat"] = "concat"

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        del modalities, latent_dim
        return ConcatAggregator()


register("aggregator", ConcatConfig)


class CompletingAggregator(nn.Module):
    """What sensors share, and beside it each sensor's latent, predicted where it is missing.

    A subclass says how kept latents are joined to `shared` (B, S). From that a small network per
    modality predicts its latent; the prediction stands where an entry is not kept. The embedding
    is shared and completed latents side by side, D = S + M * K: it keeps what all sensors know as
    well as what only one knows, and a classifier trained on all of them finds every place filled
    when some are missing. Without predictors the embedding is what is shared, D = S.

    Attributes:
        shared_dim: S.
        dim: D.
        predictors: a network for each modality; none, where nothing is completed.
    """

    shared_dim: int
    dim: int
    project: nn.ModuleList
    predictors: nn.ModuleList

    def shared(self, latent: LatentStack, keep: Keep) -> Float[Tensor, "batch shared"]:
        """Join what is kept."""
        raise NotImplementedError

    def shared_of_subsets(
        self, latent: LatentStack, keep: Bool[Tensor, "batch subset modality"]
    ) -> Float[Tensor, "batch subset shared"]:
        """Join whole modalities, for many choices of them at once."""
        raise NotImplementedError

    def predict(self, shared: Float[Tensor, "batch shared"]) -> LatentStack:
        """Predict every modality's latent from what is shared."""
        everywhere = shared.expand(len(self.predictors), *shared.shape)
        return apply_each(self.predictors, everywhere).transpose(0, 1)

    def forward(self, latent: LatentStack, keep: Keep) -> Embedding:
        """Join what is kept and complete what is not."""
        shared = self.shared(latent, keep)
        if not len(self.predictors):
            return shared
        completed = torch.where(keep, latent, self.predict(shared))
        return torch.cat([shared, completed.flatten(1)], dim=1)

    def read_subsets(
        self, latent: LatentStack, present: Present, choices: Choices, weight: Weight, bias: Bias
    ) -> Readings:
        """Read the embedding under each subset, computing once what subsets have in common.

        Predictors run only where something is missing.
        """
        keep = present[:, None] & choices  # (B, S, M)
        shared = self.shared_of_subsets(latent, keep)
        if not len(self.predictors):
            return linear(shared, weight, bias)
        shared = shared.flatten(0, 1)  # (B*S, shared)
        of_shared, of_latents = weight.split([self.shared_dim, self.dim - self.shared_dim], dim=1)
        out = read_side_by_side(latent, keep, of_latents, bias).flatten(0, 1)
        out.addmm_(shared, of_shared.T)
        columns = of_latents.unflatten(1, latent.shape[1:]).unbind(1)
        predictors: Any = self.predictors
        for kept, (first, activation, last), reads in zip(
            keep.unbind(2), predictors, columns, strict=True
        ):
            rows = (~kept).flatten().nonzero()[:, 0]
            # the last layer and the read-out, both affine, are one product
            read = linear(
                activation(first(shared.index_select(0, rows))),
                reads @ last.weight,
                reads @ last.bias,
            )
            out.index_add_(0, rows, read)
        batch, choice, _ = keep.shape
        return out.view(batch, choice, len(bias))


class PredictiveAggregator(CompletingAggregator):
    """The default aggregator: the mean of what is kept, and predictions of what is missing.

    Each kept latent is projected; their mean over the kept modalities, mixed by a small network,
    is what is shared. Nothing here is computed across a batch.

    Args:
        modalities: M.
        latent_dim: K.
        shared_dim: S.
    """

    def __init__(self, modalities: int, *, latent_dim: int, shared_dim: int = 128) -> None:
        super().__init__()
        self.dim = shared_dim + modalities * latent_dim
        self.shared_dim = shared_dim
        self.project = projections(modalities, latent_dim, shared_dim)
        self.mix = mixer(shared_dim)
        self.predictors = predictors(modalities, latent_dim, shared_dim)

    def shared(self, latent: LatentStack, keep: Keep) -> Float[Tensor, "batch shared"]:
        """Join what is kept; each modality weighs by the share of it that is kept."""
        kept = keep.to(latent.dtype)
        both = torch.cat([torch.where(keep, latent, 0.0), kept], dim=2)  # (B, M, 2K)
        projected = apply_each(self.project, both.transpose(0, 1))  # (M, B, S)
        weight = kept.mean(dim=2).T[:, :, None]  # (M, B, 1)
        mean = (projected * weight).sum(dim=0) / weight.sum(dim=0).clamp(min=1e-6)
        out: Tensor = self.mix(mean)
        return out

    def shared_of_subsets(
        self, latent: LatentStack, keep: Bool[Tensor, "batch subset modality"]
    ) -> Float[Tensor, "batch subset shared"]:
        """Give `shared` of whole modalities kept or not, without a mean over them per subset.

        Projections, and the first layer after their mean, are computed once for all subsets.
        """
        whole = torch.cat([latent, torch.ones_like(latent)], dim=2)
        projected = apply_each(self.project, whole.transpose(0, 1)).transpose(0, 1)
        share = keep.to(latent.dtype)
        share = share / share.sum(dim=2, keepdim=True).clamp(min=1)  # (B, S, M)
        mix: Any = self.mix
        norm, (first, activation, last), norm_out = mix
        # layer normalisation shifts and scales a mean of projections; shifting and the linear
        # layer after it commute with the mean, and products of the projections tell the scale
        centred = projected - projected.mean(dim=2, keepdim=True)
        spread = torch.bmm(share, centred @ centred.transpose(1, 2))
        variance = (spread * share).sum(dim=2, keepdim=True) / self.shared_dim
        x = torch.bmm(
            share * (variance + norm.eps).rsqrt(), (centred * norm.weight) @ first.weight.T
        )
        x.add_(linear(norm.bias, first.weight, first.bias))
        out: Tensor = norm_out(last(activation(x)))
        return out


class PredictiveConfig(AggregatorConfig):
    """The default aggregator."""

    kind: Literal["predictive"] = "predictive"
    shared_dim: int = Field(128, gt=0)

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return PredictiveAggregator(modalities, latent_dim=latent_dim, shared_dim=self.shared_dim)

    @property
    def completes(self) -> bool:
        """It does."""
        return True


register("aggregator", PredictiveConfig)


def projections(modalities: int, latent_dim: int, width: int) -> nn.ModuleList:
    """Make a network for each modality, from its latent and which entries are kept to a token."""
    return nn.ModuleList(_two_layers(2 * latent_dim, width, width) for _ in range(modalities))


def mixer(width: int) -> nn.Sequential:
    """Make what follows pooled tokens: two layers between normalisations."""
    return nn.Sequential(
        nn.LayerNorm(width), _two_layers(width, 2 * width, width), nn.LayerNorm(width)
    )


def predictors(modalities: int, latent_dim: int, width: int) -> nn.ModuleList:
    """Make a network for each modality, from what is shared to its latent."""
    return nn.ModuleList(_two_layers(width, width, latent_dim) for _ in range(modalities))


def _two_layers(fan_in: int, hidden: int, fan_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(fan_in, hidden), nn.GELU(), nn.Linear(hidden, fan_out))
