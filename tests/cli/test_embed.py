"""`crossl embed`: one file of any size, through kills and interruptions, to the same bytes."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl.commands.embed import embed_store
from crossl.data.batch import collate
from crossl.data.store import Store
from crossl.data.target_rules import LabelsOfClasses, MergedClasses, NumberOfSignal, Numbers
from crossl.data.targets import Target
from crossl.errors import DataError
from crossl.run_folder import load_probe, load_run

from .conftest import ACC, without_progress

Crossl = Callable[..., Any]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}


@pytest.fixture(scope="session")
def many(stores: Callable[..., Path]) -> Path:
    """A store of several blocks, the last one not full; one subject lacks a sensor."""
    return stores("many", subjects=24, stride_s=0.05, lacking="ecg")


@pytest.fixture(scope="session")
def whole(many: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedding of all of it, made without an interruption."""
    out = tmp_path_factory.mktemp("whole") / "z.npz"
    embed_store(trained, many, out, workers=1)
    return out


def start(*words: object, **options: Any) -> subprocess.Popen[str]:
    """Run a command in a process of its own, which listens to Ctrl-C even as a background job."""
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{listen}; from crossl.cli.main import run; run()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *(str(word) for word in words)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, **options,
    )  # fmt: skip


def blocks(out: Path) -> list[Path]:
    return sorted(out.parent.glob(f".{out.name}.partial/*/*.f32"))


def wait_for(process: subprocess.Popen[str], met: Callable[[], bool]) -> None:
    patience = time.monotonic() + 200
    while not met():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience
        time.sleep(0.002)


def test_the_file_holds_what_the_model_says_of_every_window(
    whole: Path, many: Path, trained: Path
) -> None:
    run, store = load_run(trained), Store.open(many)
    probe, classes = load_probe(trained)
    with np.load(whole) as z:
        arrays = dict(z)
    rows = np.random.default_rng(0).permutation(len(store))[:200]
    wanted = run.model(collate(store, rows)).detach().numpy()
    assert arrays["embedding"].dtype == np.float32
    np.testing.assert_allclose(arrays["embedding"][rows], wanted, atol=1e-5)
    np.testing.assert_allclose(arrays["probability"][rows], probe.scores(wanted), atol=1e-5)
    assert arrays["classes"].tolist() == classes
    best = arrays["probability"].argmax(axis=1)
    np.testing.assert_array_equal(arrays["predicted"], arrays["classes"][best])
    for name in ("present", "subject", "session", "start_s"):
        np.testing.assert_array_equal(arrays[name], getattr(store, name))
    assert not arrays["present"].all()


def test_targets_of_the_store_stand_beside_embeddings_and_blocks_make_no_difference(
    stores: Callable[..., Path], trained: Path, tmp_path: Path
) -> None:
    of = (("run",), ("rest", "run"))
    posture = LabelsOfClasses(Target("posture", "labels", ("loud", "any")), ("rest", "run"), of)
    noise = Numbers(
        Target("noise", "numbers", ("x",), ("m/s^2",)), (NumberOfSignal(ACC, 0, "max"),)
    )
    loud = MergedClasses(Target("loud", "classes", ("loud",)), {"run": "loud"})
    store = Store.open(stores("told", subjects=3, targets=(posture, noise, loud)))
    embed_store(trained, store.path, tmp_path / "z.npz", block_rows=16)
    with np.load(tmp_path / "z.npz") as z:
        arrays = dict(z)
    for name in ("posture", "noise"):
        np.testing.assert_array_equal(arrays[f"target_{name}"], store.target_values(name))
    assert arrays["names_of_posture"].tolist() == ["loud", "any"]
    assert arrays["names_of_noise"].tolist() == ["x"]
    assert arrays["target_loud"].tolist() == ["loud" if one else "" for one in store.label]
    assert len(store) == 60


def test_the_file_has_the_bytes_that_numpy_would_write(whole: Path, tmp_path: Path) -> None:
    with np.load(whole) as z:
        np.savez(tmp_path / "again.npz", **z)
    assert (tmp_path / "again.npz").read_bytes() == whole.read_bytes()


def test_bytes_are_the_same_whatever_the_number_of_threads(
    whole: Path, many: Path, trained: Path, tmp_path: Path
) -> None:
    import torch

    before = torch.get_num_threads()
    assert embed_store(trained, many, tmp_path / "z.npz", workers=3) == len(Store.open(many))
    assert (tmp_path / "z.npz").read_bytes() == whole.read_bytes()
    assert torch.get_num_threads() == before
    assert [path.name for path in tmp_path.iterdir()] == ["z.npz"]


@pytest.mark.slow
def test_killed_embedding_goes_on_to_the_same_bytes(
    whole: Path, many: Path, trained: Path, tmp_path: Path, crossl: Crossl
) -> None:
    out = tmp_path / "z.npz"
    out.write_bytes(b"older")
    asked = ("embed", trained, "--store", many, "--out", out, "--workers", 1)
    moments = random.Random(0)  # noqa: S311 - moments, no secrets
    held = 0
    for _ in range(3):
        process, enough = start(*asked), held + moments.randint(1, 2)
        wait_for(process, lambda enough=enough: len(blocks(out)) >= enough)  # type: ignore[misc]
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert out.read_bytes() == b"older"
        held = len(blocks(out))
    kept = {path: path.stat().st_mtime_ns for path in blocks(out)}
    process = start(*asked)
    wait_for(process, lambda: len(blocks(out)) > held)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert without_progress(process.communicate()[1]) == ""
    assert process.returncode == 0
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["z.npz"]


def test_killed_while_the_file_is_put_together_it_is_put_together_again(
    whole: Path, many: Path, trained: Path, tmp_path: Path, crossl: Crossl
) -> None:
    out = tmp_path / "z.npz"
    asked = ("embed", trained, "--store", many, "--out", out)
    process = start(*asked)
    wait_for(process, (tmp_path / ".z.npz.partial" / "whole.npz").exists)
    process.kill()
    process.communicate()
    if out.exists():  # the kill came late: what stands there must be whole
        assert out.read_bytes() == whole.read_bytes()
    assert crossl(*asked).code == 0
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["z.npz"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_embedding_says_so_and_goes_on(
    number: signal.Signals, whole: Path, many: Path, trained: Path, tmp_path: Path, crossl: Crossl
) -> None:
    out = tmp_path / "z.npz"
    asked = ("embed", trained, "--store", many, "--out", out)
    process = start(*asked)
    wait_for(process, lambda: len(blocks(out)) >= 2)
    process.send_signal(number)
    out_told, err_told = process.communicate(timeout=60)
    told = out_told, without_progress(err_told)
    assert process.returncode == (143 if number == signal.SIGTERM else 130), told
    word = "stopped" if number == signal.SIGTERM else "interrupted"
    kept = f"work so far is kept in {tmp_path / '.z.npz.partial'}"
    assert told == ("", f"crossl: {word}; {kept}, give the same command again\n")
    assert not out.exists()
    assert blocks(out)
    assert crossl(*asked).code == 0
    assert out.read_bytes() == whole.read_bytes()


def stopped(run: Path, store: Path, out: Path, *, after: int) -> None:
    """Embed until some blocks are there."""

    def stop(_what: str, _share: float) -> None:
        if len(blocks(out)) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed_store(run, store, out, progress=stop)


def test_blocks_of_another_classifier_are_not_gone_on_with(
    whole: Path, many: Path, run: Path, stores: Callable[..., Path], tmp_path: Path, crossl: Crossl
) -> None:
    out = tmp_path / "z.npz"
    stopped(run, many, out, after=2)
    before = blocks(out)
    asked = ("probe", run, "--store", stores(), "--label-fraction", "0.9")
    assert crossl(*asked).code == 0
    stopped(run, many, out, after=1)
    assert not set(before) & set(blocks(out))
    embed_store(run, many, out)
    assert out.read_bytes() != whole.read_bytes()


def test_a_block_that_was_cut_short_is_computed_again(
    whole: Path, many: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "z.npz"
    stopped(trained, many, out, after=3)
    os.truncate(blocks(out)[1], 100)
    embed_store(trained, many, out)
    assert out.read_bytes() == whole.read_bytes()


def test_a_second_process_is_kept_out(
    many: Path, trained: Path, tmp_path: Path, crossl: Crossl
) -> None:
    with (tmp_path / ".z.npz.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is embedding into this file"):
            embed_store(trained, many, tmp_path / "z.npz")


def test_a_disk_with_too_little_room_is_told_of_before_anything_is_computed(
    many: Path, trained: Path, tmp_path: Path, crossl: Crossl, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    done = crossl("embed", trained, "--store", many, "--out", tmp_path / "z.npz")
    assert done.code == 2
    assert "z.npz: needs 0.0" in done.err
    assert "got 0.001 GB free; make room or name a file on another disk" in done.err
    assert not list(tmp_path.iterdir())


def test_a_run_without_a_classifier_embeds_only(
    many: Path, run: Path, tmp_path: Path, whole: Path
) -> None:
    (run / "probe.json").unlink()
    embed_store(run, many, tmp_path / "z.npz")
    with np.load(tmp_path / "z.npz") as z, np.load(whole) as with_classifier:
        assert list(z) == ["embedding", "present", "subject", "session", "start_s", "start_unix_s",
                           "zone", "start_time", "modalities", "label"]  # fmt: skip
        np.testing.assert_array_equal(z["embedding"], with_classifier["embedding"])
