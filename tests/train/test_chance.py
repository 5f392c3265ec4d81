"""What cannot be learned is not: with shuffled labels every contender guesses.

A score above chance there would mean that something of the test windows' labels leaks into what
predicts them. The same experiment asked for twice gives the same digits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossl.config import RunConfig
from crossl.data.recording import LabelInterval, Recording
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.evaluate.results import ResultBook
from crossl.experiment.fold import FoldRunner, FoldTask

from .conftest import BOUT_S, CLASSES, MODALITIES, make_recording

SETTINGS = (
    "evaluation.folds=3", "evaluation.methods=[crossl,untrained,supervised]",
    "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
    "evaluation.label_seeds=[0]", "finetuning.steps=20", "schedule.steps=20",
    "contenders={forest: {kind: forest, trees: 30}, logistic: {kind: logistic}, "
    "minirocket: {kind: minirocket, features: 168}}",
)  # fmt: skip


def shuffled(recording: Recording) -> Recording:
    """Give every 2 s of a recording a label drawn by chance."""
    rng = np.random.default_rng(1000 + int(recording.subject[1:]))
    names = rng.permutation(np.resize(CLASSES, round(len(CLASSES) * BOUT_S / 2)))
    labels = [LabelInterval(2.0 * i, 2.0 * i + 2, str(name)) for i, name in enumerate(names)]
    return replace(recording, labels=labels)


def scores(store: Store, config: RunConfig, folder: Path, folds: int = 3) -> dict[str, np.ndarray]:
    """Return each contender's counts of test windows by true and predicted class, both budgets."""
    pooled: dict[str, np.ndarray] = {}
    for fold in range(folds):
        task = FoldTask(store.path, config, folder / f"fold-{fold}", fold)
        FoldRunner(task).run()
        for name in task.names:
            for entry in ResultBook.load(task.scores(name)).entries:
                if len(entry.key.present) == len(MODALITIES):
                    what = f"{name} {entry.key.budget}"
                    pooled[what] = pooled.get(what, 0) + entry.confusion.sum(axis=0)
    return pooled


@pytest.fixture(scope="module")
def config(small: Callable[..., RunConfig]) -> RunConfig:
    return small("crossl", *SETTINGS)


def test_with_shuffled_labels_every_contender_is_at_chance(
    config: RunConfig, tmp_path: Path
) -> None:
    store = write_store(
        (shuffled(make_recording(number)) for number in range(9)), tmp_path / "store",
        modalities=MODALITIES, classes=CLASSES, spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "shuffled", "reader": "none"},
    )  # fmt: skip
    found = scores(store, config, tmp_path)
    assert len(found) == 6 * 2
    for name, counts in found.items():
        right, n = np.trace(counts), counts.sum()
        # guessing: a third is right, give or take 4 deviations of a binomial
        assert n > 150, name
        assert abs(right / n - 1 / 3) < 4 * np.sqrt(2 / 9 / n), (name, right / n)


def test_with_true_labels_they_are_far_above_it_and_the_same_digits_come_twice(
    config: RunConfig, store: Store, tmp_path: Path
) -> None:
    first, second = (scores(store, config, tmp_path / name, 1) for name in ("a", "b"))
    assert first.keys() == second.keys()
    for name, counts in first.items():
        np.testing.assert_array_equal(counts, second[name], err_msg=name)
        assert np.trace(counts) / counts.sum() > 0.5, name
