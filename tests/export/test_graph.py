"""What is exported is what the run computes, for all sensors and for some."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch

from crossl.config import build_model, load_config
from crossl.data.batch import Batch
from crossl.data.recording import Modality
from crossl.evaluate.confidence import Temperatures
from crossl.evaluate.probe import Probe
from crossl.export.fewer import CompletesFewer, JoinsFewer, fewer_sensors
from crossl.export.graph import Divisor, ExportedGraph, Reading
from crossl.export.groups import groups_of
from crossl.export.onnx_model import example_inputs
from crossl.export.stacked import StackedPredictive, StackedStrided
from crossl.tasks import classes_task

THREE = [
    Modality("acc", ("x", "y", "z"), "m/s^2", 25.0),
    Modality("eda", ("conductance",), "S", 4.0),
    Modality("ecg", ("lead",), "V", 64.0),
]
TINY = [
    "features=null",
    "encoder.width=8",
    "encoder.dim=8",
    "aggregator.shared_dim=8",
    "method.expander_dim=8",
]
SETTINGS = {
    "crossl": TINY,
    "gated": [*TINY, "aggregator.kind=gated"],
    "attention": [*TINY, "aggregator.kind=attention"],
    "transformer": [*TINY, "aggregator.kind=transformer"],
    "beside": [*TINY[1:], "features.width=6"],
    "alike": [*TINY[1:], "features.width=6", "aggregator.kind=gated"],
    "shared": [*TINY, "shared_encoders=[[left, right]]", "frozen_encoders=[left]"],
    "paper": ["encoder.dim=8", "aggregator.dim=8", "aggregator.hidden=8"],
}


def make_model(name):
    modalities = THREE
    if name == "shared":
        modalities = [THREE[1], *(Modality(n, ("x",), "V", 9.0) for n in ("left", "right"))]
    if name == "alike":
        modalities = [Modality("one", ("x",), "V", 9.0), THREE[0],
                      Modality("other", ("x",), "V", 9.0)]  # fmt: skip
    base = "paper" if name == "paper" else "crossl"
    config = load_config(None, base=base, overrides=SETTINGS[name])
    model = build_model(config, modalities, window_s=4, seed=0).eval()
    if model.features is not None:
        for m in modalities:
            torch.manual_seed(1)
            x = torch.randn(40, round(4 * m.rate_hz), len(m.channels))
            model.features.of(m.name).fit(x)
    return model


def probe_of(width, head="aggregator"):
    rng = np.random.default_rng(1)
    some = rng.normal(size=(3, width)).astype(np.float32)
    return Probe(head, some[0], 1 + some[1] ** 2, some[:2], np.zeros(2, np.float32),
                 np.arange(2), 1.0, task=classes_task(("rest", "run")))  # fmt: skip


@pytest.mark.parametrize("columns", [(0, 1, 2), (0, 2), (1,)])
@pytest.mark.parametrize("name", SETTINGS)
def test_some_sensors_give_what_the_whole_gives_without_the_others(name, columns):
    model = make_model(name)
    inputs = example_inputs(ExportedGraph(model, None, columns), 9)
    probe = probe_of(model.whole_dim)
    graph = ExportedGraph(model, Reading(probe), columns).eval()
    present = torch.zeros(9, 3, dtype=torch.bool)
    present[:, columns] = inputs.present
    whole = example_inputs(ExportedGraph(model, None, (0, 1, 2)), 9).signals
    with torch.inference_mode():
        embedding, logits, probabilities = graph(*inputs)
        wanted = model(Batch({**whole, **inputs.signals}, present))
    some = inputs.present.any(dim=1)
    assert embedding[~some].isnan().all()
    torch.testing.assert_close(embedding[some], wanted[some], rtol=1e-5, atol=1e-5)
    weight, bias = probe.affine()
    read = wanted[some].numpy() @ weight.T + bias
    np.testing.assert_allclose(logits[some], read, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(probabilities[some], logits[some].softmax(dim=1))


@pytest.mark.parametrize("name", ["crossl", "paper"])
def test_what_only_other_sensors_need_is_gone(name):
    model = make_model(name)
    count = []
    for columns in ((0, 1, 2), (0, 2), (0,)):
        graph = ExportedGraph(model, None, columns)
        count.append(sum(value.numel() for value in graph.state_dict().values()))
    encoders = [sum(p.numel() for p in model.encoders.of(m.name).parameters()) for m in THREE]
    assert count[0] <= sum(value.numel() for value in model.state_dict().values())
    assert count[0] - count[1] > encoders[1]
    assert count[1] - count[2] > encoders[2]


def test_the_model_itself_is_not_changed():
    model = make_model("crossl")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ExportedGraph(model, None, (1,)).eval()
    assert list(model.state_dict()) == list(before)
    assert len(model.modalities) == 3


def test_an_aggregator_that_is_not_known_stays_as_it_is():
    crossl, paper = make_model("crossl").aggregator, make_model("paper").aggregator
    gated = make_model("gated").aggregator
    assert type(fewer_sensors(crossl, (0,), 3)) is StackedPredictive
    assert type(fewer_sensors(gated, (0,), 3)) is CompletesFewer
    assert type(fewer_sensors(paper, (0,), 3)) is JoinsFewer
    other = torch.nn.Identity()
    assert fewer_sensors(other, (0,), 3) is other
    assert fewer_sensors(gated, (0, 1, 2), 3) is gated


@pytest.mark.parametrize("kind", ["none", "one", "number", "subset"])
def test_temperatures_are_those_of_the_sensors_that_are_there(kind):
    told = Temperatures(kind, ("a", "b,c", "d"), 3.0, {"1": 2.0, "3": 0.5},
                        {"a": 0.1, "b,c,d": 0.7, "a,b,c,d": 0.9})  # fmt: skip
    patterns = np.array([p for p in product([True, False], repeat=3) if any(p)])
    found = Divisor(told, (0, 1, 2))(torch.from_numpy(patterns))[:, 0]
    np.testing.assert_allclose(found, told.of(patterns), rtol=1e-6)
    fewer = np.array([[True, False, False], [False, True, False], [True, True, False]])
    found = Divisor(told, (0, 1))(torch.from_numpy(fewer[:, :2]))[:, 0]
    np.testing.assert_allclose(found, told.of(fewer), rtol=1e-6)
    assert len(set(told.of(patterns).tolist())) == {"none": 1, "one": 1}.get(kind, len(
        set(told.of(patterns).tolist())))  # fmt: skip


def test_a_probe_of_latents_side_by_side_is_read_so():
    model = make_model("crossl")
    probe = probe_of(3 * model.stack_dim, "encoders")
    graph = ExportedGraph(model, Reading(probe), (0, 1, 2)).eval()
    inputs = example_inputs(graph, 8)
    some = inputs.present.any(dim=1)
    with torch.inference_mode():
        _, logits, _ = graph(*inputs)
        latent = model.latent(Batch(*inputs))
    weight, bias = probe.affine()
    shown = torch.where(inputs.present[:, :, None], latent, 0.0).flatten(1).numpy()
    np.testing.assert_allclose(logits[some], (shown @ weight.T + bias)[some], rtol=1e-4, atol=1e-4)


def test_encoders_of_one_shape_are_one():
    model = make_model("alike")
    assert groups_of(model, model.modalities) == [["one", "other"], ["acc"]]
    graph = ExportedGraph(model, None, (0, 1, 2))
    assert [type(group.encoder) for group in graph.groups] == [
        StackedStrided, type(model.encoders.of("acc"))]  # fmt: skip
    # one that several share stays one
    model = make_model("shared")
    assert groups_of(model, model.modalities) == [["eda"], ["left"], ["right"]]
