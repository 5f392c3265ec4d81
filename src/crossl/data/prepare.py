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
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from crossl.data import left_out as unread
from crossl.data.append import as_in_store, with_targets_of
from crossl.data.classes import with_classes
from crossl.data.finished_parts import FinishedParts, is_of
from crossl.data.left_out import Bear, Described, LeftOut
from crossl.data.manifest import (
    SEGMENT,
    check_files,
    describe_files,
    read_manifest,
    write_manifest,
)
from crossl.data.plan import Plan, plan_for
from crossl.data.readers.dataset import Dataset, Part
from crossl.data.segment import SegmentWriter
from crossl.data.store import Store
from crossl.data.target_rules import cut_with_targets
from crossl.data.write import refuse_empty, refuse_existing
from crossl.errors import CrosslError, DataError
from crossl.files import json_sha256, lock_beside, locked, telling_what_is_kept
from crossl.workers import worker_processes

__all__ = ["Plan", "plan_for", "prepare_store", "working_folder"]

Progress: TypeAlias = Callable[[str, float], None]
How: TypeAlias = tuple[int | None, Bear, Progress]
"""Processes, what becomes of a part that cannot be read, and what is called with progress."""

ALONE_BELOW_BYTES = 20_000_000
"""Files in all below which starting worker processes takes longer than it saves."""


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
        progress: called with the part that was finished, and the share of all.

    Returns:
        The store, opened.

    Raises:
        DataError: `out` exists (or, appending, holds one of these recordings), a file cannot be
            read, nothing yields a window, or another process is at it.
        FormatError: appending to what is not a store.
    """
    work = working_folder(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    plan = _plan_for(out, plan, dataset, append=append)
    with (
        locked(lock_beside(out), out, "is preparing this store"),
        telling_what_is_kept(work, (work / "journal.jsonl").is_file),
    ):
        work.mkdir(exist_ok=True)
        before = _state_before(out, plan, work, append=append)
        plan = plan if before is None else as_in_store(out, before, plan)
        name = SEGMENT.format(len(before["segments"]) if before else 0)
        parts = unread.parts_to_read(dataset.parts, before)
        how = (workers, unread.strictly if strict else unread.or_left_out, progress)
        recordings, left_out = _write_segment(parts, plan, work, name, how)
        _refuse_what_does_not_fit(out, work, plan, (before, recordings), read=not left_out)
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


def _refuse_what_does_not_fit(
    out: Path,
    work: Path,
    plan: Plan,
    recordings: tuple[Mapping[str, Any] | None, list[dict[str, Any]]],
    *,
    read: bool,
) -> None:
    """Refuse a recording that is there twice, and numbers of people who were not recorded.

    Args:
        out: the store.
        work: what was written so far, which is removed then.
        plan: says which targets have numbers of people.
        recordings: the manifest that is appended to, and the new ones.
        read: all parts could be read.
    """
    before, new = recordings
    every = [*(before["recordings"] if before else ()), *new]
    try:
        _refuse_doubles(out, every)
        plan.targets.refuse_strangers({one["subject"] for one in every}, read=read)
    except DataError:
        shutil.rmtree(work)
        raise


def _plan_for(out: Path, plan: Plan, dataset: Dataset, *, append: bool) -> Plan:
    if append:
        return with_targets_of(read_manifest(out), out, plan, dataset.card)
    refuse_existing(out)
    return plan


def _write_segment(
    parts: Sequence[Part], plan: Plan, work: Path, name: str, how: How
) -> tuple[list[dict[str, Any]], list[LeftOut]]:
    """Write the segment to its end; what was done stays, if there was any, when this fails."""
    rules = {"rules": repr(plan.targets.rules)} if plan.targets.rules else {}
    settings = json_sha256({**plan.settings(), **rules, "segment": name})
    if not is_of(work / "journal.jsonl", settings):  # of another plan: nothing of it may stay
        (work / "journal.jsonl").unlink(missing_ok=True)
        shutil.rmtree(work / "segments", ignore_errors=True)
    writer = SegmentWriter(work / name, plan.segment)
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
    writer = SegmentWriter(folder, plan.segment)
    try:
        for read in part.read():
            recording = read.resampled(plan.resample) if plan.resample else read
            named = with_classes(recording, plan.chosen) if plan.chosen else recording
            writer.add(named, *cut_with_targets(recording, named, plan.stored, plan.classes,
                                                plan.spec, plan.targets.rules))  # fmt: skip
    finally:
        writer.close(final=True)
    return writer.recordings
