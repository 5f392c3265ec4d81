"""Show what bounds a training step: `python benchmarks/speed/limits.py`.

Torch's profiler over steps of both recipes on one thread (on several, threads of our own are
hidden from it): time in convolutions and matrix products, with their rate, in our kernels between
them, in copies, and in all else. Writes benchmarks/speed/limits.md.
"""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from step import SHAPES, make_step, make_windows, matrix_rate, step_flops
from torch.profiler import ProfilerActivity, profile

from crossl.cli.allocator import keep_freed_memory

PAGE = Path(__file__).resolve().parent / "limits.md"
ROWS = (
    ("paper", "pamap2", 32), ("paper", "pamap2", 256), ("paper", "sleepedf", 32),
    ("paper-torch", "pamap2", 256), ("paper-torch", "sleepedf", 32),
    ("crossl", "pamap2", 256), ("crossl", "sleepedf", 256),
)  # fmt: skip
KINDS = {
    "convolutions": ("convolution", "conv"),
    "products": ("mm", "addmm", "bmm", "baddbmm", "linear"),
    "between them": (
        "_Blocks", "_BlocksBackward", "native_layer_norm", "gelu", "prelu", "threshold", "clamp",
        "addcmul", "mean", "max", "sum",
    ),
    "copies": ("copy_", "cat", "fill_", "zero_", "stack", "clone"),
}  # fmt: skip


def kind_of(name: str) -> str:
    """Sort an operator."""
    plain = name.removeprefix("aten::")
    for kind, starts in KINDS.items():
        if any(plain == s or plain.startswith((f"{s}_", f"{s}.")) for s in starts):
            return kind
        if kind == "convolutions" and "convolution" in plain:
            return kind
    return "all else"


def measure(name: str, shape: str, batch: int, steps: int) -> dict[str, float]:
    """Seconds a step in each kind of work."""
    step = make_step(name, SHAPES[shape])
    windows = make_windows(SHAPES[shape], batch)
    for _ in range(2):
        step(windows)
    with profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(steps):
            step(windows)
    spent = dict.fromkeys([*KINDS, "all else"], 0.0)
    for event in found.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total / 1e6 / steps
    return spent


def write_page(found: dict[tuple[str, str, int], dict[str, float]], rate: float) -> None:
    """Write the table."""
    lines = [
        "# What bounds a step", "",
        "Remade by `python benchmarks/speed/limits.py`. One thread, torch's profiler: milliseconds "
        "of a step and the share of each kind of work. The last columns: multiplications and "
        "additions of a step over the time in convolutions and products alone, as a share of this "
        f"machine's float32 product of 1024 x 1024 matrices ({rate:.0f} GFLOP/s on one thread), "
        "and how much faster the step would be if all else took no time. "
        f"{platform.machine()}, torch {torch.__version__}; the machine is shared.", "",
        "| step | ms | convolutions | products | between them | copies | all else | rate | bound |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for (name, shape, batch), spent in found.items():
        whole = sum(spent.values())
        core = spent["convolutions"] + spent["products"]
        flops = step_flops(name.split("-")[0], SHAPES[shape]) * batch
        cells = [f"{100 * value / whole:.0f}%" for value in spent.values()]
        lines.append(
            f"| {name}, {shape}, {batch} | {1e3 * whole:.0f} | {' | '.join(cells)} | "
            f"{100 * flops / core / 1e9 / rate:.0f}% | {whole / core:.2f} |"
        )
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    keep_freed_memory()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.quick:
        print(measure("crossl", "pamap2", 8, 1))
        return
    found = {}
    for row in ROWS:
        found[row] = measure(*row, asked.steps)
        print(row, found[row], flush=True)
    write_page(found, matrix_rate())


if __name__ == "__main__":
    main()
