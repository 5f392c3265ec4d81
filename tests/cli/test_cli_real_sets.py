"""Every real data set goes from its official files to a store by one command, counts and all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossl.data.counting import count_windows
from crossl.data.store import Store

from .conftest import Crossl

Prepare = Callable[..., Store]


@pytest.fixture
def prepare(crossl: Crossl, real_data: Callable[[str], Path], tmp_path: Path) -> Prepare:
    """Run `crossl prepare` on a real data set and open what it wrote."""

    def run(reader: str, folder: str, *options: object, below: str = "") -> Store:
        out = tmp_path / "store"
        done = crossl("prepare", reader, "--root", real_data(folder) / below, "--out", out,
                      *options)  # fmt: skip
        assert (done.code, done.err) == (0, "")
        return Store.open(out, verify=True)

    return run


def recordings(store: Store) -> int:
    return len(store.manifest["recordings"])


def minutes(store: Store) -> dict[str, float]:
    """Count labelled minutes of windows that do not overlap."""
    assert store.spec.stride_s == store.spec.window_s
    counts = count_windows(store)["classes"]
    return {name: count * store.window_s / 60 for name, count in counts.items()}


def test_sp_sw_har(prepare: Prepare) -> None:
    store = prepare("sp_sw_har", "sp_sw_har")
    counts = count_windows(store)
    assert (len(counts["subjects"]), recordings(store), counts["windows"]) == (23, 223, 4696)
    # shares of the rows of the phone: 44.4, 20.1, 12.6, 12.3, 10.5 %
    whole = prepare_seconds(store)
    for name, share in {"WALKING": 0.444, "TURNING": 0.201, "SEATED": 0.126,
                        "SITTING_DOWN": 0.123, "STANDING_UP": 0.105}.items():  # fmt: skip
        assert whole[name] == pytest.approx(share, abs=0.08)


def prepare_seconds(store: Store) -> dict[str, float]:
    counts = count_windows(store)["classes"]
    total = sum(counts.values())
    return {name: count / total for name, count in counts.items()}


def test_uci_har(prepare: Prepare) -> None:
    counts = count_windows(prepare("uci_har", "uci_har"))
    assert (len(counts["subjects"]), counts["windows"]) == (30, 10299)
    assert counts["classes"] == {"WALKING": 1722, "UPSTAIRS": 1544, "DOWNSTAIRS": 1406,
                                 "SITTING": 1777, "STANDING": 1906, "LAYING": 1944}  # fmt: skip


def test_wesad_wrist(prepare: Prepare) -> None:
    store = prepare("wesad", "wesad_wrist", "--window-s", 1, "--stride-s", 1, "--modality",
                    "wrist_eda", "--modality", "wrist_temp")  # fmt: skip
    assert (len(set(store.subject)), recordings(store)) == (15, 15)
    found = minutes(store)
    for name, expected in {"baseline": 293.5, "stress": 166.1, "amusement": 92.9,
                           "meditation": 196.8}.items():  # fmt: skip
        assert found[name] == pytest.approx(expected, abs=0.6)
    three = np.array([found[name] for name in ("baseline", "stress", "amusement")])
    np.testing.assert_allclose(three / three.sum(), [0.531, 0.301, 0.168], atol=2e-3)


def test_noneeg(prepare: Prepare) -> None:
    store = prepare("noneeg", "noneeg", "--window-s", 1, "--stride-s", 1, "--max-gap-s", 1)
    assert (len(set(store.subject)), recordings(store)) == (20, 20)
    found = minutes(store)
    for name, expected in {"Relax": 399.9, "PhysicalStress": 108.8, "CognitiveStress": 118.2,
                           "EmotionalStress": 141.5}.items():  # fmt: skip
        assert found[name] == pytest.approx(expected, abs=1.5)


def test_eegmat(prepare: Prepare) -> None:
    store = prepare("eegmat", "eegmat", "--window-s", 1, "--stride-s", 1)
    assert (len(set(store.subject)), recordings(store)) == (3, 6)
    found = minutes(store)
    assert found["arithmetic"] == pytest.approx(3 * 62 / 60, abs=0.1)
    assert found["rest"] == pytest.approx((182 + 182 + 80) / 60, abs=0.1)


@pytest.mark.parametrize(("record", "ecg_hz"), [("drive17a", 480), ("drive17b", 496)])
def test_drivedb(prepare: Prepare, record: str, ecg_hz: int, tmp_path: Path,
                 real_data: Callable[[str], Path]) -> None:  # fmt: skip
    alone = tmp_path / record
    alone.mkdir()
    for ending in (".hea", ".dat"):
        (alone / f"{record}{ending}").symlink_to(real_data("drivedb") / f"{record}{ending}")
    store = prepare("wfdb", "drivedb", "--window-s", 10, "--stride-s", 10, below=str(alone))
    rates = {m.rate_hz for m in store.modalities}
    assert ecg_hz in rates
    assert len(rates) >= 3
    assert len(store) == {"drive17a": 174, "drive17b": 152}[record]


def test_an_empatica_session(prepare: Prepare) -> None:
    store = prepare("e4", "biosignal_samples", "--window-s", 8, "--stride-s", 8,
                    below="flirt_e4")  # fmt: skip
    rates = {m.name: m.rate_hz for m in store.modalities}
    assert {32.0, 64.0, 4.0} <= set(rates.values())
    assert recordings(store) == 1


def test_excerpts_of_mhealth(prepare: Prepare) -> None:
    store = prepare("mhealth", "fixtures", "--window-s", 0.06, "--stride-s", 0.06,
                    "--min-label-share", 1, below="mhealth_excerpt")  # fmt: skip
    assert len(set(store.subject)) == 2
    assert (np.bincount(store.label) == 2).all()  # three rows of each activity, two people
