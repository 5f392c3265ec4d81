"""Whether parameters are still what they were when something was computed from them."""

from __future__ import annotations

from torch import nn


class Unchanged:
    """Remembers the parameters of a module; `holds` tells whether they are the same, unchanged.

    Args:
        module: whose parameters.
    """

    def __init__(self, module: nn.Module) -> None:
        self._seen = [
            # what is detached keeps the memory, so that no other parameter comes to lie there
            (owner._parameters, name, parameter, parameter._version, parameter.detach())
            for owner in module.modules()
            for name, parameter in owner._parameters.items()
            if parameter is not None
        ]

    def holds(self) -> bool:
        """Tell."""
        return all(
            now[name] is one and one._version == version and one.data_ptr() == kept.data_ptr()
            for now, name, one, version, kept in self._seen
        )
