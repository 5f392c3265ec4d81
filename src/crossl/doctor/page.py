"""A diagnosis of recordings as one self-contained page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from crossl.doctor.finding import (
    CHECKS,
    SEVERITIES,
    Coverage,
    Diagnosis,
    LabelTable,
)
from crossl.doctor.text import counted, duration
from crossl.files import write_whole
from crossl.report import style
from crossl.report.style import unit_text

SHADE = 0.45
"""Opacity of a full cell, low enough that text stays readable on it in light and dark."""

MAX_ROWS = 300
MANY_COLUMNS, LONG_NAMES = 8, 90


@dataclass(frozen=True)
class HeadCard:
    """A headline number; `kind` is a class of the style sheet."""

    value: str
    label: str
    kind: str = ""
    details: Sequence[str] = ()


@dataclass(frozen=True)
class Item:
    """A finding in words."""

    severity: str
    where: str
    sentence: str
    place: str
    advice: str


@dataclass(frozen=True)
class Group:
    """The findings of one check."""

    check: str
    question: str
    findings: Sequence[Item]


@dataclass(frozen=True)
class Looked:
    """One line of what was looked at."""

    question: str
    text: str
    state: str = ""


@dataclass(frozen=True)
class HeatCell:
    """A cell: its text, and how dark it is from 0 to 1; None where there is nothing."""

    text: str
    shade: float | None


@dataclass(frozen=True)
class HeatRow:
    """A row of a map; the total is not shaded."""

    name: str
    cells: Sequence[HeatCell]
    total: bool = False


@dataclass(frozen=True)
class HeatMap:
    """A table whose cells are shaded; a table, so that it can be read aloud and copied."""

    caption: str
    label: str
    columns: Sequence[str]
    rows: Sequence[HeatRow]

    @property
    def turned(self) -> bool:
        """Whether the names of the columns stand upright to save room."""
        return len(self.columns) > MANY_COLUMNS or sum(map(len, self.columns)) > LONG_NAMES


@dataclass(frozen=True)
class Page:
    """What the template shows."""

    title: str
    name: str
    cards: Sequence[HeadCard]
    groups: Sequence[Group]
    checks: Sequence[Looked]
    limits: Sequence[str]
    coverage: HeatMap | None
    labels: HeatMap | None


def build_doctor_page(diagnosis: Diagnosis, out: Path, *, name: str) -> Path:
    """Write a diagnosis as one page that needs no network.

    Args:
        diagnosis: what was found.
        out: the file to write; its folder is made.
        name: of what was examined.

    Returns:
        The page that was written, whole or not at all.
    """
    html = render_diagnosis(diagnosis, name=name)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, html.encode())
    return out


def render_diagnosis(diagnosis: Diagnosis, *, name: str) -> str:
    """Return the page as text; the same diagnosis gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader([Path(__file__).parent, Path(style.__file__).parent]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = Page(
        title=diagnosis.title,
        name=name,
        cards=_cards(diagnosis),
        groups=_groups(diagnosis),
        checks=_looked(diagnosis),
        limits=diagnosis.limits,
        coverage=_coverage_map(diagnosis.coverage),
        labels=_label_map(diagnosis.labels),
    )
    return environment.get_template("page.html.j2").render(page=page)


def _cards(diagnosis: Diagnosis) -> list[HeadCard]:
    meaning = {
        "error": "results would be wrong",
        "warning": "results may be wrong",
        "note": "good to know",
    }
    cards = []
    for severity in SEVERITIES:
        count = len(diagnosis.of(severity))
        value, label = counted(count, f"{severity}s").split()
        cards.append(HeadCard(value, label, severity if count else "", [meaning[severity]]))
    counts = dict(diagnosis.counts)
    first = next(iter(counts), "recordings")
    details = [counted(count, what) for what, count in counts.items() if what != first]
    details = [duration(diagnosis.hours), *details]
    value, label = counted(counts.get(first, 0), first).split()
    return [*cards, HeadCard(value, label, "", details)]


def _groups(diagnosis: Diagnosis) -> list[Group]:
    order = list(dict.fromkeys(finding.check for finding in diagnosis.findings))
    by_check = sorted(diagnosis.findings, key=lambda finding: order.index(finding.check))
    groups = []
    for check, findings in groupby(by_check, key=lambda finding: finding.check):
        items = [
            Item(
                f.severity,
                f.where,
                unit_text(f.sentence),
                unit_text(f.place(diagnosis.counts)),
                unit_text(f.advice),
            )
            for f in findings
        ]
        groups.append(Group(check, CHECKS[check], items))
    return groups


def _looked(diagnosis: Diagnosis) -> list[Looked]:
    lines = []
    for check, question in CHECKS.items():
        found = [f.severity for f in diagnosis.findings if f.check == check]
        if found:
            worst = min(found, key=SEVERITIES.index)
            lines.append(Looked(question, counted(len(found), "findings"), worst))
        elif check in diagnosis.checked:
            lines.append(Looked(question, "nothing found"))
        else:
            lines.append(Looked(question, "not looked at"))
    return lines


def _coverage_map(coverage: Coverage) -> HeatMap | None:
    if not coverage.subjects or not coverage.modalities:
        return None
    rows = [
        HeatRow(subject, [_share_cell(share) for share in shares])
        for subject, shares in zip(coverage.subjects, coverage.share, strict=True)
    ]
    caption = "Share of the recorded time (of a store: of its windows) in which a sensor was there"
    if len(rows) > MAX_ROWS:
        mean = {s: sum(x) for s, x in zip(coverage.subjects, coverage.share, strict=True)}
        worst = set(sorted(mean, key=lambda s: mean[s])[:MAX_ROWS])
        caption += f"; the {MAX_ROWS} subjects of {len(rows)} with the least"
        rows = [row for row in rows if row.name in worst]
    return HeatMap(f"{caption}.", "Share recorded by subject and sensor", coverage.modalities, rows)


def _share_cell(share: float) -> HeatCell:
    if share <= 0:
        return HeatCell("none", None)
    return HeatCell(f"{100 * share:.3g}%", SHADE * share)


def _label_map(labels: LabelTable) -> HeatMap | None:
    if not any(any(row) for row in labels.amount):
        return None
    rows = []
    for subject, amounts in zip(labels.subjects, labels.amount, strict=True):
        most = max(amounts) or 1
        cells = [
            HeatCell(f"{round(n):,}", SHADE * n / most) if n else HeatCell("none", None)
            for n in amounts
        ]
        rows.append(HeatRow(subject, cells))
    caption = f"Labelled {labels.unit}; within a subject the darkest cell is the commonest class"
    if len(rows) > MAX_ROWS:
        caption += f"; the first {MAX_ROWS} subjects of {len(rows)}"
        rows = rows[:MAX_ROWS]
    totals = [sum(column) for column in zip(*labels.amount, strict=True)]
    rows.append(HeatRow("all", [HeatCell(f"{round(n):,}", 0.0) for n in totals], total=True))
    return HeatMap(f"{caption}.", "Windows by subject and class", labels.classes, rows)
