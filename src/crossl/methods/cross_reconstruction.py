"""Dropped patches of time and spectrum are rebuilt from what is left (arXiv 2205.09928)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import normalize

from crossl.errors import ConfigError
from crossl.methods.augment import Augmentation
from crossl.methods.method import Drawn, Encoded, Present, Signals, Targets
from crossl.methods.one_view import EncodersOnly, OneView
from crossl.methods.views import Augment
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.encoders import EncoderConfig
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.nn.time_frequency import Domains, TimeFrequencyConfig, TimeFrequencyEncoder
from crossl.nn.transformer import TransformerBlock
from crossl.registry import register

TokensOf = Float[Tensor, "modality batch token dim"]
Indices = Int[Tensor, "modality batch token"]


class CrossReconstructionMethod(OneView):
    """Patches of time, magnitude and phase are dropped, more and more; the rest rebuilds all.

    Zhang et al. 2023, "Self-Supervised Time Series Representation Learning via Cross Reconstruction
    Transformer". Of each modality some patches in time, and some bands of magnitude and phase
    together, are dropped; the encoder joins what is left; a decoder with a learnt token for what
    was dropped rebuilds every patch (`reconstruction`). Tokens of a window are held apart from what
    the encoder makes of its other tokens (`instance`). The share that is dropped rises while
    training.

    Deviations: each modality rebuilds itself, by an encoder of its own (see `TimeFrequencyEncoder`)
    and one decoder for all; patches are rebuilt after the decoder, kept ones too; the mean error of
    each domain counts alike; windows are augmented as those of other methods; what is dropped is
    drawn for each window, not for a batch.

    Args:
        model: with `TimeFrequencyEncoder`s alike in all but their patches, and an aggregator
            without weights.
        augmentation: of the window.
        first_rate: share of the patches that is dropped at the start of training.
        last_rate: share at its end, and in validation.
        decoder_depth: blocks of the decoder.
        heads: of its attention.
        instance: weight of the constraint that holds tokens apart.

    Raises:
        ConfigError: another encoder.
    """

    progress: Tensor

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        first_rate: float = 0.3,
        last_rate: float = 0.8,
        decoder_depth: int = 1,
        heads: int = 4,
        instance: float = 1e-4,
    ) -> None:
        super().__init__()
        self.model, self.augmentation = model, augmentation or Augmentation()
        self.first_rate, self.last_rate, self.instance = first_rate, last_rate, instance
        encoders = _encoders(model)
        dim, count = encoders[0].width, encoders[0].count
        self.places, self.bands = encoders[0].places, encoders[0].bands
        # a buffer, so that a resumed training goes on where it was
        self.register_buffer("progress", torch.zeros(()))
        self.unknown = nn.Parameter(torch.empty(dim))
        self.position = nn.Parameter(torch.empty(len(encoders), count, dim))
        for parameter in (self.unknown, self.position):
            nn.init.normal_(parameter, std=0.02)
        self.decoder = nn.ModuleList(
            TransformerBlock(dim, heads=heads) for _ in range(decoder_depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.rebuild = nn.ModuleList(
            nn.ModuleList(nn.Linear(dim, cast("int", size)) for size in encoder.sizes)
            for encoder in encoders
        )
        self.projections = nn.ModuleList(nn.Linear(dim, dim) for _ in range(2))

    def after_step(self, step: int, total: int) -> None:
        """Drop more from now on."""
        self.progress.fill_(step / total)

    @property
    def rate(self) -> float:
        """The share of patches that is dropped now."""
        done = float(self.progress) if self.training else 1.0
        return self.first_rate + (self.last_rate - self.first_rate) * done

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Make a token of each patch, `tokens` (B, M, N, W); keep patches as `time_NAME`, ..."""
        del present
        tokens, encoded = [], dict[str, Tensor]()
        for m, encoder in zip(self.model.modalities, _encoders(self.model), strict=True):
            patches = encoder.patches(signals[m.name])
            tokens.append(encoder.embed(patches))
            encoded |= {f"{domain}_{m.name}": x for domain, x in patches._asdict().items()}
        return {"tokens": torch.stack(tokens, dim=1), **encoded}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw which tokens are kept of each modality, `kept` (M, B, n)."""
        shape, rate = present.T.shape, self.rate
        kept = [_some(shape, count, rate, generator) for count in (self.places, self.bands)]
        spectral = [self.places + kept[1], self.places + self.bands + kept[1]]
        return {"kept": torch.cat([kept[0], *spectral], dim=2)}

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `reconstruction` and `instance`."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        encoders = _encoders(self.model)
        tokens: TokensOf = encoded["tokens"].transpose(0, 1)
        index = drawn["kept"][..., None].expand(-1, -1, -1, tokens.shape[3])
        own = tokens.gather(2, index)
        placed = [
            x + encoder.position[chosen]
            for x, chosen, encoder in zip(own, drawn["kept"], encoders, strict=True)
        ]
        joined = torch.stack([e.join(x) for e, x in zip(encoders, placed, strict=True)])
        weight = present.T.to(torch.float32)
        apart = held_apart(self.projections[0](own), self.projections[1](joined))
        return {
            "reconstruction": _mean(self._errors(joined, index, encoded), weight),
            "instance": self.instance * _mean(apart, weight),
        }

    def _errors(
        self, joined: TokensOf, index: Tensor, encoded: Encoded
    ) -> Float[Tensor, "modality batch"]:
        """Return the mean squared error of the three domains of each window."""
        modalities, batch = joined.shape[:2]
        filled = self.unknown.expand(modalities, batch, *self.position.shape[1:]).to(joined.dtype)
        x = filled.scatter(2, index, joined) + self.position[:, None]
        x = x.flatten(0, 1)
        for block in self.decoder:
            x = block(x)
        told = self.norm(x).unflatten(0, (modalities, batch))
        counts = [self.places, self.bands, self.bands]
        errors = []
        for m, rebuild, mine in zip(self.model.modalities, self.rebuild, told, strict=True):
            maps = zip(Domains._fields, cast("nn.ModuleList", rebuild), strict=True)
            parts = zip(maps, mine.split(counts, dim=1), strict=True)
            each = [
                (at_least_float32(out(some)) - at_least_float32(encoded[f"{domain}_{m.name}"]))
                .square().mean(dim=(1, 2))
                for (domain, out), some in parts
            ]  # fmt: skip
            errors.append(torch.stack(each).mean(dim=0))
        return torch.stack(errors)


def held_apart(before: TokensOf, after: TokensOf) -> Float[Tensor, "modality batch"]:
    """Return how alike tokens are to what was made of the other tokens of their window.

    The published instance discrimination constraint: the logarithm of the sum, over all pairs of
    different tokens, of the exponential of their cosine.

    Examples:
        >>> held_apart(torch.eye(2)[None, None], torch.eye(2)[None, None]).exp().tolist()
        [[2.0]]
    """
    cosine = normalize(at_least_float32(before), dim=3) @ normalize(
        at_least_float32(after), dim=3
    ).transpose(2, 3)
    itself = torch.eye(cosine.shape[2], dtype=torch.bool, device=cosine.device)
    return cosine.masked_fill(itself, -torch.inf).flatten(2).logsumexp(dim=2)


def _some(
    shape: torch.Size, count: int, rate: float, generator: torch.Generator
) -> Int[Tensor, "modality batch kept"]:
    """Draw some of a number of patches for each window, without `rate` of them; at least one."""
    kept = max(1, count - int(rate * count + 1e-6))
    score = torch.rand((*shape, count), generator=generator, device=generator.device)
    return score.argsort(dim=2)[..., :kept]


def _mean(x: Tensor, weight: Tensor) -> Tensor:
    return (x * weight).sum() / weight.sum().clamp(min=1)


def _encoders(model: CrossModalModel) -> list[TimeFrequencyEncoder]:
    """Return the encoder of each modality.

    Raises:
        ConfigError: one is another, or has other patches than the first.
    """
    found = [model.encoders.of(m.name) for m in model.modalities]
    for m, encoder in zip(model.modalities, found, strict=True):
        if not isinstance(encoder, TimeFrequencyEncoder):
            raise ConfigError(
                f"method.kind 'cross_reconstruction': encoder of '{m.name}' is a "
                f"{type(encoder).__name__}; needed is encoder.kind 'time_frequency'"
            )
    encoders = cast("list[TimeFrequencyEncoder]", found)
    for m, encoder in zip(model.modalities, encoders, strict=True):
        if (encoder.places, encoder.bands) != (encoders[0].places, encoders[0].bands):
            raise ConfigError(
                f"method.kind 'cross_reconstruction': encoder of '{m.name}' has {encoder.places} "
                f"places and {encoder.bands} bands, another {encoders[0].places} and "
                f"{encoders[0].bands}; all need the same"
            )
    return encoders


class CrossReconstructionConfig(EncodersOnly):
    """Reconstruction of dropped patches of time, magnitude and phase."""

    kind: Literal["cross_reconstruction"] = "cross_reconstruction"
    first_rate: float = Field(0.3, ge=0, lt=1)
    last_rate: float = Field(0.8, ge=0, lt=1)
    decoder_depth: int = Field(1, ge=0)
    heads: int = Field(4, gt=0)
    instance: float = Field(1e-4, ge=0)

    def refuses_encoder(self, encoder: EncoderConfig, aggregator: AggregatorConfig) -> str | None:
        """Refuse an encoder that does not see time, magnitude and phase."""
        del aggregator
        fits = isinstance(encoder, TimeFrequencyConfig)
        return None if fits else "encoder.kind 'time_frequency'"

    def build(self, model: CrossModalModel) -> CrossReconstructionMethod:
        """Make the method around a model."""
        return CrossReconstructionMethod(
            model,
            augmentation=self.augmentation.build(),
            first_rate=self.first_rate,
            last_rate=self.last_rate,
            decoder_depth=self.decoder_depth,
            heads=self.heads,
            instance=self.instance,
        )


register("method", CrossReconstructionConfig)
