"""Run the benchmark of all contenders under one protocol and keep what it found.

The study file names label draws, seeds and contenders. Started again it resumes; with everything
computed it only writes. What is kept, in results/study/ (or results/NAME/ of another
`--config NAME.yaml`): the tables, mean ranks, and for each data set every score by fold,
pretraining seed, label draw and person (`NAME.jsonl.gz`; with every sensor, and with one missing).
Data sets that are not asked for stay as they were kept, and count in the ranks.

    python benchmarks/study.py --data sp_sw_har=DIR --data noneeg=DIR --work WORK [--folds 0,1]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from kept import keep

from crossl.data.readers import open_dataset
from crossl.data.recording import Recording
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

HERE = Path(__file__).parent
KEPT = HERE / "results"
COMMAND = (sys.executable, "-m", "crossl.cli.main")
WESAD4 = ("wesad", "--option", "chest=no")
WESAD3 = (*WESAD4, "--classes", "baseline,stress,amusement")
PREPARED = {
    "noneeg_10s": ("noneeg", "--window-s", "10", "--stride-s", "10"),
    "noneeg_60s": ("noneeg", "--window-s", "60", "--stride-s", "30"),
    "noneeg_rec": ("noneeg",),
    "noneeg_running": ("noneeg",),
    "sp_sw_har_2s": ("sp_sw_har", "--window-s", "2", "--stride-s", "1"),
    "sp_sw_har_half": ("sp_sw_har", "--window-s", "0.5", "--stride-s", "0.25"),
    "uci_har_official": ("uci_har",),
    "wesad3": WESAD3,
    "wesad3_rec": WESAD3,
    "wesad3_running": WESAD3,
    "wesad4_rec": WESAD4,
}
"""How stores are made that are not simply a reader's."""


def main() -> None:
    """Parse, prepare, run, keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="for stores and results")
    parser.add_argument("--folds", default="all")
    parser.add_argument("--config", type=Path, default=HERE / "study.yaml")
    parser.add_argument("--keep-only", action="store_true", help="what was computed")
    arguments = parser.parse_args()
    sets = dict(pair.split("=", 1) for pair in arguments.data)
    name = arguments.config.stem
    out = arguments.work / name
    if not arguments.keep_only:
        run(written(arguments, sets), out)
    order = yaml.safe_load(arguments.config.read_text())["data"]
    keep(out, KEPT / name, list(order))


def run(study: Path, out: Path) -> None:
    """Compute what is missing of a study."""
    subprocess.run([*COMMAND, "benchmark", str(study), "--out", str(out)], check=True)


def written(arguments: argparse.Namespace, sets: dict[str, str]) -> Path:
    """Make the stores and the study file of these data sets."""
    study = yaml.safe_load(arguments.config.read_text())
    for name, root in sets.items():
        store = arguments.work / "stores" / name
        if not store.exists():
            reader, *more = PREPARED.get(name, (name,))
            asked = ("prepare", reader, "--root", root, "--out", str(store), *more)
            subprocess.run([*COMMAND, *asked], check=True)
        study["data"][name] = {**study["data"].get(name, {}), "store": str(store.resolve())}
    study["data"] = {name: study["data"][name] for name in sets}
    study["folds"] = arguments.folds
    path: Path = arguments.work / arguments.config.name
    write(study, path)
    return path


def changed_store(
    out: Path, store: Store, name: str, root: Path,
    change: Callable[[Recording], Recording | None],
) -> None:  # fmt: skip
    """Write a store like another, of changed recordings; those that become None are left out."""
    reader, *options = PREPARED.get(name, (name,))
    if options:
        raise SystemExit(f"{name}: is prepared with {' '.join(options)}, which this cannot change")
    with open_dataset(reader, root) as dataset:
        write_store(
            (one for one in map(change, dataset.read()) if one is not None), out,
            modalities=store.modalities, classes=store.classes,
            spec=WindowSpec(**store.manifest["window"]),
            about={"dataset": store.manifest["dataset"]},
        )  # fmt: skip


def write(study: dict[str, Any], path: Path) -> None:
    """Write a study file."""
    path.write_text(yaml.safe_dump(study, sort_keys=False))


if __name__ == "__main__":
    main()
