"""How often modalities are shown: one probability for all, or one for each, as run files say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from crossl.nn.modality_encoders import check_known

_RATE = TypeAdapter(Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)])


def _checked(value: Any) -> Any:
    """Refuse what is neither a rate nor rates by name, in the words for a single number."""
    for one in value.values() if isinstance(value, Mapping) else [value]:
        try:
            _RATE.validate_python(one)
        except ValidationError as error:
            first = error.errors()[0]
            raise PydanticCustomError(first["type"], first["msg"]) from None
    by_name = isinstance(value, Mapping)
    return {str(name): rate for name, rate in value.items()} if by_name else value


KeepRate = Annotated[float | dict[str, float], BeforeValidator(_checked)]
"""One probability for all modalities, or one for each that is named."""

LaterRate = Annotated[
    float | dict[str, float] | None, BeforeValidator(lambda x: x if x is None else _checked(x))
]
"""The same, or nothing."""


def rates_of(
    keep_rate: float | Mapping[str, float],
    names: Sequence[str],
    *,
    key: str,
    others: Sequence[float] | None = None,
) -> list[float]:
    """Return the probability of each modality to be shown.

    Args:
        keep_rate: one for all, or by name.
        names: of the modalities.
        key: of the setting, for messages.
        others: probabilities of those that are not named; 1 if None.

    Raises:
        ConfigError: no modality has a name that is given.

    Examples:
        >>> rates_of({"ecg": 0.5}, ["acc", "ecg"], key="method.keep_rate")
        [1.0, 0.5]
    """
    if not isinstance(keep_rate, Mapping):
        return [keep_rate] * len(names)
    check_known(key, keep_rate, names)
    others = others or [1.0] * len(names)
    return [keep_rate.get(name, other) for name, other in zip(names, others, strict=True)]
