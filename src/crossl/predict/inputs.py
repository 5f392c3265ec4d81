"""Inputs: files, a folder or a store, as recordings that a run sees one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from crossl.data.contract import fit_store
from crossl.data.finished_parts import fingerprint
from crossl.data.formats import format_of
from crossl.data.own.mapping import Mapping as FileMapping
from crossl.data.own.mapping import find_mapping, read_mapping
from crossl.data.own.mapping.schema import validate
from crossl.data.own.new_files import Wanted, files_dataset, folder_dataset, for_any_file
from crossl.data.readers import DATASETS, OWN, get_reader, open_dataset, reader_names
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import Recording
from crossl.data.recording_windows import StoredWindows
from crossl.data.store import Store
from crossl.doctor.units import with_unit_warnings
from crossl.errors import ContractError, DataError, FormatError, PackageError
from crossl.predict.sight import Seen, Sight, refuse_strangers, sight_of
from crossl.run_folder import Run

BY_HEADER = tuple(name for name in OWN if name != "folder")
"""Formats whose files say themselves what they hold."""


@dataclass(frozen=True)
class How:
    """How files are to be read, where that is not how the run's own were.

    Attributes:
        mapping: file that says what they hold.
        reader: name of a reader of published recordings, or of a format.
        resample: modalities whose rate may be changed.
    """

    mapping: Path | None = None
    reader: str | None = None
    resample: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One recording, or a few that lie in one file, not yet read.

    Attributes:
        name: unlike that of every other job.
        of: what it is read from, as JSON values: the same as long as nothing changes.
        read: yields the recordings as the run sees them.
        recordings: yields them as they are; nothing of a store, which holds windows.
    """

    name: str
    of: Mapping[str, Any]
    read: Callable[[], Iterable[Seen]]
    recordings: Callable[[], Iterable[Recording]] = tuple


@dataclass(frozen=True)
class Inputs:
    """What is to be read.

    Attributes:
        jobs: in order.
        notes: what holds for all of it, a sentence each.
    """

    jobs: tuple[Job, ...]
    notes: tuple[str, ...] = field(default=())


@contextmanager
def open_inputs(paths: Sequence[Path], run: Run, how: How) -> Iterator[Inputs]:
    """Find what files, folders and stores hold; nothing is read yet.

    What reads them is, in this order: the mapping or reader that is asked for; for a folder the
    mapping in it; how the run's own recordings were read; for files that describe themselves (EDF,
    WFDB, Empatica E4, XDF) their headers.

    Args:
        paths: at least one.
        run: whose sensors and windows count.
        how: otherwise.

    Raises:
        ConfigError: no such modality or reader.
        ContractError: they do not fit the run, or nothing says what they hold.
        DataError: a path does not exist, or holds no recording.
    """
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: does not exist; name files, a folder or a store")
    jobs: list[Job] = []
    notes: list[str] = []
    folders = [path for path in paths if path.is_dir() and format_of(path) is None]
    with ExitStack() as stack:
        for folder in folders:
            if (folder / "manifest.json").is_file():
                found = _of_store(folder, run, how)
            else:
                dataset = stack.enter_context(_open_folder(folder, run, how))
                found = _of_dataset(dataset, run, how, folder)
            jobs += found.jobs
            notes += found.notes
        files = [path for path in paths if path not in folders]
        for dataset in _open_files(files, run, how, stack) if files else ():
            found = _of_dataset(dataset, run, how, files[0])
            jobs += found.jobs
            notes += found.notes
        yield Inputs(tuple(jobs), tuple(dict.fromkeys(notes)))


def _reading(run: Run) -> Mapping[str, Any]:
    """Return how the recordings of a run were read, as far as is known."""
    told: Mapping[str, Any] | None = run.contract.get("reading")
    if told:
        return told
    # runs of before name the data set only; anybody's may have the name of a published one
    dataset = run.contract.get("dataset")
    return {"reader": dataset} if dataset in DATASETS and _has_its_sensors(run, dataset) else {}


def _has_its_sensors(run: Run, dataset: str) -> bool:
    """Tell whether all that a run knows are sensors of a published data set."""
    published = {m.name: tuple(m.channels) for m in get_reader(dataset).CARD.modalities}
    return all(published.get(m.name) == tuple(m.channels) for m in run.model.modalities)


def _mapping(run: Run, how: How, folder: Path | None = None) -> Wanted | None:
    """Return the mapping by which files are read; None where there is none."""
    reading = _reading(run)
    mapping: FileMapping | None = None
    if how.mapping is not None:
        path = find_mapping(folder or Path(), str(how.mapping)) or how.mapping
        mapping, where = read_mapping(path), str(path)
    elif folder is not None and (path := find_mapping(folder) or Path()) != Path():
        mapping, where = read_mapping(path), str(path)
    elif reading.get("mapping"):
        path, where = run.path / "model.json", f"the mapping in {run.path}"
        try:
            mapping = validate(dict(reading["mapping"]), where=where)
        except DataError as error:
            raise FormatError(f"{path}: its mapping cannot be used ({error}); give one") from error
    if mapping is None:
        return None
    classes = mapping.classes or tuple(reading.get("chosen") or run.contract.get("classes", ()))
    return Wanted(for_any_file(mapping, resample=how.resample), path, where, classes)


@contextmanager
def _open_folder(folder: Path, run: Run, how: How) -> Iterator[Dataset]:
    wanted = None if how.reader is not None else _mapping(run, how, folder)
    if wanted is not None:
        yield folder_dataset(wanted, folder).guarded()
        return
    with ExitStack() as stack:
        yield _opened(folder, run, how, stack)


def _open_files(files: Sequence[Path], run: Run, how: How, stack: ExitStack) -> Iterator[Dataset]:
    wanted = None if how.reader is not None else _mapping(run, how)
    if wanted is not None:
        yield files_dataset(wanted, files).guarded()
        return
    for file in files:
        yield _opened(file, run, how, stack)


def _opened(path: Path, run: Run, how: How, stack: ExitStack) -> Dataset:
    """Open what no mapping describes.

    Raises:
        ContractError: nothing tells what reads it, or it is not of the set that the run is of.
    """
    name, options = _reader(path, run, how)
    try:
        return stack.enter_context(open_dataset(name, path, options))
    except PackageError:
        raise
    except DataError as error:
        if how.reader is not None or get_reader(name).recognises(path):
            raise
        raise _other_files(path, run, name) from error


def _reader(path: Path, run: Run, how: How) -> tuple[str, Mapping[str, str]]:
    """Name the reader of a path, and its options.

    Raises:
        ContractError: nothing tells it.
    """
    reading = _reading(run)
    told = reading.get("reader")
    if how.reader is not None:
        return how.reader, reading.get("options", {}) if how.reader == told else {}
    if told != "folder" and told in reader_names():
        return told, reading.get("options", {})
    name = _by_header(path)
    if name is None:
        raise _untold(path, run)
    return name, {}


def _by_header(path: Path) -> str | None:
    """Name the format of files that say themselves what they hold."""
    return next((name for name in BY_HEADER if get_reader(name).recognises(path)), None)


def _untold(path: Path, run: Run) -> ContractError:
    return ContractError(
        f"{path}: nothing says what it holds, as {run.path} does not keep how its recordings were "
        "read (it is of an older crossl, or was trained on arrays); give a mapping (--mapping)"
    )


def _other_files(path: Path, run: Run, reader: str) -> ContractError:
    """Say what to do with files that are not of the set, or in the format, that a run is of."""
    sensors = ", ".join(f"{m.name} ({', '.join(m.channels)})" for m in run.model.modalities)
    return ContractError(
        f"{path}: is not what the reader {reader} reads, by which the recordings of {run.path} "
        "were read; give a mapping (--mapping FILE) that says what it holds, `crossl data init "
        f"FOLDER` writes a first one, and call its sensors as the run does: {sensors}"
    )


def _of_dataset(dataset: Dataset, run: Run, how: How, where: Path) -> Inputs:
    dataset = with_unit_warnings(dataset)
    names = [m.name for m in run.model.modalities]
    refuse_strangers(str(where), [m.name for m in dataset.card.modalities], names)
    sight = sight_of(run.contract, run.model.modalities, where=str(run.path),
                     resample=how.resample, spec=dataset.card.spec,
                     calibration=run.calibration)  # fmt: skip
    jobs = tuple(
        Job(part.name, {"files": _files_of(part)}, partial(_see_part, part, sight), part.read)
        for part in dataset.parts
    )
    return Inputs(jobs, dataset.notes)


def _files_of(part: Part) -> list[list[Any]]:
    paths = [str(path.absolute()) for path in part.files]
    return [[path, *told[1:]] for path, told in zip(paths, fingerprint(part), strict=True)]


def _see_part(part: Part, sight: Sight) -> Iterator[Seen]:
    file = part.files[0].name if part.files else ""
    for recording in part.read():
        yield sight.see(recording, file=file)


def _of_store(path: Path, run: Run, how: How) -> Inputs:
    if how.mapping is not None or how.reader is not None or how.resample:
        raise ContractError(
            f"{path}: is a store, in which recordings are read and cut already; leave out "
            "--mapping, --reader and --resample"
        )
    fitted = fit_store(Store.open(path), run.model.modalities, window_s=run.model.window_s,
                       calibration=run.calibration)  # fmt: skip
    store = fitted.store
    jobs = []
    for number, told in enumerate(store.manifest["recordings"]):
        name = f"{told['subject']}/{told['session']}"
        of = {"store": store.hash, "recording": number}
        jobs.append(Job(name, of, partial(_see_stored, store, number, fitted.unseen)))
    return Inputs(tuple(jobs), tuple(fitted.notes))


def _see_stored(store: Store, number: int, unseen: tuple[str, ...]) -> Iterator[Seen]:
    """See one recording of a store; what it has before its first window is not known."""
    told = store.manifest["recordings"][number]
    begin, end = np.searchsorted(store.recording, [number, number + 1])
    windows = StoredWindows(store, np.arange(begin, end))
    some = len(windows) > 0
    begin_s = float(windows.start_s[0]) if some else 0.0
    end_s = float(windows.start_s[-1]) + windows.window_s if some else float(told["seconds"])
    truth = np.array([*store.classes, ""])[windows.label]
    yield Seen(told["subject"], told["session"], windows, begin_s, end_s,
               told.get("origin_unix_s"), told.get("zone", ""), truth, unseen,
               tuple(told.get("notes", ())))  # fmt: skip
