"""
One file, without PyTorch
=========================

A run becomes one ONNX file, which says by itself what it expects. A program that has
numpy and onnxruntime runs it: on a small computer, in a service, or (with another
runtime) in C++ and in the browser.

Needs ``pip install "crossl[demo,export]"``; to run the file, ``numpy`` and
``onnxruntime`` alone.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import crossl

folder = Path(tempfile.mkdtemp())
command = ["crossl", "prepare", "seglearn_watch", "--out", folder / "store"]
subprocess.run(command, check=True, capture_output=True)
store = crossl.Store.open(folder / "store")
people = {
    "train": ["S01", "S02", "S03", "S04", "S05", "S06"],
    "validation": ["S07", "S08"],
}
small = {"encoder.width": 24, "schedule.steps": 40, "schedule.batch_size": 64}
run = crossl.pretrain(crossl.build_model(store, settings=small), store, **people)
run = crossl.fit_probe(run, store, label_fraction=0.2, **people)
run.save(folder / "run")

# %%
# The command compares the file with the run, under every set of sensors and whatever
# stands in the place of one that is absent, and writes nothing where they differ.


def export(out: str, *options: str) -> None:
    command = ["crossl", "export", "run", "--store", "store", "--out", out, *options]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    print(done.stdout)


export("model.onnx")

# %%
# A watch that has no gyroscope needs less:

export("watch.onnx", "--subset", "watch_acc")

# %%
# Another program, which never imports PyTorch. It takes windows in SI units; a sensor
# that is not there is left out.

tested = store.arrays()
tested = tested[tested.subject == "S10"]
np.savez(folder / "windows.npz", **tested)
program = """
import sys
import numpy as np
from crossl.runtime import Runtime

runtime = Runtime("model.onnx")
windows = dict(np.load("windows.npz"))
print(runtime.names, runtime.window_s)
print(runtime(windows).label[:5])
print(runtime({"watch_acc": windows["watch_acc"]}).probabilities[:2].round(3))
np.save("probabilities.npy", runtime(windows).probabilities)
print("torch" in sys.modules)
"""
command = [sys.executable, "-c", program]
done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
print(done.stdout)

# %%
# The same labels as the run gives:

names = np.array(run.classes)
same = names[np.load(folder / "probabilities.npy").argmax(axis=1)] == run.predict(tested)
print(f"{same.sum()} of {len(same)} windows")

# %%
# Beside the model lies a README with programs in Python, JavaScript and C++:

print("\n".join((folder / "model.README.md").read_text().splitlines()[:40]))
