"""Sensors that many training people lack: at test only, in pretraining, in fine-tuning, in all.

The people whom a fold tests have what they have. Of everybody else's recordings each sensor is
dropped with probability 1/2 (one always stays), as if it had not been worn, and a network is
pretrained on these too. Each of the two networks is then read by classifiers that are fitted on
complete people, and on those who lack sensors; all are tested on complete people, under every
subset of sensors. Kept as other studies are, in results/missing/.

    python benchmarks/missing.py --data sp_sw_har=DIR --data noneeg_rec=DIR --work WORK
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from study import HERE, KEPT, changed_store, keep, run, write, written

from crossl.config import load_config
from crossl.data.recording import Recording
from crossl.data.store import Store
from crossl.experiment.fold import folds_of

CONFIG = HERE / "missing.yaml"
FOLD, SHARE, SEED = 0, 0.5, 0


def main() -> None:
    """Parse, make the stores, pretrain on both, read each as the other's, keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="for stores, runs and results")
    asked = parser.parse_args()
    asked.work, asked.folds, asked.config = asked.work.resolve(), str(FOLD), CONFIG
    roots = dict(pair.split("=", 1) for pair in asked.data)
    path, out = written(asked, roots), asked.work / CONFIG.stem
    study: dict[str, Any] = yaml.safe_load(path.read_text())
    complete = dict(study["data"])
    for name, block in complete.items():
        store = asked.work / "stores" / f"{name}_missing"
        if not store.exists():
            incomplete_store(store, Store.open(Path(block["store"])), name, Path(roots[name]))
        study["data"][f"{name}_missing"] = {**block, "store": str(store)}
    write(study, path)
    run(path, out)
    for name in complete:
        for own, other in ((name, f"{name}_missing"), (f"{name}_missing", name)):
            there = {"kind": "transferred", "run": str(out / other / f"fold-{FOLD}")}
            settings = {**study["data"][own].get("settings", {}), "contenders": {
                "pretrained_on_the_others": there}}  # fmt: skip
            study["data"][own] = {**study["data"][own], "settings": settings}
    write(study, path)
    run(path, out)
    keep(out, KEPT / CONFIG.stem)


def incomplete_store(out: Path, store: Store, name: str, root: Path) -> None:
    """Write a store of the same windows, but of whom the fold does not test sensors are dropped."""
    tested = set(store.subject[folds_of(store, load_config())[FOLD].test].tolist())
    names, rng = [m.name for m in store.modalities], np.random.default_rng(SEED)

    def change(one: Recording) -> Recording:
        less = incomplete(one, names, rng)
        return one if one.subject in tested else less

    changed_store(out, store, name, root, change)


def incomplete(one: Recording, names: list[str], rng: np.random.Generator) -> Recording:
    """Drop each sensor of a recording by chance, as if it had not been worn; one always stays."""
    kept = rng.random(len(names)) >= SHARE
    kept[rng.integers(len(names))] = True
    left = {n for n, stays in zip(names, kept, strict=True) if stays}
    return replace(one, signals={n: s for n, s in one.signals.items() if n in left})


if __name__ == "__main__":
    main()
