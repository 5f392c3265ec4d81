"""Losses that make a student's embeddings those of a frozen teacher, among what has a teacher."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, softmax


def cosine_distance(
    student: Float[Tensor, "batch dim"],
    teacher: Float[Tensor, "batch dim"],
    there: Bool[Tensor, " batch"],
) -> Tensor:
    """Average one minus the cosine of each student's embedding and its teacher's.

    Args:
        student: rows that are not there may hold anything finite.
        teacher: of the same samples.
        there: which samples have a teacher.

    Returns:
        The mean over what is there; 0 of nothing.

    Examples:
        >>> there = torch.tensor([True, False])
        >>> cosine_distance(torch.eye(2), torch.eye(2).flip(0), there).item()
        1.0
    """
    each = 1 - (normalize(student, dim=1) * normalize(teacher, dim=1)).sum(dim=1)
    return _mean_where(each, there)


def same_neighbours(
    student: Float[Tensor, "batch dim"],
    teacher: Float[Tensor, "batch dim"],
    anchors: Float[Tensor, "anchor dim"],
    there: Bool[Tensor, " batch"],
    *,
    student_temperature: float,
    teacher_temperature: float,
) -> Tensor:
    """Ask a student to be as near to each of many anchors as its teacher is.

    The cross-entropy of COMODO (arXiv 2503.07259): similarities of the teacher to a queue of its
    embeddings, as a distribution, are predicted by those of the student.

    Args:
        student: rows that are not there may hold anything finite.
        teacher: of the same samples.
        anchors: embeddings of the teacher, of other samples.
        there: which samples have a teacher.
        student_temperature: divides the cosines of the student.
        teacher_temperature: divides those of the teacher.

    Returns:
        The mean over what is there; 0 of nothing.

    Examples:
        >>> same, there = torch.eye(3), torch.ones(3, dtype=torch.bool)
        >>> cold = {"student_temperature": 0.01, "teacher_temperature": 0.01}
        >>> round(same_neighbours(same, same, same, there, **cold).item(), 3)
        0.0
    """
    queue = normalize(anchors, dim=1)
    wanted = softmax(normalize(teacher, dim=1) @ queue.T / teacher_temperature, dim=1)
    told = log_softmax(normalize(student, dim=1) @ queue.T / student_temperature, dim=1)
    return _mean_where(-(wanted * told).sum(dim=1), there)


def _mean_where(each: Float[Tensor, " batch"], there: Bool[Tensor, " batch"]) -> Tensor:
    counted = torch.where(there, each, 0.0)
    return counted.sum() / there.sum().clamp(min=1)
