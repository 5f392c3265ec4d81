"""TS2Vec: contrast over time and windows of two crops with hidden places (arXiv 2106.10466)."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.method import Drawn, Encoded, MethodConfig, Present, Signals, Targets
from crossl.methods.one_view import OneView
from crossl.methods.places import encode_places, join_places
from crossl.methods.views import Augment
from crossl.nn.masking import keep_some_twice
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.hierarchical import hierarchical_contrast
from crossl.registry import AUGMENTATIONS, register
from crossl.settings import OneOf

Sequences = Float[Tensor, "batch place dim"]
Seen = Bool[Tensor, "batch place"]


class Ts2vecMethod(OneView):
    """Places in time agree between two crops of a window, and differ from others.

    Yue et al. 2022, "TS2Vec: Towards Universal Representation of Time Series". The tokens of a
    window, of all modalities present together, go through a linear map; in each of two views some
    of them are hidden and what lies outside of a crop is cut off; residual dilated convolutions
    join what is left; where the crops overlap, the views are contrasted hierarchically.

    Deviations: the linear map reads tokens of the model's encoders, of several samples each, not
    samples; it, and the convolutions, are dropped afterwards, and a window is what the model makes
    of it, not a maximum over time; crops are of the tokens, which have seen a little beyond them,
    and lie alike in all windows of a batch; windows are augmented once, as those of other methods;
    no dropout; fewer and narrower blocks; the run's own optimiser. With `keep_rate` below 1 each
    view also loses modalities at random.

    Args:
        model: with encoders that give tokens, and any aggregator.
        augmentation: of the window.
        keep_rate: probability that a view keeps a modality; at least one is kept.
        hidden_rate: probability that a place is hidden in a view.
        places: of a window, at most.
        width: of the residual blocks.
        depth: how many; the dilation doubles with each.
        dim: of what is compared.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        keep_rate: float = 1.0,
        hidden_rate: float = 0.5,
        places: int = 16,
        width: int = 64,
        depth: int = 3,
        dim: int = 128,
    ) -> None:
        super().__init__()
        self.model, self.augmentation = model, augmentation or Augmentation()
        self.keep_rate, self.hidden_rate, self.places = keep_rate, hidden_rate, places
        self.into = nn.Linear(model.embedding_dim, width)
        self.blocks = nn.ModuleList(DilatedBlock(width, 2**level) for level in range(depth))
        self.out = nn.Linear(width, dim)

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode to tokens at common places: `tokens` (B, P, M, K)."""
        tokens = encode_places(self.model, signals, present, most=self.places)
        return {"tokens": tokens.transpose(1, 2)}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw where two crops lie, what each view hides, and which modalities it keeps.

        Returns:
            `bounds` (4,) in 0 to 1, from which the crops follow; `hidden` (2, B, places) bool; and
            `keep` (2, B, M) bool if views lose modalities.
        """
        device = generator.device
        bounds = torch.rand(4, generator=generator, device=device)
        chance = torch.rand((2, len(present), self.places), generator=generator, device=device)
        drawn = {"bounds": bounds, "hidden": chance < self.hidden_rate}
        if self.keep_rate < 1:
            drawn["keep"] = keep_some_twice(present, keep_rate=self.keep_rate, generator=generator)
        return drawn

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `temporal` and `instance`."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        tokens = encoded["tokens"]
        crops = overlapping_crops(drawn["bounds"], tokens.shape[1])  # (2, P)
        joined = None if "keep" in drawn else self._join(tokens, present)
        views = [
            self._read(
                self._join(tokens, drawn["keep"][view]) if joined is None else joined,
                crop,
                drawn["hidden"][view, :, : tokens.shape[1]],
            )
            for view, crop in enumerate(crops)
        ]
        a, b = (at_least_float32(z) for z in views)
        return hierarchical_contrast(a, b, crops[0] & crops[1])

    def _join(self, tokens: Tensor, present: Present) -> Sequences:
        """Join the modalities at each place by the model's aggregator, and map linearly."""
        out: Tensor = self.into(join_places(self.model, tokens, present))
        return out

    def _read(self, x: Sequences, crop: Bool[Tensor, " place"], hidden: Seen) -> Sequences:
        x = torch.where(hidden[..., None], 0.0, x)
        inside = crop[None, :, None]
        for block in self.blocks:
            x = block(torch.where(inside, x, 0.0), inside)
        out: Tensor = self.out(nn.functional.gelu(x))
        return out


class DilatedBlock(nn.Module):
    """Two dilated convolutions over time, each after GELU, added to what came in.

    Args:
        width: features.
        dilation: places between what a convolution of three places sees.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(2)
        )

    def forward(self, x: Sequences, inside: Tensor) -> Sequences:
        """Join neighbours; what is not inside is as zeros beyond the end."""
        found = x
        for convolution in self.convolutions:
            shown = torch.where(inside, nn.functional.gelu(found), 0.0)
            found = convolution(shown.transpose(1, 2)).transpose(1, 2)
        return x + found


def overlapping_crops(bounds: Float[Tensor, "4"], places: int) -> Bool[Tensor, "2 place"]:
    """Return two crops of some places that overlap in at least two of them, where there are two.

    Examples:
        >>> overlapping_crops(torch.tensor([0.0, 0.5, 0.0, 1.0]), 4).int().tolist()
        [[1, 1, 1, 0], [0, 1, 1, 1]]
    """
    least = min(2, places)
    common = least + (bounds[0] * (places - least + 1)).long().clamp(max=places - least)
    left = (bounds[1] * (places - common + 1)).long().minimum(places - common)
    begin = (bounds[2] * (left + 1)).long().minimum(left)
    right = places - left - common
    end = left + common + (bounds[3] * (right + 1)).long().minimum(right)
    place = torch.arange(places, device=bounds.device)
    one = (place >= begin) & (place < left + common)
    return torch.stack([one, (place >= left) & (place < end)])


class Ts2vecConfig(MethodConfig):
    """TS2Vec's pretraining."""

    kind: Literal["ts2vec"] = "ts2vec"
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()
    keep_rate: float = Field(1.0, gt=0, le=1)
    hidden_rate: float = Field(0.5, ge=0, lt=1)
    places: int = Field(16, gt=0)
    width: int = Field(64, gt=0)
    depth: int = Field(3, gt=0)
    dim: int = Field(128, gt=0)

    def build(self, model: CrossModalModel) -> Ts2vecMethod:
        """Make the method around a model."""
        settings = self.model_dump(exclude={"kind", "augmentation"})
        return Ts2vecMethod(model, augmentation=self.augmentation.build(), **settings)


register("method", Ts2vecConfig)
