"""An experiment: pretrain on every fold, score with few labels and missing sensors.

Each fold is a run folder of its own and can be computed by its own process; what a fold has
finished is not computed again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.config import RunConfig, build_method, build_model
from crossl.contenders import Contender, Context, Draw, Outcome, contender_of
from crossl.contenders.networks import Probed, SubsetProbed, Untrained
from crossl.contenders.supervised import FinetunedConfig, SupervisedConfig
from crossl.data.calibrated import calibrated, recorded
from crossl.data.contract import StoreView
from crossl.data.damage import Spoiler
from crossl.data.recording import Modality
from crossl.data.splits import Fold, official_fold, published_parts, subject_folds
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.evaluate.damaged import comparable_damaged
from crossl.evaluate.latents import Subset, comparable, subsets
from crossl.evaluate.results import Key, ResultBook
from crossl.experiment.cost import PRETRAINING, measured
from crossl.experiment.probabilities import save_probabilities
from crossl.experiment.shares import holds_share, shared_seeds
from crossl.files import json_sha256
from crossl.nn.model import CrossModalModel
from crossl.nn.standardise import channel_statistics
from crossl.run_folder import load_run, run_facts, save_run, settings_sha256
from crossl.tasks import Task, task_of
from crossl.train.checkpoints import last_checkpoint
from crossl.train.pretrain import pretrain
from crossl.train.processes import Processes

REPEATS = {"supervised": "none", "finetuned": "shared", "subset_probes": "none"}
"""What another pretraining seed draws anew in the evaluation's own methods, where not all of it."""

Progress = Callable[[str, float], None]
"""Called with what is being done, and which share of the fold is done."""

MAX_EVERY_SUBSET = 6
"""Up to this many modalities every subset is scored; of more, the full set, single modalities,
all but one, and devices."""


def quiet(what: str, share: float) -> None:
    """Report no progress."""


def named(progress: Progress, task: FoldTask) -> Progress:
    """Put the fold before what progress shows."""
    return lambda what, share: progress(f"{task.told}: {what}", share)


@dataclass(frozen=True)
class FoldTask:
    """One fold of an experiment: where its data are, how it is run, where it is kept.

    `processes` share its pretraining; each of them has this task. `repeat` is which of the
    experiment's pretraining seeds it has, from 0. `modalities` are those that its networks see,
    where they are not all of the store's.
    """

    store: Path
    config: RunConfig
    folder: Path
    fold: int
    processes: Processes = field(default_factory=Processes)
    repeat: int = 0
    modalities: tuple[Modality, ...] | None = None

    @property
    def told(self) -> str:
        """What progress calls it."""
        seeds = self.config.evaluation.pretraining_seeds
        return f"fold {self.fold}" + (f", seed {self.seed}" if seeds > 1 else "")

    @property
    def seed(self) -> int:
        """Of everything that is random in it but label draws."""
        return self.config.seed + self.repeat

    def scores(self, name: str) -> Path:
        """Name the file of a contender's scores: of others' settings it is another file."""
        return self.folder / f"scores-{self.known_as(name)}{self._damaged_as}.npz"

    def probabilities(self, name: str) -> Path:
        """Name the file of what a contender says with which probability, if that is kept."""
        return self.folder / f"probabilities-{self.known_as(name)}.npz"

    def is_scored(self, name: str) -> bool:
        """Whether a contender has its scores, and its probabilities if they are kept."""
        kept = not self.config.evaluation.keep_probabilities or self.probabilities(name).is_file()
        path = self.scores(name)
        if not kept or not path.is_file():
            return False
        shared = self.repeats(name) == "shared"
        return not shared or holds_share(path, self.config, name, self.repeat)

    def home(self, name: str) -> Path:
        """Name the folder where a contender keeps what it made; the main method has the fold's."""
        if name not in self.config.contenders:
            return self.folder
        return self.folder / "contenders" / self.known_as(name)

    def unfinished(self, name: str) -> Path:
        """Name the folder of a contender's trainings until it has its scores."""
        return self.folder / "unfinished" / self.known_as(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The contenders: the evaluation's methods, then what the run file adds.

        In a repeat those in which another seed draws something anew.
        """
        every = (*self.config.evaluation.methods, *self.config.contenders)
        return tuple(n for n in every if self.repeat == 0 or self.repeats(n) != "none")

    def label_seeds_of(self, name: str) -> tuple[int, ...]:
        """Return the seeds of a contender's label draws: all, or its share of a repeat's."""
        shared = self.repeats(name) == "shared"
        seeds = self.config.evaluation.label_seeds
        return shared_seeds(self.config, self.repeat) if shared else tuple(seeds)

    def repeats(self, name: str) -> str:
        """Tell what another pretraining seed draws anew in a contender; see `ContenderConfig`."""
        if name in self.config.contenders:
            return self.config.contenders[name].repeats
        return REPEATS.get(name, "all")

    def known_as(self, name: str) -> str:
        """Name a contender and, of those that the run file adds, its settings."""
        settings = self.config.contenders.get(name)
        return name if settings is None else f"{name}-{settings_sha256(settings)[:8]}"

    @property
    def _damaged_as(self) -> str:
        """What the names of scores end with where damages are scored, too."""
        asked = [one.model_dump(mode="json") for one in self.config.evaluation.damages]
        return f"-damaged-{json_sha256({'damages': asked})[:8]}" if asked else ""

    @property
    def begun(self) -> bool:
        """Whether there is something that the same command would resume from."""
        return last_checkpoint(self.folder).is_file() or (self.folder / "model.json").is_file()

    @property
    def done(self) -> bool:
        """Whether every contender has its scores."""
        return all(self.is_scored(name) for name in self.names)


class FoldRunner:
    """Computes one fold.

    Args:
        task: what to compute.
        progress: called with what is being done.
    """

    def __init__(self, task: FoldTask, progress: Progress = quiet) -> None:
        self.config = task.config.model_copy(update={"seed": task.seed})
        self.progress = progress
        opened = Store.open(task.store)
        self.store, self.fold = calibrated_fold(opened, self.config, task.fold)
        if task.modalities is not None:
            self.store = StoreView(self.store, task.modalities)
        self.task = task
        self.out = task.folder
        self.names = tuple(m.name for m in self.store.modalities)
        self.subsets = scored_subsets(self.store)
        self._scored = 0
        self._main: Context | None = None

    @cached_property
    def learned(self) -> Task:
        """What is predicted for each window; pretraining does not use it."""
        return task_of(self.config.task, self.store)

    @cached_property
    def target(self) -> NDArray[Any]:
        """(W, ...) targets of all windows."""
        return self.learned.values(self.store)

    def run(self) -> None:
        """Pretrain, then score every contender that has no scores yet."""
        if (self.out / "model.json").is_file():
            model = self.pretrained()
        else:
            with measured(self.out, PRETRAINING):
                model = self.pretrained()
        for name in self.task.names:
            if not self.task.is_scored(name):
                with measured(self.out, self.task.known_as(name)):
                    self._score(name, model).save(self.task.scores(name))
            shutil.rmtree(self.task.unfinished(name), ignore_errors=True)
            self._scored += 1
        shutil.rmtree(self.out / "unfinished", ignore_errors=True)
        self.progress("done", 1.0)

    def _score(self, name: str, model: CrossModalModel) -> ResultBook:
        book = ResultBook.of(self.store.manifest["dataset"], self.learned, self.names)
        contender, key = self._contender(name)
        kept: list[Outcome] = []
        context = self._context(name, model)
        for outcome in contender.outcomes(context):
            if outcome.budget not in context.budgets:
                continue
            self._add(book, key, outcome)
            kept += [outcome] * self.config.evaluation.keep_probabilities
        if self.config.evaluation.keep_probabilities:
            save_probabilities(self.task.probabilities(name), kept, store=self.store,
                               fold=self.fold, task=self.learned)  # fmt: skip
        return book

    def _contender(self, name: str) -> tuple[Contender, str]:
        """Return a contender, and the name that its scores go by."""
        config, recipe = self.config, self.config.recipe
        if name in config.contenders:
            return contender_of(name, config.contenders[name]), name
        fractions = config.evaluation.finetuned_fractions
        known: dict[str, tuple[Contender, str]] = {
            "crossl": (Probed(config.evaluation.heads), recipe),
            "untrained": (Untrained(), name),
            "supervised": (SupervisedConfig().build(name), name),
            "finetuned": (FinetunedConfig(fractions=fractions).build(name), name),
            "subset_probes": (SubsetProbed(), f"{recipe}, probe per subset"),
        }
        return known[name]

    def _context(self, name: str, model: CrossModalModel) -> Context:
        """Make what a contender sees; latents of the main model are computed once for all."""
        if self._main is None:
            draws = list(self.label_draws())
            self._main = Context(
                self.store, self.fold, self.config, self.out, draws, self.subsets, self._tell,
                model, self.learned, self.task.unfinished(name),
                self.config.evaluation.keep_probabilities, self.task.repeat,
                [damage for asked in self.config.evaluation.damages
                 for damage in asked.damages(self.store.modalities)],
                Spoiler(self.store.modalities, self._deviation,
                        seed=self.config.evaluation.fold_seed),
            )  # fmt: skip
        added = self.config.contenders.get(name)
        return self._main.of_contender(
            folder=self.task.home(name), unfinished=self.task.unfinished(name),
            draws=self._draws_of(name), damage=None if added is None else added.damage,
            budgets=self.config.budgets_of(name),
        )  # fmt: skip

    def _deviation(self, name: str) -> NDArray[np.floating[Any]]:
        """Return the standard deviation of a modality's channels, of training subjects."""
        return self._statistics[name]

    @cached_property
    def _statistics(self) -> dict[str, NDArray[np.floating[Any]]]:
        found = channel_statistics(recorded(self.store), self.fold.train)
        return {name: np.asarray(std) for name, (_, std) in found.items()}

    def _draws_of(self, name: str) -> list[Draw]:
        """Return a contender's label draws: all, or its share where seeds share them out."""
        draws = self._main.draws if self._main is not None else ()
        own = self.task.label_seeds_of(name)
        return [draw for draw in draws if draw[1] in own]

    def _tell(self, what: str, number: int, total: int) -> None:
        """Tell which of several classifiers is trained; pretraining was the first half."""
        share = (self._scored + number / total) / len(self.task.names)
        self.progress(f"{what}, {number + 1} of {total}", 0.5 + 0.5 * share)

    def pretrained(self) -> CrossModalModel:
        """Return the fold's model, pretrained now or earlier."""
        if (self.out / "model.json").is_file():
            return load_run(self.out).model
        model = build_model(self.config, self.store.modalities, window_s=self.store.window_s,
                            seed=self.config.seed)  # fmt: skip
        method = build_method(self.config, model, seed=self.config.seed)
        trained = pretrain(
            method,
            self.store,
            train=self.fold.train,
            validation=self.fold.validation,
            schedule=self.config.schedule,
            seed=self.config.seed,
            out=self.out,
            resume=True,
            progress=lambda done, total, _: self.progress("pretraining", 0.5 * done / total),
            processes=self.task.processes,
        )
        if self.task.processes.writes:
            save_run(self.out, trained, self.config, about=run_facts(self.store, self.fold))
        return trained

    def label_draws(self) -> Iterator[Draw]:
        """Yield fraction, seed and rows; all labels are drawn once."""
        for fraction in self.config.evaluation.label_fractions:
            for seed in self.config.evaluation.label_seeds[: 1 if fraction == 1 else None]:
                rows = self.learned.draw(
                    self.target, self.fold.train, self.store.subject, fraction=fraction, seed=seed
                )
                yield fraction, seed, rows

    def _add(self, book: ResultBook, name: str, outcome: Outcome) -> None:
        """Add what one classifier says of test windows under every subset."""
        recipe = None if name in ("untrained", "supervised") else self.config.recipe
        recipe = None if name in self.config.contenders else recipe
        everything = tuple(range(len(self.names)))
        (fraction, seed, _), target = outcome.draw, self.target[self.fold.test]
        present = self.store.present[self.fold.test]
        key = Key(name, recipe, outcome.head, fraction, self.names, outcome.budget)
        said = [
            (replace(key, present=tuple(self.names[i] for i in subset)), predicted,
             comparable(present, subset))
            for subset, predicted in outcome.predicted.items()
        ]  # fmt: skip
        for damage, predicted in outcome.damaged.items():
            rough = replace(key, damage=damage.told, severity=damage.severity,
                            damaged=damage.modalities)  # fmt: skip
            hit = np.array([name in damage.modalities for name in self.names])
            said.append((rough, predicted, comparable_damaged(present, hit)))
        for one, predicted, counted in said:
            book.add(
                one,
                fold=self.fold.index,
                model_seed=self.config.seed,
                seed=seed,
                label=self.learned.only(target, counted),
                predicted=predicted,
                subject=self.store.subject[self.fold.test],
                whole=outcome.predicted.get(everything),
                complete=np.asarray(present.all(axis=1)),
            )


def calibrated_fold(store: Store, config: RunConfig, number: int) -> tuple[Store, Fold]:
    """Return a fold, and the store as it is seen in it: calibrated as the config says."""
    fold = folds_of(store, config)[number]
    return calibrated(store, config.standardisation.build(), fold.train), fold


def folds_of(store: Store, config: RunConfig) -> list[Fold]:
    """Return the folds by subject that a config asks for: of an official split, its one.

    Raises:
        SplitError: too few subjects, or no official split.
    """
    e = config.evaluation
    if e.split == "official":
        parts = published_parts(store.manifest["recordings"])
        return [official_fold(store.subject, parts, seed=e.fold_seed, group=store.group)]
    return subject_folds(store.subject, folds=e.folds, seed=e.fold_seed, group=store.group)


def fold_folder(out: Path, fold: int, repeat: int = 0) -> Path:
    """Name the folder of a fold, or of its repeat under another pretraining seed."""
    return out / (f"fold-{fold}-repeat-{repeat}" if repeat else f"fold-{fold}")


def fold_numbers(text: str, available: int) -> list[int]:
    """Read which folds are asked for: `all`, or numbers from 0, such as `0,2`.

    Raises:
        ConfigError: not numbers, or no such fold.
    """
    if text == "all":
        return list(range(available))
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError as error:
        raise ConfigError(f"folds: got '{text}'; allowed are 'all' or numbers as 0,2") from error
    if not numbers or numbers[0] < 0 or numbers[-1] >= available:
        raise ConfigError(
            f"folds: got '{text}'; allowed are 0 to {available - 1}, there "
            f"{'is 1 fold' if available == 1 else f'are {available} folds'}"
        )
    return numbers


def scored_subsets(store: Store) -> list[Subset]:
    """List the subsets of modalities that are scored, the full one first."""
    m = len(store.modalities)
    if m <= MAX_EVERY_SUBSET:
        return subsets(m)
    every = tuple(range(m))
    chosen = {(i,) for i in every} | {tuple(j for j in every if j != i) for i in every}
    for device in {modality.device for modality in store.modalities}:
        chosen |= {tuple(i for i in every if store.modalities[i].device == device),
                   tuple(i for i in every if store.modalities[i].device != device)}  # fmt: skip
    rest = sorted(chosen - {(), every}, key=lambda s: (-len(s), s))
    return [every, *rest]
