"""Try a first mapping as `prepare` would: the plan, the headers of all files, one recording."""

from __future__ import annotations

from pathlib import Path

from crossl.data.own.mapping.columns import check_unit, locate_signal, was_off
from crossl.data.own.mapping.entries import FileEntry
from crossl.data.own.mapping.load import Mapped
from crossl.data.own.mapping.opening import open_entry
from crossl.data.own.mapping.read import read_recording
from crossl.data.own.mapping.sources import RecordingPlan
from crossl.errors import DataError, PackageError

TRIED = 3
"""Recordings that are read whole, until one can be."""


def problems(mapped: Mapped) -> dict[str, str]:
    """Return what `prepare` would say, by the recording.

    Args:
        mapped: a mapping and what it found.

    Raises:
        PackageError: what lacks is a package, for which no file is to blame.
    """
    spec = mapped.mapping.spec()
    for modality in mapped.modalities:
        spec.samples(modality)
    found = {}
    whole = 0
    for plan in mapped.plans:
        try:
            _headers(plan, mapped)
            if whole < TRIED:
                read_recording(plan, mapped.rules)
                whole += 1
        except PackageError:
            raise
        except DataError as error:
            found[plan.name] = str(error)
    return found


def _headers(plan: RecordingPlan, mapped: Mapped) -> None:
    if plan.refusal:
        raise DataError(plan.refusal)
    for source in plan.sources:
        if source.entry.long or source.entry.subject_column:
            continue  # the plan opened these
        for path in source.paths:
            _columns(path, source.entry, mapped)


def _columns(path: Path, entry: FileEntry, mapped: Mapped) -> None:
    content = open_entry(path, entry)
    for name, signal in entry.signals.items():
        if was_off(content, signal):
            continue
        where = f"{path}: signal '{name}'"
        modality = mapped.mapping.modalities[name]
        for stream, column in locate_signal(where, content, signal, modality.channels):
            check_unit(where, stream, column, modality.unit, name)
