"""Latents of damaged windows: what encoding everything anew would give, for much less."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from crossl.contenders.contender import PARTS, Context
from crossl.contenders.features import LogisticConfig, feature_tables
from crossl.data.damage import Damage, Spoiler
from crossl.data.damaged import DamagedSource, TrainingDamage
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import DataError
from crossl.evaluate.around import embed_around, table_with_neighbours
from crossl.evaluate.damaged import beside, damaged_at_random, damaged_tables
from crossl.evaluate.latents import LatentTable
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.tasks import SequenceConfig, classes_task

NAMES = ("wrist_acc", "wrist_heat", "chest_ecg")
DAMAGES = [
    Damage("gap", 0.4, ("wrist_acc",)),
    Damage("gap", 0.4, ("wrist_heat",)),
    Damage("gap", 0.4, ("wrist_acc", "chest_ecg")),
    Damage("noise", 0.5, ("chest_ecg",)),
    Damage("rotation", 90.0, ("wrist_acc",), "person"),
]


class Spoilt:
    """A store that is read with one damage."""

    def __init__(self, store: Store, spoiler: Spoiler, damage: Damage) -> None:
        self.store, self.spoiler, self.damage = store, spoiler, damage

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def __len__(self) -> int:
        return len(self.store)

    def gather_zeroed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        found, d = self.store.gather_zeroed(rows), self.damage
        for column, name in enumerate(found):
            if name in d.modalities:
                there = np.flatnonzero(self.store.present[rows, column])
                who = self.store.subject[rows] if d.per == "person" else rows
                found[name] = found[name].copy()
                found[name][there] = self.spoiler.spoil(
                    name, found[name][there], who[there], d.kind, d.severity
                )
        return found


@pytest.fixture
def spoiler(model: CrossModalModel, store: Store) -> Spoiler:
    return Spoiler(store.modalities, model.standardiser.deviation, seed=0)


@pytest.fixture
def table(tables: dict[str, LatentTable], fold: Fold) -> LatentTable:
    return replace(tables["train"], rows=fold.train)


def test_latents_are_those_of_damaged_windows_and_of_no_others(
    model: CrossModalModel, store: Store, fold: Fold, table: LatentTable, spoiler: Spoiler
) -> None:
    found = list(damaged_tables(table, store, spoiler, DAMAGES))
    assert [damage for damage, _ in found] == DAMAGES
    for damage, other in found:
        spoilt = Spoilt(store, spoiler, damage)
        whole = encode_rows(model, spoilt, fold.train)  # type: ignore[arg-type]
        torch.testing.assert_close(other.latent, whole, rtol=1e-4, atol=1e-5)
        for column, name in enumerate(NAMES):
            same = (other.latent[:, column] == table.latent[:, column]).all(dim=1)
            hit = table.present[:, column] & (name in damage.modalities)
            assert same[~hit].all()
            assert hit.float().mean() < 0.3 or (~same[hit]).float().mean() > 0.9
        assert torch.equal(other.present, table.present)
        assert not other.latent[~table.present].any()


def test_a_severity_of_0_gives_the_same_latents_to_the_byte(
    store: Store, table: LatentTable, spoiler: Spoiler
) -> None:
    none = [Damage(kind, 0.0, NAMES) for kind in ("gap", "noise")]
    for _, other in damaged_tables(table, store, spoiler, none):
        assert torch.equal(other.latent, table.latent)


def test_neighbours_are_damaged_too(
    model: CrossModalModel, store: Store, fold: Fold, spoiler: Spoiler
) -> None:
    task = SequenceConfig(context=1).build(classes_task(store.classes).target)
    table = table_with_neighbours(model, store, fold.test[3:9], task)
    ((damage, other),) = damaged_tables(table, store, spoiler, [Damage("gap", 0.4, NAMES)])
    spoilt = Spoilt(store, spoiler, damage)
    wanted = table_with_neighbours(model, spoilt, fold.test[3:9], task)  # type: ignore[arg-type]
    assert other.pool is not None
    assert wanted.pool is not None
    for a, b in ((other, wanted), (other.pool, wanted.pool)):
        torch.testing.assert_close(a.latent, b.latent, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(a.around, b.around)
    assert len(other.pool) > len(other)


def test_features_of_damaged_windows_are_on_the_scale_of_training(
    store: Store, fold: Fold, spoiler: Spoiler
) -> None:
    def context(source: Any) -> Context:
        task = classes_task(store.classes)
        return SimpleNamespace(store=source, fold=fold, task=task, repeat=0, tell=lambda *_: None)  # type: ignore[return-value]

    fit = LogisticConfig().build("logistic").fit
    clean = feature_tables(context(store), fit)
    damage = Damage("noise", 0.5, ("wrist_acc", "chest_ecg"))
    ((_, other),) = damaged_tables(clean["test"], store, spoiler, [damage])

    class SpoiltTest(Spoilt):
        def gather_zeroed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
            tested = np.isin(rows, fold.test).all()
            return super().gather_zeroed(rows) if tested else self.store.gather_zeroed(rows)

    wanted = feature_tables(context(SpoiltTest(store, spoiler, damage)), fit)
    assert torch.equal(other.latent, wanted["test"].latent)
    assert not torch.equal(other.latent, clean["test"].latent)
    for part in PARTS[:2]:
        assert torch.equal(wanted[part].latent, clean[part].latent)


def test_windows_to_learn_from_are_damaged_at_random_where_present(
    model: CrossModalModel, store: Store, fold: Fold, table: LatentTable, spoiler: Spoiler
) -> None:
    source = DamagedSource(store, TrainingDamage(share=0.5), spoiler)
    found = damaged_at_random(table, source)
    wanted = encode_rows(model, source, fold.train)
    torch.testing.assert_close(found.latent, wanted, rtol=1e-4, atol=1e-5)
    same = (found.latent == table.latent).all(dim=2)
    assert same[~table.present].all()
    assert 0.2 < (~same[table.present]).float().mean() < 0.6


def test_two_states_of_the_same_windows_stand_below_each_other(
    model: CrossModalModel, store: Store, fold: Fold, spoiler: Spoiler
) -> None:
    task = SequenceConfig(context=1).build(classes_task(store.classes).target)
    table = table_with_neighbours(model, store, fold.train, task)
    other = damaged_at_random(table, DamagedSource(store, TrainingDamage(share=1.0), spoiler))
    both, n = beside(table, other), len(table)
    assert (len(both), both.copies, table.copies) == (2 * n, 2, 1)
    allowed = torch.ones_like(both.present)
    wanted = [embed_around(one, "encoders", allowed[:n]) for one in (table, other)]
    np.testing.assert_array_equal(embed_around(both, "encoders", allowed), np.concatenate(wanted))
    assert not np.array_equal(*wanted, equal_nan=True)
    np.testing.assert_array_equal(both.label, np.tile(table.label, 2))
    np.testing.assert_array_equal(both.rows, np.tile(fold.train, 2))


def test_a_table_that_does_not_know_its_rows_is_refused(
    tables: dict[str, LatentTable], store: Store, spoiler: Spoiler
) -> None:
    with pytest.raises(DataError, match="windows: do not know their rows in the store"):
        list(damaged_tables(tables["test"], store, spoiler, DAMAGES))
