"""The tutorials are followed to the letter, each in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("polars", reason="the extra `io` is not installed")
pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[1] / "docs"


def follow(page: Path, folder: Path) -> tuple[Path, str]:
    """Run every block in order; return the folder and what the commands printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    told = ""
    for kind, text in re.findall(r"```(python|sh)\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        command = [sys.executable, "-c", text] if kind == "python" else ["bash", "-e", "-c", text]
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, "PATH": path}, text=True, capture_output=True,
            timeout=280, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        told += done.stdout
    return folder, told


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return follow(DOCS / "tutorial.md", tmp_path_factory.mktemp("tutorial"))


@pytest.fixture(scope="module")
def messy(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return follow(DOCS / "messy.md", tmp_path_factory.mktemp("messy"))


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
    assert "windows of one subject are copies of another's" in told
    assert told.rstrip().endswith("exit code 1")


@pytest.mark.slow
def test_messy_files_go_to_a_report_by_a_mapping_alone(messy: tuple[Path, str]) -> None:
    folder, told = messy
    assert "6 recordings, 6 subjects, 6 modalities, 12 minutes\nno errors, 1 warning" in told
    assert "'eeg' counts as not recorded where a file lacks its optional channel: Cz" in told
    assert re.search(r"phone_acc\s+phone\s+x y z\s+50 Hz\s+m/s\^2\s+9\d\.\d%", told)
    assert "354 windows of 4 s every 2 s, 348 labelled, 6 subjects" in told
    assert (folder / "runs/messy/report.html").stat().st_size > 50_000


@pytest.mark.slow
def test_a_bad_file_among_messy_ones_is_left_out_then_added(
    messy: tuple[Path, str],
) -> None:
    last = messy[1][messy[1].index("report: ") :]
    assert "5 subjects, float32" in last
    assert "exit code 3" in last
    assert re.search(r"1 recording was left out:\n  P5/1: messy/eeg/P5.edf: ", last)
    assert last.rindex("6 subjects, float32") > last.index("exit code 3")
