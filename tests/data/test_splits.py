"""Partitions never share a subject; label fractions are stratified and seeded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.splits import (
    Fold,
    draw_labels,
    fold_from_subjects,
    group_subjects,
    official_fold,
    published_parts,
    subject_folds,
)
from crossl.errors import DataError, SplitError


def who(windows):
    """Name the subject of each window, mixed up."""
    names = np.repeat([f"S{i}" for i in range(len(windows))], windows)
    return np.random.default_rng(0).permutation(names)


@given(
    st.lists(st.integers(1, 5), min_size=4, max_size=14),
    st.integers(2, 8),
    st.integers(0, 1000),
    st.floats(0.01, 0.4),
)
@settings(max_examples=60, deadline=None)
def test_folds_share_no_subject_and_test_each_exactly_once(windows, folds, seed, share):
    subject, folds = who(windows), min(folds, len(windows))
    made = subject_folds(subject, folds=folds, seed=seed, validation_share=share)
    assert [fold.index for fold in made] == list(range(folds))
    for fold in made:
        parts = [set(subject[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert all(parts)
        assert sum(len(part) for part in parts) == len(windows) == len(set().union(*parts))
        rows = np.concatenate([fold.train, fold.validation, fold.test])
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(subject)))
    tested = [name for fold in made for name in sorted(set(subject[fold.test]))]
    assert sorted(tested) == sorted(set(subject))


def test_the_seed_decides_and_the_order_of_windows_does_not():
    subject = who([3] * 9)
    tested = [
        [sorted(set(s[f.test])) for f in subject_folds(s, folds=3, seed=seed)]
        for s, seed in ((subject, 1), (subject, 1), (subject[::-1], 1), (subject, 2))
    ]
    assert tested[0] == tested[1] == tested[2] != tested[3]


@pytest.mark.parametrize(("subjects", "folds", "needed"), [
    (1, 2, 4), (2, 2, 4), (3, 2, 4), (2, 3, 3), (4, 5, 5),
])  # fmt: skip
def test_too_few_subjects_are_refused_with_how_many_are_needed(subjects, folds, needed):
    message = rf"{folds} folds of {subjects} subjects?;.*at least {needed}:"
    with pytest.raises(SplitError, match=message):
        subject_folds(who([4] * subjects), folds=folds, seed=0)


@pytest.mark.parametrize("folds", [2, 3, 7])
def test_just_enough_subjects_are_accepted(folds):
    assert len(subject_folds(who([2] * max(folds, 4 if folds == 2 else 3)), folds=folds, seed=0))


@pytest.mark.parametrize("folds", [1, 0, -2])
def test_fewer_than_two_folds_are_refused(folds):
    with pytest.raises(SplitError, match=f"folds: got {folds}; at least 2 are needed"):
        subject_folds(who([1] * 9), folds=folds, seed=0)


def test_a_fold_of_named_subjects_holds_their_windows():
    subject = np.array(["a", "b", "a", "c", "d"])
    fold = fold_from_subjects(subject, train=["a"], validation=["b"], test=["d"], index=3)
    assert (fold.train.tolist(), fold.validation.tolist(), fold.test.tolist()) == ([0, 2], [1], [4])
    assert fold.index == 3


@pytest.mark.parametrize("parts", [
    (["a", "b"], ["b"], ["c"]), (["a"], ["b"], ["a", "c"]), (["a"], ["b", "c"], ["b"]),
])  # fmt: skip
def test_a_subject_in_two_parts_is_refused(parts):
    train, validation, test = parts
    with pytest.raises(SplitError, match=r"subject '[ab]' is in .* and in .*; a subject belongs"):
        fold_from_subjects(np.array(list("abc")), train=train, validation=validation, test=test)


def test_rows_that_share_a_subject_are_refused_whoever_made_them():
    rows = [np.array([i]) for i in range(3)]
    with pytest.raises(SplitError, match="fold 0: subject 'a' is in train and in test"):
        Fold(*rows).check(np.array(["a", "b", "a"]))


def test_an_unknown_subject_is_refused():
    with pytest.raises(SplitError, match="fold 0: test names subject 'x', who has no window"):
        fold_from_subjects(np.array(list("abc")), train=["a"], validation=["b"], test=["c", "x"])


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_an_empty_part_is_refused(part):
    named = {"train": ["a"], "validation": ["b"], "test": ["c"]} | {part: []}
    with pytest.raises(SplitError, match=f"fold 0: {part} has no window; every part needs some"):
        fold_from_subjects(np.array(list("abc")), **named)


# --- draw_labels


@given(
    st.lists(st.integers(-1, 3), min_size=8, max_size=80),
    st.floats(0.001, 1.0),
    st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_a_draw_is_stratified_within_the_rows_and_has_each_class(label, fraction, seed):
    label = np.array([0, 1, *label])
    rows = np.r_[0, 1, np.arange(2, len(label), 2)]
    drawn = draw_labels(label, rows, fraction=fraction, seed=seed)
    assert set(drawn) <= set(rows)
    np.testing.assert_array_equal(drawn, np.unique(drawn))
    assert (label[drawn] >= 0).all()
    for one in np.unique(label[rows][label[rows] >= 0]):
        available = int((label[rows] == one).sum())
        assert int((label[drawn] == one).sum()) == max(1, round(fraction * available))


def test_a_draw_repeats_with_its_seed_only():
    label = np.tile([0, 1], 100)
    rows = np.arange(200)
    one, again, other = (draw_labels(label, rows, fraction=0.1, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert set(one) != set(other)


def test_the_whole_fraction_gives_every_labelled_row():
    label = np.array([0, -1, 1, 1])
    drawn = draw_labels(label, np.array([3, 2, 1, 0]), fraction=1.0, seed=0)
    np.testing.assert_array_equal(drawn, [0, 2, 3])


@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, np.nan])
def test_an_impossible_fraction_is_refused(fraction):
    with pytest.raises(SplitError, match=r"labels: fraction is .*; allowed is 0 < fraction <= 1"):
        draw_labels(np.array([0, 1]), np.arange(2), fraction=fraction, seed=0)


@pytest.mark.parametrize(("label", "message"), [
    ([1, 1, -1], r"fold 2: 2 labelled windows of 1 class; a classifier needs at least 2"),
    ([-1, -1, -1], r"fold 2: 0 labelled windows of 0 classes"),
])  # fmt: skip
def test_fewer_than_two_classes_are_refused(label, message):
    with pytest.raises(SplitError, match=message):
        draw_labels(np.array(label), np.arange(3), fraction=1.0, seed=0, where="fold 2")


def test_fewer_labelled_windows_than_classes_are_refused():
    label = np.array([0, 1, 2, -1])
    with pytest.raises(DataError, match="3 labelled training windows for 4 classes; at least one"):
        draw_labels(label, np.arange(4), fraction=0.5, seed=0, classes=4)


@given(st.integers(4, 14), st.integers(2, 6), st.integers(0, 100), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_a_group_is_never_parted_and_each_subject_is_tested_once(subjects, folds, seed, draw):
    subject = who([3] * subjects)
    of = np.random.default_rng(draw).integers(0, max(4, subjects - 2), subjects)
    group = np.array([f"G{of[int(name[1:])]:02d}" for name in subject])
    folds = min(folds, len(set(group)))
    if len(set(group)) < (4 if folds == 2 else 3) or folds < 2:
        return
    made = subject_folds(subject, folds=folds, seed=seed, group=group)
    for fold in made:
        parts = [set(group[rows]) for rows in (fold.train, fold.validation, fold.test)]
        assert all(parts)
        assert sum(len(part) for part in parts) == len(set().union(*parts))
    tested = [name for fold in made for name in sorted(set(subject[fold.test]))]
    assert sorted(tested) == sorted(set(subject))


def test_subjects_alone_are_split_as_without_groups():
    subject = who([3] * 9)
    alone = subject_folds(subject, folds=3, seed=1)
    for one, two in zip(alone, subject_folds(subject, folds=3, seed=1, group=subject), strict=True):
        np.testing.assert_array_equal(one.test, two.test)
        np.testing.assert_array_equal(one.validation, two.validation)


def test_who_shares_a_group_with_who_shares_another_stays_together():
    pairs = (("d", ""), ("c", "x"), ("b", "y"), ("c", "y"), ("a", "z"), ("e", "x"))
    recordings = [{"subject": subject, "group": group} for subject, group in pairs]
    assert group_subjects(recordings) == {"d": "d", "c": "b", "b": "b", "a": "a", "e": "b"}


def test_groups_count_where_there_are_too_few_to_part():
    subject = who([3] * 5)
    group = np.where(np.isin(subject, ["S0", "S1", "S2"]), "S0", subject)
    with pytest.raises(SplitError, match=r"2 folds of 5 subjects in 3 groups; .* at least 4"):
        subject_folds(subject, folds=2, seed=0, group=group)


PUBLISHED = [{"subject": f"S{i}", "split": "test" if i < 3 else "train"} for i in range(9)]


def test_the_official_split_tests_whom_the_publishers_test():
    subject = who([3] * 9)
    fold = official_fold(subject, published_parts(PUBLISHED), seed=0)
    assert set(subject[fold.test]) == {"S0", "S1", "S2"}
    assert len(set(subject[fold.validation])) == 1
    assert len(set(subject[fold.train])) == 5
    named = [*PUBLISHED[:8], {"subject": "S8", "split": "validation"}]
    fold = official_fold(subject, published_parts(named), seed=0)
    assert set(subject[fold.validation]) == {"S8"}


@pytest.mark.parametrize(("recordings", "message"), [
    ([{"subject": "a"}, {"subject": "b"}], "is 'official', but these recordings name no published"),
    ([*PUBLISHED, {"subject": "S8", "split": "test"}], "'S8' is in the published test and train;"),
    ([*PUBLISHED, {"subject": "x"}], "'x' is in no part of the published split"),
])  # fmt: skip
def test_an_official_split_that_is_none_is_refused(recordings, message):
    with pytest.raises(SplitError, match=message):
        published_parts(recordings)


def test_an_official_split_that_parts_a_group_is_refused():
    subject = who([3] * 9)
    group = np.where(np.isin(subject, ["S0", "S8"]), "copies", subject)
    with pytest.raises(SplitError, match="group of subjects 'copies' is in"):
        official_fold(subject, published_parts(PUBLISHED), seed=0, group=group)
