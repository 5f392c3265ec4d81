"""Recorded steps: what can be seen without a GPU."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import Method
from crossl.methods.method import Encoded
from crossl.train.cuda_graphs import Given, agree, record

RECIPES = ("crossl", "paper")


class Off:
    """A step that is off by a factor, in its loss or in its gradients alone."""

    def __init__(self, method: Method, *, loss: float, gradient: float) -> None:
        self.method, self.loss, self.gradient = method, loss, gradient

    def encode(self, *given: Any) -> Encoded:
        return self.method.encode(*given)

    def compare(self, *given: Any) -> dict[str, torch.Tensor]:
        def off(term: torch.Tensor) -> torch.Tensor:
            return self.gradient * term + (self.loss - self.gradient) * term.detach()

        return {name: off(term) for name, term in self.method.compare(*given).items()}


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    """Windows some of which lack a modality."""
    return collate(store, fold.train[:32])


def drawn(method: Method, batch: Batch) -> Given:
    """Return what a step is given."""
    found = method.draw(batch.present, torch.Generator().manual_seed(0))
    return Given(method.views(batch, seed=0), batch.present, found)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_step_agrees_with_itself_and_not_with_one_that_is_off(
    recipe: str, small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of(small(recipe))
    method.train()
    step = drawn(method, batch)
    assert agree(method, method, step)
    assert agree(method, Off(method, loss=1.001, gradient=1.001), step)
    assert not agree(method, Off(method, loss=1.2, gradient=1.0), step)
    assert not agree(method, Off(method, loss=1.0, gradient=1.2), step)
    assert all(p.grad is None for p in method.parameters())


def test_a_step_that_is_not_finite_is_left_to_the_check_that_says_why(
    method_of: Callable[..., Method], batch: Batch
) -> None:
    method = method_of()
    step = drawn(method, batch)
    broken = {name: x / 0 for name, x in step.signals.items()}
    assert agree(method, method, replace(step, signals=broken))


def test_what_draws_while_it_computes_is_not_recorded(
    small: Callable[..., RunConfig], method_of: Callable[..., Method], batch: Batch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    method = method_of(small("crossl", "encoder={kind: tcn, dim: 8}"))
    method.train()
    with caplog.at_level(logging.INFO):
        assert record(method, drawn(method, batch), precision="float32") is None
    assert "dropout" in caplog.text


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_where_nothing_can_be_recorded_one_line_says_so(
    method_of: Callable[..., Method], batch: Batch, caplog: pytest.LogCaptureFixture
) -> None:
    method = method_of()
    method.train()
    with caplog.at_level(logging.WARNING):
        assert record(method, drawn(method, batch), precision="float32") is None
    (line,) = [r.getMessage() for r in caplog.records]
    assert line.startswith("CUDA graphs are not used, training continues without them, slower: ")
    assert "\n" not in line
