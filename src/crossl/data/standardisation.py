"""The settings of standardisation: whose mean and deviation signals are measured by."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from crossl.data.calibration import Calibration, Whose
from crossl.registry import Registry
from crossl.settings import Settings

STANDARDISATIONS = Registry("standardisation")
"""All there are; what is read of a recording is no part that packages add."""

Floor = Field(0.1, gt=0, le=1)


class StandardisationConfig(Settings):
    """How signals are standardised; a subclass has a `kind`, its settings and `build`.

    Whatever the kind, the model standardises by the mean and deviation of training subjects in the
    end.
    """

    def build(self) -> Calibration | None:
        """Say how each recording is calibrated before; None for not at all."""
        raise NotImplementedError


class TrainingStandardisation(StandardisationConfig):
    """By mean and deviation of training subjects alone."""

    kind: Literal["training"] = "training"

    def build(self) -> None:
        """Calibrate no recording."""
        return


class RecordingStandardisation(StandardisationConfig):
    """Each recording by its own mean and deviation: transductive, it must be there to its end.

    Attributes:
        by: `recording`, or `subject` for all recordings of one together.
        floor: share of what is usual among training recordings below which no deviation is taken.
    """

    kind: Literal["recording"] = "recording"
    by: Whose = "recording"
    floor: float = Floor

    def build(self) -> Calibration:
        """Calibrate by the whole recording."""
        return Calibration(self.kind, causal=False, by=self.by, floor=self.floor)


class CalibrationStandardisation(StandardisationConfig):
    """Each recording by a stretch at its beginning, as a device can.

    Attributes:
        minutes: length of the stretch, of what a sensor recorded; before its end a window sees what
            there is.
        floor: share of what is usual among training recordings below which no deviation is taken.
    """

    kind: Literal["calibration"] = "calibration"
    minutes: float = Field(5.0, gt=0)
    floor: float = Floor

    def build(self) -> Calibration:
        """Calibrate by the first minutes."""
        return Calibration(self.kind, causal=True, minutes=self.minutes, floor=self.floor)


class RunningStandardisation(StandardisationConfig):
    """Each window by all that its recording holds up to the window's end, as a device can.

    Attributes:
        floor: share of what is usual among training recordings below which no deviation is taken.
    """

    kind: Literal["running"] = "running"
    floor: float = Floor

    def build(self) -> Calibration:
        """Calibrate by what there is so far."""
        return Calibration(self.kind, causal=True, floor=self.floor)


for _settings in (TrainingStandardisation, RecordingStandardisation, CalibrationStandardisation,
                  RunningStandardisation):  # fmt: skip
    STANDARDISATIONS.add(_settings.model_fields["kind"].default, _settings)
