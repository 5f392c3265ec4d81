"""Windows in memory, by modality: NaN for what was not recorded, in and out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from crossl.data.source import as_windows
from crossl.errors import DataError
from crossl.names import check_name

Signals = Mapping[str, NDArray[np.floating[Any]] | None]


class Windows(Mapping[str, Any]):
    """Windows in memory: arrays by modality, and if they are known a label and a subject of each.

    What was not recorded is NaN, or the whole modality is None. Rows can be cut, as scikit-learn's
    cross-validation does. `Store.arrays` reads windows of a store.

    Args:
        signals: {modality: (n, time, channel) array, or None}.
        label: (n,) name of each window's class; None or an empty text where it has none.
        subject: (n,) whose windows they are.
        calibrated: signals are calibrated by their recording already, as a run's windower does.

    Attributes:
        label: (n,) text, empty where there is none; None if no labels are known.
        subject: (n,) text; None if no subjects are known.
        calibrated: whether signals are calibrated by their recording already.

    Raises:
        DataError: no dict of arrays, or they differ in the number of windows.

    Examples:
        >>> x = Windows({"acc": np.zeros((4, 50, 3)), "ecg": None}, subject=["a", "a", "b", "b"])
        >>> x.shape, x[[0, 2]]["acc"].shape, x[[0, 2]].subject.tolist()
        ((4,), (2, 50, 3), ['a', 'b'])
    """

    def __init__(
        self,
        signals: Signals,
        *,
        label: ArrayLike | None = None,
        subject: ArrayLike | None = None,
        calibrated: bool = False,
    ) -> None:
        self.calibrated = calibrated
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
        self.label = None if label is None else class_names("label", label)
        self.subject = None if subject is None else subject_names("subject", subject).astype(str)
        for what, told in (("label", self.label), ("subject", self.subject)):
            if told is not None and len(told) != len(self):
                raise DataError(
                    f"{what}: {len(told)} entries for {len(self)} windows; one for each is needed"
                )

    def __getitem__(self, key: Any) -> Any:
        """Return a modality by name, or a `Windows` of rows."""
        if isinstance(key, str):
            return self._signals[key]
        rows = key[0] if isinstance(key, tuple) else key
        return Windows(
            {k: None if v is None else v[rows] for k, v in self._signals.items()},
            label=None if self.label is None else self.label[rows],
            subject=None if self.subject is None else self.subject[rows],
            calibrated=self.calibrated,
        )

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of modalities."""
        return iter(self._signals)

    def __len__(self) -> int:
        """Count the windows, as scikit-learn expects; `shape[0]` says the same."""
        return self.shape[0]


def check_named(where: str, given: Any) -> None:
    """Refuse what is not a dict of arrays by name."""
    if not isinstance(given, Mapping):
        raise DataError(
            f"{where}: is not a dict of arrays by modality, got {type(given).__name__}; needed is "
            "such as {'acc': array of (n, time, channel)}"
        )
    for name in given:
        if not isinstance(name, str):
            raise DataError(f"{where}: has the key {name!r:.40}; names of modalities are text")


def class_names(where: str, given: ArrayLike) -> NDArray[np.str_]:
    """Name the class of each window, with an empty text where it has none.

    Examples:
        >>> class_names("label", ["walk", None, 3]).tolist()
        ['walk', '', '3']
    """
    told = _as_list(given)
    if any(isinstance(one, (list, tuple, dict)) for one in told):
        raise DataError(f"{where}: holds lists; one class a window is needed")
    return np.array(["" if is_missing(one) else str(one) for one in told], dtype=np.str_)


def subject_names(where: str, given: ArrayLike) -> NDArray[Any]:
    """Return the subject of each window; refuse those without one, and names of several kinds."""
    told = _as_list(given)
    unknown = [at for at, one in enumerate(told) if is_missing(one)]
    if unknown:
        raise DataError(
            f"{where}: {len(unknown)} windows have no subject (first row {unknown[0]}: "
            f"{told[unknown[0]]!r}); name one for each, or leave these windows out"
        )
    kinds = sorted({"text" if isinstance(one, str) else "numbers" for one in told})
    if len(kinds) > 1:
        raise DataError(f"{where}: mix {' and '.join(kinds)}; name subjects in one way")
    try:
        names = np.asarray(told)
    except ValueError:
        names = np.zeros((0, 2))
    if names.ndim != 1:
        raise DataError(f"{where}: has {names.ndim} dimensions; one subject a window is needed")
    for name in np.unique(names.astype(str)).tolist():
        check_name(where, name)
    return names


def _as_list(given: ArrayLike) -> list[Any]:
    if isinstance(given, np.ndarray):
        return list(given.tolist()) if given.ndim else [given.item()]
    return list(given)  # type: ignore[arg-type]


def is_missing(one: Any) -> bool:
    """Tell whether a value says that there is none: None, NaN, or pandas' own."""
    return (
        one is None
        or type(one).__name__ in ("NAType", "NaTType")
        or bool(isinstance(one, float) and math.isnan(one))
    )
