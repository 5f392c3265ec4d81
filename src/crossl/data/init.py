"""A first mapping for a folder of recordings: looks at the files, guesses, and says so."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np

from crossl.data.formats import FileContent, Stream, format_of
from crossl.data.formats.numbers import CellError
from crossl.data.formats.sniff import open_sniffed
from crossl.data.mapping.guess import clean, group_columns
from crossl.data.mapping.load import MAPPING_NAMES
from crossl.data.mapping.measure import (
    CLOCK,
    Clock,
    find_clock,
    guess_rate,
    guess_unit,
    rate_in_name,
    told_unit,
)
from crossl.data.mapping.names import Kind, guess_kinds
from crossl.data.mapping.plan import find_sources
from crossl.data.spellings import alike
from crossl.data.units import parse_unit
from crossl.errors import DataError, counted
from crossl.files import lock_beside, locked, write_whole

LABEL = re.compile(
    r"label.*|activit.*|class|stage|state|condition|task|phase|annotation|event|posture|behaviou?r"
)
IGNORED = re.compile(
    r"id|.*_id|index|idx|row|subject.*|participant.*|user.*|person.*|session.*|count(er)?|packet.*|"
    r"seq.*|unnamed.*|date|time|timestamp.*"
)
PERSON = re.compile(r"subject.*|participant.*|patient.*|person.*")
BEGIN = re.compile(r"start.*|begin.*|onset.*|from|t0")
END = re.compile(r"end.*|stop.*|offset.*|to|t1")
DURATION = re.compile(r"dur.*|length.*")
MAX_OPENED = 300
MAX_RATES = 5
MAX_CLASSES = 50
MAX_STREAMS = 30
MAX_BAD = 0.05  # share of cells that are no numbers in a column of numbers all the same


@dataclass
class _Draft:
    """Lines of the mapping, as they are found."""

    modalities: dict[str, str] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def init_mapping(folder: Path, *, force: bool = False) -> Path:
    """Write `recordings.yaml` with what the files seem to be, each guess marked.

    Args:
        folder: of the recordings.
        force: overwrite a mapping that exists.

    Returns:
        The mapping. Where nothing tells a rate it stays empty, and loading asks for it.

    Raises:
        DataError: there is a mapping, or no file that could be a recording.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: is no folder; name the folder of your recordings")
    path = folder / MAPPING_NAMES[0]
    _refuse_mapping(folder, force=force)
    draft = _Draft()
    for contents in _alike(folder, draft):
        by_path = {one.path.relative_to(folder).as_posix(): one for one in contents}
        for kind in guess_kinds(list(by_path)):
            _add_kind(draft, kind, [by_path[name] for name in kind.paths])
    if not draft.modalities:
        told = f"; {'; '.join(draft.skipped[:3])}" if draft.skipped else ""
        raise DataError(f"{folder}: holds no file that could be a recording{told}")
    with locked(lock_beside(path), folder, "is writing a mapping into this folder"):
        _refuse_mapping(folder, force=force)  # it may have come meanwhile
        write_whole(path, _text(folder, draft).encode())
    return path


def _refuse_mapping(folder: Path, *, force: bool) -> None:
    for name in MAPPING_NAMES:
        if (folder / name).is_file() and not (force and name == MAPPING_NAMES[0]):
            raise DataError(
                f"{folder / name}: exists; move it away"
                + (", or overwrite it with --force" if name == MAPPING_NAMES[0] else "")
            )


def _alike(folder: Path, draft: _Draft) -> list[list[FileContent]]:
    """Open the files, and put those with the same columns together."""
    names = [name for name in find_sources(folder) if name not in MAPPING_NAMES]
    sessions = {name for name in names if (folder / name).is_dir()}
    headers = {name[:-4] for name in names if name.endswith(".hea")}
    groups: dict[tuple[object, ...], list[FileContent]] = {}
    opened = 0
    for name in names:
        pure = PurePosixPath(name)
        inside = str(pure.parent) in sessions or str(pure.with_suffix("")) in headers
        is_text = any(word in pure.stem.lower() for word in ("readme", "licen", "sha256"))
        if format_of(folder / name) is None or is_text or (inside and pure.suffix != ".hea"):
            continue
        if opened == MAX_OPENED:
            draft.skipped.append(f"only the first {MAX_OPENED} files were looked at")
            break
        opened += 1
        try:
            content = open_sniffed(folder / name)
            taken = tuple(stream for stream in content.streams if not stream.aside)
            content = replace(content, streams=taken)
        except DataError as error:
            draft.skipped.append(str(error).replace(f"{folder}/", ""))
            continue
        if len(content.streams) > MAX_STREAMS:
            draft.skipped.append(f"{name}: holds {len(content.streams)} arrays, too many to guess")
            continue
        key = (format_of(folder / name), *((_named(s), s.columns) for s in content.streams))
        groups.setdefault(key, []).append(content)
    return list(groups.values())


def _add_kind(draft: _Draft, kind: Kind, contents: Sequence[FileContent]) -> None:
    content = contents[0]
    files = counted(len(kind.paths), "file")
    lines = [f"  - pattern: {_quoted(kind.pattern)}   # guessed: finds {files}"]
    if kind.subject:
        lines.append(
            f"    subject: {_quoted(kind.subject)}   # guessed: no name tells people apart"
        )
    stream = content.streams[0] if content.streams else None
    intervals = _intervals(stream) if stream and len(content.streams) == 1 else None
    if intervals:
        lines += _table_keys(content)
        draft.files += [*lines, f"    intervals: {intervals}   # guessed by names; correct me"]
        return
    signals: list[str] = []
    for one in content.streams:
        table = stream is one and len(content.streams) == 1 and one.load_text is not None
        signals += (_table if table else _stream)(draft, kind, contents, one, lines)
    if not signals:
        why = [f"; {line.strip(' #')}" for line in lines if "NOT READ" in line][:1]
        draft.skipped.append(f"{kind.pattern}: no column that could be a signal{''.join(why)}")
        return
    draft.files += [*lines, "    signals:", *signals]


def _intervals(stream: Stream) -> str | None:
    """Recognise a table of intervals by the names of its columns."""
    found = {}
    for key, pattern in (("start", BEGIN), ("end", END), ("duration", DURATION), ("label", LABEL)):
        column = next((c for c in stream.columns if pattern.fullmatch(clean(c))), None)
        if column is not None:
            found[key] = column
    if "end" in found:
        found.pop("duration", None)
    if not {"start", "label"} <= set(found) or not {"end", "duration"} & set(found):
        return None
    unit = "s"
    if found["start"] in _text_columns(stream):
        unit = "datetime"
    else:
        first = float(np.nanmax(stream.load([found["start"]])))
        unit = "ns" if first >= 1e17 else "us" if first >= 1e14 else "ms" if first >= 1e11 else "s"
        unit = "ms" if clean(found["start"]).endswith("_ms") else unit
    pairs = ", ".join(f"{key}: {_quoted(column)}" for key, column in found.items())
    return f"{{{pairs}, unit: {unit}}}"


def _table_keys(content: FileContent, date_format: str | None = None) -> list[str]:
    """Write how a table of text is written, where that is not found without."""
    keys = {**content.about.get("table", {})} | (
        {"date_format": date_format} if date_format else {}
    )
    if not keys:
        return []
    return [
        f"    table: {json.dumps(keys, ensure_ascii=False)}   # guessed: how the text is written"
    ]


def _written(
    content: FileContent, stream: Stream, texts: Sequence[str], clock: Clock | None
) -> Iterator[str]:
    """Write how a table is written, and its clock."""
    yield from _table_keys(content, clock.date_format if clock else None)
    yield from _bad_cells(stream, texts)
    if clock is not None:
        yield f"    clock: {_quoted(clock.column)}   # guessed by name; it increases"
        yield f"    clock_unit: {clock.unit}   # guessed; correct me"


def _bad_cells(stream: Stream, texts: Sequence[str]) -> Iterator[str]:
    """Name the first cell that makes a column of numbers one of text."""
    for column in texts:
        try:
            stream.load([column])
        except CellError as error:
            if error.bad <= MAX_BAD * error.given:
                yield f"    # {_quoted(column)} is NOT READ, one cell is no number: {error}"
        except DataError:
            continue


def _text_columns(stream: Stream) -> list[str]:
    out = []
    for column in stream.columns:
        try:
            stream.load([column])
        except DataError:
            out.append(column)
    return out


def _table(
    draft: _Draft, kind: Kind, contents: Sequence[FileContent], stream: Stream, lines: list[str]
) -> Iterator[str]:
    """Describe a table: its clock, labels and signals."""
    texts = _text_columns(stream)
    clock = find_clock(stream, texts)
    lines += _written(contents[0], stream, texts, clock)
    label = None if "{label}" in kind.pattern else _label_column(stream, texts)
    if label is not None:
        lines.append(f"    label: {_quoted(label)}   # guessed: a label per sample")
        lines += _spellings(stream, label)
    people = any(PERSON.fullmatch(clean(c)) for c in stream.columns)
    if clock is None and people and not rate_in_name(contents[0].path):
        return  # a list of people, not a recording
    used = [c for c in (label, clock.column if clock else None) if c is not None]
    left = [
        c for c in stream.columns
        if c not in used and c not in texts and not IGNORED.fullmatch(clean(c))
    ]  # fmt: skip
    unused = [c for c in stream.columns if c not in left and c not in used]
    if unused:
        lines.append(f"    # not used: {', '.join(map(_quoted, unused))}")
    if not left:
        return
    values = dict(zip(left, stream.load(left).T, strict=True))
    rates = [] if clock is None else _rates(contents, clock.column, texts)
    if clock is None:
        told = rate_in_name(contents[0].path)
        rates = [told] if told else []
    for group, channels in group_columns(left).items():
        table = np.stack([values[c] for c in channels.values()], axis=1)
        if not np.isfinite(table).any():
            continue
        name = _name(kind, group)
        members = list(channels.values())
        unit = told_unit(stream, members) or guess_unit(group, members, table)
        _add_modality(draft, name, list(channels), unit, rates, kind.device)
        columns = ", ".join(map(_quoted, channels.values()))
        yield f"      {name}: [{columns}]"


def _rates(contents: Sequence[FileContent], column: str, texts: Sequence[str]) -> list[float]:
    """Estimate the rate in a few files."""
    found = []
    for content in contents[:MAX_RATES]:
        stream = replace(content.streams[0], columns=(column,))
        clock = find_clock(stream, texts)
        rate = guess_rate(clock.times_s) if clock else None
        if rate:
            found.append(rate)
    return found


def _spellings(stream: Stream, label: str) -> Iterator[str]:
    """Tell of labels that may be one; `label_names` makes them one."""
    found = stream.load_text(label).tolist() if stream.load_text is not None else []
    for pair in alike(Counter(sorted(filter(None, found)))):
        names = f"{{{json.dumps(pair.name)}: {json.dumps(pair.other)}}}"
        yield f"    # label '{pair.name}' {pair.why}; if they are one: label_names: {names}"


def _label_column(stream: Stream, texts: Sequence[str]) -> str | None:
    for column in stream.columns:
        if not LABEL.fullmatch(clean(column)) or stream.load_text is None:
            continue
        if len(set(stream.load_text(column).tolist())) <= MAX_CLASSES:
            return column
    for column in texts:
        plain = clean(column)
        if stream.load_text is None or IGNORED.fullmatch(plain) or CLOCK.fullmatch(plain):
            continue
        if len(set(stream.load_text(column).tolist())) <= min(MAX_CLASSES, stream.length // 10):
            return column
    return None


def _named(stream: Stream) -> str:
    """Return the name of a stream; empty where it is a mere rate, such as `480 Hz`."""
    return "" if re.fullmatch(r"[\d.e+]+ Hz", stream.name) else stream.name


def _stream(
    draft: _Draft, kind: Kind, contents: Sequence[FileContent], stream: Stream, lines: list[str]
) -> Iterator[str]:
    """Describe a stream of a format that tells rates and units itself."""
    if stream.length < 2:
        return
    at = contents[0].streams.index(stream)  # files of one kind have their streams in one order
    rates = [rate for one in contents[:MAX_RATES] if (rate := one.streams[at].rate_hz)]
    if contents[0].labels and not any("annotations" in line for line in lines):
        lines.append("    # the files carry labels of their own; take them with: annotations: true")
    units = dict(zip(stream.columns, stream.units or [""] * len(stream.columns), strict=True))
    groups = group_columns(stream.columns)
    if _named(stream):
        groups = {stream.name: {clean(c): c for c in stream.columns}}
    for group, channels in groups.items():
        name = _name(kind, clean(group))
        if name in draft.modalities and any(f" {name}:" in line for line in lines):
            name += f"_{clean(stream.name)}"
        unit, why = units[next(iter(channels.values()))], "by the file"
        try:
            parse_unit(unit)
        except DataError:
            unit, why = "1", f"the file says '{unit}', which crossl does not know"
        if not stream.units:
            unit, why = guess_unit(clean(group), [], stream.load(list(channels.values())))
        _add_modality(draft, name, list(channels), (unit or "1", why), rates, kind.device)
        columns = ", ".join(map(_quoted, channels.values()))
        if _named(stream):
            yield f"      {name}: {{stream: {_quoted(stream.name)}}}   # columns: {columns}"
        else:
            yield f"      {name}: [{columns}]"


def _name(kind: Kind, group: str) -> str:
    device = clean(kind.device) if kind.device else ""
    if not device or group.startswith(device):
        return group
    return f"{device}_{group}"


def _add_modality(
    draft: _Draft,
    name: str,
    channels: Sequence[str],
    unit: tuple[str, str],
    rates: Sequence[float],
    device: str,
) -> None:
    spread = bool(rates) and max(rates) - min(rates) > 0.01 * min(rates)
    rate = f"{min(rates):g}" if rates else ""
    why = (
        f"rate seen in {counted(len(rates), 'file')}"
        if rates
        else "rate NOT KNOWN: fill in rate_hz"
    )
    draft.modalities.setdefault(
        name,
        f"  {name}:   # guessed: {why}; unit: {unit[1]}; correct me\n"
        f"    channels: [{', '.join(map(_quoted, channels))}]\n"
        f"    unit: {_quoted(unit[0])}\n"
        f"    rate_hz: {rate}\n"
        + (f"    device: {_quoted(device)}\n" if device else "")
        + ("    resample: true   # files tell different rates\n" if spread else ""),
    )


def _quoted(text: str) -> str:
    """Write a word of YAML; in quotes where it could be taken for something else."""
    plain = re.fullmatch(r"[A-Za-z_]\w*", text, re.ASCII)
    if plain and text.lower() not in ("yes", "no", "on", "off", "true", "false", "null"):
        return text
    return json.dumps(text, ensure_ascii=False)


def _text(folder: Path, draft: _Draft) -> str:
    return "\n".join([
        "# What is in this folder. Written by `crossl data init`, which guessed: read every line.",
        "# All keys: docs/mapping.md. Then: crossl data doctor, crossl prepare folder.",
        "version: 1",
        f"name: {_quoted(clean(folder.resolve().name))}",
        "# classes: [rest, walk]   # labels to keep, in order; without it all that are found",
        "windows: {window_s: 2, stride_s: 1, min_coverage: 0.8, max_gap_s: 0.2}",
        "",
        "modalities:",
        *draft.modalities.values(),
        "files:",
        *draft.files,
        *(f"# not read: {' '.join(one.split())}" for one in draft.skipped),
        "",
    ])  # fmt: skip
