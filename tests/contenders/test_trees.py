"""Trees on features: what they are made for each task, and what they are handed."""

from __future__ import annotations

from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import f1_score

from crossl.contenders import BoostingConfig, boosting
from crossl.contenders.trees import Trees, extra_trees
from crossl.data.targets import Target
from crossl.errors import PackageError
from crossl.evaluate.probe_rows import ProbeRows
from crossl.tasks import LabelsConfig, NumbersConfig, Task, classes_task

CLASSES = classes_task(("a", "b", "c"))
LABELS = LabelsConfig(target="both").build(Target("both", "labels", ("up", "fast")))
NUMBERS = NumbersConfig(target="rate").build(Target("rate", "numbers", ("rate",), ("1/min",)))
needs_lightgbm = pytest.mark.skipif(not find_spec("lightgbm"), reason="LightGBM is not installed")


def rows(target: np.ndarray) -> ProbeRows:
    """Windows of which the first of 6 features tells, and the last two hold nothing."""
    noise = np.random.default_rng(0).normal(size=(len(target), 6)).astype(np.float32)
    noise[:, 4:] = 0
    noise[:, 0] += 5 * target.reshape(len(target), -1)[:, 0]
    return ProbeRows(noise, target, np.ones(len(target)))


def learned(task: Task, make: object, target: np.ndarray) -> np.ndarray:
    """What trees say of the windows that they learned."""
    shown = rows(target)
    fitted = Trees("trees", make)._fit(task, shown, 1, 0)  # type: ignore[arg-type]
    np.testing.assert_array_equal(fitted.columns, [0, 1, 2, 3])
    return fitted.predict(shown.embedding)


@pytest.mark.parametrize("task", [CLASSES, LABELS], ids=["classes", "labels"])
def test_extra_trees_weigh_classes_as_forests_do_and_see_every_row(task: Task) -> None:
    made = extra_trees(7, task, 3, 1)
    assert isinstance(made, ExtraTreesClassifier)
    asked = made.get_params()
    assert (asked["n_estimators"], asked["min_samples_leaf"], asked["random_state"]) == (7, 3, 1)
    assert asked["class_weight"] == "balanced_subsample"
    assert not asked["bootstrap"]
    assert isinstance(extra_trees(7, NUMBERS, 3, 1), ExtraTreesRegressor)


def test_trees_learn_classes_from_columns_that_hold_something() -> None:
    target = np.arange(60) % 3
    said = learned(CLASSES, lambda task, leaf, seed: extra_trees(20, task, leaf, seed), target)
    np.testing.assert_array_equal(said, target)


@needs_lightgbm
@pytest.mark.parametrize("task", [CLASSES, LABELS, NUMBERS], ids=["classes", "labels", "numbers"])
def test_boosting_learns_every_kind_of_task(task: Task) -> None:
    one = np.arange(90) % 3
    target = {"classes": one, "labels": np.stack([one > 0, one < 9], axis=1).astype(np.int8),
              "numbers": one[:, None].astype(np.float32)}[task.target.kind]  # fmt: skip
    made = BoostingConfig(rounds=30).build("boosting")
    assert made.fixed in made.leaves
    assert len(made.leaves) == 6
    said = learned(task, made.make, target)
    if task is NUMBERS:
        assert np.corrcoef(said.ravel(), one)[0, 1] > 0.9
    else:
        assert f1_score(target.ravel(), said.ravel(), average="macro") > 0.95


@needs_lightgbm
def test_boosting_says_with_which_probability_in_the_shape_of_a_forest() -> None:
    target = np.stack([np.arange(60) % 2, np.ones(60)], axis=1).astype(np.int8)
    made = BoostingConfig(rounds=5).build("boosting").make(LABELS, 1, 0)
    x = rows(target).embedding
    made.fit(x, target, np.ones(60))
    first, second = made.predict_proba(x)
    assert [found.tolist() for found in made.classes_] == [[0, 1], [1]]
    assert (first.shape, second.shape) == ((60, 2), (60, 1))
    np.testing.assert_allclose(first.sum(axis=1), 1)


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> SimpleNamespace:
        raise ModuleNotFoundError(name=name)

    monkeypatch.setattr(boosting, "import_module", absent)
    told = r'contenders.trees: needs LightGBM, which is not installed; .*"crossl\[bench\]"'
    with pytest.raises(PackageError, match=told):
        BoostingConfig().build("trees")
