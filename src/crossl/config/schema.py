"""The keys of a run file.

Each block is the settings of one part, declared where that part is defined. Encoder, aggregator
and method are chosen by `kind` among what is registered.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    field_serializer,
    model_validator,
)

import crossl.nn.attention
import crossl.nn.deepconvlstm
import crossl.nn.patch_transformer
import crossl.nn.resnet
import crossl.nn.time_frequency
import crossl.nn.token_transformer  # noqa: F401 - as the others, registers its part
from crossl.data.damaged import TestedDamage, TrainingDamage
from crossl.data.standardisation import (
    STANDARDISATIONS,
    StandardisationConfig,
    TrainingStandardisation,
)
from crossl.evaluate.budgets import BUDGETS, Budget
from crossl.methods import CrosslMethodConfig, MethodConfig
from crossl.nn.aggregators import AggregatorConfig, PredictiveConfig
from crossl.nn.encoders import EncoderConfig, StridedConfig
from crossl.nn.features import FeaturesConfig
from crossl.registry import AGGREGATORS, CONTENDERS, ENCODERS, METHODS, SORTS, TASKS
from crossl.settings import OneOf, Settings
from crossl.tasks import ClassesConfig, TaskConfig
from crossl.train.finetune import FineTuning
from crossl.train.schedule import Schedule


class EvaluationConfig(Settings):
    """Who is tested, and what is scored.

    Attributes:
        split: folds by subject, or `official`: one fold, whose test subjects the publishers named.
        folds: how many; everybody is tested in one of them.
        fold_seed: who is in which fold.
        label_fractions: shares of the training labels that classifiers are fitted with.
        label_seeds: one draw of labels for each.
        methods: networks that are compared beside `contenders`.
        heads: what probes read: the aggregator's embedding, or the latents side by side.
        main_fraction: share of the labels that summaries and sweeps are about.
        finetuned_fractions: shares that networks are fine-tuned with, the slowest part; null for
            all of `label_fractions`.
        keep_probabilities: keep what every contender predicts for test windows, with
            probabilities, beside its scores.
        pretraining_seeds: how often what is random in a contender is drawn anew: with `seed` of
            the run file and those that follow it.
        main_budget: label budget that reports are about, where it is computed.
        budgets: label budgets that are computed; `[strict]` saves what choosing among settings by
            validation subjects costs, most of a forest.
        damages: done to test windows, with every sensor shown.
    """

    came_later: ClassVar[tuple[str, ...]] = ("damages", "budgets")

    split: Literal["subjects", "official"] = "subjects"
    folds: int = Field(5, ge=2)
    fold_seed: int = 0
    label_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.01, 0.05, 0.1, 1.0)
    label_seeds: tuple[int, ...] = (0, 1, 2)
    methods: tuple[
        Literal["crossl", "untrained", "supervised", "finetuned", "subset_probes"], ...
    ] = ("crossl", "untrained", "supervised")
    heads: tuple[Literal["aggregator", "encoders"], ...] = ("aggregator",)
    main_fraction: float = Field(0.1, gt=0, le=1)
    finetuned_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] | None = None
    keep_probabilities: bool = False
    pretraining_seeds: int = Field(1, ge=1)
    main_budget: Budget = "strict"
    budgets: tuple[Budget, ...] = Field(BUDGETS, min_length=1)
    damages: tuple[TestedDamage, ...] = ()

    @property
    def reported_budget(self) -> Budget:
        """The label budget that reports are about: the main one, or the only one computed."""
        return self.main_budget if self.main_budget in self.budgets else self.budgets[0]


class ContenderConfig(Settings):
    """Settings of a contender; a subclass has a `kind`, its settings and `build`.

    Attributes:
        damage: how windows are damaged that a classifier of embeddings or features is fitted on,
            beside the same windows as they are; None for these alone.
        budgets: label budgets of this contender; None for those of the evaluation.
        trials: changes of these settings, by dotted names or nested; where validation subjects
            choose, they choose among the settings as they are and with each of these.
        repeats: what another pretraining seed draws anew: `all` label draws are fitted again,
            `none`, where each label draw has seeds of its own, or the draws are `shared` out among
            the seeds, where each is trained from a pretrained network.
    """

    repeats: ClassVar[Literal["all", "none", "shared"]] = "all"
    came_later: ClassVar[tuple[str, ...]] = ("damage", "budgets", "trials")

    damage: TrainingDamage | None = None
    budgets: tuple[Budget, ...] | None = Field(None, min_length=1)
    trials: tuple[dict[str, Any], ...] = ()

    def build(self, name: str) -> Any:
        """Make the contender; see `crossl.contenders.Contender`.

        Args:
            name: of the contender in the run file.
        """
        raise NotImplementedError

    def look_up(self, *, where: str) -> None:
        """Refuse what is not there, such as a run, before hours of work.

        Args:
            where: names the contender in messages.

        Raises:
            ConfigError: it is not there.
        """

    def check(self, config: RunConfig, *, where: str) -> None:
        """Refuse settings that do not fit each other or the experiment's, before it begins.

        Args:
            config: of the experiment.
            where: names the contender in messages.

        Raises:
            ConfigError: they do not fit.
        """


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,39}$")]


Contenders = dict[Name, Annotated[ContenderConfig, OneOf(CONTENDERS, "pretrained")]]


Encoders = dict[str, Annotated[EncoderConfig, OneOf(ENCODERS, "strided")]]


class RunConfig(Settings):
    """Everything that decides a run, but the data.

    Attributes:
        recipe: what settings start from.
        seed: of weights, masks and batches.
        standardisation: by whose mean and deviation signals are measured, whoever reads them.
        encoder: of every modality that `encoders` does not name; all have its `dim`.
        encoders: of single modalities, by name.
        shared_encoders: groups of modalities with one encoder, that of the first.
        frozen_encoders: modalities whose encoders are not trained.
        own_encoders: modalities whose encoders are modules that Python hands over.
        aggregator: what joins the latents of the sensors that are there.
        features: untrained ones beside the embedding; null for none.
        method: what pretraining minimises.
        schedule: how long and how fast pretraining learns.
        finetuning: how networks are trained with labels.
        task: what is predicted for a window.
        evaluation: who is tested, and what is scored.
        contenders: what else is compared, by names of your choice.
    """

    came_later: ClassVar[tuple[str, ...]] = ("features",)

    recipe: Literal["crossl", "paper"] = "crossl"
    seed: int = Field(0, ge=0)
    standardisation: Annotated[StandardisationConfig, OneOf(STANDARDISATIONS, "training")] = (
        TrainingStandardisation()
    )
    encoder: Annotated[EncoderConfig, OneOf(ENCODERS, "strided")] = StridedConfig()
    encoders: Encoders = Field(default_factory=dict)
    shared_encoders: tuple[tuple[str, ...], ...] = ()
    frozen_encoders: tuple[str, ...] = ()
    own_encoders: tuple[str, ...] = ()
    aggregator: Annotated[AggregatorConfig, OneOf(AGGREGATORS, "predictive")] = PredictiveConfig()
    features: FeaturesConfig | None = None
    method: Annotated[MethodConfig, OneOf(METHODS, "crossl")] = CrosslMethodConfig()
    schedule: Schedule = Schedule()
    finetuning: FineTuning = FineTuning()
    task: Annotated[TaskConfig, OneOf(TASKS, "classes")] = ClassesConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    contenders: Contenders = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _one_dim(cls, values: Any) -> Any:
        """Give encoders of single modalities the dim of the others where they name none."""
        encoders = values.get("encoders") if isinstance(values, dict) else None
        dim = _dim(values.get("encoder", StridedConfig())) if isinstance(encoders, dict) else None
        if not isinstance(encoders, dict) or dim is None:
            return values
        filled = {name: {"dim": dim, **one} if isinstance(one, dict) else one
                  for name, one in encoders.items()}  # fmt: skip
        return {**values, "encoders": filled}

    def budgets_of(self, name: str) -> tuple[Budget, ...]:
        """Return the label budgets of a contender, or of one of the evaluation's methods."""
        added = self.contenders.get(name)
        return (None if added is None else added.budgets) or self.evaluation.budgets

    @field_serializer("encoders")
    def _without_dim(self, encoders: Encoders) -> dict[str, Any]:
        return {name: one.model_dump(exclude={"dim"}) for name, one in encoders.items()}


def _dim(encoder: Any) -> Any:
    """Return the dim of an encoder's settings, checked or not yet; None if they are wrong."""
    if isinstance(encoder, dict):
        kind = encoder.get("kind", "strided")
        known = ENCODERS[kind].model_fields["dim"].default if kind in ENCODERS else None
        return encoder.get("dim", known)
    return getattr(encoder, "dim", None)


def _admit_new_parts() -> None:
    """Build the schemas anew, which hold the parts that were registered when they were built."""
    parts = [part for registry in SORTS.values() for part in registry.values()]
    for block in (*parts, FineTuning, RunConfig):
        if isinstance(block, type) and issubclass(block, Settings):
            block.model_rebuild(force=True)


for _registry in SORTS.values():
    _registry.watch(_admit_new_parts)
