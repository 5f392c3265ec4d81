"""Stopped in the middle of an epoch and gone on with: as if it had never stopped."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossl.config import RunConfig
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import Method
from crossl.nn.attachment import plain_ways
from crossl.nn.model import CrossModalModel
from crossl.train import checkpoints
from crossl.train.checkpoints import (
    computed_by,
    last_checkpoint,
    load_checkpoint,
    save_checkpoint,
    warn_of_other_bits,
)
from crossl.train.pretrain import pretrain

# 16 batches an epoch, of whose metrics none is like another
SHORT = ("schedule.batch_size=6", "schedule.steps=48", "schedule.warmup_share=0.5")


class Signalling:
    """A store that sends this process a signal when it is read for the n-th time."""

    def __init__(self, store: Store, number: int, at: int) -> None:
        self.store, self.number, self.left = store, number, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def __len__(self) -> int:
        return len(self.store)

    def gather_zeroed(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.number)
        return self.store.gather_zeroed(rows)


Train = Callable[..., CrossModalModel]


@pytest.fixture
def train(store: Store, fold: Fold, method_of: Callable[..., Method]) -> Train:
    """Pretrain a config in a folder, going on with what is there."""

    def run(config: RunConfig, out: Path, source: Any = store) -> CrossModalModel:
        return pretrain(
            method_of(config), source, train=fold.train, validation=fold.validation,
            schedule=config.schedule, seed=0, out=out, resume=True,
        )  # fmt: skip

    return run


def done_in_epoch(out: Path) -> int:
    return torch.load(out / "checkpoints/last.ckpt", weights_only=True)["part"]["done"]


def same(out: Path, whole: Path, model: CrossModalModel, reference: CrossModalModel) -> None:
    torch.testing.assert_close(model.state_dict(), reference.state_dict(), rtol=0, atol=0)
    assert (out / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("recipe", "at", "overrides"),
    [
        ("crossl", 6, ()),
        ("crossl", 30, ("schedule.restore_best=true",)),
        ("crossl", 30, ("schedule.steps=160", "schedule.lr=1e-9", "schedule.patience=2")),
        ("paper", 28, ("schedule.epochs=3",)),
        (
            "crossl",
            30,
            (
                "method.keep_rate=0.9",
                "method.final_keep_rate={chest_ecg: 0.1}",
                "method.strategy=temporal_each",
            ),
        ),
    ],
    ids=["first epoch", "best", "patience", "paper", "scheduled masks"],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_within_an_epoch_keeps_the_step_and_the_rest_is_the_same(
    number: int, recipe: str, at: int, overrides: tuple[str, ...], train: Train, store: Store,
    small: Callable[..., RunConfig], runs: Path,
) -> None:  # fmt: skip
    config = small(recipe, *SHORT, *overrides)
    reference = train(config, runs / "whole")
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises((KeyboardInterrupt, SystemExit)) as end:
        train(config, runs / "cut", Signalling(store, number, at))
    assert getattr(end.value, "code", None) == (143 if number == signal.SIGTERM else None)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before
    assert 0 < done_in_epoch(runs / "cut") < 16
    same(runs / "cut", runs / "whole", train(config, runs / "cut"), reference)


def test_stopped_again_and_again_it_is_still_the_same(
    train: Train, small: Callable[..., RunConfig], store: Store, runs: Path
) -> None:
    config = small("crossl", *SHORT)
    reference = train(config, runs / "whole")
    stops = 0
    for _ in range(40):
        try:
            model = train(config, runs / "cut", Signalling(store, signal.SIGTERM, 7))
            break
        except SystemExit:
            stops += 1
    assert stops > 5
    same(runs / "cut", runs / "whole", model, reference)


def test_a_checkpoint_that_is_due_within_an_epoch_changes_nothing(
    train: Train, small: Callable[..., RunConfig], runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[int] = []

    def counted(state: dict[str, Any], path: Path) -> None:
        written.append(state.get("part", {"done": 0})["done"])
        save_checkpoint(state, path)

    monkeypatch.setattr(checkpoints, "save_checkpoint", counted)
    reference = train(small("crossl", *SHORT), runs / "whole")
    assert set(written) == {0}
    model = train(small("crossl", *SHORT, "schedule.checkpoint_s=0"), runs / "often")
    assert set(written) == set(range(16))
    same(runs / "often", runs / "whole", model, reference)


@pytest.mark.parametrize("at", [6, 30], ids=["first epoch", "later"])
def test_a_checkpoint_that_lightning_wrote_is_resumed_from(
    at: int, train: Train, small: Callable[..., RunConfig], store: Store, runs: Path
) -> None:
    config = small("crossl", *SHORT, "schedule.restore_best=true", "schedule.patience=2")
    reference = train(config, runs / "whole")
    with pytest.raises(SystemExit):
        train(config, runs / "cut", Signalling(store, signal.SIGTERM, at))
    path = last_checkpoint(runs / "cut")
    state = load_checkpoint(path)
    moment = state.pop("moment")
    best = None if moment["best"] is None else torch.tensor(moment["best"])
    state[
        "callbacks"
    ] = {  # what versions that trained by Lightning kept beside the rest, which is as it was
        "EarlyStopping{'monitor': 'val/loss', 'mode': 'min'}": {"wait_count": moment["waited"]},
        "KeepCheckpoints{'monitor': 'val/loss', 'mode': 'min'}": {"best_model_score": best},
    }
    save_checkpoint({**state, "loops": {"fit_loop": {}}}, path)
    same(runs / "cut", runs / "whole", train(config, runs / "cut"), reference)


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "last.ckpt"
    save_checkpoint({"weights": torch.ones(3)}, path)
    yield path
    assert [p.name for p in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_checkpoint_whose_writing_fails_leaves_the_one_before(files: Path) -> None:
    with pytest.raises(RuntimeError, match="not now"):
        save_checkpoint({"weights": Unwilling()}, files)
    torch.testing.assert_close(torch.load(files, weights_only=True)["weights"], torch.ones(3))


class Unwilling:
    """Cannot be kept."""

    def __reduce__(self) -> Any:
        raise RuntimeError("not now")


def test_lines_of_metrics_survive_a_kill_while_they_are_shortened(
    train: Train, small: Callable[..., RunConfig], store: Store, runs: Path
) -> None:
    config = small("crossl", *SHORT)
    with pytest.raises(SystemExit):
        train(config, runs / "cut", Signalling(store, signal.SIGTERM, 30))
    (runs / "cut/.metrics.jsonl.partial").write_text("half a li")
    train(config, runs / "cut")
    lines = (runs / "cut/metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]
    assert not list((runs / "cut").glob(".*"))


def test_resuming_with_other_threads_or_kernels_is_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = computed_by()
    warn_of_other_bits(now)
    assert not caplog.records
    warn_of_other_bits({**now, "threads": "7", "kernels": "Other"})
    (record,) = caplog.records
    assert f"threads 7 before, {now['threads']} now; kernels Other before" in record.message
    caplog.clear()
    with plain_ways():
        warn_of_other_bits({**now, "kernels": "NativeEpilogue"})  # as files call it
    assert "(kernels compiled before, plain now)" in caplog.messages[0]


def test_checkpoints_say_what_they_were_computed_by(
    store: Store, fold: Fold, small: Callable[..., RunConfig], method_of: Callable[..., Method],
    runs: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    config = small("crossl", "schedule.epochs=3")
    asked = {"train": fold.train, "validation": fold.validation, "seed": 0, "out": runs / "run"}

    def interrupt(done: int, total: int, metrics: object) -> None:
        if last_checkpoint(runs / "run").is_file():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(method_of(config), store, schedule=config.schedule, progress=interrupt, **asked)
    held = torch.load(last_checkpoint(runs / "run"), weights_only=True)
    assert held["computed_by"] == computed_by()
    other = {**computed_by(), "threads": "7"}
    monkeypatch.setattr("crossl.train.checkpoints.computed_by", lambda: other)
    pretrain(method_of(config), store, schedule=config.schedule, resume=True, **asked)
    assert "pretraining is resumed by other means (threads 1 before, 7 now)" in caplog.text
