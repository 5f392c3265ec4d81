"""What a contender says of its own network, laid over the settings of the experiment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_serializer, model_validator

from crossl.config import RunConfig, lay_over, recipe
from crossl.config.build import RECIPES, check_parts, check_schedule
from crossl.config.encoders import check_encoders
from crossl.config.schema import ContenderConfig, Encoders
from crossl.methods import MethodConfig
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.encoders import EncoderConfig
from crossl.nn.features import FeaturesConfig
from crossl.registry import AGGREGATORS, ENCODERS, METHODS
from crossl.settings import OneOf
from crossl.train.schedule import Schedule

BLOCKS = ("method", "encoder", "aggregator", "schedule")
"""What a recipe decides."""

GIVEN = (*BLOCKS, "features")
"""What may differ from the run file."""

Heads = tuple[Literal["aggregator", "encoders"], ...]


class NetworkConfig(ContenderConfig):
    """A network of a contender's own; what is not given is as in the run file.

    Attributes:
        encoder: of each modality; none is shared or frozen then.
        encoders: of single modalities, in place of the run file's; the others have `encoder`.
        aggregator: of the model.
        features: untrained, beside the embedding; `off` for none where the run file has some.
    """

    came_later: ClassVar[tuple[str, ...]] = ("encoders", "features")

    encoder: Annotated[EncoderConfig, OneOf(ENCODERS, "strided")] | None = None
    encoders: Encoders | None = None
    aggregator: Annotated[AggregatorConfig, OneOf(AGGREGATORS, "predictive")] | None = None
    features: FeaturesConfig | Literal["off"] | None = None

    @field_serializer("encoders")
    def _dim_if_given(self, encoders: Encoders | None) -> dict[str, Any] | None:
        """Leave out the width of an encoder that shall have the others'."""
        if encoders is None:
            return None
        left_out = {name: {"dim"} - one.model_fields_set for name, one in encoders.items()}
        return {name: one.model_dump(exclude=left_out[name]) for name, one in encoders.items()}

    def within(self, config: RunConfig) -> RunConfig:
        """Return the settings of an experiment with those that are given here in their place."""
        given: dict[str, Any] = self._blocks()
        if "encoder" in given or self.encoders is not None:
            dim = given.get("encoder", config.encoder).dim
            given |= {"encoders": _as_wide(self.encoders or {}, dim), "shared_encoders": (),
                      "frozen_encoders": (), "own_encoders": ()}  # fmt: skip
        return config.model_copy(update={**given, "contenders": {}})

    def check(self, config: RunConfig, *, where: str) -> None:
        """Refuse encoders that contradict each other."""
        check_encoders(self.within(config), where=where)

    def _blocks(self) -> dict[str, Any]:
        """Return the blocks of a run file that are given here."""
        asked = {name: getattr(self, name, None) for name in GIVEN}
        given = {name: block for name, block in asked.items() if block is not None}
        return given | {"features": None} if self.features == "off" else given


def _as_wide(encoders: Encoders, dim: int) -> Encoders:
    """Give encoders that name no width the others'."""
    return {
        name: one if "dim" in one.model_fields_set else one.model_copy(update={"dim": dim})
        for name, one in encoders.items()
    }


class PretrainingConfig(NetworkConfig):
    """A network of a contender's own, and how it is pretrained.

    Attributes:
        recipe: whose method, encoder, aggregator and schedule hold where they are not given; None
            for those of the run file.
        method: what pretraining minimises.
        schedule: how long and how fast.
        seed: of weights, masks and batches; of several pretrainings, the first.
    """

    came_later: ClassVar[tuple[str, ...]] = ("encoders", "features", "recipe", "seed")

    recipe: Literal["crossl", "paper"] | None = None
    method: Annotated[MethodConfig, OneOf(METHODS, "crossl")] | None = None
    schedule: Schedule | None = None
    seed: int | None = Field(None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _over_recipe(cls, values: Any) -> Any:
        """Complete a block that is given in part from the recipe, as run files do."""
        if not isinstance(values, Mapping) or values.get("recipe") not in RECIPES:
            return values
        base = recipe(values["recipe"]).model_dump(mode="json")
        given = {name: values[name] for name in BLOCKS if isinstance(values.get(name), Mapping)}
        return {**values, **lay_over({name: base[name] for name in given}, given)}

    def within(self, config: RunConfig) -> RunConfig:
        """Return the settings of an experiment with those that are given here in their place."""
        merged = super().within(config)
        return merged if self.seed is None else merged.model_copy(update={"seed": self.seed})

    def check(self, config: RunConfig, *, where: str) -> None:
        """Refuse parts that do not fit together."""
        merged = self.within(config)
        check_parts(merged, where=where)
        check_schedule(merged, where=where)

    def _blocks(self) -> dict[str, Any]:
        given = super()._blocks()
        if self.recipe is None:
            return given
        start = recipe(self.recipe)
        return {"recipe": self.recipe, **{name: getattr(start, name) for name in GIVEN}, **given}
