"""The score that everything here is judged by, from confusion matrices."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Num
from numpy.typing import NDArray


def macro_f1(confusion: Num[NDArray[Any], "*lead true predicted"]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur among true or predicted ones, as scikit-learn has it.

    Examples:
        >>> float(macro_f1(np.array([[2, 0], [1, 1]])).round(4))
        0.7333
    """
    hit = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)  # 2 TP + FP + FN
    f1 = 2 * hit / np.maximum(total, 1e-12)
    return np.asarray(f1.sum(axis=-1) / np.maximum((total > 0).sum(axis=-1), 1))
