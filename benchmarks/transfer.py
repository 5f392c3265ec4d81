"""What pretraining on another data set brings: other people, sensors, rates and windows.

Each data set is pretrained by itself first (fold 0 of it serves the others). Then, on every fold of
the other: random weights; the other set's network as it is, sensor by sensor; pretraining that
begins there, and one that begins with random weights, both for a quarter of the steps; and what
the whole of pretraining brings. For UCI HAR also a network that was pretrained on both sets
together, 50 Hz and windows of 2.56 s: its people have no watch, which is no trouble. Kept as other
studies are, in results/transfer/.

    python benchmarks/transfer.py --data sp_sw_har=DIR --data uci_har=DIR --work WORK [--folds 0,1]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from study import HERE, KEPT, keep, run, write, written

import crossl
from crossl.config import load_config
from crossl.data.readers import open_dataset
from crossl.data.recording import Recording
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.experiment.fold import folds_of

CONFIG = HERE / "transfer.yaml"
ORIGINS = {
    "uci_har": {"sp_sw_har": {"total_acc": "phone_acc", "gyro": "phone_gyro"}},
    "sp_sw_har": {"uci_har": {"phone_acc": "total_acc", "phone_gyro": "gyro",
                              "watch_acc": "total_acc", "watch_gyro": "gyro"}},
}  # fmt: skip
"""Which sensors begin as which."""
QUARTER = {"steps": 100}
TARGET, OTHER, RATE_HZ, WINDOW_S = "uci_har", "sp_sw_har", 50.0, 2.56
JOINED = {"phone_acc": "total_acc", "phone_gyro": "gyro"}


def main() -> None:
    """Parse, pretrain each set, then all that begins elsewhere, and keep the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="for stores, runs and results")
    parser.add_argument("--folds", default="all")
    asked = parser.parse_args()
    asked.work, asked.config = asked.work.resolve(), CONFIG
    roots = dict(pair.split("=", 1) for pair in asked.data)
    path, out = written(asked, roots), asked.work / CONFIG.stem
    study = yaml.safe_load(path.read_text())
    write(study, path)
    run(path, out)
    for name, block in study["data"].items():
        block.setdefault("settings", {})["contenders"] = dict(begun_elsewhere(name, out, roots))
    if {TARGET, OTHER} <= roots.keys():
        runs = asked.work / "joint"
        pretrain_together(asked.work / "stores", roots, runs, asked.folds)
        both = {"features": "off", "kind": "transferred", "run": str(runs / "fold-{fold}")}
        study["data"][TARGET]["settings"]["contenders"]["both_sets_together"] = both
    write(study, path)
    run(path, out)
    keep(out, KEPT / CONFIG.stem)


def begun_elsewhere(
    name: str, out: Path, roots: dict[str, str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the contenders of a data set that begin as another's network."""
    for other, modalities in ORIGINS.get(name, {}).items():
        if other not in roots:
            continue
        one = {"kind": "transferred", "run": str(out / other / "fold-0"), "features": "off",
               "modalities": modalities}  # fmt: skip
        yield f"as_it_is_from_{other}", one
        yield f"100_steps_from_{other}", {**one, "schedule": QUARTER}


def pretrain_together(stores: Path, roots: dict[str, str], runs: Path, folds: str) -> None:
    """Pretrain on both sets, without the people whom each fold of the target tests."""
    target = Store.open(stores / TARGET)
    both = stores / "joint"
    if not both.exists():
        joint_store(both, target, roots)
    store, config = Store.open(both), load_config(overrides=["features=null"])
    others = [name for name in np.unique(store.subject).tolist() if name.startswith(OTHER)]
    for fold in folds_of(target, config):
        if folds != "all" and str(fold.index) not in folds.split(","):
            continue
        out = runs / f"fold-{fold.index}"
        if not (out / "model.json").exists():
            people = {part: sorted({f"{TARGET}:{s}" for s in target.subject[getattr(fold, part)]})
                      for part in ("train", "validation")}  # fmt: skip
            print(f"both sets together: fold {fold.index}", flush=True)
            begun = crossl.build_model(store, settings={"features": None})
            crossl.pretrain(begun, store, train=[*people["train"], *others],
                            validation=people["validation"], out=out)  # fmt: skip


def joint_store(out: Path, target: Store, roots: dict[str, str]) -> None:
    """Write windows of both sets, with the target's names for what both have."""
    with open_dataset(OTHER, Path(roots[OTHER])) as other:
        wider = [m for m in other.card.modalities if m.name not in JOINED]
    modalities = [*target.modalities, *(replace(m, rate_hz=RATE_HZ) for m in wider)]
    write_store(
        recordings(roots), out, modalities=modalities, classes=(),
        spec=WindowSpec(window_s=WINDOW_S, stride_s=WINDOW_S / 2), about={"dataset": "joint"},
    )  # fmt: skip


def recordings(roots: dict[str, str]) -> Iterator[Recording]:
    """Yield recordings of both sets, without labels, at one rate."""
    for name in (TARGET, OTHER):
        with open_dataset(name, Path(roots[name])) as dataset:
            for one in dataset.read():
                yield joined(one, name)


def joined(one: Recording, name: str) -> Recording:
    """Return a recording as the joint store has it."""
    if name != TARGET:
        one = one.resampled(dict.fromkeys(one.modalities, RATE_HZ))
    names = {m: JOINED.get(m, m) for m in one.modalities}
    return replace(
        one,
        subject=f"{name}:{one.subject}",
        modalities={names[n]: replace(m, name=names[n]) for n, m in one.modalities.items()},
        signals={names[n]: signal for n, signal in one.signals.items()},
        labels=[],
    )


if __name__ == "__main__":
    main()
