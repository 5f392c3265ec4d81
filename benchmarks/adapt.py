"""What a few labelled minutes of a new person bring: `python benchmarks/adapt.py RUN=STORE...`.

Each RUN is a folder of `crossl pretrain`, or a fold of `crossl benchmark`. Its classifier is fitted
again at a label fraction; then each test person in turn labels the first M minutes, split alike
among the classes, and the rest is scored: the same windows for every M. The share of weight is what
validation people choose, as `crossl adapt` does. Prints a JSON line a person, then a table.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crossl.commands.probe import open_pair
from crossl.contenders.contender import latent_table
from crossl.data.splits import fold_from_subjects
from crossl.evaluate.adapt import choose_share, fit_adapted, score_of, split_person
from crossl.evaluate.metrics import mean_interval
from crossl.evaluate.probe import fit_probe
from crossl.evaluate.resampling import sign_flip_p
from crossl.tasks import task_of

MINUTES = (1, 2, 3, 5)


def measured(
    run_path: Path, store_path: Path, fraction: float, minutes: list[float]
) -> Iterator[dict[str, Any]]:
    """Yield what each test person scores with so many labelled minutes."""
    run, fitted = open_pair(run_path, store_path)
    store, spec = fitted.store, fitted.store.spec
    fold = fold_from_subjects(store.subject, **run.contract["subjects"])
    task = task_of(run.config.task, store)
    rows = task.draw(task.values(store), fold.train, store.subject, fraction=fraction, seed=0)
    train, validation, test = (latent_table(run.model, store, r, task)
                               for r in (rows, fold.validation, fold.test))  # fmt: skip
    probe = fit_probe(train, validation, seed=0)
    overlap = int(np.ceil(spec.window_s / spec.stride_s - 1e-9)) - 1
    classes = probe.classes.tolist()
    each = {m: round(60 * m / len(classes) / spec.stride_s) for m in minutes}
    shares = {m: choose_share(probe, train, validation, store.places,
                              dict.fromkeys(classes, each[m]), overlap)
              for m in minutes}  # fmt: skip
    for name in np.unique(test.subject):
        mine = test.take((test.subject == name) & (test.label >= 0))
        most = dict.fromkeys(classes, max(each.values()))
        _, rest = split_person(mine, store.places, most, overlap)
        scored, found = mine.take(rest), {}
        for m in minutes:
            given, _ = split_person(mine, store.places, dict.fromkeys(classes, each[m]), overlap)
            share = shares[m].share
            fitted_to = fit_adapted(probe, train, mine.take(given), share)
            found[m] = {"score": round(score_of(fitted_to, scored), 4), "share": share,
                        "windows": int(given.sum())}  # fmt: skip
        yield {"run": f"{run_path.parent.name}/{run_path.name}", "person": str(name),
               "scored": len(scored), "before": round(score_of(probe, scored), 4),
               "minutes": found}  # fmt: skip


def table(found: list[dict[str, Any]], minutes: list[float]) -> None:
    """Print differences by person."""
    by_data = defaultdict(list)
    for one in found:
        by_data[one["run"].split("/")[0]].append(one)
    print(
        "| data | people | before | minutes | share | difference by person | better / worse | p |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, people in by_data.items():
        before = np.array([one["before"] for one in people])
        for m in minutes:
            gain = np.array([one["minutes"][m]["score"] for one in people]) - before
            told = mean_interval(gain)
            shares = sorted({one["minutes"][m]["share"] for one in people})
            print(
                f"| {name} | {len(people)} | {before.mean():.3f} | {m:g} | "
                f"{', '.join(f'{x:g}' for x in shares)} | {told.value:+.3f} {told.told('+')} | "
                f"{(gain > 0).sum()} / {(gain < 0).sum()} | {sign_flip_p(gain):.3f} |"
            )


def main() -> None:
    """Measure every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", help="RUN=STORE")
    parser.add_argument("--label-fraction", type=float, default=0.1)
    parser.add_argument("--minutes", type=float, nargs="+", default=MINUTES)
    asked = parser.parse_args()
    found = []
    for pair in asked.pairs:
        run, store = (Path(one) for one in pair.split("="))
        for one in measured(run, store, asked.label_fraction, asked.minutes):
            print(json.dumps(one), flush=True)
            found.append(one)
    table(found, asked.minutes)


if __name__ == "__main__":
    main()
