"""Page: a model and a recording in one HTML file, which runs it in any browser, without network."""

from __future__ import annotations

import gzip
import html
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.store import Store
from crossl.errors import ConfigError
from crossl.export.graph import PRESENT, ExportedGraph, Reading
from crossl.export.int8 import feed_of
from crossl.export.parity import FLIPPED, WITHIN, Runner, moved_by_rounding, patterns_of
from crossl.export.web import Web

TEMPLATE = Path(__file__).with_name("page.html")
MOST_WINDOWS = 400
"""Windows that are replayed."""
COMPARED = 24


def rows_to_replay(store: Store, subjects: Mapping[str, Any]) -> NDArray[np.int64]:
    """Choose windows of one person, in order: those with most different labels.

    Args:
        store: as the run's model sees it.
        subjects: by part of the run's fold; test subjects come first, as nothing was learned from
            them.

    Raises:
        ConfigError: the store is empty.
    """
    if not len(store):
        raise ConfigError("--page: the store has no window to replay")
    tested = np.isin(store.subject, list(subjects.get("test", ())))
    rows = np.flatnonzero(tested) if tested.any() else np.arange(len(store))
    best: tuple[int, int, NDArray[np.int64]] = (-1, 0, rows[:1])
    for name in np.unique(store.subject[rows]):
        own = rows[store.subject[rows] == name]
        for begin in range(0, max(1, len(own) - MOST_WINDOWS // 2), MOST_WINDOWS // 4):
            some = own[begin : begin + MOST_WINDOWS]
            kinds = len(set(store.label[some].tolist()) - {-1})
            if (kinds, len(some)) > best[:2]:
                best = (kinds, len(some), some)
    return best[2]


def page_of(
    model: bytes,
    graph: ExportedGraph,
    reading: Reading,
    contract: Mapping[str, Any],
    *,
    store: Store,
    rows: NDArray[np.int64],
    run: Runner,
    web: Web,
) -> str:
    """Make the page.

    Args:
        model: as bytes.
        graph: that it is of.
        reading: its classifier, of classes.
        contract: that it carries; it says whether windows may differ of which rounding decides.
        store: as the run's model sees it.
        rows: windows to replay, in order.
        run: the model, by ONNX Runtime in Python, which the page is held to.
        web: ONNX Runtime for browsers.
    """
    feed = feed_of(graph, store, rows, np.ones(len(graph.modalities), dtype=np.bool_))
    present = feed.pop(PRESENT)
    signals = b"".join(np.ascontiguousarray(feed[m.name], "<f4").tobytes()
                       for m in graph.modalities)  # fmt: skip
    names = list(reading.names)
    expected = _expected(run, feed, present, flips=contract["parity"]["by_rounding"] is not None)
    classes = {number: place for place, number in enumerate(reading.probe.classes.tolist())}
    facts = {
        "sensors": [_sensor(m.name, m.channels, feed[m.name], present[:, i])
                    for i, m in enumerate(graph.modalities)],
        "names": names,
        "windows": len(rows),
        "stride_s": store.spec.stride_s,
        "present": present.tolist(),
        "truth": [classes.get(one, -1) for one in _truth(reading, store, rows)],
        "output": "probabilities",
        "within": WITHIN * _largest(expected) if contract["int8"] is None else 0.2,
        "flipped": FLIPPED,
        "expected": expected,
    }  # fmt: skip
    who = contract["run"]["dataset"] or "recordings"
    about = (
        f"Made by crossl {contract['crossl']} (crossl export). The model runs in this page by ONNX "
        f"Runtime {web.version}; recordings of subject {store.subject[rows[0]]} of {who} are "
        f"replayed. Terms of the data: {contract['data_licence']}."
    )
    parts = {
        "TITLE": html.escape(f"A classifier of {who} in this browser"),
        "ABOUT": html.escape(about),
        "ORT": re.sub("</(script)", r"<\\/\1", web.script, flags=re.I),
        "FACTS": json.dumps(facts).replace("<", "\\u003c"),
        "LOADER": _packed(web.loader),
        "WASM": _packed(web.wasm),
        "MODEL": _packed(model),
        "SIGNALS": _packed(signals),
    }
    # in one pass: names of a data set may look like places of the template
    return re.sub("@([A-Z]+)@", lambda m: parts[m[1]], TEMPLATE.read_text(encoding="utf-8"))


def _truth(reading: Reading, store: Store, rows: NDArray[np.int64]) -> list[int]:
    """Return the class that the recording itself gives each window; -1 where it gives none."""
    target = reading.probe.task.target
    if target not in store.targets:
        return [-1] * len(rows)
    found: list[int] = store.target_values(target.name)[rows].tolist()
    return found


def _sensor(
    name: str, channels: tuple[str, ...], x: NDArray[Any], present: NDArray[np.bool_]
) -> dict[str, Any]:
    shown = x[present] if present.any() else x
    low, high = np.percentile(shown, [1, 99])
    reach = 0.6 * float(max(high - low, 1e-9))
    return {"name": name, "channels": list(channels), "samples": x.shape[1],
            "middle": float(low + high) / 2, "reach": reach}  # fmt: skip


def _expected(
    run: Runner, feed: dict[str, NDArray[Any]], present: NDArray[np.bool_], *, flips: bool
) -> list[dict[str, Any]]:
    """Say what Python says of some windows, with sensors unplugged in turn.

    Where windows may differ of which rounding decides, as in `crossl.export.parity`, these are
    marked: there a browser may say something else.
    """
    patterns = patterns_of(present.shape[1])
    places = np.linspace(0, len(present) - 1, COMPARED).astype(int)
    found: list[dict[str, Any]] = []
    for number, window in enumerate(places.tolist()):
        kept = patterns[number % len(patterns)]
        shown = present[window] & kept
        if not shown.any():
            continue
        said = run({name: x[window][None] for name, x in feed.items()}, shown[None])
        found.append({"window": window, "plugged": kept.tolist(), "by_rounding": False,
                      "numbers": said["probabilities"][0].astype(float).tolist()})  # fmt: skip
    if flips and found:
        rows = np.array([one["window"] for one in found])
        shown = present[rows] & np.array([one["plugged"] for one in found])
        scale = {"probabilities": _largest(found)}
        moved = moved_by_rounding(
            lambda signals, there: {"probabilities": run(signals, there)["probabilities"]},
            feed, rows, shown, scale, np.random.default_rng(0),
        )  # fmt: skip
        for one, moves in zip(found, moved.tolist(), strict=True):
            one["by_rounding"] = moves
    return found


def _largest(expected: list[dict[str, Any]]) -> float:
    """Return the largest number that is said of windows."""
    return max((abs(x) for one in expected for x in one["numbers"]), default=1.0)


def _packed(content: bytes) -> str:
    return b64encode(gzip.compress(content, 9, mtime=0)).decode()
