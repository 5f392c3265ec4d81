"""Kill crossl at random moments: `python benchmarks/kills.py --verb embed|prepare --kills 50`.

A command is killed by SIGKILL, again and again, and started again each time, until it has been
killed as often as asked; whenever it reaches its end in between, the result is compared with that
of an uninterrupted run, byte for byte, and removed. Beside that, after every kill: what stands
under the result's name must be whole or absent. Everything it reads it makes itself.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

ACC, ECG = (Modality("acc", ("x", "y", "z"), "m/s^2", 50.0), Modality("ecg", ("lead",), "V", 100.0))
NARROW = ["encoder.width=16", "encoder.dim=16", "schedule.steps=4"]


def recording(number: int, seconds: float) -> Recording:
    """Make a recording of noise."""
    rng = np.random.default_rng(number)
    signals = {
        m.name: Signal(
            rng.standard_normal((int(seconds * m.rate_hz), len(m.channels)), dtype=np.float32),
            m.rate_hz,
        )
        for m in (ACC, ECG)
    }
    labels = (LabelInterval(0, seconds / 2, "rest"), LabelInterval(seconds / 2, seconds, "run"))
    return Recording(f"S{number}", "a", {m.name: m for m in (ACC, ECG)}, signals, labels)


def embed_command(work: Path, out: Path, options: list[str]) -> list[str]:
    """Make a store of many overlapping windows and a run; say how to embed it."""
    from crossl.commands.pretrain import pretrain_run
    from crossl.commands.probe import probe_run
    from crossl.config import load_config

    store, run = work / "store", work / "run"
    if not store.exists():
        write_store((recording(n, 100.0) for n in range(10)), store, modalities=(ACC, ECG),
                    classes=("rest", "run"), spec=WindowSpec(window_s=2.0, stride_s=0.02),
                    about={"dataset": "noise", "reader": "none"})  # fmt: skip
        pretrain_run(store, load_config(overrides=NARROW), run)
        probe_run(run, store, label_fraction=0.01)
    return ["embed", str(run), "--store", str(store), "--out", str(out), *options]


def prepare_command(work: Path, out: Path, options: list[str]) -> list[str]:
    """Write files in the format of PAMAP2; say how to prepare them."""
    from data import write_pamap2

    folder = work / "pamap2"
    if not folder.exists():
        write_pamap2(folder, 24, subjects=8)
    return ["prepare", "pamap2", "--root", str(folder), "--out", str(out), "--workers", "2",
            *options]  # fmt: skip


VERBS = {"embed": (embed_command, "z.npz"), "prepare": (prepare_command, "prepared")}


def digest(path: Path) -> str:
    """Hash a file, or every file of a folder with its name."""
    found = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        found.update(f"{file.relative_to(path.parent)}\n".encode())
        found.update(file.read_bytes())
    return found.hexdigest()


def start(words: list[str]) -> subprocess.Popen[str]:
    """Start a command of crossl in a process group of its own."""
    command = [sys.executable, "-m", "crossl.cli.main", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            start_new_session=True)  # fmt: skip


def finish(words: list[str]) -> float:
    """Run a command to its end; return its seconds."""
    begin, process = time.monotonic(), start(words)
    _, told = process.communicate()
    if process.returncode:  # a slow machine is told of progress
        raise SystemExit(f"{words}: ended with {process.returncode}, saying: {told}")
    return time.monotonic() - begin


def remove(path: Path) -> None:
    """Remove a file or a folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def whole_or_absent(out: Path, wanted: str) -> bool:
    """Tell whether what stands under the name of the result is right."""
    return not out.exists() or digest(out) == wanted


def kill_often(words: list[str], out: Path, wanted: str, kills: int, span: float) -> dict[str, int]:
    """Kill a command at random moments of its usual span; count what came of it."""
    told = {"killed": 0, "killed at work": 0, "finished": 0, "wrong": 0, "half-written": 0}
    moments = random.Random(0)  # noqa: S311 - moments, no secrets
    while told["killed"] < kills:
        process = start(words)
        try:
            _, said = process.communicate(timeout=moments.uniform(0.3 * span, 1.05 * span))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            told["killed"] += 1
            told["killed at work"] += bool(list(out.parent.glob(f".{out.name}.*")))
            told["half-written"] += not whole_or_absent(out, wanted)
        else:
            if process.returncode:
                raise SystemExit(f"{words}: ended with {process.returncode}, saying: {said}")
            told["finished"] += 1
        if out.exists():
            told["wrong"] += digest(out) != wanted
            remove(out)
    finish(words)
    told["finished"] += 1
    told["wrong"] += digest(out) != wanted
    remove(out)
    return told


def main() -> None:
    """Kill and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verb", choices=sorted(VERBS), required=True)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--work", type=Path, help="folder for what is made; default: a new one")
    asked, options = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as scratch:
        work = asked.work or Path(scratch)
        (work / asked.verb).mkdir(parents=True, exist_ok=True)
        make, name = VERBS[asked.verb]
        out = work / asked.verb / name
        words = make(work, out, options)
        finish(words)
        wanted = digest(out)
        remove(out)
        span = finish(words)
        same = digest(out) == wanted
        remove(out)
        print(f"{asked.verb}: takes {span:.1f} s; twice the same bytes: {same}", flush=True)
        told = kill_often(words, out, wanted, asked.kills, span)
        left = sorted(p.name for p in out.parent.iterdir())
        print(f"{asked.verb}: " + ", ".join(f"{n} {what}" for what, n in told.items())
              + f", left over: {left or 'nothing'}")  # fmt: skip
        if told["wrong"] or told["half-written"] or left or not same:
            raise SystemExit(1)


if __name__ == "__main__":
    main()
