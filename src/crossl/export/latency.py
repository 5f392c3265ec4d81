"""Latency: how long one window takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WARM, CALLS = 30, 300


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one call.

    Attributes:
        p50_ms: half of the calls took less.
        p99_ms: 99 of 100 took less.
    """

    p50_ms: float
    p99_ms: float


def measure(call: Callable[[], object], *, calls: int = CALLS) -> Latency:
    """Time calls, one after another."""
    for _ in range(WARM):
        call()
    taken = np.zeros(calls)
    for number in range(calls):
        began = time.perf_counter()
        call()
        taken[number] = time.perf_counter() - began
    p50, p99 = np.percentile(taken, [50, 99]) * 1000
    return Latency(float(p50), float(p99))
