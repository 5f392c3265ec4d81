"""A store seen with the eyes of a model: absent modalities, hidden ones, refusals."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from crossl.data.contract import fit_store
from crossl.errors import ContractError


@pytest.fixture
def store(made, tmp_path):
    return made.write(tmp_path / "store")


def test_the_same_modalities_are_the_store_itself(store):
    fitted = fit_store(store, store.modalities, window_s=2.0, calibration=None)
    assert fitted.store is store
    assert fitted.notes == []


def test_what_a_store_lacks_is_absent_in_every_window(store, made):
    eda = replace(made.heart, name="eda")
    fitted = fit_store(store, [eda, made.heart, made.acc], window_s=2.0, calibration=None)
    assert fitted.absent == ("eda",)
    assert fitted.notes == [f"{store.path} has no eda: absent in every window"]
    view = fitted.store
    assert view.present.tolist() == [[False, True, True]] * len(store)
    rows = np.array([3, 0])
    windows = view.gather_zeroed(rows)
    assert list(windows) == ["eda", "heart", "acc"]
    assert windows["eda"].shape == (2, 8, 1)
    assert not windows["eda"].any()
    for name, values in store.gather_zeroed(rows).items():
        np.testing.assert_array_equal(windows[name], values)
    np.testing.assert_array_equal(view.label, store.label)
    assert view.hash == store.hash


def test_what_a_model_never_saw_is_hidden_and_named(store, made):
    fitted = fit_store(store, [made.heart], window_s=2.0, calibration=None)
    assert fitted.notes == ["acc was not in training and was left out"]
    assert list(fitted.store.gather_zeroed(np.arange(2))) == ["heart"]
    assert fitted.store.stretch(0, 3)["present"].shape == (3, 1)


def test_windows_without_anything_that_is_known_have_no_label(made, tmp_path):
    late = made.recording()
    heart = late.signals["heart"]
    late = replace(late, signals={**late.signals, "heart": replace(heart, start_s=4.0)})
    store = made.write(tmp_path / "store", [late])
    fitted = fit_store(store, [made.heart], window_s=2.0, calibration=None)
    empty = ~store.present[:, 1]
    assert fitted.empty == empty.sum() > 0
    assert (fitted.store.label[empty] == -1).all()
    np.testing.assert_array_equal(fitted.store.label[~empty], store.label[~empty])
    np.testing.assert_array_equal(fitted.store.stretch(0, 4)["label"], fitted.store.label[:4])
    assert "windows have nothing that the run knows" in fitted.notes[-1]


def test_a_view_is_the_same_in_another_process(store, made):
    view = fit_store(
        store, [replace(made.acc, name="gyro"), made.acc], window_s=2.0, calibration=None
    ).store
    again = pickle.loads(pickle.dumps(view))  # noqa: S301 - our own
    np.testing.assert_array_equal(again.present, view.present)
    np.testing.assert_array_equal(
        again.gather_zeroed(np.arange(2))["acc"], view.gather_zeroed(np.arange(2))["acc"]
    )


@pytest.mark.parametrize(("change", "window_s", "message"), [
    ({"rate_hz": 25.0}, 2.0, "modality 'acc': has 20 Hz; the model was made for 25 Hz"),
    ({"unit": "g"}, 2.0, r"modality 'acc': is in 'm/s\^2'; the model was made for 'g'"),
    ({"channels": ("x",)}, 2.0, r"has channels \('x', 'y', 'z'\); the model was made for \('x',\)"),
    ({"name": "gyro"}, 2.0, "has no modality that the model knows, got acc, heart; at least one of "
     "gyro is needed"),
    ({}, 4.0, "windows: last 2 s; the model was made for 4 s"),
])  # fmt: skip
def test_a_modality_of_the_same_name_that_is_another_is_refused_with_both(
    store, made, change, window_s, message
):
    with pytest.raises(ContractError, match=message):
        fit_store(store, [replace(made.acc, **change)], window_s=window_s, calibration=None)
