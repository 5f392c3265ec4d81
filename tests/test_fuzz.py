"""Some damaged files of every format, of the many that `benchmarks/fuzz.py` makes."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
MUTANTS = 15


def script(name: str) -> Any:
    """Import a script of the folder of benchmarks."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(BENCHMARKS))


fuzz = script("fuzz")


@pytest.mark.parametrize("name", sorted(fuzz.SEEDS))
def test_a_damaged_file_gives_values_or_one_sentence(tmp_path: Path, name: str) -> None:
    told: Counter[str] = Counter()
    for number in range(MUTANTS):
        file = fuzz.prepare(name, tmp_path, number, seed=7)
        how, said = fuzz.outcome(name, file)
        assert how in ("read", "refused"), f"{number}: {how}: {said}"
        told[how] += 1
    assert told["refused"]


def test_what_is_no_sentence_is_found(tmp_path: Path, monkeypatch: Any) -> None:
    from crossl.errors import DataError

    def fails(error: BaseException) -> Any:
        def read(_: Path) -> None:
            raise error

        return read

    for error, how in ((ValueError("x"), "ValueError"), (DataError("fine"), "refused"),
                       (DataError("a" * (fuzz.LONGEST + 1)), "not a sentence")):  # fmt: skip
        monkeypatch.setitem(fuzz.SEEDS, "broken", ("a", None, fails(error)))
        assert fuzz.outcome("broken", tmp_path / "a")[0] == how
