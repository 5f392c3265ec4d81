"""Doctor: says what is wrong with recordings or a store, where, how much, and what to do."""

from __future__ import annotations

from crossl.data.doctor.finding import CHECKS, Diagnosis, Finding
from crossl.data.doctor.recordings import examine_recordings
from crossl.data.doctor.stores import examine_store
from crossl.data.doctor.text import as_text

__all__ = [
    "CHECKS",
    "Diagnosis",
    "Finding",
    "as_text",
    "examine_recordings",
    "examine_store",
]
