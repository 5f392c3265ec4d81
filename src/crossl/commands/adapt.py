"""`crossl adapt`: a run's classifier refitted for one new person, with a few labelled minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.commands.other_store import Note
from crossl.commands.probe import open_pair
from crossl.contenders.contender import latent_table
from crossl.data.recording import warnings_in
from crossl.data.splits import fold_from_subjects
from crossl.data.store import Store
from crossl.data.windows import label_windows
from crossl.errors import ConfigError, ContractError, DataError, FormatError, SplitError, counted
from crossl.evaluate.adapt import Chosen, choose_share, class_counts, fit_adapted
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import Probe
from crossl.evaluate.probe_facts import probe_facts
from crossl.files import read_json, whole_folder, write_whole
from crossl.nn.model import encode_rows
from crossl.predict.inputs import How, open_inputs
from crossl.predict.labels_file import LabelRow, labels_of, read_label_rows
from crossl.predict.manner import Asked, manner_of
from crossl.predict.sight import Seen
from crossl.predict.timeline import usable_windows
from crossl.run_folder import Run, load_probe, load_run, save_probe
from crossl.stored import learned_from

COPIED = ("weights.safetensors", "config.yaml", "model.json")
REWRITTEN = {"format", "version", "sha256", "task", "head", "classes", "class_numbers", "strength",
             "validation_score", "weights", "arrays", "temperatures", "context", "sets",
             "adapted"}  # fmt: skip


@dataclass(frozen=True)
class Adapting:
    """What a user asks for.

    Attributes:
        labels: file of labels; None where the recordings carry them.
        subject: whose recordings, where the inputs hold those of several people.
        share: of all weight that the person's windows get; None for what validation people choose.
        how: files are read, where that is not how the run's own were.
        same_names: who has the name of a person that was learned from is another person.
    """

    labels: Path | None = None
    subject: str | None = None
    share: float | None = None
    how: How = field(default_factory=How)
    same_names: bool = False


@dataclass(frozen=True)
class Adapted:
    """What was done.

    Attributes:
        subject: for whom.
        windows: that were labelled, by class.
        minutes: that their labels cover.
        share: of all weight that they got.
        gain: what the score of validation people rose by in the same place; NaN where none could
            take it.
        people: validation people who could.
    """

    subject: str
    windows: Mapping[str, int]
    minutes: float
    share: float
    gain: float
    people: int


def adapt_run(
    run_path: Path, paths: Sequence[Path], out: Path, *, store_path: Path, asked: Adapting,
    note: Note = lambda _sentence: None,
) -> Adapted:  # fmt: skip
    """Write a run with the same network, and a classifier with one person's windows weighed in.

    Args:
        run_path: a run with a classifier.
        paths: files, folders or stores with recordings of the person.
        out: the new run's folder; must not exist.
        store_path: that the classifier was fitted on.
        asked: by the user.
        note: called with what a user should know, a sentence each.

    Raises:
        ConfigError: a share that is not allowed, or the classifier does not tell one of several
            classes, each window alone.
        ContractError: another store than that of the classifier, or recordings that do not fit.
        DataError: no labelled window, labels that cannot be used, or `out` exists.
        FormatError: the run has no classifier, or it does not say what it was fitted on.
        SplitError: the person is one of those who were learned from.
    """
    if out.exists():
        raise DataError(f"{out}: exists already; name a new folder or delete it first")
    if asked.share is not None and not 0 <= asked.share < 1:
        raise ConfigError(f"--share: got {asked.share:g}; a number from 0 to below 1 is needed")
    run = load_run(run_path)
    probe, _ = load_probe(run_path)
    about = read_json(run_path / "probe.json", cure="run `crossl probe` again")
    _refuse_other_tasks(probe)
    store = _store_of(run, about, store_path)
    person, seconds = _person(run, probe, about, paths, asked, note)
    (subject,) = np.unique(person.subject).tolist()
    if subject in learned_from(run.contract, about) and not asked.same_names:
        raise SplitError(
            f"subject '{subject}': the run learned from this person, or chose by them; give "
            "recordings of a new person, or say --same-names if this is another person of that name"
        )
    train, validation = _tables(run, probe, about, store)
    found = _chosen(probe, (train, validation), store, person, about)
    share = found.share if asked.share is None else asked.share
    if share == 0:
        note("nothing of these labels is weighed in, as that helped no validation subjects; "
             "--share 0.25 does it all the same")  # fmt: skip
    seed = int(about["seed"])
    fitted = fit_adapted(probe, train, person, share, seed=seed)
    names = probe.task.names
    counts = {names[one]: n for one, n in
              class_counts(person.label, probe.classes.tolist()).items()}  # fmt: skip
    told = Adapted(subject, counts, seconds / 60, share, found.gain, len(found.scores))
    _save(run_path, out, fitted, {
        **{name: value for name, value in about.items() if name not in REWRITTEN},
        **probe_facts(fitted, train, validation, store),
        "learned_before": sorted({*about.get("learned_before", ()), subject}),
        "adapted": {"subject": subject, "windows": counts, "share": share,
                    "minutes": round(told.minutes, 3)},
    })  # fmt: skip
    return told


def _refuse_other_tasks(probe: Probe) -> None:
    if probe.task.target.kind != "classes" or len(probe.offsets) > 1:
        what = "reads neighbours" if len(probe.offsets) > 1 else f"tells {probe.task.target.kind}"
        raise ConfigError(
            f"adapt: the classifier {what}; it is for one of several classes, each window alone"
        )


def _store_of(run: Run, about: Mapping[str, Any], path: Path) -> Store:
    _, fitted = open_pair(run.path, path)
    wanted = about.get("store_sha256", run.contract.get("store_sha256"))
    if wanted is None or "label_fraction" not in about or "seed" not in about:
        raise FormatError(
            f"{run.path}: its classifier does not say which windows it was fitted on; fit it by "
            "`crossl probe` on a store"
        )
    if fitted.store.hash != wanted:
        raise ContractError(
            f"{path}: is not the store that the classifier of {run.path} was fitted on "
            f"({str(wanted)[:16]}, got {fitted.store.hash[:16]})"
        )
    return fitted.store


def _tables(
    run: Run, probe: Probe, about: Mapping[str, Any], store: Store
) -> tuple[LatentTable, LatentTable]:
    """Return the labelled windows that the classifier was fitted on, and those that chose."""
    subjects = about.get("subjects", run.contract["subjects"])
    fold = fold_from_subjects(store.subject, **subjects)
    target = probe.task.values(store)
    rows = probe.task.draw(target, fold.train, store.subject,
                           fraction=about["label_fraction"], seed=about["seed"])  # fmt: skip
    train, validation = (latent_table(run.model, store, some, probe.task)
                         for some in (rows, fold.validation))  # fmt: skip
    return train, validation


def _chosen(
    probe: Probe, tables: tuple[LatentTable, LatentTable], store: Store, person: LatentTable,
    about: Mapping[str, Any],
) -> Chosen:  # fmt: skip
    overlap = int(np.ceil(store.spec.window_s / store.spec.stride_s - 1e-9)) - 1
    counts = class_counts(person.label, probe.classes.tolist())
    return choose_share(probe, *tables, store.places, counts, overlap, seed=int(about["seed"]))


def _person(
    run: Run, probe: Probe, about: Mapping[str, Any], paths: Sequence[Path], asked: Adapting,
    note: Note,
) -> tuple[LatentTable, float]:  # fmt: skip
    """Return the labelled windows of the person, and the seconds that they cover."""
    rows = None if asked.labels is None else read_label_rows(asked.labels)
    manner = manner_of(about, probe, run.model.modalities, Asked())
    tables, seconds, everybody, sessions = [], 0.0, set(), 0
    with open_inputs(paths, run, asked.how) as inputs:
        for job in inputs.jobs:
            for seen in job.read():
                everybody.add(seen.subject)
                if asked.subject not in (None, seen.subject):
                    continue
                sessions += 1
                for sentence in warnings_in(seen.notes):
                    note(sentence)
                label = _labels(seen, probe, rows, asked.labels, note)
                windows, _ = usable_windows(seen, manner)
                some = np.flatnonzero((label >= 0) & windows.present.any(axis=1))
                seconds += _covered_s(windows.start_s[some], run.model.window_s)
                tables.append(_table(run, probe, windows, label, some, seen.subject))
    _refuse_people(everybody, asked, several=sessions > 1 and _says_no_session(rows))
    whole = _joined(tables)
    if not len(whole):
        raise DataError(_nothing_labelled(run, asked))
    return whole, seconds


def _says_no_session(rows: Sequence[LabelRow] | None) -> bool:
    return rows is not None and not all(row.session for row in rows)


def _refuse_people(everybody: set[str], asked: Adapting, *, several: bool) -> None:
    if asked.subject is not None and asked.subject not in everybody:
        raise DataError(f"--subject: got '{asked.subject}', of whom there is no recording; known "
                        f"are {', '.join(sorted(everybody))}")  # fmt: skip
    if asked.subject is None and len(everybody) > 1:
        raise DataError(
            f"adapt: got recordings of {counted(len(everybody), 'person', 'people')} "
            f"({', '.join(sorted(everybody)[:5])}); it is for one, name them by --subject"
        )
    if several:
        raise DataError(
            f"{asked.labels}: does not say of which recording its labels are, and there are "
            "several; add a column session, or give one recording"
        )


def _nothing_labelled(run: Run, asked: Adapting) -> str:
    """Say why nothing can be done, and what happens without labels."""
    where = "the recordings carry none" if asked.labels is None else f"{asked.labels} has none"
    kept = run.calibration
    if kept is not None:
        return (
            f"adapt: no window has a label ({where}); without labels nothing is to be done: the "
            f"run calibrates windows by {kept.told} whenever it is used"
        )
    return (
        f"adapt: no window has a label ({where}) that fills enough of it; give labels (--labels), "
        "or train a run that adapts without (--set standardisation.kind=recording)"
    )


def _labels(
    seen: Seen, probe: Probe, rows: Sequence[LabelRow] | None, path: Path | None, note: Note
) -> NDArray[np.int64]:
    """Number the labels of windows as the task does, (n,); -1 for none, or an unknown one."""
    names = [probe.task.names[i] for i in probe.classes]
    if rows is None or path is None:
        place = [names.index(one) if one in names else -1 for one in seen.truth.tolist()]
    else:
        found = labels_of(rows, seen, names, where=path, note=note)
        place = label_windows(found, seen.windows.start_s, seen.windows.spec, names).tolist()
    number = np.array([*probe.classes.tolist(), -1])
    return np.asarray(number[np.array(place, dtype=np.int64)])


def _covered_s(start_s: NDArray[np.float64], window_s: float) -> float:
    """Sum the seconds that windows cover."""
    if not len(start_s):
        return 0.0
    return float(np.minimum(np.diff(start_s), window_s).sum() + window_s)


def _table(
    run: Run, probe: Probe, windows: Any, label: NDArray[np.int64], some: NDArray[np.int64],
    subject: str,
) -> LatentTable:  # fmt: skip
    return LatentTable(
        run.model, encode_rows(run.model, windows, some), torch.from_numpy(windows.present[some]),
        label[some], np.full(len(some), subject), probe.task,
    )  # fmt: skip


def _joined(tables: Sequence[LatentTable]) -> LatentTable:
    first = tables[0]
    return LatentTable(
        first.model, torch.cat([one.latent for one in tables]),
        torch.cat([one.present for one in tables]),
        np.concatenate([one.label for one in tables]),
        np.concatenate([one.subject for one in tables]), first.task,
    )  # fmt: skip


def _save(run_path: Path, out: Path, probe: Probe, about: dict[str, Any]) -> None:
    """Write the same network with another classifier."""
    with whole_folder(out) as folder:
        for name in COPIED:
            write_whole(folder / name, (run_path / name).read_bytes())
        save_probe(folder, probe, about=about)
