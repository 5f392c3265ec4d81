"""Time training steps: `python benchmarks/speed/step.py`.

Whole steps (encoders, masks, aggregator, loss, backward, optimiser) of crossl's recipes and of the
plain draft in draft.py, interleaved in one run: ratios count, not seconds. Writes
benchmarks/results/speed.json and benchmarks/speed/step.md.

`--reference-cmd CMD` times another implementation in the same turns. It is started as
`CMD M T C BATCH THREADS` for each row of the table; for each line it reads it takes steps for about
a second and prints its windows per second on a line of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
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
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from crossl.cli.allocator import keep_freed_memory
from crossl.config import RunConfig, load_config
from crossl.config.build import build_method, build_model
from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.nn.attachment import plain_ways
from crossl.nn.fast import blocks
from crossl.nn.fast.kernels import TorchKernels
from crossl.train.schedule import build_optimizer

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "speed.json", HERE / "step.md"
SHAPES = {"pamap2": (6, 512, 3), "sleepedf": (4, 3000, 1), "wesad": (3, 1000, 1)}
NAMES = (
    "draft", "draft-compiled", "paper-torch", "paper", "paper-bf16", "crossl-torch", "crossl",
    "crossl-bf16",
)  # fmt: skip
MEANING = {
    "draft": "draft.py, the published network as one would first write it in PyTorch",
    "draft-compiled": "the same under `torch.compile`",
    "paper-torch": "recipe `paper` with nothing but torch (`CROSSL_NATIVE=0`)",
    "paper": "recipe `paper` with compiled kernels",
    "paper-bf16": "the same under bfloat16 autocast",
    "crossl-torch": "recipe `crossl` with nothing but torch",
    "crossl": "recipe `crossl` with compiled kernels",
    "crossl-bf16": "the same under bfloat16 autocast",
    "reference": "the command given as `--reference-cmd`",
}


class CrosslStep:
    """One training step of a recipe, as the trainer takes it."""

    def __init__(
        self, recipe: str, shape: tuple[int, int, int], *, kind: str = "", device: str = "cpu"
    ) -> None:
        count, length, channels = shape
        names = tuple(f"c{i}" for i in range(channels))
        modalities = [Modality(f"m{i}", names, "m/s^2", 100.0) for i in range(count)]
        config: RunConfig = load_config(None, base=recipe, overrides=[])
        model = build_model(config, modalities, window_s=length / 100, seed=0)
        self.method = build_method(config, model, seed=0).train().to(device)
        self.optimizer, _ = build_optimizer(config.schedule, self.method, 400)
        self.generator = torch.Generator(device).manual_seed(0)
        self.names = [m.name for m in modalities]
        self.device, self.kind = device, kind

    def __call__(self, windows: list[Tensor]) -> None:
        """Step."""
        self.optimizer.zero_grad()
        self.loss(windows).backward()
        self.optimizer.step()

    def loss(self, windows: list[Tensor]) -> Tensor:
        """Return the loss of a batch."""
        present = torch.ones(
            len(windows[0]), len(windows), dtype=torch.bool, device=self.device
        )  # fmt: skip
        batch = Batch(dict(zip(self.names, windows, strict=True)), present)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.kind == "bf16"):
            terms = self.method.terms(batch, self.generator)
        return torch.stack([term.float() for term in terms.values()]).sum()


class WithoutKernels:
    """A step with compiled kernels switched off."""

    def __init__(self, step: Callable[[list[Tensor]], None]) -> None:
        self.step = step

    def __call__(self, windows: list[Tensor]) -> None:
        """Step."""
        kept, blocks.fastest_kernels = blocks.fastest_kernels, TorchKernels  # type: ignore[assignment]
        try:
            self.step(windows)
        finally:
            blocks.fastest_kernels = kept


def make_step(name: str, shape: tuple[int, int, int]) -> Callable[[list[Tensor]], None]:
    """Build what is timed by its name in the table."""
    recipe, _, kind = name.partition("-")
    if recipe == "draft":
        step = DraftStep(shape[0], shape[2])
        if kind == "compiled":
            step.net.compile(dynamic=False)
        return step
    step = CrosslStep(recipe, shape, kind=kind)
    return WithoutKernels(step) if kind == "torch" else step


class Reference:
    """Another implementation in a process of its own, asked for its rate turn by turn."""

    def __init__(self, command: str, shape: tuple[int, int, int], batch: int, threads: int) -> None:
        words = [*shlex.split(command), *map(str, (*shape, batch, threads))]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def rate(self) -> float:
        """Take steps for about a second."""
        told, answer = self.process.stdin, self.process.stdout
        assert told and answer  # noqa: S101, PT018 - both are pipes
        told.write("go\n")
        told.flush()
        return float(answer.readline())

    def close(self) -> None:
        """End it."""
        self.process.communicate()


def step_flops(recipe: str, shape: tuple[int, int, int]) -> float:
    """Multiplications and additions of a training step, per window, by the plain modules."""
    step, batch = CrosslStep(recipe, shape), 8
    with plain_ways(), FlopCounterMode(display=False) as counter:
        step(make_windows(shape, batch))
    return counter.get_total_flops() / batch


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


def compare(
    shape: str, batch: int, names: list[str], *, pairs: int, reference: str, threads: int
) -> dict[str, list[float]]:
    """Rates of several steps, and of this machine's product of matrices, taken in turns."""
    windows = make_windows(SHAPES[shape], batch)
    steps = {name: make_step(name, SHAPES[shape]) for name in names}
    other = Reference(reference, SHAPES[shape], batch, threads) if reference else None
    for step in steps.values():
        step(windows)
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(pairs):
        for name, step in steps.items():
            rates[name].append(round(rate(step, windows, 1.0), 1))
        if other:
            rates.setdefault("reference", []).append(round(other.rate(), 1))
        rates.setdefault("matrix", []).append(round(matrix_rate(), 1))
    if other:
        other.close()
    return rates


def matrix_rate() -> float:
    """GFLOP/s of a float32 product of 1024 x 1024 matrices: numpy's or torch's, the faster.

    numpy's library has threads of its own, held to as many as torch has.
    """
    a = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    b = torch.from_numpy(a)
    best = 0.0
    with threadpool_limits(torch.get_num_threads(), user_api="blas"):
        for product in (lambda: a @ a, lambda: b @ b):
            times = []
            for _ in range(10):
                begin = time.perf_counter()
                product()
                times.append(time.perf_counter() - begin)
            best = max(best, 2 * 1024**3 / statistics.median(times) / 1e9)
    return best


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
    """Turn results into tables."""
    lines = [
        "# Training steps", "",
        "Remade by `python benchmarks/speed/step.py`" + (
            " with `--reference-cmd`" if found["reference"] else ""
        ) + f". Windows per second of whole training steps, medians of {found['pairs']} turns "
        "taken in one run; in brackets the ratio to `draft` in the same turns. "
        f"{found['machine']}; a machine shared with others: ratios count.", "",
    ]  # fmt: skip
    lines += [f"- `{name}`: {MEANING[name]}" for name in found["names"]]
    for threads, table in found["rates"].items():
        lines += ["", f"## {threads} thread{'s' if threads != '1' else ''}", ""]
        lines += rate_table(found["names"], table)
    lines += ["", "## Share of the machine's rate", "",
              "Multiplications and additions of a step (counted on the plain modules) per second, "
              "as a share of a float32 product of 1024 x 1024 matrices in the same turns.", "",
              "| threads | shape, batch | matrices, GFLOP/s | paper | crossl |",
              "|---|---|---|---|---|"]  # fmt: skip
    for threads, table in found["rates"].items():
        for row, rates in table.items():
            shares = [
                share_of_rate(found["flops"], row, rates, name) for name in ("paper", "crossl")
            ]
            matrix = statistics.median(rates["matrix"])
            lines.append(f"| {threads} | {row} | {matrix:.0f} | " + " | ".join(shares) + " |")
    lines += ["", "## Peak memory above an idle process, pamap2, batch 256", "",
              "| | GB | of the draft's |", "|---|---|---|"]  # fmt: skip
    base = max(1, found["peak"]["draft"])
    lines += [f"| {name} | {size / 1e9:.2f} | {size / base:.2f} |"
              for name, size in found["peak"].items()]  # fmt: skip
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def rate_table(names: list[str], table: dict[str, dict[str, list[float]]]) -> list[str]:
    """One row per shape and batch."""
    lines = [f"| {' | '.join(['shape, batch', *names])} |", "|---" * (len(names) + 1) + "|"]
    for row, rates in table.items():
        base = statistics.median(rates["draft"])
        medians = [statistics.median(rates[name]) for name in names]
        cells = [f"{middle:.0f} ({middle / base:.2f})" for middle in medians]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines


def share_of_rate(
    flops: dict[str, float], row: str, rates: dict[str, list[float]], name: str
) -> str:
    """Give a step's rate as a share of the product of matrices."""
    each = flops[f"{name}, {row.split(',')[0]}"]
    share = statistics.median(rates[name]) * each / 1e9 / statistics.median(rates["matrix"])
    return f"{100 * share:.0f}%"


def main() -> None:
    """Measure and write."""
    keep_freed_memory()  # as the command line does
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--shapes", default="pamap2,sleepedf,wesad")
    parser.add_argument("--batches", default="32,256")
    parser.add_argument("--threads", default="2,1")
    parser.add_argument("--skip", default="", help="rows to leave out: THREADS:SHAPE:BATCH,...")
    parser.add_argument("--names", default=",".join(NAMES))
    parser.add_argument("--reference-cmd", default="")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.peak:
        print_peak(asked.peak)
        return
    names = [n for n in asked.names.split(",") if has_bf16() or not n.endswith("bf16")]
    shapes = asked.shapes.split(",")
    found: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "pairs": asked.pairs, "reference": asked.reference_cmd, "rates": {},
        "names": [*names, *(["reference"] if asked.reference_cmd else [])],
        "flops": {
            f"{r}, {s}": step_flops(r, SHAPES[s]) for r in ("paper", "crossl") for s in shapes
        },
    }  # fmt: skip
    for threads in asked.threads.split(","):
        torch.set_num_threads(int(threads))
        table = found["rates"][threads] = {}
        for shape in shapes:
            for batch in asked.batches.split(","):
                if f"{threads}:{shape}:{batch}" in asked.skip.split(","):
                    continue
                table[f"{shape}, {batch}"] = compare(
                    shape, int(batch), names, pairs=asked.pairs,
                    reference=asked.reference_cmd, threads=int(threads),
                )  # fmt: skip
                print(threads, shape, batch, table[f"{shape}, {batch}"], flush=True)
    found["peak"] = {name: peak_memory(name, "pamap2", 256) for name in names}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
