"""What is kept of timelines: a record beside the files of each, which vouches for them.

`NAME.json` is written last. The same command finds in it what is done already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossl.errors import DataError, FormatError
from crossl.files import file_sha256, json_sha256, read_signed_json, write_signed_json
from crossl.run_folder import Run

FORMAT = "crossl-timeline"
VERSION = 1
INDEX = "index.html"


def identity_of(run: Run) -> dict[str, str]:
    """Return what timelines of a run depend on."""
    return {
        "weights": file_sha256(run.path / "weights.safetensors"),
        "probe": file_sha256(run.path / "probe.safetensors"),
    }


@dataclass(frozen=True)
class Kept:
    """The timelines that a folder has, all of one run.

    Attributes:
        folder: that holds them.
        run: what they depend on; see `identity_of`.
        records: what is kept of each, by the name of its files.
    """

    folder: Path
    run: Mapping[str, str]
    records: dict[str, dict[str, Any]]

    @classmethod
    def of(cls, folder: Path, run: Mapping[str, str]) -> Kept:
        """Read what a folder has; what is damaged counts as not there.

        Raises:
            DataError: it holds timelines of another run.
        """
        records = {}
        for path in sorted(folder.glob("*.json")):
            try:
                record = read_signed_json(path, what="timeline", fmt=FORMAT, version=VERSION,
                                          cure="delete it")  # fmt: skip
            except FormatError:
                continue
            if record["run"] != run:
                raise DataError(
                    f"{folder}: holds timelines of another run or classifier ({path.stem}); name "
                    "another folder (--out), or delete it"
                )
            records[path.stem] = record
        return cls(folder, run, records)

    def done(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the records of what was made of a job, if all of it was and is there."""
        wanted = json_sha256(job)
        found = [one for one in self.records.values() if one["job"] == wanted]
        whole = all(
            (self.folder / name).is_file() and (self.folder / name).stat().st_size == size
            for one in found for name, size in one["files"].items()
        )  # fmt: skip
        return found if whole and found and len(found) == found[0]["recordings"] else []

    def name_for(self, subject: str, session: str, source: str) -> str:
        """Name the files of a recording after who it is of.

        Args:
            subject: who.
            session: which recording; one that is called `1` is not named.
            source: what it was read from.

        Raises:
            DataError: the folder has a timeline of this name of something else.
        """
        words = [subject] if session in ("", "1") else [subject, session]
        name = re.sub(r"[^\w.@+-]", "_", "_".join(words))[:120].strip(".") or "recording"
        for there, record in self.records.items():
            if there.casefold() == name.casefold() and record["source"] != source:
                raise DataError(
                    f"{self.folder}: has a timeline {there} of {record['source']}, and "
                    f"{source} would have the same name; name another folder (--out)"
                )
        return name

    def keep(self, records: Mapping[str, Mapping[str, Any]]) -> None:
        """Write the records of a job, when the files of all its recordings are there."""
        for name, told in records.items():
            record = {"format": FORMAT, "version": VERSION, "run": dict(self.run), **told,
                      "recordings": len(records)}  # fmt: skip
            write_signed_json(self.folder / f"{name}.json", record)
            self.records[name] = dict(record)


def sizes_of(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the size of each file."""
    return {name: (folder / name).stat().st_size for name in names}


def remove_others(folder: Path, name: str, endings: Sequence[str]) -> None:
    """Remove what an earlier timeline of a recording had and the new one has not."""
    for ending in endings:
        (folder / f"{name}{ending}").unlink(missing_ok=True)
