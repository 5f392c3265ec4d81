"""What a result was made with: versions of packages, and the commit of a source tree."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("crossl", "torch", "numpy", "scipy", "scikit-learn")


def package_versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a source tree on the path
        return "not installed"


def git_commit() -> str | None:
    """Return the commit of the source tree that is running, if it is one."""
    here = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(here), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    top, commit = done.stdout.split("\n")[:2]
    # an installed package may lie inside another repository
    return commit if Path(top) / "src" / "crossl" == here else None
