"""Sleep-EDF Expanded: polysomnograms and hypnograms, official EDF+ files (Kemp et al. 2000)."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from crossl.data.formats import FileContent, open_file
from crossl.data.readers.archive import holds, open_root
from crossl.data.readers.card import Card, RemoteFile
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.readers.people import person_of, units_of
from crossl.data.readers.published.sleep_cassette import BASE, SHA256
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.units import parse_unit
from crossl.data.windows import WindowSpec
from crossl.errors import ConfigError, DataError, nearest

STEM = "sleep-edf-database-expanded"
STUDIES = {"cassette": "SC4", "telemetry": "ST7"}
"""How the files of each study begin; they lie in `sleep-cassette` and `sleep-telemetry`."""
NAME = re.compile(r"(S[CT]\d\d\d)(\d)\w\w-(PSG|Hypnogram)")
EPOCH_S = 30.0

AGE = re.compile(r"_(\d{1,3})yr")
"""Of the patient in a header, such as `X F X Female_33yr`."""
PERSON = {"age": ("age", "year")}

STAGES = {
    "Sleep stage W": "W", "Sleep stage 1": "N1", "Sleep stage 2": "N2", "Sleep stage 3": "N3",
    "Sleep stage 4": "N3", "Sleep stage R": "REM",
}  # fmt: skip
UNSCORED = ("Sleep stage ?", "Movement time")
ASLEEP = ("N1", "N2", "N3", "REM")

UNITS = {"DegC": "degC", "uV-mrs": "uV", "uV-rms": "uV"}
"""What some headers call a unit."""

_SIGNALS = {
    "eeg_fpz_cz": ("EEG Fpz-Cz", "V", 100.0, "scalp"),
    "eeg_pz_oz": ("EEG Pz-Oz", "V", 100.0, "scalp"),
    "eog": ("EOG horizontal", "V", 100.0, "eyes"),
    "emg": ("EMG submental", "V", 1.0, "chin"),
    "resp": ("Resp oro-nasal", "1", 1.0, "nose"),
    "temp": ("Temp rectal", "K", 1.0, "rectum"),
}
"""Label in the file, SI unit, rate, device; of the cassette study."""


def modalities(study: str) -> dict[str, Modality]:
    """Describe the streams of a study.

    Examples:
        >>> modalities("telemetry")["emg"].rate_hz
        100.0
    """
    names = list(_SIGNALS) if study == "cassette" else list(_SIGNALS)[:4]
    found = {}
    for name in names:
        _, unit, rate_hz, device = _SIGNALS[name]
        rate_hz = 100.0 if study == "telemetry" else rate_hz
        found[name] = Modality(name, (name,), unit, rate_hz, device)
    return found


CARD = Card(
    name="sleep_edf",
    title="Sleep-EDF database, expanded (PhysioNet, 1.0.0)",
    description=(
        "Nights at home and in hospital, scored by eye in epochs of 30 s. Cassette study (read by "
        "default): 153 days and nights of 78 healthy people, with EEG Fpz-Cz and Pz-Oz and "
        "horizontal EOG at 100 Hz, and at 1 Hz the envelope of the chin's EMG, oro-nasal airflow "
        "(no unit) and rectal temperature. Telemetry study (option study=telemetry): 44 nights of "
        "22 people with difficulty falling asleep, with EMG at 100 Hz and neither airflow nor "
        "temperature. From microvolt (1e-6) and degrees Celsius. Stages 3 and 4 are N3; epochs "
        "scored `?` or as movement are unlabelled. Of the wake around sleep, 30 minutes on either "
        "side are kept (option wake_margin_min)."
    ),
    licence="Open Data Commons Attribution License 1.0 (ODC-By)",
    citation=(
        "B. Kemp, A. H. Zwinderman, B. Tuk, H. A. C. Kamphuisen, J. J. L. Oberye, Analysis of a "
        "sleep-dependent neuronal feedback loop: the slow-wave microcontinuity of the EEG, IEEE "
        "Transactions on Biomedical Engineering 47 (2000) 1185-1194; A. L. Goldberger et al., "
        "PhysioNet, Circulation 101 (2000) e215-e220"
    ),
    url="https://physionet.org/content/sleep-edfx/1.0.0/",
    modalities=tuple(modalities("cassette").values()),
    classes=("W", "N1", "N2", "N3", "REM"),
    spec=WindowSpec(window_s=EPOCH_S, stride_s=EPOCH_S),
    traps=(
        "Two nights of one person have two file names: SC4ssN is night N of person ss, and both "
        "must be on one side of a split, as they are here.",
        "A cassette runs for a day, most of it awake: how much wake is kept decides every score.",
        "EMG at 1 Hz is the envelope of a rectified signal, not EMG; telemetry has the EMG itself.",
        "The scoring is by Rechtschaffen and Kales (stages 1 to 4), not by the AASM.",
        "The second half of a hypnogram's name is the scorer's, so it differs from the PSG's.",
        "Persons 13, 36 and 52 have one night only.",
    ),
    size="7 GB (cassette)",
    subjects=78,
    files=tuple(RemoteFile(BASE + name, sha256) for name, sha256 in SHA256.items()),
    person=units_of(PERSON),
)


def _marker(root: Path | None, start: str) -> str:
    """Return where the study's files lie: in their folder, or in the one that was named."""
    beside = f"{start}*.edf"
    inside = f"sleep-*/{beside}"
    return inside if root is not None and root.exists() and holds(root, inside, STEM) else beside


def recognises(root: Path) -> bool:
    """Tell whether the folder or archive looks like this data set."""
    return any(holds(root, _marker(root, start), STEM) for start in STUDIES.values())


@contextmanager
def open_dataset(
    root: Path | None, *, wake_margin_min: float = 30.0, study: str = "cassette"
) -> Iterator[Dataset]:
    """Find the nights; a part each.

    EDF has no checksum: a file that was cut off is refused, changed samples go unnoticed.

    Args:
        root: folder that holds `sleep-cassette`, or that folder, or the official archive.
        wake_margin_min: minutes kept before the first and after the last epoch of sleep, down to
            whole epochs; `inf` keeps everything.
        study: `cassette` or `telemetry`; their signals differ, so one is read.

    Raises:
        ConfigError: no such study, or a negative margin.
        DataError: the folder does not hold the data set, or half of a night.
    """
    if study not in STUDIES:
        raise ConfigError(f"option 'study' of sleep_edf: '{study}'; {nearest(study, STUDIES)}")
    if not wake_margin_min >= 0:
        raise ConfigError(
            f"option 'wake_margin_min' of sleep_edf: got {wake_margin_min:g}; allowed are 0 or "
            "more minutes, inf keeps everything"
        )
    streams = modalities(study)
    with open_root(root, marker=_marker(root, STUDIES[study]), stem=STEM) as folder:
        pattern = f"{STUDIES[study]}*.edf"
        paths = sorted(p for at in (pattern, f"sleep-*/{pattern}") for p in folder.glob(at))
        parts = [
            Part(
                "".join(key),
                partial(_read_night, *key, psg, hypnogram, streams, wake_margin_min),
                (psg, hypnogram),
            )
            for key, (psg, hypnogram) in sorted(_nights(paths).items())
        ]
        yield Dataset(replace(CARD, modalities=tuple(streams.values())), tuple(parts))


def _nights(paths: Sequence[Path]) -> dict[tuple[str, str], tuple[Path, Path]]:
    """Return PSG and hypnogram by subject and night."""
    found: dict[tuple[str, str], dict[str, Path]] = {}
    for path in paths:
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise DataError(
                f"{path}: names no night; expected a name like SC4001E0-PSG.edf or "
                "SC4001EC-Hypnogram.edf"
            )
        night = found.setdefault((match[1], match[2]), {})
        if match[3] in night:
            raise DataError(f"{path}: is a second {match[3]} beside {night[match[3]].name}")
        night[match[3]] = path
    for night in found.values():
        if len(night) < 2:
            ((kind, path),) = night.items()
            other = "Hypnogram" if kind == "PSG" else "PSG"
            raise DataError(
                f"{path}: there is no {path.name[:6]}*-{other}.edf beside it; the official data "
                "set has both"
            )
    return {key: (night["PSG"], night["Hypnogram"]) for key, night in found.items()}


def _read_night(
    subject: str,
    night: str,
    psg: Path,
    hypnogram: Path,
    streams: Mapping[str, Modality],
    wake_margin_min: float,
) -> Iterator[Recording]:
    content, scored = open_file(psg), open_file(hypnogram)
    start = content.about["start"]
    if scored.about["start"] != start:
        raise DataError(
            f"{hypnogram}: starts at {scored.about['start']} but {psg.name} at {start}; both must "
            "be of one night"
        )
    duration_s = float(content.about["duration_s"])
    labels = read_stages(scored)
    notes = [
        f"{hypnogram.name} scores nothing from {one.end_s:g} to {other.start_s:g} s"
        for one, other in pairwise(scored.labels)
        if other.start_s > one.end_s
    ]
    if labels and labels[-1].end_s > duration_s:
        notes.append(
            f"{hypnogram.name} scores {labels[-1].end_s - duration_s:g} s behind the end of "
            f"{psg.name}, which are left out"
        )
    labels = _within(labels, 0.0, duration_s)
    begin, end = sleep_span(labels, duration_s, wake_margin_min * 60)
    if math.isfinite(wake_margin_min) and not any(one.label in ASLEEP for one in labels):
        notes.append("no epoch of sleep was scored, so everything is kept")
    signals, absent = _signals(content, streams, begin, end)
    age = AGE.search(str(content.about["patient"]))
    yield Recording(
        subject, night, streams, signals, _within(labels, begin, end), [*notes, *absent],
        person=person_of({"age": age[1]} if age else {}, PERSON),
    )  # fmt: skip


def read_stages(content: FileContent) -> tuple[LabelInterval, ...]:
    """Return the stages of a hypnogram; equal neighbours (stages 3 and 4) are joined.

    Raises:
        DataError: a stage that nobody knows, or off the grid of 30 s.
    """
    joined: list[LabelInterval] = []
    for one in content.labels:
        if one.label not in (*STAGES, *UNSCORED):
            raise DataError(
                f"{content.path}: scores '{one.label[:30]}'; allowed are "
                f"{', '.join((*STAGES, *UNSCORED))}"
            )
        if one.start_s % EPOCH_S or one.end_s % EPOCH_S:
            raise DataError(
                f"{content.path}: '{one.label}' lasts from {one.start_s:g} to {one.end_s:g} s; "
                "epochs are 30 s long"
            )
        if joined and one.start_s < joined[-1].end_s:
            raise DataError(
                f"{content.path}: '{one.label}' at {one.start_s:g} s overlaps the stage before it; "
                "an epoch has one stage"
            )
        stage = STAGES.get(one.label, "")
        if joined and joined[-1].label == stage and joined[-1].end_s == one.start_s:
            joined[-1] = replace(joined[-1], end_s=one.end_s)
        else:
            joined.append(replace(one, label=stage))
    if not joined:
        raise DataError(f"{content.path}: scores nothing; is it a hypnogram?")
    return tuple(one for one in joined if one.label)


def sleep_span(
    labels: Sequence[LabelInterval], duration_s: float, margin_s: float
) -> tuple[float, float]:
    """Return the time to keep: sleep and a margin, on the grid of epochs.

    Examples:
        >>> sleep_span([LabelInterval(600.0, 900.0, "N1")], 2000.0, 100.0)
        (510.0, 990.0)
        >>> sleep_span([LabelInterval(600.0, 900.0, "W")], 2000.0, 100.0)
        (0.0, 2000.0)
    """
    asleep = [one for one in labels if one.label in ASLEEP]
    if not asleep or math.isinf(margin_s):
        return 0.0, duration_s
    margin_s = math.floor(margin_s / EPOCH_S) * EPOCH_S
    return max(0.0, asleep[0].start_s - margin_s), min(duration_s, asleep[-1].end_s + margin_s)


def _within(labels: Sequence[LabelInterval], begin: float, end: float) -> tuple[LabelInterval, ...]:
    return tuple(
        replace(one, start_s=max(one.start_s, begin), end_s=min(one.end_s, end))
        for one in labels
        if one.start_s < end and one.end_s > begin
    )


def _signals(
    content: FileContent, streams: Mapping[str, Modality], begin: float, end: float
) -> tuple[dict[str, Signal], list[str]]:
    """Read what there is of each stream; a note names each that is not there."""
    signals, notes = {}, []
    for name, modality in streams.items():
        label = _SIGNALS[name][0]
        content.check_readable(label)
        stream = next((s for s in content.streams if label in s.columns), None)
        if stream is None:
            notes.append(f"{content.path.name} has no signal '{label}'")
            continue
        if stream.rate_hz != modality.rate_hz:
            raise DataError(
                f"{content.path}: '{label}' has {stream.rate_hz:g} Hz; the official files have "
                f"{modality.rate_hz:g} Hz"
            )
        text = stream.units[stream.columns.index(label)]
        where = f"{content.path}: unit of '{label}'"
        unit = parse_unit(UNITS.get(text, text) if modality.unit != "1" else "1", where=where)
        if unit.si != modality.unit:
            raise DataError(f"{where}: got '{text}'; {modality.unit} is needed")
        first, last = round(begin * stream.rate_hz), round(end * stream.rate_hz)
        values = unit.to_si(stream.load([label])[first:last])
        signals[name] = Signal(np.ascontiguousarray(values), modality.rate_hz, begin)
    return signals, notes
