"""What several tests share: where the real recordings and golden arrays are."""

from __future__ import annotations

import os
import signal
from pathlib import Path

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell does so to what it runs in the background, and commands under test would inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
from hypothesis import settings

# how long an example takes says nothing on a shared machine
settings.register_profile("crossl", deadline=None)
settings.load_profile("crossl")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def golden():
    """Open an archive of golden arrays by name, or skip."""

    def load(name: str) -> dict[str, np.ndarray]:
        path = SHARED / "golden" / f"{name}.npz"
        if not path.is_file():
            pytest.skip(f"golden arrays are not here: {path.name}")
        with np.load(path) as archive:
            return dict(archive)

    return load


@pytest.fixture(scope="session")
def real_data():
    """Name the folder of a real data set, or skip."""

    def find(name: str) -> Path:
        path = SHARED / "data" / name
        if not path.is_dir():
            pytest.skip(f"real recordings are not here: {name}")
        return path

    return find
