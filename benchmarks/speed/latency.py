"""Time one window at a time: `python benchmarks/speed/latency.py`.

From arrays to a label, as a caller who gets one window after another would do it: a batch of one,
one thread, embedding and classification. Calls of all variants are taken in turns. Writes
benchmarks/results/latency.json and benchmarks/speed/latency.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from step import SHAPES, matrix_rate

from crossl.cli.allocator import keep_freed_memory
from crossl.config import build_model, load_config
from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.evaluate.probe import Probe
from crossl.nn.model import CrossModalModel

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "latency.json", HERE / "latency.md"
CLASSES = 12
PARTS = ("standardise", "encode", "describe", "aggregate", "classify")
"""`describe` is by untrained features."""


class OneWindow:
    """A model and a probe that label one window a call."""

    def __init__(
        self, recipe: str, shape: tuple[int, int, int], *, missing: bool, stacked: bool = False
    ) -> None:
        count, length, channels = shape
        names = tuple(f"c{i}" for i in range(channels))
        modalities = [Modality(f"m{i}", names, "m/s^2", 100.0) for i in range(count)]
        config = load_config(None, base=recipe, overrides=[])
        window_s = length / 100
        self.model: CrossModalModel = build_model(config, modalities, window_s=window_s, seed=0)
        self.model.eval()
        if stacked:
            self.model.prepare_for_few_windows()
        rng = np.random.default_rng(0)
        self.arrays = {m.name: rng.standard_normal((1, length, channels), dtype=np.float32)
                       for m in modalities}  # fmt: skip
        self.present = np.ones((1, count), dtype=bool)
        if missing:
            self.present[0, -1] = False
            self.arrays[modalities[-1].name][:] = 0
        width = self.model(self._batch()).shape[1]
        self.probe = Probe("aggregator", np.zeros(width, np.float32), np.ones(width, np.float32),
                           rng.standard_normal((CLASSES, width), dtype=np.float32),
                           np.zeros(CLASSES, np.float32), np.arange(CLASSES), 1.0)  # fmt: skip

    def _batch(self) -> Batch:
        signals = {name: torch.from_numpy(a) for name, a in self.arrays.items()}
        return Batch(signals, torch.from_numpy(self.present))

    def __call__(self) -> None:
        """Embed and classify."""
        with torch.inference_mode():
            embedding = self.model(self._batch()).numpy()
        self.probe.predict(embedding)

    def parts(self) -> dict[str, float]:
        """Processor seconds of each part of one call."""
        marks = [time.process_time()]
        with torch.inference_mode():
            batch = self._batch()
            signals = self.model.standardise(batch)
            marks.append(time.process_time())
            latent = self.model.encode(signals, batch.present)
            marks.append(time.process_time())
            if self.model.features is not None:
                beside = self.model.features(signals, batch.present)
                latent = torch.cat([latent, beside], dim=2)
            marks.append(time.process_time())
            embedding = self.model.aggregate(latent, batch.present).numpy()
            marks.append(time.process_time())
        self.probe.predict(embedding)
        marks.append(time.process_time())
        return dict(zip(PARTS, np.diff(marks).tolist(), strict=True))


def operations(one: OneWindow) -> dict[str, int]:
    """Count the operators that one call begins from Python or from each other."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        one()
    return {e.key: e.count for e in profile.key_averages()}


def take_turns(
    calls: dict[str, Callable[[], None]], count: int
) -> dict[str, list[tuple[float, float]]]:
    """Seconds of every call, and of the processor in it, a few of each in turns."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for call in calls.values():
        for _ in range(20):
            call()
    for _ in range(count // 10):
        for name, call in calls.items():
            call()  # caches belong to the variant before
            for _ in range(10):
                begin, used = time.perf_counter(), time.process_time()
                call()
                taken[name].append((time.perf_counter() - begin, time.process_time() - used))
    return taken


def write_page(found: dict[str, Any]) -> None:
    """Turn results into tables."""
    lines = [
        "# Latency", "", "Remade by `python benchmarks/speed/latency.py`. From the arrays of one "
        f"window to its label, one thread, {found['calls']} calls of each variant, taken in turns. "
        f"{found['machine']}, shared with other work; before and after, numpy multiplied float32 "
        f"matrices of 1024 x 1024 at {found['matrix_gflops'][0]:.0f} and "
        f"{found['matrix_gflops'][1]:.0f} GFLOP/s. Other work delays "
        "calls; the median of the processor's own time and the fastest call do not count that. "
        "`stacked`: after `model.prepare_for_few_windows()`.", "",
        "| | p50, ms | p99, ms | processor p50, ms | fastest, ms |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for name, one in found["calls_s"].items():
        cells = [f"{one[key] * 1e3:.2f}" for key in ("p50", "p99", "processor", "fastest")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "## Where the time goes", "",
              "Medians of the processor's time in each part, everything present.", "",
              f"| | {', ms | '.join(PARTS)}, ms |", "|---" * (len(PARTS) + 1) + "|"]  # fmt: skip
    for name, parts in found["parts_s"].items():
        lines.append(f"| {name} | " + " | ".join(f"{parts[p] * 1e3:.2f}" for p in PARTS) + " |")
    lines += [
        "",
        "Operators that torch's profiler counts in one call, those within others too:",
        "",
    ]
    lines += [f"- {name}: {sum(counts.values())}" for name, counts in found["operations"].items()]
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command line does
    rate = matrix_rate()
    made = {
        f"{recipe}, {shape}, {'one missing' if missing else 'all sensors'}":
            OneWindow(recipe, SHAPES[shape], missing=missing)
        for shape in ("pamap2", "sleepedf") for recipe in ("crossl", "paper")
        for missing in (False, True)
    }  # fmt: skip
    made |= {
        f"crossl, {shape}, all sensors, stacked":
            OneWindow("crossl", SHAPES[shape], missing=False, stacked=True)
        for shape in ("pamap2", "sleepedf")
    }  # fmt: skip
    count = 20 if asked.quick else asked.calls
    calls = {}
    for name, seconds in take_turns(dict(made), count).items():
        wall, used = np.transpose(seconds)
        p50, p99 = np.percentile(wall, [50, 99]).tolist()
        calls[name] = {"p50": p50, "p99": p99, "fastest": wall.min(), "processor": np.median(used)}
        print(
            name, {key: f"{value * 1e3:.2f} ms" for key, value in calls[name].items()}, flush=True
        )
    if asked.quick:
        return
    parts, counts = {}, {}
    for name, one in made.items():
        if "all sensors" in name:
            counts[name] = operations(one)
            runs = [one.parts() for _ in range(200)]
            parts[name] = {p: float(np.median([run[p] for run in runs])) for p in PARTS}
    found = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
             "calls": count, "calls_s": calls, "parts_s": parts,
             "operations": counts,
             "matrix_gflops": [round(rate, 1), round(matrix_rate(), 1)]}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
