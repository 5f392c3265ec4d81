"""What two views of a window hide: by which strategy, how often, and how that changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossl.errors import ConfigError, nearest
from crossl.methods.keep_rates import rates_of
from crossl.methods.method import Encoded, Present, Signals
from crossl.nn.masking import (
    OVER_TIME,
    STRATEGIES,
    Rate,
    Stretches,
    draw_keep,
    draw_spatial_views,
    draw_stretches,
)
from crossl.nn.model import CrossModalModel

Strategy = Literal["random", "spatial", "column", "temporal", "temporal_each"]
EVERY = (*STRATEGIES, *OVER_TIME)


class Seen(NamedTuple):
    """What two views see of a batch, and what they do not.

    Attributes:
        latent: what the aggregator is given.
        keep: which of it counts.
        hidden: which entries, or how much of each modality, a view has hidden.
    """

    latent: Float[Tensor, "view batch modality dim"]
    keep: Bool[Tensor, "view batch modality dim"]
    hidden: Tensor


class Masks(nn.Module):
    """Draws what each of two views hides, and hides it.

    `spatial` hides whole modalities, `random` single entries of latents, `column` entries of all
    modalities alike. Over time, `temporal` hides the same stretch of every modality and
    `temporal_each` a stretch of its own of some: encoders give tokens, and a modality of which a
    part is hidden is the mean of the tokens that are left. One that is whole stays the latent that
    the encoder gives, and one without a token left is hidden as a whole.

    Rates may go from those at the start to those at the end, along a line over the steps. Where a
    step is stands in a buffer that checkpoints keep; in evaluation mode the rates are those of the
    end, so that validation asks the same of every epoch.

    Args:
        model: whose latents are masked; over time its encoders must give tokens.
        strategy: one of the five.
        keep_rate: probability that an entry is kept; by modality, those that are not named are
            always kept.
        final_keep_rate: the same at the end of training; None stays. By modality, those that are
            not named stay.
        differ: make spatial views differ where they can.
        published: views are independent and may lose everything, as in the authors' code.

    Raises:
        ConfigError: unknown strategy, no such modality, or an encoder without tokens.
    """

    first: Tensor | None
    last: Tensor | None
    progress: Tensor | None
    places: Tensor | None

    def __init__(
        self,
        model: CrossModalModel,
        *,
        strategy: Strategy = "spatial",
        keep_rate: float | Mapping[str, float],
        final_keep_rate: float | Mapping[str, float] | None = None,
        differ: bool = True,
        published: bool = False,
    ) -> None:
        super().__init__()
        if strategy not in EVERY:
            raise ConfigError(f"masking: strategy '{strategy}'; {nearest(strategy, EVERY)}")
        self.strategy, self.dim = strategy, model.latent_dim
        self.keep_rate, self.final_keep_rate = keep_rate, final_keep_rate
        self.differ, self.published = differ, published
        names = [m.name for m in model.modalities]
        first = rates_of(keep_rate, names, key="method.keep_rate")
        last = first
        if final_keep_rate is not None:
            last = rates_of(final_keep_rate, names, key="method.final_keep_rate", others=first)
        plain = final_keep_rate is None and not isinstance(keep_rate, Mapping)
        for name, rates in (("first", first), ("last", last)):
            self.register_buffer(name, None if plain else torch.tensor(rates), persistent=False)
        scheduled = final_keep_rate is not None
        self.register_buffer("progress", torch.zeros(()) if scheduled else None)
        places = count_tokens(model) if self.over_time else None
        self.register_buffer("places", places, persistent=False)

    @property
    def over_time(self) -> bool:
        """Whether tokens are masked, not latents."""
        return self.strategy in OVER_TIME

    def rate(self, device: torch.device) -> Rate:
        """Return how often entries are kept now: one probability, or (M,)."""
        if self.first is None or self.last is None:
            assert not isinstance(self.keep_rate, Mapping)  # noqa: S101 - it has buffers then
            return self.keep_rate
        if self.progress is None:
            return self.first.to(device)
        share = self.progress if self.training else torch.ones_like(self.progress)
        return torch.lerp(self.first, self.last, share).to(device)

    def after_step(self, step: int, total: int) -> None:
        """Move on: the first step has the rates of the start, the last those of the end."""
        if self.progress is not None:
            self.progress.fill_(min(1.0, step / max(1, total - 1)))

    def draw(self, present: Present, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw what each of two views hides.

        Returns:
            `keep` (2, B, M) of whole modalities, or (2, B, M, K); over time `begin`, `length` and
            `back`, (2, B, M) each.
        """
        rate = self.rate(present.device)
        if self.over_time:
            each = self.strategy == "temporal_each"
            two = [
                draw_stretches(present, keep_rate=rate, each=each, generator=generator)
                for _ in range(2)
            ]
            return {
                name: torch.stack([getattr(one, name) for one in two]) for name in Stretches._fields
            }
        if self.strategy == "spatial" and not self.published:
            views = draw_spatial_views(
                present, keep_rate=rate, generator=generator, differ=self.differ
            )
            return {"keep": torch.stack(views)}
        keeps = [
            draw_keep(
                present, self.dim, strategy=self.strategy, keep_rate=rate, generator=generator,  # type: ignore[arg-type]  # not over time
                never_empty=not self.published,
            )
            for _ in range(2)
        ]  # fmt: skip
        return {"keep": torch.stack(keeps)}

    def tokens(
        self, model: CrossModalModel, signals: Signals, present: Present
    ) -> dict[str, Tensor]:
        """Encode to what is masked beside latents: `tokens` (B, M, P, K), over time only."""
        return {"tokens": model.encode_tokens(signals, present).values} if self.over_time else {}

    def see(
        self,
        latent: Float[Tensor, "view batch modality dim"],
        encoded: Encoded,
        present: Present,
        drawn: Mapping[str, Tensor],
    ) -> Seen:
        """Hide what was drawn.

        Args:
            latent: of each view.
            encoded: with `tokens` (B, view or 1, M, P, K), over time.
            present: of the batch.
            drawn: from `draw`.
        """
        if not self.over_time:
            keep = drawn["keep"]
            hidden = (present if keep.dim() == 3 else present[:, :, None]) & ~keep
            keep = keep[..., None] if keep.dim() == 3 else keep
            return Seen(latent, keep.expand_as(latent), hidden)
        assert self.places is not None  # noqa: S101 - there is one over time
        tokens = encoded["tokens"].transpose(0, 1)  # (view or 1, B, M, P, K)
        place = torch.arange(tokens.shape[3], device=tokens.device)
        there = present[:, :, None] & (place < self.places[:, None])  # (B, M, P)
        keep = Stretches(*(drawn[name] for name in Stretches._fields)).keep(there)
        left, every = keep.sum(dim=3), there.sum(dim=2)  # (view, B, M), (B, M)
        shown = torch.where(keep[..., None], tokens, 0.0).sum(dim=3) / left[..., None].clamp(min=1)
        seen = torch.where((left == every)[..., None], latent, shown)
        share = (every - left) / every.clamp(min=1)
        return Seen(seen, (left > 0)[..., None].expand_as(latent), share)


def count_tokens(model: CrossModalModel) -> Tensor:
    """Count the tokens in time that each modality has, by encoding a window of zeros.

    Raises:
        ConfigError: an encoder gives none.
    """
    device = next(model.parameters()).device
    shapes = {
        m.name: (1, round(model.window_s * m.rate_hz), len(m.channels)) for m in model.modalities
    }
    zeros = {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}
    present = torch.ones(1, len(shapes), dtype=torch.bool, device=device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        there = model.encode_tokens(zeros, present).present
    model.train(was_training)
    return there[0].sum(dim=1)
