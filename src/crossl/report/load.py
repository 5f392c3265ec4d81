"""Read a finished folder and refuse what cannot be drawn; nothing is repaired."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossl.data.boundary import reading
from crossl.errors import DataError, FormatError, kind_of_value
from crossl.report.stored import StoredEpoch, StoredResult, StoredSummary
from crossl.report.task import TaskFacts, task_facts
from crossl.stored import check_stored

NEEDED = "does not exist, and a report needs it; run `crossl evaluate` first"

Row = dict[str, Any]
Array = NDArray[Any]

SIGNAL_AXES = 2
CURE = "run `crossl evaluate` again"


@dataclass(frozen=True)
class Inputs:
    """One finished folder, read and checked.

    `rows` are of the summary's label budget, `other_rows` of the other one; `damaged` are of that
    budget and of windows in which sensors were damaged, which no other rows are.
    """

    folder: Path
    summary: dict[str, Any]
    rows: list[Row]
    arrays: dict[str, Array]
    epochs: list[list[Row]]
    other_rows: list[Row] = field(default_factory=list)
    damaged: list[Row] = field(default_factory=list)

    @property
    def task(self) -> TaskFacts:
        """What was predicted for each window."""
        return task_facts(self.summary)

    @property
    def modalities(self) -> list[str]:
        """The names of the sensors, in the order of the summary."""
        return [modality["name"] for modality in self.summary["modalities"]]


def load_inputs(folder: Path) -> Inputs:
    """Read everything the page shows.

    Args:
        folder: A finished run.

    Returns:
        The summary, its data set's summary rows, the arrays and the epochs of every fold.

    Raises:
        FormatError: A file or a key is missing, or something has the wrong shape.
    """
    summary = load_summary(folder / "summary.json")
    every, budget = summary_rows(folder, summary), budget_of(summary["main"])
    rows = [row for row in every if not row.get("damage")]
    damaged = [row for row in every if row.get("damage") and budget_of(row) == budget]
    return Inputs(
        folder=folder,
        summary=summary,
        rows=[row for row in rows if budget_of(row) == budget],
        arrays=load_arrays(folder / "figures.npz", summary),
        epochs=load_epochs(folder),
        other_rows=[row for row in rows if budget_of(row) != budget],
        damaged=damaged,
    )


def budget_of(row: Row) -> str:
    """Return the label budget of a row; results of before there were two used validation labels."""
    return str(row.get("budget") or "validation")


def load_results(path: Path) -> list[Row]:
    """Read a file of result records.

    Args:
        path: A `results.jsonl`.

    Returns:
        One dictionary a line, every key checked.

    Raises:
        FormatError: The file is missing, or a line lacks a key or holds the wrong kind of value.
    """
    rows = []
    for where, row in _lines(path):
        rows.append(dict(check_stored(row, StoredResult, where, cure=CURE)))
    return rows


def summary_rows(folder: Path, summary: dict[str, Any]) -> list[Row]:
    """Keep the rows pooled over folds, label draws and subjects: the ones that are charted.

    Args:
        folder: A finished run.
        summary: What its `summary.json` holds.

    Returns:
        The rows of the summary's data set; `present` is in the summary's order of modalities.

    Raises:
        FormatError: No such row, an unknown modality, or two rows for the same number.
    """
    path = folder / "results.jsonl"
    every = load_results(path)
    rows = [row for row in every if row["fold"] is row["seed"] is row["subject"] is None]
    rows = [row for row in rows if row["dataset"] == summary["dataset"]]
    if not rows:
        got = sorted({row["dataset"] for row in every})
        raise FormatError(
            f"{path}: no summary row (fold, seed and subject null) of data set"
            f" {summary['dataset']!r}, got {len(every)} rows of {got}; at least one is needed"
        )
    names = [modality["name"] for modality in summary["modalities"]]
    rows = [{**row, "present": _ordered(path, row["present"], names)} for row in rows]
    _refuse_twins(path, rows)
    return rows


def load_summary(path: Path) -> dict[str, Any]:
    """Read and check `summary.json`."""
    summary = _parse(str(path), _text(path))
    if "people" in summary and "title" not in summary:
        raise FormatError(
            f"{path.parent}: holds scores on another store, which have no page; `crossl evaluate "
            "RUN --store OTHER` prints their table, results.jsonl holds every number"
        )
    check_stored(summary, StoredSummary, path, cure=CURE)
    groups = list(task_facts(summary).groups)
    for i, example in enumerate(summary["examples"]):
        _check_index(f"{path}: examples[{i}].class", [example["class"]], 0, groups)
    return summary


def load_arrays(path: Path, summary: dict[str, Any]) -> dict[str, Array]:
    """Read and check `figures.npz`."""
    if not path.exists():
        raise FormatError(f"{path}: {NEEDED}")
    try:
        with reading(path), np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except DataError as error:
        raise FormatError(f"{error}; an .npz is needed") from None
    _check_map(path, arrays, summary)
    _check_confusion(path, arrays, summary)
    _check_predictions(path, arrays, summary)
    for key, array in arrays.items():
        if key.startswith("example/") and array.ndim != SIGNAL_AXES:
            raise FormatError(
                f"{path}: {key!r} has the wrong shape, got {array.shape}; (time, channel) is needed"
            )
    return arrays


def load_epochs(folder: Path) -> list[list[Row]]:
    """Read the pretraining metrics of every fold, in the order of the folds' numbers."""
    every = [p for p in folder.glob("fold-*/metrics.jsonl") if "repeat" not in p.parent.name]
    paths = sorted(every, key=lambda path: _fold_number(path.parent))
    if not paths and (folder / "metrics.jsonl").is_file():  # the folder is one run
        paths = [folder / "metrics.jsonl"]
    return [[_epoch(where, row) for where, row in _lines(path)] for path in paths]


def _fold_number(folder: Path) -> tuple[int, str]:
    digits = folder.name.removeprefix("fold-")
    return (int(digits) if digits.isdecimal() else -1, folder.name)


def _epoch(where: str, row: Row) -> Row:
    check_stored(row, StoredEpoch, where, cure="train again")
    terms = {key: row[key] for key in row if key.startswith(("train/", "val/"))}
    for key, value in terms.items():
        if isinstance(value, bool) or not isinstance(value, int | float | None):
            raise FormatError(f"{where}: '{key}' is {kind_of_value(value)}; a number is needed")
    return {"epoch": row["epoch"], **terms}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FormatError(f"{path}: {NEEDED}") from None
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not text, got {error.reason}; UTF-8 is needed") from None


def _parse(where: str, text: str) -> Row:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{where}: not JSON ({error.msg}), got {text[:60]!r}; one JSON object is needed"
        ) from None
    if not isinstance(value, dict):
        raise FormatError(f"{where}: not an object, got {text[:60]!r}; one JSON object is needed")
    return value


def _lines(path: Path) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _parse(where, line)


def _ordered(path: Path, present: list[str], names: list[str]) -> tuple[str, ...]:
    unknown = [name for name in present if name not in names]
    if unknown or not present:
        raise FormatError(
            f"{path}: 'present' names no known modality, got {present}; known are {names}"
        )
    return tuple(name for name in names if name in present)


def _refuse_twins(path: Path, rows: list[Row]) -> None:
    keys = ("method", "recipe", "head", "label_fraction", "present", "metric", "budget",
            "damage", "severity")  # fmt: skip
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        key = (*(row.get(name) for name in keys), *(row.get("damaged") or ()))
        if key in seen:
            got = {name: row.get(name) for name in keys}
            raise FormatError(f"{path}: two summary rows for one number, got {got}; one is allowed")
        seen.add(key)


def _check_map(path: Path, arrays: dict[str, Array], summary: dict[str, Any]) -> None:
    if "map_xy" not in arrays:
        return
    n = len(arrays["map_xy"])
    for key, shape in (("map_xy", (n, 2)), ("map_label", (n,)), ("map_subject", (n,))):
        got = arrays[key].shape if key in arrays else "nothing"
        if got != shape:
            raise FormatError(f"{path}: {key!r} has the wrong shape, got {got}; {shape} is needed")
    _check_index(f"{path}: map_label", arrays["map_label"], -1, list(task_facts(summary).groups))
    _check_index(f"{path}: map_subject", arrays["map_subject"], 0, summary["subjects"])


def _check_confusion(path: Path, arrays: dict[str, Array], summary: dict[str, Any]) -> None:
    size = len(task_facts(summary).names)
    if "confusion" in arrays and arrays["confusion"].shape != (size, size):
        raise FormatError(
            f"{path}: 'confusion' has the wrong shape, got {arrays['confusion'].shape};"
            f" ({size}, {size}), one row and column a class, is needed"
        )


def _check_predictions(path: Path, arrays: dict[str, Array], summary: dict[str, Any]) -> None:
    """Refuse counts of labels, numbers and stretches that do not fit together."""
    size = len(task_facts(summary).names)
    n = len(arrays["number_true"]) if "number_true" in arrays else 0
    m = len(arrays["stretch_hours"]) if "stretch_hours" in arrays else 0
    wanted = {
        "label_counts": (size, 2, 2), "number_true": (n, size), "number_said": (n, size),
        "number_subject": (n,), "stretch_hours": (m,), "stretch_true": (m,), "stretch_said": (m,),
    }  # fmt: skip
    for key, shape in wanted.items():
        if key in arrays and arrays[key].shape != shape:
            raise FormatError(
                f"{path}: {key!r} has the wrong shape, got {arrays[key].shape}; {shape} is needed"
            )


def _check_index(where: str, values: ArrayLike, lowest: int, names: list[str]) -> None:
    for value in np.unique(np.asarray(values)).tolist():
        if not lowest <= value < len(names):
            raise FormatError(
                f"{where}: index out of range, got {value}; {lowest} to {len(names) - 1} is allowed"
            )
