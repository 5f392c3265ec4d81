"""Time training steps: `python benchmarks/speed/step.py`.

Whole steps (encoders, masks, aggregator, loss, backward, optimiser) of crossl's recipes and of the
plain draft in draft.py, interleaved in one run: ratios count, not seconds. Writes
benchmarks/results/speed.json and benchmarks/speed/step.md.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from draft import DraftStep
from torch import Tensor

from crossl.config import RunConfig, load_config
from crossl.config.build import build_method, build_model
from crossl.data.batch import Batch
from crossl.data.recording import Modality

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "speed.json", HERE / "step.md"
SHAPES = {"pamap2": (6, 512, 3), "sleepedf": (4, 3000, 1), "wesad": (3, 1000, 1)}


class CrosslStep:
    """One training step of a recipe, as the trainer takes it."""

    def __init__(self, recipe: str, shape: tuple[int, int, int], *, bf16: bool = False) -> None:
        count, length, channels = shape
        names = tuple(f"c{i}" for i in range(channels))
        modalities = [Modality(f"m{i}", names, "m/s^2", 100.0) for i in range(count)]
        config: RunConfig = load_config(None, base=recipe, overrides=[])
        model = build_model(config, modalities, window_s=length / 100, seed=0)
        self.method = build_method(config, model, seed=0).train()
        if recipe == "paper":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(self.method.parameters())
        else:
            self.optimizer = torch.optim.AdamW(self.method.parameters(), lr=1e-3)
        self.generator = torch.Generator().manual_seed(0)
        self.names = [m.name for m in modalities]
        self.bf16 = bf16

    def __call__(self, windows: list[Tensor]) -> None:
        """Step."""
        present = torch.ones(len(windows[0]), len(windows), dtype=torch.bool)
        batch = Batch(dict(zip(self.names, windows, strict=True)), present)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            terms = self.method.terms(batch, self.generator)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()


def make_step(name: str, shape: tuple[int, int, int]) -> Callable[[list[Tensor]], None]:
    """Build what is timed by its name in the table."""
    if name == "draft":
        return DraftStep(shape[0], shape[2])
    recipe, _, kind = name.partition("-")
    return CrosslStep(recipe, shape, bf16=kind == "bf16")


def make_windows(shape: tuple[int, int, int], batch: int) -> list[Tensor]:
    """Make a batch of noise."""
    torch.manual_seed(1)
    return [torch.randn(batch, shape[1], shape[2]) for _ in range(shape[0])]


def rate(step: Callable[[list[Tensor]], None], windows: list[Tensor], at_least_s: float) -> float:
    """Windows per second of one step after another."""
    begin, steps = time.perf_counter(), 0
    while steps < 1 or time.perf_counter() - begin < at_least_s:
        step(windows)
        steps += 1
    return steps * len(windows[0]) / (time.perf_counter() - begin)


def compare(shape: str, batch: int, names: list[str], pairs: int) -> dict[str, list[float]]:
    """Rates of several steps, taken in turns."""
    windows = make_windows(SHAPES[shape], batch)
    steps = {name: make_step(name, SHAPES[shape]) for name in names}
    for step in steps.values():
        step(windows)
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(pairs):
        for name, step in steps.items():
            rates[name].append(round(rate(step, windows, 1.0), 1))
    return rates


def matrix_rate() -> float:
    """GFLOP/s of numpy's float32 product of 1024 x 1024 matrices."""
    a = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    times = []
    for _ in range(20):
        begin = time.perf_counter()
        _ = a @ a
        times.append(time.perf_counter() - begin)
    return 2 * 1024**3 / statistics.median(times) / 1e9


def peak_memory(name: str, shape: str, batch: int) -> int:
    """Peak bytes of a process of its own that takes three steps, above an idle one."""
    command = [sys.executable, __file__, "--peak", f"{name},{shape},{batch}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1])


def print_peak(text: str) -> None:
    """Take three steps and print by how much they raised the peak."""
    name, shape, batch = text.split(",")
    step = make_step(name, SHAPES[shape])
    step(make_windows(SHAPES[shape], 2))
    before = peak_kb()
    windows = make_windows(SHAPES[shape], int(batch))
    for _ in range(3):
        step(windows)
    print((peak_kb() - before) * 1024)


def peak_kb() -> int:
    """Return this process's peak; not by getrusage, which counts what the parent held at a fork."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def has_bf16() -> bool:
    """Tell whether this CPU multiplies bfloat16 itself."""
    path = Path("/proc/cpuinfo")
    return path.is_file() and "avx512_bf16" in path.read_text(encoding="utf-8")


def write_page(found: dict[str, Any]) -> None:
    """Turn results into a table."""
    lines = ["# Training steps", "", "Remade by `python benchmarks/speed/step.py`. Windows per "
             f"second of whole training steps, medians of {found['pairs']} turns taken in one "
             "run; in brackets the ratio to the plain PyTorch draft in draft.py. "
             f"{found['machine']}, shared with other work; numpy multiplied float32 matrices of "
             "1024 x 1024 at "
             f"{found['matrix_gflops']:.0f} GFLOP/s.", ""]  # fmt: skip
    for threads, table in found["rates"].items():
        names = list(next(iter(table.values())))
        head = ["shape, batch", *names]
        lines += [f"## {threads} thread{'s' if threads != '1' else ''}", "",
                  f"| {' | '.join(head)} |", "|---" * len(head) + "|"]  # fmt: skip
        for row, rates in table.items():
            base = statistics.median(rates["draft"])
            cells = [f"{statistics.median(v):.0f} ({statistics.median(v) / base:.2f})"
                     for v in rates.values()]  # fmt: skip
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
        lines.append("")
    lines += ["## Peak memory above an idle process, pamap2, batch 256", "",
              "| | GB | of the draft's |", "|---|---|---|"]  # fmt: skip
    base = max(1, found["peak"]["draft"])
    lines += [f"| {name} | {size / 1e9:.2f} | {size / base:.2f} |"
              for name, size in found["peak"].items()]  # fmt: skip
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--shapes", default="pamap2,sleepedf")
    parser.add_argument("--batches", default="32,128,256")
    parser.add_argument("--threads", default="2,1")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        print_peak(asked.peak)
        return
    names = ["draft", "paper", *(["paper-bf16"] if has_bf16() else []), "crossl"]
    found: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "pairs": asked.pairs, "matrix_gflops": round(matrix_rate(), 1), "rates": {},
    }  # fmt: skip
    for threads in asked.threads.split(","):
        torch.set_num_threads(int(threads))
        table = found["rates"][threads] = {}
        for shape in asked.shapes.split(","):
            for batch in asked.batches.split(","):
                table[f"{shape}, {batch}"] = compare(shape, int(batch), names, asked.pairs)
                print(threads, shape, batch, table[f"{shape}, {batch}"], flush=True)
    found["peak"] = {name: peak_memory(name, "pamap2", 256) for name in names}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
