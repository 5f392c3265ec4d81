"""Several finished folders side by side: who scored what, under each label budget."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crossl.report.load import Inputs, Row, budget_of, load_inputs, load_results
from crossl.report.rows import all_series, key_of

STRICT, VALIDATION = "strict", "validation"
BUDGETS = {
    STRICT: "no label of validation subjects is used",
    VALIDATION: "validation subjects, with all their labels, choose",
}
FULL, ONE_MISSING = "", "_one_missing"
SHOWN = {FULL: "with every sensor", ONE_MISSING: "with one sensor missing (mean over which one)"}


@dataclass(frozen=True)
class Compared:
    """One data set of a study.

    Attributes:
        name: in the study.
        family: such as motion; empty where none was given.
        inputs: its folder, read.
    """

    name: str
    family: str
    inputs: Inputs

    def under(self, budget: str) -> Inputs:
        """Return its rows of one label budget as the rows of the folder."""
        rows = [r for r in (*self.inputs.rows, *self.inputs.other_rows) if budget_of(r) == budget]
        return replace(self.inputs, rows=rows)


def load_compared(out: Path) -> tuple[dict[str, Any], list[Compared]]:
    """Read a study's folder: its facts, and every data set that is finished."""
    facts = json.loads((out / "study.json").read_text("utf-8"))
    families = facts.get("families", {})
    found = [Compared(name, families.get(name, ""), load_inputs(out / folder))
             for name, folder in facts["data"].items()]  # fmt: skip
    return facts, found


def one_folder(folder: Path) -> list[Compared]:
    """Return the experiment of one store as a study of one data set."""
    inputs = load_inputs(folder)
    return [Compared(inputs.summary["dataset"], "", inputs)]


@dataclass(frozen=True)
class Score:
    """A cell of the tables that are written for other programs."""

    data: str
    method: str
    budget: str
    fraction: float
    what: str
    row: Row


def scores(data: Sequence[Compared]) -> Iterator[Score]:
    """Yield every main score with all sensors and with one missing."""
    for one in data:
        for budget in BUDGETS:
            inputs = one.under(budget)
            for what in SHOWN:
                metric = f"{inputs.task.metric}{what}"
                everything = len(inputs.modalities)
                labels = {(s.method, s.recipe, s.head): s.label for s in all_series(inputs, metric)}
                for row in inputs.rows:
                    label = labels.get(key_of(row)) if row["metric"] == metric else None
                    if label is not None and len(row["present"]) == everything:
                        yield Score(one.name, label, budget, row["label_fraction"], what, row)


def differences(one: Compared, budget: str, what: str = FULL) -> dict[tuple[str, float], Row]:
    """Return the main method's paired lead over every other, by method and label fraction."""
    inputs = one.under(budget)
    main, head = (inputs.summary["main"][name] for name in ("method", "head"))
    metric = f"{inputs.task.metric}{what}_difference"
    return {
        (row["method"].removeprefix(f"{main} - "), row["label_fraction"]): row
        for row in inputs.rows
        if row["metric"] == metric
        and row["method"].startswith(f"{main} - ")
        and row["head"] == head  # a method may be read in several ways
    }


def by_person(one: Compared, budget: str, fraction: float) -> dict[str, dict[str, float]]:
    """Average each person's main score over draws and seeds, by method, with every sensor.

    Of a method that is read in several ways, the one that is read as the main method is, or else
    the first.
    """
    inputs = one.inputs
    found: dict[str, dict[str | None, dict[str, list[float]]]] = {}
    for row in load_results(inputs.folder / "results.jsonl"):
        if (
            row["subject"] is not None
            and not row.get("damage")
            and row["metric"] == inputs.task.metric
            and row["label_fraction"] == fraction
            and budget_of(row) == budget
            and len(row["present"]) == len(inputs.modalities)
        ):
            people = found.setdefault(row["method"], {}).setdefault(row["head"], {})
            people.setdefault(row["subject"], []).append(row["value"])
    head = inputs.summary["main"]["head"]
    chosen = {method: ways.get(head, next(iter(ways.values()))) for method, ways in found.items()}
    return {method: {who: sum(v) / len(v) for who, v in people.items()}
            for method, people in chosen.items()}  # fmt: skip
