"""What `crossl serve` refuses before it serves; the rest is in tests/service."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from crossl.service.server import listen

from .conftest import Crossl


def test_it_needs_a_run_and_for_others_a_token(
    crossl: Crossl, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CROSSL_TOKEN", raising=False)
    done = crossl("serve")
    assert (done.code, done.err) == (
        2, "crossl: serve: names no run; give a run folder, or --demo\n",
    )  # fmt: skip
    done = crossl("serve", run, "--host", "0.0.0.0")  # noqa: S104
    assert done.code == 2
    assert "--host 0.0.0.0: is open to others, so a token is needed" in done.err
    done = crossl("serve", run, "--host", "0.0.0.0", "--token", "secret")  # noqa: S104
    assert "--token: needs at least 16 letters" in done.err
    monkeypatch.setenv("CROSSL_TOKEN", "secret")
    assert "--token: needs at least 16 letters" in crossl("serve", run).err


def test_what_cannot_be_served_is_one_sentence(crossl: Crossl, run: Path, tmp_path: Path) -> None:
    done = crossl("serve", tmp_path, "--port", "0")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "it has no model.json" in done.err
    done = crossl("serve", run, "--demo", "--port", "0")
    assert "learned from other recordings than the built-in ones" in done.err
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        done = crossl("serve", run, "--port", port)
        assert f"--host 127.0.0.1 --port {port}: cannot be used (" in done.err
    (run / "probe.json").unlink()
    done = crossl("serve", run, "--port", "0")
    assert done.code == 2
    assert "has no classifier" in done.err


def test_without_its_packages_it_says_what_to_install(
    crossl: Crossl, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "fastapi" else real(name)
    )
    done = crossl("serve", run)
    assert done.code == 2
    assert "needs the package 'fastapi'" in done.err
    assert 'pip install "crossl[app]"' in done.err
