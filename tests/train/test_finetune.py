"""Fine-tuning: what it learns, what chooses its moment, and what it does when it is stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from crossl.data.source import ArraySource
from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import ConfigError, SplitError, TrainingError
from crossl.evaluate.budgets import BUDGETS, STRICT, VALIDATION, Budget
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.probe import fit_probe
from crossl.methods.augment import Augmentation
from crossl.methods.method import Encoded, Present, Signals
from crossl.methods.supervised import SupervisedMethod
from crossl.nn.model import CrossModalModel, encode_rows
from crossl.train.finetune import FineTuning, LinearHead, fine_tune_by_budget
from crossl.train.loading import Rounds
from crossl.train.target_score import TargetScore

from .test_resume import Signalling

Tables = dict[str, LatentTable]
Weights = Callable[[CrossModalModel], dict[str, np.ndarray]]
Tuned = tuple[CrossModalModel, LinearHead]
Tune = Callable[..., Tuned]
QUICK = FineTuning(steps=30, batch_size=32, lr=0.01, evaluations=2, average_decay=0.5)


@pytest.fixture
def tune(model: CrossModalModel, store: Store, fold: Fold) -> Tune:
    """Fine-tune the tiny model."""

    def run(**changes: object) -> tuple[CrossModalModel, LinearHead]:
        asked = {"train": fold.train, "validation": fold.validation, "settings": QUICK, "seed": 0}
        given = {"source": store, "label": store.label, **asked, **changes}
        source, label = given.pop("source"), given.pop("label")
        return fine_tune_by_budget(model, source, label, **given)[VALIDATION]

    return run


def test_fine_tuning_changes_a_copy_and_learns_the_task(
    tune: Tune, model: CrossModalModel, weights_of: Weights, store: Store, fold: Fold
) -> None:
    before = weights_of(model)
    tuned, head = tune()
    for name, value in weights_of(model).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(tuned.state_dict(), model.state_dict())
    torch.testing.assert_close(
        tuned.standardiser.state_dict(), model.standardiser.state_dict(), rtol=0, atol=0
    )
    assert not tuned.training
    rows = fold.test[store.label[fold.test] >= 0]
    present = torch.from_numpy(store.present[rows])
    with torch.inference_mode():
        embedding = tuned.aggregate(encode_rows(tuned, store, rows), present).numpy()
    assert f1_score(store.label[rows], head.predict(embedding), average="macro") > 0.8
    assert head.head == "aggregator"


def test_the_same_seed_fine_tunes_to_the_same_bits(tune: Tune) -> None:
    short = QUICK.model_copy(update={"steps": 3})
    (one, first), (two, second), (other, _) = (tune(settings=short, seed=s) for s in (0, 0, 1))
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)
    np.testing.assert_array_equal(first.weight, second.weight)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(one.state_dict(), other.state_dict())


def test_unlabelled_rows_are_left_out_of_fine_tuning(tune: Tune, store: Store, fold: Fold) -> None:
    short = QUICK.model_copy(update={"steps": 3})
    labelled = fold.train[store.label[fold.train] >= 0]
    assert len(labelled) < len(fold.train)
    (one, head), (two, _) = tune(settings=short), tune(settings=short, train=labelled)
    np.testing.assert_array_equal(head.classes, [0, 1, 2])
    torch.testing.assert_close(one.state_dict(), two.state_dict(), rtol=0, atol=0)


def test_fewer_labels_than_a_batch_are_enough(tune: Tune, store: Store) -> None:
    train = np.array([np.flatnonzero(store.label == one)[0] for one in (0, 2)])
    _, head = tune(settings=QUICK.model_copy(update={"steps": 2}), train=train)
    np.testing.assert_array_equal(head.classes, [0, 2])
    assert set(head.predict(np.eye(head.weight.shape[1], dtype=np.float32))) <= {0, 2}


def test_fine_tuning_on_one_class_is_refused(tune: Tune, store: Store) -> None:
    with pytest.raises(SplitError, match=r"fine-tuning: \d+ labelled training windows of 1 class"):
        tune(train=np.flatnonzero(store.label == 1))


def test_fine_tuning_without_validation_labels_is_refused(tune: Tune, store: Store) -> None:
    with pytest.raises(SplitError, match="validation subjects have no labelled window"):
        tune(validation=np.flatnonzero(store.label < 0))


@pytest.mark.parametrize("keep", [True, False], ids=["kept on disk", "not kept"])
def test_the_strict_budget_alone_needs_no_validation_labels(
    model: CrossModalModel, store: Store, fold: Fold, tmp_path: Path, *, keep: bool
) -> None:
    out = tmp_path if keep else None

    def trained(validation: np.ndarray, budgets: Sequence[Budget]) -> dict[str, Tuned]:
        return fine_tune_by_budget(
            model, store, store.label, train=fold.train, validation=validation, settings=QUICK,
            seed=0, budgets=budgets, out=out,
        )  # fmt: skip

    alone = trained(np.flatnonzero(store.label < 0), [STRICT])
    both = trained(fold.validation, BUDGETS)
    assert (set(alone), set(both)) == ({STRICT}, set(BUDGETS))
    (network, head), (same, as_before) = alone[STRICT], both[STRICT]
    assert head.step == as_before.step == QUICK.steps
    np.testing.assert_array_equal(head.weight, as_before.weight)
    torch.testing.assert_close(network.state_dict(), same.state_dict(), rtol=0, atol=0)


def test_a_fine_tuning_loss_that_is_not_finite_is_refused(
    tune: Tune, store: Store, model: CrossModalModel, tmp_path: Path
) -> None:
    signals = store.gather_zeroed(np.arange(len(store)))
    signals["wrist_acc"][...] = np.float32(3e38)
    source = ArraySource(signals, modalities=store.modalities, window_s=store.window_s)
    model.standardiser.get_buffer("std_wrist_acc").fill_(1e-3)
    told = r"fine-tuning, step 0: the loss is not finite \(target nan\); .*'wrist_acc'.* row"
    with pytest.raises(TrainingError, match=told):
        tune(source=source)
    with pytest.raises(TrainingError, match=told):
        tune(source=source, out=tmp_path)
    assert len(list(tmp_path.glob("*/nonfinite/batch.npz"))) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"lr": 0.003},
        {"weight_decay": 0.5},
        {"label_smoothing": 0.5},
        {"keep_rate": 0.3},
        {"keep_rate": {"wrist_acc": 0.3}},
        {"augmentation": Augmentation(jitter=1.0)},
        {"average_decay": 0.01},
        {"dropout": 0.8},
        {"batch_size": 8},
        {"gradient_norm": 1e-6},
    ],
)
def test_every_setting_of_fine_tuning_is_used(
    change: dict[str, object], tune: Tune, tuned_once: dict[str, torch.Tensor]
) -> None:
    tuned, _ = tune(settings=QUICK.model_copy(update={"steps": 3, **change}))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        torch.testing.assert_close(tuned.state_dict(), tuned_once, rtol=1e-6, atol=1e-8)


@pytest.fixture
def tuned_once(tune: Tune) -> dict[str, torch.Tensor]:
    return tune(settings=QUICK.model_copy(update={"steps": 3}))[0].state_dict()


def test_modalities_may_be_shown_with_probabilities_of_their_own(tune: Tune, store: Store) -> None:
    short = QUICK.model_copy(update={"steps": 3, "keep_rate": 0.5})
    each = {m.name: 0.5 for m in store.modalities}
    (one, _), (same, _) = (tune(settings=short.model_copy(update={"keep_rate": rate}))
                           for rate in (0.5, each))  # fmt: skip
    torch.testing.assert_close(one.state_dict(), same.state_dict(), rtol=0, atol=0)
    with pytest.raises(ConfigError, match="keep_rate: no modality is called 'wrist_ac'"):
        tune(settings=short.model_copy(update={"keep_rate": {"wrist_ac": 0.5}}))


def test_training_that_only_harms_is_not_kept(
    tune: Tune, model: CrossModalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TargetScore, "measure", scripted(0.9, 0.1, 0.2))
    kept, _ = tune(settings=QUICK.model_copy(update={"steps": 2, "evaluations": 2}))
    torch.testing.assert_close(kept.state_dict(), model.state_dict(), rtol=0, atol=0)


def scripted(*scores: float) -> Callable[..., dict[str, float]]:
    """Answer each evaluation with the next score."""
    left = iter(scores)
    return lambda asked, _: {asked.watched: next(left)}


def test_the_best_evaluation_is_kept(tune: Tune, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    for after in ((0.1, 0.9, 0.5, 0.9), (0.0, 0.9, 0.1, 0.2), (0.1, 0.2, 0.3, 0.4)):
        monkeypatch.setattr(TargetScore, "measure", scripted(0.0, *after))
        kept.append(
            tune(settings=QUICK.model_copy(update={"steps": 8, "evaluations": 4}))[0].state_dict()
        )
    torch.testing.assert_close(kept[0], kept[1], rtol=0, atol=0)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(kept[0], kept[2])


def test_a_start_from_a_probe_learns_at_its_own_rate(
    tune: Tune, tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = fit_probe(tables["train"], tables["validation"], strengths=[1e-2])
    weights = []
    for rate in ({}, {"lr": 0.5}, {"pretrained_lr": 0.5}):
        monkeypatch.setattr(TargetScore, "measure", scripted(0.0, 0.1, 0.2))
        settings = QUICK.model_copy(update={"steps": 2, "evaluations": 2, **rate})
        weights.append(tune(settings=settings, probe=probe)[1].weight)
    np.testing.assert_array_equal(weights[0], weights[1])
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(weights[0], weights[2])


def test_fine_tuning_starts_from_its_probe(tune: Tune, tables: Tables) -> None:
    probe = fit_probe(tables["train"], tables["validation"])
    still = QUICK.model_copy(update={"steps": 1, "pretrained_lr": 1e-12})
    _, head = tune(settings=still, probe=probe)
    shown = tables["test"].embed("aggregator")
    np.testing.assert_array_equal(head.predict(shown), probe.predict(shown))


def test_fine_tuning_from_a_probe_of_other_classes_is_refused(tune: Tune, tables: Tables) -> None:
    two = tables["train"].take(tables["train"].label != 2)
    probe = fit_probe(two, tables["validation"].take(tables["validation"].label != 2))
    with pytest.raises(SplitError, match="starts from a probe on 'aggregator' with classes"):
        tune(probe=probe)


@pytest.mark.parametrize("at", [3, 17])
def test_stopped_and_resumed_it_ends_with_the_bits_of_one_that_never_stopped(
    at: int, tune: Tune, store: Store, tmp_path: Path
) -> None:
    whole, head = tune()
    with pytest.raises(SystemExit) as end:
        tune(source=Signalling(store, signal.SIGTERM, at), out=tmp_path / "cut")
    assert end.value.code == 143
    assert len(list(tmp_path.glob("cut/*/checkpoints/last.ckpt"))) == 1
    resumed, same = tune(out=tmp_path / "cut")
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    np.testing.assert_array_equal(same.weight, head.weight)
    assert (same.step, same.validation_score) == (head.step, head.validation_score)


def test_what_was_trained_is_not_trained_again_and_leaves_its_weights_only(
    tune: Tune, store: Store, tmp_path: Path
) -> None:
    told: list[int] = []
    first, head = tune(out=tmp_path, progress=lambda done, total, _: told.append(done))
    assert told == [15, 30]
    assert [path.name for path in tmp_path.glob("*/*.ckpt")] == ["trained.ckpt"]
    assert not list(tmp_path.glob("*/checkpoints"))
    again, same = tune(source=Signalling(store, signal.SIGTERM, 1), out=tmp_path)  # reads nothing
    torch.testing.assert_close(again.state_dict(), first.state_dict(), rtol=0, atol=0)
    np.testing.assert_array_equal(same.weight, head.weight)
    assert (same.step, same.validation_score) == (head.step, head.validation_score)


@pytest.mark.parametrize("changed", ["label", "settings", "seed", "train"])
def test_what_was_trained_otherwise_is_not_taken_for_it(
    changed: str, tune: Tune, store: Store, fold: Fold, tmp_path: Path
) -> None:
    short = QUICK.model_copy(update={"steps": 3})
    other = {
        "label": np.where(store.label >= 0, 2 - store.label, store.label),
        "settings": short.model_copy(update={"lr": 0.1}),
        "seed": 1,
        "train": fold.train[::2],
    }[changed]
    tune(settings=short, out=tmp_path)
    (_, wanted), (_, got) = (
        tune(**{"settings": short, changed: other}, out=out) for out in (None, tmp_path)
    )
    np.testing.assert_array_equal(got.weight, wanted.weight)


def test_fine_tuning_in_bfloat16_ends_near_that_in_float32(tune: Tune) -> None:
    exact, _ = tune()
    rounded, head = tune(settings=QUICK.model_copy(update={"precision": "bfloat16"}))
    a, b = (torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (exact, rounded))
    assert not torch.equal(a, b)
    assert float((a - b).norm() / a.norm()) < 0.1
    assert head.validation_score > 0.8


def test_a_batch_that_does_not_fit_names_one_that_does(
    tune: Tune, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = SupervisedMethod.encode

    def starved(self: SupervisedMethod, signals: Signals, present: Present) -> Encoded:
        if len(present) > 9 and self.training:
            raise MemoryError
        return encode(self, signals, present)

    monkeypatch.setattr(SupervisedMethod, "encode", starved)
    told = "fine-tuning: a step of 32 windows does not fit into main memory, one of 8 did"
    with pytest.raises(TrainingError, match=f"{told}.*--set finetuning.batch_size=8"):
        tune()


def test_steps_that_no_evaluation_follows_are_not_taken(tune: Tune) -> None:
    told: list[tuple[int, int]] = []
    tune(settings=QUICK.model_copy(update={"steps": 7, "evaluations": 3}),
         progress=lambda done, total, _: told.append((done, total)))  # fmt: skip
    assert told == [(2, 6), (4, 6), (6, 6)]


def test_batches_follow_each_other_across_passes_and_depend_on_their_number_only() -> None:
    rows = np.arange(100, 110)
    plan = Rounds(rows, 4, steps=8, evaluations=3, seed=5)
    epochs = [np.concatenate(plan.batches(epoch)) for epoch in range(plan.epochs)]
    np.testing.assert_array_equal(plan.batches(2)[1], epochs[2][4:8])
    order = np.concatenate(epochs)
    for first in (0, 10, 20):
        np.testing.assert_array_equal(np.sort(order[first : first + 10]), rows)
    assert len(Rounds(rows[:3], 4, steps=2, evaluations=2, seed=0).batches(1)[0]) == 3
