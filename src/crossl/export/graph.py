"""Graph: what is exported, from raw windows to embedding, outputs and calibrated probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from crossl.evaluate.confidence import Temperatures, sets_of
from crossl.evaluate.probe import Probe
from crossl.export.fewer import fewer_sensors
from crossl.export.groups import GroupEncoder, groups_of
from crossl.export.stacked import StackedPredictive
from crossl.nn.model import CrossModalModel

PRESENT = "present"
OUTPUTS = {
    "classes": ("embedding", "logits", "probabilities"),
    "labels": ("embedding", "logits", "probabilities"),
    "numbers": ("embedding", "values"),
    None: ("embedding",),
}
"""Names of what comes out, by the kind of the classifier's task."""


@dataclass(frozen=True)
class Reading:
    """What reads embeddings.

    Attributes:
        probe: the run's classifier.
        temperatures: of it; None where its probabilities are not calibrated.
        context: how classes follow each other, as `crossl.decode.Decoder` keeps it; None where
            nothing was learned of that.
    """

    probe: Probe
    temperatures: Temperatures | None = None
    context: Mapping[str, Any] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the R outputs: classes, labels or numbers."""
        return tuple(self.probe.task.names[i] for i in self.probe.classes)

    @property
    def kind(self) -> str:
        """Of the task: `classes`, `labels` or `numbers`."""
        return str(self.probe.task.target.kind)


class Inputs(NamedTuple):
    """What the graph takes.

    Attributes:
        signals: {modality: (B, T, C)} in SI units; what is absent may hold anything.
        present: (B, M) bool.
    """

    signals: dict[str, Tensor]
    present: Tensor


class Divisor(nn.Module):
    """The temperature of each window, by the sensors that it has.

    Args:
        temperatures: of a classifier.
        columns: modalities that may come, of those that the temperatures know.

    Examples:
        >>> two = Temperatures("number", ("a", "b"), 1.0, {"1": 2.0, "2": 0.5}, {})
        >>> Divisor(two, (0, 1))(torch.tensor([[True, False], [True, True]]))[:, 0].tolist()
        [2.0, 0.5]
    """

    by_number: Tensor
    signs: Tensor
    sizes: Tensor
    found: Tensor

    def __init__(self, temperatures: Temperatures, columns: Sequence[int]) -> None:
        super().__init__()
        by_number = [
            temperatures.one if temperatures.kind != "none" else 1.0,
            *(_of_number(temperatures, size) for size in range(1, len(columns) + 1)),
        ]
        told = temperatures.subset if temperatures.kind == "subset" else {}
        sets: dict[tuple[bool, ...], float] = {}
        for chosen in sets_of(len(temperatures.modalities)):
            key = ",".join(temperatures.modalities[i] for i in chosen)
            if key in told and set(chosen) <= set(columns):
                sets[tuple(i in chosen for i in columns)] = told[key]
        patterns = np.array(list(sets), dtype=np.float32).reshape(len(sets), len(columns))
        self.register_buffer("by_number", torch.tensor(by_number, dtype=torch.float32))
        self.exact = bool(sets)
        if self.exact:  # some runtimes refuse tensors that hold nothing
            self.register_buffer("signs", torch.from_numpy(2 * patterns.T - 1))
            self.register_buffer("sizes", torch.from_numpy(patterns.sum(axis=1)))
            found = torch.tensor(list(sets.values()), dtype=torch.float32)
            self.register_buffer("found", found)

    def forward(self, present: Bool[Tensor, "batch modality"]) -> Float[Tensor, "batch one"]:
        """Return what logits are divided by."""
        shown = present.to(torch.float32)
        number = self.by_number[shown.sum(dim=1).to(torch.int64)]
        if not self.exact:
            return number[:, None]
        same = (shown @ self.signs == self.sizes).to(torch.float32)  # (B, sets): one at most
        exact = (same * self.found).sum(dim=1)
        return torch.where(exact > 0, exact, number)[:, None]


def _of_number(temperatures: Temperatures, size: int) -> float:
    if temperatures.kind in ("none", "one"):
        return 1.0 if temperatures.kind == "none" else temperatures.one
    return float(temperatures.number.get(str(size), temperatures.one))


class ExportedGraph(nn.Module):
    """A run with plain arguments, as exporters want them.

    Args:
        model: in evaluation mode; it is not changed.
        reading: its classifier; None for the embedding alone.
        columns: modalities that may come, in order; the others count as never there.
        stacked: whether encoders of one shape run as one.

    Attributes:
        modalities: those that may come.
        outputs: names of what `forward` returns.
    """

    def __init__(
        self,
        model: CrossModalModel,
        reading: Reading | None,
        columns: Sequence[int],
        *,
        stacked: bool = True,
    ) -> None:
        super().__init__()
        self.modalities = tuple(model.modalities[i] for i in columns)
        self.window_s = model.window_s
        self.latent_dim = model.latent_dim
        self.columns, self.every = tuple(columns), len(model.modalities)
        together = groups_of(model, self.modalities, stacked=stacked)
        self.groups = nn.ModuleList(
            GroupEncoder(model, names, stacked=stacked) for names in together
        )
        grouped: list[str] = [name for group in self.groups for name in _names(group)]
        self.order = [grouped.index(m.name) for m in self.modalities]
        self.aggregator = fewer_sensors(model.aggregator, self.columns, self.every)
        self.head = "aggregator" if reading is None else reading.probe.head
        self.kind = None if reading is None else reading.kind
        self.outputs = OUTPUTS[self.kind]
        self.linear: nn.Linear | None = None
        self.divisor: Divisor | None = None
        if reading is not None:
            self.linear = _linear(reading.probe)
            if reading.temperatures is not None:
                self.divisor = Divisor(reading.temperatures, columns)

    def forward(self, signals: Mapping[str, Tensor], present: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs; NaN for a window in which nothing is present."""
        latent = self._latent(signals, present)
        whole = present
        if len(self.columns) < self.every:
            latent, whole = self._spread(latent), self._spread(present)
        some = present.any(dim=1)[:, None]
        embedding = torch.where(some, self._aggregate(latent, whole), torch.nan)
        if self.linear is None:
            return (embedding,)
        read = embedding
        if self.head == "encoders":
            shown = torch.where(whole[:, :, None], latent, 0.0).flatten(1)
            read = torch.where(some, shown, torch.nan)
        out = self.linear(read)
        if self.kind == "numbers":
            return embedding, out
        if self.kind == "labels":
            return embedding, out, out.sigmoid()
        scaled = out if self.divisor is None else out / self.divisor(present)
        return embedding, out, scaled.softmax(dim=1)

    def _latent(self, signals: Mapping[str, Tensor], present: Tensor) -> Tensor:
        """Compute `CrossModalModel.latent` of the modalities that may come."""
        parts = []
        for group in self.groups:
            places = [self._place(name) for name in _names(group)]
            there = present if len(places) == len(self.order) else present[:, places]
            parts.append(group([signals[name] for name in _names(group)], there))
        latent = torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]
        return latent if self.order == sorted(self.order) else latent[:, self.order]

    def _place(self, name: str) -> int:
        return [m.name for m in self.modalities].index(name)

    def _spread(self, x: Tensor) -> Tensor:
        """Put zeros where a modality never comes: (B, M', ...) to (B, M, ...)."""
        nothing = torch.zeros_like(x[:, :1])
        places = [self.columns.index(i) if i in self.columns else len(self.columns)
                  for i in range(self.every)]  # fmt: skip
        return torch.cat([x, nothing], dim=1)[:, places]

    def _aggregate(self, latent: Tensor, present: Tensor) -> Tensor:
        """Compute `CrossModalModel.aggregate`."""
        own, beside = latent[:, :, : self.latent_dim], latent[:, :, self.latent_dim :]
        keep = present[:, :, None]
        if not isinstance(self.aggregator, StackedPredictive):
            keep = keep.expand_as(own)
        found: Tensor = self.aggregator(own, keep)
        if not beside.shape[2]:
            return found
        return torch.cat([found, torch.where(present[:, :, None], beside, 0.0).flatten(1)], 1)


def _names(group: nn.Module) -> tuple[str, ...]:
    return cast("GroupEncoder", group).names


def _linear(probe: Probe) -> nn.Linear:
    weight, bias = (part[probe.own_part] for part in probe.affine())
    linear = nn.Linear(weight.shape[1], len(weight))
    with torch.no_grad():
        linear.weight.copy_(torch.from_numpy(weight))
        linear.bias.copy_(torch.from_numpy(bias))
    return linear.eval()
