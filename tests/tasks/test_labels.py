"""Several labels at once."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score
from torch.nn.functional import binary_cross_entropy_with_logits

from crossl.data.targets import Target
from crossl.errors import SplitError
from crossl.tasks import Labels, LabelsConfig, stored_task

NAMES = ("upright", "moving", "hard")
TASK = LabelsConfig(target="posture").build(Target("posture", "labels", NAMES))


def drawn(seed: int, windows: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """True labels, a few of them unknown, and what is said of them."""
    rng = np.random.default_rng(seed)
    target = (rng.random((windows, 3)) < [0.6, 0.3, 0.1]).astype(np.int8)
    said = np.where(rng.random(target.shape) < 0.8, target, 1 - target).astype(np.int8)
    target[rng.random(target.shape) < 0.1] = -1
    return target, said


def counts_of(target: np.ndarray, said: np.ndarray) -> np.ndarray:
    return TASK.count(target, said, np.zeros(len(target), int), 1)[0]


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_those_of_scikit_learn_on_what_is_known(seed: int) -> None:
    target, said = drawn(seed)
    counts = counts_of(target, said)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        known = [(t[t >= 0], s[t >= 0]) for t, s in zip(target.T, said.T, strict=True)]
        each = [f1_score(t, s, zero_division=0) for t, s in known]
        balanced = [balanced_accuracy_score(t, s) for t, s in known]
        together = f1_score(*(np.concatenate(side) for side in zip(*known, strict=True)))
    found = {name: float(metric(counts)) for name, metric in TASK.metrics.items()}
    np.testing.assert_allclose(found["macro_f1"], np.mean(each))
    np.testing.assert_allclose(found["micro_f1"], together)
    np.testing.assert_allclose(found["balanced_accuracy"], np.mean(balanced))
    np.testing.assert_allclose([found[f"f1:{name}"] for name in NAMES], each)


def test_counts_of_subjects_add_up_to_those_of_all() -> None:
    target, said = drawn(1)
    subject = np.array([f"S{i % 3}" for i in range(len(target))])
    names, by_subject = TASK.by_subject(target, said, subject)
    assert names.tolist() == ["S0", "S1", "S2"]
    np.testing.assert_array_equal(by_subject.sum(axis=0), counts_of(target, said))
    nobody = TASK.only(target, np.zeros(len(target), bool))
    assert len(TASK.by_subject(nobody, said, subject)[0]) == 0


def test_a_label_that_never_occurs_is_not_in_the_mean() -> None:
    target = np.array([[1, 0, 0], [0, 1, 0]], np.int8)
    assert float(TASK.metric(counts_of(target, target))) == 1.0


def test_a_draw_has_every_label_there_and_not_where_some_window_has() -> None:
    target = np.zeros((200, 3), np.int8)
    target[:100, 0] = 1
    target[7, 1] = 1  # one window only
    target[150:, 2] = -1
    rows = np.arange(5, 200)
    for seed in range(5):
        chosen = TASK.draw(target, rows, np.array(["S"] * 200), fraction=0.05, seed=seed)
        assert 7 in chosen
        assert set(chosen) <= set(rows)
        assert 8 <= len(chosen) <= 14
        for label in (0, 1):
            assert set(target[chosen, label]) >= {0, 1}
    again = TASK.draw(target, rows, np.array(["S"] * 200), fraction=0.05, seed=4)
    np.testing.assert_array_equal(again, chosen)
    everything = TASK.draw(target, rows, np.array(["S"] * 200), fraction=1, seed=0)
    np.testing.assert_array_equal(everything, rows)


def test_labels_that_never_differ_are_refused() -> None:
    message = "probe: in 4 labelled training windows each of upright, moving, hard is always there"
    with pytest.raises(SplitError, match=message):
        TASK.refuse_too_little(np.array([[1, 0, -1]] * 4), where="probe")


@pytest.mark.parametrize("way", ["fit", "fit_ridge"])
def test_a_fit_learns_each_label_from_the_windows_where_it_is_known(way: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    target = (x[:, :3] > 0).astype(np.int8)
    target[:, 2] = 1  # always there
    target[rng.random(target.shape) < 0.3] = -1
    (linear,) = getattr(TASK, way)(x, target, np.ones(300), [1.0])
    said = TASK.decide(x @ linear.weight.T + linear.bias, linear.numbers)
    assert said.dtype == np.int8
    known = target >= 0
    assert (said == target)[known].mean() > 0.95
    assert said[:, 2].all()
    probability = TASK.probabilities(x @ linear.weight.T + linear.bias)
    np.testing.assert_array_equal(probability > 0.5, said == 1)


def test_the_loss_is_of_known_labels_only() -> None:
    coding = TASK.coding(np.zeros((2, 3), np.int8))
    target = torch.tensor([[1, 0, -1], [-1, -1, -1]], dtype=torch.int8)
    output = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = coding.loss(output, target)
    wanted = binary_cross_entropy_with_logits(output[0, :2], torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(loss, wanted)
    loss.backward()
    assert (output.grad[target < 0] == 0).all()


def test_guessing_says_what_is_most_frequent() -> None:
    target, said = drawn(2)
    _, by_subject = TASK.by_subject(target, said, np.array(["A", "B"] * 40))
    guess = TASK.guess(by_subject)
    np.testing.assert_array_equal(guess.sum(axis=-1), by_subject.sum(axis=-1))
    assert guess.sum(axis=0)[0, :, 0].sum() == 0  # upright is, mostly
    assert guess.sum(axis=0)[2, :, 1].sum() == 0  # hard is not


def test_pictures_show_the_most_frequent_combinations() -> None:
    target = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 0], [1, -1, 0]], np.int8)
    names, group = TASK.groups(target)
    assert names == ("upright + moving", "none")
    np.testing.assert_array_equal(group, [0, 0, 1, -1])


def test_the_task_is_the_same_after_it_was_kept() -> None:
    again = stored_task(TASK.as_dict(), where="x")
    assert isinstance(again, Labels)
    assert again == TASK
