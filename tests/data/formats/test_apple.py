"""Exports of Apple Health, written here after what public readers of them expect, and other XML."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest

from crossl.data.formats import open_file
from crossl.data.own.init import init_mapping
from crossl.data.own.init.trial import problems
from crossl.data.own.mapping import load_mapping
from crossl.data.readers import read_recordings
from crossl.errors import DataError

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE HealthData [
<!ELEMENT HealthData (ExportDate,Me,(Record|Correlation|Workout)*)>
<!ATTLIST HealthData locale CDATA #REQUIRED>
<!ATTLIST Record type CDATA #REQUIRED unit CDATA #IMPLIED>
]>
<HealthData locale="en_GB">
 <ExportDate value="2024-06-01 12:00:00 +0200"/>
"""
START = datetime(2024, 5, 31, 8, tzinfo=UTC)
HEART = "HKQuantityTypeIdentifierHeartRate"


def record(seconds, value, kind=HEART, unit="count/min", source="Watch", hours=2):
    time = (START + timedelta(seconds=seconds)).astimezone(timezone(timedelta(hours=hours)))
    told = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return (
        f' <Record type="{kind}" sourceName="{source}" unit="{unit}" creationDate="{told}" '
        f'startDate="{told}" endDate="{told}" value="{value}">\n'
        '  <MetadataEntry key="HKMetadataKeyHeartRateMotionContext" value="1"/>\n </Record>\n'
    )


def write(path, *records, head=HEAD, tail="</HealthData>\n"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(head + "".join(records) + tail)
    return path


def test_heart_rate_is_a_stream_at_its_own_times(tmp_path):
    path = write(
        tmp_path / "export.xml",
        record(0, 61), record(300, 64, hours=-5), record(7, 62),
        record(9, "x"), record(10, "nan"),
        record(60, 12, "HKQuantityTypeIdentifierStepCount", "count"),
        record(60, 0.97, "HKQuantityTypeIdentifierOxygenSaturation", "%"),
        record(0, "HKCategoryValueSleepAnalysisInBed", "HKCategoryTypeIdentifierSleepAnalysis"),
        f"<Correlation>{record(99, 99)}</Correlation>",
    )  # fmt: skip
    content = open_file(path)
    heart = content.stream("HeartRate")
    assert (heart.units, heart.rate_hz, heart.aside) == (("bpm",), None, False)
    np.testing.assert_array_equal(heart.timestamps_s - START.timestamp(), [0, 7, 300])
    np.testing.assert_array_equal(heart.load(["value"])[:, 0], [61, 62, 64])
    assert content.about["notes"] == [
        "export.xml: 2 records without a start with a zone, or a number, are left out"
    ]
    steps, oxygen = content.stream("StepCount"), content.stream("OxygenSaturation")
    assert steps.aside
    assert (oxygen.units, oxygen.load(["value"]).tolist()) == (("1",), [[0.97]])


def test_sources_are_streams_of_their_own(tmp_path):
    path = write(tmp_path / "export.xml", record(0, 61), record(0, 99, source="Strap"))
    names = [stream.name for stream in open_file(path).streams]
    assert names == ["HeartRate of Strap", "HeartRate of Watch"]


def test_entities_are_refused(tmp_path):
    lol = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "lol">' for n in range(9)
    )
    bomb = f"<!DOCTYPE HealthData [{lol}]><HealthData><Record type='&l8;'/>"
    outside = '<!DOCTYPE HealthData [<!ENTITY x SYSTEM "file:///etc/passwd">]><HealthData>&x;'
    for head in (bomb, outside):
        with pytest.raises(DataError, match=r"declares the entity '(l0|x)', which no export does"):
            open_file(write(tmp_path / "export.xml", head=head))


def test_other_and_damaged_xml_is_one_sentence(tmp_path):
    path = tmp_path / "export.xml"
    with pytest.raises(DataError, match="is XML of 'gpx'; of XML only Apple Health's export"):
        open_file(write(path, head="<gpx>", tail="</gpx>"))
    with pytest.raises(DataError, match="holds no record of a quantity"):
        open_file(write(path))
    whole = write(path, *(record(n, 60) for n in range(20))).read_bytes()
    for count in (len(whole) // 2, len(whole) - 16):
        path.write_bytes(whole[:count])
        with pytest.raises(DataError, match="is damaged or cut off"):
            open_file(path)
    path.write_bytes(whole.replace(b"</Record>", b"</Rec>", 1))
    with pytest.raises(DataError, match="cannot be read as an export of Apple Health: mismatched"):
        open_file(path)


def pulse(root, count=200):
    """Write seconds of a workout: a value every four to six seconds, and a pause."""
    at = np.cumsum(np.random.default_rng(0).integers(4, 7, count))
    at[count // 2 :] += 300
    return write(root / "export.xml", *(record(int(t), 60 + n % 9) for n, t in enumerate(at))), at


def test_init_describes_an_export_and_a_zip_of_one(tmp_path):
    path, at = pulse(tmp_path / "one" / "anna")
    zipped = tmp_path / "two" / "anna" / "export.zip"
    zipped.parent.mkdir(parents=True)
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "apple_health_export/export.xml")
        archive.writestr("apple_health_export/export_cda.xml", "<ClinicalDocument/>")
    for root in ("one", "two"):
        mapped = load_mapping(init_mapping(tmp_path / root))
        assert problems(mapped) == {}
        heart = mapped.mapping.modalities["heartrate"]
        assert (heart.unit, heart.resample) == ("bpm", True)
        assert heart.rate_hz == 0.25  # the shorter steps tell
        (found,) = read_recordings("folder", tmp_path / root)
        signal = found.signals["heartrate"]
        known = np.isfinite(signal.values[:, 0])
        assert signal.end_s == pytest.approx(at[-1] - at[0], abs=10)
        assert 200 < (~known).sum() / signal.rate_hz < 310
        assert np.nanmin(signal.values) >= 1
        assert np.nanmax(signal.values) <= 68 / 60 + 1e-6


def test_a_workout_among_values_of_a_day_keeps_its_times(tmp_path):
    rest, workout = np.arange(0, 86_400, 300), 40_000 + np.arange(2000) * 5
    at = np.unique(np.r_[rest, workout])
    write(tmp_path / "anna.xml", *(record(int(t), 60 + int(t) % 50) for t in at))
    mapped = load_mapping(init_mapping(tmp_path))
    assert mapped.mapping.modalities["heartrate"].rate_hz == 0.2
    assert mapped.mapping.windows.window_s == 10
    (found,) = read_recordings("folder", tmp_path)
    values = found.signals["heartrate"].values[:, 0] * 60
    np.testing.assert_allclose(values[workout // 5], 60 + workout % 50, rtol=1e-5)
    assert np.isnan(values[1:59]).all()  # nothing is made up between values five minutes apart


def test_values_every_few_minutes_are_told_of_and_not_proposed(tmp_path):
    write(tmp_path / "anna.xml", *(record(t, 60) for t in range(0, 86_400, 300)))
    with pytest.raises(DataError, match="NOT READ, it has a value every 300 s, too seldom"):
        init_mapping(tmp_path)
