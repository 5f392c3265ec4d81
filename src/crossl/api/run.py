"""A run in Python: a model, its classifier if it has one, and what its input must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from crossl import run_folder
from crossl.api.inputs import Given, Recorded, known_of, take_given
from crossl.api.outputs import blank, said_by
from crossl.api.timelines import log_warnings, see, timeline_columns
from crossl.commands.probe import OF_A_PROBE
from crossl.config import RunConfig
from crossl.config.encoders import Modules
from crossl.data.calibrated import calibration_of
from crossl.data.calibration import Calibration
from crossl.data.recording import Float32, Modality, Recording
from crossl.data.windower import Windower
from crossl.embedding.in_memory import embedding_of, encode_windows, latents_of, outputs_of
from crossl.errors import FormatError
from crossl.evaluate.probe import Probe
from crossl.files import read_json, working_in
from crossl.nn.model import CrossModalModel
from crossl.predict.live import LiveClassifier
from crossl.predict.manner import Asked
from crossl.predict.opening import LiveOptions, open_live, windower_of
from crossl.sharing.hub import fetch_run, is_address

OF_EACH_RUN = {"format", "version", "sha256", "modalities", "window_s", "latent_dim", "versions",
               "commit", "files"}  # fmt: skip
OF_EACH_PROBE = {"format", "version", "sha256", "task", "head", "classes", "class_numbers",
                 "strength", "validation_score", "weights", "arrays"}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Classifier:
    """A probe, and what it was fitted on.

    Attributes:
        probe: fitted on embeddings.
        about: what it was fitted on: `label_fraction`, `seed`, and of other windows than the
            run's own who trained and chose.
    """

    probe: Probe
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of its outputs, in order."""
        return tuple(self.probe.task.names[i] for i in self.probe.classes)


@dataclass(frozen=True, eq=False)
class Run:
    """A model, its classifier if it has one, and what its input must be.

    `load_run`, `build_model`, `pretrain` and `fit_probe` make one. Windows are a `Store`, the path
    of one, or arrays {modality: (n, time, channel)}; what was not recorded is NaN, None or left
    out. A `Recording` is cut as the run's windows were. Of a store or a recording, modalities that
    the run never saw are left out. A run that calibrates windows by their recording (the setting
    `standardisation`) takes those of a store or a recording, or those that its `windower` cut.

    Attributes:
        model: a `torch.nn.Module`, in evaluation mode.
        config: how it was made.
        contract: what `model.json` says: people, store, versions.
        classifier: None where none was fitted.
        path: the folder it was loaded from or saved to; None where it is in memory only.

    Examples:
        >>> import crossl
        >>> rng = np.random.default_rng(0)
        >>> x = {"acc": rng.normal(size=(24, 50, 3)), "ecg": rng.normal(size=(24, 100, 1))}
        >>> run = crossl.build_model(x, window_s=1.0)
        >>> run.embed({"acc": x["acc"][:2]}).shape
        (2, 384)
        >>> [m.name for m in run.modalities], run.window_s
        (['acc', 'ecg'], 1.0)
    """

    model: CrossModalModel
    config: RunConfig
    contract: Mapping[str, Any] = field(default_factory=dict)
    classifier: Classifier | None = None
    path: Path | None = None

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The sensors that the model was made for, with channels, unit and rate."""
        return self.model.modalities

    @property
    def window_s(self) -> float:
        """Length of a window, seconds."""
        return self.model.window_s

    @property
    def calibration(self) -> Calibration | None:
        """How windows are calibrated, each by its recording; None for not at all."""
        return calibration_of(self.config.standardisation, self.contract)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of what is predicted, in the order of `predict_proba`; empty without classifier.

        Classes; of other tasks labels or numbers.
        """
        return self.classifier.classes if self.classifier is not None else ()

    def windower(
        self, *, max_delay_s: float = 2.0, start_s: float | None = None, in_order: bool = False
    ) -> Windower:
        """Make what cuts such windows from chunks of signals as those that were learned from.

        Args:
            max_delay_s: how far behind the newest sample a chunk may begin, seconds.
            start_s: start of the first window; None for the earliest sample.
            in_order: chunks of one sensor never change places.

        Raises:
            ContractError: the run does not say how its windows were cut, as runs of older versions
                and those learned from arrays; or it calibrates windows by their whole recording.
        """
        how = LiveOptions(max_delay_s, in_order, start_s)
        return windower_of(self.contract, self.modalities, self.calibration, how)

    def live(  # noqa: PLR0913 - what a person may ask for
        self, *, abstain: float | None = None, context: str | None = None,
        sets: float | None = None, keep_unusable: bool = False, resample: Sequence[str] = (),
        max_delay_s: float = 2.0, in_order: bool = False,
        origin_unix_s: float | None = None, zone: str = "",
    ) -> LiveClassifier:  # fmt: skip
        """Make what labels a stream as `timeline` would label it as a recording.

        Args:
            abstain: see `timeline`.
            context: `off` or `causal`; None for that where validation subjects say that it helps.
            sets: see `timeline`.
            keep_unusable: see `timeline`.
            resample: see `timeline`.
            max_delay_s: see `windower`.
            in_order: see `windower`.
            origin_unix_s: where the clock's 0 lies on the calendar, seconds since 1970.
            zone: IANA name of the time zone.

        Raises:
            ConfigError: see `timeline`; or a context that a stream cannot know.
            FormatError: see `timeline`.
            ContractError: see `windower`.
        """
        asked = Asked(abstain, context, sets, keep_unusable)
        how = LiveOptions(max_delay_s, in_order, None, resample, asked, origin_unix_s, zone)
        probe, about = (fitted := self._fitted()).probe, fitted.about
        return open_live(self.model, self.contract, self.calibration, probe, about, how)

    def embed(self, x: Recorded) -> Float32:
        """Embed windows.

        Returns:
            (n, D) float32; NaN for a window in which nothing was recorded.

        Raises:
            ContractError: windows that the model was not made for.
            DataError: arrays that cannot be used.
        """
        return encode_windows(self.model, self._source(x), embedding_of(self.model))[0]

    def latents(self, x: Recorded) -> Float32:
        """Encode each modality by itself.

        Returns:
            (n, M, K) float32; NaN for a modality that was not recorded.

        Raises:
            ContractError: windows that the model was not made for.
            DataError: arrays that cannot be used.
        """
        source = self._source(x)
        (latent,) = encode_windows(self.model, source, latents_of)
        return blank(latent, source.present)

    def predict_proba(self, x: Recorded) -> Float32:
        """Return the probability of each class.

        Returns:
            (n, classes) float32, in the order of `classes`; NaN for a window in which nothing was
            recorded.

        Raises:
            FormatError: no classifier was fitted, or what it says are numbers.
            ContractError: windows that the model was not made for.
            DataError: arrays that cannot be used.
        """
        found = self._fitted().probe.task.probabilities(self._outputs(x))
        if found is None:
            raise FormatError(
                f"{self.path or 'run'}: its classifier predicts {', '.join(self.classes)} as "
                "numbers, which have no probability; use predict"
            )
        return found.astype(np.float32)

    def predict(self, x: Recorded) -> NDArray[Any]:
        """Name the most probable class of each window.

        Returns:
            (n,) text, empty for a window in which nothing was recorded. Of a task of several labels
            (n, labels), 1 or 0, of numbers (n, numbers), in the order of `classes`; -1 or NaN for
            such a window. A task that reads neighbours finds them in a store; windows in memory
            are read each alone.

        Raises:
            FormatError: no classifier was fitted.
            ContractError: windows that the model was not made for.
            DataError: arrays that cannot be used.
        """
        return said_by(self._fitted().probe, self._outputs(x))

    def timeline(
        self, recording: Recording, *, resample: Sequence[str] = (), abstain: float | None = None,
        context: str | None = None, sets: float | None = None, keep_unusable: bool = False,
    ) -> dict[str, NDArray[Any]]:  # fmt: skip
        """Say what a recording is over time, as `crossl predict` does of files.

        What speaks against a sensor's unit is logged as a warning.

        Args:
            recording: sensors may be missing; those that the run never saw are left out.
            resample: names of sensors that may have another rate, which is changed.
            abstain: a window whose most probable class has less gets no label.
            context: which windows around one are read with it: `off`, `causal` (those before),
                `whole`, or `path`, the most probable sequence; None for `whole` where validation
                subjects say that it helps.
            sets: share of windows whose `set` of labels holds the true one.
            keep_unusable: classify sensors that stand still, are at their limit or not worn, too.

        Returns:
            A row for each window, and for each stretch of time without one: `start_time` and
            `end_time` (UTC, NaT where nothing tells them), `zone`, `start_s`, `end_s`, `label`,
            `truth` (what the recording itself says), calibrated `probability_CLASS` (of numbers
            `value_NAME`), `present_SENSOR`, `unusable` where a sensor was not read, and `reason`,
            why there is no label.

        Raises:
            ConfigError: a value that is not allowed.
            FormatError: no classifier was fitted, or it keeps nothing of what is asked for.
            ContractError: the recording does not fit the run, or the run does not say how its
                windows were cut, as those learned from arrays.
        """
        fitted = self._fitted()
        seen = see(self, recording, resample)
        log_warnings(seen)
        asked = Asked(abstain, context, sets, keep_unusable)
        return timeline_columns(self.model, fitted.probe, fitted.about, seen, asked)

    def table(self, x: Recorded, *, latents: bool = False) -> dict[str, NDArray[Any]]:
        """Embed windows, and say what is known of each; `as_frame` makes a data frame of it.

        Args:
            x: windows.
            latents: add those of each modality.

        Returns:
            A row for each window: of a store `subject`, `session`, `start_s`, `zone` and
            `start_time` (UTC, NaT where nothing tells it); `label` (empty where there is none), and
            `target_NAME` of other targets; `present_NAME` for each modality; with a classifier
            `predicted` and `probability_CLASS` for each class; `embedding` (n, D); and
            `latent_NAME` (n, K) if asked for.

        Raises:
            ContractError: windows that the model was not made for.
            DataError: arrays that cannot be used.
        """
        given = given_to(self, x)
        present, names = given.source.present, [m.name for m in self.modalities]
        out = {**known_of(given), **{f"present_{n}": present[:, i] for i, n in enumerate(names)}}
        probe = self.classifier.probe if self.classifier is not None else None
        head = "aggregator" if probe is None else probe.head
        embedding, read, latent = encode_windows(
            self.model, given.source,
            embedding_of(self.model), embedding_of(self.model, head), latents_of,
        )  # fmt: skip
        if probe is not None:
            outputs = outputs_of(probe, read, given.in_places)
            out["predicted"] = said_by(probe, outputs)
            probability = probe.task.probabilities(outputs)
            if probability is not None:
                out |= {f"probability_{c}": probability[:, i].astype(np.float32)
                        for i, c in enumerate(self.classes)}  # fmt: skip
        out["embedding"] = embedding
        if latents:
            latent = blank(latent, present)
            out |= {f"latent_{name}": latent[:, i] for i, name in enumerate(names)}
        return out

    def save(self, path: Path | str) -> None:
        """Write a run folder, which the command line and `load_run` read.

        What the folder had of another classifier, scores too, is removed.

        Raises:
            ContractError: the model is not the network of its settings.
            DataError: another process writes there.
        """
        path = Path(path)
        with working_in(path, "is saving into this folder"):
            for name in (*OF_A_PROBE, "probe.json", "probe.safetensors"):
                for stale in path.glob(name):
                    stale.unlink()
            about = _beside(self.contract, OF_EACH_RUN)
            run_folder.save_run(path, self.model, self.config, about=about)
            if self.classifier is not None:
                fitted = self.classifier
                run_folder.save_probe(path, fitted.probe, about=dict(fitted.about))

    def _outputs(self, x: Recorded) -> Float32:
        probe = self._fitted().probe
        given = given_to(self, x)
        (embedding,) = encode_windows(
            self.model, given.source, embedding_of(self.model, probe.head)
        )
        return outputs_of(probe, embedding, given.in_places)

    def _fitted(self) -> Classifier:
        if self.classifier is None:
            where = self.path or "run"
            raise FormatError(
                f"{where}: has no classifier; fit one by crossl.fit_probe(run, store), or `crossl "
                "probe` on the command line"
            )
        return self.classifier

    def _source(self, x: Recorded) -> Any:
        return given_to(self, x).source


def given_to(run: Run, x: Recorded) -> Given:
    """See windows as a run's model does, with what is known of each.

    Raises:
        ContractError: windows that the model was not made for.
        DataError: arrays that cannot be used.
    """
    if isinstance(x, Recording):
        windows = see(run, x).windows
        source = cast("Any", windows)
        return Given(source, np.full(len(windows), x.subject), None, windows)
    return take_given(x, run.modalities, window_s=run.window_s, calibration=run.calibration)


def load_run(path: Path | str, *, encoders: Modules | None = None) -> Run:
    """Load a run folder, with its classifier if it has one.

    The command line (`crossl pretrain`, `crossl probe`), `Run.save` and `CroSSL.save` write them.

    Args:
        path: the folder; or `hf://USER/REPO`, a run at Hugging Face, with `@REVISION` for a branch,
            a tag or a commit. Its files are fetched once, and checked like those of a folder; this
            needs the extra `hub`.
        encoders: of a run that was built with modules of your own, such modules by modality;
            copies of them get the run's weights.

    Raises:
        ConfigError: such a module is missing, or not wanted.
        FormatError: not a run, of another version, truncated or altered.
        ContractError: weights and settings do not fit together.
        DataError: of `hf://`, there is no such repository, or it cannot be reached.

    Examples:
        >>> import crossl
        >>> import tempfile
        >>> x = {"acc": np.random.default_rng(0).normal(size=(24, 50, 3))}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     crossl.build_model(x, window_s=1.0).save(folder)
        ...     run = crossl.load_run(folder)
        >>> run.embed(x).shape
        (24, 256)
    """
    if is_address(path) and not Path(path).is_dir():
        path = fetch_run(str(path))
    found = run_folder.load_run(path, encoders=encoders)
    classifier = None
    if (found.path / "probe.json").is_file():
        probe, _ = run_folder.load_probe(found.path)
        kept = read_json(found.path / "probe.json", cure="run `crossl probe` again")
        classifier = Classifier(probe, _beside(kept, OF_EACH_PROBE))
    return Run(found.model, found.config, found.contract, classifier, found.path)


def _beside(facts: Mapping[str, Any], told_anew: set[str]) -> dict[str, Any]:
    """Return the facts that a folder keeps but does not find out itself when it is written."""
    return {name: value for name, value in facts.items() if name not in told_anew}
