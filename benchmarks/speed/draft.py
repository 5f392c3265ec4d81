"""The published network as one would first write it in PyTorch; what crossl is timed against.

Encoders of three convolutions with layer normalisation over channels, PReLU and dropout; two
masked views; three dense layers; VICReg; Adam. No layout, no fusion, no care.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

KERNELS, DIM = (24, 16, 8), 96


class Encoder(nn.Module):
    """One modality's window (B, C, T) to (B, 96)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        widths = (channels, DIM // 4, DIM // 2, DIM)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, k) for a, b, k in zip(widths, widths[1:], KERNELS, strict=False)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=1e-3) for width in widths[1:])
        self.activations = nn.ModuleList(nn.PReLU(width, init=0.0) for width in widths[1:])
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Encode."""
        for kernel, convolution, norm, activation in zip(
            KERNELS, self.convolutions, self.norms, self.activations, strict=True
        ):
            padded = nn.functional.pad(x, ((kernel - 1) // 2, kernel // 2))
            normed = norm(convolution(padded).transpose(1, 2)).transpose(1, 2)
            x = self.dropout(activation(normed))
        return x.mean(dim=2)


class Draft(nn.Module):
    """Encoders, two masked views, one aggregator."""

    def __init__(self, modalities: int, channels: int) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(Encoder(channels) for _ in range(modalities))
        self.encoders.eval()  # the authors pretrain without dropout
        self.aggregator = nn.Sequential(
            nn.Linear(modalities * DIM, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(),
            nn.Linear(32, 32), nn.LayerNorm(32, eps=1e-3),
        )  # fmt: skip

    def forward(self, windows: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Give the embeddings of both views of (B, T, C) windows."""
        latent = torch.stack(
            [e(x.transpose(1, 2)) for e, x in zip(self.encoders, windows, strict=True)], dim=1
        )
        views = []
        for _ in range(2):
            keep = torch.rand(latent.shape[:2]) < 0.9
            views.append(self.aggregator((latent * keep[:, :, None]).flatten(1)))
        return views[0], views[1]


def vicreg(a: Tensor, b: Tensor) -> Tensor:
    """VICReg with the authors' weights."""
    loss = 10 * nn.functional.mse_loss(a, b)
    for z in (a, b):
        centred = z - z.mean(dim=0)
        std = torch.sqrt(centred.var(dim=0) + 1e-4)
        covariance = centred.T @ centred / (len(z) - 1)
        off = covariance - torch.diag(torch.diag(covariance))
        loss = loss + 5 * torch.relu(1 - std).mean() + 100 * off.square().sum() / z.shape[1]
    return loss


class DraftStep:
    """One training step of the draft."""

    def __init__(self, modalities: int, channels: int) -> None:
        torch.manual_seed(0)
        self.net = Draft(modalities, channels)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-3)

    def __call__(self, windows: list[Tensor]) -> None:
        """Step."""
        a, b = self.net(windows)
        loss = vicreg(a, b)
        squares = sum(c.weight.square().sum() for e in self.net.encoders for c in e.convolutions)
        self.optimizer.zero_grad()
        (loss + 1e-4 * squares).backward()
        self.optimizer.step()
