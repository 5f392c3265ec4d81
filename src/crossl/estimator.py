"""The scikit-learn face: dict of arrays in, embeddings out."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import NotFittedError
from sklearn.utils.metaestimators import available_if

from crossl.api.inputs import Data, Given, refuse_empty, take_given
from crossl.api.people import facts_of
from crossl.api.run import Run, given_to, load_run
from crossl.api.training import calibrated_for, split_rows
from crossl.config import (
    RunConfig,
    build_method,
    build_model,
    config_from,
    differences,
    plain,
    with_modules,
)
from crossl.config.encoders import Modules
from crossl.data.arrays import Windows, subject_names
from crossl.data.recording import Float32
from crossl.data.store import Store
from crossl.embedding.in_memory import embedding_of, encode_windows
from crossl.errors import DataError
from crossl.train.pretrain import pretrain

__all__ = ["CroSSL", "Windows"]


def _has_classifier(estimator: CroSSL) -> bool:
    return hasattr(estimator, "classifier_")


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
        encoders: modules of your own by modality; see `crossl.build_model`.

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
        (2, 384)
    """

    def __init__(  # noqa: PLR0913 - what is set of an estimator are its arguments
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
        encoders: Modules | None = None,
    ) -> None:
        self.window_s = window_s
        self.recipe = recipe
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.keep_rate = keep_rate
        self.settings = settings
        self.seed = seed
        self.encoders = encoders

    def fit(
        self,
        X: Data,
        y: object = None,
        *,
        groups: ArrayLike | None = None,
    ) -> CroSSL:
        """Pretrain on windows without labels.

        Args:
            X: {modality: (n, time, channel)}; a window with NaN in a modality lacks it. Or a store,
                whose windows have a length of their own.
            y: ignored.
            groups: (n,) subject of each window; those of a sixth of the subjects validate. None
                takes those of a store or of `crossl.Windows`; where there are none, the last sixth
                of the windows validates.

        Raises:
            DataError: arrays that cannot be used.
            ConfigError: a setting that is not allowed.
        """
        del y
        config = self._config()
        window_s = None if isinstance(X, Store | str | Path) else self.window_s
        given = take_given(X, window_s=window_s)
        refuse_empty(given)
        if len(given) == 1:
            raise DataError("X: has 1 sample; what windows have in common takes many of them")
        people = given.subject if groups is None else subject_names("groups", groups)
        train, validation = split_rows(len(given), people)
        model = build_model(
            config, given.source.modalities, window_s=given.source.window_s, seed=config.seed,
            encoders=self.encoders,
        )  # fmt: skip
        given = calibrated_for(Run(model, config), X, given, train)
        source = given.source
        with tempfile.TemporaryDirectory(prefix="crossl-") as scratch:
            model = pretrain(
                build_method(config, model, seed=config.seed),
                source,
                train=train,
                validation=validation,
                schedule=config.schedule,
                seed=config.seed,
                out=Path(scratch),
            )
        known = None if people is None else people.astype(str)
        about = {} if known is None else facts_of(replace(given, subject=known), train, validation)
        self._keep(Run(model, config, about))
        return self

    def _keep(self, run: Run) -> None:
        """Keep what was fitted or loaded."""
        self.model_, self.config_, self.contract_ = run.model, run.config, run.contract
        for name in ("classifier_", "classes_"):
            if hasattr(self, name):
                delattr(self, name)
        if run.classifier is not None:
            self.classifier_ = run.classifier
            self.classes_ = np.array(run.classes)
        self.modalities_ = run.modalities
        self.feature_names_in_ = np.array([m.name for m in self.modalities_], dtype=object)
        self.n_features_in_ = len(self.modalities_)
        self.n_features_out_ = run.model.whole_dim

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
        return with_modules(config_from(asked, base=self.recipe, where="CroSSL"), self.encoders)

    def transform(self, X: Data) -> Float32:
        """Embed windows; modalities may be None, left out, or NaN.

        Args:
            X: {modality: (n, time, channel)}, or a store.

        Returns:
            (n, D) float32.

        Raises:
            ContractError: a modality that the model never saw, or of other shape.
            DataError: a window without any modality, or with numbers so far from those of training
                that its embedding is not finite.
        """
        run, given = self._seen(X)
        return encode_windows(run.model, given.source, embedding_of(run.model))[0]

    @available_if(_has_classifier)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def predict(self, X: Data) -> NDArray[np.str_]:
        """Name the class of each window, by the classifier that the loaded run has.

        Raises:
            ContractError: a modality that the model never saw, or of other shape.
            DataError: a window without any modality.
        """
        self._seen(X)
        return self.run_.predict(X)

    @available_if(_has_classifier)  # type: ignore[untyped-decorator]  # scikit-learn has no types
    def predict_proba(self, X: Data) -> Float32:
        """Return the probability of each of `classes_`, by the classifier of the loaded run.

        Raises:
            ContractError: a modality that the model never saw, or of other shape.
            DataError: a window without any modality.
        """
        self._seen(X)
        return self.run_.predict_proba(X)

    def _seen(self, X: Data) -> tuple[Run, Given]:
        run = self.run_
        given = given_to(run, X)
        refuse_empty(given)
        return run, given

    @property
    def run_(self) -> Run:
        """The fitted model as a run, for `crossl.fit_probe` and what else takes one."""
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; call fit, or load a fitted one")
        contract = getattr(self, "contract_", {})
        return Run(self.model_, self.config_, contract, getattr(self, "classifier_", None))

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Name the dimensions of an embedding."""
        del input_features
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; call fit, or load a fitted one")
        return np.array([f"crossl{i}" for i in range(self.n_features_out_)], dtype=object)

    def save(self, path: Path | str) -> None:
        """Write a run folder: weights, settings, what input must look like, and the classifier."""
        if not hasattr(self, "model_"):
            raise NotFittedError("CroSSL: is not fitted; there is nothing to save")
        asked = {k: plain(v) for k, v in self.get_params(deep=False).items()
                 if k != "encoders"}  # fmt: skip
        run = self.run_
        replace(run, contract={**run.contract, "estimator": asked}).save(path)

    @classmethod
    def load(cls, path: Path | str, *, encoders: Modules | None = None) -> CroSSL:
        """Load what `save` or the command line wrote.

        With the classifier of `crossl probe`, if the run has one: then there are `predict`,
        `predict_proba` and `classes_`.

        Args:
            path: the folder.
            encoders: of an estimator that had some, such modules again.

        Raises:
            ConfigError: such a module is missing, or not wanted.
            FormatError: no such folder, of another version, truncated or altered.
        """
        run = load_run(path, encoders=encoders)
        estimator = cls(**(run.contract.get("estimator") or _parameters(run)), encoders=encoders)
        estimator._keep(run)
        return estimator


def _parameters(run: Run) -> dict[str, Any]:
    """Return parameters of an estimator that would fit as a run of the command line was trained."""
    settings = differences(run.config)
    seed = settings.pop("seed", 0)
    return {"window_s": run.window_s, "recipe": run.config.recipe, "settings": settings or None,
            "seed": seed}  # fmt: skip
