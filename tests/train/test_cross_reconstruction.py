"""Cross reconstruction: what is dropped, what is rebuilt, and that it learns."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import CrossReconstructionMethod, Method
from crossl.methods.cross_reconstruction import held_apart
from crossl.train.pretrain import pretrain

Make = Callable[..., CrossReconstructionMethod]
ENCODER = "encoder={kind: time_frequency, dim: 24, places: 5, bands: 4, depth: 1, heads: 2}"
NAMES = ("time", "magnitude", "phase")


@pytest.fixture
def make(small: Callable[..., RunConfig], method_of: Callable[..., Method]) -> Make:
    def build(*overrides: str) -> CrossReconstructionMethod:
        keys = ("method.kind=cross_reconstruction", "aggregator.kind=concat", ENCODER)
        config = small("crossl", *keys, "method.heads=2", *overrides)
        method = method_of(config)
        assert isinstance(method, CrossReconstructionMethod)
        return method

    return build


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    return collate(store, fold.train[:24])


def test_more_is_dropped_as_training_goes_on(make: Make) -> None:
    method = make().train()
    present = torch.ones(300, 3, dtype=torch.bool)
    for step, places, bands in ((0, 4, 3), (50, 3, 2), (100, 1, 1)):  # of 5 and 4
        method.after_step(step, 100)
        drawn = method.draw(present, torch.Generator().manual_seed(step))
        assert drawn is not None
        kept = drawn["kept"]
        assert kept.shape == (3, 300, places + 2 * bands)
        in_time, magnitude, phase = kept.split([places, bands, bands], dim=2)
        torch.testing.assert_close(phase - magnitude, torch.full_like(phase, 4))
        for index, low, high in ((in_time, 0, 5), (magnitude, 5, 9)):
            counts = torch.bincount(index.flatten(), minlength=high)[low:high] / (3 * 300)
            np.testing.assert_allclose(counts, index.shape[2] / (high - low), atol=0.08)
            assert all(len(set(row.tolist())) == len(row) for row in index.flatten(0, 1)[:50])
    method.after_step(0, 100)
    assert method.eval().rate == pytest.approx(0.8)  # of validation, whenever it is asked


def test_how_much_is_dropped_is_kept_in_checkpoints(
    make: Make, store: Store, fold: Fold, small: Callable[..., RunConfig], runs: Path
) -> None:
    method = make()
    pretrain(
        method, store, train=fold.train, validation=fold.validation,
        schedule=small().schedule, seed=0, out=runs / "one",
    )  # fmt: skip
    assert method.progress == 1
    kept = torch.load(runs / "one" / "checkpoints" / "last.ckpt", weights_only=True)
    assert kept["state_dict"]["method.progress"] == 1


def test_tokens_that_are_dropped_do_not_matter(make: Make, batch: Batch) -> None:
    method = make().eval()
    encoded = dict(method.encode(method.views(batch, seed=0), batch.present))
    drawn = method.draw(batch.present, torch.Generator().manual_seed(0))
    assert drawn is not None
    wanted = method.compare(encoded, batch.present, drawn)
    shown = torch.zeros(3, len(batch), 13, dtype=torch.bool).scatter(2, drawn["kept"], value=True)
    dropped = ~shown.transpose(0, 1)[..., None]
    encoded["tokens"] = torch.where(dropped, 99.0, encoded["tokens"])
    torch.testing.assert_close(method.compare(encoded, batch.present, drawn), wanted)


def test_the_error_is_the_mean_over_windows_of_that_of_three_domains(
    make: Make, batch: Batch
) -> None:
    method = make().eval()
    for out in method.rebuild.parameters():
        torch.nn.init.zeros_(out)  # so that nothing but zeros is predicted
    present = batch.present.clone()
    present[3:9, 1] = False
    encoded = method.encode(method.views(batch, seed=0), present)
    drawn = method.draw(present, torch.Generator().manual_seed(0))
    found = method.compare(encoded, present, drawn)["reconstruction"]
    errors = [
        np.mean([encoded[f"{n}_{m.name}"][row].square().mean().item() for n in NAMES])
        for column, m in enumerate(method.model.modalities)
        for row in range(len(batch))
        if present[row, column]
    ]
    np.testing.assert_allclose(found.item(), np.mean(errors), rtol=1e-5)


def test_the_instance_constraint_is_its_formula() -> None:
    before, after = torch.randn(2, 1, 3, 4, 5, dtype=torch.float64)
    wanted = []
    for one, other in zip(before[0].numpy(), after[0].numpy(), strict=True):
        cosines = [
            a @ b / np.linalg.norm(a) / np.linalg.norm(b)
            for i, a in enumerate(one) for j, b in enumerate(other) if i != j
        ]  # fmt: skip
        wanted.append(np.log(np.exp(cosines).sum()))
    np.testing.assert_allclose(held_apart(before, after)[0].numpy(), wanted)


def test_it_rebuilds_better_than_the_mean(make: Make, batch: Batch) -> None:
    method, generator = make("method.last_rate=0.3"), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-2)
    first = None
    for _ in range(60):
        terms = method.terms(batch, generator)
        first = first or terms["reconstruction"].item()
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    assert terms["reconstruction"] < 0.7 * first


def test_other_encoders_are_refused(
    small: Callable[..., RunConfig], method_of: Callable[..., Method]
) -> None:
    keys = ("method.kind=cross_reconstruction", "aggregator.kind=concat")
    with pytest.raises(ConfigError, match=r"'cross_reconstruction' needs encoder.kind 'time_freq"):
        method_of(small("crossl", *keys))
    other = "encoders={wrist_acc: {kind: time_frequency, places: 7, bands: 4, heads: 2, depth: 1}}"
    with pytest.raises(ConfigError, match=r"'wrist_heat' has 5 places and 4 bands, another 7 and"):
        method_of(small("crossl", *keys, ENCODER, other, "method.heads=2"))
