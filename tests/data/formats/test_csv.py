"""Tables of text: separators, marks, headers, comments; every damaged line is named."""

from __future__ import annotations

import gzip
import pickle
import re
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.data.formats import format_of, open_file
from crossl.data.formats.csv import open_file as open_csv
from crossl.data.formats.layout import TableFormat
from crossl.errors import DataError

NUMBERS = np.array([[0.5, 1.5], [1.0, -2e-3], [1.5, np.nan]])


def table(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    content = open_file(path)
    return content.streams[0]


@pytest.mark.parametrize("text", [
    "t,x\n0.5,1.5\n1.0,-2e-3\n1.5,\n",
    "t;x\n0.5;1.5\n1.0;-2e-3\n1.5;NaN\n",
    "t;x\n0,5;1,5\n1,0;-2e-3\n1,5;NA\n",
    "t\tx\n0,5\t1,5\n1,0\t-2e-3\n1,5\t\n",
    "t|x\r\n0.5|1.5\r\n1.0|-2e-3\r\n1.5|null\r\n",
    "t x\n0.5  1.5\n 1.0 -2e-3\n1.5 nan\n",
    "# made by\n% a device\nt,x\n0.5,1.5\n\n# pause\n1.0,-2e-3\n1.5,\n",
    '"t","x"\n"0.5","1.5"\n"1.0","-2e-3"\n"1.5",""\n',
    " t , x \n 0.5 , 1.5 \n1.0, -2e-3\n1.5, \n",
    "\ufefft,x\n0.5,1.5\n1.0,-2e-3\n1.5,",
])  # fmt: skip
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.txt", "a.dat"])
def test_a_table_is_read_however_it_is_written(tmp_path, text, name):
    stream = table(tmp_path / name, text)
    assert (stream.columns, stream.length, stream.rate_hz) == (("t", "x"), 3, None)
    np.testing.assert_equal(stream.load(["t", "x"]), NUMBERS)
    np.testing.assert_equal(stream.load(["x"]), NUMBERS[:, 1:])
    np.testing.assert_equal(stream.load(["x", "t"]), NUMBERS[:, ::-1])


def test_utf_16_with_its_mark_is_read(tmp_path):
    assert table(tmp_path / "a.csv", "t,x\n1,2\n".encode("utf-16")).columns == ("t", "x")


@pytest.mark.parametrize(("text", "columns"), [
    ("1,2,walk\n2,3,run\n", ("c0", "c1", "c2")),
    ("2020-01-01T00:00:00,2\n2020-01-01T00:00:01,2\n", ("c0", "c1")),
    ("t,what\n1,walk\n2,run\n", ("t", "what")),
    ("what\nwalk\nrun\n", ("what",)),
    (",a,a\n0,1,2\n1,2,3\n", ("c0", "a", "a (2)")),
    ("t,0,1\n0.1,5,6\n0.2,5,7\n", ("t", "0", "1")),
    ("1\n2\n", ("c0",)),
])  # fmt: skip
def test_a_header_is_told_from_samples(tmp_path, text, columns):
    stream = table(tmp_path / "a.csv", text)
    assert stream.columns == columns
    assert stream.length == len(text.splitlines()) - (columns[0] != "c0" or text[0] == ",")


@pytest.mark.parametrize(("text", "columns", "length"), [
    ("0,1\n0.5,1\n0.25,3\n0.1,2\n", ("0", "1"), 3),
    (",0,1\n0,5,6\n1,7,8\n", ("c0", "0", "1"), 2),
    ("0,1,2\n5,6,7\n", ("0", "1", "2"), 1),
    ("0,1\n1,5\n2,7\n", ("c0", "c1"), 3),
    ("0,1\n0.02,5\n0.04,7\n", ("c0", "c1"), 3),
    ("0\n0.1\n", ("c0",), 2),
    ("0.0,nan\n0.02,1.5\n", ("c0", "c1"), 2),
    ("nan\n1.5\n", ("c0",), 2),
])  # fmt: skip
def test_a_header_that_counts_is_told_from_samples(tmp_path, text, columns, length):
    stream = table(tmp_path / "a.csv", text)
    assert (stream.columns, stream.length) == (columns, length)
    assert stream.load([columns[-1]]).shape == (length, 1)


@pytest.mark.parametrize(("text", "values"), [
    ("x\n1\n\n\n2\n\n", [1, None, None, 2]),
    ("\n\nx\n\n1\n", [None, 1]),
    ("\n1\n\n# pause\n \n2", [None, 1, None, None, 2]),
    ("# made by\n\n1\n\n2\n", [1, None, 2]),
])  # fmt: skip
def test_a_blank_line_of_one_column_is_a_sample_without_a_value(tmp_path, text, values):
    stream = table(tmp_path / "a.csv", text)
    (column,) = stream.columns
    np.testing.assert_equal(stream.load([column])[:, 0], np.array(values, dtype=np.float64))
    assert stream.load_text(column).tolist() == ["" if v is None else str(v) for v in values]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_commas_that_may_part_thousands_are_refused(tmp_path, separator):
    text = "t;x\n1;1,234\n2;5,678\n".replace(";", separator)
    with pytest.raises(DataError, match=r"a.csv: numbers such as '1,234' may have three decimals"):
        table(tmp_path / "a.csv", text)
    stream = table(tmp_path / "a.csv", text + f"3{separator}0,500\n")
    assert stream.load(["x"])[:, 0].tolist() == [1.234, 5.678, 0.5]


def test_a_decimal_comma_behind_many_whole_numbers_is_seen(tmp_path):
    stream = table(tmp_path / "a.csv", "t;x\n" + "1;2\n" * 40 + "2;0,5\n")
    assert stream.load(["x"])[-1, 0] == 0.5


def test_text_is_read_as_text(tmp_path):
    stream = table(tmp_path / "a.csv", 't,what\n1,"walk, fast"\n2,\n3, ünd \n')
    assert stream.load_text("what").tolist() == ["walk, fast", "", "ünd"]
    with pytest.raises(DataError, match="line 2, column 'what' holds 'walk, fast'; a number or an"):
        stream.load(["what"])


def test_compressed_tables_are_read(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("t,x\n1,2\n")
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("__MACOSX/a.csv", "junk")
        archive.writestr("inside/a.csv", "t,x\n1,2\n")
    for name in ("a.csv.gz", "a.csv.zip"):
        assert format_of(tmp_path / name) == "csv"
        assert open_file(tmp_path / name).streams[0].load(["x"]).tolist() == [[2.0]]


def test_a_zip_of_several_tables_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "t\n1\n")
        archive.writestr("b.csv", "t\n1\n")
    with pytest.raises(DataError, match="holds 2 files; a zip with one table is read, unpack it"):
        open_file(tmp_path / "a.csv.zip")


@pytest.mark.parametrize("name", ["a.csv.gz", "a.csv.zip"])
def test_a_damaged_archive_is_refused(tmp_path, name):
    text = "t,x\n" + "".join(f"{n},{n * n}\n" for n in range(2000))
    if name.endswith("gz"):
        data = gzip.compress(text.encode())
    else:
        with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", text)
        data = (tmp_path / name).read_bytes()
    middle = len(data) // 2
    changed = data[:middle] + b"\xff" * 9 + data[middle + 9 :]
    for bad in (data[:middle], changed, b"", b"t,x\n1,2"):
        (tmp_path / name).write_bytes(bad)
        if not bad and name.endswith("gz"):
            message = "is empty; a line of names"
        elif bad is changed or (bad == data[:middle] and name.endswith("gz")):
            message = "is damaged or cut off"
        else:
            message = "cannot be read as a table of text: (it is not a zip file|Not a gzipped)"
        with pytest.raises(DataError, match=message):
            open_file(tmp_path / name)


@pytest.mark.parametrize(("text", "message"), [
    ("t,x\n1,2\n2,3\n3\n", "a.csv: line 4 has 1 cells, got '3'; the first line has 2, and every"),
    ("t,x\n1,2\n3", "a.csv: line 3 has 1 cells, got '3'; the first line has 2, so the file is cut"),
    ("t,x\n1,2\n# hm\n\n2,3,4\n", "a.csv: line 5 has 3 cells, got '2,3,4'; the first line has 2"),
    ("t,x\n1,2\n2,3x\n", None),
    ("", "a.csv: is empty; a line of names and lines of samples are needed"),
    ("# only\n", "is empty"),
    ("t,x\n", "a.csv: holds no sample, only the line of names; leave the file out"),
    (b"t,x\n1,\xff\n", "a.csv: line 2 holds bytes that are not UTF-8 text"),
    (b"t,x\n1,2\n\0\0\0", "a.csv: line 3 holds a zero byte; a table of text is needed"),
    ('t,x\n1,"2\n3,4\n', "a quotation mark is never closed; the file is cut off or damaged"),
])  # fmt: skip
def test_a_damaged_table_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message or "line 3, column 'x' holds '3x'; a number"):
        table(tmp_path / "a.csv", text).load(["t", "x"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.floats(allow_nan=False, allow_infinity=False, width=32), st.integers(-9, 9)),
        min_size=1, max_size=9,
    ),
    st.sampled_from(",;\t|"),
)  # fmt: skip
def test_what_was_written_is_what_is_read(tmp_path, rows, separator):
    lines = [f"{a!r}{separator}{b}" for a, b in rows]
    stream = table(tmp_path / "a.csv", f"a{separator}b\n" + "\n".join(lines) + "\n")
    np.testing.assert_equal(stream.load(["a", "b"]), np.array(rows, dtype=np.float64))


def test_real_tables_are_read_whole(real_data):
    folder = real_data("biosignal_samples") / "neurokit"
    lengths = {
        path.name: (open_file(path).streams[0].length, open_file(path).streams[0].columns)
        for path in sorted(folder.glob("*.zip"))
    }
    assert lengths == {
        "bio_eventrelated_100hz.csv.zip": (15000, ("ECG", "EDA", "Photosensor", "RSP")),
        "bio_resting_5min_100hz.csv.zip": (30000, ("ECG", "PPG", "RSP")),
        "bio_resting_8min_100hz.csv.zip": (50682, ("ECG", "RSP", "EDA", "PhotoSensor")),
    }


# --- what devices and spreadsheets write

ROWS = "".join(f"{n / 50:.2f},{n / 7:.4f},{n}\n" for n in range(30))
AS_WRITTEN = {
    "preamble": "Serial: 1\nStart Time 10:15:00\nBattery: 3.85  Mode = 12\n----\nt,x,n\n" + ROWS,
    "preamble of cells": "Type,Watch\nSerial,0017\nRate,50 Hz\n\nt,x,n\n" + ROWS,
    "preamble, semicolons": "A, b\ndevice\nt;x;n\n" + ROWS.replace(",", ";").replace(".", ","),
    "sep": '"sep=;"\nt;x;n\n' + ROWS.replace(",", ";"),
    "sep of a tab": '"sep=\\t"\r\nt\tx\tn\r\n' + ROWS.replace(",", "\t").replace("\n", "\r\n"),
    "carriage returns": ("t,x,n\n" + ROWS).replace("\n", "\r"),
    "ends": "t,x,n\n" + ROWS.replace("\n", ",\n"),
    "ends of the names too": ("t,x,n\n" + ROWS).replace("\n", ",\n"),
    "ends, semicolons": ("t,x,n\n" + ROWS).replace(",", ";").replace("\n", ";\n"),
    "units": "t,x,n\n(s),g,n/a\n" + ROWS,
    "units and ends": "t,x,n,\ns,g,n/a,\n" + ROWS.replace("\n", ",\n"),
    "utf-16": "\ufefft,x,n\n" + ROWS,
    "quoted": "t,x,n\n" + "".join(f'"{line.replace(",", chr(34) + "," + chr(34))}"\n'
                                  for line in ROWS.splitlines()),
    "quoted decimal commas": "t,x,n\n" + "".join(
        ",".join(f'"{cell}"'.replace(".", ",") for cell in line.split(",")) + "\n"
        for line in ROWS.splitlines()),
    "no line end": "t,x,n\n" + ROWS.rstrip("\n"),
}  # fmt: skip


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_what_devices_and_spreadsheets_write_is_read(tmp_path, name):
    stream = table(
        tmp_path / "a.csv", AS_WRITTEN[name].encode("utf-16-le" if name == "utf-16" else "utf-8")
    )
    assert (stream.columns, stream.length) == (("t", "x", "n"), 30)
    expected = np.array([line.split(",") for line in ROWS.splitlines()], dtype=np.float64)
    np.testing.assert_array_equal(stream.load(["t", "x", "n"]), expected)
    if name.startswith("units"):
        assert stream.units == ("s", "g", "n/a")


def test_lines_of_text_without_names_end_with_a_semicolon(tmp_path):
    stream = table(tmp_path / "a.txt", "33,Jog,491.5,-0.6;\n33,Walk,492.5,0.25;\n")
    assert stream.load(["c3"])[:, 0].tolist() == [-0.6, 0.25]


def test_lines_above_the_names_are_told_of(tmp_path):
    table(tmp_path / "a.csv", AS_WRITTEN["preamble"])
    (note,) = open_file(tmp_path / "a.csv").about["notes"]
    assert "4 lines above the names in line 5 hold no samples; `table: {skip_lines: 4}`" in note
    with pytest.raises(DataError, match="line 6, column 'x' holds 'bad'"):
        table(tmp_path / "b.csv", "made by\na device\nt,x\n1,2\n2,3\n3,bad\n").load(["x"])


@pytest.mark.parametrize("text", [
    "t,x\n1,2\n2,3\n3,4\nt,x,y\n1,2,3\n2,3,4\n3,4,5\n",  # two tables, one behind the other
    "1,2\n2\n3,4\n4,5\n5,6\n",  # a damaged line
])  # fmt: skip
def test_a_table_above_another_is_not_left_out(tmp_path, text):
    with pytest.raises(DataError, match=r"the first line has 2, and every line needs as many"):
        table(tmp_path / "a.csv", text)


# --- points and commas


@pytest.mark.parametrize("text", [
    "t;x\n0,5;987\n1,0;1.012\n1,5;999\n",
    "t,x\n0.5,987\n1.0,1.012\n1.5,999\n",
    "t,x\n1,987\n2,12.000\n3,1\n",
])  # fmt: skip
def test_a_point_that_may_part_thousands_is_asked_about(tmp_path, text):
    stream = table(tmp_path / "a.csv", text)
    with pytest.raises(
        DataError, match=r"line 3, column 'x' holds '1.*`table: {thousands: \"\.\"}`"
    ):
        stream.load(["x"])
    assert len(stream.load(["t"])) == 3


@pytest.mark.parametrize(("text", "values"), [
    ("t;x\n0,5;987\n1,0;1.012,5\n1,5;1.012\n", [987, 1012.5, 1012]),
    ('t;x\n0.5;987\n1.0;1,012.5\n1.5;"1,012"\n', [987, 1012.5, 1012]),
    ("t,x\n1,987\n2,1.012\n3,1.5\n", [987, 1.012, 1.5]),
    ("t,x\n1,1987\n2,1.012\n3,2.125\n", [1987, 1.012, 2.125]),
    ("t,x\n1,0.987\n2,1.012\n3,1.000\n", [0.987, 1.012, 1]),
])  # fmt: skip
def test_marks_that_some_cell_tells_are_read(tmp_path, text, values):
    assert table(tmp_path / "a.csv", text).load(["x"])[:, 0].tolist() == values


@pytest.mark.parametrize(("text", "sign"), [
    ("t,x\n1,987\n2,1.012.345\n", r"\."), ('t,x\n1,987\n2,"1,012,345"\n3,1.5\n', ","),
])  # fmt: skip
def test_a_number_of_groups_is_refused_with_its_key(tmp_path, text, sign):
    with pytest.raises(
        DataError, match=rf"line 3, column 'x' .*thousands.* `table: {{thousands: \"{sign}"
    ):
        table(tmp_path / "a.csv", text).load(["x"])


# --- cells and last lines


def test_a_bad_cell_is_named_with_its_line_its_content_and_the_key_that_cures_it(tmp_path):
    text = "t,x\n" + "".join(f"{n},{'ERR' if n in (7, 9) else n / 4}\n" for n in range(40))
    told = (
        r"a.csv: line 9, column 'x' holds 'ERR'; a number or an empty cell is needed \(2 of 40 "
        r"cells are none\); where it means that none was recorded, say "
        r"`table: {missing: \[\"ERR\"\]}`"
    )
    with pytest.raises(DataError, match=told) as caught:
        table(tmp_path / "a.csv", text).load(["x"])
    assert (caught.value.bad, caught.value.given) == (2, 40)
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (str(again), again.bad) == (str(caught.value), 2)


def test_names_in_the_middle_tell_of_files_put_together(tmp_path):
    with pytest.raises(
        DataError, match="line 3, column 't' holds 't', its own name: files were put"
    ):
        table(tmp_path / "a.csv", "t,x\n1,2\nt,x\n1,2\n").load(["t"])


LONG = "".join(f"{n / 50:.2f},{n / 7.3!r}\n" for n in range(1, 30))


@pytest.mark.parametrize(("text", "why"), [
    ("t,x\n1,2\n2,3\n3", "line 4 is cut off (it has 1 of 2 cells), as the file ends there"),
    ("t;x;y\n1;2;3\n2;3;3\n# hm\n\n3;", "line 6 is cut off (it has 2 of 3 cells), as the file"),
    ("t x y\n1 2 3\n2 3 3\n3 3", "line 4 is cut off (it has 2 of 3 cells), as the file ends"),
    ("t,x\n1,2\n2,3\n3,3\n4,", "line 5 is cut off (its last cell is empty), as the file ends"),
    ("t,x\n1,-2\n2,3\n3,3\n4,-", "line 5 is cut off (it ends with '-'), as the file ends there"),
    ("t,x\n1,2.5\n2,3\n3,3.25\n4,8.", "line 5 is cut off (it ends with '8.'), as the file ends"),
    ("t,x\n1,2.125\n2,3.250\n3,4.500\n4,5.375\n5,6.12",
     "line 6 is cut off (it ends with '6.12', fewer decimals than those above), as the file"),
    (f"t,x\n{LONG}0.6,4.28571", "line 31 is cut off (it ends with '4.28571', fewer decimals"),
    ("t,what\n1,rest\n2,walk\n3,rest\n4,res",
     "line 5 is cut off (it ends with 'res', the beginning of 'rest'), as the file ends there"),
])  # fmt: skip
def test_a_last_row_that_the_end_of_the_file_cuts_off_is_left_out_and_told(tmp_path, text, why):
    stream = table(tmp_path / "a.csv", text)
    (note,) = open_file(tmp_path / "a.csv").about["notes"]
    assert note.startswith(f"warning: a.csv: {why}")
    assert note.endswith("without a line end; that row is left out")
    rows = [line for line in text.split("\n")[1:-1] if line and not line.startswith("#")]
    assert stream.length == len(rows)
    times = [float(line.replace(";", ",").replace(" ", ",").split(",")[0]) for line in rows]
    assert stream.load(["t"])[:, 0].tolist() == times
    if "what" in stream.columns:
        assert stream.load_text("what").tolist() == ["rest", "walk", "rest"]


@pytest.mark.parametrize("text", [
    "t,x\n1,2\n2,3\n3,4",
    "t,x\n1,2.125\n2,3.250\n3,4.500\n4,5.375\n5,6.125",
    "t,x\n1,2.125\n2,3.25\n3,4.5\n4,5.375\n5,6",
    "t,x\n1,2.\n2,3.\n3,4.\n4,5.",
    "t,x\n1,2\n2,\n3,4\n4,2\n5,",
    "t,x\n1,-\n2,3\n3,4\n4,5\n5,-",
    "t,what\n1,rest\n2,resting\n3,rest\n4,resting\n5,rest",
    "t,what\n1,rest\n2,walk\n3,rest\n4,run",
    "x\n1\n2\n3\n4",
    f"t,x\n{LONG}0.6,0.25000000000001",
])  # fmt: skip
def test_a_file_that_ends_without_a_line_end_may_be_whole(tmp_path, text):
    stream = table(tmp_path / "a.csv", text)
    assert "notes" not in open_file(tmp_path / "a.csv").about
    assert stream.length == text.count("\n")


def test_a_packed_table_has_a_checksum_and_is_whole(tmp_path):
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("t,x\n1,2.125\n2,3.250\n3,4.500\n4,5.375\n5,6.12")
    content = open_file(tmp_path / "a.csv.gz")
    assert (content.streams[0].length, "notes" in content.about) == (5, False)


@pytest.mark.parametrize(("sign", "said"), [("\u202f", " "), ("\xa0", " "), (" ", " "), ("'", "'")])
def test_digits_that_stand_apart_in_groups_are_told_with_the_keys_that_read_them(
    tmp_path, sign, said
):
    path = tmp_path / "a.csv"
    path.write_text(f"t;x\n0,5;1{sign}012,5\n1,0;987\n1,5;2{sign}001{sign}000,25\n")
    keys = f'table: {{thousands: "{said}", decimal: ","}}'
    with pytest.raises(DataError, match=re.escape(keys)):
        open_file(path).streams[0].load(["x"])
    stream = open_csv(path, TableFormat(thousands=said, decimal=",")).streams[0]
    assert stream.load(["x"])[:, 0].tolist() == [1012.5, 987.0, 2_001_000.25]
