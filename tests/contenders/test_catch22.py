"""The 22 canonical characteristics, and what is given for series that have none."""

from __future__ import annotations

import numpy as np
import pytest

from crossl.contenders import Catch22Config
from crossl.contenders.catch22 import catch22
from crossl.contenders.features import Linear
from crossl.contenders.trees import Trees

pycatch22 = pytest.importorskip("pycatch22", reason="pycatch22 is not installed")


def test_characteristics_are_those_of_the_package_with_mean_and_deviation_beside_them() -> None:
    x = np.random.default_rng(0).normal(3, 2, size=(2, 100, 1)).cumsum(axis=1)
    found = catch22(pycatch22, x)
    assert found.shape == (2, 24)
    z = (x[1, :, 0] - x[1].mean()) / x[1].std()
    np.testing.assert_allclose(found[1, :22], pycatch22.catch22_all(z.tolist())["values"],
                               rtol=1e-5, atol=1e-5)  # fmt: skip
    np.testing.assert_allclose(found[1, 22:], [x[1].mean(), x[1].std()], rtol=1e-5)
    moved = catch22(pycatch22, 5 + 3 * x)
    np.testing.assert_allclose(moved[:, :22], found[:, :22], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 9, 2), (3, 30, 3), (0, 30, 3)])
def test_windows_of_any_shape_and_those_that_do_not_move_are_described(
    shape: tuple[int, ...],
) -> None:
    for x in (np.zeros(shape), np.random.default_rng(0).normal(size=shape)):
        found = catch22(pycatch22, x)
        assert found.shape == (shape[0], 24 * (4 if shape[2] == 3 else shape[2]))
        assert np.isfinite(found).all()


def test_a_vector_of_three_channels_has_its_length_described_too() -> None:
    x = np.random.default_rng(1).normal(size=(2, 50, 3))
    length = np.linalg.norm(x, axis=2, keepdims=True)
    np.testing.assert_allclose(catch22(pycatch22, x)[:, 72:], catch22(pycatch22, length))


def test_either_classifier_reads_the_same_features() -> None:
    linear = Catch22Config().build("c")
    trees = Catch22Config(classifier="forest").build("c")
    assert isinstance(linear, Linear)
    assert isinstance(trees, Trees)
    assert linear.shared == trees.shared == "catch22"
