"""Spread: blocks computed by the workers of a cluster, into the same hidden folder.

The machines must see run, store and file under the same paths.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from crossl.cluster import Cluster
from crossl.embedding.encode import RowEncoder, describe
from crossl.embedding.kept_blocks import Parts
from crossl.errors import ContractError


@dataclass(frozen=True)
class Job:
    """What a worker needs to know: where things lie, and the hash of what they must be."""

    run: Path
    store: Path
    out: Path
    block_rows: int
    hash: str


def spread_blocks(
    encoder: RowEncoder, parts: Parts, missing: Sequence[int], cluster: Cluster
) -> Generator[int, None, None]:
    """Let workers write blocks; yield the number of each as it is there.

    Raises:
        ClusterError: no Ray, no cluster, or a worker died again and again.
        ContractError: a worker sees another run or store, or has other libraries.
    """
    run, store, out = (p.resolve() for p in (encoder.run.path, encoder.store.path, parts.out))
    job = Job(run, store, out, parts.size, parts.hash)
    if missing:
        yield from cluster.completed(write_block, ((job, number) for number in missing))


def write_block(job: Job, number: int) -> int:
    """Compute and write one block, in a worker; one that is there already is left alone."""
    encoder, parts = _opened(job)
    if not parts.holds(number):
        for _, block in encoder.blocks([number], size=job.block_rows, threads=1):
            parts.write(number, block)
    return number


@lru_cache(maxsize=1)
def _opened(job: Job) -> tuple[RowEncoder, Parts]:
    """Load the model once per worker."""
    encoder = RowEncoder(job.run, job.store)
    parts = Parts(job.out, describe(encoder, block_rows=job.block_rows))
    if parts.hash != job.hash:
        raise ContractError(
            f"{job.run}: is not the same on a worker (another run, store, torch or numpy than the "
            "command began with); all machines need the same files and versions"
        )
    return encoder, parts
