"""`crossl adapt`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossl.cli import show
from crossl.cli.options import (
    MappingOption,
    ReaderOption,
    RunToReadArgument,
    SameNamesOption,
    StoreOption,
    run_here,
)


def adapt(
    run: RunToReadArgument,
    inputs: Annotated[
        list[Path], typer.Argument(help="Recordings of one person: files, a folder, or a store.")
    ],
    store: StoreOption,
    out: Annotated[Path, typer.Option(help="Folder for the new run.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="CSV with start, end and label; default: labels in the recordings."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="Whose recordings, if the inputs hold several people.")
    ] = None,
    share: Annotated[
        float | None,
        typer.Option(
            help="Share of all weight that the person's windows get, such as 0.25; default: what "
            "is best for validation subjects in the person's place."
        ),
    ] = None,
    mapping: MappingOption = None,
    reader: ReaderOption = None,
    same_names: SameNamesOption = False,
) -> None:
    """Refit a run's classifier for one new person, with a few labelled minutes.

    The network stays what it is. The new run's classifier is fitted on the labelled windows of the
    old one, from its store, and on those of the person, who get a share of all weight that
    validation subjects choose. Nobody else should be classified by it.

    Example: crossl adapt runs/first ann/ --labels ann.csv --store stores/mine --out runs/ann
    """
    from crossl.commands.adapt import Adapting, adapt_run
    from crossl.errors import counted
    from crossl.predict.inputs import How

    asked = Adapting(labels, subject, share, How(mapping, reader), same_names)
    with show.progress("adapt") as tell:
        tell("windows: encoding and fitting", 0.0)
        done = adapt_run(run_here(run), inputs, out, store_path=store, asked=asked, note=show.note)
    told = ", ".join(f"{name} {count}" for name, count in done.windows.items())
    typer.echo(f"{out}: for {done.subject}; {done.minutes:.1f} labelled minutes ({told} windows)")
    if done.people:
        typer.echo(f"share {done.share:g}; as much of {counted(done.people, 'validation subject')} "
                   f"changed the score by {done.gain:+.3f}")  # fmt: skip
    else:
        typer.echo(f"share {done.share:g}; no validation subject has windows of these classes")
