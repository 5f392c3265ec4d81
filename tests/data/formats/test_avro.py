"""EmbracePlus files, written here by fastavro after the maker's layout, and files that are none.

The layout (names, units of time, counts, both ways of telling the factor) is that of the script in
the maker's documentation, as many public repositories hold it; no recording of a band is here.
"""

from __future__ import annotations

import io
import json
import zlib

import fastavro
import numpy as np
import pytest

from crossl.data.formats import open_file
from crossl.data.own.init import init_mapping
from crossl.data.own.init.trial import problems
from crossl.data.own.mapping import load_mapping
from crossl.data.readers import open_dataset, read_recordings
from crossl.errors import DataError

UNIX = 1_717_142_400
IMU = ("physicalMin", "physicalMax", "digitalMin", "digitalMax")
RNG = np.random.default_rng(0)


def record(name, **fields):
    kinds = [{"name": key, "type": kind} for key, kind in fields.items()]
    return {"type": "record", "name": name, "fields": kinds}


def many(kind):
    return {"type": "array", "items": kind}


def schema(imu=IMU):
    sensor = {"timestampStart": "long", "samplingFrequency": "float"}
    axes = sensor | {"imuParams": record("Imu", **dict.fromkeys(imu, "double"))}
    axes |= dict.fromkeys("xyz", many("int"))
    raw = record(
        "RawData",
        accelerometer=record("Accelerometer", **axes),
        gyroscope=record("Gyroscope", **{**axes, "imuParams": "Imu"}),
        eda=record("Eda", **sensor, values=many("float")),
        temperature=record("Temperature", **sensor, values=many("float")),
        tags=record("Tags", tagsTimeMicros=many("long")),
        bvp=record("Bvp", **sensor, values=many("float")),
        systolicPeaks=record("Peaks", peaksTimeNanos=many("long")),
        steps=record("Steps", **sensor, values=many("int")),
    )
    version = record("Version", **dict.fromkeys(("major", "minor", "patch"), "int"))
    return record("Session", schemaVersion=version, fwVersion="Version", rawData=raw)


def session(start=UNIX, seconds=60, *, off=(), hz=64.0, imu=(-16.0, 16.0, -32768, 32767), **raw):
    """Return the record of a file; sensors that are off have neither rate nor samples."""

    def sensor(name, rate, **values):
        on = name not in off
        told = {"timestampStart": start * 1_000_000 if on else 0, "samplingFrequency": rate * on}
        return told | {key: value if on else [] for key, value in values.items()}

    n, axes = int(seconds * 64), {}
    for name, gravity in (("accelerometer", 2048), ("gyroscope", 0)):
        counts = (RNG.normal([0, 0, gravity], 30, (n, 3))).astype(int).T.tolist()
        axes[name] = sensor(name, hz, **dict(zip("xyz", counts, strict=True)))
        axes[name]["imuParams"] = dict(zip(IMU if len(imu) == 4 else ("conversionFactor",), imu))  # noqa: B905
    peaks = [(start * 1000 + 800 * number) * 1_000_000 for number in range(1, seconds)]
    raw = {
        **axes,
        "eda": sensor("eda", 4.0, values=RNG.normal(2, 0.1, 4 * seconds).tolist()),
        "temperature": sensor("temperature", 1.0, values=RNG.normal(33, 0.1, seconds).tolist()),
        "bvp": sensor("bvp", 64.0, values=RNG.normal(0, 9, n).tolist()),
        "steps": sensor("steps", 0.2, values=[0] * (seconds // 5)),
        "systolicPeaks": {"peaksTimeNanos": peaks},
        "tags": {"tagsTimeMicros": [(start + 10) * 1_000_000, (start + 20) * 1_000_000]},
    } | raw
    version = {"major": 6, "minor": 4, "patch": 0}
    return {"schemaVersion": version, "fwVersion": version, "rawData": raw}


def write(path, *records, schema_=None, codec="deflate"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        fastavro.writer(file, schema_ or schema(), records, codec=codec)
    return path


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2"])
def test_sensors_have_rate_unit_start_and_values(tmp_path, codec):
    told = session(off=("gyroscope",))
    content = open_file(write(tmp_path / "a.avro", told, codec=codec))
    seen = {s.name: (s.columns, s.units[0], s.rate_hz, s.start_s) for s in content.streams}
    assert seen["accelerometer"] == (("x", "y", "z"), "g", 64, UNIX)
    assert seen["eda"] == (("eda",), "uS", 4, UNIX)
    assert seen["temperature"] == (("temperature",), "degC", 1, UNIX)
    assert seen["bvp"] == (("bvp",), "arbitrary", 64, UNIX)
    assert seen["steps"][2] == pytest.approx(0.2)
    assert "gyroscope" not in seen
    assert content.about["off"] == ("gyroscope",)
    raw = told["rawData"]
    acc = content.stream("accelerometer").load(["z", "x"])
    counts = np.array([raw["accelerometer"]["z"], raw["accelerometer"]["x"]]).T
    np.testing.assert_allclose(acc, counts * 32 / 65535, rtol=1e-12)
    eda = content.stream("eda").load(["eda"])[:, 0]
    np.testing.assert_array_equal(eda, np.float32(raw["eda"]["values"]))


def test_the_factor_of_newer_schemas(tmp_path):
    told = session(imu=(0.00048828125,))
    path = write(tmp_path / "a.avro", told, schema_=schema(("conversionFactor",)))
    content = open_file(path)
    counts = told["rawData"]["gyroscope"]["y"]
    np.testing.assert_allclose(
        content.stream("gyroscope").load(["y"])[:, 0], np.array(counts) / 2048, rtol=1e-12
    )
    assert content.stream("gyroscope").units == ("deg/s",) * 3


def test_presses_are_labels_and_beats_a_stream_for_who_asks(tmp_path):
    content = open_file(write(tmp_path / "a.avro", session()))
    assert [(one.start_s - UNIX, one.end_s - UNIX, one.label) for one in content.labels] == [
        (10, 20, "tag 1"), (20, 60, "tag 2"),
    ]  # fmt: skip
    beats = content.stream("systolicPeaks")
    assert beats.aside
    np.testing.assert_allclose(beats.load(["ibi"]), 0.8, atol=1e-6)
    assert beats.timestamps_s[0] == pytest.approx(UNIX + 1.6)


def test_one_bad_sensor_is_left_out_and_named(tmp_path):
    told = session()
    told["rawData"]["accelerometer"]["x"].pop()
    told["rawData"]["eda"]["samplingFrequency"] = float("nan")
    told["rawData"]["gyroscope"]["imuParams"] = dict.fromkeys(IMU, 0.0)
    content = open_file(write(tmp_path / "a.avro", told))
    assert "3839, 3840, 3840 samples" in content.left_out["accelerometer"]
    assert "samplingFrequency" in content.left_out["eda"]
    assert "which unit a count has" in content.left_out["gyroscope"]
    assert len(content.about["notes"]) == 3
    with pytest.raises(DataError, match="'eda' cannot be read: "):
        content.stream("eda")


def test_other_avro_files_and_empty_ones_are_one_sentence(tmp_path):
    other = write(tmp_path / "a.avro", {"x": 1}, schema_=record("Thing", x="int"))
    with pytest.raises(DataError, match=r"of records 'Thing'; those of the Empatica EmbracePlus"):
        open_file(other)
    with pytest.raises(DataError, match="no sensor has samples"):
        open_file(write(tmp_path / "b.avro", session(off=(*session()["rawData"],))))
    with pytest.raises(DataError, match="more than one record"):
        open_file(write(tmp_path / "c.avro", session(), session()))
    with pytest.raises(DataError, match="is an Avro file of records"):
        open_file(write(tmp_path / "d.avro"))
    (tmp_path / "e.avro").write_bytes(b"time,x\n1,2\n")
    with pytest.raises(DataError, match=r"begins with b'time'; an Avro file"):
        open_file(tmp_path / "e.avro")


def test_a_file_that_is_cut_off_or_changed_is_damaged(tmp_path):
    whole = write(tmp_path / "a.avro", session()).read_bytes()
    for count in (len(whole) // 2, len(whole) - 5):
        (tmp_path / "b.avro").write_bytes(whole[:count])
        with pytest.raises(DataError, match="is damaged or cut off"):
            open_file(tmp_path / "b.avro")
    (tmp_path / "b.avro").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match="is damaged or cut off"):
        open_file(tmp_path / "b.avro")


# --- what swells


def longs(*numbers):
    out = io.BytesIO()
    for number in numbers:
        fastavro.schemaless_writer(out, "long", number)
    return out.getvalue()


def container(kind, block, count=1, codec=b"deflate"):
    """Write a file by hand: what a schema and a block say need not be true."""
    meta = {b"avro.schema": json.dumps(kind).encode(), b"avro.codec": codec}
    head = b"".join(longs(len(k)) + k + longs(len(v)) + v for k, v in meta.items())
    packer = zlib.compressobj(9, wbits=-15)
    packed = packer.compress(block) + packer.flush()
    sync = bytes(16)
    return (
        b"Obj\x01" + longs(2) + head + longs(0) + sync + longs(count, len(packed)) + packed + sync
    )


def deep(levels):
    kind = record("R0")
    for level in range(1, levels):
        kind = record(f"R{level}", a=kind, b=f"R{level - 1}")
    return kind


@pytest.mark.parametrize(("kind", "block", "says"), [
    (record("A", x=many("int")), longs(40_000_000) + bytes(40_000_000), "unpacks to more than"),
    (record("A", x=many("null")), longs(1 << 60, 0), "items of 1 values in 0 bytes"),
    (record("A", x=many(record("B"))), longs(1 << 60, 0), "items of 1 values in 0 bytes"),
    (record("A", x=["null", "A"]), b"\x02" * 9_000_000, "type A within itself"),
    (deep(40), b"", "values, which no recordings have"),
    (record("A", x=many("int")), longs(1 << 60) + bytes(99), "is damaged or cut off"),
    (record("A", x="bytes"), longs(1 << 60) + bytes(99), "a.avro: "),
])  # fmt: skip
def test_few_bytes_that_would_become_very_many_are_refused(tmp_path, kind, block, says):
    path = tmp_path / "a.avro"
    path.write_bytes(container(kind, block))
    with pytest.raises(DataError, match=says) as told:
        open_file(path)
    assert len(str(told.value)) < 300


def test_unknown_packing_is_named(tmp_path):
    (tmp_path / "a.avro").write_bytes(container(record("A", x="int"), longs(1), codec=b"snappy"))
    with pytest.raises(
        DataError, match="is compressed by 'snappy'; null, deflate and bzip2 are read"
    ):
        open_file(tmp_path / "a.avro")


# --- from a folder as the maker's site gives it to recordings


def study(root):
    """Two people, two days, files of a minute with slightly different rates and a pause."""
    for who, serial in (("ab01", "3YK3K152F"), ("cd02", "3YK3K153G")):
        for day, start in (("2024-05-31", UNIX), ("2024-06-01", UNIX + 86_400)):
            folder = root / day / f"{who}-{serial}" / "raw_data" / "v6"
            for number, at in enumerate((0, 60, 150)):
                off = ("gyroscope", "eda")[: (number == 0) + (who == "cd02" and number == 0)]
                off = (*off, "eda") if who == "cd02" and day == "2024-06-01" else off
                told = session(start + at, 60, off=off, hz=64.0 + 0.0625 * number)
                write(folder / f"1-1-{who}_{start + at}.avro", told)


def test_init_describes_files_that_follow_each_other(tmp_path):
    study(tmp_path)
    mapped = load_mapping(init_mapping(tmp_path))
    assert problems(mapped) == {}
    assert len(mapped.mapping.files) == 1
    assert mapped.mapping.files[0].pattern == (
        "{session}/{subject}-*/raw_data/v6/1-1-{subject}_{part}.avro"
    )
    assert [(p.subject, p.session, len(p.files)) for p in mapped.plans] == [
        (who, day, 3) for who in ("ab01", "cd02") for day in ("2024-05-31", "2024-06-01")
    ]
    assert {n: (m.unit, m.rate_hz) for n, m in mapped.mapping.modalities.items()} == {
        "accelerometer": ("g", 64), "gyroscope": ("deg/s", 64.0625), "eda": ("uS", 4),
        "temperature": ("degC", 1), "bvp": ("arbitrary", 64),
    }  # fmt: skip
    found = list(read_recordings("folder", tmp_path))
    acc = found[0].signals["accelerometer"]
    assert acc.start_s == 0
    # a rate of its own in each file: the last begins at 150 s, by times and not by the first rate
    at = np.flatnonzero(np.isfinite(acc.values[:, 0]))
    gap = np.argmax(np.diff(at))
    assert at[gap + 1] / acc.rate_hz == pytest.approx(150, abs=1 / 64)
    assert np.nanmean(acc.values[:, 2]) == pytest.approx(9.81, abs=0.1)
    assert np.isnan(found[0].signals["gyroscope"].values).any(axis=1).sum() > 29 * 64
    assert "eda" not in found[3].signals
    assert any("'eda' was off" in note for note in found[3].notes)


def test_files_of_one_person_are_parts_of_the_person_that_they_name(tmp_path):
    for at in (0, 60):
        write(tmp_path / f"1-1-ab01_{UNIX + at}.avro", session(UNIX + at))
    mapped = load_mapping(init_mapping(tmp_path))
    assert mapped.mapping.files[0].pattern == "1-1-ab01_{part}.avro"
    with open_dataset("folder", tmp_path) as dataset:
        assert [(one.subject, one.end_s) for part in dataset.parts for one in part.read()] == [
            ("1_1_ab01", 120)
        ]
