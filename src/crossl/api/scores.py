"""Score a run's classifier under every subset of sensors."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.api.inputs import Data, Given
from crossl.api.run import Run, given_to
from crossl.api.training import latent_table
from crossl.commands.other_store import held_choices, known_targets, numbered
from crossl.errors import DataError, FormatError, SplitError
from crossl.evaluate.latents import LatentTable, Subset, comparable
from crossl.evaluate.metrics import bootstrap_score
from crossl.evaluate.missing import predict_subsets
from crossl.stored import learned_from
from crossl.tasks import Array, Task, task_of

logger = logging.getLogger(__name__)


def evaluate_subsets(
    run: Run, data: Data, *, test: Iterable[str] | None = None, same_names: bool = False
) -> dict[str, NDArray[Any]]:
    """Score a run's classifier under every subset of sensors; nothing is retrained.

    A subset is scored on windows that have all that is taken away, and something beside it.

    Args:
        run: with a classifier.
        data: a store, its path, or `crossl.Windows(arrays, label=..., subject=...)`.
        test: subjects to score; None for the test subjects of the run, on another store everybody
            that nothing was learned from.
        same_names: people with the names of those who were learned from are other people.

    Returns:
        A row for each subset and metric, as columns: `present` and `missing` (names), `metric`,
        `value`, its 95% bootstrap interval over people `ci_low` to `ci_high` (NaN for one person),
        `with_all` (the score of the same windows with all that they have), `people`, `windows`.
        `as_frame` makes a data frame of it.

    Raises:
        FormatError: the run has no classifier.
        SplitError: a test subject was learned from, or nobody is left.
        DataError: no window has a label that the classifier knows.
        ContractError: windows that the model was not made for.

    Examples:
        >>> import crossl
        >>> rng, label = np.random.default_rng(0), np.tile(["rest", "run"], 24)
        >>> loud = np.where(label == "run", 5, 1)[:, None, None]
        >>> x = {name: rng.normal(size=(48, 50, 3)) * loud for name in ("acc", "gyro")}
        >>> data = crossl.Windows(x, label=label, subject=np.repeat(["ann", "bob", "cem"], 16))
        >>> run = crossl.build_model(x, window_s=1.0)
        >>> run = crossl.fit_probe(run, data, train=["ann"], validation=["bob"])
        >>> scores = crossl.evaluate_subsets(run, data)
        >>> scores["missing"][scores["metric"] == "macro_f1"].tolist()
        ['', 'gyro', 'acc']
    """
    if run.classifier is None:
        raise FormatError(
            f"{run.path or 'run'}: has no classifier to score; fit one by crossl.fit_probe(run, "
            "store)"
        )
    probe, given = run.classifier.probe, given_to(run, data)
    here = task_of(probe.task.settings, given.source)
    some = np.asarray(given.source.present.any(axis=1)) & here.known(here.values(given.source))
    rows = _tested(given, run, test, same_names=same_names)
    table = latent_table(run.model, given, rows[some[rows]], here)
    task, label, notes = known_targets(here, probe, run.classes, table.label)
    for note in notes:
        logger.info(note)
    if not task.known(label).any():
        raise DataError(
            f"windows: no test window has a label that the classifier knows, got "
            f"{', '.join(here.names) or 'none'}; it knows {', '.join(run.classes)}"
        )
    choices = held_choices(table)
    (found,) = predict_subsets([probe], table, choices)
    said = {choice: numbered(found[choice], probe) for choice in choices}
    out = _rows_by_subset([m.name for m in run.modalities], task, label, table, said)
    return {name: np.array([row[name] for row in out]) for name in out[0]}


def _rows_by_subset(
    names: Sequence[str], task: Task, label: Array, table: LatentTable, said: Mapping[Subset, Array]
) -> list[dict[str, Any]]:
    """Return the rows of every subset; the first is of all modalities.

    Args:
        names: of all modalities.
        task: counts and scores.
        label: true values.
        table: of the same windows.
        said: of each window, by the columns that are present.
    """
    every = next(iter(said))
    present = np.asarray(table.present)[:, every]
    out: list[dict[str, Any]] = []
    for choice, answers in said.items():
        left = tuple(every.index(column) for column in choice)
        counted = task.only(label, comparable(present, left))
        missing = [names[i] for i in every if i not in choice]
        scores = _scores(task, counted, (answers, said[every]), table.subject)
        out += [{"present": ", ".join(names[i] for i in choice), "missing": ", ".join(missing),
                 **one} for one in scores]  # fmt: skip
    return out


def _scores(
    task: Task, label: Array, said: tuple[Array, Array], subject: NDArray[np.str_]
) -> list[dict[str, Any]]:
    """Return a row for each metric; none where no window counts.

    Args:
        task: counts and scores.
        label: true values; what is unknown does not count.
        said: with some sensors missing, and with all.
        subject: of each window.
    """
    people, counts = task.by_subject(label, said[0], subject)
    if not len(people):
        return []
    _, whole = task.by_subject(label, said[1], subject)
    rows = []
    for name, metric in task.metrics.items():
        score = bootstrap_score(counts[None], metric)
        rows.append({
            "metric": name,
            "value": score.value,
            "ci_low": np.nan if score.low is None else score.low,
            "ci_high": np.nan if score.high is None else score.high,
            "with_all": float(metric(whole.sum(axis=0))),
            "people": len(people),
            "windows": int(task.windows(counts).sum()),
        })  # fmt: skip
    return rows


def _tested(
    given: Given, run: Run, test: Iterable[str] | None, *, same_names: bool
) -> NDArray[np.int64]:
    """Return the rows of test subjects; nobody who was learned from is among them."""
    about = run.classifier.about if run.classifier is not None else {}
    known = set() if same_names else learned_from(run.contract, about)
    people = np.unique(given.whose).tolist()
    if test is None:
        told = next((facts["subjects"]["test"] for facts in (about, run.contract)
                     if given.store is not None and "subjects" in facts
                     and facts.get("store_sha256") == given.store.hash), people)  # fmt: skip
        test = [name for name in people if name in told and name not in known]
        if not test:
            raise SplitError(
                "evaluate_subsets: the run learned from all of these people, so a score would "
                "leak; give windows of other people, or say same_names=True if these are others"
            )
    rows = given.rows_of("test", test)
    leaked = sorted(known & set(given.whose[rows].tolist()))
    if leaked:
        raise SplitError(
            f"test: subject '{leaked[0]}' was learned from, so a score would leak; name others, or "
            "say same_names=True if these are others"
        )
    return rows
