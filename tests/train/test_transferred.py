"""A contender that begins as another run: of other people, sensors and rates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.commands.benchmark import check_experiment, run_experiment
from crossl.config import RunConfig
from crossl.contenders.transferred import Transferred
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import ConfigError, ContractError, CrosslError, SplitError
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.nn.model import CrossModalModel
from crossl.nn.standardise import channel_statistics
from crossl.run_folder import load_run

from .conftest import CLASSES, MODALITIES, make_recording

SETTINGS = (
    "evaluation.folds=3", "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
    "evaluation.label_seeds=[0]", "evaluation.methods=[crossl]",
)  # fmt: skip
ELSEWHERE = (
    Modality("arm_acc", ("x", "y", "z"), "m/s^2", 25.0, "arm"),
    Modality("skin", ("t",), "K", 2.0, "arm"),
    Modality("sound", ("left", "right"), "Pa", 30.0, "head"),
)


def other_recording(number: int) -> Recording:
    rng = np.random.default_rng(100 + number)
    signals = {
        m.name: Signal(
            rng.normal(number, 2, (round(30 * m.rate_hz), len(m.channels))).astype(np.float32),
            m.rate_hz,
        )
        for m in ELSEWHERE
    }
    labels = [LabelInterval(0, 15, "still"), LabelInterval(15, 30, "busy")]
    return Recording(f"P{number}", "only", {m.name: m for m in ELSEWHERE}, signals, labels)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(
        (other_recording(number) for number in range(6)),
        tmp_path_factory.mktemp("stores") / "elsewhere",
        modalities=ELSEWHERE,
        classes=("still", "busy"),
        spec=WindowSpec(window_s=3.0, stride_s=3.0),
        about={"dataset": "elsewhere", "reader": "none", "description": "made up"},
    )


@pytest.fixture(scope="module")
def run(
    store: Store, small: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("runs") / "tiny"
    FoldRunner(FoldTask(store.path, small("crossl", *SETTINGS), out, 0)).pretrained()
    return out


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> list[CrossModalModel]:
    """Networks of the contender that were probed."""
    found: list[CrossModalModel] = []
    build = Transferred._model

    def kept(self: Transferred, context: object) -> CrossModalModel:
        found.append(build(self, context))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(Transferred, "_model", kept)
    return found


MAP = "modalities: {arm_acc: wrist_acc, skin: wrist_heat}"


def test_it_begins_with_weights_of_the_other_run_and_statistics_of_its_own(
    elsewhere: Store,
    small: Callable[..., RunConfig],
    run: Path,
    runs: Path,
    models: list[CrossModalModel],
) -> None:
    asked = f"contenders.there={{kind: transferred, run: {run}, {MAP}}}"
    runner = FoldRunner(FoldTask(elsewhere.path, small("crossl", *SETTINGS, asked), runs, 0))
    runner.run()
    model, other = models[0], load_run(run).model
    for own, theirs in (("arm_acc", "wrist_acc"), ("skin", "wrist_heat")):
        wanted = other.encoders.of(theirs).state_dict()
        for name, weight in model.encoders.of(own).state_dict().items():
            assert torch.equal(weight, wanted[name])
    wanted = dict(other.aggregator.named_parameters())  # type: ignore[attr-defined]
    for name, weight in model.aggregator.named_parameters():  # type: ignore[attr-defined]
        if name.startswith("mix."):
            assert torch.equal(weight, wanted[name])
    mean, _ = channel_statistics(elsewhere, runner.fold.train)["arm_acc"]
    np.testing.assert_allclose(model.standardiser.mean_arm_acc, mean, rtol=1e-5)
    assert not list(runs.glob("contenders/*/model.json"))  # nothing was trained
    assert runner.task.is_scored("there")


def test_it_can_be_pretrained_further(
    elsewhere: Store,
    small: Callable[..., RunConfig],
    run: Path,
    runs: Path,
    models: list[CrossModalModel],
) -> None:
    schedule = "schedule: {steps: 2, batch_size: 16}"
    asked = f"contenders.there={{kind: transferred, run: {run}, {MAP}, {schedule}}}"
    FoldRunner(FoldTask(elsewhere.path, small("crossl", *SETTINGS, asked), runs, 0)).run()
    own = dict(models[0].encoders.of("arm_acc").named_parameters())
    moved = 0.0
    for name, weight in load_run(run).model.encoders.of("wrist_acc").named_parameters():
        moved = max(moved, apart := float((own[name] - weight).detach().abs().max()))
        assert apart < 0.1  # two steps from there, not from elsewhere
    assert moved > 0
    assert list(runs.glob("contenders/*/model.json"))


@pytest.mark.parametrize(
    ("asked", "kind", "says"),
    [
        ("modalities: {arm_ac: wrist_acc}", ConfigError, "no 'arm_ac'; did you mean 'arm_acc'?"),
        ("modalities: {arm_acc: wrist_ac}", ConfigError, "no 'wrist_ac'; did you mean 'wrist_acc'"),
        ("modalities: {sound: wrist_acc}", ContractError, "as many channels"),
        ("head: aggregator", ContractError, "say which begin as which"),
    ],
)
def test_what_does_not_fit_is_refused(
    elsewhere: Store,
    small: Callable[..., RunConfig],
    run: Path,
    runs: Path,
    asked: str,
    kind: type[CrosslError],
    says: str,
) -> None:
    config = small("crossl", *SETTINGS,
                   f"contenders.there={{kind: transferred, run: {run}, {asked}}}")  # fmt: skip
    with pytest.raises(kind, match=f"contenders.there: .*{says.replace('?', '[?]')}"):
        FoldRunner(FoldTask(elsewhere.path, config, runs, 0)).run()


def test_a_path_without_a_run_is_refused_before_anything_is_computed(
    elsewhere: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    there = runs / "nowhere"
    config = small("crossl", *SETTINGS, f"contenders.there={{kind: transferred, run: {there}}}")
    with pytest.raises(ConfigError, match=r"contenders\.there: run: .*nowhere is no run"):
        check_experiment(elsewhere.path, config, runs / "out", "0")
    with pytest.raises(ConfigError, match=r"contenders\.there: run: .*nowhere is no run"):
        run_experiment(elsewhere.path, config, runs / "out", folds="0", workers=1)
    assert not (runs / "out").exists()


def test_a_run_that_learned_from_people_who_are_tested_is_refused(
    store: Store, small: Callable[..., RunConfig], run: Path, runs: Path
) -> None:
    there = run.parent / "tiny-{fold}"
    for fold in (0, 1):
        (run.parent / f"tiny-{fold}").symlink_to(run)
    config = small("crossl", *SETTINGS, f"contenders.again={{kind: transferred, run: '{there}'}}")
    FoldRunner(FoldTask(store.path, config, runs / "same", 0)).run()  # they are tested nowhere else
    with pytest.raises(SplitError, match=r"learned from 'S\d', whom fold 1 tests.*same_names"):
        FoldRunner(FoldTask(store.path, config, runs / "other", 1)).run()
    others = f"contenders.again={{kind: transferred, run: '{there}', same_names: true}}"
    task = FoldTask(store.path, small("crossl", *SETTINGS, others), runs / "other", 1)
    FoldRunner(task).run()
    assert task.is_scored("again")


def test_people_are_known_by_their_names_whatever_their_data_set_is_called(
    store: Store, small: Callable[..., RunConfig], run: Path, runs: Path
) -> None:
    renamed = write_store(
        (make_recording(number) for number in range(6)), runs / "renamed", modalities=MODALITIES,
        classes=CLASSES, spec=WindowSpec(window_s=2.0, stride_s=2.0), about={"dataset": "mine"},
    )  # fmt: skip
    config = small("crossl", *SETTINGS, f"contenders.again={{kind: transferred, run: {run}}}")
    with pytest.raises(SplitError, match=r"learned from 'S\d', whom fold 1 tests"):
        FoldRunner(FoldTask(renamed.path, config, runs / "other", 1)).run()
