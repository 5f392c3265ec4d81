"""The smartwatch recordings: hash first, and an unpickler that knows numpy only."""

from __future__ import annotations

import io
import pickle
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from crossl.data.counting import count_windows
from crossl.data.readers import read_recordings, seglearn_watch
from crossl.data.readers.seglearn_watch import (
    FILE,
    find_published,
    load_published,
    recognises,
)
from crossl.data.readers.unpickle import NumpyUnpickler
from crossl.data.write import write_store
from crossl.errors import DataError


@pytest.fixture(scope="module")
def published():
    try:
        return find_published()
    except DataError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def recordings(published):
    return list(read_recordings("seglearn_watch", None))


def test_every_series_is_one_recording(recordings):
    assert len(recordings) == 140
    assert len({r.subject for r in recordings}) == 10
    assert {len(r.labels) for r in recordings} == {1}
    assert len({(r.subject, r.session) for r in recordings}) == 140
    assert [r.subject for r in recordings] == sorted(r.subject for r in recordings)
    assert {r.labels[0].label for r in recordings} == set(seglearn_watch.CARD.classes)


def test_acceleration_is_in_metres_per_second_squared(recordings):
    sizes = [np.median(np.linalg.norm(r.signals["watch_acc"].values, axis=1)) for r in recordings]
    assert 8 < np.median(sizes) < 12


def test_the_recordings_make_a_store(recordings, tmp_path):
    card = seglearn_watch.CARD
    store = write_store(recordings, tmp_path / "store", modalities=card.modalities,
                        classes=card.classes, spec=card.spec,
                        about={"dataset": "watch", "reader": "seglearn_watch"})  # fmt: skip
    counts = count_windows(store)
    assert counts["windows"] == counts["labelled"] > 1000
    assert store.present.all()


def test_a_folder_that_holds_the_file_is_read_as_the_package_is(published, recordings):
    assert recognises(published.parent)
    assert not recognises(published.parent.parent)
    first = next(read_recordings("seglearn_watch", published.parent))
    np.testing.assert_array_equal(
        first.signals["watch_acc"].values, recordings[0].signals["watch_acc"].values
    )


def test_another_file_is_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return pytest.fail, ("the file was unpickled",)

    np.save(tmp_path / FILE, np.array({"X": Trap()}, dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"has SHA-256 .*, not eb122f23.*; refused unread"):
        next(read_recordings("seglearn_watch", tmp_path))


def test_one_flipped_bit_is_refused(published, tmp_path):
    data = bytearray(published.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(DataError, match=r"has SHA-256 .*; refused unread, install it anew"):
        load_published(tmp_path / FILE)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"does not exist; it is part of seglearn==1\.2\.5"):
        next(read_recordings("seglearn_watch", tmp_path))


def test_a_missing_package_is_refused_with_how_to_get_it(monkeypatch):
    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(seglearn_watch, "distribution", missing)
    with pytest.raises(DataError, match=r"package 'seglearn' is not installed; .*crossl\[demo\]"):
        next(read_recordings("seglearn_watch", None))


def test_another_version_of_the_package_is_refused(monkeypatch):
    other = SimpleNamespace(version="9.9.9", locate_file=Path)
    monkeypatch.setattr(seglearn_watch, "distribution", lambda name: other)
    with pytest.raises(DataError, match=r"'seglearn' is version 9\.9\.9, not 1\.2\.5"):
        find_published()


def test_the_unpickler_reads_arrays_and_plain_containers():
    value = {"X": [np.arange(6.0).reshape(2, 3)], "y": np.array([1, 2]), "text": ("a", None)}
    pickled = pickle.dumps(value, protocol=2)
    pickled = pickled.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    got = NumpyUnpickler(io.BytesIO(pickled)).load()
    np.testing.assert_array_equal(got["X"][0], value["X"][0])
    np.testing.assert_array_equal(got["y"], value["y"])
    assert got["text"] == ("a", None)


@pytest.mark.parametrize("thing", [print, Path("x"), eval, SimpleNamespace, np.load, io.BytesIO])
def test_the_unpickler_refuses_anything_but_numpy_arrays(thing):
    for protocol in (0, 2, 4):
        stream = io.BytesIO(pickle.dumps(thing, protocol=protocol))
        with pytest.raises(DataError, match=r"pickle: names .*; only numpy arrays are read"):
            NumpyUnpickler(stream).load()


def test_the_unpickler_runs_nothing_that_a_pickle_asks_for(tmp_path):
    order = f"cos\nsystem\n(S'touch {tmp_path}/ran'\ntR.".encode()
    with pytest.raises(DataError, match=r"pickle: names os\.system; only numpy"):
        NumpyUnpickler(io.BytesIO(order)).load()
    assert not list(tmp_path.iterdir())


def test_the_unpickler_decodes_latin1_only():
    assert NumpyUnpickler(io.BytesIO(pickle.dumps(b"\xff", protocol=2))).load() == b"\xff"
    order = b"c_codecs\nencode\n(Vabc\nVrot13\ntR."
    with pytest.raises(DataError, match="encodes text in an unknown way"):
        NumpyUnpickler(io.BytesIO(order)).load()
