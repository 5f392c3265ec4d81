"""Tune every way to pretrain alike, on people whom the tuned study does not test.

Each contender of pretraining.yaml, and crossl, has the trials of tuning.yaml: its settings as they
are, twice the learning rate, and two changes of its own, each pretrained for half of the steps.
People whom folds 0 and 1 test are left out; the others make a store of their own, where a third of
them score what was learned of the rest, in one fold. The trial with the best score is taken: the
mean over 1% and 10% of labels, with every sensor and with one missing counting alike, as validation
counts them. One data set speaks for its family. Written are results/tuning/ and tuned.yaml, the
study of the chosen settings, which `study.py --config benchmarks/tuned.yaml` runs on folds 0 and 1.

    python benchmarks/tune.py --data sp_sw_har=DIR --data noneeg_rec=DIR --work WORK
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import mean
from typing import Any

import yaml
from study import HERE, KEPT, changed_store, keep, run, write, written

from crossl.config import lay_over, load_config
from crossl.data.recording import Recording
from crossl.data.store import Store
from crossl.experiment.fold import folds_of
from crossl.train.schedule import Schedule

CONFIG, UNTUNED, TUNED = (HERE / f"{n}.yaml" for n in ("tuning", "pretraining", "tuned"))
TESTED = (0, 1)
"""Folds whose people the tuned study tests: they are not among those who choose."""
STEPS = 200
"""Of a trial: half of what a pretraining has, for the time it takes."""
OTHERS = {"motion": {"uci_har": {}}}
"""Data sets of the tuned study that take what their family's first one chose."""
Block = dict[str, Any]


def main() -> None:
    """Parse, leave people out, run all trials, choose, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="for stores and results")
    parser.add_argument("--choose-only", action="store_true", help="of what was computed")
    asked = parser.parse_args()
    asked.work, asked.folds, asked.config = asked.work.resolve(), "0", CONFIG
    roots = dict(pair.split("=", 1) for pair in asked.data)
    out = asked.work / CONFIG.stem
    if not asked.choose_only:
        run(trials_study(asked, roots), out)
    keep(out, KEPT / CONFIG.stem)
    scores = {name: trial_scores(out / name / "results.jsonl") for name in roots}
    (KEPT / CONFIG.stem / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    write_tuned({name: best(of) for name, of in scores.items()})


def trials_study(asked: argparse.Namespace, roots: dict[str, str]) -> Path:
    """Write the study of all trials, on stores without the people who are tested later."""
    path = written(asked, roots)
    study = yaml.safe_load(path.read_text())
    del study["trials"]
    study["settings"]["schedule"] = {"steps": STEPS}
    study["settings"]["contenders"] = {
        f"{name}_{number}": changed(settings, {"schedule.steps": STEPS})
        for name, trials in all_trials().items() for number, settings in enumerate(trials)
    }  # fmt: skip
    for name, block in study["data"].items():
        store = asked.work / "stores" / f"{name}_tuning"
        if not store.exists():
            store_of_others(store, Store.open(Path(block["store"])), name, Path(roots[name]))
        block["store"] = str(store)
    write(study, path)
    return path


def store_of_others(out: Path, store: Store, name: str, root: Path) -> None:
    """Write a store without the people of the folds that are tested later."""
    folds = folds_of(store, load_config())
    tested = {s for fold in TESTED for s in store.subject[folds[fold].test].tolist()}

    def change(one: Recording) -> Recording | None:
        return None if one.subject in tested else one

    changed_store(out, store, name, root, change)


def all_trials() -> dict[str, list[Block]]:
    """Return the trials of every contender: as it is, a higher rate, and its own changes."""
    untuned = yaml.safe_load(UNTUNED.read_text())["settings"]["contenders"]
    own: dict[str, list[Block]] = yaml.safe_load(CONFIG.read_text())["trials"]
    faster = {"schedule.lr": 2 * Schedule().lr}
    bases = {"crossl": {"method": {"kind": "crossl"}}, **untuned}
    return {name: [changed(bases[name], change) for change in ({}, faster, *changes)]
            for name, changes in own.items()}  # fmt: skip


def changed(settings: Block, change: Block) -> Block:
    """Return a contender's settings with some, by dotted names, set."""
    for path, value in change.items():
        block, name = path.split(".")
        settings = lay_over(settings, {block: {name: value}})
    return settings


def trial_scores(path: Path) -> dict[str, list[float]]:
    """Return the score of every trial, by contender."""
    with path.open() as lines:
        rows = [json.loads(line) for line in lines]
    return {name: [round(trial_score(rows, f"{name}_{n}"), 4) for n in range(len(trials))]
            for name, trials in all_trials().items()}  # fmt: skip


def best(scores: dict[str, list[float]]) -> dict[str, Block]:
    """Return the settings of each contender's best trial."""
    trials = all_trials()
    return {name: trials[name][of.index(max(of))] for name, of in scores.items()}


def trial_score(rows: list[Block], trial: str) -> float:
    """Return the mean over label fractions, every sensor and the mean of one missing alike."""
    own = [r for r in rows if r["method"] == trial and r["metric"] == "macro_f1"
           and r["budget"] == "strict"
           and all(r[k] is None for k in ("fold", "seed", "model_seed", "subject"))]  # fmt: skip
    full = max(len(r["present"]) for r in own)
    whole = mean(r["value"] for r in own if len(r["present"]) == full)
    return (whole + mean(r["value"] for r in own if len(r["present"]) == full - 1)) / 2


def write_tuned(chosen: dict[str, dict[str, Block]]) -> None:
    """Write the study of the chosen settings, those of a family for all its data sets."""
    study = yaml.safe_load(UNTUNED.read_text())
    study["title"] = "Ways to pretrain, each tuned with as many trials"
    del study["settings"]["contenders"]
    for name, contenders in chosen.items():
        block = study["data"][name]
        others = OTHERS.get(block["family"], {})
        for other, its in {name: block, **others}.items():
            settings = {**its.get("settings", {}), "contenders": named(contenders)}
            study["data"][other] = {"family": block["family"], **its, "settings": settings}
    plain = json.loads(json.dumps(study))  # else YAML names what stands in it twice
    lines = yaml.safe_dump(plain, sort_keys=False, width=110)
    TUNED.write_text(f"# Written by tune.py of what tuning.yaml's trials gave.\n{lines}")


def named(contenders: dict[str, Block]) -> dict[str, Block]:
    """Return contenders by name; crossl's own choice stands beside its default."""
    return {"crossl_tuned" if n == "crossl" else n: {**block, "budgets": ["strict"]}
            for n, block in contenders.items()}  # fmt: skip


if __name__ == "__main__":
    main()
