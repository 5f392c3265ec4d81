"""The scikit-learn face: dict of arrays in, embeddings out."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from crossl.config import RunConfig, build_method, build_model, config_from
from crossl.data.arrays import Signals, Windows, check_named
from crossl.data.batch import in_batches
from crossl.data.recording import Float32, Modality
from crossl.data.source import ArraySource, as_windows
from crossl.errors import ContractError, DataError, FormatError, counted
from crossl.files import working_in
from crossl.nn.finite import check_finite, check_reach
from crossl.nn.model import CrossModalModel, check_contract
from crossl.run_folder import load_run, save_run
from crossl.train.pretrain import pretrain

__all__ = ["CroSSL", "Windows"]

VALIDATION_SHARE = 1 / 6
MOST_CHANNELS = 3
"""Channels per sample of a window; with more the axes are likely the other way round."""


class CroSSL(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Learn embeddings of windows of many sensors without labels; sensors may be missing.

    Args:
        window_s: length of a window, seconds; a modality's rate is its samples over this.
        recipe: `crossl`, or `paper` for the published method.
        steps: optimiser steps of pretraining; None for the recipe's.
        batch_size: windows a step; None for the recipe's.
        lr: peak learning rate; None for the recipe's.
        keep_rate: probability that a view keeps a modality; None for the recipe's.
        settings: any other setting of a run file by dotted name, such as
            `{"encoder.width": 32}`; values are Python's.
        seed: of weights, masks, augmentations and batches.

    Attributes:
        model_: the trained network.
        modalities_: what it was trained on.
        feature_names_in_: their names; `n_features_in_` counts them. To scikit-learn a column of
            the input is a feature; here it is a modality.
        n_features_out_: dimensions of an embedding.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> x = {"acc": rng.normal(size=(24, 50, 3)), "ecg": rng.normal(size=(24, 100, 1))}
        >>> embedder = CroSSL(window_s=1.0, steps=2, batch_size=8).fit(x)
        >>> embedder.transform({"acc": x["acc"][:2], "ecg": None}).shape
        (2, 256)
    """

    def __init__(
        self,
        *,
        window_s: float = 1.0,
        recipe: str = "crossl",
        steps: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        keep_rate: float | None = None,
        settings: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.window_s = window_s
        self.recipe = recipe
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.keep_rate = keep_rate
        self.settings = settings
        self.seed = seed

    def fit(
        self,
        X: Signals,
        y: object = None,
        *,
        groups: ArrayLike | None = None,
    ) -> CroSSL:
        """Pretrain on windows without labels.

        Args:
            X: {modality: (n, time, channel)}; a window with NaN in a modality lacks it.
            y: ignored.
            groups: (n,) subject of each window; those of a sixth of the subjects validate. None
                validates on the last sixth of the windows.

        Raises:
            DataError: arrays that cannot be used.
            ConfigError: a setting that is not allowed.
        """
        del y
        config = self._config()
        source = self._source(X, _declare(X, self.window_s))
        if len(source) == 1:
            raise DataError("X: has 1 sample; what windows have in common takes many of them")
        train, validation = _split(len(source), groups)
        model = build_model(config, source.modalities, window_s=self.window_s, seed=config.seed)
        with tempfile.TemporaryDirectory(prefix="crossl-") as scratch:
            self.model_: CrossModalModel = pretrain(
                build_method(config, model, seed=config.seed),
                source,
                train=train,
                validation=validation,
                schedule=config.schedule,
                seed=config.seed,
                out=Path(scratch),
            )
        self.config_ = config
        self._describe_fit()
        return self

    def _describe_fit(self) -> None:
        self.modalities_ = self.model_.modalities
        self.feature_names_in_ = np.array([m.name for m in self.modalities_], dtype=object)
        self.n_features_in_ = len(self.modalities_)
        width = len(self.modalities_), self.model_.latent_dim
        none = torch.zeros(1, *width)
        self.n_features_out_ = self.model_.aggregate(none, torch.ones(1, width[0]).bool()).shape[1]

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn that a dict of arrays is taken, with NaN, and checked here."""
        tags = super().__sklearn_tags__()
        tags.input_tags.dict = True
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = False  # only in a dict
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.no_validation = True
        return tags

    def _config(self) -> RunConfig:
        named: dict[str, Any] = {
            "schedule.steps": self.steps,
            "schedule.batch_size": self.batch_size,
            "schedule.lr": self.lr,
            "method.keep_rate": self.keep_rate,
        }
        asked = {name: value for name, value in named.items() if value is not None}
        if self.steps is not None:
            asked["schedule.epochs"] = None
        given = {} if self.settings is None else self.settings
        asked = {**asked, **given, "seed": self.seed} if isinstance(given, Mapping) else given
        return config_from(asked, base=self.recipe, where="CroSSL")

    def _source(self, X: Signals, modalities: Sequence[Modality]) -> ArraySource:
        source = ArraySource(X, modalities=modalities, window_s=self.window_s)
        empty = np.flatnonzero(~source.present.any(axis=1))
        if len(empty):
            told = ", ".join(str(row) for row in empty[:5])
            raise DataError(
                f"windows: {len(empty)} have no modality present (row {told}); drop them"
            )
        return source

    def transform(self, X: Signals) -> Float32:
        """Embed windows; modalities may be None, left out, or NaN.

        Returns:
            (n, D) float32.

        Raises:
            ContractError: a modality that the model never saw, or of other shape.
            DataError: a window without any modality, or with numbers so far from those of training
                that its embedding is not finite.
        """
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; call fit, or load a fitted one")
        check_named("X", X)
        unseen = sorted(set(X) - {m.name for m in self.modalities_})
        if unseen:
            raise ContractError(
                f"modality '{unseen[0]}': the model never saw it; it was made for "
                f"{[m.name for m in self.modalities_]}"
            )
        source = self._source(X, self.modalities_)
        check_contract(self.model_, source)
        parts = [np.zeros((0, self.n_features_out_), dtype=np.float32)]
        with torch.inference_mode():
            for batch in in_batches(source, np.arange(len(source))):
                check_reach("windows", self.model_.standardiser, batch.signals)
                parts.append(self.model_(batch).numpy())
                check_finite("windows", parts[-1], batch.signals)
        return np.concatenate(parts)

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the dimensions of an embedding."""
        del input_features
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; call fit, or load a fitted one")
        return np.array([f"crossl{i}" for i in range(self.n_features_out_)], dtype=object)

    def save(self, path: Path | str) -> None:
        """Write a run folder: weights, settings and what input must look like."""
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; there is nothing to save")
        asked = {k: _plain(v) for k, v in self.get_params(deep=False).items()}
        with working_in(Path(path), "is saving into this folder"):
            save_run(Path(path), self.model_, self.config_, about={"estimator": asked})

    @classmethod
    def load(cls, path: Path | str) -> CroSSL:
        """Load what `save` wrote.

        Raises:
            FormatError: no such folder, of another version, truncated or altered.
        """
        run = load_run(path)
        if "estimator" not in run.contract:
            raise FormatError(f"{path}: was not saved by CroSSL.save; use `crossl embed` for runs")
        estimator = cls(**run.contract["estimator"])
        estimator.model_, estimator.config_ = run.model, run.config
        estimator._describe_fit()
        return estimator


def _plain(value: Any) -> Any:
    """Turn numpy's numbers, as searches over parameters hand them out, into JSON values."""
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def _declare(X: Signals, window_s: float) -> list[Modality]:
    """Describe modalities from their arrays."""
    if not isinstance(window_s, Real) or not 0 < window_s < math.inf:
        raise DataError(
            f"windows: window_s is {window_s!r:.40}; a positive number of seconds is needed"
        )
    check_named("X", X)
    if not list(X):
        raise DataError("X: is empty; at least one modality is needed")
    out = []
    for name, array in X.items():
        if array is None:
            raise DataError(
                f"modality '{name}': is None in fit; leave it out, a model cannot learn what was "
                "never recorded"
            )
        shape = as_windows(f"modality '{name}'", array).shape
        if len(shape) != 3:
            raise DataError(
                f"modality '{name}': array has shape {shape}; allowed is (n, time, channel)"
            )
        if shape[2] > MOST_CHANNELS * shape[1] > 0:
            raise DataError(
                f"modality '{name}': array of shape {shape} would be {shape[2]} channels of "
                f"{shape[1]} samples, and (n, time, channel) is needed; if channels come first, "
                "give array.transpose(0, 2, 1)"
            )
        channels = tuple(str(i) for i in range(shape[2]))
        out.append(Modality(name, channels, "", shape[1] / window_s))
    return out


def _subjects(groups: ArrayLike) -> NDArray[Any]:
    """Return the subject of each window; refuse those without one, and names of several kinds."""
    told = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)  # type: ignore[arg-type]
    unknown = [at for at, one in enumerate(told) if _is_missing(one)]
    if unknown:
        raise DataError(
            f"groups: {len(unknown)} windows have no subject (first row {unknown[0]}: "
            f"{told[unknown[0]]!r}); name one for each, or leave these windows out"
        )
    kinds = sorted({"text" if isinstance(one, str) else "numbers" for one in told})
    if len(kinds) > 1:
        raise DataError(f"groups: mix {' and '.join(kinds)}; name subjects in one way")
    try:
        names = np.asarray(told)
    except ValueError:
        names = np.zeros((0, 2))
    if names.ndim != 1:
        raise DataError(f"groups: has {names.ndim} dimensions; one subject a window is needed")
    return names


def _is_missing(one: Any) -> bool:
    return (
        one is None
        or type(one).__name__ in ("NAType", "NaTType")
        or bool(isinstance(one, float) and math.isnan(one))
    )


def _split(n: int, groups: ArrayLike | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and validation, by group where groups are known."""
    if groups is None:
        cut = n - max(2, round(n * VALIDATION_SHARE))
        return np.arange(cut), np.arange(cut, n)
    names = _subjects(groups)
    unique = np.unique(names)
    if len(names) != n or len(unique) < 2:
        raise DataError(
            f"groups: {len(names)} entries of {counted(len(unique), 'subject')} for {n} windows; "
            "one entry per window and at least 2 subjects are needed"
        )
    chosen = np.isin(names, unique[-max(1, round(len(unique) * VALIDATION_SHARE)) :])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
