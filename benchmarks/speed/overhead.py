"""Measure what training costs beside its mathematics: `python benchmarks/speed/overhead.py`.

The same steps (forward, backward, optimiser; batch 256, 6 modalities of 512 x 3 at 100 Hz) bare on
batches in memory, and by `crossl.train.pretrain.pretrain` with everything around them (reading the
store, clipping, the check for what is not finite, the moving average, sums of metrics).
Both in turns in one run; the share is (whole - bare) / whole of the medians of steps. Also times,
within the trainer's own run, all that happens outside forward, backward and optimiser. Writes
benchmarks/speed/overhead.md.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from crossl.config import RunConfig, build_method, build_model, load_config
from crossl.data.batch import collate
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.source import ArraySource, WindowSource
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.train.loading import training_batches
from crossl.train.pretrain import pretrain
from crossl.train.schedule import build_optimizer
from crossl.train.training import Training

PAGE = Path(__file__).resolve().parent / "overhead.md"
BATCH, STEPS, WINDOW_S, RATE_HZ = 256, 8, 5.12, 100.0
MODALITIES = tuple(Modality(f"m{i}", ("x", "y", "z"), "m/s^2", RATE_HZ) for i in range(6))
ROWS = np.arange(BATCH * STEPS)


def make_store(path: Path, *, windows: int = len(ROWS)) -> Store:
    """Write noise of one subject, windows that do not overlap, and 8 more to validate on."""
    rng = np.random.default_rng(0)
    samples = round((windows + 8) * WINDOW_S * RATE_HZ)
    signals = {
        m.name: Signal(rng.normal(size=(samples, 3)).astype(np.float32), RATE_HZ)
        for m in MODALITIES
    }
    seconds = samples / RATE_HZ
    recording = Recording("S0", "only", {m.name: m for m in MODALITIES}, signals,
                          [LabelInterval(0, seconds, "any")])  # fmt: skip
    return write_store(
        [recording], path, modalities=MODALITIES, classes=("any",),
        spec=WindowSpec(window_s=WINDOW_S, stride_s=WINDOW_S),
        about={"dataset": "noise", "reader": "none", "description": "noise"},
    )  # fmt: skip


def settings(recipe: str, *overrides: str) -> RunConfig:
    """Take a recipe at this batch size, for one epoch if nothing else is said."""
    usual = [f"schedule.batch_size={BATCH}", "schedule.epochs=1"]
    return load_config(base=recipe, overrides=[*usual, *overrides])


def bare_steps(recipe: str, source: WindowSource) -> list[float]:
    """Seconds of steps on batches that lie in memory."""
    config = settings(recipe)
    model = build_model(config, MODALITIES, window_s=WINDOW_S, seed=0)
    method: Any = build_method(config, model, seed=0)
    method.train()
    optimizer, _ = build_optimizer(config.schedule, method, STEPS)
    chosen = training_batches(ROWS, BATCH, seed=0, epoch=0)
    batches = [collate(source, rows) for rows in chosen]
    generator, times = torch.Generator().manual_seed(0), []
    for batch in batches:
        begin = time.perf_counter()
        loss = torch.stack(list(method.terms(batch, generator).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - begin)
    return times[2:]


class Stopwatch:
    """Times steps of the trainer from end to end, and what mathematics they hold."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.inside: list[float] = []
        self.spent = 0.0
        self._end, self._terms = Training.take_step, Training.terms
        self._backward = torch.Tensor.backward

    def __enter__(self) -> Stopwatch:
        watch = self

        def ended(module: Any, *rest: Any) -> None:
            watch._end(module, *rest)
            watch.ends.append(time.perf_counter())
            watch.inside.append(watch.spent)
            watch.spent = 0.0

        def timed(function: Callable[..., Any]) -> Callable[..., Any]:
            def run(*arguments: Any, **options: Any) -> Any:
                begin = time.perf_counter()
                try:
                    return function(*arguments, **options)
                finally:
                    watch.spent += time.perf_counter() - begin

            return run

        Training.take_step = ended  # type: ignore[method-assign]
        Training.terms = timed(self._terms)  # type: ignore[method-assign]
        torch.Tensor.backward = timed(self._backward)  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        Training.take_step = self._end  # type: ignore[method-assign]
        Training.terms = self._terms  # type: ignore[method-assign]
        torch.Tensor.backward = self._backward  # type: ignore[method-assign]


def whole_steps(
    config: RunConfig, source: WindowSource, folder: Path, *, windows: int = len(ROWS)
) -> tuple[list[float], list[float]]:
    """Seconds of the trainer's steps, and of those outside terms and backward."""
    model = build_model(config, MODALITIES, window_s=WINDOW_S, seed=0)
    with Stopwatch() as watch:
        pretrain(
            build_method(config, model, seed=0), source, train=np.arange(windows),
            validation=np.arange(windows, windows + 8), schedule=config.schedule,
            seed=0, out=folder,
        )  # fmt: skip
    steps = np.diff(watch.ends)
    outside = steps - np.array(watch.inside[1:])
    return steps[1:].tolist(), outside[1:].tolist()


def measure(recipe: str, source: WindowSource, turns: int) -> dict[str, float]:
    """Medians of both, taken in turns."""
    bare, whole, outside = [], [], []
    for _ in range(turns):
        bare += bare_steps(recipe, source)
        with tempfile.TemporaryDirectory() as folder:
            steps, rest = whole_steps(settings(recipe), source, Path(folder))
        whole += steps
        outside += rest
    found = {"bare": statistics.median(bare), "whole": statistics.median(whole),
             "outside": statistics.median(outside)}  # fmt: skip
    found["share"] = 1 - found["bare"] / found["whole"]
    found["outside_share"] = found["outside"] / found["whole"]
    return found


def write_page(rows: dict[str, dict[str, float]], threads: int, turns: int) -> None:
    """Write the table."""
    lines = [
        "# What training costs beside its mathematics", "",
        "Remade by `python benchmarks/speed/overhead.py`. Batch 256, 6 modalities of 512 x 3; a "
        "bare step is forward, backward and optimiser on a batch in memory, a whole step is one of "
        "`pretrain`, with reading, clipping, the check for what is not finite, the "
        "moving average and sums of metrics. Medians of steps of "
        f"{turns} turns taken in one run, {os.cpu_count()} cores shared with other work, "
        f"{threads} thread(s), {platform.machine()}, torch {torch.__version__}: ratios count, not "
        "seconds. The last column times inside the trainer what is neither forward nor backward; "
        "it holds the optimiser too.", "",
        "| recipe, source | bare step, s | whole step, s | share beside it | neither forward nor "
        "backward |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, row in rows.items():
        lines.append(
            f"| {name} | {row['bare']:.3f} | {row['whole']:.3f} | {row['share']:+.1%} | "
            f"{row['outside_share']:.1%} |"
        )
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--recipes", default="crossl")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store")
        arrays = ArraySource(
            store.gather_zeroed(np.arange(len(store))), modalities=MODALITIES, window_s=WINDOW_S
        )
        for recipe in asked.recipes.split(","):
            for name, source in (("arrays", arrays), ("store", store)):
                rows[f"{recipe}, {name}"] = measure(recipe, source, asked.turns)
                print(recipe, name, rows[f"{recipe}, {name}"], flush=True)
    write_page(rows, asked.threads, asked.turns)


if __name__ == "__main__":
    main()
