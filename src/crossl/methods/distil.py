"""Distillation: a student of some sensors learns what a frozen teacher says of all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from crossl.methods.augment import Augmentation, AugmentationConfig
from crossl.methods.crossl import CrosslMethod, CrosslMethodConfig
from crossl.methods.method import (
    Drawn,
    Encoded,
    MethodConfig,
    Present,
    Signals,
    Targets,
    WholeViews,
)
from crossl.methods.views import Augment
from crossl.nn.aggregators import AggregatorConfig
from crossl.nn.model import CrossModalModel
from crossl.nn.precision import at_least_float32
from crossl.objectives.pairs import symmetric_contrast
from crossl.objectives.teacher import cosine_distance, same_neighbours
from crossl.registry import AUGMENTATIONS, register
from crossl.settings import OneOf

Loss = Literal["info_nce", "cosine", "queue"]


class DistilMethod(WholeViews):
    """Match a student's embedding, through a projection, with its teacher's of the same window.

    `info_nce` and `cosine` as Abbaspourazad et al. 2024 (arXiv 2412.11276): each window's student
    and teacher find each other among the other windows of the batch, and point the same way.
    `queue` as COMODO (arXiv 2503.07259): the student is as near to many windows, as the teacher
    sees them, as its teacher is. The teacher is frozen: what it says of every window is a target,
    computed once; a row that is not finite has no teacher. With a usual objective all windows, with
    a teacher or without, learn by it too: the default pretraining of the student's own sensors.

    Deviations: only the student has a projection, so that the teacher's space stays as it is; each
    of two augmented views is matched; where the student has several sensors, views lose some of
    them, so that every subset learns to tell what the teacher says. COMODO's queue holds the last
    batches; of a frozen teacher all embeddings are known, and anchors are drawn anew for each step
    from all of them (`remember`), so that a step does not depend on those before it.

    Args:
        model: the student.
        teacher_dim: width of the teacher's embeddings.
        losses: which of the three; their mean over both views is summed.
        temperature: divides the cosines of `info_nce`.
        student_temperature: divides the student's cosines of `queue`.
        teacher_temperature: divides the teacher's.
        queue_size: how many anchors are drawn.
        keep_rate: probability that a view keeps a sensor of the student.
        augmentation: of each view.
        usual: the usual objective, around the same model; None for none.
        usual_weight: its factor.
    """

    sees_targets: ClassVar[bool] = True
    bank: Tensor

    def __init__(  # noqa: PLR0913 - what is matched, how, and what is learned beside it
        self,
        model: CrossModalModel,
        *,
        teacher_dim: int,
        losses: tuple[Loss, ...] = ("cosine",),
        temperature: float = 0.1,
        student_temperature: float = 0.05,
        teacher_temperature: float = 0.1,
        queue_size: int = 2048,
        keep_rate: float = 0.5,
        augmentation: Augment | None = None,
        usual: CrosslMethod | None = None,
        usual_weight: float = 0.05,
    ) -> None:
        super().__init__()
        self.model, self.losses, self.keep_rate = model, losses, keep_rate
        self.temperature = temperature
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.queue_size = queue_size
        self.augmentation = augmentation or Augmentation()
        self.projection = nn.Linear(model.embedding_dim, teacher_dim)
        self.register_buffer("bank", torch.zeros(0, teacher_dim), persistent=False)
        self.usual, self.usual_weight = usual, usual_weight
        if usual is not None:  # the model is this method's; checkpoints hold it once
            del usual._modules["model"]
            vars(usual)["model"] = model

    def remember(self, bank: Float[Tensor, "window dim"]) -> None:
        """Take the teacher's embeddings of training windows, from which anchors are drawn."""
        self.bank = bank.to(self.bank)

    def encode(self, signals: Signals, present: Present) -> Encoded:
        """Encode both views: `latents` (B, 2, M, K), and what the usual objective asks for."""
        return (
            super().encode(signals, present)
            if self.usual is None
            else self.usual.encode(signals, present)
        )

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        """Draw which sensors each view keeps, anchors, and what the usual objective hides."""
        drawn: dict[str, Tensor] = {}
        if len(self.model.modalities) > 1:
            of_views = super().draw(present, generator) or {}
            drawn |= {"seen": of_views["keep"]} if of_views else {}
        if "queue" in self.losses and len(self.bank):
            places = torch.randint(
                len(self.bank), (self.queue_size,), generator=generator, device=present.device
            )
            drawn["anchors"] = self.bank[places]
        if self.usual is not None:
            drawn |= self.usual.draw(present, generator) or {}
        return drawn or None

    def after_step(self, step: int, total: int) -> None:
        """Let the rates of the usual objective's masks move on."""
        if self.usual is not None:
            self.usual.after_step(step, total)

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        """Return the losses by name, and the terms of the usual objective, `usual/...`."""
        terms: dict[str, Tensor] = {}
        if targets is not None:
            there = torch.isfinite(targets).all(dim=1) & present.any(dim=1)
            teacher = at_least_float32(torch.where(there[:, None], targets, 0.0))
            views = [self._losses(z, teacher, there, drawn or {})
                     for z in self._students(encoded, present, drawn or {})]  # fmt: skip
            terms = {name: (views[0][name] + views[1][name]) / 2 for name in self.losses}
        if self.usual is not None:
            usual = self.usual.compare(encoded, present, drawn)
            terms |= {f"usual/{name}": self.usual_weight * term for name, term in usual.items()}
        return terms

    def _students(
        self, encoded: Encoded, present: Present, drawn: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return what the student says of each view, in the teacher's space."""
        keeps = {"keep": drawn["seen"]} if "seen" in drawn else None
        return [at_least_float32(self.projection(z))
                for z in self.embeddings(encoded, present, keeps)]  # fmt: skip

    def _losses(
        self, z: Tensor, teacher: Tensor, there: Tensor, drawn: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        with torch.autocast(z.device.type, enabled=False):
            if "info_nce" in self.losses:
                found["info_nce"] = symmetric_contrast(
                    z, teacher, there, temperature=self.temperature
                )
            if "cosine" in self.losses:
                found["cosine"] = cosine_distance(z, teacher, there)
            if "queue" in self.losses:
                found["queue"] = same_neighbours(
                    z, teacher, drawn.get("anchors", teacher), there,
                    student_temperature=self.student_temperature,
                    teacher_temperature=self.teacher_temperature,
                )  # fmt: skip
        return found


class DistilConfig(MethodConfig):
    """Distillation; `crossl distil` fills in who teaches.

    Attributes:
        keep: sensors of the student.
        teacher: SHA-256 of the teacher: of a run's weights, or of a file of embeddings.
        teacher_dim: width of the teacher's embeddings.
        paired: share of the training windows whose teacher is known.
        losses: what is asked of windows with a teacher.
        temperature: divides the cosines of `info_nce`.
        student_temperature: divides the student's cosines of `queue`.
        teacher_temperature: divides the teacher's.
        queue_size: anchors of a step.
        start: `teacher` begins with the weights of the run that teaches, wherever the student's
            networks have the same shapes; `random` does not.
        keep_rate: how often a view keeps a sensor of the student.
        usual: the objective of all windows; null for none.
        usual_weight: its factor.
        augmentation: of each view.
    """

    kind: Literal["distil"] = "distil"
    keep: tuple[str, ...] = ()
    teacher: str = Field("", pattern=r"^([0-9a-f]{64})?$")
    teacher_dim: int = Field(256, gt=0)
    paired: float = Field(1.0, gt=0, le=1)
    losses: tuple[Loss, ...] = Field(("cosine",), min_length=1)
    temperature: float = Field(0.1, gt=0)
    student_temperature: float = Field(0.05, gt=0)
    teacher_temperature: float = Field(0.1, gt=0)
    queue_size: int = Field(2048, gt=0)
    start: Literal["teacher", "random"] = "teacher"
    keep_rate: float = Field(0.5, gt=0, le=1)
    usual: CrosslMethodConfig | None = CrosslMethodConfig()
    usual_weight: float = Field(0.05, gt=0)
    augmentation: Annotated[AugmentationConfig, OneOf(AUGMENTATIONS, "general")] = Augmentation()

    def build(self, model: CrossModalModel) -> DistilMethod:
        """Make the method around a student."""
        return DistilMethod(
            model,
            teacher_dim=self.teacher_dim,
            losses=self.losses,
            temperature=self.temperature,
            student_temperature=self.student_temperature,
            teacher_temperature=self.teacher_temperature,
            queue_size=self.queue_size,
            keep_rate=self.keep_rate,
            augmentation=self.augmentation.build(),
            usual=None if self.usual is None else self.usual.build(model),
            usual_weight=self.usual_weight,
        )

    def refuses(self, aggregator: AggregatorConfig) -> str | None:
        """Say which aggregator the usual objective needs, if there is one."""
        return None if self.usual is None else self.usual.refuses(aggregator)


register("method", DistilConfig)
