"""Time what every subset of sensors costs to score: `python benchmarks/speed/evaluation.py`.

One evaluation is to encode the test windows, embed them and predict with everything present.
Scoring every subset is to encode them once and predict under all 2^M - 1 subsets: at once, or
the plain way, embedding after embedding. Turns are interleaved in one run: ratios count, not
seconds. Writes benchmarks/results/evaluation.json and benchmarks/speed/evaluation.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from step import SHAPES, matrix_rate
from threadpoolctl import threadpool_limits

from crossl.config import build_model, load_config
from crossl.data.recording import Modality
from crossl.data.source import ArraySource
from crossl.data.splits import draw_labels
from crossl.evaluate.latents import LatentTable, subsets
from crossl.evaluate.missing import predict_subsets
from crossl.evaluate.probe import Probe, fit_probe, fit_probes
from crossl.nn.model import encode_rows

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "evaluation.json", HERE / "evaluation.md"
CLASSES = 12
FRACTIONS, SEEDS = (0.01, 0.05, 0.1, 1.0), (0, 1, 2)
Turn = Callable[[], Any]


class Made:
    """Windows of noise and a tone that tells the class, a model, and a probe on it."""

    def __init__(self, recipe: str, shape: tuple[int, int, int], windows: int) -> None:
        count, length, channels = shape
        names = tuple(f"c{i}" for i in range(channels))
        modalities = [Modality(f"m{i}", names, "m/s^2", 100.0) for i in range(count)]
        rng = np.random.default_rng(0)
        self.label = np.arange(3 * windows) % CLASSES
        time_s = np.arange(length)[None, :, None] / 100
        tone = np.sin(2 * np.pi * (1 + self.label[:, None, None]) * time_s)
        signals = {}
        for i, modality in enumerate(modalities):
            noise = rng.standard_normal((3 * windows, length, channels), dtype=np.float32)
            signals[modality.name] = (0.1 * (1 + i) * tone + noise).astype(np.float32)
        self.source = ArraySource(signals, modalities=modalities, window_s=length / 100)
        config = load_config(None, base=recipe, overrides=[])
        self.model = build_model(config, modalities, window_s=length / 100, seed=0).eval()
        self.train, self.validation, self.test = np.split(np.arange(3 * windows), 3)
        self.choices = subsets(count)

    def encode(self, rows: np.ndarray) -> LatentTable:
        """Compute latents."""
        latent = encode_rows(self.model, self.source, rows)
        present = torch.ones(latent.shape[:2], dtype=torch.bool)
        subject = np.repeat("S", len(rows))
        return LatentTable(self.model, latent, present, self.label[rows], subject)

    def one(self, probe: Probe) -> None:
        """Evaluate with everything present."""
        probe.predict(self.encode(self.test).embed(probe.head))

    def plain(self, probe: Probe) -> None:
        """Score every subset, one after another."""
        table = self.encode(self.test)
        for subset in self.choices:
            probe.predict(table.embed(probe.head, subset))

    def every(self, probes: list[Probe]) -> None:
        """Score every subset for every probe."""
        predict_subsets(probes, self.encode(self.test), self.choices)


def interleave(turns: dict[str, Turn], pairs: int) -> dict[str, list[tuple[float, float]]]:
    """Time several things in turns: seconds on the clock, and of the processor."""
    for turn in turns.values():
        turn()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in turns}
    for _ in range(pairs):
        for name, turn in turns.items():
            begin, used = time.perf_counter(), time.process_time()
            turn()
            taken[name].append((time.perf_counter() - begin, time.process_time() - used))
    return taken


def compare(recipe: str, shape: str, windows: int, pairs: int) -> dict[str, Any]:
    """Measure one recipe: ratios to one evaluation, turn by turn."""
    made = Made(recipe, SHAPES[shape], windows)
    train, validation = made.encode(made.train), made.encode(made.validation)
    probe = fit_probe(train, validation, strengths=[0.1])
    draws = [
        (train.take(draw_labels(made.label, made.train, fraction=f, seed=s, classes=CLASSES)), s)
        for f in FRACTIONS for s in SEEDS[: 1 if f == 1 else None]
    ]  # fmt: skip
    table = made.encode(made.test)
    seconds = interleave({
        "one evaluation": lambda: made.one(probe),
        "every subset": lambda: made.every([probe]),
        f"every subset, {len(draws)} label draws": lambda: made.every([probe] * len(draws)),
        "only to encode": lambda: made.encode(made.test),
        "every subset, one after another": lambda: made.plain(probe),
        "only to predict every subset": lambda: predict_subsets([probe], table, made.choices),
    }, pairs)  # fmt: skip
    begin = time.perf_counter()
    fit_probes(draws, validation)
    fitting = time.perf_counter() - begin
    base = seconds["one evaluation"]
    ratios = {
        name: [statistics.median(a[i] / b[i] for a, b in zip(values, base, strict=True))
               for i in range(2)]
        for name, values in seconds.items()
    }  # fmt: skip
    return {"subsets": len(made.choices), "windows": windows, "seconds": seconds, "ratios": ratios,
            "draws": len(draws), "fit_s": fitting,
            "one_s": statistics.median(wall for wall, _ in base)}  # fmt: skip


def write_page(found: dict[str, Any]) -> None:
    """Turn results into a table."""
    lines = [
        "# Evaluation", "", "Remade by `python benchmarks/speed/evaluation.py`. What scoring costs "
        "next to one evaluation (encode the test windows, embed, predict with everything present): "
        f"medians of the ratios of {found['pairs']} interleaved turns, by the clock and by the "
        f"processor's own time, which other work disturbs less. Windows are made up; "
        f"every row computes latents anew. {found['machine']}, shared with other work; before "
        f"and after, numpy multiplied float32 matrices of 1024 x 1024 at "
        f"{found['matrix_gflops'][0]:.0f} and {found['matrix_gflops'][1]:.0f} GFLOP/s.", "",
    ]  # fmt: skip
    for title, one in found["runs"].items():
        per_window = one["one_s"] / one["windows"]
        lines += [f"## {title}", "", f"{one['windows']} windows, {one['subsets']} subsets; one "
                  f"evaluation took {per_window * 1e3:.2f} ms a window.", "",
                  "| | of one evaluation | processor time |", "|---|---|---|"]  # fmt: skip
        lines += [f"| {name} | {wall:.2f} | {used:.2f} |"
                  for name, (wall, used) in one["ratios"].items()]  # fmt: skip
        fit = one["fit_s"] / one["one_s"]
        lines += [f"| for scale: to fit and choose the probes of {one['draws']} label draws | "
                  f"{fit:.1f} | |", ""]  # fmt: skip
    PAGE.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--windows", type=int, default=512)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    if asked.quick:
        torch.set_num_threads(1)
        print(compare("crossl", "wesad", 96, 1)["ratios"])
        return
    rate = matrix_rate()
    runs = {}
    for threads in asked.threads.split(","):
        torch.set_num_threads(int(threads))
        for recipe in ("crossl", "paper"):
            title = f"{recipe}, pamap2, {threads} thread{'s' if threads != '1' else ''}"
            windows = asked.windows if recipe == "crossl" else asked.windows // 4
            # numpy's idle threads spin for a while: they would take a core from the next turn
            with threadpool_limits(1, user_api="blas"):
                runs[title] = compare(recipe, "pamap2", windows, asked.pairs)
            print(title, runs[title]["ratios"], runs[title]["fit_s"], flush=True)
    found = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
             "pairs": asked.pairs, "matrix_gflops": [round(rate, 1), round(matrix_rate(), 1)],
             "runs": runs}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
