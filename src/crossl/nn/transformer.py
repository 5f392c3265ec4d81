"""A transformer block over tokens some of which may not be there."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from crossl.errors import ConfigError

TokenRow = Float[Tensor, "batch token width"]
TokenThere = Bool[Tensor, "batch token"]


def sinusoids(places: int, width: int) -> Float[Tensor, "place width"]:
    """Tell places apart by sines and cosines of falling frequency, as section 3.5 of 1706.03762.

    Examples:
        >>> sinusoids(2, 4)[0].tolist()
        [0.0, 0.0, 1.0, 1.0]
    """
    half = -(-width // 2)
    rate = 10000.0 ** (-torch.arange(half) / half)
    angle = torch.arange(places)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)[:, :width]


class TransformerBlock(nn.Module):
    """Attention and two dense layers, each normalised before and added to what came in.

    Vaswani et al. 2017 (arXiv 1706.03762), normalised first (Xiong et al. 2020, arXiv 2002.04745).
    What a token that is not there holds, any finite numbers, changes no other token.

    Args:
        width: numbers of a token.
        heads: of the attention; they divide the width.
        hidden: width between the two dense layers; None for four times the width.

    Raises:
        ConfigError: heads do not divide the width.

    Examples:
        >>> TransformerBlock(8, heads=2)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, *, heads: int = 4, hidden: int | None = None) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ConfigError(
                f"transformer: {heads} heads of {width} numbers; allowed are divisors of {width}"
            )
        self.heads = heads
        hidden = hidden or 4 * width
        self.norm = nn.LayerNorm(width)
        self.to_attention = nn.Linear(width, 3 * width)
        self.from_attention = nn.Linear(width, width)
        self.dense = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width)
        )

    def forward(self, x: TokenRow, there: TokenThere | None = None) -> TokenRow:
        """Let tokens attend to those that are there; all are if None."""
        x = x + self._attend(self.norm(x), there)
        out: Tensor = x + self.dense(x)
        return out

    def _attend(self, x: TokenRow, there: TokenThere | None) -> TokenRow:
        parts = self.to_attention(x).unflatten(2, (3, self.heads, -1))  # (B, N, 3, H, W / H)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)  # (B, H, N, W / H) each
        bias = None
        if there is not None:
            # finite, so that a row without any token stays finite; exactly 0 after the softmax
            bias = torch.where(there, 0.0, -1e9).to(x.dtype)[:, None, None]
            bias = bias.expand(-1, -1, x.shape[1], -1)
        attended = scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out: Tensor = self.from_attention(attended.transpose(1, 2).flatten(2))
        return out
