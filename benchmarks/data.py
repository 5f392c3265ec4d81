"""Measure the way from files to batches: `python benchmarks/data.py --work DIR`.

Writes benchmarks/results/data.json and benchmarks/data.md. Everything it reads it makes itself.
Parts can be run apart: `--only load,wait,memory,prepare`.
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
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE / "results" / "data.json", HERE / "data.md"
MODALITIES = tuple(
    Modality(f"{place}_{sensor}", ("x", "y", "z"), unit, 100.0, place)
    for place in ("hand", "chest", "ankle")
    for sensor, unit in (("acc", "m/s^2"), ("gyro", "rad/s"))
)
SPEC = WindowSpec(window_s=5.12, stride_s=5.12)
WINDOW_BYTES = 6 * 512 * 3 * 4
PAIRS = 5


def made_up(gigabytes: float, subjects: int = 20) -> Iterator[Recording]:
    """Yield recordings of noise that come to so many gigabytes."""
    declared = {m.name: m for m in MODALITIES}
    windows = int(gigabytes * 1e9 / WINDOW_BYTES / subjects)
    rng = np.random.default_rng(0)
    for number in range(subjects):
        signals = {
            m.name: Signal(rng.standard_normal((windows * 512, 3), dtype=np.float32), 100.0)
            for m in MODALITIES
        }
        half = windows * 2.56
        labels = (LabelInterval(0, half, "rest"), LabelInterval(half, 2 * half, "run"))
        yield Recording(f"s{number:02d}", "a", declared, signals, labels)


def make_store(out: Path, gigabytes: float) -> Store:
    """Make a store of noise, or open the one that is there."""
    if not out.exists():
        write_store(made_up(gigabytes), out, modalities=MODALITIES, classes=("rest", "run"),
                    spec=SPEC, about={"dataset": "noise", "reader": "none"})  # fmt: skip
    return Store.open(out, verify=False)


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


# --- random batches


def measure_load(work: Path) -> dict[str, Any]:
    """Random batches of 256 windows of 6 x 512 x 3 from warm cache, one process."""
    store = make_store(work / "load", 1.0)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(store))
    batches = [order[i : i + 256] for i in range(0, len(order) - 255, 256)]
    flat = {m.name: np.concatenate([np.load(p, mmap_mode="r") for p in
            sorted(store.path.glob(f"segments/*/signals/{m.name}.npy"))])
            for m in MODALITIES}  # fmt: skip
    copied = {name: array.copy() for name, array in flat.items()}

    def ours() -> None:
        for rows in batches:
            store.gather_zeroed(rows)

    def in_memory() -> None:
        for rows in batches:
            for array in copied.values():
                np.stack([array[r * 512 : r * 512 + 512] for r in rows])

    ours()
    pairs = [(seconds(ours), seconds(in_memory)) for _ in range(PAIRS)]
    count = 256 * len(batches)
    return {
        "windows": len(store),
        "store_windows_per_s": [round(count / a) for a, _ in pairs],
        "copy_from_memory_windows_per_s": [round(count / b) for _, b in pairs],
    }


# --- waiting for data


def measure_wait(work: Path) -> dict[str, Any]:
    """Share of a training step spent waiting for its batch, at batch 256.

    The training loop's own data set, which reads one batch ahead; once from warm cache and once
    after the system was told to forget the files.
    """
    import torch

    from crossl.config import load_config
    from crossl.config.build import build_method, build_model
    from crossl.train.loading import Batches

    store = make_store(work / "load", 1.0)
    config = load_config(None, base="crossl", overrides=[])
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    method = build_method(config, model, seed=0)
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    rows = np.random.default_rng(0).permutation(len(store))
    chosen = [rows[i * 256 : i * 256 + 256] for i in range(13)]

    def steps() -> list[tuple[float, float]]:
        batches, times = Batches(store, chosen), []
        for number in range(len(chosen)):
            begin = time.perf_counter()
            batch = batches[number].batch
            ready = time.perf_counter()
            loss = torch.stack(list(method.terms(batch, generator).values())).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            times.append((ready - begin, time.perf_counter() - begin))
        return times[3:]

    out: dict[str, Any] = {}
    for name in ("warm", "cold"):
        set_cache(store.path, warm=name == "warm")
        times = steps()
        shares = [waited / whole for waited, whole in times]
        out[name] = {
            "step_s": round(statistics.median(whole for _, whole in times), 4),
            "waiting_s": round(statistics.median(waited for waited, _ in times), 5),
            "share_median": round(statistics.median(shares), 4),
            "share_max": round(max(shares), 4),
        }
    return out


def set_cache(folder: Path, *, warm: bool) -> None:
    """Let the system forget the files of a folder, and read them again if they should be warm."""
    for path in folder.rglob("*.npy"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if warm:
                shutil.copyfileobj(file, Sink(), 1 << 20)


class Sink:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        """Count."""
        return len(data)


# --- memory


def train_an_epoch(store: Path, out: Path) -> None:
    """Train one epoch and print the process's peak of memory; runs in a process of its own."""
    import torch

    from crossl.commands.pretrain import pretrain_run
    from crossl.config import load_config

    torch.manual_seed(0)
    overrides = ["schedule.epochs=1", "evaluation.folds=5", "encoder.width=16", "encoder.dim=16"]
    config = load_config(None, base="crossl", overrides=overrides)
    shutil.rmtree(out, ignore_errors=True)
    begin = time.perf_counter()
    pretrain_run(store, config, out)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    print(json.dumps({"peak_bytes": peak, "seconds": round(time.perf_counter() - begin, 1)}))


def measure_memory(work: Path, gigabytes: float) -> dict[str, Any]:
    """Peak memory of one epoch on a large store, above the same on a tiny one."""
    free = shutil.disk_usage(work).free / 1e9
    size = min(gigabytes, free * 0.4)
    out: dict[str, Any] = {"gigabytes": round(size, 1), "asked": gigabytes}
    for name, amount in (("tiny", 0.1), ("large", size)):
        path = work / f"memory-{name}"
        out[f"{name}_write_s"] = round(seconds(partial(make_store, path, amount)), 1)
        command = [sys.executable, __file__, "--epoch", str(path), "--work", str(work)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        out[name] = json.loads(done.stdout.splitlines()[-1])
    shutil.rmtree(work / "memory-large")
    out["above_bytes"] = out["large"]["peak_bytes"] - out["tiny"]["peak_bytes"]
    return out


# --- raw text to a store


def write_pamap2(folder: Path, megabytes: int, subjects: int = 2) -> list[Path]:
    """Write files in the format of PAMAP2: 54 columns, 100 Hz, heart rate at about 9 Hz."""
    protocol = folder / "Protocol"
    protocol.mkdir(parents=True, exist_ok=True)
    rows = int(megabytes * 1e6 / subjects / 480)
    paths = []
    for number in range(subjects):
        path = protocol / f"subject10{number + 1}.dat"
        paths.append(path)
        if path.exists():
            continue
        rng = np.random.default_rng(number)
        labels = np.repeat(rng.choice([0, 1, 2, 3, 4, 17], size=rows // 3000 + 1), 3000)[:rows]
        with path.open("w", encoding="ascii") as file:
            for row in range(rows):
                heart = "100" if row % 11 == 0 else "NaN"
                values = rng.standard_normal(51)
                values[[1, 18, 35]] += 9.8
                values[[0, 17, 34]] = 30.0
                text = " ".join(f"{x:.6g}" for x in values)
                file.write(f"{8.38 + row / 100:.2f} {labels[row]} {heart} {text}\n")
    return paths


def measure_prepare(work: Path, megabytes: int) -> dict[str, Any]:
    """Raw text to a store, against reading the same text with numpy and with polars."""
    import polars

    folder = work / "pamap2"
    paths = write_pamap2(folder, megabytes)
    size = sum(path.stat().st_size for path in paths) / 1e6

    def prepare(workers: int) -> None:
        shutil.rmtree(work / "prepared", ignore_errors=True)
        words = ["prepare", "pamap2", "--root", folder, "--out", work / "prepared",
                 "--workers", workers]  # fmt: skip
        command = [sys.executable, "-m", "crossl.cli.main", *map(str, words)]
        subprocess.run(command, check=True, capture_output=True)

    def with_numpy() -> None:
        for path in paths:
            np.loadtxt(path)

    def with_polars() -> None:
        for path in paths:
            polars.read_csv(path, separator=" ", has_header=False, null_values="NaN",
                            infer_schema_length=2000)  # fmt: skip

    jobs = {"prepare_1": partial(prepare, 1), "prepare_2": partial(prepare, 2),
            "numpy_loadtxt": with_numpy, "polars": with_polars}  # fmt: skip
    for path in paths:
        path.read_bytes()
    rates: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(3):
        for name, job in jobs.items():
            rates[name].append(round(size / seconds(job), 1))
    peaks = {count: peak_of_prepare(work, paths, count) for count in (len(paths), 4 * len(paths))}
    return {"megabytes": round(size, 1), "mb_per_s": rates, "peak_mb": peaks}


PEAK = """
import resource, sys
from crossl.cli.main import run
if __name__ == "__main__":
    try:
        run()
    except SystemExit:
        pass
    # not getrusage: it counts what the parent held when it forked
    own = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(int(own.split()[1]) // 1000, worker // 1000)
"""


def peak_of_prepare(work: Path, paths: list[Path], count: int) -> list[int]:
    """Peak megabytes of the process and of its largest worker, for so many equal files."""
    folder, out, program = work / f"pamap2-{count}", work / "prepared", work / "peak.py"
    for old in (folder, out):
        shutil.rmtree(old, ignore_errors=True)
    (folder / "Protocol").mkdir(parents=True)
    for number in range(count):
        link = folder / "Protocol" / f"subject10{number + 1}.dat"
        link.symlink_to(paths[number % len(paths)].resolve())
    program.write_text(PEAK, encoding="utf-8")
    words = ["prepare", "pamap2", "--root", folder, "--out", out, "--workers", 2]
    command = [sys.executable, str(program), *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [int(word) for word in done.stdout.splitlines()[-1].split()]


# --- the page


def middle(values: list[float]) -> float:
    """Median."""
    return statistics.median(values)


def write_page(found: dict[str, Any]) -> None:
    """Turn results into tables."""
    lines = ["# From files to batches", "", "Remade by `python benchmarks/data.py --work DIR`. "
             f"Measured on {found['machine']}, shared with other work: compare within a table.",
             ""]  # fmt: skip
    if load := found.get("load"):
        ours, memory = (middle(load[k]) for k in ("store_windows_per_s",
                                                   "copy_from_memory_windows_per_s"))  # fmt: skip
        lines += ["## Random batches", "", "256 windows of 6 modalities x 512 x 3 float32 at "
                  f"random from a store of {load['windows']} windows, warm cache, one process, "
                  f"medians of {PAIRS} interleaved runs.", "", "| from | windows/s |", "|---|---|",
                  f"| store | {ours:,.0f} |",
                  f"| the same copied from arrays in memory, `numpy.stack` | {memory:,.0f} |",
                  ""]  # fmt: skip
    if wait := found.get("wait"):
        lines += ["## Waiting for data", "", "A training step of the default recipe at batch 256, "
                  "same windows, both cores; the next batch is read while this one is worked on.",
                  "", "| cache | step | waiting | share, median | share, largest |",
                  "|---|---|---|---|---|"]  # fmt: skip
        for name in ("warm", "cold"):
            w = wait[name]
            lines.append(f"| {name} | {w['step_s'] * 1e3:.0f} ms | {w['waiting_s'] * 1e3:.2f} ms | "
                         f"{w['share_median']:.2%} | {w['share_max']:.2%} |")  # fmt: skip
        lines.append("")
    if memory := found.get("memory"):
        lines += ["## Memory", "", "Peak resident memory of a process that trains one epoch "
                  "(default recipe, narrow encoders), statistics and validation included.", "",
                  "| store | peak | epoch |", "|---|---|---|"]  # fmt: skip
        for name, size in (("tiny", 0.1), ("large", memory["gigabytes"])):
            lines.append(f"| {size:g} GB | {memory[name]['peak_bytes'] / 1e9:.2f} GB | "
                         f"{memory[name]['seconds']:.0f} s |")  # fmt: skip
        lines += ["", f"Above the tiny store: {memory['above_bytes'] / 1e9:.2f} GB.", ""]
    if prepare := found.get("prepare"):
        lines += ["## Raw text to a store", "", f"{prepare['megabytes']:.0f} MB of text in the "
                  "format of PAMAP2 (54 columns), two files, medians of 3 interleaved runs. "
                  "`prepare` is the whole command, start of Python included; the others only "
                  "parse.", "", "| | MB/s |", "|---|---|"]  # fmt: skip
        names = {"prepare_1": "`crossl prepare pamap2 --workers 1`",
                 "prepare_2": "`crossl prepare pamap2 --workers 2`",
                 "numpy_loadtxt": "`numpy.loadtxt`, parsing only",
                 "polars": "`polars.read_csv`, parsing only, both cores"}  # fmt: skip
        lines += [f"| {told} | {middle(prepare['mb_per_s'][name]):.0f} |"
                  for name, told in names.items()]  # fmt: skip
        lines += ["", "Peak memory with two workers, whatever the number of files:", "",
                  "| files | this process | largest worker |", "|---|---|---|"]  # fmt: skip
        lines += [f"| {count} | {own} MB | {worker} MB |"
                  for count, (own, worker) in prepare["peak_mb"].items()]  # fmt: skip
        lines.append("")
    PAGE.write_text("\n".join(lines), encoding="utf-8")


def main() -> None:
    """Measure what is asked for, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made")
    parser.add_argument("--only", default="load,wait,memory,prepare")
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of the large store")
    parser.add_argument("--megabytes", type=int, default=200, help="of raw text")
    parser.add_argument("--epoch", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.epoch:
        train_an_epoch(asked.epoch, asked.work / "run")
        return
    found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    found["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, numpy {np.__version__}"
    jobs = {"load": measure_load, "wait": measure_wait,
            "memory": partial(measure_memory, gigabytes=asked.gigabytes),
            "prepare": partial(measure_prepare, megabytes=asked.megabytes)}  # fmt: skip
    for name in asked.only.split(","):
        found[name] = jobs[name](asked.work)
        print(name, json.dumps(found[name]), flush=True)
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_page(found)


if __name__ == "__main__":
    main()
