"""Without the folder of fast ways a model embeds, differentiates and trains alike."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import crossl
from crossl.data.store import Store
from crossl.nn.attachment import kernels_in_use

SCRIPT = Path(__file__).with_name("train_networks.py")


@pytest.fixture(scope="module")
def without_fast(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Numbers of both recipes by a copy of the package that lacks the folder."""
    folder = tmp_path_factory.mktemp("plain")
    package = folder / "copy" / "crossl"
    shutil.copytree(Path(crossl.__file__).parent, package, ignore=shutil.ignore_patterns("fast"))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", SCRIPT, store.path, folder],
        env={**os.environ, "PYTHONPATH": str(package.parent), "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "plain"
    return folder


@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_without_the_fast_ways_numbers_are_equal_to_rounding(
    without_fast: Path, store: Store, tmp_path: Path, recipe: str
) -> None:
    assert kernels_in_use() != "plain"
    fast = runpy.run_path(str(SCRIPT))["numbers"](recipe, store, tmp_path)
    plain = np.load(without_fast / f"{recipe}.npz")
    assert set(fast) == set(plain)
    for name, wanted in plain.items():
        # Adam divides by the size of a gradient, however small it is: rounding grows while training
        trained = name.startswith("weight ") or name == "embedding after pretraining"
        within = (1e-3 if trained else 1e-5) * max(1, np.abs(wanted).max())
        np.testing.assert_allclose(fast[name], wanted, rtol=0, atol=within, err_msg=name)
