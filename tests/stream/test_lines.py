"""Lines of text to chunks: JSON lines and CSV, in pieces of any length."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crossl.errors import ContractError, DataError
from crossl.stream.lines import LineDecoder
from crossl.stream.source import Chunk, Facts

from .conftest import ACC, ECG, SENSORS, assert_said, chunks_of, labelled, recorded, source_of


def decoded(text: str | bytes, sizes=()) -> list[Facts | Chunk]:
    data, decoder, items = text.encode() if isinstance(text, str) else text, None, []
    decoder = LineDecoder("text", SENSORS)
    for size in sizes:
        items += decoder.feed(data[:size])
        data = data[size:]
    return [*items, *decoder.feed(data), *decoder.close()]


def as_json(item: Facts | Chunk) -> str:
    assert isinstance(item, Chunk)
    values = [[None if np.isnan(x) else float(x) for x in row] for row in item.values]
    return json.dumps({"sensor": item.sensor, "time": item.times, "values": values})


def as_csv(recording) -> str:
    """Write one row for each time at which some sensor has a sample."""
    rows: dict[float, dict[str, float]] = {}
    for name, signal in recording.signals.items():
        for i, row in enumerate(signal.values.tolist()):
            cells = rows.setdefault(i / signal.rate_hz, {})
            for channel, value in zip(SENSORS[name].channels, row, strict=True):
                cells[f"{name}_{channel}" if name == "acc" else name] = value
    head = ["acc_x", "acc_y", "acc_z", "ecg"]
    lines = [",".join(["time", *head])]
    for time, cells in sorted(rows.items()):
        lines.append(",".join([repr(time), *(repr(cells[n]) if n in cells else "" for n in head)]))
    return "\n".join(lines)


@given(st.lists(st.integers(0, 3000), max_size=12), st.booleans())
@settings(max_examples=25, deadline=None)
def test_pieces_of_any_length_say_the_same(sizes, json_lines):
    whole = recorded(seconds=4)
    text = "\n".join(map(as_json, chunks_of(whole))) if json_lines else as_csv(whole)
    found = {name: ([], []) for name in SENSORS}
    for item in decoded(text + "\n" * (len(sizes) % 2), sizes):
        if isinstance(item, Chunk):
            found[item.sensor][0].append(np.atleast_1d(item.times))
            found[item.sensor][1].append(item.values)
    for name, signal in whole.signals.items():
        np.testing.assert_array_equal(np.concatenate(found[name][1]), signal.values)


def test_json_lines_and_csv_say_what_the_recording_says(run, session):
    whole = recorded()
    line = run.timeline(whole)
    for text in ("\n".join(map(as_json, chunks_of(whole))), as_csv(whole)):
        assert_said(labelled(source_of(decoded(text)), session()), line)


def test_a_first_line_says_what_the_source_has():
    line = {
        "sensors": {"acc": {"unit": "m/s2", "rate_hz": 20}, "temp": {"unit": "K"}},
        "origin_unix_s": 10, "zone": "Europe/Berlin", "start_s": -1.5, "jitter_s": 0.1,
    }  # fmt: skip
    facts, chunk = decoded(json.dumps(line) + '\n{"sensor": "acc", "times": [], "last": true}')
    assert facts == replace(
        Facts({"acc": ACC, "temp": facts.sensors["temp"]}, complete=True), origin_unix_s=10,
        zone="Europe/Berlin", start_s=-1.5, jitter_s=0.1,
    )  # fmt: skip
    assert chunk.last
    assert np.size(chunk.values) == 0


def test_csv_may_lack_sensors_and_have_other_columns_and_delimiters():
    facts, chunk, later = decoded(
        "\ufefftime_s;gps;ecg_lead\n0;1;5e-4\n0.5;;\n1;2;nan\n1.5;;7\n".encode()
    )
    assert facts.complete
    assert list(facts.sensors) == ["ecg", "gps"]
    assert facts.sensors["ecg"] == ECG
    assert chunk.sensor == "ecg"
    np.testing.assert_array_equal([*chunk.times, *later.times], [0, 1.5])
    np.testing.assert_array_equal([*chunk.values, *later.values], [[5e-4], [7]])
    _, chunk = decoded("acc_z,time,acc_x,acc_y\n3,0,1,\n")
    np.testing.assert_array_equal(chunk.values, [[1, np.nan, 3]])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "text: line 1: is not JSON"),
        ("[1]", "text: line 1: holds a number; one with 'sensor'"),
        ('{"values": []}', "text: line 1: names no sensor"),
        ('{"sensor": "acc", "valeus": []}', "key 'valeus'; did you mean 'values'"),
        (
            '{"sensor": "acc", "values": []}',
            r"'time' \(of the first sample\) or 'times' \(of each\)",
        ),
        ('{"sensor": "acc", "time": "now", "values": []}', "'time' is text; a number"),
        ('{"sensor": "acc", "time": 0, "values": 3}', "'values' is a number; a list is needed"),
        ('{"sensor": "acc", "time": 0, "values": [[1], [1, 2]]}', "rows of different lengths"),
        ('{"sensor": "acc", "time": 0, "values": [["a"]]}', "holds something that is not a number"),
        ('{"sensor": "acc", "times": [[1]], "values": [[1]]}', "'times' is not a list of numbers"),
        ('{"sensor": "acc", "last": 1}', "'last' is a number; true or false"),
        ('{"sensors": []}', "'sensors' is a list; names with what is known"),
        ('{"sensors": {"acc": 3}}', "'acc' is a number; keys and values are needed"),
        ('{"sensors": {"acc": {"rate": 3}}}', "'acc': key 'rate'; did you mean 'rate_hz'"),
        ('{"sensors": {"acc": {"rate_hz": "3"}}}', "'rate_hz' is text; a number"),
        ('{"sensors": {"acc": {"channels": "xyz"}}}', "'channels' is not a list of names"),
        ('{"sensors": {"acc": {}}, "zone": "Mars"}', "timezone 'Mars' is unknown"),
        ('{"sensors": {"acc": {}}, "start_s": null}', "'start_s' is nothing; a number"),
        ("acc_x,acc_y,acc_z\n", "text: line 1: has no column of times, got acc_x"),
        ("time,acc_x,acc_y\n", "has the column 'acc_x' and not 'acc_z'; all channels"),
        ("time,ecg,ecg\n", "has the column 'ecg' twice"),
        ("time,ecg\n0\n", "text: line 2: has 1 cells; the header has 2"),
        ("time,ecg\n\n0,x\n", "text: line 3: 'ecg' is 'x'; a number is needed"),
        (b"time,ecg\n\xff,1\n", "text: line 2: is not UTF-8 text"),
        (b"0" * (17 * 2**20), "text: line 1: is longer than 16 MiB"),
    ],
)
def test_a_line_that_cannot_be_understood_is_told_in_a_sentence(text, told):
    with pytest.raises(DataError, match=told):
        decoded(text)


def test_another_unit_is_refused_with_both():
    with pytest.raises(
        ContractError, match=r"'acc' is in 'g'; the run was made for 'm/s\^2', convert"
    ):
        decoded('{"sensors": {"acc": {"unit": "g"}}}')
