"""Time `crossl embed` against training: `python benchmarks/speed/embed.py --work DIR`.

Training steps of the default recipe at batch 256 and embedding of slices of a store take turns in
one process, both on all cores: their ratio counts, not the seconds. Then the whole command, in a
process of its own, on a small and on a large store, with its peak of memory. Writes
benchmarks/results/embed.json and benchmarks/speed/embed.md. Everything it reads it makes itself.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from step import SHAPES, CrosslStep, make_windows, rate

from crossl.config import load_config
from crossl.config.build import build_model
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.embedding import encode
from crossl.embedding.encode import RowEncoder
from crossl.experiment.fold import folds_of, run_facts
from crossl.run_folder import save_run

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "embed.json", HERE / "embed.md"
MODALITIES = tuple(Modality(f"m{i}", ("x", "y", "z"), "m/s^2", 100.0) for i in range(6))
SPEC = WindowSpec(window_s=5.12, stride_s=0.04)
SUBJECTS = 20
BATCHES = (32, 64, 128, 256, 512, 1024)


def recording(number: int, windows: int) -> Recording:
    """Make a recording of sines and noise that yields so many overlapping windows."""
    rng = np.random.default_rng(number)
    seconds = SPEC.window_s + (windows - 1) * SPEC.stride_s
    t = np.arange(round(seconds * 100)) / 100
    signals = {}
    for m in MODALITIES:
        wave = np.sin(2 * np.pi * rng.uniform(0.5, 3, size=3) * t[:, None])
        noise = 0.1 * rng.standard_normal((len(t), 3))
        signals[m.name] = Signal((wave + noise).astype(np.float32), 100.0)
    declared = {m.name: m for m in MODALITIES}
    return Recording(f"s{number:02d}", "a", declared, signals, (LabelInterval(0, seconds, "any"),))


def make_store(path: Path, windows: int) -> Store:
    """Make a store, or open the one that is there."""
    if not path.exists():
        each = windows // SUBJECTS
        write_store((recording(n, each) for n in range(SUBJECTS)), path, modalities=MODALITIES,
                    classes=("any",), spec=SPEC,
                    about={"dataset": "waves", "reader": "none"})  # fmt: skip
    return Store.open(path, verify=False)


def make_run(path: Path, store: Store) -> Path:
    """Make a run of the default recipe with random weights: they cost what trained ones cost."""
    config = load_config(None, base="crossl", overrides=[])
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    fold = folds_of(store, config)[0]
    model.standardiser.fit(store, fold.train[:1000])
    save_run(path, model, config, about=run_facts(store, fold))
    return path


def embedding_rate(encoder: RowEncoder, windows: int, threads: int) -> float:
    """Windows per second of embedding a slice of the store."""
    size = min(windows, len(encoder.store))
    begin = time.perf_counter()
    for _ in encoder.blocks([0], size=size, threads=threads):
        pass
    return size / (time.perf_counter() - begin)


def in_turns(encoder: RowEncoder, pairs: int, threads: int) -> dict[str, list[float]]:
    """Rates of training and of embedding at several batch sizes, in turns."""
    torch.set_num_threads(threads)
    step, windows = CrosslStep("crossl", SHAPES["pamap2"]), make_windows(SHAPES["pamap2"], 256)
    step(windows)
    embedding_rate(encoder, 1024, threads)
    rates: dict[str, list[float]] = {}
    for _ in range(pairs):
        rates.setdefault("train", []).append(round(rate(step, windows, 2.0), 1))
        for batch in BATCHES:
            encode.BATCH = batch
            rates.setdefault(str(batch), []).append(
                round(embedding_rate(encoder, 4096, threads), 1)
            )
    encode.BATCH = CHOSEN
    return rates


CHOSEN = encode.BATCH

WHOLE = """
import sys
from crossl.cli.main import run
if __name__ == "__main__":
    try:
        run()
    except SystemExit as end:
        assert not end.code
    # not getrusage: it counts what the parent held when it forked
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


def whole_command(work: Path, run: Path, store: Path) -> dict[str, Any]:
    """Seconds, peak of memory and size of the file of the command on a whole store."""
    out = work / "z.npz"
    words = ["embed", str(run), "--store", str(store), "--out", str(out)]
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", WHOLE, *words], check=True, capture_output=True,
                          text=True)  # fmt: skip
    taken = time.perf_counter() - begin
    found = {"seconds": round(taken, 1), "peak_bytes": int(done.stdout.split()[-1]) * 1024,
             "file_bytes": out.stat().st_size}  # fmt: skip
    out.unlink()
    return found


def write_page(found: dict[str, Any]) -> None:
    """Turn results into tables."""
    rates = {name: statistics.median(values) for name, values in found["rates"].items()}
    ratios = {
        name: statistics.median(a / b for a, b in zip(values, found["rates"]["train"], strict=True))
        for name, values in found["rates"].items()
    }
    lines = [
        "# Embedding", "", "Remade by `python benchmarks/speed/embed.py --work DIR`; "
        f"`--windows 1000000` for a long one. {found['machine']}, shared with other work"
        f"{found['remark']}: compare within a table. Windows of 6 modalities x 512 x 3, default "
        "recipe.", "", "## Against training", "",
        f"Medians of {found['pairs']} turns in one process with {found['threads']} threads; "
        "training is whole steps at batch 256 on windows in memory, embedding reads its windows "
        f"from the store. The command encodes {CHOSEN} windows at once per thread.", "",
        "| | windows/s | of training |", "|---|---|---|",
        f"| training | {rates.pop('train'):.0f} | 1.0 |",
        *(f"| embedding, batches of {name} | {value:.0f} | {ratios[name]:.1f} |"
          for name, value in rates.items()),
        "", "## The whole command", "",
        "In a process of its own, start of Python and the writing of the file included; peak is "
        "its resident memory.", "",
        "| windows | seconds | windows/s | peak | file |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for count, one in found["whole"].items():
        lines.append(
            f"| {int(count):,} | {one['seconds']:.0f} | {int(count) / one['seconds']:.0f} | "
            f"{one['peak_bytes'] / 1e6:.0f} MB | {one['file_bytes'] / 1e6:.0f} MB |"
        )
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--windows", type=int, default=200_000)
    parser.add_argument("--small", type=int, default=20_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--remark", default="", help="about the machine, for the page")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    store = make_store(asked.work / f"waves-{asked.small}", asked.small)
    run = make_run(asked.work / "run", store)
    found: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "remark": f" ({asked.remark})" if asked.remark else "",
        "pairs": asked.pairs, "threads": asked.threads,
        "rates": in_turns(RowEncoder(run, store.path), asked.pairs, asked.threads), "whole": {},
    }  # fmt: skip
    print(found["rates"], flush=True)
    for count in (asked.small, asked.windows):
        path = make_store(asked.work / f"waves-{count}", count).path
        found["whole"][str(count)] = whole_command(asked.work, run, path)
        print(count, found["whole"][str(count)], flush=True)
    shutil.rmtree(asked.work / f"waves-{asked.windows}")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
