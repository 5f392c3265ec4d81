"""A page for each public name, from its docstring."""

from __future__ import annotations

import inspect
from typing import Any

import crossl


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    found = {f"{name}.rst": _page(name) for name in crossl.__all__ if name != "CrosslError"}
    return {**found, "errors.rst": ERRORS, "runtime.rst": RUNTIME}


def _page(name: str) -> str:
    is_class = inspect.isclass(getattr(crossl, name))
    directive = f"autoclass:: {name}\n   :members:" if is_class else f"autofunction:: {name}"
    return f"{name}\n{'=' * len(name)}\n\n.. currentmodule:: crossl\n\n.. {directive}\n"


def skip(*asked: Any) -> bool | None:
    """Leave out what scikit-learn adds to every estimator."""
    name = str(asked[2])
    return True if name.startswith("set_") and name.endswith("_request") else None


def leave_return_types(_: object, domain: str, __: str, content: Any) -> None:
    """Take away types of results: what is returned is said in words, with its shape."""
    for fields in (
        content.findall(lambda node: node.tagname == "field_list") if domain == "py" else ()
    ):
        for field in [f for f in fields if f[0].astext() == "rtype"]:
            fields.remove(field)


ERRORS = """Errors
======

.. automodule:: crossl.errors
   :members:
   :show-inheritance:
"""

RUNTIME = """Without PyTorch
===============

.. automodule:: crossl.runtime

.. currentmodule:: crossl.runtime

.. autoclass:: Runtime
   :members:
   :special-members: __call__

.. autoclass:: Answer
"""
