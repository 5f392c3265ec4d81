"""Files that nobody reads are named, and how to make them readable."""

from __future__ import annotations

from pathlib import Path

from crossl.data.formats import FORMATS, format_of

CURES = {
    (".xlsx", ".xls", ".ods", ".numbers"): "save it as CSV",
    (".cwa", ".gt3x", ".bin", ".wav"): "export it as CSV with the maker's software",
    (".fit", ".tcx", ".gpx"): "export it as CSV",
    (".json", ".jsonl", ".feather", ".arrow", ".orc"): "save it as CSV or Parquet",
    (".h5", ".hdf5", ".hdf", ".pkl", ".pickle"): "save its arrays as NPZ or Parquet",
    (".vhdr", ".eeg", ".vmrk", ".set", ".fdt", ".fif", ".cnt", ".gdf", ".nwb", ".c3d"): (
        "save it as EDF"
    ),
    (".sav", ".dta", ".rds", ".rdata", ".sas7bdat"): "save it as CSV",
    (".rar", ".7z", ".tar", ".tgz", ".xz", ".bz2"): "unpack it",
}  # fmt: skip
"""What to do with recordings of other formats, by their endings."""


def unread(root: Path) -> list[str]:
    """Name what looks like a recording and is not read: other formats, folders named like files.

    Args:
        root: folder of recordings.

    Returns:
        A sentence each, with what to do.
    """
    found = []
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        name = path.relative_to(root)
        if any(part.startswith((".", "__MACOSX")) for part in name.parts):
            continue
        if path.is_dir():
            if format_of(path) is None and _looks_like_a_file(path):
                found.append(f"{name}: is a folder that is named like a file; rename it")
            continue
        if cure := cure_of(path):
            found.append(f"{name}: {cure}")
    return found


def cure_of(path: Path) -> str:
    """Say that nothing reads a file of this ending, and what to do; empty where something does."""
    ending = path.suffix.lower()
    cure = next((cure for endings, cure in CURES.items() if ending in endings), "")
    if not cure or format_of(path) is not None:
        return ""
    return f"nothing reads the ending {ending}; {cure}"


def _looks_like_a_file(path: Path) -> bool:
    endings = tuple(ending for group in FORMATS.values() for ending in group)
    return path.name.lower().endswith(endings)
