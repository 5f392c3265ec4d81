"""The Python of README and docs runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def python_blocks(path: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


BLOCKS = [
    pytest.param(block, id=f"{path.name}-{i}")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if path.name != "tutorial.md"  # whose blocks follow on each other, see test_tutorial.py
    for i, block in enumerate(python_blocks(path))
]


def test_the_readme_has_an_example():
    assert python_blocks(ROOT / "README.md")


@pytest.mark.parametrize("block", BLOCKS)
def test_example_runs(block, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert capsys.readouterr().out.strip()


def test_the_classifier_of_the_readme_survives_the_sensor_that_died(capsys):
    (block,) = python_blocks(ROOT / "README.md")
    exec(compile(block, "example", "exec"), {"__name__": "example"})  # noqa: S102 - our own docs
    assert float(capsys.readouterr().out.split()[-1]) > 0.9
