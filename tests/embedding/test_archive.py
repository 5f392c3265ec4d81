"""An archive written piece by piece."""

from __future__ import annotations

import io
import sys
from types import FrameType
from typing import Any

import numpy as np
import pytest

from crossl.embedding.archive import Streamed, write_npz

ARRAYS = [
    Streamed(name, np.dtype("<f4"), (4, 3), lambda: [np.zeros((2, 3), "<f4")] * 2) for name in "ab"
]


def ended_by(moment: int) -> tuple[str, int]:
    """Write, interrupted when Python comes to that line; return what was raised, and lines."""
    came = 0

    def trace(frame: FrameType, _event: str, _arg: Any) -> Any:
        nonlocal came
        if frame.f_code.co_name == "__del__":  # what is raised there is never seen
            return None
        came += 1
        if came == moment:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    before, raised = sys.gettrace(), "nothing"
    sys.settrace(trace)
    try:
        write_npz(io.BytesIO(), ARRAYS)
    except BaseException as error:  # noqa: BLE001 - which one is what is asked
        raised = type(error).__name__
    sys.settrace(before)
    return raised, came


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_stays_one_at_whatever_line_it_comes() -> None:
    """`zipfile` refuses to close an archive that an interruption left open in."""
    raised, lines = ended_by(0)
    assert (raised, lines > 100) == ("nothing", True)
    assert {ended_by(moment)[0] for moment in range(1, 100)} == {"KeyboardInterrupt"}
    ends = {ended_by(moment)[0] for moment in range(1, lines)}
    assert ends <= {"KeyboardInterrupt", "nothing"}  # nothing: in what is put away at the end
