"""A method may hold a teacher, encode more than latents, and draw nothing."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crossl.config import RunConfig
from crossl.data.batch import Batch
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import Method
from crossl.methods.method import Drawn, Encoded, Present, Signals, Steps, Targets
from crossl.nn.model import CrossModalModel
from crossl.train.pretrain import pretrain

from .test_resume import Signalling


class Taught(Steps):
    """The embedding follows that of a teacher, which is a moving average of the model."""

    def __init__(self, model: CrossModalModel) -> None:
        super().__init__()
        self.model = model
        self.teacher = copy.deepcopy(model).requires_grad_(requires_grad=False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.predict = torch.nn.Linear(model.embedding_dim, model.embedding_dim)

    def views(
        self, batch: Batch, *, seed: int = 0, first: int = 0, whole: int | None = None
    ) -> Signals:
        del seed, first, whole
        return self.model.standardise(batch)

    def encode(self, signals: Signals, present: Present) -> Encoded:
        with torch.no_grad():
            answer = self.teacher.aggregate(self.teacher.encode(signals, present), present)
        present_first = present.to(torch.int64).argmax(dim=1)  # not a number with a point
        return {
            "latent": self.model.encode(signals, present),
            "answer": answer,
            "first": present_first,
        }

    def draw(self, present: Present, generator: torch.Generator) -> Drawn:
        del present, generator
        return None

    def compare(
        self, encoded: Encoded, present: Present, drawn: Drawn, targets: Targets = None
    ) -> dict[str, Tensor]:
        assert drawn is targets is None
        assert encoded["first"].dtype == torch.int64
        said = self.predict(self.model.aggregate(encoded["latent"], present))
        return {"distance": (said - encoded["answer"]).square().mean()}

    def after_step(self, step: int, total: int) -> None:
        share = 1 - step / total  # slower towards the end
        with torch.no_grad():
            for mine, theirs in zip(
                self.teacher.parameters(), self.model.parameters(), strict=True
            ):
                mine.lerp_(theirs, 0.5 * share)


def test_a_teacher_follows_the_model_and_a_resumed_training_ends_with_the_same_teacher(
    method_of: Callable[..., Method], small: Callable[..., RunConfig], store: Store, fold: Fold,
    runs: Path,
) -> None:  # fmt: skip
    schedule = small("crossl", "schedule.batch_size=6", "schedule.steps=32").schedule

    def train(out: str, source: object = store) -> Taught:
        method = Taught(method_of().model)
        method.before = copy.deepcopy(method.teacher.state_dict())
        pretrain(method, source, train=fold.train, validation=fold.validation,  # type: ignore[arg-type]
                 schedule=schedule, seed=0, out=runs / out, resume=True)  # fmt: skip
        return method

    whole = train("whole")
    moved = [not torch.equal(x, whole.before[name]) for name, x in whole.teacher.named_parameters()]
    assert sum(moved) > len(moved) // 2  # a model has parameters that this loss never asks
    with pytest.raises(AssertionError):
        torch.testing.assert_close(whole.teacher.state_dict(), whole.model.state_dict())
    with pytest.raises(SystemExit):
        train("cut", Signalling(store, signal.SIGTERM, 20))
    cut = train("cut")
    torch.testing.assert_close(cut.state_dict(), whole.state_dict(), rtol=0, atol=0)
