"""Files that are sent: read by the run's mapping, and by a process that cannot do harm."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

import crossl
from crossl.service.limits import Limits
from crossl.service.read_uploads import bound, recordings_of
from crossl.service.uploads import checked_name
from tests.service.conftest import MAPPING, Post, recording, served


def table(one: crossl.Recording, name: str) -> bytes:
    """Write a signal as CSV, with its times."""
    signal = one.signals[name]
    times = np.arange(len(signal.values)) / signal.rate_hz
    file = io.StringIO()
    heads = ",".join(("t", *one.modalities[name].channels))
    np.savetxt(file, np.c_[times, signal.values], "%.6f", delimiter=",", header=heads, comments="")
    return file.getvalue().encode()


def test_files_are_read_as_the_runs_own_were(post: Post, run: crossl.Run) -> None:
    ann, bob = recording(4), recording(3, sensors="ecg")
    files = {
        "ann_acc.csv": table(ann, "acc"), "ann_ecg.csv": table(ann, "ecg"),
        "ward/bob_ecg.csv": table(bob, "ecg"),
    }  # fmt: skip
    answer = post(files=[("files", one) for one in files.items()])
    assert answer.status_code == 200, answer.text
    found = {one["subject"]: one["rows"] for one in answer.json()["recordings"]}
    assert set(found) <= {"ann", "bob", "bob_ecg", "ward_bob_ecg"}
    assert len(found) == 2
    line = run.timeline(ann)
    assert [row["label"] for row in found["ann"]] == line["label"].tolist()
    said = [row["probability"]["run"] for row in found["ann"]]
    np.testing.assert_allclose(said, line["probability_run"], atol=1e-3)


NAMES = [
    "../a.csv", "/etc/a.csv", "a/../../b.csv", "..\\a.csv", "C:\\a.csv", ".ssh/a.csv", "a//b.csv",
    "a/.hidden.csv", "con.csv", "nul", "a\x00.csv", "a\n.csv", "ü.csv", "a/b/c/d/e/f/g.csv", "",
    "x" * 200 + ".csv", "recordings.yaml", "ann/recordings.csv", "manifest.json", "a.py", "a.so",
    "a.csv.", "~root/a.csv", "$(id).csv", "a;b.csv", "model.pkl", "aux/a.csv",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:30] for name in NAMES])
def test_names_that_lead_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(crossl.CrosslError, match=r"^files: "):
        checked_name(name)


@pytest.mark.parametrize("name", ["../x_acc.csv", "recordings.yaml", "x_acc.exe"])
def test_such_names_are_refused_over_http(post: Post, name: str) -> None:
    answer = post(files=[("files", (name, b"t,x,y,z\n"))])
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("files: ")


def test_faults_of_uploads_are_one_sentence(post: Post) -> None:
    good = ("ann_acc.csv", table(recording(4), "acc"))
    cases: list[tuple[list[tuple[str, object]], str]] = [
        ([("files", good), ("files", good)], "two have the name 'ann_acc.csv'"),
        ([("files", ("ann_acc.csv/b.csv", b"1")), ("files", good)], "a file and a folder at once"),
        ([("files", ("other.csv", b"a,b\n1,2\n"))], "error"),
    ]
    for files, told in cases:
        answer = post(files=files)
        assert answer.status_code == 422, answer.text
        assert told in answer.text
    assert answer.json()["error"].startswith("other.csv: is of no kind")  # not where it lay
    assert "many" in post(files=[("files", (f"a{i}.csv", b"")) for i in range(65)]).text.lower()
    assert post(files=[("files", good)], params={"zone": "UTC"}).status_code == 422


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("ann_acc.csv", b"nothing,here\n1,2\n", "ann_acc.csv"),
        ("ann.mat", b"MATLAB but not", "ann.mat"),
        ("ann.parquet", b"PAR1" * 9, "ann.parquet"),
    ],
)
def test_files_that_cannot_be_read_are_one_sentence(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(crossl.CrosslError, match=told):
        list(recordings_of(tmp_path, {"mapping": MAPPING, "classes": [], "resample": []}))


def bombs() -> Iterator[tuple[str, bytes]]:
    """Files of which a few kilobytes are gigabytes."""
    zeros = gzip.compress(b"0,0,0,0\n" * (16 << 20))  # 128 MiB
    yield "bomb_acc.csv.gz", zeros
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("ACC.csv", "w", force_zip64=True) as file,
    ):
        for _ in range(64):
            file.write(b"0,0,0\n" * (1 << 18))
    yield "bomb.zip", packed.getvalue()
    array = io.BytesIO()
    with zipfile.ZipFile(array, "w", zipfile.ZIP_DEFLATED) as archive:
        head = b"\x93NUMPY\x01\x00v\x00" + (
            b"{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 3), }".ljust(117)
            + b"\n"
        )
        archive.writestr("a.npy", head)
    yield "bomb.npz", array.getvalue()


@pytest.mark.slow
def test_bombs_do_not_go_off(run: crossl.Run) -> None:
    plain = replace(run, contract={**run.contract, "reading": {}})
    for service, endings in ((run, (".gz", ".npz")), (plain, (".zip",))):
        with served(service, Limits(upload_bytes=2**28, upload_s=20.0)) as address:
            for file in (one for one in bombs() if one[0].endswith(endings)):
                answer = httpx.post(
                    f"http://{address}/predict", files=[("files", file)], timeout=90
                )
                assert answer.status_code == 422, answer.text
                assert httpx.get(f"http://{address}/health").status_code == 200


def test_the_reader_is_bounded_in_memory_and_time(
    run: crossl.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ("ann_acc.csv", table(recording(4), "acc"))
    with served(run, Limits(upload_s=0.05)) as address:
        answer = httpx.post(f"http://{address}/predict", files=[("files", file)])
        assert "files: were not read after 0.05 s" in answer.json()["error"]
    with served(run, Limits(upload_bytes=2**12)) as address:
        answer = httpx.post(f"http://{address}/predict", files=[("files", file)], timeout=60)
        assert answer.status_code == 422
        assert "memory" in answer.json()["error"]


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    one = recording(4)
    (tmp_path / "ann_acc.csv").write_bytes(table(one, "acc"))
    told = {"mapping": MAPPING, "classes": ["rest"], "resample": []}
    (found,) = recordings_of(tmp_path, told)
    assert found.subject == "ann"
    np.testing.assert_allclose(found.signals["acc"].values, one.signals["acc"].values, atol=1e-5)
    with pytest.raises(crossl.CrosslError, match=r"the run keeps no mapping.*--mapping"):
        list(recordings_of(tmp_path, {**told, "mapping": None}))
    assert callable(bound)
