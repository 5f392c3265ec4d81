"""Time one window without torch: `python benchmarks/speed/runtime.py`.

Exports random weights of both recipes, and calls `crossl.runtime` with the arrays of one window, a
batch of one, one thread, to its label; and ONNX Runtime alone within it. Calls of all variants are
taken in turns. Writes benchmarks/results/runtime.json and benchmarks/speed/runtime.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import onnxruntime
import torch
from step import SHAPES, matrix_rate

from crossl.config import build_model, load_config
from crossl.data.recording import Modality
from crossl.evaluate.probe import Probe
from crossl.export.graph import ExportedGraph, Reading
from crossl.export.onnx_model import onnx_bytes, with_metadata
from crossl.runtime import Runtime
from crossl.tasks import classes_task

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "runtime.json", HERE / "runtime.md"
CLASSES = 12
VARIANTS = {
    "crossl, 4 sensors of 3 channels, 100 samples": ("crossl", (4, 100, 3)),
    "the same without untrained features": ("network", (4, 100, 3)),
    "crossl, pamap2 (6 sensors of 3 channels, 512 samples)": ("crossl", SHAPES["pamap2"]),
    "the same, pamap2, without untrained features": ("network", SHAPES["pamap2"]),
    "crossl, sleepedf (4 sensors of 1 channel, 3000 samples)": ("crossl", SHAPES["sleepedf"]),
    "paper, pamap2": ("paper", SHAPES["pamap2"]),
}


def exported(recipe: str, shape: tuple[int, int, int], folder: Path) -> tuple[Path, int]:
    """Write a model of random weights; return its place and its size."""
    count, length, channels = shape
    names = tuple(f"c{i}" for i in range(channels))
    modalities = [Modality(f"m{i}", names, "m/s^2", 100.0) for i in range(count)]
    alone = recipe == "network"
    config = load_config(None, base="crossl" if alone else recipe,
                         overrides=["features=null"] if alone else [])  # fmt: skip
    model = build_model(config, modalities, window_s=length / 100, seed=0).eval()
    width = model.whole_dim
    weight = np.random.default_rng(0).standard_normal((CLASSES, width), dtype=np.float32)
    zeros, classes = np.zeros(width, np.float32), [f"class {i}" for i in range(CLASSES)]
    probe = Probe("aggregator", zeros, zeros + 1, weight, np.zeros(CLASSES, np.float32),
                  np.arange(CLASSES), 1.0, task=classes_task(classes))  # fmt: skip
    graph = ExportedGraph(model, Reading(probe), range(count)).eval()
    contract = {
        "format": "crossl-export", "version": 1, "window_s": length / 100, "names": classes,
        "modalities": [m.as_dict() for m in modalities], "task": {"kind": "classes"},
    }  # fmt: skip
    path = folder / f"{recipe}-{count}-{length}.onnx"
    path.write_bytes(with_metadata(onnx_bytes(graph), contract))
    return path, path.stat().st_size


class OneWindow:
    """A model that labels one window a call."""

    def __init__(self, recipe: str, shape: tuple[int, int, int], folder: Path) -> None:
        path, self.size = exported(recipe, shape, folder)
        self.runtime = Runtime(path)
        count, length, channels = shape
        rng = np.random.default_rng(0)
        self.arrays = {m.name: rng.standard_normal((1, length, channels), dtype=np.float32)
                       for m in self.runtime.modalities}  # fmt: skip
        self.feeds = {**self.arrays, "present": np.ones((1, count), dtype=bool)}
        self.taken: dict[str, list[tuple[float, float]]] = {"runtime": [], "onnxruntime": []}

    def call(self, way: str) -> None:
        """Label the window, and note the wall time and the processor's own."""
        wall, used = time.perf_counter(), time.process_time()
        if way == "runtime":
            self.runtime(self.arrays)
        else:
            self.runtime._session.run(None, self.feeds)
        self.taken[way].append((time.perf_counter() - wall, time.process_time() - used))


def write_page(found: dict[str, Any]) -> None:
    """Write the table."""
    lines = [
        "# Latency without torch", "",
        "Remade by `python benchmarks/speed/runtime.py`. From the arrays of one window to its "
        f"label by `crossl.runtime`, one thread, {found['calls']} calls of each variant, taken in "
        f"turns; and ONNX Runtime alone within it. Random weights, {CLASSES} classes. "
        f"{found['machine']}, a shared machine; before and after, numpy multiplied "
        f"float32 matrices of 1024 x 1024 at {found['matrix_gflops'][0]:.0f} and "
        f"{found['matrix_gflops'][1]:.0f} GFLOP/s. Other work delays calls; the median of the "
        "processor's own time and the fastest call do not count that.", "",
        "| | size, MB | p50, ms | p99, ms | processor p50, ms | fastest, ms | ONNX Runtime alone, "
        "p50, ms |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name, one in found["variants"].items():
        told = [
            f"{one['runtime'][key] * 1e3:.2f}" for key in ("p50", "p99", "processor", "fastest")
        ]
        lines.append(f"| {name} | {one['size'] / 1e6:.2f} | {' | '.join(told)} | "
                     f"{one['onnxruntime']['p50'] * 1e3:.2f} |")  # fmt: skip
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    rate = matrix_rate()
    with tempfile.TemporaryDirectory() as folder:
        chosen = dict(list(VARIANTS.items())[: 1 if asked.quick else None])
        made = {name: OneWindow(*how, Path(folder)) for name, how in chosen.items()}
        count = 20 if asked.quick else asked.calls
        for number in range(count + 20):
            for one in made.values():
                for way in one.taken:
                    if number == 20:
                        one.taken[way].clear()
                    one.call(way)
    variants = {}
    for name, one in made.items():
        variants[name] = {"size": one.size}
        for way, taken in one.taken.items():
            wall, used = np.transpose(taken)
            p50, p99 = np.percentile(wall, [50, 99]).tolist()
            variants[name][way] = {"p50": p50, "p99": p99, "fastest": float(wall.min()),
                                   "processor": float(np.median(used))}  # fmt: skip
        print(name, variants[name], flush=True)
    if asked.quick:
        return
    machine = (f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}, "
               f"onnxruntime {onnxruntime.__version__}")  # fmt: skip
    found = {"machine": machine, "calls": count, "variants": variants,
             "matrix_gflops": [round(rate, 1), round(matrix_rate(), 1)]}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
