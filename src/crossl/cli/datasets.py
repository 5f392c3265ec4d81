"""`crossl data`: data sets, downloads, first mappings, and what is wrong with recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from crossl.cli import show
from crossl.cli.options import ReaderChoicesOption

if TYPE_CHECKING:
    from crossl.data.own.mapping import Mapped
    from crossl.doctor import Diagnosis

DatasetArgument: TypeAlias = Annotated[
    str, typer.Argument(help="Data set, as `crossl data list` names it.")
]

MAX_TOLD = 5
"""Files and recordings that are named one by one."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List and fetch data sets; describe and check your files.",
)


@app.command("list")
def list_datasets() -> None:
    """List the data sets and file formats that crossl reads.

    Example: crossl data list
    """
    from crossl.cli import cards

    show.table(cards.dataset_rows())
    typer.echo("\nYour own recordings:\n")
    show.table(cards.format_rows())
    typer.echo("\nMore about one: crossl data card NAME")


@app.command()
def card(
    name: DatasetArgument,
) -> None:
    """Show what a data set is, whose, on which terms, and its traps.

    Example: crossl data card pamap2
    """
    from crossl.cli import cards
    from crossl.data.readers import get_reader

    typer.echo(cards.as_text(get_reader(name).CARD))


@app.command()
def fetch(
    name: DatasetArgument,
    to: Annotated[Path | None, typer.Option(help="Folder; default: ./NAME.")] = None,
    mirror: Annotated[
        str | None,
        typer.Option(
            envvar="CROSSL_MIRROR", help="Address that replaces scheme and host of every download."
        ),
    ] = None,
) -> None:
    """Download a data set, check it and unpack it.

    It comes from its official place. If interrupted, give the same command again to resume.

    Example: crossl data fetch pamap2 --to downloads/pamap2
    """
    from crossl.cli import cards
    from crossl.data.fetch import fetch_dataset
    from crossl.data.readers import get_reader

    known, folder = get_reader(name).CARD, to or Path(name)
    if known.files:
        typer.echo(cards.terms(known))
    with show.progress("fetch") as tell:
        files = fetch_dataset(known, folder, mirror=mirror, tell=tell)
    typer.echo(f"{folder}: {len(files)} file{'s' * (len(files) != 1)}, complete")
    root = f"'{folder}'" if " " in str(folder) else folder
    typer.echo(f"crossl prepare {name} --root {root} --out stores/{name}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Folder of your recordings.")],
    force: Annotated[bool, typer.Option(help="Overwrite a mapping that exists.")] = False,
) -> None:
    """Look at your files and write a first recordings.yaml.

    Guesses in it are marked, for you to correct.

    Example: crossl data init my-recordings
    """
    from crossl.data.own.init import init_mapping
    from crossl.data.own.mapping import load_mapping
    from crossl.data.own.mapping.endings import unread
    from crossl.errors import DataError, counted

    with show.progress("init") as tell:
        tell("files: looking", 0.0)
        path = init_mapping(folder, force=force)
    typer.echo(f"{path}: written; every guess in it is marked, check them")
    for name in unread(folder)[:MAX_TOLD]:
        typer.echo(f"not read: {name}")
    for line in path.read_text(encoding="utf-8").splitlines():
        if " is NOT READ, " in line:
            typer.echo(line.strip(" #"))
    try:
        mapped = load_mapping(path)
    except DataError as error:
        typer.echo(f"still to do: {error}")
        return
    subjects = {plan.subject for plan in mapped.plans}
    classes = ", ".join(mapped.classes) or "none"
    typer.echo(f"{counted(len(mapped.plans), 'recording')} of "
               f"{counted(len(subjects), 'subject')}; classes: {classes}\n")  # fmt: skip
    _show_modalities(mapped)
    if not _show_problems(mapped):
        typer.echo(f"still to do: correct {path.name}, then: crossl data doctor {folder}")
        return
    root = f"'{folder}'" if " " in str(folder) else folder
    typer.echo(f"\ncrossl data doctor {root}")
    typer.echo(f"crossl prepare folder --root {root} --out stores/{mapped.mapping.name}")


def _show_modalities(mapped: Mapped) -> None:
    rows = [["modality", "channels", "unit in files", "rate", "files"]]
    for name, entry in mapped.mapping.modalities.items():
        held = sum(any(name in s.entry.signals for s in plan.sources) for plan in mapped.plans)
        rows.append([name, str(len(entry.channels)), entry.unit, f"{entry.rate_hz:g} Hz",
                     str(held)])  # fmt: skip
    show.table(rows)


def _show_problems(mapped: Mapped) -> bool:
    """Say which recordings cannot be read yet, and tell whether any can."""
    from crossl.data.own.init.trial import problems

    found = problems(mapped)
    for name, why in list(found.items())[:MAX_TOLD]:
        typer.echo(f"\ncannot be read yet: {name}: {why}")
    if len(found) > MAX_TOLD:
        typer.echo(f"and {len(found) - MAX_TOLD} more")
    return len(found) < len(mapped.plans)


@app.command()
def doctor(
    path: Annotated[Path, typer.Argument(help="Store, or folder of recordings.")],
    reader: Annotated[
        str | None, typer.Option(help="Reader of the folder; default: the one that fits.")
    ] = None,
    option: ReaderChoicesOption = None,
    out: Annotated[Path | None, typer.Option(help="Page to write, .html.")] = None,
) -> None:
    """Say what is wrong with recordings or a store.

    Where, how much, and what to do. Ends with code 1 where there is an error, 0
    where there are at most warnings.

    Example: crossl data doctor my-recordings --out doctor.html
    """
    from crossl.doctor import as_text
    from crossl.errors import ConfigError

    if out is not None and out.suffix not in (".html", ".htm"):
        raise ConfigError(f"--out: got '{out}'; a page ends in .html")
    diagnosis = _diagnose(path, reader, option or [])
    for line in as_text(diagnosis, name=str(path)):
        typer.echo(line)
    if out is not None:
        from crossl.doctor.page import build_doctor_page

        typer.echo(f"page: {build_doctor_page(diagnosis, out, name=path.resolve().name)}")
    if not diagnosis.sound:
        raise typer.Exit(1)


def _diagnose(path: Path, reader: str | None, options: list[str]) -> Diagnosis:
    from crossl.doctor import examine_recordings, examine_store

    with show.progress("doctor") as tell:
        if (path / "manifest.json").is_file() and reader is None:
            from crossl.data.store import Store

            return examine_store(Store.open(path), tell)
        from crossl.cli.data import split_pairs
        from crossl.data.readers import detect_reader, open_dataset

        name = reader or detect_reader(path)
        with open_dataset(name, path, split_pairs("option", options)) as dataset:
            return examine_recordings(dataset, tell)
