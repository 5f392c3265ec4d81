"""Pretraining: bits, resuming, refusals, what is logged."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.source import ArraySource
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import DataError, TrainingError
from crossl.methods import Method
from crossl.methods.method import Drawn, Encoded, Steps
from crossl.nn.model import CrossModalModel
from crossl.train.pretrain import Schedule, pretrain

Train = Callable[..., CrossModalModel]
Whole = Callable[[str], tuple[CrossModalModel, Path]]
RECIPES = ("crossl", "paper")


@pytest.fixture(scope="module")
def train(store: Store, fold: Fold, method_of: Callable[..., Method]) -> Train:
    """Pretrain a config in a folder."""

    def run(config: RunConfig, out: Path, *, seed: int = 0, **options: Any) -> CrossModalModel:
        rows = {"train": fold.train, "validation": fold.validation}
        asked = {"source": store, "schedule": config.schedule, **rows, **options}
        method = asked.pop("method", None) or method_of(config, seed=seed)
        return pretrain(method, asked.pop("source"), seed=seed, out=out, **asked)

    return run


@pytest.fixture(scope="module")
def whole(
    train: Train, small: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    """Train each tiny recipe once, uninterrupted."""

    @cache
    def finished(recipe: str) -> tuple[CrossModalModel, Path]:
        out = tmp_path_factory.mktemp("whole") / recipe
        return train(small(recipe), out), out

    return finished


def stop_after(epoch: int) -> Callable[[int, int, Mapping[str, float]], None]:
    """Make a progress callback that presses Ctrl-C after some epochs."""
    seen: list[int] = []

    def progress(done: int, total: int, metrics: Mapping[str, float]) -> None:
        seen.append(done)
        if len(seen) == epoch:
            raise KeyboardInterrupt

    return progress


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("recipe", RECIPES)
def test_same_seed_gives_the_same_bits_and_another_seed_does_not(
    recipe: str, train: Train, whole: Whole, small: Callable[..., RunConfig], runs: Path
) -> None:
    (model, folder), config = whole(recipe), small(recipe)
    one = model.state_dict()
    two, other = (train(config, runs / str(s), seed=s).state_dict() for s in (0, 1))
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert (folder / "metrics.jsonl").read_bytes() == (runs / "0/metrics.jsonl").read_bytes()
    with pytest.raises(AssertionError):
        torch.testing.assert_close(one, other)


def test_the_seed_of_training_matters_where_weights_start_alike(
    train: Train,
    whole: Whole,
    small: Callable[..., RunConfig],
    method_of: Callable[..., Method],
    runs: Path,
) -> None:
    other = train(small(), runs / "run", seed=1, method=method_of(seed=0))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(whole("crossl")[0].state_dict(), other.state_dict())


@pytest.mark.parametrize(
    ("recipe", "stop", "overrides"),
    [
        ("crossl", 1, ()),
        ("crossl", 2, ("schedule.steps=6", "schedule.restore_best=true")),
        ("crossl", 2, ("schedule.steps=20", "schedule.lr=1e-9", "schedule.patience=1")),
        ("paper", 2, ("schedule.epochs=3",)),
    ],
    ids=["crossl", "best", "patience", "paper"],
)
def test_killed_and_resumed_equals_uninterrupted(
    recipe: str,
    stop: int,
    overrides: tuple[str, ...],
    train: Train,
    small: Callable[..., RunConfig],
    runs: Path,
) -> None:
    config = small(recipe, *overrides)
    reference = train(config, runs / "whole", resume=True)
    assert len(lines(runs / "whole")) >= stop
    with pytest.raises(KeyboardInterrupt):
        train(config, runs / "cut", resume=True, progress=stop_after(stop))
    resumed = train(config, runs / "cut", resume=True)
    torch.testing.assert_close(resumed.state_dict(), reference.state_dict(), rtol=0, atol=0)
    assert lines(runs / "cut") == lines(runs / "whole")


@pytest.mark.parametrize(
    "overrides", [(), ("schedule.steps=20", "schedule.lr=1e-9", "schedule.patience=1")]
)
def test_resuming_what_was_finished_changes_nothing(
    overrides: tuple[str, ...], train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    config = small("crossl", *overrides)
    first = train(config, runs / "run", resume=True)
    before = (runs / "run/metrics.jsonl").read_bytes()
    again = train(config, runs / "run", resume=True)
    torch.testing.assert_close(again.state_dict(), first.state_dict(), rtol=0, atol=0)
    assert (runs / "run/metrics.jsonl").read_bytes() == before


def test_a_half_written_line_of_metrics_does_not_stop_a_resumed_run(
    train: Train, whole: Whole, small: Callable[..., RunConfig], runs: Path
) -> None:
    config = small()
    with pytest.raises(KeyboardInterrupt):
        train(config, runs / "cut", progress=stop_after(2))
    with (runs / "cut/metrics.jsonl").open("a") as file:
        file.write('{"epoch": 7, "st')
    train(config, runs / "cut", resume=True)
    assert lines(runs / "cut") == lines(whole("crossl")[1])


def test_without_resume_it_starts_afresh(
    train: Train, whole: Whole, small: Callable[..., RunConfig], runs: Path
) -> None:
    model, folder = whole("crossl")
    with pytest.raises(KeyboardInterrupt):
        train(small(), runs / "cut", seed=5, progress=stop_after(2))
    again = train(small(), runs / "cut")
    torch.testing.assert_close(again.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert lines(runs / "cut") == lines(folder)


def test_ctrl_c_still_works_after_an_interrupted_training(
    train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(small(), runs / "cut", progress=stop_after(1))
    assert signal.getsignal(signal.SIGINT) is before


def test_dropout_is_off_while_the_paper_recipe_pretrains(
    train: Train, whole: Whole, small: Callable[..., RunConfig], runs: Path
) -> None:
    without = train(small("paper", "encoder.dropout=0"), runs / "run")
    torch.testing.assert_close(whole("paper")[0].state_dict(), without.state_dict(), rtol=0, atol=0)


def test_the_random_state_of_the_caller_is_left_alone(
    train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    train(small(), runs / "run")
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)


class Broken(Steps):
    """A method whose loss is not finite from some step on."""

    def __init__(self, method: Method, step: int) -> None:
        super().__init__()
        self.inner, self.left = method, step

    @property
    def model(self) -> CrossModalModel:  # type: ignore[override]
        return self.inner.model

    def views(self, batch: Batch, **options: Any) -> Mapping[str, torch.Tensor]:
        return self.inner.views(batch, **options)

    def encode(self, *given: Any) -> Encoded:
        return self.inner.encode(*given)

    def draw(self, *given: Any) -> Drawn:
        return self.inner.draw(*given)

    def compare(self, *given: Any) -> dict[str, torch.Tensor]:
        terms = dict(self.inner.compare(*given))
        self.left -= self.training
        return terms if self.left >= 0 else {**terms, "prediction": torch.tensor(torch.nan)}


def test_a_loss_that_is_not_finite_is_refused_with_its_step_and_terms(
    train: Train, small: Callable[..., RunConfig], method_of: Callable[..., Method], runs: Path
) -> None:
    broken = Broken(method_of(), step=2)
    with pytest.raises(TrainingError, match=r"step 2: the loss is not finite \(.*prediction nan"):
        train(small(), runs / "run", method=broken)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_too_few_windows_are_refused(
    part: str, train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    name = {"train": "training", "validation": "validation"}[part]
    with pytest.raises(DataError, match=rf"pretraining: 1 {name} window; at least 2"):
        train(small(), runs / "run", **{part: np.array([0])})
    assert not (runs / "run").exists()


def test_fewer_windows_than_a_batch_make_one_smaller_batch(
    train: Train, small: Callable[..., RunConfig], fold: Fold, runs: Path
) -> None:
    train(small("crossl", "schedule.steps=2"), runs / "run", train=fold.train[:7])
    assert [line["step"] for line in lines(runs / "run")] == [1, 2]


def test_rows_that_are_not_for_training_change_nothing_in_the_model(
    train: Train, small: Callable[..., RunConfig], store: Store, fold: Fold, runs: Path
) -> None:
    signals = store.gather_zeroed(np.arange(len(store)))
    given = {"modalities": store.modalities, "window_s": store.window_s}
    absent = {m.name: ~store.present[:, i] for i, m in enumerate(store.modalities)}
    garbage = {}
    for name, x in signals.items():
        x[absent[name]] = np.nan
        garbage[name] = x.copy()
        garbage[name][fold.test] = 1e6
    config = small()
    clean, dirty, on_disk = (
        train(config, runs / name, source=source)
        for name, source in (
            ("clean", ArraySource(signals, **given)),
            ("dirty", ArraySource(garbage, **given)),
            ("disk", store),
        )
    )
    torch.testing.assert_close(clean.state_dict(), dirty.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(clean.state_dict(), on_disk.state_dict(), rtol=0, atol=0)


def test_statistics_are_those_of_the_training_rows(whole: Whole, store: Store, fold: Fold) -> None:
    model, _ = whole("crossl")
    for column, modality in enumerate(store.modalities):
        rows = fold.train[store.present[fold.train, column]]
        x = store.gather_zeroed(rows)[modality.name].astype(np.float64)
        buffers = dict(model.standardiser.named_buffers())
        mean, std = buffers[f"mean_{modality.name}"], buffers[f"std_{modality.name}"]
        np.testing.assert_allclose(mean, x.mean(axis=(0, 1)), rtol=1e-5)
        np.testing.assert_allclose(std, x.std(axis=(0, 1)), rtol=1e-5)


@pytest.mark.parametrize("recipe", RECIPES)
def test_metrics_hold_every_term_whose_sum_is_the_loss(
    recipe: str,
    whole: Whole,
    small: Callable[..., RunConfig],
    method_of: Callable[..., Method],
    store: Store,
    fold: Fold,
) -> None:
    batch = collate(store, fold.train[:16])
    terms = set(method_of(small(recipe)).terms(batch, torch.Generator().manual_seed(0)))
    for number, line in enumerate(lines(whole(recipe)[1])):
        assert line["epoch"] == number
        for stage in ("train", "val"):
            logged = {key.removeprefix(f"{stage}/") for key in line if key.startswith(stage)}
            assert logged - {"loss", "embedding_std", "effective_rank"} == terms
            total = sum(line[f"{stage}/{term}"] for term in terms)
            np.testing.assert_allclose(line[f"{stage}/loss"], total, rtol=1e-5)
        assert {"val/embedding_std", "val/effective_rank"} <= set(line)


def test_training_lowers_the_objective(
    train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    train(small("crossl", "schedule.steps=16", "schedule.lr=0.01"), runs / "run")
    first, *_, last = lines(runs / "run")
    assert last["val/loss"] < first["val/loss"]


def test_progress_is_told_after_each_epoch(
    train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    told: list[tuple[int, int]] = []
    train(small(), runs / "run", progress=lambda done, total, _: told.append((done, total)))
    steps = [line["step"] for line in lines(runs / "run")]
    assert told == [(step, steps[-1]) for step in steps]


def test_a_collapse_is_warned_of_in_words(
    train: Train,
    small: Callable[..., RunConfig],
    runs: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    alone = ("method.vicreg.variance=0", "method.vicreg.covariance=0", "schedule.lr=0.3")
    config = small("paper", *alone, "schedule.epochs=8", "schedule.optimizer=adamw")
    with caplog.at_level(logging.WARNING, logger="crossl"):
        train(config, runs / "run")
    assert "the embedding is collapsing" in caplog.text


@pytest.mark.parametrize("patience", ["patience=2", "patience_share=0.1"])
def test_patience_ends_a_training_that_no_longer_improves_and_says_so(
    patience: str, train: Train, small: Callable[..., RunConfig], runs: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    config = small("crossl", "schedule.steps=40", "schedule.lr=1e-9", f"schedule.{patience}")
    with caplog.at_level(logging.WARNING, logger="crossl"):
        train(config, runs / "run")
    epochs = lines(runs / "run")
    assert len(epochs) < 10
    told = f"stopped early, after {epochs[-1]['step']} of 42 steps: val/loss was not better for 2"
    assert told in caplog.text
    assert f"schedule.{patience.replace('=', ' is ')}; null never stops" in caplog.text


@pytest.mark.slow
def test_by_default_nothing_ends_a_training_before_its_schedule(
    train: Train, small: Callable[..., RunConfig], runs: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = small("crossl", "schedule.steps=120", "schedule.lr=1e-9", "schedule.batch_size=64")
    assert config.schedule.patience is config.schedule.patience_share is None
    with caplog.at_level(logging.WARNING, logger="crossl"):
        train(config, runs / "run")
    assert lines(runs / "run")[-1]["step"] >= 120
    assert "stopped early" not in caplog.text


@pytest.mark.parametrize("epochs", [1, 3, 20, 200])
def test_a_share_of_the_schedule_is_the_same_share_of_sets_of_any_size(epochs: int) -> None:
    schedule = Schedule(patience_share=0.1)
    assert schedule.patience_epochs(epochs) == max(1, -(-epochs // 10))
    assert Schedule(patience=5).patience_epochs(epochs) == 5
    assert Schedule().patience_epochs(epochs) is None


def test_restore_best_keeps_the_weights_of_the_best_epoch(
    train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    config = small("paper", "schedule.epochs=4")
    kept = train(config, runs / "run")
    best = torch.load(runs / "run/checkpoints/best.ckpt", weights_only=True)
    objective = [line["val/loss"] for line in lines(runs / "run")]
    steps = [line["step"] for line in lines(runs / "run")]
    assert best["global_step"] == steps[int(np.argmin(objective))]
    for name, tensor in kept.state_dict().items():
        torch.testing.assert_close(tensor, best["state_dict"][f"method.model.{name}"])


def test_without_an_average_the_last_weights_are_kept(
    train: Train, small: Callable[..., RunConfig], runs: Path
) -> None:
    kept = train(small("crossl", "schedule.average_decay=0"), runs / "run").state_dict()
    last = torch.load(runs / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in last if name.startswith("averaged")]
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor, last[f"method.model.{name}"], rtol=0, atol=0)


def test_an_average_follows_the_weights(whole: Whole) -> None:
    model, folder = whole("crossl")
    kept = model.state_dict()
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    name = "aggregator.project.0.0.weight"
    torch.testing.assert_close(kept[name], last[f"averaged.{name}"], rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(kept[name], last[f"method.model.{name}"])


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_trained_model_has_no_expander_and_is_ready_for_use(recipe: str, whole: Whole) -> None:
    model, folder = whole(recipe)
    assert not [name for name in model.state_dict() if "expander" in name]
    assert not model.training
    assert all(p.requires_grad for p in model.parameters())
    if recipe == "crossl":
        held = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        assert [name for name in held if "expander" in name]


def test_gradients_are_clipped_to_the_norm_asked_for(
    train: Train, small: Callable[..., RunConfig], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *args: Any) -> Any:
        gradients = [p.grad for g in self.param_groups for p in g["params"] if p.grad is not None]
        seen.append(float(torch.nn.utils.get_total_norm(gradients)))
        return step(self, *args)

    def norms(limit: float | None) -> list[float]:
        seen.clear()
        schedule = small().schedule.model_copy(update={"gradient_norm": limit})
        train(small(), runs / str(limit), schedule=schedule)
        return list(seen)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    free = norms(None)
    assert len(free) >= small().schedule.steps  # epochs are taken whole
    assert min(free) > 0.5
    np.testing.assert_allclose(norms(0.5), 0.5, rtol=1e-4)
    np.testing.assert_allclose(norms(1e6), free, rtol=1e-6)


def test_epochs_override_steps(train: Train, small: Callable[..., RunConfig], runs: Path) -> None:
    schedule = Schedule(steps=1, epochs=3, batch_size=64, average_decay=0.0)
    train(small(), runs / "run", schedule=schedule)
    assert len(lines(runs / "run")) == 3


def test_a_model_that_was_trained_before_keeps_its_statistics(tmp_path, monkeypatch):
    from types import SimpleNamespace

    from crossl.train import pretrain as module

    fits = []
    for fitted in (False, True):
        model = SimpleNamespace(standardiser=SimpleNamespace(fitted=fitted),
                                fit=lambda *_, f=fitted: fits.append(f))  # fmt: skip
        method = SimpleNamespace(model=model, sees_targets=False)
        monkeypatch.setattr(module, "_check_rows", lambda *_: None)
        monkeypatch.setattr(module, "Passes", _stop)
        with pytest.raises(InterruptedError):
            module.pretrain(method, None, train=None, validation=None, schedule=Schedule(), seed=0,
                            out=tmp_path)  # fmt: skip
    assert fits == [False]


def _stop(*_, **__):
    raise InterruptedError
