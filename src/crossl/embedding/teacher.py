"""What a frozen teacher says of a store's windows, computed once and kept until it was learned."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.data.batch import in_batches
from crossl.data.contract import fit_store
from crossl.data.recording import Float32
from crossl.data.store import Store
from crossl.errors import DataError, FormatError
from crossl.files import file_sha256, read_signed_json, write_signed_json, write_whole
from crossl.nn.finite import check_finite
from crossl.run_folder import Run

Rows = NDArray[np.int64]
FORMAT, VERSION = "crossl-teacher", 1
FILE, HEAD = "teacher.npy", "teacher.json"
FEWEST_PAIRS = 2


@dataclass(frozen=True)
class Lesson:
    """What a student is taught.

    Attributes:
        targets: (W, D) of a whole store, standardised by paired training windows; NaN for windows
            without a teacher.
        paired: training rows that have one.
    """

    targets: Float32
    paired: Rows

    @property
    def dim(self) -> int:
        """D."""
        return int(self.targets.shape[1])


def embed_as_teacher(run: Run, store: Store, rows: Rows) -> Float32:
    """Ask a run's model, every sensor shown; untrained features beside its embedding are left out.

    Args:
        run: the teacher.
        store: as it was prepared.
        rows: who is asked about.

    Returns:
        (W, D) of the whole store; NaN in all other rows.

    Raises:
        ContractError: windows that the teacher was not made for.
        DataError: numbers so far from those of its training that nothing finite comes out.
    """
    model = run.model
    seen = fit_store(
        store, model.modalities, window_s=model.window_s, calibration=run.calibration
    ).store
    untrained = model.untrained_columns(aggregated=True)
    parts = []
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device)
    with torch.inference_mode():
        for batch in in_batches(seen, rows):
            embedding = np.asarray(model(batch.to(device)).cpu())
            check_finite(str(store.path), embedding, batch.signals)
            parts.append(embedding if untrained is None else embedding[:, ~untrained])
    model.cpu()
    found = np.concatenate(parts)
    targets = np.full((len(store), found.shape[1]), np.nan, dtype=np.float32)
    targets[rows] = found
    return targets


def draw_pairs(targets: Float32, train: Rows, *, share: float, seed: int) -> Rows:
    """Draw which training windows keep their teacher.

    Args:
        targets: (W, D), NaN for windows without a teacher.
        train: rows of training subjects.
        share: of those with a teacher.
        seed: of the draw.

    Returns:
        Sorted rows.

    Raises:
        DataError: fewer than two would be left.
    """
    known = train[np.isfinite(targets[train]).all(axis=1)]
    count = round(share * len(known))
    if count < FEWEST_PAIRS:
        raise DataError(
            f"teacher: {count} of {len(train)} training windows would have one (share {share:g} of "
            f"{len(known)}); at least {FEWEST_PAIRS} are needed"
        )
    return np.sort(np.random.default_rng([seed, len(known)]).permutation(known)[:count])


def lesson_of(targets: Float32, train: Rows, others: Rows, paired: Rows) -> Lesson:
    """Standardise a teacher's embeddings by the pairs, and forget it elsewhere.

    Args:
        targets: (W, D).
        train: rows of training subjects; those that are not paired lose their teacher.
        others: rows of validation subjects, who keep theirs.
        paired: some of `train`.
    """
    shown = np.full_like(targets, np.nan)
    mean = targets[paired].mean(axis=0, dtype=np.float64)
    spread = targets[paired].std(axis=0, dtype=np.float64)
    spread[spread < 1e-6 * max(float(spread.max()), 1e-30)] = 1.0  # says nothing
    for rows in (paired, np.setdiff1d(others, train)):
        shown[rows] = (targets[rows] - mean) / spread
    return Lesson(shown, paired)


def keep_lesson(folder: Path, lesson: Lesson, of: dict[str, Any]) -> None:
    """Write a lesson into the folder of a student, for who resumes its training.

    Args:
        folder: of the student.
        lesson: to be kept.
        of: what it follows from.
    """
    content = io.BytesIO()
    np.save(content, lesson.targets)
    write_whole(folder / FILE, content.getvalue())
    about = {"format": FORMAT, "version": VERSION, "of": of, "array": file_sha256(folder / FILE),
             "paired": lesson.paired.tolist()}  # fmt: skip
    write_signed_json(folder / HEAD, about)


def kept_lesson(folder: Path, of: dict[str, Any]) -> Lesson | None:
    """Read a lesson again, if it is there, whole, and follows from the same."""
    if not (folder / HEAD).is_file():
        return None
    try:
        head = read_signed_json(
            folder / HEAD, what="teacher", fmt=FORMAT, version=VERSION, cure="it is made anew"
        )
        if head["of"] != of or file_sha256(folder / FILE) != head["array"]:
            return None
        targets = np.load(folder / FILE, mmap_mode="r", allow_pickle=False)
    except (FormatError, OSError, ValueError, KeyError):
        return None
    return Lesson(targets, np.asarray(head["paired"], dtype=np.int64))


def forget_lesson(folder: Path) -> None:
    """Remove what only training needed."""
    for name in (HEAD, FILE):
        (folder / name).unlink(missing_ok=True)
