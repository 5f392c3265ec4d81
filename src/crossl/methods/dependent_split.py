"""What sensors share and what each has alone, which may depend on it: MATE (arXiv 2405.16083)."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation
from crossl.methods.compare import compare_several
from crossl.methods.method import Drawn, Encoded, Present, Signals, Targets
from crossl.methods.one_view import EncodersOnly, OneView, mean_of_pairs, pairs
from crossl.methods.views import Augment
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.objective import Objective
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import OBJECTIVES, register
from crossl.settings import OneOf

Prior = Literal["dependent", "independent"]
Code = Float[Tensor, "batch modality dim"]
BANDS = 16


class Gaussian(NamedTuple):
    """A distribution of independent numbers, by its means and the logarithms of its variances."""

    mean: Tensor
    log_variance: Tensor


class DependentSplitMethod(OneView):
    """Each latent is split in two; what is private has a prior that knows what is shared.

    After MATE (Cai et al. 2025, "Learning Disentangled Representation for Multi-Modal Time-Series
    Sensing Signals"; no code of it was found). Two networks of each modality give its shared code
    and a distribution of its private one. Shared codes of the modalities of a window agree
    (VICReg). Their mean and a draw of the private code tell what the modality looked like
    (`reconstruction`). The private distribution stays near a prior that a network makes of the mean
    of the shared codes (`prior`): what is private may depend on what is shared, and need not be
    orthogonal to it.

    Deviations: a window has one code, so the prior knows no history; it is a Gaussian, not a flow;
    VICReg stands for the divergence between shared posteriors; instead of the signal, its level and
    the logarithms of its spectrum in bands are predicted, as phases of single windows cannot be;
    both divergence and error are means over numbers; encoders are those of the other methods, and
    windows are augmented as theirs.

    Args:
        model: any encoder, and an aggregator without weights.
        augmentation: of the window.
        objective: of the shared codes of two modalities.
        prior: `dependent` on what is shared, or `independent`: a standard Gaussian.
        dim: of the shared code, and of the private one.
        hidden: width of the networks.
        reconstruction: weight of the squared error.
        divergence: weight of the divergence from the prior.
    """

    def __init__(
        self,
        model: CrossModalModel,
        *,
        augmentation: Augment | None = None,
        objective: Objective | None = None,
        prior: Prior = "dependent",
        dim: int = 32,
        hidden: int = 64,
        reconstruction: float = 10.0,
        divergence: float = 0.1,
    ) -> None:
        super().__init__()
        self.model, self.augmentation = model, augmentation or Augmentation()
        self.objective = objective or VicregConfig()
        self.dim, self.reconstruction, self.divergence = dim, reconstruction, divergence

        def each(fan_in: int, *fan_outs: int) -> nn.ModuleList:
            return nn.ModuleList(_two_layers(fan_in, hidden, n) for n in fan_outs)

        modalities = model.modalities
        self.shared = each(model.latent_dim, *[dim] * len(modalities))
        self.private = each(model.latent_dim, *[2 * dim] * len(modalities))
        self.priors = each(dim, *[2 * dim] * len(modalities)) if prior == "dependent" else None
        self.tell = each(2 * dim, *[
            described_by(round(model.window_s * m.rate_hz)) * len(m.channels) for m in modalities
        ])  # fmt: skip

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode the view: `latents` (B, M, K), and what is predicted, `looks_NAME` (B, ...)."""
        looks = {f"looks_{m.name}": describe(signals[m.name]) for m in self.model.modalities}
        return {"latents": self.model.encode(signals, present), **looks}

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw the noise of the private codes, `noise` (B, M, dim)."""
        shape = (*present.shape, self.dim)
        return {"noise": torch.randn(shape, generator=generator, device=generator.device)}

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the terms `shared/...`, `reconstruction` and `prior`."""
        del targets
        assert drawn is not None  # noqa: S101 - from `draw`
        latents = encoded["latents"].unbind(1)
        each = [f(z) for f, z in zip(self.shared, latents, strict=True)]
        codes: Code = at_least_float32(torch.stack(each, dim=1))
        weight = present.to(codes.dtype)
        mean = (codes * weight[..., None]).sum(dim=1)
        mean = mean / weight.sum(dim=1).clamp(min=1)[:, None]  # (B, dim)
        errors, distances = [], []
        for column, m in enumerate(self.model.modalities):
            own = _gaussian(self.private[column](latents[column]))
            sample = own.mean + (0.5 * own.log_variance).exp() * drawn["noise"][:, column]
            told = self.tell[column](torch.cat([mean, sample], dim=1))
            error = at_least_float32(told) - at_least_float32(encoded[f"looks_{m.name}"])
            errors.append(error.square().mean(dim=1))
            distances.append(divergence(own, self._prior(column, mean, own)).mean(dim=1))
        return {
            **self._agreement(codes, present),
            "reconstruction": self.reconstruction * _mean(errors, weight),
            "prior": self.divergence * _mean(distances, weight),
        }

    def _prior(self, column: int, shared: Tensor, own: Gaussian) -> Gaussian:
        if self.priors is None:
            return Gaussian(torch.zeros_like(own.mean), torch.zeros_like(own.mean))
        return _gaussian(self.priors[column](shared))

    def _agreement(self, codes: Code, present: Present) -> dict[str, Tensor]:
        """Compare the shared codes of every two modalities, among windows that have both."""
        two = pairs(codes.shape[1])
        if not two:
            return {}
        first, second = (list(side) for side in zip(*two, strict=True))
        both = (present[:, first] & present[:, second]).T  # (pair, B)
        z = torch.stack([codes[:, first], codes[:, second]]).permute(0, 2, 3, 1)
        found = compare_several(self.objective, z, both.to(codes.dtype))
        counts = list(both.sum(dim=1))
        return {f"shared/{n}": mean_of_pairs(list(t), counts) for n, t in found.items()}


def describe(x: Float[Tensor, "batch time channel"]) -> Float[Tensor, "batch look"]:
    """Return the level of each channel, and log(1 + magnitude) of its spectrum in even bands.

    Examples:
        >>> describe(torch.full((1, 8, 1), 3.0)).tolist()
        [[3.0, 0.0, 0.0, 0.0, 0.0]]
    """
    level = x.mean(dim=1)
    bands = described_by(x.shape[1]) - 1
    if not bands:
        return level
    x = at_least_float32(x - level[:, None]).transpose(1, 2)  # (B, C, T)
    spectrum = torch.fft.rfft(x, norm="ortho")[..., 1:].abs()
    pooled = nn.functional.adaptive_avg_pool1d(spectrum, bands).log1p()
    return torch.cat([level, pooled.flatten(1)], dim=1)


def described_by(samples: int) -> int:
    """Return by how many numbers a channel of so many samples is described."""
    return 1 + min(BANDS, samples // 2)


def divergence(one: Gaussian, other: Gaussian) -> Tensor:
    """Return the Kullback-Leibler divergence of one Gaussian from another, for each number.

    Examples:
        >>> standard = Gaussian(torch.zeros(1), torch.zeros(1))
        >>> divergence(Gaussian(torch.ones(1), torch.zeros(1)), standard).tolist()
        [0.5]
    """
    apart = one.log_variance - other.log_variance
    away = (one.mean - other.mean).square() * (-other.log_variance).exp()
    return 0.5 * (apart.exp() + away - 1 - apart)


def _gaussian(x: Tensor) -> Gaussian:
    """Read a distribution from a network's output; variances lie between e^-4 and e^4."""
    mean, spread = at_least_float32(x).chunk(2, dim=1)
    return Gaussian(mean, 4 * (spread / 4).tanh())


def _mean(of_modalities: list[Tensor], weight: Float[Tensor, "batch modality"]) -> Tensor:
    """Average over modalities that are present."""
    found = torch.stack(of_modalities, dim=1)
    return (found * weight).sum() / weight.sum().clamp(min=1)


def _two_layers(fan_in: int, hidden: int, fan_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(fan_in, hidden), nn.GELU(), nn.Linear(hidden, fan_out))


class DependentSplitConfig(EncodersOnly):
    """Shared codes and private ones that may depend on them."""

    kind: Literal["dependent_split"] = "dependent_split"
    objective: Annotated[Objective, OneOf(OBJECTIVES, "vicreg")] = VicregConfig()
    prior: Prior = "dependent"
    dim: int = Field(32, gt=0)
    hidden: int = Field(64, gt=0)
    reconstruction: float = Field(10.0, ge=0)
    divergence: float = Field(0.1, ge=0)

    def build(self, model: CrossModalModel) -> DependentSplitMethod:
        """Make the method around a model."""
        return DependentSplitMethod(
            model,
            augmentation=self.augmentation.build(),
            objective=self.objective,
            prior=self.prior,
            dim=self.dim,
            hidden=self.hidden,
            reconstruction=self.reconstruction,
            divergence=self.divergence,
        )


register("method", DependentSplitConfig)
