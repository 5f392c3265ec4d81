"""Kill an evaluation at random moments: `python benchmarks/kills_evaluate.py --kills 50`.

As `kills.py`, for a command that writes several files into a folder that is there before: after
every kill the run must still load, every archive of scores must be whole or absent, and in the end
scores, records and figures must be, byte for byte, those of an evaluation that was never killed.
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
from pathlib import Path

from kills import NARROW, digest, finish, recording, start

from crossl.commands.pretrain import pretrain_run
from crossl.commands.probe import probe_run
from crossl.config import load_config
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store
from crossl.errors import CrosslError
from crossl.evaluate.results import ResultBook
from crossl.run_folder import load_probe, load_run

MADE = ("results.jsonl", "figures.npz", "scores-*.npz")
SETTINGS = [*NARROW, "finetuning.steps=10", "evaluation.label_seeds=[0]"]


def make_run(work: Path) -> tuple[Path, Path]:
    """Make a store and a run with a probe."""
    from kills import ACC, ECG

    store, run = work / "store", work / "run"
    write_store((recording(n, 60.0) for n in range(8)), store, modalities=(ACC, ECG),
                classes=("rest", "run"), spec=WindowSpec(window_s=2.0, stride_s=1.0),
                about={"dataset": "noise", "reader": "none"})  # fmt: skip
    pretrain_run(store, load_config(overrides=SETTINGS), run)
    probe_run(run, store, label_fraction=0.5)
    return store, run


def made(run: Path) -> dict[str, str]:
    """Hash what an evaluation made; its summary tells the time and is left out."""
    return {path.name: digest(path) for name in MADE for path in sorted(run.glob(name))}


def check(run: Path) -> str:
    """Say what is wrong with a run whose evaluation was killed, or nothing."""
    try:
        load_run(run)
        load_probe(run)
        for path in run.glob("scores-*.npz"):
            ResultBook.load(path)
        for name in ("results.jsonl", "summary.json"):
            text = (run / name).read_text() if (run / name).is_file() else ""
            for part in text.splitlines() if name.endswith("l") else [text] * bool(text):
                json.loads(part)
    except (CrosslError, ValueError) as error:
        return str(error)
    return ""


def kill_once(words: list[str], moment: float) -> bool:
    """Start, and kill after a time; tell whether it had not ended by itself."""
    process = start(words)
    try:
        process.communicate(timeout=moment)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def kill_often(before: Path, store: Path, run: Path, kills: int) -> list[str]:
    """Kill an evaluation at random moments of its usual span; return what was wrong."""
    moments, faults = random.Random(0), []  # noqa: S311 - moments, no secrets
    told = {"kills": 0, "kills after a file was made": 0, "ends": 0}
    words = ["evaluate", str(run), "--store", str(store)]
    shutil.copytree(before, run)
    span = finish(words)
    wanted, names = made(run), {path.name for path in run.iterdir()}
    while told["kills"] < kills:
        if made(run) == wanted:
            shutil.rmtree(run)
            shutil.copytree(before, run)
        if kill_once(words, moments.uniform(0.3 * span, 1.05 * span)):
            told["kills"] += 1
            told["kills after a file was made"] += bool(made(run))
        else:
            told["ends"] += 1
            faults += [] if made(run) == wanted else ["other bytes"]
        faults += [fault] if (fault := check(run)) else []
    finish(words)
    faults += [] if made(run) == wanted else ["other bytes"]
    faults += [f"{path.name} is left over" for path in run.iterdir() if path.name not in names]
    print(f"evaluate, {span:.1f} s: {told}, {len(faults)} faults", *faults, sep="\n")
    return faults


def main() -> None:
    """Kill, look, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store, before = make_run(Path(scratch))
        sys.exit(bool(kill_often(before, store, Path(scratch) / "cut", asked.kills)))


if __name__ == "__main__":
    main()
