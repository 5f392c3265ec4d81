"""Contenders that read a network which no label has changed: pretrained or untrained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from crossl.config import RunConfig, build_method, build_model
from crossl.contenders.contender import Context, Outcome
from crossl.contenders.network_settings import Heads, NetworkConfig, PretrainingConfig
from crossl.data.calibrated import recorded
from crossl.doctor.usable import usable_facts
from crossl.evaluate.budgets import VALIDATION
from crossl.evaluate.latents import Head
from crossl.evaluate.probe import Probe, fit_by_budget
from crossl.evaluate.probe_facts import probe_facts
from crossl.methods import MethodConfig
from crossl.nn.features import ModalityFeatures
from crossl.nn.model import CrossModalModel
from crossl.registry import register
from crossl.run_folder import load_run, run_facts, save_probe, save_run
from crossl.train.pretrain import pretrain


@dataclass(frozen=True)
class Probed:
    """Linear probes on the experiment's own pretrained model; the main one is kept in its run."""

    heads: Sequence[Head]

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the probes of each head say."""
        for head in self.heads:
            probes = probes_of(context, context.main, head, f"probing {context.config.recipe}")
            if head == self.heads[0]:
                kept = VALIDATION if VALIDATION in probes else context.budgets[0]
                self._keep_main(context, probes[kept])
            test = context.tables(context.main)["test"]
            yield from context.outcomes(context.draws, probes, test)

    @staticmethod
    def _keep_main(context: Context, probes: Sequence[Probe]) -> None:
        """Save the probe that the run folder offers to its users."""
        for (fraction, seed, rows), probe in zip(context.draws, probes, strict=True):
            if (fraction, seed) == (context.config.evaluation.main_fraction, 0):
                tables, store, fold = context.tables(context.main), context.store, context.fold
                train = tables["train"].take(np.searchsorted(fold.train, rows))
                known = np.union1d(fold.train, fold.validation)
                about = {
                    "label_fraction": fraction, "seed": seed, "windows": len(rows),
                    **probe_facts(probe, train, tables["validation"], store),
                    **usable_facts(store.modalities, recorded(store), known),
                }  # fmt: skip
                save_probe(context.folder, probe, about=about)


@dataclass(frozen=True)
class SubsetProbed:
    """The reference: a probe for each subset of sensors, trained on it and tested on it."""

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what each subset's own probes say, at the main fraction and with all labels."""
        wanted = {context.config.evaluation.main_fraction, 1.0}
        draws = [draw for draw in context.draws if draw[0] in wanted]
        tables = context.tables(context.main)
        for number, subset in enumerate(context.choices):
            context.tell("probing each subset", number, len(context.choices))
            shown = [
                (tables["train"].take(np.searchsorted(context.fold.train, rows)), seed)
                for _, seed, rows in draws
            ]
            probes = fit_by_budget(shown, tables["validation"], subset=subset, missing=False,
                                   budgets=context.budgets)  # fmt: skip
            yield from context.outcomes(draws, probes, tables["test"], [subset])


class UntrainedConfig(NetworkConfig):
    """Another network with random weights, such as one of other encoders.

    Attributes:
        head: which embedding the probe reads.
    """

    kind: Literal["untrained"] = "untrained"
    head: Literal["aggregator", "encoders"] = "encoders"

    def build(self, name: str) -> Untrained:
        """Make the contender."""
        return Untrained(name, self)


@dataclass(frozen=True)
class Untrained:
    """Linear probes on the latents of the same network with random weights, or of another."""

    name: str = "untrained"
    settings: UntrainedConfig = field(default_factory=UntrainedConfig)

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the probes say."""
        model = untrained(context, self.settings)
        probes = probes_of(context, model, self.settings.head, f"probing {self.name}")
        yield from context.outcomes(context.draws, probes, context.tables(model)["test"])


class PretrainedConfig(PretrainingConfig):
    """Another pretraining on the same fold: the experiment's settings but for what is given.

    Attributes:
        head: which embedding the probe reads.
        heads: several embeddings, each read by probes of its own; none for `head` alone.
    """

    came_later: ClassVar[tuple[str, ...]] = (*PretrainingConfig.came_later, "heads")

    kind: Literal["pretrained"] = "pretrained"
    head: Literal["aggregator", "encoders"] = "aggregator"
    heads: Heads = ()

    def build(self, name: str) -> Pretrained:
        """Make the contender."""
        return Pretrained(name, self)


@dataclass(frozen=True)
class Pretrained:
    """Pretrains in a folder of its own, then probes as the main method does.

    Where nothing of the network differs from the experiment's, it reads that one.
    """

    name: str
    settings: PretrainedConfig

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the probes say."""
        model = self._model(context)
        for head in self.settings.heads or (self.settings.head,):
            probes = probes_of(context, model, head, f"probing {self.name}")
            yield from context.outcomes(context.draws, probes, context.tables(model)["test"])

    def _model(self, context: Context) -> CrossModalModel:
        if (context.folder / "model.json").is_file():
            return load_run(context.folder).model
        self.settings.check(context.config, where=f"contenders.{self.name}")
        own = self.settings.within(context.config)
        if self.settings.seed is not None:  # repeats have seeds of their own, from it on
            own = own.model_copy(update={"seed": self.settings.seed + context.repeat})
        if own == context.config.model_copy(update={"contenders": {}}):
            return context.main  # it differs in what reads the network alone
        if differs_by_features(own, context.config):
            return _beside_main(context, own)
        return pretrained(context, own)


def differs_by_features(merged: RunConfig, config: RunConfig) -> bool:
    """Tell whether a contender's network is the experiment's own, but for untrained features."""
    others: dict[str, Any] = {"features": config.features, "contenders": {}}
    same = merged.model_copy(update=others) == config.model_copy(update={"contenders": {}})
    return same and merged.features != config.features


def _beside_main(context: Context, config: RunConfig) -> CrossModalModel:
    """Put features beside the experiment's pretrained network, which is not trained again."""
    return context.main.with_features(features_of(context, config)).eval()


def features_of(context: Context, config: RunConfig) -> ModalityFeatures | None:
    """Return the untrained features that a run file asks for, fitted on the fold's training rows.

    Those of the experiment's own model are not fitted again.
    """
    main, store = context.main, context.store
    if config.features is None:
        return None
    if config.features == context.config.features:
        return main.features
    features = config.features.build(store.modalities, store.window_s)
    features.fit(store, context.fold.train, main.standardiser)
    return features


def pretrained(context: Context, config: RunConfig) -> CrossModalModel:
    """Pretrain a model on a fold's training subjects into the context's folder."""
    store = context.store
    model = build_model(config, store.modalities, window_s=store.window_s, seed=config.seed)
    return trained_on(context, config, model)


def trained_on(context: Context, config: RunConfig, model: CrossModalModel) -> CrossModalModel:
    """Pretrain a model, with the weights that it has, into the context's folder."""
    store, fold = context.store, context.fold
    trained = pretrain(
        build_method(config, model, seed=config.seed),
        store,
        train=fold.train,
        validation=fold.validation,
        schedule=config.schedule,
        seed=config.seed,
        out=context.folder,
        resume=True,
        progress=lambda done, total, _: context.tell("pretraining step", done, total),
    )
    save_run(context.folder, trained, config, about=run_facts(store, fold))
    return trained


def untrained(context: Context, settings: NetworkConfig, *, another: int = 0) -> CrossModalModel:
    """Return the experiment's network, but for some settings, with random weights.

    Its standardisation is fitted, and so are untrained features, if it has them.

    Args:
        context: of the fold.
        settings: that differ.
        another: of others there are as many as one likes, by number.
    """
    config, store = settings.within(context.config), context.store
    config = config.model_copy(update={"method": MethodConfig()})  # none is asked of it
    model = build_model(config, store.modalities, window_s=store.window_s,
                        seed=config.seed + 1000 + another)  # fmt: skip
    model.fit(store, context.fold.train)
    return model.eval()


def probes_of(
    context: Context, model: CrossModalModel, head: Head, what: str
) -> dict[str, list[Probe]]:
    """Fit a probe on a network's latents for each label draw, by label budget."""
    tables = context.tables(model)
    shown = context.labelled(tables["train"], what)
    return fit_by_budget(shown, tables["validation"], head=head, budgets=context.budgets)


for _config in (PretrainedConfig, UntrainedConfig):
    register("contender", _config)
