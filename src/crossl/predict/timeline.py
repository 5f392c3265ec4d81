"""Timeline: what a run says of each window of a recording, and why where it says nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32, Modality
from crossl.data.recording_windows import SomePresent, as_recorded
from crossl.data.windows import WindowSpec
from crossl.embedding.in_memory import affine_of, encode_windows, with_neighbours
from crossl.evaluate.probe import Probe
from crossl.nn.model import CrossModalModel
from crossl.predict.manner import Manner
from crossl.predict.sight import Seen

NOTHING = "no sensor that the run knows recorded enough of it"
NOTHING_USABLE = "nothing usable"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stretch(NamedTuple):
    """Neighbouring windows with one label, as one stretch of time."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """A row for each window of a recording, and for each stretch of time without windows.

    Attributes:
        subject: who.
        session: which recording.
        origin_unix_s: where the clock's 0 lies on the calendar; None where nothing tells.
        zone: IANA name; empty where it is not known, and the origin is local time.
        spec: how windows were cut.
        names: of the R outputs: classes, labels or numbers.
        kind: of the task: `classes`, `labels` or `numbers`.
        modalities: names of the M streams.
        start_s: (n,) seconds on the recording's clock.
        end_s: (n,) seconds.
        window: (n,) the row is a window; else a stretch without.
        label: (n,) what is said; empty where nothing is.
        reason: (n,) why nothing is said; empty where something is.
        truth: (n,) what the recording itself says; empty where nothing.
        outputs: (n, R) probabilities, or numbers; NaN where nothing is said.
        present: (n, M) bool, whether a sensor was recorded and is read.
        unusable: (n,) which sensors were recorded and are not read, and why; None where all are.
        sets: (n,) labels of which one is true with the probability that was asked for; None where
            nobody asked.
    """

    subject: str
    session: str
    origin_unix_s: float | None
    zone: str
    spec: WindowSpec
    names: tuple[str, ...]
    kind: str
    modalities: tuple[str, ...]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    window: NDArray[np.bool_]
    label: NDArray[np.str_]
    reason: NDArray[np.str_]
    truth: NDArray[np.str_]
    outputs: Float32
    present: NDArray[np.bool_]
    unusable: NDArray[np.str_] | None = None
    sets: NDArray[np.str_] | None = None

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.start_s)

    @property
    def has_truth(self) -> bool:
        """Whether the recording itself says something."""
        return bool((self.truth != "").any())

    def when(self, time_s: float) -> datetime | None:
        """Return a time on the calendar, in the recording's zone.

        Args:
            time_s: seconds on the recording's clock.

        Returns:
            A date with its zone; without one where the zone is not known; None where nothing tells.
        """
        if self.origin_unix_s is None:
            return None
        date = EPOCH + timedelta(milliseconds=round((self.origin_unix_s + time_s) * 1000))
        return date.astimezone(self._zone) if self._zone else date.replace(tzinfo=None)

    @cached_property
    def _zone(self) -> ZoneInfo | None:
        return ZoneInfo(self.zone) if self.zone else None

    def stretches(self, said: NDArray[np.str_] | None = None) -> Iterator[Stretch]:
        """Yield neighbouring windows of one label as one stretch of time, without overlap.

        A window speaks for its middle, as long as a stride; the first of neighbouring windows also
        for what is before, the last for what is behind.

        Args:
            said: (n,) something else than the labels, such as the truth.
        """
        said = self.label if said is None else said
        reach_s = max(0.0, (self.spec.window_s - self.spec.stride_s) / 2)
        rows = np.flatnonzero(self.window)
        if not len(rows):
            return
        start_s, label = self.start_s[rows], said[rows]
        apart = np.diff(start_s) > 1.5 * self.spec.stride_s
        edges = np.flatnonzero(apart | (label[1:] != label[:-1])) + 1
        for begin, end in zip([0, *edges], [*edges, len(rows)], strict=True):
            if label[begin] == "":
                continue
            follows = begin > 0 and not apart[begin - 1]
            leads = end < len(rows) and not apart[end - 1]
            yield Stretch(
                float(start_s[begin] + (reach_s if follows else 0.0)),
                float(self.end_s[rows[end - 1]] - (reach_s if leads else 0.0)),
                str(label[begin]),
            )


def timeline_of(
    model: CrossModalModel, probe: Probe, seen: Seen, manner: Manner | None = None
) -> Timeline:
    """Classify every window of a recording, and say where there is none.

    Args:
        model: in evaluation mode.
        probe: fitted on its embeddings.
        seen: the recording.
        manner: how what the probe says is read; None for as it is.

    Returns:
        Rows in order of time.

    Raises:
        DataError: numbers so far from those of training that nothing finite comes out.
    """
    manner = Manner() if manner is None else manner
    windows, unusable = usable_windows(seen, manner)
    where = f"subject {seen.subject}, session {seen.session}"
    (read,) = encode_windows(model, windows, affine_of(model, probe), where=where)
    outputs = manner.calibrated(with_neighbours(probe, read, windows), windows.present)
    label, found = said_of(probe, outputs)
    target = probe.task.target
    names = tuple(probe.task.names[i] for i in probe.classes)
    if manner.decoder is not None:
        found, path = manner.in_context(found, windows.start_s)
        label = labels_of(names, found, path)
    reason = why_nothing(windows.present, unusable, seen.windows.modalities)
    sets = manner.set_of(names, found, windows.present)
    if manner.abstain is not None and target.kind == "classes":
        label, reason = without_unsure(label, reason, found, names, manner.abstain)
    whole = Timeline(
        seen.subject, seen.session, seen.origin_unix_s, seen.zone, windows.spec, names, target.kind,
        tuple(m.name for m in windows.modalities),
        windows.start_s, windows.start_s + windows.spec.window_s,
        np.ones(len(label), dtype=np.bool_), label,
        reason, seen.truth, found, windows.present,
        told_unusable(unusable, windows.modalities), sets,
    )  # fmt: skip
    return _with_gaps(whole, seen)


def usable_windows(seen: Seen, manner: Manner) -> tuple[Any, NDArray[np.str_]]:
    """Return the windows as far as they can be used, and what is wrong with the rest, (n, M)."""
    windows = seen.windows
    if manner.usable is None or not len(windows):
        return windows, np.full(windows.present.shape, "")
    found = manner.usable.check(as_recorded(windows))
    if not (found != "").any():
        return windows, found
    return SomePresent(windows, windows.present & (found == "")), found


def told_unusable(
    unusable: NDArray[np.str_], modalities: Sequence[Modality]
) -> NDArray[np.str_] | None:
    """Say in a sentence for each window which sensors are not read and why, (n,); None if all are.

    Args:
        unusable: (n, M) what is wrong with each.
        modalities: the M streams.
    """
    if not (unusable != "").any():
        return None
    texts = ["; ".join(f"{m.name}: {why}" for m, why in zip(modalities, row, strict=True) if why)
             for row in unusable]  # fmt: skip
    return np.array(texts, dtype=np.str_)


def why_nothing(
    present: NDArray[np.bool_], unusable: NDArray[np.str_], modalities: Sequence[Modality]
) -> NDArray[np.str_]:
    """Say why a window has no label, (n,); empty where a sensor is read.

    Args:
        present: (n, M) whether a sensor was recorded and is read.
        unusable: (n, M) what is wrong with it.
        modalities: the M streams.
    """
    told = told_unusable(unusable, modalities)
    why = NOTHING if told is None else np.where(told == "", NOTHING, _nothing_usable(told))
    return np.where(present.any(axis=1), "", why)


def _nothing_usable(told: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.array([f"{NOTHING_USABLE}: {text}" for text in told.tolist()], dtype=np.str_)


def labels_of(
    names: Sequence[str], found: Float32, path: NDArray[np.int64] | None = None
) -> NDArray[np.str_]:
    """Name the most probable class of each window, or that of a path, (n,).

    Args:
        names: of the R classes.
        found: (n, R) probabilities; NaN where nothing is said, and no label there.
        path: (n,) places of classes.
    """
    known = np.asarray(np.isfinite(found).all(axis=1))
    place = np.nan_to_num(found).argmax(axis=1) if path is None else path
    return np.where(known, np.array([*names, ""])[place], "")


def without_unsure(
    label: NDArray[np.str_],
    reason: NDArray[np.str_],
    found: Float32,
    names: Sequence[str],
    abstain: float,
) -> tuple[NDArray[np.str_], NDArray[np.str_]]:
    """Take the label from windows where it is not probable enough, and say why.

    On the most likely path the label need not be the most probable one of its window.

    Args:
        label: (n,) what is said.
        reason: (n,) why nothing is.
        found: (n, R) probabilities.
        names: (R,) labels.
        abstain: the least probability of a label.
    """
    enough = np.nan_to_num(found, nan=0.0) >= abstain
    sure = (enough & (label[:, None] == np.array(names)[None])).any(axis=1)
    unsure = (label != "") & ~sure
    told = np.where(
        enough.any(axis=1),
        f"the label of the most likely path does not reach a probability of {abstain:g}",
        f"no label reaches a probability of {abstain:g}",
    )
    return np.where(unsure, "", label), np.where(unsure, told, reason)


def too_short(length_s: float, spec: WindowSpec) -> str:
    """Say that a recording is shorter than a window."""
    window_s = f"{spec.window_s:g} s"
    return f"the recording lasts {max(length_s, 0):.4g} s, shorter than a window of {window_s}"


def said_of(probe: Probe, outputs: Float32) -> tuple[NDArray[np.str_], Float32]:
    """Return the label of each window, and probabilities or numbers.

    Args:
        probe: that made the outputs.
        outputs: (n, R), NaN where nothing was recorded.

    Returns:
        (n,) text: of several labels those that hold, joined by ` + `, or `none`; of numbers, and
        where nothing was recorded, empty. And (n, R), NaN where nothing was recorded.
    """
    known = np.asarray(np.isfinite(outputs).all(axis=1))
    target = probe.task.target
    chosen = probe.decide(np.where(known[:, None], outputs, 0))
    probability = probe.task.probabilities(outputs)
    found = outputs if probability is None else probability.astype(np.float32)
    if target.kind == "classes":
        label = np.array([*target.names, ""])[chosen]
    elif target.kind == "labels":
        texts = [_joined(target.names, row) for row in chosen]
        label = np.array(texts, dtype=np.str_)
    else:
        label = np.full(len(outputs), "", dtype="<U1")
    return np.where(known, label, ""), found


def _joined(names: tuple[str, ...], row: NDArray[Any]) -> str:
    return " + ".join(n for n, holds in zip(names, row, strict=True) if holds) or "none"


def _with_gaps(whole: Timeline, seen: Seen) -> Timeline:
    """Add a row for each stretch of the recording in which there is no window."""
    gaps = list(_gaps(whole, seen))
    if not gaps:
        return whole
    count = len(gaps)
    starts, ends, reasons = (np.array(column) for column in zip(*gaps, strict=True))
    order = np.argsort(np.r_[whole.start_s, starts], kind="stable")
    none = np.full(count, "", dtype="<U1")

    def joined(rows: NDArray[Any], more: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([rows, more])[order]

    return replace(
        whole,
        start_s=joined(whole.start_s, starts),
        end_s=joined(whole.end_s, ends),
        window=joined(whole.window, np.zeros(count, dtype=np.bool_)),
        label=joined(whole.label, none),
        reason=joined(whole.reason, reasons),
        truth=joined(whole.truth, none),
        outputs=joined(whole.outputs, np.full((count, len(whole.names)), np.nan, np.float32)),
        present=joined(whole.present, np.zeros((count, len(whole.modalities)), dtype=np.bool_)),
        unusable=None if whole.unusable is None else joined(whole.unusable, none),
        sets=None if whole.sets is None else joined(whole.sets, none),
    )


def _gaps(whole: Timeline, seen: Seen) -> Iterator[tuple[float, float, str]]:
    """Yield start, end and reason of each stretch without windows, by the grid of windows."""
    spec, begin_s, end_s = whole.spec, seen.begin_s, seen.end_s
    length_s = end_s - begin_s
    last = int(np.floor((length_s - spec.window_s) / spec.stride_s + 1e-6))
    if last < 0:
        yield begin_s, end_s, too_short(length_s, spec)
        return
    numbers = np.round((whole.start_s - begin_s) / spec.stride_s).astype(np.int64)
    edges = np.r_[-1, numbers, last + 1]
    for at in np.flatnonzero(np.diff(edges) > 1):
        first, behind = int(edges[at]) + 1, int(edges[at + 1]) - 1
        yield (
            begin_s + first * spec.stride_s,
            begin_s + behind * spec.stride_s + spec.window_s,
            NOTHING,
        )
