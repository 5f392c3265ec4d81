"""The command line in this process (importing torch anew takes longer than most commands)."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from crossl.cli.main import run as run_app
from crossl.data.recording import LabelInterval, Modality, Recording, Signal
from crossl.data.target_rules import TargetRule
from crossl.data.windows import WindowSpec
from crossl.data.write import write_store

TINY = (
    "encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=16", "method.expander_dim=16",
    "schedule.steps=4", "schedule.batch_size=32", "finetuning.steps=4",
    "evaluation.label_fractions=[0.5]", "evaluation.main_fraction=0.5",
    "evaluation.label_seeds=[0]",
)  # fmt: skip
SETTINGS = [part for setting in TINY for part in ("--set", setting)]
ACC = Modality("acc", ("x", "y", "z"), "m/s^2", 20.0, "wrist")
ECG = Modality("ecg", ("lead",), "V", 32.0, "chest")
CLASSES = ("rest", "run")


PROGRESS = re.compile(r"^[a-z]+: .*\((\d+ min )?\d+ s\)\n", re.MULTILINE)


def without_progress(told: str) -> str:
    """Leave out the lines that say how far a command is, which a busy machine makes more of."""
    return PROGRESS.sub("", told)


@dataclass(frozen=True)
class Done:
    """What a command answered."""

    code: int
    out: str
    err: str


Crossl = Callable[..., Done]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks on busy cores lose more to threads than they win."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        yield
    torch.set_num_threads(before)


@pytest.fixture
def crossl(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Crossl:
    """Run a command as the console script does."""

    def run(*words: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["crossl", *(str(word) for word in words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            run_app()
        told = capsys.readouterr()
        return Done(int(end.value.code or 0), told.out, without_progress(told.err))

    return run


def make_store(
    path: Path,
    *,
    subjects: int = 6,
    modalities: tuple[Modality, ...] = (ACC, ECG),
    window_s: float = 2.0,
    stride_s: float = 2.0,
    louder: float = 4.0,
    lacking: str = "",
    prefix: str = "S",
    only: Sequence[str] = (),
    classes: tuple[str, str] = CLASSES,
    targets: Sequence[TargetRule] = (),
) -> Path:
    """Write a store of noise that is louder while running; one subject may lack a modality."""

    def recording(number: int) -> Recording:
        rng = np.random.default_rng(number)
        signals = {}
        for m in modalities:
            if number == subjects - 1 and m.name == lacking:
                continue
            loud = np.repeat([1.0, louder], round(20 * m.rate_hz))[:, None]
            noise = loud * rng.normal(size=(len(loud), len(m.channels)))
            signals[m.name] = Signal(noise.astype(np.float32), m.rate_hz)
        labels = [LabelInterval(20 * i, 20 * i + 20, one) for i, one in enumerate(classes)]
        return Recording(
            f"{prefix}{number}", "only", {m.name: m for m in modalities}, signals, labels
        )

    write_store(
        (recording(n) for n in range(subjects) if not only or f"{prefix}{n}" in only),
        path,
        modalities=modalities,
        classes=classes,
        spec=WindowSpec(window_s=window_s, stride_s=stride_s),
        about={"dataset": "tiny", "reader": "none", "title": "Tiny", "description": "made up"},
        targets=targets,
    )
    return path


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Make a store once by name; options say how it differs."""
    folder = tmp_path_factory.mktemp("stores")

    def make(name: str = "tiny", **options: object) -> Path:
        path = folder / name
        return path if path.exists() else make_store(path, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def trained(stores: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pretrained run with a probe; copy it before changing it."""
    from crossl.commands.pretrain import pretrain_run
    from crossl.commands.probe import probe_run
    from crossl.config import load_config

    out = tmp_path_factory.mktemp("runs") / "run"
    pretrain_run(stores(), load_config(overrides=TINY), out)
    probe_run(out, stores(), label_fraction=0.5)
    return out


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run."""
    import shutil

    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def settings() -> list[str]:
    """Options that make everything tiny."""
    return list(SETTINGS)
