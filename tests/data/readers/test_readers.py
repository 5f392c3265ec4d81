"""What every reader offers, how one is found, and archives that are damaged or hostile."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from crossl.data import readers
from crossl.data.readers import DATASETS, OWN, detect_reader, get_reader, read_recordings
from crossl.data.readers.archive import open_root
from crossl.data.windows import WindowSpec
from crossl.errors import ConfigError, DataError

ASKED = {"marker": "DATA/info.csv", "stem": "my_set"}


def test_every_reader_module_is_listed():
    others = {"__init__", "archive", "card", "dataset", "people", "table", "unpickle"}
    found = {p.stem for p in Path(readers.__file__).parent.glob("*.py")} - others
    assert found == set(DATASETS)


@pytest.mark.parametrize("name", OWN)
def test_every_card_of_a_format_says_what_it_is(name):
    card = get_reader(name).CARD
    assert card.name == name
    assert all((card.title, card.description, card.licence, card.citation, card.url))
    assert card.modalities == card.classes == card.files == ()
    assert isinstance(card.spec, WindowSpec)


@pytest.mark.parametrize("name", DATASETS)
def test_every_card_is_complete(name):
    card = get_reader(name).CARD
    assert card.name == name
    assert all((card.title, card.description, card.licence, card.citation, card.url))
    assert len(set(card.classes)) == len(card.classes) >= 2
    assert len({m.name for m in card.modalities}) == len(card.modalities) >= 2
    assert all(m.unit and m.device for m in card.modalities)
    assert isinstance(card.spec, WindowSpec)
    assert all(card.spec.samples(m) > 1 for m in card.modalities)


@pytest.mark.parametrize(("name", "folder"), [
    ("sp_sw_har", "sp_sw_har"), ("uci_har", "UCI HAR Dataset"),
])  # fmt: skip
def test_a_reader_declares_what_its_card_does(name, folder, real_data):
    recording = next(read_recordings(name, real_data("fixtures") / folder))
    card = get_reader(name).CARD
    assert dict(recording.modalities) == {m.name: m for m in card.modalities}
    assert {one.label for one in recording.labels} <= set(card.classes)
    for signal in recording.signals.values():
        assert np.isfinite(signal.values).mean() > 0.9


def test_an_unknown_reader_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="reader 'uci_hra': unknown; did you mean 'uci_har'"):
        get_reader("uci_hra")


def test_a_folder_tells_its_reader(real_data, tmp_path):
    folder = real_data("fixtures")
    assert detect_reader(folder / "sp_sw_har") == "sp_sw_har"
    assert detect_reader(folder / "UCI HAR Dataset") == "uci_har"
    assert detect_reader(real_data("uci_har")) == "uci_har"
    archive = tmp_path / "UCI_HAR_something.zip"
    archive.touch()
    assert detect_reader(archive) == "uci_har"


def test_a_folder_that_no_reader_knows_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no data set that crossl knows; known are seglearn"):
        detect_reader(tmp_path)
    with pytest.raises(DataError, match="nowhere: does not exist; name a folder or an archive"):
        detect_reader(tmp_path / "nowhere")


# --- archives


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "source" / "my_set" / "DATA"
    folder.mkdir(parents=True)
    (folder / "info.csv").write_text("hello")
    (folder / "noise.bin").write_bytes(np.random.default_rng(0).bytes(50_000))
    return folder.parent.parent


@pytest.mark.parametrize("kind", ["xztar", "gztar", "zip"])
def test_an_archive_is_unpacked_for_a_while(folder, tmp_path, kind):
    archive = Path(shutil.make_archive(str(tmp_path / "my_set_official"), kind, folder))
    for root in (archive, tmp_path):
        with open_root(root, **ASKED) as opened:
            assert (opened / "DATA/info.csv").read_text() == "hello"
        assert not opened.exists()


def test_a_folder_is_used_where_it_lies(folder):
    for root in (folder, folder / "my_set"):
        with open_root(root, **ASKED) as opened:
            assert opened == folder / "my_set"


@pytest.mark.parametrize("kind", ["xztar", "gztar", "zip"])
@pytest.mark.parametrize("damage", ["truncated", "overwritten", "empty", "text"])
def test_a_damaged_archive_is_refused_in_one_sentence(folder, tmp_path, kind, damage):
    archive = Path(shutil.make_archive(str(tmp_path / "my_set_official"), kind, folder))
    data = archive.read_bytes()
    middle = len(data) // 2
    archive.write_bytes({
        "truncated": data[:middle],
        "overwritten": data[:middle] + bytes(64) + data[middle + 64 :],
        "empty": b"",
        "text": b"<html>404 not found</html>" * 100,
    }[damage])  # fmt: skip
    with (
        pytest.raises(DataError, match=r"cannot be unpacked \(.*\); fetch it again") as caught,
        open_root(archive, **ASKED),
    ):
        pytest.fail("a damaged archive was opened")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/crossl-escaped"])  # noqa: S108 - never made
@pytest.mark.parametrize("kind", ["tar", "link", "zip"])
def test_a_hostile_archive_writes_nothing_outside(tmp_path, name, kind):
    root = tmp_path / "in"
    root.mkdir()
    if kind == "zip":
        with zipfile.ZipFile(root / "my_set.zip", "w") as opened:
            opened.writestr(name, "bad")
    else:
        with tarfile.open(root / "my_set.tar.gz", "w:gz") as opened:
            member = tarfile.TarInfo(name if kind == "tar" else "link")
            member.size = 3 if kind == "tar" else 0
            if kind == "link":
                member.type, member.linkname = tarfile.SYMTYPE, name
            opened.addfile(member, io.BytesIO(b"bad"))
    with (
        pytest.raises(DataError, match=r"cannot be unpacked|holds no 'DATA/info.csv'"),
        open_root(root, **ASKED),
    ):
        pytest.fail("a hostile archive was opened")
    assert not list(tmp_path.rglob("*escaped*"))
    assert not Path("/tmp/crossl-escaped").exists()  # noqa: S108 - never made


def test_an_archive_of_something_else_is_refused(tmp_path):
    (tmp_path / "other").mkdir()
    archive = Path(shutil.make_archive(str(tmp_path / "my_set"), "zip", tmp_path / "other"))
    with (
        pytest.raises(DataError, match=r"holds no 'DATA/info.csv'; is it the official archive"),
        open_root(archive, **ASKED),
    ):
        pytest.fail("another archive was opened")


@pytest.mark.parametrize(("below", "message"), [
    (None, "root: this data set has no default place; name the folder with DATA/info.csv"),
    ("nowhere", "nowhere: does not exist; name the folder that holds 'DATA/info.csv'"),
    ("", r"holds neither 'DATA/info.csv' nor an archive 'my_set\*'"),
])  # fmt: skip
def test_a_root_without_the_data_set_is_refused(tmp_path, below, message):
    root = None if below is None else tmp_path / below
    with pytest.raises(DataError, match=message), open_root(root, **ASKED):
        pytest.fail("nothing was opened")


def test_a_mapping_counts_before_what_a_folder_looks_like(real_data, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(real_data("fixtures") / "sp_sw_har", folder)
    assert detect_reader(folder) == "sp_sw_har"
    (folder / "recordings.yaml").write_text("version: 1\n")
    assert detect_reader(folder) == "folder"
