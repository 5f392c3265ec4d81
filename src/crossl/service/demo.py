"""Demo: a run on the built-in recordings, and people of them whom it has never seen.

The run is the one that `crossl demo` left, or a small one that is trained once and kept.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from crossl.api.run import Run
from crossl.data.readers import open_dataset
from crossl.data.recording import Recording
from crossl.data.store import Store
from crossl.errors import ConfigError

READER = "seglearn_watch"
LIVE = "live"
SMALL = ("schedule.steps=150", "evaluation.label_seeds=[0]")
"""Settings of the run that is trained for the page alone."""


def kept_run(folder: Path) -> Path | None:
    """Return a run with a classifier that an earlier demo left in a folder; None if none did."""
    for name in (LIVE, "fold-0"):
        if (folder / name / "probe.json").is_file() and (folder / name / "model.json").is_file():
            return folder / name
    return None


def train_small(folder: Path, *, progress: Callable[[str, float], None]) -> Path:
    """Train the run of the page on the store of a demo; resumes where it was stopped.

    Args:
        folder: of the demo, with its `store`.
        progress: called with what is being done, and the share of it.

    Returns:
        The run.
    """
    from crossl.commands.pretrain import pretrain_run
    from crossl.commands.probe import probe_run
    from crossl.config import load_config

    out = folder / LIVE
    pretrain_run(folder / "store", load_config(overrides=SMALL), out, progress=progress)
    progress("fold 0: classifier", 0.99)
    probe_run(out, folder / "store", label_fraction=1.0)
    return out


def recordings_to_show(run: Run) -> list[Recording]:
    """Read the recordings of people that the run was not trained on, mixed.

    Raises:
        ConfigError: the run learned from other recordings than the built-in ones.
        DataError: the package that holds them is not installed.
    """
    reading = run.contract.get("reading") or {}
    if reading.get("reader") != READER:
        raise ConfigError(
            f"--demo: {run.path} learned from other recordings than the built-in ones; leave out "
            "--demo and send a stream to /ws, or leave out the run"
        )
    wanted = set(run.contract["subjects"]["test"])
    with open_dataset(READER, None, {}) as dataset:
        found = [one for one in dataset.read() if one.subject in wanted]
    order = np.random.default_rng(3).permutation(len(found))
    return [found[place] for place in order]


def store_of(folder: Path, run: Path) -> Path | None:
    """Return the store of a demo, if its run learned from it."""
    from crossl.run_folder import load_run as load

    store = folder / "store"
    if not (store / "manifest.json").is_file():
        return None
    learned = load(run).contract.get("store_sha256")
    return store if learned in (None, Store.open(store).hash) else None
