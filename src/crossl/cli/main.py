"""`crossl`: the application, and how errors reach the user."""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

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
    except CrosslError as error:
        _fail(str(error), code=2)
    except (SystemExit, KeyboardInterrupt) as end:
        # Typer answers Ctrl-C by a code, once it works
        code = end.code if isinstance(end, SystemExit) else 130
        # of several processes the first tells, and only once
        first = os.environ.get("RANK", "0") == "0"
        if isinstance(code, int) and code in STOPPED and first and type(end) is not Ended:
            kept = _kept(end) or NOTHING_KEPT
            _fail(f"{STOPPED[code]}; {kept}, give the same command again", code=code)
        sys.exit(code)
    except OSError as error:
        if error.errno is None:
            raise
        told = KIND_OF_PATH.get(error.errno, os.strerror(error.errno))
        if error.errno == errno.EEXIST and not Path(error.filename or "").is_file():
            told = os.strerror(error.errno)  # a folder that shall be new
        if error.errno in FULL:
            kept = f"{_kept(error)}, " if _kept(error) else ""
            told = f"{FULL[error.errno]}; {kept}make room and give the same command again"
        _fail(f"{error.filename or 'output'}: {told}", code=2)


def _kept(error: BaseException | None) -> str:
    """Return what was noted of the work that is kept; the outermost command noted it last."""
    while error is not None:
        for note in reversed(getattr(error, "__notes__", ())):
            if note.startswith(KEPT):
                return str(note)
        error = error.__cause__ or error.__context__
    return ""


def _fail(sentence: str, *, code: int) -> None:
    typer.echo(f"crossl: {sentence}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    run()
