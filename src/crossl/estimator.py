"""The scikit-learn face: dict of arrays in, embeddings out."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError

from crossl.config import build_method, build_model, load_config
from crossl.data.batch import in_batches
from crossl.data.recording import Float32, Modality
from crossl.data.source import ArraySource
from crossl.errors import ContractError, DataError, FormatError
from crossl.files import working_in
from crossl.learn.pretrain import pretrain
from crossl.nn.model import CrossModalModel, check_contract
from crossl.run import load_run, save_run

Signals = Mapping[str, NDArray[np.floating[Any]] | None]

VALIDATION_SHARE = 1 / 6


class Windows(Mapping[str, Any]):
    """Arrays by modality that scikit-learn can also cut by row, as cross-validation does.

    Args:
        signals: {modality: (n, time, channel) array, or None}.

    Examples:
        >>> x = Windows({"acc": np.zeros((4, 50, 3)), "ecg": None})
        >>> x.shape, x[[0, 2]]["acc"].shape
        ((4,), (2, 50, 3))
    """

    def __init__(self, signals: Signals) -> None:
        self._signals = {k: None if v is None else np.asarray(v) for k, v in signals.items()}
        lengths = {len(v) for v in self._signals.values() if v is not None}
        if len(lengths) != 1:
            raise DataError(f"windows: modalities have {sorted(lengths)} windows; one number only")
        self.shape = (lengths.pop(),)

    def __getitem__(self, key: Any) -> Any:
        """Return a modality by name, or a `Windows` of rows."""
        if isinstance(key, str):
            return self._signals[key]
        rows = key[0] if isinstance(key, tuple) else key
        return Windows({k: None if v is None else v[rows] for k, v in self._signals.items()})

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of modalities."""
        return iter(self._signals)

    def __len__(self) -> int:
        """Count the windows, as scikit-learn expects; `shape[0]` says the same."""
        return self.shape[0]


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
            `{"encoder.width": 32}`.
        seed: of weights, masks, augmentations and batches.

    Attributes:
        model_: the trained network.
        modalities_: what it was trained on.
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
        config = load_config(base=self.recipe, overrides=self._overrides())
        source = self._source(X, _declare(X, self.window_s))
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
        width = len(self.modalities_), self.model_.latent_dim
        none = torch.zeros(1, *width)
        self.n_features_out_ = self.model_.aggregate(none, torch.ones(1, width[0]).bool()).shape[1]

    def _overrides(self) -> list[str]:
        named: dict[str, Any] = {
            "schedule.steps": self.steps,
            "schedule.batch_size": self.batch_size,
            "schedule.lr": self.lr,
            "method.keep_rate": self.keep_rate,
        }
        asked = {name: value for name, value in named.items() if value is not None}
        if self.steps is not None:
            asked["schedule.epochs"] = None
        asked |= {**(self.settings or {}), "seed": self.seed}
        return [f"{name}={'null' if v is None else v}" for name, v in asked.items()]

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
            DataError: a window without any modality.
        """
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; call fit, or load a fitted one")
        unseen = sorted(set(X) - {m.name for m in self.modalities_})
        if unseen:
            raise ContractError(
                f"modality '{unseen[0]}': the model never saw it; it was made for "
                f"{[m.name for m in self.modalities_]}"
            )
        source = self._source(X, self.modalities_)
        check_contract(self.model_, source)
        with torch.inference_mode():
            parts = [self.model_(batch) for batch in in_batches(source, np.arange(len(source)))]
        return np.asarray(torch.cat([torch.zeros(0, self.n_features_out_), *parts]))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the dimensions of an embedding."""
        del input_features
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
    if not window_s > 0:
        raise DataError(f"windows: window_s is {window_s}; a positive number of seconds is needed")
    if not list(X):
        raise DataError("X: is empty; at least one modality is needed")
    out = []
    for name, array in X.items():
        if array is None:
            raise DataError(
                f"modality '{name}': is None in fit; leave it out, a model cannot learn what was "
                "never recorded"
            )
        shape = np.shape(array)
        if len(shape) != 3:
            raise DataError(
                f"modality '{name}': array has shape {shape}; allowed is (n, time, channel)"
            )
        channels = tuple(str(i) for i in range(shape[2]))
        out.append(Modality(name, channels, "", shape[1] / window_s))
    return out


def _split(n: int, groups: ArrayLike | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into training and validation, by group where groups are known."""
    if groups is None:
        cut = n - max(2, round(n * VALIDATION_SHARE))
        return np.arange(cut), np.arange(cut, n)
    names = np.asarray(groups)
    unique = np.unique(names)
    if len(names) != n or len(unique) < 2:
        raise DataError(
            f"groups: {len(names)} entries of {len(unique)} subject(s) for {n} windows; one entry "
            "per window and at least 2 subjects are needed"
        )
    chosen = np.isin(names, unique[-max(1, round(len(unique) * VALIDATION_SHARE)) :])
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)
