"""What to tell and keep when a loss or a gradient is not finite."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from crossl.data.batch import Batch, collate
from crossl.data.source import WindowSource
from crossl.errors import TrainingError
from crossl.files import write_whole, writing
from crossl.methods import Method
from crossl.train.loading import Part
from crossl.train.processes import Ranks

FOLDER = "nonfinite"
MAX_ROWS = 5


@dataclass(frozen=True)
class Culprit:
    """What is most likely to blame.

    Attributes:
        certainty: 2 signals that are not finite, 1 latents that are not, 0 a large value.
        size: of that large value, standard deviations.
        told: in words.
    """

    certainty: int
    size: float
    told: str


def stop_nonfinite(
    what: str, *, where: str, step: int, method: Method, part: Part, source: WindowSource,
    ranks: Ranks, out: Path | None,
) -> NoReturn:  # fmt: skip
    """Stop training, and keep what the step can be repeated with.

    `out/nonfinite/` gets the batch (`batch.npz`: `signal_NAME`, `present`, `rows`), the
    method's weights before the step (`weights.safetensors`) and `about.json`. Of several
    processes each looks at its own windows, the first keeps the whole batch, and all stop.

    Args:
        what: is not finite, with numbers, such as `the loss is not finite (global/variance nan)`.
        where: names the step in the message.
        step: its number.
        method: as it was before the step.
        part: that it was given.
        source: where the windows came from.
        ranks: the processes that train.
        out: folder of the run; None keeps nothing.

    Raises:
        TrainingError: always; names the step, the modality and the rows.
    """
    found = ranks.everyones(find_culprit(method, part.batch, part.own_rows))
    culprit = max(found, key=lambda c: (c.certainty, c.size)).told
    if out is None:
        told = f"{where}: {what}; {culprit}; look at these windows or lower the learning rate"
        raise TrainingError(told)
    folder = out / FOLDER
    if ranks.rank == 0:
        batch = part.batch if ranks.world == 1 else collate(source, part.rows)
        about = {"step": step, "what": what, "culprit": culprit}
        _keep(folder, method, batch, part.rows, about)
    raise TrainingError(
        f"{where}: {what}; {culprit}; the batch and the weights are kept in {folder}, look at "
        "these windows or lower the learning rate"
    )


def _keep(
    folder: Path, method: Method, batch: Batch, rows: NDArray[np.int64], about: Mapping[str, Any]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {f"signal_{n}": x.cpu().numpy() for n, x in batch.signals.items()}
    with writing(folder / "batch.npz") as file:
        np.savez(file, **arrays, present=batch.present.cpu().numpy(), rows=rows)  # type: ignore[arg-type]
    state = cast("nn.Module", method).state_dict()
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    write_whole(folder / "weights.safetensors", safetensors.torch.save(weights))
    write_whole(folder / "about.json", f"{json.dumps(about, indent=1)}\n".encode())


@torch.no_grad()
def find_culprit(method: Method, batch: Batch, rows: NDArray[np.int64]) -> Culprit:
    """Name the modality and the rows that are most likely to blame.

    In this order: signals that are not finite, latents that are not, and else the largest values
    measured in standard deviations of the training windows.
    """
    names = [m.name for m in method.model.modalities]
    signals = _by_window([~torch.isfinite(batch.signals[n]) for n in names])
    latents = _by_window(list((~torch.isfinite(method.model.latent(batch))).unbind(dim=1)))
    for certainty, place, found in ((2, "signals", signals), (1, "latents", latents)):
        bad = found & batch.present.cpu()
        if bad.any():
            column = int(bad.any(dim=0).float().argmax())
            where = _told(rows, bad[:, column])
            told = f"{place} of '{names[column]}' are not finite in {where}"
            return Culprit(certainty, 0.0, told)
    standardised = method.model.standardise(batch)
    sizes = torch.stack([standardised[n].abs().amax(dim=(1, 2)).cpu() for n in names], dim=1)
    sizes = torch.where(batch.present.cpu(), sizes, 0.0)
    row, column = divmod(int(sizes.argmax()), len(names))
    size = float(sizes[row, column])
    return Culprit(0, size, (
        f"the largest value is {size:.3g} standard deviations, of "
        f"'{names[column]}' in row {rows[row]} of the store"
    ))  # fmt: skip


def _by_window(flags: list[Tensor]) -> Tensor:
    return torch.stack([flag.flatten(1).any(dim=1).cpu() for flag in flags], dim=1)


def _told(rows: NDArray[np.int64], bad: Tensor) -> str:
    found = [str(row) for row in rows[bad.numpy()]]
    more = f" and {len(found) - MAX_ROWS} more" if len(found) > MAX_ROWS else ""
    return f"row {', '.join(found[:MAX_ROWS])}{more} of the store"
