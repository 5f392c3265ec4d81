"""What a benchmark will cost, estimated before it begins."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch.optim.optimizer import register_optimizer_step_post_hook

from crossl.config import RunConfig, build_method, build_model, tried
from crossl.contenders.network_settings import PretrainingConfig
from crossl.data.store import Store
from crossl.evaluate.budgets import VALIDATION
from crossl.experiment.cost import PRETRAINING, read_costs
from crossl.experiment.fold import FoldTask, calibrated_fold, fold_folder, fold_numbers, folds_of
from crossl.train.loading import Passes
from crossl.train.pretrain import pretrain

STEPS = 9
"""So many steps are run, rounded up to whole passes; the time from one to the next is a step's."""


@dataclass(frozen=True)
class Estimate:
    """What is left to compute of one contender on one store.

    Attributes:
        contender: name.
        left: folds, over all pretraining seeds.
        each_s: processor seconds of one; None where that is not known before one is done.
        basis: what that follows from.
    """

    contender: str
    left: int
    each_s: float | None
    basis: str


def estimates(store_path: Path, config: RunConfig, out: Path, folds: str) -> Iterator[Estimate]:
    """Tell what is left of an experiment, by contender.

    Folds that are done tell what others will cost. Where there are none yet, a few steps of each
    pretraining are timed here; what classifiers cost is not known before.

    Args:
        store_path: a prepared store.
        config: of the experiment.
        out: its folder, which may not exist yet.
        folds: `all`, or numbers.
    """
    store = Store.open(store_path)
    numbers = fold_numbers(folds, len(folds_of(store, config)))
    tasks = [FoldTask(store_path, config, fold_folder(out, n, r), n, repeat=r)
             for r in range(config.evaluation.pretraining_seeds) for n in numbers]  # fmt: skip
    for name in tasks[0].names:
        left = [t for t in tasks if name in t.names and not t.is_scored(name)]
        if left:
            yield _of(name, left, tasks, config, store)


def _of(
    name: str, left: Sequence[FoldTask], tasks: Sequence[FoldTask], config: RunConfig, store: Store
) -> Estimate:
    asked = [PRETRAINING, name] if name == "crossl" else [tasks[0].known_as(name)]
    done = [read_costs(t.folder) for t in tasks if t not in left]
    complete = [costs for costs in done if costs.keys() >= {*asked}]
    known = [sum(costs[part]["cpu_s"] for part in asked) for costs in complete]
    if known:
        basis = f"measured on {len(known)} of its folds"
        return Estimate(name, len(left), sum(known) / len(known), basis)
    trained = _pretrainings_of(name, config)
    if not trained:
        return Estimate(name, len(left), None, "known after its first fold")
    fold = left[0].fold
    rows, seconds = folds_of(store, config)[fold].train, 0.0
    for one in trained:
        plan = Passes(rows, one.schedule.batch_size, steps=one.schedule.steps,
                      epochs=one.schedule.epochs, seed=0)  # fmt: skip
        seconds += plan.epochs * plan.per_epoch * step_seconds(one, store, fold)
    return Estimate(name, len(left), seconds, "a few steps timed; without its probes")


def _pretrainings_of(name: str, config: RunConfig) -> list[RunConfig]:
    """Return the settings of a contender's pretraining, if it has one, and of its trials."""
    if name == "crossl":
        return [config]
    block = config.contenders.get(name)
    if block is None:
        return []
    every = tried(name, block, config, where=f"contenders.{name}")
    if VALIDATION not in config.budgets_of(name):
        every = every[:1]
    return [one.within(config) for one in every if isinstance(one, PretrainingConfig)]


def step_seconds(config: RunConfig, store: Store, fold_number: int) -> float:
    """Time a step of pretraining on a fold's training people: processor seconds."""
    store, fold = calibrated_fold(store, config, fold_number)
    model = build_model(config, store.modalities, window_s=store.window_s, seed=config.seed)
    size = config.schedule.batch_size
    train = fold.train[: STEPS * size]  # a pass is a few steps, of however large a store
    validation = fold.validation[:size]
    schedule = config.schedule.model_copy(update={"steps": STEPS, "epochs": None})
    plan = Passes(train, size, steps=STEPS, epochs=None, seed=0)
    ends: list[float] = []
    hook = register_optimizer_step_post_hook(lambda *_: ends.append(time.process_time()))
    try:
        with tempfile.TemporaryDirectory() as folder:
            pretrain(build_method(config, model, seed=config.seed), store, train=train,
                     validation=validation, schedule=schedule, seed=config.seed,
                     out=Path(folder))  # fmt: skip
    finally:
        hook.remove()
    # from the end of the first, which warms up; an optimiser within another calls twice a step
    return (ends[-1] - ends[0]) / (plan.epochs * plan.per_epoch - 1)


def told(found: Sequence[Estimate], *, cores: int) -> list[list[str]]:
    """Return the rows of a table: what is left, and what it will take."""
    rows = [["contender", "folds left", "CPU s each", "CPU min in all", "from"]]
    for one in found:
        each = "?" if one.each_s is None else f"{one.each_s:.3g}"
        total = "?" if one.each_s is None else f"{one.each_s * one.left / 60:.1f}"
        rows.append([one.contender, str(one.left), each, total, one.basis])
    known = sum(one.each_s * one.left for one in found if one.each_s is not None)
    unknown = sum(one.each_s is None for one in found)
    more = f", and {unknown} contenders not known yet" if unknown else ""
    rows.append(["all", "", "", f"{known / 60:.1f}",
                 f"about {known / 60 / max(1, cores):.0f} min on {cores} cores{more}"])  # fmt: skip
    return rows
