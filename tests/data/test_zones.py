"""Time zones: what local times mean, summer time, and files that disagree about it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.own.mapping.zones import to_unix
from crossl.errors import DataError

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2024, 5, 31, 7, 0, tzinfo=UTC)


def local_seconds(times):
    return np.array([t.replace(tzinfo=UTC).timestamp() for t in times])


def walls(start, count, step_s, zone=BERLIN):
    """Return instants and what a clock on the wall showed."""
    instants = [start + timedelta(seconds=n * step_s) for n in range(count)]
    unix = np.array([t.timestamp() for t in instants])
    return unix, local_seconds([t.astimezone(zone).replace(tzinfo=None) for t in instants])


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2035, 1, 1)),
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
@settings(max_examples=100, deadline=None)
def test_local_times_become_instants_as_zoneinfo_has_them(start, name):
    unix, local = walls(start.replace(tzinfo=UTC), 40, 60.0, ZoneInfo(name))
    try:
        found = to_unix("t", local, name, [])
    except DataError as error:
        assert "came twice" in str(error)  # noqa: PT017 - within an hour that nothing tells apart
        return
    np.testing.assert_allclose(found, unix, atol=1e-5)


@pytest.mark.parametrize("begin_minute", [0, 45])
def test_the_hour_that_comes_twice_is_told_by_the_clock_that_goes_back(begin_minute):
    notes = []
    unix, local = walls(datetime(2023, 10, 29, 0, begin_minute, tzinfo=UTC), 7200, 1.0)
    np.testing.assert_allclose(to_unix("t", local, "Europe/Berlin", notes), unix)
    assert "an hour from 2023-10-29 02:00:00.000 came twice in Europe/Berlin" in notes[0]


@pytest.mark.parametrize(("start", "count"), [
    (datetime(2023, 10, 28, 23, 50, tzinfo=UTC), 1200),  # ends within the first time
    (datetime(2023, 10, 29, 1, 50, tzinfo=UTC), 1200),  # begins within the second
])  # fmt: skip
def test_what_goes_on_without_a_pause_tells_the_hour(start, count):
    unix, local = walls(start, count, 1.0)
    np.testing.assert_allclose(to_unix("t", local, "Europe/Berlin", []), unix)


@pytest.mark.parametrize(("times", "message"), [
    (["2023-10-29T02:10", "2023-10-29T02:20"],
     "t: 2023-10-29 02:10:00.000 came twice in Europe/Berlin, where clocks were put back"),
    ([f"2023-10-29T0{h}:{m:02}" for h in (1, 2, 3) for m in range(60)],
     "runs through it once without a pause"),
    (["2024-03-31T01:59", "2024-03-31T02:30"],
     r"2024-03-31 02:30:00.000 did not exist in Europe/Berlin,.* such as Etc/GMT-1"),
])  # fmt: skip
def test_a_local_time_that_nothing_tells_is_refused(times, message):
    local = local_seconds([datetime.fromisoformat(t) for t in times])
    with pytest.raises(DataError, match=message):
        to_unix("t", local, "Europe/Berlin", [])


# --- the files of one recording

MAPPING = """
{top}
modalities:
  acc: {{channels: [x], unit: g, rate_hz: 10}}
files:
  - pattern: "{{subject}}_watch.{ending}"
    clock: t
    clock_unit: {unit}
    signals: {{acc: [x]}}
  - pattern: "{{subject}}_labels.csv"
    intervals: {{start: begin, end: end, label: what, unit: datetime}}
    {key}
"""
ZONED = "%Y-%m-%dT%H:%M:%S.%f%z"
BARE = "%Y-%m-%d %H:%M:%S.%f"


def study(root, *, watch="zoned", top="", key=""):
    """Write 60 s at 10 Hz, `rest` from 10 s and `walk` from 30 s to 50 s in Berlin's time."""
    root.mkdir(exist_ok=True)
    instants = [START + timedelta(seconds=n / 10) for n in range(600)]
    berlin = [t.astimezone(BERLIN) for t in instants]
    rows = {
        "zoned": ("datetime", [t.strftime(ZONED) for t in berlin]),
        "bare": ("datetime", [t.strftime(BARE) for t in berlin]),
        "unix": ("s", [f"{t.timestamp():.1f}" for t in instants]),
        "excel": ("excel_days", [
            f"{45443 + 9 / 24 + n / 864000:.10f}" for n in range(600)
        ]),
    }  # fmt: skip
    ending = "csv"
    if watch in ("parquet", "parquet_bare"):
        polars = pytest.importorskip("polars")
        when = polars.Series("t", [t.replace(tzinfo=None) for t in berlin], polars.Datetime("us"))
        if watch == "parquet":
            when = when.dt.replace_time_zone("Europe/Berlin")
        polars.DataFrame([when, polars.Series("x", np.ones(600))]).write_parquet(
            root / "anna_watch.parquet"
        )
        unit, ending = "s", "parquet"
    else:
        unit, cells = rows[watch]
        (root / "anna_watch.csv").write_text("t,x\n" + "".join(f"{c},1\n" for c in cells))
    marks = [berlin[n].strftime(BARE) for n in (100, 300, 500)]
    (root / "anna_labels.csv").write_text(
        f"begin,end,what\n{marks[0]},{marks[1]},rest\n{marks[1]},{marks[2]},walk\n"
    )
    (root / "recordings.yaml").write_text(
        MAPPING.format(top=top, key=key, unit=unit, ending=ending)
    )
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[0], mapped.rules)


@pytest.mark.parametrize("watch", ["zoned", "unix", "parquet"])
def test_dates_without_a_zone_beside_instants_are_refused_with_both_files(tmp_path, watch):
    told = (
        r"times of anna_watch.* and those of anna_labels.csv are dates without a zone, such as "
        r"2024-05-31 09:00:10.*`timezone:`"
    )
    with pytest.raises(DataError, match=told):
        study(tmp_path, watch=watch)


@pytest.mark.parametrize("watch", ["zoned", "unix", "parquet"])
@pytest.mark.parametrize("where", ["top", "key"])
def test_a_timezone_puts_labels_where_they_belong(tmp_path, watch, where):
    recording = study(tmp_path, watch=watch, **{where: "timezone: Europe/Berlin"})
    assert [(round(i.start_s, 6), round(i.end_s, 6), i.label) for i in recording.labels] == [
        (10, 30, "rest"), (30, 50, "walk")]  # fmt: skip


@pytest.mark.parametrize("watch", ["bare", "excel", "parquet_bare"])
def test_dates_without_a_zone_among_their_like_share_a_clock(tmp_path, watch):
    recording = study(tmp_path, watch=watch)
    np.testing.assert_allclose([i.start_s for i in recording.labels], [10, 30], atol=1e-3)


def test_a_column_with_and_without_zones_is_refused(tmp_path):
    study(tmp_path, watch="bare")
    text = (tmp_path / "anna_watch.csv").read_text().splitlines()
    text[5] = text[5].replace(",", "+02:00,")
    (tmp_path / "anna_watch.csv").write_text("\n".join(text))
    mapped = load_mapping(tmp_path / "recordings.yaml")
    with pytest.raises(
        DataError, match=r"column 't', sample 5: .* has a zone and sample 1, .* none"
    ):
        read_recording(mapped.plans[0], mapped.rules)


def test_an_unknown_zone_is_refused_with_one_that_exists(tmp_path):
    with pytest.raises(
        DataError, match="timezone 'Europe/Berln' is unknown; did you mean 'Europe/Be"
    ):
        study(tmp_path, top="timezone: Europe/Berln")


def edf_study(root, mapping):
    edfio = pytest.importorskip("edfio")
    signal = edfio.EdfSignal(np.sin(np.arange(600.0)), 10, label="ecg", physical_dimension="mV")
    edf = edfio.Edf([signal], starttime=datetime(2024, 5, 31, 9).time(),
                    recording=edfio.Recording(startdate=datetime(2024, 5, 31).date()))  # fmt: skip
    edf.write(root / "anna_chest.edf")
    (root / "anna_labels.csv").write_text(
        "begin,end,what\n2024-05-31T07:00:10Z,2024-05-31T07:00:30Z,rest\n"
    )
    (root / "recordings.yaml").write_text(mapping)
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[0], mapped.rules)


EDF_MAPPING = """
modalities:
  ecg: {channels: [ecg], unit: mV, rate_hz: 10}
files:
  - pattern: "{subject}_chest.edf"
    signals: {ecg: [ecg]}
  - pattern: "{subject}_labels.csv"
    intervals: {start: begin, end: end, label: what, unit: datetime}
"""


def test_the_local_start_of_an_edf_file_needs_its_zone_beside_instants(tmp_path):
    with pytest.raises(DataError, match=r"give the EDF or WFDB file, .* its `timezone:`"):
        edf_study(tmp_path, EDF_MAPPING)
    recording = edf_study(tmp_path, "timezone: Europe/Berlin\n" + EDF_MAPPING)
    assert [(i.start_s, i.end_s) for i in recording.labels] == [(10, 30)]


def test_local_times_of_no_zone_that_go_back_by_an_hour_are_refused(tmp_path):
    study(tmp_path, watch="bare")
    instants = [
        datetime(2023, 10, 29, 0, 59, tzinfo=UTC) + timedelta(seconds=n / 10) for n in range(1200)
    ]
    cells = [t.astimezone(BERLIN).strftime(BARE) for t in instants]
    (tmp_path / "anna_watch.csv").write_text("t,x\n" + "".join(f"{c},1\n" for c in cells))
    (tmp_path / "anna_labels.csv").write_text(
        "begin,end,what\n2023-10-29 02:59:10,2023-10-29 02:59:50,rest\n"
    )
    told = "goes back by an hour, from 2023-10-29 02:59:59.900 to 2023-10-29 02:00:00.000"
    mapped = load_mapping(tmp_path / "recordings.yaml")
    with pytest.raises(DataError, match=f"{told}, .* `timezone:`"):
        read_recording(mapped.plans[0], mapped.rules)
    text = (tmp_path / "recordings.yaml").read_text()
    (tmp_path / "recordings.yaml").write_text("timezone: Europe/Berlin\n" + text)
    (tmp_path / "anna_labels.csv").write_text(
        "begin,end,what\n2023-10-29T02:59:10+02:00,2023-10-29T02:00:50+01:00,rest\n"
    )
    mapped = load_mapping(tmp_path / "recordings.yaml")
    recording = read_recording(mapped.plans[0], mapped.rules)
    assert recording.end_s == pytest.approx(120.0)
    assert [(i.start_s, i.end_s) for i in recording.labels] == [(10.0, 110.0)]


FORMATS_MAPPING = """
TIMEZONE
modalities:
  ecg: {channels: [x], unit: UNIT, rate_hz: 10}
files:
  - pattern: "PATTERN"
    signals: {ecg: SIGNAL}
  - pattern: "{subject}_labels.csv"
    intervals: {start: begin, end: end, label: what, unit: datetime}
"""


def beside_labels(root, labels, *, timezone="", **words):
    (root / "anna_labels.csv").write_text(f"begin,end,what\n{labels[0]},{labels[1]},rest\n")
    text = FORMATS_MAPPING.replace("TIMEZONE", timezone)
    for word, value in words.items():
        text = text.replace(word.upper(), value)
    (root / "recordings.yaml").write_text(text)
    mapped = load_mapping(root / "recordings.yaml")
    recording = read_recording(mapped.plans[0], mapped.rules)
    return [(round(i.start_s, 3), round(i.end_s, 3)) for i in recording.labels]


def test_naive_labels_beside_an_empatica_session_need_their_zone(tmp_path):
    folder = tmp_path / "anna_e4"
    folder.mkdir()
    head = f"{START.timestamp():.1f}\n10.0\n"
    for name in ("EDA", "BVP"):
        (folder / f"{name}.csv").write_text(head + "0.5\n" * 600)
    line = ", ".join(3 * [f"{START.timestamp():.1f}"]) + "\n" + ", ".join(3 * ["10.0"]) + "\n"
    (folder / "ACC.csv").write_text(line + "1,2,63\n" * 600)
    words = {"unit": '"1"', "pattern": "{subject}_e4", "signal": "{stream: BVP}"}
    labels = "2024-05-31 09:00:10", "2024-05-31 09:00:30"
    with pytest.raises(
        DataError, match=r"times of anna_e4 count from 1970, and those of anna_labels"
    ):
        beside_labels(tmp_path, labels, **words)
    found = beside_labels(tmp_path, labels, timezone="timezone: Europe/Berlin", **words)
    assert found == [(10, 30)]


def test_the_local_start_of_a_wfdb_record_is_of_the_zone(tmp_path):
    samples = np.arange(600, dtype="<i2")
    samples.tofile(tmp_path / "anna.dat")
    (tmp_path / "anna.hea").write_text(
        "anna 1 10 600 09:00:00 31/05/2024\n"
        f"anna.dat 16 200/mV 16 0 0 {samples.sum(dtype='<i2')} 0 x\n"
    )
    words = {"unit": "mV", "pattern": "{subject}.hea", "signal": "[x]"}
    labels = "2024-05-31T07:00:10Z", "2024-05-31T07:00:30Z"
    found = beside_labels(tmp_path, labels, timezone="timezone: Europe/Berlin", **words)
    assert found == [(10, 30)]


@pytest.mark.parametrize("seconds", [1200, 7200])
def test_the_end_of_a_session_over_the_night_in_spring_is_counted_from_its_start(tmp_path, seconds):
    # 2:10 did not exist, and what would be 3:50 was 4:50
    folder = tmp_path / "anna_e4"
    folder.mkdir()
    start = "2024-03-31 01:50:00"
    for name in ("BVP", "EDA"):
        (folder / f"{name}.csv").write_text(f"{start}\n1.0\n" + "0.5\n" * seconds)
    line = f"{', '.join(3 * [start])}\n1.0, 1.0, 1.0\n"
    (folder / "ACC.csv").write_text(line + "1,2,63\n" * seconds)
    (folder / "tags.csv").write_text("2024-03-31 01:55:00\n")
    (tmp_path / "recordings.yaml").write_text(
        "timezone: Europe/Berlin\n"
        "modalities:\n  bvp: {channels: [bvp], unit: '1', rate_hz: 1}\n"
        "files:\n  - {pattern: '{subject}_e4', signals: {bvp: {stream: BVP}}, annotations: true}\n"
        "classes: [tag 1]\n"
    )
    mapped = load_mapping(tmp_path / "recordings.yaml")
    recording = read_recording(mapped.plans[0], mapped.rules)
    assert [(i.start_s, i.end_s) for i in recording.labels] == [(300, seconds)]
