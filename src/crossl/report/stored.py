"""What the files that a report is drawn from must hold, checked when they are read."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from crossl.stored import Share, Stored

Finite = Annotated[float, Field(allow_inf_nan=False)]


class StoredResult(Stored):
    """A line of `results.jsonl`."""

    dataset: str
    method: str
    recipe: str | None
    head: str | None
    label_fraction: Share
    present: list[str]
    fold: int | None
    seed: int | None
    subject: str | None
    metric: str
    value: Finite
    ci_low: Finite | None
    ci_high: Finite | None
    n: int
    budget: str | None = None
    model_seed: int | None = None
    p: Finite | None = None
    damage: str | None = None
    severity: Finite | None = None
    damaged: list[str] | None = None

    @model_validator(mode="after")
    def _tells_of_damage(self) -> Self:
        if self.damage is not None and (self.severity is None or not self.damaged):
            raise ValueError("damage is given without severity and damaged; all three are needed")
        return self


class StoredEpoch(Stored):
    """A line of `metrics.jsonl`, beside its terms."""

    epoch: int


class _Main(Stored):
    method: str
    head: str | None
    label_fraction: float
    budget: str | None = None


class _Modality(Stored):
    name: str
    device: str
    channels: list[str]
    unit: str
    rate_hz: float


class _Example(Stored):
    number: int = Field(alias="class")
    subject: str
    start_s: float


class _Task(Stored):
    kind: str
    target: str
    names: list[str]
    groups: list[str]
    units: list[str]
    metric: str
    unit: str
    lower_is_better: bool
    errors: list[str] = Field(default_factory=list)
    metrics: dict[str, str]


class StoredSummary(Stored):
    """`summary.json`: what an experiment was, and what it found in words."""

    title: str
    dataset: str
    description: str
    classes: list[str]
    subjects: list[str]
    modalities: Annotated[list[_Modality], Field(min_length=1)]
    window_s: float
    stride_s: float
    n_windows: int
    n_labelled: int
    recipe: str | None
    label_fractions: Annotated[list[float], Field(min_length=1)]
    label_seeds: list[int]
    folds_run: list[int]
    n_folds: int
    main: _Main
    notes: list[str]
    protocol: list[str]
    command: str
    versions: dict[str, str]
    seed: int
    hashes: dict[str, str]
    wall_s: float
    examples: list[_Example]
    started: str
    task: _Task | None = None
    standardisation: str | None = None

    @model_validator(mode="after")
    def _tells_something(self) -> Self:
        if self.task is None and not self.classes:
            raise ValueError("classes is empty; at least one is needed")
        return self
