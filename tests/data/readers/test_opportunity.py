"""OPPORTUNITY: columns as documented, both sets of labels, losses that stay, damaged files."""

from __future__ import annotations

import hashlib
import re
import shutil

import numpy as np
import pytest

from crossl.data.cutting import cut_recording
from crossl.data.readers import detect_reader, get_reader, open_dataset
from crossl.data.readers.table import Published
from crossl.errors import ConfigError
from tests.data.readers.conformance import check_reader, check_refuses, corrupt, read_all, truncate
from tests.data.readers.motion import change_cell, change_line, save, walk

READER = get_reader("opportunity")
ROWS = 240
FILE = "S1-ADL1.dat"
IMUS = {"back": 38, "rua": 51, "rla": 64, "lua": 77, "lla": 90}
SHOES = {"l_shoe": 103, "r_shoe": 119}


def run(rows=ROWS, *, seed=0):
    """Return 250 columns, whole numbers and NaN, as the files hold them."""
    table = np.zeros((rows, 250))
    table[:, 0] = np.round(np.arange(rows) * 1000 / 30)
    for number in range(12):
        acc = walk(rows, 30, seed=100 * seed + number)[0]
        table[:, 3 * number + 1 : 3 * number + 4] = acc / 9.80665 * 1000
    for number, first in enumerate(IMUS.values()):
        acc, gyro, mag = walk(rows, 30, seed=100 * seed + 20 + number)
        table[:, first - 1 : first + 8] = np.c_[acc / 9.8, gyro, mag / 50] * 1000
    for number, first in enumerate(SHOES.values()):
        acc, gyro, _ = walk(rows, 30, seed=100 * seed + 30 + number)
        table[:, first + 5 : first + 11] = np.c_[acc / 9.8, gyro] * 1000
    table = np.round(table)
    table[40:60, 1:4] = np.nan  # a wireless sensor out of reach
    table[:, 13:16] = np.nan  # and one that never answered
    table[100, 50:63] = np.nan
    table[:, 243] = np.repeat([0, 1, 2, 4, 5, 1], rows // 6)
    table[60:90, 249] = 406516
    table[150:180, 249] = 405506
    return table


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("opportunity")
    for number, name in enumerate(("S1-ADL1", "S1-Drill", "S2-ADL5")):
        path = root / f"OpportunityUCIDataset/dataset/{name}.dat"
        save(path, run(seed=number), fmt="%.0f")
    return root / "OpportunityUCIDataset"


@pytest.fixture
def copy(written, tmp_path):
    target = tmp_path / "OpportunityUCIDataset/dataset"
    target.mkdir(parents=True)
    shutil.copy(written / "dataset" / FILE, target)
    return target / FILE


def test_every_modality_holds_its_documented_columns(written):
    recordings = check_reader("opportunity", written)
    keys = [(r.subject, r.session) for r in recordings]
    assert keys == [("S1", "ADL1"), ("S1", "Drill"), ("S2", "ADL5")]
    table = np.loadtxt(written / "dataset" / FILE)
    first = recordings[0]
    assert len(first.signals) == 5 * 3 + 2 * 2
    wanted = {}
    for device, column in IMUS.items():
        wanted |= {f"{device}_acc": (column, 9.8e-3), f"{device}_gyro": (column + 3, 1e-3),
                   f"{device}_mag": (column + 6, 1e-3)}  # fmt: skip
    for device, column in SHOES.items():
        wanted |= {f"{device}_acc": (column + 6, 9.8e-3), f"{device}_gyro": (column + 9, 1e-3)}
    assert set(wanted) == set(first.signals)
    for name, (column, factor) in wanted.items():
        signal = first.signals[name]
        np.testing.assert_allclose(
            signal.values, table[:, column - 1 : column + 2] * factor, rtol=1e-6
        )
        assert (signal.rate_hz, signal.start_s) == (30, 0)


def test_the_reader_counts_columns_as_the_documentation_does(real_data):
    text = (real_data("format_docs") / "opportunity/column_names.txt").read_text()
    documented = dict(re.findall(r"Column: (\d+) ([^;\n]+)", text))
    names = {"acc": "accX", "gyro": "gyroX", "mag": "magneticX"}
    for modality, (first, *_) in READER.SOURCE.items():
        column = documented[str(first + 1)]
        kind, place, what = column.split()
        device, _, sensor = modality.rpartition("_")
        if modality.startswith("wireless_"):
            assert kind == "Accelerometer"
            code = modality.removeprefix("wireless_").upper()
            assert place == code.replace("_UPPER", "^").replace("_LOWER", "_")
            assert what == "accX"
        elif "shoe" in modality:
            assert (kind, place) == ("InertialMeasurementUnit", device.upper().replace("_", "-"))
            assert what == {"acc": "Body_Ax", "gyro": "AngVelBodyFrameX"}[sensor]
        else:
            assert (kind, place) == ("InertialMeasurementUnit", device.upper())
            assert what == names[sensor]
    for column, _ in READER.LABELS.values():
        assert documented[str(column + 1)] in ("Locomotion", "ML_Both_Arms")


def test_the_reader_names_labels_as_the_legend_does(real_data):
    text = (real_data("format_docs") / "opportunity/label_legend.txt").read_text()
    rows = re.findall(r"(\d+)\s+-\s+(\w+)\s+-\s+(.+)", text)
    for track, wanted in (("Locomotion", READER.LOCOMOTION), ("ML_Both_Arms", READER.GESTURES)):
        legend = {int(code): name.strip() for code, where, name in rows if where == track}
        assert legend == wanted
    assert (len(READER.LOCOMOTION), len(READER.GESTURES)) == (4, 17)


def test_the_reader_knows_the_published_checksums(real_data):
    text = (real_data("format_docs") / "opportunity/lfs_pointers_sha256.txt").read_text()
    rows = [line.split() for line in text.splitlines() if line.strip()]
    wanted = {
        path.rsplit("/", 1)[-1]: Published(digest.removeprefix("sha256:"), int(size))
        for path, digest, size in rows
    }
    assert wanted == READER.PUBLISHED
    assert len(wanted) == 24


def test_wireless_accelerometers_come_on_request(written):
    options = {"accelerometers": "yes"}
    recordings = check_reader("opportunity", written, options)
    table = np.loadtxt(written / "dataset" / FILE)
    first = recordings[0]
    assert len(first.modalities) == 19 + 12
    hip, knee = first.signals["wireless_hip"], first.signals["wireless_rkn_upper"]
    np.testing.assert_allclose(hip.values, table[:, 4:7] * 9.80665e-3, rtol=1e-6)
    assert np.flatnonzero(np.isnan(knee.values[:, 0])).tolist() == list(range(40, 60))
    assert "wireless_lh" not in first.signals
    assert "wireless_lh holds no sample" in first.notes


def test_lost_samples_stay_missing(written):
    first = read_all("opportunity", written)[0]
    assert np.flatnonzero(np.isnan(first.signals["rua_gyro"].values[:, 2])).tolist() == [100]
    assert np.isfinite(first.signals["back_acc"].values).all()


@pytest.mark.parametrize(("labels", "classes", "wanted"), [
    ("locomotion", 4, [(40, 80, "Stand"), (80, 120, "Walk"), (120, 160, "Sit"), (160, 200, "Lie"),
                       (200, 240, "Stand")]),
    ("gestures", 17, [(60, 90, "Open Door 1"), (150, 180, "Toggle Switch")]),
])  # fmt: skip
def test_the_user_chooses_the_labels(written, labels, classes, wanted):
    with open_dataset("opportunity", written, {"labels": labels}) as dataset:
        card = dataset.card
        first = next(dataset.read())
    assert len(card.classes) == classes
    got = [(round(i.start_s * 30), round(i.end_s * 30), i.label) for i in first.labels]
    assert got == wanted
    cut = cut_recording(first, card.modalities, card.classes, card.spec)
    assert len(cut.start_s) == 15
    assert {card.classes[i] for i in cut.label if i >= 0} == {label for *_, label in wanted}


def test_unknown_labels_are_refused_with_the_nearest_name(written):
    message = r"option 'labels' of opportunity: 'gesture'; did you mean 'gestures'"
    with (
        pytest.raises(ConfigError, match=message),
        open_dataset("opportunity", written, {"labels": "gesture"}),
    ):
        pytest.fail("unknown labels were opened")


def test_the_set_is_found_wherever_the_user_points(written, tmp_path):
    name = str(tmp_path / "opportunity+activity+recognition")
    archive = shutil.make_archive(name, "zip", written.parent)
    wanted = [(r.subject, r.session) for r in read_all("opportunity", written)]
    for root in (written.parent, written / "dataset", tmp_path, tmp_path / archive):
        assert detect_reader(root) == "opportunity"
        assert [(r.subject, r.session) for r in read_all("opportunity", root)] == wanted


def test_a_published_file_gets_no_note_and_another_one(copy, monkeypatch):
    (recording,) = read_all("opportunity", copy.parent)
    size = copy.stat().st_size
    assert recording.notes == (f"{FILE} is not the published file: {size} bytes, not 51803164",)
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    monkeypatch.setitem(READER.PUBLISHED, FILE, Published(digest, size))
    (recording,) = read_all("opportunity", copy.parent)
    assert recording.notes == ()


@pytest.mark.parametrize(("damage", "message"), [
    (truncate, r"S1-ADL1.dat: ends inside a line; it is cut off"),
    (corrupt, r"S1-ADL1.dat: is not in the official format; line \d+"),
    (lambda p: p.write_text(""), "S1-ADL1.dat: is empty"),
    (lambda p: change_line(p, 3, lambda line: line.split(" ", 1)[1]),
     "line 3 has 249 columns, expected 250"),
    (lambda p: change_cell(p, 3, 40, "?"), r"line 3, column 40 is '\?', not a number"),
    (lambda p: change_cell(p, 3, 244, "3"), "row 3 has label 3; allowed are 0, 1, 2, 4, 5"),
    (lambda p: change_cell(p, 3, 244, "NaN"), "row 3 has label nan"),
    (lambda p: change_cell(p, 3, 1, "33"), "row 3 has timestamp 0.033 s; rows lie 0.03333 s"),
    (lambda p: change_cell(p, 3, 1, "NaN"), "row 3 has timestamp nan s"),
    (lambda p: p.rename(p.with_name("S1-Run.dat")), "names no subject and run"),
])  # fmt: skip
def test_a_damaged_file_is_refused_in_one_sentence(copy, damage, message):
    damage(copy)
    check_refuses("opportunity", copy.parent, match=message)


def test_a_folder_without_runs_is_refused(copy):
    copy.unlink()
    check_refuses("opportunity", copy.parent, match=r"holds neither 'dataset/S\*-\*.dat' nor an")
