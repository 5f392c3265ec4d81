"""
New files to a labelled timeline
================================

A run with a classifier labels files that it has never seen, in one command. One of the
two people here wore a watch without a gyroscope: nothing needs to be said about that.

Needs ``pip install "crossl[demo,io]"``.
"""

import csv
import json
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import crossl
from crossl.data.readers import read_recordings

folder = Path(tempfile.mkdtemp())
command = ["crossl", "prepare", "seglearn_watch", "--out", folder / "store"]
subprocess.run(command, check=True, capture_output=True)
store = crossl.Store.open(folder / "store")

# %%
# A run, as ``crossl pretrain`` and ``crossl probe`` leave one; tiny here. ``S09`` and
# ``S10`` are in no part of it.

people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
small = {"encoder.width": 24, "schedule.steps": 60, "schedule.batch_size": 64}
run = crossl.pretrain(crossl.build_model(store, settings=small), store, **people)
run = crossl.fit_probe(run, store, label_fraction=0.2, **people)
run.save(folder / "run")

# %%
# Files as an app would write them: one for each person, a table with a clock. Each is
# of several exercises, one after another, which is more than the run has ever seen in
# one recording.

new = folder / "new"
new.mkdir()
for name, columns in (("S09", 6), ("S10", 3)):  # three columns: the watch without a gyroscope
    series = [r for r in read_recordings("seglearn_watch", None) if r.subject == name][::3]
    parts = [np.c_[r.signals["watch_acc"].values, r.signals["watch_gyro"].values] for r in series]
    values = np.concatenate(parts)[:, :columns]
    clock = 1_717_236_000 + np.arange(len(values)) / 50  # 1 June 2024, 10:00 in UTC
    header = ["time", "ax", "ay", "az", "gx", "gy", "gz"][: columns + 1]
    rows = np.c_[clock, values]
    np.savetxt(new / f"{name}.csv", rows, "%.4f", ",", header=",".join(header), comments="")
    begin = np.cumsum([0, *(len(part) / 50 for part in parts)]) + clock[0]
    told = [f"{begin[i]},{begin[i + 1]},{r.labels[0].label}" for i, r in enumerate(series)]
    (new / f"{name}_notes.csv").write_text("\n".join(["from,to,what", *told]))
print((new / "S09.csv").read_text()[:200])

# %%
# What the columns mean is said once. (Files of the kind that a run has learned from
# need no such file: runs keep the mapping of their store.) The notes are only there to
# see whether the labels are right.

(new / "recordings.yaml").write_text("""
timezone: Europe/Madrid
modalities:
  watch_acc: {channels: [x, y, z], unit: m/s^2, rate_hz: 50, device: watch}
  watch_gyro: {channels: [x, y, z], unit: rad/s, rate_hz: 50, device: watch, optional: [x, y, z]}
files:
  - {pattern: "{subject}.csv", clock: time,
     signals: {watch_acc: [ax, ay, az], watch_gyro: [gx, gy, gz]}}
  - {pattern: "{subject}_notes.csv", intervals: {start: from, end: to, label: what}}
""")
command = ["crossl", "predict", folder / "run", new, "--out", folder / "timelines"]
done = subprocess.run(command, check=True, capture_output=True, text=True)
print(done.stdout)

# %%
# A table for each recording: a row for each window, with its time in the zone of the
# recording.

with (folder / "timelines" / "S10.csv").open() as file:
    for row in list(csv.DictReader(file))[:4]:
        print({key: row[key] for key in ("start_time", "label", "truth", "present_watch_gyro")})
print(json.loads((folder / "timelines" / "S10.json").read_text())["labels"])

# %%
# And a picture: signals, labels, what the notes say, probabilities.

picture = plt.imread(folder / "timelines" / "S10.png")
figure = plt.figure(figsize=(9, 9 * picture.shape[0] / picture.shape[1]))
figure.add_axes((0, 0, 1, 1)).imshow(picture)
plt.axis("off")
plt.show()
