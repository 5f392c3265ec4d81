"""Least squares with a penalty, for several penalties at the price of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def solve_ridge(
    x: Array, target: Array, weight: Array, strengths: Sequence[float]
) -> list[tuple[Array, Array]]:
    """Fit targets by a linear map for each strength, whose inverse is the penalty.

    One decomposition serves all penalties: of the features' covariance, or of the rows' products
    where there are fewer rows than features.

    Args:
        x: (n, D) standardised features.
        target: (n, R).
        weight: (n,) of the rows.
        strengths: inverse penalties of squared weights.

    Returns:
        Coefficients (R, D) and bias (R,) of each.
    """
    rows, wanted = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(target)
    share = torch.from_numpy(weight)[:, None]
    centre, level = (share * rows).sum(0) / share.sum(), (share * wanted).sum(0) / share.sum()
    root = share.sqrt()
    a, b = (rows - centre) * root, (wanted - level) * root
    dual = a.shape[0] < a.shape[1]
    values, vectors = torch.linalg.eigh(a @ a.T if dual else a.T @ a)
    projected = vectors.T @ (b if dual else a.T @ b)
    found = []
    for strength in strengths:
        solved = vectors @ (projected / (values.clamp(min=0)[:, None] + 1 / strength))
        coefficients = (a.T @ solved if dual else solved).T  # (R, D)
        bias = level - coefficients @ centre
        found.append((coefficients.numpy(), bias.numpy()))
    return found
