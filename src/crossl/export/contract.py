"""Contract: all that is needed to use an exported model, kept within it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from crossl.data.readers import DATASETS, get_reader
from crossl.data.store import Store
from crossl.errors import ConfigError, ContractError, nearest
from crossl.export.graph import PRESENT, ExportedGraph, Reading
from crossl.files import file_sha256
from crossl.run_folder import Run

FORMAT = "crossl-export"
VERSION = 1
NOT_STATED = "not stated"


def columns_of(run: Run, names: Sequence[str]) -> list[int]:
    """Return the columns of modalities that may come; of no names all.

    Raises:
        ConfigError: the run has no such modality.
    """
    known = [m.name for m in run.model.modalities]
    for name in names:
        if name not in known:
            raise ConfigError(f"--subset: modality '{name}'; {nearest(name, known)}")
    return [i for i, name in enumerate(known) if not names or name in names]


def check_exportable(run: Run) -> None:
    """Refuse a run whose windows nobody can make without their whole recording.

    Raises:
        ContractError: it calibrates windows by a recording that must be over.
    """
    if run.calibration is not None and not run.calibration.causal:
        raise ContractError(
            f"{run.path}: calibrates each window by {run.calibration.told}, which a device that "
            "records does not know; exported are runs with standardisation.kind 'training', "
            "'calibration' and 'running'"
        )


def licence_of(run: Run, told: str | None, store: Store | None = None) -> str:
    """Return on which terms the data may be used that a run learned from.

    What a data set is called says nothing: anybody's recordings may have the name of a published
    one. Only the reader that read them does.

    Args:
        run: its contract says by which reader; not so runs of before.
        told: as the user stated it; None where nothing was stated.
        store: says it, too, if it is the run's own.
    """
    if told:
        return told
    reader = (run.contract.get("reading") or {}).get("reader")
    if reader is None and store is not None and store.hash == run.contract.get("store_sha256"):
        reader = store.manifest.get("reader")
    return get_reader(reader).CARD.licence if reader in DATASETS else NOT_STATED


def contract_of(
    run: Run,
    graph: ExportedGraph,
    reading: Reading | None,
    *,
    licence: str | None,
    store: Store | None = None,
) -> dict[str, Any]:
    """Return what an exported model says of itself, apart from how it was checked.

    Args:
        run: that is exported.
        graph: what is exported of it.
        reading: its classifier.
        licence: of the data, as the user says; None for what is known.
        store: of windows that it is checked on; None where none is at hand.

    Returns:
        JSON values; `Windower.from_contract` cuts windows by them.
    """
    told, names = run.contract, [m.name for m in graph.modalities]
    return {
        "format": FORMAT,
        "version": VERSION,
        "crossl": version("crossl"),
        "versions": versions("torch", "onnx", "onnxscript", "onnxruntime", "executorch"),
        "run": {
            "recipe": run.config.recipe,
            "dataset": told.get("dataset"),
            "model_json": told.get("sha256"),
            "weights": told["files"]["weights.safetensors"],
            "probe": None if reading is None else file_sha256(run.path / "probe.json"),
            "store": told.get("store_sha256"),
        },
        "data_licence": licence_of(run, licence, store),
        "modalities": [m.as_dict() for m in graph.modalities],
        "left_out": [m.name for m in run.model.modalities if m.name not in names],
        "window_s": graph.window_s,
        "window": _window(told.get("window"), names),
        "resampled": {k: v for k, v in told.get("resampled", {}).items() if k in names},
        "standardisation": None if run.calibration is None else run.calibration.as_dict(),
        "inputs": _inputs(graph, calibrated=run.calibration is not None),
        "outputs": _outputs(graph, run, reading),
        "task": None if reading is None else reading.probe.task.as_dict(),
        "names": [] if reading is None else list(reading.names),
        "temperatures": _temperatures(reading),
        "context": None if reading is None or reading.context is None else dict(reading.context),
    }


def _window(rules: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any] | None:
    if rules is None:
        return None
    kept = {k: v for k, v in rules.get("max_gap_of", {}).items() if k in names}
    return {**rules, **({"max_gap_of": kept} if "max_gap_of" in rules else {})}


def _inputs(graph: ExportedGraph, *, calibrated: bool) -> dict[str, Any]:
    means = "calibrated by its recording, see standardisation" if calibrated else "as recorded"
    found: dict[str, Any] = {
        m.name: {
            "type": "float32",
            "shape": ["batch", round(graph.window_s * m.rate_hz), len(m.channels)],
            "unit": m.unit,
            "values": means,
        }
        for m in graph.modalities
    }
    found[PRESENT] = {
        "type": "bool",
        "shape": ["batch", len(graph.modalities)],
        "values": "whether each sensor was recorded, in the order of modalities; what stands in "
        "place of an absent one changes nothing",
    }
    return found


def _outputs(graph: ExportedGraph, run: Run, reading: Reading | None) -> dict[str, Any]:
    width = 0 if reading is None else len(reading.names)
    means = {
        "embedding": "NaN where nothing is present",
        "logits": "of the classifier, before temperatures",
        "probabilities": "calibrated" if graph.divisor is not None else "not calibrated",
        "values": "in the units of the task",
    }
    return {
        name: {
            "type": "float32",
            "shape": ["batch", run.model.whole_dim if name == "embedding" else width],
            "values": means[name],
        }
        for name in graph.outputs
    }


def _temperatures(reading: Reading | None) -> dict[str, Any] | None:
    if reading is None or reading.temperatures is None:
        return None
    return reading.temperatures.as_dict()


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of packages that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
