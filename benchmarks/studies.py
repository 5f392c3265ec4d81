"""The paper's studies, remade: masks by ratio and strategy, aggregators, what each change brings.

Each cell is a pretraining of its own, probed with few labels by the protocol of `crossl benchmark`
on test people. A run computes the first cells that are missing (`--cells N`), keeps their rows in
results/studies.jsonl and writes studies.md; the next run goes on from there. The table says on
which folds and label draws a cell was computed.

    python benchmarks/studies.py --store noneeg=STORE --work WORK --study masks --cells 5
    python benchmarks/studies.py --table-only
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

import yaml

from crossl.train.schedule import Schedule

HERE = Path(__file__).parent
ROWS, TABLE = HERE / "results" / "studies.jsonl", HERE / "studies.md"
FRACTIONS = (0.01, 0.1)
STRATEGIES = ("spatial", "temporal_each", "random", "temporal", "column")
RATIOS = (0.6, 0.3, 0.9, 0.0, 0.5, 0.7)
BOTH = ["aggregator", "encoders"]
INTRODUCTION = """\
Macro-F1 on test people of the network alone, without untrained features beside it, no validation
label used; in brackets the mean with one sensor missing.
Each heading says folds and label draws: of few, differences of a few hundredths mean nothing.
`python benchmarks/studies.py --store NAME=STORE --work WORK` goes on where the last run ended.
"""
Row = dict[str, Any]


def mask_cells() -> Iterator[tuple[str, Row]]:
    """Yield a masking ratio and strategy each: one of each strategy, then those of one strategy.

    Without a mask all strategies are the same cell.
    """
    first = [(RATIOS[0], strategy) for strategy in STRATEGIES]
    rest = [(ratio, strategy) for strategy in STRATEGIES for ratio in RATIOS[1:]]
    for ratio, strategy in (*first, *rest):
        if ratio == 0 and strategy != STRATEGIES[0]:
            continue
        method = {"kind": "crossl", "strategy": strategy, "keep_rate": round(1 - ratio, 2)}
        if ratio == 0:  # else spatial views would be made to differ
            method["differ"] = False
        yield f"masks.{strategy}.{ratio:g}", {"method": method}


def aggregator_cells() -> Iterator[tuple[str, Row]]:
    """Yield an aggregator each; both its embedding and the encoders side by side are read."""
    for kind in ("predictive", "gated", "attention", "transformer"):
        yield f"aggregators.{kind}", {"aggregator": {"kind": kind}, "heads": BOTH}


def ablation_cells() -> Iterator[tuple[str, Row]]:
    """Yield from `paper` to `crossl`, one change a row; each has those before it, too."""
    changes: list[tuple[str, Row]] = [
        ("1-paper", {}),
        ("2-schedule", {"schedule": Schedule().model_dump(mode="json")}),
        ("3-encoder", {"encoder": {"kind": "strided"}}),
        ("4-aggregator", {"aggregator": {"kind": "predictive"}}),
        ("5-keep-0.4", {"method": {"keep_rate": 0.4}}),
    ]
    laid: Row = {"recipe": "paper", "heads": BOTH}
    for name, change in changes:
        laid = {**laid, **change}
        yield f"ablation.{name}", laid
    terms = {"kind": "crossl", "prediction_weight": 0}
    without = {"method": {**terms, "modality_weight": 0}, "heads": BOTH}
    yield "ablation.6-views-expander", without
    yield "ablation.7-modality-term", {"method": terms, "heads": BOTH}
    yield "ablation.8-crossl", {"heads": BOTH}


STUDIES = {
    "masks": mask_cells,
    "aggregators": aggregator_cells,
    "ablation": ablation_cells,
}


def main() -> None:
    """Parse, compute what is asked, keep rows, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", action="append", default=[], metavar="NAME=STORE")
    parser.add_argument("--work", type=Path, help="for runs")
    parser.add_argument("--study", action="append", choices=sorted(STUDIES))
    parser.add_argument("--cells", type=int, default=10**6, help="at most so many new ones a set")
    parser.add_argument("--folds", default="0", help="numbers, such as 0,2")
    parser.add_argument("--draws", type=int, default=3, help="label draws")
    parser.add_argument("--set", action="append", default=[], help="a setting of all cells")
    parser.add_argument("--table-only", action="store_true")
    parser.add_argument("--quick", action="store_true", help="few steps; keeps nothing")
    asked = parser.parse_args()
    for name, store in (pair.split("=", 1) for pair in asked.store if not asked.table_only):
        compute(name, Path(store), asked)
    if not asked.quick:
        TABLE.write_text("\n".join(table(read_rows())) + "\n")


def compute(data: str, store: Path, asked: argparse.Namespace) -> None:
    """Compute missing cells of a data set, one after the other, and keep each at once."""
    done = {row["cell"] for row in read_rows() if is_of(row, data, asked)}
    cells = {n: c for study in asked.study or STUDIES for n, c in STUDIES[study]()}
    missing = [name for name in cells if name not in done][: asked.cells]
    for number, name in enumerate(missing, start=1):
        print(f"{data}: {name}, {number} of {len(missing)}", flush=True)
        out = asked.work / f"{data}-{asked.draws}"
        settings = {
            "evaluation": {
                "methods": ["crossl"], "label_fractions": list(FRACTIONS),
                "label_seeds": list(range(asked.draws)),
            },
            "contenders": {name: cells[name]},
            "features": None,  # of the network alone: what stands beside it would blur masks
        }  # fmt: skip
        if asked.quick:
            settings["schedule"] = {"steps": 4, "batch_size": 32}
            out = out.with_name(f"{out.name}-quick")
        asked.work.mkdir(parents=True, exist_ok=True)
        path = asked.work / f"{data}.yaml"
        path.write_text(yaml.safe_dump(settings, sort_keys=False))
        command = [sys.executable, "-m", "crossl.cli.main", "benchmark", str(store), "--out",
                   str(out), "--config", str(path), "--fold-numbers", asked.folds,
                   "--workers", "1"]  # fmt: skip
        command += [part for setting in asked.set for part in ("--set", setting)]
        subprocess.run(command, check=True)
        rows = list(rows_of(data, name, out / "results.jsonl", asked))
        if asked.quick:
            print(*rows, sep="\n", flush=True)
        else:
            keep(rows)


def rows_of(data: str, cell: str, path: Path, asked: argparse.Namespace) -> Iterator[Row]:
    """Yield a row for each head and label fraction: every sensor, and the mean with one missing."""
    with path.open() as lines:
        found = [json.loads(line) for line in lines]
    found = [r for r in found
             if r["method"] == cell and r["metric"] == "macro_f1" and r["budget"] == "strict"
             and r["fold"] is None and r["seed"] is None and r["subject"] is None]  # fmt: skip
    full = max(len(r["present"]) for r in found)
    for head, fraction in sorted({(r["head"], r["label_fraction"]) for r in found}):
        own = [r for r in found if (r["head"], r["label_fraction"]) == (head, fraction)]
        whole = next(r for r in own if len(r["present"]) == full)
        one = [r["value"] for r in own if len(r["present"]) == full - 1]
        yield {
            "data": data, "cell": cell, "head": head, "label_fraction": fraction,
            "folds": asked.folds, "draws": asked.draws, "people": whole["n"],
            "macro_f1": round(whole["value"], 4), "ci_low": whole["ci_low"],
            "ci_high": whole["ci_high"], "one_missing": round(mean(one), 4) if one else None,
        }  # fmt: skip


def is_of(row: Row, data: str, asked: argparse.Namespace) -> bool:
    """Tell whether a row was computed as it is asked for."""
    return (row["data"], row["folds"], row["draws"]) == (data, asked.folds, asked.draws)


def read_rows() -> list[Row]:
    """Read what is kept."""
    if not ROWS.is_file():
        return []
    with ROWS.open() as lines:
        return [json.loads(line) for line in lines]


def keep(rows: list[Row]) -> None:
    """Add rows, in the place of those of the same cell."""

    def known_as(row: Row) -> tuple[Any, ...]:
        return tuple(row[k] for k in ("data", "cell", "head", "label_fraction", "folds", "draws"))

    kept = {known_as(row): row for row in (*read_rows(), *rows)}
    ROWS.write_text("".join(json.dumps(row) + "\n" for row in kept.values()))


def table(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# The paper's studies, remade\n"
    yield INTRODUCTION
    for data, folds, draws in sorted({(r["data"], r["folds"], r["draws"]) for r in rows}):
        own = [r for r in rows if (r["data"], r["folds"], r["draws"]) == (data, folds, draws)]
        yield f"## {data}: fold {folds}, {draws} label draws, {own[0]['people']} people\n"
        for fraction in FRACTIONS:
            yield from heat_map([r for r in own if r["label_fraction"] == fraction], fraction)
        yield from plain_table([r for r in own if not r["cell"].startswith("masks.")])


def heat_map(rows: list[Row], fraction: float) -> Iterator[str]:
    """Yield masks: a row for each strategy, a column for each ratio."""
    by_cell = {r["cell"]: r for r in rows if r["cell"].startswith("masks.")}
    if not by_cell:
        return
    ratios = sorted(RATIOS)
    yield f"Masking ratio by strategy, {fraction:.0%} of labels:\n"
    yield "| strategy | " + " | ".join(f"{r:g}" for r in ratios) + " |"
    yield "|---" * (len(ratios) + 1) + "|"
    for strategy in STRATEGIES:
        names = [f"{strategy if ratio else STRATEGIES[0]}.{ratio:g}" for ratio in ratios]
        cells = [score(by_cell.get(f"masks.{name}")) for name in names]
        yield f"| {strategy} | " + " | ".join(cells) + " |"
    yield ""


def plain_table(rows: list[Row]) -> Iterator[str]:
    """Yield aggregators and changes: a row each, by head and label fraction."""
    if not rows:
        return
    columns = [(head, fraction) for head in BOTH for fraction in FRACTIONS]
    yield "| cell | " + " | ".join(f"{head}, {f:.0%}" for head, f in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for cell in sorted({r["cell"] for r in rows}):
        found = {(r["head"], r["label_fraction"]): r for r in rows if r["cell"] == cell}
        yield f"| {cell} | " + " | ".join(score(found.get(column)) for column in columns) + " |"
    yield ""


def score(row: Row | None) -> str:
    """Write a score, and the one with a sensor missing."""
    if row is None:
        return ""
    missing = "" if row["one_missing"] is None else f" ({row['one_missing']:.3f})"
    return f"{row['macro_f1']:.3f}{missing}"


if __name__ == "__main__":
    main()
