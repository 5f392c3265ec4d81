"""What our JSON files must hold, checked when they are read: a signature proves who, not what.

Keys that a file may have beside are left alone: a later crossl, or a user, may have added some.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossl.errors import FormatError
from crossl.names import flaw_of_name
from crossl.yaml_text import NEEDED, shown

LONGEST_S = 1e9
"""About thirty years: no window, recording or clock has more seconds."""
FASTEST_HZ = 1e7
MAX_WINDOW_NUMBERS = 1e9
"""Samples times channels of a window."""
LEARNED_FROM = ("train", "validation")
"""Parts of a fold whose people were learned from, or chose something."""


def _named(name: str) -> str:
    flaw = flaw_of_name(name)
    if flaw:
        raise ValueError(flaw)
    return name


def _maybe_named(name: str) -> str:
    return _named(name) if name else name


Name = Annotated[str, AfterValidator(_named)]
MaybeName = Annotated[str, AfterValidator(_maybe_named)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Seconds = Annotated[float, Field(ge=0, le=LONGEST_S, allow_inf_nan=False)]
Duration = Annotated[float, Field(gt=0, le=LONGEST_S, allow_inf_nan=False)]
Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
SegmentName = Annotated[str, Field(pattern=r"^segments/[0-9]{5,}$")]
FileName = Annotated[str, Field(pattern=r"^segments/[0-9]{5,}/([^./\\][^/\\]*/)?[^./\\][^/\\]*$")]


class Stored(BaseModel):
    """What a file of ours must hold: of the right types, not converted; other keys are let be."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)


class StoredModality(Stored):
    """A modality, in a store or a run."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    name: Annotated[Name, Field(pattern=r"^[^./\\]+$")]
    channels: Annotated[list[Name], Field(min_length=1)]
    unit: MaybeName
    rate_hz: Annotated[float, Field(gt=0, le=FASTEST_HZ, allow_inf_nan=False)]
    device: MaybeName = ""


class StoredWindow(Stored):
    """How windows were cut."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    window_s: Duration
    stride_s: Duration
    min_coverage: Share = 0.8
    max_gap_s: Seconds = 0.2
    min_label_share: Share = 0.6
    max_gap_of: dict[str, Seconds] = {}


class StoredTarget(Stored):
    """Targets of a store's windows beside their label."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    name: Annotated[Name, Field(pattern=r"^[^./\\]+$")]
    kind: Literal["classes", "labels", "numbers"]
    names: Annotated[list[Name], Field(min_length=1, max_length=2**15 - 1)]
    units: list[Name] = []

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _once("names", self.names)
        if self.name == "label":
            raise ValueError("'label' names the classes of the store and no other target")
        if len(self.units) != (len(self.names) if self.kind == "numbers" else 0):
            raise ValueError(f"{self.kind} '{self.name}' have {len(self.units)} units")
        return self


class StoredResampling(Stored):
    """How the rate of a modality was changed; `from_hz` is null where each file tells its own."""

    from_hz: Annotated[float, Field(gt=0, le=FASTEST_HZ, allow_inf_nan=False)] | None
    filter: str


class StoredRecording(Stored):
    """One recording of a store."""

    subject: Name
    session: MaybeName
    seconds: Seconds
    interpolated: dict[str, Count] = {}
    timing: dict[str, dict[str, Any]] = {}
    notes: list[str] = []
    origin_unix_s: Annotated[float, Field(ge=-1e11, le=1e11, allow_inf_nan=False)] | None = None
    zone: MaybeName = ""
    group: MaybeName = ""
    split: MaybeName = ""


class _Segment(Stored):
    recordings: Count


class _File(Stored):
    bytes: Count
    sha256: Sha256


class StoredManifest(Stored):
    """`manifest.json` of a store."""

    dataset: str
    modalities: Annotated[list[StoredModality], Field(min_length=1)]
    classes: list[Name]
    window: StoredWindow
    dtype: Literal["float32", "float16", "int16"]
    resampled: dict[Name, StoredResampling] = {}
    segments: Annotated[dict[SegmentName, _Segment], Field(min_length=1)]
    recordings: list[StoredRecording]
    interpolated: dict[str, Count] = {}
    files: dict[FileName, _File]
    title: str = ""
    description: str = ""
    notes: list[str] = []
    targets: list[StoredTarget] = []

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _once("modalities", [m.name for m in self.modalities])
        _once("classes", self.classes)
        _once("targets", [target.name for target in self.targets])
        _fits_window(self.modalities, self.window.window_s)
        counted = sum(segment.recordings for segment in self.segments.values())
        if counted != len(self.recordings):
            named = len(self.recordings)
            raise ValueError(f"segments hold {counted} recordings, {named} are listed")
        return self


class StoredCalibration(Stored):
    """How each recording is calibrated, in a run."""

    kind: str
    causal: bool
    minutes: Annotated[float, Field(gt=0)] | None
    by: Literal["recording", "subject"]
    floor: Share
    typical_deviation: dict[str, list[Annotated[float, Field(ge=0, allow_inf_nan=False)]]]


class _RunFiles(Stored):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    weights: Sha256 = Field(alias="weights.safetensors")
    config: Sha256 = Field(alias="config.yaml")


class _Subjects(Stored):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    train: list[Name]
    validation: list[Name]
    test: list[Name]


class StoredReading(Stored):
    """How the recordings of a store were read."""

    reader: str
    options: dict[str, str] = {}
    mapping: dict[str, Any] | None = None
    chosen: dict[str, str] = {}


class StoredRun(Stored):
    """`model.json` of a run; what is about a store is there where one was learned from."""

    modalities: Annotated[list[StoredModality], Field(min_length=1)]
    window_s: Duration
    latent_dim: Annotated[int, Field(gt=0)]
    files: _RunFiles
    window: StoredWindow | None = None
    resampled: dict[Name, StoredResampling] = {}
    standardisation: StoredCalibration | None = None
    dtype: Literal["float32", "float16", "int16"] | None = None
    reading: StoredReading | None = None
    store_sha256: Sha256 | None = None
    fold: Count | None = None
    subjects: _Subjects | None = None
    learned_before: list[Name] = []
    classes: list[Name] = []
    estimator: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _once("modalities", [m.name for m in self.modalities])
        _once("classes", self.classes)
        _fits_window(self.modalities, self.window_s)
        told = {} if self.standardisation is None else self.standardisation.typical_deviation
        for m in self.modalities:
            if m.name in told and len(told[m.name]) != len(m.channels):
                raise ValueError(f"standardisation has other channels of '{m.name}' than it has")
        if self.store_sha256 is not None and (self.fold is None or self.subjects is None):
            raise ValueError("store_sha256 is there, but fold or subjects is missing")
        if self.window is not None and self.window.window_s != self.window_s:
            raise ValueError(f"window.window_s is {self.window.window_s}, not {self.window_s}")
        return self


class StoredProbe(Stored):
    """`probe.json` of a run."""

    head: Literal["aggregator", "encoders"]
    classes: Annotated[list[Name], Field(min_length=1)]
    class_numbers: Annotated[list[Annotated[int, Field(ge=0, lt=2**15)]], Field(min_length=1)]
    strength: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    validation_score: float | None
    label_fraction: Share | None = None
    seed: Count | None = None
    temperatures: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    sets: dict[str, Any] | None = None
    usable: dict[str, Any] | None = None
    weights: Sha256
    arrays: Sha256

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        _once("classes", self.classes)
        if self.class_numbers != sorted(set(self.class_numbers)):
            raise ValueError("class_numbers are not in order, each once")
        if len(self.class_numbers) != len(self.classes):
            raise ValueError(
                f"{len(self.classes)} classes have {len(self.class_numbers)} class_numbers"
            )
        return self


class StoredBeginning(Stored):
    """`experiment.json`, written when an experiment or a run is begun."""

    sha256: Sha256
    command: str
    started: str
    began: Annotated[float, Field(allow_inf_nan=False)]


class StoredTrial(Stored):
    """`trial.json` of a sweep."""

    trial: str
    score: Annotated[float, Field(allow_inf_nan=False)] | None
    settings: dict[str, str]
    fold: Count
    store_sha256: Sha256


def _once(what: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise ValueError(f"{what} hold a name twice")


def _fits_window(modalities: list[StoredModality], window_s: float) -> None:
    for m in modalities:
        count = round(window_s * m.rate_hz) * len(m.channels)
        if not 1 <= count <= MAX_WINDOW_NUMBERS:
            raise ValueError(f"a window of {window_s:g} s holds {count} numbers of '{m.name}'")


Schema = TypeVar("Schema", bound=Stored)


def check_stored(
    values: Any, schema: type[Schema], path: Path | str, *, cure: str
) -> Mapping[str, Any]:
    """Check that a file of ours holds what it must hold.

    Args:
        values: as read.
        schema: what they must be.
        path: the file, or a place in it, to be named.
        cure: what to do where it is not so, as the end of a sentence.

    Returns:
        The values, as they are.

    Raises:
        FormatError: they are something else.
    """
    try:
        schema.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part)[:60] for part in first["loc"])
        told = NEEDED.get(first["type"], first["msg"].removeprefix("Value error, "))
        told = f"{where}: {told}" if where else told
        if first["type"] not in ("missing", "value_error"):
            told += f", got {shown(first['input']):.60}"
        raise FormatError(f"{path}: does not fit together, {told!s:.300}; {cure}") from error
    return dict(values)


def learned_from(*contracts: Mapping[str, Any]) -> set[str]:
    """Name everybody whom a model, or its classifier, was trained or tuned on.

    Args:
        contracts: `model.json` of a run, `probe.json`.
    """
    parts = [contract.get("subjects", {}) for contract in contracts]
    now = {name for part in parts for key in LEARNED_FROM for name in part.get(key, ())}
    return now.union(*(contract.get("learned_before", ()) for contract in contracts))
