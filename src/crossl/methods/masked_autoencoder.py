"""Masked autoencoder with inherited and artificial masks: LSM-2 with AIM (arXiv 2506.05321)."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossl.errors import ConfigError
from crossl.methods.hiding import hidden_of, hide_modalities, hide_places, hide_tokens, shown_first
from crossl.methods.method import AsRecorded, Drawn, Encoded, Present, Signals, Targets
from crossl.methods.tokens import (
    TokenDecoder,
    TokenMethodConfig,
    normalise_patches,
    parts_of_tokens,
)
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.encoders import EncoderConfig
from crossl.nn.model import CrossModalModel
from crossl.nn.patch_transformer import PatchTransformerConfig
from crossl.nn.precision import at_least_float32
from crossl.registry import register


class MaskedAutoencoderMethod(AsRecorded):
    """Rebuild patches that were hidden, from those that are shown, of all modalities together.

    Xu et al. 2025, "LSM-2: Learning from Incomplete Wearable Sensor Data", adaptive and inherited
    masking. Patches of modalities that a window lacks are an inherited mask. To it comes an
    artificial one, drawn for each window out of three: a share of all patches, of places in time,
    or of modalities. What is in either mask is not attended to: as many tokens as any artificial
    mask hides never enter the encoder, others that are hidden are masked in its attention. A
    decoder with a learnt token for all that is missing rebuilds patches, normalised each; the mean
    squared error counts patches under the artificial mask only. In use there is the inherited mask
    alone, and the embedding is the mean of the tokens that are there.

    Deviations: a patch holds all channels of a modality, normalised each for itself; the network is
    small (the paper's numbers are from memory); positions are learnt; the run's own optimiser.
    `configs/ssl.yaml` departs further, where it helped on validation people: patches as they are,
    and as embedding the means of each modality's tokens side by side.

    Args:
        model: with patch_transformer encoders of depth 0, read as tokens, and a token_transformer.
        patch_rate: share of patches that is hidden, where patches are.
        place_rate: share of places in time.
        modality_rate: share of modalities.
        normalised: rebuild patches of mean 0 and variance 1, not as they are.
        decoder_dim: width of the decoder.
        decoder_depth: its blocks.
        decoder_heads: of its attention.

    Raises:
        ConfigError: another model, or one of a single patch.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        patch_rate: float = 0.8,
        place_rate: float = 0.5,
        modality_rate: float = 0.5,
        normalised: bool = True,
        decoder_dim: int = 64,
        decoder_depth: int = 2,
        decoder_heads: int = 4,
    ) -> None:
        super().__init__()
        self.model, self.normalised = model, normalised
        aggregator, encoders = parts_of_tokens("masked_autoencoder", model)
        _refuse_leaks(encoders)
        modalities, places = len(model.modalities), aggregator.places
        tokens = modalities * places
        if tokens < 2:
            raise ConfigError(
                "method.kind 'masked_autoencoder': a window is 1 patch; at least 2 are needed, of "
                "which some are hidden (encoder.places)"
            )
        self.rates = {"patch": patch_rate, "place": place_rate, "modality": modality_rate}
        self.shown = max(  # more are never shown
            tokens - hidden_of(tokens, patch_rate),
            modalities * (places - hidden_of(places, place_rate)) if places > 1 else 0,
            places * (modalities - hidden_of(modalities, modality_rate)) if modalities > 1 else 0,
        )
        self.decoder = TokenDecoder(
            aggregator.width,
            places,
            modalities=modalities,
            own=decoder_dim,
            depth=decoder_depth,
            heads=decoder_heads,
        )
        self.outs = nn.ModuleList(
            nn.Linear(decoder_dim, encoder.length * len(m.channels))
            for m, encoder in zip(model.modalities, encoders, strict=True)
        )
        self._channels = [len(m.channels) for m in model.modalities]

    def extra_repr(self) -> str:
        """Say what is not a layer."""
        return f"{self.rates}, shown={self.shown}"

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Make tokens of patches, `latents` (B, M, K), and what is to rebuild, `patches_NAME`."""
        encoded: dict[str, Tensor] = {"latents": self.model.encode(signals, present)}
        _, encoders = parts_of_tokens("masked_autoencoder", self.model)
        for m, encoder in zip(self.model.modalities, encoders, strict=True):
            patches = at_least_float32(encoder.patches(signals[m.name]))
            if self.normalised:
                patches = normalise_patches(patches, len(m.channels))
            encoded[f"patches_{m.name}"] = patches
        return encoded

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw what is hidden, `hidden` (B, M, P), and the order of tokens, `order` (B, M * P)."""
        aggregator, _ = parts_of_tokens("masked_autoencoder", self.model)
        places, rates = aggregator.places, self.rates
        hide = partial(_hide, present, places, generator)
        hidden = torch.stack(
            [
                hide(hide_tokens, rates["patch"]),
                hide(hide_places, rates["place"]),
                hide(hide_modalities, rates["modality"]),
            ]
        )  # (3, B, M, P)
        # hiding places, or modalities, where there is one alone would hide nothing
        possible = hidden.flatten(2).any(dim=2).T  # (B, 3)
        score = torch.rand(possible.shape, generator=generator, device=present.device)
        chosen = torch.where(possible, score, -1.0).argmax(dim=1)
        hidden = hidden[chosen, torch.arange(len(present), device=present.device)]
        shown = present[:, :, None] & ~hidden
        return {"hidden": hidden, "order": shown_first(shown.flatten(1))}

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the term `reconstruction`, the mean over patches that were hidden."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        hidden = drawn["hidden"]
        rebuilt = self.rebuild(encoded["latents"], present[:, :, None] & ~hidden, drawn["order"])
        error = torch.zeros((), device=hidden.device)
        for column, (m, out) in enumerate(zip(self.model.modalities, self.outs, strict=True)):
            told = at_least_float32(out(rebuilt[:, column]))
            each = (told - encoded[f"patches_{m.name}"]).square().mean(dim=2)  # (B, P)
            error = error + torch.where(hidden[:, column], each, 0.0).sum()
        return {"reconstruction": error / hidden.sum().clamp(min=1)}

    def rebuild(self, latents: Tensor, shown: Tensor, order: Tensor) -> Tensor:
        """Predict every patch from those that are shown: (B, M, P, decoder_dim).

        Args:
            latents: (B, M, K).
            shown: (B, M, P).
            order: (B, M * P), tokens that are shown first.
        """
        aggregator, _ = parts_of_tokens("masked_autoencoder", self.model)
        index = order[:, : self.shown]
        tokens = aggregator.tokens(latents)
        tokens = tokens.gather(1, index[..., None].expand(-1, -1, tokens.shape[2]))
        there = shown.flatten(1).gather(1, index)
        told: Tensor = self.decoder(aggregator.join(tokens, there), there, index)
        return told.view(*shown.shape, -1)


def _hide(present: Present, places: int, rng: torch.Generator, way: Any, rate: float) -> Tensor:
    found: Tensor = way(present, places, rate=rate, rng=rng)
    return found


def _refuse_leaks(encoders: list[Any]) -> None:
    if any(len(encoder.blocks) for encoder in encoders):
        raise ConfigError(
            "method.kind 'masked_autoencoder': encoders join patches before some are hidden; "
            "needed is a patch_transformer of depth 0"
        )


class MaskedAutoencoderConfig(TokenMethodConfig):
    """A masked autoencoder with inherited and artificial masks."""

    kind: Literal["masked_autoencoder"] = "masked_autoencoder"
    patch_rate: float = Field(0.8, gt=0, lt=1)
    place_rate: float = Field(0.5, gt=0, lt=1)
    modality_rate: float = Field(0.5, gt=0, lt=1)
    normalised: bool = True

    def build(self, model: CrossModalModel) -> MaskedAutoencoderMethod:
        """Make the method around a model."""
        return MaskedAutoencoderMethod(model, **self.model_dump(exclude={"kind"}))

    def refuses_encoder(self, encoder: EncoderConfig, aggregator: AggregatorConfig) -> str | None:
        """Refuse an encoder that joins patches before some are hidden, too."""
        other = super().refuses_encoder(encoder, aggregator)
        if other is None and isinstance(encoder, PatchTransformerConfig) and encoder.depth:
            return f"encoder.depth 0, or hidden patches would leak, has {encoder.depth}"
        return other


register("method", MaskedAutoencoderConfig)
