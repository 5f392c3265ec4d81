"""House rules that no linter knows."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import crossl
from crossl.config import load_config
from crossl.data.readers import READERS
from crossl.registry import SORTS

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "src" / "crossl").rglob("*.py"))
load_config()  # registers what crossl has
KINDS = sorted(name for registry in SORTS.values() for name in registry)


def read(name: str) -> str:
    """Read a file of the project, or skip where it is not written yet."""
    path = ROOT / name
    if not path.is_file():
        pytest.skip(f"{name} is not here")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", MODULES, ids=[str(p.relative_to(ROOT)) for p in MODULES])
def test_every_module_has_a_docstring_and_prints_nothing(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = [call.func.id for call in calls if isinstance(call.func, ast.Name)]
    assert "print" not in names


def test_shapes_are_told_of_arrays_by_their_class() -> None:
    # from numpy 2.5 on NDArray is a name for a type, which jaxtyping cannot subscript
    asked = re.compile(r"\b(Num|Shaped|Bool|Float\d*|U?Int\d*)\[NDArray")
    assert [path for path in MODULES if asked.search(path.read_text(encoding="utf-8"))] == []


def test_no_module_is_longer_than_the_house_allows() -> None:
    lengths = {
        str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in MODULES
    }
    assert {name: n for name, n in lengths.items() if n > 450} == {}


def test_the_citation_names_this_version() -> None:
    found = re.search(r"^version:\s*[\"']?([\w.]+)", read("CITATION.cff"), flags=re.M)
    assert found is not None
    assert found[1] == crossl.__version__


@pytest.mark.parametrize("name", sorted({*READERS, *KINDS}))
def test_every_registered_name_is_in_the_map_of_the_project(name: str) -> None:
    text = read("ARCHITECTURE.md")
    text += "".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "docs").rglob("*.md")))
    assert f"`{name}`" in text


@pytest.mark.parametrize("name", sorted(SORTS["method"]))
def test_every_method_has_a_row_in_the_docs(name: str) -> None:
    assert re.search(rf"^\| `{name}`[^|]*\|", read("docs/methods.md"), flags=re.M)


def test_every_public_name_loads() -> None:
    for name in crossl.__all__:
        assert getattr(crossl, name) is not None
    with pytest.raises(AttributeError, match="module 'crossl' has no attribute 'Crossl'"):
        _ = crossl.Crossl  # type: ignore[attr-defined]


def test_importing_crossl_imports_nothing_slow() -> None:
    slow = "('torch', 'numpy')"
    code = f"import sys, crossl; print([m for m in {slow} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
