"""Time training steps on a GPU: `python benchmarks/speed/gpu.py`.

Both recipes at batches from 256 up: float32, bfloat16, compiled, with CUDA graphs, and with the
encoders of all modalities run as one batched network (where launches dominate, that may pay).
Reports windows per second, the share of the card's own rate at multiplying matrices of the same
type, and peak memory. Writes benchmarks/results/gpu.json and benchmarks/speed/gpu.md.

`--device cpu --batches 8 --seconds 0` tries the script where there is no GPU, and writes nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from step import SHAPES, CrosslStep, make_windows, step_flops
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from crossl.nn import encoders

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "gpu.json", HERE / "gpu.md"
WAYS = ("float32", "bf16", "bf16-batched", "bf16-compiled", "bf16-graphs")


class BatchedEncoders(nn.Module):
    """All encoders of a model as one network over a stack of modalities of one shape."""

    def __init__(self, encoders: nn.ModuleDict) -> None:
        super().__init__()
        parameters, _ = stack_module_state(list(encoders.values()))
        self.names = list(parameters)
        self.stacked = nn.ParameterList(nn.Parameter(p.detach()) for p in parameters.values())
        self.skeleton = [copy.deepcopy(next(iter(encoders.values()))).to("meta")]

    def forward(self, stacked: Tensor) -> Tensor:
        """Encode (M, B, T, C) to (B, M, K)."""

        def one(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.skeleton[0], parameters, (x,))

        parameters = dict(zip(self.names, self.stacked, strict=True))
        return vmap(one, out_dims=1, randomness="different")(parameters, stacked)


def plain_pool(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and maximum by functions that can be batched."""
    return x.mean(dim=1), x.var(dim=1, correction=0), x.amax(dim=1)


def batch_encoders(step: CrosslStep) -> None:
    """Make a step's model encode all modalities at once, by functions that can be batched."""
    encoders.pool_time, encoders.can_run_blocks = plain_pool, lambda _: False
    model = step.method.model
    batched = BatchedEncoders(model.encoders).to(step.device)

    def encode(signals: Mapping[str, Tensor], present: Tensor) -> Tensor:
        latent = batched(torch.stack([signals[m.name] for m in model.modalities]))
        return torch.where(present[:, :, None], latent, 0.0)

    model.encode = encode
    rest = [p for n, p in step.method.named_parameters() if ".encoders." not in f".{n}"]
    step.optimizer = torch.optim.AdamW([*batched.parameters(), *rest], lr=1e-3)


def make_step(recipe: str, way: str, shape: str, device: str) -> CrosslStep:
    """Build what is timed."""
    kind, _, extra = way.partition("-")
    step = CrosslStep(recipe, SHAPES[shape], kind=kind, device=device)
    if extra == "batched":
        batch_encoders(step)
    if extra in ("compiled", "graphs"):
        mode = "reduce-overhead" if extra == "graphs" else "default"
        step.loss = torch.compile(step.loss, mode=mode)  # type: ignore[method-assign]
    return step


def wait(device: str) -> None:
    """Wait for the card."""
    if device == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], object], device: str, at_least_s: float) -> float:
    """Seconds of one call."""
    wait(device)
    begin, count = time.perf_counter(), 0
    while count < 1 or time.perf_counter() - begin < at_least_s:
        for _ in range(5):
            work()
        wait(device)
        count += 5
    return (time.perf_counter() - begin) / count


def matrix_rate(dtype: torch.dtype, device: str, at_least_s: float) -> float:
    """TFLOP/s of a product of two matrices of 4096 x 4096 (256 x 256 on a CPU)."""
    size = 4096 if device == "cuda" else 256
    a = torch.randn(size, size, device=device, dtype=dtype)
    timed(lambda: a @ a, device, 0)
    return 2 * size**3 / timed(lambda: a @ a, device, at_least_s) / 1e12


def measure(row: tuple[str, str, int], asked: argparse.Namespace) -> dict[str, Any]:
    """Windows per second and memory of every way, taken in turns; what fails says why."""
    recipe, shape, batch = row
    found: dict[str, Any] = {}
    own = encoders.pool_time, encoders.can_run_blocks
    windows = [x.to(asked.device) for x in make_windows(SHAPES[shape], batch)]
    for way in asked.ways.split(","):
        try:
            if asked.device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            step = make_step(recipe, way, shape, asked.device)
            for _ in range(3):
                step(windows)
            rates = [
                batch / timed(lambda s=step: s(windows), asked.device, asked.seconds)
                for _ in range(asked.turns)
            ]
            peak = torch.cuda.max_memory_allocated() if asked.device == "cuda" else 0
            found[way] = {"rate": statistics.median(rates), "peak": peak}
        except (RuntimeError, NotImplementedError) as error:
            found[way] = {"failed": str(error).splitlines()[0][:120]}
        encoders.pool_time, encoders.can_run_blocks = own
        print(row, way, found[way], flush=True)
    return found


def write_page(found: dict[str, Any]) -> None:
    """Turn results into a table."""
    lines = ["# Training steps on a GPU", "", "Remade by `python benchmarks/speed/gpu.py`. "
             f"{found['device']}, torch {found['torch']}; matrices of 4096 x 4096 at "
             f"{found['matrix']['float32']:.1f} (float32) and {found['matrix']['bf16']:.1f} "
             "(bfloat16) TFLOP/s.", "",
             "| recipe, shape, batch | way | windows/s | share of matrix rate | peak, GB |",
             "|---|---|---|---|---|"]  # fmt: skip
    for row, ways in found["rows"].items():
        for way, values in ways.items():
            if "failed" in values:
                lines.append(f"| {row} | {way} | failed: {values['failed']} | | |")
                continue
            kind = way.split("-")[0]
            rate = values["rate"] * found["flops"][row.rsplit(", ", 1)[0]] / 1e12
            share = 100 * rate / found["matrix"][kind]
            told = (
                row,
                way,
                f"{values['rate']:.0f}",
                f"{share:.0f}%",
                f"{values['peak'] / 1e9:.2f}",
            )
            lines.append(f"| {' | '.join(told)} |")
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batches", default="256,1024,4096")
    parser.add_argument("--shapes", default="pamap2,sleepedf")
    parser.add_argument("--recipes", default="paper,crossl")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is available; --device cpu tries the script without one")
    rows = [(r, s, int(b)) for r in asked.recipes.split(",") for s in asked.shapes.split(",")
            for b in asked.batches.split(",")]  # fmt: skip
    dtypes = {"float32": torch.float32, "bf16": torch.bfloat16}
    found = {
        "device": torch.cuda.get_device_name() if asked.device == "cuda" else "CPU",
        "torch": torch.__version__,
        "matrix": {n: matrix_rate(d, asked.device, asked.seconds) for n, d in dtypes.items()},
        "flops": {f"{r}, {s}": step_flops(r, SHAPES[s]) for r, s, _ in rows},
        "rows": {f"{r}, {s}, {b}": measure((r, s, b), asked) for r, s, b in rows},
    }  # fmt: skip
    if asked.device == "cuda":
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_page(found)


if __name__ == "__main__":
    main()
