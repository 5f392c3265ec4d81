"""Let the doctor look at real data sets: `python benchmarks/doctor.py --data DIR`.

DIR holds the official files in folders of the names below. Writes benchmarks/doctor.md with what
`crossl data doctor` says of each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

PAGE = Path(__file__).resolve().parent / "doctor.md"
SETS = (
    ("sp_sw_har", "sp_sw_har", "*.tar.xz"),
    ("uci_har", "uci_har", "*.tar.xz"),
    ("noneeg", "noneeg", "*"),
    ("eegmat", "eegmat", "*.edf"),
    ("wesad_wrist", "wesad", "S*"),
    ("drivedb", "wfdb", "drive17a.*"),
    ("drivedb", "wfdb", "drive17b.*"),
    ("drivedb", "wfdb", "drive17*"),
    ("biosignal_samples/flirt_e4", "e4", "*.csv"),
)
"""Folder, reader, and the files of it that are looked at."""


def examine(folder: Path, reader: str, files: str) -> str:
    """Return what the doctor prints, without this machine's paths."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / folder.name
        root.mkdir()
        for path in sorted(folder.glob(files)):
            (root / path.name).symlink_to(path.resolve())
        command = [sys.executable, "-m", "crossl.cli.main", "data", "doctor", str(root),
                   "--reader", reader]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        text = (done.stdout + done.stderr).replace(f"{scratch}/", "").rstrip()
    return f"$ crossl data doctor {folder.name} --reader {reader}\n{text}\n[exit {done.returncode}]"


def main() -> None:
    """Examine every set and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    lines = ["# What the doctor says of real data sets", "", "Remade by `python "
             "benchmarks/doctor.py --data DIR`. Exit 1: something here would make results wrong; "
             "exit 2: it cannot be read as one data set.", ""]  # fmt: skip
    for name, reader, files in SETS:
        told = f" ({files})" if name == "drivedb" else ""
        lines += [f"## {name}{told}", "", "```", examine(data / name, reader, files), "```", ""]
        print(name, files, flush=True)
    PAGE.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
