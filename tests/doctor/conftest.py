"""A sound recording of many sensors, and how to examine what was done to it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.doctor import examine_recordings

SECONDS = 120.0
MODALITIES = (
    Modality("wrist_acc", ("x", "y", "z"), "m/s^2", 50.0, "wrist"),
    Modality("wrist_gyro", ("x", "y", "z"), "rad/s", 50.0, "wrist"),
    Modality("chest_acc", ("x", "y", "z"), "m/s^2", 100.0, "chest"),
    Modality("ecg", ("lead",), "V", 100.0, "chest"),
    Modality("skin_temp", ("temp",), "K", 4.0, "wrist"),
    Modality("eda", ("eda",), "S", 4.0, "wrist"),
    Modality("heart_rate", ("hr",), "Hz", 1.0, "wrist"),
    Modality("spo2", ("spo2",), "1", 1.0, "finger"),
)
CLASSES = ("rest", "walk")
SPEC = WindowSpec(window_s=5.0, stride_s=2.5)


def bursts(times, seed):
    """How strongly somebody moves: at no time as at another."""
    knots = np.arange(-20.0, times.max() + 20.0, 1.5)
    strength = np.random.default_rng(seed).gamma(0.6, 1.5, len(knots))
    return np.interp(times, knots, strength)


def motion(times, rng, seed):
    steps = np.sin(2 * np.pi * 1.7 * times)[:, None] * rng.normal(1, 0.2, 3)
    return bursts(times, seed)[:, None] * steps + rng.normal(0, 0.05, (len(times), 3))


def make_signal(modality, rng, seed, seconds):
    times = np.arange(round(seconds * modality.rate_hz)) / modality.rate_hz
    n = len(times)
    slow = np.cumsum(rng.normal(0, 1, n)) / np.sqrt(n)
    if modality.unit == "m/s^2":
        values = motion(times, rng, seed) + np.array([0.0, 0.0, 9.81])
    elif modality.unit == "rad/s":
        values = 0.5 * motion(times, rng, seed)
    elif modality.unit == "V":
        values = 1e-3 * np.exp(-(((times % 0.8) / 0.02 - 5) ** 2)) + rng.normal(0, 2e-5, n)
    else:
        level, step = {
            "K": (306.0, 0.02),
            "S": (2e-6, 1e-9),
            "Hz": (1.2, 1 / 60),
            "1": (0.97, 0.01),
        }[modality.unit]
        values = level + step * np.round(2 * slow)
    values = np.asarray(values, dtype=np.float32).reshape(n, -1)
    return Signal(values, modality.rate_hz)


def sound(subject="S1", *, session="a", seed=0, seconds=SECONDS):
    """Make a recording without a fault."""
    rng = np.random.default_rng(seed)
    signals = {m.name: make_signal(m, rng, seed, seconds) for m in MODALITIES}
    half = seconds / 2
    labels = LabelInterval(0.0, half, "rest"), LabelInterval(half, seconds, "walk")
    return Recording(subject, session, {m.name: m for m in MODALITIES}, signals, labels)


def redeclare(recording, name, **changes):
    """Change a modality's declaration."""
    modalities = dict(recording.modalities)
    modalities[name] = replace(modalities[name], **changes)
    return replace(recording, modalities=modalities)


def put(recording, name, values=None, **changes):
    """Change a signal."""
    signal = recording.signals[name]
    if values is not None:
        changes["values"] = np.asarray(values, dtype=np.float32)
    return replace(recording, signals={**recording.signals, name: replace(signal, **changes)})


def keep(recordings):
    return recordings


def make_dataset(*recordings, classes=CLASSES, spec=SPEC, parts=()):
    modalities = tuple(recordings[0].modalities.values()) if recordings else MODALITIES
    card = Card(
        name="made",
        title="Made up",
        description="",
        licence="",
        citation="",
        url="",
        modalities=modalities,
        classes=classes,
        spec=spec,
    )
    made = tuple(Part(f"{r.subject}-{r.session}", partial(keep, (r,))) for r in recordings)
    return Dataset(card, (*made, *parts))


def examine(*recordings, **options):
    return examine_recordings(make_dataset(*recordings, **options))


def told(diagnosis):
    """Which checks found something, where, and how bad."""
    return {(f.check, f.where, f.severity) for f in diagnosis.findings}


@pytest.fixture(scope="session")
def clinic():
    """Hand out makers of recordings and their examination."""
    return SimpleNamespace(
        sound=sound,
        put=put,
        redeclare=redeclare,
        dataset=make_dataset,
        examine=examine,
        told=told,
        bursts=bursts,
        modalities=MODALITIES,
        classes=CLASSES,
        spec=SPEC,
    )
