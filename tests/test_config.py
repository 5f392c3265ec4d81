"""Run files: every key counts, none is misread."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from pydantic import BaseModel
from torch import nn

from crossl.config import (
    EvaluationConfig,
    RunConfig,
    build_method,
    build_model,
    dump_config,
    load_config,
    recipe,
    validate,
)
from crossl.data.recording import Modality
from crossl.data.splits import subject_folds
from crossl.data.standardisation import (
    STANDARDISATIONS,
    CalibrationStandardisation,
    RecordingStandardisation,
    RunningStandardisation,
    TrainingStandardisation,
)
from crossl.errors import ConfigError
from crossl.methods import (
    AutoencoderConfig,
    CmcConfig,
    CocoaConfig,
    CrosslMethodConfig,
    CrossReconstructionConfig,
    DependentSplitConfig,
    FocalConfig,
    HybridConfig,
    JointEmbeddingConfig,
    MaskedAutoencoderConfig,
    PaperMethodConfig,
    SimclrConfig,
    Ts2vecConfig,
    TsTccConfig,
)
from crossl.methods.augment import Augmentation
from crossl.methods.distil import DistilConfig
from crossl.methods.permutation import Permutation
from crossl.nn.aggregators import ConcatConfig, MlpConfig, PredictiveConfig
from crossl.nn.attention import AttentionConfig, GatedConfig, TransformerConfig
from crossl.nn.deepconvlstm import DeepConvLstmConfig
from crossl.nn.encoders import StridedConfig, TcnConfig
from crossl.nn.features import FeaturesConfig
from crossl.nn.patch_transformer import PatchTransformerConfig
from crossl.nn.resnet import ResnetConfig
from crossl.nn.time_frequency import TimeFrequencyConfig
from crossl.nn.token_transformer import TokenTransformerConfig
from crossl.objectives.barlow_twins import BarlowTwinsConfig
from crossl.objectives.contrastive import DclConfig, HardDclConfig, InfoNceConfig
from crossl.objectives.nt_xent import NtXentConfig
from crossl.objectives.vicreg import VicregConfig
from crossl.registry import SORTS
from crossl.train.finetune import FineTuning
from crossl.train.schedule import Schedule

RECIPES = ("crossl", "paper")
MODALITIES = (Modality("acc", ("x", "y", "z"), "m/s^2", 20.0), Modality("heat", ("t",), "K", 4.0))


@pytest.mark.parametrize("name", RECIPES)
def test_a_dumped_config_gives_itself_back(name: str, tmp_path: Path) -> None:
    config = recipe(name)
    text = dump_config(config)
    assert validate(yaml.safe_load(text), where="dump") == config
    (tmp_path / "run.yaml").write_text(text)
    assert load_config(tmp_path / "run.yaml") == config
    assert config.recipe == name


def test_an_unknown_recipe_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="recipe 'papr': unknown; did you mean 'paper'"):
        recipe("papr")


def leaves(model: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def blocks() -> list[tuple[str, tuple[str, ...]]]:
    found = {(name, path[:-1]) for name in RECIPES for path in leaves(recipe(name))}
    return sorted(found)


@pytest.mark.parametrize(("name", "block"), blocks(), ids=lambda v: ".".join(v) or "top")
def test_every_unknown_key_is_refused_by_its_path_and_the_nearest_key(
    name: str, block: tuple[str, ...]
) -> None:
    values = recipe(name).model_dump(mode="json")
    inner = values
    for part in block:
        inner = inner[part]
    real = next((key for key in reversed(inner) if key != "kind"), "kind")
    inner[real + "x"] = 1
    path = re.escape(".".join((*block, real + "x")))
    with pytest.raises(ConfigError, match=f"run.yaml: {path}: unknown key; did you mean '{real}'"):
        validate(values, where="run.yaml")


def test_a_key_that_is_near_no_other_is_refused_with_all_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"encoder.zzz: unknown key; allowed are 'dim', "):
        load_config(overrides=["encoder.zzz=1"])


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("schedule.lr=0", r"schedule.lr: .*greater than 0, got 0"),
        ("schedule.lr=fast", "schedule.lr: .*valid number.*, got 'fast'"),
        ("schedule.lr=.nan", r"schedule.lr: .*finite.*, got nan"),
        ("method.keep_rate=1.5", "method.keep_rate: .*less than or equal to 1, got 1.5"),
        ("finetuning.keep_rate=1.5", "finetuning.keep_rate: .*less than or equal to 1, got 1.5"),
        ("finetuning.keep_rate={watch: 0}", "finetuning.keep_rate: .*than 0, got {watch: 0}"),
        (
            "finetuning.keep_rate.watch=often",
            ".*keep_rate: .*number, .*got {watch: often}",
        ),
        ("encoder.kind=tcnn", "encoder.kind: unknown encoder 'tcnn'; did you mean 'tcn'"),
        ("encoder.dropout=0.1", "encoder.dropout: .*encoder 'strided' has no .*'tcn' has"),
        ("method.objective.kind=barlow", "method.objective.kind: unknown objective 'barlow'"),
        ("method.objective.varince=1", "method.objective.varince: .* did you mean 'variance'"),
        ("aggregator={kind: attention, heads: 3}", "aggregator: 128 .* in 3 heads; a multiple"),
        ("standardisation.kind=person", "standardisation.kind: unknown standardisation 'person'"),
        ("standardisation.minutes=3", "standardisation.minutes: unknown key; allowed are 'kind'"),
        ("standardisation={kind: calibration, minutes: 0}", "standardisation.minutes: .*, got 0"),
        ("standardisation={kind: running, floor: 2}", "standardisation.floor: .*, got 2"),
        ("evaluation.folds=1", "evaluation.folds: .*greater than or equal to 2, got 1"),
        ("evaluation.label_fractions=[0.1, 0]", "evaluation.label_fractions.1: .*, got 0"),
        ("evaluation.methods=[crosl]", "evaluation.methods.0: .*'crossl'.*, got 'crosl'"),
        ("evaluation=none", "evaluation: .*, got 'none'"),
        ("seed=-1", "seed: .*, got -1"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_with_what_was_got(
    override: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=f"^--set {re.escape(override)}: {message}") as caught:
        load_config(overrides=[override])
    assert "\n" not in str(caught.value)


def test_overrides_are_yaml_and_later_ones_win() -> None:
    config = load_config(
        overrides=["schedule.lr=1e-3", "schedule.lr=1e-4", "evaluation.label_seeds=[4, 5]",
                   "schedule.gradient_norm=null", "schedule.restore_best=true"]
    )  # fmt: skip
    assert config.schedule.lr == 1e-4
    assert config.schedule.gradient_norm is None
    assert config.schedule.restore_best
    assert config.evaluation.label_seeds == (4, 5)


def test_an_override_without_equals_is_refused() -> None:
    with pytest.raises(ConfigError, match="--set seed: got no '='; write key=value"):
        load_config(overrides=["seed"])


def test_an_override_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--set seed=\[1: the value is not YAML"):
        load_config(overrides=["seed=[1"])


def test_an_override_of_the_recipe_is_refused() -> None:
    with pytest.raises(ConfigError, match="--set recipe=paper: a recipe is where settings start"):
        load_config(overrides=["recipe=paper"])


def test_a_refusal_names_the_override_that_is_wrong_and_not_another() -> None:
    with pytest.raises(ConfigError, match=r"^--set schedule.stps=4: schedule.stps: unknown key"):
        load_config(overrides=["schedule.stps=4", "seed=1"])


def test_a_refusal_names_the_file_where_the_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("schedule: {stps: 4}\n")
    with pytest.raises(ConfigError, match=r"run.yaml: schedule.stps: unknown key"):
        load_config(tmp_path / "run.yaml", overrides=["seed=1"])


def test_a_file_is_laid_over_the_recipe_it_names(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("recipe: paper\nschedule: {epochs: 3}\n")
    config = load_config(tmp_path / "run.yaml", overrides=["schedule.patience=7"])
    wanted = recipe("paper").model_dump(mode="json")
    wanted["schedule"] |= {"epochs": 3, "patience": 7}
    assert config == validate(wanted, where="test")


def test_patience_in_epochs_and_as_a_share_are_not_given_both() -> None:
    assert recipe("crossl").schedule.patience is None
    assert load_config(overrides=["schedule.patience=50"]).schedule.patience == 50
    with pytest.raises(ConfigError, match=r"is 50 epochs and schedule.patience_share 0\.1"):
        load_config(overrides=["schedule.patience=50", "schedule.patience_share=0.1"])


def test_an_empty_file_is_the_base_recipe(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("# nothing yet\n")
    assert load_config(tmp_path / "run.yaml", base="paper") == recipe("paper")


def test_another_kind_starts_from_its_own_defaults() -> None:
    config = load_config(overrides=["encoder.kind=tcn", "encoder.dropout=0.3"])
    assert config.encoder == TcnConfig(dropout=0.3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: [1", r"run.yaml: cannot be read as YAML \(.*\)"),
        (b"\xff\xfe\x00", r"run.yaml: cannot be read as YAML \(.*\)"),
        (b"- 1\n", "run.yaml: holds a list; keys and values are needed"),
        (b"recipe: 3\n", "recipe '3': unknown; allowed are 'crossl', 'paper'"),
        (b"1: 2\n", "run.yaml: 1"),
    ],
)
def test_a_file_that_is_no_run_file_is_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(tmp_path / "run.yaml")
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none.yaml: there is no such file$"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match=r"is a folder; a YAML file is needed$"):
        load_config(tmp_path)


def test_no_python_object_is_made_from_yaml(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("seed: !!python/object/apply:os.getpid []\n")
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        load_config(tmp_path / "run.yaml")


@pytest.mark.parametrize("kind", ["gated", "attention", "transformer"])
def test_an_aggregator_fits_the_crossl_method_where_it_completes(kind: str) -> None:
    assert load_config(overrides=[f"aggregator.kind={kind}"]).aggregator.completes
    message = f"method.kind 'crossl' needs aggregator.completed true, got '{kind}'"
    with pytest.raises(ConfigError, match=message):
        load_config(overrides=[f"aggregator={{kind: {kind}, completed: false}}"])
    plain = [f"aggregator={{kind: {kind}, completed: false}}", "method={kind: simclr}"]
    assert not load_config(overrides=plain[::-1]).aggregator.completes


def test_the_mlp_aggregator_does_not_fit_the_crossl_method() -> None:
    message = "method.kind 'crossl' needs aggregator.kind 'predictive', got 'mlp'"
    with pytest.raises(ConfigError, match=f"--set aggregator.kind=mlp: {message}"):
        load_config(overrides=["aggregator.kind=mlp"])
    with pytest.raises(ConfigError, match=f"run file: {message}"):
        build_model(RunConfig(aggregator=MlpConfig()), MODALITIES, window_s=2.0, seed=0)


@pytest.mark.parametrize("name", ["label_fractions", "label_seeds", "methods", "heads"])
def test_an_evaluation_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"evaluation.{name} is empty; at least one is needed"):
        load_config(overrides=[f"evaluation.{name}=[]"])


def test_an_evaluation_without_its_main_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="'crossl', the method that the others are compared with"):
        load_config(overrides=["evaluation.methods=[supervised]"])


def test_a_main_fraction_that_is_not_scored_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"main_fraction is 0.2; allowed are .*\[0.5, 1.0\]"):
        load_config(
            overrides=["evaluation.label_fractions=[0.5, 1]", "evaluation.main_fraction=0.2"]
        )


# --- every leaf is consumed ---------------------------------------------------------------------


def another(model: BaseModel, name: str) -> Any:
    """Find a value of a field that is allowed and is not the one it has."""
    value = getattr(model, name)
    options: list[Any] = [
        "subject",
        "random",
        "independent",
        "tokens",
        "modalities",
        "bfloat16",
        "keras_adam",
        "adamw",
        7,
        16,
        48,
        0.25,
        0.75,
        (5, 7),
        True,
        False,
    ]
    for option in options:
        if option == value or isinstance(option, str) != isinstance(value, str):
            continue
        if isinstance(option, bool) != isinstance(value, bool):
            continue
        try:
            return type(model).model_validate({**dict(model), name: option})
        except ValueError:
            continue
    raise AssertionError(f"{type(model).__name__}.{name}: no other value was found")


def trace(thing: Any) -> Any:
    """Say all that a built object is made of."""
    if isinstance(thing, nn.Module):
        settings = {k: v for k, v in vars(thing).items() if isinstance(v, BaseModel)}
        plain = {k: v for k, v in vars(thing).items() if isinstance(v, int | float | str)}
        inner = {name: trace(child) for name, child in thing.named_children()}
        shapes = {name: tuple(p.shape) for name, p in thing.named_parameters(recurse=False)}
        held = {k: v for k, v in vars(thing).items() if dataclasses.is_dataclass(v)}
        return (
            type(thing).__name__,
            thing.extra_repr(),
            plain,
            inner,
            shapes,
            repr(held),
            settings,
        )
    return repr(thing)


def model_of(config: RunConfig) -> Any:
    return build_model(config, MODALITIES, window_s=2.0, seed=0)


def compared(objective: Any) -> list[str]:
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(9, 4, generator=rng) for _ in range(2))
    return [f"{name} {term:.9f}" for name, term in objective.compare(a, b).items()]


def augmented(settings: Any) -> Any:
    signals = {"acc": torch.randn(4, 40, 3, generator=torch.Generator().manual_seed(0))}
    return settings.build()(signals, torch.Generator().manual_seed(1))["acc"].tolist()


SPECTRA = [
    "encoder={kind: time_frequency, dim: 336}",
    "aggregator={kind: concat}",
    "method={kind: cross_reconstruction}",
]
TOKENS = [
    "encoder={kind: patch_transformer, read: tokens, depth: 0}",
    "aggregator={kind: token_transformer}",
    "method={kind: masked_autoencoder}",
]
BUILDERS: dict[type[BaseModel], Callable[[Any], Any]] = {
    TrainingStandardisation: lambda c: c.build(),
    RecordingStandardisation: lambda c: c.build(),
    CalibrationStandardisation: lambda c: c.build(),
    RunningStandardisation: lambda c: c.build(),
    TcnConfig: lambda c: c.build(MODALITIES[0], 40),
    StridedConfig: lambda c: c.build(MODALITIES[0], 40),
    PatchTransformerConfig: lambda c: c.build(MODALITIES[0], 40),
    ResnetConfig: lambda c: c.build(MODALITIES[0], 40),
    DeepConvLstmConfig: lambda c: c.build(MODALITIES[0], 400),
    MlpConfig: lambda c: c.build(2, 8),
    PredictiveConfig: lambda c: c.build(2, 8),
    VicregConfig: compared,
    BarlowTwinsConfig: compared,
    InfoNceConfig: compared,
    DclConfig: compared,
    HardDclConfig: compared,
    NtXentConfig: compared,
    Augmentation: augmented,
    Permutation: augmented,
    PaperMethodConfig: lambda c: c.build(model_of(recipe("paper"))),
    CrosslMethodConfig: lambda c: c.build(model_of(recipe("crossl"))),
    SimclrConfig: lambda c: c.build(model_of(recipe("crossl"))),
    JointEmbeddingConfig: lambda c: c.build(model_of(recipe("crossl"))),
    CmcConfig: lambda c: c.build(model_of(recipe("crossl"))),
    CocoaConfig: lambda c: c.build(model_of(recipe("crossl"))),
    FocalConfig: lambda c: c.build(model_of(recipe("crossl"))),
    CrossReconstructionConfig: lambda c: c.build(model_of(load_config(overrides=SPECTRA))),
    TimeFrequencyConfig: lambda c: c.build(MODALITIES[0], 40),
    DependentSplitConfig: lambda c: c.build(model_of(recipe("crossl"))),
    TsTccConfig: lambda c: c.build(model_of(recipe("crossl"))),
    Ts2vecConfig: lambda c: c.build(model_of(recipe("crossl"))),
    ConcatConfig: lambda c: c.build(2, 8),
    GatedConfig: lambda c: c.build(2, 8),
    AttentionConfig: lambda c: c.build(2, 8),
    TransformerConfig: lambda c: c.build(2, 8),
    AutoencoderConfig: lambda c: c.build(model_of(recipe("crossl"))),
    HybridConfig: lambda c: c.build(model_of(load_config(overrides=TOKENS))),
    MaskedAutoencoderConfig: lambda c: c.build(model_of(load_config(overrides=TOKENS))),
    TokenTransformerConfig: lambda c: c.build(2, 112 * c.places),
    FeaturesConfig: lambda c: c.build(MODALITIES, 2.0),
    DistilConfig: lambda c: c.build(model_of(recipe("crossl"))),
}
"""What is read of the other blocks is seen in tests/train/test_fold_latents.py."""

SEEN_ELSEWHERE = {(DistilConfig, name) for name in ("keep", "teacher", "paired", "losses", "start")}
"""What `crossl distil` reads before it builds, or a batch shows: tests/train/test_distil.py."""

LEAVES = [
    (model, name)
    for model in BUILDERS
    for name, field in model.model_fields.items()
    if name != "kind" and not isinstance(field.default, BaseModel)
    if (model, name) not in SEEN_ELSEWHERE
]


@pytest.mark.parametrize(
    ("model", "name"), LEAVES, ids=[f"{model.__name__}.{name}" for model, name in LEAVES]
)
def test_every_leaf_changes_what_is_built(model: type[BaseModel], name: str) -> None:
    before = model()
    after = another(before, name)
    assert trace(BUILDERS[model](before)) != trace(BUILDERS[model](after))


@pytest.mark.parametrize("model", BUILDERS)
def test_every_block_within_a_block_reaches_what_is_built(model: type[BaseModel]) -> None:
    before = model()
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            inner = getattr(before, name)
            changed = before.model_copy(update={name: another(inner, _first_setting(type(inner)))})
            assert trace(BUILDERS[model](before)) != trace(BUILDERS[model](changed)), name


def _first_setting(block: type[BaseModel]) -> str:
    return next(name for name in block.model_fields if name != "kind")


def test_every_block_of_a_run_file_is_tested_above_or_below() -> None:
    found = {
        type(block)
        for name in RECIPES
        for config in [recipe(name)]
        for block in chain(_blocks_of(config))
    }
    tasks = set(SORTS["task"].values())  # tried in tests/tasks
    assert found <= {*BUILDERS, *tasks, RunConfig, EvaluationConfig, Schedule, FineTuning}
    # contenders are tried in tests/train/test_leaks.py, all of them
    registered = {
        part
        for sort, registry in SORTS.items()
        for part in registry.values()
        if sort not in ("contender", "task")
    }
    assert {*registered, *STANDARDISATIONS.values()} <= set(BUILDERS)


def _blocks_of(model: BaseModel) -> Iterator[BaseModel]:
    yield model
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _blocks_of(value)


def test_folds_and_their_seed_decide_who_is_tested() -> None:
    who = np.array([f"S{i}" for i in range(12)])
    by_seed = [subject_folds(who, folds=3, seed=s)[0].test.tolist() for s in (0, 1)]
    assert by_seed[0] != by_seed[1]
    assert len(subject_folds(who, folds=4, seed=0)) == 4


def test_the_seed_decides_the_weights_and_nothing_else_random_is_touched() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one, two, other = (
        build_method(recipe("crossl"), model_of_seed(seed), seed=seed) for seed in (0, 0, 1)
    )
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(one.state_dict(), other.state_dict())


def model_of_seed(seed: int) -> Any:
    return build_model(recipe("crossl"), MODALITIES, window_s=2.0, seed=seed)


def test_coefficients_of_older_run_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("method: {vicreg: {variance: 7}}\n")
    wanted = VicregConfig(variance=7)
    assert getattr(load_config(tmp_path / "run.yaml").method, "objective", None) == wanted
    dumped = recipe("crossl").model_dump(mode="json")
    dumped["method"]["vicreg"] = {"invariance": 25, "variance": 7, "covariance": 1}
    del dumped["method"]["objective"], dumped["method"]["augmentation"]["kind"]
    assert getattr(validate(dumped, where="old").method, "objective", None) == wanted


@pytest.mark.parametrize("name", SORTS["objective"])
def test_every_objective_can_be_chosen_in_every_method(name: str) -> None:
    for base in RECIPES:
        config = load_config(base=base, overrides=[f"method.objective.kind={name}"])
        assert config.method.model_dump()["objective"]["kind"] == name
        assert validate(yaml.safe_load(dump_config(config)), where="dump") == config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "method.kernel_decay=1",
            "method.kernel_decay: .*method 'crossl' has no such key, method 'paper' has",
        ),
        (
            "encoder.dropout=0.2",
            "encoder.dropout: .*encoder 'strided' has no such key, encoder 'tcn'",
        ),
        ("method.keep_rat=0.2", "method.keep_rat: unknown key; did you mean 'keep_rate'"),
        ("evaluation=null", "evaluation: keys and values are needed, got null"),
        ("evaluation.heads=aggregator", "evaluation.heads: a list is needed, got 'aggregator'"),
        ("schedule.restore_best=7", "schedule.restore_best: true or false is needed, got 7"),
        ("schedule.steps=null", "schedule.steps: a whole number is needed, got null"),
        ("schedule.lr=[1, null]", r"schedule.lr: a number is needed, got \[1, null\]"),
    ],
)
def test_a_refusal_speaks_of_keys_and_kinds_and_not_of_python(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(overrides=[override])
    for word in ("NoneType", "None", "instance of", "dictionary", "tuple", "str "):
        assert word not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind"), [("3", "a number"), ("true", "true or false"), ("walk", "text"),
                          ("- 1", "a list")]
)  # fmt: skip
def test_a_file_of_something_else_is_named_in_words(
    content: str, kind: str, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(content)
    with pytest.raises(ConfigError, match=f"run.yaml: holds {kind}; keys and values are needed"):
        load_config(tmp_path / "run.yaml")
