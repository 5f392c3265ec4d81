"""`crossl demo` and `crossl report`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from crossl.cli import show
from crossl.cli.options import ConfigOption, RecipeOption, SeedOption, SetOption, load_settings

QUICK_FOLDS = "0,1"
QUICK = ["schedule.steps=120", "finetuning.steps=80", "evaluation.label_seeds=[0,1]"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path(
        "crossl-demo"
    ),
    data: Annotated[
        Path | None,
        typer.Option(help="Folder or archive of a known data set; default: built-in recordings."),
    ] = None,
    folds: Annotated[
        str | None, typer.Option(help="Folds to run, such as 0,2 or all; default: all with --data.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Folds computed at the same time.")] = None,
    recipe: RecipeOption = "crossl",
    config: ConfigOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
) -> None:
    """Do the whole job on real recordings: store, pretraining, few labels, dead sensors, report.

    Without --data it runs two folds of a small smartwatch data set, with short schedules where
    there is no --config, to be done in minutes. Started again, it goes on where it was stopped.

    Example: crossl demo --data downloads/sp_sw_har --out har --seed 0
    """
    quick = QUICK if data is None and config is None else []
    settings = load_settings(config, recipe, [*quick, *(overrides or [])], seed)
    chosen = folds or (QUICK_FOLDS if data is None else "all")
    store = out / "store"
    _make_store(data, store)
    from crossl import workflow

    command = shlex.join(["crossl", *sys.argv[1:]])
    with show.progress("demo") as tell:
        workflow.run_experiment(store, settings, out, folds=chosen, workers=workers,
                                command=command, progress=tell)  # fmt: skip
    page, summary = out / "report.html", out / "summary.json"
    if page.is_file() and page.stat().st_mtime_ns >= summary.stat().st_mtime_ns:
        _tell(out, page)  # nothing was computed since it was drawn
    else:
        report(out)


def _make_store(data: Path | None, store: Path) -> None:
    from crossl.cli.data import make_store
    from crossl.data.manifest import read_manifest
    from crossl.data.readers import detect_reader
    from crossl.errors import DataError

    reader = detect_reader(data) if data else "seglearn_watch"
    if not store.exists():
        make_store(reader, data, store)
    elif read_manifest(store)["reader"] != reader:
        raise DataError(f"{store}: holds other recordings than '{reader}'; name a new --out")


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of `crossl demo` or a run.")],
) -> None:
    """Draw report.html, one self-contained page, from a finished folder, and print its table.

    Example: crossl report crossl-demo
    """
    from crossl.report import build_report

    _tell(folder, build_report(folder))


def _tell(folder: Path, page: Path) -> None:
    from crossl.report import summary_table

    show.table(summary_table(folder))
    typer.echo(f"\nreport: {page}")
