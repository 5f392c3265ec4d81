"""Scores under every subset of sensors, and tables as data frames."""

from __future__ import annotations

import json
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import crossl
from crossl.api import frames
from crossl.commands.evaluate import evaluate_run
from crossl.data.store import Store
from crossl.errors import ConfigError, DataError, FormatError, PackageError, SplitError


@pytest.fixture(scope="module")
def run(trained: Path) -> crossl.Run:
    return crossl.load_run(trained)


def test_scores_are_those_of_the_command_line(
    run: crossl.Run, store: Store, trained: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(trained, tmp_path / "run"))
    evaluate_run(copy, store.path)
    records = [json.loads(line) for line in (copy / "results.jsonl").read_text().splitlines()]
    wanted = {
        (", ".join(r["present"]), r["metric"]): (r["value"], r["ci_low"], r["ci_high"], r["n"])
        for r in records if r["method"] == "crossl" and r["fold"] is None
    }  # fmt: skip
    scores = crossl.evaluate_subsets(run, store)
    assert set(scores) == {"present", "missing", "metric", "value", "ci_low", "ci_high",
                           "with_all", "people", "windows"}  # fmt: skip
    assert len({len(column) for column in scores.values()}) == 1
    assert set(scores["present"]) == {"acc, ecg", "acc", "ecg"}
    for i, key in enumerate(zip(scores["present"], scores["metric"], strict=True)):
        value, low, high, n = wanted[key]
        assert scores["value"][i] == pytest.approx(value)
        assert scores["people"][i] == n
        for name, told in (("ci_low", low), ("ci_high", high)):
            np.testing.assert_allclose(scores[name][i], np.nan if told is None else told)


def test_another_split_is_tested_on_everybody_else(run: crossl.Run, store: Store) -> None:
    x = store.arrays()
    new = crossl.Windows(dict(x), label=x.label, subject=np.char.add("N", x.subject))
    scores = crossl.evaluate_subsets(run, new)
    assert scores["people"].max() == 6
    assert scores["windows"].max() == len(store)
    known = run.contract["subjects"]["train"][0]
    with pytest.raises(SplitError, match=f"test: subject '{known}' was learned from"):
        crossl.evaluate_subsets(run, store, test=[known])
    assert crossl.evaluate_subsets(run, store, test=[known], same_names=True)["people"][0] == 1
    only = x[np.isin(x.subject, run.contract["subjects"]["train"])]
    with pytest.raises(
        SplitError, match="the run learned from all of these people, so a score would leak"
    ):
        crossl.evaluate_subsets(run, only)


def test_whom_the_classifier_learned_from_is_not_tested(run: crossl.Run, store: Store) -> None:
    who = run.contract["subjects"]
    taken = who["test"][0]
    other = crossl.fit_probe(run, store, train=[taken], validation=who["validation"])
    with pytest.raises(SplitError, match=f"test: subject '{taken}' was learned from"):
        crossl.evaluate_subsets(other, store, test=[taken])
    if len(who["test"]) == 1:
        with pytest.raises(SplitError, match="the run learned from all of these people"):
            crossl.evaluate_subsets(other, store)
    else:
        scores = crossl.evaluate_subsets(other, store)
        assert scores["people"].max() == len(who["test"]) - 1


def test_scores_that_cannot_be_are_refused(run: crossl.Run, store: Store) -> None:
    x = store.arrays()
    others = crossl.Windows(dict(x), label=["sit"] * len(x), subject=["N"] * len(x))
    with pytest.raises(DataError, match="has a label that the classifier knows, got sit; it knows"):
        crossl.evaluate_subsets(run, others)
    with pytest.raises(FormatError, match="run: has no classifier to score"):
        crossl.evaluate_subsets(crossl.build_model(store), store)


# --- data frames


@pytest.mark.parametrize("package", ["polars", "pandas"])
def test_a_table_becomes_a_data_frame(package: str, run: crossl.Run, store: Store) -> None:
    pytest.importorskip(package)
    table = run.table(store)
    frame = crossl.as_frame(table, package=package)
    assert type(frame).__module__.startswith(package)
    assert frame.shape == (len(store), len(table) - 1 + 160)
    columns = list(frame.columns)
    for name in ("subject", "start_s", "label", "present_ecg", "predicted", "probability_run"):
        assert list(frame[name]) == table[name].tolist()
    assert columns[-1] == "embedding_159"
    np.testing.assert_array_equal(np.asarray(frame["embedding_159"]), table["embedding"][:, 159])
    dates = frame["start_time"]
    assert (dates.is_null() if package == "polars" else dates.isna()).all()


def test_polars_is_preferred_and_without_both_a_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = {"a": np.arange(3)}
    for package in ("polars", "pandas"):
        pytest.importorskip(package)
    assert type(crossl.as_frame(columns)).__module__.startswith("polars")
    lacking = {"polars"}
    monkeypatch.setattr(frames, "find_spec", lambda n: None if n in lacking else find_spec(n))
    assert type(crossl.as_frame(columns)).__module__.startswith("pandas")
    lacking.add("pandas")
    with pytest.raises(PackageError, match=r'polars or pandas, which is .*"crossl\[io\]"'):
        crossl.as_frame(columns)
    with pytest.raises(PackageError, match="need pandas, which is not installed; pip install pan"):
        crossl.as_frame(columns, package="pandas")


@pytest.mark.parametrize(("columns", "package", "error", "message"), [
    ({"a": np.zeros(2), "b": np.zeros(3)}, None, DataError, r"columns: have \[2, 3\] rows; one"),
    ({"a": np.zeros(2)}, "pola", ConfigError, "package 'pola': unknown; did you mean 'polars'"),
])  # fmt: skip
def test_columns_that_make_no_frame_are_refused(
    columns: Any, package: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        crossl.as_frame(columns, package=package)


def test_importing_the_frame_maker_imports_no_frames() -> None:
    assert not {"polars", "pandas"} & set(vars(frames))
    assert frames.__name__ in sys.modules
