"""
A classifier that survives dead sensors
=======================================

Learn from recordings without labels, fit a classifier with a twentieth of the labels (or all),
and see what is left of it when a sensor dies. Nothing is retrained for that, and
nothing is filled in.

Needs ``pip install "crossl[demo]"``. This is a tiny training, for the sake of time:
``crossl demo`` learns longer.
"""

import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import crossl

# %%
# Recordings become a **store**: windows of four seconds on disk, with who wore the
# watch and what was done.

folder = Path(tempfile.mkdtemp())
command = ["crossl", "prepare", "seglearn_watch", "--out", folder / "store"]
print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
store = crossl.Store.open(folder / "store")

# %%
# Pretraining reads the windows of six people, without labels. Two others choose, and the two
# that are left are tested later: nothing here ever sees them.

people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
small = {"encoder.width": 24, "schedule.steps": 60, "schedule.batch_size": 64}
run = crossl.build_model(store, settings=small)
run = crossl.pretrain(run, store, **people)

# %%
# The classifier is linear, on the frozen network: once with a twentieth of the labels, once
# with all of them. One classifier serves every set of sensors.

scores = {}
for share in (0.05, 1.0):
    fitted = crossl.fit_probe(run, store, label_fraction=share, **people)
    scores[share] = crossl.evaluate_subsets(fitted, store)
for share, table in scores.items():
    for row in np.flatnonzero(table["metric"] == "macro_f1"):
        gone = table["missing"][row] or "nothing"
        print(f"{share:4.0%} of the labels, {gone} missing: {table['value'][row]:.3f}")

# %%
# Two people say little about the next one. With more of them the intervals over people mean
# something (``ci_low``, ``ci_high``), and ``crossl benchmark`` tests everybody once, beside
# the same network with random weights and other methods.

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for shift, (share, table) in zip((-0.2, 0.2), scores.items(), strict=True):
    f1 = table["metric"] == "macro_f1"
    places = np.arange(f1.sum())
    axes.bar(places + shift, table["value"][f1], width=0.38, label=f"{share:.0%} of labels")
    missing = [gone or "nothing" for gone in table["missing"][f1]]
    axes.set_xticks(places, [f"{gone} missing" for gone in missing])
axes.set_ylabel("macro-F1 of 2 people")
figure.legend(frameon=False, loc="outside lower center", ncols=2)
axes.spines[["top", "right"]].set_visible(False)
plt.show()
