"""Files are whole or absent, and written by one process at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from crossl import files
from crossl.errors import CrosslError, DataError, FormatError
from crossl.files import (
    FULL,
    adding_lines,
    locked,
    naming,
    not_a_file,
    read_json,
    read_signed_json,
    remove_partial,
    telling_what_is_kept,
    whole_folder,
    working_in,
    write_signed_json,
    write_whole,
    writing,
)


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file grow beyond a size; Python is told so by EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_without_room_is_named_and_the_old_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")
    with largest_file(1000), pytest.raises(OSError, match="File too large") as told:
        write_whole(path, bytes(5000))
    assert told.value.errno in FULL
    assert told.value.filename == str(path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_what_torch_makes_of_a_full_disk_is_told_as_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    with (
        largest_file(1000),
        pytest.raises(OSError, match="File too large") as told,
        writing(path) as file,
    ):
        torch.save({"weights": torch.zeros(100_000)}, file)
    assert told.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_an_error_that_is_not_of_writing_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), writing(tmp_path / "file"):
        raise ValueError("mine")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_appended_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as told, naming(tmp_path / "lines"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert told.value.filename == str(tmp_path / "lines")


def test_leftovers_of_killed_writers_go_and_nothing_else(tmp_path: Path) -> None:
    for name in (".a.host-1.partial", "a", ".hidden", "b.partial"):
        (tmp_path / name).touch()
    (tmp_path / ".folder.partial").mkdir()
    remove_partial(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"a", ".hidden", "b.partial", ".folder.partial"}


def test_who_works_in_a_folder_is_told(tmp_path: Path) -> None:
    refusal = (
        rf"runs: another process is training in this folder; wait for its end \(process "
        rf"{os.getpid()} on .*, since 20\d\d-.* UTC\)"
    )
    with working_in(tmp_path / "runs", "is training in this folder"):
        with pytest.raises(DataError, match=refusal), working_in(tmp_path / "runs", "reports"):
            pass
        # who was refused has taken nothing away
        with pytest.raises(DataError, match=refusal), working_in(tmp_path / "runs", "reports"):
            pass
    assert not (tmp_path / "runs").exists()  # nothing was left in it


def test_a_lock_that_a_killed_process_left_does_not_count(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom crossl.files import working_in\n"
        "with working_in(Path(sys.argv[1]), 'works'):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a")], check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "a" / ".lock").exists()
    with working_in(tmp_path / "a", "works"):
        pass
    assert not list((tmp_path / "a").iterdir())


def test_a_lock_without_a_word_is_still_a_lock(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(DataError, match=r"another process is at it; wait for its end$"):  # noqa: SIM117
            with working_in(tmp_path, "is at it"):
                pass


def test_a_file_system_without_locks_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with working_in(tmp_path / "a", "works"):
        (tmp_path / "a" / "made").touch()
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["made"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_folder_that_is_read_only_is_refused_in_one_sentence(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: object) -> int:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr(files.os, "open", refuse)
    why = os.strerror(number).lower()
    refusal = rf"{tmp_path}: cannot be written to, {why}; change its permissions or name another"
    with pytest.raises(DataError, match=refusal), working_in(tmp_path, "works"):
        pass


def test_a_lock_that_was_removed_while_it_was_waited_for_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, opened = tmp_path / "lock", os.open
    removed: list[bool] = []

    def removed_once(*arguments: object) -> int:
        descriptor = opened(*arguments)  # type: ignore[arg-type]
        if not removed:
            removed.append(True)
            lock.unlink()  # who held it has ended just now
        return descriptor

    monkeypatch.setattr(files.os, "open", removed_once)
    with locked(lock, tmp_path, "works"):
        assert json.loads(lock.read_text())["pid"] == os.getpid()


def kept(work: Callable[[], None], *, is_there: bool) -> list[str]:
    with (
        pytest.raises(OSError, match="full") as told,
        telling_what_is_kept(Path("runs/a"), lambda: is_there),
    ):
        work()
    return getattr(told.value, "__notes__", [])


def test_what_is_kept_is_noted_where_something_is() -> None:
    def fill() -> None:
        raise OSError(errno.ENOSPC, "full")

    assert kept(fill, is_there=True) == ["work so far is kept in runs/a"]
    assert kept(fill, is_there=False) == []


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), whole_folder(tmp_path / "out") as folder:
        (folder / "half" / "nowhere").touch()
    assert not list(tmp_path.iterdir())
    with whole_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["whole"]


def test_signed_values_come_back_and_others_do_not(tmp_path: Path) -> None:
    path, how = tmp_path / "a.json", {"what": "note", "fmt": "f", "version": 1, "cure": "again"}
    write_signed_json(path, {"format": "f", "version": 1, "x": [1, 2]})
    assert read_signed_json(path, **how)["x"] == [1, 2]  # type: ignore[arg-type]
    path.write_text(path.read_text().replace("2", "3"))
    with pytest.raises(FormatError, match="was altered, its hash does not match; again"):
        read_signed_json(path, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["{", "[" * 100_000, "\xff"])
def test_json_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(FormatError, match=r"a.json: is damaged, not JSON \(.*\); make it again"):
        read_json(tmp_path / "a.json", cure="make it again")


def test_whole_lines_are_added_and_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "said.csv"
    with adding_lines(path, b"a,b\n") as add:
        add(b"1,2\n")
        assert path.read_bytes() == b"a,b\n1,2\n"  # at once
        with (
            pytest.raises(DataError, match="another process is adding to this file"),
            adding_lines(path, b"a,b\n"),
        ):
            pass
    with path.open("ab") as file:
        file.write(b"3,")  # as a crash of the system leaves it
    with adding_lines(path, b"a,b\n") as add:
        add(b"5,6\n7,8\n")
    assert path.read_bytes() == b"a,b\n1,2\n5,6\n7,8\n"
    with (
        pytest.raises(DataError, match=r"said.csv: is there and has other columns; name a new"),
        adding_lines(path, b"a,c\n"),
    ):
        pass
    assert path.read_bytes() == b"a,b\n1,2\n5,6\n7,8\n"
    (tmp_path / "cut").write_bytes(b"a,")
    with adding_lines(tmp_path / "cut", b"a,b\n") as add:
        assert (tmp_path / "cut").read_bytes() == b"a,"
        add(b"1,2\n")
    assert (tmp_path / "cut").read_bytes() == b"a,b\n1,2\n"


def test_a_file_to_which_nothing_is_added_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new.csv"
    with pytest.raises(DataError, match="junk"), adding_lines(path, b"a,b\n"):
        raise DataError("junk")
    assert not list(tmp_path.iterdir())
    path.write_bytes(b"a,b\n1,")
    with adding_lines(path, b"a,b\n"):
        pass
    assert path.read_bytes() == b"a,b\n1,"


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path: Path) -> None:
    path, before = tmp_path / "said.csv", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill() -> None:
        with adding_lines(path, b"a\n") as add:
            add(b"1" * 50 + b"\n")
            add(b"2" * 60 + b"\n")

    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match="too large") as told:
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert told.value.filename == str(path)
    assert path.read_bytes() == b"a\n" + b"1" * 50 + b"\n"


def test_what_is_no_file_is_told_as_what_it_is(tmp_path: Path) -> None:
    from crossl.data.own.mapping.load import find_mapping
    from crossl.embedding.teacher_file import check_file
    from crossl.predict.labels_file import read_label_rows
    from crossl.runtime import Runtime

    os.mkfifo(tmp_path / "pipe")
    told = [not_a_file(path) for path in (tmp_path, tmp_path / "none", tmp_path / "pipe")]
    assert told == ["is a folder", "does not exist", "is a pipe, a socket or a device"]
    doors: list[Callable[[Path], object]] = [
        read_label_rows,
        check_file,
        Runtime,
        lambda path: find_mapping(Path("elsewhere"), str(path)),
    ]
    for door in doors:
        with pytest.raises(CrosslError, match=f"^{tmp_path}: is a folder; "):
            door(tmp_path)
