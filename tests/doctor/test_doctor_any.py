"""Whatever a recording holds, it is examined to the end."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.doctor import CHECKS, as_text
from crossl.doctor.page import render_diagnosis

UNITS = ("m/s^2", "rad/s", "T", "V", "S", "K", "Hz", "1", "lx")


@st.composite
def recordings(draw):
    modalities, signals = {}, {}
    for i in range(draw(st.integers(1, 3))):
        name = f"sensor{i}"
        channels = tuple("xyz"[: draw(st.integers(1, 3))])
        rate_hz = draw(st.sampled_from([0.5, 1.0, 30.0, 700.0]))
        modality = Modality(name, channels, draw(st.sampled_from(UNITS)), rate_hz)
        n = draw(st.sampled_from([1, 2, 3, 40, 300]))
        rng = np.random.default_rng(draw(st.integers(0, 99)))
        size = draw(st.sampled_from([0.0, 1e-12, 1.0, 1e30]))
        values = (size * rng.normal(size=(n, len(channels)))).astype(np.float32)
        values[rng.random(n) < draw(st.sampled_from([0.0, 0.5, 0.95]))] = np.nan
        values[draw(st.integers(0, n - 1))] = 0.0
        modalities[name] = modality
        signals[name] = Signal(values, rate_hz, draw(st.sampled_from([0.0, -5.0, 1e6])))
    labels = draw(st.sampled_from([(), (LabelInterval(0, 1, "rest"), LabelInterval(1, 9, "x"))]))
    return Recording("S1", "a", modalities, signals, labels)


@settings(max_examples=80, deadline=None)
@given(recording=recordings())
def test_any_recording_is_examined_and_told(clinic, recording):
    diagnosis = clinic.examine(recording)
    assert {f.check for f in diagnosis.findings} <= set(CHECKS)
    assert all(np.isfinite(f.amount).all() for f in diagnosis.findings if f.amount)
    assert all("{}" not in f.sentence for f in diagnosis.findings)
    assert max(map(len, as_text(diagnosis, name="x"))) <= 100
    assert render_diagnosis(diagnosis, name="x").rstrip().endswith("</html>")
