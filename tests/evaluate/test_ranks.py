"""Mean ranks and critical differences against hand-computed and published values."""

import numpy as np
import pytest

from crossl.evaluate.ranks import critical_difference, mean_ranks


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (4, 2.569), (10, 3.164)])
def test_critical_differences_are_those_of_the_published_table(methods: int, q: float) -> None:
    wanted = q * np.sqrt(methods * (methods + 1) / (6 * 20))  # Demšar 2006, table 5
    np.testing.assert_allclose(critical_difference(methods, 20), wanted, rtol=1e-3)


def test_ranks_are_averaged_over_cells_of_a_set_first() -> None:
    one = {"x": {"a": 0.9, "b": 0.8, "c": 0.8}, "y": {"a": 0.5, "b": 0.7, "c": 0.6}}
    two = {"x": {"a": 0.9, "b": 0.7, "c": 0.8}}
    found = mean_ranks([one, two])
    assert found is not None
    ranks = dict(zip(found.methods, found.mean, strict=True))
    assert ranks == {"a": 2.0, "b": (2.75 + 1) / 2, "c": (2.25 + 2) / 2}
    assert found.methods[0] == "b"
    assert found.sets == 2
    assert found.groups == ((0, 2),)  # two sets tell nothing apart


def test_of_many_sets_those_that_differ_are_told() -> None:
    cell = {str(i): {"good": 0.9, "fair": 0.8, "poor": 0.1 + i / 100} for i in range(30)}
    found = mean_ranks([cell])
    assert found is not None
    assert found.methods == ("good", "fair", "poor")
    assert found.groups == ()
    errors = mean_ranks([cell], lower_is_better=True)
    assert errors is not None
    assert errors.methods == ("poor", "fair", "good")


def test_a_method_that_lacks_a_score_is_left_out() -> None:
    found = mean_ranks([{"x": {"a": 1.0, "b": 0.5, "c": 0.2}, "y": {"a": 1.0, "b": 0.5}}])
    assert found is not None
    assert found.methods == ("a", "b")
    assert mean_ranks([{"x": {"a": 1.0}}]) is None
    assert mean_ranks([]) is None
