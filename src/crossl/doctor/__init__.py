"""Doctor: says what is wrong with recordings or a store, where, how much, and what to do."""

from __future__ import annotations

from crossl.doctor.finding import CHECKS, Diagnosis, Finding
from crossl.doctor.recordings import examine_recordings
from crossl.doctor.stores import examine_store
from crossl.doctor.text import as_text

__all__ = [
    "CHECKS",
    "Diagnosis",
    "Finding",
    "as_text",
    "examine_recordings",
    "examine_store",
]
