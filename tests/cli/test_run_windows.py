"""A run folder says how its windows are cut: a stream gets the very windows of the store."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import pytest

from crossl.data.readers import get_reader
from crossl.data.recording import Signal
from crossl.data.store import Store
from crossl.data.windower import Windower
from crossl.errors import ContractError, FormatError
from crossl.files import write_signed_json
from crossl.run_folder import load_run
from tests.cli.conftest import SETTINGS

CUTTING = ("--window-s", "20", "--stride-s", "9.3", "--max-gap-s", "1.5")


@pytest.fixture(scope="module")
def files(real_data, tmp_path_factory):
    """Five subjects of a real data set."""
    folder = tmp_path_factory.mktemp("noneeg")
    for subject in (1, 5, 6, 7, 8):
        for path in real_data("noneeg").glob(f"Subject{subject}_*"):
            shutil.copyfile(path, folder / path.name)
    return folder


def train(crossl, files, tmp_path, *options):
    """Prepare a store and pretrain on it, by the command line."""
    store, run = tmp_path / "store", tmp_path / "run"
    asked = ("prepare", "noneeg", "--root", files, "--out", store, *CUTTING, *options)
    assert crossl(*asked).code == 0
    done = crossl("pretrain", store, "--out", run, *SETTINGS)
    assert done.code == 0, done.err
    return Store.open(store), run


def chunks_of(recording, names, rng):
    """Cut signals into chunks of random length, in the order in which they end."""
    events = []
    for name in names:
        signal, begin = recording.signals[name], 0
        while begin < len(signal.values):
            end = begin + int(rng.integers(1, round(30 * signal.rate_hz)))
            start_s = signal.start_s + begin / signal.rate_hz
            chunk = Signal(signal.values[begin:end], signal.rate_hz, start_s)
            events.append((chunk.end_s, name, chunk))
            begin = end
    return [(name, chunk) for _, name, chunk in sorted(events, key=lambda event: event[0])]


def windows_of(recording, contract, seed):
    """Feed a recording to a windower made of a run's contract alone."""
    windower = Windower.from_contract(contract, max_delay_s=60.0)
    windows = []
    names = [m.name for m in windower.modalities if m.name in recording.signals]
    for name, chunk in chunks_of(recording, names, np.random.default_rng(seed)):
        windows += windower.feed({name: chunk})
    return windows + windower.flush()


def assert_those_of_the_store(store, files, contract, close=()):
    """Compare every window of every recording; `close`: to 0.1% of the modality's range."""
    with get_reader("noneeg").open_dataset(files) as dataset:
        for recording in dataset.read():
            rows = np.flatnonzero(store.subject == recording.subject)
            windows = windows_of(recording, contract, len(rows))
            np.testing.assert_array_equal([w.start_s for w in windows], store.start_s[rows])
            stored = store.arrays(rows)
            for column, modality in enumerate(store.modalities):
                name = modality.name
                present = np.array([name in w.signals for w in windows])
                np.testing.assert_array_equal(present, store.present[rows, column])
                if not present.any():
                    continue
                found = np.stack([w.signals[name] for w in windows if name in w.signals])
                wanted = stored[name][present]
                within = 1e-3 * float(np.ptp(wanted)) if name in close else 0.0
                np.testing.assert_allclose(found, wanted, rtol=0.0, atol=within)


def test_the_windows_of_a_stream_are_those_of_the_store(crossl, files, tmp_path):
    """To the bit; where the rate was changed, closely."""
    changed = ("--resample", "wrist_eda=4", "--resample", "finger_spo2=2")
    store, run = train(crossl, files, tmp_path, *changed, "--without", "wrist_temp")
    contract = load_run(run).contract
    assert contract["window"] == {
        "window_s": 20.0, "stride_s": 9.3, "min_coverage": 0.8, "max_gap_s": 1.5,
        "min_label_share": 0.6,
    }  # fmt: skip
    assert contract["resampled"] == {
        "wrist_eda": {"from_hz": 8.0, "filter": "resample_poly, Kaiser 5.0"},
        "finger_spo2": {"from_hz": 1.0, "filter": "resample_poly, Kaiser 5.0"},
    }
    assert store.manifest["resampled"] == contract["resampled"]
    assert contract["dtype"] == "float32"
    assert_those_of_the_store(store, files, contract, close=("wrist_eda", "finger_spo2"))


def test_a_store_whose_files_tell_their_own_rates_says_so(crossl, tmp_path):
    (tmp_path / "files").mkdir()
    for subject, rate_hz in (("A", 50), ("B", 64)):
        time = np.arange(20 * rate_hz) / rate_hz
        rows = [f"{t:.6f},{math.sin(t):.6f}" for t in time]
        (tmp_path / "files" / f"{subject}.csv").write_text("\n".join(["time,x", *rows]) + "\n")
    (tmp_path / "files" / "recordings.yaml").write_text(
        "name: mine\n"
        "modalities:\n  acc: {channels: [x], unit: g, rate_hz: 50, resample: true}\n"
        "files:\n"
        "- {pattern: '{subject}.csv', clock: time, clock_unit: s, signals: {acc: [x]}}\n"
    )
    out = tmp_path / "store"
    done = crossl("prepare", "folder", "--root", tmp_path / "files", "--out", out)
    assert done.code == 0, done.err
    manifest = Store.open(out).manifest
    assert manifest["resampled"] == {
        "acc": {"from_hz": None, "filter": "resample_poly, Kaiser 5.0"}
    }
    windower = Windower.from_contract(manifest)
    signal = Signal(np.ones((640, 1), np.float32), 64.0)
    windows = windower.feed({"acc": signal}) + windower.flush()
    assert [w.signals["acc"].shape for w in windows] == [(100, 1)] * 9


# --- runs that do not say it


def altered(run, **values):
    """Write another contract into a run folder, signed."""
    path = run / "model.json"
    contract = {**json.loads(path.read_text()), **values}
    del contract["sha256"]
    write_signed_json(path, {k: v for k, v in contract.items() if v != "gone"})


def test_a_run_of_an_older_version_loads_and_says_what_it_lacks(run):
    altered(run, window="gone", resampled="gone", dtype="gone")
    contract = load_run(run).contract
    match = r"the contract does not say how windows are cut \(the run is of an older crossl, or"
    with pytest.raises(ContractError, match=match):
        Windower.from_contract(contract)


def test_another_filter_than_this_version_has_is_refused(run):
    altered(run, resampled={"acc": {"from_hz": 40.0, "filter": "sinc"}})
    with pytest.raises(ContractError, match=r"'acc' was changed by 'sinc'; this version of crossl"):
        Windower.from_contract(load_run(run).contract)


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"window": {"window_s": 3.0, "stride_s": 1.0}}, r"window.window_s is 3.0, not 2.0"),
        ({"window": {"window_s": 2.0, "stride_s": 0.0}}, r"stride_s"),
        ({"resampled": {"acc": {"from_hz": -1.0, "filter": "x"}}}, r"from_hz"),
    ],
)
def test_a_contract_whose_window_rules_cannot_be_is_refused(run, values, match):
    altered(run, **values)
    with pytest.raises(FormatError, match=match):
        load_run(run)
