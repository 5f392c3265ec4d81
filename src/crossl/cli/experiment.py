"""`crossl demo`, `crossl benchmark` and `crossl report`."""

from __future__ import annotations

import shlex
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from crossl.cli import show
from crossl.cli.options import (
    AddressOption,
    ConfigOption,
    RecipeOption,
    SeedOption,
    SetOption,
    load_settings,
)

if TYPE_CHECKING:
    from crossl.cluster import Cluster
    from crossl.config import RunConfig
    from crossl.config.study import Study

QUICK_FOLDS = "0,1"
QUICK = ["evaluation.label_seeds=[0,1]"]

OutOption: TypeAlias = Annotated[Path, typer.Option(help="Folder for everything that is made.")]
NumbersOption: TypeAlias = Annotated[
    str | None, typer.Option(help="Numbers of the folds to run, from 0, such as 0,2.")
]
CountOption: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="How many folds to run, the first ones.")
]
FoldsOption: TypeAlias = Annotated[
    str | None, typer.Option(help="all, or a list of numbers; one number alone is refused.")
]
WorkersOption: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Folds computed at the same time; default: one per core.")
]


def demo(
    out: OutOption = Path("crossl-demo"),
    data: Annotated[
        Path | None,
        typer.Option(help="Folder or archive of a known data set; default: built-in recordings."),
    ] = None,
    fold_numbers: NumbersOption = None,
    fold_count: CountOption = None,
    folds: FoldsOption = None,
    workers: WorkersOption = None,
    recipe: RecipeOption = "crossl",
    config: ConfigOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
) -> None:
    """Do the whole job on real recordings, in minutes.

    It makes a store, pretrains, tests with dead sensors and few labels, and draws a report. Without
    --data it runs two folds of a small smartwatch data set with the default recipe, to be done in
    minutes. Started again, it resumes where it stopped. `crossl benchmark` does the same on a store
    of yours.

    Example: crossl demo --data downloads/sp_sw_har --out har --seed 0
    """
    quick = QUICK if data is None and config is None else []
    settings = load_settings(config, recipe, [*quick, *(overrides or [])], seed)
    chosen = choose_folds(folds, fold_numbers, fold_count, QUICK_FOLDS if data is None else "all")
    make_demo_store(data, out / "store")
    _run_protocol("demo", out / "store", settings, out, chosen, workers)


def benchmark(
    store: Annotated[
        Path,
        typer.Argument(metavar="STORE|STUDY", help="Store, or YAML study of several."),
    ],
    out: OutOption,
    fold_numbers: NumbersOption = None,
    fold_count: CountOption = None,
    folds: FoldsOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    recipe: RecipeOption = "crossl",
    config: ConfigOption = None,
    overrides: SetOption = None,
    seed: SeedOption = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what is left to compute, and its cost.")
    ] = False,
) -> None:
    """Run the whole protocol on a prepared store, or on several.

    Every fold, few labels, dead sensors, baselines, rivals (`contenders:` of --config), tables,
    report; see docs/protocol.md. Test subjects serve the final score and nothing else. What
    `prepare` was asked for (rates, windows, modalities) holds here. A study file names several
    stores. Started again, it resumes where it stopped. With --address folds are computed on Ray
    (docs/cluster.md).

    Example: crossl benchmark stores/study --out results/study --seed 0
    """
    from crossl.config.study import is_study

    asked = choose_folds(folds, fold_numbers, fold_count, "")
    cluster = _cluster(address, workers)
    if is_study(store):
        _refuse_with_study(config, recipe)
        study = _study(store, overrides or [], asked or None, seed)
        _run_study(study, out, workers, cluster, estimate=estimate)
        return
    settings = load_settings(config, recipe, overrides, seed)
    if estimate:
        _estimate(store, settings, out, asked or "all")
        return
    _run_protocol("benchmark", store, settings, out, asked or "all", workers, cluster)
    _write_tables(out)


def _refuse_with_study(config: Path | None, recipe: str) -> None:
    from crossl.errors import ConfigError

    if config is not None or recipe != "crossl":
        raise ConfigError(
            "--config, --recipe: a study file has `settings:` for all its data sets, and for each; "
            "write them there"
        )


def _cluster(address: str | None, workers: int | None) -> Cluster | None:
    from crossl.cluster import Cluster

    return Cluster(address, workers) if address else None


def _study(path: Path, overrides: list[str], folds: str | None, seed: int | None) -> Study:
    from crossl.config.study import load_study

    return load_study(path, overrides=overrides, folds=folds, seed=seed)


def _run_study(
    study: Study, out: Path, workers: int | None, cluster: Cluster | None, *, estimate: bool
) -> None:
    from crossl.commands.study import run_study
    from crossl.report import study_notes

    if estimate:
        for one in study.data:
            typer.echo(f"{one.name}:")
            _estimate(one.store, one.config, out / one.name, one.folds)
        return
    command = shlex.join(["crossl", *sys.argv[1:]])
    with show.progress("benchmark") as tell:
        page = run_study(study, out, workers=workers, cluster=cluster, command=command,
                         progress=tell)  # fmt: skip
    for note in study_notes(out):
        typer.echo(textwrap.fill(f"- {note}", 100, subsequent_indent="  ", break_long_words=False))
    typer.echo(f"\ntables: {out / 'tables.md'}, .csv, .tex\nreport: {page}")


def _estimate(store: Path, settings: RunConfig, out: Path, folds: str) -> None:
    import os

    from crossl.commands.estimate import estimates, told

    found = list(estimates(store, settings, out, folds))
    if found:
        show.table(told(found, cores=os.cpu_count() or 1))
    else:
        typer.echo("nothing is left to compute")


def _write_tables(out: Path) -> None:
    from crossl.report import one_folder, write_tables

    write_tables(one_folder(out), out)
    typer.echo(f"tables: {out / 'tables.md'}, .csv, .tex")


def choose_folds(folds: str | None, numbers: str | None, count: int | None, default: str) -> str:
    """Return which folds to run, as text: `all`, or numbers.

    Raises:
        ConfigError: several are given, or one that can be read in two ways.
    """
    from crossl.errors import ConfigError

    asked = {"--folds": folds, "--fold-numbers": numbers, "--fold-count": count}
    given = [name for name, value in asked.items() if value]
    if len(given) > 1:
        raise ConfigError(f"folds: got {' and '.join(given)}; give one of them")
    if count:
        return ",".join(str(number) for number in range(count))
    if folds and folds.strip().isdecimal():
        raise ConfigError(
            f"--folds: got '{folds}', which may be a fold's number or how many folds; fold numbers "
            f"start at 0: write --fold-numbers {folds} for that fold, or --fold-count {folds} for "
            "so many"
        )
    return numbers or folds or default


def _run_protocol(
    title: str,
    store: Path,
    settings: RunConfig,
    out: Path,
    folds: str,
    workers: int | None,
    cluster: Cluster | None = None,
) -> None:
    """Compute folds that are not computed yet, join them, draw the report and print its table."""
    from crossl.commands.benchmark import run_experiment

    command = shlex.join(["crossl", *sys.argv[1:]])
    with show.progress(title) as tell:
        run_experiment(store, settings, out, folds=folds, workers=workers, cluster=cluster,
                       command=command, progress=tell)  # fmt: skip
    page, summary = out / "report.html", out / "summary.json"
    if page.is_file() and page.stat().st_mtime_ns >= summary.stat().st_mtime_ns:
        _tell(out, page)  # nothing was computed since it was drawn
    else:
        report(out)


def make_demo_store(data: Path | None, store: Path) -> None:
    """Make the store of a demo, if it is not there.

    Raises:
        DataError: other recordings are there.
    """
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
    """Draw report.html from a finished folder.

    One self-contained page; its table is printed too. Scores on another store (RUN/elsewhere)
    have no page.

    Example: crossl report crossl-demo
    """
    from crossl.report import build_report

    with show.progress("report") as tell:
        tell("page: drawing", 0.0)
        page = build_report(folder)
    _tell(folder, page)


def _tell(folder: Path, page: Path) -> None:
    from crossl.report import summary_notes, summary_table, summary_title

    for note in summary_notes(folder):
        typer.echo(textwrap.fill(f"- {note}", 100, subsequent_indent="  ", break_long_words=False))
    typer.echo(f"\n{summary_title(folder)}\n")
    show.table(summary_table(folder))
    typer.echo(f"\nreport: {page}")
