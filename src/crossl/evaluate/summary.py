"""What the report needs beside the records: facts of the data, examples, a map, what is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from crossl.data.store import Store
from crossl.evaluate.metrics import Interval, bootstrap_score, macro_f1, paired_difference
from crossl.evaluate.paired import Pairing
from crossl.evaluate.results import Key, ResultBook
from crossl.learn.latents import LatentTable

MAP_WINDOWS = 800
MIN_MAP_WINDOWS = 5
Arrays = dict[str, NDArray[Any]]


def describe_store(store: Store) -> dict[str, Any]:
    """Return the facts of a store that the report tells."""
    return {
        "dataset": store.manifest["dataset"],
        "title": store.manifest.get("title", store.manifest["dataset"]),
        "description": store.manifest.get("description", ""),
        "classes": list(store.classes),
        "subjects": np.unique(store.subject).tolist(),
        "modalities": [m.as_dict() for m in store.modalities],
        "window_s": store.spec.window_s,
        "stride_s": store.spec.stride_s,
        "n_windows": len(store),
        "n_labelled": int((store.label >= 0).sum()),
    }


def example_windows(store: Store) -> tuple[list[dict[str, Any]], Arrays]:
    """Pick one window per class, of the first subject who has it with everything recorded.

    Returns:
        Facts of each example, and its signals as `example/{i}/{modality}` (T, C).
    """
    told: list[dict[str, Any]] = []
    arrays: Arrays = {}
    richness = store.present.sum(axis=1)
    for number in range(len(store.classes)):
        rows = np.flatnonzero(store.label == number)
        if not len(rows):
            continue
        rows = rows[richness[rows] == richness[rows].max()]
        rows = rows[store.subject[rows] == store.subject[rows[0]]]
        row = rows[len(rows) // 2]
        for column, (name, signal) in enumerate(store.gather(np.array([row])).items()):
            if store.present[row, column]:
                arrays[f"example/{len(told)}/{name}"] = signal[0]
        told.append({"class": number, "subject": str(store.subject[row]),
                     "start_s": float(store.start_s[row])})  # fmt: skip
    return told, arrays


def embedding_map(table: LatentTable, subjects: Sequence[str], *, seed: int) -> Arrays:
    """Lay out embeddings of test windows in the plane by t-SNE, after PCA.

    Args:
        table: windows of test subjects.
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
        "map_label": table.label.astype(np.int64),
        "map_subject": np.array([index[name] for name in table.subject.tolist()]),
    }


def what_is_seen(book: ResultBook, main: Key, modalities: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say in sentences what the numbers show, good or bad.

    Args:
        book: all scores.
        main: the method, head and label fraction that the sentences are about.
        modalities: declared streams, for the names of devices.
    """
    pairing = Pairing(book)
    found = [*_without_devices(pairing, main, modalities),
             *_against(book, main, set(pairing.keys))]  # fmt: skip
    single = _best_single(pairing, main)
    return [*found, *([single] if single else [])]


def _against(book: ResultBook, main: Key, keys: set[Key]) -> list[str]:
    out = []
    for base in sorted(keys, key=str):
        same = (base.label_fraction, base.present) == (main.label_fraction, main.present)
        if not same or base.method not in ("supervised", "untrained"):
            continue
        (subjects, ours), (others, theirs) = book.pooled(main), book.pooled(base)
        if subjects != others:
            continue
        a, b = bootstrap_score(ours, macro_f1), bootstrap_score(theirs, macro_f1)
        name = {"supervised": "the same network trained on these labels alone",
                "untrained": "the same network with random weights"}[base.method]  # fmt: skip
        out.append(
            f"With {main.label_fraction:.0%} of the labels, {main.method} reaches a macro-F1 of "
            f"{a.value:.3f}; {name} ({base.head}) reaches {b.value:.3f}. "
            f"{_difference(paired_difference(ours, theirs))}"
        )
    return out


def _difference(d: Interval) -> str:
    if d.low is None or d.high is None:
        return f"One person was tested: a difference of {d.value:+.3f}, without an interval."
    verdict = "better" if d.low > 0 else "worse" if d.high < 0 else "not told apart"
    return f"Paired by subject the difference is {d.value:+.3f} {d.told('+')}: {verdict}."


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
                f"Nobody was tested who has the {device} and something beside it: what is left "
                "without it cannot be told."
            )
            continue
        (score, whole), kept = found.scores, found.kept
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
    verdict = "adds" if gain > 0.01 else "costs" if gain < -0.01 else "changes next to nothing:"
    return (
        f"The best single modality, {name}, reaches {alone.value:.3f} alone with the same "
        f"classifier, where the same {_people(alone.n)} with all modalities reach "
        f"{every.value:.3f}; having all {verdict} {gain:+.3f}."
    )
