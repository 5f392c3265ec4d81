"""Several processes give what one gives."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from crossl.config import RunConfig
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError, DataError
from crossl.methods import Method
from crossl.methods.views import BLOCK, augment_views
from crossl.train.pretrain import pretrain
from crossl.train.processes import Processes, Ranks, joined

SCRIPT = Path(__file__).with_name("ranks.py")
Together = Callable[..., list[dict[str, Any]]]


@pytest.fixture(scope="module")
def pair() -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that know each other and wait for jobs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1",
              "MASTER_PORT": str(port), "WORLD_SIZE": "2"}  # fmt: skip
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT], env={**shared, "RANK": rank, "LOCAL_RANK": rank}, **pipes
        )
        for rank in ("0", "1")
    ]
    yield processes
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0


@pytest.fixture
def together(pair: list[subprocess.Popen[str]], tmp_path: Path) -> Together:
    """Do a job in both processes; return their answers."""

    def run(job: str, request: dict[str, Any]) -> list[dict[str, Any]]:
        answers = [str(tmp_path / f"{job}-{rank}.pt") for rank in range(2)]
        line = json.dumps({"job": job, "request": request, "answer": answers}) + "\n"
        for process in pair:
            assert process.stdin
            process.stdin.write(line)
        for process in pair:
            assert process.stdout
            assert process.stdout.readline() == "done\n"
        return [torch.load(path, weights_only=False) for path in answers]

    return run


def alone(job: str, request: dict[str, Any]) -> dict[str, Any]:
    """Do a job in this process."""
    spec = importlib.util.spec_from_file_location("crossl_test_ranks", SCRIPT)
    assert spec
    assert spec.loader
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return dict(script.answer(job, request, Ranks()))


def close(several: dict[str, torch.Tensor], one: dict[str, torch.Tensor], within: float) -> None:
    """Compare the loss, the gradient as a whole, and each tensor of it ten times less strictly.

    A modality of 8 samples has a log-variance over one or two of them, whose gradient magnifies
    rounding; in double precision the same test allows nothing of the kind.
    """
    assert several.keys() == one.keys()
    torch.testing.assert_close(several["loss"], one["loss"], rtol=within, atol=0)
    flat = [torch.cat([x.flatten() for n, x in g.items() if n != "loss"]) for g in (several, one)]
    assert float((flat[0] - flat[1]).norm()) <= within * float(flat[1].norm())
    for name, x in one.items():
        size = max(float(x.abs().max()), 1.0)
        assert float((several[name] - x).abs().max()) <= 10 * within * size, name


@pytest.mark.parametrize("rows", [4, 5])
def test_a_gather_joins_rows_and_hands_back_the_gradient_of_ones_own(
    rows: int, together: Together
) -> None:
    whole = torch.arange(rows * 3.0).reshape(-1, 3)
    answers = together("gather", {"rows": rows})
    assert torch.equal(torch.cat([a["own"] for a in answers]), whole)
    for answer in answers:
        assert torch.equal(answer["gathered"], whole)
        # the mean over two processes, as DistributedDataParallel takes it, is the gradient
        assert torch.equal(answer["gradient"], 2 * 2 * answer["own"])
        assert answer["flags"] == (True, False)
        assert answer["everyones"] == [0, 1]


def asked(config: RunConfig, store: Store, rows: np.ndarray, out: Path) -> dict[str, Any]:
    return {"config": config.model_dump(mode="json"), "store": str(store.path),
            "rows": rows.tolist(), "out": str(out)}  # fmt: skip


@pytest.mark.parametrize(("dtype", "within"), [("float32", 1e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_two_processes_give_the_loss_and_the_gradients_of_one(
    recipe: str, dtype: str, within: float, together: Together, small: Callable[..., RunConfig],
    store: Store, fold: Fold, tmp_path: Path,
) -> None:  # fmt: skip
    # an odd number of rows: shares differ, and end within a block of draws; some lack a modality
    lacking = fold.train[~store.present[fold.train].all(axis=1)][:20]
    rows = np.r_[lacking, fold.train[store.present[fold.train].all(axis=1)][:25]]
    request = {**asked(small(recipe), store, rows, tmp_path), "dtype": dtype}
    one = alone("step", request)
    for several in together("step", request):
        close(several, one, within)


def test_a_modality_that_no_window_has_gives_no_gradient_on_any_number_of_processes(
    together: Together, small: Callable[..., RunConfig], store: Store, fold: Fold, tmp_path: Path
) -> None:
    with_ecg = fold.train[store.present[fold.train, 2]][:1]
    rows = np.r_[with_ecg, fold.train[~store.present[fold.train, 2]][:10]]
    request = {**asked(small(), store, rows, tmp_path), "dtype": "float64"}
    one = alone("step", request)
    assert not any(g.any() for name, g in one.items() if name.startswith("modality_expanders.2"))
    for several in together("step", request):
        close(several, one, 1e-12)


@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_two_processes_train_as_one_does(
    recipe: str, together: Together, small: Callable[..., RunConfig], store: Store, fold: Fold,
    tmp_path: Path,
) -> None:  # fmt: skip
    config = small(recipe, "schedule.lr=1e-4", "schedule.batch_size=31")
    validation = {"validation": fold.validation.tolist()}
    one = alone("pretrain", {**asked(config, store, fold.train, tmp_path / "1"), **validation})
    two = together("pretrain", {**asked(config, store, fold.train, tmp_path / "2"), **validation})
    torch.testing.assert_close(two[0], two[1], rtol=0, atol=0)
    # where a gradient is nothing but rounding, Adam still takes whole steps of the rate
    torch.testing.assert_close(two[0], one, rtol=1e-3, atol=6e-4)
    lines = [
        [json.loads(line) for line in (tmp_path / world / "metrics.jsonl").read_text().splitlines()]
        for world in ("1", "2")
    ]
    assert len(lines[0]) == len(lines[1]) >= 2
    for a, b in zip(*lines, strict=True):
        assert a.keys() == b.keys()
        np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=2e-4, atol=1e-5)


def test_two_processes_fine_tune_as_one_does(
    together: Together, small: Callable[..., RunConfig], store: Store, fold: Fold, tmp_path: Path
) -> None:
    validation = {"validation": fold.validation.tolist()}
    one = alone("finetune", {**asked(small(), store, fold.train, tmp_path / "1"), **validation})
    two = together("finetune", {**asked(small(), store, fold.train, tmp_path / "2"), **validation})
    torch.testing.assert_close(two[0], two[1], rtol=0, atol=0)
    torch.testing.assert_close(two[0], one, rtol=1e-3, atol=6e-4)
    left = [path.name for path in (tmp_path / "2").rglob("*") if path.is_file()]
    assert sorted(left) == ["metrics.jsonl", "trained.ckpt"]


def test_what_is_not_finite_stops_every_process_and_names_the_row_of_the_other(
    together: Together, small: Callable[..., RunConfig], store: Store, fold: Fold, tmp_path: Path
) -> None:
    validation = fold.validation.tolist()
    owners = set()
    for bad in fold.train[store.present[fold.train, 1]][5:12].tolist():
        out = str(bad)
        request = asked(small(), store, fold.train, tmp_path / out)
        answers = together("pretrain", {**request, "validation": validation, "bad": bad})
        told = {answer["error"] for answer in answers}
        assert len(told) == 1
        assert f"signals of 'wrist_heat' are not finite in row {bad} of the store" in told.pop()
        with np.load(tmp_path / out / "nonfinite" / "batch.npz") as kept:
            assert bad in kept["rows"]
            assert len(kept["rows"]) == len(kept["present"]) == 32
            owners.add(int(np.flatnonzero(kept["rows"] == bad)[0]) // 16)
    assert owners == {0, 1}


def test_augmentation_of_some_rows_is_that_of_all_rows(
    small: Callable[..., RunConfig], store: Store, fold: Fold
) -> None:
    signals = {n: torch.from_numpy(x) for n, x in store.gather_zeroed(fold.train[:75]).items()}
    augment = small("crossl", "method.augmentation.time_mask=0.3").method.augmentation.build()
    given = {"views": 2, "seed": 3, "whole": 75}
    whole = augment_views(augment, signals, **given)
    views = {name: x.unflatten(0, (2, 75)) for name, x in whole.items()}
    for a, b in ((0, 10), (10, 40), (40, 75), (BLOCK, 2 * BLOCK)):
        part = {name: x[a:b] for name, x in signals.items()}
        torch.testing.assert_close(
            augment_views(augment, part, first=a, **given),
            {name: x[:, a:b].flatten(0, 1) for name, x in views.items()}, rtol=0, atol=0,
        )  # fmt: skip
    assert not torch.equal(*views["wrist_acc"][:, :BLOCK])
    noise = views["wrist_heat"][0] - signals["wrist_heat"]
    assert not torch.equal(noise[:BLOCK], noise[BLOCK : 2 * BLOCK])


def test_augmentation_does_not_depend_on_the_number_of_threads(
    small: Callable[..., RunConfig], store: Store, fold: Fold
) -> None:
    signals = {n: torch.from_numpy(x) for n, x in store.gather_zeroed(fold.train[:75]).items()}
    augment = small("crossl").method.augmentation.build()
    before, found = torch.get_num_threads(), []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        found.append(augment_views(augment, signals, views=2, seed=3))
    torch.set_num_threads(before)
    torch.testing.assert_close(*found, rtol=0, atol=0)


JOIN = """
import torch
from crossl.train.processes import Processes, joined

torch.set_num_threads(1)
with joined(Processes(devices=1, nodes=2)) as (device, ranks):
    print(ranks.rank, ranks.world, ranks.everyones(ranks.rank), ranks.agree(ranks.rank == 1))
assert not torch.distributed.is_initialized()
"""


def test_processes_that_slurm_started_meet_by_what_slurm_tells_them() -> None:
    told = {k: v for k, v in os.environ.items() if k not in ("RANK", "WORLD_SIZE", "MASTER_PORT")}
    job = str(os.getpid() % 10000).zfill(6)
    told |= {"SLURM_NTASKS": "2", "SLURM_NODELIST": "localhost", "SLURM_JOB_ID": job,
             "SLURM_LOCALID": "0", "OMP_NUM_THREADS": "1"}  # fmt: skip
    started = [
        subprocess.Popen([sys.executable, "-c", JOIN], env={**told, "SLURM_PROCID": rank},
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]  # fmt: skip
    for rank, process in enumerate(started):
        said, errors = process.communicate(timeout=120)
        assert said == f"{rank} 2 [0, 1] (True,)\n", errors
        assert process.returncode == 0


def test_another_number_of_processes_than_was_asked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    told = "--devices 2 --nodes 1: makes 2 processes, but 3 were started; start one for each"
    with pytest.raises(ConfigError, match=told), joined(Processes(devices=2)):
        raise AssertionError


def test_fewer_windows_than_processes_are_refused(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], store: Store, fold: Fold,
    tmp_path: Path,
) -> None:  # fmt: skip
    given = {"seed": 0, "out": tmp_path, "processes": Processes(devices=3, nodes=3),
             "train": fold.train}  # fmt: skip
    schedule = small("crossl", "schedule.batch_size=8").schedule
    with pytest.raises(ConfigError, match="is 8 on 9 processes, which share a batch; at least one"):
        pretrain(method_of(), store, validation=fold.validation, schedule=schedule, **given)
    with pytest.raises(DataError, match=r"8 validation windows; at least 9 are needed"):
        pretrain(method_of(), store, validation=fold.validation[:8], schedule=schedule, **given)
