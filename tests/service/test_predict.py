"""`POST /predict`: recordings in, timelines out; what cannot be used is one sentence."""

from __future__ import annotations

import io
import json
from contextlib import suppress

import httpx
import numpy as np
import polars as pl
import pytest

import crossl
from crossl.service.arrow import read_arrow_body
from crossl.service.limits import Limits
from tests.service.conftest import ACC as ACC_MODALITY
from tests.service.conftest import Post, as_json, recording, served

ARROW = "application/vnd.apache.arrow.stream"


def table(**columns: object) -> bytes:
    """Write a table as a stream of Arrow."""
    file = io.BytesIO()
    pl.DataFrame(columns).write_ipc_stream(file, compression="uncompressed")
    return file.getvalue()


def check_same(rows: list[dict[str, object]], line: dict[str, np.ndarray]) -> None:
    """Hold the rows of an answer against what Python says."""
    assert [row["start_s"] for row in rows] == line["start_s"].tolist()
    assert [row["label"] or "" for row in rows] == line["label"].tolist()
    assert [row["present"]["ecg"] for row in rows] == line["present_ecg"].tolist()  # type: ignore[index]
    said = [row["probability"]["run"] for row in rows]  # type: ignore[index]
    np.testing.assert_allclose(said, line["probability_run"], atol=1e-5)


@pytest.mark.parametrize("sensors", ["acc ecg", "acc", "ecg"])
def test_the_answer_is_what_python_says(post: Post, run: crossl.Run, sensors: str) -> None:
    one = recording(4, sensors=sensors)
    answer = post(json=as_json(one))
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["recordings"]
    assert told["subject"] == "P4"
    check_same(told["rows"], run.timeline(one))


def test_timestamps_zone_and_abstention(post: Post) -> None:
    one = recording(4, sensors="acc")
    values = one.signals["acc"].values.tolist()
    sent = {
        "modalities": {"acc": {"values": values, "timestamps_s": [i / 20 for i in range(400)]}},
        "origin_unix_s": 1717236000,
        "zone": "Europe/Madrid",
        "abstain": 1.0,
    }
    row = post(json=sent).json()["recordings"][0]["rows"][0]
    assert row["start_time"] == "2024-06-01T12:00:00.000+02:00"
    assert row["label"] is None
    assert row["reason"] == "no label reaches a probability of 1"


def test_missing_samples_are_null_and_a_rate_is_changed_on_demand(post: Post) -> None:
    values = recording(4).signals["ecg"].values[:, 0].tolist()
    values[300:500] = [None] * 200
    sent = {"modalities": {"ecg": {"values": values, "rate_hz": 64}}}
    refused = post(json=sent)
    assert refused.status_code == 422
    assert "has 64 Hz; the run was made for 32 Hz" in refused.json()["error"]
    assert refused.json()["error"].endswith("name it in resample: ecg")
    rows = post(json={**sent, "resample": ["ecg"]}).json()["recordings"][0]["rows"]
    assert rows[0]["reason"] is None
    assert any(row["reason"] for row in rows)


def test_tables_hold_what_json_does(post: Post, run: crossl.Run) -> None:
    one = recording(4)
    line = run.timeline(one)
    csv = post(json=as_json(one), headers={"accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert pl.read_csv(csv.content)["label"].to_list() == line["label"].tolist()
    arrow = post(json=as_json(one), headers={"accept": ARROW})
    found = pl.read_ipc_stream(io.BytesIO(arrow.content))
    np.testing.assert_array_equal(found["probability_run"], line["probability_run"])
    parquet = post(json=as_json(one), headers={"accept": "application/vnd.apache.parquet"})
    assert pl.read_parquet(io.BytesIO(parquet.content)).equals(found)


def test_arrow_is_read_as_json_is(post: Post, run: crossl.Run) -> None:
    one = recording(4)
    body = table(
        modality=list(one.signals),
        values=[signal.values.ravel() for signal in one.signals.values()],
        rate_hz=[signal.rate_hz for signal in one.signals.values()],
    )
    answer = post(content=body, headers={"content-type": ARROW}, params={"subject": "ann"})
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["recordings"]
    assert told["subject"] == "ann"
    check_same(told["rows"], run.timeline(one))


ACC = {"values": [[0.0, 0.0, 0.0]] * 60, "rate_hz": 20}
REFUSED = [
    ({}, "body: modalities is nothing"),
    ({"modalities": {}}, "body: modalities is keys and values"),
    ({"modalities": []}, "body: modalities is a list"),
    ({"modality": {}}, "body: key 'modality' is unknown; did you mean 'modalities'?"),
    ({"modalities": {"acc": 3}}, "modalities.acc: is a number; needed are keys and values"),
    ({"modalities": {"acc": {"values": [[0, 0, 0]]}}}, "modalities.acc: has no times"),
    ({"modalities": {"acc": {**ACC, "rate": 3}}}, "modalities.acc: key 'rate' is unknown"),
    ({"modalities": {"acc": {**ACC, "rate_hz": "20"}}}, "modalities.acc.rate_hz: is '20'"),
    ({"modalities": {"acc": {**ACC, "rate_hz": -1}}}, "modalities.acc.rate_hz: is -1"),
    ({"modalities": {"acc": {**ACC, "start_s": True}}}, "modalities.acc.start_s: is True"),
    ({"modalities": {"acc": {**ACC, "unit": "g"}}}, "is in 'g'; the model was made for 'm/s^2'"),
    ({"modalities": {"acc": {**ACC, "unit": 3}}}, "unit"),
    ({"modalities": {"acc": {**ACC, "values": []}}}, "acc.values: is a list; a list of"),
    ({"modalities": {"acc": {**ACC, "values": [[0, 0]]}}}, "2 channels; the run was made for 3"),
    ({"modalities": {"acc": {**ACC, "values": [[0, 0, 0], [1]]}}}, "differ in their number"),
    ({"modalities": {"acc": {**ACC, "values": [["0", 0, 0]]}}}, "holds more than numbers"),
    ({"modalities": {"acc": {**ACC, "values": [[True, None, 0]]}}}, "holds more than numbers"),
    ({"modalities": {"acc": {**ACC, "values": [[10**400, None, 0]]}}}, "number that is too large"),
    ({"modalities": {"acc": {**ACC, "values": [[1e300, 0, 0]]}}}, "holds infinite values"),
    ({"modalities": {"acc": {**ACC, "values": [[[0, 0, 0]]]}}}, "has 3 dimensions"),
    ({"modalities": {"acc": {**ACC, "values": [[None] * 3] * 60}}}, "holds no sample"),
    ({"modalities": {"eeg": ACC}}, "has no sensor that the run knows, got eeg"),
    ({"modalities": {"../acc": ACC}}, "modality '../acc': its name"),
    ({"modalities": {f"a{i}": ACC for i in range(65)}}, "modalities: are 65"),
    ({"modalities": {"acc": ACC}, "abstain": 3}, "abstain: got 3; a probability"),
    ({"modalities": {"acc": ACC}, "abstain": [1]}, "abstain: is [1]; a number is needed"),
    ({"modalities": {"acc": ACC}, "context": "all"}, "context: got 'all'"),
    ({"modalities": {"acc": ACC}, "context": 1}, "context: is a number; allowed are"),
    ({"modalities": {"acc": ACC}, "sets": 2}, "sets: got 2"),
    ({"modalities": {"acc": ACC}, "keep_unusable": 1}, "keep_unusable: is a number"),
    ({"modalities": {"acc": ACC}, "resample": "acc"}, "body: resample is not a list of names"),
    ({"modalities": {"acc": ACC}, "resample": ["ac"]}, "modality 'ac'; did you mean 'acc'?"),
    ({"modalities": {"acc": ACC}, "zone": "Mars/Olympus"}, "timezone 'Mars/Olympus' is unknown"),
    ({"modalities": {"acc": ACC}, "zone": "../../etc/passwd"}, "is unknown"),
    ({"modalities": {"acc": ACC}, "zone": 1}, "zone: is a number"),
    ({"modalities": {"acc": ACC}, "origin_unix_s": 1e300}, "seconds since 1970 are needed"),
    ({"modalities": {"acc": ACC}, "subject": "a\nb"}, "holds U+000A"),
    ({"modalities": {"acc": ACC}, "subject": 7}, "a name is text"),
    ({"modalities": {"acc": {"values": [[0, 0, 0]] * 3, "timestamps_s": [0, 1]}}}, "timestamps"),
    ({"modalities": {"acc": {"values": [[0, 0, 0]] * 3, "timestamps_s": [0, 0.05, 1e12]}}},
     "spans 1e+12 s"),
    ({"modalities": {"acc": {"values": [[0, 0, 0]] * 3, "timestamps_s": [0, None, 1]}}},
     "is not a list of seconds"),
    ({"modalities": {"acc": ACC, "ecg": {"values": [0] * 9, "rate_hz": 32, "start_s": 1e9}}},
     "modalities: spans 1e+09 s"),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "told"), REFUSED, ids=[told[:40] for _, told in REFUSED])
def test_what_cannot_be_used_is_one_sentence(post: Post, sent: object, told: str) -> None:
    answer = post(content=json.dumps(sent), headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text
    (error,) = answer.json().values()
    assert told in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "body: is not JSON"),
        (b"\xff\xfe", "body: is not JSON"),
        (b"[1]", "body: is a list"),
        (b"[" * 200_000, "body: is nested too deeply"),
        (b'{"modalities": {"acc": {"values": [NaN]}}}', "NaN is not a JSON number"),
        (b'{"modalities": ' + b"9" * 9000 + b"}", "body: is not JSON"),
        (b'{"modalities": {"acc": {"values": [' + b"[]," * 3_000_001, "lists; allowed are at most"),
        (b'{"modalities": {"' + b"a" * 2_000_000 + b'": {}}}', "2000000 letters"),
        (b'{"' + b"a" * 2_000_000 + b'": {}}', "is unknown"),
    ],
)
def test_what_is_no_json_is_one_sentence(post: Post, body: bytes, told: str) -> None:
    answer = post(content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert told in answer.json()["error"]


def arrow_bodies() -> list[tuple[bytes, str]]:
    """Streams of Arrow that cannot be used."""
    good = {"modality": ["acc"], "values": [[0.0] * 300], "rate_hz": [20.0]}
    packed = io.BytesIO()
    pl.DataFrame(good).write_ipc_stream(packed, compression="zstd")
    named = pl.Series(["acc"], dtype=pl.Categorical)
    return [
        (b"", "cannot be read as Arrow"),
        (b"no arrow at all" * 9, "body: is not a stream of Arrow IPC"),
        (table(**good)[:-150], "body:"),
        (packed.getvalue(), "body: is compressed Arrow"),
        (table(**{**good, "modality": named}), "body: has dictionaries"),
        (table(modality=["acc"] * 65, values=[[0.0] * 3] * 65, rate_hz=[20.0] * 65), "64 rows"),
        (table(modality=["acc"] * 2, values=[[0.0] * 3] * 2, rate_hz=[20.0] * 2), "has one row"),
        (table(**good, path=["x"]), "column 'path' is unknown"),
        (table(modality=["acc"]), "has no column 'values'"),
        (table(**{**good, "modality": ["eeg"]}), "names no sensor of the run"),
        (table(**{**good, "values": [[0.0] * 7]}), "has 7 numbers; a multiple of 3"),
        (table(**{**good, "values": ["text"]}), "is not a list of numbers"),
        (table(**{**good, "rate_hz": [None]}), "acc.rate_hz: is None"),
    ]


@pytest.mark.parametrize(("body", "told"), arrow_bodies())
def test_arrow_that_cannot_be_used_is_one_sentence(post: Post, body: bytes, told: str) -> None:
    answer = post(content=body, headers={"content-type": ARROW})
    assert answer.status_code == 422
    assert told in answer.json()["error"]


def test_arrow_of_any_damage_is_refused_or_read_and_never_a_fault() -> None:
    body = bytearray(table(modality=["acc"], values=[[0.0] * 300], rate_hz=[20.0]))
    rng = np.random.default_rng(0)
    for _ in range(300):
        broken = body.copy()
        for at in rng.integers(0, len(body), 3):
            broken[at] = rng.integers(0, 256)
        with suppress(crossl.CrosslError):
            read_arrow_body(bytes(broken), [ACC_MODALITY], Limits(), {})


def test_other_kinds_of_requests_are_refused(post: Post, address: str) -> None:
    assert post(content=b"x", headers={"content-type": "text/plain"}).status_code == 415
    wrong = post(json=as_json(recording(4)), headers={"accept": "image/png"})
    assert "Accept: is 'image/png'" in wrong.json()["error"]
    assert "did you mean 'zone'" in post(json={}, params={"zon": "x"}).json()["error"]
    assert "belongs in the body" in post(json={}, params={"zone": "UTC"}).json()["error"]
    for method, path in (("GET", "/predict"), ("GET", "/docs"), ("GET", "/../model.json")):
        answer = httpx.request(method, f"http://{address}{path}")
        assert answer.status_code in (404, 405)
        assert "see /openapi.json" in answer.json()["error"]


def test_what_is_said_of_the_service(address: str) -> None:
    health = httpx.get(f"http://{address}/health").json()
    assert health["status"] == "ok"
    contract = httpx.get(f"http://{address}/contract").json()
    assert [one["name"] for one in contract["modalities"]] == ["acc", "ecg"]
    assert contract["classes"] == ["rest", "run"]
    assert contract["window"]["stride_s"] == 1.0
    paths = httpx.get(f"http://{address}/openapi.json").json()["paths"]
    assert set(paths) == {"/health", "/contract", "/predict"}
    assert "application/json" in paths["/predict"]["post"]["requestBody"]["content"]


def test_too_long_recordings_and_too_many_at_once_are_refused(run: crossl.Run) -> None:
    sent = as_json(recording(4))
    with served(run, Limits(windows=10)) as address:
        answer = httpx.post(f"http://{address}/predict", json=sent)
        assert answer.status_code == 422
        assert "allowed are at most 10, send it in parts" in answer.json()["error"]
    with served(run, Limits(samples=100)) as address:
        assert "allowed are at most 100" in httpx.post(f"http://{address}/predict", json=sent).text
    with served(run, Limits(waiting=0)) as address:
        answer = httpx.post(f"http://{address}/predict", json=sent)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_a_run_without_classifier_is_refused(run: crossl.Run) -> None:
    from dataclasses import replace

    with pytest.raises(crossl.CrosslError, match="has no classifier"), \
            served(replace(run, classifier=None)):  # fmt: skip
        pass
