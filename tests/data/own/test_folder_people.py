"""Tables for several people: rows by columns of subject and session, and labels for all."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from crossl.data.formats import open_file
from crossl.data.own.init import init_mapping
from crossl.data.own.init.draft import quoted
from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.own.mapping.people import named_like_subject, subject_columns
from crossl.data.readers import open_dataset
from crossl.doctor import examine_recordings
from crossl.errors import DataError

START = 1_700_000_000.0


def signal(number, rate_hz, seconds):
    """Return a wave that tells whose it is."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return t, np.round(np.sin(2 * np.pi * (0.5 + 0.25 * number) * t) + 10 * number, 4)


def write_rows(path, names, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [",".join(names), *(",".join(str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def everyone(people, *, interleaved=True, rate_hz=32, seconds=10, start=0.0):
    """Return rows of several people, at the same times or one after another."""
    rows = []
    for number, who in enumerate(people):
        t, x = signal(number, rate_hz, seconds)
        rows += [(who, f"{at:.6f}", value) for at, value in zip(t + start, x, strict=True)]
    return sorted(rows, key=lambda row: float(row[1])) if interleaved else rows


def mapping(root, *files, **more):
    values = {"modalities": {"s": {"channels": ["x"], "unit": "1", "rate_hz": 32}}}
    root.mkdir(parents=True, exist_ok=True)
    (root / "recordings.yaml").write_text(yaml.safe_dump({**values, "files": list(files), **more}))
    return root


def read(root):
    """Return the recordings by subject and session."""
    mapped = load_mapping(root / "recordings.yaml")
    found = [read_recording(plan, mapped.rules) for plan in mapped.plans]
    return {(one.subject, one.session): one for one in found}


TABLE = {"pattern": "all.csv", "clock": "t", "signals": {"s": "x"}}


@pytest.mark.parametrize("interleaved", [True, False])
@pytest.mark.parametrize("people", [["anna", "Ben", "Zoë"], [3, 1, 12]])
def test_one_table_gives_a_recording_for_each_person(tmp_path, people, interleaved):
    write_rows(tmp_path / "all.csv", ["who", "t", "x"], everyone(people, interleaved=interleaved))
    found = read(mapping(tmp_path, TABLE | {"subject_column": "who"}))
    assert {subject for subject, _ in found} == {str(who) for who in people}
    for number, who in enumerate(people):
        values = found[str(who), "1"].signals["s"].values[:, 0]
        np.testing.assert_allclose(values, signal(number, 32, 10)[1], atol=1e-3)


def test_a_column_of_sessions_tells_recordings_apart(tmp_path):
    rows = [(who, day, t, x) for day in ("mon", "tue") for who, t, x in everyone(["a", "b"])]
    write_rows(tmp_path / "all.csv", ["who", "day", "t", "x"], rows)
    columns = {"subject_column": "who", "session_column": "day"}
    assert list(read(mapping(tmp_path, TABLE | columns))) == [
        ("a", "mon"),
        ("a", "tue"),
        ("b", "mon"),
        ("b", "tue"),
    ]


def test_a_column_of_sessions_stands_beside_a_subject_in_the_path(tmp_path):
    for who in ("a", "b"):
        rows = [(day, t, x) for day in (1, 2) for _, t, x in everyone([who])]
        write_rows(tmp_path / f"{who}.csv", ["day", "t", "x"], rows)
    entry = TABLE | {"pattern": "{subject}.csv", "session_column": "day"}
    assert list(read(mapping(tmp_path, entry))) == [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]


def test_arrays_that_say_whose_the_rows_are(tmp_path):
    rows = everyone([7, 8])
    tmp_path.mkdir(exist_ok=True)
    np.savez(
        tmp_path / "all.npz",
        x=[r[2] for r in rows],
        t=[float(r[1]) for r in rows],
        subject=[r[0] for r in rows],
        note=np.arange(5),
    )
    entry = TABLE | {"pattern": "all.npz", "subject_column": "subject"}
    assert list(read(mapping(tmp_path, entry))) == [("7", "1"), ("8", "1")]


def test_rows_that_name_nobody_are_told_of(tmp_path):
    rows = [*everyone(["a", "b"]), ("", "3.3", 0), ("", "3.4", 0)]
    write_rows(tmp_path / "all.csv", ["who", "t", "x"], rows)
    found = read(mapping(tmp_path, TABLE | {"subject_column": "who"}))
    assert list(found) == [("a", "1"), ("b", "1")]
    assert "all.csv: 2 rows that name no person were left out" in found["a", "1"].notes


def test_a_label_for_each_sample_goes_with_its_row(tmp_path):
    rows = [(*row, "walk" if row[0] == "a" else "rest") for row in everyone(["a", "b"])]
    write_rows(tmp_path / "all.csv", ["who", "t", "x", "act"], rows)
    found = read(mapping(tmp_path, TABLE | {"subject_column": "who", "label": "act"}))
    assert [one.label for one in found["a", "1"].labels] == ["walk"]
    assert [one.label for one in found["b", "1"].labels] == ["rest"]


# --- one table of labels for all


LABELS = {
    "pattern": "labels.csv",
    "subject_column": "person",
    "intervals": {"start": "from", "end": "to", "label": "what"},
}


def labelled(tmp_path, rows, names=("person", "from", "to", "what"), *, sessions=("1",), start=0.0):
    for who in ("a", "b"):
        for at, session in enumerate(sessions):
            rows_here = [r[1:] for r in everyone([who], start=start + 100 * at)]
            write_rows(tmp_path / f"{who}_{session}.csv", ["t", "x"], rows_here)
    write_rows(tmp_path / "labels.csv", names, rows)
    return TABLE | {"pattern": "{subject}_{session}.csv"}


def spans(recording):
    return [(round(i.start_s, 3), round(i.end_s, 3), i.label) for i in recording.labels]


def test_one_table_of_labels_is_for_everybody_in_it(tmp_path):
    rows = [("a", 0, 5, "walk"), ("b", 2, 4, "rest"), ("a", 5, 9, "rest"), ("c", 0, 5, "walk")]
    signals = labelled(tmp_path, rows)
    found = read(mapping(tmp_path, signals, LABELS))
    assert spans(found["a", "1"]) == [(0, 5, "walk"), (5, 9, "rest")]
    assert spans(found["b", "1"]) == [(2, 4, "rest")]
    assert list(found) == [("a", "1"), ("b", "1")]
    assert "labels.csv has labels of 1 recordings without signals (c/1)" in found["a", "1"].notes


def test_who_is_not_in_the_table_of_labels_is_told_of(tmp_path):
    found = read(mapping(tmp_path, labelled(tmp_path, [("a", 0, 5, "walk")]), LABELS))
    assert "labels.csv has no label of this recording" in found["b", "1"].notes
    assert spans(found["b", "1"]) == []


def test_a_table_of_labels_may_name_the_session(tmp_path):
    rows = [
        ("a", "x", 0, 5, "walk"),
        ("a", "y", 100, 103, "rest"),
        ("b", "x", 0, 9, "rest"),
        ("b", "y", 100, 104, "walk"),
    ]
    names = ("person", "day", "from", "to", "what")
    signals = labelled(tmp_path, rows, names, sessions=("x", "y"))
    found = read(mapping(tmp_path, signals, LABELS | {"session_column": "day"}))
    assert spans(found["a", "y"]) == [(100, 103, "rest")]
    assert spans(found["b", "x"]) == [(0, 9, "rest")]


def test_labels_without_a_session_are_of_the_one_that_was_recorded_then(tmp_path):
    rows = [
        ("a", START + 1, START + 5, "walk"),
        ("a", START + 101, START + 104, "rest"),
        ("b", START + 100, START + 104, "walk"),
    ]
    signals = labelled(tmp_path, rows, sessions=("x", "y"), start=START)
    found = read(mapping(tmp_path, signals, LABELS))
    assert spans(found["a", "x"]) == [(1, 5, "walk")]
    assert spans(found["a", "y"]) == [(1, 4, "rest")]
    assert spans(found["b", "x"]) == []
    assert spans(found["b", "y"]) == [(0, 4, "walk")]


def test_labels_without_a_session_are_refused_where_every_session_counts_from_0(tmp_path):
    signals = labelled(tmp_path, [("a", 0, 5, "walk"), ("b", 0, 5, "walk")], sessions=("x", "y"))
    with pytest.raises(DataError, match=r"labels name no session .* give `session_column:`"):
        read(mapping(tmp_path, signals, LABELS))


def test_labels_of_nobody_who_was_recorded_are_refused(tmp_path):
    signals = labelled(tmp_path, [("P1", 0, 5, "walk"), ("P2", 0, 5, "rest")])
    with pytest.raises(DataError, match=r"has labels .labels.csv. but no file with signals"):
        read(mapping(tmp_path, signals, LABELS))


# --- until mapped


@pytest.mark.parametrize(
    "name",
    [
        "subject",
        "user",
        "Participant ID",
        "Proband",
        "sujet",
        "pid",
        "Versuchsperson",
        "ID",
        "subject_id",
        "userId",
        "VP",
    ],
)
def test_a_table_for_several_people_is_refused_until_mapped(tmp_path, name):
    write_rows(tmp_path / "S1.csv", [name, "t", "x"], everyone(["a", "b", "c"], interleaved=False))
    root = mapping(tmp_path, TABLE | {"pattern": "{subject}.csv"})
    with pytest.raises(
        DataError,
        match=rf"S1.csv: column '{name}' names 3 people \(a, b, c\) in a "
        rf"file that counts as one person's; say `subject_column: {name}`",
    ):
        read(root)
    with open_dataset("folder", root) as dataset:
        finding = examine_recordings(dataset).of("error")[0]
    assert f"say `subject_column: {name}`" in finding.what


@pytest.mark.parametrize("codes", [[1, 2, 3], ["1.0", "2.0"]])
def test_small_whole_numbers_are_people_as_well(tmp_path, codes):
    write_rows(tmp_path / "S1.csv", ["subject", "t", "x"], everyone(codes))
    with pytest.raises(DataError, match=r"column 'subject' names \d people \(1, 2"):
        read(mapping(tmp_path, TABLE | {"pattern": "{subject}.csv"}))


def test_a_table_of_labels_for_several_people_is_refused_until_mapped(tmp_path):
    rows = [("a", 0, 5, "walk"), ("b", 2, 4, "rest"), ("a", 5, 9, "rest")]
    signals = labelled(tmp_path, rows)
    with pytest.raises(DataError, match=r"labels.csv: column 'person' names 2 people"):
        read(
            mapping(
                tmp_path,
                signals,
                {"pattern": "labels.csv", "subject": "a", "intervals": LABELS["intervals"]},
            )
        )


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("id", range(320)),
        ("user", ["anna"] * 320),
        ("patient", [""] * 320),
        ("activity_id", [1, 2] * 160),
        ("user", np.linspace(0, 1, 320).round(3)),
    ],
)
def test_what_is_no_column_of_people_is_let_pass(tmp_path, name, cells):
    rows = [(c, t, x) for c, (_, t, x) in zip(cells, everyone(["a"]), strict=True)]
    write_rows(tmp_path / "S1.csv", [name, "t", "x"], rows)
    assert list(read(mapping(tmp_path, TABLE | {"pattern": "{subject}.csv"}))) == [("S1", "1")]


def test_a_mapping_may_say_that_it_is_one_person_all_the_same(tmp_path):
    write_rows(
        tmp_path / "S1.csv",
        ["user", "t", "x"],
        everyone(["left", "right"], interleaved=False)[:330],
    )
    entry = TABLE | {"pattern": "{subject}.csv", "one_person": True}
    with pytest.raises(DataError, match=r"rate|increase"):
        read(mapping(tmp_path, entry | {"clock": "x"}))  # past the check, on to the clock


def test_the_column_of_people_is_found_by_its_name_and_values(tmp_path):
    write_rows(
        tmp_path / "all.csv",
        ["t", "Proband", "x"],
        [(t, who, x) for who, t, x in everyone(["P1", "P2"])],
    )
    assert subject_columns(open_file(tmp_path / "all.csv")) == {"Proband": ("P1", "P2")}
    assert not named_like_subject("user agent")


@pytest.mark.parametrize("name", [
    "Probanden-ID", "Patienten ID", "Testperson", "Nutzer", "Respondent ID", "CaseID", "animal_id",
    "Numéro du sujet", "Número de paciente", "Försöksperson", "Forsøksperson", "Испытуемый",
    "被験者", "被験者番号",
])  # fmt: skip
def test_people_are_named_in_several_languages(tmp_path, name):
    rows = [(t, who, x) for who, t, x in everyone(["P1", "P2"])]
    write_rows(tmp_path / "all.csv", ["t", name, "x"], rows)
    with pytest.raises(DataError, match=f"column '{name}' names 2 people"):
        read(mapping(tmp_path, TABLE | {"subject": "one"}))
    (tmp_path / "recordings.yaml").unlink()
    assert f"subject_column: {quoted(name)}" in init_mapping(tmp_path).read_text()


def test_long_numbers_are_people_where_many_rows_share_one(tmp_path):
    rows = [(t, who, x) for who, t, x in everyone([20240001, 20240002])]
    write_rows(tmp_path / "all.csv", ["t", "user_id", "x"], rows)
    with pytest.raises(DataError, match="column 'user_id' names 2 people"):
        read(mapping(tmp_path, TABLE | {"subject": "one"}))


def test_text_that_changes_from_row_to_row_is_no_label(tmp_path):
    rows = [(t, who, x) for who, t, x in everyone(["P1", "P2"])]
    write_rows(tmp_path / "all.csv", ["t", "token", "x"], rows)
    assert "label: token" not in init_mapping(tmp_path).read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"subject_column": "whom"}, "all.csv: has no column 'whom'; did you mean 'who'?"),
        (
            {"subject_column": "who", "subject": "a"},
            "takes the subject from the column 'who' and from elsewhere; keep one",
        ),
        ({"subject_column": "empty"}, "no row says whose it is, column 'empty' is empty"),
        ({"subject_column": "who", "one_person": True}, "keep one"),
    ],
)
def test_a_column_that_tells_nobody_is_refused(tmp_path, change, message):
    rows = [(*row, "") for row in everyone(["a", "b"])]
    write_rows(tmp_path / "all.csv", ["who", "t", "x", "empty"], rows)
    with pytest.raises(DataError, match=message.replace("?", r"\?")):
        read(mapping(tmp_path, TABLE | change))


def test_a_table_is_read_once_for_all(tmp_path, monkeypatch):
    from crossl.data.formats import csv

    count = []
    frame = csv._frame
    monkeypatch.setattr(csv, "_frame", lambda *a, **k: count.append(1) or frame(*a, **k))
    write_rows(tmp_path / "all.csv", ["who", "t", "x"], everyone(list("abcdefgh")))
    assert len(read(mapping(tmp_path, TABLE | {"subject_column": "who"}))) == 8
    assert len(count) <= 3
