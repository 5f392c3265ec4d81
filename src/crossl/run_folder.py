"""Run folder: a trained model, how it was made, and the contract its input must keep.

`weights.safetensors`, `config.yaml`, `model.json` and, once fitted, `probe.safetensors` with
`probe.json`. No pickle is read. Loading is strict: every name, shape and hash must match.
"""

from __future__ import annotations

import json
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from crossl.config import RunConfig, build_model, dump_config, validate
from crossl.config.encoders import Modules, check_modules
from crossl.config.weights import Shape, check_weights
from crossl.data.calibrated import calibration_facts, calibration_of
from crossl.data.calibration import Calibration
from crossl.data.contract import how_read, window_rules
from crossl.data.recording import Modality
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ContractError, CrosslError, DataError, FormatError
from crossl.evaluate.probe import Probe
from crossl.files import (
    LOCK,
    file_sha256,
    json_sha256,
    read_json,
    read_signed_json,
    write_signed_json,
    write_whole,
)
from crossl.nn.model import CrossModalModel
from crossl.settings import Settings
from crossl.stored import StoredBeginning, StoredProbe, StoredRun, check_stored
from crossl.tasks import Task, classes_task, stored_task
from crossl.yaml_text import read_yaml

FORMAT = "crossl-run"
VERSION = 1
CAME_LATER = ("standardisation", "task", "encoders", "shared_encoders", "frozen_encoders",
              "own_encoders")  # fmt: skip
PACKAGES = ("crossl", "torch", "numpy", "scipy", "scikit-learn")


@dataclass(frozen=True)
class Run:
    """A loaded run folder.

    Attributes:
        path: the folder.
        model: with its trained weights, in evaluation mode.
        config: how it was made.
        contract: what `model.json` says.
    """

    path: Path
    model: CrossModalModel
    config: RunConfig
    contract: Mapping[str, Any]

    @property
    def calibration(self) -> Calibration | None:
        """How its windows are calibrated, each by its recording; None for not at all."""
        return calibration_of(self.config.standardisation, self.contract)


def save_run(
    out: Path, model: CrossModalModel, config: RunConfig, *, about: Mapping[str, Any]
) -> None:
    """Write weights, config and contract; `model.json` comes last and vouches for the others.

    Args:
        out: the run folder.
        model: trained.
        config: how it was made.
        about: JSON values to keep: data set, classes, store hash, fold, subjects by part.

    Raises:
        ContractError: the model is not the network of the config; `load_run` could not load it.
        FormatError: a weight is not finite.
    """
    weights = _contiguous(model)
    own = {name: model.encoders.of(name) for name in config.own_encoders}
    check_weights(weights, config, Shape(model.modalities, model.window_s), own, out)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "weights.safetensors", safetensors.torch.save(weights))
    write_whole(out / "config.yaml", dump_config(config).encode())
    contract: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        **about,
        "modalities": [m.as_dict() for m in model.modalities],
        "window_s": model.window_s,
        "latent_dim": model.latent_dim,
        "versions": package_versions(),
        "commit": git_commit(),
        "files": {name: file_sha256(out / name) for name in ("weights.safetensors", "config.yaml")},
    }
    write_signed_json(out / "model.json", contract)


def _contiguous(model: CrossModalModel) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in model.state_dict().items()}


def load_run(path: Path | str, *, encoders: Modules | None = None) -> Run:
    """Load a run folder.

    Args:
        path: the folder.
        encoders: of a run whose encoders were handed over in Python: modules as those, by
            modality; copies of them get the run's weights.

    Raises:
        ConfigError: such a module is missing, or not wanted.
        FormatError: not a run, of another version, truncated or altered.
        ContractError: weights and config do not fit together.
    """
    path = Path(path)
    contract = read_signed_json(
        path / "model.json", what="run", fmt=FORMAT, version=VERSION,
        cure="make one by `crossl pretrain`",
    )  # fmt: skip
    check_stored(contract, StoredRun, path / "model.json", cure="train the run again")
    for name, wanted in contract["files"].items():
        if not (path / name).is_file():
            raise FormatError(f"{path / name}: is missing; train the run again")
        if file_sha256(path / name) != wanted:
            raise FormatError(
                f"{path / name}: was altered, its hash is not the one in model.json; train again"
            )
    config = validate(read_yaml(path / "config.yaml", FormatError), where=str(path / "config.yaml"))
    check_modules(config, encoders or {}, where=str(path))
    modalities = [Modality.from_dict(m) for m in contract["modalities"]]
    shape = Shape(modalities, contract["window_s"])
    try:
        weights = safetensors.torch.load_file(path / "weights.safetensors")
    except SafetensorError as error:
        raise FormatError(
            f"{path / 'weights.safetensors'}: cannot be read ({error}); train again"
        ) from error
    check_weights(weights, config, shape, encoders or {}, path)
    model = build_model(
        config, modalities, window_s=contract["window_s"], seed=0, encoders=encoders
    )
    if model.latent_dim != contract["latent_dim"]:
        raise ContractError(
            f"{path / 'model.json'}: latent_dim is {contract['latent_dim']}; the network of "
            f"config.yaml has {model.latent_dim}"
        )
    model.load_state_dict(weights, strict=True)
    return Run(path, model.eval(), config, contract)


PROBE_FORMAT = "crossl-probe"


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


def begin(
    store: Store, config: RunConfig, out: Path, *, command: str, fold: int | None = None
) -> None:
    """Make the folder of an experiment, or accept the one that the same experiment began.

    Args:
        store: what is learned from.
        config: settings of the experiment.
        out: its folder.
        command: how to remake it.
        fold: the one fold of a run; None for an experiment of several.

    Raises:
        DataError: the folder holds another experiment, or a run of something else.
        FormatError: its `experiment.json` is damaged.
    """
    facts: dict[str, Any] = {
        "store_sha256": store.hash,
        # contenders may be added later: what they made is known by their own settings
        "config": known_by(config, without={"contenders"}),
        **({} if fold is None else {"fold": fold}),
    }
    path = out / "experiment.json"
    if path.is_file():
        if read_begun(path)["sha256"] != json_sha256(facts):
            raise DataError(
                f"{out}: holds another experiment (other data or settings, or begun by another "
                "version of crossl); name a new folder"
            )
        return
    for other in ("model.json", "manifest.json"):
        if (out / other).exists():
            raise DataError(f"{out}: holds something else, it has {other}; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    head = {**facts, "sha256": json_sha256(facts), "command": command, "started": started,
            "began": time.time()}  # fmt: skip
    write_whole(path, json.dumps(head).encode())


def known_by(config: RunConfig, *, without: set[str] | None = None) -> dict[str, Any]:
    """Return the settings that an experiment is known by.

    Settings that came later are left out where they are the default, so that what was begun before
    there were such is resumed, and what changes no score: what is kept beside them, how many seeds
    there are, which label budget comes first.
    """
    usual = RunConfig()
    same = {name for name in CAME_LATER if getattr(config, name) == getattr(usual, name)}
    found = config.model_dump(mode="json", exclude=same | (without or set()))
    for name in ("keep_probabilities", "pretraining_seeds", "main_budget"):
        del found["evaluation"][name]
    found["evaluation"].pop("damages", None)  # scores know them by their own name
    if config.finetuning.precision == usual.finetuning.precision and "finetuning" in found:
        del found["finetuning"]["precision"]
    return found


@contextmanager
def forgotten_if_refused(out: Path) -> Iterator[None]:
    """Remove `experiment.json` from a folder in which nothing else was done when it is refused.

    The folder can then be used with other settings.
    """
    try:
        yield
    except CrosslError:
        if {path.name for path in out.iterdir()} - {LOCK} == {"experiment.json"}:
            (out / "experiment.json").unlink()
            with suppress(OSError):  # who holds the lock removes the folder
                out.rmdir()
        raise


def read_begun(path: Path) -> dict[str, Any]:
    """Read the `experiment.json` that `begin` wrote.

    Raises:
        FormatError: it is damaged.
    """
    cure = "name a new folder"
    return dict(check_stored(read_json(path, cure=cure), StoredBeginning, path, cure=cure))


def package_versions() -> dict[str, str]:
    """Return the versions that a result depends on."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a source tree on the path
        return "not installed"


def git_commit() -> str | None:
    """Return the commit of the source tree that is running, if it is one."""
    here = Path(__file__).resolve().parent
    command = ["git", "-C", str(here), "rev-parse", "--show-toplevel", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return None
    top, commit = done.stdout.split("\n")[:2]
    # an installed package may lie inside another repository
    return commit if Path(top) / "src" / "crossl" == here else None


def settings_sha256(settings: Settings) -> str:
    """Hash the settings of a part; with its name they are the identity of what it made."""
    return json_sha256(settings.model_dump(mode="json"))


def run_facts(store: Store, fold: Fold) -> dict[str, Any]:
    """Return what a run folder must remember of its data."""
    parts = {"train": fold.train, "validation": fold.validation, "test": fold.test}
    return {
        "dataset": store.manifest["dataset"],
        "classes": list(store.classes),
        "store_sha256": store.hash,
        **window_rules(store),
        **how_read(store),
        "statistics": "channel mean and standard deviation of the training subjects",
        **calibration_facts(store),
        "fold": fold.index,
        "subjects": {name: np.unique(store.subject[r]).tolist() for name, r in parts.items()},
    }
