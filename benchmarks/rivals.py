"""Run what anyone would try first beside crossl, and write benchmarks/rivals.md.

Random forest and logistic regression on statistics, MiniRocket and Hydra with a ridge, SimCLR and
the untrained network under the protocol of `crossl benchmark` (docs/protocol.md), with every fold.
Started again it resumes; with everything computed it only writes the table.

    python benchmarks/rivals.py --data sp_sw_har=DIR --data uci_har=DIR --work WORK
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from protocol import FRACTIONS, HERE, Row, cell, find, keep, mean_cell, summary_rows

from crossl.evaluate.metrics import Interval, mean_interval

CONFIG = HERE.parent / "configs" / "rivals.yaml"
METHODS = ("crossl", "untrained", "simclr", "logistic", "forest", "minirocket", "hydra")
COMMAND = (sys.executable, "-m", "crossl.cli.main")


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="for stores and results")
    parser.add_argument("--tables-only", action="store_true", help="of what was computed")
    arguments = parser.parse_args()
    sets = dict(pair.split("=", 1) for pair in arguments.data)
    names = " ".join(f"--data {name}=DIR" for name in sets)
    text = ["# Rivals\n", f"Remade by `python benchmarks/rivals.py {names} --work WORK`.\n"]
    for name, root in sets.items():
        if not arguments.tables_only:
            run(name, root, arguments.work)
        text += section(arguments.work / name)
    (HERE / "rivals.md").write_text("\n".join(text))


def run(name: str, root: str, work: Path) -> None:
    """Prepare a store, if there is none, and benchmark on it."""
    store = work / f"store-{name}"
    if not store.exists():
        asked = ("prepare", name, "--root", root, "--out", str(store))
        subprocess.run([*COMMAND, *asked], check=True)
    asked = ("benchmark", str(store), "--out", str(work / name), "--seed", "0", "--config",
             str(CONFIG), "--set", "evaluation.methods=[crossl,untrained]")  # fmt: skip
    subprocess.run([*COMMAND, *asked], check=True)


def section(folder: Path) -> list[str]:
    """Write the tables of one data set."""
    summary = json.loads((folder / "summary.json").read_text())
    rows = summary_rows(folder / "results.jsonl")
    keep(f"rivals_{folder.name}", [row for row in rows if row["metric"] == "macro_f1"])
    names = [m["name"] for m in summary["modalities"]]
    all_but_one = [[n for n in names if n != gone] for gone in names]
    people = by_person(folder / "results.jsonl", names)
    shown = [name for name in METHODS if (name, FRACTIONS[0]) in people]
    out = [f"## {summary['dataset']}\n",
           f"{summary['n_labelled']} labelled windows, {len(summary['subjects'])} subjects, folds "
           f"{summary['folds_run']}, label seeds {summary['label_seeds']}, seed {summary['seed']}, "
           f"store {summary['hashes']['store'][:12]}.\n",
           "Macro-F1 [95% interval over subjects] by label fraction:\n",
           "| method | 1% | 5% | 10% | 100% | 10%, one modality missing (mean) |",
           "|---|---|---|---|---|---|"]  # fmt: skip
    for method in shown:
        cells = [cell(find(rows, method, f, names)) for f in FRACTIONS]
        cells.append(mean_cell(rows, method, 0.1, all_but_one))
        out.append(f"| {method} | {' | '.join(cells)} |")
    out += ["", "crossl minus each, macro-F1 of each subject, paired:\n",
            "| | 1% | 5% | 10% | 100% |", "|---|---|---|---|---|"]  # fmt: skip
    for method in shown[1:]:
        cells = [told(difference(people, method, f)) for f in FRACTIONS]
        out.append(f"| {method} | {' | '.join(cells)} |")
    return [*out, ""]


Scores = dict[tuple[str, float], dict[str, list[float]]]


def by_person(path: Path, present: list[str]) -> Scores:
    """Read each person's macro-F1 with every modality: one for each label draw."""
    out: Scores = defaultdict(lambda: defaultdict(list))
    with path.open() as lines:
        rows: list[Row] = [json.loads(line) for line in lines]
    for row in rows:
        if row["subject"] and row["metric"] == "macro_f1" and row["present"] == present:
            out[str(row["method"]), float(row["label_fraction"])][str(row["subject"])].append(  # type: ignore[arg-type]
                float(row["value"])  # type: ignore[arg-type]
            )
    return out


def difference(scores: Scores, method: str, fraction: float) -> Interval:
    """Average the difference of each person; the interval resamples people."""
    ours, theirs = scores["crossl", fraction], scores[method, fraction]
    return mean_interval(np.array([np.mean(ours[p]) - np.mean(theirs[p]) for p in sorted(ours)]))


def told(interval: Interval) -> str:
    """Write a difference and its interval."""
    return f"{interval.value:+.3f} {interval.told('+')}"


if __name__ == "__main__":
    main()
