"""Your own recordings: a folder with `recordings.yaml` (or `.csv`), which says what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from crossl.data.own.mapping import (
    Mapped,
    RecordingPlan,
    find_mapping,
    load_mapping,
    read_recording,
)
from crossl.data.own.mapping.endings import unread
from crossl.data.own.mapping.signals import Rules
from crossl.data.readers.card import Card
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import Recording
from crossl.data.target_plan import plan_targets
from crossl.data.windows import WindowSpec
from crossl.errors import DataError, counted

CARD = Card(
    name="folder",
    title="Your own recordings",
    description=(
        "Files of any known format (CSV, Parquet, NumPy, MATLAB, EDF, WFDB, Empatica, XDF) in a "
        "folder with recordings.yaml or recordings.csv, which says whose they are, what each "
        "column measures, in which unit and how often. `crossl data init` writes a first one."
    ),
    licence="yours",
    citation="yours",
    url="docs/mapping.md",
    modalities=(),
    classes=(),
    spec=WindowSpec(window_s=2.0, stride_s=1.0),
)


def recognises(root: Path) -> bool:
    """Tell whether the folder has a mapping."""
    return find_mapping(root) is not None


@contextmanager
def open_dataset(root: Path | None, *, mapping: str = "") -> Iterator[Dataset]:
    """Find the recordings that a mapping names; a part each.

    Args:
        root: folder of the recordings.
        mapping: file to go by instead of `recordings.yaml` or `recordings.csv`.

    Raises:
        DataError: there is no mapping, or it does not fit the files.
    """
    if root is None or not root.is_dir():
        raise DataError(f"{root or 'root'}: is not a folder; name the folder of your recordings")
    path = find_mapping(root, mapping)
    if path is None:
        raise DataError(
            f"{root}: holds neither recordings.yaml nor recordings.csv; write a first one with: "
            f"crossl data init {root}"
        )
    yield mapped_dataset(load_mapping(path, root))


def mapped_dataset(mapped: Mapped) -> Dataset:
    """Make a data set of a mapping and the files it found."""
    mapping = mapped.mapping
    plans = [plan for plan in mapped.plans if not plan.refusal]
    subjects = {plan.subject for plan in plans}
    card = Card(
        name=mapping.name,
        title=mapping.name.replace("_", " "),
        description=" ".join(
            filter(None, (
                mapping.description,
                f"{counted(len(plans), 'recording')} of "
                f"{counted(len(subjects), 'person', 'people')}, read by "
                f"{mapped.path.name}.",
            ))
        ),
        licence=mapping.licence,
        citation=mapping.citation,
        url="",
        modalities=mapped.modalities,
        classes=mapped.classes,
        spec=mapping.spec(),
        subjects=len(subjects),
    )  # fmt: skip
    if mapped.targets is not None:  # the doctor tells what is wrong with them, too
        plan_targets(mapped.targets, card)
    # the mapping is a file of every part: where it changed, nothing is resumed
    parts = tuple(plan_part(plan, mapped.rules, mapped.path) for plan in mapped.plans)
    notes = (*mapped.notes, *(f"not read: {why}" for why in unread(mapped.root)))
    any_rate = tuple(name for name, entry in mapping.modalities.items() if entry.resample)
    return Dataset(card, parts, notes, mapped.targets, any_rate, mapping.for_others())


def plan_part(plan: RecordingPlan, rules: Rules, *more: Path) -> Part:
    """Make a part of a recording."""
    return Part(plan.name, partial(_read, plan, rules), (*plan.files, *more))


def _read(plan: RecordingPlan, rules: Rules) -> tuple[Recording]:
    return (read_recording(plan, rules),)
