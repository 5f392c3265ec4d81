"""Small whole files of each format, and what reads them to the end: what `fuzz.py` damages."""

from __future__ import annotations

import gzip
import json
import pickle
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from crossl.errors import CrosslError, FormatError
from crossl.files import file_sha256, json_sha256

COUNT = 120
RNG = np.random.default_rng(0)
ACC = np.round(RNG.normal(size=(COUNT, 3)), 3)
TIME = np.arange(COUNT) / 10
LABELS = np.repeat(["rest", "walk"], COUNT // 2)


# --- files of one's own recordings


def table(path: Path) -> None:
    """Write a table with times, numbers and labels, packed as its ending says."""
    rows = (f"{t:.1f};{x},{y};{z}".replace(";", ",") for t, (x, y, z) in
            zip(TIME, ACC, strict=True))  # fmt: skip
    text = "t,x,y,z,label\n" + "".join(f"{row},{one}\n" for row, one in
                                       zip(rows, LABELS, strict=True))  # fmt: skip
    if path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    elif path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.csv", text)
    else:
        path.write_text(text)


def parquet(path: Path) -> None:
    """Write a table with times, numbers, truth values and text."""
    import polars

    stamps = polars.Series(TIME * 1e6).cast(polars.Int64).cast(polars.Datetime("us"))
    polars.DataFrame({"t": stamps, "x": ACC[:, 0], "on": ACC[:, 1] > 0, "label": LABELS,
                      "n": np.arange(COUNT)}).write_parquet(path)  # fmt: skip


def npy(path: Path) -> None:
    """Write an array with named fields, or several arrays."""
    if path.suffix == ".npz":
        np.savez_compressed(path, acc=ACC, t=TIME, label=LABELS)
        return
    rows = np.zeros(COUNT, dtype=[("t", "M8[ms]"), ("x", "f8"), ("n", "i4")])
    rows["t"], rows["x"] = (TIME * 1000).astype("M8[ms]"), ACC[:, 0]
    np.save(path, rows)


def mat(path: Path) -> None:
    """Write a structure, cells and arrays, packed where the name says so."""
    from scipy.io import savemat

    cells = np.array([ACC, "a"], dtype=object)
    savemat(path, {"data": {"acc": ACC, "name": "anna"}, "t": TIME[:, None], "cells": cells,
                   "on": ACC[:, 0] > 0}, do_compression=path.name.endswith("z.mat"))  # fmt: skip


def mat73(path: Path) -> None:
    """Write the same as HDF5."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in (("data/acc", ACC), ("t", TIME[:, None])):
            one = file.create_dataset(name, data=array.T, chunks=True, compression="gzip")
            one.attrs["MATLAB_class"] = np.bytes_("double")
    with path.open("r+b") as opened:
        opened.write(b"MATLAB 7.3 MAT-file")


def edf(path: Path) -> None:
    """Write signals of two rates and annotations."""
    import edfio

    kind = "Bdf" if path.suffix == ".bdf" else "Edf"
    make = getattr(edfio, f"{kind}Signal")
    signals = [
        make(RNG.normal(size=600), 100, label="EEG Fpz", physical_dimension="uV"),
        make(RNG.normal(size=60), 10, label="Resp", physical_dimension="V"),
    ]
    marks = [edfio.EdfAnnotation(0.0, 2.0, "rest"), edfio.EdfAnnotation(2.0, None, "walk")]
    getattr(edfio, kind)(signals, annotations=marks).write(path)


def wfdb(path: Path) -> None:
    """Write a record of two signals in format 16, and annotations."""
    digits = np.round(RNG.normal(size=(COUNT, 2)) * 100).astype("<i2")
    sums = [int(column.sum(dtype=np.int64).astype(np.int16)) for column in digits.T]
    path.write_text("r 2 10 120 12:00:00 01/05/2024\n" + "".join(
        f"r.dat 16 100(0)/mV 16 0 {digits[0, n]} {sums[n]} 0 {name}\n" for n, name in
        enumerate(("ECG", "Resp"))) + "# note\n")  # fmt: skip
    path.with_suffix(".dat").write_bytes(digits.tobytes())
    note = b"(AFIB\0"
    words = struct.pack("<HH", (28 << 10) | 5, (63 << 10) | len(note)) + note
    path.with_suffix(".atr").write_bytes(words + struct.pack("<HH", (1 << 10) | 20, 0))


def e4(path: Path) -> None:
    """Write the zip of a session."""
    start = "1700000000.000000"
    files = {
        "ACC.csv": f"{start}, {start}, {start}\n32.0, 32.0, 32.0\n" + "1,2,60\n" * 320,
        "EDA.csv": f"{start}\n4.0\n" + "0.25\n" * 40, "BVP.csv": f"{start}\n64.0\n" + "1.5\n" * 640,
        "TEMP.csv": f"{start}\n4.0\n" + "33.1\n" * 40, "tags.csv": "1700000005.00\n",
    }  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def xdf(path: Path) -> None:
    """Write numbers, markers and clock offsets, packed where the ending says."""

    def chunk(tag: int, content: bytes) -> bytes:
        return b"\x04" + struct.pack("<IH", len(content) + 2, tag) + content

    def head(number: int, name: str, kind: str, count: int, rate: int) -> bytes:
        text = (f"<?xml version='1.0'?><info><name>{name}</name><type>x</type>"
                f"<channel_count>{count}</channel_count><nominal_srate>{rate}</nominal_srate><channel_format>{kind}"
                "</channel_format><desc><channels><channel><label>a</label><unit>V</unit></channel>"
                "</channels></desc></info>")  # fmt: skip
        return chunk(2, struct.pack("<I", number) + text.encode())

    numbers = b"".join(b"\x08" + struct.pack("<ddd", 10 + t, *row[:2]) for t, row in
                       zip(TIME, ACC, strict=True))  # fmt: skip
    marks = b"".join(b"\x08" + struct.pack("<d", 10 + t) + b"\x01\x04" + word for t, word in
                     ((0.0, b"rest"), (6.0, b"walk")))  # fmt: skip
    data = b"XDF:" + chunk(1, b"<?xml version='1.0'?><info><version>1.0</version></info>")
    data += head(1, "ACC", "double64", 2, 10) + head(2, "marks", "string", 1, 0)
    data += chunk(3, struct.pack("<I", 1) + b"\x01" + bytes([COUNT]) + numbers)
    data += chunk(3, struct.pack("<I", 2) + b"\x01\x02" + marks)
    data += b"".join(chunk(4, struct.pack("<Idd", 1, at, 0.5)) for at in (10.0, 15.0, 20.0))
    foot = f"<?xml version='1.0'?><info><sample_count>{COUNT}</sample_count></info>"
    data += chunk(6, struct.pack("<I", 1) + foot.encode())
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".xdfz" else data)


def avro(path: Path) -> None:
    """Write a file of an EmbracePlus, packed where the name says so."""
    import fastavro

    def record(name: str, **fields: Any) -> dict[str, Any]:
        kinds = [{"name": key, "type": kind} for key, kind in fields.items()]
        return {"type": "record", "name": name, "fields": kinds}

    ints, longs, floats = ({"type": "array", "items": one} for one in ("int", "long", "float"))
    sensor = {"timestampStart": "long", "samplingFrequency": "float"}
    imu = {"physicalMin": -16, "physicalMax": 16, "digitalMin": -32768, "digitalMax": 32767}
    acc = sensor | {"imuParams": record("Imu", **dict.fromkeys(imu, "int"))}
    raw = record(
        "Raw",
        accelerometer=record("Acc", **acc, x=ints, y=ints, z=ints),
        eda=record("Eda", **sensor, values=floats),
        tags=record("Tags", tagsTimeMicros=longs),
    )
    start = {"timestampStart": 1_700_000_000_000_000, "samplingFrequency": 4.0}
    counts = {axis: (2048 * ACC[:, n]).astype(int).tolist() for n, axis in enumerate("xyz")}
    told = {
        "accelerometer": {**start, "imuParams": imu, **counts},
        "eda": {**start, "values": [0.25] * 40},
        "tags": {"tagsTimeMicros": [1_700_000_005_000_000]},
    }
    codec = "deflate" if path.stem == "z" else "null"
    with path.open("wb") as file:
        kind = fastavro.parse_schema(record("Session", rawData=raw))
        fastavro.writer(file, kind, [{"rawData": told}], codec=codec, sync_marker=b"-" * 16)


def apple(path: Path) -> None:
    """Write an export of heart rates."""
    rows = "".join(
        f' <Record type="HKQuantityTypeIdentifierHeartRate" sourceName="Watch" unit="count/min" '
        f'startDate="2024-05-31 08:{n // 60:02}:{n % 60:02} +0200" value="{60 + n % 7}"/>\n'
        for n in range(0, COUNT, 5)
    )
    head = "<!DOCTYPE HealthData [\n<!ATTLIST Record type CDATA #REQUIRED>\n]>\n"
    path.write_text(f'<?xml version="1.0"?>\n{head}<HealthData>\n{rows}</HealthData>\n')


def read_file(path: Path) -> None:
    """Open a file, and load each column of it as numbers and as text."""
    from crossl.data.formats import open_file

    for stream in open_file(path).streams:
        for column in stream.columns[:20]:
            try:
                stream.load([column])
            except CrosslError:  # labels, perhaps
                if stream.load_text is None:
                    raise
                stream.load_text(column)


# --- published sets, mappings, and what crossl writes


def wesad(path: Path) -> None:
    """Write a pickle in the layout of WESAD."""

    def noise(rate_hz: int, channels: int = 1) -> np.ndarray:
        return RNG.normal(size=(2 * rate_hz, channels))

    chest = {name: noise(700, 3 if name == "ACC" else 1) for name in
             ("ACC", "ECG", "EMG", "EDA", "Temp", "Resp")}  # fmt: skip
    wrist = {"ACC": noise(32, 3), "BVP": noise(64), "EDA": noise(4), "TEMP": noise(4)}
    content = {"signal": {"chest": chest, "wrist": wrist}, "subject": "S2",
               "label": np.repeat([1, 2], 700).astype(np.int32)}  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(content, protocol=2))


def read_wesad(path: Path) -> None:
    """Read it by its reader."""
    from crossl.data.readers import read_recordings

    list(read_recordings("wesad", path.parent.parent))


MAPPING = """\
name: mine
classes: [rest, walk]
label_names: {stand: rest}
windows: {window_s: 2.0, stride_s: 1.0, min_coverage: 0.8, max_gap_s: 0.5, min_label_share: 0.6}
modalities:
  acc: {channels: [x, y, z], unit: g, rate_hz: 10, device: watch}
files:
- pattern: "{subject}/{session}.csv"
  clock: t
  clock_unit: s
  offset_s: 0.5
  signals: {acc: [x, y, z]}
  label: label
"""


def mapping(path: Path) -> None:
    """Write a folder with a mapping and two tables."""
    for name in ("anna", "ben"):
        (path.parent / name).mkdir(exist_ok=True)
        table(path.parent / name / "day1.csv")
    path.write_text(MAPPING)


def read_mapping(path: Path) -> None:
    """Read the recordings that a mapping names, and cut them as `prepare` would."""
    from crossl.data.readers import open_dataset
    from crossl.data.write import write_store

    with open_dataset("folder", path.parent) as dataset:
        card = dataset.card
        out = path.parent.parent / f"store-{path.parent.name}"
        write_store(dataset.read(), out, modalities=card.modalities, classes=card.classes,
                    spec=card.spec, about={})  # fmt: skip


TARGETS = """\
targets:
  posture: {kind: labels, of: {upright: [walk, stand], still: [stand]}}
  effort: {kind: classes, of: {low: [stand], high: [walk]}}
  sway: {kind: numbers, from: acc.x, statistic: max}
  body:
    kind: numbers
    of:
      age: {of_person: {anna: 34, ben: 51.5}, unit: year}
      height: {people: people.csv, subject: who, value: tall, unit: cm}
"""


def targets(path: Path) -> None:
    """Write a file of targets beside a table of people."""
    (path.parent / "people.csv").write_text("who,tall\nanna,171\nben,183\n")
    path.write_text(TARGETS)


def read_targets(path: Path) -> None:
    """Read targets, and see what they come to in a data set."""
    from crossl.data.readers.card import Card
    from crossl.data.recording import Modality
    from crossl.data.target_entries import read_targets
    from crossl.data.target_plan import plan_targets
    from crossl.data.windows import WindowSpec

    acc = Modality("acc", ("x", "y", "z"), "m/s^2", 10.0)
    card = Card("d", "d", "d", "d", "d", "d", (acc,), ("walk", "stand"), WindowSpec(2.0, 1.0))
    plan_targets(read_targets(path), card)


def store_of_targets(path: Path) -> None:
    """Write a store with targets of every kind; the path is that of its manifest."""
    from crossl.data.recording import Modality
    from crossl.data.target_rules import (
        LabelsOfClasses,
        MergedClasses,
        NumberOfSignal,
        Numbers,
    )  # fmt: skip
    from crossl.data.targets import Target

    acc = Modality("acc", ("x", "y", "z"), "m/s^2", 10.0)
    store(path, (
        LabelsOfClasses(Target("posture", "labels", ("a", "b")), ("rest", "walk"),
                        (("rest",), ("walk",))),
        MergedClasses(Target("effort", "classes", ("low", "high")), {"rest": "low"}),
        Numbers(Target("sway", "numbers", ("sway",), ("m/s^2",)),
                (NumberOfSignal(acc, 0, "mean"),)),
    ))  # fmt: skip


def store(path: Path, rules: Sequence[Any] = ()) -> None:
    """Write a store; the path is that of its manifest."""
    from crossl.data.recording import LabelInterval, Modality, Recording, Signal
    from crossl.data.windows import WindowSpec
    from crossl.data.write import write_store

    acc = Modality("acc", ("x", "y", "z"), "m/s^2", 10.0)
    labels = (LabelInterval(0, 6, "rest"), LabelInterval(6, 12, "walk"))
    made = (Recording(f"S{n}", "1", {"acc": acc}, {"acc": Signal(ACC.astype(np.float32), 10.0)},
                      labels) for n in range(3))  # fmt: skip
    write_store(made, path.parent, modalities=(acc,), classes=("rest", "walk"),
                spec=WindowSpec(window_s=2.0, stride_s=1.0), about={"dataset": "d"},
                targets=rules)  # fmt: skip


def read_store(path: Path) -> None:
    """Open a store and read all its windows."""
    from crossl.data.store import Store

    opened = Store.open(path.parent)
    opened.gather_zeroed(np.arange(len(opened)))
    _ = opened.present, opened.modalities, opened.window_s
    for target in opened.targets:
        opened.target_values(target.name)


def run_folder(path: Path) -> None:
    """Write the folder of an untrained run; the path is that of its contract."""
    from crossl.config import build_model, load_config
    from crossl.data.recording import Modality
    from crossl.run_folder import save_run

    config = load_config(overrides=["encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=8"])
    model = build_model(config, [Modality("acc", ("x", "y", "z"), "m/s^2", 10.0)], window_s=2.0,
                        seed=0)  # fmt: skip
    save_run(path.parent, model, config, about={"classes": ["rest", "walk"], "store": "0" * 64})


def read_run(path: Path) -> None:
    """Load a run and embed a window."""
    import torch

    from crossl.data.batch import Batch
    from crossl.run_folder import load_run

    run = load_run(path.parent)
    signals = {m.name: torch.zeros(1, round(m.rate_hz * run.model.window_s), len(m.channels))
               for m in run.model.modalities}  # fmt: skip
    run.model(Batch(signals, torch.ones(1, len(signals)).bool()))


def sign(path: Path) -> None:
    """Sign what was changed, as its writer would: hashes of files, then that of the whole."""
    try:
        values = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return
    if not isinstance(values, dict):
        return
    files = values.get("files")
    for name, entry in files.items() if isinstance(files, dict) else ():
        file = path.parent / name
        if not file.is_file() or ".." in name:
            continue
        if isinstance(entry, dict) and "sha256" in entry:
            files[name] = {**entry, "bytes": file.stat().st_size, "sha256": file_sha256(file)}
        elif isinstance(entry, str):
            files[name] = file_sha256(file)
    try:
        path.write_text(json.dumps({**values, "sha256": json_sha256(values)}))
    except (ValueError, RecursionError, FormatError):  # no JSON of ours can say it
        return


Maker = Callable[[Path], None]
SEEDS: dict[str, tuple[str, Maker, Maker]] = {
    "csv": ("a.csv", table, read_file), "csv.gz": ("a.csv.gz", table, read_file),
    "csv.zip": ("a.csv.zip", table, read_file), "parquet": ("a.parquet", parquet, read_file),
    "npy": ("a.npy", npy, read_file), "npz": ("a.npz", npy, read_file),
    "mat": ("a.mat", mat, read_file),
    "mat packed": ("z.mat", mat, read_file), "mat73": ("a.mat", mat73, read_file),
    "edf": ("a.edf", edf, read_file), "bdf": ("a.bdf", edf, read_file),
    "wfdb": ("r.hea", wfdb, read_file), "e4": ("a.zip", e4, read_file),
    "xdf": ("a.xdf", xdf, read_file), "xdfz": ("a.xdfz", xdf, read_file),
    "avro": ("a.avro", avro, read_file), "avro packed": ("z.avro", avro, read_file),
    "apple": ("export.xml", apple, read_file),
    "pickle": ("WESAD/S2/S2.pkl", wesad, read_wesad),
    "mapping": ("mine/recordings.yaml", mapping, read_mapping),
    "run": ("run/model.json", run_folder, read_run), "store": ("store/manifest.json", store,
                                                               read_store),
    "targets": ("mine/targets.yaml", targets, read_targets),
    "store of targets": ("store/manifest.json", store_of_targets, read_store),
}  # fmt: skip
"""By name: the file below a folder of its own, what writes it, what reads it to the end."""

SIGNED = ("run", "store", "store of targets")
