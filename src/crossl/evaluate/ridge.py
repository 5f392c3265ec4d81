"""Ridge regression to one target a class, as `fit_probes` fits logistic regression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.preprocessing import StandardScaler

from crossl.evaluate.latents import Head
from crossl.evaluate.probe import Probe, ProbeRows


def fit_ridge(rows: ProbeRows, head: Head, strengths: Sequence[float]) -> list[Probe]:
    """Fit one classifier for each strength, whose inverse is the penalty.

    One decomposition serves all penalties: of the features' covariance, or of the rows' products
    where there are fewer rows than features.

    Args:
        rows: training features, labels and weights.
        head: what they are.
        strengths: inverse penalties of squared weights, on standardised features.
    """
    scaler = StandardScaler()
    x = torch.from_numpy(scaler.fit_transform(rows.embedding).astype(np.float64))
    classes = np.unique(rows.label)
    target = torch.from_numpy(np.where(rows.label[:, None] == classes, 1.0, -1.0))
    weight = torch.from_numpy(rows.weight)[:, None]
    centre, level = (weight * x).sum(0) / weight.sum(), (weight * target).sum(0) / weight.sum()
    root = weight.sqrt()
    a, b = (x - centre) * root, (target - level) * root
    dual = a.shape[0] < a.shape[1]
    values, vectors = torch.linalg.eigh(a @ a.T if dual else a.T @ a)
    projected = vectors.T @ (b if dual else a.T @ b)
    found = []
    for strength in strengths:
        solved = vectors @ (projected / (values.clamp(min=0)[:, None] + 1 / strength))
        coefficients = (a.T @ solved if dual else solved).T  # (classes, D)
        bias = level - coefficients @ centre
        found.append(
            Probe(
                head,
                scaler.mean_.astype(np.float32),
                scaler.scale_.astype(np.float32),
                coefficients.numpy().astype(np.float32),
                bias.numpy().astype(np.float32),
                classes.astype(np.int64),
                strength,
            )
        )
    return found
