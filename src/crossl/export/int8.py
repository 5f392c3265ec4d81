"""Eight bits: weights and activations of convolutions and linear maps as integers.

Static quantisation by ONNX Runtime: a scale for each channel of weights, and one for each
activation, which windows of training subjects tell. Only `Conv`, `MatMul` and `Gemm` are quantised:
nothing is won by the others. Dynamic quantisation is slower for such small networks.
"""

from __future__ import annotations

import logging
import re
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from crossl.data.splits import Fold
from crossl.data.store import Store
from crossl.errors import CrosslError, counted
from crossl.export.graph import PRESENT, ExportedGraph, Reading
from crossl.export.parity import Runner, Signals, patterns_of

OPERATORS = ("Conv", "MatMul", "Gemm")
TRAINED = re.compile(r"(groups\.\d+\.(encoder|features\.directions)|aggregator|linear)\b")
"""Names of what is quantised."""
MOST_WINDOWS = 512
"""Windows of training subjects that tell how large activations are."""
MOST_SCORED = 4000
MAX_DROP = 0.01
"""How far the main metric may fall on validation subjects, unless asked otherwise."""
EVERY_SUBSET_UP_TO = 4
"""Sensors of which every set is scored; of more all, all but one, and each alone."""

Feed: TypeAlias = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Scores:
    """What quantisation costs, on validation subjects.

    Attributes:
        metric: in words.
        lower_is_better: whether it is an error.
        all_sensors: float and int8, windows as they are.
        subsets: float and int8, the mean over sets of sensors.
        windows: that were scored.
        people: whose they are.
    """

    metric: str
    lower_is_better: bool
    all_sensors: tuple[float, float]
    subsets: tuple[float, float]
    windows: int
    people: int

    @property
    def drop(self) -> float:
        """How much worse int8 is, by the worse of both; of errors as a share of them."""
        return max(self._drop(*self.all_sensors), self._drop(*self.subsets))

    @property
    def warning(self) -> str:
        """Say where one person decided; empty where there were more."""
        if self.people > 1:
            return ""
        return (
            f"{counted(self.windows, 'window')} of one validation subject decided whether it costs "
            "too much, and it may cost others more; a fold with more of them tells more"
        )

    def _drop(self, float32: float, int8: float) -> float:
        if self.lower_is_better:
            return (int8 - float32) / max(abs(float32), 1e-12)
        return float32 - int8

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"metric": self.metric, "all_sensors": list(self.all_sensors),
                "mean_over_sets": list(self.subsets), "windows": self.windows,
                "people": self.people, "drop": self.drop}  # fmt: skip


def quantise(model: bytes, feeds: Iterator[Feed]) -> bytes:
    """Quantise an ONNX model.

    Args:
        model: as bytes.
        feeds: batches of windows of training subjects.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.calibrate import CalibrationDataReader

    class Windows(CalibrationDataReader):  # type: ignore[misc]  # has no types
        """Gives one batch after another."""

        def get_next(self) -> Feed | None:
            """Return a batch; None at the end."""
            return next(feeds, None)

    loaded = onnx.load_from_string(model)
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)  # it recommends a preparation that changes nothing here
    try:
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = Path(folder) / "int8.onnx"
            quantize_static(
                loaded, made, Windows(), quant_format=QuantFormat.QDQ,
                nodes_to_exclude=_left_alone(loaded), op_types_to_quantize=list(OPERATORS),
                per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            )  # fmt: skip
            return made.read_bytes()
    finally:
        logging.root.setLevel(before)


def _left_alone(model: Any) -> list[str]:
    """Name the nodes that are not quantised: spectra and kernels of untrained features.

    Eight bits do not tell on which side of a bias a kernel's value lies.
    """
    weights = {one.name for one in model.graph.initializer if TRAINED.match(one.name)}
    return [node.name for node in model.graph.node
            if node.op_type in OPERATORS and not weights & set(node.input)]  # fmt: skip


def calibration_feeds(graph: ExportedGraph, store: Store, fold: Fold) -> Iterator[Feed]:
    """Yield windows of training subjects, as they are and with sensors missing.

    Args:
        graph: names the sensors that may come.
        store: as the run's model sees it.
        fold: whose training windows.
    """
    rng = np.random.default_rng(0)
    rows = spread(fold.train, MOST_WINDOWS)
    patterns = patterns_of(len(graph.modalities))
    for begin in range(0, len(rows), 64):
        some = rows[begin : begin + 64]
        kept = patterns[rng.integers(len(patterns), size=len(some))]
        kept[rng.random(len(some)) < 0.5] = True
        yield feed_of(graph, store, some, kept)


def feed_of(
    graph: ExportedGraph, store: Store, rows: NDArray[np.int64], kept: NDArray[np.bool_]
) -> Feed:
    """Read windows, of which only some sensors are shown.

    Args:
        graph: names the sensors that may come.
        store: as the run's model sees it.
        rows: of the store.
        kept: (n, M') or (M',) which sensors are shown.
    """
    present = store.present[rows][:, list(graph.columns)] & kept
    signals = store.gather_zeroed(rows)
    return {**{m.name: signals[m.name] for m in graph.modalities}, PRESENT: present}


def spread(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Take at most so many rows, evenly."""
    return rows[:: max(1, -(-len(rows) // most))]


def compare_scores(
    runners: tuple[Runner, Runner], graph: ExportedGraph, reading: Reading, store: Store, fold: Fold
) -> Scores:
    """Score both models on the labelled windows of validation subjects.

    Args:
        runners: of float and int8.
        graph: that both are of.
        reading: the classifier.
        store: as the run's model sees it.
        fold: whose validation windows.

    Raises:
        CrosslError: none of these is labelled.
    """
    task = reading.probe.task
    target = task.values(store)
    present = store.present[:, list(graph.columns)]
    rows = fold.validation
    rows = spread(rows[task.known(target[rows]) & present[rows].any(axis=1)], MOST_SCORED)
    if not len(rows):
        raise CrosslError(
            "--int8: validation subjects have no labelled window, so its cost cannot be measured; "
            "labelled windows of one of them at least are needed, else export without --int8"
        )
    patterns = _patterns(present.shape[1])
    scores = np.array([[_score(run, graph, reading, store, rows, kept) for kept in patterns]
                       for run in runners])  # fmt: skip
    both = [(float(a), float(b)) for a, b in (scores[:, 0], np.nanmean(scores, axis=1))]
    return Scores(
        task.labels_of_metrics[task.main], task.lower_is_better, both[0], both[1], len(rows),
        len(np.unique(store.subject[rows])),
    )  # fmt: skip


def _patterns(modalities: int) -> NDArray[np.bool_]:
    if modalities <= EVERY_SUBSET_UP_TO:
        return patterns_of(modalities)
    one = np.eye(modalities, dtype=np.bool_)
    return np.concatenate([np.ones((1, modalities), dtype=np.bool_), ~one, one])


def _score(
    run: Runner,
    graph: ExportedGraph,
    reading: Reading,
    store: Store,
    rows: NDArray[np.int64],
    kept: NDArray[np.bool_],
) -> float:
    """Return the main metric of windows of which only some sensors are shown."""
    task = reading.probe.task
    outputs, held = [], []
    for begin in range(0, len(rows), 256):
        feed = feed_of(graph, store, rows[begin : begin + 256], kept)
        present = feed.pop(PRESENT)
        some = present.any(axis=1)
        signals: Signals = {name: x[some] for name, x in feed.items()}
        held.append(rows[begin : begin + 256][some])
        if some.any():
            found = run(signals, present[some])
            outputs.append(found["values" if reading.kind == "numbers" else "logits"])
    if not outputs:
        return float("nan")
    target = task.values(store)[np.concatenate(held)]
    said = reading.probe.decide(np.concatenate(outputs))
    counts = task.count(target, said, np.zeros(len(target), dtype=np.int64), 1)
    return float(task.metric(counts)[0])


def check_drop(scores: Scores, most: float) -> None:
    """Refuse a quantised model that is too much worse.

    Args:
        scores: of validation subjects.
        most: how far the metric may fall.

    Raises:
        CrosslError: it falls further.
    """
    pairs = (*scores.all_sensors, *scores.subsets)
    if not np.isfinite(pairs).all():
        raise CrosslError(
            f"--int8: {scores.metric} of {counted(scores.people, 'validation subject')} cannot be "
            f"computed ({', '.join(f'{one:.3f}' for one in pairs)}), so nothing tells what it "
            "costs; export without --int8"
        )
    if scores.drop > most:
        pair = max(scores.all_sensors, scores.subsets, key=lambda two: scores._drop(*two))
        raise CrosslError(
            f"--int8: {scores.metric} of {counted(scores.people, 'validation subject')} goes from "
            f"{pair[0]:.3f} to {pair[1]:.3f}, by more than {most:g}, so no file was written; "
            "export without --int8, or allow more by --max-drop"
        )
