"""Time how long commands take to begin: `python benchmarks/speed/imports.py`.

Each is a new process, in turns with `python -c pass`. Writes benchmarks/results/imports.json and
benchmarks/speed/imports.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS, PAGE = HERE.parent / "results" / "imports.json", HERE / "imports.md"
CLI = ["-m", "crossl.cli.main"]
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import crossl": ["-c", "import crossl"],
    "crossl --help": [*CLI, "--help"],
    "crossl --version": [*CLI, "--version"],
    "crossl prepare --help": [*CLI, "prepare", "--help"],
    "crossl data --help": [*CLI, "data", "--help"],
    "import numpy, for scale": ["-c", "import numpy"],
    "import torch, for scale": ["-c", "import torch"],
}


def start(arguments: list[str]) -> tuple[float, float]:
    """Run Python; seconds on the clock, and of the processor."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_page(found: dict[str, Any]) -> None:
    """Turn results into a table."""
    lines = ["# Beginnings", "", "Remade by `python benchmarks/speed/imports.py`: medians of "
             f"{found['rounds']} new processes each, in turns. {found['machine']}, shared with "
             "other work.", "", "| | ms | above `python -c pass` | ms of the processor |",
             "|---|---|---|---|"]  # fmt: skip
    base = found["wall_s"]["python -c pass"]
    for name, wall in found["wall_s"].items():
        used = found["processor_s"][name]
        lines.append(
            f"| `{name}` | {wall * 1e3:.0f} | {(wall - base) * 1e3:.0f} | {used * 1e3:.0f} |"
        )
    PAGE.write_text("\n".join([*lines, ""]), encoding="utf-8")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="a smoke test that writes nothing")
    asked = parser.parse_args()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for turn in range(2 if asked.quick else asked.rounds + 1):
        for name, arguments in COMMANDS.items():
            seconds = start(arguments)
            if turn:  # the first fills the caches of the disk
                taken[name].append(seconds)
    wall, used = (
        {name: statistics.median(pair[i] for pair in pairs) for name, pairs in taken.items()}
        for i in range(2)
    )
    print(json.dumps(wall, indent=1))
    if asked.quick:
        return
    found = {"machine": f"{os.cpu_count()} cores, {platform.machine()}, Python "
                        f"{platform.python_version()}",
             "rounds": asked.rounds, "wall_s": wall, "processor_s": used}  # fmt: skip
    RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(found)


if __name__ == "__main__":
    main()
