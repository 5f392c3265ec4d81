"""crossl: learn from unlabelled recordings of many sensors, and survive a dead one.

Importing it imports neither torch nor anything slow; names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossl.data.arrays import Windows
    from crossl.data.recording import LabelInterval, Modality, Recording, Signal
    from crossl.data.store import Store
    from crossl.data.windows import WindowSpec
    from crossl.errors import CrosslError
    from crossl.estimator import CroSSL
    from crossl.registry import register

__version__ = "0.1.0"

_HOME = {
    "CroSSL": "crossl.estimator",
    "CrosslError": "crossl.errors",
    "LabelInterval": "crossl.data.recording",
    "Modality": "crossl.data.recording",
    "Recording": "crossl.data.recording",
    "Signal": "crossl.data.recording",
    "Store": "crossl.data.store",
    "WindowSpec": "crossl.data.windows",
    "Windows": "crossl.data.arrays",
    "register": "crossl.registry",
}

__all__ = [
    "CroSSL",
    "CrosslError",
    "LabelInterval",
    "Modality",
    "Recording",
    "Signal",
    "Store",
    "WindowSpec",
    "Windows",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossl' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
