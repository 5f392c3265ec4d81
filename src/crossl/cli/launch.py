"""`crossl pretrain --devices N`: processes of one machine, started and ended together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import FrameType

import typer

from crossl.errors import ConfigError
from crossl.workers import follow

LAUNCHER = "CROSSL_LAUNCHER"
"""Environment variable that tells a process who started it, by number."""

FIRST_GRACE_S, GRACE_S = 2.0, 10.0
"""How long others may go on when the first process, or another, has failed: none trains without
the rest, but who lost another may have something to say."""


class Ended(SystemExit):
    """The processes ended; they have told the user why."""


def must_launch(devices: int, nodes: int) -> bool:
    """Tell whether this process is to start others, rather than be one of several."""
    by_slurm = int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ
    return devices * nodes > 1 and "RANK" not in os.environ and not by_slurm


def told_by_environment(devices: int, nodes: int) -> tuple[int, int]:
    """Return processes on this machine, and machines, as torchrun or the launcher says.

    Raises:
        ConfigError: the command says something else.
    """
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return devices, nodes
    world = int(os.environ["WORLD_SIZE"])
    here = int(os.environ.get("LOCAL_WORLD_SIZE", world))
    if devices * nodes not in (1, world):
        raise ConfigError(
            f"--devices {devices} --nodes {nodes}: {world} processes were started; leave both out "
            "under torchrun"
        )
    return here, world // here


def follow_launcher() -> None:
    """End with the process that started this one: nobody else would end it."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is None:
        return
    follow(int(launcher))


def launch(devices: int, nodes: int) -> None:
    """Run this command in several processes, and end as they do.

    Raises:
        ConfigError: of several machines, this one was not told which it is.
        Ended: not all of them ended well.
    """
    children = [_start(rank, environment) for rank, environment in _environments(devices, nodes)]
    seen: dict[str, int] = {}
    readers = [
        threading.Thread(target=_pass_on, args=(rank, child, seen), daemon=True)
        for rank, child in enumerate(children)
    ]
    for reader in readers:
        reader.start()

    def forward(number: int, _: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    before = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        code = _wait(children)
    finally:
        for child in children:
            child.kill()
        for number, handler in before.items():
            signal.signal(number, handler)
    for reader in readers:
        reader.join(timeout=1)
    if code:
        raise Ended(code)


def _environments(devices: int, nodes: int) -> list[tuple[int, dict[str, str]]]:
    shared = dict(os.environ)
    if nodes > 1:
        lacking = [n for n in ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK") if n not in shared]
        if lacking:
            raise ConfigError(
                f"--nodes {nodes}: {', '.join(lacking)} is not set; every machine needs the "
                "address and a free port of the first, and its own number from 0"
            )
    else:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    threads = max(1, (os.cpu_count() or 1) // devices)
    shared.setdefault("OMP_NUM_THREADS", str(threads))
    node = shared["GROUP_RANK"] = shared["NODE_RANK"]
    shared |= {"WORLD_SIZE": str(devices * nodes), "LOCAL_WORLD_SIZE": str(devices),
               LAUNCHER: str(os.getpid())}  # fmt: skip
    ranks = [(rank, str(int(node) * devices + rank)) for rank in range(devices)]
    return [(n, {**shared, "RANK": rank, "LOCAL_RANK": str(n)}) for n, rank in ranks]


def _start(rank: int, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - this very command
        [sys.executable, "-m", "crossl.cli.start", *sys.argv[1:]],
        env=environment,
        stdout=None if rank == 0 else subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C comes to us, and from us once to each
    )


def _pass_on(rank: int, child: subprocess.Popen[str], seen: dict[str, int]) -> None:
    """Show what a process says, but not what another has said already."""
    for line in child.stderr or ():
        if seen.setdefault(line, rank) == rank:
            typer.echo(line, err=True, nl=False)


def _wait(children: Sequence[subprocess.Popen[str]]) -> int:
    """Wait for all; when one has failed the others get a little time. Return the exit code."""
    until = None
    failed: dict[int, int] = {}
    while True:
        codes = [child.poll() for child in children]
        failed |= {r: code for r, code in enumerate(codes) if code and r not in failed}
        if failed and until is None:
            until = time.monotonic() + (FIRST_GRACE_S if 0 in failed else GRACE_S)
        if None not in codes or (until is not None and time.monotonic() > until):
            break
        time.sleep(0.05)
    if not failed:
        return 0
    rank, code = next(iter(failed.items()))
    if code < 0:
        typer.echo(
            f"crossl: process {rank} of the training was ended by signal {-code}; nothing is "
            "half-written, give the same command again",
            err=True,
        )
        return 128 - code
    return code
