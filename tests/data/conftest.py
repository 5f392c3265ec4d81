"""Small recordings and stores that several tests of the data layer share."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
HEART = Modality("heart", ("bpm",), "Hz", 4.0, "chest")


def make_recording(subject="S1", *, session="a", seconds=10.0, seed=0, **other):
    rng = np.random.default_rng(seed)
    signals = {
        m.name: Signal(
            rng.normal(size=(round(seconds * m.rate_hz), len(m.channels))).astype(np.float32),
            m.rate_hz,
        )
        for m in (ACC, HEART)
    }
    half = LabelInterval(0.0, seconds / 2, "rest"), LabelInterval(seconds / 2, seconds, "walk")
    values = {"signals": signals, "labels": half} | other
    return Recording(
        subject=subject, session=session, modalities={"acc": ACC, "heart": HEART}, **values
    )


def write(out, recordings=None, *, spec=None, modalities=(ACC, HEART)):
    return write_store(
        [make_recording("S1"), make_recording("S2", seed=1)] if recordings is None else recordings,
        out,
        modalities=modalities,
        classes=("rest", "walk"),
        spec=spec or WindowSpec(window_s=2.0, stride_s=1.0),
        about={"dataset": "made up", "reader": "none"},
    )


@pytest.fixture(scope="session")
def made():
    """Hand out makers of recordings and stores, and their two modalities."""
    return SimpleNamespace(recording=make_recording, write=write, acc=ACC, heart=HEART)
