"""Windows in memory, by modality: NaN for what was not recorded, in and out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.source import as_windows
from crossl.errors import DataError

Signals = Mapping[str, NDArray[np.floating[Any]] | None]


class Windows(Mapping[str, Any]):
    """Arrays by modality that scikit-learn can also cut by row, as cross-validation does.

    What was not recorded is NaN, or the whole modality is None. `Store.arrays` reads them.

    Args:
        signals: {modality: (n, time, channel) array, or None}.

    Raises:
        DataError: no dict of arrays, or they differ in the number of windows.

    Examples:
        >>> x = Windows({"acc": np.zeros((4, 50, 3)), "ecg": None})
        >>> x.shape, x[[0, 2]]["acc"].shape
        ((4,), (2, 50, 3))
    """

    def __init__(self, signals: Signals) -> None:
        check_named("windows", signals)
        self._signals = {
            k: None if v is None else as_windows(f"modality '{k}'", v) for k, v in signals.items()
        }
        flat = [k for k, v in self._signals.items() if v is not None and not v.ndim]
        if flat:
            raise DataError(f"modality '{flat[0]}': is a single number; an array is needed")
        lengths = {len(v) for v in self._signals.values() if v is not None}
        if len(lengths) != 1:
            raise DataError(f"windows: modalities have {sorted(lengths)} windows; one number only")
        self.shape = (lengths.pop(),)

    def __getitem__(self, key: Any) -> Any:
        """Return a modality by name, or a `Windows` of rows."""
        if isinstance(key, str):
            return self._signals[key]
        rows = key[0] if isinstance(key, tuple) else key
        return Windows({k: None if v is None else v[rows] for k, v in self._signals.items()})

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of modalities."""
        return iter(self._signals)

    def __len__(self) -> int:
        """Count the windows, as scikit-learn expects; `shape[0]` says the same."""
        return self.shape[0]


def check_named(where: str, given: Any) -> None:
    """Refuse what is no dict of arrays by name."""
    if not isinstance(given, Mapping):
        raise DataError(
            f"{where}: is no dict of arrays by modality, got {type(given).__name__}; needed is "
            "such as {'acc': array of (n, time, channel)}"
        )
    for name in given:
        if not isinstance(name, str):
            raise DataError(f"{where}: has the key {name!r:.40}; names of modalities are text")
