"""Leakage: the same stretch of signal under two subjects, or twice under one.

Compared is how a sensor changes from sample to sample. There the noise counts, which no two
recordings share, and slow waves do not, which look alike in everybody: over windows of five public
data sets (motion, EDA, BVP, EEG, ECG) no two strangers' changes correlate by more than 0.83, two
beats of one driver's clean ECG by 0.98, and copies by more than 0.9999.

The changes of every window are standardised and hashed to 32 numbers such that windows that
correlate by 0.998 lie close together (signed random buckets, which keep distances: Charikar et
al., Finding frequent items in data streams, 2002), and a k-d tree finds the close ones. Of a store
these are read again and correlated; of recordings, which pass by once, the 32 numbers decide. A
copy that starts at another place of the window grid is not found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from crossl.data.recording import Float32
from crossl.data.splits import group_subjects
from crossl.doctor.finding import Finding, one

if TYPE_CHECKING:
    from crossl.data.store import Store

ALIKE = 0.998
BUCKETS, SEARCHED = 32, 12
"""Numbers that a window is hashed to, and how many of them a tree is built of: in more dimensions
it would compare everything with everything."""

RADIUS = float(np.sqrt(3 * 2 * (1 - ALIKE)))
"""Twice `1 - ALIKE` is the squared distance of such windows; hashing may stretch it by 3."""

NEIGHBOURS = 8
"""Candidates looked at for each window and sensor."""

LEAST_TURNS = 24
"""Turning points below which a window is too simple to be recognised: a sweep of an arm."""

LEAST_CHANGES = 10.0
"""Changes that make up a window, below which it is too simple: a step, a few in heart rate."""

BATCH_BYTES = 32 * 1024 * 1024

Float64 = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Place:
    """Where a window was recorded."""

    subject: str
    session: str
    start_s: float

    def __str__(self) -> str:
        """Say it in words."""
        return f"subject {self.subject}, session {self.session}, at {self.start_s:g} s"


@dataclass(frozen=True)
class Twins:
    """Two windows with the same content, by row of the store."""

    first: int
    second: int


def standardise(windows: Float32) -> tuple[Float64, NDArray[np.bool_]]:
    """Return changes with mean 0 by channel and length 1, and whether a window can be recognised.

    Args:
        windows: (B, T, C).

    Returns:
        (B, (T-1)*C), and (B,) bool.
    """
    change = np.diff(windows.astype(np.float64), axis=1)
    turns = (change[:, 1:] * change[:, :-1] < 0).sum(axis=(1, 2))
    changes_of_all = change.shape[1] * change.shape[2]
    flat = (change - change.mean(axis=1, keepdims=True)).reshape(len(windows), changes_of_all)
    length = np.linalg.norm(flat, axis=1)
    flat = flat / np.where(length > 0, length, 1)[:, None]
    # the number of equal changes that would be as concentrated: 1 for a single step
    changes = 1 / np.maximum((flat**4).sum(axis=1), 1e-300)
    return flat, (length > 0) & (turns >= LEAST_TURNS) & (changes >= LEAST_CHANGES)


def hash_windows(flat: Float64) -> Float64:
    """Sum coordinates with random signs into buckets; (B, n) to (B, BUCKETS)."""
    rng = np.random.default_rng(0)
    n = flat.shape[1]
    order = rng.permutation(n)
    signs = rng.choice([-1.0, 1.0], n)
    edges = np.arange(BUCKETS) * n // BUCKETS
    return np.add.reduceat((flat * signs)[:, order], edges, axis=1)


def find_twins(store: Store, rows: Rows) -> list[Twins]:
    """Find windows with the same content that do not overlap in one recording.

    Args:
        store: opened.
        rows: those to compare.
    """
    hashes, telling = _hash_all(store, rows)
    candidates: set[tuple[int, int]] = set()
    for name, hashed in hashes.items():
        candidates |= close_pairs(hashed, telling[name])
    found = sorted((int(rows[a]), int(rows[b])) for a, b in candidates)
    pairs = [pair for pair in found if not _overlap(store, *pair)]
    return list(_confirmed(store, pairs))


def _batches(store: Store, rows: Rows) -> Iterator[Rows]:
    sizes = [store.spec.samples(m) * len(m.channels) for m in store.modalities]
    step = max(1, BATCH_BYTES // (16 * sum(sizes)))
    for begin in range(0, len(rows), step):
        yield rows[begin : begin + step]


def _hash_all(store: Store, rows: Rows) -> tuple[dict[str, Float64], dict[str, NDArray[np.bool_]]]:
    hashes: dict[str, list[Float64]] = {}
    telling: dict[str, list[NDArray[np.bool_]]] = {}
    names = [m.name for m in store.modalities if store.spec.samples(m) * len(m.channels) > BUCKETS]
    for batch in _batches(store, rows):
        windows = store.gather_zeroed(batch)
        for name in names:
            flat, tells = standardise(windows[name])
            hashes.setdefault(name, []).append(hash_windows(flat))
            telling.setdefault(name, []).append(tells)
    return (
        {name: np.concatenate(parts) for name, parts in hashes.items()},
        {name: np.concatenate(parts) for name, parts in telling.items()},
    )


def close_pairs(hashed: Float64, telling: NDArray[np.bool_]) -> set[tuple[int, int]]:
    """Return the pairs of rows, first below second, whose hashes lie close together."""
    from scipy.spatial import cKDTree  # slow to import

    index = np.flatnonzero(telling)
    if len(index) < 2:
        return set()
    known = hashed[index]
    tree = cKDTree(known[:, :SEARCHED])
    _, near = tree.query(
        known[:, :SEARCHED], k=min(NEIGHBOURS, len(index)), distance_upper_bound=RADIUS
    )
    found = set()
    for here, others in enumerate(near):
        for there in others[others < len(index)]:
            if there != here and np.linalg.norm(known[here] - known[there]) < RADIUS:
                pair = int(index[here]), int(index[there])
                found.add((min(pair), max(pair)))
    return found


def _overlap(store: Store, first: int, second: int) -> bool:
    same = store.recording[first] == store.recording[second]
    return bool(same and abs(store.start_s[first] - store.start_s[second]) < store.window_s - 1e-6)


def _confirmed(store: Store, pairs: list[tuple[int, int]]) -> Iterator[Twins]:
    """Keep the pairs that agree in every sensor that both have and that can be recognised."""
    if not pairs:
        return
    table = np.array(pairs, dtype=np.int64)
    for batch in _batches(store, np.arange(len(table))):
        first, second = store.gather_zeroed(table[batch, 0]), store.gather_zeroed(table[batch, 1])
        both = store.present[table[batch, 0]] & store.present[table[batch, 1]]
        agrees = np.ones(len(batch), dtype=np.bool_)
        judged = np.zeros(len(batch), dtype=np.bool_)
        for column, modality in enumerate(store.modalities):
            a, tells_a = standardise(first[modality.name])
            b, tells_b = standardise(second[modality.name])
            judge = both[:, column] & tells_a & tells_b
            agrees &= ~judge | (np.einsum("bn,bn->b", a, b) > ALIKE)
            judged |= judge
        for a_row, b_row in table[batch][agrees & judged]:
            yield Twins(int(a_row), int(b_row))


def check_leakage(store: Store, rows: Rows) -> Iterator[Finding]:
    """Check for windows that occur under two subjects, or twice under one."""

    def place(row: int) -> Place:
        subject, session = str(store.subject[row]), str(store.session[row])
        return Place(subject, session, float(store.start_s[row]))

    twins = find_twins(store, rows)
    yield from tell_twins(
        [(place(pair.first), place(pair.second)) for pair in twins],
        group_subjects(store.manifest["recordings"]),
    )


def tell_twins(
    twins: list[tuple[Place, Place]], group: Mapping[str, str] | None = None
) -> Iterator[Finding]:
    """Make findings of pairs of windows with the same content.

    Args:
        twins: the pairs.
        group: by subject with whom no split parts it; None where nobody is grouped.
    """
    group = group or {}
    across = [(a, b) for a, b in twins if a.subject != b.subject]
    together = [(a, b) for a, b in across
                if group.get(a.subject, a.subject) == group.get(b.subject, b.subject)]  # fmt: skip
    across = [pair for pair in across if pair not in together]
    if together:
        yield Finding(
            "leakage",
            "note",
            "",
            "{} windows of one subject are copies of another's, in a group",
            "Splits of crossl keep a group on one side; do the same in any split of your own.",
            one(len({place for pair in together for place in pair})),
            scope="",
            example=f"{together[0][0]} and {together[0][1]}",
        )
    within = [(a, b) for a, b in twins if a.subject == b.subject]
    if across:
        yield Finding(
            "leakage",
            "error",
            "",
            "{} windows of one subject are copies of another's",
            "A test by subject then scores what was trained on: find out whose recording it is, "
            "and keep it once.",
            one(len({place for pair in across for place in pair})),
            scope="",
            example=f"{across[0][0]} and {across[0][1]}",
        )
    if within:
        yield Finding(
            "leakage",
            "warning",
            "",
            "{} windows occur twice under one subject",
            "They count double, and a share of labels may hold both: keep the recording once.",
            one(len({place for pair in within for place in pair})),
            scope="",
            example=f"{within[0][0]} and {within[0][1]}",
        )
