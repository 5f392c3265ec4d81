"""Opening: a live classifier from what a run folder, or a run in Python, holds."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from crossl.data.calibration import Calibration
from crossl.data.recording import Modality
from crossl.data.windower import Windower
from crossl.decode import Decoder
from crossl.errors import ConfigError
from crossl.evaluate.probe import Probe
from crossl.nn.model import CrossModalModel
from crossl.predict.live import LiveClassifier
from crossl.predict.manner import Asked, Manner, manner_of


@dataclass(frozen=True)
class LiveOptions:
    """What is known of a stream, and what is asked for.

    Attributes:
        max_delay_s: how far behind the newest sample a chunk may begin, seconds.
        in_order: chunks of one sensor never change places.
        start_s: start of the first window; None for the earliest sample.
        resample: sensors that may have any rate, which is changed.
        asked: how what the classifier says is read.
        origin_unix_s: where the clock's 0 lies on the calendar; None where nothing tells.
        zone: IANA name of the time zone; empty where it is not known.
        at_rate: sensors that come at the run's rate already, where it was changed before training.
    """

    max_delay_s: float = 2.0
    in_order: bool = False
    start_s: float | None = None
    resample: Sequence[str] = ()
    asked: Asked = field(default_factory=Asked)
    origin_unix_s: float | None = None
    zone: str = ""
    at_rate: Collection[str] = ()


def windower_of(
    contract: Mapping[str, Any],
    modalities: Sequence[Modality],
    calibration: Calibration | None,
    options: LiveOptions,
) -> Windower:
    """Make what cuts windows from chunks as those of a run were cut.

    Args:
        contract: what the run's `model.json` says.
        modalities: of the run.
        calibration: how its windows are calibrated by their recording; None for not at all.
        options: of the stream.

    Raises:
        ContractError: see `Windower.from_contract`.
        DataError: an unknown sensor.
    """
    resampled = contract.get("resampled", {})
    told = {
        **contract,
        "modalities": [m.as_dict() for m in modalities],
        "resampled": {n: how for n, how in resampled.items() if n not in options.at_rate},
    }
    if calibration is not None:
        told["standardisation"] = calibration.as_dict()
    return Windower.from_contract(told, max_delay_s=options.max_delay_s, start_s=options.start_s,
                                  in_order=options.in_order, resample=options.resample)  # fmt: skip


def live_manner(
    about: Mapping[str, Any], probe: Probe, modalities: Sequence[Modality], asked: Asked,
    *, dashes: str = "",
) -> Manner:  # fmt: skip
    """Join what is kept of a classifier with what is asked for, as far as a stream can know it.

    Args:
        about: what `probe.json` says.
        probe: the classifier.
        modalities: of the run.
        asked: by the user; without a context the causal one counts, where validation subjects say
            that it helps.
        dashes: before the names of options in messages.

    Raises:
        ConfigError: a value that is not allowed, or a context that a stream does not know.
        FormatError: see `manner_of`.
    """
    if asked.context in ("whole", "path"):
        raise ConfigError(
            f"{dashes}context: got '{asked.context}', which reads what a stream does not know yet; "
            "allowed are causal and off"
        )
    kept = about.get("context")
    if asked.context is None:
        helps = kept is not None and Decoder.from_dict(dict(kept)).helps["causal"]
        asked = replace(asked, context="causal" if helps else "off")
    return manner_of(about, probe, modalities, asked, dashes=dashes)


def open_live(
    model: CrossModalModel,
    contract: Mapping[str, Any],
    calibration: Calibration | None,
    probe: Probe,
    about: Mapping[str, Any],
    options: LiveOptions,
) -> LiveClassifier:
    """Make what labels a stream.

    Args:
        model: in evaluation mode.
        contract: what the run's `model.json` says.
        calibration: how windows are calibrated by their recording; None for not at all.
        probe: the classifier.
        about: what is kept of it; see `manner_of`.
        options: of the stream.

    Raises:
        ConfigError: a value that is not allowed.
        ContractError: the run cannot cut a stream.
        DataError: an unknown sensor.
        FormatError: the classifier keeps nothing of what is asked for.
    """
    manner = live_manner(about, probe, model.modalities, options.asked)
    windower = windower_of(contract, model.modalities, calibration, options)
    return LiveClassifier(model, probe, windower, manner,
                          origin_unix_s=options.origin_unix_s, zone=options.zone)  # fmt: skip
