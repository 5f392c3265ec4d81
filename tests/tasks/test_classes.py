"""Classes: the default task, and what all tasks have in common."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from crossl.config import load_config
from crossl.data.targets import Target
from crossl.errors import ConfigError, FormatError
from crossl.tasks import ClassesConfig, classes_task, stored_task, task_of

TASK = classes_task(("rest", "walk", "run"))


class Source:
    """Windows with a class and an age."""

    targets = (
        Target("label", "classes", ("rest", "walk")),
        Target("age", "numbers", ("age",), ("year",)),
    )

    def target_values(self, name: str) -> np.ndarray:
        return {"label": np.array([0, 1, -1]), "age": np.array([[30.0], [40.0], [np.nan]])}[name]


def test_a_run_file_names_the_task_and_is_answered_where_it_misspells_it() -> None:
    assert load_config().task == ClassesConfig(target="label")
    assert load_config(overrides=["task.target=stage"]).task.target == "stage"
    with pytest.raises(
        ConfigError, match=r"task\.kind: unknown task 'clases'; did you mean 'class"
    ):
        load_config(overrides=["task.kind=clases"])
    with pytest.raises(ConfigError, match=r"task\.classes.taget|task.taget: unknown key; did you"):
        load_config(overrides=["task.taget=stage"])


def test_a_target_that_is_not_there_or_of_another_kind_is_refused() -> None:
    assert task_of(ClassesConfig(), Source()).names == ("rest", "walk")
    with pytest.raises(ConfigError, match=r"task.*target 'agee' is unknown; did you mean 'age'"):
        task_of(ClassesConfig(target="agee"), Source())
    with pytest.raises(ConfigError, match=r"'age' holds numbers.* 'classes' learns classes"):
        task_of(ClassesConfig(target="age"), Source())


def test_a_task_is_the_same_after_it_was_kept_in_a_file() -> None:
    assert stored_task(TASK.as_dict(), where="probe.json") == TASK
    for broken in ({"kind": "nonsense"}, {"kind": "classes", "names": []}, 3, None):
        with pytest.raises(FormatError, match=r"^probe.json: its task cannot be understood"):
            stored_task(broken, where="probe.json")


def test_unknown_windows_and_windows_of_no_group_do_not_count() -> None:
    target, said = np.array([0, 1, -1, 2]), np.array([0, 2, 1, 2])
    counts = TASK.count(target, said, np.array([0, 1, 1, -1]), 2)
    wanted = np.zeros((2, 3, 3), int)
    wanted[0, 0, 0] = wanted[1, 1, 2] = 1
    np.testing.assert_array_equal(counts, wanted)
    np.testing.assert_array_equal(TASK.windows(counts), [1, 1])


def test_counting_only_what_occurs_gives_the_same_scores() -> None:
    rng = np.random.default_rng(0)
    task = classes_task([f"c{i}" for i in range(30)])
    target, said = rng.choice([3, 7, 21], 200), rng.choice([3, 8, 21], 200)
    group = rng.integers(0, 4, 200)
    narrow = task.among(np.array([3, 8, 21]), target).count(target, said, group, 4)
    assert narrow.shape == (4, 4, 4)
    whole = task.count(target, said, group, 4)
    for metric in task.metrics.values():
        np.testing.assert_allclose(metric(narrow), metric(whole), rtol=1e-12)


def test_the_loss_is_cross_entropy_of_the_classes_that_were_seen() -> None:
    coding = TASK.coding(np.array([2, 0, 2, -1]))
    np.testing.assert_array_equal(coding.numbers, [0, 2])
    encoded = coding.encode(np.array([0, 2, 1, -1]))
    np.testing.assert_array_equal(encoded, [0, 1, -1, -1])
    output = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    wanted = cross_entropy(output[:2], torch.tensor([0, 1]), label_smoothing=0.1)
    torch.testing.assert_close(coding.loss(output, torch.from_numpy(encoded), smoothing=0.1),
                               wanted)  # fmt: skip
