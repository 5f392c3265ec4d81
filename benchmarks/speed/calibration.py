"""What calibrating windows by their recording costs: `python benchmarks/speed/calibration.py`.

Random batches read from a store as it was prepared and calibrated, in turns; and the one pass that
makes the statistics: its time on the processor and the memory that it adds. Writes
benchmarks/results/calibration.json and benchmarks/speed/calibration.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from crossl.data.calibrated import calibrated
from crossl.data.recording import Modality, Recording, Signal
from crossl.data.standardisation import STANDARDISATIONS
from crossl.data.store import Store
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "calibration.json", HERE / "calibration.md"
MODALITIES = (
    Modality("acc", ("x", "y", "z"), "m/s^2", 50.0),
    Modality("eeg", tuple(f"c{i}" for i in range(16)), "V", 100.0),
)
SPEC = WindowSpec(window_s=2.0, stride_s=0.25)
KINDS = ("recording", "calibration", "running")
BATCH, BATCHES = 256, 8


def recordings(people: int, hours: float) -> Iterator[Recording]:
    """Make noise; it repeats, which costs reading no less."""
    rng = np.random.default_rng(0)
    for number in range(people):
        signals = {}
        for m in MODALITIES:
            length = round(hours * 3600 * m.rate_hz)
            part = rng.normal(size=(length // 8 + 1, len(m.channels))).astype(np.float32)
            signals[m.name] = Signal(np.tile(part, (8, 1))[:length], m.rate_hz)
        yield Recording(f"S{number}", "a", {m.name: m for m in MODALITIES}, signals)


def measure(store: Store, turns: int) -> dict[str, Any]:
    """Return what the statistics of each kind cost, and how much slower windows are read."""
    train, rng = np.arange(len(store) // 2), np.random.default_rng(0)
    batches = [rng.integers(0, len(store), BATCH) for _ in range(BATCHES)]
    views, found = {"as prepared": store}, {}
    for table in (store.present, store.recording, store.start_s):
        table.sum()
    for kind in KINDS:
        began = time.process_time()
        views[kind] = calibrated(store, STANDARDISATIONS[kind]().build(), train)
        found[kind] = {"statistics_s": time.process_time() - began}
        tracemalloc.start()
        calibrated(store, STANDARDISATIONS[kind]().build(), train)
        found[kind]["peak_mb"] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    best = dict.fromkeys(views, np.inf)
    for _ in range(turns):
        for name, view in views.items():
            began = time.process_time()
            for rows in batches:
                view.gather_zeroed(rows)
            best[name] = min(best[name], time.process_time() - began)
    for kind in KINDS:
        found[kind]["ratio"] = best[kind] / best["as prepared"]
        found[kind]["added_us"] = 1e6 * (best[kind] - best["as prepared"]) / BATCH / BATCHES
    return found


def page(found: dict[str, Any]) -> str:
    """Write the table."""
    rows = [
        f"| `{kind}` | {one['statistics_s']:.2f} | {one['peak_mb']:.0f} | {one['ratio']:.2f} | "
        f"{one['added_us']:.1f} |"
        for kind, one in found["kinds"].items()
    ]
    return "\n".join([
        "# What calibrating windows by their recording costs",
        "",
        "Remade by `python benchmarks/speed/calibration.py`. A store of "
        f"{found['store_mb']:.0f} MB, {found['windows']} windows of 200 x 16 and 100 x 3; random "
        f"batches of {BATCH}, best of turns taken in one run, seconds of the processor, "
        f"{found['machine']}. Statistics are made once a process; a network takes hundreds of "
        "microseconds to milliseconds a window.",
        "",
        "| kind | statistics, s | most memory while they are made, MB | time to read, times as "
        "prepared | added, microseconds a window |",
        "|---|---|---|---|---|",
        *rows,
        "",
    ])  # fmt: skip


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=4)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test; writes nothing")
    asked = parser.parse_args()
    if asked.quick:
        asked.people, asked.hours, asked.turns = 2, 0.05, 1
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(recordings(asked.people, asked.hours), f"{folder}/store", about={},
                            modalities=MODALITIES, classes=(), spec=SPEC)  # fmt: skip
        size = sum(path.stat().st_size for path in store.path.rglob("*.npy")) / 1e6
        found = {"store_mb": size, "windows": len(store), "machine": platform.machine(),
                 "kinds": measure(store, asked.turns)}  # fmt: skip
    if not asked.quick:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(page(found), encoding="utf-8")
    print(page(found))


if __name__ == "__main__":
    main()
