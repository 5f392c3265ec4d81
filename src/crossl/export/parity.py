"""Parity: an exported model gives what the run gives, for every set of sensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32
from crossl.data.source import ArraySource, WindowSource
from crossl.embedding.in_memory import embedding_of, encode_windows
from crossl.errors import CrosslError
from crossl.evaluate.confidence import sets_of
from crossl.evaluate.latents import subsets
from crossl.export.graph import Reading
from crossl.nn.model import CrossModalModel

BATCHES = (1, 7, 64)
WITHIN = 1e-4
"""Of the largest number of an output."""
FLIPPED = 0.25
"""With untrained features, share of windows that may differ by more, if rounding decides of them:
where the run's own output moves as far when its input is rounded otherwise. Mean crossings count
samples on either side of a level, and the largest peak is any of several where a sensor stood still
but for one sample, whose spectrum is flat. Random kernels are soft and need nothing. Of real runs,
phones and watches had no such window; a wristband whose thermometer stood still had 7%,
and one of other make 1%, by less than .01."""
ROUNDINGS, UNITS = 8, 2
"""How often input is rounded otherwise, and by at most how many units of its last binary place."""
EVERY_SUBSET_UP_TO = 10
FILLS = (0.0, float("nan"), 1e30)
"""What stands in place of an absent sensor, in turn."""

Signals: TypeAlias = dict[str, Float32]
Runner: TypeAlias = Callable[[Signals, NDArray[np.bool_]], Mapping[str, NDArray[Any]]]
"""From windows and what is present to outputs by name."""


@dataclass(frozen=True)
class Sample:
    """Windows that a model is checked on.

    Attributes:
        signals: {modality: (n, T, C)}, all present.
        told: where they are from, as the end of a sentence.
    """

    signals: Signals
    told: str


def sample_of(
    model: CrossModalModel, columns: Sequence[int], source: WindowSource | None, count: int = 64
) -> Sample:
    """Take real windows of each modality, or make some.

    Args:
        model: its standardisation says what is usual, where windows are made.
        columns: modalities that may come.
        source: windows of the model's modalities; None where none is at hand.
        count: n.
    """
    rng, signals, made = np.random.default_rng(0), Signals(), []
    for column in columns:
        m = model.modalities[column]
        rows = np.zeros(0, dtype=np.int64) if source is None else source.present[:, column]
        rows = np.flatnonzero(rows)
        if source is not None and len(rows):
            some = np.resize(rows[:: max(1, len(rows) // count)], count)
            signals[m.name] = source.gather_zeroed(some)[m.name]
            continue
        made.append(m.name)
        shape = (count, round(model.window_s * m.rate_hz), len(m.channels))
        mean, std = (
            np.asarray(model.standardiser.get_buffer(f"{part}_{m.name}").cpu())
            for part in ("mean", "std")
        )
        signals[m.name] = (mean + std * rng.normal(size=shape)).astype(np.float32)
    if not made:
        return Sample(signals, "real windows")
    told = "generated windows" if len(made) == len(columns) else (
        f"real windows, and generated ones of {', '.join(made)}")  # fmt: skip
    return Sample(signals, told)


def expected(
    model: CrossModalModel,
    reading: Reading | None,
    columns: Sequence[int],
    signals: Signals,
    present: NDArray[np.bool_],
) -> dict[str, NDArray[Any]]:
    """Return what torch gives: the same way that `crossl predict` goes.

    Args:
        model: of all modalities.
        reading: its classifier.
        columns: modalities that may come.
        signals: {modality: (n, T, C)} of these.
        present: (n, M') of these.
    """
    shown = {
        model.modalities[c].name: np.where(
            present[:, i, None, None], signals[model.modalities[c].name], np.float32(np.nan)
        )
        for i, c in enumerate(columns)
    }
    source = ArraySource(shown, modalities=model.modalities, window_s=model.window_s)
    if reading is None:
        (embedding,) = encode_windows(model, source, embedding_of(model))
        return {"embedding": embedding}
    probe = reading.probe
    embedding, read = encode_windows(
        model, source, embedding_of(model), embedding_of(model, probe.head)
    )
    weight, bias = (part[probe.own_part] for part in probe.affine())
    logits = read @ weight.T + bias
    if reading.kind == "numbers":
        return {"embedding": embedding, "values": logits}
    scaled = logits
    if reading.temperatures is not None:
        scaled = (logits / reading.temperatures.of(source.present)[:, None]).astype(np.float32)
    probabilities = np.asarray(probe.task.probabilities(scaled))
    return {"embedding": embedding, "logits": logits, "probabilities": probabilities}


def patterns_of(modalities: int) -> NDArray[np.bool_]:
    """List sets of sensors as rows, (S, M): all of them, or of more than 10 sensors some.

    Examples:
        >>> patterns_of(2).tolist()
        [[True, True], [True, False], [False, True]]
    """
    every = subsets(modalities) if modalities <= EVERY_SUBSET_UP_TO else sets_of(modalities)
    return np.array([[i in chosen for i in range(modalities)] for chosen in every])


def check_parity(
    run: Runner,
    wanted: Callable[[Signals, NDArray[np.bool_]], Mapping[str, NDArray[Any]]],
    sample: Sample,
    *,
    flips: bool = False,
    exact: bool = True,
) -> dict[str, Any]:
    """Compare an exported model with its run, under every set of sensors, in batches of 1, 7, 64.

    What stands in place of absent sensors (0, NaN, 1e30) must change no bit.

    Args:
        run: the exported model.
        wanted: the run.
        sample: windows.
        flips: whether windows may differ of which rounding decides; see `FLIPPED`.
        exact: whether outputs must agree; else how far they differ is only reported.

    Returns:
        JSON values: `windows` (which), `batches`, `subsets`, `largest_difference` of each output,
        as a share of its largest number, and `by_rounding`, the share of windows that differ as
        rounding decides of them; None where none may.

    Raises:
        CrosslError: it gives something else; names the output and how far it is off.
    """
    names = list(sample.signals)
    patterns = patterns_of(len(names))
    batches = [one for size in BATCHES
               for one in _batches(size, patterns, len(sample.signals[names[0]]))]  # fmt: skip
    differences: dict[str, list[NDArray[Any]]] = {}
    scale: dict[str, float] = {}
    for rows, present in batches:
        signals = {name: sample.signals[name][rows] for name in names}
        found = _same_whatever_is_absent(run, signals, present)
        for name, right in wanted(signals, present).items():
            differences.setdefault(name, []).append(_off(name, found[name], right, len(rows)))
            most = float(np.nanmax(np.abs(right)))
            scale[name] = max(scale.get(name, 1e-6), most)
    off = {name: [one / scale[name] for one in parts] for name, parts in differences.items()}
    by_rounding = None
    if exact:
        excused = _decided_by_rounding(wanted, sample, batches, off, scale) if flips else None
        differ = _check_within(off, excused, sample.told)
        by_rounding = differ if flips else None
    largest = {name: float(np.concatenate(parts).max()) for name, parts in off.items()}
    return {
        "windows": sample.told,
        "batches": list(BATCHES),
        "subsets": len(patterns),
        "every_subset": len(patterns) == 2 ** len(names) - 1,
        "largest_difference": largest,
        "by_rounding": by_rounding,
    }


def _check_within(
    off: Mapping[str, Sequence[NDArray[Any]]],
    excused: NDArray[np.bool_] | None,
    told: str,
) -> float:
    """Refuse windows that differ, but for those of which rounding decides.

    Returns:
        The share of windows that differ, of the output with most of them.

    Raises:
        CrosslError: there are others, or too many of these.
    """
    most = 0.0
    for name, parts in off.items():
        every = np.concatenate(parts)
        wrong = every > WITHIN
        most = max(most, float(wrong.mean()))
        of_rounding = np.zeros_like(wrong) if excused is None else excused
        if (wrong & ~of_rounding).any() or wrong.mean() > FLIPPED:
            raise CrosslError(
                f"export: '{name}' of the exported model differs from the run's by "
                f"{every.max():.2g} of its largest number in {wrong.mean():.1%} of windows "
                f"({told}); allowed is {WITHIN:g}, so no file was written"
            )
    return most


def _decided_by_rounding(
    wanted: Callable[[Signals, NDArray[np.bool_]], Mapping[str, NDArray[Any]]],
    sample: Sample,
    batches: Sequence[tuple[NDArray[np.int64], NDArray[np.bool_]]],
    off: Mapping[str, Sequence[NDArray[Any]]],
    scale: Mapping[str, float],
) -> NDArray[np.bool_]:
    """Find windows some output of which, in the run itself, moves when input is rounded otherwise.

    Only batches that have a window that differs are looked at.
    """
    rng = np.random.default_rng(0)
    found = [np.zeros(len(rows), dtype=np.bool_) for rows, _ in batches]
    for place, (rows, present) in enumerate(batches):
        if any((parts[place] > WITHIN).any() for parts in off.values()):
            found[place] = moved_by_rounding(wanted, sample.signals, rows, present, scale, rng)
    return np.concatenate(found)


def moved_by_rounding(
    wanted: Callable[[Signals, NDArray[np.bool_]], Mapping[str, NDArray[Any]]],
    signals: Signals,
    rows: NDArray[np.int64],
    present: NDArray[np.bool_],
    scale: Mapping[str, float],
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """Tell of which windows some output moves when the input is rounded otherwise.

    Args:
        wanted: computes outputs.
        signals: {modality: (n, T, C)}.
        rows: (k,) which of these.
        present: (k, M).
        scale: largest number of each output.
        rng: draws how input is rounded.

    Returns:
        (k,) whether one moves by more than `WITHIN` of its largest number.
    """
    found = np.zeros(len(rows), dtype=np.bool_)
    right = wanted({name: x[rows] for name, x in signals.items()}, present)
    for _ in range(ROUNDINGS):
        otherwise = {name: _rounded(x, rng)[rows] for name, x in signals.items()}
        for name, other in wanted(otherwise, present).items():
            moved = _off(name, other, right[name], len(rows)) / scale[name]
            found |= moved > WITHIN
    return found


def _rounded(x: Float32, rng: np.random.Generator) -> Float32:
    """Round windows (n, T, C) otherwise, in units of what is usual where they are about 0."""
    size = np.maximum(np.abs(x), x.std(axis=(0, 1)))
    units = rng.integers(-UNITS, UNITS, size=x.shape, endpoint=True)
    return np.asarray(x + units * np.spacing(size), dtype=np.float32)


def _batches(
    size: int, patterns: NDArray[np.bool_], windows: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """Yield rows and what is present of each, until every set of sensors and window came."""
    rng = np.random.default_rng(size)
    count = -(-max(len(patterns), windows) // size)
    order = rng.permutation(len(patterns))
    for number in range(count):
        places = np.arange(number * size, (number + 1) * size)
        yield places % windows, patterns[order[places % len(patterns)]]


def _same_whatever_is_absent(
    run: Runner, signals: Signals, present: NDArray[np.bool_]
) -> Mapping[str, NDArray[Any]]:
    first: Mapping[str, NDArray[Any]] = {}
    for fill in FILLS:
        filled = {
            name: np.where(present[:, i, None, None], x, np.float32(fill))
            for i, (name, x) in enumerate(signals.items())
        }
        found = run(filled, present)
        first = first or found
        for name, value in found.items():
            if not np.array_equal(value, first[name], equal_nan=True):
                raise CrosslError(
                    f"export: '{name}' of the exported model changes with what stands in place of "
                    f"an absent sensor ({fill:g}); no file was written"
                )
    return first


def _off(
    name: str, found: NDArray[Any], right: NDArray[Any], size: int
) -> NDArray[np.floating[Any]]:
    """Return by how much each window is off."""
    if found.shape != right.shape or not np.array_equal(np.isnan(found), np.isnan(right)):
        raise CrosslError(
            f"export: '{name}' of the exported model has shape {found.shape} or NaN where the run "
            f"has {right.shape} and numbers, in a batch of {size}; no file was written"
        )
    return np.asarray(np.abs(found - right).reshape(len(right), -1).max(axis=1))
