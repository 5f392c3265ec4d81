"""A contender with trials: the settings that validation subjects like best, found in each fold.

Under the budget `strict`, which uses no label of theirs, its settings are as they are given.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from crossl.config import tried
from crossl.config.schema import ContenderConfig
from crossl.contenders.contender import Contender, Context, Outcome
from crossl.errors import ConfigError
from crossl.evaluate.budgets import VALIDATION
from crossl.files import write_whole


def contender_of(name: str, block: ContenderConfig) -> Contender:
    """Make the contender of a block of a run file, with its trials if it has some."""
    found: Contender = Tuned(name, block) if block.trials else block.build(name)
    return found


@dataclass(frozen=True)
class Tuned:
    """Tries several settings of a contender in a fold, and keeps what the best one says.

    Each has a folder of its own: after an interruption, networks that were finished are found
    there again. `trials.json` beside them tells which was chosen, and the score of each.

    Attributes:
        name: as progress shows it.
        block: settings, with their trials.
    """

    name: str
    block: ContenderConfig

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the settings as given say under `strict`, and the best ones under the other.

        Raises:
            ConfigError: the contender does not tell how validation subjects score it.
        """
        chooses = VALIDATION in context.budgets
        every = tried(self.name, self.block, context.config, where=f"contenders.{self.name}")
        scores: list[float] = []
        best: list[Outcome] = []
        for number, one in enumerate(every if chooses else every[:1]):
            found: list[Outcome] = []
            for outcome in self._of_trial(context, one, number):
                if outcome.budget == VALIDATION:
                    # what was fitted would be kept in memory until the last trial
                    found.append(replace(outcome, fitted=(outcome.validation_score,)))
                elif number == 0:
                    yield outcome
            if not found:  # the strict budget alone, or another pretraining seed has all draws
                break
            scores.append(self._score(found, context.config.evaluation.main_fraction))
            if number == int(np.argmax(context.task.gain(np.array(scores)))):
                best = found
        if scores:
            self._tell(context, scores)
        yield from best

    def _of_trial(self, context: Context, block: ContenderConfig, number: int) -> Iterator[Outcome]:
        """Yield what one of the settings says, from a folder of its own."""
        place = f"trial-{number}"
        own = context.of_contender(
            folder=context.folder / place, unfinished=context.unfinished / place,
            budgets=context.budgets if number == 0 else (VALIDATION,), damage=block.damage,
            tell=_telling(context, number),
        )  # fmt: skip
        yield from block.build(self.name).outcomes(own)

    def _score(self, outcomes: Sequence[Outcome], fraction: float) -> float:
        """Average over label draws of the main share, or over all where it has none of that."""
        main = [one.validation_score for one in outcomes if one.draw[0] == fraction]
        score = float(np.mean(main or [one.validation_score for one in outcomes]))
        if not np.isfinite(score):
            raise ConfigError(
                f"contenders.{self.name}: has trials, but its kind tells no score on validation "
                "subjects to choose by (Outcome.validation_score); leave trials out"
            )
        return score

    def _tell(self, context: Context, scores: Sequence[float]) -> None:
        """Write down what was chosen."""
        best = int(np.argmax(context.task.gain(np.array(scores))))
        context.folder.mkdir(parents=True, exist_ok=True)
        told = {"chosen": best, "settings": self.block.trials[best - 1] if best else {},
                "validation_scores": scores}  # fmt: skip
        write_whole(context.folder / "trials.json", f"{json.dumps(told)}\n".encode())


def _telling(context: Context, number: int) -> Any:
    """Say of which of the settings progress is."""
    return lambda what, *of: context.tell(f"{what} (settings {number + 1})", *of)
