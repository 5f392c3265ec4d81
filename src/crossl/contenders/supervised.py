"""Contenders that are trained with labels: networks whole, or a small one on frozen embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from crossl.config.schema import ContenderConfig
from crossl.contenders.contender import Context, Draw, Outcome, latent_table
from crossl.contenders.network_settings import NetworkConfig
from crossl.contenders.networks import features_of, untrained
from crossl.evaluate.budgets import STRICT
from crossl.evaluate.damaged import beside
from crossl.evaluate.latents import Head
from crossl.evaluate.probe import Classifier, Probe, fit_by_budget
from crossl.nn.features import ModalityFeatures
from crossl.nn.model import CrossModalModel
from crossl.registry import register
from crossl.train.finetune import FineTuning, LinearHead, fine_tune_by_budget
from crossl.train.mlp_head import fit_mlp_by_budget


class _TrainedConfig(ContenderConfig):
    """What networks that are trained with labels have in common.

    Attributes:
        finetuning: how they are trained; None for the experiment's own block.
        read: by the `head` that was trained with the network, or by a `probe` that is fitted on
            its embedding as on any other: trained and chosen on every subset of sensors.
        fractions: only these label fractions; None for all.
    """

    finetuning: FineTuning | None = None
    read: Literal["head", "probe"] = "head"
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None

    @model_validator(mode="after")
    def _learns_from_damage(self) -> Self:
        if self.damage is not None and self.read == "head":
            raise ValueError(
                "damage is of what a probe is fitted on, got read 'head'; give finetuning.damage, "
                "or read: probe"
            )
        return self


class SupervisedConfig(NetworkConfig, _TrainedConfig):
    """The supervised twin: the same network from random weights, trained on labels alone.

    With other encoders it is another supervised network.
    """

    came_later: ClassVar[tuple[str, ...]] = ("encoder", "encoders", "aggregator", "features")

    repeats: ClassVar = "none"
    kind: Literal["supervised"] = "supervised"

    def build(self, name: str) -> FineTuned:
        """Make the contender."""
        return FineTuned(name, self, pretrained=False)


class FinetunedConfig(_TrainedConfig):
    """The experiment's pretrained network and a probe on it, trained further."""

    repeats: ClassVar = "shared"
    kind: Literal["finetuned"] = "finetuned"

    def build(self, name: str) -> FineTuned:
        """Make the contender."""
        return FineTuned(name, self, pretrained=True)


@dataclass(frozen=True)
class FineTuned:
    """A network trained with labels: from the pretrained model, or from random weights.

    Attributes:
        name: as progress shows it.
        settings: how.
        pretrained: start from the experiment's model and a probe on it.
    """

    name: str
    settings: SupervisedConfig | FinetunedConfig
    pretrained: bool

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the network of each label draw says."""
        asked = self.settings.fractions
        draws = [draw for draw in context.draws if asked is None or draw[0] in asked]
        for number, draw in enumerate(draws):
            context.tell(f"training {self.name}", number, len(draws))
            for readers, model in self._readers(context, draw):
                test = latent_table(model, context.store, context.fold.test, context.task)
                yield from context.outcomes([draw], readers, test)

    def _readers(
        self, context: Context, draw: Draw
    ) -> Iterator[tuple[dict[str, list[Classifier]], CrossModalModel]]:
        """Yield each network that training ends with, and what reads it, by label budget."""
        by_probe = self.settings.read == "probe"
        beside_it = self._features(context) if by_probe else None
        by_step: dict[int, tuple[dict[str, list[Classifier]], CrossModalModel]] = {}
        for budget, (model, head) in self._trained(context, draw).items():
            readers, kept = by_step.setdefault(head.step, ({}, model.with_features(beside_it)))
            readers[budget] = [_probes(context, kept, draw)[budget]] if by_probe else [head]
        yield from by_step.values()

    def _features(self, context: Context) -> ModalityFeatures | None:
        """Return what a probe reads beside the embedding: as crossl's does, unless asked."""
        if isinstance(self.settings, NetworkConfig):
            return features_of(context, self.settings.within(context.config))
        return context.main.features

    def _start(self, context: Context, seed: int) -> CrossModalModel:
        """Every twin begins with random weights of its own, so that these vary with the draws."""
        if isinstance(self.settings, NetworkConfig):
            settings = self.settings.model_copy(update={"features": "off"})
            return untrained(context, settings, another=seed)
        return context.trained_part

    def _trained(
        self, context: Context, draw: Draw
    ) -> dict[str, tuple[CrossModalModel, LinearHead]]:
        fraction, seed, rows = draw
        return fine_tune_by_budget(
            self._start(context, seed),
            context.store,
            context.task.values(context.store),
            train=rows,
            validation=context.fold.validation,
            settings=self.settings.finetuning or context.config.finetuning,
            seed=seed,
            probe=self._first_probe(context, rows, seed) if self.pretrained else None,
            task=context.task,
            budgets=context.budgets,
            out=context.unfinished / f"{fraction:g}-{seed}",
        )

    @staticmethod
    def _first_probe(context: Context, rows: np.ndarray, seed: int) -> Probe:
        """Fit where fine-tuning starts from, without labels of validation subjects."""
        tables = context.tables(context.trained_part)
        train = tables["train"].take(np.searchsorted(context.fold.train, rows))
        strict = fit_by_budget([(train, seed)], tables["validation"], budgets=[STRICT])
        return strict[STRICT][0]


def _probes(context: Context, model: CrossModalModel, draw: Draw) -> dict[str, Probe]:
    """Fit probes on the embedding of a network, from the labels that trained it."""
    train, validation = (
        latent_table(model, context.store, rows, context.task)
        for rows in (draw[2], context.fold.validation)
    )
    if context.damage is not None:
        train = beside(train, context.roughened(train))
    found = fit_by_budget([(train, draw[1])], validation, budgets=context.budgets)
    return {budget: probes[0] for budget, probes in found.items()}


class MlpContenderConfig(ContenderConfig):
    """The authors' classifier on the frozen embeddings of the experiment's pretrained network.

    Attributes:
        head: which embedding it reads; in the authors' code the encoders side by side.
        hidden: width of its first layer.
        dropout: behind it.
        keep_rate: probability that a modality is shown while training.
        steps: of Adam.
        lr: of Adam.
        batch_size: labelled windows a step.
    """

    kind: Literal["mlp"] = "mlp"
    head: Literal["aggregator", "encoders"] = "encoders"
    hidden: int = Field(128, gt=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    keep_rate: float = Field(0.8, gt=0, le=1)
    steps: int = Field(500, gt=0)
    lr: float = Field(1e-3, gt=0)
    batch_size: int = Field(64, gt=0)

    def build(self, name: str) -> MlpRead:
        """Make the contender."""
        return MlpRead(name, self)


@dataclass(frozen=True)
class MlpRead:
    """Trains the authors' classifier for each label draw."""

    name: str
    settings: MlpContenderConfig

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the classifiers say."""
        s, tables = self.settings, context.tables(context.trained_part)
        head: Head = s.head
        found = [
            fit_mlp_by_budget(
                train, tables["validation"], head=head, hidden=s.hidden, dropout=s.dropout,
                keep_rate=s.keep_rate, steps=s.steps, lr=s.lr, batch_size=s.batch_size, seed=seed,
                budgets=context.budgets,
            )
            for train, seed in context.labelled(tables["train"], f"training {self.name}")
        ]  # fmt: skip
        by_budget: dict[str, list[Classifier]] = {
            budget: [one[budget] for one in found] for budget in context.budgets
        }
        yield from context.outcomes(context.draws, by_budget, tables["test"])


for _config in (SupervisedConfig, FinetunedConfig, MlpContenderConfig):
    register("contender", _config)
