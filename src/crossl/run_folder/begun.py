"""Which experiment a folder holds (`experiment.json`): the same is resumed, another is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crossl.config import RunConfig
from crossl.data.store import Store
from crossl.errors import CrosslError, DataError
from crossl.files import LOCK, json_sha256, read_json, write_whole
from crossl.settings import Settings
from crossl.stored import StoredBeginning, check_stored

CAME_LATER = ("standardisation", "task", "encoders", "shared_encoders", "frozen_encoders",
              "own_encoders")  # fmt: skip


def begin(
    store: Store, config: RunConfig, out: Path, *, command: str, fold: int | None = None
) -> None:
    """Make the folder of an experiment, or accept the one that the same experiment began.

    Args:
        store: what is learned from.
        config: settings of the experiment.
        out: its folder.
        command: how to remake it.
        fold: the one fold of a run; None for an experiment of several.

    Raises:
        DataError: the folder holds another experiment, or a run of something else.
        FormatError: its `experiment.json` is damaged.
    """
    facts: dict[str, Any] = {
        "store_sha256": store.hash,
        # contenders may be added later: what they made is known by their own settings
        "config": known_by(config, without={"contenders"}),
        **({} if fold is None else {"fold": fold}),
    }
    path = out / "experiment.json"
    if path.is_file():
        if read_begun(path)["sha256"] != json_sha256(facts):
            raise DataError(
                f"{out}: holds another experiment (other data or settings, or begun by another "
                "version of crossl); name a new folder"
            )
        return
    for other in ("model.json", "manifest.json"):
        if (out / other).exists():
            raise DataError(f"{out}: holds something else, it has {other}; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    head = {**facts, "sha256": json_sha256(facts), "command": command, "started": started,
            "began": time.time()}  # fmt: skip
    write_whole(path, json.dumps(head).encode())


def known_by(config: RunConfig, *, without: set[str] | None = None) -> dict[str, Any]:
    """Return the settings that an experiment is known by.

    Settings that came later are left out where they are the default, so that what was begun before
    there were such is resumed, and what changes no score: what is kept beside them, how many seeds
    there are, which label budget comes first.
    """
    usual = RunConfig()
    same = {name for name in CAME_LATER if getattr(config, name) == getattr(usual, name)}
    found = config.model_dump(mode="json", exclude=same | (without or set()))
    for name in ("keep_probabilities", "pretraining_seeds", "main_budget"):
        del found["evaluation"][name]
    found["evaluation"].pop("damages", None)  # scores know them by their own name
    if config.finetuning.precision == usual.finetuning.precision and "finetuning" in found:
        del found["finetuning"]["precision"]
    return found


@contextmanager
def forgotten_if_refused(out: Path) -> Iterator[None]:
    """Remove `experiment.json` from a folder in which nothing else was done when it is refused.

    The folder can then be used with other settings.
    """
    try:
        yield
    except CrosslError:
        if {path.name for path in out.iterdir()} - {LOCK} == {"experiment.json"}:
            (out / "experiment.json").unlink()
            with suppress(OSError):  # who holds the lock removes the folder
                out.rmdir()
        raise


def read_begun(path: Path) -> dict[str, Any]:
    """Read the `experiment.json` that `begin` wrote.

    Raises:
        FormatError: it is damaged.
    """
    cure = "name a new folder"
    return dict(check_stored(read_json(path, cure=cure), StoredBeginning, path, cure=cure))


def settings_sha256(settings: Settings) -> str:
    """Hash the settings of a part; with its name they are the identity of what it made."""
    return json_sha256(settings.model_dump(mode="json"))
