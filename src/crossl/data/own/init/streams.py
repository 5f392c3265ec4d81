"""Describe files with streams: arrays, and formats that tell rates and units themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from crossl.data.formats import FileContent, Stream, format_of
from crossl.data.own.init.columns import MAX_CLASSES
from crossl.data.own.init.draft import Draft, listed, modality_name, quoted
from crossl.data.own.init.find import stream_name
from crossl.data.own.mapping.guess import clean, group_columns
from crossl.data.own.mapping.measure import find_clock, guess_rate, guess_unit, rate_in_name
from crossl.data.own.mapping.names import Kind
from crossl.data.own.mapping.nosensor import disguise, no_sensor, sift
from crossl.data.own.mapping.people import texts_of
from crossl.data.own.mapping.quantity import misfit, read_unit, spelt
from crossl.errors import DataError

MAX_RATES = 5
ARRAYS = ("npy", "mat")
SELDOM_HZ = 0.02
"""Irregular samples that come less often are not proposed."""


def describe_streams(
    draft: Draft, kind: Kind, contents: Sequence[FileContent]
) -> tuple[list[str], list[str]]:
    """Return the lines of a kind of file, and those of its signals.

    Args:
        draft: takes the modalities.
        kind: pattern and device.
        contents: files of this kind.
    """
    content = contents[0]
    if "off" in content.about:
        content = _of_all(contents)
    lines: list[str] = []
    rates: dict[str, list[float]] = {}
    streams = list(content.streams)
    if "opened_as" in content.about:
        lines.append(f"    format: {content.about['opened_as']}")
    elif format_of(content.path) == "e4":
        lines.append("    format: e4")
    elif format_of(content.path) in ARRAYS:
        streams, lines, rate = _arrays(content)
        rates = {one.name: rate for one in streams}
    if content.labels:
        lines.append("    # the files carry labels of their own; take them with: annotations: true")
    signals: list[str] = []
    for stream in streams:
        if stream.length > 1:
            own = _rates(contents, content.streams.index(stream), stream.name)
            signals += _stream(draft, kind, stream, (rates.get(stream.name) or own, lines))
    return lines, signals


def _of_all(contents: Sequence[FileContent]) -> FileContent:
    """Put together the sensors of files in which some were off."""
    streams = {one.name: one for content in reversed(contents) for one in content.streams}
    labels = tuple(label for content in contents for label in content.labels)
    return replace(contents[0], streams=tuple(streams.values()), labels=labels)


def _rates(contents: Sequence[FileContent], at: int, name: str) -> list[float]:
    """Return the rates that files tell; those of one kind have streams in one order, or by name."""
    if "irregular" in contents[0].about:
        times = [s.timestamps_s for one in contents[:MAX_RATES] for s in one.streams
                 if s.name == name and s.timestamps_s is not None]  # fmt: skip
        return [rate for one in times if (rate := _dense(one))]
    if "off" in contents[0].about:
        found = [s for one in contents for s in one.streams if s.name == name][:MAX_RATES]
    else:
        found = [one.streams[at] for one in contents[:MAX_RATES]]
    return [stream.rate_hz for stream in found if stream.rate_hz]


def _dense(times_s: NDArray[np.float64]) -> float:
    """Return the rate where irregular samples lie densely, such as in a workout; 0 for few."""
    steps = np.diff(times_s)
    steps = steps[steps > 0]
    return float(f"{1 / np.percentile(steps, 25):.3g}") if len(steps) else 0.0


def _arrays(content: FileContent) -> tuple[list[Stream], list[str], list[float]]:
    """Find clock and labels among arrays: by their names, and as many values as the signals."""
    kinds = {one.name: no_sensor(one.name) for one in content.streams}
    if {clean(name.rpartition(".")[2]) for name in kinds} & {"x", "z"}:
        kinds = {n: "" if clean(n.rpartition(".")[2]) == "y" else k for n, k in kinds.items()}
    signals = [one for one in content.streams if not kinds[one.name] and _is_numbers(one)]
    length = max((one.length for one in signals), default=0)
    signals = [one for one in signals if one.length == length]
    signals = [one for one in signals if not _in_disguise(one)] or signals
    lines: list[str] = []
    rates: list[float] = []
    used = {one.name for one in signals}
    beside = [one for one in content.streams if one.name not in used and one.length == length]
    for one in beside:
        if len(one.columns) != 1:
            continue
        if kinds[one.name] == "clock" and not rates and _is_numbers(one):
            clock = find_clock(one, (), name=one.name)
            if clock is not None:
                lines.append(f"    clock: {quoted(one.name)}   # guessed by name; it increases")
                lines.append(f"    clock_unit: {clock.unit}   # guessed; correct me")
                rate = guess_rate(clock.times_s)
                rates += [rate] if rate else []
                used.add(one.name)
        elif kinds[one.name] in ("label", "trigger", "") and not _label(lines) and _few(one):
            lines.append(f"    label: {quoted(one.name)}   # guessed: a label per sample")
            used.add(one.name)
    told = rate_in_name(content.path)
    left = [f"{quoted(s.name)} ({kinds[s.name] or f'{s.length} values'})"
            for s in content.streams if s.name not in used]  # fmt: skip
    if left:
        lines.append(f"    # not used: {', '.join(left)}")
    return signals, lines, rates or ([told] if told else [])


def _in_disguise(stream: Stream) -> bool:
    return len(stream.columns) == 1 and bool(disguise(stream.load(stream.columns)[:, 0]))


def _few(stream: Stream) -> bool:
    """Tell whether a column takes as many values as labels do."""
    return 1 < len(set(texts_of(stream, stream.columns[0]).tolist())) <= MAX_CLASSES


def _label(lines: Sequence[str]) -> bool:
    return any(line.startswith("    label:") for line in lines)


def _is_numbers(stream: Stream) -> bool:
    try:
        stream.load(stream.columns[:1])
    except DataError:
        return False
    return True


def _stream(
    draft: Draft, kind: Kind, stream: Stream, found: tuple[list[float], list[str]]
) -> Iterator[str]:
    rates, lines = found
    none = sift(stream.columns) if len(stream.columns) > 1 or not stream_name(stream) else {}
    if none:
        told = ", ".join(f"{quoted(name)} ({what})" for name, what in none.items())
        lines.append(f"    # not used: {told}")
    columns = [column for column in stream.columns if column not in none]
    irregular = bool(rates) and stream.rate_hz is None and stream.timestamps_s is not None
    if irregular and min(rates) < SELDOM_HZ:
        lines.append(
            f"    # {quoted(stream.name)} is NOT READ, it has a value every "
            f"{1 / min(rates):.0f} s, too seldom for windows"
        )
        return
    groups = group_columns(columns)
    if stream_name(stream):
        groups = {stream.name: {clean(c): c for c in columns}} if columns else {}
    for group, channels in groups.items():
        name = modality_name(kind, clean(group))
        if name in draft.modalities and any(f" {name}:" in line for line in lines):
            name += f"_{clean(stream.name)}"
        unit = _unit(stream, name, channels)
        draft.add_modality(name, list(channels), unit, rates, kind.device, irregular=irregular)
        if stream_name(stream) and not none:
            members = ", ".join(map(quoted, channels.values()))
            yield f"      {name}: {{stream: {quoted(stream.name)}}}   # columns: {members}"
        else:
            yield f"      {name}: {listed(list(channels.values()))}"


def _unit(stream: Stream, name: str, channels: dict[str, str]) -> tuple[str, str]:
    """Return the unit of columns as their file tells it, or by the size of their values."""
    columns = list(channels.values())
    if not stream.units:
        return guess_unit(name, [], stream.load(columns))
    told = dict(zip(stream.columns, stream.units, strict=True))[columns[0]]
    try:
        unit = spelt(told, columns[0], name)
        wrong = misfit(read_unit(unit, columns[0], name).si, columns[0], name)
    except DataError:
        return "1", f"the file says '{told}', which crossl does not know"
    if wrong is not None:
        return "1", f"the file says '{told}', in which {wrong.name} is not measured"
    return unit or "1", "by the file"
