"""ONNX: the graph as the bytes of a model that any runtime reads, and sessions of it."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from importlib.util import find_spec
from io import StringIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import Dim

from crossl.errors import ConfigError, PackageError
from crossl.export.graph import PRESENT, ExportedGraph, Inputs

OPSET = 20
"""The first one with GELU, which the default encoders need."""
BATCH = "batch"
TRACED = 7
"""Windows of the batch that is traced; any other number runs."""
METADATA = "crossl"
"""Key of the contract among a model's own facts."""
NEEDS = ("onnx", "onnxscript", "onnxruntime")


def check_packages(packages: Sequence[str] = NEEDS, extra: str = "export") -> None:
    """Refuse where what exporting needs is not installed.

    Raises:
        PackageError: names the first that is missing.
    """
    for name in packages:
        if find_spec(name) is None:
            raise PackageError(
                f"export: needs the package '{name}', which is not installed; install it with: "
                f'pip install "crossl[{extra}]"'
            )


def example_inputs(graph: ExportedGraph, windows: int = TRACED) -> Inputs:
    """Make windows of noise, as tracing needs them; modalities come and go.

    Args:
        graph: that is traced.
        windows: B.
    """
    rng = torch.Generator().manual_seed(0)
    signals = {
        m.name: torch.randn(
            windows, round(graph.window_s * m.rate_hz), len(m.channels), generator=rng
        )
        for m in graph.modalities
    }
    column = torch.arange(len(graph.modalities))
    present = (torch.arange(windows)[:, None] + column) % (len(graph.modalities) + 1) > 0
    return Inputs(signals, present)


def onnx_bytes(graph: ExportedGraph) -> bytes:
    """Export a graph with a batch of any size.

    Args:
        graph: in evaluation mode.

    Returns:
        The model, whose inputs are named after modalities, and `present`.

    Raises:
        ConfigError: a modality has the name of another input or an output.
    """
    for m in graph.modalities:
        if m.name in (PRESENT, *graph.outputs):
            raise ConfigError(
                f"export: modality '{m.name}' has the name of another input or output of the "
                f"model; allowed are names other than {', '.join((PRESENT, *graph.outputs))}"
            )
    inputs = example_inputs(graph)
    batch = Dim(BATCH, min=1)
    shapes = ({name: {0: batch} for name in inputs.signals}, {0: batch})
    with torch.no_grad(), quietly():
        program = torch.onnx.export(
            graph.eval(), tuple(inputs), dynamo=True, dynamic_shapes=shapes, opset_version=OPSET,
            input_names=[*inputs.signals, PRESENT], output_names=list(graph.outputs),
            verbose=False,
        )  # fmt: skip
    assert program is not None  # noqa: S101 - as it is with dynamo
    return _tidied(program.model_proto)


def _tidied(model: Any) -> bytes:
    """Drop what tracing wrote of this machine's files: names and stack traces."""
    for node in [*model.graph.node, *(n for f in model.functions for n in f.node)]:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    model.producer_name = "crossl"
    return bytes(model.SerializeToString(deterministic=True))


def with_metadata(model: bytes, contract: Mapping[str, Any]) -> bytes:
    """Return a model that carries its contract.

    Args:
        model: as bytes.
        contract: JSON values.
    """
    import onnx

    loaded = onnx.load_from_string(model)
    del loaded.metadata_props[:]
    onnx.helper.set_model_props(loaded, {METADATA: json.dumps(contract, sort_keys=True)})
    onnx.checker.check_model(loaded)
    return bytes(loaded.SerializeToString(deterministic=True))


def open_session(model: bytes, *, threads: int = 1) -> Any:
    """Open a model with ONNX Runtime on the processor.

    Args:
        model: as bytes.
        threads: that one call uses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def run_session(
    session: Any, signals: Mapping[str, NDArray[Any]], present: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    """Compute all outputs of windows, by name."""
    names = [one.name for one in session.get_outputs()]
    found = session.run(names, {**signals, PRESENT: present})
    return dict(zip(names, found, strict=True))


@contextmanager
def quietly() -> Iterator[None]:
    """Keep what exporters say of themselves from users, who can do nothing about it."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript",
                                                    "onnx_ir", "torch._export")]  # fmt: skip
    before = [one.level for one in loggers]
    try:
        for one in loggers:
            one.setLevel(logging.ERROR)
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, before, strict=True):
            one.setLevel(level)
