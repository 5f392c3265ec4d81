"""Encoders by modality, shared, frozen and handed over: settings, run folders, training."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from crossl.config import build_model, dump_config, load_config, recipe, validate, with_modules
from crossl.contenders.networks import PretrainedConfig
from crossl.data.recording import Modality
from crossl.errors import ConfigError, ContractError
from crossl.nn.encoders import StridedEncoder, TcnEncoder
from crossl.run_folder import known_by, load_run, save_run
from crossl.yaml_text import read_yaml

LEFT, RIGHT = (Modality(name, ("x", "y"), "m/s^2", 30.0) for name in ("left", "right"))
ECG = Modality("ecg", ("lead",), "V", 64.0)
ALL = (LEFT, RIGHT, ECG)
SMALL = ("encoder.dim=8", "encoder.width=6", "aggregator.shared_dim=6")


def model_of(*overrides, encoders=None, modalities=ALL):
    config = with_modules(load_config(overrides=[*SMALL, *overrides]), encoders)
    return config, build_model(config, modalities, window_s=2.0, seed=0, encoders=encoders)


def flat_net():
    return nn.Sequential(nn.Flatten(), nn.Linear(128, 8))


def test_a_modality_has_the_encoder_that_a_run_file_gives_it(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "encoder: {dim: 8, width: 6}\n"
        "encoders:\n  ecg: {kind: tcn, dropout: 0.2}\n"
        "shared_encoders: [[left, right]]\nfrozen_encoders: [ecg]\n"
    )
    config = load_config(file)
    model = build_model(config, ALL, window_s=2.0, seed=0)
    ecg = model.encoders.of("ecg")
    assert isinstance(ecg, TcnEncoder)
    assert (ecg.dim, ecg.dropout.p) == (8, 0.2)
    assert isinstance(model.encoders.of("left"), StridedEncoder)
    assert model.encoders.of("left") is model.encoders.of("right")
    assert not any(p.requires_grad for p in ecg.parameters())
    again = tmp_path / "again.yaml"
    again.write_text(dump_config(config))
    assert validate(read_yaml(again, ConfigError), where="again") == config


def test_dim_is_that_of_all_encoders_also_where_it_is_set_later():
    config, model = model_of("encoders.ecg.kind=tcn", "encoder.dim=12")
    assert config.encoders["ecg"].dim == 12
    assert model.encoders.of("ecg").dim == model.encoders.of("left").dim == 12


@pytest.mark.parametrize(("override", "message"), [
    ("encoders.ecg.kind=tcnn", "encoders.ecg.kind: unknown encoder 'tcnn'; did you mean 'tcn'?"),
    ("encoders.ecg.widht=3", "encoders.ecg.widht: unknown key; did you mean 'width'?"),
    ("encoders.ecg.width=-1", "encoders.ecg.width: .*greater than 0, got -1"),
    ("encoders.ecg.dropout=0.1", "encoders.ecg.dropout: .*encoder 'strided' has no such key"),
    ("encoders.ecg.dim=3", "encoders.ecg.dim is 3; all encoders of a model have encoder.dim, 8"),
    ("encoders=tcn", "encoders: .*, got 'tcn'"),
    ("encoders.ecg=tcn", "encoders.ecg: .*, got 'tcn'"),
    ("encoder=tcn", "encoder: .*, got 'tcn'"),
    ("shared_encoders=[left, right]", "shared_encoders.0: .*, got 'left'"),
    ("frozen_encoder=[ecg]", "frozen_encoder: unknown key; did you mean 'frozen_encoders'?"),
])  # fmt: skip
def test_settings_of_encoders_that_are_wrong_are_refused_by_their_key(override, message):
    with pytest.raises(ConfigError, match=f"^--set {re.escape(override)}: {message}") as caught:
        load_config(overrides=[*SMALL, override])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("overrides", "message"), [
    (["encoders.egc.width=3"], "encoders: no modality is called 'egc'; did you mean 'ecg'?"),
    (["frozen_encoders=[egc]"], "frozen_encoders: no modality is called 'egc'"),
    (["own_encoders=[egc]"], "own_encoders: no modality is called 'egc'"),
    (["own_encoders=[ecg]"], "'ecg' is encoded by a custom module, .*hand it over"),
    (["shared_encoders=[[left, right]]", "encoders.right.width=3"],
     "encoders names 'right', which shares the encoder of 'left'; name 'left' instead"),
    (["own_encoders=[ecg]", "encoders.ecg.width=3"], "'ecg' is in both encoders and own_encoders"),
])  # fmt: skip
def test_settings_that_contradict_each_other_or_the_modalities_are_refused(overrides, message):
    with pytest.raises(ConfigError, match=message):
        model_of(*overrides)


def test_a_module_for_a_modality_that_is_not_listed_is_refused():
    config = load_config(overrides=SMALL)
    with pytest.raises(ConfigError, match=r"handed over for 'ecg', whose encoder is .*'strided'"):
        build_model(config, ALL, window_s=2.0, seed=0, encoders={"ecg": flat_net()})


def test_weights_and_identity_of_what_does_not_use_this_are_as_before():
    plain, _ = model_of()
    assert not {"encoders", "shared_encoders", "frozen_encoders", "own_encoders"} & set(
        known_by(plain)
    )
    assert "frozen_encoders" in known_by(load_config(overrides=["frozen_encoders=[ecg]"]))
    assert dump_config(recipe("paper")).count("encoders: {}") == 1
    same = model_of("encoders.ecg.kind=strided", "encoders.ecg.width=6")[1].state_dict()
    torch.testing.assert_close(same, model_of()[1].state_dict(), rtol=0, atol=0)


def test_a_contender_with_an_encoder_of_its_own_has_it_everywhere():
    config = load_config(overrides=["encoders.ecg.kind=tcn", "shared_encoders=[[left, right]]"])
    given = PretrainedConfig(encoder={"kind": "strided", "width": 9}).within(config)
    assert (given.encoders, given.shared_encoders) == ({}, ())
    assert PretrainedConfig().within(config).encoders == config.encoders


def test_a_run_with_all_of_it_is_saved_and_loaded(tmp_path):
    net = flat_net()
    config, model = model_of(
        "shared_encoders=[[left, right]]", "frozen_encoders=[right]", encoders={"ecg": net}
    )
    save_run(tmp_path, model, config, about={})
    with pytest.raises(ConfigError, match=rf"^{tmp_path}: 'ecg' is encoded by a custom module"):
        load_run(tmp_path)
    other = flat_net()
    before = other[1].weight.clone()
    run = load_run(tmp_path, encoders={"ecg": other})
    torch.testing.assert_close(run.model.state_dict(), model.state_dict(), rtol=0, atol=0)
    assert torch.equal(other[1].weight, before)
    assert not any(p.requires_grad for p in run.model.encoders.of("left").parameters())
    wider = nn.Sequential(nn.Flatten(), nn.Linear(128, 16), nn.Linear(16, 8))
    with pytest.raises(ContractError, match=r"encode_ecg\.1\.\w+' has shape .*; the network"):
        load_run(tmp_path, encoders={"ecg": wider})


def test_a_module_that_two_models_are_made_of_learns_in_neither_for_the_other():
    net = flat_net()
    one, two = (model_of(encoders={"ecg": net})[1] for _ in range(2))
    with torch.no_grad():
        one.encoders.of("ecg")[1].weight.zero_()
    assert torch.equal(two.encoders.of("ecg")[1].weight, net[1].weight)
    assert np.asarray(net[1].weight.detach()).any()


def test_a_frozen_module_may_have_batch_normalisation():
    net = nn.Sequential(flat_net(), nn.BatchNorm1d(8))
    with pytest.raises(ConfigError, match="freeze the encoder"):
        model_of(encoders={"ecg": net})
    _, model = model_of("frozen_encoders=[ecg]", encoders={"ecg": net})
    assert not model.train().encoders.of("ecg")[1].training


def test_the_file_of_a_run_says_what_was_handed_over(tmp_path: Path):
    config, model = model_of(encoders={"ecg": flat_net()})
    save_run(tmp_path, model, config, about={})
    assert "own_encoders:\n- ecg\n" in (tmp_path / "config.yaml").read_text()
