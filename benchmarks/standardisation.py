"""Whose mean and deviation: `python benchmarks/standardisation.py STORE...`.

The untrained network with a linear probe, at the main fraction of labels, scored on validation
subjects, who also choose its strength; test subjects are not looked at. Prints a line a kind.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from crossl.commands.sweep import validation_score
from crossl.config import build_model, load_config
from crossl.data.calibrated import calibrated
from crossl.data.store import Store
from crossl.experiment.fold import folds_of

KINDS = (
    "{kind: training}",
    "{kind: recording}",
    "{kind: recording, by: subject}",
    "{kind: calibration, minutes: 1}",
    "{kind: calibration, minutes: 5}",
    "{kind: calibration, minutes: 10}",
    "{kind: running}",
)


def scores(store: Store, kind: str, folds: int, overrides: list[str]) -> list[float]:
    """Return the score of each of the first folds."""
    config = load_config(overrides=[f"standardisation={kind}", "evaluation.heads=[encoders]",
                                    "evaluation.label_seeds=[0,1,2,3,4]", *overrides])  # fmt: skip
    found = []
    for fold in folds_of(store, config)[:folds]:
        seen = calibrated(store, config.standardisation.build(), fold.train)
        model = build_model(config, seen.modalities, window_s=seen.window_s, seed=1000)
        model.standardiser.fit(seen, fold.train)
        found.append(float(validation_score(model.eval(), seen, fold, config)["score"]))
    return found


def main() -> None:
    """Score every kind on every store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--folds", type=int, default=3, help="so many of them, the first ones")
    parser.add_argument("--kinds", nargs="+", default=KINDS, help="as in a run file")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of a run file")
    asked = parser.parse_args()
    for path in asked.stores:
        for kind in asked.kinds:
            found = scores(Store.open(path), kind, asked.folds, asked.set)
            told = {"store": path.name, "standardisation": kind,
                    "folds": [round(one, 3) for one in found],
                    "mean": round(float(np.mean(found)), 3)}  # fmt: skip
            print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
