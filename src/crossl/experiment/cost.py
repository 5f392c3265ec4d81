"""What an experiment costs: processor time by fold and contender, measured as it runs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from crossl.errors import CrosslError
from crossl.files import write_whole

Cost = dict[str, float]
"""`cpu_s`, seconds of processor time of all threads, and `wall_s`."""

FILE = "cost.json"
PRETRAINING = "pretraining"
"""Of the experiment's own method; other contenders' counts with the rest of what they do."""


@contextmanager
def measured(folder: Path, name: str) -> Iterator[None]:
    """Add the time that something takes to a fold's `cost.json`, also where it is interrupted.

    What is refused costs nothing and leaves nothing.

    Args:
        folder: of the fold.
        name: of what is done.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    refused = False
    try:
        yield
    except CrosslError:
        refused = True
        raise
    finally:
        if not refused:
            _add(folder, name, time.process_time() - cpu, time.perf_counter() - wall)


def _add(folder: Path, name: str, cpu_s: float, wall_s: float) -> None:
    costs = read_costs(folder)
    before = costs.get(name, {"cpu_s": 0.0, "wall_s": 0.0})
    costs[name] = {
        "cpu_s": round(before["cpu_s"] + cpu_s, 2),
        "wall_s": round(before["wall_s"] + wall_s, 2),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / FILE, (json.dumps(costs, indent=1) + "\n").encode())


def read_costs(folder: Path) -> dict[str, Cost]:
    """Read what a fold has cost so far, by what was done; nothing where it was not measured."""
    path = folder / FILE
    if not path.is_file():
        return {}
    return {str(name): dict(cost) for name, cost in json.loads(path.read_text("utf-8")).items()}


def mean_costs(
    folds: list[dict[str, Cost]], known_as: Mapping[str, str], *, main: str
) -> dict[str, float]:
    """Average the processor seconds of a fold over folds, by contender.

    That of the experiment's own method has its pretraining.

    Args:
        folds: what each fold has cost.
        known_as: for each contender, the name that its cost goes by.
        main: which of them is the experiment's own method.
    """
    found = {}
    for name, known in known_as.items():
        asked = (PRETRAINING, known) if name == main else (known,)
        own = [sum(fold[part]["cpu_s"] for part in asked) for fold in folds
               if all(part in fold for part in asked)]  # fmt: skip
        if own:
            found[name] = round(sum(own) / len(own), 1)
    return found
