"""How cost grows: `python benchmarks/speed/scaling.py`.

Losses against the batch size, in time and memory, and whole training steps against the number of
modalities, the length of a window and its channels. One thread, seconds of the processor (waiting
for other work does not count); points are measured in turns, so that a busy moment meets all of
them alike. Writes benchmarks/results/scaling.json,
benchmarks/speed/scaling.md and two figures beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from scaling_page import draw, write_page
from step import CrosslStep, make_windows, matrix_rate, peak_kb
from torch import Tensor
from torch.nn.functional import normalize

from crossl.objectives import barlow_twins, cocoa, info_nce, vicreg

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "results" / "scaling.json"
DIM, MODALITIES, BATCH = 256, 6, 32
SIZES = (64, 128, 256, 512, 1024, 2048, 4096)
BASE = {"modalities": 3, "length": 512, "channels": 3}
AXES = {
    "modalities": (1, 2, 4, 8, 16),
    "length": (128, 256, 512, 1024, 2048, 4096),
    "channels": (1, 2, 4, 8, 16),
}
RECIPES = ("crossl", "paper")
Turn = Callable[[], object]


def cocoa_of_stack(z: Tensor) -> dict[str, Tensor]:
    """COCOA on unit-length embeddings by modality."""
    return cocoa(normalize(z, dim=2))


LOSSES: dict[str, Callable[..., dict[str, Tensor]]] = {
    "VICReg": vicreg,
    "Barlow Twins": barlow_twins,
    "InfoNCE": info_nce,
    "COCOA": cocoa_of_stack,
}


def make_loss_turn(name: str, size: int) -> Turn:
    """Make forward and backward of a loss on random embeddings."""
    generator = torch.Generator().manual_seed(0)
    shape = (MODALITIES, size, DIM) if name == "COCOA" else (2, size, DIM)
    z = torch.randn(shape, generator=generator).requires_grad_()

    def turn() -> None:
        terms = LOSSES[name](z) if name == "COCOA" else LOSSES[name](*z.unbind())
        torch.autograd.grad(torch.stack(list(terms.values())).sum(), z)

    return turn


def make_step_turn(recipe: str, axis: str, value: int) -> Turn:
    """Make a whole training step at the base shape, but for one axis."""
    asked = {**BASE, axis: value}
    shape = (asked["modalities"], asked["length"], asked["channels"])
    step, windows = CrosslStep(recipe, shape), make_windows(shape, BATCH)
    return lambda: step(windows)


def measure(turns: dict[str, Turn], rounds: int, at_least_s: float) -> dict[str, float]:
    """Time points in turns: median processor seconds of each over the rounds."""
    repeats = {}
    for name, turn in turns.items():
        turn()
        begin = time.process_time()
        turn()
        repeats[name] = max(1, round(at_least_s / max(1e-6, time.process_time() - begin)))
    taken: dict[str, list[float]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            begin = time.process_time()
            for _ in range(repeats[name]):
                turn()
            taken[name].append((time.process_time() - begin) / repeats[name])
    return {name: statistics.median(values) for name, values in taken.items()}


def peak_of_loss(name: str, size: int) -> int:
    """Peak bytes of forward and backward, above what the process held before, in a new process."""
    command = [sys.executable, __file__, "--peak", f"{name},{size}"]
    # every tensor of 64 KiB and more gets pages of its own, which go when it goes (man 3 mallopt)
    given = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **given}
    )
    return int(done.stdout.split()[-1])


def print_peak(text: str) -> None:
    """Warm up on a tiny batch and a product, then print by how much one turn raises the peak."""
    name, size = text.split(",")
    torch.set_num_threads(1)
    make_loss_turn(name, 8)()
    _ = torch.ones(1024, 1024) @ torch.ones(1024, 1024)  # what the linear algebra library keeps
    turn = make_loss_turn(name, int(size))
    # "5" sets the recorded peak of this process back to what it holds now (man 5 proc)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = peak_kb()
    turn()
    print((peak_kb() - before) * 1024)


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """Slope of a straight line through the points in log-log."""
    return float(np.polyfit(np.log(x), np.log(np.maximum(y, 1e-12)), 1)[0])


def turning_point(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Size from which the quadratic part of a + bN + cN^2 is more than half; None if it has none.

    The fit weighs relative errors and allows no negative part.
    """
    from scipy.optimize import nnls

    n, cost = np.asarray(x, float), np.asarray(y, float)
    scale = n.max()
    design = np.stack([np.ones_like(n), n / scale, (n / scale) ** 2], axis=1) / cost[:, None]
    a, b, c = nnls(design, np.ones_like(cost))[0]
    if c * 1e6 < a + b:
        return None
    return float(scale * (b + np.sqrt(b**2 + 4 * a * c)) / (2 * c))


def losses(sizes: Sequence[int], rounds: int, at_least_s: float) -> dict[str, Any]:
    """Measure losses against batch size."""
    half = len(sizes) // 2
    turns = {f"{name},{n}": make_loss_turn(name, n) for n in sizes for name in LOSSES}
    seconds = measure(turns, rounds, at_least_s)
    out = {}
    for name in LOSSES:
        cost = {"time": [seconds[f"{name},{n}"] for n in sizes],
                "memory": [float(peak_of_loss(name, n)) for n in sizes]}  # fmt: skip
        print(name, cost, flush=True)
        out[name] = {
            **cost,
            "exponents": {kind: {"low": exponent(sizes[: half + 1], values[: half + 1]),
                                 "high": exponent(sizes[half:], values[half:])}
                          for kind, values in cost.items()},
            "turns": {kind: turning_point(sizes, values) for kind, values in cost.items()},
        }  # fmt: skip
    return {"sizes": list(sizes), "low": [sizes[0], sizes[half]],
            "high": [sizes[half], sizes[-1]], "by_loss": out}  # fmt: skip


def steps(axes: dict[str, Sequence[int]], rounds: int) -> dict[str, Any]:
    """Measure training steps along each axis."""
    out = {}
    for axis, values in axes.items():
        turns = {f"{r},{v}": make_step_turn(r, axis, v) for v in values for r in RECIPES}
        seconds = measure(turns, rounds, 0.0)
        out[axis] = {"values": list(values)}
        for recipe in RECIPES:
            cost = [seconds[f"{recipe},{v}"] for v in values]
            upper = min(len(values) // 2, len(values) - 2)
            out[axis][recipe] = {
                "seconds": cost,
                "exponent": exponent(values, cost),
                "upper_exponent": exponent(values[upper:], cost[upper:]),
            }
        print(axis, out[axis], flush=True)
    return out


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        print_peak(asked.peak)
        return
    torch.set_num_threads(1)
    if asked.quick:
        losses((64, 128, 256), 1, 0.0)
        steps({axis: values[:2] for axis, values in AXES.items()}, 1)
        return
    rate = matrix_rate()
    found = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "rounds": asked.rounds, "dim": DIM, "cocoa_modalities": MODALITIES, "batch": BATCH,
        "base": BASE, "losses": losses(SIZES, asked.rounds, 0.05),
        "steps": steps(AXES, asked.rounds),
        "matrix_gflops": [round(rate, 1), round(matrix_rate(), 1)],
    }  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, HERE)
    write_page(found, HERE / "scaling.md")


if __name__ == "__main__":
    main()
