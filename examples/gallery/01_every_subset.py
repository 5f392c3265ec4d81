"""
A classifier that survives dead sensors
=======================================

Learn from recordings without labels, fit a classifier with a twentieth of the labels,
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
# Pretraining reads the windows of six people, without labels. Two other people are
# tested later: nothing here ever sees them.

people = {"train": ["S01", "S02", "S03", "S04", "S05", "S06"], "validation": ["S07", "S08"]}
small = {"encoder.width": 24, "schedule.steps": 80, "schedule.batch_size": 64}
untrained = crossl.build_model(store, settings=small)
run = crossl.pretrain(untrained, store, **people)

# %%
# The classifier is linear, on the frozen embedding. The same on the network with random
# weights shows what pretraining is worth.

few = {"label_fraction": 0.05, **people}
scores = {
    "pretrained": crossl.evaluate_subsets(crossl.fit_probe(run, store, **few), store),
    "random weights": crossl.evaluate_subsets(crossl.fit_probe(untrained, store, **few), store),
}
for name, table in scores.items():
    for row in np.flatnonzero(table["metric"] == "macro_f1"):
        gone = table["missing"][row] or "nothing"
        print(f"{name:15} {gone:10} missing: macro-F1 {table['value'][row]:.3f}")

# %%
# Two people say little about the next one: with more of them ``evaluate_subsets`` has
# intervals over people that mean something (``ci_low``, ``ci_high``), and ``crossl
# benchmark`` tests everybody once.

figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for shift, (name, table) in zip((-0.2, 0.2), scores.items(), strict=True):
    f1 = table["metric"] == "macro_f1"
    places = np.arange(f1.sum())
    axes.bar(places + shift, table["value"][f1], width=0.38, label=name)
    axes.set_xticks(places, [f"{gone or 'nothing'} missing" for gone in table["missing"][f1]])
axes.set_ylabel("macro-F1 of 2 people")
axes.legend(frameon=False)
axes.spines[["top", "right"]].set_visible(False)
plt.show()
