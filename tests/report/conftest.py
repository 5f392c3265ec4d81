"""A finished folder, made up but shaped like a real one, for the tests of the report."""

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.report import build_report

FRACTIONS = (0.01, 0.05, 0.1, 1.0)
SENSORS4 = (
    ("phone_acc", "phone", "m/s^2", 0.22),
    ("phone_gyro", "phone", "rad/s", 0.20),
    ("watch_acc", "watch", "m/s^2", 0.25),
    ("watch_gyro", "watch", "rad/s", 0.21),
)
CURVES = {
    "crossl": (0.838, 0.902, 0.918, 0.941),
    "supervised": (0.687, 0.843, 0.865, 0.899),
    "untrained": (0.585, 0.783, 0.823, 0.858),
    "finetuned": (0.822, 0.905, 0.926, 0.950),
    "paper": (0.790, 0.846, 0.858, 0.866),
}
HEADS = {"crossl": "aggregator", "paper": "aggregator", "untrained": "encoders"}


@dataclass(frozen=True)
class Recording:
    """What one made-up data set looks like."""

    name: str = "sitting-standing"
    sensors: tuple[tuple[str, str, str, float], ...] = SENSORS4
    classes: tuple[str, ...] = ("SEATED", "STANDING_UP", "WALKING", "TURNING", "SITTING_DOWN")
    n_subjects: int = 23
    n_windows: int = 6000

    @property
    def names(self) -> list[str]:
        """The modalities in order."""
        return [sensor[0] for sensor in self.sensors]

    @property
    def subjects(self) -> list[str]:
        """The people recorded."""
        return [f"S{i + 1:02d}" for i in range(self.n_subjects)]


def _row(recording: Recording, method: str, metric: str, value: float, **other: Any) -> dict:
    half = other.pop("half", 0.02)
    base = {
        "dataset": recording.name,
        "method": method,
        "recipe": "default" if method.startswith("crossl") else None,
        "head": HEADS.get(method),
        "label_fraction": 0.1,
        "present": recording.names,
        "fold": None,
        "seed": None,
        "subject": None,
        "metric": metric,
        "value": value,
        "ci_low": None if half is None else value - half,
        "ci_high": None if half is None else value + 0.9 * half,
        "n": recording.n_subjects,
    }
    return {**base, **other}


def _curve_rows(recording: Recording) -> Iterator[dict]:
    for method, scores in CURVES.items():
        for fraction, score in zip(FRACTIONS, scores, strict=True):
            half = 0.012 + 0.02 * (1 - score)
            yield _row(recording, method, "macro_f1", score, label_fraction=fraction, half=2 * half)
            yield _row(
                recording, method, "balanced_accuracy", score + 0.006, label_fraction=fraction
            )
            yield _row(recording, method, "cohen_kappa", score - 0.031, label_fraction=fraction)
            for fold in range(5):
                yield _row(
                    recording, method, "macro_f1", score, label_fraction=fraction, fold=fold,
                    seed=fold % 3, half=None,
                )  # fmt: skip
    for other in ("supervised", "untrained"):
        for i, fraction in enumerate(FRACTIONS):
            yield _row(
                recording, f"crossl - {other}", "macro_f1_difference",
                CURVES["crossl"][i] - CURVES[other][i], label_fraction=fraction,
            )  # fmt: skip


def _missing_rows(recording: Recording) -> Iterator[dict]:
    total = sum(sensor[3] for sensor in recording.sensors)
    worth = {sensor[0]: sensor[3] / total for sensor in recording.sensors}
    for size in range(1, len(worth)):
        for subset in itertools.combinations(recording.names, size):
            kept = sum(worth[name] for name in subset)
            present = list(subset)
            score = 0.918 - 0.16 * (1 - kept) ** 2 - 0.02 * (1 - kept)
            yield _row(recording, "crossl", "macro_f1", score, present=present)
            reference = score + 0.02 * (1 - kept)
            yield _row(
                recording, "crossl, probe per subset", "macro_f1", reference, present=present
            )
            weak = 0.865 - 0.55 * (1 - kept)
            yield _row(recording, "supervised", "macro_f1", weak, present=present)
    yield _row(recording, "crossl, probe per subset", "macro_f1", 0.918)
    for name in recording.names:
        value = 0.718 * worth[name]
        yield _row(recording, "crossl", "shapley", value, present=[name], half=0.03)


def results(recording: Recording) -> list[dict]:
    """Every row of results.jsonl."""
    return [*_curve_rows(recording), *_missing_rows(recording)]


def summary(recording: Recording) -> dict[str, Any]:
    """What summary.json holds."""
    modalities = [
        {"name": name, "device": device, "channels": ["x", "y", "z"], "unit": unit, "rate_hz": 100}
        for name, device, unit, _ in recording.sensors
    ]
    examples = [
        {"class": i, "subject": recording.subjects[2 * i], "start_s": 31.5 + i}
        for i in range(len(recording.classes))
    ]
    return {
        "title": "Sitting, standing and walking with a phone and a watch",
        "dataset": recording.name,
        "description": "Timed up-and-go walks recorded by a phone on the hip and a watch on the"
        " wrist. Licence CC BY 4.0; cite Matey-Sanz et al., 2024,"
        " https://doi.org/10.5281/zenodo.7456242.",
        "classes": list(recording.classes),
        "subjects": recording.subjects,
        "modalities": modalities,
        "window_s": 1.0,
        "stride_s": 0.5,
        "n_windows": recording.n_windows,
        "n_labelled": recording.n_windows - 300,
        "recipe": "default",
        "label_fractions": list(FRACTIONS),
        "label_seeds": [0, 1, 2],
        "folds_run": [0, 1, 2],
        "n_folds": 5,
        "main": {"method": "crossl", "head": "aggregator", "label_fraction": 0.1},
        "notes": [
            "With 1% of the labels the frozen embedding scores 0.838, the same network trained"
            " from scratch 0.687.",
            "With the watch off, 97% of the score remains and nothing is retrained.",
        ],
        "protocol": [
            "Folds are disjoint by subject; every choice is made on validation subjects.",
            "Standardisation uses the training subjects only.",
            "Intervals are 95% bootstrap intervals over subjects.",
        ],
        "command": f"crossl reproduce {recording.name} --folds 0,1,2 --seed 0"
        " --out runs/sitting-standing-default",
        "versions": {"crossl": "0.1.0", "torch": "2.9.1", "numpy": "2.4.6", "python": "3.11.7"},
        "seed": 0,
        "hashes": {"store": "3f5a" * 16, "config": "90be" * 16},
        "wall_s": 1284.0,
        "examples": examples,
        "started": "2026-11-23T18:05:11+00:00",
    }


def arrays(recording: Recording) -> dict[str, np.ndarray]:
    """What figures.npz holds."""
    generator = np.random.default_rng(7)
    n_classes, n = len(recording.classes), recording.n_windows
    out: dict[str, np.ndarray] = {}
    time_s = np.arange(100) / 100
    for i in range(n_classes):
        for j, (name, _, unit, _) in enumerate(recording.sensors):
            loud = (0.05, 1.6, 2.4, 1.8, 1.4, 2.0, 0.6)[i % 7] * (1.4 if unit == "m/s^2" else 0.6)
            waves = [
                np.sin(2 * np.pi * (1.1 + 0.4 * c + 0.3 * i) * time_s + c + j)
                + 0.3 * np.sin(2 * np.pi * (6 + c + i) * time_s)
                for c in range(3)
            ]
            rest = np.array([0.4, 9.5, 1.2]) if unit == "m/s^2" else np.zeros(3)
            noise = generator.normal(0, 0.04, (100, 3))
            out[f"example/{i}/{name}"] = (rest + loud * np.stack(waves, 1) + noise).astype("f4")
    label = generator.integers(-1, n_classes, n)
    subject = generator.integers(0, recording.n_subjects, n)
    centre = 6 * np.stack(
        [np.cos(2.4 * np.arange(n_classes + 1)), np.sin(2.4 * np.arange(n_classes + 1))], 1
    )
    spread = (
        generator.normal(0, 1.1, (n, 2))
        + 0.5 * generator.normal(0, 1, (recording.n_subjects, 2))[subject]
    )
    out["map_xy"] = (centre[label] + spread).astype("f4")
    out["map_label"], out["map_subject"] = label, subject
    confusion = generator.integers(0, 40, (n_classes, n_classes))
    out["confusion"] = confusion + np.diag(generator.integers(500, 1500, n_classes))
    return out


def _epochs(fold: int) -> Iterator[dict]:
    generator = np.random.default_rng(fold)
    for epoch in range(40):
        fall = float(np.exp(-epoch / 9))
        wobble = 1 + 0.03 * float(generator.normal())
        line: dict[str, float | None] = {"epoch": epoch, "step": 60 * epoch, "lr": 1e-3}
        for part, lift in (("train", 0.0), ("val", 0.04)):
            line[f"{part}/loss"] = (21 + 14 * fall + 8 * lift) * wobble
            line[f"{part}/invariance"] = (0.11 + 0.5 * fall + lift) * wobble
            line[f"{part}/variance"] = (0.35 + 0.5 * fall + lift) * wobble
            line[f"{part}/covariance"] = (0.02 + 0.3 * (1 - fall) + lift / 9) * wobble
        line["val/effective_rank"] = (58 - 40 * fall) * wobble
        line["val/embedding_std"] = (0.92 - 0.5 * fall) * wobble
        yield line


def write_lines(path: Path, rows: list[dict]) -> None:
    """Write rows as json lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def write_folder(folder: Path, recording: Recording) -> Path:
    """Write a whole finished folder."""
    write_lines(folder / "results.jsonl", results(recording))
    (folder / "summary.json").write_text(json.dumps(summary(recording)), encoding="utf-8")
    np.savez(folder / "figures.npz", **arrays(recording))  # type: ignore[arg-type]
    for fold in range(3):
        write_lines(folder / f"fold-{fold}" / "metrics.jsonl", list(_epochs(fold)))
    return folder


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write a finished folder; keyword arguments replace those of `Recording`."""

    def make(**changes: Any) -> Path:
        recording = Recording(**changes)
        return write_folder(tmp_path / recording.name, recording)

    return make


@pytest.fixture
def folder(make_folder: Callable[..., Path]) -> Path:
    """Four sensors on two devices, five classes, 23 subjects."""
    return make_folder(n_windows=900)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its page, drawn once for the tests that only read."""
    folder = write_folder(tmp_path_factory.mktemp("built"), Recording(n_windows=900))
    build_report(folder)
    return folder


@pytest.fixture
def edit_summary(folder: Path) -> Callable[..., None]:
    """Change keys of the folder's summary.json; `None` takes a key away."""
    path = folder / "summary.json"

    def edit(**changes: Any) -> None:
        entries = {**json.loads(path.read_text(encoding="utf-8")), **changes}
        kept = {key: value for key, value in entries.items() if value is not None}
        path.write_text(json.dumps(kept), encoding="utf-8")

    return edit


@pytest.fixture
def edit_results(folder: Path) -> Callable[..., None]:
    """Pass the folder's result rows through a function that returns the rows to keep."""
    path = folder / "results.jsonl"

    def edit(change: Callable[[list[dict]], list[dict]]) -> None:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        write_lines(path, change(rows))

    return edit


@pytest.fixture
def edit_arrays(folder: Path) -> Callable[..., None]:
    """Replace arrays of the folder's figures.npz; `None` takes one away."""
    path = folder / "figures.npz"

    def edit(**changes: np.ndarray | None) -> None:
        with np.load(path) as stored:
            entries = {**{key: stored[key] for key in stored.files}, **changes}
        kept = {key: value for key, value in entries.items() if value is not None}
        np.savez(path, **kept)  # type: ignore[arg-type]

    return edit
