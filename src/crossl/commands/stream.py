"""`crossl stream`: labels of a stream as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from crossl.data.recording import WARNING, Modality, Recording, warnings_in
from crossl.errors import ConfigError, DataError
from crossl.files import adding_lines, read_json, telling_what_is_kept
from crossl.names import known_zone
from crossl.predict.inputs import How, open_inputs
from crossl.predict.live import LiveClassifier
from crossl.predict.manner import notes_of
from crossl.predict.opening import LiveOptions, live_manner, open_live
from crossl.run_folder import Run, load_probe, load_run
from crossl.stream.lsl import Wanted, lsl
from crossl.stream.output import csv_line, csv_row
from crossl.stream.replay import read_speed, replay
from crossl.stream.session import Said, Session, Wishes, label_stream
from crossl.stream.source import Facts, Source
from crossl.stream.standard_input import standard_input
from crossl.stream.websocket import websocket

MOST_NAMED = 10
ALLOWED = (
    "'replay:FILE', '-' (standard input), 'lsl:NAME', 'ws://HOST:PORT' or 'wss://HOST' is allowed"
)

Note: TypeAlias = Callable[[str], None]


@dataclass(frozen=True)
class From:
    """Where a stream comes from.

    Attributes:
        place: as it was asked for.
        how: files of a replay are read.
        recording: that is replayed, `SUBJECT` or `SUBJECT/SESSION`, where there are several.
        speed: of a replay.
        wait_s: for the first outlet of LSL.
    """

    place: str
    how: How = field(default_factory=How)
    recording: str = ""
    speed: str = "1"
    wait_s: float = 10.0


def stream_run(
    run_path: Path,
    source: From,
    *,
    wishes: Wishes,
    options: LiveOptions,
    say: Callable[[LiveClassifier], Callable[[Said], None]],
    out: Path | None = None,
    note: Note = lambda _sentence: None,
) -> int:
    """Label a stream until it ends.

    Args:
        run_path: the run folder, with a classifier.
        source: where it comes from.
        wishes: what is said of it.
        options: what is asked for: how long to wait, `resample`, and how windows are read.
        say: called once; makes what is called with each row.
        out: CSV file that rows are added to; None for none.
        note: called with what a user should know, a sentence each.

    Returns:
        How many rows were said.

    Raises:
        ConfigError: an option that means nothing.
        ContractError: the stream does not fit the run.
        DataError: it cannot be used.
        FormatError: the run has no classifier.
        PackageError: what the source needs is not installed.
    """
    if wishes.zone:
        known_zone(wishes.zone)
    note = _once(note)
    run = load_run(run_path)
    probe, _ = load_probe(run_path)
    about = read_json(run_path / "probe.json", cure="run `crossl probe` again")
    manner = live_manner(about, probe, run.model.modalities, options.asked, dashes="--")
    for sentence in notes_of(manner, probe, options.asked):
        note(sentence)

    def opened(facts: Facts) -> LiveClassifier:
        return open_live(run.model, run.contract, run.calibration, probe, about,
                         _with_facts(options, run, facts))  # fmt: skip

    usual = opened(Facts())  # refuses now what can never work
    session = Session(opened, run.model.modalities, wishes=wishes, note=note)
    chunks = open_source(source, run, usual, note)
    tell, count = say(usual), 0
    header = f"{csv_row(usual.columns)}\n".encode()
    with (
        adding_lines(out, header) if out is not None else nullcontext() as add,
        telling_what_is_kept(out or Path(), lambda: out is not None and count > 0),
    ):
        if out is not None and out.stat().st_size > len(header):
            note(f"{out}: has rows already, those of this stream are added behind them; name "
                 "another file to begin anew")  # fmt: skip

        async def work() -> None:
            nonlocal count
            async with aclosing(label_stream(chunks, session)) as rows:
                async for one in rows:
                    tell(one)
                    count += 1
                    if add is not None:
                        add(f"{csv_line(one)}\n".encode())

        asyncio.run(work())
    return count


def _with_facts(options: LiveOptions, run: Run, facts: Facts) -> LiveOptions:
    rates = {m.name: m.rate_hz for m in run.model.modalities}
    at_rate = [name for name, m in facts.sensors.items() if m.rate_hz == rates.get(name)]
    return LiveOptions(
        options.max_delay_s, facts.in_order, facts.start_s, options.resample, options.asked,
        facts.origin_unix_s, facts.zone, at_rate,
    )  # fmt: skip


def _once(note: Note) -> Note:
    """Leave out warnings that were noted: of a replay, what its file and its samples say."""
    said: set[str] = set()

    def noted(sentence: str) -> None:
        if sentence not in said:
            note(sentence)
        if sentence.startswith(WARNING):
            said.add(sentence)

    return noted


def open_source(source: From, run: Run, live: LiveClassifier, note: Note) -> Source:
    """Make what a text such as `lsl:NAME` asks for.

    Raises:
        ConfigError: it asks for nothing that is known.
        DataError: there is no such recording.
        PackageError: what the source needs is not installed.
    """
    kind, _, rest = source.place.partition(":")
    wanted: dict[str, Modality] = {m.name: live.expected(m.name) for m in live.modalities}
    if source.speed != "1" and kind != "replay":
        raise ConfigError(f"--speed: {source.place} is live; only replay: has a speed")
    if source.place == "-":
        return standard_input(wanted)
    if kind in ("ws", "wss"):
        return websocket(source.place, wanted, note=note)
    if kind == "lsl":
        asked = Wanted(_outlets(rest, wanted), wanted)
        return lsl(asked, wait_s=source.wait_s, note=note)
    if kind == "replay" and rest:
        speed = read_speed(source.speed)
        return replay(find_recording(source, Path(rest), run, note), speed=speed)
    raise ConfigError(f"--from: got '{source.place}'; {ALLOWED}")


def _outlets(text: str, wanted: dict[str, Modality]) -> dict[str, str]:
    """Read `NAME,NAME=SENSOR`; nothing stands for all that are named like a sensor."""
    outlets: dict[str, str] = {}
    for one in filter(None, text.split(",")):
        name, _, sensor = one.partition("=")
        if sensor and sensor not in wanted:
            raise ConfigError(
                f"--from: '{one}' names a sensor that the run does not know; allowed are "
                f"{', '.join(wanted)}"
            )
        outlets[name.strip()] = sensor.strip()
    return outlets


def find_recording(source: From, path: Path, run: Run, note: Note) -> Recording:
    """Read the one recording that is replayed.

    Raises:
        ContractError: nothing says what files hold.
        DataError: there is none, or there are several and none is named.
    """
    if (path / "manifest.json").is_file():
        raise DataError(f"{path}: is a store, which holds windows; replay: needs recorded files")
    asked, found = source.recording, {}
    with open_inputs([path], run, source.how) as inputs:
        for sentence in inputs.notes:
            note(sentence)
        names = [job.name for job in inputs.jobs]
        for job in inputs.jobs:
            if len(names) > 1 and not _is_asked(job.name, asked):
                continue
            for one in job.recordings():
                name = "/".join(filter(None, (one.subject, one.session)))
                if not asked or _is_asked(name, asked) or _is_asked(job.name, asked):
                    found[name] = one
    if len(found) == 1:
        (one,) = found.values()
        for sentence in warnings_in(one.notes):
            note(sentence)
        return one
    names = list(found) or names
    told = ", ".join(names[:MOST_NAMED]) + (" and others" if len(names) > MOST_NAMED else "")
    if asked and not found:
        raise DataError(f"--recording: got '{asked}'; {path} has {told}")
    raise DataError(f"{path}: holds several recordings; name one by --recording: {told}")


def _is_asked(name: str, asked: str) -> bool:
    """Tell whether a recording is asked for; readers join subject and session by `/` or `_`."""
    name, asked = name.replace("_", "/"), asked.replace("_", "/")
    return bool(asked) and (name == asked or name.startswith(f"{asked}/"))
