"""`crossl card`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from crossl.cli.options import RunArgument


def card(
    run: RunArgument,
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: README.md in the run.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(help="Store that it was trained on, if the run does not say of what."),
    ] = None,
    licence: Annotated[
        str, typer.Option(help="Of the weights, as Hugging Face spells it, such as apache-2.0.")
    ] = "",
    name: Annotated[str, typer.Option(help="Of the model; default: the folder's.")] = "",
) -> None:
    """Write a model card of a run.

    It says what the folder knows: sensors, classes, recordings and their licence, scores with
    intervals for each set of sensors, how it was made, its limits. What is not known is left out,
    or said. Its head is what Hugging Face reads. People are counted, not named.

    Example: crossl card runs/first --licence cc-by-4.0
    """
    from crossl.commands.card import write_card

    typer.echo(f"{write_card(run, out, store=store, licence=licence, name=name)}: written")
