"""A diagnosis as plain text."""

from __future__ import annotations

import re
import textwrap
from itertools import groupby

from crossl.doctor.finding import SEVERITIES, Diagnosis, Finding


def as_text(diagnosis: Diagnosis, *, name: str, width: int = 100) -> list[str]:
    """Write a diagnosis as lines: what was examined, then findings by check.

    Args:
        diagnosis: what was found.
        name: of what was examined.
        width: of a line.
    """
    lines = [f"{name}: {diagnosis.title}", about(diagnosis)]
    if diagnosis.findings:
        lines.append(summary(diagnosis))
    order = list(dict.fromkeys(finding.check for finding in diagnosis.findings))
    by_check = sorted(diagnosis.findings, key=lambda finding: order.index(finding.check))
    for check, group in groupby(by_check, key=lambda finding: finding.check):
        lines += ["", check]
        advice = ""
        for finding in group:
            lines += _finding(finding, diagnosis, width)
            if finding.advice and finding.advice != advice:
                lines += _wrapped(f"-> {finding.advice}", width, " " * 10, "   ")
            advice = finding.advice
    lines.append("")
    quiet = [check for check in diagnosis.checked if check not in order and check != "notes"]
    lines += _wrapped(f"nothing found in: {', '.join(quiet)}", width, "", "  ")
    for limit in diagnosis.limits:
        lines += _wrapped(limit, width, "", "  ")
    return lines


def about(diagnosis: Diagnosis) -> str:
    """Say how much was examined."""
    every = [counted(count, what) for what, count in diagnosis.counts.items()]
    return f"{', '.join(every)}, {duration(diagnosis.hours)}"


def counted(count: int, what: str) -> str:
    """Write a count of things named in the plural.

    Examples:
        >>> counted(1, "modalities"), counted(1200, "windows")
        ('1 modality', '1,200 windows')
    """
    singular = re.sub("s$", "", re.sub("ies$", "y", what))
    return f"{count:,} {singular if count == 1 else what}"


def duration(hours: float) -> str:
    """Write a length of time as minutes or hours.

    Examples:
        >>> duration(0.002), duration(0.7), duration(30.25)
        ('7.2 seconds', '42 minutes', '30.2 hours')
    """
    if hours < 1 / 60:
        return f"{3600 * hours:.3g} seconds"
    return f"{60 * hours:.3g} minutes" if hours < 2 else f"{hours:,.3g} hours"


def summary(diagnosis: Diagnosis) -> str:
    """Count errors, warnings and notes.

    Examples:
        >>> from crossl.doctor.finding import Coverage, LabelTable
        >>> empty = Coverage((), (), ()), LabelTable((), (), (), "windows")
        >>> summary(Diagnosis("none", (), (), *empty, {}, 0.0))
        'no errors, no warnings, no notes'
    """
    parts = []
    for severity in SEVERITIES:
        count = len(diagnosis.of(severity))
        parts.append(counted(count, f"{severity}s") if count else f"no {severity}s")
    return ", ".join(parts)


def _finding(finding: Finding, diagnosis: Diagnosis, width: int) -> list[str]:
    where = f"{finding.where}: " if finding.where else ""
    place = finding.place(diagnosis.counts)
    text = f"{where}{finding.sentence}" + (f" ({place})" if place else "")
    return _wrapped(text, width, f"  {finding.severity:<8}", " " * 10)


def _wrapped(text: str, width: int, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest if len(rest) >= len(first) else first + rest,
        break_long_words=False,
        break_on_hyphens=False,
    )
