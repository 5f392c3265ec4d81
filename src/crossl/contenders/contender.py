"""What an experiment asks of a contender, and what it hands to one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.config import RunConfig
from crossl.data.damage import Damage, Spoiler
from crossl.data.damaged import DamagedSource, TrainingDamage
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.evaluate.around import table_with_neighbours
from crossl.evaluate.budgets import BUDGETS, VALIDATION, Budget
from crossl.evaluate.damaged import beside, damaged_at_random, damaged_tables
from crossl.evaluate.latents import LatentTable, Subset
from crossl.evaluate.missing import predict_subsets, probability_subsets
from crossl.evaluate.probe import Classifier
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.run_folder import settings_sha256
from crossl.tasks import Task, classes_task

Draw = tuple[float, int, NDArray[np.int64]]
"""Label fraction, seed, and the training rows whose labels may be used."""

PARTS = ("train", "validation", "test")
Tables = dict[str, LatentTable]
"""Windows of each part of a fold."""


@dataclass(frozen=True)
class Outcome:
    """What one fitted classifier says of a fold's test windows.

    Attributes:
        draw: whose labels it was fitted on.
        head: which embedding it reads; None where it reads none.
        predicted: for each test window, such as its class, (n, ...), by the subset of
            modality columns that is shown.
        fitted: all that was learned or chosen on the way, for the test that test subjects do not
            matter to it: arrays, scikit-learn estimators, state dicts.
        probability: of each class or label, (n, R), by the same subsets; None where the context
            does not ask, or the task has none.
        outputs: (R,) which classes or labels of the task these columns stand for.
        budget: `strict` where no label of validation subjects was used, else `validation`.
        damaged: what is said of test windows with each damage, with every modality shown, (n, ...).
        validation_score: the task's main metric on validation subjects, of the budget `validation`;
            NaN where it is not told.
    """

    draw: Draw
    head: str | None
    predicted: Mapping[Subset, NDArray[Any]]
    fitted: tuple[Any, ...] = ()
    probability: Mapping[Subset, NDArray[np.float32]] | None = None
    outputs: NDArray[np.int64] | None = None
    budget: str = VALIDATION
    damaged: Mapping[Damage, NDArray[Any]] = field(default_factory=dict)
    validation_score: float = float("nan")


@dataclass
class Context:
    """One fold, as a contender sees it.

    Attributes:
        store: all windows.
        fold: rows of training, validation and test subjects.
        config: settings of the experiment.
        folder: of this contender, for what it keeps between runs; made when needed.
        draws: label draws, all from training subjects.
        choices: subsets of modality columns that are scored, the full one first.
        tell: called with what is being done, and which of how many.
        main: the experiment's own pretrained model.
        task: what is predicted for each window.
        unfinished: folder for what an interrupted training resumes from; it is removed once the
            contender has its scores.
        probabilities: whether outcomes have them, too.
        repeat: which of several pretrainings of the fold this is; `config.seed` is its own.
        damages: that are done to test windows.
        spoiler: that does them, the same to all contenders.
        damage: of windows that this contender's classifiers are fitted on.
        budgets: label budgets that are kept; what a contender says of others is dropped.
    """

    store: Store
    fold: Fold
    config: RunConfig
    folder: Path
    draws: Sequence[Draw]
    choices: Sequence[Subset]
    tell: Callable[[str, int, int], None]
    main: CrossModalModel
    task: Task
    unfinished: Path
    probabilities: bool = False
    repeat: int = 0
    damages: Sequence[Damage] = ()
    spoiler: Spoiler | None = None
    damage: TrainingDamage | None = None
    budgets: Sequence[Budget] = BUDGETS
    _tables: dict[int | str, Tables] = field(default_factory=dict)
    _own: dict[int, Tables] = field(default_factory=dict)
    _models: dict[str, CrossModalModel] = field(default_factory=dict)

    @property
    def trained_part(self) -> CrossModalModel:
        """The pretrained model without untrained features, one for all who ask."""
        return self._models.setdefault("trained part", self.main.with_features(None))

    def of_contender(self, **own: Any) -> Context:
        """Return what another contender sees: the same fold, and latents of its own networks."""
        return replace(self, **own, _own={})

    def shared(self, name: str, make: Callable[[], Tables]) -> Tables:
        """Return tables that several contenders read, made when they are first asked for."""
        if name not in self._tables:
            self._tables[name] = make()
        return self._tables[name]

    def tables(self, model: CrossModalModel) -> Tables:
        """Return the latents of each part, computed when a model is first asked for."""
        # others' go with their contender: of a large archive each takes gigabytes
        shared = any(model is one for one in (self.main, *self._models.values()))
        kept = self._tables if shared else self._own
        if id(model) not in kept:
            kept[id(model)] = {
                part: latent_table(model, self.store, getattr(self.fold, part), self.task)
                for part in PARTS
            }
        return kept[id(model)]

    def labelled(self, train: LatentTable, what: str) -> Iterator[tuple[LatentTable, int]]:
        """Yield the labelled windows of each draw and its seed, telling of each.

        Where the contender learns from damaged windows, these stand below the same as they are.
        """
        rough = None if self.damage is None else self.roughened(train)
        for number, (_, seed, rows) in enumerate(self.draws):
            self.tell(what, number, len(self.draws))
            place = np.searchsorted(self.fold.train, rows)
            shown = train.take(place)
            yield shown if rough is None else beside(shown, rough.take(place)), seed

    def roughened(self, table: LatentTable) -> LatentTable:
        """Return windows damaged as this contender's classifiers learn from them."""
        assert self.damage is not None  # noqa: S101 - it was asked for
        assert self.spoiler is not None  # noqa: S101 - a context has one
        spoiler = self.spoiler.reseeded(self.config.seed)
        return damaged_at_random(table, DamagedSource(self.store, self.damage, spoiler))

    def damaged(self, test: LatentTable) -> Iterator[tuple[Damage, LatentTable]]:
        """Yield test windows with each damage that is scored."""
        if self.damages:
            assert self.spoiler is not None  # noqa: S101 - a context has one
            yield from damaged_tables(test, self.store, self.spoiler, self.damages)

    def outcomes(
        self,
        draws: Sequence[Draw],
        classifiers: Mapping[str, Sequence[Classifier]],
        test: LatentTable,
        choices: Sequence[Subset] | None = None,
    ) -> Iterator[Outcome]:
        """Ask classifiers of one head of test windows under every subset.

        Args:
            draws: that they were fitted on.
            classifiers: by label budget, one for each draw.
            test: windows.
            choices: subsets; None for those that are scored.
        """
        spoilt = self.damaged(test) if choices is None else ()
        choices = choices or self.choices
        every = [one for found in classifiers.values() for one in found]
        whose = [(budget, draw) for budget, found in classifiers.items()
                 for draw, _ in zip(draws, found, strict=True)]  # fmt: skip
        found = predict_subsets(every, test, choices)
        full = self.choices[0]
        rough = {damage: predict_subsets(every, table, [full]) for damage, table in spoilt}
        asked = probability_subsets(every, test, choices) if self.probabilities else ()
        below = dict(test.model.state_dict()) if isinstance(test.model, torch.nn.Module) else {}
        for i, (classifier, labels) in enumerate(zip(every, found, strict=True)):
            budget, draw = whose[i]
            said = {damage: by_one[i][full] for damage, by_one in rough.items()}
            score = getattr(classifier, "validation_score", float("nan"))
            outcome = Outcome(draw, classifier.head, labels, (classifier, below), budget=budget,
                              damaged=said, validation_score=score)  # fmt: skip
            if asked and asked[i] is not None:
                outputs = getattr(classifier, "classes", None)
                outcome = replace(outcome, probability=asked[i], outputs=outputs)
            yield outcome


class Contender(Protocol):
    """What an experiment compares."""

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Fit on training subjects, tune on validation subjects, predict test windows.

        Yields an outcome for each label draw and each label budget that it can keep; only those of
        `context.budgets` are looked at, so others need no work. Nothing may
        depend on test subjects but what is said of them, and of the budget `strict` nothing on
        labels of validation subjects either.
        """


def contender_hashes(config: RunConfig) -> dict[str, str]:
    """Return the hash of each added contender's settings, by name."""
    return {name: settings_sha256(block) for name, block in config.contenders.items()}


def latent_table(
    model: CrossModalModel, store: Store, rows: NDArray[np.int64], task: Task | None = None
) -> LatentTable:
    """Compute the latents of rows of a store, with a task's targets (default: classes)."""
    task = classes_task(store.classes) if task is None else task
    if len(task.offsets) > 1:
        return table_with_neighbours(model, store, rows, task)
    return LatentTable(
        model,
        encode_rows(model, store, rows),
        torch.from_numpy(store.present[rows]),
        task.values(store)[rows],
        store.subject[rows],
        task,
        rows=rows,
    )
