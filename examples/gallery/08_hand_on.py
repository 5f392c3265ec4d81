"""
A run that is handed on
=======================

A run folder is all that others need. A model card tells them what goes in, what comes
out and how good it is; whoever gets the folder loads it in one line.

Needs ``pip install "crossl[demo]"``.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import crossl

folder = Path(tempfile.mkdtemp())


def run_crossl(*words: str) -> str:
    command = ["crossl", *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout


run_crossl("prepare", "seglearn_watch", "--out", "store", "--stride-s", "4")
store = crossl.Store.open(folder / "store")
people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
small = {"encoder.width": 16, "schedule.steps": 30, "schedule.batch_size": 32}
trained = crossl.pretrain(crossl.build_model(store, settings=small), store, **people)
trained = crossl.fit_probe(trained, store, label_fraction=0.2, **people)
trained.save(folder / "run")

# %%
# The card says what the run folder knows and nothing else. This run was not evaluated, and the
# card says so: ``crossl evaluate`` would bring scores into it. Which licence the recordings allow
# is for whoever shares the weights to find out.

print(run_crossl("card", "run", "--licence", "cc-by-4.0"))
print((folder / "run" / "README.md").read_text())

# %%
# Whoever uses a run needs these files and neither checkpoints nor scores. ``model.json``
# names the people of the store, and ``config.yaml`` may hold paths: look into them first.

needed = ("README.md", "model.json", "config.yaml", "weights.safetensors",
          "probe.json", "probe.safetensors")  # fmt: skip
(folder / "given").mkdir()
for name in needed:
    shutil.copy(folder / "run" / name, folder / "given")
    print(f"{name:20} {(folder / 'given' / name).stat().st_size / 1000:6.1f} kB")

# %%
# At the other end, windows in SI units go in as arrays, from wherever they are; a sensor that
# is not there is left out. Of a run that lies at Hugging Face the line is
# ``crossl.load_run("hf://USER/REPO")``, with ``pip install "crossl[hub]"``.

run = crossl.load_run(folder / "given")
for modality in run.modalities:
    print(modality.name, modality.channels, modality.unit, modality.rate_hz, "Hz")
print(run.classes, run.window_s, "s")

windows = store.arrays()
windows = windows[windows.subject == "S10"]
some = {"watch_acc": windows["watch_acc"][:3]}
print(run.predict(some), run.predict_proba(some).max(axis=1).round(2))
print(run.embed(some).shape)

# %%
# It is the same run, and it refuses windows that it does not know, in a sentence.

same = run.predict(windows) == trained.predict(windows)
print(f"{same.sum()} of {len(same)} labels are the same")
try:
    run.predict({"watch_acc": np.zeros((3, 77, 3), np.float32)})
except crossl.CrosslError as error:
    print(error)
