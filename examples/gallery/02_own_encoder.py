"""
An encoder of your own
======================

Every sensor has an encoder, from a window to ``K`` numbers. Any ``torch.nn.Module``
will do: here a small recurrent network for the gyroscope, beside crossl's own for the
accelerometer. Masks, losses, missing sensors, classifiers and run folders need to know
nothing of it.

Needs ``pip install "crossl[demo]"``.
"""

import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from sklearn.decomposition import PCA
from torch import nn

import crossl

folder = Path(tempfile.mkdtemp())
command = ["crossl", "prepare", "seglearn_watch", "--out", folder / "store"]
subprocess.run(command, check=True, capture_output=True)
store = crossl.Store.open(folder / "store")

# %%
# It takes standardised windows ``(batch, time, channel)`` and returns ``(batch, K)``.
# The rest follows from two rules: every window for itself (so no batch normalisation),
# and the same ``K`` for all sensors.


class Recurrent(nn.Module):
    """Read every fourth sample by a GRU; the latent is its last state."""

    def __init__(self, channels: int, dim: int) -> None:
        super().__init__()
        self.gru = nn.GRU(channels, dim, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        _, last = self.gru(x[:, ::4])
        return last[0]


# %%
# Handed over, it is trained with everything else. A module that has learned elsewhere
# can be kept as it is: ``"frozen_encoders": ["watch_gyro"]``.

small = {"encoder.width": 24, "encoder.dim": 32, "schedule.steps": 60, "schedule.batch_size": 64}
people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
run = crossl.build_model(store, settings=small, encoders={"watch_gyro": Recurrent(3, 32)})
run = crossl.pretrain(run, store, **people)
run = crossl.fit_probe(run, store, label_fraction=0.1, **people)

# %%
# The classifier as it is, with one sensor and without it:

table = crossl.evaluate_subsets(run, store)
for present, metric, value in zip(table["present"], table["metric"], table["value"], strict=True):
    if metric == "macro_f1":
        print(f"{present:22} macro-F1 {value:.3f}")

# %%
# A run folder keeps the weights, not the code: to load it, hand over such a module
# again.

run.save(folder / "run")
again = crossl.load_run(folder / "run", encoders={"watch_gyro": Recurrent(3, 32)})
print((again.predict(store) == run.predict(store)).all())

# %%
# What the network makes of windows of somebody it has never seen, in two dimensions:

windows = store.arrays()
tested = windows[windows.subject == "S10"]
places = PCA(2, random_state=0).fit_transform(run.embed(tested))
figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
for name in run.classes:
    axes.scatter(*places[tested.label == name].T, s=12, label=name)
axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
axes.set(xticks=[], yticks=[], title="windows of S10, coloured by exercise")
plt.show()
