"""TS-TCC: each view's past tells the other view's future (arXiv 2106.14112)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from crossl.data.batch import Batch
from crossl.errors import ConfigError
from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.method import Drawn, Encoded, MethodConfig, Present, Signals, Steps, Targets
from crossl.methods.permutation import Permutation
from crossl.methods.places import encode_places, join_places
from crossl.methods.views import Augment, augment_views
from crossl.nn.masking import keep_some_twice
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.nn.transformer import TransformerBlock
from crossl.objectives.nt_xent import nt_xent
from crossl.registry import AUGMENTATIONS, register
from crossl.settings import OneOf

Sequences = Float[Tensor, "batch place width"]
Contexts = Float[Tensor, "batch width"]


class TsTccMethod(Steps):
    """A weakly and a strongly augmented view tell each other's next tokens, and have one context.

    Eldele et al. 2021, "Time-Series Representation Learning via Temporal and Contextual
    Contrasting". Tokens up to a time that is drawn are read by a transformer. What it says of one
    view picks the next tokens of the other view among those of other windows (`temporal`, both
    ways), and finds what it says of the other view among all windows (`contextual`, NT-Xent).

    Deviations: tokens are those of the model's encoders at common places, joined by its aggregator
    and mapped to unit length; the transformer is narrower, has positions, and is dropped afterwards
    with all that is the method's own; no batch normalisation in the projection; fewer places are
    predicted ahead, as windows have few tokens. Augmentations are for standardised signals of any
    sensor: weak ones change size a little, and the strong one permutes stretches. (The published
    permutation writes the first channel into all; ours does not.) With `keep_rate` below 1 each
    view also loses modalities at random.

    Args:
        model: with encoders that give tokens, and any aggregator.
        weak: augmentation of the first view.
        strong: of the second.
        keep_rate: probability that a view keeps a modality; at least one is kept.
        ahead: tokens that are predicted, at most; one less than a window has.
        places: of a window, at most.
        width: of tokens and transformer.
        depth: blocks of the transformer.
        temporal: weight of telling what comes.
        contextual: weight of NT-Xent.
        temperature: of NT-Xent.
    """

    def __init__(  # noqa: PLR0913 - settings
        self,
        model: CrossModalModel,
        *,
        weak: Augment | None = None,
        strong: Augment | None = None,
        keep_rate: float = 1.0,
        ahead: int = 3,
        places: int = 16,
        width: int = 64,
        depth: int = 2,
        temporal: float = 1.0,
        contextual: float = 0.7,
        temperature: float = 0.2,
    ) -> None:
        super().__init__()
        self.model, self.weak, self.strong = model, weak or WEAK, strong or Permutation()
        self.keep_rate, self.places, self.ahead = keep_rate, places, ahead
        self.temporal, self.contextual, self.temperature = temporal, contextual, temperature
        self.into = nn.Linear(model.embedding_dim, width)
        self.start = nn.Parameter(torch.empty(width))
        self.position = nn.Parameter(torch.empty(places, width))
        for parameter in (self.start, self.position):
            nn.init.normal_(parameter, std=0.02)
        self.blocks = nn.ModuleList(TransformerBlock(width) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.tell = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(ahead))
        self.projection = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width // 2)
        )

    def views(
        self, batch: Batch, *, seed: int, first: int = 0, whole: int | None = None
    ) -> Signals:
        """Augment weakly, then strongly.

        Raises:
            ConfigError: the two give windows of different lengths.
        """
        signals = self.model.standardise(batch)
        weak, strong = (
            augment_views(way, signals, views=1, seed=seed + number, first=first, whole=whole)
            for number, way in enumerate((self.weak, self.strong))
        )
        for name, x in weak.items():
            if x.shape != strong[name].shape:
                raise ConfigError(
                    f"method.weak and method.strong: give windows of {x.shape[1]} and "
                    f"{strong[name].shape[1]} samples of '{name}'; both must be equally long"
                )
        return {name: torch.cat([x, strong[name]]) for name, x in weak.items()}

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode both views to tokens at common places: `tokens` (B, 2, P, M, K)."""
        tokens = encode_places(self.model, signals, present.repeat(2, 1), most=self.places)
        return {"tokens": tokens.unflatten(0, (2, -1)).permute(1, 0, 3, 2, 4)}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw where the past ends, `end` in 0 to 1; `keep` (2, B, M) if views lose modalities."""
        drawn = {"end": torch.rand((), generator=generator, device=generator.device)}
        if self.keep_rate < 1:
            drawn["keep"] = keep_some_twice(present, keep_rate=self.keep_rate, generator=generator)
        return drawn

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `temporal` and `contextual`.

        Raises:
            ConfigError: windows have a single token, so nothing comes after it.
        """
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        tokens = encoded["tokens"]  # (B, 2, P, M, K)
        places = tokens.shape[2]
        if places < 2:
            raise ConfigError(
                "method.kind 'ts_tcc': encoders give 1 token of a window; at least 2 are needed"
            )
        ahead = min(self.ahead, places - 1)
        past = 1 + (drawn["end"] * (places - ahead)).long().clamp(max=places - ahead - 1)
        keeps = drawn.get("keep", present.expand(2, -1, -1))
        views = [self._tokens(tokens[:, view], keeps[view]) for view in range(2)]
        contexts = [self._context(z, past) for z in views]
        future = past + torch.arange(ahead, device=past.device)
        both = [
            self._told(contexts[view], views[1 - view].index_select(1, future)) for view in range(2)
        ]
        a, b = (at_least_float32(self.projection(c)) for c in contexts)
        found = nt_xent(a, b, temperature=self.temperature)["contrast"]
        return {
            "temporal": self.temporal * torch.stack(both).sum(),
            "contextual": self.contextual * found,
        }

    def _tokens(self, tokens: Tensor, present: Present) -> Sequences:
        joined = self.into(join_places(self.model, tokens, present))
        return normalize(at_least_float32(joined), dim=2)

    def _context(self, z: Sequences, past: Tensor) -> Contexts:
        """Read the tokens before a place; what comes after is not attended to."""
        places = z.shape[1]
        x = torch.cat([self.start.expand(len(z), 1, -1), z + self.position[:places]], dim=1)
        there = (torch.arange(places + 1, device=z.device) <= past).expand(len(z), -1)
        for block in self.blocks:
            x = block(x, there)
        out: Tensor = self.norm(x[:, 0])
        return out

    def _told(self, context: Contexts, future: Sequences) -> Tensor:
        """Find each window's next tokens among those of other windows, on average."""
        own = torch.arange(len(context), device=context.device)
        lost = [
            cross_entropy(at_least_float32(future[:, step] @ tell(context).T), own)
            for step, tell in zip(range(future.shape[1]), self.tell, strict=False)
        ]
        return torch.stack(lost).mean()


WEAK = Augmentation(jitter=0.05, scale=0.2)
"""Sizes of standardised signals change a little."""


class TsTccConfig(MethodConfig):
    """TS-TCC's pretraining."""

    kind: Literal["ts_tcc"] = "ts_tcc"
    weak: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = WEAK
    strong: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Permutation()
    keep_rate: float = Field(1.0, gt=0, le=1)
    ahead: int = Field(3, gt=0)
    places: int = Field(16, gt=1)
    width: int = Field(64, gt=0, multiple_of=4)
    depth: int = Field(2, gt=0)
    temporal: float = Field(1.0, ge=0)
    contextual: float = Field(0.7, ge=0)
    temperature: float = Field(0.2, gt=0)

    def build(self, model: CrossModalModel) -> TsTccMethod:
        """Make the method around a model."""
        settings = self.model_dump(exclude={"kind", "weak", "strong"})
        return TsTccMethod(model, weak=self.weak.build(), strong=self.strong.build(), **settings)


register("method", TsTccConfig)
