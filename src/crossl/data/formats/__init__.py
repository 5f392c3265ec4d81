"""File formats: any file to streams of named columns. One module per format, listed in FORMATS.

What a column means (modality, unit, subject) is not known here: a mapping says it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from crossl.data.boundary import check_regular, damaged, reading
from crossl.data.bounds import HARMLESS_ARRAY_BYTES
from crossl.data.recording import LabelInterval
from crossl.errors import DataError, PackageError, nearest

if TYPE_CHECKING:
    from crossl.data.formats.layout import TableFormat

FORMATS = {
    "csv": (".csv", ".tsv", ".txt", ".dat", ".csv.gz", ".tsv.gz", ".csv.zip"),
    "parquet": (".parquet", ".pq"),
    "npy": (".npy", ".npz"),
    "mat": (".mat",),
    "edf": (".edf", ".bdf"),
    "wfdb": (".hea",),
    "e4": (".zip",),
    "xdf": (".xdf", ".xdfz"),
    "avro": (".avro",),
    "apple": (".xml",),
}
"""Module below this package, and the endings of the files it opens."""

MAX_LABEL = 200
"""Letters of a label, where there are very many."""

NAMES = {
    "csv": "a table of text", "parquet": "Parquet", "npy": "NumPy", "mat": "MATLAB", "edf": "EDF",
    "wfdb": "WFDB", "e4": "an Empatica session", "xdf": "XDF",
    "avro": "Avro of an EmbracePlus",
    "apple": "an export of Apple Health",
}  # fmt: skip
"""What files of a format are called in sentences."""

__all__ = [
    "FORMATS", "NAMES", "FileContent", "Format", "Stream", "code_texts", "damaged", "format_of",
    "label_texts", "needs", "open_file",
]  # fmt: skip


@dataclass(frozen=True)
class Stream:
    """Columns of one file that were sampled together.

    Attributes:
        name: unlike that of the file's other streams; empty where a file holds one table.
        columns: names of the columns.
        units: as the file spells them, a name per column; empty where it says nothing.
        length: samples.
        load: reads columns by name: (length, number of columns) float64, NaN where the file has
            no number. A column of text (labels) is returned as text by `load_text`.
        rate_hz: samples per second; None where only timestamps can tell.
        start_s: time of the first sample on the clock that the file's streams share, seconds;
            Unix time where the file knows it.
        timestamps_s: (length,) where the format carries a time per sample of its own.
        load_text: reads one column as text; None where the format has only numbers.
        zoneless: columns of dates without a zone, which `load` counts as if they were UTC.
        aside: is taken only where a mapping names it: beats between signals, for example.
        beside: columns that can be loaded and are not values, such as the times in a long table.
    """

    name: str
    columns: tuple[str, ...]
    units: tuple[str, ...]
    length: int
    load: Callable[[Sequence[str]], NDArray[np.float64]]
    rate_hz: float | None = None
    start_s: float = 0.0
    timestamps_s: NDArray[np.float64] | None = None
    load_text: Callable[[str], NDArray[np.str_]] | None = None
    zoneless: tuple[str, ...] = ()
    aside: bool = False
    beside: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileContent:
    """One opened file.

    Attributes:
        path: the file, or the folder of an Empatica session.
        streams: in the file's order.
        labels: annotations that the file carries, on the clock of `start_s`; may overlap.
        about: what else the header says (patient, device, start), for messages and `data init`.
        left_out: columns that cannot be read, and why; the others can.
        open_ended: labels that have no end in the file, by number: in which list of the file
            they stand; theirs is where the next one of the list starts.
    """

    path: Path
    streams: tuple[Stream, ...]
    labels: tuple[LabelInterval, ...] = ()
    about: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    open_ended: dict[int, str] = field(default_factory=dict)

    def check_readable(self, column: str) -> None:
        """Refuse a column that had to be left out.

        Raises:
            DataError: it cannot be read; says why.
        """
        if column in self.left_out:
            raise DataError(f"{self.path}: '{column}' cannot be read: {self.left_out[column]}")

    def check_labels(self) -> None:
        """Refuse annotations that are damaged, though the signals are not.

        Raises:
            DataError: they cannot be read; says why.
        """
        if fault := self.about.get("label_fault"):
            raise DataError(f"{self.path}: its annotations cannot be read: {fault}")

    def stream(self, name: str | None) -> Stream:
        """Return a stream by name; without one, the only one.

        Raises:
            DataError: there is none of this name, or more than one and no name.
        """
        names = [stream.name for stream in self.streams]
        if name is None:
            if len(self.streams) == 1:
                return self.streams[0]
            raise DataError(f"{self.path}: holds streams {', '.join(names)}; name one of them")
        if name not in names:
            self.check_readable(name)
            left_out = [str(one) for one in self.about.get("left_out", ())]
            if told := [one for one in left_out if one.split(" ")[0] == name]:
                raise DataError(f"{self.path}: '{name}' is not a signal, got {told[0]}")
            raise DataError(f"{self.path}: has no stream '{name}'; {nearest(name, names)}")
        return self.streams[names.index(name)]


class Format(Protocol):
    """What a format module offers."""

    def open_file(self, path: Path) -> FileContent:
        """Read the header of a file; samples are read when a stream's `load` is called."""


def format_of(path: Path) -> str | None:
    """Name the format of a file by its ending; of a folder, if it is an Empatica session."""
    if path.is_dir():
        return "e4" if (path / "ACC.csv").is_file() and (path / "EDA.csv").is_file() else None
    name = path.name.lower()
    for format_name, endings in FORMATS.items():
        if name.endswith(endings):
            return format_name
    return None


def open_file(
    path: Path, format_name: str | None = None, table: TableFormat | None = None
) -> FileContent:
    """Open a file of any known format.

    Whatever goes wrong in it, or in the streams' `load` and `load_text`, is one `DataError`.

    Args:
        path: the file.
        format_name: a key of FORMATS; None goes by the ending.
        table: how a table of text is written, where its lines do not tell; other formats tell.

    Raises:
        DataError: missing, no regular file, of no known format, or damaged.
    """
    if not path.exists():
        raise DataError(f"{path}: does not exist")
    name = format_name or format_of(path)
    if name is None or name not in FORMATS:
        endings = ", ".join(e for group in FORMATS.values() for e in group)
        raise DataError(f"{path}: is of no known format; known endings are {endings}")
    if not (name == "e4" and path.is_dir()):
        check_regular(path)
    module = import_module(f"crossl.data.formats.{name}")
    with reading(path, NAMES[name]):
        told = (table,) if name == "csv" and table is not None else ()
        content = cast(Format, module).open_file(path, *told)
    return replace(content, streams=tuple(_within(path, name, one) for one in content.streams))


def unique_names(told: Sequence[str]) -> list[str]:
    """Give each column a name of its own: number those that are there before, or have none.

    Args:
        told: what the file calls them; empty where it does not.

    Examples:
        >>> unique_names(["EEG", "EEG", ""])
        ['EEG', 'EEG (2)', 'signal 3']
    """
    names: dict[str, None] = {}
    taken, counts = set(told), dict[str, int]()
    for number, label in enumerate(told, start=1):
        base = label or f"signal {number}"
        name = base
        while name in names or (name in taken and name != label):
            counts[base] = counts.get(base, 1) + 1
            name = f"{base} ({counts[base]})"
        names[name] = None
    return list(names)


def _within(path: Path, name: str, stream: Stream) -> Stream:
    """Let a stream be loaded within the boundary of its format."""
    text = stream.load_text
    return replace(
        stream,
        load=partial(_call, path, NAMES[name], stream.load),
        load_text=partial(_call, path, NAMES[name], text) if text is not None else None,
    )


def _call(path: Path, what: str, load: Callable[[Any], Any], names: Any) -> Any:
    with reading(path, what):
        return load(names)


def code_texts(codes: NDArray[np.floating[Any]]) -> NDArray[np.str_]:
    """Write numbers that are labels: whole ones without a point, every one unlike the others.

    Args:
        codes: (time,); NaN becomes empty text.

    Examples:
        >>> code_texts(np.array([3.0, 0.25, np.nan, 1000001.0])).tolist()
        ['3', '0.25', '', '1000001']
    """
    values, place = np.unique(codes, return_inverse=True)
    texts = ["" if np.isnan(v) else str(int(v)) if v.is_integer() else str(v) for v in values]
    return np.array(texts, dtype=np.str_)[place]


def label_texts(path: Path, name: str, texts: Sequence[str]) -> NDArray[np.str_]:
    """Make an array of texts, each of which takes the room of the longest.

    Args:
        path: the file.
        name: of the column.
        texts: one a sample.

    Raises:
        DataError: texts so long and so many that they are not labels.
    """
    longest = max(map(len, texts), default=0)
    if 4 * longest * len(texts) > HARMLESS_ARRAY_BYTES and longest > MAX_LABEL:
        raise DataError(
            f"{path}: column '{name}' holds a text of {longest} letters; labels have at most "
            f"{MAX_LABEL}"
        )
    return np.array(texts, dtype=np.str_)


def needs(package: str) -> Any:
    """Import a package of the extra `io`.

    Raises:
        PackageError: it is not installed.
    """
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package.split(".")[0]:
            raise
        raise PackageError(
            f"package '{package}' is not installed, which reading these files needs; install it "
            'with: pip install "crossl[io]"'
        ) from error
