"""Find a mapping beside recordings, and make of it what a reader needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from crossl.data.boundary import reading
from crossl.data.own.mapping.labels import Names, label_names
from crossl.data.own.mapping.plan import RecordingPlan, Source, natural, plan_recordings
from crossl.data.own.mapping.rows import read_rows
from crossl.data.own.mapping.schema import Mapping, read_yaml
from crossl.data.own.mapping.signals import Rules
from crossl.data.recording import Modality
from crossl.data.target_entries import TargetBlock, check_targets
from crossl.errors import DataError, PackageError
from crossl.files import not_a_file

MAPPING_NAMES = ("recordings.yaml", "recordings.yml", "recordings.csv")


@dataclass(frozen=True)
class Mapped:
    """A mapping, and the files that it found.

    Attributes:
        path: of the mapping.
        mapping: what it says.
        plans: the recordings, by subject and session.
        classes: labels, in order.
        notes: what the mapping names and does not find.
        targets: what it tells beside labels.
        root: folder that its paths start from.
        for_others: it was not written for these files, which may lack labels.
    """

    path: Path
    mapping: Mapping
    plans: tuple[RecordingPlan, ...]
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()
    root: Path = Path()
    targets: TargetBlock | None = None
    for_others: bool = False

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What recordings declare, in SI."""
        return tuple(entry.declared(name) for name, entry in self.mapping.modalities.items())

    @property
    def rules(self) -> Rules:
        """What reading a recording needs to know."""
        return Rules(
            modalities=dict(self.mapping.modalities),
            declared=self.modalities,
            classes=self.classes,
            label_names=dict(self.mapping.label_names),
            max_gap_s=self.mapping.windows.max_gap_s,
            may_lack_labels=self.for_others,
        )


def find_mapping(root: Path, name: str = "") -> Path | None:
    """Return the mapping of a folder.

    Args:
        root: the folder.
        name: of another file than the usual, there or from here.

    Raises:
        DataError: the file that was named does not exist.
    """
    if name:
        for path in (root / name, Path(name)):
            if path.is_file():
                return path
        found = next((path for path in (root / name, Path(name)) if path.exists()), None)
        if found is not None:
            raise DataError(f"{found}: {not_a_file(found)}; name the file of a mapping")
        raise DataError(f"{name}: does not exist, neither in {root} nor here; name a mapping")
    if not root.is_dir():
        return None
    return next((root / one for one in MAPPING_NAMES if (root / one).is_file()), None)


def read_mapping(path: Path) -> Mapping:
    """Read a mapping, whatever files there are.

    Args:
        path: YAML, or CSV with a row per recording and modality.

    Raises:
        DataError: it is not well-formed.
    """
    with reading(path, "a mapping"):
        return read_rows(path) if path.suffix.lower() == ".csv" else read_yaml(path)


def load_mapping(path: Path, root: Path | None = None) -> Mapped:
    """Read a mapping and find its files.

    Args:
        path: YAML, or CSV with a row per recording and modality.
        root: folder that paths start from; None for the mapping's own.

    Raises:
        DataError: it is not well-formed, or does not fit the files.
    """
    root = root or path.parent
    mapping = read_mapping(path)
    targets = None
    if mapping.targets:
        targets = check_targets(mapping.targets, where=str(path), folder=path.parent)
    tables = targets.tables if targets else []
    plans, notes = plan_recordings(mapping, root, where=str(path), tables=tables)
    classes = mapping.classes or _classes(mapping, plans)
    return Mapped(path, mapping, plans, classes, notes, root, targets)


def _classes(mapping: Mapping, plans: tuple[RecordingPlan, ...]) -> tuple[str, ...]:
    """Collect the labels of all files; numbers are sorted as such."""
    names = Names(label_names=mapping.label_names)
    sources = [source for plan in plans if not plan.refusal for source in plan.sources]
    found = {name for source in sources for name in _readable_labels(source, names)}
    return tuple(sorted({mapping.label_names.get(name, name) for name in found}, key=natural))


def _readable_labels(source: Source, names: Names) -> set[str]:
    """Return the labels of a file; none of one that will be refused when it is read."""
    try:
        return label_names(source, names)
    except PackageError:
        raise
    except DataError:
        return set()
