"""Unpacking beside the archive, nested archives, and archives that mean harm."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections import namedtuple
from pathlib import Path

import pytest

from crossl.data.readers import archive as archives
from crossl.data.readers.archive import find_folder, remove_stale, unpack, unpack_beside
from crossl.errors import DataError


def make_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, data in members.items():
            opened.writestr(name, data)
    return path


def special(path: Path, name: str, mode: int, data: bytes = b"target") -> Path:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, mode << 16
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr(info, data)
    return path


def make_tar(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for member in members:
            opened.addfile(member, io.BytesIO(bytes(member.size)))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


def assert_refused(archive: Path, message: str) -> None:
    outside = set(archive.parent.parent.rglob("*"))
    with pytest.raises(DataError, match=message) as caught:
        unpack_beside(archive)
    assert "\n" not in str(caught.value)
    assert set(archive.parent.parent.rglob("*")) == outside


def test_an_archive_is_unpacked_into_a_folder_of_its_name(tmp_path):
    path = make_zip(tmp_path / "set.zip", {"a/b.txt": b"1", "c.txt": b"2"})
    assert unpack_beside(path) == tmp_path / "set"
    assert (tmp_path / "set/a/b.txt").read_bytes() == b"1"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["set", "set.zip"]


def test_a_single_folder_of_the_same_name_is_not_doubled(tmp_path):
    make_zip(tmp_path / "A_data.zip", {"A_data/x.csv": b"1", "__MACOSX/A_data/._x.csv": b"2"})
    unpack_beside(tmp_path / "A_data.zip")
    assert [p.name for p in (tmp_path / "A_data").iterdir()] == ["x.csv"]


def test_what_is_unpacked_stays_unless_asked_again(tmp_path):
    path = make_zip(tmp_path / "set.zip", {"a.txt": b"new"})
    (tmp_path / "set").mkdir()
    (tmp_path / "set/mine.txt").touch()
    unpack_beside(path)
    assert (tmp_path / "set/mine.txt").exists()
    unpack_beside(path, again=True)
    assert [p.name for p in (tmp_path / "set").iterdir()] == ["a.txt"]


def test_only_what_a_killed_unpacking_left_is_stale(tmp_path):
    for name in (".unpacking-x/inside", "unpacking-y", "elsewhere/.unpacking-z"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".unpacking-link").symlink_to(tmp_path / "elsewhere")
    remove_stale(tmp_path)
    left = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")}
    assert left == {"unpacking-y", "elsewhere", "elsewhere/.unpacking-z", ".unpacking-link"}
    remove_stale(tmp_path / "absent")


def test_an_archive_inside_an_archive_is_unpacked_one_level(tmp_path):
    inmost = make_zip(tmp_path / "inmost.zip", {"deep.txt": b"deep"}).read_bytes()
    inner = make_zip(
        tmp_path / "inner.zip",
        {"UCI HAR Dataset/train/x.txt": b"1", "UCI HAR Dataset/e4.zip": inmost},
    )
    folder = tmp_path / "in"
    folder.mkdir()
    make_zip(folder / "outer.zip", {"UCI HAR Dataset.zip": inner.read_bytes(), "names": b""})
    unpack_beside(folder / "outer.zip")
    assert find_folder(folder, "train/*.txt") is None
    (folder / archives.RECORD).touch()
    assert find_folder(folder, "train/*.txt") == folder / "outer" / "UCI HAR Dataset"
    assert (folder / "outer/UCI HAR Dataset/e4.zip").read_bytes() == inmost
    assert not (folder / "outer/UCI HAR Dataset.zip").exists()


def test_litter_of_a_mac_and_hidden_folders_are_not_taken_for_the_data(tmp_path):
    for name in ("__MACOSX", ".unpacking-x", "z"):
        (tmp_path / name / "DATA").mkdir(parents=True)
    assert find_folder(tmp_path, "DATA") == tmp_path / "z"


@pytest.fixture
def inside(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", [
    "../escaped", "a/../../escaped", "/escaped", "..\\escaped", "C:\\escaped", "C:escaped",
])  # fmt: skip
def test_a_member_that_leads_outside_refuses_the_archive(inside, name):
    assert_refused(make_zip(inside / "set.zip", {"fine": b"", name: b"bad"}), "leads outside")
    tar = make_tar(inside / "other.tar.gz", member("fine"), member(name))
    assert_refused(tar, "leads outside")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_a_link_or_device_in_a_zip_is_refused(inside, mode):
    assert_refused(special(inside / "set.zip", "x", mode | 0o777), "'x' is a link or a device")


@pytest.mark.parametrize(("kind", "link"), [
    (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "../../secret"),
    (tarfile.LNKTYPE, "../secret"), (tarfile.CHRTYPE, ""), (tarfile.FIFOTYPE, ""),
])  # fmt: skip
def test_a_link_out_or_device_in_a_tar_is_refused(inside, kind, link):
    tar = make_tar(inside / "set.tar.gz", member("x", kind, link))
    assert_refused(tar, "'x' leads or points outside, or is a device")


def test_an_encrypted_zip_is_refused(inside):
    data = bytearray(make_zip(inside / "set.zip", {"x": b"secret"}).read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (inside / "set.zip").write_bytes(data)
    assert_refused(inside / "set.zip", "is encrypted")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_bomb_is_refused(inside, kind):
    size = 40 << 20
    if kind == "zip":
        path = make_zip(inside / "set.zip", {"zeros": bytes(size)})
    else:
        path = make_tar(inside / "set.tar.gz", member("zeros", size=size))
    assert path.stat().st_size < size / 500
    assert_refused(path, "unpacks to more than 17 MB, which no recordings do")


def test_a_bomb_inside_an_archive_is_refused(inside):
    bomb = make_zip(inside / "bomb.zip", {"zeros": bytes(40 << 20)}).read_bytes()
    (inside / "bomb.zip").unlink()
    assert_refused(make_zip(inside / "set.zip", {"bomb.zip": bomb}), "which no recordings do")


def test_too_many_members_are_refused(inside, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 10)
    path = make_zip(inside / "set.zip", {str(n): b"" for n in range(11)})
    assert_refused(path, "holds more than 10 members")


def test_a_disk_without_room_is_found_before_anything_is_written(inside, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage(0, 0, 1_000_000))
    path = make_zip(inside / "set.zip", {"noise": os.urandom(2_000_000)})
    assert_refused(path, r"needs more than 2.0 MB unpacked, but the disk has 1.0 MB free")


def test_a_damaged_archive_leaves_nothing_unpacked(inside):
    path = make_zip(inside / "set.zip", {"a": b"a" * 100, "b": os.urandom(50_000)})
    data = path.read_bytes()
    path.write_bytes(data[:20_000] + bytes(64) + data[20_064:])
    assert_refused(path, r"cannot be unpacked \(Bad CRC-32 for file 'b'\); fetch it again")


def test_files_of_a_zip_keep_their_times(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr(zipfile.ZipInfo("x/old.csv", (2013, 10, 22, 12, 0, 0)), "1")
        opened.writestr(zipfile.ZipInfo("x/odd.csv", (1980, 0, 0, 0, 0, 0)), "1")
    out = tmp_path / "out"
    out.mkdir()
    unpack(archive, out)
    assert (out / "x/old.csv").stat().st_mtime == 1382443200.0
    assert (out / "x/odd.csv").read_text() == "1"
