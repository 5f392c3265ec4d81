"""Least squares with a penalty, for several penalties over one product of the features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk

Array = NDArray[np.floating[Any]]


def solve_ridge(
    x: Array, target: Array, weight: Array, strengths: Sequence[float]
) -> list[tuple[Array, Array]]:
    """Fit targets by a linear map for each strength, whose inverse is the penalty.

    One product serves all penalties: the features' covariance, or the rows' products where there
    are fewer rows than features. Of thousands of features a Cholesky factor for each of a few
    penalties is several times as fast as the eigenvectors that would serve all.

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
    # half of the product: the lower triangle is all that a Cholesky factor reads
    product = torch.from_numpy(dsyrk(1.0, a.numpy().T, trans=int(dual), lower=1))
    right = b if dual else a.T @ b
    diagonal, found = product.diagonal().clone(), []
    for strength in strengths:
        product.diagonal().copy_(diagonal + 1 / strength)
        solved = torch.cholesky_solve(right, torch.linalg.cholesky(product))
        coefficients = (a.T @ solved if dual else solved).T  # (R, D)
        bias = level - coefficients @ centre
        found.append((coefficients.numpy(), bias.numpy()))
    return found
