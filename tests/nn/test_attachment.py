"""Faster ways are attached from outside, and can be absent, switched off, or not apply."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from crossl.nn import attachment
from crossl.nn.attachment import attach, plain_ways, replaceable, run_in_parts


@pytest.fixture
def half():
    """A function with a faster way for even numbers, which tells that it ran."""

    @replaceable
    def half(number):
        return number / 2, "plain"

    attach(half, lambda number: (number >> 1, "fast"), applies=lambda number: number % 2 == 0)
    yield half
    del attachment._attached[half]


def test_a_faster_way_runs_where_it_applies(half):
    assert half(4) == (2, "fast")
    assert half(3) == (1.5, "plain")
    with plain_ways():
        assert half(4) == (2, "plain")
    assert half(4) == (2, "fast")


def test_while_a_model_is_traced_the_plain_way_runs():
    @replaceable
    def double(x):
        return x + x

    attach(double, lambda x: 2 * x)
    one = torch.ones(1)
    kinds = {node.kind() for node in torch.jit.trace(double, one).graph.nodes()}
    assert "aten::add" in kinds
    assert "aten::mul" not in kinds
    assert double(one) == 2


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], env={**environment, "PATH": ""}, capture_output=True,
        text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_the_environment_can_switch_all_fast_ways_off():
    code = "import crossl.nn.attachment as a; print(a.kernels_in_use())"
    assert run(code, CROSSL_FAST="0") == "plain"


def test_a_fault_in_the_folder_is_not_taken_for_its_absence(monkeypatch):
    def fail(_name):
        raise ModuleNotFoundError("No module named 'no_such'", name="no_such")

    monkeypatch.setattr(attachment, "import_module", fail)
    with pytest.raises(ModuleNotFoundError, match="no_such"):
        attachment.attach_fast_ways()


def test_plain_work_is_done_in_one_part():
    with plain_ways():
        assert run_in_parts(list, [1, 2, 3]) == [[1, 2, 3]]
