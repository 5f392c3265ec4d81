"""Run the folds of the benchmark side by side on one machine with many cores and a GPU.

Each fold of each data set is a `crossl benchmark` of its own, in a folder of its own; those that
are whole are moved into the experiment of their data set, where `study.py` (or the same command
later, anywhere) goes on: what stands is not computed again. Small networks do not fill a GPU, so
data sets of long windows use it (`--gpu`) and the others stay on the processors. Stopped at
`--minutes`, or killed, it resumes.

    python benchmarks/gpu_all.py --data sp_sw_har=DIR --data wesad3=DIR --work WORK --gpu wesad3
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml
from study import COMMAND, HERE, written


@dataclass(frozen=True)
class Job:
    """One fold of one data set of a study."""

    study: str
    name: str
    fold: int
    store: str
    config: Path
    gpu: bool

    def folder(self, work: Path) -> Path:
        """Name where it is computed."""
        return work / "side_by_side" / f"{self.name}-{self.fold}"

    def start(self, work: Path) -> subprocess.Popen[bytes]:
        """Start it as a process on one thread."""
        out = self.folder(work)
        out.parent.mkdir(parents=True, exist_ok=True)
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        if not self.gpu:
            env["CUDA_VISIBLE_DEVICES"] = ""
        asked = ("benchmark", self.store, "--out", str(out), "--config", str(self.config))
        with out.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [*COMMAND, *asked, "--fold-numbers", str(self.fold), "--workers", "1"],
                env=env, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def move(self, work: Path) -> None:
        """Move a whole fold into the experiment of its data set."""
        own, whole = self.folder(work), work / self.study / self.name
        whole.mkdir(parents=True, exist_ok=True)
        if not (whole / "experiment.json").exists():
            shutil.copy(own / "experiment.json", whole)
        for fold in own.glob(f"fold-{self.fold}*"):
            shutil.move(fold, whole / fold.name)
        shutil.rmtree(own)


def main() -> None:
    """Parse, start as many as fit, move what is whole, stop in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR")
    parser.add_argument("--work", type=Path, required=True, help="for stores and results")
    parser.add_argument("--folds", default="0,1,2,3,4")
    parser.add_argument("--gpu", action="append", default=[], metavar="NAME", help="uses the GPU")
    parser.add_argument("--at-once", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=float("inf"), help="then stop")
    parser.add_argument("--config", type=Path, default=HERE / "study.yaml")
    arguments = parser.parse_args()
    end = time.monotonic() + 60 * arguments.minutes
    waiting, running, failed = jobs(arguments), dict[Job, subprocess.Popen[bytes]](), 0
    while (waiting or running) and time.monotonic() < end:
        while waiting and len(running) < arguments.at_once:
            job = waiting.pop(0)
            running[job] = job.start(arguments.work)
        for job in [job for job, process in running.items() if process.poll() is not None]:
            code = running.pop(job).returncode
            print(f"{job.name}, fold {job.fold}: {'done' if code == 0 else f'failed ({code})'}")
            failed += code != 0
            if code == 0:
                job.move(arguments.work)
        time.sleep(1)
    for process in running.values():  # each keeps what it has, and is resumed next time
        process.terminate()
    for process in running.values():
        process.wait()
    print(f"{len(waiting) + len(running)} folds left, {failed} failed; their logs say why")
    sys.exit(bool(failed))


def jobs(arguments: argparse.Namespace) -> list[Job]:
    """List the folds that are not whole yet, the first fold of every data set first."""
    sets = dict(pair.split("=", 1) for pair in arguments.data)
    arguments.work.mkdir(parents=True, exist_ok=True)
    study = yaml.safe_load(written(arguments, sets).read_text())
    found, whole = [], arguments.work / arguments.config.stem
    for name, one in study["data"].items():
        config = arguments.work / f"{name}.yaml"
        settings = merged(study.get("settings", {}), one.get("settings", {}))
        config.write_text(yaml.safe_dump(settings, sort_keys=False))
        found += [Job(whole.name, name, int(fold), one["store"], config, name in arguments.gpu)
                  for fold in arguments.folds.split(",")
                  if not (whole / name / f"fold-{fold}").exists()]  # fmt: skip
    return sorted(found, key=lambda job: job.fold)


def merged(below: dict, above: dict) -> dict:  # type: ignore[type-arg]
    """Lay the settings of one data set over those of all."""
    both = {key: merged(below[key], above[key]) for key in below.keys() & above.keys()
            if isinstance(below[key], dict) and isinstance(above[key], dict)}  # fmt: skip
    return {**below, **above, **both}


if __name__ == "__main__":
    main()
