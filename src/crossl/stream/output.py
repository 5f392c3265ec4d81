"""Output: a row as a line of text, JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeAlias

from crossl.predict.tables import PREFIX, number_text
from crossl.stream.session import Said

Write: TypeAlias = Callable[[Said], str]
"""Makes a line of a row."""


def json_line(said: Said) -> str:
    """Write a row as JSON; null for what is not known."""
    return json.dumps(said, ensure_ascii=False, allow_nan=False)


def csv_line(said: Said) -> str:
    """Write a row as `crossl predict` writes it into its table."""
    return csv_row([_cell(name, value) for name, value in said.items()])


def csv_row(cells: Sequence[str]) -> str:
    """Write cells as a line of CSV, without a line end."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def _cell(name: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return number_text(value) if name in ("start_s", "end_s") else f"{value:.6g}"
    return str(value)


def text_line(kind: str) -> Write:
    """Make what writes a row for people: when, what, how sure, and which sensors are missing.

    Args:
        kind: of the task: `classes`, `labels` or `numbers`.

    Examples:
        >>> text_line("classes")({"start_time": None, "start_s": 2.0, "end_s": 4.0, "label": "run",
        ...     "probability_rest": 0.1, "probability_run": 0.9, "present_acc": True,
        ...     "present_ecg": False, "reason": ""})
        '2.000  run  0.90  without ecg'
    """
    prefix = PREFIX[kind]

    def write(said: Said) -> str:
        values = {name.removeprefix(prefix): value for name, value in said.items()
                  if name.startswith(prefix) and value is not None}  # fmt: skip
        absent = [name.removeprefix("present_") for name, there in said.items()
                  if name.startswith("present_") and not there]  # fmt: skip
        when = _when(said, "start")
        if said["reason"]:
            sure = f" ({_top(values)})" if values and kind == "classes" else ""
            return f"{when}  -  until {_when(said, 'end')}: {said['reason']}{sure}"
        if kind == "classes":
            told = f"{said['label']}  {values[said['label']]:.2f}"
        elif kind == "labels":
            told = f"{said['label']}  " + " ".join(f"{n} {v:.2f}" for n, v in values.items())
        else:
            told = " ".join(f"{name} {value:.4g}" for name, value in values.items())
        told += f"  {{{said['set']}}}" if said.get("set") else ""
        told += f"  without {', '.join(absent)}" if absent else ""
        told += f" ({said['unusable']})" if said.get("unusable") else ""
        return f"{when}  {told}"

    return write


def _top(values: dict[str, float]) -> str:
    name = max(values, key=lambda one: values[one])
    return f"{name} {values[name]:.2f}"


def _when(said: Said, edge: str) -> str:
    date = said[f"{edge}_time"]
    if date is None:
        return f"{said[f'{edge}_s']:.3f}"
    return datetime.fromisoformat(date).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
