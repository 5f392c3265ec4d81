"""A small residual network over time, as an encoder."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.nn.encoders import EncoderConfig, Latent, Tokens, Window, signed_logarithm
from crossl.registry import register

Places = Float[Tensor, "batch place width"]


class ResidualBlock(nn.Module):
    """Two convolutions beside a short cut, each after layer normalisation and GELU.

    Args:
        fan_in: features of its input.
        width: features of its output.
        kernel: samples of a convolution.
        stride: of the first convolution and of the short cut.
    """

    def __init__(self, fan_in: int, width: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(fan_in), nn.LayerNorm(width)])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, width, kernel, by, kernel // 2) for a, by in ((fan_in, stride), (width, 1))
        )
        same = stride == 1 and fan_in == width
        self.short_cut = nn.Identity() if same else nn.Conv1d(fan_in, width, 1, stride, bias=False)

    def forward(self, x: Places) -> Places:
        """Add what the convolutions find to what came in."""
        found = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            found = nn.functional.gelu(norm(found))
            found = convolution(found.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.short_cut(x.transpose(1, 2)).transpose(1, 2) + found
        return out


class ResnetEncoder(nn.Module):
    """A residual network over time with pre-activation, averaged over time.

    He et al. 2016 (arXiv 1603.05027), over time as in the HARNet of Yuan et al. 2024 (arXiv
    2206.02909). Deviations: smaller (HARNet has 18 layers and up to 1024 features); layer
    normalisation over features instead of batch normalisation, which mixes the windows of a batch;
    GELU instead of ReLU; strided convolutions instead of an anti-aliased reduction; zeros instead
    of a circle beyond the window's ends. Short cuts carry sizes past the normalisations, so that
    the strength of a signal is not lost; signals are seen on a signed logarithmic scale, and the
    latent is normalised in the end.

    Args:
        channels: C of the modality.
        dim: K.
        widths: features of the blocks; every block but the first halves the time.
        kernel: samples of a block's convolutions, odd.

    Examples:
        >>> import torch
        >>> ResnetEncoder(3)(torch.zeros(2, 100, 3)).shape
        torch.Size([2, 64])
        >>> ResnetEncoder(3).tokens(torch.zeros(2, 100, 3)).shape
        torch.Size([2, 7, 64])
    """

    STEM_KERNEL, STEM_STRIDE = 8, 4

    def __init__(
        self, channels: int, *, dim: int = 64, widths: tuple[int, ...] = (32, 64, 64),
        kernel: int = 3,
    ) -> None:  # fmt: skip
        super().__init__()
        self.dim = dim
        self.stem = nn.Conv1d(
            channels, widths[0], self.STEM_KERNEL, self.STEM_STRIDE, self.STEM_KERNEL // 2
        )
        self.blocks = nn.Sequential(
            ResidualBlock(widths[0], widths[0], kernel=kernel, stride=1),
            *(ResidualBlock(a, b, kernel=kernel, stride=2) for a, b in pairwise(widths)),
        )
        self.read_out = nn.Linear(widths[-1], dim)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        out: Tensor = self.norm(self.read_out(self._places(x).mean(dim=1)))
        return out

    def tokens(self, x: Window, count: int | None = None) -> Tokens:
        """Encode windows to tokens in time; a single one is the latent.

        Args:
            x: windows.
            count: P, stretches of a window; None for as many as the last block has places, one for
                about 16 samples of the window.
        """
        places = self._places(x)
        if count is not None:
            places = nn.functional.adaptive_avg_pool1d(places.transpose(1, 2), count)
            places = places.transpose(1, 2)  # (B, width, P) -> (B, P, width)
        out: Tensor = self.norm(self.read_out(places))
        return out

    def _places(self, x: Window) -> Places:
        y = self.stem(signed_logarithm(x).transpose(1, 2)).transpose(1, 2)
        return nn.functional.gelu(self.blocks(y))  # (B, T', width)


class ResnetConfig(EncoderConfig):
    """A small residual network.

    Attributes:
        widths: features of the blocks; every block but the first halves the time.
        kernel: samples of a block's convolutions, odd.
    """

    kind: Literal["resnet"] = "resnet"
    widths: tuple[Annotated[int, Field(gt=0)], ...] = Field((32, 64, 64), min_length=1)
    kernel: Literal[3, 5, 7, 9] = 3

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        del samples
        return ResnetEncoder(
            len(modality.channels), dim=self.dim, widths=self.widths, kernel=self.kernel
        )


register("encoder", ResnetConfig)
