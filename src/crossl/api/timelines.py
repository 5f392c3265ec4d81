"""Recordings in Python: cut as a run's windows were, and what the run says of them over time."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crossl.commands.embed import dates
from crossl.data.recording import WARNING, Recording, warnings_in
from crossl.doctor.units import with_warnings
from crossl.evaluate.probe import Probe
from crossl.nn.model import CrossModalModel
from crossl.predict.manner import Asked, manner_of
from crossl.predict.sight import Seen, sight_of
from crossl.predict.tables import PREFIX
from crossl.predict.timeline import timeline_of

if TYPE_CHECKING:
    from crossl.api.run import Run

logger = logging.getLogger(__name__)


def see(run: Run, recording: Recording, resample: Sequence[str] = ()) -> Seen:
    """See a recording with the eyes of a run.

    Args:
        run: whose sensors and windows count.
        recording: sensors may be missing.
        resample: names of sensors that may have another rate.

    Raises:
        ConfigError: the run has no such sensor.
        ContractError: the recording does not fit the run, or the run does not say how its windows
            were cut.
    """
    contract = {**run.contract, "window_s": run.window_s}
    sight = sight_of(contract, run.modalities, where=str(run.path or "run"), resample=resample,
                     calibration=run.calibration)  # fmt: skip
    return sight.see(with_warnings(recording))


def log_warnings(seen: Seen) -> None:
    """Log what speaks against a recording, such as values in another unit than is declared."""
    for sentence in warnings_in(seen.notes):
        logger.warning(sentence.removeprefix(WARNING))


def timeline_columns(
    model: CrossModalModel,
    probe: Probe,
    about: Mapping[str, Any],
    seen: Seen,
    asked: Asked,
) -> dict[str, NDArray[Any]]:
    """Return a timeline as columns; see `Run.timeline`.

    Args:
        model: in evaluation mode.
        probe: its classifier.
        about: what is kept of the classifier; see `manner_of`.
        seen: the recording.
        asked: how it is read.

    Raises:
        ConfigError: a value that is not allowed, or the classifier has no classes.
        FormatError: the classifier keeps nothing of what is asked for.
    """
    line = timeline_of(model, probe, seen, manner_of(about, probe, model.modalities, asked))
    origin_s = np.nan if line.origin_unix_s is None else line.origin_unix_s
    outputs = {f"{PREFIX[line.kind]}{name}": line.outputs[:, i]
               for i, name in enumerate(line.names)}  # fmt: skip
    return {
        "start_time": dates(origin_s + line.start_s),
        "end_time": dates(origin_s + line.end_s),
        "zone": np.full(len(line), line.zone),
        "start_s": line.start_s,
        "end_s": line.end_s,
        "label": line.label,
        **({"truth": line.truth} if line.has_truth else {}),
        **({"set": line.sets} if line.sets is not None else {}),
        **outputs,
        **{f"present_{name}": line.present[:, i] for i, name in enumerate(line.modalities)},
        **({"unusable": line.unusable} if line.unusable is not None else {}),
        "reason": line.reason,
    }
