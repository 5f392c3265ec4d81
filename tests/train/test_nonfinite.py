"""What is not finite stops training at once, is named, and can be repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import TrainingError
from crossl.methods import Method
from crossl.methods.method import Drawn, Encoded, Steps
from crossl.nn.model import CrossModalModel
from crossl.train.nonfinite import find_culprit
from crossl.train.pretrain import pretrain


class Broken(Steps):
    """A method that multiplies its loss by something from some step on."""

    def __init__(self, method: Method, factor: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.inner, self.factor, self.steps = method, factor, 0

    @property
    def model(self) -> CrossModalModel:  # type: ignore[override]
        return self.inner.model

    def views(self, batch: Batch, **options: Any) -> Mapping[str, torch.Tensor]:
        return self.inner.views(batch, **options)

    def encode(self, *given: Any) -> Encoded:
        return self.inner.encode(*given)

    def draw(self, *given: Any) -> Drawn:
        return self.inner.draw(*given)

    def compare(self, *given: Any) -> dict[str, torch.Tensor]:
        terms = dict(self.inner.compare(*given))
        self.steps += self.training
        if self.steps > 2:
            terms["prediction"] = self.factor(terms["prediction"])
        return terms


def run(method: Method | Broken, source: Store, fold: Fold, config: RunConfig,
        out: Path) -> None:  # fmt: skip
    pretrain(method, source, train=fold.train, validation=fold.validation,
             schedule=config.schedule, seed=0, out=out)  # fmt: skip


def test_a_loss_is_stopped_with_modality_and_row_and_can_be_repeated(
    store: Store, fold: Fold, small: Callable[..., RunConfig], method_of: Callable[..., Method],
    tmp_path: Path,
) -> None:  # fmt: skip
    config = small()
    broken = Broken(method_of(config), lambda term: term / 0)
    before = {k: v.clone() for k, v in broken.state_dict().items()}
    with pytest.raises(TrainingError, match=r"step 2: the loss is not finite \(.*prediction inf"):
        run(broken, store, fold, config, tmp_path)
    kept = tmp_path / "nonfinite"
    with np.load(kept / "batch.npz") as batch:
        rows = batch["rows"]
        assert set(rows) <= set(fold.train)
        for name, windows in store.gather_zeroed(rows).items():
            np.testing.assert_array_equal(batch[f"signal_{name}"], windows)
        np.testing.assert_array_equal(batch["present"], store.present[rows])
    weights = safetensors.torch.load_file(kept / "weights.safetensors")
    assert weights.keys() == before.keys()
    assert any(not torch.equal(weights[k], before[k]) for k in before)  # of two steps later
    assert json.loads((kept / "about.json").read_text())["step"] == 2


def test_a_gradient_is_stopped_before_it_reaches_the_weights(
    store: Store, fold: Fold, small: Callable[..., RunConfig], method_of: Callable[..., Method],
    tmp_path: Path,
) -> None:  # fmt: skip
    config = small()
    broken = Broken(method_of(config), lambda term: (term * 0).sqrt())  # 0, with slope infinity
    with pytest.raises(TrainingError, match=r"step 2: the gradient of .* is not finite; .*in row"):
        run(broken, store, fold, config, tmp_path)
    weights = safetensors.torch.load_file(tmp_path / "nonfinite" / "weights.safetensors")
    assert all(bool(torch.isfinite(w).all()) for w in weights.values())


@pytest.mark.parametrize(("value", "message"), [
    (np.nan, r"signals of 'chest_ecg' are not finite in row {row} of the store"),
    (1e12, r"the largest value is 1e\+12 standard deviations, of 'chest_ecg' in row {row} of"),
])  # fmt: skip
def test_the_modality_and_row_to_blame_are_named(
    store: Store, fold: Fold, method_of: Callable[..., Method], value: float, message: str
) -> None:
    rows = fold.train[:20]
    method, batch = method_of(), collate(store, rows)
    place = int(np.flatnonzero(store.present[rows, 2])[3])
    batch.signals["chest_ecg"][place, 5] = value
    assert re.search(message.format(row=rows[place]), find_culprit(method, batch, rows).told)


def test_what_an_absent_modality_holds_is_not_blamed(
    store: Store, method_of: Callable[..., Method]
) -> None:
    rows = np.flatnonzero(~store.present[:, 2])[:4]
    method, batch = method_of(), collate(store, rows)
    batch.signals["chest_ecg"][:] = np.nan
    assert "chest_ecg" not in find_culprit(method, batch, rows).told


def test_weights_that_leapt_too_far_are_told_of_by_validation(
    store: Store, fold: Fold, small: Callable[..., RunConfig], method_of: Callable[..., Method],
    tmp_path: Path,
) -> None:  # fmt: skip
    leap = ("schedule.lr=1e30", "schedule.batch_size=100000", "schedule.warmup_share=0")
    config = small("crossl", *leap)
    with pytest.raises(TrainingError, match=r"step 1: the embeddings of validation .* not finite"):
        run(method_of(config), store, fold, config, tmp_path)
