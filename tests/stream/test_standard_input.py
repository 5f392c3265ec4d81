"""Standard input: whatever program writes lines of text."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from threading import Thread
from time import sleep

import numpy as np
import pytest

from crossl.errors import DataError
from crossl.stream.source import Chunk
from crossl.stream.standard_input import standard_input

from .conftest import SENSORS


def read_all(read) -> list[object]:
    async def work() -> list[object]:
        return [item async for item in standard_input(SENSORS, read=read)]

    return asyncio.run(work())


def test_lines_are_yielded_as_they_are_written_into_a_pipe():
    reading, writing = os.pipe()

    def write() -> None:
        for piece in (b"time,e", b"cg\n0,1\n0.03125,2\n1", b",3\n2,4"):
            os.write(writing, piece)
            sleep(0.05)
        os.close(writing)

    Thread(target=write).start()
    chunks = [x for x in read_all(lambda: os.read(reading, 100)) if isinstance(x, Chunk)]
    os.close(reading)
    assert [np.atleast_1d(x.times).tolist() for x in chunks] == [[0, 0.03125], [1], [2]]


def test_what_cannot_be_read_is_told():
    def broken() -> bytes:
        raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output error"):
        read_all(broken)
    pieces = iter([b"time,ecg\n", b"1,x\n", b""])
    with pytest.raises(DataError, match="standard input: line 2: 'ecg' is 'x'"):
        read_all(lambda: next(pieces))


def test_a_program_that_is_faster_waits():
    count = 0

    def endless() -> bytes:
        nonlocal count
        count += 1
        return b"time,ecg\n" if count == 1 else b"%d,1\n" % count

    async def some() -> list[float]:
        times = []
        source = standard_input(SENSORS, read=endless)
        async for item in source:
            if isinstance(item, Chunk):
                times.append(float(item.times[0]))
            if len(times) == 20:
                await asyncio.sleep(0.1)  # who reads is busy
                assert count < 60
                break
        await source.aclose()
        return times

    assert all(b - a == 1 for a, b in pairwise(asyncio.run(some())))
