"""What is kept of a study: its tables, its ranks, and the scores behind them.

A study computes the data sets that it is asked for; the others stay as an earlier run kept them,
and the ranks are of all.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crossl.experiment.joint import joint_ranks
from crossl.report.stored import StoredResult

Row = dict[str, Any]
NOTHING = dict.fromkeys(StoredResult.model_fields)
"""A row without values; what has none is left out where rows are kept."""


def keep(out: Path, kept: Path, order: Sequence[str] = ()) -> None:
    """Keep what a study's folder holds beside what is kept of other data sets.

    Args:
        out: of the study: study.json, tables.md, tables.csv, and a folder for each data set.
        kept: where to.
        order: of data sets; others come after.

    Raises:
        SystemExit: the study has not come to its end.
    """
    if not (out / "tables.md").is_file():
        raise SystemExit(f"{out}: the study has no tables yet; run it to its end first")
    kept.mkdir(parents=True, exist_ok=True)
    new = json.loads((out / "study.json").read_text())
    new.pop("command")  # it has paths of a machine; the study's file says how to remake it
    for name, folder in new["data"].items():
        text = "".join(f"{json.dumps(row)}\n" for row in rows(out / folder / "results.jsonl"))
        # no time in it: the same scores are the same bytes
        (kept / f"{name}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    facts = joined(kept / "study.json", new, order)
    names = list(facts["data"])
    for table, parts, between in (("tables.md", sections, "\n"), ("tables.csv", lines, "")):
        found = {**parts(kept / table), **parts(out / table)}
        (kept / table).write_text(between.join(found[part] for part in ("", *names)))
    if names != list(new["data"]):
        facts["ranks"] = joint_ranks(
            {name: kept_rows(kept / f"{name}.jsonl.gz") for name in names}, {}
        )
    (kept / "study.json").write_text(json.dumps(facts, indent=1) + "\n")


def joined(path: Path, new: dict[str, Any], order: Sequence[str]) -> dict[str, Any]:
    """Put a study's facts over those that are kept, its data sets among theirs."""
    old = json.loads(path.read_text()) if path.is_file() else {}
    facts = {**old, **new}
    for one in ("families", "data"):
        found = {**old.get(one, {}), **new[one]}
        names = sorted(found, key=lambda n: order.index(n) if n in order else len(order))
        facts[one] = {name: found[name] for name in names}
    return facts


def sections(path: Path) -> dict[str, str]:
    """Read Markdown by its headings of the second level; what is before them by ``""``."""
    if not path.is_file():
        return {}
    first, *rest = path.read_text().split("\n## ")
    found = {one.split("\n", 1)[0]: f"## {one}" for one in rest}
    return {name: f"{text.rstrip()}\n" for name, text in {"": first, **found}.items()}


def lines(path: Path) -> dict[str, str]:
    """Read the lines of a CSV by their first column, its heads by ``""``."""
    if not path.is_file():
        return {}
    heads, *rest = path.read_text().splitlines(keepends=True)
    found = {"": heads}
    for line in rest:
        name = line.split(",", 1)[0]
        found[name] = found.get(name, "") + line
    return found


def rows(path: Path) -> Iterator[Row]:
    """Yield summaries and differences, and details with at most one sensor missing."""
    with path.open() as text:
        found: list[Row] = [json.loads(line) for line in text]
    full = max(len(row["present"]) for row in found)
    for row in found:
        detail = row["seed"] is not None
        few = len(row["present"]) >= full - (row["subject"] is None)
        if not detail or (few and row["metric"] in ("macro_f1", "mae")):
            yield {name: value for name, value in row.items() if value is not None}


def kept_rows(path: Path) -> list[Row]:
    """Read the rows of a data set that is kept."""
    text = gzip.decompress(path.read_bytes())
    return [{**NOTHING, **json.loads(line)} for line in text.splitlines()]
