"""A fold computes the latents of its pretrained model once, whatever is scored on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel

from crossl.config import RunConfig
from crossl.contenders import contender, supervised
from crossl.data.store import Store
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.results import ResultBook
from crossl.experiment.collect import collect
from crossl.experiment.fold import FoldRunner, FoldTask
from crossl.nn.model import CrossModalModel
from crossl.run_folder import begin


@pytest.mark.parametrize(("features", "networks"), [("null", 1), ("{kernels: 1, width: 4}", 2)])
def test_methods_that_share_the_pretrained_model_share_its_latents(
    features: str,
    networks: int,
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
        f"features={features}",
    )
    encoded: list[CrossModalModel] = []
    real = contender.latent_table

    def counted(model: CrossModalModel, *asked: object) -> LatentTable:
        encoded.append(model)
        return real(model, *asked)  # type: ignore[arg-type]

    monkeypatch.setattr(contender, "latent_table", counted)
    monkeypatch.setattr(supervised, "latent_table", counted)
    task = FoldTask(store.path, config, runs, 0)
    FoldRunner(task).run()
    assert task.done
    times = [sum(model is other for other in encoded) for model in dict.fromkeys(encoded)]
    # three parts of the pretrained model, and of it without features; the test part of each model
    # that was fine-tuned, of which a label draw has one or, where budgets end at other steps, two
    tuned, main = sorted(times)[:-networks], sorted(times)[-networks:]
    assert main == [3] * networks
    assert set(tuned) == {1}
    assert 3 <= len(tuned) <= 6
    book = ResultBook.load(task.scores("crossl"))
    assert len(book.by_key()) == 2 * 2 * 2 * 7  # heads, fractions, budgets, subsets
    assert all(np.sum(entry.confusion) > 0 for entry in book.entries)


READ: set[str] = set()


def spied(block: BaseModel, path: str = "") -> Any:
    """Copy a block of settings that notes which of its keys are read, below the path."""

    class Spied(type(block)):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            READ.add(path + name)
            return super().__getattribute__(name)

    return Spied(**dict(block))


def test_a_fold_and_its_collection_read_every_block_and_every_setting(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    plain = small(
        "crossl", "finetuning.steps=1", "evaluation.folds=3", "evaluation.label_fractions=[1.0]",
        "evaluation.main_fraction=1.0", "evaluation.methods=[crossl,finetuned]",
    )  # fmt: skip
    inner = {
        name: spied(getattr(plain, name), f"{name}.")
        for name in ("schedule", "finetuning", "evaluation")
    }
    config = spied(plain.model_copy(update=inner))
    begin(store, plain, runs, command="")
    READ.clear()
    task = FoldTask(store.path, config, runs / "fold-0", 0)
    FoldRunner(task).run()
    collect(store, config, runs, [task])
    leaves = {
        f"{name}.{leaf}" for name in inner for leaf in type(getattr(plain, name)).model_fields
    }
    assert leaves | set(RunConfig.model_fields) <= READ


def test_latents_of_a_contender_s_own_networks_go_with_it(
    store: Store, small: Callable[..., RunConfig], runs: Path
) -> None:
    others = "{method: {kind: simclr, hidden: 8, dim: 8}}"
    config = small(
        "crossl", "evaluation.folds=3", "evaluation.methods=[crossl,untrained]",
        "evaluation.label_seeds=[0]", f"contenders.other={others}",
        "contenders.forest={kind: forest, trees: 1}", "contenders.logistic={kind: logistic}",
    )  # fmt: skip
    runner = FoldRunner(FoldTask(store.path, config, runs, 0))
    runner.run()
    assert runner._main is not None
    assert runner._main._tables.keys() == {id(runner._main.main), "statistics"}
    assert not runner._main._own
