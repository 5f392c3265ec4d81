"""Run files: one YAML per run, checked key by key; the only place that turns names into objects.

Defaults are those of the `crossl` recipe; `recipe("paper")` gives the published code's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from crossl.data.recording import Modality
from crossl.errors import ConfigError, nearest
from crossl.learn.augment import Augmentation
from crossl.learn.finetune import FineTuning
from crossl.learn.methods import CrosslMethod, Method, PaperMethod, VicregWeights
from crossl.learn.pretrain import Schedule
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
    patience: int = Field(50, gt=0)
    restore_best: bool = False

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


def recipe(name: str) -> RunConfig:
    """Return one of the two recipes.

    `paper` is what the authors' code does (batch 8, 50 epochs, Adam at 1e-4 as Keras writes it,
    the last weights or those of the best validation objective).

    Raises:
        ConfigError: unknown name.
    """
    if name == "crossl":
        return RunConfig()
    if name != "paper":
        raise ConfigError(f"recipe '{name}': unknown; {nearest(name, ('crossl', 'paper'))}")
    return RunConfig(
        recipe="paper",
        encoder=TcnConfig(),
        aggregator=MlpConfig(),
        method=PaperMethodConfig(),
        schedule=ScheduleConfig(
            epochs=50,
            batch_size=8,
            optimizer="keras_adam",
            lr=1e-4,
            gradient_norm=None,
            average_decay=0.0,
            patience=5,
            restore_best=True,
        ),
        evaluation=EvaluationConfig(heads=("aggregator", "encoders")),
    )


def build_model(
    config: RunConfig, modalities: Sequence[Modality], *, window_s: float, seed: int
) -> CrossModalModel:
    """Make a model with random weights.

    Raises:
        ConfigError: encoder, aggregator and method do not fit together.
    """
    _check_parts(config, where="run file")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CrossModalModel(
            modalities,
            window_s=window_s,
            encoder=config.encoder.build,
            aggregator=config.aggregator.build(len(modalities), config.encoder.dim),
            latent_dim=config.encoder.dim,
        )


def _check_parts(config: RunConfig, *, where: str) -> None:
    if isinstance(config.method, CrosslMethodConfig) and isinstance(config.aggregator, MlpConfig):
        raise ConfigError(
            f"{where}: method.kind 'crossl' needs aggregator.kind 'predictive', got 'mlp'"
        )


def _check_evaluation(config: RunConfig, *, where: str) -> None:
    """Refuse now what could not be summarised after hours of training."""
    e = config.evaluation
    for name in ("label_fractions", "label_seeds", "methods", "heads"):
        if not getattr(e, name):
            raise ConfigError(f"{where}: evaluation.{name} is empty; at least one is needed")
    if "crossl" not in e.methods:
        raise ConfigError(
            f"{where}: evaluation.methods is {list(e.methods)}; 'crossl', the method that the "
            "others are compared with, must be among them"
        )
    if e.main_fraction not in e.label_fractions:
        raise ConfigError(
            f"{where}: evaluation.main_fraction is {e.main_fraction:g}; allowed are the "
            f"evaluation.label_fractions, {list(e.label_fractions)}"
        )


def build_method(config: RunConfig, model: CrossModalModel, *, seed: int) -> Method:
    """Wrap a model for pretraining; expanders get random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return config.method.build(model)


def load_config(
    path: Path | None = None, *, base: str = "crossl", overrides: Sequence[str] = ()
) -> RunConfig:
    """Read a run file over a recipe, then `key=value` overrides over both.

    Args:
        path: YAML; its keys replace those of the recipe it names (`recipe:`), or of `base`.
        base: recipe to start from where the file names none.
        overrides: such as `schedule.lr=1e-3`, values as in YAML.

    Raises:
        ConfigError: unreadable file, unknown key, or a value that is not allowed.
    """
    where = str(path) if path else "options"
    values = _read_yaml(path) if path else {}
    start = recipe(str(values.get("recipe", base)))
    config = validate(_merge(start.model_dump(mode="json"), values), where=where)
    for override in overrides:
        where = f"--set {override}"
        config = validate(
            _merge(config.model_dump(mode="json"), _parse_override(override)), where=where
        )
    _check_parts(config, where=where)
    _check_evaluation(config, where=where)
    return config


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"--set {override}: got no '='; write key=value")
    if key.strip() == "recipe":
        raise ConfigError(
            f"--set {override}: a recipe is where settings start from; name it by --recipe or in "
            "the run file"
        )
    value = _parse_scalar(override, text)
    for part in reversed(key.strip().split(".")):
        value = {part: value}
    return dict(value)


def validate(values: Mapping[str, Any], *, where: str) -> RunConfig:
    """Check values against the schema.

    Raises:
        ConfigError: names the first offending key, and the nearest one that exists.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error


def dump_config(config: RunConfig) -> str:
    """Write a run file that gives this config back."""
    return str(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        told = " ".join(str(error).split())
        raise ConfigError(f"{path}: cannot be read as YAML ({told})") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds a {type(values).__name__}; keys and values are needed")
    return values


def _parse_scalar(override: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not YAML") from error


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, key by key; a block that changes its `kind` starts afresh."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value):
            merged[key] = _merge(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return bool(new.get("kind", old.get("kind")) == old.get("kind"))


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"] if str(part) not in _KINDS]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(path[-1], _keys_at(path[:-1]))}"
    got = first.get("input")
    return f"{key}: {first['msg']}, got {got!r}"


_KINDS = {"tcn", "strided", "mlp", "predictive", "paper", "crossl"}


def _keys_at(path: Sequence[str]) -> set[str]:
    """List the keys that exist below a path of the schema."""
    models: list[Any] = [RunConfig]
    for part in path:
        models = [
            inner
            for model in models
            if part in model.model_fields
            for inner in _models_in(model.model_fields[part].annotation)
        ]
    return {name for model in models for name in model.model_fields}


def _models_in(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Union or hasattr(annotation, "__args__"):
        return [m for inner in get_args(annotation) for m in _models_in(inner)]
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return []
