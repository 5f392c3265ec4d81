"""Embed, differentiate and pretrain both recipes, tiny, and keep the numbers; a test runs this.

Usage: python train_networks.py STORE OUT, where OUT/RECIPE.npz gets the numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from crossl.config import build_method, build_model, load_config
from crossl.data.batch import collate
from crossl.data.splits import subject_folds
from crossl.data.store import Store
from crossl.nn.attachment import kernels_in_use
from crossl.train.pretrain import pretrain

OVERRIDES = {
    "crossl": ("encoder.width=8", "encoder.dim=8", "aggregator.shared_dim=16",
               "method.expander_dim=16", "schedule.steps=6"),
    "paper": ("encoder.dim=8", "aggregator.hidden=8", "aggregator.dim=8", "schedule.epochs=2"),
}  # fmt: skip


def numbers(recipe: str, store: Store, out: Path) -> Mapping[str, np.ndarray]:
    """Return embeddings, gradients, and weights after pretraining, by name."""
    fold = subject_folds(store.subject, folds=6, seed=0)[0]
    config = load_config(base=recipe, overrides=[*OVERRIDES[recipe], "schedule.batch_size=32"])
    model = build_model(config, store.modalities, window_s=store.window_s, seed=0)
    method = build_method(config, model, seed=0)
    batch = collate(store, fold.train[:40])
    model.standardiser.fit(store, fold.train)
    method.train()
    method.terms(batch, torch.Generator().manual_seed(0))
    terms = method.terms(batch, torch.Generator().manual_seed(0))
    torch.stack(list(terms.values())).sum().backward()
    found = {f"term {name}": term.detach() for name, term in terms.items()}
    found |= {f"gradient {n}": p.grad for n, p in method.named_parameters() if p.grad is not None}
    with torch.no_grad():
        found["embedding"] = model.eval()(batch)
    method.zero_grad(set_to_none=True)
    pretrain(
        method, store, train=fold.train, validation=fold.validation,
        schedule=config.schedule, seed=0, out=out / recipe,
    )  # fmt: skip
    found |= {f"weight {n}": p.detach() for n, p in model.named_parameters()}
    with torch.no_grad():
        found["embedding after pretraining"] = model.eval()(batch)
    return {name: x.numpy() for name, x in found.items()}


def main() -> None:
    """Do both recipes, and print the kernels that were used."""
    store, out = Store.open(sys.argv[1]), Path(sys.argv[2])
    torch.set_num_threads(1)
    for recipe in OVERRIDES:
        np.savez(out / f"{recipe}.npz", **numbers(recipe, store, out))
    sys.stdout.write(f"{kernels_in_use()}\n")


if __name__ == "__main__":
    main()
