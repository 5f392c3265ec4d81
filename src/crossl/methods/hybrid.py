"""Masked prediction of tokens and contrast together, as SynthSleepNet (arXiv 2502.17481)."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossl.errors import ConfigError
from crossl.methods.hiding import hidden_of, hide_each, shown_first
from crossl.methods.method import AsRecorded, Drawn, Encoded, Present, Signals, Targets
from crossl.methods.one_view import mean_of_pairs
from crossl.methods.tokens import TokenDecoder, TokenMethodConfig, parts_of_tokens
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.pairs import nt_xent_among
from crossl.registry import register


class HybridMethod(AsRecorded):
    """Tell hidden tokens of each modality from all that are shown; match the whole with each.

    Lee et al. 2025, "Toward Foundational Model for Sleep Analysis Using a Multimodal Hybrid
    Self-Supervised Learning Framework" (SynthSleepNet). Backbones, the run's encoders, make tokens
    of each modality. A share of them is hidden; the aggregator joins the others, and a decoder for
    each modality tells its hidden tokens (`tokens`, mean squared error). The mean of what was
    joined and each modality's mean find each other by NT-Xent (`contrast`). Backbones learn from
    their own modality alone, to rebuild its hidden patches from the others (`backbone`).

    Deviations: backbones are learned at the same time as what joins them, not before it, and get
    gradient from the masked reconstruction alone (theirs from a contrast of two masked views too,
    and in the second stage from low-rank additions, `frozen` false is the nearest to these); no
    sequence of windows on top; the network is small. The published decoder cuts the tokens of the
    second modality and later at the wrong places; this one gets its own, as the paper says.

    Args:
        model: with patch_transformer encoders, read as tokens, and a token_transformer.
        hide_rate: share of the tokens of each modality that is hidden from what joins them.
        backbone_rate: share of the patches that is hidden from a backbone when it learns.
        contrast_weight: factor of the contrast.
        temperature: divides its cosine similarities.
        frozen: whether prediction and contrast leave the backbones alone.
        decoder_dim: width of the decoders.
        decoder_depth: their blocks.
        decoder_heads: of their attention.
        hidden: width of the projections' first layer.
        dim: of what is contrasted.

    Raises:
        ConfigError: another model, or one patch of a window.
    """

    def __init__(  # noqa: PLR0913 - settings
        self,
        model: CrossModalModel,
        *,
        hide_rate: float = 0.4,
        backbone_rate: float = 0.75,
        contrast_weight: float = 1.0,
        temperature: float = 0.1,
        frozen: bool = True,
        decoder_dim: int = 64,
        decoder_depth: int = 1,
        decoder_heads: int = 4,
        hidden: int = 256,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.model, self.frozen = model, frozen
        self.hide_rate, self.backbone_rate = hide_rate, backbone_rate
        self.contrast_weight, self.temperature = contrast_weight, temperature
        aggregator, encoders = parts_of_tokens("hybrid", model)
        self.places, width = aggregator.places, aggregator.width
        if self.places < 2:
            raise ConfigError(
                "method.kind 'hybrid': encoder.places is 1; at least 2 are needed, of which some "
                "are hidden"
            )

        def decoder() -> TokenDecoder:
            return TokenDecoder(
                width,
                self.places,
                modalities=1,
                own=decoder_dim,
                depth=decoder_depth,
                heads=decoder_heads,
            )

        def two_layers(out: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))

        each = model.modalities
        self.predictors = nn.ModuleList(decoder() for _ in each)
        self.told = nn.ModuleList(nn.Linear(decoder_dim, width) for _ in each)
        self.rebuilders = nn.ModuleList(decoder() for _ in each)
        self.rebuilt = nn.ModuleList(
            nn.Linear(decoder_dim, encoder.length * len(m.channels))
            for m, encoder in zip(each, encoders, strict=True)
        )
        self.projections = nn.ModuleList(two_layers(dim) for _ in each)
        self.fused_projection = two_layers(dim)

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Make tokens, `latents` (B, M, K), and keep the patches, `patches_NAME`."""
        encoded: dict[str, Tensor] = {"latents": self.model.encode(signals, present)}
        _, encoders = parts_of_tokens("hybrid", self.model)
        for m, encoder in zip(self.model.modalities, encoders, strict=True):
            encoded[f"patches_{m.name}"] = encoder.patches(signals[m.name])
        return encoded

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw what is hidden of each modality: `hidden` and `own`, (B, M, P) both."""
        everything = present.new_ones(()).expand(present.shape)
        return {
            name: hide_each(everything, self.places, rate=rate, rng=generator)
            for name, rate in (("hidden", self.hide_rate), ("own", self.backbone_rate))
        }

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `backbone`, `tokens` and `contrast`."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        latents = encoded["latents"].unflatten(2, (self.places, -1))  # (B, M, P, W)
        given = latents.detach() if self.frozen else latents
        index = self._shown(drawn["hidden"], self.hide_rate)
        joined = self._join(given, present, index)
        return {
            "backbone": self._backbone_error(encoded, present, drawn["own"]),
            "tokens": self._token_error(joined, latents.detach(), present, drawn["hidden"], index),
            "contrast": self.contrast_weight * self._contrast(joined, given, present),
        }

    def _shown(self, hidden: Tensor, rate: float) -> Tensor:
        """Return the places of the tokens that are shown, as many of each modality: (B, M, S)."""
        order = shown_first(~hidden.flatten(0, 1))[:, : self.places - hidden_of(self.places, rate)]
        return order.view(*hidden.shape[:2], -1)

    def _join(self, given: Tensor, present: Present, index: Tensor) -> Tensor:
        """Join the tokens that are shown: (B, M, S, W)."""
        aggregator, _ = parts_of_tokens("hybrid", self.model)
        tokens = aggregator.tokens(given.flatten(2)).view_as(given)
        some = tokens.gather(2, index[..., None].expand(-1, -1, -1, tokens.shape[3]))
        there = present[:, :, None].expand(index.shape)
        return aggregator.join(some.flatten(1, 2), there.flatten(1)).view_as(some)

    def _token_error(
        self, joined: Tensor, wanted: Tensor, present: Present, hidden: Tensor, index: Tensor
    ) -> Tensor:
        errors = []
        for m, (predictor, out) in enumerate(zip(self.predictors, self.told, strict=True)):
            there = present[:, m, None].expand(index[:, m].shape)
            told = at_least_float32(out(predictor(joined[:, m], there, index[:, m])))
            errors.append((told - at_least_float32(wanted[:, m])).square().mean(dim=2))
        return _mean_where(torch.stack(errors, dim=1), hidden & present[:, :, None])

    def _backbone_error(self, encoded: Encoded, present: Present, hidden: Tensor) -> Tensor:
        _, encoders = parts_of_tokens("hybrid", self.model)
        index = self._shown(hidden, self.backbone_rate)
        errors = []
        parts = zip(self.model.modalities, encoders, self.rebuilders, self.rebuilt, strict=True)
        for column, (m, encoder, rebuilder, out) in enumerate(parts):
            patches, places = encoded[f"patches_{m.name}"], index[:, column]
            tokens = encoder.embedded(patches)
            some = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[2]))
            there = torch.ones_like(places, dtype=torch.bool)
            told = at_least_float32(out(rebuilder(encoder.join(some), there, places)))
            errors.append((told - patches).square().mean(dim=2))
        return _mean_where(torch.stack(errors, dim=1), hidden & present[:, :, None])

    def _contrast(self, joined: Tensor, given: Tensor, present: Present) -> Tensor:
        weight = present[:, :, None].to(joined.dtype)
        fused = (joined.mean(dim=2) * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        whole = at_least_float32(self.fused_projection(fused))
        found = [
            nt_xent_among(
                whole,
                at_least_float32(projection(given[:, m].mean(dim=1))),
                present[:, m],
                temperature=self.temperature,
            )
            for m, projection in enumerate(self.projections)
        ]
        return mean_of_pairs(found, list(present.sum(dim=0)))


def _mean_where(errors: Tensor, counts: Tensor) -> Tensor:
    return torch.where(counts, errors, 0.0).sum() / counts.sum().clamp(min=1)


class HybridConfig(TokenMethodConfig):
    """Masked prediction of tokens and contrast together."""

    kind: Literal["hybrid"] = "hybrid"
    hide_rate: float = Field(0.4, gt=0, lt=1)
    backbone_rate: float = Field(0.75, gt=0, lt=1)
    contrast_weight: float = Field(1.0, ge=0)
    temperature: float = Field(0.1, gt=0)
    frozen: bool = True
    decoder_depth: int = Field(1, ge=0)
    hidden: int = Field(256, gt=0)
    dim: int = Field(128, gt=0)

    def build(self, model: CrossModalModel) -> HybridMethod:
        """Make the method around a model."""
        return HybridMethod(model, **self.model_dump(exclude={"kind"}))


register("method", HybridConfig)
