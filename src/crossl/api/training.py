"""Build a model, pretrain it without labels, and fit a classifier on its embeddings."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.api.inputs import Data, Given, refuse_empty, take_given
from crossl.api.people import facts_of, with_people_before
from crossl.api.run import Classifier, Run, given_to
from crossl.config import build_method, config_from, with_modules
from crossl.config import build_model as build_network
from crossl.config.encoders import Modules
from crossl.contenders.contender import latent_table as of_store
from crossl.data.calibrated import recorded
from crossl.data.splits import Fold
from crossl.doctor.usable import usable_facts
from crossl.errors import ConfigError, DataError, SplitError, counted, nearest
from crossl.evaluate import probe as probes
from crossl.evaluate.latents import HEADS, Head, LatentTable
from crossl.evaluate.probe_facts import probe_facts
from crossl.experiment.fold import folds_of
from crossl.files import working_in
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.run_folder import run_facts
from crossl.stored import learned_from
from crossl.tasks import Task, task_of
from crossl.tasks.task import kind_of_task
from crossl.train import pretrain as training
from crossl.train.checkpoints import last_checkpoint

VALIDATION_SHARE = 1 / 6
Subjects = Iterable[str]


def build_model(
    data: Data,
    *,
    window_s: float | None = None,
    recipe: str = "crossl",
    settings: Mapping[str, Any] | None = None,
    encoders: Modules | None = None,
) -> Run:
    """Build a model with random weights for the sensors of some windows.

    Args:
        data: a store, its path, or arrays {modality: (n, time, channel)}.
        window_s: of arrays, length of a window, seconds; a rate is samples over this.
        recipe: `crossl`, or `paper` for the published method.
        settings: any setting of a run file by dotted name, such as `{"encoder.width": 32}`; values
            are Python's. `seed` decides the weights.
        encoders: {modality: module}, modules of your own that encode windows (B, T, C) to (B, K),
            K being the setting `encoder.dim`; copies are used. The setting `frozen_encoders` names
            those that are not trained.

    Returns:
        A run that was not trained. It standardises nothing until `pretrain`.

    Raises:
        ConfigError: a setting that is not allowed, or a module that does not fit.
        DataError: arrays that cannot be used.

    Examples:
        >>> import crossl
        >>> x = {"acc": np.zeros((4, 50, 3)), "ecg": np.zeros((4, 100, 1))}
        >>> run = crossl.build_model(x, window_s=1.0, settings={"encoder.width": 16, "seed": 3})
        >>> [m.rate_hz for m in run.modalities], run.classes
        ([50.0, 100.0], ())
    """
    config = with_modules(config_from(settings or {}, base=recipe, where="build_model"), encoders)
    source = take_given(data, window_s=window_s).source
    model = build_network(
        config, source.modalities, window_s=source.window_s, seed=config.seed, encoders=encoders
    )
    return Run(model.eval(), config)


def pretrain(
    run: Run,
    data: Data,
    *,
    train: Subjects | None = None,
    validation: Subjects | None = None,
    fold: int = 0,
    out: Path | str | None = None,
    progress: training.Progress | None = None,
    same_names: bool = False,
) -> Run:
    """Pretrain a run's model on windows without labels.

    The same as `crossl pretrain`, to the bit, where the fold of a store is asked for. Only the
    command line resumes.

    Args:
        run: what `build_model` made, or a trained one to train on; it is not changed.
        data: a store, its path, or arrays; with `crossl.Windows(arrays, subject=...)` people are
            kept apart.
        train: subjects to learn from.
        validation: other subjects, whose loss is reported, and ends training if
            `schedule.patience` asks for it. Without both, a store's `fold` says
            who; of arrays it is a sixth of the subjects, or the last sixth of the windows.
        fold: number of the fold by subject.
        out: folder for metrics, checkpoints and the run; None keeps nothing on disk.
        progress: called after each epoch with steps done, steps in all and metrics.
        same_names: people with the names of those whom a trained run learned from are other people.

    Returns:
        The trained run.

    Raises:
        DataError: too few windows, or the folder holds a run already.
        SplitError: a subject is unknown, or is in both parts, or the fold tests a person whom
            the run learned from before.
        ContractError: windows that the model was not made for.
        TrainingError: the loss is not finite, or a step does not fit into memory.

    Examples:
        >>> import crossl
        >>> x = {"acc": np.random.default_rng(0).normal(size=(32, 50, 3))}
        >>> people = np.repeat(["ann", "bob", "cem", "dee"], 8)
        >>> settings = {"schedule.steps": 2, "schedule.batch_size": 8}
        >>> run = crossl.build_model(x, window_s=1.0, settings=settings)
        >>> data = crossl.Windows(x, subject=people)
        >>> run = crossl.pretrain(run, data, train=["ann", "bob"], validation=["cem"])
        >>> run.contract["subjects"]["test"], run.embed(x).shape
        (['dee'], (32, 256))
    """
    given = take_given(data, run.modalities, window_s=run.window_s)
    refuse_empty(given)
    parts, chosen = _parts(given, run, train, validation, fold)
    given = calibrated_for(run, data, given, parts[0])
    about = _facts(given, parts, chosen)
    about = with_people_before(about, run.contract, given, same_names=same_names)
    with ExitStack() as stack:
        if out is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="crossl-")))
        else:
            folder = Path(out)
            stack.enter_context(working_in(folder, "is training in this folder"))
            if (folder / "model.json").exists() or last_checkpoint(folder).exists():
                raise DataError(f"{folder}: holds a run already; name a new folder")
        model = train_model(run, given, *parts, out=folder, progress=progress)
    trained = replace(run, model=model, contract=about, classifier=None, path=None)
    if out is not None:
        trained.save(out)
        trained = replace(trained, path=Path(out))
    return trained


def train_model(
    run: Run,
    given: Given,
    train: NDArray[np.int64],
    validation: NDArray[np.int64],
    *,
    out: Path,
    progress: training.Progress | None = None,
) -> CrossModalModel:
    """Pretrain a copy of a run's model on rows of windows."""
    config = run.config
    return training.pretrain(
        build_method(config, copy.deepcopy(run.model), seed=config.seed),
        given.source,
        train=train,
        validation=validation,
        schedule=config.schedule,
        seed=config.seed,
        out=out,
        progress=progress,
    )


def calibrated_for(run: Run, data: Data, given: Given, train: NDArray[np.int64]) -> Given:
    """See windows calibrated as a run that is trained on them will.

    Args:
        run: as it is before.
        data: windows as they were handed over.
        given: the same as the model sees them, not calibrated.
        train: rows of training subjects, who say what is usual; a trained run knows.
    """
    calibration = run.calibration
    if calibration is None:
        return given
    return take_given(data, run.modalities, window_s=run.window_s, calibration=calibration,
                      train=None if calibration.typical else train)  # fmt: skip


def _facts(
    given: Given, parts: tuple[NDArray[np.int64], NDArray[np.int64]], chosen: Fold | None
) -> dict[str, Any]:
    """Return what a run must remember of its data."""
    if chosen is not None and given.store is not None:
        return run_facts(given.store, chosen)
    return {} if given.subject is None else facts_of(given, *parts)


def _parts(
    given: Given, run: Run, train: Subjects | None, validation: Subjects | None, fold: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Fold | None]:
    """Return the rows of both parts, and the fold if they are one's."""
    if train is not None and validation is not None:
        return _named_parts(given, train, validation), None
    if train is not None or validation is not None:
        raise SplitError("pretrain: one of train and validation is missing; give both or neither")
    if given.store is not None:
        chosen = _fold(given, run, fold)
        return (chosen.train, chosen.validation), chosen
    return split_rows(len(given), given.subject), None


def _fold(given: Given, run: Run, number: int) -> Fold:
    assert given.store is not None  # noqa: S101 - for mypy
    folds = folds_of(given.store, run.config)
    if not 0 <= number < len(folds):
        raise ConfigError(f"fold: got {number}; allowed are 0 to {len(folds) - 1}")
    return folds[number]


def _named_parts(
    given: Given, train: Subjects, validation: Subjects
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    some = np.asarray(given.source.present.any(axis=1))
    rows = [given.rows_of(what, names) for what, names in
            (("train", train), ("validation", validation))]  # fmt: skip
    both = sorted(set(given.whose[rows[0]].tolist()) & set(given.whose[rows[1]].tolist()))
    if both:
        raise SplitError(
            f"subject '{both[0]}': is in train and in validation; a subject belongs to one part "
            "only"
        )
    return rows[0][some[rows[0]]], rows[1][some[rows[1]]]


def split_rows(n: int, groups: NDArray[Any] | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and validation, by group where groups are known."""
    if groups is None:
        cut = n - max(2, round(n * VALIDATION_SHARE))
        return np.arange(cut), np.arange(cut, n)
    unique = np.unique(groups)
    if len(groups) != n or len(unique) < 2:
        raise DataError(
            f"groups: {len(groups)} entries of {counted(len(unique), 'subject')} for {n} windows; "
            "one entry per window and at least 2 subjects are needed"
        )
    chosen = np.isin(groups, unique[-max(1, round(len(unique) * VALIDATION_SHARE)) :])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def fit_probe(
    run: Run,
    data: Data,
    *,
    train: Subjects | None = None,
    validation: Subjects | None = None,
    label_fraction: float = 1.0,
    head: str = "aggregator",
    seed: int = 0,
    task: Mapping[str, Any] | None = None,
) -> Run:
    """Fit a linear classifier on frozen embeddings, with sensors missing at random.

    The same as `crossl probe`, to the bit, on the run's own store.

    Args:
        run: a trained one; it is not changed.
        data: a store, its path, or `crossl.Windows(arrays, label=..., subject=...)`.
        train: subjects whose labels are used; None for those that the run was pretrained on.
        validation: other subjects, who choose the strength of regularisation; None for those of
            pretraining.
        label_fraction: share of the labels of training subjects, drawn by class.
        head: which embedding is read: `aggregator`, or `encoders` for latents side by side.
        seed: of the draw of labels.
        task: what is learned, as in a run file: its `kind`, and its `target` in the store; None for
            the run's own, which is the class of each window.

    Returns:
        The run with this classifier; `save` keeps it.

    Raises:
        SplitError: subjects are unknown or are in both parts, or too few labels.
        ConfigError: unknown head, or a task that the windows have no target for.
        ContractError: windows that the model was not made for.

    Examples:
        >>> import crossl
        >>> rng, label = np.random.default_rng(0), np.tile(["rest", "run"], 16)
        >>> loud = np.where(label == "run", 5, 1)[:, None, None]
        >>> x = {"acc": loud * rng.normal(size=(32, 50, 3))}
        >>> data = crossl.Windows(x, label=label, subject=np.repeat(["ann", "bob"], 16))
        >>> run = crossl.build_model(x, window_s=1.0)
        >>> run = crossl.fit_probe(run, data, train=["ann"], validation=["bob"])
        >>> run.classes, run.predict(x)[:2].tolist()
        (('rest', 'run'), ['rest', 'run'])
    """
    _refuse_nonsense(head, label_fraction, seed)
    given = given_to(run, data)
    rows, chose = _named_parts(given, *_people(given, run, train, validation))
    asked = run.config if task is None else config_from({"task": task}, where="fit_probe")
    learned = task_of(asked.task, given.source)
    target = learned.values(given.source)
    everybody = np.union1d(rows, chose)
    rows = learned.draw(target, rows, given.whose, fraction=label_fraction, seed=seed)
    tables = [latent_table(run.model, given, some, learned) for some in (rows, chose)]
    fitted = probes.fit_probe(*tables, head=_head(head), seed=seed)
    about: dict[str, Any] = {
        "label_fraction": float(label_fraction), "seed": int(seed), "windows": len(rows),
        **probe_facts(fitted, tables[0], tables[1], given.store),
        **usable_facts(run.modalities, recorded(given.source), everybody),
    }  # fmt: skip
    about |= _people_facts(run, given, (rows, chose), named=(train, validation) != (None, None))
    return replace(run, classifier=Classifier(fitted, about), path=None)


def _refuse_nonsense(head: object, label_fraction: object, seed: object) -> None:
    if head not in HEADS:
        raise ConfigError(f"head '{head}': unknown; {nearest(str(head), HEADS)}")
    if not isinstance(label_fraction, int | float):
        raise SplitError(f"label_fraction: is {label_fraction!r:.40}; a number up to 1 is needed")
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ConfigError(f"seed: is {seed!r:.40}; a whole number from 0 is needed")


def _people_facts(
    run: Run, given: Given, parts: tuple[NDArray[np.int64], NDArray[np.int64]], *, named: bool
) -> dict[str, Any]:
    """Return whose labels a classifier learned from, where the run does not say it.

    Args:
        run: the run.
        given: the windows.
        parts: rows whose labels are used, and rows that choose.
        named: who they are was said by the caller.
    """
    known = given.store.hash if given.store is not None else None
    if known is not None and known == run.contract.get("store_sha256") and not named:
        return {}
    facts = facts_of(given, *parts, known=learned_from(run.contract))
    of_store = {} if known is None else {"store_sha256": known, "fold": 0}
    return {name: facts[name] for name in ("dataset", "subjects") if name in facts} | of_store


def _head(head: str) -> Head:
    return "encoders" if head == "encoders" else "aggregator"


def _people(
    given: Given, run: Run, train: Subjects | None, validation: Subjects | None
) -> tuple[Subjects, Subjects]:
    """Return who trains and who chooses: those who are named, or those of pretraining."""
    if train is not None and validation is not None:
        return train, validation
    own = run.contract.get("store_sha256")
    if own is not None and (given.store is None or given.store.hash != own):
        raise SplitError(
            "fit_probe: these are not the windows that the run was pretrained on; say whose labels "
            "train and whose choose, train=[...] and validation=[...]"
        )
    known = run.contract.get("subjects", {})
    found = [names if names is not None else known.get(part) for part, names in
             (("train", train), ("validation", validation))]  # fmt: skip
    if found[0] is None or found[1] is None:
        raise SplitError(
            "fit_probe: the run does not say who was learned from; say whose labels train and "
            "whose choose, train=[...] and validation=[...]"
        )
    return found[0], found[1]


def latent_table(
    model: CrossModalModel, given: Given, rows: NDArray[np.int64], task: Task
) -> LatentTable:
    """Compute the latents of some rows, with a task's targets and their subjects.

    Raises:
        ConfigError: the task reads neighbours, and the windows are of no store.
    """
    if given.store is not None:
        return of_store(model, given.store, rows, task)
    if len(task.offsets) > 1:
        raise ConfigError(
            f"task.kind '{kind_of_task(task.settings)}': reads neighbours, which windows in memory "
            "do not have; give a store"
        )
    return LatentTable(
        model,
        encode_rows(model, given.source, rows),
        torch.from_numpy(given.source.present[rows]),
        task.values(given.source)[rows],
        given.whose[rows],
        task,
    )
