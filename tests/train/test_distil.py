"""The method of distillation: a student, what its teacher says, and windows without one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from crossl.config import RunConfig
from crossl.data.batch import Batch, collate
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.methods import DistilMethod, Method
from crossl.train.checkpoints import load_checkpoint
from crossl.train.pretrain import pretrain

DIM = 12
SETTINGS = (
    f"method={{kind: distil, teacher_dim: {DIM}, queue_size: 20}}",
    "method.usual.expander_dim=16",
)
ALL = "method.losses=[info_nce, cosine, queue]"
BOTH = "method.losses=[info_nce, cosine]"


@pytest.fixture
def batch(store: Store, fold: Fold) -> Batch:
    """Windows some of which lack a modality."""
    some = ~store.present[fold.train].all(axis=1)
    rows = np.r_[fold.train[some][:8], fold.train[~some][:8]]
    return collate(store, rows)


@pytest.fixture
def teacher() -> torch.Tensor:
    """What a teacher says of them; of every third it is not known."""
    said = torch.randn(16, DIM, generator=torch.Generator().manual_seed(5))
    said[::3] = torch.nan
    return said


@pytest.fixture
def distil(
    small: Callable[..., RunConfig], method_of: Callable[..., Method]
) -> Callable[..., DistilMethod]:
    """Make the method."""

    def make(*overrides: str) -> DistilMethod:
        method = method_of(small("crossl", *SETTINGS, *overrides))
        assert isinstance(method, DistilMethod)
        method.remember(torch.randn(40, DIM, generator=torch.Generator().manual_seed(6)))
        return method

    return make


def learn(
    method: DistilMethod, batch: Batch, teacher: torch.Tensor
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    method.train().zero_grad()
    terms = method.terms(batch, torch.Generator().manual_seed(1), teacher)
    torch.stack(list(terms.values())).sum().backward()
    gradients = {n: p.grad.clone() for n, p in method.named_parameters() if p.grad is not None}
    return {name: term.detach() for name, term in terms.items()}, gradients


@pytest.mark.parametrize("value", [1e4, float("nan")])
def test_what_an_absent_modality_holds_changes_no_term_and_no_gradient(
    value: float, distil: Callable[..., DistilMethod], batch: Batch, teacher: torch.Tensor
) -> None:
    method = distil(ALL)
    signals = {
        name: torch.where(batch.present[:, i, None, None], x, value)
        for i, (name, x) in enumerate(batch.signals.items())
    }
    found, other = (learn(method, b, teacher) for b in (batch, replace(batch, signals=signals)))
    assert_close(found, other, rtol=0, atol=0)
    assert all(torch.isfinite(g).all() for g in found[1].values())


def test_every_parameter_gets_a_gradient(
    distil: Callable[..., DistilMethod], batch: Batch, teacher: torch.Tensor
) -> None:
    method = distil(ALL)
    terms, gradients = learn(method, batch, teacher)
    assert set(gradients) == {name for name, _ in method.named_parameters()}
    own = {n: g for n, g in gradients.items() if n.startswith(("model.", "projection."))}
    assert min(float(g.abs().max()) for g in own.values()) > 0
    usual = {name for name in terms if name.startswith("usual/")}
    assert terms.keys() - usual == {"info_nce", "cosine", "queue"}
    assert {"usual/global/invariance", "usual/modality/variance", "usual/prediction"} <= usual


def test_windows_without_a_teacher_learn_by_the_usual_objective_alone(
    distil: Callable[..., DistilMethod], batch: Batch, teacher: torch.Tensor
) -> None:
    method = distil("method.keep_rate=1", BOTH)
    nobody = torch.full_like(teacher, torch.nan)
    terms, gradients = learn(method, batch, nobody)
    assert float(terms["info_nce"]) == float(terms["cosine"]) == 0
    assert float(terms["usual/global/invariance"]) > 0
    assert float(gradients["projection.weight"].abs().max()) == 0
    alone = distil("method.usual=null", "method.keep_rate=1", BOTH)
    _, none = learn(alone, batch, nobody)
    assert all(float(g.abs().max()) == 0 for g in none.values())


def test_the_usual_objective_is_the_default_pretraining(
    distil: Callable[..., DistilMethod], batch: Batch, teacher: torch.Tensor
) -> None:
    method = distil("method.usual_weight=0.25").eval()
    assert method.usual is not None
    drawn = method.draw(batch.present, torch.Generator().manual_seed(3))
    assert drawn is not None
    encoded = method.encode(method.views(batch, seed=4), batch.present)
    terms = method.compare(encoded, batch.present, drawn, teacher)
    usual = method.usual.compare(encoded, batch.present, drawn)
    assert {name for name in terms if name.startswith("usual/")} == {f"usual/{n}" for n in usual}
    for name, term in usual.items():
        assert_close(terms[f"usual/{name}"], 0.25 * term)


def test_anchors_are_drawn_by_the_generator_from_what_the_teacher_said(
    distil: Callable[..., DistilMethod], batch: Batch
) -> None:
    method = distil("method.losses=[queue]", "method.usual=null", "method.keep_rate=1")
    one, same, other = (
        method.draw(batch.present, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert one is not None
    assert same is not None
    assert other is not None
    assert one["anchors"].shape == (20, DIM)
    assert_close(one["anchors"], same["anchors"], rtol=0, atol=0)
    assert not torch.equal(one["anchors"], other["anchors"])
    known = {tuple(row) for row in method.bank.tolist()}
    assert {tuple(row) for row in one["anchors"].tolist()} <= known


def test_pretraining_without_a_teacher_is_refused_and_a_checkpoint_holds_the_student_once(
    distil: Callable[..., DistilMethod], small: Callable[..., RunConfig], store: Store, fold: Fold,
    tmp_path: Path,
) -> None:  # fmt: skip
    given = {"train": fold.train, "validation": fold.validation, "schedule": small().schedule,
             "seed": 0}  # fmt: skip
    with pytest.raises(ConfigError, match="DistilMethod learns from a teacher and got none"):
        pretrain(distil(), store, out=tmp_path / "none", **given)
    said = np.random.default_rng(0).normal(size=(len(store), DIM)).astype(np.float32)
    out = tmp_path / "taught"
    pretrain(distil(ALL), store, out=out, targets=said, **given)
    kept = load_checkpoint(out / "checkpoints" / "last.ckpt")["state_dict"]
    assert any(name.startswith("method.model.encoders") for name in kept)
    assert not any("usual.model" in name or name.endswith("bank") for name in kept)


def test_a_student_learns_what_its_teacher_says(
    distil: Callable[..., DistilMethod], batch: Batch
) -> None:
    method = distil("method.usual=null", "method.keep_rate=1", BOTH)
    method.model.standardiser.eval()
    with torch.no_grad():
        said = torch.nn.functional.pad(batch.signals["wrist_acc"].mean(dim=1), (0, DIM - 3))
    optimiser = torch.optim.Adam(method.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        terms = method.terms(batch, torch.Generator().manual_seed(step), said)
        loss = torch.stack(list(terms.values())).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
