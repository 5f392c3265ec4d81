"""Prepare: from files to a store, in parallel, in little memory, going on where it was killed.

Workers read and cut one part each (a few files) into small segments of their own; this process
puts them behind each other, in the order of the data set. So the bytes are the same whatever the
number of workers, and memory holds a few recordings at most. A journal says how long every file
was after each part: work that was killed is cut back to its last line and resumed from there.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

from crossl.data import left_out as unread
from crossl.data.append import as_in_store
from crossl.data.classes import choose_classes, with_classes
from crossl.data.finished_parts import FinishedParts, is_of
from crossl.data.left_out import Bear, Described, LeftOut
from crossl.data.manifest import (
    SEGMENT,
    check_files,
    describe_files,
    read_manifest,
    write_manifest,
)
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.recording import Modality
from crossl.data.segment import DTYPES, DType, SegmentSpec, SegmentWriter
from crossl.data.store import Store, check_names, refuse_empty, refuse_existing
from crossl.data.windows import WindowSpec, cut_recording
from crossl.errors import ConfigError, CrosslError, DataError, nearest
from crossl.files import json_sha256, lock_beside, locked, telling_what_is_kept
from crossl.workers import worker_processes

Progress: TypeAlias = Callable[[str, float], None]
How: TypeAlias = tuple[int | None, Bear, Progress]
"""Processes, what becomes of a part that cannot be read, and who is told."""

ALONE_BELOW_BYTES = 20_000_000
"""Files in all below which starting worker processes takes longer than it saves."""


@dataclass(frozen=True)
class Plan:
    """How a data set becomes a store.

    Attributes:
        modalities: the streams to keep, in order, at the rates they are read at.
        classes: label names, in order.
        spec: how windows are cut.
        dtype: how samples are kept on disk.
        resample: new rate by modality name, hertz; through an anti-alias filter.
        about: JSON values for the manifest.
        chosen: the class of each label of the recordings; empty where labels are the classes.
    """

    modalities: tuple[Modality, ...]
    classes: tuple[str, ...]
    spec: WindowSpec
    dtype: DType = "float32"
    resample: Mapping[str, float] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)
    chosen: Mapping[str, str] = field(default_factory=dict)

    def choosing(self, texts: Sequence[str]) -> Plan:
        """Keep some classes, or make one of several; see `choose_classes`."""
        chosen = choose_classes(texts, self.classes)
        return replace(self, classes=tuple(dict.fromkeys(chosen.values())), chosen=chosen)

    def __post_init__(self) -> None:
        """Refuse names that are duplicate or unknown, and types that no store has."""
        check_names(self.modalities, self.classes)
        if self.dtype not in DTYPES:
            raise ConfigError(f"dtype '{self.dtype}': unknown; {nearest(self.dtype, DTYPES)}")
        known = [m.name for m in self.modalities]
        for name in self.resample:
            if name not in known:
                raise ConfigError(f"resample: modality '{name}' is unknown; {nearest(name, known)}")

    @property
    def stored(self) -> tuple[Modality, ...]:
        """The streams as the store has them, at their new rates."""
        return tuple(
            Modality.from_dict({**m.as_dict(), "rate_hz": self.resample.get(m.name, m.rate_hz)})
            for m in self.modalities
        )

    def settings(self) -> dict[str, Any]:
        """Return what the manifest says of it."""
        return {
            **self.about,
            **({"chosen": dict(self.chosen)} if self.chosen else {}),
            "window": self.spec.as_dict(),
            "dtype": self.dtype,
            "modalities": [m.as_dict() for m in self.stored],
            "classes": list(self.classes),
        }


def plan_for(
    dataset: Dataset,
    reader: str,
    *,
    only: Sequence[str] = (),
    without: Sequence[str] = (),
    spec: WindowSpec | None = None,
    dtype: DType = "float32",
    resample: Mapping[str, float] | None = None,
    options: Mapping[str, str] | None = None,
) -> Plan:
    """Plan a store of a data set.

    Args:
        dataset: what a reader found.
        reader: its name, for the manifest.
        only: modalities to keep, in this order; none for all.
        without: modalities to leave out.
        spec: how windows are cut; None for what the card says.
        dtype: how samples are kept on disk.
        resample: new rate by modality name.
        options: what the reader was asked for; other options are other work.

    Raises:
        ConfigError: no such modality, or none is left.
    """
    card = dataset.card
    by_name = {m.name: m for m in card.modalities}
    for name in (*only, *without):
        if name not in by_name:
            raise ConfigError(f"modality '{name}' of {card.name}: {nearest(name, by_name)}")
    kept = tuple(by_name[name] for name in (only or by_name) if name not in without)
    if not kept:
        raise ConfigError(f"modalities of {card.name}: none is left; keep at least one")
    about = {
        "dataset": card.name,
        "reader": reader,
        "options": dict(options or {}),
        "crossl": version("crossl"),
        "title": card.title,
        **({"notes": list(dataset.notes)} if dataset.notes else {}),
        "description": f"{card.description} Licence: {card.licence}. Cite: {card.citation}.",
    }
    return Plan(kept, card.classes, spec or card.spec, dtype, dict(resample or {}), about)


def prepare_store(
    dataset: Dataset,
    out: Path,
    plan: Plan,
    *,
    workers: int | None = None,
    append: bool = False,
    strict: bool = True,
    progress: Progress = lambda _what, _share: None,
) -> Store:
    """Write a store from a data set's files; killed, the same call resumes.

    Args:
        dataset: what a reader found.
        out: the folder to make, or with `append` the store to add to.
        plan: what to keep and how to cut.
        workers: processes; default: one per core, or this one alone for little data.
        append: add a segment of new recordings to an existing store; nothing is rewritten. What
            was left out of the store before is read, what it has is not.
        strict: a part that cannot be read ends everything; else it is left out, `left_out` in the
            manifest names it and says why, and the others become the store.
        progress: told which part was done, and the share of all.

    Returns:
        The store, opened.

    Raises:
        DataError: `out` exists (or, appending, holds one of these recordings), a file cannot be
            read, nothing yields a window, or another process is at it.
        FormatError: appending to what is no store.
    """
    work = working_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    if not append:
        refuse_existing(out)
    with (
        locked(lock_beside(out), out, "is preparing this store"),
        telling_what_is_kept(work, (work / "journal.jsonl").is_file),
    ):
        work.mkdir(exist_ok=True)
        before = _state_before(out, plan, work, append=append)
        if before is not None:
            plan = as_in_store(out, before, plan)
        name = SEGMENT.format(len(before["segments"]) if before else 0)
        parts = unread.parts_to_read(dataset.parts, before)
        how = (workers, unread.strictly if strict else unread.or_left_out, progress)
        recordings, left_out = _write_segment(parts, plan, work, name, how)
        try:
            _refuse_doubles(out, [*(before["recordings"] if before else ()), *recordings])
        except DataError:
            shutil.rmtree(work)
            raise
        files = describe_files(work, name)
        if before is None:
            settings = {**plan.settings(), **unread.told(None, dataset.parts, left_out)}
            write_manifest(work, settings, {name: recordings}, files)
        # from here on the work cannot be resumed: after a kill the next call starts again
        (work / "journal.jsonl").unlink()
        if before is None:
            work.rename(out)
        else:
            before |= {"left_out": None, "parts_read": None} | unread.told(
                before, dataset.parts, left_out
            )
            _append_segment(out, work / name, name, before, (recordings, files))
            shutil.rmtree(work)
    return Store.open(out, verify=False)


def _write_segment(
    parts: Sequence[Part], plan: Plan, work: Path, name: str, how: How
) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    """Write the segment to its end; what was done stays, if there was any, when this fails."""
    settings = json_sha256({**plan.settings(), "segment": name})
    if not is_of(work / "journal.jsonl", settings):  # of another plan: nothing of it may stay
        (work / "journal.jsonl").unlink(missing_ok=True)
        shutil.rmtree(work / "segments", ignore_errors=True)
    writer = SegmentWriter(work / name, SegmentSpec(plan.stored, plan.dtype))
    journal = FinishedParts(work / "journal.jsonl", settings, writer)
    read = False
    try:
        done = journal.resume(parts, strict=how[1] is unread.strictly)
        _write_parts(parts, done, plan, _Work(work, journal, writer, *how))
        read = True
        unread.refuse_all(journal.left_out, parts)
        refuse_empty(writer, plan.spec)
    except BaseException:
        with suppress(OSError):  # a full disk: what is in memory cannot be written
            writer.close(final=False)
        if read or not writer.recordings:  # nothing that the next attempt could go on with
            shutil.rmtree(work)
        raise
    writer.close(final=True)
    return writer.recordings, journal.left_out


def _refuse_doubles(out: Path, recordings: Sequence[Mapping[str, Any]]) -> None:
    seen: set[tuple[str, str]] = set()
    for recording in recordings:
        key = (recording["subject"], recording["session"])
        if key in seen:
            raise DataError(
                f"{out}: subject {key[0]}, session {key[1]} would be there twice; every recording "
                "needs a subject and session of its own"
            )
        seen.add(key)


def working_folder(out: Path) -> Path:
    """Name the folder beside a store in which it is prepared."""
    return out.parent / f".{out.name}.preparing"


def _state_before(out: Path, plan: Plan, work: Path, *, append: bool) -> dict[str, Any] | None:
    """Return the manifest of the store to add to, if any; asked under the lock."""
    try:
        if append:
            return _appendable(out, plan)
        refuse_existing(out)  # it may have come while another process was at it
    except CrosslError:
        if not (work / "journal.jsonl").exists():  # work that was begun may still go on
            shutil.rmtree(work)
        raise
    return None


def _appendable(out: Path, plan: Plan) -> dict[str, Any]:
    manifest = read_manifest(out)
    check_files(out, manifest["files"], verify=False)
    as_in_store(out, manifest, plan)
    notes = [*manifest.get("notes", ()), *plan.about.get("notes", ())]
    return manifest | ({"notes": list(dict.fromkeys(notes))} if notes else {})


def _append_segment(
    out: Path,
    finished: Path,
    name: str,
    before: Mapping[str, Any],
    added: tuple[list[dict[str, Any]], dict[str, Any]],
) -> None:
    """Move a finished segment into a store, and only then let the manifest name it."""
    recordings, files = added
    shutil.rmtree(out / name, ignore_errors=True)  # of an append that was killed just here
    finished.rename(out / name)
    segments, first = {}, 0
    for segment, entry in before["segments"].items():
        segments[segment] = before["recordings"][first : first + entry["recordings"]]
        first += entry["recordings"]
    dropped = ("format", "version", "segments", "recordings", "interpolated", "files", "sha256")
    settings = {k: v for k, v in before.items() if k not in dropped and v is not None}
    write_manifest(out, settings, {**segments, name: recordings}, {**before["files"], **files})


@dataclass(frozen=True)
class _Work:
    """What writing the parts needs."""

    folder: Path
    journal: FinishedParts
    writer: SegmentWriter
    workers: int | None
    bear: Bear
    progress: Progress


def _write_parts(parts: Sequence[Part], done: int, plan: Plan, work: _Work) -> None:
    sizes = [max(1, sum(path.stat().st_size for path in part.files)) for part in parts]
    incoming = work.folder / "incoming"
    shutil.rmtree(incoming, ignore_errors=True)
    total, ready = sum(sizes), sum(sizes[:done])
    try:
        with closing(_cut_parts(parts, done, sizes, plan, work)) as made:
            for number, cut in made:
                folder = incoming / f"{number:05d}"
                if not isinstance(cut, LeftOut):
                    work.writer.merge(folder, cut)
                shutil.rmtree(folder, ignore_errors=True)
                work.journal.note(parts[number], cut if isinstance(cut, LeftOut) else None)
                ready += sizes[number]
                work.progress(f"{plan.about.get('dataset', 'store')}: {parts[number].name}",
                              ready / total)  # fmt: skip
    finally:
        work.journal.commit()
        shutil.rmtree(incoming, ignore_errors=True)


def _cut_parts(
    parts: Sequence[Part], done: int, sizes: Sequence[int], plan: Plan, work: _Work
) -> Generator[tuple[int, Described | LeftOut]]:
    """Yield the parts' numbers and recordings, in order, as they lie ready in `incoming`."""
    left = range(done, len(parts))
    count = work.workers or (os.cpu_count() or 1 if sum(sizes[done:]) > ALONE_BELOW_BYTES else 1)
    count = min(count, len(left))
    incoming = work.folder / "incoming"
    if count <= 1:
        for number in left:
            cut = partial(cut_part, parts[number], plan, incoming / f"{number:05d}")
            yield number, work.bear(parts[number], cut)
        return
    with worker_processes(count) as pool:
        running: deque[tuple[int, Future[list[dict[str, Any]]]]] = deque()
        for number in left:
            folder = incoming / f"{number:05d}"
            running.append((number, pool.submit(cut_part, parts[number], plan, folder)))
            if len(running) > count + 1:  # so many parts lie on disk at most
                yield _result(parts, work.bear, *running.popleft())
        while running:
            yield _result(parts, work.bear, *running.popleft())


def _result(
    parts: Sequence[Part], bear: Bear, number: int, future: Future[Described]
) -> tuple[int, Described | LeftOut]:
    try:
        return number, bear(parts[number], future.result)
    except BrokenProcessPool as error:
        raise DataError(
            f"part {parts[number].name}: a worker process died while reading, perhaps because "
            "memory ran out; give the same command again to resume, with --workers 1 in less memory"
        ) from error


def cut_part(part: Part, plan: Plan, folder: Path) -> list[dict[str, Any]]:
    """Read one part and write its windows as a segment of its own.

    Args:
        part: what to read.
        plan: what to keep and how to cut.
        folder: the segment to make.

    Returns:
        What the manifest says of each recording.

    Raises:
        DataError: the files cannot be read, or a recording contradicts the plan.
    """
    shutil.rmtree(folder, ignore_errors=True)
    writer = SegmentWriter(folder, SegmentSpec(plan.stored, plan.dtype))
    try:
        for read in part.read():
            recording = read.resampled(plan.resample) if plan.resample else read
            recording = with_classes(recording, plan.chosen) if plan.chosen else recording
            writer.add(recording, cut_recording(recording, plan.stored, plan.classes, plan.spec))
    finally:
        writer.close(final=True)
    return writer.recordings
