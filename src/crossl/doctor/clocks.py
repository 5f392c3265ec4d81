"""Checks of time: rates, timestamps, gaps, and whether sensors and labels cover the same time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from crossl.data.recording import WARNING, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.doctor.arrays import longest_run, recorded
from crossl.doctor.finding import Finding, Severity, one
from crossl.doctor.values import BODY_WORDS, MOTION, is_called

WARN_RATE, NOTE_RATE = 0.01, 0.005
"""Relative error of a rate: 1% is what crossl refuses in a file, 36 s an hour; half is reported."""

WARN_DROPPED, NOTE_DROPPED = 0.05, 0.01
"""Share of samples without a time of their own."""

FEW_SAMPLES = 100
"""A rate that fewer timestamps show is not judged."""

NOTE_GAP_S, GAP_STEPS = 0.5, 5
"""A gap counts from half a second, and from five samples of a slow sensor."""

WARN_MISSING = 0.2
"""Share missing at which windows begin to lack the sensor: `min_coverage` is 0.8."""

RATE_RATIO = 10.0
"""Two sensors of one kind whose rates differ this often do not see the same events."""

FEW_IN_WINDOW = 4
"""A window with fewer samples has no shape to learn from."""

START_APART_S, WARN_APART = 2.0, 0.1
"""Seconds between the starts (or ends) of sensors; share of the recording that warns."""

LEAD_S, LEAD_SHARE = 60.0, 0.25
"""Time before the first label that is worth a look at its clock."""


def check_timing(name: str, timing: Mapping[str, Any], samples: int) -> Iterator[Finding]:
    """Check what timestamps showed: their rate, and samples without a time of their own.

    Args:
        name: of the modality.
        timing: as `Timing.as_dict` returns it.
        samples: of the signal.
    """
    declared, estimated = timing["declared_hz"], timing["estimated_hz"]
    if declared > 0 and samples >= FEW_SAMPLES:
        off = estimated / declared - 1
        if abs(off) > NOTE_RATE:
            yield Finding(
                "rate",
                "warning" if abs(off) > WARN_RATE else "note",
                name,
                f"timestamps give {{}}, declared are {declared:g} Hz",
                "Samples were put on the grid by their times, so nothing drifts. Read as equal "
                "steps, 1% is 36 s an hour: correct the declared rate, or keep the timestamps.",
                one(estimated),
                "Hz",
            )
    share = timing["dropped"] / max(samples + timing["dropped"], 1)
    if share > NOTE_DROPPED:
        yield Finding(
            "timing",
            "warning" if share > WARN_DROPPED else "note",
            name,
            "{} of the samples have the time of another or an earlier one and were left out",
            "Record finer timestamps, or number the samples: what was left out is interpolated.",
            one(share),
            "%",
        )
    if timing.get("spread"):
        yield Finding(
            "timing",
            "note",
            name,
            "{} of the samples came in batches of one time each and were spread until the next",
            "Times are known to within a batch: record finer timestamps where that matters.",
            one(timing["spread"] / max(samples, 1)),
            "%",
        )
    if timing["backwards"]:
        yield Finding(
            "timing",
            "warning",
            name,
            "the clock jumps back {} times",
            "Look for a clock that was set, or files joined in the wrong order; samples until it "
            "has caught up are left out.",
            one(timing["backwards"]),
        )


def check_gaps(modality: Modality, signal: Signal) -> Iterator[Finding]:
    """Check for missing samples inside a signal."""
    there = recorded(signal.values)
    least = max(NOTE_GAP_S, GAP_STEPS / signal.rate_hz)
    longest = longest_run(~there) / signal.rate_hz
    missing = 1 - float(there.mean())
    if longest > least or missing > WARN_MISSING:
        yield Finding(
            "gaps",
            "warning" if missing > WARN_MISSING else "note",
            modality.name,
            f"{missing_text(missing)} of the samples are missing, the longest gap is {{}}",
            "Windows over a gap longer than max_gap_s lack this sensor; look for a device that "
            "was off or out of reach.",
            one(longest),
            "s",
        )
    else:
        yield from steps_between(modality.name, signal, least)
    yield from _partly(modality, signal)


def missing_text(share: float) -> str:
    """Put a share into one of a few words, so that recordings can be reported together."""
    for limit in (0.01, 0.05, 0.2, 0.5):
        if share <= limit:
            return f"up to {limit:.0%}"
    return "more than 50%"


def steps_between(name: str, signal: Signal, least: float) -> Iterator[Finding]:
    """Tell gaps between timestamps that no NaN marks."""
    if signal.timing is not None:
        yield from check_steps(name, signal.timing.as_dict(), least)


def check_steps(name: str, timing: Mapping[str, Any], least: float) -> Iterator[Finding]:
    """Check for long steps between timestamps."""
    if timing["longest_gap_s"] > least:
        yield Finding(
            "gaps",
            "note",
            name,
            "the longest step between timestamps is {}",
            "Windows over a gap longer than max_gap_s lack this sensor.",
            one(timing["longest_gap_s"]),
            "s",
        )


def _partly(modality: Modality, signal: Signal) -> Iterator[Finding]:
    missing = np.isnan(signal.values)
    partly = missing.any(axis=1) & ~missing.all(axis=1)
    if partly.mean() > NOTE_DROPPED:
        worst = modality.channels[int(missing[partly].sum(axis=0).argmax())]
        yield Finding(
            "gaps",
            "note",
            modality.name,
            f"in {{}} of the samples some channels are missing and others are not, mostly "
            f"'{worst}'",
            "A sample counts only where every channel was recorded; make channels that fail "
            "apart modalities of their own.",
            one(float(partly.mean())),
            "%",
        )


def check_rates(recording: Recording, spec: WindowSpec) -> Iterator[Finding]:
    """Check rates against each other and against the window."""
    present = [recording.modalities[name] for name in recording.signals]
    for slow in present:
        alike = [m for m in present if _kind(m) and _kind(m) == _kind(slow)]
        fast = max(alike, key=lambda m: m.rate_hz, default=slow)
        if fast.rate_hz < RATE_RATIO * slow.rate_hz:
            continue
        yield Finding(
            "rates",
            "warning",
            slow.name,
            f"recorded at {slow.rate_hz:g} Hz, '{fast.name}' at {fast.rate_hz:g} Hz, both in "
            f"{slow.unit}: a window of {spec.window_s:g} s holds "
            f"{round(spec.window_s * slow.rate_hz)} and {round(spec.window_s * fast.rate_hz)} "
            f"samples, and the slow one cannot carry what is faster than {slow.rate_hz / 2:g} Hz",
            "Check the slow one's rate and whether it was filtered before it was thinned; if it "
            "is right, choose a window long enough for it, or resample the fast one.",
        )
    yield from check_window(present, spec)


def _kind(modality: Modality) -> str:
    """Name sensors that see the same events; a voltage alone may be an ECG or a breathing belt."""
    if modality.unit in MOTION:
        return modality.unit
    return "body" if modality.unit == "V" and is_called(modality, BODY_WORDS) else ""


def check_window(modalities: list[Modality], spec: WindowSpec) -> Iterator[Finding]:
    """Check that a window holds more than a few samples of each sensor."""
    for modality in modalities:
        count = round(spec.window_s * modality.rate_hz)
        if count < FEW_IN_WINDOW:
            yield Finding(
                "rates",
                "note",
                modality.name,
                f"a window of {spec.window_s:g} s holds {count} of its samples at "
                f"{modality.rate_hz:g} Hz",
                "Make windows longer (--window-s), or leave this sensor out.",
            )


def check_clock(recording: Recording) -> Iterator[Finding]:
    """Check that sensors start and end together, and that labels lie within them."""
    length = recording.end_s - recording.start_s
    first, usual = _usual(recording)
    for name, signal in recording.signals.items():
        slack = max(START_APART_S, 2 / signal.rate_hz)
        starts, ends = signal.start_s - first.start_s, signal.end_s - first.end_s
        late = abs(starts) > slack, abs(ends) > slack
        if all(late) and abs(starts - ends) <= slack:
            yield _apart(name, "starts and ends", (starts, length), usual, shift=True)
            continue
        for what, by_s, counts in (("starts", starts, late[0]), ("ends", ends, late[1])):
            if counts:
                yield _apart(name, what, (by_s, length), usual)
    yield from _label_clock(recording, length)


def _usual(recording: Recording) -> tuple[Signal, str]:
    """Return the sensor that others are measured against, and what to call it.

    It is the first of those that start and end together with the most; never a time between two.
    """
    edges = {name: (s.start_s, s.end_s) for name, s in recording.signals.items()}
    together = {
        name: [o for o in edges.values() if np.abs(np.subtract(o, here)).max() <= START_APART_S]
        for name, here in edges.items()
    }
    name = max(together, key=lambda one: len(together[one]))
    rest = len(together[name])
    others = "the other sensors" if rest > 1 and rest == len(edges) - 1 else f"'{name}'"
    return recording.signals[name], others


def _apart(
    name: str, what: str, by: tuple[float, float], usual: str, *, shift: bool = False
) -> Finding:
    by_s, length = by
    severity: Severity = "warning" if abs(by_s) > WARN_APART * length else "note"
    mend = (
        "Started together, its clock is off: add the `offset_s` given here to the rule in "
        "`files` that reads it, or for one recording to its entry in `recordings`."
    )
    return Finding(
        "clock",
        severity,
        name,
        f"{what} {{}} {'after' if by_s > 0 else 'before'} {usual}",
        mend
        if shift
        else "Windows beyond lack the sensors that were not recording; if the "
        "devices were started together, the clock or a file's length is wrong.",
        one(abs(by_s)),
        "s",
        detail=f"offset_s: {-round(by_s, 3):g} for '{name}'" if shift else "",
    )


def _label_clock(recording: Recording, length: float) -> Iterator[Finding]:
    if not recording.labels:
        return
    first, last = recording.labels[0].start_s, recording.labels[-1].end_s
    begin, end = recording.start_s, recording.end_s
    outside = max(begin - first, last - end)
    slack = max(1.0, 0.01 * length)
    advice = (
        "Labels and signals must be on one clock: check the time zone, the unit (samples, "
        "milliseconds) and which device's start the labels count from."
    )
    if last <= begin or first >= end:
        what = "every label lies outside the recording, the nearest {} away"
        yield Finding("clock", "error", "labels", what, advice,
                      one(max(begin - last, first - end)), "s")  # fmt: skip
    elif outside > slack:
        what = "labels reach {} beyond the recording"
        yield Finding("clock", "warning", "labels", what, advice, one(outside), "s")
    elif first - begin > max(LEAD_S, LEAD_SHARE * length):
        what = "the first label begins {} after the sensors"
        yield Finding("clock", "note", "labels", what, advice, one(first - begin), "s")


def check_notes(notes: list[str]) -> Iterator[Finding]:
    """Pass on what the reader saw or did."""
    for note in notes:
        severity: Severity = "warning" if note.startswith(WARNING) else "note"
        yield Finding("notes", severity, "", note.removeprefix(WARNING))
