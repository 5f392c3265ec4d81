"""From the files of one recording to a Recording: on one clock, in SI, with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from crossl.data.formats import FileContent, format_of
from crossl.data.own.mapping.calendar import local_start, one_origin, zone_of
from crossl.data.own.mapping.joined_files import open_source
from crossl.data.own.mapping.labels import left_unlabelled, source_labels, whole_files
from crossl.data.own.mapping.plan import RecordingPlan, Source
from crossl.data.own.mapping.signals import Rules, read_signals
from crossl.data.own.mapping.times import ABSOLUTE_S
from crossl.data.own.mapping.zones import Zones
from crossl.data.recording import WARNING, LabelInterval, Recording, Signal
from crossl.data.spellings import spelling_notes
from crossl.errors import DataError, PackageError

SAME_TIME_S = 0.1
"""Devices sample at times of their own: by so much they may tell apart when a label changed."""


@dataclass
class _Gathered:
    """What the files of one recording hold, as they are read one after another."""

    zones: Zones
    signals: dict[str, Signal] = field(default_factory=dict)
    labels: list[LabelInterval] = field(default_factory=list)
    from_start: list[LabelInterval] = field(default_factory=list)
    of_all: list[LabelInterval] = field(default_factory=list)
    unclear: bool = False
    whole: list[tuple[str, list[Signal]]] = field(default_factory=list)
    starts: list[float | None] = field(default_factory=list)

    def add(self, source: Source, rules: Rules) -> None:
        """Read one file."""
        content = open_source(source, self.zones)
        found = read_signals(source, content, rules, self.zones)
        self.signals.update(found)
        self.zones.notes += _told(source, content)
        if found:
            self.starts.append(local_start(source, content))
        if source.label is not None:
            self.whole.append((source.label, list(found.values())))
        try:
            more = source_labels(source, content, rules.modalities, rules.names, self.zones)
        except DataError as error:
            more = without_labels(error, rules, self.zones)
        counted = source.entry.intervals and source.entry.intervals.count_from == "start"
        if source.shared:
            self.of_all += more
            self.unclear |= bool(counted and more)
        elif counted:
            self.from_start += more
        else:
            self.labels += more

    def all_labels(self, where: str) -> list[LabelInterval]:
        """Return the labels on the clock of the signals.

        Labels of several sessions count where they touch this one.
        """
        start_s = min(signal.start_s for signal in self.signals.values())
        end_s = max(signal.end_s for signal in self.signals.values())
        if self.unclear or (self.of_all and start_s < ABSOLUTE_S):
            raise DataError(
                f"{where}: labels name no session and the times of signals start at {start_s:g} s, "
                "so which of several sessions they are of cannot be known; give `session_column:`, "
                "or {session} in the pattern"
            )
        here = [one for one in self.of_all if one.start_s < end_s and one.end_s > start_s]
        begun = [_moved(label, start_s) for label in self.from_start]
        return [*self.labels, *here, *whole_files(self.whole), *begun]


def read_recording(plan: RecordingPlan, rules: Rules) -> Recording:
    """Read the files of one recording.

    Args:
        plan: which files.
        rules: what they hold.

    Raises:
        DataError: damaged files, columns that do not exist, rates or clocks that contradict each
            other, labels that overlap or lie outside of the signals.
    """
    if plan.refusal:
        raise DataError(plan.refusal)
    zones = Zones(notes=list(plan.notes))
    gathered = _Gathered(zones)
    for source in plan.sources:
        gathered.add(source, rules)
    where = f"subject {plan.subject}, session {plan.session}"
    signals = gathered.signals
    if not signals:
        names = ", ".join(source.path.name for source in plan.sources)
        why = "".join(f"; {note}" for note in zones.notes[:1])
        raise DataError(f"{where}: none of its files has a sample ({names}){why}; leave it out")
    labels = _all_labels(where, gathered, rules)
    start_s = min(signal.start_s for signal in signals.values())
    _one_clock(where, plan, signals, labels, zones)
    origin, zone = one_origin(gathered.starts), ""
    if start_s >= ABSOLUTE_S:
        origin, zone = start_s, zone_of([s for s in plan.sources if s.entry.signals], zones)
        zones.notes.append(
            "times in the files count from 1970; the store counts from each recording's start"
        )
        signals = {k: replace(s, start_s=s.start_s - start_s) for k, s in signals.items()}
        labels = [_moved(label, -start_s) for label in labels]
    zones.notes += _apart(signals)
    end_s = max(signal.end_s for signal in signals.values())
    begin_s = min(signal.start_s for signal in signals.values())
    return Recording(
        subject=plan.subject,
        session=plan.session,
        modalities={m.name: m for m in rules.declared},
        signals={m.name: signals[m.name] for m in rules.declared if m.name in signals},
        labels=_kept_labels(where, labels, rules, (begin_s, end_s), zones),
        notes=tuple(zones.notes),
        origin_unix_s=origin,
        zone=zone,
    )


def without_labels(error: DataError, rules: Rules, zones: Zones) -> list[LabelInterval]:
    """Go on without labels where nobody needs them, and say why; they are refused elsewhere.

    Raises:
        DataError: the mapping was written for these files, whose labels count.
    """
    if not rules.may_lack_labels or isinstance(error, PackageError):
        raise error
    zones.notes.append(f"{WARNING}labels of the recording are left out: {error}")
    return []


def _all_labels(where: str, gathered: _Gathered, rules: Rules) -> list[LabelInterval]:
    try:
        return gathered.all_labels(where)
    except DataError as error:
        return without_labels(error, rules, gathered.zones)


def _told(source: Source, content: FileContent) -> list[str]:
    """Return what opening a file had to say, of its labels where they are taken."""
    labels = content.about.get("label_notes", ()) if source.entry.annotations else ()
    return [*content.about.get("notes", ()), *labels]


def _apart(signals: Mapping[str, Signal]) -> list[str]:
    """Note signals that were never recorded at one time."""
    pairs = [
        (one, other)
        for one, other in combinations(signals, 2)
        if signals[one].end_s <= signals[other].start_s
        or signals[other].end_s <= signals[one].start_s
    ]
    return [
        f"{one} and {other} share no time: {_span(signals[one])} and {_span(signals[other])}; "
        "check time zones or `offset_s`"
        for one, other in pairs
    ]


def _span(signal: Signal) -> str:
    return f"{signal.start_s:.6g} to {signal.end_s:.6g} s"


def _moved(label: LabelInterval, by_s: float) -> LabelInterval:
    return replace(label, start_s=label.start_s + by_s, end_s=label.end_s + by_s)


def _one_clock(
    where: str,
    plan: RecordingPlan,
    signals: Mapping[str, Signal],
    labels: Sequence[LabelInterval],
    zones: Zones,
) -> None:
    """Refuse times since 1970 beside times that count from elsewhere, or without a zone."""
    zones.check(where)
    starts = {f"signal '{name}'": signal.start_s for name, signal in signals.items()}
    if labels:
        starts["the first label"] = min(label.start_s for label in labels)
    absolute = {name for name, start_s in starts.items() if start_s >= ABSOLUTE_S}
    if absolute and len(absolute) < len(starts):
        one = sorted(absolute)[0]
        other = next(name for name in starts if name not in absolute)
        files = ", ".join(source.path.name for source in plan.sources)
        kinds = {source.entry.format or format_of(source.path) for source in plan.sources}
        cure = "give the EDF or WFDB file, whose start is local time, its `timezone:`, "
        cure = cure if kinds & {"edf", "wfdb"} else ""
        raise DataError(
            f"{where} ({files}): {one} starts at {starts[one]:.3f} s, which counts from 1970, and "
            f"{other} at {starts[other]:g} s; all must lie on one clock, {cure}"
            "correct `clock_unit`, add `offset_s`, or let labels `count_from: start`"
        )


def _kept_labels(
    where: str,
    labels: Sequence[LabelInterval],
    rules: Rules,
    span: tuple[float, float],
    zones: Zones,
) -> tuple[LabelInterval, ...]:
    """Rename, sort, cut to the signals, keep the classes."""
    try:
        return _one_each(where, _of_classes(where, labels, rules, span, zones.notes))
    except DataError as error:
        return tuple(without_labels(error, rules, zones))


def _one_each(where: str, labels: Sequence[LabelInterval]) -> tuple[LabelInterval, ...]:
    """Join what several files say alike of one time.

    Raises:
        DataError: they say different things.
    """
    out: list[LabelInterval] = []
    for one in labels:
        last = out[-1] if out else None
        if last is None or one.start_s >= last.end_s - 1e-6:
            out.append(one)
        elif one.label == last.label:
            out[-1] = replace(last, end_s=max(last.end_s, one.end_s))
        elif last.end_s - one.start_s <= SAME_TIME_S and one.end_s > last.end_s:
            out.append(replace(one, start_s=last.end_s))
        else:
            raise DataError(
                f"{where}: its files give two labels for one time, '{last.label}' until "
                f"{last.end_s:g} s and '{one.label}' from {one.start_s:g} s; where several devices "
                "have labels, name those of one (leave out `label:` of the others)"
            )
    return tuple(out)


def _of_classes(
    where: str,
    labels: Sequence[LabelInterval],
    rules: Rules,
    span: tuple[float, float],
    notes: list[str],
) -> tuple[LabelInterval, ...]:
    renamed = [replace(one, label=rules.label_names.get(one.label, one.label)) for one in labels]
    renamed.sort(key=lambda one: one.start_s)
    cut = [
        replace(one, start_s=max(one.start_s, span[0]), end_s=min(one.end_s, span[1]))
        for one in renamed
    ]
    inside = [one for one in cut if one.end_s > one.start_s]
    if renamed and not inside:
        raise DataError(
            f"{where}: its labels lie from {renamed[0].start_s:g} to {renamed[-1].end_s:g} s and "
            f"its signals from {span[0]:g} to {span[1]:g} s; they must overlap, is it one clock?"
        )
    if any(one.start_s < span[0] - 0.1 or span[1] + 0.1 < one.end_s < np.inf for one in renamed):
        notes.append("labels reach beyond the signals and were cut to them or left out")
    notes += spelling_notes((one.label for one in inside), rules.classes)
    kept = tuple(one for one in inside if one.label in rules.classes)
    other = [one for one in inside if one.label not in rules.classes]
    if other:
        told = "labels that are not among the classes leave their time unlabelled: "
        notes.append(told + left_unlabelled(other, kept))
    return kept
