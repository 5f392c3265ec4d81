"""Context and sets on held-out people: `python benchmarks/context.py RUN=STORE...`.

Each RUN is a folder of `crossl pretrain`, or a fold of `crossl benchmark`. A probe is fitted for
each label draw, with transitions and thresholds as `crossl probe` fits them; test people say what
context brings them, whether validation people said that it would, how well calibrated it is, and
which share of their windows sets of labels cover. Prints a JSON line a run and draw, then tables.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from crossl.commands.probe import open_pair
from crossl.contenders.contender import latent_table
from crossl.data.splits import fold_from_subjects
from crossl.decode import FORMS, Decoder
from crossl.evaluate.confidence import Temperatures, reliability
from crossl.evaluate.context import by_recording, calibrated, in_context
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.metrics import mean_interval
from crossl.evaluate.probe import Probe, fit_probe
from crossl.evaluate.probe_facts import probe_facts
from crossl.evaluate.sets import MODES, Sets
from crossl.tasks import task_of

LEVELS = (0.8, 0.9)


def measured(run_path: Path, store_path: Path, fraction: float, seed: int) -> dict[str, Any]:
    """Fit a probe with what is kept beside it, and measure it on test people."""
    run, fitted = open_pair(run_path, store_path)
    store = fitted.store
    fold = fold_from_subjects(store.subject, **run.contract["subjects"])
    task = task_of(run.config.task, store)
    target = task.values(store)
    rows = task.draw(target, fold.train, store.subject, fraction=fraction, seed=seed)
    train, validation, test = (latent_table(run.model, store, r, task)
                               for r in (rows, fold.validation, fold.test))  # fmt: skip
    probe = fit_probe(train, validation, seed=seed)
    facts = probe_facts(probe, train, validation, store)
    temperatures = Temperatures.from_dict(facts["temperatures"])
    alone = calibrated(probe, temperatures, test, [tuple(range(len(store.modalities)))])[:, 0]
    said = {"off": alone}
    decoder = Decoder.from_dict(facts["context"]) if "context" in facts else None
    if decoder is not None:
        said |= {form: in_context(decoder, alone, test, store, form) for form in FORMS}
    labels = {name: probe.classes[np.nan_to_num(one).argmax(axis=1)] for name, one in said.items()}
    if decoder is not None:
        labels["path"] = labels["off"].copy()
        for part in by_recording(test, store):
            path = decoder.path(alone[part], store.start_s[test.rows[part]])
            labels["path"][part] = probe.classes[path]
    sets = Sets.from_dict(facts["sets"])
    return {
        "run": f"{run_path.parent.name}/{run_path.name}", "seed": seed, "store": store_path.name,
        "helps": {} if decoder is None else dict(decoder.helps),
        "people": np.unique(test.subject).tolist(),
        "score": {name: scores(probe, test, one) for name, one in labels.items()},
        "ece": {name: ece(probe, test, one) for name, one in said.items()},
        "sets": {f"{mode} {level}": covered(probe, sets, test, said[mode], level, mode)
                 for mode in MODES if mode in said and mode in sets.thresholds
                 for level in LEVELS},
    }  # fmt: skip


def scores(probe: Probe, test: LatentTable, label: Any) -> list[float]:
    """Score each person."""
    _, counts = probe.task.by_subject(test.label, label, test.subject)
    return [round(float(x), 4) for x in probe.task.metric(counts)]


def ece(probe: Probe, test: LatentTable, said: Any) -> float:
    """Return the expected calibration error over the labelled windows of all."""
    known = test.task.known(test.label)
    right = probe.classes[said[known].argmax(axis=1)] == test.label[known]
    return float(reliability(said[known].max(axis=1), right)["ece"])


def covered(
    probe: Probe, sets: Sets, test: LatentTable, said: Any, level: float, mode: Any
) -> dict[str, Any]:
    """Return which share of each person's windows have the truth in their set, and mean sizes."""
    inside = sets.member(said, np.asarray(test.present), level, mode)
    known = test.task.known(test.label)
    place = np.searchsorted(probe.classes, test.label.clip(min=0)).clip(max=len(probe.classes) - 1)
    hit = inside[np.arange(len(inside)), place]
    people = np.unique(test.subject[known])
    return {
        "coverage": [round(float(hit[known & (test.subject == one)].mean()), 3) for one in people],
        "size": round(float(inside[known].sum(axis=1).mean()), 3),
        "people": sets.people,
    }


def table(found: list[dict[str, Any]]) -> None:
    """Print what context brings each person, averaged over draws, and what sets cover."""
    by_data = defaultdict(list)
    for one in found:
        by_data[one["run"].split("/")[0]].append(one)
    line("data", "context", "people", "macro-F1 off", "difference by person", "better / worse",
         "ECE", "on")  # fmt: skip
    line(*["---"] * 8)
    for name, runs in by_data.items():
        for form in (*FORMS, "path"):
            brings(name, runs, form)
    print()
    line("data", "context, level", "people asked", "mean coverage", "lowest", "20%", "median",
         "reach it", "mean size")  # fmt: skip
    line(*["---"] * 9)
    for name, runs in by_data.items():
        for key in runs[0]["sets"]:
            covers(name, runs, key)


def line(*cells: Any) -> None:
    """Print a row of a table."""
    print(f"| {' | '.join(map(str, cells))} |")


def brings(name: str, runs: list[dict[str, Any]], form: str) -> None:
    """Print what a form of context brings."""
    gains, off = defaultdict(list), defaultdict(list)
    for one in (one for one in runs if form in one["score"]):
        for person, score, alone in zip(one["people"], one["score"][form], one["score"]["off"],
                                        strict=True):  # fmt: skip
            gains[person].append(score - alone)
            off[person].append(alone)
    if not gains:
        line(name, form, "", "", "nothing is learned", "", "", "")
        return
    gain = np.array([np.mean(values) for values in gains.values()])
    told = mean_interval(gain)
    errors = [f"{np.mean([one['ece'][f] for one in runs if f in one['ece']]):.3f}"
              for f in ("off", form) if f != "path"]  # fmt: skip
    helps = sum(one["helps"].get(form, False) for one in runs)
    alone = np.mean([np.mean(values) for values in off.values()])
    line(name, form, len(gain), f"{alone:.3f}", f"{told.value:+.3f} {told.told('+')}",
         f"{(gain > 1e-9).sum()} / {(gain < -1e-9).sum()}", " to ".join(errors),
         "" if form == "path" else f"{helps} of {len(runs)}")  # fmt: skip


def covers(name: str, runs: list[dict[str, Any]], key: str) -> None:
    """Print which share of their windows sets cover of test people."""
    some = [one["sets"][key] for one in runs if key in one["sets"]]
    every = np.array([share for one in some for share in one["coverage"]])
    level = float(key.split()[1])
    line(name, key, some[0]["people"], f"{every.mean():.3f}", f"{every.min():.2f}",
         f"{np.quantile(every, 0.2):.2f}", f"{np.median(every):.2f}",
         f"{(every >= level).mean():.0%} of {len(every)}",
         f"{np.mean([one['size'] for one in some]):.2f}")  # fmt: skip


def main() -> None:
    """Measure every run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="+", help="RUN=STORE")
    parser.add_argument("--label-fraction", type=float, default=0.1)
    parser.add_argument("--draws", type=int, default=3)
    asked = parser.parse_args()
    found = []
    for pair in asked.pairs:
        run, store = (Path(one) for one in pair.split("="))
        for seed in range(asked.draws):
            found.append(measured(run, store, asked.label_fraction, seed))
            print(json.dumps(found[-1]), flush=True)
    table(found)


if __name__ == "__main__":
    main()
