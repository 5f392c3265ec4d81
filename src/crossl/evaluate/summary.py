"""What the report needs beside the records: facts of the data, examples, a map, findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from crossl.data.store import Store
from crossl.errors import counted
from crossl.evaluate.latents import LatentTable
from crossl.evaluate.metrics import Interval, difference_interval, mean_interval
from crossl.evaluate.paired import Pairing
from crossl.evaluate.resampling import Design
from crossl.evaluate.results import Key, ResultBook
from crossl.tasks import Task

MAP_WINDOWS = 800
MIN_MAP_WINDOWS = 5
Arrays = dict[str, NDArray[Any]]


def describe_store(store: Store, task: Task) -> dict[str, Any]:
    """Return the facts of a store, and of the targets of its windows, that the report needs."""
    target = task.values(store)
    return {
        "task": {**task.facts(), "groups": list(task.groups(target)[0])},
        "dataset": store.manifest["dataset"],
        "title": store.manifest.get("title", store.manifest["dataset"]),
        "description": store.manifest.get("description", ""),
        "classes": list(store.classes),
        "subjects": np.unique(store.subject).tolist(),
        "modalities": [m.as_dict() for m in store.modalities],
        "window_s": store.spec.window_s,
        "stride_s": store.spec.stride_s,
        "n_windows": len(store),
        "n_labelled": int(task.known(target).sum()),
    }


def example_windows(store: Store, task: Task) -> tuple[list[dict[str, Any]], Arrays]:
    """Pick one window per class, or other group that a task shows.

    It is of the first subject who has one with everything recorded.

    Returns:
        Facts of each example, and its signals as `example/{i}/{modality}` (T, C).
    """
    told: list[dict[str, Any]] = []
    arrays: Arrays = {}
    richness = store.present.sum(axis=1)
    names, group = task.groups(task.values(store))
    for number in range(len(names)):
        rows = np.flatnonzero(group == number)
        if not len(rows):
            continue
        rows = rows[richness[rows] == richness[rows].max()]
        rows = rows[store.subject[rows] == store.subject[rows[0]]]
        row = rows[len(rows) // 2]
        for column, (name, signal) in enumerate(store.gather_zeroed(np.array([row])).items()):
            if store.present[row, column]:
                arrays[f"example/{len(told)}/{name}"] = signal[0]
        told.append({"class": number, "subject": str(store.subject[row]),
                     "start_s": float(store.start_s[row])})  # fmt: skip
    return told, arrays


def embedding_map(
    table: LatentTable, group: NDArray[np.int64], subjects: Sequence[str], *, seed: int
) -> Arrays:
    """Lay out embeddings of test windows in the plane by t-SNE, after PCA.

    Args:
        table: windows of test subjects.
        group: (n,) which group each is shown in, such as its class; -1 unlabelled.
        subjects: `map_subject` holds indices into them.
        seed: of the draw of windows and the layout.
    """
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(table))[:MAP_WINDOWS])
    if len(rows) < MIN_MAP_WINDOWS:
        return {}
    table = table.take(rows)
    z = table.embed("aggregator")
    layout = TSNE(perplexity=min(30.0, len(z) / 4), init="pca", random_state=seed, max_iter=500)
    with threadpool_limits(1):  # few points: on busy cores threads wait for each other
        z = PCA(min(30, *z.shape), random_state=seed).fit_transform(z)
        xy = layout.fit_transform(z).astype(np.float32)
    index = {name: i for i, name in enumerate(subjects)}
    return {
        "map_xy": xy,
        "map_label": group[rows].astype(np.int64),
        "map_subject": np.array([index[name] for name in table.subject.tolist()]),
    }


def findings_in_words(
    book: ResultBook, main: Key, modalities: Sequence[Mapping[str, Any]], *, numbers: bool = True
) -> list[str]:
    """Say in sentences what the numbers show, good or bad.

    Args:
        book: all scores.
        main: the method, head and label fraction that the sentences are about.
        modalities: declared streams, for the names of devices.
        numbers: tell the scores behind each comparison of methods.
    """
    pairing = Pairing(book)
    one_gone = [tuple(n for n in main.present if n != gone) for gone in main.present]
    one_gone = [left for left in one_gone if left and replace(main, present=left) in pairing.keys]
    found = [
        *_without_devices(pairing, main, modalities),
        *_against(
            pairing,
            main,
            one_gone,
            "When a sensor dies (each in turn, nothing retrained)",
            numbers=numbers,
        ),
        *_against(pairing, main, [main.present], "With all sensors", numbers=numbers),
    ]
    single = _best_single(pairing, main)
    return [*found, *([single] if single else [])]


LEAST_PEOPLE = 6
"""Of fewer people no paired difference is significant: even if all of them are on one side, a test
that flips signs gives a probability of 2 / 2**n, above 5%, whatever a bootstrap interval says."""

BASELINES = {
    "supervised": "the same network trained on the same labels alone",
    "untrained": "the same network with random weights",
}


@dataclass(frozen=True)
class _Compared:
    """One comparison of two methods at a label fraction; `errors` are better where lower."""

    fraction: float
    ours: float
    theirs: float
    difference: Interval
    errors: bool = False

    @property
    def verdict(self) -> str:
        d = self.difference
        if d.low is None or d.high is None:
            return "compared on one person only with"
        level, better = d.low <= 0 <= d.high, (d.low > 0) != self.errors
        if d.n < LEAST_PEOPLE:
            return "about level with" if level else "ahead of" if better else "behind"
        if level:
            return "not significantly different from"
        return "better than" if better else "worse than"

    @property
    def numbers(self) -> str:
        d = self.difference
        told = f"{d.value:+.3f} {d.told('+')}".strip()
        return f"{self.ours:.3f} against {self.theirs:.3f} at {_percent(self.fraction)} ({told})"


def _against(
    pairing: Pairing, main: Key, lefts: Sequence[tuple[str, ...]], when: str, *, numbers: bool
) -> list[str]:
    """Say how the main method compares with each baseline, at every label fraction.

    Args:
        pairing: of all scores.
        main: whose method and head.
        lefts: sets of modalities over which scores are averaged.
        when: the beginning of the sentence.
        numbers: tell them too.
    """
    out = []
    for base, name in BASELINES.items():
        heads = sorted({key.head or "" for key in pairing.keys if key.method == base})
        found = [_compare(pairing, main, base, heads[0], fraction, lefts)
                 for fraction in _fractions(pairing, main) if heads]  # fmt: skip
        known = [one for one in found if one is not None]
        if not known:
            continue
        verdicts: dict[str, list[str]] = {}
        for one in known:
            verdicts.setdefault(one.verdict, []).append(_percent(one.fraction))
        whom = [name, *["it"] * len(verdicts)]
        pairs = zip(verdicts.items(), whom, strict=False)
        told = ", ".join(f"{word} {who} at {_listed(at)}" for (word, at), who in pairs)
        sentence = f"{when}, {main.method} is {told} of the labels."
        n = known[0].difference.n
        if 1 < n < LEAST_PEOPLE:
            sentence += f" {n} people are too few for a significant difference."
        more = (
            f" {_capital(pairing.book.task.told())} "
            f"{', '.join(one.numbers for one in known)}; differences are paired by "
            f"subject, {counted(n, 'person', 'people')}."
        )
        out.append(sentence + more * numbers)
    return out


def _fractions(pairing: Pairing, main: Key) -> list[float]:
    return sorted({key.label_fraction for key in pairing.keys
                   if (key.method, key.head) == (main.method, main.head)})  # fmt: skip


def _compare(
    pairing: Pairing,
    main: Key,
    base: str,
    head: str,
    fraction: float,
    lefts: Sequence[tuple[str, ...]],
) -> _Compared | None:
    """Average both methods over sets of modalities; None where one was not scored on all."""
    scores, values, designs = [], [], None
    for left in lefts:
        ours = replace(main, label_fraction=fraction, present=left)
        theirs = Key(base, None, head, fraction, left, main.budget)
        if ours not in pairing.keys or theirs not in pairing.keys:
            return None
        book = pairing.book
        (subjects, a), (others, b) = book.pooled(ours), book.pooled(theirs)
        if subjects != others:
            return None
        metric, designs = book.task.metric, (book.design(ours), book.design(theirs))
        scores.append([float(metric(one.sum(axis=1)).mean()) for one in (a, b)])
        values.append((subjects, metric(a), metric(b)))
    if designs is None:
        return None
    first, second = np.mean(scores, axis=0).tolist()
    difference = _difference(values, designs)
    return _Compared(fraction, first, second, difference, pairing.book.task.lower_is_better)


def _difference(
    values: Sequence[tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]],
    designs: tuple[Design, Design],
) -> Interval:
    """Average over sets of modalities, then compare; a person may not have all of them."""
    if len({subjects for subjects, _, _ in values}) == 1:
        one = np.mean([a for _, a, _ in values], axis=0)
        two = np.mean([b for _, _, b in values], axis=0)
        return difference_interval(one, two, designs=designs)
    by_subject = dict[str, list[float]]()
    for subjects, a, b in values:
        for subject, difference in zip(subjects, a.mean(axis=0) - b.mean(axis=0), strict=True):
            by_subject.setdefault(subject, []).append(float(difference))
    return mean_interval(np.array([np.mean(found) for found in by_subject.values()]))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _percent(fraction: float) -> str:
    return f"{100 * fraction:g}%"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _without_devices(
    pairing: Pairing, main: Key, modalities: Sequence[Mapping[str, Any]]
) -> list[str]:
    out = []
    devices = sorted({m["device"] for m in modalities if m["device"]})
    for device in devices if len(devices) > 1 else []:
        left = tuple(m["name"] for m in modalities if m["device"] != device)
        found = pairing.pair(replace(main, present=left))
        if found is None:
            out.append(
                f"No test person has both the {device} and another device: how much of the score "
                f"is left without the {device} cannot be measured."
            )
            continue
        (score, whole), kept = found.scores, found.kept
        if pairing.book.task.lower_is_better:
            out.append(
                f"When the {device} is missing at test time, with nothing retrained, the "
                f"{pairing.book.task.told()} is {score.value:.3f}, and {whole.value:.3f} for the "
                f"same {_people(kept.n)} with all that they have."
            )
            continue
        interval = f" {_percents(kept)}" if kept.low is not None else ""
        out.append(
            f"When the {device} is missing at test time, with nothing retrained, {score.value:.3f} "
            f"is left of {whole.value:.3f}: {kept.value:.0%}{interval} of the score of the same "
            f"{_people(kept.n)} with all that they have."
        )
    return out


def _percents(kept: Interval) -> str:
    return f"[{kept.low:.0%}, {kept.high:.0%}]"


def _people(n: int) -> str:
    return "person" if n == 1 else f"{n} people"


def _best_single(pairing: Pairing, main: Key) -> str | None:
    found = {name: pairing.pair(replace(main, present=(name,))) for name in main.present}
    singles = {name: one for name, one in found.items() if one is not None}
    if len(singles) < 2:
        return None
    name = max(singles, key=lambda one: singles[one].kept.value)
    alone, every = singles[name].scores
    gain = every.value - alone.value
    if pairing.book.task.lower_is_better:
        return (
            f"The best single modality, {name}, has a {pairing.book.task.told()} of "
            f"{alone.value:.3f} alone with the same classifier, and all modalities "
            f"{every.value:.3f} for the same {_people(alone.n)} ({gain:+.3f})."
        )
    verdict = "adds" if gain > 0.01 else "costs" if gain < -0.01 else "changes next to nothing:"
    return (
        f"The best single modality, {name}, reaches {alone.value:.3f} alone with the same "
        f"classifier, where the same {_people(alone.n)} with all modalities reach "
        f"{every.value:.3f}; having all {verdict} {gain:+.3f}."
    )
