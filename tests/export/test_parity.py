"""A model that gives something else than its run is refused."""

from __future__ import annotations

import numpy as np
import pytest

from crossl.errors import CrosslError
from crossl.export.parity import Sample, check_parity, patterns_of

SAMPLE = Sample({"a": np.ones((10, 4, 1), np.float32), "b": np.ones((10, 2, 3), np.float32)},
                "windows of a test")  # fmt: skip


def mean_of_present(signals, present):
    """Something that ignores what is absent."""
    shown = [np.where(present[:, i, None, None], x, 0).mean(axis=(1, 2))
             for i, x in enumerate(signals.values())]  # fmt: skip
    return {"embedding": np.stack(shown, axis=1)}


def test_what_agrees_is_told():
    seen = []

    def run(signals, present):
        seen.append((len(present), *present.any(axis=0)))
        return mean_of_present(signals, present)

    told = check_parity(run, mean_of_present, SAMPLE)
    assert told == {"windows": "windows of a test", "batches": [1, 7, 64], "subsets": 3,
                    "every_subset": True, "largest_difference": {"embedding": 0.0},
                    "by_rounding": None}  # fmt: skip
    assert {size for size, *_ in seen} == {1, 7, 64}


@pytest.mark.parametrize("wrong", [(True, True), (True, False), (False, True)])
def test_a_difference_under_any_set_of_sensors_is_refused(wrong):
    def run(signals, present):
        found = mean_of_present(signals, present)
        bad = (present == np.array(wrong)).all(axis=1)
        return {"embedding": found["embedding"] + 0.001 * bad[:, None]}

    with pytest.raises(
        CrosslError, match=r"differs from the run's by 0\.001 of its largest number"
    ):
        check_parity(run, mean_of_present, SAMPLE)
    assert check_parity(run, mean_of_present, SAMPLE, exact=False)["largest_difference"] == {
        "embedding": pytest.approx(0.001)}  # fmt: skip


def test_what_stands_in_place_of_an_absent_sensor_must_not_matter():
    def run(signals, present):
        return {"embedding": np.stack([x.mean(axis=(1, 2)) for x in signals.values()], axis=1)}

    with pytest.raises(CrosslError, match=r"changes with what stands in place of an absent sensor"):
        check_parity(run, run, SAMPLE)


def test_windows_may_differ_of_which_rounding_decides():
    rng = np.random.default_rng(0)
    signals = {
        name: rng.normal(size=x.shape).astype(np.float32) for name, x in SAMPLE.signals.items()
    }
    signals["a"][3] = 1  # which of four is the largest?
    sample = Sample(signals, "windows of a test")

    def wanted(signals, present):
        found = mean_of_present(signals, present)["embedding"]
        first = signals["a"][:, :, 0].argmax(axis=1)
        return {"embedding": np.column_stack([found, np.where(present[:, 0], first, 0)])}

    def run(signals, present):
        found = wanted(signals, present)
        tied = present[:, 0] & (np.ptp(np.nan_to_num(signals["a"][:, :, 0]), axis=1) == 0)
        found["embedding"][tied, 2] = 2
        return found

    with pytest.raises(CrosslError, match="differs from the run's"):
        check_parity(run, wanted, sample)
    told = check_parity(run, wanted, sample, flips=True)
    assert told["largest_difference"]["embedding"] > 0.1
    assert 0 < told["by_rounding"] < 0.25

    def wrong(signals, present):  # of a window that is no tie
        found = run(signals, present)
        found["embedding"][:, 0] += 0.01 * (len(present) == 1)
        return found

    with pytest.raises(CrosslError, match="differs from the run's"):
        check_parity(wrong, wanted, sample, flips=True)


def test_a_batch_of_a_fixed_size_is_refused():
    def run(signals, present):
        return {"embedding": mean_of_present(signals, present)["embedding"][:1]}

    with pytest.raises(CrosslError, match=r"has shape \(1, 2\)"):
        check_parity(run, mean_of_present, SAMPLE)


def test_of_many_sensors_some_sets_are_compared():
    assert len(patterns_of(10)) == 1023
    assert len(patterns_of(11)) == 23
