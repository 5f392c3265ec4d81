"""`crossl stream`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from crossl.cli import show
from crossl.cli.options import (
    AbstainOption,
    KeepUnusableOption,
    ResampleOption,
    RunArgument,
    SetsOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from crossl.predict.live import LiveClassifier

SourceOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--from",
        help="replay:FILE; - for standard input (JSON lines or CSV); lsl:NAME for Lab "
        "Streaming Layer; ws://HOST:PORT for a WebSocket server.",
    ),
]
SpeedOption: TypeAlias = Annotated[
    str, typer.Option(help="How many times faster to replay: a number, or max.")
]
RecordingOption: TypeAlias = Annotated[
    str, typer.Option(help="Which one to replay, where there are several: SUBJECT/SESSION.")
]
ReplayMappingOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Mapping that says what replayed files hold; default: the training's."),
]
ReplayReaderOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Reader of replayed files; default: the training's.")
]
WithoutOption: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(help="Sensor that will not come, so that nobody waits for it; repeatable."),
]
ContextOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Read windows before each with it: off or causal. Default: causal where that "
        "helped validation subjects."
    ),
]
JitterOption: TypeAlias = Annotated[
    float | None,
    typer.Option(help="By how much times may be off, seconds; default: 0.02 for LSL, else 0."),
]


def stream(
    run: RunArgument,
    source: SourceOption,
    out: Annotated[
        Path | None,
        typer.Option(help="CSV file for the rows; where it has some, more are added behind them."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    speed: SpeedOption = "1",
    recording: RecordingOption = "",
    mapping: ReplayMappingOption = None,
    reader: ReplayReaderOption = None,
    resample: ResampleOption = None,
    without: WithoutOption = None,
    abstain: AbstainOption = None,
    context: ContextOption = None,
    sets: SetsOption = None,
    keep_unusable: KeepUnusableOption = False,
    delay: Annotated[
        float, typer.Option(help="Longest time to wait for a sensor that is behind, seconds.")
    ] = 2.0,
    jitter: JitterOption = None,
    unix: Annotated[
        bool, typer.Option("--unix", help="Times are seconds since 1970, so that rows have dates.")
    ] = False,
    zone: Annotated[str, typer.Option(help="Time zone to tell times in, Europe/Madrid.")] = "",
    wait: Annotated[float, typer.Option(help="How long to look for LSL outlets, seconds.")] = 10.0,
) -> None:
    """Label a stream as it comes: a line for each window.

    What is said equals what `crossl predict` says of the same recording afterwards. Sensors may be
    missing, begin late, go and come back. Another rate, unit or number of channels than the run was
    made for is refused. Ends with the stream, or by Ctrl-C.

    Example: crossl stream runs/first --from replay:new/ann.csv --speed 10
    """
    from crossl.commands.stream import From, stream_run
    from crossl.errors import ConfigError
    from crossl.predict.inputs import How
    from crossl.predict.manner import Asked
    from crossl.predict.opening import LiveOptions
    from crossl.stream.session import Wishes

    if as_json and as_csv:
        raise ConfigError("--json, --csv: one of them is allowed")
    if jitter is not None and not 0 <= jitter < 10:
        raise ConfigError(f"--jitter: got {jitter:g}; 0 or more seconds are needed")
    resampled = tuple(resample or ())
    asked = From(source, How(mapping, reader, resampled), recording, speed, wait)
    wishes = Wishes(tuple(without or ()), jitter, 0.0 if unix else None, zone)
    manner = Asked(abstain, context, sets, keep_unusable)
    options = LiveOptions(delay, resample=resampled, asked=manner)
    say = _said_as(as_json=as_json, as_csv=as_csv)
    try:
        count = stream_run(run, asked, wishes=wishes, options=options, say=say, out=out,
                           note=show.note)  # fmt: skip
    except BrokenPipeError:  # who read the lines has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    if not count:
        show.note("no window: nothing came")


def _said_as(
    *, as_json: bool, as_csv: bool
) -> Callable[[LiveClassifier], Callable[[dict[str, Any]], None]]:
    """Make what prints rows, each at once."""
    from crossl.stream.output import csv_line, csv_row, json_line, text_line

    def begin(live: LiveClassifier) -> Callable[[dict[str, Any]], None]:
        write = json_line if as_json else csv_line if as_csv else text_line(live.kind)
        if as_csv:
            typer.echo(csv_row(live.columns))
        return lambda said: print_line(write(said))

    return begin


def print_line(line: str) -> None:
    """Print a line at once, also into a pipe."""
    typer.echo(line)
    sys.stdout.flush()
