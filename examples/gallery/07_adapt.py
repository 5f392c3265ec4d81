"""
A few labelled minutes of a new person
======================================

People differ. ``crossl adapt`` fits a run's classifier again for one person, of whom a
few minutes are labelled; the network stays as it is, and validation people choose how much
these minutes count.

Needs ``pip install "crossl[demo]"``.
"""

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

# %%
# A run with a classifier, tiny here. ``S09`` and ``S10`` are in no part of it.

people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
small = {"encoder.width": 16, "schedule.steps": 30, "schedule.batch_size": 32}
run = crossl.pretrain(crossl.build_model(store, settings=small), store, **people)
run = crossl.fit_probe(run, store, label_fraction=0.1, **people)
run.save(folder / "run")

# %%
# ``S10`` did each exercise with both arms. Of the first series of each somebody noted when it
# was; the other series are kept for the test.

noted = {}
for told in store.manifest["recordings"]:
    if told["subject"] == "S10":
        noted.setdefault(told["session"].split("-")[0], told)
rows = [f"{one['session']},0,{one['seconds']},{name}" for name, one in noted.items()]
(folder / "S10.csv").write_text("\n".join(["session,start,end,label", *rows, ""]))
print((folder / "S10.csv").read_text())

# %%
# Recordings come as files, as a folder or, here, as a store. ``--store`` is where the labels
# of all others are.

new = ("--subject", "S10", "--labels", "S10.csv", "--out", "run-S10")
print(run_crossl("adapt", "run", "store", "--store", "store", *new))

# %%
# Before and after, on the series that were not noted. This is one person and a tiny training, so
# a few windows more or fewer say nothing: the page on adapting has more people, some of whom lose.

sessions = [one["session"] for one in noted.values()]
tested = (store.subject == "S10") & ~np.isin(store.session, sessions) & (store.label >= 0)
truth = np.array(store.classes)[store.label[tested]]
for name in ("run", "run-S10"):
    said = crossl.load_run(folder / name).predict(store)[tested]
    print(f"{name}: {(said == truth).sum()} of {len(truth)} windows right")
