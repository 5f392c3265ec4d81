"""Replay: a recording as if it was made now."""

from __future__ import annotations

import asyncio
import math
from time import monotonic

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.recording import Recording, Signal
from crossl.errors import ConfigError
from crossl.stream.replay import read_speed, replay
from crossl.stream.session import Session

from .conftest import SENSORS, assert_said, labelled, recorded


@given(
    chunk_s=st.sampled_from([0.03, 0.1, 0.77, 1.7]),
    shift_s=st.sampled_from([0.0, 0.4, 3.0, 30.0]),
    drift=st.sampled_from([0.995, 1.0, 1.003]),
    gap=st.sampled_from([None, (40, 43), (100, 180)]),
    without=st.sampled_from([(), ("acc",), ("ecg",)]),
)
@settings(max_examples=25, deadline=None)
def test_what_is_said_is_what_predict_says(run, chunk_s, shift_s, drift, gap, without):
    whole = recorded(without=without)
    signals = {}
    for name, s in whole.signals.items():
        values = s.values.copy()
        if gap is not None:
            values[gap[0] : gap[1]] = np.nan
        late_s = shift_s if name == "ecg" else 0.0
        signals[name] = Signal(values, s.rate_hz * drift, late_s)
    made = Recording("ann", "", SENSORS, signals, origin_unix_s=1.7e9, zone="Asia/Tokyo")
    session = Session(lambda facts: run.live(in_order=facts.in_order), run.modalities)
    said = labelled(replay(made, speed=math.inf, chunk_s=chunk_s), session)
    assert_said(said, run.timeline(made))


def test_it_takes_as_long_as_the_speed_says(session):
    async def timed(speed: float) -> float:
        began = monotonic()
        async for _ in replay(recorded(seconds=4), speed=speed):
            pass
        return monotonic() - began

    assert 0.4 <= asyncio.run(timed(10)) < 2.0
    assert asyncio.run(timed(math.inf)) < 0.4


@pytest.mark.parametrize("text", ["0", "-1", "fast", "nan", "inf"])
def test_a_speed_is_a_positive_number_or_max(text):
    with pytest.raises(ConfigError, match=f"--speed: got '{text}'; a positive number such as 10"):
        read_speed(text)
