"""Whose a file is that several patterns find: of the one that says most of its name."""

from __future__ import annotations

from collections.abc import Mapping as Read
from collections.abc import Sequence

from crossl.data.own.mapping.entries import FileEntry
from crossl.data.own.mapping.pattern import Pattern


def of_others(
    patterns: Read[int, Pattern], entries: Sequence[FileEntry], names: Sequence[str]
) -> dict[int, set[str]]:
    """Return the files that a pattern finds and leaves to another, by the number of its entry.

    `{subject}.csv` finds `S1.csv`, and `S1_labels.csv` too as of another person; that is left to
    `{subject}_labels.csv`, as `labels.csv` is to `labels.csv`. Patterns that call a file the same
    recording share it.

    Args:
        patterns: by the number of their entry.
        entries: of the mapping.
        names: paths of all files.
    """
    left: dict[int, set[str]] = {number: set() for number in patterns}
    if len(patterns) < 2:
        return left
    for name in names:
        told = {}
        for number, pattern in patterns.items():
            fields = pattern.match(name)
            if fields is not None:
                told[number] = _called(fields, entries[number])
        if len(set(told.values())) < 2:
            continue
        most = max(patterns[number].letters for number in told)
        kept = {who for number, who in told.items() if patterns[number].letters == most}
        for number, who in told.items():
            if who not in kept:
                left[number].add(name)
    return left


def _called(fields: Read[str, str], entry: FileEntry) -> tuple[str | None, ...]:
    subject = fields.get("subject", entry.subject)
    return subject, fields.get("session", entry.session), fields.get("part")
