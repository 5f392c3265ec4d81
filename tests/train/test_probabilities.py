"""Every contender says with which probability, if it is asked; what it says stays the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossl.config import RunConfig
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import DataError
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.experiment.probabilities import load_probabilities
from crossl.run_folder import known_by

from .conftest import CLASSES, MODALITIES, make_recording
from .targets import RULES

SETTINGS = (
    "evaluation.folds=3", "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
    "evaluation.label_seeds=[0]", "evaluation.methods=[crossl,supervised]", "finetuning.steps=2",
    "finetuning.evaluations=1", "contenders.forest={kind: forest, trees: 5}",
    "contenders.logistic={kind: logistic}", "contenders.ridge={kind: minirocket, features: 84}",
)  # fmt: skip
NAMES = ("crossl", "supervised", "forest", "logistic", "ridge")


@pytest.fixture(scope="module")
def kept(
    store: Store, small: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> FoldTask:
    """A fold whose contenders kept their probabilities."""
    config = small("crossl", *SETTINGS, "evaluation.keep_probabilities=true")
    task = FoldTask(store.path, config, tmp_path_factory.mktemp("folds") / "fold-0", 0)
    FoldRunner(task).run()
    return task


@pytest.mark.parametrize(
    ("name", "budget"),
    [*((name, "validation") for name in NAMES), ("supervised", "strict"), ("forest", "strict")],
)
def test_probabilities_of_every_contender_are_kept_and_the_largest_is_what_it_says(
    name: str, budget: str, kept: FoldTask, store: Store
) -> None:
    runner = FoldRunner(kept)
    contender, _ = runner._contender(name)
    context = runner._context(name, runner.pretrained())
    silent = replace(context, probabilities=False)
    every = load_probabilities(kept.probabilities(name))
    assert sorted(found.budget for found in every) == ["strict", "validation"]
    found = next(one for one in every if one.budget == budget)
    outcome, plain = (next(o for o in contender.outcomes(asked) if o.budget == budget)
                      for asked in (context, silent))  # fmt: skip
    assert plain.probability is None
    assert found.names == store.classes
    assert (found.label_fraction, found.seed, found.head) == (1.0, 0, outcome.head)
    np.testing.assert_array_equal(found.row, runner.fold.test)
    np.testing.assert_array_equal(found.subject, store.subject[runner.fold.test])
    assert len(found.by_sensors) == 7
    for subset, predicted in plain.predicted.items():
        np.testing.assert_array_equal(outcome.predicted[subset], predicted)
        probability = found.by_sensors[tuple(store.modalities[i].name for i in subset)]
        np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-5)
        assert (probability >= 0).all()
        assert outcome.outputs is not None
        # trees that say the same share of two classes leave the choice open
        chosen = np.take_along_axis(probability, predicted[:, None], axis=1)[:, 0]
        np.testing.assert_allclose(chosen, probability.max(axis=1), atol=1e-6)


def test_nothing_is_kept_unless_asked_and_asking_later_trains_nothing_again(
    store: Store, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    only = ("evaluation.methods=[crossl]", "contenders={}")
    config = small("crossl", *SETTINGS, *only)
    task = FoldTask(store.path, config, tmp_path / "fold-0", 0)
    FoldRunner(task).run()
    assert not list(task.folder.glob("probabilities-*"))
    weights = (task.folder / "weights.safetensors").stat().st_mtime_ns
    scores = task.scores("crossl").read_bytes()
    asking = small("crossl", *SETTINGS, *only, "evaluation.keep_probabilities=true")
    assert known_by(asking) == known_by(config)
    later = replace(task, config=asking)
    assert task.done
    assert not later.done
    FoldRunner(later).run()
    assert later.done
    assert (task.folder / "weights.safetensors").stat().st_mtime_ns == weights
    assert task.scores("crossl").read_bytes() == scores


def test_several_labels_have_probabilities_and_numbers_have_none(
    small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    store = write_store(
        (make_recording(number) for number in range(6)), tmp_path / "store",
        modalities=MODALITIES, classes=CLASSES, spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={}, targets=RULES,
    )  # fmt: skip
    for target, kind in (("posture", "labels"), ("speed", "numbers")):
        config = small(
            "crossl", *SETTINGS,
            "evaluation.methods=[crossl]", "evaluation.keep_probabilities=true",
            "contenders={forest: {kind: forest, trees: 5}}",
            f"task={{kind: {kind}, target: {target}}}",
        )  # fmt: skip
        task = FoldTask(store.path, config, tmp_path / target, 0)
        FoldRunner(task).run()
        for name in ("crossl", "forest"):
            found = load_probabilities(task.probabilities(name))
            assert len(found) == 2 * (kind == "labels")
            for one in found:
                assert one.names == ("upright", "fast")
                for probability in one.by_sensors.values():
                    assert ((probability >= 0) & (probability <= 1)).all()


def test_a_damaged_file_of_probabilities_is_refused(tmp_path: Path) -> None:
    (tmp_path / "probabilities-x.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match=r"probabilities-x.npz: cannot be read"):
        load_probabilities(tmp_path / "probabilities-x.npz")
