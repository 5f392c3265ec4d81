"""Settings of one part of a run: declared once, beside what they build."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import core_schema

from crossl.registry import Registry


class Settings(BaseModel):
    """A block of a run file: unknown keys and numbers that are not finite are refused.

    What a registry holds has a `kind`, `Literal["name"] = "name"`, and a `build` that turns the
    settings into the object; see `crossl.registry`.

    Attributes:
        came_later: settings that a block did not always have. They are left out of what is written
            while they have their defaults, so that what was made before is known as it was.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    came_later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        fields = type(self).model_fields
        later = (name for block in type(self).__mro__ for name in vars(block).get("came_later", ()))
        for name in later:
            if getattr(self, name) == fields[name].get_default():
                written.pop(name, None)
        return written


class OneOf:
    """Marks a field that takes the settings of any part that a registry holds, by their `kind`.

    Args:
        registry: what may be chosen from.
        default: the kind that is meant where none is named.
    """

    def __init__(self, registry: Registry, default: str) -> None:
        self.registry, self.default = registry, default

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        """Choose among what is registered now; see `crossl.config` for what comes later."""
        choices: dict[Any, core_schema.CoreSchema] = {
            name: handler.generate_schema(part) for name, part in self.registry.items()
        }
        if not choices:  # nothing is registered yet
            return core_schema.is_instance_schema(Settings)
        return core_schema.tagged_union_schema(choices, discriminator=self._kind)

    def _kind(self, value: Any) -> Any:
        if isinstance(value, dict):
            return value.get("kind", self.default)
        return getattr(value, "kind", None)
