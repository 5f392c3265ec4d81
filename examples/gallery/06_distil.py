"""
What two sensors know, for one
==============================

A study records with several sensors; later people wear a device that has one of them. A
student of that sensor learns what a run of all sensors says of the study's windows. No
label is read for that.

Needs ``pip install "crossl[demo]"``.
"""

import subprocess
import tempfile
from pathlib import Path

import numpy as np

import crossl

folder = Path(tempfile.mkdtemp())


def run_crossl(*words: object) -> None:
    subprocess.run(["crossl", *map(str, words)], cwd=folder, check=True, capture_output=True)


run_crossl("prepare", "seglearn_watch", "--out", "store")
small = ("--set", "schedule.steps=60", "--set", "schedule.batch_size=64")
run_crossl("pretrain", "store", "--out", "teacher", *small, "--set", "encoder.width=24")
teacher, store = crossl.load_run(folder / "teacher"), crossl.Store.open(folder / "store")

# %%
# The student has the accelerometer, and a narrower encoder.

distil = ("distil", "teacher", "--store", "store", "--keep", "watch_acc")
run_crossl(*distil, "--set", "encoder.width=16", "--out", "student")
student = crossl.load_run(folder / "student")
print([modality.name for modality in student.modalities])
for name, run in (("teacher", teacher), ("student", student)):
    print(name, sum(weight.numel() for weight in run.model.parameters()), "weights")

# %%
# A run of all sensors goes on without the gyroscope as it is, so that is what a student
# has to be compared with. These are two people and a tiny training: the page on
# distilling says when it is worth its while.

for name, run in (("teacher", teacher), ("student", student)):
    table = crossl.evaluate_subsets(crossl.fit_probe(run, store, label_fraction=0.05), store)
    for row in np.flatnonzero(table["metric"] == "macro_f1"):
        print(f"{name} with {table['present'][row]}: macro-F1 {table['value'][row]:.3f}")
