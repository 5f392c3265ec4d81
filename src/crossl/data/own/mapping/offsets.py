"""`offsets`: one device's clock of one subject, moved on top of what patterns say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from crossl.data.own.mapping.entries import OffsetEntry
from crossl.data.own.mapping.schema import Mapping
from crossl.data.own.mapping.sources import RecordingPlan, Source
from crossl.errors import DataError, nearest


def add_offsets(
    mapping: Mapping, plans: Sequence[RecordingPlan], where: str
) -> list[RecordingPlan]:
    """Move what `offsets` name.

    Args:
        mapping: with its offsets.
        plans: the recordings.
        where: names the mapping in messages.

    Raises:
        DataError: an offset is of no subject.
    """
    out = list(plans)
    for number, offset in enumerate(mapping.offsets):
        here = f"{where}: offsets.{number}"
        mine = _recordings(here, out, offset)
        moved = {at: [_moved(mapping, one, offset) for one in out[at].sources] for at in mine}
        if all(tuple(sources) == out[at].sources for at, sources in moved.items()):
            what = next(f"{k} '{v}'" for k, v in offset.selectors.items())
            told = f"offsets.{number} moves nothing: {offset.subject} has no {what}"
            out[mine[0]] = replace(out[mine[0]], notes=(*out[mine[0]].notes, told))
        for at, sources in moved.items():
            out[at] = replace(out[at], sources=tuple(sources))
    return out


def _recordings(where: str, plans: Sequence[RecordingPlan], offset: OffsetEntry) -> list[int]:
    subjects = {plan.subject for plan in plans}
    if offset.subject not in subjects:
        known = nearest(offset.subject, subjects)
        raise DataError(f"{where}: no subject is called '{offset.subject}'; {known}")
    sessions = {plan.session for plan in plans if plan.subject == offset.subject}
    if offset.session is not None and offset.session not in sessions:
        known = nearest(offset.session, sessions)
        raise DataError(f"{where}: {offset.subject} has no session '{offset.session}'; {known}")
    return [
        at
        for at, plan in enumerate(plans)
        if plan.subject == offset.subject and offset.session in (None, plan.session)
    ]


def _moved(mapping: Mapping, source: Source, offset: OffsetEntry) -> Source:
    """Move a whole file, or those of its modalities that are meant."""
    if offset.file is not None:
        if source.entry.name != offset.file:
            return source
        return replace(source, offset_s=source.offset_s + offset.offset_s)
    meant = {
        name
        for name in source.entry.signals
        if offset.modality == name
        or (offset.device is not None and mapping.modalities[name].device == offset.device)
    }
    if not meant:
        return source
    if len(meant) == len(source.entry.signals):  # its labels are on the same clock
        return replace(source, offset_s=source.offset_s + offset.offset_s)
    shifts = {name: source.shift_s.get(name, 0.0) + offset.offset_s for name in meant}
    return replace(source, shift_s={**source.shift_s, **shifts})
