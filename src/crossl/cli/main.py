"""`crossl`: the application, and how errors reach the user."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from crossl.cli import (
    adapt,
    card,
    data,
    datasets,
    distil,
    experiment,
    export,
    predict,
    serve,
    stream,
    sweep,
    train,
)
from crossl.cli.allocator import keep_freed_memory
from crossl.cli.interrupt import stopped_by_signals
from crossl.cli.launch import Ended
from crossl.cli.usage import OneSentence
from crossl.errors import CrosslError
from crossl.files import FULL, KEPT

KIND_OF_PATH = {
    errno.EEXIST: "is a file, where a folder is needed",
    errno.EISDIR: "is a folder, where a file is needed",
    errno.ENOTDIR: "is looked for in a file, where a folder is needed",
}
"""What the system says of paths of another kind, in words."""

STOPPED = {130: "interrupted", 143: "stopped"}
NOTHING_KEPT = "nothing is half-written"

app = typer.Typer(
    name="crossl",
    cls=OneSentence,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=(
        "Learn from unlabelled recordings of many sensors, classify with few labels, and keep "
        "working when sensors go missing."
    ),
)
app.command()(experiment.demo)
app.command()(experiment.benchmark)
app.command()(data.prepare)
app.command()(data.inspect)
app.add_typer(datasets.app, name="data")
app.command()(train.pretrain)
app.command()(distil.distil)
app.command()(train.probe)
app.command()(train.evaluate)
app.command()(experiment.report)
app.command()(train.embed)
app.command()(predict.predict)
app.command()(adapt.adapt)
app.command()(stream.stream)
app.command()(export.export)
app.command()(card.card)
app.command()(serve.serve)
app.command()(sweep.sweep)


def _version(show: bool) -> None:
    if show:
        from crossl import __version__

        typer.echo(f"crossl {__version__}")
        raise typer.Exit


@app.callback()
def common(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show and exit.")
    ] = False,
) -> None:
    """Set up what every command needs."""
    # idle OpenMP threads spin by default, which starves busy machines; torch is not imported yet
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    keep_freed_memory()
    # what torch's C++ warns of is about how we call it, which is on purpose
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")


def run() -> None:
    """Run the application; what crossl refuses ends with one sentence and exit code 2."""
    try:
        with stopped_by_signals():
            app()
    except BaseException as error:
        stop = _stopped_by(error)
        if stop is not None:
            _end(stop, _kept(error))
        elif isinstance(error, CrosslError):
            _fail(str(error), code=2)
        elif isinstance(error, OSError) and error.errno is not None:
            _fail(_told(error), code=2)
        raise


def _stopped_by(error: BaseException | None) -> SystemExit | KeyboardInterrupt | None:
    """Return the interruption that ended the command, also where a library answered it by an error.

    Interrupted while it writes an archive, `zipfile` raises a ValueError, for one.
    """
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return error
        if isinstance(error, SystemExit) and error.code in STOPPED:
            return error
        error = error.__cause__ or error.__context__
    return None


def _end(stop: SystemExit | KeyboardInterrupt, kept: str) -> NoReturn:
    """Leave with the signal's code, and a sentence."""
    # Typer answers Ctrl-C by a code, once it works
    code = int(stop.code or 0) if isinstance(stop, SystemExit) else 130
    # of several processes the first tells, and only once
    if os.environ.get("RANK", "0") == "0" and type(stop) is not Ended:
        _fail(f"{STOPPED[code]}; {kept or NOTHING_KEPT}, give the same command again", code=code)
    sys.exit(code)


def _told(error: OSError) -> str:
    """Say what the system said of a path, or of a disk without room."""
    code = error.errno or 0
    told = KIND_OF_PATH.get(code, os.strerror(code))
    if code == errno.EEXIST and not Path(error.filename or "").is_file():
        told = os.strerror(code)  # a folder that shall be new
    if code in FULL:
        kept = f"{_kept(error)}, " if _kept(error) else ""
        told = f"{FULL[code]}; {kept}make room and give the same command again"
    return f"{error.filename or 'output'}: {told}"


def _kept(error: BaseException | None) -> str:
    """Return what was noted of the work that is kept; the outermost command noted it last."""
    while error is not None:
        for note in reversed(getattr(error, "__notes__", ())):
            if note.startswith(KEPT):
                return str(note)
        error = error.__cause__ or error.__context__
    return ""


def _fail(sentence: str, *, code: int) -> NoReturn:
    typer.echo(f"crossl: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    run()
