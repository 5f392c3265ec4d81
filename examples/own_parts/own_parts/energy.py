"""A contender: logistic regression on the energy of each channel in a few frequency bands."""

from typing import Literal

import numpy as np
from pydantic import Field

from crossl.config.schema import ContenderConfig
from crossl.contenders.features import Linear


class EnergyConfig(ContenderConfig):
    """How many bands; features are made for each modality apart, so sensors may lack."""

    kind: Literal["energy"] = "energy"
    bands: int = Field(4, ge=1)

    def build(self, name: str) -> Linear:
        """Make the contender."""

        def fit(modality, train, repeat):
            del modality, train, repeat  # nothing is learned from training subjects, or random
            return self.describe

        return Linear(name, fit, ridge=False)

    def describe(self, windows):
        """Turn windows (n, T, C) of one modality into features (n, bands * C)."""
        power = np.square(np.abs(np.fft.rfft(windows, axis=1)))
        bands = [part.mean(axis=1) for part in np.array_split(power, self.bands, axis=1)]
        return np.log1p(np.concatenate(bands, axis=1)).astype(np.float32)
