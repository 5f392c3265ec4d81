"""Shapley values, and the book of results."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest

from crossl.errors import DataError, FormatError
from crossl.evaluate.metrics import bootstrap_score
from crossl.evaluate.missing import predict_subsets, shapley_values
from crossl.evaluate.paired import all_records, shapley_records
from crossl.evaluate.results import (
    Key,
    ResultBook,
    difference_records,
    write_records,
)
from crossl.tasks.confusion import macro_f1

RECORD_KEYS = {
    "dataset", "method", "recipe", "head", "label_fraction", "present", "budget", "fold",
    "model_seed", "seed", "subject", "metric", "value", "ci_low", "ci_high", "n", "p",
}  # fmt: skip
MODALITIES = ("acc", "gyro", "ecg")


def every_subset(m: int) -> list[tuple[int, ...]]:
    return [s for size in range(m + 1) for s in combinations(range(m), size)]


def game(m: int, seed: int) -> dict[tuple[int, ...], float]:
    rng = np.random.default_rng(seed)
    return {subset: float(rng.normal()) for subset in every_subset(m)}


@pytest.mark.parametrize("m", [1, 2, 3, 4, 5])
def test_shapley_values_equal_the_mean_over_all_orders_of_arrival(m: int) -> None:
    worth = game(m, seed=m)
    wanted = np.zeros(m)
    for order in permutations(range(m)):
        for place, one in enumerate(order):
            before = tuple(sorted(order[:place]))
            wanted[one] += worth[tuple(sorted((*before, one)))] - worth[before]
    orders = len(list(permutations(range(m))))
    np.testing.assert_allclose(shapley_values(worth, m), wanted / orders)


@pytest.mark.parametrize("m", [2, 4])
def test_shapley_values_add_up_to_all_minus_none(m: int) -> None:
    worth = game(m, seed=0)
    np.testing.assert_allclose(sum(shapley_values(worth, m)), worth[tuple(range(m))] - worth[()])


def test_sensors_that_do_the_same_are_worth_the_same() -> None:
    worth = {s: float(len(s) ** 2 + (2 in s)) for s in every_subset(3)}
    first, second, third = shapley_values(worth, 3)
    np.testing.assert_allclose(first, second)
    np.testing.assert_allclose(third, first + 1)


def test_a_sensor_that_adds_nothing_is_worth_nothing() -> None:
    base = game(2, seed=0)
    worth = {s: base[tuple(i for i in s if i < 2)] for s in every_subset(3)}
    np.testing.assert_allclose(shapley_values(worth, 3)[2], 0, atol=1e-12)


def test_shapley_values_of_arrays_are_those_of_each_entry() -> None:
    games = [game(3, seed=seed) for seed in range(4)]
    stacked = {s: np.array([g[s] for g in games]) for s in every_subset(3)}
    wanted = np.array([shapley_values(g, 3) for g in games]).T
    np.testing.assert_allclose(shapley_values(stacked, 3), wanted)


def make_book(*, methods: tuple[str, ...] = ("crossl", "supervised"), seed: int = 0) -> ResultBook:
    """Two folds of two subjects, two label draws, every subset; more sensors, fewer mistakes."""
    rng = np.random.default_rng(seed)
    book = ResultBook("tiny", ("a", "b", "c"), MODALITIES)
    for method in methods:
        recipe = "crossl" if method == "crossl" else None
        for subset in every_subset(3)[1:]:
            present = tuple(MODALITIES[i] for i in subset)
            key = Key(method, recipe, "aggregator", 0.1, present)
            for fold in (0, 1):
                label = np.tile([0, 1, 2], 20)
                subject = np.repeat([f"S{2 * fold}", f"S{2 * fold + 1}"], 30)
                for draw in (0, 1):
                    right = rng.random(60) < 0.3 + 0.2 * len(subset)
                    predicted = np.where(right, label, rng.integers(0, 3, 60))
                    book.add(key, fold=fold, seed=draw, label=label, predicted=predicted,
                             subject=subject)  # fmt: skip
    return book


FULL = Key("crossl", "crossl", "aggregator", 0.1, MODALITIES)


def test_a_saved_book_is_the_same_when_loaded(tmp_path: Path) -> None:
    book = make_book()
    book.save(tmp_path / "scores.npz")
    again = ResultBook.load(tmp_path / "scores.npz")
    assert (again.dataset, again.classes, again.modalities) == ("tiny", ("a", "b", "c"), MODALITIES)
    assert all_records(again) == all_records(book)
    assert [p.name for p in tmp_path.iterdir()] == ["scores.npz"]


def test_a_book_is_a_few_arrays_however_many_scores_it_has(tmp_path: Path) -> None:
    book = make_book()
    book.save(tmp_path / "scores.npz")
    with np.load(tmp_path / "scores.npz") as archive:
        assert len(archive.files) < len(book.entries)


def apart(path: Path) -> None:
    """Write the file as it was before arrays were stacked."""
    book = ResultBook.load(path)
    with np.load(path) as archive:
        head = json.loads(str(archive["head"]))
    arrays = {}
    for number, (told, entry) in enumerate(zip(head["entries"], book.entries, strict=True)):
        del told["at"]
        arrays[str(number)] = entry.confusion
        parts = {"whole": entry.whole, "complete": entry.complete}
        arrays |= {f"{number}/{name}": part for name, part in parts.items() if part is not None}
    np.savez_compressed(path, head=np.array(json.dumps(head)), **arrays)


def test_a_book_of_before_its_arrays_were_stacked_is_read(tmp_path: Path) -> None:
    book, path = make_book(), tmp_path / "scores.npz"
    book.save(path)
    apart(path)
    assert all_records(ResultBook.load(path)) == all_records(book)


def damage_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0xFF
    path.write_bytes(bytes(content))


def damage_all(path: Path) -> None:
    path.write_bytes(b"")


def damage_text(path: Path) -> None:
    path.write_text("no scores")


def damage_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def damage_place(path: Path) -> None:
    with np.load(path) as archive:
        arrays = {name: part[:1] if name != "head" else part for name, part in archive.items()}
    np.savez(path, **arrays)


def damage_member(path: Path) -> None:
    np.savez(path, other=np.zeros(3))


@pytest.mark.parametrize(
    "damage",
    [damage_half, damage_byte, damage_all, damage_text, damage_array, damage_member, damage_place],
)
def test_a_damaged_book_is_refused(damage: object, tmp_path: Path) -> None:
    path = tmp_path / "scores.npz"
    make_book().save(path)
    damage(path)  # type: ignore[operator]
    with pytest.raises(FormatError, match=r"scores.npz: .*; run the experiment again"):
        ResultBook.load(path)


def test_a_missing_book_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="run the experiment again"):
        ResultBook.load(tmp_path / "none.npz")


def test_a_save_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez_compressed", fail)
    with pytest.raises(KeyboardInterrupt):
        make_book().save(tmp_path / "scores.npz")
    assert not list(tmp_path.iterdir())


def test_folds_are_pooled_by_key() -> None:
    book = make_book()
    subjects, counts = book.pooled(FULL)
    assert subjects == ("S0", "S1", "S2", "S3")
    assert counts.shape == (2, 4, 3, 3)
    assert counts.sum() == 2 * 4 * 30
    first = [e for e in book.entries if e.key == FULL and (e.fold, e.seed) == (1, 1)][0]  # noqa: RUF015
    np.testing.assert_array_equal(counts[1, 2:], first.confusion)


def test_pooling_counts_label_draws_that_every_fold_has() -> None:
    book = make_book()
    book.entries = [e for e in book.entries if (e.fold, e.seed) != (1, 1)]
    assert book.pooled(FULL)[1].shape == (1, 4, 3, 3)


def test_a_key_without_scores_is_refused() -> None:
    unknown = Key("paper", "paper", "aggregator", 0.1, MODALITIES)
    with pytest.raises(DataError, match=r"results: method 'paper' .* has no scores"):
        make_book().pooled(unknown)


def test_folds_without_a_common_label_draw_are_refused() -> None:
    book = make_book()
    book.entries = [e for e in book.entries if e.fold == e.seed]
    with pytest.raises(DataError, match=r"results: method 'crossl' .* has no scores"):
        book.pooled(FULL)


def test_a_subset_that_no_test_window_has_adds_no_scores() -> None:
    book = make_book(methods=())
    unlabelled = np.full(3, -1)
    book.add(FULL, fold=0, seed=0, label=unlabelled, predicted=np.zeros(3, dtype=np.int64),
             subject=np.array(["a", "b", "c"]))  # fmt: skip
    assert book.entries == []
    assert all_records(book) == []


def test_records_have_exactly_the_documented_keys(tmp_path: Path) -> None:
    records = all_records(make_book())
    assert {frozenset(record) for record in records} == {frozenset(RECORD_KEYS)}
    write_records(records, tmp_path / "results.jsonl")
    text = (tmp_path / "results.jsonl").read_text()
    assert [json.loads(line) for line in text.splitlines()] == records
    assert [p.name for p in tmp_path.iterdir()] == ["results.jsonl"]


def test_records_hold_plain_finite_values() -> None:
    for record in all_records(make_book()):
        assert np.isfinite(record["value"])
        assert isinstance(record["n"], int)
        if record["ci_low"] is not None:
            assert record["fold"] is record["seed"] is record["subject"] is None
            assert record["metric"] in {"shapley", "macro_f1_difference"} or (
                record["ci_low"] <= record["value"] <= record["ci_high"]
            )


def test_a_summary_pools_all_folds_and_label_draws() -> None:
    book = make_book()
    wanted = bootstrap_score(book.pooled(FULL)[1], macro_f1, design=book.design(FULL))
    found = [
        r for r in all_records(book)
        if r["method"] == "crossl" and r["present"] == list(MODALITIES)
        and r["metric"] == "macro_f1" and r["fold"] is None
    ]  # fmt: skip
    assert [(r["value"], r["ci_low"], r["ci_high"], r["n"]) for r in found] == [
        (wanted.value, wanted.low, wanted.high, 4)
    ]


def test_details_count_windows_by_fold_and_by_subject() -> None:
    details = [r for r in all_records(make_book(methods=("crossl",))) if r["fold"] is not None]
    whole = [r for r in details if r["subject"] is None]
    assert {r["n"] for r in whole} == {60}
    assert len(whole) == 4 * 2 * 2 * 3  # of 3 modalities: all, and one missing
    by_subject = [r for r in details if r["subject"] is not None]
    assert {(r["n"], r["metric"]) for r in by_subject} == {(30, "macro_f1")}
    assert len(by_subject) == 4 * 2 * 2 * 2


def test_differences_are_of_methods_minus_baselines_only() -> None:
    book = make_book(methods=("crossl", "supervised", "untrained"))
    records = list(difference_records(book, ("supervised", "untrained")))
    assert [r["method"] for r in records] == ["crossl - supervised", "crossl - untrained"]
    assert all(r["present"] == list(MODALITIES) for r in records)


def test_a_method_that_is_read_in_several_ways_is_compared_with_once() -> None:
    book = make_book(methods=("crossl", "published"))
    other = [replace(e, key=replace(e.key, head="encoders")) for e in book.entries
             if e.key.method == "published"]  # fmt: skip
    book.entries = [*book.entries[:1], *other, *book.entries[1:]]
    for metric in ("macro_f1_difference", "macro_f1_one_missing_difference"):
        found = [r for r in all_records(book, "crossl") if r["metric"] == metric]
        wanted = [r for r in all_records(make_book(methods=("crossl", "published")), "crossl")
                  if r["metric"] == metric]  # fmt: skip
        assert [r["method"] for r in found] == ["crossl - published"]
        assert found == wanted  # with the head that it has itself


def test_shapley_records_add_up_to_the_score_above_guessing() -> None:
    book = make_book(methods=("crossl",))
    records = list(shapley_records(book))
    assert [r["present"] for r in records] == [[name] for name in MODALITIES]
    full = bootstrap_score(book.pooled(FULL)[1], macro_f1).value
    guess = (2 * 20 / (60 + 20)) / 3  # always naming one of three equal classes
    np.testing.assert_allclose(sum(r["value"] for r in records), full - guess)
    assert all(r["ci_low"] < r["value"] < r["ci_high"] for r in records)


def test_shapley_values_need_every_subset() -> None:
    book = make_book(methods=("crossl",))
    book.entries = [e for e in book.entries if e.key.present != ("acc",)]
    assert list(shapley_records(book)) == []


class Counting:
    """A classifier that answers with the sum of the entries that are kept."""

    head = "encoders"

    def affine(self) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((1, 6), np.float32), np.zeros(1, np.float32)

    def decide(self, reading: np.ndarray) -> np.ndarray:
        return reading[..., 0].astype(int)


def test_every_subset_is_predicted_as_if_only_it_had_been_recorded() -> None:
    import torch

    from crossl.evaluate.latents import LatentTable

    present = torch.tensor([[True, True], [True, False]])
    latent = torch.where(present[:, :, None], 1.0, float("nan")).expand(2, 2, 3)
    table = LatentTable(None, latent, present, np.zeros(2, dtype=int), np.array(["a", "b"]))  # type: ignore[arg-type]
    for found in predict_subsets([Counting(), Counting()], table, [(0, 1), (0,), (1,)]):
        np.testing.assert_array_equal(found[0, 1], [6, 3])
        np.testing.assert_array_equal(found[0,], [3, 3])
        np.testing.assert_array_equal(found[1,], [3, 0])


def test_no_window_gives_no_prediction_for_any_subset() -> None:
    import torch

    from crossl.evaluate.latents import LatentTable

    nothing = torch.zeros(0, 2, 3), torch.zeros(0, 2, dtype=torch.bool)
    table = LatentTable(None, *nothing, np.zeros(0, dtype=int), np.array([], dtype=str))  # type: ignore[arg-type]
    (found,) = predict_subsets([Counting()], table, [(0, 1), (0,)])
    assert {subset: labels.tolist() for subset, labels in found.items()} == {(0, 1): [], (0,): []}
