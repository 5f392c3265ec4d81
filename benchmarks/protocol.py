"""Run the whole protocol on data sets and write benchmarks/results.md.

Started again it goes on where it was stopped; with everything computed it only writes the table.

    python benchmarks/protocol.py --data sp_sw_har=DIR --data uci_har=DIR --work WORK
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
METHODS = "[crossl, untrained, supervised, finetuned, subset_probes]"
SETTINGS = [f"evaluation.methods={METHODS}", "evaluation.finetuned_fractions=[1.0]"]
FRACTIONS = (0.01, 0.05, 0.1, 1.0)
Row = dict[str, object]


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    arguments = parser.parse_args()
    sets = dict(pair.split("=", 1) for pair in arguments.data)
    for name, root in sets.items():
        run(name, root, arguments.work / name, arguments.workers)
    names = " ".join(f"--data {name}=DIR" for name in sets)
    text = [f"Remade by `python benchmarks/protocol.py {names} --work WORK`.\n"]
    for name in sets:
        summary = json.loads((arguments.work / name / "summary.json").read_text())
        rows = summary_rows(arguments.work / name / "results.jsonl")
        keep(name, rows)
        text += section(summary, rows)
    (HERE / "results.md").write_text("# Results\n\n" + "\n".join(text))


def run(name: str, root: str, out: Path, workers: int) -> None:
    """Run `crossl demo` with every method and fold."""
    command = [sys.executable, "-m", "crossl.cli.main", "demo", "--data", root, "--out", str(out),
               "--workers", str(workers), "--seed", "0"]  # fmt: skip
    for setting in SETTINGS:
        command += ["--set", setting]
    print(name, shlex.join(command), flush=True)
    subprocess.run(command, check=True)


def summary_rows(path: Path) -> list[Row]:
    """Read the records over all folds, label draws and subjects."""
    with path.open() as lines:
        rows = [json.loads(line) for line in lines]
    return [r for r in rows if r["fold"] is None and r["seed"] is None and r["subject"] is None]


def keep(name: str, rows: list[Row]) -> None:
    """Commit-sized copy of the summary records."""
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def find(rows: list[Row], method: str, fraction: float, present: list[str],
         metric: str = "macro_f1") -> Row | None:  # fmt: skip
    """Find one record."""
    wanted = {"method": method, "label_fraction": fraction, "present": present, "metric": metric}
    return next((r for r in rows if all(r[k] == v for k, v in wanted.items())), None)


def cell(row: Row | None, *, signed: bool = False) -> str:
    """Write value and interval."""
    if row is None:
        return ""
    sign = "+" if signed else ""
    if row["ci_low"] is None:  # one person
        return f"{row['value']:{sign}.3f}"
    return f"{row['value']:{sign}.3f} [{row['ci_low']:{sign}.3f}, {row['ci_high']:{sign}.3f}]"


def mean_cell(rows: list[Row], method: str, fraction: float, subsets: list[list[str]]) -> str:
    """Average a score over subsets."""
    found = [find(rows, method, fraction, s) for s in subsets]
    values = [float(r["value"]) for r in found if r is not None]  # type: ignore[arg-type]
    if not values:
        return ""
    # where somebody lacks a sensor, what is missing is compared on those who have it
    with_all = [find(rows, method, fraction, s, "macro_f1_with_all") for s in subsets]
    wholes = [float(r["value"]) for r in with_all if r is not None]  # type: ignore[arg-type]
    of = f" of {sum(wholes) / len(wholes):.3f}" if len(wholes) == len(values) else ""
    return f"{sum(values) / len(values):.3f}{of}"


def section(summary: dict[str, object], rows: list[Row]) -> list[str]:
    """Write the tables of one data set."""
    modalities: list[dict[str, str]] = summary["modalities"]  # type: ignore[assignment]
    names = [m["name"] for m in modalities]
    all_but_one = [[n for n in names if n != gone] for gone in names]
    out = [f"## {summary['dataset']}\n",
           f"{summary['n_labelled']} labelled windows, {len(summary['subjects'])} subjects, "  # type: ignore[arg-type]
           f"folds {summary['folds_run']}, recipe `{summary['recipe']}`, seed {summary['seed']}, "
           f"store {str(summary['hashes']['store'])[:12]}.\n",  # type: ignore[index]
           "Macro-F1 [95% interval over subjects] by label fraction:\n",
           "| method | 1% | 5% | 10% | 100% | 10%, one modality missing (mean) |",
           "|---|---|---|---|---|---|"]  # fmt: skip
    for method in ("crossl", "untrained", "supervised", "finetuned"):
        cells = [cell(find(rows, method, f, names)) for f in FRACTIONS]
        cells.append(mean_cell(rows, method, 0.1, all_but_one))
        out.append(f"| {method} | " + " | ".join(cells) + " |")
    for base in ("supervised", "untrained"):
        metric = "macro_f1_difference"
        found = [find(rows, f"crossl - {base}", f, names, metric) for f in FRACTIONS]
        cells = [cell(r, signed=True) for r in found]
        out.append(f"| crossl - {base}, paired by subject | " + " | ".join(cells) + " | |")
    return [*out, "", *missing_table(rows, modalities), ""]


def missing_table(rows: list[Row], modalities: list[dict[str, str]]) -> list[str]:
    """Write the score of every subset against a probe trained for exactly that subset."""
    names = [m["name"] for m in modalities]
    subsets = [r["present"] for r in rows if r["method"] == "crossl, probe per subset"
               and r["metric"] == "macro_f1" and r["label_fraction"] == 1.0]  # fmt: skip
    out = ["Sensors missing at test time, nothing retrained, against a probe trained for exactly "
           "that subset:\n",
           "| present | 10%: crossl | own probe | ratio | 100%: crossl | own probe | ratio |",
           "|---|---|---|---|---|---|---|"]  # fmt: skip
    for present in subsets:
        cells = []
        for fraction in (0.1, 1.0):
            ours = find(rows, "crossl", fraction, present)  # type: ignore[arg-type]
            own = find(rows, "crossl, probe per subset", fraction, present)  # type: ignore[arg-type]
            if ours and own:
                ratio = float(ours["value"]) / float(own["value"])  # type: ignore[arg-type]
                cells += [f"{ours['value']:.3f}", f"{own['value']:.3f}", f"{ratio:.1%}"]
        told = "everything" if present == names else ", ".join(present)  # type: ignore[arg-type]
        out.append(f"| {told} | " + " | ".join(cells) + " |")
    return out


if __name__ == "__main__":
    main()
