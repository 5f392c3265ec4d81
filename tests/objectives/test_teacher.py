"""Losses of distillation against their formulas, and what has no teacher adds nothing."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from crossl.objectives.teacher import cosine_distance, same_neighbours


def some(seed: int, rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def unit(x: torch.Tensor) -> np.ndarray:
    return x.numpy() / np.linalg.norm(x.numpy(), axis=1, keepdims=True)


THERE = torch.tensor([True, True, False, True, False, True])


def test_cosine_distance_is_its_formula() -> None:
    wanted = (1 - (unit(some(0)) * unit(some(1))).sum(axis=1))[THERE.numpy()].mean()
    np.testing.assert_allclose(cosine_distance(some(0), some(1), THERE).item(), wanted)


def test_same_neighbours_is_its_formula() -> None:
    student, teacher, queue = some(0), some(1), some(2, rows=9)
    found = same_neighbours(
        student, teacher, queue, THERE, student_temperature=0.05, teacher_temperature=0.1
    )
    logits = [unit(z) @ unit(queue).T / t for z, t in ((student, 0.05), (teacher, 0.1))]
    told, wanted = (x - np.log(np.exp(x).sum(axis=1, keepdims=True)) for x in logits)
    each = -(np.exp(wanted) * told).sum(axis=1)
    np.testing.assert_allclose(found.item(), each[THERE.numpy()].mean())


@pytest.mark.parametrize(
    "loss",
    [
        cosine_distance,
        partial(
            lambda student, teacher, there: same_neighbours(
                student, teacher, some(2), there, student_temperature=0.1, teacher_temperature=0.1
            )
        ),
    ],
    ids=["cosine", "queue"],
)
def test_what_has_no_teacher_changes_neither_loss_nor_gradient(loss) -> None:
    found = []
    for value in (0.0, 7.0):
        student = some(0).requires_grad_()
        teacher = torch.where(THERE[:, None], some(1), value)
        loss(student, teacher, THERE).backward()
        assert student.grad is not None
        found.append(student.grad)
        assert_close(student.grad[~THERE], torch.zeros(2, 5, dtype=torch.float64))
    assert_close(found[0], found[1], rtol=0, atol=0)
    nobody = torch.zeros(6, dtype=torch.bool)
    assert_close(loss(some(0), some(1), nobody).item(), 0.0)
