"""Finding: one thing that is wrong. Diagnosis: all of them, and what was counted on the way."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

Severity: TypeAlias = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
Scope: TypeAlias = Literal["recordings", "subjects", ""]

CHECKS = {
    "readable": "every part can be read",
    "copies": "no signal occurs in two recordings",
    "unit": "the size of the values fits the unit",
    "range": "no value is impossible",
    "clock": "sensors and labels cover the same time",
    "drift": "the devices' clocks stay together",
    "rate": "timestamps agree with the declared rate",
    "timing": "timestamps are in order, one each",
    "rates": "rates fit each other and the window",
    "gaps": "samples were recorded without long gaps",
    "coverage": "every subject has every sensor",
    "flat": "no sensor stands still",
    "saturation": "no sensor is at its limit",
    "sensors": "every channel is a sensor, no counter, clock or code",
    "giveaway": "no channel gives the label or a target away",
    "channels": "every channel carries information of its own",
    "labels": "classes have enough windows and subjects",
    "leakage": "no window occurs in two subjects",
    "notes": "what the reader did or saw",
}
"""What is looked at, in the order of a diagnosis."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, in one recording or in many.

    Attributes:
        check: key of `CHECKS`.
        severity: an error makes results wrong, a warning may, a note is good to know.
        where: modality or class; empty for the whole.
        what: what is wrong; `{}` stands for the amount.
        advice: what to do.
        amount: least and most over the recordings; None where there is nothing to measure.
        unit: of the amount; `%` shows a share.
        scope: what `count` counts; empty where the finding is about everything together.
        count: in how many recordings or subjects.
        example: the one with the largest amount, or the first.
        detail: what is special about the example.
    """

    check: str
    severity: Severity
    where: str
    what: str
    advice: str = ""
    amount: tuple[float, float] | None = None
    unit: str = ""
    scope: Scope = "recordings"
    count: int = 1
    example: str = ""
    detail: str = ""

    @property
    def sentence(self) -> str:
        """What is wrong, with its amount.

        Examples:
            >>> Finding("gaps", "note", "acc", "lacks up to {}", amount=(2, 3), unit="s").sentence
            'lacks up to 2 to 3 s'
        """
        if self.amount is None:
            return self.what
        return self.what.replace("{}", amount_text(self.amount, self.unit), 1)

    def place(self, totals: Mapping[str, int]) -> str:
        """Say in how many recordings or subjects, and name one."""
        shown = ": ".join(text for text in (self.example, self.detail) if text)
        if not self.scope:
            return f"e.g. {shown}" if shown else ""
        total = totals.get(self.scope, 0)
        if total <= 1 or (self.count == 1 and shown):
            return f"in {shown}" if shown else ""
        share = f"all {total}" if self.count == total else f"{self.count} of {total}"
        return f"in {share} {self.scope}" + (f", e.g. {shown}" if shown else "")


def one(value: float) -> tuple[float, float]:
    """Give an amount that is the same in every place."""
    return float(value), float(value)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names such that S2 comes before S10.

    Examples:
        >>> in_order(["S10", "S2", "A"])
        ['A', 'S2', 'S10']
    """
    return sorted(
        names, key=lambda name: [(not p.isdigit(), int(p) if p.isdigit() else 0, p)
                                 for p in re.split(r"([0-9]+)", name)]
    )  # fmt: skip


def number(value: float) -> str:
    """Write a number with three digits that count.

    Examples:
        >>> number(0.01234), number(12345.6), number(12.0)
        ('0.0123', '12,346', '12')
    """
    if 1000 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}" if 100 <= abs(value) < 1000 else f"{value:.3g}"


def amount_text(amount: tuple[float, float], unit: str) -> str:
    """Write least and most, or one number where they read the same."""
    factor = 100.0 if unit == "%" else 1.0
    low, high = number(factor * amount[0]), number(factor * amount[1])
    end = "" if not unit else "%" if unit == "%" else f" {unit}"
    return f"{low}{end}" if low == high else f"{low} to {high}{end}"


@dataclass(frozen=True)
class Coverage:
    """Share recorded by subject (rows) and modality (columns)."""

    subjects: Sequence[str]
    modalities: Sequence[str]
    share: Sequence[Sequence[float]]


@dataclass(frozen=True)
class LabelTable:
    """Amount by subject (rows) and class (columns)."""

    subjects: Sequence[str]
    classes: Sequence[str]
    amount: Sequence[Sequence[float]]
    unit: str


@dataclass(frozen=True)
class Diagnosis:
    """What was looked at and what was found.

    Attributes:
        title: of what was examined.
        findings: worst first, alike ones merged.
        checked: keys of `CHECKS` that were looked at.
        coverage: share recorded, for a map.
        labels: windows by subject and class.
        counts: totals by name: `recordings`, `subjects`, `windows`.
        hours: length of all recordings together.
        limits: what was not looked at, a sentence each.
    """

    title: str
    findings: Sequence[Finding]
    checked: Sequence[str]
    coverage: Coverage
    labels: LabelTable
    counts: Mapping[str, int]
    hours: float
    limits: Sequence[str] = field(default=())

    def of(self, severity: Severity) -> list[Finding]:
        """Return the findings of one severity."""
        return [finding for finding in self.findings if finding.severity == severity]

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not self.of("error")


class Collector:
    """Merges findings as they come, so that a thousand alike take the room of one."""

    def __init__(self) -> None:
        self._merged: dict[tuple[str, ...], Finding] = {}

    def add(self, findings: Iterable[Finding], example: str = "") -> None:
        """Take the findings of one recording, subject, or the whole."""
        for finding in findings:
            named = replace(finding, example=finding.example or example)
            key = _key(finding)
            before = self._merged.get(key)
            self._merged[key] = named if before is None else _merge(before, named)

    def findings(self) -> tuple[Finding, ...]:
        """Return what was found: worst first, then in the order of `CHECKS`."""
        order = list(CHECKS)
        return tuple(
            sorted(
                _together(self._merged.values()),
                key=lambda f: (SEVERITIES.index(f.severity), order.index(f.check)),
            )
        )


def _together(findings: Iterable[Finding]) -> list[Finding]:
    """Name all modalities at once of which the same is said, as a device's often are."""
    groups: dict[Finding, list[str]] = {}
    for finding in findings:
        groups.setdefault(replace(finding, where=""), []).append(finding.where)
    return [replace(finding, where=names(where)) for finding, where in groups.items()]


def names(every: Sequence[str], room: int = 6) -> str:
    """List names, the last ones counted where there are too many.

    Examples:
        >>> names(["a", "b", "c", "d"], room=3)
        'a, b and 2 more'
    """
    if len(every) <= room:
        return ", ".join(every)
    return f"{', '.join(every[: room - 1])} and {len(every) - room + 1} more"


def _key(finding: Finding) -> tuple[str, ...]:
    what = finding.what
    if finding.check in ("notes", "readable"):
        what = re.sub(
            r"\b[0-9a-f]{8,}\b|\d+(\.\d+)?", "#", what
        )  # the same note with other numbers
    return finding.check, finding.where, finding.scope, what, finding.advice


def _merge(one: Finding, other: Finding) -> Finding:
    worst = min(one, other, key=lambda f: SEVERITIES.index(f.severity))
    if one.amount is None or other.amount is None:
        return replace(one, severity=worst.severity, count=one.count + other.count)
    amount = min(one.amount[0], other.amount[0]), max(one.amount[1], other.amount[1])
    loud = other if abs(other.amount[1]) > abs(one.amount[1]) else one
    return replace(loud, severity=worst.severity, amount=amount, count=one.count + other.count)
