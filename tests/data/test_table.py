"""The block `table:` of a mapping: every key, and the examples of the documentation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from crossl.data.formats import open_file
from crossl.data.formats.csv import sniff
from crossl.data.own.init import init_mapping
from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.own.mapping.table import TableEntry
from crossl.data.own.mapping.times import guess_date_format, read_dates
from crossl.errors import DataError

DOCS = Path(__file__).resolve().parents[2] / "docs/mapping.md"
EXAMPLES = re.findall(
    r"```text\n(.*?)```\n```yaml\ntable: (.*?)\n```", DOCS.read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.parametrize(("text", "keys"), EXAMPLES, ids=[keys for _, keys in EXAMPLES])
def test_the_examples_of_the_documentation_are_what_they_say(tmp_path, text, keys):
    entry = TableEntry.model_validate(yaml.safe_load(keys))
    (tmp_path / "a.csv").write_bytes(text.encode(entry.encoding or "utf-8"))
    stream = open_file(tmp_path / "a.csv", None, entry.told()).streams[0]
    t, x, *more = stream.columns
    if entry.date_format:
        cells = stream.load_text(t)
        times = read_dates("t", cells, np.arange(2), entry.date_format)[0]
    else:
        times = stream.load([t])[:, 0]
    np.testing.assert_equal(times, [0.5, 1.0])
    np.testing.assert_equal(stream.load([x])[:, 0], [1012.5, 987.0])
    assert not more or np.isnan(stream.load(more)).all()


def test_every_key_has_an_example():
    said = {key for _, keys in EXAMPLES for key in yaml.safe_load(keys)}
    assert said == set(TableEntry.model_fields)


STUDY = """
table: {missing: [-9999], decimal: ","}
modalities:
  acc: {channels: [x], unit: g, rate_hz: 2, valid_range: [-8, 8]}
files:
  - pattern: "{subject}.csv"
    clock: t
    signals: {acc: [x]}
    TABLE
"""


def study(root, text, table=""):
    (root / "anna.csv").write_text(text)
    (root / "recordings.yaml").write_text(STUDY.replace("TABLE", table))
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[0], mapped.rules)


def test_a_file_says_otherwise_than_all_and_values_out_of_range_are_missing_and_counted(tmp_path):
    rows = [("0,0", "1,0"), ("0,5", "-9999"), ("1,0", "99"), ("1,5", "0,5"), ("2,0", "x")]
    text = "t;x\n" + "".join(f"{t};{x}\n" for t, x in rows)
    recording = study(tmp_path, text, 'table: {missing: ["x", -9999]}')
    found = recording.signals["acc"].values[:, 0] / 9.80665
    np.testing.assert_allclose(found, [1, np.nan, np.nan, 0.5, np.nan], rtol=1e-6)
    assert any("acc: 1 of 5 values lie outside -8 to 8 g" in note for note in recording.notes)
    with pytest.raises(DataError, match=r"line 6, column 'x' holds 'x'"):
        study(tmp_path, text.replace("t;x", "t;acc").replace("x", "x").replace("acc", "x"))


@pytest.mark.parametrize(("keys", "message"), [
    ("{skip_line: 1}", r"files.0.table.skip_line: unknown key; did you mean 'skip_lines'"),
    ("{encoding: hex}", "table.encoding: is not a text encoding"),
    ("{delimiter: ab}", "table.delimiter: is not a delimiter"),
    ('{decimal: ".", thousands: "."}', r"decimal and thousands are both '.'; they must differ"),
    ("{date_format: DD.MM.YYYY}", "table.date_format: has no letter of strptime"),
    ("{header: false, units_row: true}", "`units_row` comes below names"),
])  # fmt: skip
def test_a_key_that_makes_no_sense_is_refused(tmp_path, keys, message):
    with pytest.raises(DataError, match=message):
        study(tmp_path, "t,x\n0,1\n1,2\n", f"table: {keys}")


def test_a_table_block_for_a_file_that_is_no_table_is_refused(tmp_path):
    text = STUDY.replace("{subject}.csv", "{subject}.edf").replace("TABLE", "table: {header: true}")
    (tmp_path / "recordings.yaml").write_text(text)
    with pytest.raises(
        DataError, match="has a `table`, which is for tables of text, and is of format"
    ):
        load_mapping(tmp_path / "recordings.yaml")


def test_times_of_day_pass_midnight(tmp_path):
    mapping = STUDY.replace("    clock: t\n", "    clock: t\n    clock_unit: datetime\n")
    (tmp_path / "anna.csv").write_text(
        "t,x\n23:59:59.0,1\n23:59:59.5,2\n00:00:00.0,3\n00:00:00.5,4\n"
    )
    text = mapping.replace("TABLE", 'table: {date_format: "%H:%M:%S.%f", decimal: "."}')
    (tmp_path / "recordings.yaml").write_text(text)
    mapped = load_mapping(tmp_path / "recordings.yaml")
    recording = read_recording(mapped.plans[0], mapped.rules)
    assert recording.start_s == 86399.0
    np.testing.assert_allclose(recording.signals["acc"].values[:, 0] / 9.80665, [1, 2, 3, 4])


@pytest.mark.parametrize(("cells", "guess"), [
    (["31.05.2024 09:30:00"], "%d.%m.%Y %H:%M:%S"),
    (["5/31/2024 9:30:00 PM"], "%m/%d/%Y %I:%M:%S %p"),
    (["1/2/2024 9:30", "3/4/2024 9:31"], None),
    (["09:30:00.5"], "%H:%M:%S.%f"),
    (["walk"], None),
])  # fmt: skip
def test_a_date_that_is_not_iso_is_refused_with_the_format_it_may_have(cells, guess):
    assert guess_date_format(cells) == guess
    told = re.escape(f'date_format: "{guess}"') if guess else "is not a date with a time"
    with pytest.raises(DataError, match=told):
        read_dates("t", np.array(cells), np.arange(len(cells)))


@pytest.mark.parametrize("cell", [
    "2014-05-07 13:29:50.500+0100 [Europe/London]", "2014-05-07 12:29:50:500Z",
    "2014-05-07 12:29:50.500 UTC",
])  # fmt: skip
def test_dates_of_known_devices_are_read(cell):
    times, zoned = read_dates("t", np.array([cell]), np.arange(1))
    assert (times[0], zoned) == (1399465790.5, True)


@pytest.mark.parametrize(("data", "keys"), [
    (b"t,x\n0.5,1\n1.0,2\n", {}),
    (b"made by\na device\nt,x\n0.5,1\n1.0,2\n", {"skip_lines": 2}),
    (b"t;x\n0,5;1.012,5\n1,0;987\n", {"decimal": ",", "thousands": "."}),
    ("t;größe\n0,5;1\n1,0;987\n".encode("cp1252"), {"encoding": "cp1252"}),
    (b"t,x\n(s),(g)\n0.5,1\n1.0,2\n", {"units_row": True}),
    (b't,x\n"0,5","1,5"\n"1,0","2,25"\n', {"decimal": ","}),
])  # fmt: skip
def test_the_keys_that_a_table_needs_are_sniffed_and_read_it(tmp_path, data, keys):
    (tmp_path / "a.csv").write_bytes(data)
    assert sniff(tmp_path / "a.csv") == keys
    entry = TableEntry.model_validate(keys)
    stream = open_file(tmp_path / "a.csv", None, entry.told()).streams[0]
    assert stream.load([stream.columns[0]])[:, 0].tolist() == [0.5, 1.0]


def test_batches_of_one_time_are_spread_and_told_of(tmp_path):
    text = "t;x\n" + "".join(f"{n // 10 * 5};{n / 100:.2f}\n".replace(".", ",") for n in range(200))
    recording = study(tmp_path, text)
    np.testing.assert_allclose(
        recording.signals["acc"].values[:, 0] / 9.80665, np.arange(200) / 100, atol=1e-6
    )
    assert any(
        "acc: 180 of 200 samples have the time of the one before" in n for n in recording.notes
    )


# --- what `data init` makes of them


def as_init(root, rows, names="t;x;y;z", *, sep=";"):
    (root / "anna").mkdir(parents=True)
    text = "\n".join([names, *rows]).replace(";", sep) + "\n"
    (root / "anna" / "watch.csv").write_bytes(text.encode("cp1252"))
    mapping = init_mapping(root)
    written = mapping.read_text()
    values = yaml.safe_load(written)
    return written, values["files"][0], values


def clocked(cells):
    return [f"{cell};{n % 7 / 10};{n % 5 / 10};{1 + n % 3 / 10}" for n, cell in enumerate(cells)]


@pytest.mark.parametrize(("cells", "unit", "table"), [
    ([f"{45443.375 + n / 86400 / 50:.10f}" for n in range(300)], "excel_days", None),
    ([f"31.05.2024 09:30:{n // 50:02},{n % 50 * 20:03}" for n in range(300)], "datetime",
     {"date_format": "%d.%m.%Y %H:%M:%S,%f"}),
    ([f"{23 * (n < 150):02}:{59 * (n < 150):02}:{57 * (n < 150) + n // 50 % 3:02}.{n % 50 * 20:03}"
      for n in range(300)], "datetime", {"date_format": "%H:%M:%S.%f"}),
    ([f"{n / 50:.2f}" for n in range(300)], "s", None),
])  # fmt: skip
def test_init_writes_the_clock_and_the_table_that_it_sees(tmp_path, cells, unit, table):
    _, entry, values = as_init(tmp_path / "study", clocked(cells))
    assert (entry["clock"], entry["clock_unit"], entry.get("table")) == ("t", unit, table)
    assert {m["rate_hz"] for m in values["modalities"].values()} == {50}
    mapped = load_mapping(tmp_path / "study" / "recordings.yaml")
    assert (
        len(next(iter(read_recording(mapped.plans[0], mapped.rules).signals.values())).values)
        == 300
    )


def test_init_writes_lines_above_and_encoding_and_reads_what_it_wrote(tmp_path):
    names = "Gerät\nfür alle\nt;x;y;z"
    _, entry, _ = as_init(tmp_path / "study", clocked([f"{n / 50:.2f}" for n in range(300)]), names)
    assert entry["table"] == {"encoding": "cp1252", "skip_lines": 2}
    mapped = load_mapping(tmp_path / "study" / "recordings.yaml")
    assert read_recording(mapped.plans[0], mapped.rules).end_s == pytest.approx(6.0)


def test_init_names_the_cell_that_keeps_a_column_from_being_read(tmp_path):
    rows = clocked([f"{n / 50:.2f}" for n in range(300)])
    rows[123] = "2.46;0.1;oops;1.0"
    written, _, _ = as_init(tmp_path / "study", rows)
    assert re.search(
        r"# y is NOT READ, .*watch.csv: line 125, column 'y' holds 'oops'; .*missing", written
    )


def test_days_of_excel_read_as_seconds_are_told(tmp_path):
    rows = [f"{45443.375 + n / 86400 / 2:.10f};{n / 100}".replace(".", ",") for n in range(100)]
    with pytest.raises(
        DataError, match="its clock counts days, as Excel does; say `clock_unit: excel"
    ):
        study(tmp_path, "t;x\n" + "\n".join(rows) + "\n")
    clock = "clock_unit: excel_days"
    recording = study(tmp_path, "t;x\n" + "\n".join(rows) + "\n", clock)
    assert len(recording.signals["acc"].values) == 100


def test_init_takes_the_units_of_the_file_and_names_what_spoils_all(tmp_path):
    rows = clocked([f"{n / 51.2:.6f}" for n in range(300)])
    _, entry, values = as_init(tmp_path / "a", rows, "t;x;y;z\n(s);(mg);(mg);(mg)")
    assert (entry["table"], [m["unit"] for m in values["modalities"].values()]) == (
        {"units_row": True}, ["mg"])  # fmt: skip
    assert [m["rate_hz"] for m in values["modalities"].values()] == [51.2]
    with pytest.raises(
        DataError, match=r"no column that could be a signal; .* line 302, .* its own name"
    ):
        as_init(tmp_path / "b", [*rows, "t;x;y;z", *rows])


def test_init_prefers_a_clock_without_batches_and_takes_none_for_a_label(tmp_path):
    cells = [f"2024-05-31T09:00:{n // 73:02};{n / 130:.6f}" for n in range(300)]
    _, entry, _ = as_init(tmp_path / "a", clocked(cells), "Phone timestamp;time;x;y;z")
    assert (entry["clock"], entry.get("label")) == ("time", None)


def test_a_fraction_stands_behind_seconds():
    assert guess_date_format(["00:59.9", "01:00.0"]) == "%M:%S.%f"
    assert guess_date_format(["09:30"]) == "%H:%M"
