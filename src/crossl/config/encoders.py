"""Which encoder each modality of a run has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import nn

from crossl.config.schema import RunConfig
from crossl.data.recording import Modality
from crossl.errors import ConfigError
from crossl.nn.encoders import EncoderConfig
from crossl.nn.modality_encoders import check_known
from crossl.nn.own_module import adopt_module, check_windows_apart
from crossl.registry import kind_of

Modules = Mapping[str, nn.Module]
"""Encoders that Python hands over, by modality."""


def with_modules(config: RunConfig, modules: Modules | None) -> RunConfig:
    """Say in a config which encoders are handed over, if some are."""
    if not modules:
        return config
    return config.model_copy(update={"own_encoders": tuple(sorted(modules))})


def encoder_of(config: RunConfig, name: str) -> EncoderConfig:
    """Return the settings of the encoder of a modality."""
    return config.encoders.get(name, config.encoder)


def group_of(config: RunConfig, name: str) -> tuple[str, ...]:
    """Return the modalities that share the encoder of one, itself among them."""
    return next((group for group in config.shared_encoders if name in group), (name,))


def encoder_maker(
    config: RunConfig, modalities: Sequence[Modality], modules: Modules
) -> Callable[[Modality, int], nn.Module]:
    """Return what makes the encoder of a modality.

    Raises:
        ConfigError: a setting names a modality that is not there, or a module is missing.
    """
    names = [m.name for m in modalities]
    check_known("encoders", config.encoders, names)
    check_known("own_encoders", config.own_encoders, names)
    check_known("encoders", modules, names)
    check_modules(config, modules, where="encoders")
    check_known("frozen_encoders", config.frozen_encoders, names)

    def make(modality: Modality, samples: int) -> nn.Module:
        if modality.name in modules:
            own = adopt_module(modules[modality.name], modality, samples, dim=config.encoder.dim)
            if not set(group_of(config, modality.name)) & set(config.frozen_encoders):
                check_windows_apart(own, modality)
            return own
        return encoder_of(config, modality.name).build(modality, samples)

    return make


def check_modules(config: RunConfig, modules: Collection[str], *, where: str) -> None:
    """Refuse a run whose encoders are modules that are not handed over, or others than those.

    Raises:
        ConfigError: names the first.
    """
    for name in config.own_encoders:
        if name not in modules:
            raise ConfigError(
                f"{where}: '{name}' is encoded by a custom module, which no file holds; "
                f"hand it over in Python, encoders={{'{name}': module}}"
            )
    for name in modules:
        if name not in config.own_encoders:
            raise ConfigError(
                f"{where}: a module is handed over for '{name}', whose encoder is of kind "
                f"'{kind_of(encoder_of(config, name))}'; list it in own_encoders, or hand over none"
            )


def check_encoders(config: RunConfig, *, where: str) -> None:
    """Refuse settings of encoders that contradict each other.

    Raises:
        ConfigError: names the key.
    """
    for name, encoder in config.encoders.items():
        if encoder.dim != config.encoder.dim:
            raise ConfigError(
                f"{where}: encoders.{name}.dim is {encoder.dim}; all encoders of a model have "
                f"encoder.dim, {config.encoder.dim}"
            )
        if name in config.own_encoders:
            raise ConfigError(
                f"{where}: '{name}' is in both encoders and own_encoders; give one of them"
            )
    for group in config.shared_encoders:
        for name in group[1:]:
            key = "encoders" if name in config.encoders else "own_encoders"
            if name in getattr(config, key):
                raise ConfigError(
                    f"{where}: {key} names '{name}', which shares the encoder of '{group[0]}'; "
                    f"name '{group[0]}' instead"
                )
