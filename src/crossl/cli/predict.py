"""`crossl predict`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from crossl.cli import show
from crossl.cli.data import PARTLY
from crossl.cli.options import (
    AbstainOption,
    KeepUnusableOption,
    MappingOption,
    ReaderOption,
    ResampleOption,
    RunToReadArgument,
    SetsOption,
    run_here,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_LISTED = 20

ContextOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Read the windows around each with it: off, causal (those before), whole (the "
        "recording), path (its most probable sequence of labels). Default: whole where that "
        "helped validation subjects, else off."
    ),
]
FormatsOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option("--format", help="csv, parquet, edf or png; repeatable. Default: all."),
]


def predict(
    run: RunToReadArgument,
    inputs: Annotated[
        list[Path], typer.Argument(help="Files, a folder of files, or a store; several if needed.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the timelines.")] = Path("predictions"),
    mapping: MappingOption = None,
    reader: ReaderOption = None,
    resample: ResampleOption = None,
    abstain: AbstainOption = None,
    context: ContextOption = None,
    sets: SetsOption = None,
    keep_unusable: KeepUnusableOption = False,
    formats: FormatsOption = None,
) -> None:
    """Label new recordings: a timeline for each.

    Files are read as the run's own recordings were. Sensors may be missing, wholly or partly; those
    that the run never saw are left out. For each recording the folder gets a table (CSV, Parquet)
    with start and end of each window, in the recording's time zone and in seconds, its label, the
    probability of each class, which sensors were present, and why where there is no label;
    annotations for EDF viewers; a picture; and index.html with all of them. What cannot be read
    is left out and named; the exit code is then 3. If interrupted, give the same command again to
    resume.

    Example: crossl predict runs/first new/ --out timelines
    """
    from crossl.commands.predict import predict_files
    from crossl.errors import counted
    from crossl.predict.inputs import How
    from crossl.predict.manner import Asked

    how = How(mapping, reader, tuple(resample or ()))
    asked = Asked(abstain, context, sets, keep_unusable)
    with show.progress("predict") as tell:
        done = predict_files(run_here(run), inputs, out, how=how, formats=formats or (),
                             asked=asked, progress=tell, note=show.note)  # fmt: skip
    _show_recordings(done.records)
    typer.echo(f"\n{out}: {counted(len(done.records), 'timeline')}; look at {done.page}")
    if done.left_out:
        typer.echo(f"\ncrossl: {counted(len(done.left_out), 'recording')} left out:", err=True)
        for left in done.left_out:
            typer.echo(f"  {left.part}: {left.why}", err=True)
        raise typer.Exit(PARTLY)


def _show_recordings(records: Mapping[str, dict[str, Any]]) -> None:
    """Show a row for each recording, then why windows were not read or got no label."""
    from crossl.errors import counted

    rows = [["recording", "began", "seconds", "windows", "most", "no label", "absent"]]
    for name, one in list(records.items())[:MOST_LISTED]:
        most = next(iter(one["labels"]), "")
        share = f"{most} {one['labels'][most] / one['windows']:.0%}" if most else "-"
        rows.append([name, (one["began"] or "-")[:19], f"{one['seconds']:.0f}",
                     str(one["windows"]), share, f"{one['seconds_without']:.0f} s",
                     ", ".join(one["absent"]) or "-"])  # fmt: skip
    show.table(rows)
    if len(records) > MOST_LISTED:
        typer.echo(f"and {len(records) - MOST_LISTED} more")
    reasons, unusable = Counter[str](), Counter[str]()
    for one in records.values():
        reasons.update(one["unlabelled"])
        unusable.update(one["unusable"])
    for why, count in unusable.most_common(5):
        typer.echo(f"not read in {counted(count, 'window')}: {why}")
    for reason, count in reasons.most_common(5):
        typer.echo(f"no label in {counted(count, 'row')}: {reason}")
