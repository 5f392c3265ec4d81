"""What the experiments of several data sets say together: mean ranks, and what they cost."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from crossl.evaluate.budgets import BUDGETS
from crossl.evaluate.ranks import Ranks, mean_ranks
from crossl.files import write_whole
from crossl.report import load_results

FEW = 0.1
"""Up to this share of the labels counts as few: over these fractions ranks are averaged."""


def write_joint(folders: Mapping[str, Path], out: Path, facts: Mapping[str, Any]) -> None:
    """Write `study.json`: mean ranks over data sets, for each label budget.

    Args:
        folders: of the data sets' results, by name.
        out: folder to write to.
        facts: of the study, kept beside.
    """
    rows = {name: load_results(folder / "results.jsonl") for name, folder in folders.items()}
    ranks = joint_ranks(rows, {name: _task(folder) for name, folder in folders.items()})
    text = json.dumps({**facts, "data": {n: str(f.name) for n, f in folders.items()},
                       "ranks": ranks, "ranked_up_to": FEW}, indent=1)  # fmt: skip
    write_whole(out / "study.json", (text + "\n").encode())


def joint_ranks(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Rank methods over data sets, for each label budget, with every sensor and one missing.

    Args:
        rows: of each data set; those over people, label draws and seeds count.
        tasks: of each data set, as its `summary.json` says; of one that is left out classes.

    Returns:
        Methods, their mean ranks and which of them differ, by label budget and sensors.
    """
    summaries = {name: [row for row in found if _is_summary(row)] for name, found in rows.items()}
    ranks = {}
    for budget in BUDGETS:
        for what, metric in (("all sensors", ""), ("one missing", "_one_missing")):
            cells = _cells(summaries, tasks, budget, metric)
            found = mean_ranks(cells) if cells else None
            if found is not None:
                ranks[f"{budget}, {what}"] = _as_dict(found)
    return ranks


def _task(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    task: dict[str, Any] = summary.get("task", {})
    return task


def _as_dict(ranks: Ranks) -> dict[str, Any]:
    return {"methods": ranks.methods, "mean": ranks.mean, "critical": ranks.critical,
            "sets": ranks.sets, "groups": ranks.groups}  # fmt: skip


def _is_summary(row: Mapping[str, Any]) -> bool:
    """Whether it is over people, draws and seeds, of windows as they are."""
    return row["fold"] is row["seed"] is row["subject"] is None and not row.get("damage")


def _cells(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    tasks: Mapping[str, Mapping[str, Any]],
    budget: str,
    metric: str,
) -> list[dict[str, dict[str, float]]]:
    """Return each small label fraction's scores, by data set and method; errors are negated."""
    cells: dict[float, dict[str, dict[str, float]]] = {}
    for name, found in rows.items():
        task = tasks.get(name, {})
        main, sign = task.get("metric", "macro_f1"), -1 if task.get("lower_is_better") else 1
        full = max((len(row["present"]) for row in found), default=0)
        for row in found:
            if (
                row["metric"] == f"{main}{metric}"
                and row.get("budget", "validation") == budget
                and len(row["present"]) == full
                and row["label_fraction"] <= FEW
            ):
                cell = cells.setdefault(row["label_fraction"], {})
                cell.setdefault(name, {})[_shown(row)] = sign * row["value"]
    return list(cells.values())


def _shown(row: Mapping[str, Any]) -> str:
    """Name a method; those read in two ways are two."""
    two = row["head"] == "encoders" and row["method"] not in ("untrained",)
    return f"{row['method']} (encoders)" if two else str(row["method"])
