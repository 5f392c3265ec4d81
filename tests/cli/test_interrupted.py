"""Commands that meet another command, a full disk or a signal: one sentence, nothing spoiled."""

from __future__ import annotations

import errno
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crossl import files, whole
from crossl.cli.interrupt import Terminated, stopped_by_signals
from crossl.errors import DataError
from crossl.files import lock_beside, locked, working_in

Crossl = Callable[..., Any]
Stores = Callable[..., Path]


def csv_folder(folder: Path) -> Path:
    """Make recordings of one's own, as simple as they can be."""
    folder.mkdir()
    for subject in ("anna", "ben"):
        time = np.arange(400) / 20
        table = np.stack([time, *np.random.default_rng(0).normal(size=(3, 400))], axis=1)
        np.savetxt(folder / f"{subject}.csv", table, delimiter=",", comments="",
                   header="time_s,acc_x,acc_y,acc_z")  # fmt: skip
    return folder


def refused(done: Any, place: Path) -> None:
    told = f"crossl: {place}: another process is busy; wait for its end (process {os.getpid()} on "
    assert (done.code, done.err.count("\n")) == (2, 1), done
    assert done.err.startswith(told)


@pytest.mark.parametrize("verb", ["pretrain", "probe", "evaluate", "report", "sweep", "demo"])
def test_a_folder_in_which_another_command_works_is_left_alone(
    verb: str, run: Path, stores: Stores, crossl: Crossl, settings: Sequence[str]
) -> None:
    asked = {
        "pretrain": ("pretrain", stores(), "--out", run, *settings),
        "probe": ("probe", run, "--store", stores(), "--label-fraction", "0.5"),
        "evaluate": ("evaluate", run, "--store", stores()),
        "report": ("report", run),
        "sweep": ("sweep", stores(), "--out", run, "--grid", "schedule.lr=1e-3", *settings),
        "demo": ("demo", "--out", run, "--config", run / "config.yaml"),
    }[verb]
    if verb == "report":
        assert crossl("evaluate", run, "--store", stores()).code == 0
    if verb == "demo":
        pytest.importorskip("seglearn")
        assert (
            crossl("prepare", "seglearn_watch", "--out", run / "store", "--stride-s", 20).code == 0
        )
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    with working_in(run, "is busy"):
        refused(crossl(*asked), run)
    after = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("verb", ["prepare", "append", "embed", "init", "fetch"])
def test_what_another_command_is_making_is_left_to_it(
    verb: str, run: Path, stores: Stores, crossl: Crossl, tmp_path: Path
) -> None:
    recordings, out = csv_folder(tmp_path / "mine"), tmp_path / "z.npz"
    store = tmp_path / "store"
    preparing = ("prepare", "folder", "--root", recordings, "--out", store, "--window-s", 2)
    asked: tuple[object, ...] = {
        "prepare": preparing,
        "append": (*preparing, "--append"),
        "embed": ("embed", run, "--store", stores(), "--out", out),
        "init": ("data", "init", recordings, "--force"),
        "fetch": ("data", "fetch", "sp_sw_har", "--to", tmp_path / "get"),
    }[verb]
    assert crossl("data", "init", recordings).code == 0
    if verb == "append":
        assert crossl(*preparing).code == 0
    (tmp_path / "get").mkdir()
    lock, place = {
        "prepare": (lock_beside(store), store),
        "append": (lock_beside(store), store),
        "embed": (lock_beside(out), out),
        "init": (lock_beside(recordings / "recordings.yaml"), recordings),
        "fetch": (tmp_path / "get" / files.LOCK, tmp_path / "get"),
    }[verb]
    with locked(lock, place, "is busy"):
        refused(crossl(*asked), place)
    assert not out.exists()


def full_after(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> None:
    """Let the disk be full when a file of some name is written for the nth time."""
    written = whole._Raw.write
    seen: list[whole._Raw] = []

    def write(self: whole._Raw, data: Any) -> int:
        if f".{name}." in str(self.name):
            if self not in seen:
                seen.append(self)
            if len(seen) > times:
                self.failed = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                raise self.failed
        return written(self, data)

    monkeypatch.setattr(whole._Raw, "write", write)


@pytest.mark.slow
def test_a_disk_that_gets_full_while_training_is_one_sentence_and_training_is_resumed(
    stores: Stores, tmp_path: Path, crossl: Crossl, settings: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = ("pretrain", stores(), *settings, "--set", "schedule.steps=30")
    out = tmp_path / "cut"
    with monkeypatch.context() as full:
        full_after(full, "last.ckpt", 2)
        done = crossl(*asked, "--out", out)
    assert (done.code, done.err) == (2, (
        f"crossl: {out}/checkpoints/last.ckpt: the disk is full; work so far is kept in {out}, "
        "make room and give the same command again\n"
    ))  # fmt: skip
    assert not list(out.rglob("*.partial"))
    assert crossl(*asked, "--out", out).code == 0
    assert crossl(*asked, "--out", tmp_path / "whole").code == 0
    for name in ("weights.safetensors", "metrics.jsonl"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(("name", "verb"), [
    ("last.ckpt", "pretrain"), ("weights.safetensors", "pretrain"), ("probe.safetensors", "probe"),
    ("scores-crossl.npz", "evaluate"), ("figures.npz", "evaluate"), ("report.html", "report"),
])  # fmt: skip
def test_a_full_disk_names_the_file_in_every_command(
    name: str, verb: str, run: Path, stores: Stores, tmp_path: Path, crossl: Crossl,
    settings: Sequence[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    out = tmp_path / "new" if verb == "pretrain" else run
    asked = {
        "pretrain": ("pretrain", stores(), "--out", out, *settings),
        "probe": ("probe", run, "--store", stores(), "--label-fraction", "0.5"),
        "evaluate": ("evaluate", run, "--store", stores()),
        "report": ("report", run),
    }[verb]
    if verb == "report":
        assert crossl("evaluate", run, "--store", stores()).code == 0
    full_after(monkeypatch, name, 0)
    done = crossl(*asked)
    assert done.code == 2
    assert done.err.count("\n") == 1
    assert f"{name}: the disk is full; " in done.err
    assert "make room and give the same command again" in done.err
    assert not list(out.rglob("*.partial"))


def send_sigterm(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("verb", [
    "inspect", "pretrain", "probe", "evaluate", "embed", "sweep", "demo", "report", "prepare",
    "doctor", "init", "fetch",
])  # fmt: skip
def test_sigterm_ends_every_command_with_143_and_one_line(
    verb: str, run: Path, stores: Stores, tmp_path: Path, crossl: Crossl, settings: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    recordings = csv_folder(tmp_path / "mine")
    out = tmp_path / "out"
    opened, detected = "crossl.data.store.Store.open", "crossl.data.readers.detect_reader"
    asked, hook = {
        "inspect": (("inspect", stores()), opened),
        "pretrain": (("pretrain", stores(), "--out", out, *settings), opened),
        "probe": (("probe", run, "--store", stores()), opened),
        "evaluate": (("evaluate", run, "--store", stores()), opened),
        "embed": (("embed", run, "--store", stores(), "--out", tmp_path / "z.npz"), opened),
        "sweep": (("sweep", stores(), "--out", out, "--grid", "schedule.lr=1e-3", *settings),
                  "crossl.commands.sweep.read_manifest"),
        "demo": (("demo", "--out", out, "--data", recordings), detected),
        "report": (("report", run), "crossl.report.build_report"),
        "prepare": (("prepare", "folder", "--root", recordings, "--out", out),
                    "crossl.data.readers.open_dataset"),
        "doctor": (("data", "doctor", recordings), detected),
        "init": (("data", "init", recordings), "crossl.data.own.init.find.find_sources"),
        "fetch": (("data", "fetch", "sp_sw_har", "--to", out), "crossl.data.fetch.needs"),
    }[verb]  # fmt: skip
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(hook, send_sigterm)
    done = crossl(*asked)
    assert (done.code, done.err) == (
        143, "crossl: stopped; nothing is half-written, give the same command again\n"
    )  # fmt: skip
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("answer", [ValueError, OSError, DataError])
def test_a_signal_that_a_library_answers_by_an_error_is_a_signal(
    number: int, answer: type[Exception], stores: Stores, crossl: Crossl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fails(*_: object, **__: object) -> None:
        try:
            os.kill(os.getpid(), number)
        finally:
            raise answer(5, "can't be closed now")

    store = stores()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("crossl.data.store.Store.open", fails)
    done = crossl("inspect", store)
    signal.signal(signal.SIGINT, before)
    how = {signal.SIGTERM: "stopped", signal.SIGINT: "interrupted"}[signal.Signals(number)]
    told = f"crossl: {how}; nothing is half-written, give the same command again\n"
    assert (done.code, done.err) == (128 + number, told)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_an_import_waits_for_its_end(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C++ that imports Python, such as torch's, aborts the process where an exception comes."""
    name = f"sends_{int(number)}"
    text = f"import os\nos.kill(os.getpid(), {int(number)})\ndone = sum(range(1000))\n"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)

    def work() -> None:
        with stopped_by_signals():
            assert importlib.import_module(name).done
            time.sleep(5)

    before = signal.getsignal(number)
    with pytest.raises((Terminated, KeyboardInterrupt)):
        work()
    assert sys.modules[name].done
    assert signal.getsignal(number) is before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_command_line_is_imported_is_one_sentence(number: int) -> None:
    start = (
        "import os, sys\n"
        "class Sends:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'typer': os.kill(os.getpid(), {int(number)})\n"
        "sys.meta_path.insert(0, Sends())\n"
        "sys.argv = ['crossl', 'data', 'list']\n"
        "from crossl.cli.start import run\n"
        "run()\n"
    )
    command = [sys.executable, "-c", start]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    how = {signal.SIGTERM: "stopped", signal.SIGINT: "interrupted"}[signal.Signals(number)]
    told = f"crossl: {how}; nothing is half-written, give the same command again\n"
    assert (done.returncode, done.stderr) == (128 + number, told)
