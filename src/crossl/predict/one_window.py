"""One window at a time through a model, as far as it can be used."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from crossl.data.batch import Batch
from crossl.data.cut_windows import Window
from crossl.data.recording import Float32
from crossl.data.windows import WindowSpec
from crossl.doctor.usable import Usable
from crossl.embedding.in_memory import embedding_of
from crossl.errors import DataError
from crossl.evaluate.probe import Probe
from crossl.nn.finite import check_finite, check_reach
from crossl.nn.model import CrossModalModel
from crossl.predict.timeline import told_unusable, why_nothing


@dataclass(frozen=True)
class ReadWindow:
    """A window that went through a model.

    Attributes:
        number: of the window.
        start_s: seconds.
        present: (M,) whether a sensor was recorded and is read.
        read: (O * R) what the affine map of the probe makes of it; NaN where nothing is.
        embedding: (D,); NaN where there is none.
        unusable: which sensors were recorded and are not read, and why.
        reason: why nothing can be said; empty where something can.
    """

    number: int
    start_s: float
    present: NDArray[np.bool_]
    read: Float32
    embedding: Float32
    unusable: str
    reason: str


class WindowReader:
    """Takes windows through a model and the affine map of a probe, each alone.

    Args:
        model: in evaluation mode.
        probe: of the model.
        spec: how windows were cut.
        usable: which sensors of a window are read; None for all that recorded.
    """

    def __init__(
        self, model: CrossModalModel, probe: Probe, spec: WindowSpec, usable: Usable | None
    ) -> None:
        self._model, self._spec, self._usable = model, spec, usable
        self._embed = embedding_of(model, probe.head)
        self._weight, self._bias = probe.affine()
        self.nothing: Float32 = np.full(self._weight.shape[1], np.nan, dtype=np.float32)
        self._unread: Float32 = np.full(self._weight.shape[0], np.nan, dtype=np.float32)
        if next(model.parameters()).device.type == "cpu":
            model.prepare_for_few_windows()

    def read(self, window: Window, ignored: Collection[str]) -> ReadWindow:
        """Read a window.

        Args:
            window: of the run's windower.
            ignored: sensors that count as absent.
        """
        names = [m.name for m in self._model.modalities]
        there = np.array([[name in window.signals for name in names]])
        unusable = np.full(there.shape, "", dtype="<U1")
        if self._usable is not None:
            signals = {name: x[None] for name, x in window.recorded.items()}
            with np.errstate(over="ignore", invalid="ignore"):  # what is so large is reported below
                unusable = self._usable.reasons(signals, there)
        unusable[:, [name in ignored for name in names]] = ""
        present = there & (unusable == "") & [name not in ignored for name in names]
        told = told_unusable(unusable, self._model.modalities)
        reason = str(why_nothing(present, unusable, self._model.modalities)[0])
        read, embedding = self._unread, self.nothing
        if not reason:
            try:
                read, embedding = self._through(window, present)
            except DataError as error:  # the stream goes on
                reason = str(error)
        return ReadWindow(window.number, window.start_s, present[0], read, embedding,
                          "" if told is None else str(told[0]), reason)  # fmt: skip

    def _through(self, window: Window, present: NDArray[np.bool_]) -> tuple[Any, Any]:
        signals = {}
        for m, there in zip(self._model.modalities, present[0].tolist(), strict=True):
            x = np.zeros((1, self._spec.samples(m), len(m.channels)), dtype=np.float32)
            x[0] = window.signals[m.name] if there else 0.0
            signals[m.name] = torch.from_numpy(x)
        batch = Batch(signals, torch.from_numpy(present))
        with torch.inference_mode():
            check_reach("window", self._model.standardiser, signals)
            moved = batch.to(next(self._model.parameters()).device)
            embedded = self._embed(self._model.latent(moved), moved.present)
        check_finite("window", embedded, signals)
        read = (embedded @ self._weight.T + self._bias)[0]
        return read.astype(np.float32), embedded[0].astype(np.float32)
