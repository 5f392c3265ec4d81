"""Bombs of every format are refused before they are unpacked; flat recordings are not."""

from __future__ import annotations

import gzip
import io
import resource
import zipfile
import zlib

import h5py
import numpy as np
import polars
import pytest
from scipy.io import savemat

from crossl.data.formats import open_file
from crossl.errors import DataError

ZEROS = bytes(1 << 20)


@pytest.fixture(autouse=True)
def _bounded_memory():
    """Refuse memory that a bomb would take."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 700 << 10  # KiB


def packed(chunk, times):
    """Deflate a chunk many times over, in a moment and in little memory."""
    packer = zlib.compressobj(1, wbits=31)
    out = [packer.compress(chunk) for _ in range(times)]
    return b"".join([*out, packer.flush()])


def bomb_zip(path, name, times):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open(name, "w") as member,
    ):
        for _ in range(times):
            member.write(b"0\n" * (1 << 19))


def csv_gz(path):
    path.write_bytes(packed(b"0\n" * (1 << 19), 100))


def csv_zip(path):
    bomb_zip(path, "a.csv", 100)


def e4(path):
    bomb_zip(path, "ACC.csv", 100)


def npz(path):
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        head, {"descr": "<f8", "fortran_order": False, "shape": (400 << 17,)}
    )
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("acc.npy", "w") as member,
    ):
        member.write(head.getvalue())
        for _ in range(400):
            member.write(ZEROS)


def xdfz(path):
    path.write_bytes(packed(b"XDF:" + ZEROS, 300))


def mat_declared(path):
    """Write a matrix of 3 GB of which nothing is there: HDF5 fills it in."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("acc", shape=(3, 125_000_000), dtype="f8", chunks=(3, 1000))


def mat_packed(path):
    savemat(path, {"acc": np.zeros((3, 9))}, do_compression=True)
    head, count = path.read_bytes()[:128], 400
    matrix = np.uint32([
        14, 48 + (count << 20), 6, 8, 6, 0, 5, 8, count << 17, 1, 1 | 3 << 16, 0x616363,
        9, count << 20,
    ]).tobytes()  # fmt: skip
    packer = zlib.compressobj(1)
    body = [packer.compress(matrix), *(packer.compress(ZEROS) for _ in range(count))]
    body = b"".join([*body, packer.flush()])
    path.write_bytes(head + np.uint32([15, len(body)]).tobytes() + body)


def parquet(path):
    polars.DataFrame({"x": polars.repeat(0.0, 50_000_000, eager=True)}).write_parquet(path)


@pytest.mark.parametrize(("name", "write"), [
    ("a.parquet", parquet),
    ("a.csv.gz", csv_gz), ("a.csv.zip", csv_zip), ("session.zip", e4), ("a.npz", npz),
    ("a.xdfz", xdfz), ("declared.mat", mat_declared), ("packed.mat", mat_packed),
])  # fmt: skip
def test_a_bomb_is_refused_by_the_bound(tmp_path, name, write):
    write(tmp_path / name)
    with pytest.raises(DataError, match=f"{name}: unpacks to more than .* MB, which no record"):
        open_file(tmp_path / name)


def test_declared_sizes_beyond_the_file_are_refused(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40,)}
        )
    with pytest.raises(DataError, match=r"a.npy: is damaged or cut off"):
        open_file(tmp_path / "a.npy")


def test_flat_and_seldom_changing_recordings_are_read(tmp_path):
    count = 400_000
    text = "t,x\n" + "".join(f"{n / 100},0\n" for n in range(count))
    (tmp_path / "flat.csv.gz").write_bytes(gzip.compress(text.encode(), 1))
    assert open_file(tmp_path / "flat.csv.gz").streams[0].length == count
    labels = np.repeat(np.arange(5), 1_000_000)
    np.savez_compressed(tmp_path / "labels.npz", label=labels)
    assert open_file(tmp_path / "labels.npz").streams[0].length == len(labels)
    savemat(tmp_path / "labels.mat", {"label": labels}, do_compression=True)
    assert open_file(tmp_path / "labels.mat").streams[0].length == len(labels)


@pytest.mark.parametrize("kind", ["external", "virtual", "link"])
def test_matlab_files_read_no_other_file(tmp_path, kind):
    secret, path = tmp_path / "secret.bin", tmp_path / "a.mat"
    np.arange(30.0).tofile(secret)
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["acc"] = np.arange(30.0)
    with h5py.File(path, "w", userblock_size=512) as file:
        file["own"] = np.arange(30.0)
        if kind == "external":
            file.create_dataset("acc", (30,), "f8", external=[(str(secret), 0, 240)])
        elif kind == "virtual":
            layout = h5py.VirtualLayout((30,), "f8")
            layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "acc", (30,))
            file.create_virtual_dataset("acc", layout)
        else:
            file["acc"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "acc")
    with pytest.raises(DataError, match=r"a.mat: 'acc' lies in another file; only what is in"):
        open_file(path)


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_texts_that_are_no_labels_are_refused(tmp_path, name):
    frame = polars.DataFrame({"t": range(40_000), "note": ["x" * 3000] + ["y"] * 39_999})
    (frame.write_csv if name == "a.csv" else frame.write_parquet)(tmp_path / name)
    stream = open_file(tmp_path / name).stream(None)
    message = f"{name}: column 'note' holds a text of 3000 letters; labels have at most 200"
    with pytest.raises(DataError, match=message):
        stream.load_text("note")
