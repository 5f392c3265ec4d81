"""Worker processes end with the command that started them, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from crossl.workers import worker_processes

PROGRAM = """
import os, sys, time
from crossl.workers import worker_processes

def main():
    with worker_processes(2) as pool:
        print(*{pool.submit(os.getpid).result() for _ in range(20)}, flush=True)
        pool.submit(time.sleep, 60)
        time.sleep(60)

if __name__ == "__main__":
    main()
"""


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_an_error_ends_the_workers_at_once() -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="stop"), worker_processes(2) as pool:  # noqa: PT012
        pids = {pool.submit(os.getpid).result() for _ in range(20)}
        pool.submit(time.sleep, 60)
        raise ValueError("stop")
    assert time.monotonic() - began < 50
    assert not [pid for pid in pids if is_alive(pid)]


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_a_killed_command_leaves_no_worker_behind(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pids = [int(word) for word in process.stdout.readline().split()]
        assert pids
        process.send_signal(signal.SIGKILL)
    patience = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids):
        assert time.monotonic() < patience
        time.sleep(0.02)
