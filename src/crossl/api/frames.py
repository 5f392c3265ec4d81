"""Columns as a data frame of polars or pandas, whichever is installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.errors import ConfigError, DataError, PackageError, nearest

PACKAGES = ("polars", "pandas")


def as_frame(columns: Mapping[str, NDArray[Any]], *, package: str | None = None) -> Any:
    """Make a data frame of columns, such as `Run.table` or `evaluate_subsets` return.

    Args:
        columns: arrays of equal length; each column of a (n, D) array becomes one of the frame,
            `embedding_0`, `embedding_1`, ...
        package: `polars` or `pandas`; None for polars if it is installed, else pandas.

    Returns:
        A `polars.DataFrame` or a `pandas.DataFrame`.

    Raises:
        PackageError: neither is installed.
        ConfigError: another package is asked for.
        DataError: columns of different lengths.

    Examples:
        >>> import crossl
        >>> frame = crossl.as_frame({"subject": np.array(["a", "b"]), "embedding": np.eye(2)})
        >>> list(frame.columns)
        ['subject', 'embedding_0', 'embedding_1']
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise DataError(f"columns: have {sorted(lengths)} rows; one number only")
    if package is not None and package not in PACKAGES:
        raise ConfigError(f"package '{package}': unknown; {nearest(package, PACKAGES)}")
    found = [name for name in PACKAGES if package in (None, name) and find_spec(name) is not None]
    if not found:
        raise PackageError(
            f"data frames need {package or 'polars or pandas'}, which is not installed; "
            + (f"pip install {package}" if package == "pandas" else 'pip install "crossl[io]"')
        )
    return import_module(found[0]).DataFrame(_flat(columns))


def _flat(columns: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Spread arrays of several columns, each a contiguous array of its own."""
    out: dict[str, NDArray[Any]] = {}
    for name, column in columns.items():
        values = np.asarray(column)
        if values.ndim == 1:
            out[name] = values
        else:
            wide = np.ascontiguousarray(values.reshape(len(values), -1).T)
            out |= {f"{name}_{i}": one for i, one in enumerate(wide)}
    return out
