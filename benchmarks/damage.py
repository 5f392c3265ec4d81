"""Print what damaged sensors cost, from the results of configs/damage.yaml, as Markdown.

    crossl benchmark STORE --out RESULTS --config configs/damage.yaml --fold-numbers 0
    python benchmarks/damage.py RESULTS [--budget strict]

A cell is the mean over the sensors (or devices) that are hit of the main score, at the main label
fraction; `absent` is the mean with each sensor absent instead.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

Row = dict[str, Any]


def main() -> None:
    """Print a table for each damage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--budget", default="strict", choices=("strict", "validation"))
    asked = parser.parse_args()
    summary = json.loads((asked.folder / "summary.json").read_text(encoding="utf-8"))
    metric = summary["task"]["metric"]
    with (asked.folder / "results.jsonl").open(encoding="utf-8") as lines:
        every = [json.loads(line) for line in lines]
    rows = [r for r in every if r["fold"] is None and r["budget"] == asked.budget
            and r["label_fraction"] == summary["main"]["label_fraction"]]  # fmt: skip
    for damage in dict.fromkeys(r["damage"] for r in rows if r.get("damage")):
        hit = [r for r in rows if r.get("damage") == damage]
        print(f"\n{damage}\n\n{table(hit, rows, metric, len(summary['modalities']))}")


def table(hit: Sequence[Row], rows: Sequence[Row], metric: str, modalities: int) -> str:
    """Return a line for each method: undamaged, by severity, and with a sensor absent."""
    severities = sorted({r["severity"] for r in hit})
    gap = hit[0]["damage"] == "gap"
    header = ["", "undamaged", *(f"{s:g}" for s in severities), *(["absent"] * gap)]
    lines = [header, ["---"] * len(header)]
    for method in dict.fromkeys(r["method"] for r in hit):
        own = [r for r in hit if r["method"] == method]
        cells = [values(own, f"{metric}_with_all")]
        cells += [values([r for r in own if r["severity"] == s], metric) for s in severities]
        left = [r for r in rows if r["method"] == method and not r.get("damage")
                and len(r["present"]) == modalities - 1]  # fmt: skip
        cells += [values(left, metric)] * gap
        lines.append([method, *(f"{mean(c):.3f}" if c else "" for c in cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def values(rows: Sequence[Row], metric: str) -> list[float]:
    """Return the scores of a metric."""
    return [r["value"] for r in rows if r["metric"] == metric]


if __name__ == "__main__":
    main()
