"""crossl: learn from unlabelled recordings of many sensors, and survive a dead one.

Importing it imports neither torch nor anything slow; names load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crossl.api.frames import as_frame
    from crossl.api.run import Run, load_run
    from crossl.api.scores import evaluate_subsets
    from crossl.api.training import build_model, fit_probe, pretrain
    from crossl.data.arrays import Windows
    from crossl.data.recording import LabelInterval, Modality, Recording, Signal
    from crossl.data.store import Store
    from crossl.data.windower import Windower
    from crossl.data.windows import WindowSpec
    from crossl.data.write import write_store
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
    "Run": "crossl.api.run",
    "Signal": "crossl.data.recording",
    "Store": "crossl.data.store",
    "WindowSpec": "crossl.data.windows",
    "Windower": "crossl.data.windower",
    "Windows": "crossl.data.arrays",
    "as_frame": "crossl.api.frames",
    "build_model": "crossl.api.training",
    "evaluate_subsets": "crossl.api.scores",
    "fit_probe": "crossl.api.training",
    "load_run": "crossl.api.run",
    "pretrain": "crossl.api.training",
    "register": "crossl.registry",
    "write_store": "crossl.data.write",
}

__all__ = [
    "CroSSL",
    "CrosslError",
    "LabelInterval",
    "Modality",
    "Recording",
    "Run",
    "Signal",
    "Store",
    "WindowSpec",
    "Windower",
    "Windows",
    "as_frame",
    "build_model",
    "evaluate_subsets",
    "fit_probe",
    "load_run",
    "pretrain",
    "register",
    "write_store",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'crossl' has no attribute '{name}'")
    return getattr(import_module(_HOME[name]), name)
