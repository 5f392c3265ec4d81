"""Run files: one YAML per run, checked key by key; the only place that turns names into objects.

Defaults are those of the `crossl` recipe; `recipe("paper")` gives the published code's.
"""

from crossl.config.build import build_method, build_model, recipe
from crossl.config.encoders import with_modules
from crossl.config.files import (
    config_from,
    differences,
    dump_config,
    lay_over,
    load_config,
    plain,
    tried,
    validate,
    with_overrides,
)
from crossl.config.schema import EvaluationConfig, RunConfig

__all__ = [
    "EvaluationConfig",
    "RunConfig",
    "build_method",
    "build_model",
    "config_from",
    "differences",
    "dump_config",
    "lay_over",
    "load_config",
    "plain",
    "recipe",
    "tried",
    "validate",
    "with_modules",
    "with_overrides",
]
