"""Damages of an experiment: every contender under the same, in its records and on its page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossl.config import RunConfig, load_config
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.evaluate.paired import all_records
from crossl.evaluate.results import Key, ResultBook
from crossl.experiment.fold import FoldRunner, FoldTask

from .targets import TASKS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "damage.md"
SETTINGS = (
    "finetuning.steps=4", "finetuning.evaluations=2", "evaluation.folds=3",
    "evaluation.label_fractions=[1.0]", "evaluation.main_fraction=1.0",
    "evaluation.label_seeds=[0]",
)  # fmt: skip
DAMAGES = (
    "evaluation.damages=[{kind: gap, severity: [0, 0.5]}, {kind: noise, severity: 3, modalities: "
    "devices}, {kind: rotation, severity: 90, per: person}, {kind: noise, severity: 3, modalities: "
    "all}]"
)
ADDED = (
    "contenders.logistic={kind: logistic}",
    "contenders.forest={kind: forest, trees: 5}",
    "contenders.mlp={kind: mlp, steps: 10, hidden: 8}",
    "contenders.same={kind: logistic, damage: {share: 1}}",
)
METHODS = "evaluation.methods=[crossl,supervised,subset_probes]"
WANTED = {
    *[("gap", s, (m,)) for s in (0.0, 0.5) for m in ("wrist_acc", "wrist_heat", "chest_ecg")],
    ("noise, devices", 3.0, ("wrist_acc", "wrist_heat")),
    ("noise, devices", 3.0, ("chest_ecg",)),
    ("rotation per person", 90.0, ("wrist_acc",)),
    ("noise, all", 3.0, ("wrist_acc", "wrist_heat", "chest_ecg")),
}


@pytest.fixture(scope="module")
def done(
    store: Store, small: Callable[..., RunConfig], tmp_path_factory: pytest.TempPathFactory
) -> FoldTask:
    """One fold with damages."""
    config = small("crossl", *SETTINGS, METHODS, DAMAGES, *ADDED)
    task = FoldTask(store.path, config, tmp_path_factory.mktemp("damages") / "fold-0", 0)
    FoldRunner(task).run()
    return task


def book_of(done: FoldTask, name: str) -> ResultBook:
    return ResultBook.load(done.scores(name))


def told(key: Key) -> tuple[str | None, float | None, tuple[str, ...]]:
    return key.damage, key.severity, key.damaged


@pytest.mark.parametrize("name", ["crossl", "supervised", "logistic", "forest", "mlp", "same"])
def test_every_contender_is_scored_under_every_damage_on_the_windows_that_it_hits(
    name: str, done: FoldTask
) -> None:
    clean, damaged = book_of(done, name).split()
    assert {told(key) for key in damaged.by_key()} == WANTED
    assert {key.budget for key in damaged.by_key()} == {"strict", "validation"}
    for entry in damaged.entries:
        assert entry.whole is not None
        assert entry.key.present == clean.modalities
        if entry.key.severity == 0:
            np.testing.assert_array_equal(entry.confusion, entry.whole)
        assert entry.confusion.sum() == entry.whole.sum()
        # the same windows as those that count when what is damaged is missing
        left = tuple(n for n in clean.modalities if n not in entry.key.damaged)
        gone = replace(entry.key, present=left, damage=None, severity=None, damaged=())
        if left:
            (alike,) = clean.by_key()[gone]
            np.testing.assert_array_equal(entry.whole, alike.whole)


@pytest.mark.parametrize("name", ["crossl", "supervised", "logistic"])
def test_damages_do_something(name: str, done: FoldTask) -> None:
    _, damaged = book_of(done, name).split()
    hit = [e for e in damaged.entries if e.key.damage == "noise, all"]
    assert any((e.confusion != e.whole).any() for e in hit)


def test_probes_of_single_subsets_are_not_asked(done: FoldTask) -> None:
    _, damaged = book_of(done, "subset_probes").split()
    assert damaged.entries == []


def test_records_name_the_damage_and_nothing_else_is_told_of_damaged_windows(
    done: FoldTask,
) -> None:
    book = book_of(done, "crossl")
    clean, _ = book.split()
    every = all_records(book, "crossl")
    rough = [row for row in every if row.get("damage")]
    assert [row for row in every if not row.get("damage")] == all_records(clean, "crossl")
    assert not any("damage" in row for row in all_records(clean))
    pooled = [row for row in rough if row["fold"] is None]
    assert {(r["damage"], r["severity"], tuple(r["damaged"])) for r in pooled} == WANTED
    assert {r["metric"] for r in pooled} == {"macro_f1", "macro_f1_with_all", "macro_f1_kept"}
    assert {r["subject"] for r in rough if r["fold"] == 0} > {None}
    kept = [r for r in pooled if r["severity"] == 0 and r["metric"] == "macro_f1_kept"]
    assert [r["value"] for r in kept] == [1.0] * 6
    names = ("method", "head", "budget", "damage", "severity", "damaged", "metric")
    keys = {tuple(str(row[name]) for name in names) for row in pooled}
    assert len(keys) == len(pooled) == 2 * 3 * len(WANTED)


def test_without_damages_weights_and_scores_are_as_with_them(
    done: FoldTask, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    config = small("crossl", *SETTINGS, "evaluation.methods=[crossl]", *ADDED[:2])
    task = FoldTask(done.store, config, tmp_path / "fold-0", 0)
    FoldRunner(task).run()
    weights = "weights.safetensors"
    assert (task.folder / weights).read_bytes() == (done.folder / weights).read_bytes()
    for name in ("crossl", "logistic", "forest"):
        assert task.scores(name).name.count("damaged") == 0
        clean, damaged = book_of(task, name), book_of(done, name).split()[0]
        assert clean.by_key().keys() == damaged.by_key().keys()
        for one, two in zip(clean.entries, damaged.entries, strict=True):
            np.testing.assert_array_equal(one.confusion, two.confusion)


def test_what_learns_from_damaged_windows_learns_something_else(done: FoldTask) -> None:
    plain, rough = (book_of(done, name).split()[1].entries for name in ("logistic", "same"))
    assert any((a.confusion != b.confusion).any() for a, b in zip(plain, rough, strict=True))


def test_damages_can_be_added_to_what_was_computed(
    done: FoldTask, small: Callable[..., RunConfig]
) -> None:
    weights = done.folder / "weights.safetensors"
    before = weights.stat().st_mtime_ns
    asked = "evaluation.damages=[{kind: gap, severity: 0.9}]"
    config = small("crossl", *SETTINGS, "evaluation.methods=[crossl]", asked)
    task = replace(done, config=config)
    assert not task.done
    FoldRunner(task).run()
    assert weights.stat().st_mtime_ns == before
    _, damaged = book_of(task, "crossl").split()
    assert {key.severity for key in damaged.by_key()} == {0.9}


def test_scores_of_before_there_were_damages_are_read(done: FoldTask, tmp_path: Path) -> None:
    book = book_of(done, "logistic").split()[0]
    book.save(tmp_path / "new.npz")
    with np.load(tmp_path / "new.npz") as archive:
        arrays = dict(archive)
    head = json.loads(str(arrays.pop("head")))
    for entry in head["entries"]:
        for name in ("damage", "severity", "damaged"):
            del entry["key"][name]
    np.savez(tmp_path / "old.npz", head=np.array(json.dumps(head)), **arrays)
    assert ResultBook.load(tmp_path / "old.npz").by_key().keys() == book.by_key().keys()


def test_run_files_of_the_page_are_some(tmp_path: Path) -> None:
    blocks = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.M | re.S)
    assert len(blocks) == 3
    for block in blocks:
        (tmp_path / "run.yaml").write_text(block, encoding="utf-8")
        assert load_config(tmp_path / "run.yaml") != load_config()


def test_what_is_read_by_its_own_layer_is_told_where_damage_is_given() -> None:
    with pytest.raises(ConfigError, match=r"contenders.a: damage is .* got read 'head'; give fine"):
        load_config(overrides=["contenders.a={kind: supervised, damage: {share: 1}}"])


@pytest.mark.parametrize("name", TASKS)
def test_every_kind_of_task_is_scored_with_damages(
    name: str, told_store: Store, small: Callable[..., RunConfig], tmp_path: Path
) -> None:
    asked = "evaluation.damages=[{kind: gap, severity: 0.6, modalities: all}]"
    rough = "contenders.rough={kind: pretrained, damage: {}}"
    only = ("evaluation.methods=[crossl]", f"task={TASKS[name]}")
    config = small("crossl", *SETTINGS, *only, asked, ADDED[1], rough)
    task = FoldTask(told_store.path, config, tmp_path / "fold-0", 0)
    FoldRunner(task).run()
    for contender in ("crossl", "forest", "rough"):
        clean, damaged = book_of(task, contender).split()
        assert {key.damaged for key in damaged.by_key()} == {clean.modalities}
        assert any((e.confusion != e.whole).any() for e in damaged.entries)
