"""Encode: rows of a store to embeddings and class probabilities, block by block.

Every batch is computed by one thread, several batches at the same time, and batches are always
cut at the same rows. So the bits do not depend on how many threads or processes there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from crossl.data.batch import Batch, collate
from crossl.data.calibrated import calibration_facts
from crossl.data.contract import fit_store
from crossl.data.recording import Float32
from crossl.data.store import Store
from crossl.files import file_sha256
from crossl.nn.attachment import kernels_in_use
from crossl.nn.finite import check_finite
from crossl.run_folder import load_probe, load_run

BATCH = 128
"""Windows encoded at once by one thread: few enough for its cache (benchmarks/speed/embed.md)."""

BLOCK_ROWS = 2048
"""Windows of a block: what a kill may cost a thread, and what a worker of a cluster is given."""

Item = TypeVar("Item")
Made = TypeVar("Made")


class RowEncoder:
    """A run's model, and its probe if it has one, over a store.

    Args:
        run_path: the run folder.
        store_path: the store.
        device: of torch, where the model computes.

    Raises:
        ContractError: the store does not fit the model.
        FormatError: run, probe or store is damaged.
    """

    def __init__(self, run_path: Path, store_path: Path, *, device: str = "cpu") -> None:
        self.run, store = load_run(run_path), Store.open(store_path)
        model = self.run.model
        self.fitted = fit_store(
            store, model.modalities, window_s=model.window_s, calibration=self.run.calibration
        )
        self.store = self.fitted.store
        self.device = device
        self.model = self.run.model.to(device)
        self.probe, self.classes = None, list[str]()
        if (run_path / "probe.json").is_file():
            probe, classes = load_probe(run_path)
            if probe.head == "aggregator":
                self.probe, self.classes = probe, classes
        self.outputs = 0 if self.probe is None else len(self.probe.bias)
        self.dim = self.encode(collate(self.store, np.arange(1))).shape[1] - self.outputs

    def encode(self, batch: Batch) -> Float32:
        """Encode windows: (B, D + R), embedding and what the classifier says side by side.

        That is probabilities, or numbers; of a task that reads neighbours what the window adds to
        the outputs of each. A window in which nothing that the model knows was recorded is NaN.
        """
        with torch.inference_mode():
            embedding = self.model(batch.to(self.device)).cpu().numpy()
        check_finite(str(self.store.path), embedding, batch.signals)
        if self.probe is not None:
            said = self.probe.scores(embedding)
            if len(self.probe.offsets) > 1:
                weight, bias = self.probe.affine()
                said = embedding @ weight.T + bias
            embedding = np.concatenate([embedding, said], axis=1)
        some = batch.present.any(dim=1).numpy()[:, None]
        return np.where(some, embedding, np.nan).astype(np.float32)

    def blocks(
        self, numbers: Sequence[int], *, size: int, threads: int
    ) -> Iterator[tuple[int, Float32]]:
        """Encode blocks of rows, in the order asked for; the next batches are read meanwhile.

        Args:
            numbers: of the blocks; block n begins at row n * size.
            size: rows of a block.
            threads: batches computed at the same time.

        Yields:
            The number of a block and its (n, D + classes).
        """
        before = torch.get_num_threads()
        reader = ThreadPoolExecutor(1, thread_name_prefix="crossl-read")
        workers = ThreadPoolExecutor(threads, "crossl-encode", torch.set_num_threads, (1,))
        try:
            with threadpool_limits(1, user_api="blas"):
                read = ahead(reader, self._read, self._batches(numbers, size), threads + 1)
                done: list[Float32] = []
                for number, last, rows in ahead(workers, self._encode_read, read, threads + 1):
                    done.append(rows)
                    if last:
                        yield number, np.concatenate(done)
                        done.clear()
                        self.store.let_go()
        finally:
            for pool in (workers, reader):
                pool.shutdown(wait=True, cancel_futures=True)
            torch.set_num_threads(before)

    def _batches(self, numbers: Sequence[int], size: int) -> Iterator[tuple[int, bool, range]]:
        """Yield block, whether it is the block's last, and rows of each batch."""
        for number in numbers:
            end = min((number + 1) * size, len(self.store))
            for begin in range(number * size, end, BATCH):
                rows = range(begin, min(begin + BATCH, end))
                yield number, rows.stop == end, rows

    def _read(self, job: tuple[int, bool, range]) -> tuple[int, bool, Batch]:
        number, last, rows = job
        return number, last, collate(self.store, np.arange(rows.start, rows.stop))

    def _encode_read(self, job: tuple[int, bool, Batch]) -> tuple[int, bool, Float32]:
        number, last, batch = job
        return number, last, self.encode(batch)


def ahead(
    pool: Executor, work: Callable[[Item], Made], items: Iterable[Item], depth: int
) -> Iterator[Made]:
    """Yield what work makes of each item, in order, while `depth` later ones are worked on.

    Args:
        pool: works.
        work: from an item to a result.
        items: taken one at a time, so that a long row of them needs no memory.
        depth: how many are under way at most.
    """
    running: deque[Future[Made]] = deque()
    for item in items:
        running.append(pool.submit(work, item))
        if len(running) > depth:
            yield running.popleft().result()
    while running:
        yield running.popleft().result()


def _of_task(encoder: RowEncoder) -> dict[str, Any]:
    """Return what the meaning of outputs depends on, unless they are probabilities of classes."""
    probe = encoder.probe
    if probe is None or (probe.task.target.kind == "classes" and len(probe.offsets) == 1):
        return {}
    return {"task": probe.task.as_dict(), "outputs": encoder.outputs}


def describe(encoder: RowEncoder, *, block_rows: int) -> dict[str, Any]:
    """Return everything that the bytes of a block depend on."""
    probe = encoder.run.path / "probe.safetensors"
    return {
        "weights": encoder.run.contract["files"]["weights.safetensors"],
        "config": encoder.run.contract["files"]["config.yaml"],
        "probe": file_sha256(probe) if encoder.probe is not None else None,
        "classes": encoder.classes,
        **calibration_facts(encoder.store),
        **_of_task(encoder),
        "store": encoder.store.hash,
        "windows": len(encoder.store),
        "dim": encoder.dim,
        "block_rows": block_rows,
        "batch": BATCH,
        "device": encoder.device,
        "kernels": kernels_in_use(),
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
    }
