"""A fitted probe in a run folder: `probe.safetensors` and `probe.json`; no pickle is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from crossl.errors import FormatError
from crossl.evaluate.probe import Probe
from crossl.files import file_sha256, read_signed_json, write_signed_json, write_whole
from crossl.stored import StoredProbe, check_stored
from crossl.tasks import Task, classes_task, stored_task

PROBE_FORMAT = "crossl-probe"
VERSION = 1


def save_probe(
    out: Path, probe: Probe, *, about: dict[str, Any], classes: tuple[str, ...] = ()
) -> None:
    """Write a probe into a run folder.

    Args:
        out: the run folder.
        probe: fitted on this run's embeddings.
        classes: label names of a probe that has no task; `probe.classes` holds indices into them.
        about: JSON values to keep: label fraction, seed, windows used.
    """
    arrays = {name: np.ascontiguousarray(a) for name, a in probe.arrays().items()}
    write_whole(out / "probe.safetensors", safetensors.numpy.save(arrays))
    task = classes_task(classes) if classes else probe.task
    head: dict[str, Any] = {
        "format": PROBE_FORMAT,
        "version": VERSION,
        **about,
        "task": task.as_dict(),
        "head": probe.head,
        "classes": [task.names[i] for i in probe.classes],
        "class_numbers": probe.classes.tolist(),
        "strength": probe.strength,
        # JSON has no NaN, which is what nobody chose by
        "validation_score": None if np.isnan(probe.validation_score) else probe.validation_score,
        "weights": file_sha256(out / "weights.safetensors"),
        "arrays": file_sha256(out / "probe.safetensors"),
    }
    write_signed_json(out / "probe.json", head)


def load_probe(path: Path) -> tuple[Probe, list[str]]:
    """Load the probe of a run folder, and the names of its outputs, such as classes.

    Raises:
        FormatError: there is none, it was altered, or it belongs to other weights.
    """
    head = read_signed_json(
        path / "probe.json", what="probe", fmt=PROBE_FORMAT, version=VERSION,
        cure="run `crossl probe`",
    )  # fmt: skip
    check_stored(head, StoredProbe, path / "probe.json", cure="run `crossl probe` again")
    file = path / "probe.safetensors"
    if not file.is_file() or file_sha256(file) != head["arrays"]:
        raise FormatError(f"{file}: is missing or was altered; run `crossl probe` again")
    if file_sha256(path / "weights.safetensors") != head["weights"]:
        raise FormatError(f"{path}: its probe is of other weights; run `crossl probe` again")
    task = _probe_task(head, path / "probe.json")
    arrays = _probe_arrays(file, len(head["classes"]) * len(task.offsets))
    numbers = np.array(head["class_numbers"], dtype=np.int64)
    probe = Probe(
        head["head"],
        **arrays,
        classes=numbers,
        strength=head["strength"],
        validation_score=float("nan") if (score := head["validation_score"]) is None else score,
        task=task,
    )
    return probe, list(head["classes"])


def _probe_task(head: Mapping[str, Any], path: Path) -> Task:
    """Read the task of a probe; one that was kept before there were several is of classes.

    Raises:
        FormatError: it cannot be understood, or has other names than the outputs.
    """
    numbers = head["class_numbers"]
    if "task" not in head:
        gaps = [f"class {i}" for i in range(max(numbers) + 1)]  # of those that it never saw
        for number, name in zip(numbers, head["classes"], strict=True):
            gaps[number] = name
        return classes_task(gaps)
    task = stored_task(head["task"], where=str(path))
    told = [task.names[n] if n < len(task.names) else None for n in numbers]
    if told != head["classes"]:
        raise FormatError(
            f"{path}: its outputs are {head['classes']} and those of its task {told}; run `crossl "
            "probe` again"
        )
    return task


def _probe_arrays(file: Path, classes: int) -> dict[str, NDArray[np.floating[Any]]]:
    """Read the arrays of a probe, if they fit together and are finite.

    Raises:
        FormatError: they do not, or cannot be read.
    """
    cure = "run `crossl probe` again"
    try:
        arrays = safetensors.numpy.load_file(file)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{file}: cannot be read ({error!s:.100}); {cure}") from error
    width = arrays["mean"].shape[-1:] if "mean" in arrays else ()
    wanted = {"mean": width, "scale": width, "weight": (classes, *width), "bias": (classes,)}
    for name in sorted(wanted.keys() | arrays.keys()):
        got = arrays[name].shape if name in arrays else None
        if got != wanted.get(name) or not width:
            raise FormatError(f"{file}: '{name}' has shape {got}, not {wanted.get(name)}; {cure}")
        if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
            raise FormatError(f"{file}: '{name}' holds a number that is not finite; {cure}")
    if not (arrays["scale"] > 0).all():
        raise FormatError(f"{file}: 'scale' is not positive; {cure}")
    return arrays
