"""A class for each window of a sequence, read from the window and its neighbours: sleep stages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from crossl.data.targets import Target
from crossl.registry import register
from crossl.tasks.classes import Classes
from crossl.tasks.task import TaskConfig


class SequenceConfig(TaskConfig):
    """A class for each window, read from the embeddings of the window and its neighbours.

    Attributes:
        context: how many windows on each side are read; strides of the store, so that a window
            behind a gap is none.
        past_only: read earlier windows only, as a live stream must.
    """

    kind: Literal["sequence"] = "sequence"
    context: int = Field(2, ge=0, le=50)
    past_only: bool = False

    def build(self, target: Target) -> SequenceOfClasses:
        """Make the task."""
        last = 0 if self.past_only else self.context
        return SequenceOfClasses(self, target, tuple(range(-self.context, last + 1)))


@dataclass(frozen=True)
class SequenceOfClasses(Classes):
    """One of several classes, from a linear map of several windows side by side.

    A neighbour that is not there counts as the average window. A network that is trained on the
    labels reads the window alone.
    """


register("task", SequenceConfig)
