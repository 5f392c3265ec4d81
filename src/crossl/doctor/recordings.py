"""Recordings: every check that needs whole signals, one recording after another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np

from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import Recording
from crossl.doctor.arrays import recorded
from crossl.doctor.channels import check_channels
from crossl.doctor.clocks import (
    check_clock,
    check_gaps,
    check_notes,
    check_rates,
    check_timing,
)
from crossl.doctor.coverage import CoverageTally
from crossl.doctor.disguises import check_disguises
from crossl.doctor.drift import check_drift
from crossl.doctor.finding import CHECKS, Collector, Diagnosis, Finding
from crossl.doctor.fingerprints import Prints
from crossl.doctor.giveaways import Giveaways
from crossl.doctor.labels import LabelTally
from crossl.doctor.values import check_values
from crossl.errors import CrosslError, PackageError

Progress = Callable[[str, float], None]

LEAST_S = 1.0
"""A subject with less is too short to say what is missing."""

LEAST_CHANGES = 24
"""A few equal steps of a slow sensor may be chance."""


class Examination:
    """What is kept of the recordings while they pass by: sums and findings, no samples."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._found = Collector()
        self._labels = LabelTally(dataset.card.classes)
        self._coverage = CoverageTally([m.name for m in dataset.card.modalities])
        self._prints = Prints(dataset.card.spec)
        self._giveaways = Giveaways()
        self._seen: dict[bytes, tuple[str, str]] = {}
        self._recordings, self._seconds = 0, 0.0
        self._subjects: set[str] = set()

    def add_part(self, part: Part) -> None:
        """Read a part; where it cannot be read, its refusal becomes a finding."""
        try:
            for recording in part.read():
                self.add(recording)
        except PackageError:
            raise
        except CrosslError as error:
            advice = "Mend the file or what the mapping says of it; the others were examined."
            finding = Finding("readable", "error", "", str(error), advice, scope="")
            self._found.add([finding])

    def add(self, recording: Recording) -> None:
        """Examine one recording."""
        name = f"subject {recording.subject}, session {recording.session}"
        self._found.add(check_recording(recording, self._dataset), name)
        self._found.add(self._copies(recording, name), name)
        self._labels.add_recording(recording, self._dataset.card.spec)
        self._prints.add(recording)
        self._giveaways.add_recording(recording)
        length = recording.end_s - recording.start_s
        for key in recording.modalities:
            there = 0.0
            if key in recording.signals:
                signal = recording.signals[key]
                there = float(recorded(signal.values).sum()) / signal.rate_hz
            self._coverage.add(recording.subject, key, there, length)
        self._recordings += 1
        self._seconds += length
        self._subjects.add(recording.subject)

    def _copies(self, recording: Recording, name: str) -> Iterator[Finding]:
        for key, signal in recording.signals.items():
            changes = np.count_nonzero(np.diff(signal.values, axis=0).any(axis=1))
            if changes < LEAST_CHANGES:
                continue
            content = hashlib.blake2b(signal.values.tobytes(), digest_size=16).digest()
            first = self._seen.setdefault(content, (name, key))
            if first != (name, key):
                yield Finding(
                    "copies",
                    "error",
                    key,
                    "is identical, sample for sample, to a recording of another name",
                    "A test by subject may score what was trained on: find out whose it is, and "
                    "keep it once.",
                    detail=f"as in {first[0]}" + ("" if first[1] == key else f", {first[1]}"),
                )

    def _limits(self) -> tuple[str, ...]:
        every = self._prints.every
        if every == 1:
            return ()
        return (f"Copies were looked for among one in {every} windows of each recording.",)

    def diagnosis(self) -> Diagnosis:
        """Return what was found."""
        card = self._dataset.card
        self._found.add(self._coverage.findings(LEAST_S))
        if self._recordings:
            self._found.add(self._labels.findings())
        self._found.add(self._prints.findings())
        self._found.add(self._giveaways.findings())
        self._found.add(Finding("notes", "note", "", n, scope="") for n in self._dataset.notes)
        counts = {
            "recordings": self._recordings,
            "subjects": len(self._subjects),
            "modalities": len(self._coverage.modalities),
        }
        return Diagnosis(
            title=card.title,
            findings=self._found.findings(),
            checked=tuple(CHECKS) if self._recordings else ("readable",),
            coverage=self._coverage.table(),
            labels=self._labels.table(),
            counts=counts,
            hours=self._seconds / 3600,
            limits=self._limits(),
        )


def check_recording(recording: Recording, dataset: Dataset) -> Iterator[Finding]:
    """Run every check that one recording is enough for."""
    for name, signal in recording.signals.items():
        modality = recording.modalities[name]
        yield from check_values(modality, signal.values)
        yield from check_disguises(modality, signal.values)
        yield from check_gaps(modality, signal)
        if signal.timing is not None:
            yield from check_timing(name, signal.timing.as_dict(), len(signal.values))
    yield from check_channels(recording)
    yield from check_rates(recording, dataset.card.spec)
    yield from check_clock(recording)
    yield from check_drift(recording)
    yield from check_notes(list(recording.notes))


def examine_recordings(dataset: Dataset, progress: Progress | None = None) -> Diagnosis:
    """Examine every recording of a data set, one at a time.

    Args:
        dataset: opened by a reader.
        progress: called with the part, and the share that is done.

    Returns:
        What was found. A part that cannot be read is a finding, not the end.
    """
    examination = Examination(dataset)
    for done, part in enumerate(dataset.parts):
        examination.add_part(part)
        if progress is not None:
            progress(f"recordings: {part.name}", (done + 1) / len(dataset.parts))
    return examination.diagnosis()
