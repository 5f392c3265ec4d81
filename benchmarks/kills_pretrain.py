"""Kill pretraining at random moments: `python benchmarks/kills_pretrain.py --kills 50`.

Starts `crossl pretrain` on a small store again and again and kills it by SIGKILL (every third time
by SIGTERM) after a random time, until so many kills are done; then lets it finish. After each kill
every checkpoint must load and every line of metrics.jsonl, but a last half one, must be whole; in
the end weights and metrics must be, byte for byte, those of a run that was never killed. Prints
what was found; exits with 1 if anything was not so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

MODALITIES = (Modality("acc", ("x", "y", "z"), "m/s^2", 50.0),
              Modality("ecg", ("lead",), "V", 100.0))  # fmt: skip
SECONDS = 400.0
FILES = ("weights.safetensors", "metrics.jsonl")


def recording(number: int) -> Recording:
    """Make noise of one subject."""
    rng = np.random.default_rng(number)
    signals = {
        m.name: Signal(
            rng.normal(size=(round(SECONDS * m.rate_hz), len(m.channels))).astype(np.float32),
            m.rate_hz,
        )
        for m in MODALITIES
    }
    return Recording(f"S{number}", "only", {m.name: m for m in MODALITIES}, signals,
                     [LabelInterval(0, SECONDS, "any")])  # fmt: skip


def command(store: Path, out: Path, devices: int, steps: int) -> list[str]:
    """Say what is run."""
    settings = (f"schedule.steps={steps}", "schedule.batch_size=32", "schedule.checkpoint_s=0.2")
    asked = [word for setting in settings for word in ("--set", setting)]
    return [sys.executable, "-m", "crossl.cli.main", "pretrain", str(store), "--out", str(out),
            "--devices", str(devices), *asked]  # fmt: skip


def check(out: Path) -> str:
    """Say what is corrupt in a run that was killed, or nothing."""
    for path in (out / "checkpoints").glob("*.ckpt"):
        try:
            torch.load(path, weights_only=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
            return f"{path.name} does not load: {error}"
    metrics = out / "metrics.jsonl"
    lines = metrics.read_text(encoding="utf-8").split("\n")[:-1] if metrics.is_file() else []
    try:
        epochs = [json.loads(line)["epoch"] for line in lines]
    except ValueError as error:
        return f"a line of metrics.jsonl is not whole: {error}"
    return "" if epochs == list(range(len(epochs))) else f"epochs are {epochs}"


def kill_once(words: list[str], out: Path, by: signal.Signals, most_s: float) -> int | None:
    """Start, wait for training, kill at a random moment; return the exit code if it had ended."""
    started = time.time()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    last = out / "checkpoints" / "last.ckpt"
    while process.poll() is None and not (last.is_file() and last.stat().st_mtime > started):
        time.sleep(0.01)
    time.sleep(random.uniform(0, most_s))  # noqa: S311 - no secret
    ended = process.poll()
    process.send_signal(by)
    process.wait()
    return ended


def main() -> None:
    """Kill, look, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--most-s", type=float, default=1.0, help="longest wait within training")
    asked = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    random.seed(0)
    work, faults, kills, finished = Path(tempfile.mkdtemp(prefix="kills-")), [], 0, False
    write_store(
        map(recording, range(6)), work / "store", modalities=MODALITIES, classes=("any",),
        spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "noise", "reader": "none", "description": "noise"},
    )  # fmt: skip
    whole, cut = work / "whole", work / "cut"
    words = command(work / "store", cut, asked.devices, asked.steps)
    while kills < asked.kills and not finished:
        by = signal.SIGTERM if kills % 3 == 2 else signal.SIGKILL
        ended = kill_once(words, cut, by, asked.most_s)
        finished = ended == 0
        kills += not finished
        fault = check(cut) or (f"ended by itself with {ended}" if ended else "")
        if fault:
            faults.append(f"kill {kills}: {fault}")
    for out in (cut, whole):
        words = command(work / "store", out, asked.devices, asked.steps)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    for name in FILES:
        if (cut / name).read_bytes() != (whole / name).read_bytes():
            faults.append(f"{name} differs from the run that was not killed")
    print(f"{kills} kills on {asked.devices} process(es), {len(faults)} faults", *faults, sep="\n")
    shutil.rmtree(work)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
