"""Training on damaged windows: drawn by the step, the same after a stop, in one process or two."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.config import RunConfig
from crossl.data.damage import Spoiler
from crossl.data.damaged import DamagedSource, TrainingDamage
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.evaluate.budgets import VALIDATION
from crossl.methods import Method
from crossl.nn.model import CrossModalModel
from crossl.train.finetune import FineTuning, fine_tune_by_budget
from crossl.train.loading import Batches, Passes
from crossl.train.pretrain import ObjectiveOfOthers, pretrain
from crossl.train.processes import Ranks
from crossl.train.training import Training

from .test_resume import Signalling

ROUGH = ("schedule.damage={share: 0.8}", "schedule.batch_size=6", "schedule.steps=12")


def damaged(model: CrossModalModel, store: Store) -> DamagedSource:
    spoiler = Spoiler(store.modalities, model.standardiser.deviation, seed=0)
    return DamagedSource(store, TrainingDamage(share=0.8), spoiler)


def test_batches_are_damaged_by_their_step_and_shared_by_processes(
    model: CrossModalModel, store: Store, fold: Fold
) -> None:
    source, rows = damaged(model, store), [fold.train[:9], fold.train[:9], fold.train[9:15]]
    whole = list(Batches(source, rows, first=5))
    assert not torch.equal(whole[0].batch.signals["wrist_acc"], whole[1].batch.signals["wrist_acc"])
    later = next(iter(Batches(source, rows[1:], first=6)))
    halves = [next(iter(Batches(source, rows[1:], Ranks(r, 2), first=6))) for r in range(2)]
    for name, x in whole[1].batch.signals.items():
        assert torch.equal(later.batch.signals[name], x)
        assert torch.equal(torch.cat([h.batch.signals[name] for h in halves]), x)
        absent = ~torch.from_numpy(store.present[rows[1]])[:, list(later.batch.signals).index(name)]
        assert not x[absent].any()


def test_windows_are_damaged_to_learn_from_and_not_to_validate(
    method_of: Callable[..., Method], small: Callable[..., RunConfig], store: Store, fold: Fold
) -> None:
    config = small("crossl", *ROUGH)
    method = method_of(config)
    method.model.standardiser.fit(store, fold.train)
    plan = Passes(fold.train, 6, steps=12, epochs=None, seed=0)
    training = Training(
        method, config.schedule, plan, ObjectiveOfOthers(fold.validation), source=store, seed=0,
        out=None, damage=config.schedule.damage,
    )  # fmt: skip
    learned = next(iter(training.batches()))
    asked = next(iter(training.read([learned.rows])))
    clean = store.gather_zeroed(learned.rows)
    for name, x in asked.batch.signals.items():
        np.testing.assert_array_equal(x.numpy(), clean[name])
    assert any((learned.batch.signals[n].numpy() != x).any() for n, x in clean.items())


def test_a_stopped_pretraining_on_damaged_windows_goes_on_as_if_it_never_stopped(
    method_of: Callable[..., Method], small: Callable[..., RunConfig], store: Store, fold: Fold,
    runs: Path,
) -> None:  # fmt: skip
    config = small("crossl", *ROUGH)

    def train(out: Path, source: Store) -> CrossModalModel:
        return pretrain(
            method_of(config), source, train=fold.train, validation=fold.validation,
            schedule=config.schedule, seed=0, out=out, resume=True,
        )  # fmt: skip

    reference = train(runs / "whole", store)
    with pytest.raises(SystemExit):
        train(runs / "cut", Signalling(store, signal.SIGTERM, 9))  # type: ignore[arg-type]
    model = train(runs / "cut", store)
    torch.testing.assert_close(model.state_dict(), reference.state_dict(), rtol=0, atol=0)
    # statistics are of what was recorded
    fresh = method_of(config).model.standardiser
    fresh.fit(store, fold.train)
    torch.testing.assert_close(
        reference.standardiser.state_dict(), fresh.state_dict(), rtol=0, atol=0
    )


def test_fine_tuning_learns_from_damaged_windows_where_it_is_asked_to(
    model: CrossModalModel, store: Store, fold: Fold
) -> None:
    def tuned(**settings: object) -> np.ndarray:
        asked = FineTuning(steps=6, lr=0.01, average_decay=0, evaluations=1, **settings)  # type: ignore[arg-type]
        _, head = fine_tune_by_budget(
            model, store, store.label, train=fold.train, validation=fold.validation,
            settings=asked, seed=0,
        )[VALIDATION]  # fmt: skip
        return head.weight

    plain, rough = tuned(), tuned(damage=TrainingDamage(share=1.0))
    np.testing.assert_array_equal(plain, tuned(damage=None))
    np.testing.assert_array_equal(rough, tuned(damage=TrainingDamage(share=1.0)))
    assert (plain != rough).all()
