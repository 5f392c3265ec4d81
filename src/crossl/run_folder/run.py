"""A trained model on disk: weights, settings, and the contract its input must keep.

`weights.safetensors`, `config.yaml` and `model.json`. No pickle is read. Loading is strict: every
name, shape and hash must match.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
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
from crossl.errors import ContractError, FormatError
from crossl.files import file_sha256, read_signed_json, write_signed_json, write_whole
from crossl.nn.model import CrossModalModel
from crossl.run_folder.versions import git_commit, package_versions
from crossl.stored import StoredRun, check_stored
from crossl.yaml_text import read_yaml

FORMAT = "crossl-run"
VERSION = 1


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
