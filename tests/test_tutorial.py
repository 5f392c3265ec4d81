"""The tutorial is followed to the letter, in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("polars", reason="the extra `io` is not installed")

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial.md"


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run every block in order; return the folder and what the commands printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = ""
    for kind, text in re.findall(r"```(python|sh)\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL):
        command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-e", "-c", text]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, text=True, capture_output=True,
            timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    return folder, told


@pytest.mark.slow
def test_the_doctor_finds_what_the_page_says(followed: tuple[Path, str]) -> None:
    folder, told = followed
    assert "no errors, no warnings, 3 notes" in told
    assert "the longest gap is 6 s" in told
    assert "chest_acc: was not recorded (in 3 of 12 subjects" in told
    assert "chest_acc" in (folder / "doctor.html").read_text("utf-8")


@pytest.mark.slow
def test_missing_devices_are_not_present_in_the_store(followed: tuple[Path, str]) -> None:
    told = followed[1]
    assert re.search(r"chest_acc\s+chest\s+x y z\s+100 Hz\s+m/s\^2\s+7\d\.\d%", told)
    assert "12 subjects, float32" in told
    assert "24 samples whose time did not increase were left out" in told


@pytest.mark.slow
def test_it_ends_with_a_report(followed: tuple[Path, str]) -> None:
    folder, told = followed
    assert "crossl, 2 sensors missing" in told
    score = re.search(r"probe kept; macro-F1 (\d\.\d+)", told)
    assert score is not None
    assert float(score[1]) > 0.9
    assert (folder / "runs/my-study/report.html").stat().st_size > 50_000


@pytest.mark.slow
def test_who_comes_later_is_appended_and_a_copy_is_found(followed: tuple[Path, str]) -> None:
    told = followed[1]
    assert "13 subjects, float32" in told
    assert "windows of one subject are those of another over again" in told
    assert told.rstrip().endswith("exit code 1")
