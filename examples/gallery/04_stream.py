"""
A stream, and a sensor that is unplugged
========================================

A run labels chunks of samples as they come. Here a recording is replayed, and the
gyroscope is lost on the way: labels keep coming, and their probabilities say how sure
the classifier still is.

Needs ``pip install "crossl[demo]"``.
"""

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
# A run with a classifier; tiny here.

people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
small = {"encoder.width": 24, "schedule.steps": 60, "schedule.batch_size": 64}
run = crossl.pretrain(crossl.build_model(store, settings=small), store, **people)
run = crossl.fit_probe(run, store, label_fraction=0.2, **people)

# %%
# Six exercises of somebody it has never seen, one after another, as if the watch sent
# them half a second at a time. A real source is a loop like this one around Bluetooth,
# a socket or Lab Streaming Layer.

recordings = [one for one in read_recordings("seglearn_watch", None) if one.subject == "S09"]
series = recordings[::3][:6]
acc = np.concatenate([one.signals["watch_acc"].values for one in series])
gyro = np.concatenate([one.signals["watch_gyro"].values for one in series])
length = len(acc) / 50
lost, found = 0.4 * length, 0.8 * length

live, rows = run.live(max_delay_s=1.0), []
for start in range(0, len(acc), 25):
    now = start / 50
    rows += live.push("watch_acc", now, acc[start : start + 25])
    if not lost < now < found:
        rows += live.push("watch_gyro", now, gyro[start : start + 25])
rows += live.finish()
for row in rows[:3]:
    print(f"{row.start_s:.0f} to {row.end_s:.0f} s: {row.label} {row.outputs[row.label]:.2f}")

# %%
# What ``crossl predict`` says of the whole recording afterwards is the same, window by
# window.

whole = crossl.Recording(
    "S09",
    "replayed",
    {modality.name: modality for modality in store.modalities},
    {
        "watch_acc": crossl.Signal(acc, 50.0),
        "watch_gyro": crossl.Signal(gyro[: int(lost * 50)], 50.0),
    },
)
timeline = run.timeline(whole)
said = dict(zip(timeline["start_s"], timeline["label"], strict=True))
first = [row for row in rows if row.end_s < lost]
print(sum(said[row.start_s] == row.label for row in first), "of", len(first), "the same")

# %%
# Over time: the label that is right, how probable the stream held it, and where the
# gyroscope was gone.

ends = np.cumsum([len(one.signals["watch_acc"].values) / 50 for one in series])
windows = [row for row in rows if row.window]
middle = np.array([(row.start_s + row.end_s) / 2 for row in windows])
truth = [series[min(int(np.searchsorted(ends, t)), 5)].labels[0].label for t in middle]
right = [row.outputs[name] for row, name in zip(windows, truth, strict=True)]
figure, axes = plt.subplots(figsize=(8, 3), layout="constrained")
axes.axvspan(lost, found, color="0.9", label="no gyroscope")
axes.plot(middle, right, drawstyle="steps-mid", label="probability of what is right")
for end, one in zip(ends, series, strict=True):
    axes.axvline(end, color="0.7", linewidth=0.8)
    axes.text(end, 1.05, one.labels[0].label, ha="right", va="bottom", fontsize=9)
axes.set(xlabel="seconds", ylim=(0, 1.02), xlim=(0, length))
figure.legend(frameon=False, loc="outside lower center", ncols=2)
axes.spines[["top", "right"]].set_visible(False)
plt.show()
