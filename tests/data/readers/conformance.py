"""What every reader must do, whatever it reads."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from crossl.data.readers import open_dataset
from crossl.errors import DataError

MEDIAN_SIZE = {
    "m/s^2": (4.0, 25.0),
    "rad/s": (0.0, 20.0),
    "T": (0.0, 5e-3),
    "V": (0.0, 0.1),
    "S": (0.0, 1e-3),
    "K": (273.15, 320.0),
    "Hz": (0.5, 4.0),
    "1": (0.0, 1e5),
    "rad": (0.0, 7.0),
}
"""Where the median size of a sample (norm over channels) lies, by SI unit, on a living body."""


def read_all(name, root, options=None):
    with open_dataset(name, root, options) as dataset:
        return list(dataset.read())


def check_reader(name, root, options=None, *, implausible=()):
    """Check a reader on a folder; returns the recordings.

    `implausible` names modalities whose physical size is not checked (acceleration without
    gravity, excerpts of a few samples).
    """
    with open_dataset(name, root, options) as dataset:
        card, parts = dataset.card, dataset.parts
        assert parts
        assert len({part.name for part in parts}) == len(parts)
        eager = [recording for part in parts for recording in part.read()]
        lazy = []
        for part in reversed(pickle.loads(pickle.dumps(parts))):  # noqa: S301 - our own
            assert all(Path(file).exists() for file in part.files)
            assert part.files
            lazy[:0] = list(part.read())
    check_equal(eager, lazy)
    assert eager
    assert card.modalities
    keys = [(r.subject, r.session) for r in eager]
    assert len(set(keys)) == len(keys)
    for recording in eager:
        check_recording(recording, card, implausible)
    return eager


def check_equal(first, second):
    assert [(r.subject, r.session) for r in first] == [(r.subject, r.session) for r in second]
    for one, other in zip(first, second, strict=True):
        assert one.labels == other.labels
        assert list(one.signals) == list(other.signals)
        for key, signal in one.signals.items():
            assert signal.values.tobytes() == other.signals[key].values.tobytes()
            assert (signal.rate_hz, signal.start_s) == (
                other.signals[key].rate_hz,
                other.signals[key].start_s,
            )


def check_recording(recording, card, implausible=()):
    assert recording.subject.strip()
    assert recording.signals
    assert dict(recording.modalities) == {m.name: m for m in card.modalities}
    assert set(recording.person) <= set(card.person)
    for interval in recording.labels:
        assert interval.label in card.classes
        assert interval.start_s >= recording.start_s - 1e-6
        assert interval.end_s <= recording.end_s + 1e-6
    for key, signal in recording.signals.items():
        unit = recording.modalities[key].unit
        assert unit in MEDIAN_SIZE, f"{key}: {unit} is no SI unit that a reader may use"
        assert np.isfinite(signal.values).any(axis=0).all()
        if key in implausible:
            continue
        size = np.nanmedian(np.linalg.norm(signal.values.astype(np.float64), axis=1))
        low, high = MEDIAN_SIZE[unit]
        assert low <= size <= high, f"{key}: median size {size:.3g} {unit}"


def check_refuses(name, root, options=None, *, match=None):
    """Check that a folder with a damaged file is refused in one sentence that names a file."""
    with pytest.raises(DataError, match=match) as caught:
        read_all(name, root, options)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


def truncate(path):
    """Cut a file in the middle, inside a line or record."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2 - 1])


def corrupt(path):
    """Overwrite the middle of a file with bytes that are not text."""
    data = path.read_bytes()
    middle = len(data) // 2
    path.write_bytes(data[:middle] + b"\xff\x00\xfe\x01" * 16 + data[middle + 64 :])
