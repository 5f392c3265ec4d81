"""A network that another run pretrained, on other people with perhaps other sensors and rates.

Encoders know nothing of the length of a window or of its rate, and the default aggregator has a
network for each modality and one for all. So each modality may begin with what another run learned
of one like it: the waist's accelerometer with the phone's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from crossl.config import RunConfig, build_model
from crossl.config.build import check_parts
from crossl.config.schema import ContenderConfig
from crossl.contenders.contender import Context, Outcome
from crossl.contenders.networks import features_of, probes_of, trained_on
from crossl.data.recording import Modality
from crossl.errors import ConfigError, ContractError, SplitError, nearest
from crossl.methods import MethodConfig
from crossl.nn.features import FeaturesConfig
from crossl.nn.model import CrossModalModel
from crossl.nn.narrowed import begin_as
from crossl.registry import METHODS, register
from crossl.run_folder import Run, load_run
from crossl.settings import OneOf
from crossl.stored import learned_from
from crossl.train.schedule import Schedule


class TransferredConfig(ContenderConfig):
    """A network that begins as another run's.

    Attributes:
        run: the run folder; a path from where the command is given. `{fold}` in it is the number
            of the fold.
        modalities: which modality of that run each of the store's begins as; one that is not named
            begins as that of its own name, if there is one, else with random weights.
        schedule: how long it is pretrained further on the fold's training subjects; None for not at
            all: only standardisation and untrained features are fitted to them.
        method: what that further pretraining minimises; None for the experiment's.
        features: untrained, beside the embedding; `off` for none where the run file has some.
        head: which embedding the probe reads.
        same_names: people with the names of those whom the run learned from are other people.
    """

    came_later: ClassVar[tuple[str, ...]] = ("same_names",)

    kind: Literal["transferred"] = "transferred"
    run: Path
    modalities: dict[str, str] = Field(default_factory=dict)
    schedule: Schedule | None = None
    method: Annotated[MethodConfig, OneOf(METHODS, "crossl")] | None = None
    features: FeaturesConfig | Literal["off"] | None = None
    head: Literal["aggregator", "encoders"] = "aggregator"
    same_names: bool = False

    @property
    def repeats(self) -> Literal["all", "none"]:  # type: ignore[override]
        """What is not trained further draws nothing anew."""
        return "none" if self.schedule is None else "all"

    def within(self, config: RunConfig, run: Run, own: tuple[Modality, ...]) -> RunConfig:
        """Return the settings of the network: the run's encoders and aggregator, by its names here.

        Args:
            config: of the experiment.
            run: that it begins as.
            own: modalities of the experiment's store.
        """
        theirs = run.config
        encoders = {m.name: theirs.encoders[self.origin(m.name)] for m in own
                    if self.origin(m.name) in theirs.encoders}  # fmt: skip
        given: dict[str, Any] = {
            "encoder": theirs.encoder, "encoders": encoders, "aggregator": theirs.aggregator,
            "shared_encoders": (), "frozen_encoders": (), "own_encoders": (), "contenders": {},
        }  # fmt: skip
        asked = {"schedule": self.schedule, "method": self.method, "features": self.features}
        given |= {name: block for name, block in asked.items() if block is not None}
        if self.features == "off":
            given["features"] = None
        if self.schedule is None:  # no method is asked of it
            given["method"] = MethodConfig()
        return config.model_copy(update=given)

    def origin(self, name: str) -> str:
        """Name the run's modality that one of the store's begins as."""
        return self.modalities.get(name, name)

    def look_up(self, *, where: str) -> None:
        """Refuse a path where no run is; one that differs by fold is looked for in its fold."""
        if "{fold}" not in str(self.run) and not (self.run / "model.json").is_file():
            raise ConfigError(
                f"{where}: run: {self.run} is no run folder (it has no model.json); give one that "
                "`crossl pretrain` made, or a fold of `crossl benchmark`"
            )

    def build(self, name: str) -> Transferred:
        """Make the contender."""
        return Transferred(name, self)


@dataclass(frozen=True)
class Transferred:
    """Begins with another run's weights, is perhaps pretrained further, and is probed."""

    name: str
    settings: TransferredConfig

    def outcomes(self, context: Context) -> Iterator[Outcome]:
        """Yield what the probes say.

        Raises:
            SplitError: the run learned from people whom the fold tests.
            ConfigError: modalities that are not there.
            ContractError: no modality of the run fits.
        """
        model = self._model(context)
        probes = probes_of(context, model, self.settings.head, f"probing {self.name}")
        yield from context.outcomes(context.draws, probes, context.tables(model)["test"])

    def _model(self, context: Context) -> CrossModalModel:
        path = Path(str(self.settings.run).replace("{fold}", str(context.fold.index)))
        run, own = load_run(path), context.store.modalities
        where = f"contenders.{self.name}"
        self._refuse_tested_people(run, context, where)
        origins = self._origins(run, own, where)
        config = self.settings.within(context.config, run, own)
        check_parts(config, where=where)
        model = build_model(config, own, window_s=context.store.window_s, seed=config.seed)
        if not begin_as(model, run.model, origins):
            raise ContractError(
                f"{where}: no encoder of {run.path} fits: modalities need as many "
                "channels; say which begin as which by modalities: {OWN: THEIRS}"
            )
        if self.settings.schedule is not None:
            return trained_on(context, config, model)
        model.standardiser.fit(context.store, context.fold.train)
        return model.with_features(features_of(context, config)).eval()

    def _origins(self, run: Run, own: tuple[Modality, ...], where: str) -> dict[str, str]:
        """Return the run's modality for each that has one.

        Raises:
            ConfigError: names that are not there.
        """
        names, theirs = [m.name for m in own], [m.name for m in run.model.modalities]
        for asked, known, whose in (
            (self.settings.modalities.keys(), names, "the store"),
            (self.settings.modalities.values(), theirs, str(run.path)),
        ):
            for name in sorted(set(asked) - set(known)):
                raise ConfigError(
                    f"{where}: modalities: {whose} has no '{name}'; {nearest(name, known)}"
                )
        found = {name: self.settings.origin(name) for name in names}
        return {name: origin for name, origin in found.items() if origin in theirs}

    def _refuse_tested_people(self, run: Run, context: Context, where: str) -> None:
        """Refuse a run that learned from people who are tested here, as far as names tell."""
        names = context.store.subject[context.fold.test].tolist()
        tested = sorted(learned_from(run.contract) & set(names))
        if tested and not self.settings.same_names:
            raise SplitError(
                f"{where}: {run.path} learned from '{tested[0]}', whom fold {context.fold.index} "
                "tests; take a run of other people, or say same_names: true if these are others"
            )


register("contender", TransferredConfig)
