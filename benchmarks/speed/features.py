"""Time what untrained features cost to embed windows: `python benchmarks/speed/features.py`.

Four sensors of three channels at 100 Hz, random weights, one thread: the default without untrained
features, with statistics alone, and with random kernels, too. Calls are taken in turns. Writes
benchmarks/results/features.json and benchmarks/speed/features.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from step import matrix_rate

from crossl.config import build_model, load_config
from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.data.source import ArraySource
from crossl.nn.model import CrossModalModel

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "features.json", HERE / "features.md"
VARIANTS = {
    "without": "features=null",
    "statistics alone": "features.kernels=0",
    "statistics and kernels": "features.kernels=4",
}
WINDOWS = {1.0: 256, 60.0: 16}
"""Seconds of a window, and how many are embedded at once."""


def variants(window_s: float, count: int) -> tuple[dict[str, CrossModalModel], Batch]:
    """Make the models, their features fitted on the windows that are embedded."""
    modalities = [Modality(f"s{i}", ("x", "y", "z"), "g", 100.0) for i in range(4)]
    rng = np.random.default_rng(0)
    arrays = {m.name: rng.standard_normal((count, round(window_s * 100), 3), dtype=np.float32)
              for m in modalities}  # fmt: skip
    source = ArraySource(arrays, modalities=modalities, window_s=window_s)
    models = {}
    for name, override in VARIANTS.items():
        config = load_config(None, base="crossl", overrides=[override])
        model = build_model(config, modalities, window_s=window_s, seed=0).eval()
        model.fit(source, np.arange(count))
        models[name] = model
    signals = {name: torch.from_numpy(x) for name, x in arrays.items()}
    return models, Batch(signals, torch.from_numpy(source.present))


def measure(window_s: float, count: int, calls: int) -> dict[str, dict[str, float]]:
    """Return processor seconds of a window by variant: the median and the smallest."""
    models, batch = variants(window_s, count)
    taken: dict[str, list[float]] = {name: [] for name in models}
    with torch.inference_mode():
        for number in range(calls + 1):
            for name, model in models.items():
                begin = time.process_time()
                model(batch)
                if number:
                    taken[name].append((time.process_time() - begin) / count)
    return {name: {"p50": float(np.median(part)), "fastest": min(part)}
            for name, part in taken.items()}  # fmt: skip


def write_page(found: dict[str, Any]) -> None:
    """Turn results into a table."""
    first, second = found["matrix_gflops"]
    lines = [
        "# Untrained features", "",
        "Remade by `python benchmarks/speed/features.py`. To embed a window of four sensors of "
        f"three channels at 100 Hz: processor time, one thread, {found['calls']} calls of each in "
        f"turns. {found['machine']}, shared with much other work; before and after, numpy "
        f"multiplied float32 matrices of 1024 x 1024 at {first:.0f} and {second:.0f} GFLOP/s.", "",
        "| window | at once | untrained features | p50, microseconds a window | fastest | "
        "of those without |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for window, part in found["windows"].items():
        base = part["processor"]["without"]["fastest"]
        for name, one in part["processor"].items():
            lines.append(f"| {window} s | {part['at_once']} | {name} | {one['p50'] * 1e6:.0f} | "
                         f"{one['fastest'] * 1e6:.0f} | {one['fastest'] / base:.1f} |")  # fmt: skip
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=25)
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    calls, rate, windows = 1 if asked.quick else asked.calls, matrix_rate(), {}
    for window_s, count in WINDOWS.items():
        found = measure(window_s, 4 if asked.quick else count, calls)
        windows[f"{window_s:g}"] = {"at_once": count, "processor": found}
        print(window_s, found, flush=True)
    if asked.quick:
        return
    machine = f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}"
    told = {"machine": machine, "calls": calls, "windows": windows,
            "matrix_gflops": [round(rate, 1), round(matrix_rate(), 1)]}  # fmt: skip
    RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    write_page(told)


if __name__ == "__main__":
    main()
