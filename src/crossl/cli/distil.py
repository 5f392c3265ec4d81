"""`crossl distil`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossl.cli import show
from crossl.cli.options import StoreOption


def distil(
    run: Annotated[Path, typer.Argument(help="Run folder of the teacher, of all sensors.")],
    store: StoreOption,
    keep: Annotated[list[str], typer.Option(help="Sensor of the student; repeatable, or a,b.")],
    out: Annotated[Path, typer.Option(help="Run folder of the student to make, or to resume.")],
    paired: Annotated[
        float, typer.Option(help="Share of the training windows whose teacher may be asked.")
    ] = 1.0,
    loss: Annotated[
        list[str] | None,
        typer.Option(help="info_nce, cosine or queue; repeatable. Default: cosine."),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(help="File of embeddings (.npz, .parquet) that teaches instead."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting of the student, such as encoder.width=24."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the student; default: of the teacher's run file.")
    ] = None,
) -> None:
    """Train a run of some sensors on what a run of all sensors says.

    The teacher is frozen, and embeds the run's training windows once. The student, of the sensors
    that --keep names, learns to say the same of them, and no label is read. What comes out is a run
    like any other. With --teacher the embeddings of a file teach instead, by recording and time.
    Started again, it resumes where it stopped.

    Example: crossl distil runs/first --store stores/sp_sw_har --keep watch_acc --out runs/watch

    Example: crossl distil runs/first --store stores/sp_sw_har --keep watch_acc --out runs/small
    --paired 0.2 --loss queue --set encoder.width=24
    """
    from crossl.commands.distil import distil_run
    from crossl.errors import counted

    names = [part.strip() for one in keep for part in one.split(",") if part.strip()]
    asked = [f"method.paired={paired}"]
    asked += [f"method.losses=[{','.join(loss)}]"] if loss else []
    asked += [] if seed is None else [f"seed={seed}"]
    command = shlex.join(["crossl", *sys.argv[1:]])
    with show.progress("distil") as tell:
        done = distil_run(run, store, out, keep=names, teacher=teacher, command=command,
                          overrides=[*asked, *(overrides or [])], progress=tell)  # fmt: skip
    typer.echo(
        f"{out}: taught by {done.dim} numbers for each of {counted(done.paired, 'window')} (of "
        f"{done.windows}); next: crossl probe {out} --store {store}"
    )
