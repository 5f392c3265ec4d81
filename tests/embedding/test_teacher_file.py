"""Embeddings of a file find the windows of their recording and time, or are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.data.recording import Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.embedding.teacher import draw_pairs, lesson_of
from crossl.embedding.teacher_file import read_teacher
from crossl.errors import DataError

ACC = Modality("acc", ("x",), "m/s^2", 10.0)
BEGAN_S = 1717236000.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ann has two sessions of ten windows, Bob one; all are dated."""

    def recording(subject: str, session: str, number: int) -> Recording:
        values = np.random.default_rng(number).normal(size=(200, 1)).astype(np.float32)
        return Recording(subject, session, {"acc": ACC}, {"acc": Signal(values, 10.0)}, [],
                         origin_unix_s=BEGAN_S + 1000 * number)  # fmt: skip

    people = [("ann", "one"), ("ann", "two"), ("bob", "one")]
    return write_store(
        (recording(*who, n) for n, who in enumerate(people)),
        tmp_path_factory.mktemp("stores") / "store",
        modalities=[ACC], classes=[], spec=WindowSpec(2.0, 2.0), about={},
    )  # fmt: skip


def rows_of(store: Store) -> dict[str, Any]:
    """A teacher's table that tells every window, by its row number."""
    number = np.arange(len(store))
    return {
        "subject": store.subject, "session": store.session, "start_s": store.start_s,
        "embedding": np.stack([number, number + 0.5], axis=1).astype(np.float64),
    }  # fmt: skip


def saved(tmp_path: Path, columns: dict[str, Any]) -> Path:
    path = tmp_path / "teacher.npz"
    np.savez(path, **columns)
    return path


def test_rows_are_found_in_any_order_by_the_nearest_time(store: Store, tmp_path: Path) -> None:
    columns = rows_of(store)
    order = np.random.default_rng(0).permutation(len(store))
    shuffled = {name: x[order] for name, x in columns.items()}
    shuffled["start_s"] = shuffled["start_s"] + np.where(order % 2, 0.9, -0.9)
    np.testing.assert_array_equal(
        read_teacher(saved(tmp_path, shuffled), store), columns["embedding"]
    )


def test_what_the_file_does_not_tell_has_no_teacher(store: Store, tmp_path: Path) -> None:
    columns = rows_of(store)
    columns["embedding"][3] = np.nan
    columns["start_s"] = columns["start_s"].copy()
    columns["start_s"][4] = np.nan
    keep = np.arange(len(store)) != 7
    found = read_teacher(saved(tmp_path, {n: x[keep] for n, x in columns.items()}), store)
    known = np.isfinite(found).all(axis=1)
    assert np.flatnonzero(~known).tolist() == [3, 4, 7]
    np.testing.assert_array_equal(found[known], columns["embedding"][known])


@pytest.mark.parametrize("name", ["start_time", "start_unix_s"])
def test_the_calendar_finds_them_without_sessions(name: str, store: Store, tmp_path: Path) -> None:
    columns = rows_of(store)
    del columns["session"], columns["start_s"]
    unix_s = store.start_unix_s
    columns[name] = unix_s if name == "start_unix_s" else (unix_s * 1000).astype("datetime64[ms]")
    np.testing.assert_array_equal(
        read_teacher(saved(tmp_path, columns), store), columns["embedding"]
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"embedding": None}, "has no 'embedding'"),
        (
            {"start_s": None},
            "has no column of times; one of start_s, start_time, start_unix_s is needed",
        ),
        ({"session": None}, "has no 'session', and subject 'ann' has 2"),
        ({"subject": np.array(["cid"] * 30)}, "no row is of a window"),
        ({"embedding": np.zeros(30)}, r"'embedding' is float64 of shape \(30,\)"),
        ({"embedding": np.zeros((29, 2))}, "'embedding' has 29 rows and 'subject' 30"),
        ({"start_s": np.array(["a"] * 30)}, "'start_s' holds <U1; numbers of seconds are needed"),
        ({"embedding": np.array([None] * 30)}, "cannot be read"),
    ],
)
def test_other_tables_are_refused(
    changes: dict[str, Any], told: str, store: Store, tmp_path: Path
) -> None:
    columns = {n: x for n, x in {**rows_of(store), **changes}.items() if x is not None}
    with pytest.raises(DataError, match=told):
        read_teacher(saved(tmp_path, columns), store)


def test_no_table_at_all_is_refused(store: Store, tmp_path: Path) -> None:
    text = tmp_path / "teacher.npz"
    text.write_text("no zip")
    with pytest.raises(DataError, match="cannot be read"):
        read_teacher(text, store)
    other = tmp_path / "teacher.csv"
    other.write_text("subject")
    with pytest.raises(DataError, match=r"allowed are \.npz and \.parquet"):
        read_teacher(other, store)


def test_parquet_has_a_column_for_each_number_or_lists(store: Store, tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    columns = rows_of(store)
    told = columns.pop("embedding")
    path = tmp_path / "teacher.parquet"
    for embedding in (
        {"embedding": told.tolist()},
        {f"embedding_{i}": told[:, i] for i in range(2)},
    ):
        polars.DataFrame({**columns, **embedding}).write_parquet(path)
        np.testing.assert_array_equal(read_teacher(path, store), told)
    polars.DataFrame({**columns, "embedding": [[1.0]] * 29 + [[1.0, 2.0]]}).write_parquet(path)
    with pytest.raises(DataError, match="of different lengths"):
        read_teacher(path, store)


def test_pairs_are_a_share_of_what_has_a_teacher_and_standardised_by_themselves() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(3, 5, size=(50, 4)).astype(np.float32)
    targets[:10] = np.nan
    targets[:, 3] = 2.0
    train, others = np.arange(40), np.arange(40, 50)
    paired = draw_pairs(targets, train, share=0.2, seed=0)
    assert len(paired) == 6
    assert (paired >= 10).all()
    np.testing.assert_array_equal(draw_pairs(targets, train, share=0.2, seed=0), paired)
    lesson = lesson_of(targets, train, others, paired)
    known = np.flatnonzero(np.isfinite(lesson.targets).all(axis=1))
    np.testing.assert_array_equal(known, [*paired, *others])
    shown = lesson.targets[paired]
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(shown[:, :3].std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(shown[:, 3], 0)
    with pytest.raises(DataError, match="1 of 40 training windows would have one"):
        draw_pairs(targets, train, share=0.03, seed=0)
