"""On Ray: the same bytes and scores as here, though workers and drivers are killed for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from crossl.commands.embed import embed_store

from .conftest import TINY, without_progress

pytest.importorskip("ray", reason='Ray is not installed: pip install "crossl[ray]"')

# Ray and its workers start in seconds on idle cores, in minutes on busy ones
pytestmark = pytest.mark.timeout(900)

Crossl = Callable[..., Any]
COMMAND = (sys.executable, "-m", "crossl.cli.main")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


class Command:
    """A command in a process of its own, and the processes that descend from it."""

    def __init__(self, *words: object) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *(str(word) for word in words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
        )  # fmt: skip
        self.seen: set[tuple[int, str]] = set()

    def workers(self, task: str) -> list[int]:
        """Find its workers that are at a task."""
        family, found = {self.process.pid}, []
        for pid, parent, began in sorted(processes()):
            if parent in family:
                family.add(pid)
                self.seen.add((pid, began))
                path = Path(f"/proc/{pid}/cmdline")
                if path.exists() and path.read_bytes().startswith(f"ray::{task}".encode()):
                    found.append(pid)
        return found

    def kill_worker(self, task: str, met: Callable[[], bool]) -> None:
        """Kill a worker at a task, as soon as something is met."""
        patience = time.monotonic() + 400
        while not (met() and (workers := self.workers(task))):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < patience
            time.sleep(0.005)
        os.kill(workers[0], signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing of it running."""
        self.process.kill()
        self.process.communicate()
        for pid, _, began in processes():
            if (pid, began) in self.seen:
                os.kill(pid, signal.SIGKILL)


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield number, parent and start of every process."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        yield int(path.parent.name), int(fields[1]), fields[19]


@pytest.fixture
def start() -> Iterator[Callable[..., Command]]:
    """Start commands, and end them with the test."""
    commands: list[Command] = []

    def run(*words: object) -> Command:
        commands.append(Command(*words))
        return commands[-1]

    yield run
    for command in commands:
        command.end()


def blocks(out: Path) -> list[Path]:
    return list(out.parent.glob(f".{out.name}.partial/*/*.f32"))


@pytest.mark.slow
def test_embedding_through_killed_workers_and_a_killed_driver_has_the_same_bytes(
    stores: Callable[..., Path], trained: Path, tmp_path: Path, start: Callable[..., Command]
) -> None:
    many = stores("many", subjects=24, stride_s=0.05, lacking="ecg")
    embed_store(trained, many, tmp_path / "here.npz")
    out = tmp_path / "there.npz"
    asked = ("embed", trained, "--store", many, "--out", out, "--address", "local", "--workers", 1)
    first = start(*asked)
    first.kill_worker("write_block", lambda: len(blocks(out)) >= 1)
    first.kill_worker("write_block", lambda: len(blocks(out)) >= 2)
    first.end()  # the driver, and all it started
    assert not out.exists()
    kept = {path: path.stat().st_mtime_ns for path in blocks(out)}
    assert len(kept) >= 2
    again = start(*asked)
    told = again.process.communicate(timeout=400)
    assert (again.process.returncode, without_progress(told[1])) == (0, "")
    assert out.read_bytes() == (tmp_path / "here.npz").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here.npz", "there.npz"]


@pytest.mark.slow
def test_a_sweep_on_ray_finds_what_it_finds_here_though_a_worker_is_killed(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, settings: Sequence[str],
    start: Callable[..., Command],
) -> None:  # fmt: skip
    store, here, there = stores("quiet", louder=1.05), tmp_path / "here", tmp_path / "there"
    asked = ("sweep", store, "--grid", "method.keep_rate=0.3,0.6", *settings,
             "--set", "schedule.steps=40", "--out")  # fmt: skip
    assert crossl(*asked, here).code == 0
    command = start(*asked, there, "--address", "local", "--workers", 2)

    def trained_a_little() -> bool:
        lines = [path.read_bytes().count(b"\n") for path in there.glob("*/metrics.jsonl")]
        return bool(lines) and max(lines) >= 2

    command.kill_worker("run_trial", trained_a_little)
    told = command.process.communicate(timeout=400)
    assert (command.process.returncode, without_progress(told[1])) == (0, "")
    found = [json.loads(line) for line in (there / "sweep.jsonl").read_text().splitlines()]
    assert found == [json.loads(line) for line in (here / "sweep.jsonl").read_text().splitlines()]
    assert len({record["weights_sha256"] for record in found}) == 2
    for record in found:
        for name in ("weights.safetensors", "metrics.jsonl"):
            folder = Path(record["trial"])
            assert (there / folder / name).read_bytes() == (here / folder / name).read_bytes()


@pytest.mark.slow
def test_a_benchmark_on_ray_scores_what_it_scores_here_though_a_worker_is_killed(
    stores: Callable[..., Path], tmp_path: Path, crossl: Crossl, start: Callable[..., Command]
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    more = ("evaluation.folds=3", "evaluation.methods=[crossl]", "schedule.steps=40",
            "contenders.logistic={kind: logistic}")  # fmt: skip
    settings = [part for one in (*TINY, *more) for part in ("--set", one)]
    asked = ("benchmark", stores("quiet", louder=1.05), *settings, "--folds", "0,1", "--out")
    assert crossl(*asked, here, "--workers", 1).code == 0
    command = start(*asked, there, "--address", "local", "--workers", 2)
    command.kill_worker("run_fold", lambda: any(
        path.read_bytes().count(b"\n") >= 2 for path in there.glob("*/metrics.jsonl")
    ))  # fmt: skip
    told = command.process.communicate(timeout=400)
    assert (command.process.returncode, without_progress(told[1])) == (0, "")
    assert (there / "results.jsonl").read_bytes() == (here / "results.jsonl").read_bytes()
    for fold in ("fold-0", "fold-1"):
        weights = [(out / fold / "weights.safetensors").read_bytes() for out in (here, there)]
        assert weights[0] == weights[1]


def test_a_cluster_that_is_not_there_is_told_of(
    stores: Callable[..., Path], trained: Path, tmp_path: Path, crossl: Crossl
) -> None:
    where = ("--out", tmp_path / "z.npz", "--address", "nowhere:x")
    done = crossl("embed", trained, "--store", stores(), *where)
    assert done.code == 2
    assert "--address nowhere:x: no cluster answers there (" in done.err
    assert not list(tmp_path.iterdir())
