"""`crossl predict`: recordings to labelled timelines; killed, the same call does what is left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from crossl.data.left_out import LeftOut
from crossl.data.recording import warnings_in
from crossl.errors import ConfigError, ContractError, DataError, PackageError, nearest
from crossl.evaluate.probe import Probe
from crossl.files import (
    json_sha256,
    read_json,
    telling_what_is_kept,
    working_in,
    write_whole,
    writing,
)
from crossl.predict.edf_annotations import annotations_edf
from crossl.predict.inputs import How, Job, open_inputs
from crossl.predict.kept import INDEX, Kept, identity_of, remove_others, sizes_of
from crossl.predict.manner import Asked, Manner, manner_of, notes_of
from crossl.predict.pictures import page_of_records, picture_of
from crossl.predict.records import record_of
from crossl.predict.sight import Seen
from crossl.predict.tables import csv_pieces, parquet_bytes
from crossl.predict.timeline import Timeline, timeline_of
from crossl.run_folder import Run, load_probe, load_run

FORMATS = {"csv": ".csv", "parquet": ".parquet", "edf": ".edf", "png": ".png"}
"""What may be written of each recording, and the ending of its file."""

Progress: TypeAlias = Callable[[str, float], None]
Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class Predicted:
    """What was done.

    Attributes:
        records: what is kept of each timeline, by the name of its files; of this call's inputs.
        left_out: what could not be read, and why.
        page: that shows them.
    """

    records: dict[str, dict[str, Any]]
    left_out: list[LeftOut]
    page: Path


def predict_files(
    run_path: Path,
    paths: Sequence[Path],
    out: Path,
    *,
    how: How | None = None,
    formats: Sequence[str] = (),
    asked: Asked | None = None,
    progress: Progress = lambda _what, _share: None,
    note: Note = lambda _sentence: None,
) -> Predicted:
    """Write a timeline of each recording that files, folders or stores hold.

    Memory holds one recording at a time. Of each recording the files are written first and then a
    record that vouches for them, so that the same call does what is left; files that changed are
    done again.

    Args:
        run_path: the run folder, with a classifier.
        paths: of files, folders and stores.
        out: folder for the timelines; may hold others of the same run.
        how: files are read, where that is not how the run's own were.
        formats: some of `csv`, `parquet`, `edf` and `png`; none for all that can be written.
        asked: how what the classifier says is read; None for as it is usual.
        progress: called with the recording that was finished, and the share of all.
        note: called with what a user should know, a sentence each.

    Returns:
        What was done.

    Raises:
        ConfigError: an unknown format, modality or reader.
        ContractError: the recordings do not fit the run, or nothing says what they hold.
        DataError: nothing can be read, or `out` holds timelines of another run or recording.
        FormatError: the run has no classifier, or it keeps nothing of what is asked for.
        PackageError: what a format needs is not installed.
    """
    formats = _formats(formats, note)
    run = load_run(run_path)
    probe, _ = load_probe(run_path)
    about = read_json(run_path / "probe.json", cure="run `crossl probe` again")
    manner = manner_of(about, probe, run.model.modalities, asked or Asked(), dashes="--")
    for sentence in notes_of(manner, probe, asked or Asked()):
        note(sentence)
    with open_inputs(paths, run, how or How()) as inputs:
        for sentence in inputs.notes:
            note(sentence)
        with working_in(out, "is writing timelines into this folder"):
            kept_there = Kept.of(out, identity_of(run))
            work = _Work(run, probe, kept_there, formats, note, manner)
            with telling_what_is_kept(out, lambda: bool(work.kept.records)):
                found, left_out = _all_jobs(work, inputs.jobs, progress)
            page = page_of_records(work.kept.records, title=f"Timelines by {run_path.name}")
            write_whole(out / INDEX, page.encode())
    return Predicted(found, left_out, out / INDEX)


def _formats(asked: Sequence[str], note: Note) -> tuple[str, ...]:
    for name in asked:
        if name not in FORMATS:
            raise ConfigError(f"--format: got '{name}'; {nearest(name, FORMATS)}")
    if asked or find_spec("polars") is not None:
        if "parquet" in asked and find_spec("polars") is None:
            raise PackageError(
                "--format parquet: needs the package 'polars', which is not installed; install it "
                'with: pip install "crossl[io]"'
            )
        return tuple(dict.fromkeys(asked)) or tuple(FORMATS)
    note('no Parquet is written, which needs: pip install "crossl[io]"')
    return tuple(name for name in FORMATS if name != "parquet")


@dataclass(frozen=True)
class _Work:
    """What making timelines needs."""

    run: Run
    probe: Probe
    kept: Kept
    formats: tuple[str, ...]
    note: Note
    manner: Manner


def _all_jobs(
    work: _Work, jobs: Sequence[Job], progress: Progress
) -> tuple[dict[str, dict[str, Any]], list[LeftOut]]:
    """Do all jobs, one after another; what cannot be read, or does not fit, is left out."""
    found: dict[str, dict[str, Any]] = {}
    left_out: list[LeftOut] = []
    first: type[DataError | ContractError] = DataError
    told: set[str] = set()
    for number, job in enumerate(jobs):
        progress(f"recordings: {job.name}", number / len(jobs))
        try:
            records = _one_job(work, job)
        except PackageError:
            raise
        except (DataError, ContractError) as error:
            first = first if left_out else type(error)
            left_out.append(LeftOut(job.name, str(error)))
            continue
        for name in {name for one in records.values() for name in one["unseen"]} - told:
            work.note(f"sensor {name} was not in training and is left out")
            told.add(name)
        for sentence in [w for one in records.values() for w in warnings_in(one["notes"])]:
            if sentence not in told:
                work.note(sentence)
                told.add(sentence)
        found |= records
    if left_out and not found:
        others = f" (and {len(left_out) - 1} others, none can be read)" if left_out[1:] else ""
        raise first(f"{left_out[0].why}{others}")
    if not found:
        raise DataError("recordings: none was found; at least one is needed")
    return found, left_out


def _one_job(work: _Work, job: Job) -> dict[str, dict[str, Any]]:
    """Write the timelines of a job, if they are not there already; return their records."""
    facts = {
        **job.of, "name": job.name, "formats": list(work.formats), **work.manner.as_dict(),
    }  # fmt: skip
    done = work.kept.done(facts)
    if done:
        return {one["name"]: one for one in done}
    records: dict[str, dict[str, Any]] = {}
    for seen in job.read():
        source = f"{_source_of(job)} (subject {seen.subject}, session {seen.session})"
        name = work.kept.name_for(seen.subject, seen.session, source)
        if name in records:
            raise DataError(
                f"{_source_of(job)}: two of its recordings would have the name {name}; give them "
                "other subjects or sessions"
            )
        line = timeline_of(work.run.model, work.probe, seen, work.manner)
        files = _write(work, name, seen, line)
        records[name] = {
            "job": json_sha256(facts),
            "source": source,
            "name": name,
            "files": sizes_of(work.kept.folder, files),
            "calibrated": work.manner.temperatures is not None,
            "abstain": work.manner.abstain,
            "context": work.manner.context,
            "sets": work.manner.level,
            "keep_unusable": work.manner.usable is None,
            **record_of(seen, line),
        }
    work.kept.keep(records)
    return records


def _source_of(job: Job) -> str:
    files = job.of.get("files")
    return str(files[0][0]) if files else f"store {job.of.get('store', '')[:12]}"


def _write(work: _Work, name: str, seen: Seen, line: Timeline) -> list[str]:
    """Write the files of a timeline; return their names."""
    folder = work.kept.folder
    gone = [FORMATS[one] for one in FORMATS if one not in work.formats]
    remove_others(folder, name, [".json", *gone])
    files = []
    for one in work.formats:
        path = folder / f"{name}{FORMATS[one]}"
        if one == "csv":
            with writing(path) as file:
                file.writelines(csv_pieces(line))
        elif one == "parquet":
            write_whole(path, parquet_bytes(line))
        elif one == "edf":
            write_whole(path, _annotations(seen, line))
        else:
            write_whole(path, picture_of(seen, line))
        files.append(path.name)
    return files


def _annotations(seen: Seen, line: Timeline) -> bytes:
    return annotations_edf(line.stretches(), begin_s=seen.begin_s, began=line.when(seen.begin_s),
                           patient=seen.subject)  # fmt: skip
