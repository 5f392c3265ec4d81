"""What commands print: tables, and progress."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import typer

EVERY_S = 5.0


def table(rows: Sequence[Sequence[str]], *, header: bool = True) -> None:
    """Print rows in aligned columns, the first row as a header."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        typer.echo("  ".join(cells).rstrip())
        if header and number == 0:
            typer.echo("  ".join("-" * width for width in widths))


@contextmanager
def progress(title: str) -> Iterator[Callable[[str, float], None]]:
    """Show how far a verb is: bars on a terminal, elsewhere a line on stderr every few seconds."""
    if sys.stdout.isatty():
        with _bars(title) as tell:
            yield tell
        return
    with _lines(title) as tell:
        yield tell


@contextmanager
def _bars(title: str) -> Iterator[Callable[[str, float], None]]:
    """Draw a bar for each fold or data set."""
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()]
    with Progress(*columns) as bar:
        tasks: dict[str, TaskID] = {}

        def tell(what: str, share: float) -> None:
            name, _, activity = what.partition(": ")
            if name not in tasks:
                tasks[name] = bar.add_task(title, total=1.0)
            bar.update(tasks[name], completed=share, description=f"{title} {name}: {activity}")

        yield tell


@contextmanager
def _lines(title: str) -> Iterator[Callable[[str, float], None]]:
    """Write a line every few seconds, also while there is no news."""
    begun, over = time.monotonic(), threading.Event()
    known: dict[str, tuple[str, float]] = {}

    def tell(what: str, share: float) -> None:
        name, _, activity = what.partition(": ")
        known[name] = activity, share

    def write() -> None:
        while not over.wait(EVERY_S):
            typer.echo(_line(title, known.copy(), time.monotonic() - begun), err=True)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield tell
    finally:
        over.set()
        writer.join()


def _line(title: str, known: Mapping[str, tuple[str, float]], seconds: float) -> str:
    """Say what is being done, how much of it is done, and since when.

    Examples:
        >>> _line("demo", {"fold 0": ("pretraining", 0.25)}, 75)
        'demo: fold 0: pretraining, 25% (1 min 15 s)'
    """
    going = {name: entry for name, entry in known.items() if entry[1] < 1} or known
    minutes, rest = divmod(round(seconds), 60)
    since = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    told = [": ".join(filter(None, (name, activity))) + f", {share:.0%}"
            for name, (activity, share) in sorted(going.items())]  # fmt: skip
    return f"{title}: {'; '.join(told) or 'starting'} ({since})"


def note(sentence: str) -> None:
    """Say something that is good to know, beside what a command prints."""
    kind = "" if sentence.startswith("warning: ") else "note: "
    typer.echo(f"{kind}{sentence}", err=True)
