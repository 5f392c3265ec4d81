"""Frozen and shared encoders are trained as they say: in pretraining, resumed too, and after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from crossl.config import RunConfig
from crossl.data.batch import collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.methods import Method
from crossl.train.cuda_graphs import Given, agree, record
from crossl.train.finetune import fine_tune_by_budget
from crossl.train.pretrain import pretrain

FROZEN = "frozen_encoders=[chest_ecg]"
Weights = dict[str, torch.Tensor]


def weights_of(method: Method) -> Weights:
    return {name: value.clone() for name, value in method.model.state_dict().items()}


def frozen_part(weights: Weights) -> Weights:
    return {name: value for name, value in weights.items() if "encode_chest_ecg" in name}


def moved(before: Weights, after: Weights) -> set[str]:
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def stopped(*_: object) -> None:
    raise InterruptedError


@pytest.mark.parametrize("recipe", ["crossl", "paper"])
def test_pretraining_leaves_a_frozen_encoder_to_the_bit_and_resumes_with_it(
    store: Store, fold: Fold, small: Callable[..., RunConfig],
    method_of: Callable[..., Method], tmp_path: Path, recipe: str,
) -> None:  # fmt: skip
    config = small(recipe, FROZEN, "encoders.wrist_heat.kind=strided", "schedule.epochs=2")

    def trained(folder: str, *, resume: bool = False, stop: bool = False) -> Weights:
        method = method_of(config)
        before = weights_of(method)
        model = pretrain(
            method, store, train=fold.train, validation=fold.validation, seed=0, resume=resume,
            schedule=config.schedule, out=tmp_path / folder, progress=stopped if stop else None,
        )  # fmt: skip
        after = {name: value.clone() for name, value in model.state_dict().items()}
        assert frozen_part(before)
        assert not moved(frozen_part(before), after)
        assert any("encode_wrist_acc" in name for name in moved(before, after))
        frozen = [p.requires_grad for p in model.encoders.of("chest_ecg").parameters()]
        assert not any(frozen)
        assert all(p.requires_grad for p in model.aggregator.parameters())
        return after

    whole = trained("whole")
    with pytest.raises(InterruptedError):
        trained("cut", stop=True)
    assert not moved(whole, trained("cut", resume=True))


def test_fine_tuning_leaves_a_frozen_encoder_to_the_bit(
    store: Store, fold: Fold, small: Callable[..., RunConfig], method_of: Callable[..., Method]
) -> None:
    config = small("crossl", FROZEN, "finetuning.steps=4", "finetuning.batch_size=16")
    method = method_of(config)
    method.model.standardiser.fit(store, fold.train)
    before = weights_of(method)
    found = fine_tune_by_budget(
        method.model, store, store.label, train=fold.train, validation=fold.validation,
        settings=config.finetuning, seed=0,
    )  # fmt: skip
    assert found
    for model, _ in found.values():
        assert not moved(frozen_part(before), model.state_dict())


def test_a_step_with_frozen_encoders_can_be_recorded_unless_all_are(
    store: Store, fold: Fold, small: Callable[..., RunConfig], method_of: Callable[..., Method],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    batch = collate(store, fold.train[:32])

    def step_of(method: Method) -> Given:
        method.train()
        drawn = method.draw(batch.present, torch.Generator().manual_seed(0))
        return Given(method.views(batch, seed=0), batch.present, drawn)

    some = method_of(small("crossl", FROZEN))
    assert agree(some, some, step_of(some))
    names = [m.name for m in store.modalities]
    none = method_of(small("crossl", f"frozen_encoders={names}"))
    with caplog.at_level("INFO"):
        assert record(none, step_of(none), precision="float32") is None
    assert caplog.messages == ["CUDA graphs are not used: no encoder is trained"]
