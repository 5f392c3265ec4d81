"""Both recipes export with a batch of any size, and absent sensors stay without effect."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from crossl.config import build_model, load_config
from crossl.data.batch import Batch
from crossl.data.recording import Modality

# of one shape, so that the default's encoders can be stacked; and of several
MODALITIES = {
    "crossl": [Modality(f"imu{i}", ("x", "y", "z"), "m/s^2", 25.0) for i in range(3)],
    "paper": [
        Modality("acc", ("x", "y", "z"), "m/s^2", 25.0),
        Modality("eda", ("conductance",), "S", 4.0),
        Modality("ecg", ("lead",), "V", 64.0),
    ],
}
SUBSETS = torch.tensor([keep for keep in product([False, True], repeat=3) if any(keep)])
WITHIN = 2e-5
"""Of the largest number of an embedding; measured: 5e-6."""


class Embedding(nn.Module):
    """The model with plain arguments, as exporters want them."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, signals, present):
        return self.model(Batch(signals, present))


def make_batch(modalities, windows, *, absent=0.0):
    """Windows of all subsets of sensors in turn, with something in place of what is absent."""
    present = SUBSETS.repeat(-(-windows // len(SUBSETS)), 1)[:windows].contiguous()
    rng = torch.Generator().manual_seed(windows)
    signals = {}
    for column, modality in enumerate(modalities):
        shape = (windows, round(4 * modality.rate_hz), len(modality.channels))
        noise = torch.randn(shape, generator=rng)
        signals[modality.name] = torch.where(present[:, column, None, None], noise, absent)
    return signals, present


@pytest.fixture(scope="session", params=["crossl", "paper"])
def exported(request):
    modalities = MODALITIES[request.param]
    config = load_config(None, base=request.param, overrides=[])
    model = build_model(config, modalities, window_s=4, seed=0).eval()
    assert model.prepare_for_few_windows() == (request.param == "crossl")
    batch = Dim("batch", min=1)
    shapes = ({m.name: {0: batch} for m in modalities}, {0: batch})
    program = export(Embedding(model), make_batch(modalities, 7), dynamic_shapes=shapes)
    return model, modalities, program


@pytest.mark.parametrize("windows", [1, 7, 64])
def test_an_exported_model_embeds_batches_of_any_size(exported, windows):
    model, modalities, program = exported
    run = program.module()
    with torch.inference_mode():
        signals, present = make_batch(modalities, windows)
        embedding = run(signals, present)
        wanted = model(Batch(signals, present))
        atol = WITHIN * float(wanted.abs().max())
        torch.testing.assert_close(embedding, wanted, rtol=0, atol=atol)
        for absent in (float("nan"), 1e30):
            filled, _ = make_batch(modalities, windows, absent=absent)
            assert torch.equal(run(filled, present), embedding)


def test_an_exported_model_has_no_operator_that_runtimes_lack(exported):
    _, _, program = exported
    used = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert "aten.conv1d.default" in used
    assert not [name for name in used if "copysign" in name or not name.startswith(("aten.", "<"))]
