"""What commands print: tables, and progress on terminals."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer


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
    """Show bars on a terminal, one per fold or data set; elsewhere stay quiet."""
    if not sys.stdout.isatty():
        yield lambda _what, _share: None
        return
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
