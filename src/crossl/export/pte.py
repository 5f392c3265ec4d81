"""ExecuTorch: the graph as a program for phones and small Linux machines, lowered to XNNPACK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.export import Dim, export

from crossl.errors import ConfigError
from crossl.export.graph import ExportedGraph
from crossl.export.onnx_model import BATCH, check_packages, example_inputs, quietly
from crossl.export.parity import Runner, Signals
from crossl.sharing.markdown import code, plain

NEEDS = ("executorch",)
MOST_WINDOWS = 64
"""Windows of a batch; memory is planned for so many."""
REFUSED = ("PreluConfig",)
"""Kinds of operators that XNNPACK takes for four dimensions only; others compute them."""

README = """\
# {title}

Made by crossl {crossl} (`crossl export --format pte`) for ExecuTorch, with XNNPACK. Terms of the
data that it learned from: {licence}. Up to {most} windows at once; {json}
says what goes in and comes out.

```python
import torch
from executorch.runtime import Runtime

method = Runtime.get().load_program({quoted}).load_method("forward")
windows = [{arrays}]  # {names}
present = torch.ones(1, {count}, dtype=torch.bool)  # whether each sensor was recorded
{outputs} = method.execute([*windows, present])
```
"""


def pte_bytes(graph: ExportedGraph) -> bytes:
    """Export a graph with batches of up to 64 windows.

    Args:
        graph: in evaluation mode, its encoders not stacked.

    Raises:
        PackageError: executorch is not installed.
    """
    check_packages(NEEDS, "edge")
    inputs = example_inputs(graph, MOST_WINDOWS)
    batch = Dim(BATCH, min=1, max=MOST_WINDOWS)
    shapes = ({name: {0: batch} for name in inputs.signals}, {0: batch})
    with torch.no_grad(), quietly():
        from executorch.backends.xnnpack.partition.config import ALL_PARTITIONER_CONFIGS
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        taken = [one for one in ALL_PARTITIONER_CONFIGS if one.__name__ not in REFUSED]
        program = export(graph.eval(), tuple(inputs), dynamic_shapes=shapes)
        edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner(configs=taken)])
        return bytes(edge.to_executorch().buffer)


def pte_runner(model: bytes, graph: ExportedGraph) -> Runner:
    """Return what runs a program in Python.

    Args:
        model: as bytes.
        graph: that it is of; names its outputs.
    """
    with quietly():  # it warns that it is experimental
        from executorch.runtime import Runtime

        try:
            method = Runtime.get().load_program(model).load_method("forward")
        except RuntimeError as error:
            raise ConfigError(
                "--format pte: this run needs an operator that ExecuTorch's own runtime lacks "
                f"({error}); export it to ONNX"
            ) from error

    def run(signals: Signals, present: NDArray[np.bool_]) -> dict[str, NDArray[Any]]:
        given = [torch.from_numpy(np.ascontiguousarray(x)) for x in (*signals.values(), present)]
        found = method.execute(given)
        # the program writes into the same memory again
        return {name: x.numpy().copy() for name, x in zip(graph.outputs, found, strict=True)}

    return run


def pte_readme(file: str, contract: Mapping[str, Any]) -> str:
    """Say in Markdown how to run a program.

    Args:
        file: its name.
        contract: of it.
    """
    names = [m["name"] for m in contract["modalities"]]
    shapes = [(1, *contract["inputs"][name]["shape"][1:]) for name in names]
    told = {
        "title": plain(file),
        "quoted": json.dumps(file, ensure_ascii=False),
        "json": code(f"{file}.json"),
        "crossl": contract["crossl"],
        "licence": plain(contract["data_licence"]),
        "most": MOST_WINDOWS,
        "names": ", ".join(names),
        "count": len(names),
        "arrays": ", ".join(f"torch.zeros{shape}" for shape in shapes),
        "outputs": ", ".join([*contract["outputs"], ""]).rstrip(),
    }
    return README.format(**told)


def contract_json(contract: Mapping[str, Any]) -> str:
    """Return what lies beside a program, which itself holds no facts."""
    return json.dumps(contract, indent=1, sort_keys=True) + "\n"
