"""An exported model: windows in which sensors may be missing to labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from crossl.data.arrays import Windows, check_named
from crossl.data.recording import Float32, Modality
from crossl.data.source import ArraySource
from crossl.data.windower import Windower
from crossl.decode import Decoder, Follower, Form
from crossl.errors import ContractError, DataError, FormatError, PackageError
from crossl.whole import not_a_file

METADATA, FORMAT, VERSION = "crossl", "crossl-export", 1
CURE = "make it by `crossl export`"


@dataclass(frozen=True)
class Answer:
    """What a model says of n windows.

    Attributes:
        present: (n, M) bool: which sensors each window has.
        embedding: (n, D) float32; NaN for a window in which nothing was recorded.
        label: (n,) text: the most probable class; of several labels those that hold, joined by
            ` + `, or `none`; empty for numbers, without a classifier, and for a window in which
            nothing was recorded.
        probabilities: (n, R) float32, calibrated if the run's are; None for numbers and without a
            classifier.
        logits: (n, R) float32, which probabilities are made of; None as they are.
        values: (n, R) float32 of a task of numbers, in its units; else None.
    """

    present: NDArray[np.bool_]
    embedding: Float32
    label: NDArray[np.str_]
    probabilities: Float32 | None = None
    logits: Float32 | None = None
    values: Float32 | None = None

    def __len__(self) -> int:
        """Count the windows."""
        return len(self.present)


class Runtime:
    """A model that `crossl export` wrote.

    Args:
        path: the ONNX file.
        threads: that one call uses.

    Attributes:
        contract: all that the model says of itself: units, rates, window rules, classes, terms of
            the data, hashes, versions.
        modalities: sensors that it knows, in order.
        window_s: length of a window, seconds.
        names: what it predicts, in the order of probabilities; empty without a classifier.

    Raises:
        FormatError: no such file, or not one of `crossl export`, or of another version.
        PackageError: onnxruntime is not installed.
    """

    def __init__(self, path: Path | str, *, threads: int = 1) -> None:
        self._session = _opened(Path(path), threads)
        self.contract = _contract(Path(path), self._session)
        self.modalities = tuple(Modality.from_dict(m) for m in self.contract["modalities"])
        self.window_s = float(self.contract["window_s"])
        self.names = tuple(self.contract["names"])
        self._texts: NDArray[np.str_] = np.array(self.names, dtype=np.str_)
        self._shapes = {
            m.name: (round(self.window_s * m.rate_hz), len(m.channels)) for m in self.modalities
        }
        self._decoder: Decoder | None = None
        self._outputs = [one.name for one in self._session.get_outputs()]

    def __call__(self, windows: Mapping[str, Any]) -> Answer:
        """Say what windows are.

        Args:
            windows: {sensor: (n, time, channel)} in SI units at the contract's rate, or (time,
                channel) for a single window. A sensor that was not recorded is left out, None, or
                NaN in some windows. Of a model that calibrates windows by their recording, windows
                of its `windower`.

        Raises:
            ContractError: windows that are not calibrated, where they must be.
            DataError: an unknown sensor, or arrays of another shape.
        """
        check_named("windows", windows)
        self._check_calibrated(windows)
        given = {name: _batched(x) for name, x in windows.items()}
        feeds = self._as_they_are(given) or self._filled(given)
        present = feeds["present"]
        found = dict(zip(self._outputs, self._session.run(self._outputs, feeds), strict=True))
        return Answer(
            present,
            found["embedding"],
            self._labels(found, present),
            found.get("probabilities"),
            found.get("logits"),
            found.get("values"),
        )

    def _filled(self, given: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """Return what the model takes, with zeros where something was not recorded.

        Raises:
            DataError: an unknown sensor, or arrays of another shape.
        """
        source = ArraySource(given, modalities=self.modalities, window_s=self.window_s)
        return {**source.gather_zeroed(np.arange(len(source))), "present": source.present}

    def _as_they_are(self, given: Mapping[str, Any]) -> dict[str, NDArray[Any]] | None:
        """Return the same of arrays that need no look at each number; None of others."""
        arrays = [x for x in given.values() if x is not None]
        if not arrays or not all(type(x) is np.ndarray and x.ndim == 3 for x in arrays):
            return None
        windows, known = len(arrays[0]), self._shapes.keys() >= given.keys()
        feeds: dict[str, NDArray[Any]] = {}
        for name, shape in self._shapes.items():
            x = given.get(name)
            if x is None:
                feeds[name] = np.zeros((windows, *shape), dtype=np.float32)
            elif x.dtype == np.float32 and x.shape == (windows, *shape) and np.isfinite(x).all():
                feeds[name] = x
            else:
                return None
        present = [given.get(name) is not None for name in self._shapes]
        feeds["present"] = np.tile(np.array(present), (windows, 1))
        return feeds if known else None

    def windower(
        self, *, max_delay_s: float = 2.0, start_s: float | None = None, in_order: bool = False
    ) -> Windower:
        """Make what cuts windows from chunks of signals, as those that were learned from.

        `runtime(windower.arrays(windows))` says what they are.

        Args:
            max_delay_s: how far behind the newest sample a chunk may begin, seconds.
            start_s: start of the first window; None for the earliest sample.
            in_order: chunks of one sensor never change places.

        Raises:
            ContractError: the run did not say how its windows were cut.
        """
        return Windower.from_contract(
            self.contract, max_delay_s=max_delay_s, start_s=start_s, in_order=in_order
        )

    def in_context(self, answer: Answer, start_s: Any, form: Form = "causal") -> Answer:
        """Read windows of one recording in the light of those around them, as `crossl predict` can.

        Args:
            answer: what was said of each window by itself.
            start_s: (n,) when windows start, in order, such as `[w.start_s for w in windows]`.
            form: `causal` reads what came before, `whole` the whole recording.

        Returns:
            The same with other probabilities and labels.

        Raises:
            FormatError: nothing was learned of how classes follow each other.
        """
        decoder, alone = self._followed(), answer.probabilities
        assert alone is not None  # noqa: S101 - who has classes that follow each other has them
        found = decoder.probabilities(alone, np.asarray(start_s, dtype=np.float64), form)
        return replace(answer, probabilities=found.astype(np.float32), label=self._named(found))

    def follower(self) -> Follower:
        """Make what reads the windows of one stream in context as they come.

        `follower.next(answer.probabilities[0], start_s)` gives the probabilities of a window; the
        same as `in_context` afterwards, to the bit.

        Raises:
            FormatError: nothing was learned of how classes follow each other.
        """
        return self._followed().follower()

    def _followed(self) -> Decoder:
        if self.contract.get("context") is None:
            raise FormatError(
                "model: keeps no transitions between classes; fit the classifier again by `crossl "
                "probe` and export the run again"
            )
        if self._decoder is None:
            self._decoder = Decoder.from_dict(self.contract["context"])
        return self._decoder

    def _named(self, found: NDArray[Any]) -> NDArray[np.str_]:
        """Name the largest of (n, R); nothing where they are NaN."""
        some = ~np.isnan(found[:, 0])
        best = np.where(some[:, None], found, 0).argmax(axis=1)
        return np.where(some, self._texts[best], "")

    def _check_calibrated(self, windows: Mapping[str, Any]) -> None:
        wanted = self.contract.get("standardisation") is not None
        if wanted and not (isinstance(windows, Windows) and windows.calibrated):
            told = self.contract["standardisation"]["mean_and_deviation_of"]
            raise ContractError(
                f"windows: the model takes windows that are calibrated by {told}; cut them by "
                "runtime.windower(), or say Windows(arrays, calibrated=True) of such"
            )
        if not wanted and isinstance(windows, Windows) and windows.calibrated:
            raise ContractError(
                "windows: are calibrated by their recording; the model takes them as recorded"
            )

    def _labels(
        self, found: Mapping[str, NDArray[Any]], present: NDArray[np.bool_]
    ) -> NDArray[np.str_]:
        logits = found.get("logits")
        if logits is None:
            return np.full(len(present), "", dtype="<U1")
        if self.contract["task"]["kind"] == "labels":
            some = np.asarray(present.any(axis=1))
            told = [" + ".join(n for n, one in zip(self.names, row, strict=True) if one > 0)
                    for row in logits]  # fmt: skip
            return np.where(some, [one or "none" for one in told], "")
        return self._named(logits)


def _batched(x: Any) -> Any:
    return x[None] if isinstance(x, np.ndarray) and x.ndim == 2 else x


def _opened(path: Path, threads: int) -> Any:
    if threads < 1:
        raise DataError(f"threads: got {threads}; allowed is 1 or more")
    if not path.is_file():
        raise FormatError(f"{path}: {not_a_file(path)}; {CURE}")
    try:
        import onnxruntime
    except ImportError:
        raise PackageError(
            "crossl.runtime: needs the package 'onnxruntime', which is not installed; install it "
            'with: pip install "crossl[runtime]"'
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:
        told = str(error).splitlines()[0][:120]
        raise FormatError(f"{path}: onnxruntime cannot read it ({told}); {CURE}") from error


def _contract(path: Path, session: Any) -> dict[str, Any]:
    told = session.get_modelmeta().custom_metadata_map.get(METADATA)
    try:
        contract = json.loads(told or "null")
    except ValueError:
        contract = None
    if not isinstance(contract, dict) or contract.get("format") != FORMAT:
        raise FormatError(f"{path}: is not a model that crossl exported; {CURE}")
    if contract.get("version") != VERSION:
        raise FormatError(
            f"{path}: is of version {contract.get('version')!r:.40} of exported models; this "
            f"crossl reads version {VERSION}, {CURE}"
        )
    return contract
