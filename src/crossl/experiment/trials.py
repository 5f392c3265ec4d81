"""What tuning trials chose, in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from crossl.experiment.fold import FoldTask


def trial_sentences(tasks: Sequence[FoldTask]) -> Iterator[str]:
    """Say of each contender with trials how often validation subjects chose which settings.

    Args:
        tasks: folds that were run, all with the same contenders.
    """
    for name, block in tasks[0].config.contenders.items():
        found = [_read(task, name) for task in tasks]
        chosen = Counter(_in_words(one["settings"]) for one in found if one is not None)
        if chosen:
            times = "; ".join(f"{words} ({count} of {chosen.total()} times)"
                              for words, count in chosen.most_common())  # fmt: skip
            yield (
                f"{name} was tried with {len(block.trials) + 1} settings. Under the label budget "
                f"validation, validation subjects of each fold chose: {times}."
            )


def _read(task: FoldTask, name: str) -> dict[str, Any] | None:
    path = task.home(name) / "trials.json"
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _in_words(change: Mapping[str, Any]) -> str:
    if not change:
        return "the settings as given"
    return ", ".join(f"{key} = {json.dumps(value)}" for key, value in change.items())
