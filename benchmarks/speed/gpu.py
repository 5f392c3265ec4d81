"""Time training steps on a GPU: `python benchmarks/speed/gpu.py`.

Whole steps (views, encoders, masks, heads, loss, backward, optimiser) of both recipes on windows
that lie on the card, in turns: the plain draft of draft.py, crossl without and with CUDA graphs
(what `crossl pretrain` does), and what else might win: `torch.compile`, the encoders of all
modalities as one batched network. Then epochs of `crossl.train.pretrain.pretrain`, reading from a
store on disk. Reports windows per second, the share of the card's own rate at multiplying matrices
of the same type, and peak memory. Writes benchmarks/results/gpu.json and benchmarks/speed/gpu.md.

`--device cpu --rows crossl,pamap2,8 --ways float32 --seconds 0` tries it where there is no GPU, and
writes nothing.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from draft import Draft, vicreg
from overhead import make_store, settings, whole_steps
from step import SHAPES, CrosslStep, make_windows, step_flops
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from crossl.data.batch import Batch
from crossl.nn.fast import encoders
from crossl.nn.precision import computing_in
from crossl.train.adam import AdamW
from crossl.train.cuda_graphs import Given, Recorded, widened

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "gpu.json", HERE / "gpu.md"
ROWS = (
    "paper,pamap2,256", "paper,pamap2,1024", "paper,sleepedf,256", "paper,sleepedf,1024",
    "crossl,pamap2,256", "crossl,pamap2,1024", "crossl,pamap2,4096", "crossl,sleepedf,256",
    "crossl,sleepedf,1024",
)  # fmt: skip
WAYS = ("draft", "draft-bf16", "float32", "bf16", "float32-graphs", "bf16-graphs")
COSTLY = ("float32-compiled-graphs", "bf16-compiled-graphs", "bf16-batched-graphs")
MEANING = {
    "draft": "draft.py, the published network as one would first write it in PyTorch",
    "draft-bf16": "the same under bfloat16 autocast",
    "float32": "the recipe, one launch after another",
    "bf16": "the same under bfloat16 autocast",
    "float32-graphs": "with CUDA graphs: what `crossl pretrain` does",
    "bf16-graphs": "the same with `schedule.precision=bfloat16`",
    "float32-compiled-graphs": "compiled by `torch.compile`, then recorded",
    "bf16-compiled-graphs": "the same under bfloat16 autocast",
    "bf16-batched-graphs": "encoders of all modalities as one network by `vmap`, CUDA graphs",
}


class Step:
    """One training step of a recipe on a device, in one of the ways."""

    def __init__(self, recipe: str, way: str, shape: tuple[int, int, int], device: str) -> None:
        made = CrosslStep(recipe, shape, device=device)
        self.method: Any = made.method
        self.names, self.device = made.names, torch.device(device)
        self.precision = "bfloat16" if way.startswith("bf16") else "float32"
        self.way = way.partition("-")[2].split("-")
        self.optimizer: torch.optim.Optimizer = made.optimizer
        if "batched" in self.way:
            self._batch_encoders()
        if "compiled" in self.way:
            for half in ("encode", "compare"):
                compiled = torch.compile(getattr(self.method, half), dynamic=False)
                setattr(self.method, half, compiled)
        self.recorded: Any = None
        self.number = 0

    def __call__(self, windows: list[Tensor]) -> None:
        """Step."""
        self.optimizer.zero_grad()
        terms = self.terms(windows)
        torch.stack(list(terms.values())).sum().backward()
        self.optimizer.step()

    def terms(self, windows: list[Tensor]) -> dict[str, Tensor]:
        """Return the terms of the loss, as the trainer takes them."""
        shape = (len(windows[0]), len(windows))
        batch = Batch(
            dict(zip(self.names, windows, strict=True)),
            torch.ones(shape, dtype=torch.bool, device=self.device),
        )
        self.number += 1
        generator = torch.Generator(self.device).manual_seed(self.number)
        method: Any = self.method
        drawn = method.draw(batch.present, generator)
        with computing_in(self.precision, self.device):
            signals = method.views(batch, seed=self.number)
            if "graphs" in self.way and self.recorded is None:
                given = Given(signals, batch.present, drawn)
                self.recorded = Recorded(method, given, precision=self.precision)
            fast = self.recorded or method
            encoded = widened(fast.encode(signals, batch.present))
            terms: dict[str, Tensor] = fast.compare(encoded, batch.present, drawn)
        return terms

    def _batch_encoders(self) -> None:
        """Make the model encode all modalities at once, by functions that can be batched."""
        encoders.pool_time = _plain_pool
        model = self.method.model
        batched = _BatchedEncoders(model.encoders).to(self.device)

        def encode(signals: Mapping[str, Tensor], present: Tensor) -> Tensor:
            latent = batched(torch.stack([signals[m.name] for m in model.modalities]))
            return torch.where(present[:, :, None], latent, 0.0)

        model.encode = encode
        model.encoders = nn.ModuleDict({"batched": batched})
        self.optimizer = AdamW(self.method.parameters(), lr=1e-3, fused=True)


class _BatchedEncoders(nn.Module):
    """All encoders of a model as one network over a stack of modalities of one shape."""

    def __init__(self, modules: nn.ModuleDict) -> None:
        super().__init__()
        parameters, _ = stack_module_state(list(modules.values()))
        self.names = list(parameters)
        self.stacked = nn.ParameterList(nn.Parameter(p.detach()) for p in parameters.values())
        self.skeleton = [copy.deepcopy(next(iter(modules.values()))).to("meta")]

    def forward(self, stacked: Tensor) -> Tensor:
        """Encode (M, B, T, C) to (B, M, K)."""

        def one(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
            return functional_call(self.skeleton[0], parameters, (x,))

        parameters = dict(zip(self.names, self.stacked, strict=True))
        return vmap(one, out_dims=1, randomness="different")(parameters, stacked)


def _plain_pool(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance and maximum by functions that can be batched."""
    return x.mean(dim=1), x.var(dim=1, correction=0), x.amax(dim=1)


class DraftOnDevice:
    """The plain draft where the windows lie."""

    def __init__(self, way: str, shape: tuple[int, int, int], device: str) -> None:
        torch.manual_seed(0)
        self.device, self.bf16 = device, way == "draft-bf16"
        with torch.device(device):
            self.net = Draft(shape[0], shape[2])
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=1e-4)

    def __call__(self, windows: list[Tensor]) -> None:
        """Step."""
        self.optimizer.zero_grad()
        with (
            torch.device(self.device),
            torch.autocast(self.device, torch.bfloat16, enabled=self.bf16),
        ):
            a, b = self.net(windows)
        vicreg(a.float(), b.float()).backward()
        self.optimizer.step()


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
    """TFLOP/s of a product of two matrices of 8192 x 8192 (256 x 256 on a CPU)."""
    size = 8192 if device == "cuda" else 256
    a = torch.randn(size, size, device=device, dtype=dtype)
    timed(lambda: a @ a, device, 0)
    return 2 * size**3 / timed(lambda: a @ a, device, at_least_s) / 1e12


def make(recipe: str, way: str, shape: str, device: str) -> Callable[[list[Tensor]], None]:
    """Build what is timed."""
    if way.startswith("draft"):
        return DraftOnDevice(way, SHAPES[shape], device)
    return Step(recipe, way, SHAPES[shape], device)


def measure_way(
    row: tuple[str, str, int], way: str, windows: list[Tensor], asked: argparse.Namespace
) -> dict[str, Any]:
    """Windows per second, memory, and seconds until the first three steps are done."""
    own = encoders.pool_time
    recipe, shape, batch = row
    try:
        if asked.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        begin = time.perf_counter()
        step = make(recipe, way, shape, asked.device)
        for _ in range(3):
            step(windows)
        wait(asked.device)
        ready = time.perf_counter() - begin
        rates = [
            batch / timed(lambda: step(windows), asked.device, asked.seconds)
            for _ in range(asked.turns)
        ]
        peak = torch.cuda.max_memory_allocated() if asked.device == "cuda" else 0
        return {"rate": statistics.median(rates), "peak": peak, "ready": ready, "rates": rates}
    except Exception as error:  # noqa: BLE001 - one way that fails must not end the others
        return {"failed": (str(error).splitlines() or [repr(error)])[0][:120]}
    finally:
        encoders.pool_time = own


def measure(
    row: tuple[str, str, int], ways: list[str], asked: argparse.Namespace
) -> dict[str, Any]:
    """Take several ways; what fails says why."""
    found: dict[str, Any] = {}
    windows = [x.to(asked.device) for x in make_windows(SHAPES[row[1]], row[2])]
    for way in ways:
        found[way] = measure_way(row, way, windows, asked)
        print(row, way, found[way], flush=True)
    return found


def whole(asked: argparse.Namespace) -> dict[str, Any]:
    """Windows per second of the trainer's own steps, from a store on disk."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", windows=asked.windows)
        for recipe, precision in (("paper", "float32"), ("crossl", "float32"),
                                  ("crossl", "bfloat16")):  # fmt: skip
            config = settings(recipe, f"schedule.precision={precision}", "schedule.epochs=3")
            steps, outside = whole_steps(
                config, store, Path(folder) / f"{recipe}-{precision}", windows=asked.windows
            )
            found[f"{recipe}, {precision}"] = {
                "rate": 256 / statistics.median(steps),
                "outside": statistics.median(outside) / statistics.median(steps),
            }
            print(recipe, precision, found[f"{recipe}, {precision}"], flush=True)
    return found


def write_page(found: dict[str, Any]) -> None:
    """Turn results into tables."""
    lines = ["# Training steps on a GPU", "", "Remade by `python benchmarks/speed/gpu.py`. "
             f"{found['device']}, torch {found['torch']}; matrices of 8192 x 8192 at "
             f"{found['matrix']['float32']:.1f} (float32) and {found['matrix']['bf16']:.1f} "
             f"(bfloat16) TFLOP/s. Windows per second of whole steps, medians of {found['turns']} "
             "turns of one run; share: multiplications and additions of a step, counted on the "
             "plain modules, of that rate. First steps: seconds until three were done, recording "
             "and compiling included. Convolutions in float32 take the shorter tf32, as torch "
             "has it unless told otherwise; matrices do not.", ""]  # fmt: skip
    lines += [found["note"], ""] if "note" in found else []
    lines += [f"- `{way}`: {MEANING[way]}" for way in found["ways"]]
    lines += ["", "| recipe, shape, batch | way | windows/s | of draft | share | peak, GB | first "
              "steps, s |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for row, ways in found["rows"].items():
        for way, values in ways.items():
            if "failed" in values:
                lines.append(f"| {row} | {way} | failed: {values['failed']} | | | | |")
                continue
            kind = "bf16" if "bf16" in way else "float32"
            recipe, shape, _ = row.split(",")
            counted = found["flops"][f"{'paper' if 'draft' in way else recipe},{shape}"]
            share = 100 * values["rate"] * counted / 1e12 / found["matrix"][kind]
            base = ways.get("draft", {}).get("rate")
            told = (
                row.replace(",", ", "), way, f"{values['rate']:,.0f}",
                f"{values['rate'] / base:.2f}" if base else "", f"{share:.0f}%",
                f"{values['peak'] / 1e9:.2f}", f"{values['ready']:.1f}",
            )  # fmt: skip
            lines.append(f"| {' | '.join(told)} |")
    if found["whole"]:
        lines += ["", "## The trainer", "", "Steps of `pretrain` at batch 256 of 6 modalities of "
                  "512 x 3, read from a store, with all that is around them: medians.", "",
                  "| recipe, precision | windows/s | neither forward nor backward |",
                  "|---|---|---|"]  # fmt: skip
        lines += [f"| {name} | {v['rate']:,.0f} | {v['outside']:.0%} |"
                  for name, v in found["whole"].items()]  # fmt: skip
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--rows", default=";".join(ROWS), help="RECIPE,SHAPE,BATCH;...")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--costly", default=",".join(COSTLY), help="ways that take a minute each")
    parser.add_argument("--costly-rows", default="paper,pamap2,256;crossl,pamap2,256")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--windows", type=int, default=8192, help="of the store; 0: no trainer")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is available; --device cpu tries the script without one")
    rows = [(r, s, int(b)) for r, s, b in (row.split(",") for row in asked.rows.split(";"))]
    dtypes = {"float32": torch.float32, "bf16": torch.bfloat16}
    found: dict[str, Any] = {
        "rows": {},
        "device": torch.cuda.get_device_name() if asked.device == "cuda" else "CPU",
        "torch": torch.__version__, "turns": asked.turns,
        "ways": [w for w in (*asked.ways.split(","), *asked.costly.split(",")) if w],
        "matrix": {n: matrix_rate(d, asked.device, asked.seconds) for n, d in dtypes.items()},
        "flops": {
            f"{r},{s}": step_flops(r, SHAPES[s]) for r in ("paper", "crossl") for s in SHAPES
        },
        "whole": whole(asked) if asked.windows else {},
    }  # fmt: skip
    print(found, flush=True)
    costly = [row for row in rows if ",".join(map(str, row)) in asked.costly_rows.split(";")]
    work = [(row, asked.ways.split(",")) for row in rows]
    work += [(row, asked.costly.split(",")) for row in costly if asked.costly]
    for row, ways in work:  # what was measured is kept as it comes
        kept = found["rows"].setdefault(",".join(map(str, row)), {})
        kept |= measure(row, ways, asked)
        if asked.device == "cuda":
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            write_page(found)


if __name__ == "__main__":
    main()
