"""Measure a live classifier: `python benchmarks/speed/stream.py`.

Six sensors of three channels at 100 Hz, windows of 2 s every second, one thread: the share of one
core that keeping up takes, by length of chunk, and how long the call takes that completes a window.
Then a week: windows of 60 s every two minutes of six sensors at 4 Hz, chunks of 20 s of which some
come twice or never, and one sensor is away for hours; memory at each day's end. And how far what is
said lies from what is said of the recording. Writes benchmarks/results/stream.json and
benchmarks/speed/stream.md.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import resource
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

import crossl
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.predict.live import LiveClassifier

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "stream.json", HERE / "stream.md"
SENSORS, CHANNELS = 6, ("x", "y", "z")
DAY_S = 86400
LENGTHS_S = (0.05, 0.25, 1.0)


def sensors(rate_hz: float) -> list[Modality]:
    """Return six sensors."""
    return [Modality(f"m{i}", CHANNELS, "m/s^2", rate_hz) for i in range(SENSORS)]


def recorded(name: str, rate_hz: float, seconds: int) -> Recording:
    """Make a recording of two halves, the second louder."""
    rng = np.random.default_rng(sum(name.encode()))
    loud = np.repeat([1.0, 3.0], round(seconds / 2 * rate_hz))[:, None]
    signals = {m.name: Signal((loud * rng.normal(size=(len(loud), 3))).astype(np.float32), rate_hz)
               for m in sensors(rate_hz)}  # fmt: skip
    labels = [LabelInterval(0, seconds / 2, "rest"), LabelInterval(seconds / 2, seconds, "run")]
    return Recording(name, "", {m.name: m for m in sensors(rate_hz)}, signals, labels)


def trained(folder: Path, rate_hz: float, spec: crossl.WindowSpec, seconds: int) -> crossl.Run:
    """Return a run of the default recipe that hardly learned, and a classifier."""
    people = ["ann", "bob", "cem", "dee"]
    store = crossl.write_store(
        [recorded(name, rate_hz, seconds) for name in people], folder,
        modalities=sensors(rate_hz), classes=["rest", "run"], spec=spec, about={},
    )  # fmt: skip
    run = crossl.build_model(store, settings={"schedule.steps": 2, "schedule.batch_size": 16})
    run = crossl.pretrain(run, store, train=people[:2], validation=people[2:])
    return crossl.fit_probe(run, store, train=people[:2], validation=people[2:])


def keeping_up(run: crossl.Run, length_s: float, seconds: int) -> dict[str, float]:
    """Feed chunks of one length; return the share of a core, and what calls with a window take."""
    whole, live, took = recorded("eva", 100.0, seconds), run.live(in_order=True), []
    step = round(length_s * 100)
    began = time.process_time()
    for begin in range(0, seconds * 100, step):
        chunks = {name: Signal(s.values[begin : begin + step], 100.0, begin / 100)
                  for name, s in whole.signals.items()}  # fmt: skip
        *others, last = chunks.items()
        rows = [row for name, chunk in others for row in live.feed({name: chunk})]
        at, cpu = time.perf_counter(), time.process_time()
        rows += live.feed(dict([last]))
        if rows:
            took.append((time.perf_counter() - at, time.process_time() - cpu))
    share = (time.process_time() - began) / seconds
    wall, processor = (np.array(one) * 1000 for one in zip(*took[5:], strict=True))
    return {
        "share": share,
        "p50_ms": float(np.median(processor)),
        "p99_ms": float(np.quantile(processor, 0.99)),
        "wall_p99_ms": float(np.quantile(wall, 0.99)),
        "windows": len(took),
    }


def week(run: crossl.Run, days: int) -> list[dict[str, float]]:
    """Feed days of chunks; return what is held at the end of each."""
    rng, rate_hz, length_s = np.random.default_rng(0), 4.0, 20
    live, told = run.live(max_delay_s=30.0), []
    count = 0
    for number in range(days * DAY_S // length_s):
        start_s = float(number * length_s)
        for m in sensors(rate_hz):
            away = m.name == "m5" and 3600 < start_s % DAY_S < 4 * 3600
            if away or rng.random() < 0.001:
                continue
            chunk = Signal(rng.normal(size=(80, 3)).astype(np.float32), rate_hz, start_s)
            for _ in range(1 + (rng.random() < 0.01)):
                count += len(live.feed({m.name: chunk}))
        if (number + 1) * length_s % DAY_S == 0:
            told.append({**held(live), "windows": count})
    return told


def held(live: LiveClassifier) -> dict[str, float]:
    """Return samples that wait and memory of the process."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {"samples": live.windower.held, "mb": pages * resource.getpagesize() / 2**20}


def apart(run: crossl.Run) -> float:
    """Return how far probabilities lie from those of the whole recording, at most."""
    whole, live = recorded("eva", 100.0, 120), run.live(context="off", max_delay_s=1e9)
    line = run.timeline(whole, context="off")
    got = live.timeline([*live.feed(whole.signals), *live.finish()])
    told = np.stack([line[f"probability_{name}"] for name in got.names], axis=1)
    return float(np.abs(told - got.outputs).max())


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="of each chunk length")
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--folder", type=Path, required=True, help="for stores, emptied by you")
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    seconds, days = (8, 0) if asked.quick else (asked.seconds, asked.days)
    torch.set_num_threads(1)
    spec = crossl.WindowSpec(window_s=2.0, stride_s=1.0)
    run = trained(asked.folder / "fast", 100.0, spec, 120)
    made: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, torch {torch.__version__}",
        "apart": apart(run),
        "lengths": {str(one): keeping_up(run, one, seconds) for one in LENGTHS_S},
    }
    slow = trained(asked.folder / "slow", 4.0, crossl.WindowSpec(60.0, 120.0), 2400)
    began = time.process_time()
    made["days"] = week(slow, days)
    made["week_s"] = time.process_time() - began
    if asked.quick:
        print(page_of(made))
        return
    RESULTS.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page_of(made), encoding="utf-8")
    print(PAGE.read_text(encoding="utf-8"))


def page_of(made: dict[str, Any]) -> str:
    """Write what was measured."""
    fast = [f"| {length} s | {one['share']:.1%} | {one['p50_ms']:.1f} | {one['p99_ms']:.1f} | "
            f"{one['wall_p99_ms']:.1f} |" for length, one in made["lengths"].items()]  # fmt: skip
    days = [f"| {day} | {one['windows']} | {one['samples']} | {one['mb']:.0f} |"
            for day, one in enumerate(made["days"], 1)]  # fmt: skip
    return f"""# Streams

Remade by `python benchmarks/speed/stream.py --folder EMPTY`. {made["machine"]}, shared with
other work.

Six sensors of three channels at 100 Hz, windows of 2 s every second, one thread. A window is said
in the call that brings its last sample.

| chunks of | share of one core | that call, processor p50, ms | p99, ms | wall clock p99, ms |
|---|---|---|---|---|
{chr(10).join(fast)}

Probabilities lie at most {made["apart"]:.1e} from those of the whole recording.

A week of six sensors (4 Hz, windows of 60 s every two minutes, chunks of 20 s; one in a thousand
never comes, one in a hundred twice, one sensor is away for three hours a day), {made["week_s"]:.0f}
s of processor time:

| day | windows so far | samples held | memory of the process, MB |
|---|---|---|---|
{chr(10).join(days)}
"""


if __name__ == "__main__":
    main()
