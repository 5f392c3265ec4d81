"""What `crossl` imports before it knows that it is needed: nothing that takes long."""

from __future__ import annotations

import subprocess
import sys

import pytest

# not pydantic: Typer itself reads the options of a command with it
SLOW = (
    "torch", "numpy", "scipy", "sklearn", "yaml", "safetensors",
    "jaxtyping", "matplotlib", "jinja2", "polars", "pandas", "h5py", "edfio", "requests",
)  # fmt: skip
HELP = [
    ["--help"], ["--version"], ["demo", "--help"], ["benchmark", "--help"],
    ["prepare", "--help"], ["inspect", "--help"],
    ["data", "--help"], ["data", "fetch", "--help"], ["data", "doctor", "--help"],
    ["pretrain", "--help"], ["probe", "--help"], ["evaluate", "--help"], ["report", "--help"],
    ["embed", "--help"], ["predict", "--help"], ["export", "--help"], ["sweep", "--help"],
    ["adapt", "--help"], ["stream", "--help"],
    ["distil", "--help"], ["card", "--help"], ["serve", "--help"],
]  # fmt: skip
CODE = """
import sys
from crossl.cli import main
sys.argv = ["crossl", *{arguments}]
try:
    main.run()
except SystemExit as end:
    assert end.code == 0, end.code
print([name for name in {slow} if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", HELP, ids=[" ".join(a) for a in HELP])
def test_help_imports_nothing_slow(arguments: list[str]) -> None:
    code = CODE.format(arguments=arguments, slow=SLOW)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told = done.stdout.splitlines()
    assert len(told) > 1 or arguments == ["--version"]
    assert told[-1] == "[]"


def test_every_command_is_held_to_it() -> None:
    import typer

    from crossl.cli.main import app

    names = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert names == {arguments[0] for arguments in HELP if not arguments[0].startswith("--")}


def test_importing_crossl_imports_nothing_slow_and_its_version_is_at_hand() -> None:
    code = f"import sys, crossl; crossl.__version__; print([m for m in {SLOW} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
