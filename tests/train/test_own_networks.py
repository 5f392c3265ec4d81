"""Contenders with a network of their own: whose settings hold, and what is made of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossl.commands.benchmark import run_experiment
from crossl.config import RunConfig, load_config, recipe, validate, with_overrides
from crossl.contenders import PretrainedConfig, UntrainedConfig, contender_hashes
from crossl.contenders.contender import Context
from crossl.contenders.networks import untrained
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.evaluate.results import Entry, ResultBook
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.report import build_report

SETTINGS = (
    "evaluation.folds=3", "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
    "evaluation.label_seeds=[0]", "evaluation.methods=[crossl]", "finetuning.steps=2",
)  # fmt: skip
PAPER = (
    "{recipe: paper, heads: [aggregator, encoders], encoder: {dim: 8}, aggregator: {hidden: 8, "
    "dim: 8}, schedule: {epochs: 2, batch_size: 32}}"
)
"""As the tiny one of tests/train/conftest.py."""


def block(text: str, *others: str) -> PretrainedConfig:
    config = load_config(overrides=[*others, f"contenders.one={text}"])
    found = config.contenders["one"]
    assert isinstance(found, PretrainedConfig)
    return found


def scores(task: FoldTask, name: str) -> dict[str | None, list[Entry]]:
    found: dict[str | None, list[Entry]] = {}
    for entry in ResultBook.load(task.scores(name)).entries:
        found.setdefault(entry.key.head, []).append(entry)
    return found


@pytest.fixture
def context(store: Store, small: Callable[..., RunConfig], runs: Path) -> Context:
    runner = FoldRunner(FoldTask(store.path, small("crossl", *SETTINGS), runs, 0))
    return runner._context("crossl", None)  # type: ignore[arg-type]


def test_the_published_recipe_within_an_experiment_is_that_of_an_experiment_of_its_own(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    own = FoldTask(store.path, small("paper", *SETTINGS), runs / "own", 0)
    FoldRunner(own).run()
    config = small("crossl", *SETTINGS, f"contenders.published={PAPER}")
    run_experiment(store.path, config, runs / "beside", folds="0", workers=1)
    assert "published" in build_report(runs / "beside").read_text(encoding="utf-8")
    beside = FoldTask(store.path, config, runs / "beside" / "fold-0", 0)
    one = own.folder / "weights.safetensors"
    other = beside.home("published") / "weights.safetensors"
    assert one.read_bytes() == other.read_bytes()
    wanted, got = scores(own, "crossl"), scores(beside, "published")
    assert set(wanted) == set(got) == {"aggregator", "encoders"}
    for head, entries in wanted.items():
        for a, b in zip(entries, got[head], strict=True):
            np.testing.assert_array_equal(a.confusion, b.confusion)


def test_a_recipe_holds_where_a_contender_gives_nothing_and_the_run_file_does_not() -> None:
    config = load_config(overrides=["schedule.lr=0.5", "encoders={ecg: {kind: tcn}}"])
    merged = block("{recipe: paper, schedule: {epochs: 3}}").within(config)
    paper = recipe("paper")
    assert merged.recipe == "paper"
    assert (merged.encoder, merged.encoders) == (paper.encoder, {})
    assert (merged.method, merged.aggregator) == (paper.method, paper.aggregator)
    assert merged.schedule == paper.schedule.model_copy(update={"epochs": 3})
    assert block("{schedule: {steps: 3}}").within(config).encoders == config.encoders
    ours = block("{recipe: crossl}").within(with_overrides(config, ["encoder.width=7"]))
    assert (ours.encoder, ours.schedule) == (recipe("crossl").encoder, recipe("crossl").schedule)


@pytest.mark.parametrize("text", [
    PAPER, "{}", "{seed: 3}", "{encoders: {ecg: {kind: tcn}}}", "{encoder: {width: 8}}",
    "{encoder: {dim: 16}, encoders: {ecg: {kind: tcn}, eda: {kind: tcn, dim: 16}}}",
])  # fmt: skip
def test_what_is_written_of_a_contender_gives_it_back(text: str) -> None:
    config = load_config(overrides=[f"contenders.one={text}"])
    again = validate(config.model_dump(mode="json"), where="run file")
    assert contender_hashes(again) == contender_hashes(config)
    one, other = (c.contenders["one"].within(c) for c in (config, again))
    assert one.model_dump() == other.model_dump()
    assert one.encoders == other.encoders


def test_contenders_of_results_that_are_there_already_are_known_by_the_same_hash() -> None:
    config = load_config(overrides=["contenders.a={}", "contenders.s={kind: supervised}",
                                    "contenders.f={kind: forest}"])  # fmt: skip
    found = {name: told[:12] for name, told in contender_hashes(config).items()}
    assert found == {"a": "eeba6f0305bb", "s": "924b8c100909", "f": "032d3362c027"}
    others = load_config(overrides=["contenders.a={seed: 0}", "contenders.s={kind: supervised, "
                                    "aggregator: {kind: concat}}"])  # fmt: skip
    assert not set(contender_hashes(others).values()) & set(contender_hashes(config).values())


def test_another_seed_is_another_pretraining_and_that_of_an_experiment_of_this_seed(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    tasks = []
    for name, seed in (("one", 0), ("two", 1)):
        config = small("crossl", *SETTINGS, f"seed={seed}", "contenders.other={seed: 1}")
        tasks.append(FoldTask(store.path, config, runs / name, 0))
        FoldRunner(tasks[-1]).run()
    one, two = tasks
    folders = (one.folder, one.home("other"), two.folder)
    weights = [(folder / "weights.safetensors").read_bytes() for folder in folders]
    assert weights[0] != weights[1] == weights[2]
    wanted, *found = (scores(*asked)["aggregator"] for asked in
                      ((two, "crossl"), (one, "other"), (two, "other")))  # fmt: skip
    for entries in found:
        for a, b in zip(wanted, entries, strict=True):
            np.testing.assert_array_equal(a.confusion, b.confusion)
    again = replace(one, folder=runs / "again", repeat=1)  # another pretraining of the fold
    FoldRunner(again).run()
    own = load_config(again.home("other") / "config.yaml")
    assert (own.seed, load_config(again.folder / "config.yaml").seed) == (2, 1)


def test_encoders_of_single_modalities_are_as_wide_as_the_others(context: Context) -> None:
    settings = UntrainedConfig.model_validate({"encoders": {"wrist_acc": {"kind": "tcn"}}})
    model = untrained(context, settings)
    kinds = {m.name: type(model.encoders.of(m.name)) for m in model.modalities}
    assert kinds == {"wrist_acc": TcnEncoder, "wrist_heat": StridedEncoder,
                     "chest_ecg": StridedEncoder}  # fmt: skip
    assert model.latent_dim == 8
    wrong = UntrainedConfig.model_validate({"encoders": {"wrist_ac": {"kind": "tcn"}}})
    with pytest.raises(ConfigError, match="encoders: no modality is called 'wrist_ac'"):
        untrained(context, wrong)
    joined = UntrainedConfig.model_validate({"aggregator": {"kind": "concat"}})
    assert untrained(context, joined).embedding_dim == 3 * 8
    for kind in ("pretrained", "untrained", "supervised"):
        with pytest.raises(ConfigError, match=r"contenders.one: encoders.ecg.dim is 9; all enc"):
            load_config(
                overrides=[f"contenders.one={{kind: {kind}, encoders: {{ecg: {{dim: 9}}}}}}"]
            )


def test_other_untrained_and_supervised_networks_stand_in_one_experiment(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    config = small(
        "crossl", *SETTINGS, "evaluation.methods=[crossl,untrained,supervised]",
        "contenders.same={kind: untrained}",
        "contenders.published={kind: untrained, encoder: {kind: tcn, dim: 8}}",
        "contenders.twin={kind: supervised}",
        "contenders.tcn={kind: supervised, encoder: {kind: tcn, dim: 8}}",
    )  # fmt: skip
    task = FoldTask(store.path, config, runs / "fold-0", 0)
    FoldRunner(task).run()
    counted = {
        name: np.concatenate(
            [e.confusion.ravel() for e in ResultBook.load(task.scores(name)).entries]
        )
        for name in task.names
    }
    np.testing.assert_array_equal(counted["same"], counted["untrained"])
    np.testing.assert_array_equal(counted["twin"], counted["supervised"])
    assert not np.array_equal(counted["published"], counted["untrained"])
    assert not np.array_equal(counted["tcn"], counted["supervised"])
