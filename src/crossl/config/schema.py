"""The keys of a run file, and the object that each block of them makes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from crossl.learn.finetune import FineTuning
from crossl.learn.pretrain import Schedule
from crossl.methods import CrosslMethod, Method, PaperMethod
from crossl.methods.augment import Augmentation
from crossl.methods.weights import VicregWeights
from crossl.nn.aggregators import MlpAggregator, PredictiveAggregator
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.nn.model import CrossModalModel


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TcnConfig(_Config):
    """The authors' encoder."""

    kind: Literal["tcn"] = "tcn"
    dim: int = Field(96, gt=0, multiple_of=4)
    dropout: float = Field(0.1, ge=0, lt=1)

    def build(self, channels: int) -> nn.Module:
        """Make the encoder of one modality."""
        return TcnEncoder(channels, dim=self.dim, dropout=self.dropout)


class StridedConfig(_Config):
    """The default encoder."""

    kind: Literal["strided"] = "strided"
    dim: int = Field(64, gt=0)
    width: int = Field(48, gt=0)

    def build(self, channels: int) -> nn.Module:
        """Make the encoder of one modality."""
        return StridedEncoder(channels, dim=self.dim, width=self.width)


class MlpConfig(_Config):
    """The authors' aggregator."""

    kind: Literal["mlp"] = "mlp"
    dim: int = Field(32, gt=0)
    hidden: int = Field(64, gt=0)

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return MlpAggregator(modalities, latent_dim=latent_dim, dim=self.dim, hidden=self.hidden)


class PredictiveConfig(_Config):
    """The default aggregator."""

    kind: Literal["predictive"] = "predictive"
    shared_dim: int = Field(128, gt=0)

    def build(self, modalities: int, latent_dim: int) -> nn.Module:
        """Make the aggregator of a model."""
        return PredictiveAggregator(modalities, latent_dim=latent_dim, shared_dim=self.shared_dim)


class VicregConfig(_Config):
    """Coefficients of VICReg."""

    invariance: float = Field(25.0, ge=0)
    variance: float = Field(25.0, ge=0)
    covariance: float = Field(1.0, ge=0)

    def build(self) -> VicregWeights:
        """Make the loss."""
        return VicregWeights(self.invariance, self.variance, self.covariance)


class AugmentationConfig(_Config):
    """How strongly views are changed."""

    jitter: float = Field(0.05, ge=0)
    scale: float = Field(0.1, ge=0)
    crop: float = Field(1.0, gt=0, le=1)
    time_mask: float = Field(0.0, ge=0, lt=1)

    def build(self) -> Augmentation:
        """Make the augmentation."""
        return Augmentation(**self.model_dump())


class PaperMethodConfig(_Config):
    """The published code's pretraining."""

    kind: Literal["paper"] = "paper"
    strategy: Literal["random", "spatial", "column"] = "spatial"
    keep_rate: float = Field(0.9, gt=0, le=1)
    vicreg: VicregConfig = VicregConfig(invariance=10, variance=10, covariance=100)
    kernel_decay: float = Field(1e-4, ge=0)

    def build(self, model: CrossModalModel) -> Method:
        """Make the method around a model."""
        return PaperMethod(
            model,
            strategy=self.strategy,
            keep_rate=self.keep_rate,
            weights=self.vicreg.build(),
            kernel_decay=self.kernel_decay,
        )


class CrosslMethodConfig(_Config):
    """The default pretraining."""

    kind: Literal["crossl"] = "crossl"
    keep_rate: float = Field(0.4, gt=0, le=1)
    vicreg: VicregConfig = VicregConfig()
    modality_weight: float = Field(0.5, ge=0)
    prediction_weight: float = Field(12.5, ge=0)
    expander_dim: int = Field(256, gt=0)
    augmentation: AugmentationConfig = AugmentationConfig()

    def build(self, model: CrossModalModel) -> Method:
        """Make the method around a model."""
        return CrosslMethod(
            model,
            keep_rate=self.keep_rate,
            augmentation=self.augmentation.build(),
            weights=self.vicreg.build(),
            modality_weight=self.modality_weight,
            prediction_weight=self.prediction_weight,
            expander_dim=self.expander_dim,
        )


class ScheduleConfig(_Config):
    """How long and how fast pretraining learns."""

    steps: int = Field(400, gt=0)
    epochs: int | None = Field(None, gt=0)
    batch_size: int = Field(256, ge=2)
    optimizer: Literal["adamw", "keras_adam"] = "adamw"
    lr: float = Field(2e-3, gt=0)
    weight_decay: float = Field(1e-2, ge=0)
    warmup_share: float = Field(0.1, ge=0, le=1)
    gradient_norm: float | None = Field(5.0, gt=0)
    average_decay: float = Field(0.99, ge=0, lt=1)
    patience: int | None = Field(None, gt=0)
    patience_share: float | None = Field(None, gt=0, le=1)
    restore_best: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    checkpoint_s: float = Field(60.0, ge=0)

    def build(self) -> Schedule:
        """Make the schedule."""
        return Schedule(**self.model_dump())


class FineTuningConfig(_Config):
    """How a network is trained with labels."""

    steps: int = Field(400, gt=0)
    batch_size: int = Field(64, gt=0)
    lr: float = Field(1e-3, gt=0)
    pretrained_lr: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0)
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    keep_rate: float = Field(0.9, gt=0, le=1)
    augmentation: AugmentationConfig = AugmentationConfig(
        jitter=0.1, scale=0.15, crop=0.8, time_mask=0.15
    )
    average_decay: float = Field(0.995, ge=0, lt=1)
    dropout: float = Field(0.3, ge=0, lt=1)
    evaluations: int = Field(5, gt=0)
    gradient_norm: float = Field(1.0, gt=0)

    def build(self) -> FineTuning:
        """Make the settings."""
        values = {**dict(self), "augmentation": self.augmentation.build()}
        return FineTuning(**values)


class EvaluationConfig(_Config):
    """What is scored; `finetuned_fractions` can spare fine-tuning, the slowest, some fractions."""

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


Encoder = Annotated[TcnConfig | StridedConfig, Field(discriminator="kind")]
AggregatorConfig = Annotated[MlpConfig | PredictiveConfig, Field(discriminator="kind")]
MethodConfig = Annotated[PaperMethodConfig | CrosslMethodConfig, Field(discriminator="kind")]


class RunConfig(_Config):
    """Everything that decides a run, but the data."""

    recipe: Literal["crossl", "paper"] = "crossl"
    seed: int = Field(0, ge=0)
    encoder: Encoder = StridedConfig()
    aggregator: AggregatorConfig = PredictiveConfig()
    method: MethodConfig = CrosslMethodConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    finetuning: FineTuningConfig = FineTuningConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
