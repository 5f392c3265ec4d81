"""Which label draws a repeat of a fold computes, where pretraining seeds share them out.

Seeds may be added and taken away later, so what was kept may be of more draws, or of others.
"""

from __future__ import annotations

from pathlib import Path

from crossl.config import RunConfig
from crossl.evaluate.results import ResultBook


def shared_seeds(config: RunConfig, repeat: int) -> tuple[int, ...]:
    """Return the seeds of the label draws that one of the pretraining seeds has to itself."""
    e = config.evaluation
    return tuple(e.label_seeds[repeat :: e.pretraining_seeds])


def holds_share(path: Path, config: RunConfig, name: str, repeat: int) -> bool:
    """Tell whether kept scores have every label draw of a repeat's share.

    Args:
        path: of the scores.
        config: of the experiment.
        name: of the contender.
        repeat: which of the pretraining seeds.
    """
    e, added = config.evaluation, config.contenders.get(name)
    asked = e.finetuned_fractions if added is None else getattr(added, "fractions", None)
    fractions = [f for f in e.label_fractions if asked is None or f in asked]
    wanted = {
        (fraction, seed)
        for fraction in fractions
        for seed in shared_seeds(config, repeat)
        if fraction < 1 or seed == e.label_seeds[0]  # all labels are drawn once
    }
    kept = {(entry.key.label_fraction, entry.seed) for entry in ResultBook.load(path).entries}
    return wanted <= kept
