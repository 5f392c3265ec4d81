"""Whatever is raised while a file is read becomes one sentence that names it, and only that."""

from __future__ import annotations

import gzip
import lzma
import os
import zipfile
import zlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from crossl.data import formats
from crossl.data.boundary import check_regular, reading
from crossl.data.formats import FORMATS, FileContent, Stream, open_file
from crossl.data.formats.sniff import open_sniffed
from crossl.data.readers import Dataset, detect_reader, get_reader, open_dataset
from crossl.data.readers.dataset import Part
from crossl.errors import DataError


class PanicException(BaseException):
    """Rust's panics are no `Exception`."""


class LibsndfileError(RuntimeError):
    """As a library of its own may have."""


RAISED = [
    (zlib.error("Error -3 while decompressing data"), "is damaged or cut off (Error -3"),
    (lzma.LZMAError("Corrupt input data"), "is damaged or cut off (Corrupt input"),
    (EOFError("Compressed file ended before"), "is damaged or cut off (Compressed file"),
    (zipfile.BadZipFile("Bad CRC-32 for file 'a'"), "is damaged or cut off (Bad CRC-32"),
    (zipfile.BadZipFile("Bad magic number"), "cannot be read as XDF: Bad magic number"),
    (gzip.BadGzipFile("CRC check failed 0x1"), "is damaged or cut off (CRC check"),
    (UnboundLocalError("local variable 'x'"), "XDF: UnboundLocalError: local variable 'x'"),
    (StopIteration(), "cannot be read as XDF: StopIteration"),
    (RecursionError("maximum recursion"), "cannot be read as XDF: it is nested too deeply"),
    (MemoryError(), "cannot be read as XDF: what it declares does not fit into memory"),
    (OSError(22, "Invalid argument"), "a.xdf: cannot be read as XDF: [Errno 22] Invalid"),
    (PermissionError(13, "no", "b.dat"), "b.dat: cannot be read: Permission denied"),
    (PanicException("index out of bounds"), "cannot be read as XDF: index out of bounds"),
    (LibsndfileError("File does not\nexist\x1b[0m"), "XDF: File does not exist [0m"),
    (KeyError("x" * 500), "cannot be read as XDF: KeyError: 'xxx"),
    (AssertionError(), "cannot be read as XDF: AssertionError"),
]


@pytest.mark.parametrize(("error", "sentence"), RAISED, ids=lambda given: type(given).__name__)
def test_anything_becomes_one_sentence(error, sentence):
    with pytest.raises(DataError) as told, reading(Path("a.xdf"), "XDF"):
        raise error
    assert sentence in str(told.value)
    assert len(str(told.value)) < 260
    assert str(told.value).isprintable()


@pytest.mark.parametrize("error", [DataError("of ours"), KeyboardInterrupt(), SystemExit(3)])
def test_refusals_of_ours_and_interrupts_go_through(error):
    with pytest.raises(type(error)) as told, reading(Path("a.xdf"), "XDF"):
        raise error
    assert told.value is error


def fail(error, *_):
    raise error


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_opened_and_loaded_within_the_boundary(tmp_path, monkeypatch, name):
    path = tmp_path / f"a{FORMATS[name][0]}"
    path.write_bytes(b"1\n")
    module = formats.import_module(f"crossl.data.formats.{name}")
    monkeypatch.setattr(module, "open_file", partial(fail, PanicException("ouch")))
    with pytest.raises(DataError, match=rf"{path.name}: cannot be read as .*: ouch"):
        open_file(path)
    load = partial(fail, StopIteration())
    stream = Stream("", ("x",), (), 1, load, load_text=load)
    monkeypatch.setattr(module, "open_file", lambda path: FileContent(path, (stream,)))
    opened = open_file(path).stream(None)
    for read in (partial(opened.load, ["x"]), partial(opened.load_text, "x")):
        with pytest.raises(DataError, match=rf"{path.name}: cannot be read as .*: StopIter"):
            read()


def test_readers_find_and_read_their_files_within_the_boundary(tmp_path, monkeypatch):
    reader = get_reader("mhealth")
    (tmp_path / "one.log").write_bytes(b"1\n")
    part = Part("one", partial(fail, IndexError("list index")), (tmp_path / "one.log",))

    class Found:
        def __enter__(self):
            return Dataset(reader.CARD, (part, Part("two", part.read)))

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(reader, "open_dataset", lambda root: Found())
    with open_dataset("mhealth", tmp_path) as dataset:
        for one, named in zip(dataset.parts, ("one.log", "two"), strict=True):
            with pytest.raises(DataError, match=f"{named}: cannot be read: IndexError: list"):
                list(one.read())
    monkeypatch.setattr(reader, "open_dataset", partial(fail, StopIteration()))
    with (
        pytest.raises(DataError, match="cannot be read: StopIter"),
        open_dataset("mhealth", tmp_path),
    ):
        pass
    monkeypatch.setattr(reader, "recognises", partial(fail, OSError(22, "Invalid argument")))
    with pytest.raises(DataError, match=r"cannot be read: .*Invalid argument"):
        detect_reader(tmp_path)


# --- only regular files are opened


@pytest.mark.parametrize("ending", [endings[0] for endings in FORMATS.values()])
def test_pipes_and_devices_are_not_opened(tmp_path, ending):
    pipe, device = tmp_path / f"pipe{ending}", tmp_path / f"zero{ending}"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        for opens in (open_file, open_sniffed):
            with pytest.raises(DataError, match="a pipe, a socket or a device; only regular files"):
                opens(path)
    folder = tmp_path / f"folder{ending}"
    folder.mkdir()
    with pytest.raises(DataError, match=r"is a folder; only|of no known format"):
        open_file(folder, "csv")


def test_a_link_to_a_regular_file_is_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(9.0))
    (tmp_path / "b.npy").symlink_to(tmp_path / "a.npy")
    check_regular(tmp_path / "b.npy")
    assert open_file(tmp_path / "b.npy").streams[0].length == 9
    (tmp_path / "c.npy").symlink_to(tmp_path / "c.npy")
    with pytest.raises(DataError, match=r"c.npy: cannot be read: Too many levels"):
        check_regular(tmp_path / "c.npy")


def test_a_part_of_a_data_set_reads_no_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.dat")
    part = Part("one", partial(fail, AssertionError("was read")), (tmp_path / "pipe.dat",))
    with pytest.raises(DataError, match="only regular files are opened"):
        list(Dataset(get_reader("pamap2").CARD, (part,)).guarded().read())


def test_a_mapping_that_lists_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.hea")
    (tmp_path / "recordings.yaml").write_text(
        "modalities: {acc: {channels: [x], unit: g, rate_hz: 10}}\n"
        "files: [{name: watch, signals: {acc: [x]}}]\n"
        "recordings: [{subject: anna, files: {watch: pipe.hea}}]\n"
    )
    with (
        pytest.raises(DataError, match=r"pipe.hea: is a pipe.*only regular files are opened"),
        open_dataset("folder", tmp_path) as dataset,
    ):
        list(dataset.read())
