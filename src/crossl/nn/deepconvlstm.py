"""DeepConvLSTM: convolutions, then a recurrent network over what they found."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from crossl.data.recording import Modality
from crossl.nn.encoders import EncoderConfig, Latent, Tokens, Window, signed_logarithm
from crossl.registry import register


class DeepConvLstmEncoder(nn.Module):
    """Four convolutions over time and an LSTM, whose last output is the latent.

    Ordonez and Roggen 2016 (Sensors 16(1):115, doi 10.3390/s16010115), whose orthogonal weights it
    begins with. Deviations: one network for each modality, whose first convolution joins its
    channels (theirs keeps all channels apart up to the LSTM); one layer of LSTM, which Bock et al.
    2021 (arXiv 2108.00702) found no worse than two; 32 filters instead of 64. Their LSTM takes 8
    steps, of half a second at 30 Hz. Here as many of the convolutions take every other sample as
    are needed for no more than `steps` places, and if that is not enough, places are averaged.
    Signals are seen on a signed logarithmic scale, there is no dropout, and what the LSTM says is
    mapped to K numbers and normalised.

    Args:
        channels: C of the modality.
        samples: T of its windows.
        dim: K.
        filters: of each convolution.
        hidden: width of the LSTM.
        layers: of the LSTM.
        steps: the LSTM takes at most so many.

    Examples:
        >>> encoder = DeepConvLstmEncoder(3, samples=100)
        >>> encoder(torch.zeros(2, 100, 3)).shape
        torch.Size([2, 64])
        >>> encoder.tokens(torch.zeros(2, 100, 3)).shape
        torch.Size([2, 13, 64])
    """

    CONVOLUTIONS, KERNEL = 4, 5

    def __init__(
        self,
        channels: int,
        *,
        samples: int,
        dim: int = 64,
        filters: int = 32,
        hidden: int = 128,
        layers: int = 1,
        steps: int = 16,
    ) -> None:
        super().__init__()
        self.dim, self.steps = dim, steps
        self.convolutions = nn.ModuleList()
        fan_in, left = channels, samples
        for _ in range(self.CONVOLUTIONS):
            stride = 2 if left > steps else 1
            left = -(-left // stride)
            self.convolutions.append(
                nn.Conv1d(fan_in, filters, self.KERNEL, stride, self.KERNEL // 2)
            )
            fan_in = filters
        self.lstm = nn.LSTM(filters, hidden, layers, batch_first=True)
        self.read_out = nn.Linear(hidden, dim)
        self.norm = nn.LayerNorm(dim)
        self._begin_orthogonal()

    def _begin_orthogonal(self) -> None:
        """Draw orthogonal weights; those of convolutions keep their size through ReLU."""
        for convolution in self.convolutions:
            nn.init.orthogonal_(convolution.weight, gain=2**0.5)  # type: ignore[arg-type]
            nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        for parameter in self.lstm.parameters():
            for gate in parameter.data.chunk(4):
                _ = nn.init.orthogonal_(gate) if gate.ndim == 2 else nn.init.zeros_(gate)

    def forward(self, x: Window) -> Latent:
        """Encode windows of one modality."""
        return self._read(self._said(x)[:, -1])

    def tokens(self, x: Window) -> Tokens:
        """Encode windows to a token for each step and what came before; the last is the latent."""
        return self._read(self._said(x))

    def _read(self, said: Tensor) -> Tensor:
        out: Tensor = self.norm(self.read_out(said))
        return out

    def _said(self, x: Window) -> Tensor:
        """Return what the LSTM says after each step, (B, P, hidden)."""
        y = signed_logarithm(x).transpose(1, 2)  # (B, T, C) -> (B, C, T)
        for convolution in self.convolutions:
            y = convolution(y).relu()
        if y.shape[2] > self.steps:
            y = nn.functional.adaptive_avg_pool1d(y, self.steps)
        # as a function: torch.export warns of how the module keeps its weights
        lstm = self.lstm
        start = y.new_zeros(lstm.num_layers, y.shape[0], lstm.hidden_size)
        weights = tuple(lstm.parameters())
        said: Tensor = torch.lstm(
            y.transpose(1, 2),
            (start, start),
            weights,
            True,
            lstm.num_layers,
            0.0,
            False,
            False,
            True,
        )[0]
        return said


class DeepConvLstmConfig(EncoderConfig):
    """DeepConvLSTM; as published: filters 64, hidden 128, layers 2.

    Attributes:
        filters: of each convolution.
        hidden: width of the LSTM.
        layers: of the LSTM.
        steps: the LSTM takes at most so many.
    """

    kind: Literal["deepconvlstm"] = "deepconvlstm"
    filters: int = Field(32, gt=0)
    hidden: int = Field(128, gt=0)
    layers: int = Field(1, gt=0)
    steps: int = Field(16, gt=0)

    def build(self, modality: Modality, samples: int) -> nn.Module:
        """Make the encoder of one modality."""
        return DeepConvLstmEncoder(
            len(modality.channels), samples=samples, dim=self.dim, filters=self.filters,
            hidden=self.hidden, layers=self.layers, steps=self.steps,
        )  # fmt: skip


register("encoder", DeepConvLstmConfig)
