"""`crossl data doctor`: what it prints, its page, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

Crossl = Callable[..., Any]


def test_a_store_is_examined_and_its_page_written(
    crossl: Crossl, stores: Callable[..., Path], tmp_path: Path
) -> None:
    acc = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
    gyro = Modality("gyro", ("x", "y", "z"), "rad/s", 20.0, "wrist")
    store = stores("examined", modalities=(acc, gyro))
    done = crossl("data", "doctor", store, "--out", tmp_path / "doctor.html")
    assert done.code == 0, done.err
    assert "120 windows, 6 recordings, 6 subjects, 2 modalities, 4 minutes" in done.out
    assert "nothing found in: " in done.out
    assert "leakage" in done.out
    assert "Tiny" in (tmp_path / "doctor.html").read_text(encoding="utf-8")


def test_an_error_among_recordings_ends_with_code_1(
    crossl: Crossl, real_data: Callable[[str], Path], tmp_path: Path
) -> None:
    fixture = real_data("fixtures") / "sp_sw_har"
    data = next(fixture.rglob("subjects_info.csv")).parent
    for path in sorted(data.rglob("*.csv")):
        target = tmp_path / "DATA" / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    done = crossl("data", "doctor", tmp_path, "--reader", "sp_sw_har")
    assert done.code == 0, done.err
    assert "declared are 100 Hz" in done.out
    broken = sorted((tmp_path / "DATA").rglob("*_sp.csv"))[0]
    broken.write_bytes(broken.read_bytes()[:-20])
    done = crossl("data", "doctor", tmp_path, "--reader", "sp_sw_har")
    assert done.code == 1
    assert "1 error" in done.out
    assert broken.name in done.out
    assert "1 recording," in done.out


def test_a_leaking_store_ends_with_code_1(crossl: Crossl, tmp_path: Path) -> None:
    acc = Modality("acc", ("x",), "m/s^2", 50.0)
    values = np.random.default_rng(0).normal(0, 2, (1000, 1)).astype(np.float32)
    both = LabelInterval(0, 10, "a"), LabelInterval(10, 20, "b")
    write_store(
        (Recording(s, "x", {"acc": acc}, {"acc": Signal(values, 50.0)}, both) for s in "AB"),
        tmp_path / "store",
        modalities=[acc],
        classes=("a", "b"),
        spec=WindowSpec(window_s=2.0, stride_s=2.0),
        about={"dataset": "copied", "reader": "none"},
    )
    done = crossl("data", "doctor", tmp_path / "store")
    assert done.code == 1
    assert "20 windows of one subject are copies of another's" in done.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "page.txt"], "a page ends in .html"),
        (["--reader", "zebra"], "reader 'zebra': unknown"),
        (["--reader", "uci_har", "--option", "window"], "allowed is KEY=VALUE"),
        (["--reader", "uci_har", "--option", "a=b"], "uci_har has no options"),
    ],
)
def test_refusals_are_one_sentence(
    crossl: Crossl, tmp_path: Path, words: list[str], message: str
) -> None:
    done = crossl("data", "doctor", tmp_path, *words)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
