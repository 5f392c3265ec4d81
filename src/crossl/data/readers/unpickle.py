"""An unpickler that knows numpy arrays and plain containers, and nothing else."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy._core import multiarray

from crossl.errors import DataError


def _latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding}")
    return text.encode("latin1")


class NumpyUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays and plain containers; any other name is refused."""

    ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {  # noqa: RUF012 - never changed
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("numpy.core.multiarray", "_reconstruct"): multiarray._reconstruct,  # type: ignore[attr-defined]
        # how Python 2 compatible pickles spell bytes
        ("_codecs", "encode"): _latin1,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Return an allowed object.

        Raises:
            DataError: the pickle names anything else.
        """
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise DataError(f"pickle: names {module}.{name}; only numpy arrays are read") from None
