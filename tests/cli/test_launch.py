"""`crossl pretrain --devices 2`: the same run, however often and however hard it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CROSSL = (sys.executable, "-m", "crossl.cli.main")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
            "--standalone", "-m", "crossl.cli.main")  # fmt: skip
SHORT = ("--set", "schedule.batch_size=5", "--set", "schedule.steps=36",
         "--set", "schedule.checkpoint_s=0", "--set", "schedule.average_decay=0.9")  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FILES = ("weights.safetensors", "config.yaml", "metrics.jsonl")


def start(*words: object, under: Sequence[str] = CROSSL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*under, *(str(word) for word in words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT,
    )  # fmt: skip


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=200)
    # on a slow machine progress is written every few seconds
    told = [line for line in err.splitlines(keepends=True) if not line.startswith("pretrain: ")]
    return process.returncode, out, "".join(told)


def until_a_step_is_kept(process: subprocess.Popen[str], run: Path) -> None:
    """Wait for a checkpoint that was not there before."""
    last, patience = run / "checkpoints" / "last.ckpt", time.monotonic() + 200
    before = last.stat().st_mtime_ns if last.is_file() else None
    while not last.is_file() or last.stat().st_mtime_ns == before:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.002)


@pytest.mark.slow
def test_two_processes_stopped_and_killed_go_on_to_the_same_bytes(
    stores: Callable[..., Path], tmp_path: Path, settings: Sequence[str]
) -> None:
    asked = ("pretrain", stores("lacking", lacking="ecg"), *settings, *SHORT)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    code, told, complaint = finish(start(*asked, "--out", whole, "--devices", 2))
    assert (code, complaint) == (0, "")
    assert told.count("pretrained; next: crossl probe") == 1

    process = start(*asked, "--out", cut, "--devices", 2)
    until_a_step_is_kept(process, cut)
    process.send_signal(signal.SIGTERM)
    kept = f"work so far is kept in {cut}, give the same command again"
    assert finish(process) == (143, "", f"crossl: stopped; {kept}\n")
    assert not (cut / "model.json").exists()
    # killed by force, the launcher takes its processes with it
    process = start(*asked, "--out", cut, "--devices", 2)
    until_a_step_is_kept(process, cut)
    process.kill()
    process.communicate()
    # under torchrun no --devices is needed
    assert finish(start(*asked, "--out", cut, under=TORCHRUN))[0] == 0
    for name in FILES:
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_others_with_one_sentence(
    stores: Callable[..., Path], tmp_path: Path, settings: Sequence[str]
) -> None:
    asked = ("pretrain", stores(), *settings, *SHORT, "--set", "schedule.steps=4000")
    process = start(*asked, "--out", tmp_path / "run", "--devices", 2)
    until_a_step_is_kept(process, tmp_path / "run")
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True, check=True
    )
    os.kill(max(int(pid) for pid in listed.stdout.split()), signal.SIGKILL)
    code, _, told = finish(process)
    assert code == 137
    sentences = told.splitlines()
    assert sentences[-1] == (
        "crossl: process 1 of the training was ended by signal 9; nothing is half-written, give "
        "the same command again"
    )
    assert "lost another of the 2" in sentences[0]
    assert len(sentences) == 2


def test_what_the_first_process_refuses_ends_all_and_is_said_once(
    stores: Callable[..., Path], run: Path, settings: Sequence[str]
) -> None:
    code, told, complaint = finish(
        start("pretrain", stores(), "--out", run, *settings, *SHORT, "--devices", 2)
    )
    assert (code, told) == (2, "")
    assert "holds another experiment" in complaint
    assert complaint.count("\n") == 1


@pytest.mark.parametrize(
    ("environment", "options", "sentence"),
    [
        ({}, ("--devices", "2", "--nodes", "2"), "MASTER_ADDR, MASTER_PORT, NODE_RANK is not set"),
        ({"RANK": "0", "WORLD_SIZE": "3"}, ("--devices", "2"), "3 processes were started; leave"),
        ({"RANK": "0", "WORLD_SIZE": "64"}, (), "60 training windows; at least 64 are"),
    ],
    ids=["nodes", "devices", "batch"],
)
def test_processes_that_do_not_fit_together_are_refused(
    environment: dict[str, str], options: tuple[str, ...], sentence: str, tmp_path: Path,
    stores: Callable[..., Path], settings: Sequence[str], crossl: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = crossl("pretrain", stores(), "--out", tmp_path / "run", *settings, *options)
    assert done.code == 2
    assert sentence in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_killed_run_is_never_corrupt_and_ends_in_the_same_bytes(
    stores: Callable[..., Path], tmp_path: Path, settings: Sequence[str]
) -> None:
    asked = ("pretrain", stores(), *settings, *SHORT)
    reference = start(*asked, "--out", tmp_path / "whole")
    rng = np.random.default_rng(0)
    for _ in range(3):
        process = start(*asked, "--out", tmp_path / "cut")
        until_a_step_is_kept(process, tmp_path / "cut")
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert not (tmp_path / "cut" / "model.json").exists()
    assert finish(start(*asked, "--out", tmp_path / "cut"))[0] == 0
    assert finish(reference)[0] == 0
    for name in FILES:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
