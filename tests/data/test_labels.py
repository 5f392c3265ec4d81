"""Labels that files carry: which of them end others, and how much time has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from crossl.data.formats import FileContent
from crossl.data.own.mapping.labels import Names, annotated, left_unlabelled
from crossl.data.recording import LabelInterval


def content(*marks, end_s=60.0, timed=()):
    """Marks without an end, at (start, label), and labels with one."""
    starts = sorted(start for start, _ in marks)
    labels = [
        LabelInterval(start, min([s for s in starts if s > start], default=end_s), text)
        for start, text in marks
    ]
    return FileContent(
        Path(), (), (*labels, *(LabelInterval(*one) for one in timed)),
        open_ended=dict.fromkeys(range(len(marks)), "marks"),
    )  # fmt: skip


def kept(content, *classes):
    names = Names(classes)
    found = [one for one in annotated(content, names) if names.keeps(one.label)]
    return [(one.start_s, one.end_s, one.label) for one in found]


def test_what_is_not_among_the_classes_ends_no_label():
    marks = content((0, "rest"), (10, "blink"), (12, "blink"), (30, "walk"), (50, "blink"))
    assert kept(marks, "rest", "walk") == [(0, 30, "rest"), (30, 60, "walk")]


def test_what_is_among_the_classes_ends_one():
    marks = content((0, "rest"), (10, "blink"), (30, "walk"))
    assert kept(marks, "rest", "walk", "blink") == [
        (0, 10, "rest"), (10, 30, "blink"), (30, 60, "walk")]  # fmt: skip


def test_a_state_that_was_not_asked_for_ends_one_where_it_is_announced_again():
    marks = content((0, "rest"), (10, "sport"), (30, "rest"), (40, "film"), (50, "walk"))
    assert kept(marks, "rest", "walk") == [(0, 10, "rest"), (30, 50, "rest"), (50, 60, "walk")]


def test_a_label_with_an_end_of_its_own_keeps_it_and_ends_open_ones():
    marks = content((0, "rest"), timed=[(20, 25, "walk"), (22, 23, "blink")])
    assert kept(marks, "rest", "walk") == [(0, 20, "rest"), (20, 25, "walk")]


@pytest.mark.parametrize(("kept", "said"), [
    ([], "blink (2 times, 15 s), talk (1 time, 5 s)"),
    ([LabelInterval(30, 32, "rest")], "blink (2 times, 15 s), talk (1 time, 5 s)"),
    ([LabelInterval(0, 22, "rest")], "blink (2 times, 3 s), talk (1 time, within others)"),
])  # fmt: skip
def test_the_time_that_is_left_unlabelled_is_told(kept, said):
    others = [LabelInterval(0, 5, "talk"), LabelInterval(5, 10, "blink"),
              LabelInterval(15, 25, "blink")]  # fmt: skip
    assert left_unlabelled(others, kept) == said
