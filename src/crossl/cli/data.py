"""`crossl prepare` and `crossl inspect`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from crossl.cli import show
from crossl.cli.options import ReaderChoicesOption, StoreArgument

MAX_NOTES = 5
PARTLY = 3
"""Exit code: a store was made, and some recordings are not in it."""


def prepare(
    reader: Annotated[str, typer.Argument(help="Data set or format; see `crossl data list`.")],
    out: Annotated[Path, typer.Option(help="Folder to make; must not exist.")],
    root: Annotated[Path | None, typer.Option(help="Folder or archive of the files.")] = None,
    option: ReaderChoicesOption = None,
    modality: Annotated[
        list[str] | None, typer.Option(help="Modality to keep; repeatable. Default: all.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="Modality to leave out; repeatable.")
    ] = None,
    resample: Annotated[
        list[str] | None, typer.Option(help="New rate, MODALITY=HZ, filtered; repeatable.")
    ] = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(help="Labels to keep, A,B; NEW=A+B makes one class of several. Repeatable."),
    ] = None,
    targets: Annotated[
        Path | None,
        typer.Option(help="YAML file: targets of windows beside their label (docs/targets.md)."),
    ] = None,
    window_s: Annotated[float | None, typer.Option(help="Length of a window, seconds.")] = None,
    stride_s: Annotated[float | None, typer.Option(help="Step between windows, seconds.")] = None,
    min_coverage: Annotated[
        float | None, typer.Option(help="Recorded share that makes a modality present.")
    ] = None,
    max_gap_s: Annotated[
        float | None, typer.Option(help="Longest gap that is interpolated, seconds.")
    ] = None,
    min_label_share: Annotated[
        float | None, typer.Option(help="Share of a window that its label must fill.")
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="float32, or float16 or int16 (scaled) for half the disk.")
    ] = "float32",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that read; default: one per core.")
    ] = None,
    append: Annotated[
        bool, typer.Option(help="Add new recordings to the store, rewriting nothing.")
    ] = False,
    strict: Annotated[
        bool, typer.Option(help="Refuse everything where one recording cannot be read.")
    ] = False,
) -> None:
    """Read recordings, cut windows, write a store.

    A recording that cannot be read is left out and named; the exit code is then 3. If
    interrupted, give the same command again to resume.

    Example: crossl prepare sp_sw_har --root downloads/sp_sw_har --out stores/sp_sw_har
    """
    cutting = {"window_s": window_s, "stride_s": stride_s, "min_coverage": min_coverage,
               "max_gap_s": max_gap_s, "min_label_share": min_label_share}  # fmt: skip
    asked: dict[str, Any] = {
        "only": modality or (),
        "without": without or (),
        "resample": {k: _number(k, v) for k, v in split_pairs("resample", resample).items()},
        "dtype": dtype,
        "classes": classes or (),
        "targets": targets,
        "cutting": {key: value for key, value in cutting.items() if value is not None},
    }
    left_out = make_store(reader, root, out, options=split_pairs("option", option),
                          workers=workers, append=append, strict=strict, **asked)  # fmt: skip
    _describe(out)
    if left_out:
        _tell_left_out(left_out)
        raise typer.Exit(PARTLY)


def _tell_left_out(left_out: list[dict[str, str]]) -> None:
    count = f"{len(left_out)} recordings were" if len(left_out) > 1 else "1 recording was"
    typer.echo(f"\ncrossl: prepared, but {count} left out:", err=True)
    for one in left_out:
        typer.echo(f"  {one['part']}: {one['why']}", err=True)
    typer.echo("repair these files, then give the same command with --append to add them", err=True)


def split_pairs(name: str, texts: list[str] | None) -> dict[str, str]:
    """Split KEY=VALUE."""
    from crossl.errors import ConfigError

    pairs = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not (key and equals and value):
            raise ConfigError(f"--{name}: got '{text}'; allowed is KEY=VALUE")
        pairs[key] = value
    return pairs


def _number(name: str, text: str) -> float:
    from crossl.errors import ConfigError

    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--resample {name}: got '{text}'; a rate in hertz is needed") from None


def make_store(
    reader: str,
    root: Path | None,
    out: Path,
    *,
    options: dict[str, str] | None = None,
    cutting: dict[str, Any] | None = None,
    workers: int | None = None,
    append: bool = False,
    strict: bool = True,
    **plan: Any,
) -> list[dict[str, str]]:
    """Write a store, showing each part as it is done; return what was left out, and why."""
    from crossl.data.prepare import plan_for, prepare_store, working_folder
    from crossl.data.readers import open_dataset
    from crossl.data.target_entries import read_targets
    from crossl.data.write import refuse_existing
    from crossl.doctor.units import with_unit_warnings
    from crossl.errors import CrosslError

    if not append:
        refuse_existing(out)  # before an archive is unpacked for nothing
    classes, targets = plan.pop("classes", ()), plan.pop("targets", None)
    block = read_targets(targets) if targets is not None else None
    with show.progress("prepare") as tell, open_dataset(reader, root, options) as found:
        dataset = with_unit_warnings(dataclasses.replace(found, targets=block or found.targets))
        spec = dataclasses.replace(dataset.card.spec, **(cutting or {}))
        planned = plan_for(dataset, reader, spec=spec, options=options, **plan)
        planned = planned.choosing(classes) if classes else planned
        try:
            store = prepare_store(dataset, out, planned, workers=workers, append=append,
                                  strict=strict, progress=tell)  # fmt: skip
        except CrosslError:
            if working_folder(out).exists():
                typer.echo(f"crossl: {working_folder(out)} keeps what was read; give the "
                           "same command again to resume", err=True)  # fmt: skip
            raise
        names = {part.name for part in dataset.parts}
    return [one for one in store.manifest.get("left_out", ()) if one["part"] in names]


def inspect(
    store: StoreArgument,
    verify: Annotated[bool, typer.Option(help="Hash every file, however large.")] = False,
) -> None:
    """Show what a store holds, after checking that it is whole.

    Example: crossl inspect stores/sp_sw_har --verify
    """
    from crossl.data.manifest import read_manifest

    _describe(store, verify=verify)
    for one in read_manifest(store).get("left_out", ()):
        typer.echo(f"not in it: {one['part']}, {one['why']}")


def _describe(path: Path, *, verify: bool = False) -> None:
    from crossl.data.counting import count_windows, describe_targets
    from crossl.data.store import Store
    from crossl.errors import counted

    with show.progress("inspect") as tell:
        tell("files: checking", 0.0)
        store = Store.open(path, verify=verify or None)
    counts, spec = count_windows(store), store.spec
    typer.echo(f"{path}: {store.manifest['dataset']}, {counted(counts['windows'], 'window')} of "
               f"{spec.window_s:g} s every {spec.stride_s:g} s, {counts['labelled']} labelled, "
               f"{counted(len(counts['subjects']), 'subject')}, "
               f"{store.dtype}, sha256 {store.hash[:12]}")  # fmt: skip
    rows = [["modality", "device", "channels", "rate", "unit", "present", "interpolated"]]
    for m in store.modalities:
        rows.append([m.name, m.device, _names(m.channels), f"{m.rate_hz:g} Hz", m.unit,
                     f"{counts['present'][m.name]:.1%}",
                     str(store.manifest["interpolated"].get(m.name, 0))])  # fmt: skip
    show.table(rows)
    typer.echo("")
    show.table([["class", "windows"], *([k, str(v)] for k, v in counts["classes"].items())])
    targets = describe_targets(store)
    if targets:
        typer.echo("")
        show.table([["target", "kind", "of", "known", "values"], *map(list, targets)])
    empty = [name for name, count in counts["classes"].items() if not count]
    if empty:
        typer.echo(f"\nno window has class {', '.join(empty)}: is it spelt as in the recordings?")
    recorded = {recording["subject"] for recording in store.manifest["recordings"]}
    silent = sorted(recorded - set(counts["subjects"]))
    if silent:
        some = ", ".join(silent[:5]) + (", ..." if silent[5:] else "")
        typer.echo(f"\nno window is of subject {some}, though recorded: is a file cut off, or "
                   "shorter than a window?")  # fmt: skip
    for note in store.manifest.get("notes", ()):
        typer.echo(f"\nnote: {note}")
    _describe_notes(store.manifest["recordings"])


def _names(channels: tuple[str, ...]) -> str:
    return " ".join(channels) if len(channels) <= 4 else f"{channels[0]} ... {channels[-1]}"


def _describe_notes(recordings: list[dict[str, Any]]) -> None:
    """Show the notes of clocks and readers, each sentence once."""
    from crossl.data.recording import WARNING
    from crossl.errors import counted

    dropped = [t["dropped"] for r in recordings for t in r["timing"].values() if t["dropped"]]
    notes: dict[str, int] = {}
    for recording in recordings:
        for note in recording["notes"]:
            notes[note] = notes.get(note, 0) + 1
    if dropped or notes:
        typer.echo("")
    if dropped:
        typer.echo(f"clocks: {sum(dropped)} samples whose time did not increase were left out, "
                   f"in {counted(len(dropped), 'signal')}")  # fmt: skip
    ordered = sorted(notes.items(), key=lambda pair: not pair[0].startswith(WARNING))
    for note, count in ordered[:MAX_NOTES]:
        kind = "warning" if note.startswith(WARNING) else "note"
        of = f"in {count} of {counted(len(recordings), 'recording')}"
        typer.echo(f"{kind}, {of}: {note.removeprefix(WARNING)}")
    if len(notes) > MAX_NOTES:
        typer.echo(
            f"and {counted(len(notes) - MAX_NOTES, 'other note')}; `crossl data doctor` lists them"
        )
