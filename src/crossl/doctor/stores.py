"""Stores: every check that windows, their table and the manifest are enough for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossl.doctor.answers import Answers
from crossl.doctor.channels import check_constant, check_twins, columns_of
from crossl.doctor.clocks import check_notes, check_steps, check_timing, check_window
from crossl.doctor.coverage import CoverageTally
from crossl.doctor.disguises import check_disguises
from crossl.doctor.finding import CHECKS, Collector, Diagnosis, Finding
from crossl.doctor.giveaways import Giveaways, window_medians
from crossl.doctor.labels import LabelTally
from crossl.doctor.leakage import check_leakage
from crossl.doctor.values import check_values

if TYPE_CHECKING:
    from crossl.data.store import Store

Progress = Callable[[str, float], None]
Rows = NDArray[np.int64]

MAX_WINDOWS = 20_000
"""Windows whose samples are looked at; of more, as many are chosen evenly."""

MAX_SAMPLES = 8_000_000
"""Numbers of one recording that are looked at together."""

GAP_S = 0.5
WITHOUT = ("readable", "copies", "clock", "drift")
"""What needs whole recordings."""


def examine_store(store: Store, progress: Progress | None = None) -> Diagnosis:
    """Examine a store: its table, its manifest, and a sample of its windows.

    Args:
        store: opened.
        progress: called with what is looked at, and the share that is done.

    Returns:
        What was found.
    """
    found = Collector()
    tell = progress or _quiet
    recordings = store.manifest["recordings"]
    names = [f"subject {r['subject']}, session {r['session']}" for r in recordings]
    by_recording = _rows_by_recording(store)
    labels = LabelTally(store.classes)
    for number, name in enumerate(names):
        labels.add(recordings[number]["subject"], store.label[by_recording[number]], store.classes)
        found.add(_from_manifest(store, recordings[number]), name)
    found.add(check_window(list(store.modalities), store.spec))
    apart = [_apart(store, rows) for rows in by_recording]
    chosen = _sample(store, apart)
    giveaways, answers = Giveaways(), Answers(store.targets)
    numbers = {name: store.target_values(name) for name in answers.wanted}
    for number, name in enumerate(names):
        rows = chosen[number]
        found.add(_check_samples(store, rows, giveaways, answers, numbers), name)
        tell("values", (number + 1) / len(names))
    found.add(check_leakage(store, _evenly(np.arange(len(store)), MAX_WINDOWS)))
    found.add(giveaways.findings())
    found.add(answers.findings())
    tell("leakage", 1.0)
    coverage = _coverage(store)
    found.add(coverage.findings(1))
    found.add(labels.findings())
    seconds = sum(r.get("seconds", 0.0) for r in recordings)
    counts = {
        "windows": len(store),
        "recordings": len(names),
        "subjects": len(set(store.subject.tolist())),
        "modalities": len(store.modalities),
    }
    return Diagnosis(
        title=str(store.manifest.get("title", store.manifest["dataset"])),
        findings=found.findings(),
        checked=[name for name in CHECKS if name not in WITHOUT],
        coverage=coverage.table(),
        labels=labels.table(),
        counts=counts,
        hours=seconds / 3600,
        limits=_limits(len(store), _count(chosen), _count(apart)),
    )


def _quiet(_what: str, _share: float) -> None:
    """Report to nobody."""


def _limits(windows: int, looked: int, apart: int) -> tuple[str, ...]:
    said: tuple[str, ...] = (
        "Clocks and drift need whole recordings; examine the folder for these.",
    )
    if looked < apart:
        said += (f"Values were looked at in {looked:,} of {apart:,} windows side by side.",)
    if windows > MAX_WINDOWS:
        said += (f"Copies were looked for among {MAX_WINDOWS:,} of {windows:,} windows.",)
    return said


def _rows_by_recording(store: Store) -> list[Rows]:
    order = np.argsort(store.recording, kind="stable")
    count = len(store.manifest["recordings"])
    edges = np.searchsorted(store.recording[order], np.arange(1, count))
    return np.split(order, edges)


def _evenly(rows: Rows, count: int) -> Rows:
    if len(rows) <= count:
        return rows
    return rows[np.linspace(0, len(rows) - 1, count).round().astype(np.int64)]


def _coverage(store: Store) -> CoverageTally:
    tally = CoverageTally([m.name for m in store.modalities])
    for subject in np.unique(store.subject).tolist():
        present = store.present[store.subject == subject]
        for column, modality in enumerate(store.modalities):
            tally.add(subject, modality.name, float(present[:, column].sum()), len(present))
    return tally


def _from_manifest(store: Store, recording: dict[str, Any]) -> Iterator[Finding]:
    yield from check_notes(list(recording.get("notes", ())))
    rates = {m.name: m.rate_hz for m in store.modalities}
    for name, timing in recording.get("timing", {}).items():
        samples = round(recording.get("seconds", 0.0) * rates[name])
        yield from check_timing(name, timing, samples)
        yield from check_steps(name, timing, max(GAP_S, 5 / rates[name]))


def _count(lists: list[Rows]) -> int:
    return sum(len(rows) for rows in lists)


def _sample(store: Store, apart: list[Rows]) -> list[Rows]:
    """Choose windows of every recording evenly, as many as may be looked at together."""
    numbers = sum(store.spec.samples(m) * len(m.channels) for m in store.modalities)
    share = min(1.0, MAX_WINDOWS / _count(apart))
    most = [min(round(share * len(rows)), MAX_SAMPLES // numbers) for rows in apart]
    return [_evenly(rows, max(1, count)) for rows, count in zip(apart, most, strict=True)]


def _check_samples(
    store: Store, rows: Rows, giveaways: Giveaways, answers: Answers,
    numbers: Mapping[str, NDArray[np.float32]],
) -> Iterator[Finding]:  # fmt: skip
    """Put windows of one recording behind each other and look at them as one signal."""
    if not len(rows):
        return
    windows = store.gather_zeroed(rows)
    columns = []
    medians: dict[tuple[str, str], NDArray[np.float64]] = {}
    for column, modality in enumerate(store.modalities):
        there = store.present[rows, column]
        middle = window_medians(np.where(there[:, None, None], windows[modality.name], np.nan))
        medians |= {(modality.name, c): middle[:, i] for i, c in enumerate(modality.channels)}
        if not there.any():
            continue
        values = windows[modality.name][there].reshape(-1, len(modality.channels))
        yield from check_values(modality, values)
        yield from check_disguises(modality, values)
        yield from check_constant(modality, values)
        if there.all():
            columns += columns_of(modality, values, 0.0)
    labels = [store.classes[code] if code >= 0 else "" for code in store.label[rows]]
    who = str(store.subject[rows[0]])
    giveaways.add_windows(who, labels, medians)
    if numbers:
        seen = {m: np.where(store.present[rows, i][:, None, None], windows[m.name], np.nan)
                for i, m in enumerate(store.modalities)}  # fmt: skip
        answers.add_windows(who, seen, {name: values[rows] for name, values in numbers.items()})
    yield from check_twins(columns)


def _apart(store: Store, rows: Rows) -> Rows:
    """Leave out windows that overlap the one before, as their samples are the same."""
    chosen, last = [], -np.inf
    for row in rows[np.argsort(store.start_s[rows], kind="stable")]:
        if store.start_s[row] >= last + store.window_s - 1e-6:
            chosen.append(row)
            last = store.start_s[row]
    return np.array(chosen, dtype=np.int64)
