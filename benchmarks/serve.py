"""How many requests a second `crossl serve` answers, how late, and whether it lasts.

    python benchmarks/serve.py RUN               # 1, 8 and 64 clients, a few seconds each
    python benchmarks/serve.py RUN --soak 600    # and then 10 minutes of all at once

It starts the service itself, on a free port of this machine, and asks from this process: both
share the cores. Every answer is compared with the first one: nothing is lost or mixed up.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
from websockets.asyncio.client import connect

import crossl


class Client:
    """One connection that is kept, and asks the same again and again."""

    def __init__(self, address: str, body: bytes) -> None:
        self._host, self._port = address.split(":")
        head = (
            f"POST /predict HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body

    async def __aenter__(self) -> Client:
        self._in, self._out = await asyncio.open_connection(self._host, int(self._port))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._out.close()
        await self._out.wait_closed()

    async def ask(self) -> tuple[int, bytes]:
        """Ask once; return code and answer."""
        self._out.write(self._request)
        await self._out.drain()
        head = await self._in.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
        return int(head[9:12]), await self._in.readexactly(length)


class Service:
    """The service, in a process of its own."""

    def __init__(self, run: Path) -> None:
        command = [sys.executable, "-m", "crossl.cli.start", "serve", str(run), "--port", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        self.address = re.search(r"http://([\d.:]+)/", line)[1]  # type: ignore[index]

    def memory_mib(self) -> float:
        """Return what it holds."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024  # type: ignore[index]

    def cpu_s(self) -> float:
        """Return what it has computed."""
        parts = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> int:
        """End it; return its exit code."""
        self.process.terminate()
        return self.process.wait(30)


def body_of(run: crossl.Run, windows: int, seed: int = 0) -> bytes:
    """Make a recording of so many windows, all sensors there."""
    rng = np.random.default_rng(seed)
    spec = run.contract["window"]
    seconds = spec["window_s"] + (windows - 1) * spec["stride_s"]
    signals = {
        m.name: {
            "values": rng.normal(size=(round(seconds * m.rate_hz), len(m.channels)))
            .round(4).tolist(),
            "rate_hz": m.rate_hz,
        }
        for m in run.modalities
    }  # fmt: skip
    return json.dumps({"modalities": signals}).encode()


async def load(address: str, body: bytes, clients: int, seconds: float) -> dict[str, float]:
    """Let clients ask as fast as they are answered."""
    took: list[float] = []
    wrong = 0
    async with Client(address, body) as first:
        expected = (await first.ask())[1]
    until = time.perf_counter() + seconds

    async def one() -> None:
        nonlocal wrong
        async with Client(address, body) as client:
            while time.perf_counter() < until:
                begin = time.perf_counter()
                code, answer = await client.ask()
                took.append(time.perf_counter() - begin)
                wrong += code != 200 or answer != expected

    begin = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(clients)))
    wall = time.perf_counter() - begin
    p50, p99 = np.quantile(took, [0.5, 0.99]) * 1000
    return {"clients": clients, "a_second": len(took) / wall, "p50_ms": p50, "p99_ms": p99,
            "asked": len(took), "wrong": wrong}  # fmt: skip


@asynccontextmanager
async def page(address: str) -> AsyncIterator[list[int]]:
    """Watch as a page does; count the frames."""
    frames = [0]

    async def watch() -> None:
        while True:
            async with connect(f"ws://{address}/watch") as link:
                async for message in link:
                    frames[0] += "frame" in message[:12]

    task = asyncio.create_task(watch())
    try:
        yield frames
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def stream(address: str, run: crossl.Run, number: int, until: float) -> tuple[int, int]:
    """Send as a device would in real time; return rows that were said, and rows that were due."""
    rng, step_s = np.random.default_rng(number), 0.5
    rows, step, begin = 0, 0, time.perf_counter()
    async with connect(f"ws://{address}/ws?name=device{number}&in_order=true") as link:
        while time.perf_counter() < until:
            chunks = {}
            for m in run.modalities:
                first, last = (round((step + k) * step_s * m.rate_hz) for k in (0, 1))
                values = rng.normal(size=(last - first, len(m.channels))).round(4).tolist()
                chunks[m.name] = {"start_s": first / m.rate_hz, "values": values}
            await link.send(json.dumps({"chunks": chunks}))
            rows += len(json.loads(await link.recv())["rows"])
            step += 1
            await asyncio.sleep(max(0.0, begin + step * step_s - time.perf_counter()))
        await link.send('{"finish": true}')
        rows += len(json.loads(await link.recv())["rows"])
    spec = run.contract["window"]
    return rows, int((step * step_s - spec["window_s"]) / spec["stride_s"] + 1e-6) + 1


async def soak(service: Service, run: crossl.Run, body: bytes, seconds: float) -> None:
    """Ask, send and watch at once, and look at the memory."""
    until = time.perf_counter() + seconds
    memory: list[float] = []

    async def look() -> None:
        while time.perf_counter() < until:
            memory.append(service.memory_mib())
            await asyncio.sleep(seconds / 60)

    cpu_s = service.cpu_s()
    async with page(service.address) as frames, page(service.address):
        found = await asyncio.gather(
            load(service.address, body, 4, seconds), look(),
            *(stream(service.address, run, number, until) for number in range(4)),
        )  # fmt: skip
    said, due = np.sum(found[2:], axis=0)
    print(f"soak of {seconds:g} s, 4 clients, 4 streams in real time, 2 pages: {found[0]}")
    print(f"rows of streams: {said} said, {due} due; frames of a page: {frames[0]}")
    print(f"cores used by the service: {(service.cpu_s() - cpu_s) / seconds:.2f}")
    half = len(memory) // 2
    print(
        f"memory, MiB: {memory[0]:.0f} at the start, {np.mean(memory[5:half]):.1f} mean of the "
        f"first half, {np.mean(memory[half:]):.1f} of the second, {max(memory):.1f} at most"
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--windows", type=int, default=1, help="of a request")
    parser.add_argument("--soak", type=float, default=0.0, help="seconds")
    asked = parser.parse_args()
    run = crossl.load_run(asked.run)
    body = body_of(run, asked.windows)
    print(f"{len(body)} bytes a request, load average {os.getloadavg()[0]:.1f}")
    service = Service(asked.run)
    try:
        asyncio.run(load(service.address, body, 1, 1.0))
        for clients in (1, 8, 64):
            cpu_s = service.cpu_s()
            found = asyncio.run(load(service.address, body, clients, asked.seconds))
            found["cpu_ms_each"] = 1000 * (service.cpu_s() - cpu_s) / found["asked"]
            told = ", ".join(f"{k} {v:.1f}" if isinstance(v, float) else f"{k} {v}"
                             for k, v in found.items())  # fmt: skip
            print(f"{told}; memory {service.memory_mib():.0f} MiB", flush=True)
        if asked.soak:
            asyncio.run(soak(service, run, body, asked.soak))
    finally:
        print(f"exit code {service.stop()}")


if __name__ == "__main__":
    main()
