"""An experiment: pretrain on every fold, score with few labels and missing sensors.

Each fold is a run folder of its own and can be computed by its own process; what a fold has
finished is not computed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.config import RunConfig, build_method, build_model
from crossl.data.splits import (
    Fold,
    draw_labels,
    official_fold,
    published_parts,
    subject_folds,
)
from crossl.data.store import Store
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.results import Key, ResultBook
from crossl.learn.finetune import fine_tune
from crossl.learn.latents import Head, LatentTable, Subset, subsets
from crossl.learn.pretrain import pretrain
from crossl.learn.probe import Classifier, Probe, fit_probe, fit_probes
from crossl.learn.processes import Processes
from crossl.learn.training import last_checkpoint
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.run import load_run, save_probe, save_run

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of the fold is done."""

Draw = tuple[float, int, NDArray[np.int64]]
"""Label fraction, seed, and the training rows whose labels may be used."""

Tables = dict[str, LatentTable]

MAX_EVERY_SUBSET = 6
"""Up to this many modalities every subset is scored; of more, the full set, single modalities,
all but one, and devices."""


def quiet(what: str, share: float) -> None:
    """Report no progress."""


@dataclass(frozen=True)
class FoldTask:
    """One fold of an experiment: where its data are, how it is run, where it is kept.

    `processes` share its pretraining; each of them has this task.
    """

    store: Path
    config: RunConfig
    folder: Path
    fold: int
    processes: Processes = field(default_factory=Processes)

    def scores(self, method: str) -> Path:
        """Name the file of a method's scores."""
        return self.folder / f"scores-{method}.npz"

    @property
    def begun(self) -> bool:
        """Whether there is something that the same command would go on from."""
        return last_checkpoint(self.folder).is_file() or (self.folder / "model.json").is_file()

    @property
    def done(self) -> bool:
        """Whether every method has its scores."""
        return all(self.scores(name).is_file() for name in self.config.evaluation.methods)


class FoldRunner:
    """Computes one fold.

    Args:
        task: what to compute.
        progress: told what is going on.
    """

    def __init__(self, task: FoldTask, progress: Progress = quiet) -> None:
        self.config = task.config
        self.progress = progress
        self.store = Store.open(task.store)
        self.fold = folds_of(self.store, task.config)[task.fold]
        self.task = task
        self.out = task.folder
        self.names = tuple(m.name for m in self.store.modalities)
        self.subsets = scored_subsets(self.store)
        self._pretrained: Tables | None = None
        self._scored = 0

    def run(self) -> None:
        """Pretrain, then score every method that has no scores yet."""
        model = self.pretrained()
        for name in self.config.evaluation.methods:
            path = self.task.scores(name)
            if not path.is_file():
                book = ResultBook(self.store.manifest["dataset"], self.store.classes, self.names)
                getattr(self, f"_score_{name}")(model, book)
                book.save(path)
            self._scored += 1
        self.progress("done", 1.0)

    def _tell(self, what: str, number: int, total: int) -> None:
        """Tell which of several classifiers is trained; pretraining was the first half."""
        share = (self._scored + number / total) / len(self.config.evaluation.methods)
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

    def untrained(self) -> CrossModalModel:
        """Return the same network with random weights and fitted standardisation."""
        model = build_model(self.config, self.store.modalities, window_s=self.store.window_s,
                            seed=self.config.seed + 1000)  # fmt: skip
        model.standardiser.fit(self.store, self.fold.train)
        return model.eval()

    def _score_crossl(self, model: CrossModalModel, book: ResultBook) -> None:
        tables, heads = self._tables(model), self.config.evaluation.heads
        self._score_probes(tables, book, self.config.recipe, heads)

    def _score_untrained(self, _: CrossModalModel, book: ResultBook) -> None:
        self._score_probes(self._encoded(self.untrained()), book, "untrained", ("encoders",))

    def _score_probes(
        self, tables: Tables, book: ResultBook, method: str, heads: Sequence[Head]
    ) -> None:
        draws = list(self.label_draws())
        for head in heads:
            shown = self._training_tables(tables, draws, f"probing {method}")
            probes = fit_probes(shown, tables["validation"], head=head)
            self._add(book, method, draws, probes, tables["test"])
            if method == self.config.recipe and head == heads[0]:
                self._keep_main(draws, probes)

    def _keep_main(self, draws: Sequence[Draw], probes: Sequence[Probe]) -> None:
        """Save the probe that the run folder offers to its users."""
        for (fraction, seed, rows), probe in zip(draws, probes, strict=True):
            if (fraction, seed) == (self.config.evaluation.main_fraction, 0):
                about = {"label_fraction": fraction, "seed": seed, "windows": len(rows)}
                save_probe(self.out, probe, classes=self.store.classes, about=about)

    def _score_subset_probes(self, model: CrossModalModel, book: ResultBook) -> None:
        """Score the reference: a probe for each subset, trained on it and tested on it."""
        tables, name = self._tables(model), f"{self.config.recipe}, probe per subset"
        wanted = {self.config.evaluation.main_fraction, 1.0}
        draws = [draw for draw in self.label_draws() if draw[0] in wanted]
        for subset in self.subsets:
            shown = self._training_tables(tables, draws, "probing each subset")
            probes = fit_probes(shown, tables["validation"], subset=subset, missing=False)
            self._add(book, name, draws, probes, tables["test"], [subset])

    def _training_tables(
        self, tables: Tables, draws: Sequence[Draw], what: str
    ) -> Iterator[tuple[LatentTable, int]]:
        """Yield the labelled windows of each draw and its seed, telling of each."""
        for number, (_, seed, rows) in enumerate(draws):
            self._tell(what, number, len(draws))
            yield tables["train"].take(np.searchsorted(self.fold.train, rows)), seed

    def _score_supervised(self, _: CrossModalModel, book: ResultBook) -> None:
        self._score_fine_tuned(self.untrained(), book, "supervised")

    def _score_finetuned(self, model: CrossModalModel, book: ResultBook) -> None:
        self._score_fine_tuned(model, book, "finetuned", self._tables(model))

    def _score_fine_tuned(
        self,
        start: CrossModalModel,
        book: ResultBook,
        method: str,
        tables: Tables | None = None,
    ) -> None:
        only = self.config.evaluation.finetuned_fractions if method == "finetuned" else None
        draws = [draw for draw in self.label_draws() if only is None or draw[0] in only]
        for number, (fraction, seed, rows) in enumerate(draws):
            self._tell(f"training {method}", number, len(draws))
            probe = None
            if tables is not None:
                train = tables["train"].take(np.searchsorted(self.fold.train, rows))
                probe = fit_probe(train, tables["validation"], seed=seed)
            model, head = fine_tune(
                start,
                self.store,
                self.store.label,
                train=rows,
                validation=self.fold.validation,
                settings=self.config.finetuning,
                seed=seed,
                probe=probe,
            )
            test = latent_table(model, self.store, self.fold.test)
            self._add(book, method, [(fraction, seed, rows)], [head], test)

    def label_draws(self) -> Iterator[Draw]:
        """Yield fraction, seed and rows; all labels are drawn once."""
        for fraction in self.config.evaluation.label_fractions:
            for seed in self.config.evaluation.label_seeds[: 1 if fraction == 1 else None]:
                rows = draw_labels(
                    self.store.label,
                    self.fold.train,
                    fraction=fraction,
                    seed=seed,
                    classes=len(self.store.classes),
                )
                yield fraction, seed, rows

    def _tables(self, model: CrossModalModel) -> Tables:
        """Return the latents of the pretrained model, computed for the first method that asks."""
        if self._pretrained is None or self._pretrained["test"].model is not model:
            self._pretrained = self._encoded(model)
        return self._pretrained

    def _encoded(self, model: CrossModalModel) -> Tables:
        parts = ("train", "validation", "test")
        return {part: latent_table(model, self.store, getattr(self.fold, part)) for part in parts}

    def _add(
        self,
        book: ResultBook,
        method: str,
        draws: Sequence[Draw],
        classifiers: Sequence[Classifier],
        test: LatentTable,
        choices: list[Subset] | None = None,
    ) -> None:
        """Add what classifiers, one for each draw, say of test windows under every subset."""
        recipe = None if method in ("untrained", "supervised") else self.config.recipe
        found = predict_subsets(classifiers, test, choices or self.subsets)
        shown = {subset: test.comparable(subset) for subset in choices or self.subsets}
        complete = np.asarray(test.present.all(dim=1))
        everything = tuple(range(len(self.names)))
        for (fraction, seed, _), classifier, labels in zip(draws, classifiers, found, strict=True):
            for subset, predicted in labels.items():
                present = tuple(self.names[i] for i in subset)
                book.add(
                    Key(method, recipe, classifier.head, fraction, present),
                    fold=self.fold.index,
                    seed=seed,
                    label=np.where(shown[subset], test.label, -1),
                    predicted=predicted,
                    subject=test.subject,
                    whole=labels.get(everything),
                    complete=complete,
                )


def latent_table(model: CrossModalModel, store: Store, rows: NDArray[np.int64]) -> LatentTable:
    """Compute the latents of rows of a store, with their labels and subjects."""
    return LatentTable(
        model,
        encode_rows(model, store, rows),
        torch.from_numpy(store.present[rows]),
        store.label[rows],
        store.subject[rows],
    )


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


def run_facts(store: Store, fold: Fold) -> dict[str, Any]:
    """Return what a run folder must remember of its data."""
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    return {
        "dataset": store.manifest["dataset"],
        "classes": list(store.classes),
        "store_sha256": store.hash,
        "statistics": "channel mean and standard deviation of the training subjects",
        "fold": fold.index,
        "subjects": {name: np.unique(store.subject[r]).tolist() for name, r in parts.items()},
    }
