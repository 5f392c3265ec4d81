"""Numbers: regression."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from crossl.data.targets import Target
from crossl.errors import SplitError
from crossl.tasks import NumbersConfig, stored_task

RATE = NumbersConfig(target="rate").build(Target("rate", "numbers", ("rate",), ("1/min",)))
BODY = NumbersConfig(target="body").build(
    Target("body", "numbers", ("height", "weight"), ("m", "kg"))
)


def drawn(seed: int, windows: int = 90) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = rng.normal(80, 12, (windows, 1)).astype(np.float32)
    said = (target + rng.normal(3, 6, target.shape)).astype(np.float32)
    target[::10] = np.nan
    return target, said


def test_scores_equal_those_of_scikit_learn_on_what_is_known() -> None:
    target, said = drawn(0)
    counts = RATE.count(target, said, np.zeros(len(target), int), 1)[0]
    known = np.isfinite(target[:, 0])
    y, p = target[known, 0].astype(float), said[known, 0].astype(float)
    found = {name: float(metric(counts)) for name, metric in RATE.metrics.items()}
    centred = 2 * ((y - y.mean()) * (p - p.mean())).mean()
    wanted = {
        "mae": mean_absolute_error(y, p),
        "rmse": root_mean_squared_error(y, p),
        "r2": r2_score(y, p),
        "concordance": centred / (y.var() + p.var() + (y.mean() - p.mean()) ** 2),
    }
    assert found == pytest.approx(wanted)
    assert RATE.main == "mae"
    assert RATE.lower_is_better
    assert RATE.told() == "mean absolute error (1/min)"


def test_counts_of_subjects_add_up_and_unknown_windows_are_no_subject() -> None:
    target, said = drawn(1)
    subject = np.array([f"S{i % 3}" for i in range(len(target))])
    target[subject == "S2"] = np.nan
    names, by_subject = RATE.by_subject(target, said, subject)
    assert names.tolist() == ["S0", "S1"]
    whole = RATE.count(target, said, np.zeros(len(target), int), 1)[0]
    np.testing.assert_allclose(by_subject.sum(axis=0)[0, :8], whole[0, :8])
    np.testing.assert_array_equal(
        RATE.windows(by_subject), [np.isfinite(target[subject == s]).sum() for s in names]
    )


def test_targets_that_do_not_vary_have_no_r2_and_no_concordance() -> None:
    target = np.full((5, 1), 34.0, np.float32)
    counts = RATE.count(target, target, np.zeros(5, int), 1)[0]
    assert [float(RATE.metrics[m](counts)) for m in ("mae", "r2", "concordance")] == [0, 0, 0]


def test_several_numbers_are_compared_by_concordance_and_told_one_by_one() -> None:
    rng = np.random.default_rng(0)
    target = rng.normal([1.7, 70], [0.1, 10], (50, 2)).astype(np.float32)
    target[3, 0] = np.nan
    said = target + np.float32([0.1, 5])
    counts = BODY.count(target, np.nan_to_num(said), np.zeros(50, int), 1)[0]
    found = {name: float(metric(counts)) for name, metric in BODY.metrics.items()}
    assert BODY.main == "concordance"
    assert not BODY.lower_is_better
    assert found["mae:height"] == pytest.approx(0.1, rel=1e-4)
    assert found["mae:weight"] == pytest.approx(5, rel=1e-4)
    assert 0 < found["concordance"] < 1
    assert BODY.label("mae:weight") == "mean absolute error of weight (kg)"


def test_guessing_says_the_mean() -> None:
    target, said = drawn(3)
    _, by_subject = RATE.by_subject(target, said, np.array(["A", "B", "C"] * 30))
    guess = RATE.guess(by_subject)
    known = target[np.isfinite(target)].astype(float)
    total = guess.sum(axis=0)
    assert float(RATE.metrics["mae"](total)) == pytest.approx(np.abs(known - known.mean()).mean())
    assert float(RATE.metrics["rmse"](total)) == pytest.approx(known.std(), rel=1e-4)
    assert float(RATE.metrics["r2"](total)) == pytest.approx(0, abs=1e-6)
    assert float(RATE.metrics["concordance"](total)) == pytest.approx(0, abs=1e-6)


def test_a_draw_has_all_parts_of_the_range_and_many_people() -> None:
    rng = np.random.default_rng(0)
    target = np.sort(rng.normal(80, 10, (400, 1)), axis=0).astype(np.float32)
    subject = np.array([f"S{i % 8}" for i in range(400)])
    target[5] = np.nan
    rows = np.arange(0, 400)
    chosen = RATE.draw(target, rows, subject, fraction=0.05, seed=0)
    assert len(chosen) == 20
    assert 5 not in chosen
    assert all(len(set(subject[part])) == 4 for part in np.split(chosen, 5))
    fifths = np.histogram(chosen, bins=5, range=(0, 400))[0]
    np.testing.assert_array_equal(fifths, 4)
    np.testing.assert_array_equal(chosen, RATE.draw(target, rows, subject, fraction=0.05, seed=0))
    assert not np.array_equal(chosen, RATE.draw(target, rows, subject, fraction=0.05, seed=1))
    assert len(RATE.draw(target, rows, subject, fraction=0.001, seed=0)) == 5


def test_numbers_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(SplitError, match="3 training windows with a known rate, all the same"):
        RATE.refuse_too_little(np.full((3, 1), 60.0), where="probe")
    with pytest.raises(SplitError, match="fraction is 0; allowed is 0 < fraction"):
        RATE.draw(drawn(0)[0], np.arange(9), np.array(["S"] * 90), fraction=0, seed=0)


def test_a_fit_is_ridge_on_the_windows_where_a_number_is_known() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 5))
    target = np.stack([x @ [1, 2, 0, 0, 0] + 80, x[:, 3]], axis=1).astype(np.float32)
    target[:20, 1] = np.nan
    weight = rng.uniform(0.5, 2, 60)
    found = BODY.fit(x, target, weight, [0.1, 1.0])
    for linear, penalty in zip(found, (10, 1), strict=True):
        for number, rows in ((0, slice(0, 60)), (1, slice(20, 60))):
            wanted = Ridge(alpha=penalty).fit(x[rows], target[rows, number],
                                              sample_weight=weight[rows])  # fmt: skip
            np.testing.assert_allclose(linear.weight[number], wanted.coef_, atol=1e-4)
            np.testing.assert_allclose(linear.bias[number], wanted.intercept_, atol=1e-3)


def test_a_network_learns_standardised_numbers_and_says_them_in_their_unit() -> None:
    target = np.array([[60.0], [80], [np.nan], [100]], np.float32)
    coding = RATE.coding(target)
    encoded = torch.from_numpy(coding.encode(target))
    torch.testing.assert_close(encoded[[0, 1, 3], 0].mean(), torch.tensor(0.0))
    output = torch.zeros(4, 1, requires_grad=True)
    loss = coding.loss(output, encoded)
    loss.backward()
    assert torch.isfinite(loss)
    assert output.grad[2] == 0
    weight, bias = np.array([[0.5, 1.0]]), np.array([0.2])
    x = np.array([[1.0, 2.0]])
    inside = (x @ weight.T + bias).astype(np.float32)
    outside = coding.decoded(weight, bias)
    np.testing.assert_allclose(x @ outside[0].T + outside[1], coding.readings(inside), rtol=1e-5)
    again = coding.encoded(*outside)
    np.testing.assert_allclose(again[0], weight, rtol=1e-5)
    np.testing.assert_allclose(again[1], bias, rtol=1e-4)


def test_pictures_show_quarters_of_the_range_with_its_unit() -> None:
    target = np.arange(8, dtype=np.float32)[:, None]
    target[0] = np.nan
    names, group = RATE.groups(target)
    assert len(names) == 4
    assert names[0] == "1 to 2 1/min"
    assert group[0] == -1
    assert set(group[1:]) == {0, 1, 2, 3}


def test_the_task_is_the_same_after_it_was_kept() -> None:
    assert stored_task(BODY.as_dict(), where="x") == BODY
