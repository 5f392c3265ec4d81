"""What is compared when sensors are missing: the same windows of the same people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.evaluate.latents import LatentTable
from crossl.evaluate.metrics import Interval
from crossl.evaluate.paired import Pairing, all_records, kept_records, shapley_records
from crossl.evaluate.results import Key, ResultBook
from crossl.evaluate.summary import _Compared, findings_in_words
from crossl.tasks.confusion import macro_f1

NAMES = ("phone", "watch")
MAIN = Key("crossl", "crossl", "aggregator", 0.1, NAMES)
STREAMS = [{"name": name, "device": name} for name in NAMES]
PEOPLE = ("A", "B", "C")
WINDOWS = 20


def table() -> LatentTable:
    """A and B have both; C never wore the watch."""
    present = torch.ones(3 * WINDOWS, 2, dtype=torch.bool)
    present[2 * WINDOWS :, 1] = False
    label = np.tile([0, 1], 3 * WINDOWS // 2)
    return LatentTable(None, torch.zeros(3 * WINDOWS, 2, 1), present, label,  # type: ignore[arg-type]
                       np.repeat(PEOPLE, WINDOWS))  # fmt: skip


def wrong(label: np.ndarray, first: int, count: int) -> np.ndarray:
    """Let a person be got wrong in some windows."""
    out = label.copy()
    out[first * WINDOWS : first * WINDOWS + count] ^= 1
    return out


def make_book(*, told: bool = True) -> tuple[ResultBook, dict[tuple[int, ...], np.ndarray]]:
    """With all: C is got half wrong. Phone alone costs A 4 and B 2, watch alone costs A 6."""
    t, book = table(), ResultBook("tiny", ("a", "b"), NAMES)
    whole = wrong(t.label, 2, 10)
    said = {
        (0, 1): whole,
        (0,): wrong(wrong(whole, 0, 4), 1, 2),
        (1,): wrong(whole, 0, 6),
    }
    for subset, predicted in said.items():
        known = {"whole": whole, "complete": np.asarray(t.present.all(dim=1))} if told else {}
        shown = t.comparable(subset) if told else t.usable(subset)
        book.add(replace(MAIN, present=tuple(NAMES[i] for i in subset)), fold=0, seed=0,
                 label=np.where(shown, t.label, -1), predicted=predicted, subject=t.subject,
                 **known)  # fmt: skip
    return book, said


def score(label: np.ndarray, predicted: np.ndarray, rows: slice) -> float:
    counts = np.zeros((2, 2))
    np.add.at(counts, (label[rows], predicted[rows]), 1)
    return float(macro_f1(counts))


BOTH = slice(0, 2 * WINDOWS)


def test_windows_are_compared_that_have_all_that_is_taken_away_and_something_left() -> None:
    present = torch.tensor([[1, 1, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 0, 1], [1, 0, 0]]) > 0
    t = LatentTable(None, torch.zeros(6, 3, 1), present, np.zeros(6, int), np.array(["a"] * 6))  # type: ignore[arg-type]
    assert t.comparable((0, 1, 2)).all()
    assert t.comparable((0, 1)).tolist() == [True, False, True, True, False, False]
    assert t.comparable((0,)).tolist() == [True, False, False, False, False, False]


def test_what_is_kept_is_of_those_who_have_what_is_missing() -> None:
    book, said = make_book()
    label = table().label
    records = {(r["metric"], *r["present"]): r for r in kept_records(book)}
    whole = score(label, said[0, 1], BOTH)
    assert whole == 1.0
    for name, subset in (("phone", (0,)), ("watch", (1,))):
        left = score(label, said[subset], BOTH)
        kept = records["macro_f1_kept", name]
        np.testing.assert_allclose(kept["value"], left / whole)
        assert kept["n"] == 2
        assert records["macro_f1_with_all", name]["value"] == whole
        (row,) = [r for r in all_records(book) if r["metric"] == "macro_f1" and r["fold"] is None
                  and r["present"] == [name]]  # fmt: skip
        np.testing.assert_allclose(row["value"], left)
    # unpaired, the phone missing would have looked like a gain
    assert score(label, said[1,], BOTH) > score(label, said[0, 1], slice(None))


def test_the_sentences_are_paired_and_count_people() -> None:
    book, said = make_book()
    left = score(table().label, said[1,], BOTH)
    told = findings_in_words(book, MAIN, STREAMS)
    assert f"nothing retrained, {left:.3f} is left of 1.000: {left:.0%} [" in told[0]
    assert "of the score of the same 2 people with all that they have." in told[0]
    assert "where the same 2 people with all modalities reach 1.000" in told[-1]


def test_one_person_has_no_interval() -> None:
    t, book = table(), ResultBook("tiny", ("a", "b"), NAMES)
    only = np.where(t.subject == "B", -1, t.label)
    for subset in ((0, 1), (0,), (1,)):
        book.add(replace(MAIN, present=tuple(NAMES[i] for i in subset)), fold=0, seed=0,
                 label=np.where(t.comparable(subset), only, -1), predicted=t.label,
                 subject=t.subject, whole=t.label, complete=t.present.numpy().all(1))  # fmt: skip
    rows = [r for r in all_records(book) if r["fold"] is None]
    alone = [r for r in rows if r["n"] == 1]
    assert {r["metric"] for r in alone} >= {"macro_f1", "macro_f1_kept", "shapley"}
    assert all(r["ci_low"] is None and r["ci_high"] is None for r in alone)
    told = findings_in_words(book, MAIN, STREAMS)
    assert "1.000 is left of 1.000: 100% of the score of the same person" in told[0]


def test_shapley_values_are_of_windows_with_every_modality() -> None:
    book, said = make_book()
    label = table().label
    records = list(shapley_records(book))
    assert [r["n"] for r in records] == [2, 2]
    full, phone, watch = (score(label, said[s], BOTH) for s in ((0, 1), (0,), (1,)))
    guess = 1 / 3
    np.testing.assert_allclose(
        [r["value"] for r in records],
        [(phone - guess + full - watch) / 2, (watch - guess + full - phone) / 2],
    )


def test_nobody_to_compare_is_said_and_makes_no_number() -> None:
    t, book = table(), ResultBook("tiny", ("a", "b"), NAMES)
    only = np.where(t.subject == "C", t.label, -1)
    for subset in ((0, 1), (0,), (1,)):
        book.add(replace(MAIN, present=tuple(NAMES[i] for i in subset)), fold=0, seed=0,
                 label=np.where(t.comparable(subset), only, -1), predicted=t.label,
                 subject=t.subject, whole=t.label, complete=t.present.numpy().all(1))  # fmt: skip
    assert {tuple(r["present"]) for r in all_records(book)} == {NAMES}
    told = findings_in_words(book, MAIN, STREAMS)
    assert told[0].startswith("No test person has both the phone and another device")


def test_what_is_compared_is_kept_in_the_file(tmp_path: Path) -> None:
    book, _ = make_book()
    book.save(tmp_path / "scores.npz")
    assert all_records(ResultBook.load(tmp_path / "scores.npz")) == all_records(book)


def test_older_results_are_compared_only_where_everybody_has_everything() -> None:
    book, _ = make_book(told=False)
    assert {tuple(r["present"]) for r in kept_records(book)} == {("watch",)}  # C is not in it
    pairing = Pairing(book)
    (full, *_), design = pairing.complete([replace(MAIN, present=p) for p in (NAMES, ("phone",))])
    assert full.shape[1] == len(design.fold) == 2  # windows alike everywhere
    book.entries = [replace(e, subjects=e.subjects[:2], confusion=e.confusion[:2])
                    for e in book.entries]  # fmt: skip
    assert [r["n"] for r in kept_records(book)] == [2, 2, 2, 2]


@pytest.mark.parametrize("subset", [(0,), (1,)])
def test_a_probe_for_each_subset_is_scored_on_the_same_windows(subset: tuple[int, ...]) -> None:
    t, (book, _) = table(), make_book()
    key = replace(MAIN, method="crossl, probe per subset", present=(NAMES[subset[0]],))
    book.add(key, fold=0, seed=0, label=np.where(t.comparable(subset), t.label, -1),
             predicted=t.label, subject=t.subject)  # fmt: skip
    assert book.pooled(key)[0] == book.pooled(replace(MAIN, present=key.present))[0] == ("A", "B")


def test_shapley_values_of_probes_for_each_subset_need_no_other_predictions() -> None:
    t, (book, said) = table(), make_book()
    for subset, predicted in said.items():
        key = replace(MAIN, method="reference", present=tuple(NAMES[i] for i in subset))
        label, complete = np.where(t.comparable(subset), t.label, -1), t.present.numpy().all(1)
        book.add(key, fold=0, seed=0, label=label, predicted=predicted, subject=t.subject,
                 complete=complete)  # fmt: skip
    found = {(r["method"], *r["present"]): (r["value"], r["n"]) for r in shapley_records(book)}
    for name in NAMES:
        assert found["reference", name] == found["crossl", name]


def test_each_label_fraction_is_told_apart_by_its_own_numbers() -> None:
    t, book = table(), ResultBook("tiny", ("a", "b"), NAMES)
    for method, recipe, cost in (("crossl", "crossl", 0), ("supervised", None, 4)):
        for fraction in (0.005, 1.0):
            key = Key(method, recipe, "aggregator", fraction, NAMES)
            said = t.label.copy()
            for person in range(3):
                said = wrong(said, person, cost if fraction < 1 else 0)
            book.add(key, fold=0, seed=0, label=t.label, predicted=said, subject=t.subject)
    (told,) = findings_in_words(book, replace(MAIN, label_fraction=1.0), STREAMS[:1], numbers=False)
    assert told == (
        "With all sensors, crossl is ahead of the same network trained on the same labels alone at "
        "0.5%, about level with it at 100% of the labels. 3 people are too few for a significant "
        "difference."
    )
    (full,) = findings_in_words(book, replace(MAIN, label_fraction=1.0), STREAMS[:1])
    assert full.startswith(told)
    assert "1.000 against 0.800 at 0.5% (+0.200 [+0.200, +0.200])" in full
    assert full.endswith("differences are paired by subject, 3 people.")


@pytest.mark.parametrize(("people", "ahead", "level"), [
    (5, "ahead of", "about level with"),  # signs that all agree have a probability of 2 / 32
    (6, "better than", "not significantly different from"),
])  # fmt: skip
def test_nothing_is_called_better_of_too_few_people(people: int, ahead: str, level: str) -> None:
    assert _Compared(0.1, 0.9, 0.8, Interval(0.1, 0.05, 0.15, people)).verdict == ahead
    assert _Compared(0.1, 0.9, 0.8, Interval(0.1, -0.05, 0.15, people)).verdict == level


def book_of_three(main: float, other: float) -> ResultBook:
    """Three sensors; D and E of two folds never wore the third; two label draws."""
    names, rng = ("acc", "gyro", "ecg"), np.random.default_rng(0)
    book = ResultBook("tiny", ("a", "b"), names)
    for method, right in (("crossl", main), ("forest", other)):
        for present in (names, names[:2], names[1:], names[::2]):
            for fold, people in enumerate((["A", "B", "D"], ["C", "E"])):
                label = np.tile([0, 1], 10 * len(people))
                subject = np.repeat(people, 20)
                lacks = np.isin(subject, ["D", "E"]) & (present == names[:2])
                for seed in (0, 1):
                    said = np.where(rng.random(len(label)) < right, label, 1 - label)
                    key = Key(method, None, None, 0.1, present)
                    book.add(key, fold=fold, seed=seed, label=np.where(lacks, -1, label),
                             predicted=said, subject=subject)  # fmt: skip
    return book


def test_one_missing_is_of_people_who_are_scored_without_each_sensor() -> None:
    book = book_of_three(0.9, 0.6)
    found = [r for r in all_records(book, "crossl") if "one_missing" in r["metric"]]
    assert {(r["method"], r["metric"], r["n"]) for r in found} == {
        ("crossl", "macro_f1_one_missing", 3), ("forest", "macro_f1_one_missing", 3),
        ("crossl - forest", "macro_f1_one_missing_difference", 3),
    }  # fmt: skip
    scores = []
    for present in (("acc", "gyro"), ("gyro", "ecg"), ("acc", "ecg")):
        people, counts = book.pooled(Key("crossl", None, None, 0.1, present))
        scores.append(macro_f1(counts[:, [people.index(name) for name in "ABC"]]))
    own = next(r for r in found if r["method"] == "crossl")
    assert own["value"] == pytest.approx(float(np.mean(scores)))
    assert own["ci_low"] < own["value"] < own["ci_high"]


def test_draws_that_seeds_share_out_are_paired_with_the_same_draws_of_others() -> None:
    names, rng = ("acc",), np.random.default_rng(0)
    book = ResultBook("tiny", ("a", "b"), names)
    label, subject = np.tile([0, 1], 40), np.repeat(["A", "B", "C", "D"], 20)
    for draw in range(4):  # what is said depends on the draw alone, and is the same of both methods
        said = np.where(rng.random(80) < 0.5 + 0.12 * draw, label, 1 - label)
        for method, seeds in (("crossl", (0, 1)), ("finetuned", (draw % 2,))):
            for seed in seeds:
                key = Key(method, None, None, 0.1, names)
                book.add(key, fold=0, seed=draw, label=label, predicted=said, subject=subject,
                         model_seed=seed)  # fmt: skip
    (found,) = [r for r in all_records(book, "crossl") if r["metric"] == "macro_f1_difference"]
    assert (found["ci_low"], found["ci_high"]) == pytest.approx((0, 0), abs=1e-12)
