"""Students of some sensors: `python benchmarks/distil.py STORE --keep watch_acc --out DIR RUN...`.

RUNs are crossl runs of all sensors on folds of the store, such as `fold-0` of a benchmark. For
each, students are distilled and scored beside their teacher, with every sensor and with theirs
alone, and beside a crossl that was pretrained on these sensors alone. Probes have the strict
budget: no label of validation people. With `--part validation` validation people are scored, and
nobody else is looked at: settings are chosen so. Prints a Markdown table; DIR keeps runs and
counts, and the same command does what is left.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.commands.distil import distil_run
from crossl.commands.probe import open_pair
from crossl.config import build_method, build_model
from crossl.contenders.contender import latent_table
from crossl.data.contract import fit_store
from crossl.data.splits import fold_from_subjects
from crossl.data.store import Store
from crossl.evaluate.metrics import bootstrap_score, paired_difference
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.probe import fit_by_budget
from crossl.run_folder import load_run, run_facts, save_run
from crossl.tasks import Task, task_of
from crossl.train.pretrain import pretrain

FRACTIONS = (0.01, 0.05, 0.1)
Counts = dict[float, NDArray[Any]]


@dataclass(frozen=True)
class Line:
    """A row of the table: a run, which of its sensors are shown, and how its probe was trained."""

    name: str
    run: Path
    shown: tuple[str, ...] | None = None
    missing: bool = True


def counts_of(line: Line, store: Path, part: str, seeds: int) -> tuple[Task, Counts]:
    """Fit strict probes on label draws; count what they say, {fraction: (draw, person, ...)}."""
    run, fitted = open_pair(line.run, store)
    seen, names = fitted.store, [m.name for m in run.model.modalities]
    fold = fold_from_subjects(seen.subject, **run.contract["subjects"])
    task = task_of(run.config.task, seen)
    target = task.values(seen)
    tables = {name: latent_table(run.model, seen, getattr(fold, name), task)
              for name in {"train", "validation", part}}  # fmt: skip
    columns = tuple(range(len(names))) if line.shown is None else tuple(
        names.index(name) for name in line.shown
    )  # fmt: skip
    found: Counts = {}
    for fraction in FRACTIONS:
        rows = [task.draw(target, fold.train, seen.subject, fraction=fraction, seed=seed)
                for seed in range(seeds)]  # fmt: skip
        shown = [(tables["train"].take(np.searchsorted(fold.train, some)), seed)
                 for seed, some in enumerate(rows)]  # fmt: skip
        probes = fit_by_budget(
            shown, tables["validation"], missing=line.missing,
            subset=None if line.missing else columns, strengths=(0.1,),
        )["strict"]  # fmt: skip
        said = predict_subsets(probes, tables[part], [columns])
        found[fraction] = np.stack([
            task.by_subject(tables[part].label, one[columns], tables[part].subject)[1]
            for one in said
        ])  # fmt: skip
    return task, found


def kept_counts(line: Line, store: Path, part: str, seeds: int, folder: Path) -> Counts:
    """Return the counts of a line, computed now or earlier."""
    path = folder / f"{line.name}-{line.run.name}-{part}-{seeds}.npz".replace(" ", "_")
    if not path.is_file():
        _, found = counts_of(line, store, part, seeds)
        np.savez(path, **{str(fraction): x for fraction, x in found.items()})
    with np.load(path) as archive:
        return {fraction: archive[str(fraction)] for fraction in FRACTIONS}


def pretrained_alone(teacher: Path, store: Path, keep: Sequence[str], out: Path) -> None:
    """Pretrain crossl on some sensors alone, as the teacher was on all."""
    if (out / "model.json").is_file():
        return
    run, whole = load_run(teacher), Store.open(store)
    wanted = [m for m in run.model.modalities if m.name in keep]
    seen = fit_store(whole, wanted, window_s=whole.window_s, calibration=run.calibration).store
    fold = fold_from_subjects(whole.subject, **run.contract["subjects"])
    model = build_model(run.config, wanted, window_s=whole.window_s, seed=run.config.seed)
    trained = pretrain(
        build_method(run.config, model, seed=run.config.seed), seen, train=fold.train,
        validation=fold.validation, schedule=run.config.schedule, seed=run.config.seed, out=out,
        resume=True,
    )  # fmt: skip
    save_run(out, trained, run.config, about=run_facts(seen, fold))


def lines_of(
    teacher: Path, store: Path, keep: tuple[str, ...], out: Path, students: dict[str, list[str]]
) -> list[Line]:
    """Train what is missing; return what is compared on one fold."""
    alone = out / "alone" / teacher.name
    alone.parent.mkdir(parents=True, exist_ok=True)
    pretrained_alone(teacher, store, keep, alone)
    found = [
        Line("every sensor", teacher),
        Line("the same run, these alone", teacher, keep),
        Line("the same run, a probe for these alone", teacher, keep, missing=False),
        Line("pretrained on these alone", alone),
    ]
    for name, overrides in students.items():
        home = out / name.replace(" ", "_") / teacher.name
        home.parent.mkdir(parents=True, exist_ok=True)
        distil_run(teacher, store, home, keep=keep, overrides=overrides)
        found.append(Line(name, home))
    return found


def table(found: dict[str, Counts], task: Task) -> list[str]:
    """Write scores, and the difference to the teacher with the same sensors, in Markdown."""
    told = [f"{fraction:.0%}" for fraction in FRACTIONS]
    rows = [f"| | {' | '.join(told)} | 10%, minus the same run, these alone |",
            f"|---{'|---' * (len(told) + 1)}|"]  # fmt: skip
    base = found["the same run, these alone"][FRACTIONS[-1]]
    for name, counts in found.items():
        scores = [bootstrap_score(counts[fraction], task.metric) for fraction in FRACTIONS]
        gain = paired_difference(counts[FRACTIONS[-1]], base, task.metric)
        cells = [f"{one.value:.3f} {one.told()}" for one in scores]
        last = "" if counts is found["the same run, these alone"] else (
            f"{gain.value:+.3f} {gain.told('+')}"
        )  # fmt: skip
        rows.append(f"| {name} | {' | '.join(cells)} | {last} |")
    return rows


def main() -> None:
    """Distil, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("runs", type=Path, nargs="+", help="teachers, a fold each")
    parser.add_argument("--keep", required=True, help="sensors of the student, as a,b")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--seeds", type=int, default=10, help="label draws")
    parser.add_argument("--student", action="append", default=[], metavar="NAME: KEY=VALUE; ...",
                        help="settings of a student")  # fmt: skip
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    students = {"student": []} if not asked.student else {}
    for one in asked.student:
        name, _, settings = one.partition(":")
        students[name.strip()] = [part.strip() for part in settings.split(";") if part.strip()]
    keep, task = tuple(asked.keep.split(",")), None
    parts: dict[str, list[Counts]] = {}
    for teacher in asked.runs:
        for line in lines_of(teacher, asked.store, keep, asked.out, students):
            task = task_of(load_run(line.run).config.task, Store.open(asked.store))
            counts = kept_counts(line, asked.store, asked.part, asked.seeds, asked.out)
            parts.setdefault(line.name, []).append(counts)
            print(json.dumps({"fold": teacher.name, "what": line.name, **{
                str(f): round(float(task.metric(x.sum(axis=1)).mean()), 3)
                for f, x in counts.items()}}), flush=True)  # fmt: skip
    assert task is not None  # noqa: S101 - there is a run
    pooled = {name: {f: np.concatenate([one[f] for one in some], axis=1) for f in FRACTIONS}
              for name, some in parts.items()}  # fmt: skip
    print("\n".join(table(pooled, task)))


if __name__ == "__main__":
    main()
