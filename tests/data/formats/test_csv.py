"""Tables of text: separators, marks, headers, comments; every damaged line is named."""

from __future__ import annotations

import gzip
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crossl.data.formats import format_of, open_file
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
            message = "cannot be read as a table of text: (it is no zip|Not a gzipped)"
        with pytest.raises(DataError, match=message):
            open_file(tmp_path / name)


@pytest.mark.parametrize(("text", "message"), [
    ("t,x\n1,2\n2,3\n3", "a.csv: line 4 has 1 cells, got '3'; the first line has 2, so the"),
    ("t,x\n1,2\n# hm\n\n2,3,4\n", "a.csv: line 5 has 3 cells, got '2,3,4'; the first line has 2"),
    ("t,x\n1,2\n2,3x\n", None),
    ("", "a.csv: is empty; a line of names and lines of samples are needed"),
    ("# only\n", "is empty"),
    ("t,x\n", "a.csv: holds no sample, only the line of names; leave the file out"),
    (b"t,x\n1,\xff\n", "a.csv: line 2 holds bytes that are no UTF-8 text"),
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
