"""What more people would bring, labelled or not, and what a person's own labels would.

Three curves on the test people of runs (folds of `crossl benchmark`):

- labelled: probes fitted on all labels of 1, 2, 4, ... training people, drawn at random;
- own: all labels of training people; these and the labels of half of each test person's own
  windows; this half alone, a probe for each person. All are tested on the other half: what is
  lost to differences between people, and what the signals do not say even of one person;
- pretrained: networks pretrained on the windows of 1, 2, 4, ... people, as many steps as ever,
  probed with few labels of all training people.

No label of a validation person is used. Rows are kept in results/people.jsonl as they come, and
what is there is not computed again; the page is people.md.

    python benchmarks/people.py NAME=RUN=STORE ... --work WORK
    python benchmarks/people.py --table-only
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.commands.probe import open_pair
from crossl.config import build_method, build_model
from crossl.contenders.contender import Context, Draw
from crossl.contenders.features import LogisticConfig
from crossl.contenders.networks import PretrainedConfig, Untrained, UntrainedConfig
from crossl.data.splits import Fold, fold_from_subjects
from crossl.evaluate.metrics import mean_interval
from crossl.tasks import task_of
from crossl.train.pretrain import pretrain

HERE = Path(__file__).parent
ROWS, PAGE = HERE / "results" / "people.jsonl", HERE / "people.md"
SIZES = (1, 2, 4, 8, 16)
FRACTIONS = (0.01, 0.1)
BOUNDS = ("others", "others and own", "own")
METHODS = ("crossl", "random weights, with the same features", "logistic")
INTRODUCTION = """\
Macro-F1 with every sensor, [95% interval over test people]; no validation label is used, settings
are the default's. Means over five draws of people, or of labels; one seed of pretraining. Rows by
person are in results/people.jsonl; `python benchmarks/people.py NAME=RUN=STORE ... --work WORK`
adds to them. In the second tables all are tested on the second half of each stretch of one label.
A half is near its other half in time, so "this half" flatters; where even it stays low, the
signals do not say more.
"""
Row = dict[str, Any]
Key = tuple[Any, ...]


def main() -> None:
    """Parse, compute what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", metavar="NAME=RUN=STORE")
    parser.add_argument("--work", type=Path, help="for networks that are pretrained anew")
    parser.add_argument("--draws", type=int, default=5, help="of people, and of labels")
    parser.add_argument("--studies", default="labelled,own,pretrained")
    parser.add_argument("--table-only", action="store_true")
    asked = parser.parse_args()
    for text in asked.runs:
        name, run, store = text.split("=")
        context = whole_fold(Path(run), Path(store), asked.work)
        for study in asked.studies.split(","):
            for row in STUDIES[study](context, asked.draws, is_done, name):
                keep(row)
    PAGE.write_text("\n".join(page(read_rows())) + "\n")


def key(row: Row) -> Key:
    """Name what a row says."""
    return tuple(row[k] for k in ("data", "fold", "study", "method", "people", "fraction", "seed"))


def is_done(row: Row) -> bool:
    """Tell whether a row is kept."""
    return key(row) in {key(one) for one in read_rows()}


def whole_fold(run_path: Path, store_path: Path, work: Path) -> Context:
    """Open a run as contenders see a fold, without draws."""
    run, fitted = open_pair(run_path, store_path)
    store = fitted.store
    fold = fold_from_subjects(store.subject, **run.contract["subjects"],
                              index=int(run_path.name.removeprefix("fold-")))  # fmt: skip
    full = tuple(range(len(store.modalities)))
    return Context(
        store, fold, run.config, work, (), (full,), lambda *_: None, run.model,
        task_of(run.config.task, store), work,
    )  # fmt: skip


def contenders() -> Iterator[tuple[str, Any]]:
    """Yield what is compared, by name."""
    yield METHODS[0], PretrainedConfig().build(METHODS[0])
    yield METHODS[1], Untrained(METHODS[1], UntrainedConfig(head="aggregator"))
    yield METHODS[2], LogisticConfig().build(METHODS[2])


def scored(context: Context, methods: Sequence[str], row: Row) -> Iterator[Row]:
    """Fit contenders on the draws of a context; yield a row for each, by person."""
    for method, contender in contenders():
        if method not in methods:
            continue
        for said in contender.outcomes(context):
            if said.budget != "strict":
                continue
            fraction, seed, _ = said.draw
            test = context.fold.test
            target = context.task.values(context.store)[test]
            names, counts = context.task.by_subject(
                target, said.predicted[context.choices[0]], context.store.subject[test]
            )
            scores = {str(n): round(float(s), 4)
                      for n, s in zip(names, context.task.metric(counts), strict=True)}  # fmt: skip
            yield {**row, "method": method, "fraction": fraction, "seed": seed, "scores": scores}


def labelled(context: Context, draws: int, done: Any, name: str) -> Iterator[Row]:
    """Yield what all labels of few people teach."""
    store, fold = context.store, context.fold
    people = labelled_people(context)
    for size in sizes(len(people)):
        row = {"data": name, "fold": fold.index, "study": "labelled", "people": size}
        chosen: list[Draw] = []
        for seed in range(draws if size < len(people) else 1):
            some = np.random.default_rng([seed, size]).permutation(people)[:size]
            rows = fold.train[np.isin(store.subject[fold.train], some)]
            chosen.append((1.0, seed, known(context, rows)))
        if not all(done({**row, "method": m, "fraction": 1.0, "seed": chosen[-1][1]})
                   for m in METHODS):  # fmt: skip
            yield from scored(replace(context, draws=chosen), METHODS, row)


def own(context: Context, draws: int, done: Any, name: str) -> Iterator[Row]:
    """Yield what it brings to know labels of half of a test person's windows."""
    del draws
    store, fold = context.store, context.fold
    first = first_halves(context)
    teach, test = fold.test[first[fold.test]], fold.test[~first[fold.test]]
    everyone = np.union1d(fold.train, teach)
    part = replace(context, fold=Fold(everyone, fold.validation, test, fold.index), _tables={})
    people = np.unique(store.subject[known(context, fold.test)])
    asked = {
        "others": [fold.train],
        "others and own": [everyone],
        "own": [teach[store.subject[teach] == person] for person in people],
    }
    for study, rows in asked.items():
        row = {"data": name, "fold": fold.index, "study": study,
               "people": len(labelled_people(context))}  # fmt: skip
        taught = [(1.0, seed, known(context, some)) for seed, some in enumerate(rows)]
        if all(done({**row, "method": m, "fraction": 1.0, "seed": len(rows) - 1}) for m in METHODS):
            continue
        part.draws = taught
        for found in scored(part, METHODS, row):
            if study == "own":  # a probe is asked of the person who taught it
                person = str(people[found["seed"]])
                found["scores"] = {person: found["scores"][person]}
            yield found


def first_halves(context: Context) -> NDArray[np.bool_]:
    """Mark the first half of each stretch of one label of each test person."""
    store, target = context.store, context.task.values(context.store)
    first = np.zeros(len(store.subject), dtype=bool)
    for person in np.unique(store.subject[context.fold.test]):
        rows = known(context, context.fold.test[store.subject[context.fold.test] == person])
        cuts = np.flatnonzero(np.diff(target[rows])) + 1
        for stretch in np.split(rows, cuts):
            first[stretch[: len(stretch) // 2]] = True
    return first


def pretrained(context: Context, draws: int, done: Any, name: str) -> Iterator[Row]:
    """Yield what networks are worth that saw few people's windows."""
    store, fold, config = context.store, context.fold, context.config
    target = context.task.values(store)
    chosen = [(fraction, seed, context.task.draw(target, fold.train, store.subject,
                                                 fraction=fraction, seed=seed))
              for fraction in FRACTIONS for seed in range(draws)]  # fmt: skip
    everyone = np.unique(store.subject[fold.train])
    for size in sizes(len(everyone)):
        row = {"data": name, "fold": fold.index, "study": "pretrained", "people": size}
        if done({**row, "method": METHODS[0], "fraction": FRACTIONS[-1], "seed": draws - 1}):
            continue
        model = context.main
        if size < len(everyone):
            some = np.random.default_rng([7, size]).permutation(everyone)[:size]
            rows = fold.train[np.isin(store.subject[fold.train], some)]
            model = build_model(config, store.modalities, window_s=store.window_s,
                                seed=config.seed)  # fmt: skip
            out = context.folder / f"{name}-{fold.index}-{size}"
            model = pretrain(
                build_method(config, model, seed=config.seed), store, train=rows,
                validation=fold.validation, schedule=config.schedule, seed=config.seed, out=out,
                resume=True, progress=lambda *_: None,
            )  # fmt: skip
        yield from scored(replace(context, main=model, draws=chosen, _tables={}), METHODS[:1], row)


STUDIES = {"labelled": labelled, "own": own, "pretrained": pretrained}


def sizes(people: int) -> list[int]:
    """Return how many people to take, all of them last."""
    return [size for size in SIZES if size < people] + [people]


def known(context: Context, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the rows that have a label."""
    return rows[context.task.known(context.task.values(context.store)[rows])]


def labelled_people(context: Context) -> NDArray[np.str_]:
    """Return the training people of a fold who have labels."""
    return np.unique(context.store.subject[known(context, context.fold.train)])


def read_rows() -> list[Row]:
    """Read what is kept."""
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.is_file() else []


def keep(row: Row) -> None:
    """Add a row."""
    with ROWS.open("a") as out:
        out.write(json.dumps(row) + "\n")
    print({k: v for k, v in row.items() if k != "scores"}, flush=True)


def page(rows: list[Row]) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# What more people would bring\n"
    yield INTRODUCTION
    for data in dict.fromkeys(row["data"] for row in rows):
        own_rows = [row for row in rows if row["data"] == data]
        folds = sorted({row["fold"] for row in own_rows})
        people = {person for row in own_rows for person in row["scores"]}
        yield f"## {data}: {len(people)} test people, folds {', '.join(map(str, folds))}\n"
        yield from curve(
            [r for r in own_rows if r["study"] == "labelled"], METHODS, "labelled people"
        )
        yield from bound([r for r in own_rows if r["study"] in BOUNDS])
        yield from unlabelled([r for r in own_rows if r["study"] == "pretrained"])


def curve(rows: list[Row], methods: Sequence[str], what: str) -> Iterator[str]:
    """Yield a table with a row for each method, a column for each number of people."""
    if not rows:
        return
    columns = sorted({row["people"] for row in rows})
    yield f"| {what} | " + " | ".join(map(str, columns)) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for method in methods:
        cells = [told([r for r in rows if (r["method"], r["people"]) == (method, c)])
                 for c in columns]  # fmt: skip
        yield f"| {method} | " + " | ".join(cells) + " |"
    yield ""


def bound(rows: list[Row]) -> Iterator[str]:
    """Yield what a person's own labels bring."""
    if not rows:
        return
    yield "| taught by | training people | these and half of the person's own windows | this half |"
    yield "|---|---|---|---|"
    for method in METHODS:
        cells = [told([r for r in rows if (r["method"], r["study"]) == (method, study)])
                 for study in BOUNDS]  # fmt: skip
        yield f"| {method} | " + " | ".join(cells) + " |"
    yield ""


def unlabelled(rows: list[Row]) -> Iterator[str]:
    """Yield a table with a row for each label fraction."""
    if not rows:
        return
    columns = sorted({row["people"] for row in rows})
    yield "| people whose windows pretrain | " + " | ".join(map(str, columns)) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for fraction in FRACTIONS:
        cells = [told([r for r in rows if (r["fraction"], r["people"]) == (fraction, c)])
                 for c in columns]  # fmt: skip
        yield f"| crossl, {fraction:.0%} of labels | " + " | ".join(cells) + " |"
    yield ""


def told(rows: list[Row]) -> str:
    """Write the mean over people of their means over draws, with a 95% interval over people."""
    by_person = defaultdict(list)
    for row in rows:
        for person, value in row["scores"].items():
            by_person[person].append(value)
    if not by_person:
        return ""
    found = mean_interval(np.array([np.mean(values) for values in by_person.values()]))
    return f"{found.value:.3f} [{found.low:.2f}, {found.high:.2f}]"


if __name__ == "__main__":
    main()
