"""WindowSource: what training and embedding read windows from, be it a store or arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality
from crossl.data.targets import Target, check_values, find_target
from crossl.errors import DataError, nearest


class WindowSource(Protocol):
    """Windows by row number; a store on disk and arrays in memory look the same."""

    @property
    def modalities(self) -> Sequence[Modality]:
        """The M streams, in the order of `present`'s columns."""

    @property
    def window_s(self) -> float:
        """Length of every window, seconds."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """(W, M): this modality was recorded in this window."""

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not present."""

    def __len__(self) -> int:
        """Count the windows."""


class ArraySource:
    """Windows held in memory.

    Args:
        signals: {modality: (n, time, channel) array, or None where it was not recorded}. A
            window with a NaN in a modality lacks that modality.
        modalities: what the arrays are, in the order of the model.
        window_s: length of a window, seconds.
        targets: values of each target; see `Target`.

    Raises:
        DataError: an array has no modality, is not (n, time, channel) or is infinite, counts
            disagree, or values do not fit their target.
    """

    def __init__(
        self,
        signals: Mapping[str, NDArray[np.floating[Any]] | None],
        *,
        modalities: Sequence[Modality],
        window_s: float,
        targets: Mapping[Target, Any] | None = None,
    ) -> None:
        self.modalities = tuple(modalities)
        self.window_s = window_s
        unknown = sorted(set(signals) - {m.name for m in self.modalities})
        if unknown:
            known = [m.name for m in self.modalities]
            raise DataError(
                f"arrays: modality '{unknown[0]}' is unknown; {nearest(unknown[0], known)}"
            )
        arrays = {m.name: _check_array(m, signals.get(m.name), window_s) for m in self.modalities}
        self._length = _common_length(arrays)
        self._signals = {}
        self.present = np.zeros((self._length, len(self.modalities)), dtype=np.bool_)
        for column, (name, array) in enumerate(arrays.items()):
            if array is None:
                continue
            self.present[:, column] = ~np.isnan(array).any(axis=(1, 2))
            zeroed = np.where(self.present[:, column, None, None], array, 0)
            self._signals[name] = np.ascontiguousarray(zeroed, dtype=np.float32)
        self.targets = tuple(targets or ())
        self._target_values = {
            target.name: check_values(target, values, self._length)
            for target, values in (targets or {}).items()
        }
        if len(self._target_values) < len(self.targets):
            names = ", ".join(target.name for target in self.targets)
            raise DataError(f"targets: names must be unique, got {names}")

    def target_values(self, name: str) -> NDArray[Any]:
        """Return the values of one target; see `Store.target_values`."""
        return self._target_values[find_target(self.targets, name, where="arrays").name]

    def __len__(self) -> int:
        """Count the windows."""
        return self._length

    def gather_zeroed(self, rows: NDArray[np.int64]) -> dict[str, Float32]:
        """Read windows: {modality: (B, T, C)} float32, zeros where not present."""
        out = {}
        for modality in self.modalities:
            if modality.name in self._signals:
                out[modality.name] = self._signals[modality.name][rows]
            else:
                samples = round(self.window_s * modality.rate_hz)
                shape = (len(rows), samples, len(modality.channels))
                out[modality.name] = np.zeros(shape, dtype=np.float32)
        return out


def as_windows(where: str, given: Any) -> NDArray[np.floating[Any]]:
    """Take an array of real numbers as it is; refuse what numpy would make another of.

    Args:
        where: names the array in messages.
        given: an array, or lists that are one; what a masked array masks is missing, NaN.

    Returns:
        The array, of any shape.

    Raises:
        DataError: windows of different lengths, text, objects, or complex numbers.

    Examples:
        >>> as_windows("acc", [[[1.0], [2.0]]]).shape
        (1, 2, 1)
    """
    if isinstance(given, np.ma.MaskedArray) and given.dtype.kind in "buif":
        numbers = given.astype(np.result_type(given.dtype, np.float32))
        given = np.ma.filled(numbers, np.nan)
    try:
        array = np.asarray(given)
    except ValueError:
        raise DataError(
            f"{where}: its windows are not of one shape; (n, time, channel) needs equally many "
            "samples and channels in each"
        ) from None
    except (TypeError, RuntimeError) as error:  # such as a tensor that has a gradient
        raise DataError(f"{where}: is not an array that numpy can read ({error!s:.100})") from None
    if array.dtype.kind == "c":
        raise DataError(
            f"{where}: holds complex numbers; give real ones, such as the real and the imaginary "
            "part as channels"
        )
    if array.dtype.kind not in "biuf":
        raise DataError(f"{where}: holds {array.dtype} values; numbers are needed")
    return array


def _check_array(
    modality: Modality, array: NDArray[np.floating[Any]] | None, window_s: float
) -> NDArray[np.floating[Any]] | None:
    if array is None:
        return None
    where = f"modality '{modality.name}'"
    array = as_windows(where, array)
    wanted = (round(window_s * modality.rate_hz), len(modality.channels))
    if array.ndim != 3 or array.shape[1:] != wanted:
        raise DataError(
            f"{where}: array has shape {array.shape}; allowed is (n, {wanted[0]}, {wanted[1]}): "
            f"windows, samples at {modality.rate_hz:g} Hz, channels"
        )
    with np.errstate(over="ignore"):  # reported below, in words
        array = array.astype(np.float32)
    if np.isinf(array).any():
        raise DataError(
            f"{where}: array holds infinite values, or too large for float32; use NaN for what is "
            "missing"
        )
    return array


def _common_length(arrays: Mapping[str, NDArray[np.floating[Any]] | None]) -> int:
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if not lengths:
        raise DataError("arrays: no modality is given; at least one array is needed")
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"'{name}' {length}" for name, length in lengths.items())
        raise DataError(f"arrays: modalities differ in number of windows, got {told}")
    return next(iter(lengths.values()))
