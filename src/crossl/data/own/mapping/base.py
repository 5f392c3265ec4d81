"""What all blocks of `recordings.yaml` have in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _plain_text(value: Any) -> Any:
    """Let YAML's numbers and words stand where text is meant: `channels: [1, 2]`, `unit: 1`."""
    if isinstance(value, bool):
        raise ValueError("YAML reads this word as true or false; put it into quotes")
    return str(value) if isinstance(value, (int, float)) else value


Text = Annotated[str, BeforeValidator(_plain_text)]


class Entry(BaseModel):
    """A block; unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)
