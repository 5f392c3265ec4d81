"""What one of several processes does in tests: a job for each line that it is given.

A script and no test module, because each process must import it on its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from crossl.config import RunConfig, build_method, build_model, validate
from crossl.data.store import Store
from crossl.errors import TrainingError
from crossl.evaluate.budgets import VALIDATION
from crossl.methods import Method
from crossl.train.finetune import FineTuning, fine_tune_by_budget
from crossl.train.loading import Batches, Passes
from crossl.train.pretrain import ObjectiveOfOthers, pretrain
from crossl.train.processes import Processes, Ranks, average_gradients
from crossl.train.training import MASKS, Training

Request = dict[str, Any]


def job_gather(ranks: Ranks, request: Request) -> dict[str, Any]:
    """Gather rows of a matrix, and take the gradient of a loss of the whole."""
    whole = torch.arange(request["rows"] * 3.0).reshape(-1, 3)
    own = whole[ranks.rows(len(whole))].clone().requires_grad_()
    gathered = ranks.gather(own, len(whole))
    (gathered**2).sum().backward()
    flags = ranks.agree(ranks.rank == 1, False)
    return {"gathered": gathered, "gradient": own.grad, "own": own, "flags": flags,
            "everyones": ranks.everyones(ranks.rank)}  # fmt: skip


def job_step(ranks: Ranks, request: Request) -> dict[str, Any]:
    """Take the gradients of one step."""
    config, store, method = parts(request)
    rows = np.array(request["rows"])
    method.model.standardiser.fit(store, rows)
    plan = Passes(rows, len(rows), steps=1, epochs=None, seed=0)
    training = Training(
        method, config.schedule, plan, ObjectiveOfOthers(rows), source=store, seed=0,
        out=Path(request["out"]),
    )  # fmt: skip
    training.module.to(getattr(torch, request["dtype"]))
    training.ranks = ranks
    terms = training.terms(Batches(store, [rows], ranks)[0], MASKS, 0)
    loss = torch.stack(list(terms.values())).sum()
    loss.backward()
    average_gradients(training.module.parameters(), ranks)
    found = training.module.named_parameters()
    return {"loss": loss, **{name: p.grad for name, p in found if p.grad is not None}}


def job_pretrain(ranks: Ranks, request: Request) -> dict[str, Any]:
    """Pretrain through the trainer; a bad row may stop it."""
    config, store, method = parts(request)
    if "bad" in request:
        gather = store.gather_zeroed

        def spoilt(rows: Any) -> Any:
            signals = gather(rows)
            if len(rows) <= 16:  # a share of a batch; statistics are read in larger ones
                signals["wrist_heat"][np.asarray(rows) == request["bad"]] = np.nan
            return signals

        store.gather_zeroed = spoilt  # type: ignore[method-assign]
    try:
        model = pretrain(
            method, store, train=np.array(request["rows"]), resume=True, seed=0,
            validation=np.array(request["validation"]), schedule=config.schedule,
            out=Path(request["out"]), processes=Processes(devices=ranks.world),
        )  # fmt: skip
    except TrainingError as error:
        return {"error": str(error)}
    return dict(model.state_dict())


def job_finetune(ranks: Ranks, request: Request) -> dict[str, Any]:
    """Fine-tune through the trainer."""
    _, store, method = parts(request)
    method.model.standardiser.fit(store, np.array(request["rows"]))
    settings = FineTuning(steps=6, evaluations=3, batch_size=31, lr=1e-4, label_smoothing=0.0)
    found = fine_tune_by_budget(
        method.model, store, store.label, train=np.array(request["rows"]),
        validation=np.array(request["validation"]), settings=settings, seed=0,
        out=Path(request["out"]), processes=Processes(devices=ranks.world),
    )  # fmt: skip
    model, head = found[VALIDATION]
    weight = torch.from_numpy(head.weight)
    return {**model.state_dict(), "head": weight, "score": head.validation_score}


def parts(request: Request) -> tuple[RunConfig, Store, Method]:
    config = validate(request["config"], where="test")
    store = Store.open(request["store"])
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    return config, store, build_method(config, model, seed=0)


def answer(job: str, request: Request, ranks: Ranks) -> dict[str, Any]:
    """Do a job; leave no graph in what it found."""
    found = globals()[f"job_{job}"](ranks, request)
    return {k: v.detach() if isinstance(v, Tensor) else v for k, v in found.items()}


def main() -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ranks = Ranks(dist.get_rank(), dist.get_world_size())
    for line in sys.stdin:
        asked = json.loads(line)
        torch.save(answer(asked["job"], asked["request"], ranks), asked["answer"][ranks.rank])
        sys.stdout.write("done\n")
        sys.stdout.flush()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
