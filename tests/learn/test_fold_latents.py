"""A fold computes the latents of its pretrained model once, whatever is scored on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from crossl import experiment
from crossl.config import RunConfig
from crossl.data.store import Store
from crossl.evaluate.results import ResultBook
from crossl.experiment import FoldRunner, FoldTask
from crossl.learn.latents import LatentTable
from crossl.nn.model import CrossModalModel


def test_methods_that_share_the_pretrained_model_share_its_latents(
    store: Store,
    small: Callable[..., RunConfig],
    runs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = small(
        "crossl",
        "finetuning.steps=1",
        "evaluation.folds=3",
        "evaluation.methods=[crossl,finetuned,subset_probes]",
        "evaluation.heads=[aggregator,encoders]",
        "evaluation.label_fractions=[0.1,1.0]",
        "evaluation.label_seeds=[0,1]",
    )
    encoded: list[CrossModalModel] = []
    real = experiment.latent_table

    def counted(model: CrossModalModel, *asked: object) -> LatentTable:
        encoded.append(model)
        return real(model, *asked)  # type: ignore[arg-type]

    monkeypatch.setattr(experiment, "latent_table", counted)
    task = FoldTask(store.path, config, runs, 0)
    FoldRunner(task).run()
    assert task.done
    times = [sum(model is other for other in encoded) for model in dict.fromkeys(encoded)]
    # three parts of the pretrained model; the test part of each model that was fine-tuned
    assert sorted(times) == [1, 1, 1, 3]
    book = ResultBook.load(task.scores("crossl"))
    assert len(book.by_key()) == 2 * 2 * 7
    assert all(np.sum(entry.confusion) > 0 for entry in book.entries)
