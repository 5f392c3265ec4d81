"""For `data init`: open a table of text, whatever `table:` of a mapping that takes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from crossl.data.boundary import check_regular, reading
from crossl.data.formats import NAMES, FileContent, format_of, open_file
from crossl.data.formats.csv import sniff
from crossl.data.formats.layout import TableFormat
from crossl.errors import DataError


def open_sniffed(path: Path) -> FileContent:
    """Open a file; of a table of text, `about["table"]` has the keys that a mapping needs for it.

    Text that is not UTF-8 is opened by an encoding that is a guess, and among the keys.

    Args:
        path: the file.

    Raises:
        DataError: it cannot be opened, whatever the format is said to be.
    """
    try:
        return open_file(path)
    except DataError:
        if format_of(path) != "csv":
            raise
        check_regular(path)
        try:
            with reading(path, NAMES["csv"]):
                keys = sniff(path)
        except DataError:
            keys = {}
        if not keys:
            raise
    content = open_file(path, "csv", TableFormat(**keys))
    return replace(content, about={**content.about, "table": keys})
