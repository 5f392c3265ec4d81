"""Parts of a session, long tables, offsets of single devices, optional channels, own gaps."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from crossl.data.own.mapping import load_mapping, read_recording
from crossl.data.prepare import plan_for, prepare_store
from crossl.data.readers import open_dataset
from crossl.data.store import Store
from crossl.errors import DataError
from tests.data.own.test_folder_people import spans, write_rows

ACC = {"channels": ["x", "y"], "unit": "1", "rate_hz": 20, "device": "watch"}


def mapping(root, *files, modalities=None, **more):
    values = {"modalities": modalities or {"acc": ACC}, "files": list(files), **more}
    root.mkdir(parents=True, exist_ok=True)
    (root / "recordings.yaml").write_text(yaml.safe_dump(values))
    return root


def read(root, number=0):
    mapped = load_mapping(root / "recordings.yaml")
    return read_recording(mapped.plans[number], mapped.rules)


def part(path, start, seconds=5, *, level=0.0, rate_hz=20, clock=True, more=()):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    rows = [[f"{at + start:.4f}", level + at, -at, *more] for at in t]
    names = ["t", "x", "y", *(f"m{n}" for n in range(len(more)))]
    if not clock:
        names, rows = names[1:], [row[1:] for row in rows]
    write_rows(path, names, rows)


PARTS = {"pattern": "{subject}_{part}.csv", "clock": "t", "signals": {"acc": ["x", "y"]}}


def test_parts_follow_on_their_clocks_and_gaps_stay(tmp_path):
    for number, start in ((1, 0.0), (2, 5.0), (10, 12.0)):
        part(tmp_path / f"S1_{number}.csv", start, level=100 * number)
    signal = read(mapping(tmp_path, PARTS)).signals["acc"]
    there = ~np.isnan(signal.values).any(axis=1)
    assert len(signal.values) == 17 * 20
    assert there[:200].all()
    assert not there[202:238].any()
    assert there[240:].all()
    np.testing.assert_allclose(signal.values[[0, 100, 240], 0], [100, 200, 1000], atol=1e-3)


def test_parts_out_of_order_are_refused_by_name(tmp_path):
    part(tmp_path / "S1_1.csv", 8.0)
    part(tmp_path / "S1_2.csv", 0.0)
    with pytest.raises(
        DataError,
        match=r"S1_2.csv: begins at 0 s, before the part S1_1.csv ends "
        r"at 13 s; parts follow each other in the order of their names",
    ):
        read(mapping(tmp_path, PARTS))


def test_parts_that_count_from_their_own_start_follow_where_the_mapping_says_so(tmp_path):
    for number in (1, 2, 3):
        part(tmp_path / f"S1_{number}.csv", 0.0, level=100 * number)
    signal = read(mapping(tmp_path, PARTS | {"parts": "follow"})).signals["acc"]
    assert len(signal.values) == 300
    assert np.isfinite(signal.values).all()
    np.testing.assert_allclose(signal.values[[0, 100, 200], 0], [100, 200, 300], atol=1e-3)


def test_parts_without_a_clock_need_the_statement(tmp_path):
    for number in (1, 2):
        part(tmp_path / f"S1_{number}.csv", 0.0, level=100 * number, clock=False)
    entry = {key: value for key, value in PARTS.items() if key != "clock"}
    with pytest.raises(DataError, match=r"S1_2.csv: is a part without a clock, .*`parts: follow`"):
        read(mapping(tmp_path, entry))
    signal = read(mapping(tmp_path, entry | {"parts": "follow"})).signals["acc"]
    np.testing.assert_allclose(
        signal.values[:, 0], np.r_[100 + np.arange(100) / 20, 200 + np.arange(100) / 20]
    )


def test_labels_of_parts_go_with_them(tmp_path):
    part(tmp_path / "S1_1.csv", 0.0, more=("walk",))
    part(tmp_path / "S1_2.csv", 6.0, more=("rest",))
    found = read(mapping(tmp_path, PARTS | {"label": "m0"}))
    assert spans(found) == [(0, 5, "walk"), (6, 11, "rest")]


def test_parts_of_a_format_with_a_start_and_a_rate_keep_the_gap(tmp_path):

    edfio = pytest.importorskip("edfio")
    import datetime

    for number, second in ((1, 0), (2, 14)):
        values = np.sin(np.arange(1000) / 50) * number
        signal = edfio.EdfSignal(
            values,
            sampling_frequency=100,
            label="ECG",
            physical_dimension="mV",
            physical_range=(-5, 5),
        )
        edfio.Edf(
            [signal],
            starttime=datetime.time(9, 0, second),
            recording=edfio.Recording(startdate=datetime.date(2024, 5, 1)),
        ).write(tmp_path / f"S1_{number}.edf")
    ecg = {"channels": ["ecg"], "unit": "mV", "rate_hz": 100}
    entry = {"pattern": "{subject}_{part}.edf", "signals": {"ecg": "ECG"}, "timezone": "UTC"}
    signal = read(mapping(tmp_path, entry, modalities={"ecg": ecg})).signals["ecg"]
    missing = np.isnan(signal.values[:, 0])
    assert np.flatnonzero(missing).tolist() == list(range(1000, 1400))
    assert len(signal.values) == 2400


def write_edf(path, annotations, *, named="ECG"):
    edfio = pytest.importorskip("edfio")
    signals = [
        edfio.EdfSignal(np.sin(np.arange(1000) / 50), sampling_frequency=100, label=label,
                        physical_dimension="mV", physical_range=(-5, 5))
        for label in (named, "Marker")
    ]  # fmt: skip
    found = [edfio.EdfAnnotation(at, None, text) for at, text in annotations]
    edfio.Edf(signals, annotations=found).write(path)


EDF = {"pattern": "{subject}_{part}.edf", "signals": {"ecg": "ECG"}, "parts": "follow"}
ECG = {"ecg": {"channels": ["ecg"], "unit": "mV", "rate_hz": 100}}


def test_points_in_time_end_no_state_of_a_part(tmp_path):
    write_edf(tmp_path / "S1_1.edf", [(0, "rest"), (4, "blink"), (7, "walk")])
    write_edf(tmp_path / "S1_2.edf", [(1, "blink"), (2, "rest"), (5, "blink")])
    entry = EDF | {"annotations": True}
    root = mapping(tmp_path, entry, modalities=ECG, classes=["rest", "walk"])
    assert spans(read(root)) == [(0, 7, "rest"), (7, 10, "walk"), (12, 20, "rest")]


def test_why_a_signal_of_a_part_cannot_be_read_is_told(tmp_path):
    for number in (1, 2):
        write_edf(tmp_path / f"S1_{number}.edf", [])
    path = tmp_path / "S1_2.edf"
    data = path.read_bytes()
    assert data.count(b"5       5       ") == 1
    path.write_bytes(data.replace(b"5       5       ", b"-5      5       "))
    with pytest.raises(DataError, match=r"'ECG' cannot be read: in S1_2.edf, it has physical min"):
        read(mapping(tmp_path, EDF, modalities=ECG))


def test_a_part_that_lacks_a_column_is_named(tmp_path):
    part(tmp_path / "S1_1.csv", 0.0)
    write_rows(tmp_path / "S1_2.csv", ["t", "x"], [[5 + at / 20, 0] for at in range(100)])
    with pytest.raises(DataError, match=r"S1_2.csv: has no column 'y', other parts have it"):
        read(mapping(tmp_path, PARTS))


def test_tables_of_intervals_may_come_in_parts(tmp_path):
    part(tmp_path / "S1.csv", 0.0, seconds=20)
    write_rows(tmp_path / "S1_l1.csv", ["b", "e", "w"], [(0, 3, "walk")])
    write_rows(tmp_path / "S1_l2.csv", ["b", "e", "w"], [(8, 9, "rest")])
    labels = {
        "pattern": "{subject}_l{part}.csv",
        "intervals": {"start": "b", "end": "e", "label": "w"},
    }
    root = mapping(tmp_path, PARTS | {"pattern": "S1.csv", "subject": "S1"}, labels)
    assert spans(read(root)) == [(0, 3, "walk"), (8, 9, "rest")]


# --- long tables


def long_rows(*, start=0.0):
    rows = []
    for at in range(100):
        rows.append([f"{start + at / 20:.3f}", "acc", at, -at])
        if at % 10 == 0:
            rows.append([f"{start + at / 20:.3f}", "hr", 60 + at, ""])
    return rows


HR = {"channels": ["hr"], "unit": "bpm", "rate_hz": 2}
LONG = {
    "pattern": "{subject}.csv",
    "clock": "t",
    "long": {"sensor": "sensor", "values": ["v", "w"]},
    "signals": {"acc": {"stream": "acc"}, "hr": {"stream": "hr", "columns": ["v"]}},
}


def test_a_long_table_gives_each_sensor_its_rows(tmp_path):
    write_rows(tmp_path / "S1.csv", ["t", "sensor", "v", "w"], long_rows())
    found = read(mapping(tmp_path, LONG, modalities={"acc": ACC, "hr": HR | {"unit": "1"}}))
    np.testing.assert_allclose(found.signals["acc"].values[:, 1], -np.arange(100), atol=1e-3)
    np.testing.assert_allclose(found.signals["hr"].values[:, 0], 60 + 10 * np.arange(10), atol=1e-3)


def test_a_row_for_each_number_names_channels_by_the_sensor(tmp_path):
    rows = [
        (f"{at / 20:.3f}", name, sign * at)
        for at in range(100)
        for name, sign in (("acc_x", 1), ("acc_y", -1))
    ]
    write_rows(tmp_path / "S1.csv", ["t", "what", "value"], rows)
    entry = {
        "pattern": "{subject}.csv",
        "clock": "t",
        "long": {"sensor": "what", "values": ["value"]},
        "signals": {"acc": ["acc_x", "acc_y"]},
    }
    signal = read(mapping(tmp_path, entry)).signals["acc"]
    np.testing.assert_allclose(signal.values[:, 1], -np.arange(100), atol=1e-3)
    write_rows(
        tmp_path / "S1.csv",
        ["t", "what", "value"],
        [(float(t) + (0.01 if name == "acc_y" else 0), name, v) for t, name, v in rows],
    )
    with pytest.raises(DataError, match="lies in streams of different times, acc_x and acc_y"):
        read(mapping(tmp_path, entry))


def test_a_long_table_may_be_of_several_people_and_have_labels(tmp_path):
    rows = [[who, *row, act] for who, act in (("a", "walk"), ("b", "rest")) for row in long_rows()]
    write_rows(tmp_path / "all.csv", ["who", "t", "sensor", "v", "w", "act"], rows)
    entry = LONG | {"pattern": "all.csv", "subject_column": "who", "label": "act"}
    root = mapping(tmp_path, entry, modalities={"acc": ACC, "hr": HR | {"unit": "1"}})
    assert [read(root, n).subject for n in (0, 1)] == ["a", "b"]
    assert spans(read(root, 1)) == [(0, 5, "rest")]
    assert len(read(root, 1).signals["hr"].values) == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"long": "sonsor"}, "has no column 'sonsor'; did you mean 'sensor'"),
        ({"signals": {"acc": {"stream": "gyro"}}}, "has no stream 'gyro'; allowed are 'acc', 'hr'"),
    ],
)
def test_a_long_table_that_does_not_fit_is_refused(tmp_path, change, message):
    write_rows(tmp_path / "S1.csv", ["t", "sensor", "v", "w"], long_rows())
    with pytest.raises(DataError, match=message):
        read(mapping(tmp_path, LONG | {"signals": {"acc": {"stream": "acc"}}} | change))


# --- offsets


def devices(tmp_path):
    for who in ("a", "b"):
        part(tmp_path / f"{who}_watch.csv", 0.0, seconds=10, more=("walk",))
        part(tmp_path / f"{who}_phone.csv", 0.0, seconds=10)
    files = [
        PARTS | {"pattern": "{subject}_watch.csv", "name": "wrist", "label": "m0"},
        PARTS | {"pattern": "{subject}_phone.csv", "signals": {"phone": ["x", "y"]}},
    ]
    return files, {"acc": ACC, "phone": ACC | {"device": "phone"}}


@pytest.mark.parametrize("what", [{"device": "watch"}, {"file": "wrist"}, {"modality": "acc"}])
def test_one_persons_device_is_moved_on_top_of_the_pattern(tmp_path, what):
    files, modalities = devices(tmp_path)
    files[0] |= {"offset_s": 1.0}
    offsets = [{"subject": "b", **what, "offset_s": 7.3}]
    root = mapping(tmp_path, *files, modalities=modalities, offsets=offsets)
    one, other = read(root, 0), read(root, 1)
    assert (one.signals["acc"].start_s, one.signals["phone"].start_s) == (1.0, 0.0)
    assert (other.signals["acc"].start_s, other.signals["phone"].start_s) == (8.3, 0.0)
    assert spans(other)[0][:2] == (8.3, 18.3)  # labels of the file move with it


def test_a_device_that_shares_its_file_moves_alone(tmp_path):
    part(tmp_path / "a.csv", 0.0, seconds=10)
    entry = PARTS | {
        "pattern": "{subject}.csv",
        "signals": {"acc": ["x", "y"], "phone": ["x", "y"]},
    }
    root = mapping(
        tmp_path,
        entry,
        modalities={"acc": ACC, "phone": ACC | {"device": "phone"}},
        offsets=[{"subject": "a", "device": "phone", "offset_s": -2}],
    )
    found = read(root).signals
    assert (found["acc"].start_s, found["phone"].start_s) == (0.0, -2.0)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        (
            {"subject": "c", "device": "watch"},
            "offsets.0: no subject is called 'c'; allowed are 'a', 'b'",
        ),
        ({"subject": "a", "device": "wach"}, "offsets.0.device: 'wach' is unknown; did you mean"),
        (
            {"subject": "a", "file": "phone"},
            "offsets.0.file: 'phone' is unknown; allowed are 'wrist'",
        ),
        ({"subject": "a", "device": "watch", "session": "9"}, "a has no session '9'"),
        ({"subject": "a"}, "needs one of `file`, `device` and `modality`"),
    ],
)
def test_an_offset_of_nothing_is_refused(tmp_path, offset, message):
    files, modalities = devices(tmp_path)
    root = mapping(tmp_path, *files, modalities=modalities, offsets=[{"offset_s": 1, **offset}])
    with pytest.raises(DataError, match=message):
        read(root)


# --- optional channels, gaps of single modalities


def test_a_modality_that_lacks_an_optional_channel_is_absent_with_a_note(tmp_path):
    part(tmp_path / "a.csv", 0.0, seconds=10)
    write_rows(tmp_path / "b.csv", ["t", "x"], [[at / 20, at] for at in range(200)])
    entry = PARTS | {"pattern": "{subject}.csv", "signals": {"acc": ["x", "y"], "one": "x"}}
    one = {"channels": ["x"], "unit": "1", "rate_hz": 20}
    root = mapping(tmp_path, entry, modalities={"acc": ACC, "one": one})
    with pytest.raises(DataError, match=r"b.csv: has no column 'y'"):
        read(root, 1)
    for optional in (["y"], True):
        root = mapping(
            tmp_path, entry, modalities={"acc": ACC | {"optional": optional}, "one": one}
        )
        assert list(read(root, 0).signals) == ["acc", "one"]
        found = read(root, 1)
        assert list(found.signals) == ["one"]
        assert (
            "'acc' counts as not recorded where a file lacks its optional channel: y" in found.notes
        )


def test_a_channel_that_is_not_optional_must_be_there(tmp_path):
    write_rows(tmp_path / "b.csv", ["t", "y"], [[at / 20, at] for at in range(200)])
    entry = PARTS | {"pattern": "{subject}.csv"}
    with pytest.raises(DataError, match=r"b.csv: has no column 'x'"):
        read(mapping(tmp_path, entry, modalities={"acc": ACC | {"optional": ["y"]}}))
    with pytest.raises(DataError, match="optional 'z' is not a channel"):
        read(mapping(tmp_path, entry, modalities={"acc": ACC | {"optional": ["z"]}}))


def test_a_modality_has_gaps_of_its_own_length(tmp_path):
    t = np.arange(400) / 20
    rows = [[at, at, at] for at in t if not 5 <= at < 6]
    write_rows(tmp_path / "a.csv", ["t", "x", "y"], rows)
    entry = PARTS | {"pattern": "{subject}.csv", "signals": {"acc": ["x", "y"], "slow": ["x", "y"]}}
    modalities = {"acc": ACC, "slow": ACC | {"max_gap_s": 1.5}}
    root = mapping(tmp_path, entry, modalities=modalities, windows={"min_coverage": 0.4})
    with open_dataset("folder", root) as dataset:
        store = prepare_store(dataset, tmp_path / "store", plan_for(dataset, "folder"))
    np.testing.assert_array_equal(store.present.all(axis=0), [False, True])
    again = Store.open(tmp_path / "store")
    assert (again.spec.gap_s("acc"), again.spec.gap_s("slow")) == (0.2, 1.5)
