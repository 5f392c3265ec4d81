"""Mapping: a file that says which files and columns are whose, of what, in which unit and rate."""

from __future__ import annotations

from crossl.data.own.mapping.entries import (
    FileEntry,
    IntervalsEntry,
    ModalityEntry,
    RecordingEntry,
    SignalEntry,
    WindowsEntry,
)
from crossl.data.own.mapping.load import (
    MAPPING_NAMES,
    Mapped,
    find_mapping,
    load_mapping,
    read_mapping,
)
from crossl.data.own.mapping.plan import RecordingPlan, Source
from crossl.data.own.mapping.read import read_recording
from crossl.data.own.mapping.schema import Mapping

__all__ = [
    "MAPPING_NAMES",
    "FileEntry",
    "IntervalsEntry",
    "Mapped",
    "Mapping",
    "ModalityEntry",
    "RecordingEntry",
    "RecordingPlan",
    "SignalEntry",
    "Source",
    "WindowsEntry",
    "find_mapping",
    "load_mapping",
    "read_mapping",
    "read_recording",
]
