"""From a config to a model and a method; the two recipes; what does not fit together."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from crossl.config.encoders import Modules, check_encoders, encoder_maker
from crossl.config.schema import EvaluationConfig, RunConfig
from crossl.data.recording import Modality
from crossl.errors import ConfigError, nearest
from crossl.methods import Method, PaperMethodConfig
from crossl.nn.aggregators import MlpConfig
from crossl.nn.encoders import TcnConfig
from crossl.nn.features import FeaturesConfig
from crossl.nn.model import CrossModalModel
from crossl.registry import kind_of
from crossl.train.schedule import Schedule

RECIPES = ("crossl", "paper")


def recipe(name: str) -> RunConfig:
    """Return one of the two recipes.

    `paper` is what the authors' code does (batch 8, 50 epochs, Adam at 1e-4 as Keras writes it,
    the last weights or those of the best validation objective).

    Raises:
        ConfigError: unknown name.
    """
    if name == "crossl":
        return RunConfig(features=FeaturesConfig())
    if name != "paper":
        raise ConfigError(f"recipe '{name}': unknown; {nearest(name, RECIPES)}")
    return RunConfig(
        recipe="paper",
        encoder=TcnConfig(),
        aggregator=MlpConfig(),
        method=PaperMethodConfig(),
        schedule=Schedule(
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
    config: RunConfig,
    modalities: Sequence[Modality],
    *,
    window_s: float,
    seed: int,
    encoders: Modules | None = None,
) -> CrossModalModel:
    """Make a model with random weights.

    Args:
        config: of the run.
        modalities: the M streams, in order.
        window_s: length of a window, seconds.
        seed: of the weights.
        encoders: modules that encode the modalities in `config.own_encoders`; copies are used.

    Raises:
        ConfigError: encoders, aggregator and method do not fit together, or not the modalities.
    """
    check_parts(config, where="run file")
    make = encoder_maker(config, modalities, encoders or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CrossModalModel(
            modalities,
            window_s=window_s,
            encoder=make,
            aggregator=config.aggregator.build(len(modalities), config.encoder.dim),
            latent_dim=config.encoder.dim,
            shared_encoders=config.shared_encoders,
            frozen_encoders=config.frozen_encoders,
            features=None
            if config.features is None
            else config.features.build(modalities, window_s),
        )


def check_parts(config: RunConfig, *, where: str) -> None:
    """Refuse an aggregator that the method cannot use, and encoders that contradict each other.

    Raises:
        ConfigError: they do not fit together.
    """
    check_encoders(config, where=where)
    needed = config.method.refuses(config.aggregator)
    if needed:
        method, got = kind_of(config.method), kind_of(config.aggregator)
        raise ConfigError(f"{where}: method.kind '{method}' needs {needed}, got '{got}'")
    for encoder in (config.encoder, *config.encoders.values()):
        needed = config.method.refuses_encoder(encoder, config.aggregator)
        if needed:
            method, got = kind_of(config.method), kind_of(encoder)
            raise ConfigError(f"{where}: method.kind '{method}' needs {needed}, got '{got}'")


def check_schedule(config: RunConfig, *, where: str) -> None:
    """Refuse two kinds of patience.

    Raises:
        ConfigError: both are given.
    """
    s = config.schedule
    if s.patience is not None and s.patience_share is not None:
        raise ConfigError(
            f"{where}: schedule.patience is {s.patience} epochs and schedule.patience_share "
            f"{s.patience_share:g} of the schedule; give one, and null for the other"
        )


def check_evaluation(config: RunConfig, *, where: str) -> None:
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


def check_contenders(config: RunConfig, *, where: str) -> None:
    """Refuse names that the evaluation's own methods have, and parts that do not fit together.

    Raises:
        ConfigError: names the contender.
    """
    taken = {"crossl", "paper", "untrained", "supervised", "finetuned", "subset_probes"}
    for name in taken & set(config.contenders):
        raise ConfigError(
            f"{where}: contenders.{name}: the name is taken by evaluation.methods; choose another"
        )
    for name, settings in config.contenders.items():
        settings.check(config, where=f"{where}: contenders.{name}")


def build_method(config: RunConfig, model: CrossModalModel, *, seed: int) -> Method:
    """Wrap a model for pretraining; expanders get random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return config.method.build(model)
