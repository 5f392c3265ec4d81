"""The scikit-learn face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted, validate_data

from crossl import CroSSL, Windows
from crossl.errors import ConfigError, ContractError, DataError, FormatError
from crossl.nn.encoders import TcnConfig
from crossl.run_folder import save_run

SMALL = {"encoder.width": 8, "encoder.dim": 8, "aggregator.shared_dim": 16,
         "method.expander_dim": 16}  # fmt: skip
WIDTH = 16 + 2 * 8 + 2 * 64
Arrays = dict[str, Any]


def make(**changes: Any) -> CroSSL:
    return CroSSL(**{"window_s": 2.0, "steps": 2, "batch_size": 16, "settings": SMALL, **changes})


def arrays(n: int = 48, seed: int = 0) -> tuple[Arrays, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = np.arange(n) % 2
    loud = (1 + 3 * label)[:, None, None]
    return {
        "acc": loud * rng.normal(size=(n, 40, 3)),
        "ecg": loud * rng.normal(size=(n, 64, 1)),
    }, label


@pytest.fixture(scope="module")
def fitted() -> CroSSL:
    """An estimator fitted once."""
    torch.set_num_threads(1)
    return make().fit(arrays()[0])


def test_fit_and_transform_give_one_embedding_per_window(fitted: CroSSL) -> None:
    x, _ = arrays(5, seed=1)
    z = fitted.transform(x)
    assert z.shape == (5, WIDTH)
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert fitted.n_features_out_ == WIDTH
    assert [m.name for m in fitted.modalities_] == ["acc", "ecg"]
    assert [m.rate_hz for m in fitted.modalities_] == [20.0, 32.0]
    assert list(fitted.get_feature_names_out()[:2]) == ["crossl0", "crossl1"]
    assert len(fitted.get_feature_names_out()) == WIDTH


def test_an_embedding_does_not_depend_on_the_other_windows(fitted: CroSSL) -> None:
    x, _ = arrays(6, seed=1)
    alone = np.concatenate([fitted.transform(Windows(x)[[i]]) for i in range(6)])
    np.testing.assert_allclose(fitted.transform(x), alone, atol=1e-5)


def test_missing_may_be_told_by_nan_none_or_a_missing_key(fitted: CroSSL) -> None:
    x, _ = arrays(4, seed=1)
    one_nan = np.array(x["ecg"])
    one_nan[:, 3, 0] = np.nan
    z = fitted.transform({"acc": x["acc"], "ecg": None})
    np.testing.assert_array_equal(fitted.transform({"acc": x["acc"]}), z)
    np.testing.assert_array_equal(fitted.transform({"acc": x["acc"], "ecg": one_nan}), z)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(fitted.transform(x), z, atol=1e-3)


def test_the_order_of_keys_does_not_matter(fitted: CroSSL) -> None:
    x, _ = arrays(3, seed=1)
    turned = {"ecg": x["ecg"], "acc": x["acc"]}
    np.testing.assert_array_equal(fitted.transform(turned), fitted.transform(x))


def test_no_windows_give_no_embeddings(fitted: CroSSL) -> None:
    assert fitted.transform({"acc": np.zeros((0, 40, 3))}).shape == (0, WIDTH)


def test_fit_learns_from_windows_that_lack_a_modality() -> None:
    x, _ = arrays()
    x["ecg"][::3] = np.nan
    assert np.isfinite(make().fit(x).transform(x)).all()


def test_the_seed_decides(fitted: CroSSL) -> None:
    x, _ = arrays()
    again, other = (make(seed=seed).fit(x).transform(x) for seed in (0, 1))
    np.testing.assert_array_equal(again, fitted.transform(x))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(other, again)


def test_the_paper_recipe_fits_with_steps_in_place_of_its_epochs() -> None:
    settings = {"encoder.dim": 8, "aggregator.hidden": 8, "aggregator.dim": 8}
    estimator = make(recipe="paper", settings=settings).fit(arrays()[0])
    assert estimator.n_features_out_ == 8
    assert estimator.config_.schedule.epochs is None


def test_parameters_reach_the_config() -> None:
    settings = {**SMALL, "schedule.gradient_norm": None, "evaluation.label_seeds": [3, 4]}
    asked = make(lr=1e-5, keep_rate=np.float64(0.5), steps=np.int64(2), settings=settings)
    config = asked._config()
    assert config.schedule.lr == 1e-5
    assert config.schedule.gradient_norm is None
    assert config.method.keep_rate == 0.5
    assert (config.schedule.steps, config.schedule.epochs) == (2, None)
    assert config.evaluation.label_seeds == (3, 4)


@pytest.mark.parametrize("seeds", [(3, 4), [3, 4], np.array([3, 4]), (np.int64(3), 4)])
def test_settings_are_values_of_python(seeds: Any) -> None:
    config = make(settings={**SMALL, "evaluation.label_seeds": seeds})._config()
    assert config.evaluation.label_seeds == (3, 4)


def test_a_block_of_settings_may_be_a_dict_or_the_settings_themselves() -> None:
    blocks = [
        {"kind": "tcn", "dim": np.int64(12)}, TcnConfig(dim=12), {"kind": "tcn", "dim": 12.0}
    ]  # fmt: skip
    for block in blocks:
        settings = {"encoder": block, "aggregator.shared_dim": 8, "schedule.gradient_norm": None}
        config = make(settings=settings)._config()
        assert config.encoder == TcnConfig(dim=12)
        assert config.schedule.gradient_norm is None


@pytest.mark.parametrize(("settings", "message"), [
    ({"encoder.width": (1, 2)}, r"CroSSL: encoder.width=\[1, 2\]: encoder.width: a whole number"),
    ({"encoder.width": object()}, r"encoder.width: a whole number is needed, got <object object"),
    ({"evaluation.label_seeds": ("a",)}, r"evaluation.label_seeds.0: a whole number is needed"),
    ({"schedule.lr": float("nan")}, r"schedule.lr: .*finite"),
    ({"encoder": {"widht": 3}}, r"encoder.widht: unknown key; did you mean 'width'"),
    ({"encoder": 3}, r"CroSSL: encoder=3: encoder: "),
    ({"recipe": "paper"}, r"CroSSL: a recipe is where settings start from; give it as `recipe`"),
    ({7: 1}, r"CroSSL: has the key 7; names of settings are text"),
    ([("encoder.width", 8)], r"CroSSL: settings are list; a dict by dotted name is needed"),
])  # fmt: skip
def test_settings_that_are_not_allowed_are_refused_as_in_a_run_file(
    settings: Any, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make(settings=settings).fit(arrays()[0])


def test_settings_that_mean_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"encoder.widht: unknown key; did you mean 'width'"):
        make(settings={"encoder.widht": 8}).fit(arrays()[0])
    with pytest.raises(ConfigError, match="recipe 'best': unknown"):
        make(recipe="best").fit(arrays()[0])


def test_an_unfitted_estimator_refuses(tmp_path: Path) -> None:
    with pytest.raises(NotFittedError, match="CroSSL: is not fitted; call fit"):
        make().transform(arrays()[0])
    with pytest.raises(NotFittedError, match="CroSSL: is not fitted; there is nothing to save"):
        make().save(tmp_path / "run")


def test_a_modality_that_was_never_seen_is_refused(fitted: CroSSL) -> None:
    x, _ = arrays(3)
    with pytest.raises(ContractError, match="modality 'eeg': the model never saw it"):
        fitted.transform({**x, "eeg": x["ecg"]})


def test_windows_of_another_length_or_channels_are_refused(fitted: CroSSL) -> None:
    x, _ = arrays(3)
    with pytest.raises(DataError, match=r"'acc': array has shape \(3, 20, 3\); allowed is \(n, 40"):
        fitted.transform({"acc": x["acc"][:, ::2]})
    with pytest.raises(DataError, match=r"'acc': array has shape \(3, 40, 2\)"):
        fitted.transform({"acc": x["acc"][..., :2]})


def test_a_window_without_any_modality_is_refused(fitted: CroSSL) -> None:
    x, _ = arrays(4)
    x["acc"][1], x["ecg"][1] = np.nan, np.nan
    with pytest.raises(DataError, match=r"windows: 1 have no modality present \(row 1\)"):
        fitted.transform(x)
    with pytest.raises(DataError, match="no modality present"):
        make().fit(x)
    with pytest.raises(DataError, match="arrays: no modality is given"):
        fitted.transform({"acc": None})


@pytest.mark.parametrize(
    ("x", "message"),
    [
        ({}, "X: is empty; at least one modality is needed"),
        ({"acc": None}, "modality 'acc': is None in fit; leave it out"),
        ({"acc": np.zeros((4, 40))}, r"'acc': array has shape \(4, 40\); allowed is \(n, time"),
        ({"acc": np.full((4, 40, 1), np.inf)}, "'acc': array holds infinite values"),
        ({"acc": np.zeros((4, 40, 1)), "ecg": np.zeros((5, 64, 1))}, "differ in number of windows"),
        ({"acc": np.zeros((3, 40, 1))}, r"pretraining: 1 training window;"),
        ({"acc": np.zeros((4, 0, 1))}, "modality 'acc': rate_hz is 0.0"),
        ({"acc": np.zeros((4, 40, 0))}, "modality 'acc': has no channels"),
        ({"a/b": np.zeros((4, 40, 1))}, "modality 'a/b': its name is used for a file"),
    ],
)
def test_arrays_that_cannot_be_learned_from_are_refused(x: Arrays, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make().fit(x)


@pytest.mark.parametrize("window_s", [0, -1.0, float("nan"), float("inf"), "2", None])
def test_a_window_that_cannot_be_is_refused(window_s: float) -> None:
    with pytest.raises(DataError, match=r"windows: window_s is .*; a positive number of seconds"):
        make(window_s=window_s).fit(arrays()[0])


def test_a_modality_that_was_never_recorded_is_refused() -> None:
    x, _ = arrays()
    with pytest.raises(DataError, match="modality 'ecg': is present in none of the"):
        make().fit({"acc": x["acc"], "ecg": np.full_like(x["ecg"], np.nan)})


def test_groups_keep_subjects_apart() -> None:
    from crossl.api.training import split_rows

    groups = np.tile(["a", "b", "c", "d", "e", "f", "g"], 7)[:48]
    train, validation = split_rows(48, groups)
    assert set(groups[train]).isdisjoint(groups[validation])
    assert len(set(groups[validation])) == 1
    np.testing.assert_array_equal(np.sort(np.r_[train, validation]), np.arange(48))
    make().fit(arrays()[0], groups=groups)


@pytest.mark.parametrize("groups", [np.repeat("a", 48), np.arange(47)])
def test_groups_that_cannot_be_split_are_refused(groups: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"groups: .* one entry per window and at least 2 subjects"):
        make().fit(arrays()[0], groups=groups)


def test_it_can_be_cloned_and_set() -> None:
    estimator = make(lr=0.5)
    copy = clone(estimator)
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "model_")
    assert copy.set_params(steps=9).steps == 9
    assert "steps=9" in repr(copy)


def test_a_pipeline_classifies_windows() -> None:
    x, label = arrays(96)
    pipeline = make_pipeline(make(), LogisticRegression(max_iter=500))
    assert pipeline.fit(Windows(x), label).score(Windows(arrays(40, seed=5)[0]), label[:40]) > 0.9


def test_a_grid_search_cuts_windows_by_row() -> None:
    x, label = arrays(48)
    pipeline = make_pipeline(make(), LogisticRegression(max_iter=500))
    search = GridSearchCV(pipeline, {"crossl__keep_rate": [0.3, 0.9]}, cv=2, error_score="raise")
    search.fit(Windows(x), label)
    # chance is 0.5; rows that were cut unlike their labels would be there
    assert min(search.cv_results_["mean_test_score"]) > 0.8
    assert search.predict(Windows(x)[:3]).shape == (3,)


def test_windows_are_cut_by_row_and_named_by_modality() -> None:
    x = Windows({"acc": np.arange(12).reshape(4, 3, 1), "ecg": None})
    assert len(x) == 4
    assert set(x) == {"acc", "ecg"}
    assert x["ecg"] is None
    assert x[[1, 3]].shape == (2,)
    assert x[[1, 3]]["ecg"] is None
    np.testing.assert_array_equal(x[np.array([False, True, False, True])]["acc"][:, 0, 0], [3, 9])
    np.testing.assert_array_equal(x[1:3]["acc"][:, 0, 0], [3, 6])


@pytest.mark.parametrize("signals", [{}, {"a": None}, {"a": np.zeros(3), "b": np.zeros(2)}])
def test_windows_that_do_not_agree_on_their_number_are_refused(signals: Arrays) -> None:
    with pytest.raises(DataError, match=r"windows: modalities have \[.*\] windows; one number"):
        Windows(signals)


def test_a_saved_estimator_is_the_same_when_loaded(fitted: CroSSL, tmp_path: Path) -> None:
    x, _ = arrays(5, seed=2)
    fitted.save(tmp_path / "run")
    again = CroSSL.load(tmp_path / "run")
    np.testing.assert_array_equal(again.transform(x), fitted.transform(x))
    assert again.get_params() == fitted.get_params()
    assert again.n_features_out_ == fitted.n_features_out_
    assert again.config_ == fitted.config_


def test_numbers_of_a_parameter_search_can_be_saved(fitted: CroSSL, tmp_path: Path) -> None:
    estimator = clone(fitted).set_params(batch_size=np.int64(16), lr=np.float32(0.5))
    estimator.model_, estimator.config_ = fitted.model_, fitted.config_
    estimator.save(tmp_path / "run")
    assert CroSSL.load(tmp_path / "run").get_params()["batch_size"] == 16


def test_a_run_that_no_estimator_saved_is_read_too(fitted: CroSSL, tmp_path: Path) -> None:
    x, _ = arrays(5, seed=2)
    save_run(tmp_path / "run", fitted.model_, fitted.config_, about={})
    again = CroSSL.load(tmp_path / "run")
    np.testing.assert_array_equal(again.transform(x), fitted.transform(x))
    assert again._config() == fitted.config_
    with pytest.raises(FormatError, match="is not a run"):
        CroSSL.load(tmp_path / "nowhere")


def test_windows_bring_their_people_along(fitted: CroSSL) -> None:
    x, _ = arrays()
    people = np.repeat(["a", "b", "c", "d"], 12)
    one = make().fit(Windows(x, subject=people)).transform(x)
    np.testing.assert_array_equal(make().fit(x, groups=people).transform(x), one)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(fitted.transform(x), one)


def test_an_altered_estimator_is_refused(fitted: CroSSL, tmp_path: Path) -> None:
    fitted.save(tmp_path / "run")
    with (tmp_path / "run/weights.safetensors").open("ab") as file:
        file.write(b"!")
    with pytest.raises(FormatError, match=r"weights.safetensors: was altered"):
        CroSSL.load(tmp_path / "run")


# --- what other libraries take


def frame(array: np.ndarray) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(items={"0": array}.items)


@pytest.mark.parametrize("x", [
    np.zeros((9, 40, 3)), [np.zeros((9, 40, 3))], None, frame(np.zeros((9, 3))), {1, 2},
], ids=lambda x: type(x).__name__)  # fmt: skip
def test_what_is_no_dict_of_arrays_is_refused(fitted: CroSSL, x: Any) -> None:
    message = r"(X|windows): is not a dict of arrays by modality, got \w+; needed is such as"
    for use in (make().fit, fitted.transform, Windows, make().fit_transform):
        with pytest.raises(DataError, match=message):
            use(x)


def test_a_text_is_the_path_of_a_store(fitted: CroSSL) -> None:
    for use in (make().fit, fitted.transform):
        with pytest.raises(FormatError, match="acc: is not a store, it has no manifest"):
            use("acc")


@pytest.mark.parametrize(("array", "message"), [
    ([[[1.0]] * 40, [[1.0]] * 39] * 9, "its windows are not of one shape"),
    (np.zeros((9, 40, 3), dtype=complex), "holds complex numbers; give real ones"),
    (np.full((9, 40, 3), "1.5"), "holds <U3 values; numbers are needed"),
    (np.full((9, 40, 3), None), "holds object values; numbers are needed"),
    (np.zeros((9, 40, 3), dtype="M8[s]"), r"holds datetime64\[s\] values"),
])  # fmt: skip
def test_arrays_that_would_become_others_are_refused(
    fitted: CroSSL, array: Any, message: str
) -> None:
    for use in (make().fit, fitted.transform, Windows):
        with pytest.raises(DataError, match=f"modality 'acc': {message}"):
            use({"acc": array})


def test_names_that_are_no_text_and_single_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="windows: has the key 7; names of modalities are text"):
        make().fit({7: np.zeros((9, 40, 3))})
    with pytest.raises(DataError, match="modality 'acc': is a single number"):
        Windows({"acc": 5.0})


def test_lists_that_are_an_array_are_taken(fitted: CroSSL) -> None:
    x, _ = arrays(3)
    as_lists = {name: array.tolist() for name, array in x.items()}
    np.testing.assert_array_equal(fitted.transform(as_lists), fitted.transform(x))


def test_channels_that_come_first_are_asked_about() -> None:
    x, _ = arrays()
    message = r"'acc': array of shape \(48, 3, 40\) would be 40 channels of 3 samples.*transpose"
    with pytest.raises(DataError, match=message):
        make().fit({"acc": x["acc"].transpose(0, 2, 1)})
    wide = np.random.default_rng(0).normal(size=(24, 40, 64))
    assert make().fit({"eeg": wide}).modalities_[0].channels[-1] == "63"


@pytest.mark.parametrize("huge", [1e20, 1e30, 3e38])
def test_numbers_far_from_all_that_was_seen_give_no_embedding(fitted: CroSSL, huge: float) -> None:
    x, _ = arrays(4)
    for row in (np.full((64, 1), huge), huge * np.sin(np.arange(64.0))[:, None]):
        x["ecg"][2] = row
        message = r"windows: lie beyond 1e\+15 standard deviations \('ecg' reaches [\d.]+e\+\d+\)"
        with pytest.raises(DataError, match=message):
            fitted.transform(x)


@pytest.mark.parametrize(("groups", "message"), [
    (["a"] * 40 + [None] * 8, r"8 windows have no subject \(first row 40: None\)"),
    (["a"] * 40 + [float("nan")] * 8, r"8 windows have no subject \(first row 40: nan\)"),
    (np.array([1.0] * 40 + [np.nan] * 8), r"8 windows have no subject \(first row 40: nan\)"),
    (["a"] * 24 + [1] * 24, "mix numbers and text; name subjects in one way"),
    (np.zeros((48, 2)), "has 2 dimensions; one subject a window is needed"),
    ([[1], [1, 2]] * 24, "has 2 dimensions; one subject a window is needed"),
    ([], r"0 entries of 0 subjects for 48 windows"),
    ([""] * 24 + ["b"] * 24, "is empty; a name has at least one letter"),
])  # fmt: skip
def test_groups_that_name_no_subject_are_refused(groups: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"groups: {message}"):
        make().fit(arrays()[0], groups=groups)


@pytest.mark.parametrize("seed", [None, np.random.RandomState(0), "x"])
def test_a_seed_that_is_no_number_is_refused(seed: Any) -> None:
    with pytest.raises(ConfigError, match=r"CroSSL: seed=.*: seed: a whole number is needed"):
        make(seed=seed).fit(arrays()[0])


def test_to_scikit_learn_a_modality_is_a_feature(fitted: CroSSL) -> None:
    assert fitted.n_features_in_ == 2
    assert fitted.feature_names_in_.tolist() == ["acc", "ecg"]
    tags = get_tags(fitted)
    assert (tags.input_tags.dict, tags.input_tags.allow_nan) == (True, True)
    assert not (tags.input_tags.two_d_array)
    assert not (tags.input_tags.three_d_array)
    assert not tags.target_tags.required
    assert make_pipeline(fitted).n_features_in_ == 2
    with pytest.raises(NotFittedError, match="CroSSL: is not fitted"):
        make().get_feature_names_out()


class OneSensor(CroSSL):
    """Takes what scikit-learn's checks give, (n, samples), as windows of one sensor.

    Of its checks those are left that need a matrix: with a dict of arrays it runs one only.
    """

    def fit(self, X: Any, y: Any = None) -> OneSensor:  # noqa: N803
        X = validate_data(self, X)  # noqa: N806
        super().fit({"x": X[:, :, None]}, y)
        self.n_features_in_ = X.shape[1]
        del self.feature_names_in_
        return self

    def transform(self, X: Any) -> Any:  # noqa: N803
        check_is_fitted(self)
        return super().transform({"x": validate_data(self, X, reset=False)[:, :, None]})

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.dict = True, False
        tags.input_tags.allow_nan = tags.no_validation = False
        return tags


@parametrize_with_checks([OneSensor(steps=1, batch_size=4, settings=SMALL)])
def test_scikit_learns_checks_pass(estimator: Any, check: Any, monkeypatch: Any) -> None:
    # training is tested elsewhere; here it would take a second for each of a hundred fits
    monkeypatch.setattr("crossl.estimator.pretrain", lambda method, *_, **__: method.model.eval())
    check(estimator)


def test_scikit_learns_checks_of_a_dict_pass() -> None:
    with pytest.warns(SkipTestWarning, match="dict=True"):  # it says which it cannot run
        results = check_estimator(make())
    assert [one["status"] for one in results] == ["passed"]
