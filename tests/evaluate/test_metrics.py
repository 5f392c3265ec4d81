"""Scores against scikit-learn, and their intervals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, f1_score

from crossl.errors import DataError
from crossl.evaluate.metrics import (
    Interval,
    bootstrap_score,
    bootstrap_scores,
    paired_difference,
    score_kept,
)
from crossl.evaluate.resampling import Design, Resampling, sign_flip_p, subject_draws
from crossl.tasks.confusion import (
    METRICS,
    balanced_accuracy,
    cohen_kappa,
    confusion_by_subject,
    macro_f1,
)

CLASSES = 5


def draw(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make labels, predictions that are sometimes right, and subjects; some classes may lack."""
    rng = np.random.default_rng(seed)
    n, classes = int(rng.integers(2, 60)), int(rng.integers(2, CLASSES + 1))
    label = rng.integers(0, classes, n)
    predicted = np.where(rng.random(n) < rng.random(), label, rng.integers(0, CLASSES, n))
    return label, predicted, np.array([f"S{i}" for i in rng.integers(0, 4, n)])


@pytest.mark.parametrize("seed", range(30))
def test_scores_equal_those_of_scikit_learn(seed: int) -> None:
    label, predicted, subject = draw(seed)
    _, counts = confusion_by_subject(label, predicted, subject, classes=CLASSES)
    pooled = counts.sum(axis=0)
    with warnings.catch_warnings():
        # classes that are predicted but never true, which scikit-learn mentions
        warnings.simplefilter("ignore")
        wanted = {
            "macro_f1": f1_score(label, predicted, average="macro"),
            "balanced_accuracy": balanced_accuracy_score(label, predicted),
            "cohen_kappa": cohen_kappa_score(label, predicted),
        }
    assert set(METRICS) == set(wanted)
    for name, metric in METRICS.items():
        if np.isfinite(wanted[name]):
            np.testing.assert_allclose(metric(pooled), wanted[name], atol=1e-12, err_msg=name)


def test_scores_work_on_stacks_of_confusions() -> None:
    counts = np.random.default_rng(0).integers(0, 9, (3, 4, CLASSES, CLASSES))
    for metric in METRICS.values():
        stacked = metric(counts)
        assert stacked.shape == (3, 4)
        np.testing.assert_allclose(stacked[2, 1], metric(counts[2, 1]))


def test_perfect_and_hopeless_predictions_have_known_scores() -> None:
    perfect, wrong = np.diag([3, 4]), np.array([[0, 3], [4, 0]])
    np.testing.assert_allclose([m(perfect) for m in METRICS.values()], 1)
    np.testing.assert_allclose([macro_f1(wrong), balanced_accuracy(wrong)], 0)
    assert cohen_kappa(wrong) < 0


def test_kappa_is_zero_where_chance_explains_everything() -> None:
    np.testing.assert_allclose(cohen_kappa(np.array([[5, 0], [0, 0]])), 0)


def test_confusions_leave_out_unlabelled_windows_and_sort_subjects() -> None:
    names, counts = confusion_by_subject(
        np.array([0, 1, -1, 1]),
        np.array([0, 0, 0, 1]),
        np.array(["b", "a", "c", "a"]),
        classes=2,
    )
    np.testing.assert_array_equal(names, ["a", "b"])
    np.testing.assert_array_equal(counts, [[[0, 0], [1, 1]], [[1, 0], [0, 0]]])


def confusions(seed: int, *, seeds: int = 2, subjects: int = 9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.integers(0, 4, (seeds, subjects, 3, 3))
    return noise + rng.integers(2, 12, (seeds, subjects, 1, 1)) * np.eye(3, dtype=int)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_bootstrap_interval_holds_its_value_and_is_reproducible(name: str, seed: int) -> None:
    counts, metric = confusions(seed), METRICS[name]
    interval = bootstrap_score(counts, metric, seed=seed)
    assert interval == bootstrap_score(counts, metric, seed=seed)
    assert interval.low <= interval.value <= interval.high
    assert interval.n == 9
    wanted = np.mean([metric(one.sum(axis=0)) for one in counts])
    np.testing.assert_allclose(interval.value, wanted)


def test_another_seed_gives_another_interval_of_the_same_value() -> None:
    one, two = (bootstrap_score(confusions(0), macro_f1, seed=seed) for seed in (0, 1))
    assert one.value == two.value
    assert (one.low, one.high) != (two.low, two.high)


def test_one_subject_has_a_score_and_no_interval() -> None:
    counts = confusions(0, subjects=1)
    for found in (bootstrap_score(counts, macro_f1), paired_difference(counts, counts),
                  score_kept(counts, counts)):  # fmt: skip
        assert (found.low, found.high, found.n, found.told()) == (None, None, 1, "")


def test_the_share_kept_is_of_the_same_samples_of_subjects() -> None:
    left, whole = confusions(0), confusions(1)
    kept = score_kept(left, whole)
    wanted = bootstrap_score(left, macro_f1).value / bootstrap_score(whole, macro_f1).value
    np.testing.assert_allclose(kept.value, wanted)
    assert score_kept(left, left) == Interval(1.0, 1.0, 1.0, 9)
    assert score_kept(left, np.zeros_like(left)).value == 0


def test_scores_of_nobody_are_refused() -> None:
    with pytest.raises(DataError, match="score: no labelled test window"):
        bootstrap_score(np.zeros((1, 0, 3, 3), dtype=np.int64), macro_f1)


def test_every_bootstrap_sample_draws_as_many_subjects_as_there_are() -> None:
    draws = subject_draws(7, seed=0, draws=50)
    assert draws.shape == (50, 7)
    np.testing.assert_array_equal(draws.sum(axis=1), 7)


def test_a_sample_that_counts_everyone_once_is_the_pooled_score() -> None:
    counts = confusions(3)
    samples = Resampling(Design.of_people(counts), draws=5).scores(counts, macro_f1)[:1]
    np.testing.assert_allclose(samples, bootstrap_score(counts, macro_f1).value)


def test_paired_difference_of_a_known_case() -> None:
    perfect = np.broadcast_to(np.diag([4, 4]), (1, 3, 2, 2))
    worse = perfect.copy()
    worse[0, 0] = [[0, 4], [4, 0]]  # the first subject is got all wrong
    difference = paired_difference(perfect, worse)
    np.testing.assert_allclose(difference.value, 1 / 3)
    assert difference.n == 3
    # shares of the first subject in samples of three subjects: 0, 1/3, 2/3 or 1
    np.testing.assert_allclose([difference.low, difference.high], [0, 1])
    back = paired_difference(worse, perfect)
    np.testing.assert_allclose([back.value, back.low, back.high], [-1 / 3, -1, 0])


def test_paired_difference_averages_label_draws_first_and_pairs_by_subject() -> None:
    first, second = confusions(0, seeds=3), confusions(1, seeds=2)
    wanted = (macro_f1(first).mean(axis=0) - macro_f1(second).mean(axis=0)).mean()
    np.testing.assert_allclose(paired_difference(first, second).value, wanted)


def test_a_method_does_not_differ_from_itself() -> None:
    assert paired_difference(confusions(0), confusions(0)) == Interval(0.0, 0.0, 0.0, 9)


def test_a_subject_who_is_hard_for_both_does_not_widen_the_difference() -> None:
    easy, hard = np.diag([8, 8]), np.array([[4, 4], [4, 4]])
    both = np.stack([easy, hard, easy, hard])[None]
    difference = paired_difference(both, both.copy())
    assert difference.high - difference.low == 0
    assert bootstrap_score(both, macro_f1).high > bootstrap_score(both, macro_f1).low


def test_label_draws_and_seeds_widen_intervals_and_leave_values() -> None:
    counts = np.concatenate([confusions(0), confusions(1)])  # units that differ
    units, people = counts.shape[:2]
    design = Design(np.arange(people) % 2, seeds=2, draws=units // 2)
    alone, all_of_it = (bootstrap_score(counts, macro_f1, design=d)
                        for d in (Design.of_people(counts), design))  # fmt: skip
    assert alone.value == all_of_it.value
    assert all_of_it.high - all_of_it.low > alone.high - alone.low
    # where units are alike nothing but people varies
    same = np.repeat(counts[:1], 4, axis=0)
    design = Design(np.zeros(people, dtype=np.int64), seeds=2, draws=2)
    assert bootstrap_score(same, macro_f1, design=design) == bootstrap_score(same[:1], macro_f1)


def test_every_sample_draws_units_for_each_fold() -> None:
    fold = np.array([0, 0, 1])
    samples = Resampling(Design(fold, seeds=2, draws=3), draws=40)
    assert samples.units.shape == (41, 2, 6)
    np.testing.assert_array_equal(samples.units[0], [range(6), range(6)])
    drawn, seeds = samples.units % 3, samples.units // 3
    assert drawn.max() == 2
    assert seeds.max() == 1
    # a sample is a whole table: each of its seeds with each of its draws
    table = samples.units[1:].reshape(40, 2, 2, 3)
    assert (table // 3 == (table // 3)[..., :1]).all()
    assert (table % 3 == (table % 3)[..., :1, :]).all()
    assert (samples.units[1:, 0] != samples.units[1:, 1]).any()
    # means of what differs by fold and unit, by hand for one sample
    values = np.arange(18.0).reshape(6, 3)
    by_hand = (
        sum(samples.weight[7, n] * values[samples.units[7, fold[n]], n].mean() for n in range(3))
        / 3
    )
    np.testing.assert_allclose(samples.means(values)[7], by_hand)


@pytest.mark.parametrize(("values", "wanted"), [
    ([1.0, 2.0, 3.0], 2 / 8), ([1.0, -1.0], 1.0), ([0.0, 0.0, 0.0], 1.0),
    ([1.0] * 12, 2 / 4096), ([1.0, 1.0, -1.0, 1.0], 10 / 16),
])  # fmt: skip
def test_signs_are_flipped_in_every_way(values: list[float], wanted: float) -> None:
    np.testing.assert_allclose(sign_flip_p(np.array(values)), wanted)


def test_of_many_people_signs_are_drawn() -> None:
    assert sign_flip_p(np.ones(30)) == 1 / 20001
    rng = np.random.default_rng(0)
    p = [sign_flip_p(rng.normal(size=20), seed=i) for i in range(40)]
    assert 0.3 < np.mean(p) < 0.7


def counted(seed: int, units: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 9, size=(units, 5, 3, 3))


def test_samples_are_drawn_once_for_a_design_and_scored_once_for_the_same_counts() -> None:
    design = Design(np.array([0, 0, 1, 1, 2]), seeds=2, draws=3)
    samples = Resampling.of(design, seed=7)
    assert Resampling.of(Design(design.fold.copy(), 2, 3), seed=7) is samples
    assert Resampling.of(design, seed=8) is not samples
    asked: list[int] = []

    def metric(counts: np.ndarray) -> np.ndarray:
        asked.append(len(counts))
        return macro_f1(counts)

    first = samples.scores(counted(0), metric)
    times = len(asked)
    assert samples.scores(counted(0).copy(), metric) is first
    assert len(asked) == times
    assert not np.array_equal(samples.scores(counted(1), metric), first)
    np.testing.assert_array_equal(Resampling(design, seed=7).scores(counted(0), macro_f1), first)
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 0  # it is everybody's


def test_several_metrics_of_the_same_samples_are_what_each_is_alone() -> None:
    design = Design(np.array([0, 0, 1, 1, 2]), seeds=2, draws=3)
    found = bootstrap_scores(counted(0), METRICS, main="macro_f1", design=design)
    for name, metric in METRICS.items():
        assert found[name] == bootstrap_score(counted(0), metric, design=design)
    with pytest.raises(DataError, match="no labelled test window"):
        bootstrap_scores(counted(0)[:, :0], METRICS, main="macro_f1", design=design)
