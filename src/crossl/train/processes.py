"""Several processes that train one model: who works on which rows, and what they tell each other.

A batch belongs to all of them. Each reads and encodes its own rows; latents are then gathered, with
gradient, and what mixes windows is computed by each process on the whole batch.

Why the gather stands at the latents: batch normalisation, the statistics of VICReg, the error of
predictions and the rows that have a modality all need the whole batch. Computed by each process on
all of it, they are the one-process code, unchanged and exact. The price is that aggregator,
expanders and loss are not divided among processes: `docs/distributed.md` says how much that is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor, nn

from crossl.errors import ConfigError


@dataclass(frozen=True)
class Processes:
    """How many processes train together.

    Attributes:
        devices: processes, and so devices, on each machine.
        nodes: machines.
    """

    devices: int = 1
    nodes: int = 1

    @property
    def world(self) -> int:
        """Count the processes of all machines."""
        return self.devices * self.nodes

    @property
    def rank(self) -> int:
        """Number of this process, as torchrun, SLURM or `crossl pretrain` told it."""
        told = os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or "0"
        return int(told) if self.world > 1 else 0

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files and tells the user."""
        return self.rank == 0


@dataclass(frozen=True)
class Ranks:
    """One of `world` processes whose process group exists, if it is not alone.

    Attributes:
        rank: number of this process.
        world: how many there are.
        control: a group that exchanges what lies in main memory, whatever the device.
    """

    rank: int = 0
    world: int = 1
    control: Any = None

    def rows(self, count: int) -> slice:
        """Return which rows of a batch of `count` are this process's; they lie side by side."""
        return slice(*_bounds(count, self.rank, self.world))

    def gather(self, x: Shaped[Tensor, "own ..."], count: int) -> Shaped[Tensor, "count ..."]:
        """Join the rows of all processes in their order.

        Its backward hands each process `world` times the gradient of its own rows. Where every
        process computes the same loss of the whole batch, the mean over processes, which
        `average_gradients` takes, is then the gradient that one process would have had: of
        what lies before the gather the sum over all rows, of what lies after it the gradient
        that all have alike.

        Args:
            x: this process's rows.
            count: rows of all processes together.
        """
        if self.world == 1:
            return x
        bounds = [_bounds(count, rank, self.world) for rank in range(self.world)]
        gathered: Tensor = _Gather.apply(x, [b - a for a, b in bounds], self.rank)  # type: ignore[no-untyped-call]
        return gathered

    def agree(self, *wishes: bool) -> tuple[bool, ...]:
        """Return for each wish whether any process has it; all get the same answer."""
        if self.world == 1:
            return wishes
        told = torch.tensor(wishes, dtype=torch.uint8)
        dist.all_reduce(told, dist.ReduceOp.MAX, group=self.control)
        return tuple(bool(x) for x in told)

    def everyones(self, thing: Any) -> list[Any]:
        """Return the things of all processes, in their order."""
        things = [thing] * self.world
        if self.world > 1:
            dist.all_gather_object(things, thing, group=self.control)
        return things

    def spread(self, module: nn.Module) -> None:
        """Give all processes the parameters and buffers of the first."""
        held = (*module.parameters(), *module.buffers()) if self.world > 1 else ()
        for tensor in held:
            dist.broadcast(tensor.detach(), 0)


def average_gradients(parameters: Iterable[nn.Parameter], ranks: Ranks) -> None:
    """Give all processes the mean of their gradients, in one exchange.

    A parameter that no process used keeps none.
    """
    if ranks.world == 1:
        return
    parameters = [p for p in parameters if p.requires_grad]
    used = [float(p.grad is not None) for p in parameters]
    parts = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    whole = torch.cat([*parts, parts[0].new_tensor(used)])
    dist.all_reduce(whole)
    everyones = whole[-len(parameters) :].tolist()
    whole /= ranks.world
    begin = 0
    for parameter, count in zip(parameters, everyones, strict=True):
        mean = whole[begin : begin + parameter.numel()].view_as(parameter)
        begin += parameter.numel()
        parameter.grad = mean.to(parameter.dtype) if count else None


@contextmanager
def joined(processes: Processes) -> Iterator[tuple[torch.device, Ranks]]:
    """Meet the other processes; this one gets its device and its place among them.

    Who they are is given by torchrun, by `crossl pretrain`, or by SLURM. A block that fails leaves
    the group as it is: the others may be gone, and whoever says goodbye would wait for them.

    Raises:
        ConfigError: another number of processes was started.
    """
    if processes.world == 1:
        yield local_device(0), Ranks()
        return
    found = dist.is_available() and dist.is_initialized()
    device = local_device(int(os.environ.get("LOCAL_RANK") or os.environ.get("SLURM_LOCALID") or 0))
    if not found:
        _check_started(processes)
        if "RANK" not in os.environ:
            os.environ.setdefault("MASTER_ADDR", first_host(os.environ.get("SLURM_NODELIST", "")))
            # each job its own port, which all its processes know
            job = os.environ.get("SLURM_JOB_ID", "0")
            os.environ.setdefault("MASTER_PORT", str(15000 + int(job[-4:])))
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", rank=processes.rank,
            world_size=processes.world,
            timeout=timedelta(hours=2),  # while the first process reads all windows for statistics
        )  # fmt: skip
    control = dist.new_group(backend="gloo")
    yield device, Ranks(processes.rank, processes.world, control)
    if not found:
        dist.destroy_process_group()


def _check_started(processes: Processes) -> None:
    started = os.environ.get("WORLD_SIZE") or os.environ.get("SLURM_NTASKS")
    if started is None or int(started) != processes.world:
        raise ConfigError(
            f"--devices {processes.devices} --nodes {processes.nodes}: makes {processes.world} "
            f"processes, but {started or 'none'} were started; start one for each device"
        )


def local_device(rank: int) -> torch.device:
    """Return the device of a process, numbered within its machine: a GPU, if there are some."""
    if torch.cuda.is_available():
        device = torch.device("cuda", rank)
        torch.cuda.set_device(device)
        return device
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def first_host(nodes: str) -> str:
    """Return the first machine of a list as SLURM writes it.

    Examples:
        >>> first_host("gpu[07-09,12],cpu1")
        'gpu07'
        >>> first_host("node3")
        'node3'
    """
    first = re.match(r"([^\[,\s]*)(?:\[([^,\]-]*))?", nodes)
    return "".join(part or "" for part in first.groups()) if first and nodes else "127.0.0.1"


def _bounds(count: int, rank: int, world: int) -> tuple[int, int]:
    return rank * count // world, (rank + 1) * count // world


class _Gather(torch.autograd.Function):
    """Concatenate rows of all processes; shares may differ by a row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, counts: Sequence[int], rank: int) -> Tensor:
        ctx.counts, ctx.rank = counts, rank
        # collectives want equal shapes: the shorter shares are filled up
        padded = x.new_zeros(max(counts), *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        return torch.cat([part[:n] for part, n in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Return `world` times the gradient of this process's rows."""
        first = sum(ctx.counts[: ctx.rank])
        own = gradient[first : first + ctx.counts[ctx.rank]]
        return own * len(ctx.counts), None, None
