"""Embeddings that are not finite are refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from crossl.data.recording import Modality
from crossl.errors import DataError
from crossl.nn.finite import check_finite, check_reach
from crossl.nn.standardise import Standardiser

SIGNALS = {"acc": torch.ones(3, 4, 2), "ecg": torch.ones(3, 4, 1)}


def test_finite_embeddings_pass_and_others_name_the_largest() -> None:
    check_finite("store", np.zeros((3, 5)), SIGNALS)
    check_finite("store", np.zeros((0, 5)), {"acc": torch.ones(0, 4, 2)})
    embedding = np.zeros((3, 5))
    embedding[1:, 2] = np.nan
    signals = {**SIGNALS, "ecg": torch.full((3, 4, 1), -1e30)}
    message = r"store: the embeddings of 2 windows are not finite \('ecg' reaches 1e\+30\)"
    with pytest.raises(DataError, match=message):
        check_finite("store", embedding, signals)


@pytest.mark.parametrize("huge", [1e16, -3e38])
def test_numbers_far_from_those_of_training_are_refused(huge: float) -> None:
    standardiser = Standardiser(
        [Modality("acc", ("x", "y"), "", 4), Modality("ecg", ("v",), "", 4)]
    )
    check_reach("windows", standardiser, SIGNALS)
    with pytest.raises(DataError, match=r"windows: lie beyond 1e\+15 .*\('acc' reaches"):
        check_reach("windows", standardiser, {"acc": torch.full((1, 4, 2), huge)})
